"""A local run goes without Beam's parts for services, and who wants them in the same process has them."""

import subprocess
import sys

import pytest

LOCAL_RUN = """
import sys
from tamis.pipeline.graph.engine import Engine

with Engine(sys.argv[1]) as engine:
    assert sorted(engine.map("double", [1, 2, 3], lambda n: 2 * n)) == [2, 4, 6]
assert not {"pymongo", "apache_beam.io.gcp.bigquery_tools"} & set(sys.modules), "a service came along"
import apache_beam as beam
"""


@pytest.mark.parametrize(
    "wanted",
    [
        "assert not hasattr(beam.io, 'ReadFromNowhere')",
        """
from apache_beam.io import ReadFromMongoDB
assert issubclass(ReadFromMongoDB, beam.PTransform)
assert beam.io.ReadFromBigQuery.__name__ == "ReadFromBigQuery"
from apache_beam.io.gcp.bigquery import ReadFromBigQuery
assert ReadFromBigQuery is beam.io.ReadFromBigQuery
""",
        """
import apache_beam.io.gcp.bigquery as module
import apache_beam.io.mongodbio
assert module.SCHEMA_AUTODETECT == beam.io.SCHEMA_AUTODETECT
assert issubclass(apache_beam.io.mongodbio.WriteToMongoDB, beam.PTransform)
""",
    ],
)
def test_services_come_when_they_are_asked_for(tmp_path, wanted):
    done = subprocess.run(
        [sys.executable, "-c", LOCAL_RUN + wanted, str(tmp_path / "scratch")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_beam_that_is_there_already_is_left_alone():
    script = "import apache_beam.io as io; from tamis.pipeline.graph.beam_services import import_beam; import_beam()"
    kept = "; import sys; assert 'pymongo' in sys.modules and not hasattr(io, '__getattr__')"
    done = subprocess.run([sys.executable, "-c", script + kept], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
