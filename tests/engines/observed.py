"""`tamis` as its command line runs it, with a note of what was submitted to the engine, in the file OBSERVED.

The note is JSON: `jobs`, the names of the pipelines submitted, `counters`, those that the engine told, and `tasks`, how
many there were, where FORGETFUL asks that each be done as by a process that has done nothing before: as on a service at
worst.
"""

import functools
import json
import os
import sys
from pathlib import Path

from tamis.jobs.cli.app import main
from tamis.pipeline.graph.engine import Engine

NOTE = {"jobs": [], "counters": {}, "tasks": 0}


def observe() -> None:
    execute = Engine.execute

    def noted(self, *args, **options):
        watch_runners()
        try:
            return execute(self, *args, **options)
        finally:
            NOTE["counters"] = self.counters
            write()

    Engine.execute = noted


def forget() -> None:
    """Forget what this process knows of files, values and fitted models."""
    from tamis.pipeline.steps.loaded import forget_annotators
    from tamis.pipeline.storage import filesystem, folders

    filesystem.forget()
    forget_annotators()
    folders._fetched.clear()
    for name, module in list(sys.modules.items()):
        if name.startswith("tamis.pipeline."):
            for value in list(vars(module).values()):
                if hasattr(value, "cache_clear"):
                    value.cache_clear()


def be_forgetful() -> None:
    from tamis.pipeline.graph import local

    do_task, run = local.do_task, local.LocalRun._run

    def begun(*given):
        forget()
        NOTE["tasks"] += 1
        return do_task(*given)

    def listed(self, *given):
        forget()
        return run(self, *given)

    local.do_task, local.LocalRun._run = begun, listed


@functools.cache
def watch_runners() -> None:
    # Imported as late as the command line does, so that what Beam says at import is seen as a user sees it.
    from apache_beam.options.pipeline_options import GoogleCloudOptions
    from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.runners.portability.portable_runner import PortableRunner

    for runner in (FnApiRunner, PortableRunner, BundleBasedDirectRunner):
        watch(runner, lambda options: options.view_as(GoogleCloudOptions).job_name)


def watch(runner, name_of) -> None:
    run = runner.run_pipeline

    def noted(self, pipeline, options):
        NOTE["jobs"].append(name_of(options))
        write()
        return run(self, pipeline, options)

    runner.run_pipeline = noted


def write() -> None:
    Path(os.environ["OBSERVED"]).write_text(json.dumps(NOTE))


if __name__ == "__main__":  # workers that a pool spawns import this file again
    observe()
    if os.environ.get("FORGETFUL"):
        be_forgetful()
    sys.argv[0] = "tamis"
    main()
