"""The files of deploy/: what they name is there, options are known, and the launcher prints what it should."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tamis.pipeline.graph.options import check_options

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
CONTAINERFILES = sorted(DEPLOY.rglob("Containerfile"))


def instructions(path):
    """Return (instruction, what follows) of a Containerfile, lines joined."""
    text = re.sub(r"\\\n", " ", path.read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [tuple(line.split(None, 1)) for line in lines]


@pytest.mark.parametrize("path", CONTAINERFILES, ids=lambda path: str(path.parent.name))
def test_what_a_containerfile_copies_is_there_and_its_stages_are_named(path):
    stages = set()
    for word, rest in instructions(path):
        if word == "FROM":
            stages |= set(re.findall(r" AS (\w+)$", rest))
        if word != "COPY":
            continue
        named = re.match(r"--from=(\w+) ", rest)
        if named:
            assert named[1] in stages
            continue
        for source in rest.split()[:-1]:
            assert (ROOT / source).exists(), source


def test_the_worker_image_has_what_dataflow_asks_of_it():
    told = instructions(DEPLOY / "dataflow" / "Containerfile")
    text = " ".join(f"{word} {rest}" for word, rest in told)
    assert told[-1] == ("ENTRYPOINT", '["/opt/apache/beam/boot"]')
    assert "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1" in text
    assert "-c /src/constraints.txt" in text
    assert "pip check" in text
    assert ("RUN", "tamis warm") in told
    assert "/opt/google/dataflow/python_template_launcher" in text
    assert "REQUIREMENTS_FILE" not in text  # would install everything once more at each launch
    (script,) = re.findall(r"FLEX_TEMPLATE_PYTHON_PY_FILE=(\S+)", text)
    assert f"COPY deploy/dataflow/launch.py {script}" in text
    beam = re.search(r"ARG BEAM=(\S+)", text)[1]
    assert f"apache-beam=={beam}\n" in (ROOT / "constraints.txt").read_text()  # workers and launcher must agree


def test_the_image_of_the_command_line_runs_as_nobody_special_and_says_what_it_is():
    told = instructions(DEPLOY / "Containerfile")
    assert [rest for word, rest in told if word == "USER"] == ["10001"]
    text = " ".join(rest for word, rest in told if word == "LABEL")
    assert set(re.findall(r"opencontainers\.image\.(\w+)", text)) == {
        "title", "description", "licenses", "version", "revision",
    }  # fmt: skip


TEMPLATE = json.loads((DEPLOY / "dataflow" / "metadata.json").read_text())
VALUES = {
    "config": (
        ["gs://bucket/a/corpus.yaml", "gs://my.bucket-1/c.yml"],
        ["/tmp/c.yaml", "gs://B/c.yaml", "gs://b/c.txt"],
    ),
    "output": (["gs://bucket/runs/one"], ["runs/one", "gs://bucket", "s3://bucket/x"]),
    "overrides": (["seed=2", "steps.language.min_score=0.8;seed=2"], ["seed", ";seed=1", "a=1;b"]),
    "sdk_container_image": (
        ["europe-west1-docker.pkg.dev/p/r/tamis:20260101-1", "localhost:5000/tamis@sha256:" + "0" * 64],
        ["tamis", "europe-west1-docker.pkg.dev/p/r/tamis"],
    ),
    "disk_size_gb": (["30", "100"], ["5 GB", "0", "-1"]),
}


@pytest.mark.parametrize("parameter", TEMPLATE["parameters"], ids=lambda parameter: parameter["name"])
def test_parameters_of_the_template_take_what_they_should(parameter):
    assert set(parameter) <= {"name", "label", "helpText", "paramType", "isOptional", "regexes"}
    assert 20 < len(parameter["helpText"]) < 200
    right, wrong = VALUES[parameter["name"]]
    (pattern,) = parameter["regexes"]
    assert [value for value in right if not re.fullmatch(pattern, value)] == []
    assert [value for value in wrong if re.fullmatch(pattern, value)] == []


def launcher():
    specification = importlib.util.spec_from_file_location("launch", DEPLOY / "dataflow" / "launch.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_template_starts_a_run_with_its_parameters():
    given = ["--config=gs://bkt/c.yaml", "--output=gs://bkt/o", "--overrides=seed=2; steps.language.min_score=0.8;"]
    beam = ["--runner=DataflowRunner", "--template_location=gs://bkt/t", "--project=p", "--disk_size_gb=100"]
    words = launcher().command([*given, *beam])
    assert words[: words.index("--")] == [
        "run", "gs://bkt/c.yaml", "--output", "gs://bkt/o", "--set", "seed=2", "--set", "steps.language.min_score=0.8",
        "--runner", "DataflowRunner", "--no-wait",
    ]  # fmt: skip
    assert words[words.index("--") + 1 :] == beam[1:]
    check_options("DataflowRunner", beam[1:])


GIVEN = {"project": "p", "region": "europe-west1", "repository": "r", "bucket": "bkt", "config": "gs://bkt/c.yaml",
         "output": "gs://bkt/o"}  # fmt: skip


def launch(*further, **changes):
    options = [word for name, value in (GIVEN | changes).items() if value for word in (f"--{name}", value)]
    command = ["bash", str(DEPLOY / "dataflow" / "launch.sh"), *options, *further]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=os.environ)


def test_the_launcher_prints_what_it_would_run():
    done = launch("--dry-run", "--tag", "t1", "--machine", "n2-highmem-4", "--max-workers", "7", "--disk", "50")
    assert done.returncode == 0, done.stderr
    build, push, template, run = (shlex.split(line) for line in done.stdout.splitlines())
    image = "europe-west1-docker.pkg.dev/p/r/tamis:t1"
    assert build[:4] == ["docker", "build", "-f", "deploy/dataflow/Containerfile"]
    assert push == ["docker", "push", image]
    assert template[:5] == ["gcloud", "dataflow", "flex-template", "build", "gs://bkt/templates/tamis-t1.json"]
    assert "--metadata-file=deploy/dataflow/metadata.json" in template
    assert run[:4] == ["gcloud", "dataflow", "flex-template", "run"]
    assert re.fullmatch("[a-z]([-a-z0-9]{0,61}[a-z0-9])?", run[4])
    (parameters,) = (word.partition("=")[2] for word in run if word.startswith("--parameters="))
    given = dict(part.split("=", 1) for part in parameters.split(","))
    assert given == {
        "config": "gs://bkt/c.yaml", "output": "gs://bkt/o", "sdk_container_image": image, "disk_size_gb": "50",
    }  # fmt: skip
    patterns = {one["name"]: one["regexes"][0] for one in TEMPLATE["parameters"]}
    assert all(re.fullmatch(patterns[name], value) for name, value in given.items())
    assert {"--worker-machine-type=n2-highmem-4", "--max-workers=7", "--temp-location=gs://bkt/tmp"} <= set(run)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"project": ""}, "give --project"),
        ({"output": "runs/x"}, "--output runs/x: workers and launcher see gs:// paths alone"),
        ({"wrong": "1"}, "unknown option --wrong"),
    ],
)
def test_the_launcher_refuses_what_cannot_work(changes, told):
    done = launch("--dry-run", **changes)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr


KINDS = {
    "DEFAULT", "TEXT", "GCS_READ_BUCKET", "GCS_WRITE_BUCKET", "GCS_READ_FILE", "GCS_WRITE_FILE",
    "GCS_READ_FOLDER", "GCS_WRITE_FOLDER", "PUBSUB_TOPIC", "PUBSUB_SUBSCRIPTION", "BIGQUERY_TABLE",
    "JAVASCRIPT_UDF_FILE", "SERVICE_ACCOUNT", "MACHINE_TYPE", "KMS_KEY_NAME", "WORKER_REGION", "WORKER_ZONE",
    "BOOLEAN", "ENUM", "NUMBER", "KAFKA_TOPIC", "KAFKA_READ_TOPIC", "KAFKA_WRITE_TOPIC",
}  # fmt: skip
"""`ParameterMetadata.paramType` of Dataflow's API v1b3."""
FLAGS = {
    "build": {"project", "image", "sdk-language", "metadata-file"},
    "run": {
        "project", "region", "template-file-gcs-location", "parameters", "worker-machine-type", "max-workers",
        "staging-location", "temp-location",
    },
}  # fmt: skip
"""Those of `gcloud dataflow flex-template` that the launcher may use, as Google Cloud SDK 528 documents them."""


