"""`tamis` as its command line runs it, with a note of what was submitted to the engine, in the file OBSERVED.

The note is JSON: `jobs`, the names of the pipelines submitted, and `counters`, those that the engine told.
"""

import functools
import json
import os
import sys
from pathlib import Path

from tamis.jobs.cli.app import main
from tamis.pipeline.graph.engine import Engine

NOTE = {"jobs": [], "counters": {}}


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
    sys.argv[0] = "tamis"
    main()
