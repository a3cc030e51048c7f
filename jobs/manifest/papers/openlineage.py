"""OpenLineage (openlineage.io): the two events, START and COMPLETE, that a lineage service takes of a finished run."""

from datetime import datetime, timedelta
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from tamis.jobs.manifest.file import shards_of
from tamis.jobs.manifest.papers.about import About
from tamis.jobs.manifest.papers.described import described, meaning
from tamis.jobs.manifest.papers.extras import needs
from tamis.jobs.manifest.papers.facts import Facts
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import Manifest

__all__ = ["lineage"]

PRODUCER = "urn:tamis"
NAMESPACE = "tamis"


def lineage(run: str, manifest: Manifest, facts: Facts, about: About) -> str:
    """Return the events as JSON lines; their run's id follows from the config's digest and the start.

    Args:
        run: the run's folder, which names the output's data set.
        manifest: of the run.
        facts: of its selected documents.
        about: what the owner says.

    Raises:
        ConfigError: if openlineage-python isn't installed.
    """
    with needs("openlineage-python", "lineage events are"):
        from openlineage.client import facet_v2 as facets
        from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
        from openlineage.client.serde import Serde

    begun = datetime.fromisoformat(manifest.started)
    ended = begun + timedelta(seconds=manifest.seconds)
    made = manifest.provenance
    run_facets = {
        "nominalTime": facets.nominal_time_run.NominalTimeRunFacet(begun.isoformat(), ended.isoformat()),
        "processing_engine": facets.processing_engine_run.ProcessingEngineRunFacet(
            version=made.tamis, name="tamis", openlineageAdapterVersion=made.tamis
        ),
    }
    job_facets = {
        "documentation": facets.documentation_job.DocumentationJobFacet(described(manifest, about)),
        "jobType": facets.job_type_job.JobTypeJobFacet(processingType="BATCH", integration="TAMIS", jobType="RUN"),
    }
    column = facets.schema_dataset.SchemaDatasetFacetFields
    columns = [column(name=field.name, type=str(field.type), description=meaning(field)) for field in facts.schema]
    schema = facets.schema_dataset.SchemaDatasetFacet(fields=columns)
    written = shards_of(manifest, "selected")
    output = OutputDataset(
        *_address(filesystem.join(run, "selected")),
        facets={"schema": schema},
        outputFacets={
            "outputStatistics": facets.output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
                rowCount=manifest.selected, size=sum(record.bytes for record in written), fileCount=len(written)
            )
        },
    )
    inputs = [
        InputDataset(
            *_address(record.path),
            facets={"version": facets.dataset_version_dataset.DatasetVersionDatasetFacet(record.sha256)}
            if record.sha256
            else {},
            inputFacets={
                "inputStatistics": facets.input_statistics_input_dataset.InputStatisticsInputDatasetFacet(
                    rowCount=record.records, size=record.bytes, fileCount=1
                )
            },
        )
        for record in manifest.inputs
    ]
    run_id = str(uuid5(NAMESPACE_URL, f"{manifest.config_sha256}/{manifest.started}"))
    events = [
        RunEvent(
            eventType=state,
            eventTime=when.isoformat(),
            run=Run(run_id, facets=run_facets),
            job=Job(NAMESPACE, manifest.name, facets=job_facets),
            producer=PRODUCER,
            inputs=inputs,
            outputs=[output],
        )
        for state, when in ((RunState.START, begun), (RunState.COMPLETE, ended))
    ]
    return "".join(Serde.to_json(event) + "\n" for event in events)


def _address(path: str) -> tuple[str, str]:
    """Return namespace and name of a data set by OpenLineage's naming of stores."""
    if filesystem.is_local(path):
        return "file", str(Path(filesystem.local_path(path)).absolute())
    scheme, _, rest = path.partition("://")
    bucket, _, name = rest.partition("/")
    return f"{scheme}://{bucket}", name
