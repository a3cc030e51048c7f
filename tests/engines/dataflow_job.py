"""What Dataflow would be sent for a config, as JSON: python dataflow_job.py CONFIG. Neither network nor credentials."""

import json
import sys

from tamis.pipeline.graph.quiet import silence_beam

silence_beam()

from apache_beam.portability.api import beam_runner_api_pb2  # noqa: E402
from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner  # noqa: E402

from tamis.jobs.config_file import load_config  # noqa: E402
from tamis.jobs.run.build import FINISH  # noqa: E402
from tamis.jobs.run.execute import graph_of, labels_of  # noqa: E402
from tamis.jobs.run.plan import make_plan  # noqa: E402
from tamis.pipeline.graph.engine import Engine  # noqa: E402
from tamis.schemas.errors import RunError  # noqa: E402

OPTIONS = [
    "--dry_run=True",
    "--project=tamis-test",
    "--region=europe-west1",
    "--temp_location=gs://bucket/tmp",
    "--sdk_container_image=europe-docker.pkg.dev/tamis-test/tamis/worker:1",
    "--sdk_location=container",
]


class Translated(Exception):
    """Instead of waiting for a job that isn't there."""


def main(config: str, scratch: str) -> None:
    jobs = []
    run = DataflowRunner.run_pipeline

    def noted(self, pipeline, options):
        jobs.append(run(self, pipeline, options).job)
        raise Translated

    DataflowRunner.run_pipeline = noted
    loaded, plain = load_config(config, ())
    plan = make_plan(loaded, plain)
    graph = graph_of(plan, "gs://bucket/run")
    try:
        with Engine(scratch, runner="DataflowRunner", options=OPTIONS) as engine:
            engine.execute(graph, [FINISH], name=plan.config.name, labels=labels_of(plan))
    except RunError as error:
        if not isinstance(error.__cause__, Translated):
            raise
    proto = jobs[0].proto_pipeline
    shown = {}
    for transform in proto.components.transforms.values():
        for item in transform.display_data:
            told = beam_runner_api_pb2.LabelledPayload.FromString(item.payload)
            if told.key in {"pass", "step"}:
                shown.setdefault(told.key, set()).add(told.string_value)
    whole = proto.SerializeToString()
    environments = proto.components.environments.values()
    json.dump(
        {
            "jobs": len(jobs),
            "name": jobs[0].proto.name,
            "labels": dict(jobs[0].proto.labels),
            "bytes": len(whole),
            "transforms": [transform.unique_name for transform in proto.components.transforms.values()],
            "shown": {key: sorted(values) for key, values in shown.items()},
            "passes": [node.name for node in graph.nodes],
            "images": sorted(
                {beam_runner_api_pb2.DockerPayload.FromString(e.payload).container_image for e in environments}
            ),
            "inputs_named": [f.path for f in plan.files if f.path.rpartition("/")[2].encode() in whole],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
