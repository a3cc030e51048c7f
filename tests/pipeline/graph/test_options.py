"""Beam options that are mistyped are refused, with what was meant; Beam itself would drop them."""

import pytest

from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.options import check_options
from tamis.schemas.errors import ConfigError

GOOD = [
    ("FnApiRunner", ()),
    ("PrismRunner", ("--prism_location=/opt/prism.zip", "--environment_type=LOOPBACK")),
    ("PrismRunner", ("--prism_location", "/opt/prism.zip")),
    ("DataflowRunner", ("--project=p", "--region=europe-west1", "--experiments=a", "--experiments=b", "--no_auth")),
    ("DataflowRunner", ("--worker_zone=europe-west1-b", "--max_num_workers=7", "--sdk_location=container")),
    ("FlinkRunner", ("--flink_master=localhost:8081", "--parallelism=4")),
    ("SparkRunner", ("--parallelism", "4", "--spark_version=3")),
]


@pytest.mark.parametrize(("runner", "options"), GOOD)
def test_options_that_beam_or_a_job_server_knows_pass(runner, options):
    check_options(runner, options)


@pytest.mark.parametrize(
    ("runner", "options", "told"),
    [
        ("DataflowRunner", ("--regoin=europe-west1",), r"no option --regoin; did you mean '--region'"),
        ("DataflowRunner", ("--project=p", "--temp-location=gs://b/t"), "--temp-location; did you mean '--temp_loc"),
        ("PrismRunner", ("--prism_locaton=/opt/prism.zip",), "--prism_locaton; did you mean '--prism_location'"),
        ("FlinkRunner", ("--flink_mastr=localhost:8081",), "--flink_mastr; did you mean '--flink_master'"),
        ("FnApiRunner", ("--zzzzzzzzzzzzzz=1",), "no option --zzzzzzzzzzzzzz$"),
        ("DataflowRunner", ("-region=x",), "no option -region; did you mean '--region'"),
        ("DataflowRunner", ("--max_num_workers=many",), r"--max_num_workers: invalid int value: 'many'"),
        ("DataflowRunner", ("--region=x", "y"), "unexpected 'y': an option is written --name=value"),
    ],
)
def test_mistyped_options_are_refused(tmp_path, runner, options, told):
    with pytest.raises(ConfigError, match=told):
        Engine(str(tmp_path), runner=runner, options=options)
