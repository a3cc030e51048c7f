"""What Dataflow is asked for: options checked before anything is sent, and jobs found again."""

import re
import time
from collections.abc import Sequence
from typing import Any

from tamis.pipeline.graph.remote_job import RemoteJob
from tamis.schemas.errors import ConfigError, TamisError
from tamis.schemas.wording import install_extra

__all__ = [
    "DATAFLOW",
    "MAX_GRAPH",
    "active",
    "cancel",
    "check_graph",
    "ended_by_itself",
    "option_problems",
    "submitted_job",
    "waits",
]

DATAFLOW = "DataflowRunner"
MAX_GRAPH = 20_000_000
"""Bytes of a job request from which on the service refuses it, graph and options together."""
ENDED = ("DONE", "FAILED", "CANCELLED", "UPDATED", "DRAINED", "STOPPED")
WITH_OUR_CODE = ("sdk_container_image", "prebuild_sdk_container_engine", "setup_file", "extra_packages")
"""Options that bring this package to the workers; one of them is needed."""
_ADVICE = {
    "project": "give --project=PROJECT",
    "region": "give --region=REGION, such as europe-west1",
    "temp_location": "give --temp_location=gs://BUCKET/FOLDER",
    "staging_location": "give --staging_location=gs://BUCKET/FOLDER, or --temp_location alone",
}


def option_problems(options: Sequence[str]) -> list[str]:
    """Return what is wrong with Beam options for Dataflow, a part of a sentence each; empty if nothing is.

    Asks neither the network nor for credentials.

    Args:
        options: as on Beam's command line.

    Raises:
        ConfigError: if the extra `gcp` isn't installed.
    """
    from apache_beam.options import pipeline_options as beam
    from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator

    try:
        from apache_beam.runners.dataflow.dataflow_runner import DataflowRunner
        from apache_beam.runners.dataflow.internal import apiclient as _needed  # noqa: F401
    except ImportError as error:
        msg = f"the runner {DATAFLOW} needs a package that isn't installed ({error}): {install_extra('gcp')}"
        raise ConfigError(msg) from error
    given = beam.PipelineOptions([f"--runner={DATAFLOW}", *options])
    cloud = given.view_as(beam.GoogleCloudOptions)
    problems = []
    if cloud.region is None:  # Beam would ask gcloud, or take us-central1 without a word
        problems.append(f"region: {_ADVICE['region']}")
        cloud.region = "none-yet"
    validator = PipelineOptionsValidator(given, DataflowRunner())
    wrong = {name: validator.validate_gcs_path(cloud, name) for name in ("temp_location", "staging_location")}
    told = [] if not all(wrong.values()) else wrong["temp_location"]
    if told and cloud.staging_location is not None:
        told = told + wrong["staging_location"]
    # Beam would make a bucket where both are wrong, and ask the store about those that are right.
    cloud.temp_location = cloud.staging_location = "gs://none-yet/folder"
    given.view_as(beam.TestOptions).dry_run = True
    told = told + validator.validate()
    if cloud.project is None and not any("project" in line for line in told):  # Beam asks that of the service alone
        told.append("Missing required option: project")
    for line in dict.fromkeys(told):
        option = next((name for name in _ADVICE if re.search(rf"\b{name}\b", line)), "")
        missing = line.startswith("Missing")
        plain = " ".join(line.split()).rstrip(".")
        problems.append(f"{option}: {_ADVICE[option]}" if missing and option else plain)
    views = (given.view_as(beam.WorkerOptions), given.view_as(beam.SetupOptions))
    if not any(getattr(view, name, None) for view in views for name in WITH_OUR_CODE):
        problems.append("sdk_container_image: give --sdk_container_image=IMAGE, the workers' image (deploy/dataflow)")
    return list(dict.fromkeys(problems))


def check_graph(size: int) -> None:
    """Refuse a graph that the service would refuse after everything was uploaded.

    Raises:
        ConfigError: telling its size.
    """
    if size >= MAX_GRAPH:
        msg = f"the run's graph has {size / 1e6:.1f} MB and Dataflow refuses {MAX_GRAPH / 1e6:.0f} MB: take fewer steps"
        raise ConfigError(msg)


def submitted_job(result: Any, options: Sequence[str], name: str, failure: str) -> RemoteJob:
    """Return what is known of a job that was submitted, or translated by `--dry_run`.

    Args:
        result: what Beam's `run` returned.
        options: as on Beam's command line.
        name: of the job.
        failure: path at which its workers leave word of an error.
    """
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions

    cloud = PipelineOptions(list(options)).view_as(GoogleCloudOptions)
    job_id = str(result.job_id()) if hasattr(result, "job_id") and result.has_job else ""
    job = getattr(result, "job", None)
    size = job.proto_pipeline.ByteSize() if job is not None else 0
    now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
    return RemoteJob(name, job_id, cloud.project or "", cloud.region or "", now, failure, size)


def active(job: RemoteJob, options: Sequence[str]) -> bool:
    """Return whether a job still works, as the service tells.

    Args:
        job: one that was submitted.
        options: as on Beam's command line, with the same project and region.

    Raises:
        Exception: whatever the service's client raises, if it can't be asked.
    """
    state = _client(job, options).get_job(job.id).current_state
    return not getattr(state, "name", str(state)).endswith(ENDED)


def cancel(job: RemoteJob, options: Sequence[str]) -> None:
    """Ask the service to end a job.

    Args:
        job: one that was submitted.
        options: as on Beam's command line.

    Raises:
        Exception: whatever the service's client raises, if it can't be asked.
    """
    _client(job, options).modify_job_state(job.id, "JOB_STATE_CANCELLED")


def _client(job: RemoteJob, options: Sequence[str]) -> Any:
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.dataflow.internal.apiclient import DataflowApplicationClient

    wanted = [f"--project={job.project}", f"--region={job.region}"]
    return DataflowApplicationClient(PipelineOptions([*options, *wanted]))


def waits(options: Sequence[str]) -> bool:
    """Return whether a job of these options is submitted at all: not by `--dry_run`, nor into a template file."""
    from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, TestOptions

    given = PipelineOptions(list(options))
    return not given.view_as(TestOptions).dry_run and given.view_as(GoogleCloudOptions).template_location is None


def ended_by_itself(error: Exception) -> bool:
    """Return whether an error says that a job is over: it failed, was cancelled, or was refused, and works no more."""
    return type(error).__name__ == "DataflowRuntimeException" or isinstance(error, TamisError)