def test_the_template_is_one_by_the_services_schema():
    assert set(TEMPLATE) <= {"name", "description", "parameters", "streaming"}
    for parameter in TEMPLATE["parameters"]:
        assert parameter.get("paramType", "TEXT") in KINDS
        assert all(parameter[name] for name in ("name", "label", "helpText"))
        assert isinstance(parameter.get("isOptional", False), bool)
        # What Python's patterns have and those of the service, in Java, have otherwise or not at all.
        assert not re.search(r"\\[AZz<>]|\(\?|&&|\[\^?\[", parameter["regexes"][0])


def test_the_launcher_uses_flags_that_gcloud_documents():
    for line in launch("--dry-run").stdout.splitlines()[2:]:
        words = shlex.split(line)
        assert words[:3] == ["gcloud", "dataflow", "flex-template"]
        flags = {word.removeprefix("--").partition("=")[0] for word in words if word.startswith("--")}
        assert flags == FLAGS[words[3]]


@pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud, of the Google Cloud SDK, is absent")
def test_gcloud_takes_the_launchers_commands_up_to_the_account(tmp_path):
    for line in launch("--dry-run").stdout.splitlines()[2:]:
        done = subprocess.run(
            shlex.split(line), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
            stdin=subprocess.DEVNULL, env=os.environ | {"CLOUDSDK_CONFIG": str(tmp_path)},
        )  # fmt: skip
        assert done.returncode == 1
        assert "You do not currently have an active account selected" in done.stderr


def test_each_tag_is_new_unless_named():
    done = launch("--dry-run")
    assert re.search(r"tamis:\d{8}-\d{6}-\w+", done.stdout)


FLINK = yaml.safe_load((DEPLOY / "flink" / "cluster.yaml").read_text())
SUBMIT = yaml.safe_load((DEPLOY / "flink" / "submit.yaml").read_text())


def test_flinks_workers_stand_beside_task_managers_and_the_submission_finds_them():
    pod = FLINK["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
    assert [one["name"] for one in pod] == ["flink-main-container", "beam-workers"]
    assert pod[1]["args"] == ["--worker_pool"]
    arguments = SUBMIT["spec"]["template"]["spec"]["containers"][0]["args"]
    beam = arguments[arguments.index("--") + 1 :]
    check_options("FlinkRunner", beam)
    assert f"--environment_config=localhost:{pod[1]['ports'][0]['containerPort']}" in beam
    assert f"--flink_master=http://{FLINK['metadata']['name']}-rest:8081" in beam
    (version,) = (word.partition("=")[2] for word in beam if word.startswith("--flink_version="))
    from apache_beam.options.pipeline_options import FlinkRunnerOptions

    assert version in FlinkRunnerOptions.PUBLISHED_FLINK_VERSIONS
    assert FLINK["spec"]["flinkVersion"] == f"v{version.replace('.', '_')}"
    assert FLINK["spec"]["image"] == f"flink:{version}"
    assert f"flink-{version}-job-server" in (DEPLOY / "flink" / "Containerfile").read_text()


def checked(*words):
    """Run check-jsonschema."""
    command = [sys.executable, "-m", "check_jsonschema", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_flinks_cluster_follows_the_operators_schema(tmp_path):
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema")
    path = Path(os.environ.get("TAMIS_FLINK_SCHEMA", ROOT.parent / "shared/engines/flinkdeployment_v1beta1.json"))
    if not path.exists():
        pytest.skip("the schema of FlinkDeployment is absent; name it with TAMIS_FLINK_SCHEMA")
    right = checked("--schemafile", path, DEPLOY / "flink" / "cluster.yaml")
    assert right.returncode == 0, right.stdout
    wrong = tmp_path / "cluster.yaml"
    wrong.write_text(yaml.safe_dump(FLINK | {"spec": FLINK["spec"] | {"flinkVersion": "v9"}}))
    assert checked("--schemafile", path, wrong).returncode == 1


@pytest.mark.parametrize("name", ["flink", "spark", "store"])
def test_compose_files_follow_the_schema_of_compose(name, tmp_path):
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema")
    path = DEPLOY / name / "compose.yaml"
    right = checked("--builtin-schema", "vendor.compose-spec", path)
    assert right.returncode == 0, right.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(path.read_text().replace("image:", "images:"))
    assert checked("--builtin-schema", "vendor.compose-spec", wrong).returncode == 1


JOB = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "additionalProperties": False,
    "properties": {
        "apiVersion": {"const": "batch/v1"},
        "kind": {"const": "Job"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["template"],
            "properties": {
                "backoffLimit": {"type": "integer", "minimum": 0},
                "template": {
                    "type": "object",
                    "required": ["spec"],
                    "properties": {
                        "spec": {
                            "type": "object",
                            "required": ["containers", "restartPolicy"],
                            "properties": {
                                "restartPolicy": {"enum": ["Never", "OnFailure"]},
                                "containers": {
                                    "type": "array",
                                    "minItems": 1,
                                    "items": {
                                        "type": "object",
                                        "required": ["name", "image"],
                                        "properties": {"args": {"type": "array", "items": {"type": "string"}}},
                                    },
                                },
                            },
                        }
                    },
                },
            },
        },
    },
}
"""What Kubernetes asks of a Job, as far as the submission has it."""


def test_flinks_submission_is_a_job_of_kubernetes(tmp_path):
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema")
    schema = tmp_path / "job.json"
    schema.write_text(json.dumps(JOB))
    right = checked("--schemafile", schema, DEPLOY / "flink" / "submit.yaml")
    assert right.returncode == 0, right.stdout


def test_the_store_to_try_out_is_closed_to_others_and_its_config_is_one(tmp_path):
    told = yaml.safe_load((DEPLOY / "store" / "compose.yaml").read_text())["services"]
    assert told["store"]["ports"] == ["127.0.0.1:5000:5000"]
    assert told["tamis"]["build"]["dockerfile"] == "deploy/Containerfile"
    assert (DEPLOY / "store" / told["tamis"]["build"]["context"]).resolve() == ROOT
    from tamis.jobs.config_file import load_config

    config, _ = load_config(str(DEPLOY / "store" / "corpus.yaml"))
    (path,) = config.inputs[0].path
    assert (ROOT / path.partition("/tamis/")[2].partition("/tamis/")[2]).exists()
    assert config.output.path.startswith("s3://corpus/")


@pytest.mark.parametrize("path", CONTAINERFILES[:2], ids=lambda path: str(path.parent.name))
def test_images_say_what_is_in_them(path):
    text = " ".join(rest for _, rest in instructions(path))
    assert re.search(r"pip install --no-cache-dir cyclonedx-bom==[0-9.]+ ", text)
    assert "-o /opt/tamis/sbom.json /opt/tamis/venv" in text


def test_sparks_submission_has_options_that_beam_knows():
    command = ["bash", str(DEPLOY / "spark" / "submit.sh"), "s3://b/c.yaml", "s3://b/o", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    words = shlex.split(done.stdout)
    assert words[:6] == ["tamis", "run", "s3://b/c.yaml", "--output=s3://b/o", "--runner", "SparkRunner"]
    beam = words[words.index("--") + 1 :]
    check_options("SparkRunner", beam)
    from apache_beam.options.pipeline_options import PipelineOptions, SparkRunnerOptions

    given = PipelineOptions(beam).view_as(SparkRunnerOptions)
    assert (given.spark_rest_url, given.spark_submit_uber_jar) == ("http://localhost:6066", True)


@pytest.mark.parametrize("name", ["flink", "spark"])
def test_compose_files_put_workers_where_executors_look_for_them(name):
    services = yaml.safe_load((DEPLOY / name / "compose.yaml").read_text())["services"]
    workers = services.pop("beam-workers")
    assert workers["command"] == ["--worker_pool"]
    assert workers["network_mode"].removeprefix("service:") in services
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service.get("ports", []))
    text = (DEPLOY / name / "README.md").read_text()
    assert "not run here" in text
    assert "Beam 2.77" in text


def test_the_page_on_scale_has_the_table_that_its_script_computes():
    command = [sys.executable, "benchmarks/scale_on_paper.py", "--check", "docs/scale.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
