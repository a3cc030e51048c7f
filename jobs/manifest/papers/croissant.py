"""Croissant 1.1 (mlcommons.org/croissant): files with their digests, columns, and how the data set came to be."""

import json
from datetime import datetime, time
from typing import Any

import pyarrow as pa

from tamis.jobs.manifest.file import shards_of
from tamis.jobs.manifest.papers.about import About, Creator
from tamis.jobs.manifest.papers.described import cite_as, described, meaning, processing, published, title_of
from tamis.jobs.manifest.papers.extras import needs
from tamis.jobs.manifest.papers.facts import Facts
from tamis.schemas.errors import RunError
from tamis.schemas.manifest import Manifest

__all__ = ["croissant"]

PARQUET = "application/vnd.apache.parquet"
VERSION = "http://mlcommons.org/croissant/1.1"
SHARDS = "selected"
"""Identifier of the set of all selected shards; each shard's identifier is its path."""


def croissant(manifest: Manifest, facts: Facts, about: About) -> str:
    """Return the data set's Croissant file, JSON-LD; its paths are relative to the run's folder.

    `prov:wasDerivedFrom` names each input file with its digest, `prov:wasGeneratedBy` the program, the config's digest
    and the steps.

    Raises:
        ConfigError: if mlcroissant isn't installed.
        RunError: if mlcroissant finds what was built invalid.
    """
    with needs("mlcroissant", "the Croissant file is"):
        import mlcroissant as mlc

    context = mlc.Context(conforms_to=VERSION)
    shards = [
        mlc.FileObject(
            ctx=context,
            id=record.path,
            name=record.path,
            content_url=record.path,
            content_size=f"{record.bytes} B",
            encoding_formats=[PARQUET],
            sha256=record.sha256,
        )
        for record in shards_of(manifest, "selected")
    ]
    files = mlc.FileSet(
        ctx=context,
        id=SHARDS,
        name=SHARDS,
        description="the selected documents",
        encoding_formats=[PARQUET],
        includes=["selected/**/*.parquet"],
    )
    fields = [_field(mlc, context, field) for field in facts.schema]
    documents = mlc.RecordSet(
        ctx=context,
        id="documents",
        name="documents",
        description="one record a document",
        key="documents/doc_id",
        fields=fields,
    )
    day = datetime.combine(published(manifest, about), time())
    metadata = mlc.Metadata(
        ctx=context,
        name=title_of(manifest, about),
        description=described(manifest, about),
        version=about.version,
        license=[about.license] if about.license else None,
        url=about.url,
        cite_as=cite_as(manifest, about),
        creators=[_creator(mlc, context, creator) for creator in about.creators],
        keywords=list(about.keywords) or None,
        in_language=list(facts.languages) or None,
        date_published=day,
        data_preprocessing_protocol=processing(manifest),
        distribution=[*shards, files],
        record_sets=[documents],
    )
    problems = metadata.ctx.issues.errors
    if problems:
        msg = f"the Croissant file isn't valid: {'; '.join(sorted(map(str, problems)))}"
        raise RunError(msg)
    found = metadata.to_json()
    found["@context"]["prov"] = "http://www.w3.org/ns/prov#"
    found |= _provenance(manifest)
    return json.dumps(found, indent=2, ensure_ascii=False, default=str) + "\n"


def _creator(mlc: Any, context: Any, creator: Creator) -> Any:
    kind = mlc.Organization if creator.organization else mlc.Person
    return kind(ctx=context, name=creator.name, email=creator.email, url=creator.url)


def _field(mlc: Any, context: Any, field: pa.Field) -> Any:
    kind = field.type
    many = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return mlc.Field(
        ctx=context,
        id=f"documents/{field.name}",
        name=field.name,
        description=meaning(field),
        data_types=[_type(mlc, kind.value_type if many else kind)],
        is_array=True if many else None,
        array_shape="-1" if many else None,
        source=mlc.Source(ctx=context, file_set=SHARDS, extract=mlc.Extract(ctx=context, column=field.name)),
    )


def _type(mlc: Any, kind: pa.DataType) -> Any:
    kinds = (
        (pa.types.is_boolean, mlc.DataType.BOOL),
        (pa.types.is_integer, mlc.DataType.INTEGER),
        (pa.types.is_floating, mlc.DataType.FLOAT),
        (pa.types.is_decimal, mlc.DataType.FLOAT),
        (pa.types.is_temporal, mlc.DataType.DATETIME),
    )
    return next((data_type for holds, data_type in kinds if holds(kind)), mlc.DataType.TEXT)


def _provenance(manifest: Manifest) -> dict[str, Any]:
    inputs = [
        {"@type": "prov:Entity", "@id": record.path, "prov:label": record.source}
        | ({"sha256": record.sha256} if record.sha256 else {})
        for record in manifest.inputs
    ]
    made = manifest.provenance
    activity = {
        "@type": "prov:Activity",
        "prov:label": f"run {manifest.name}",
        "prov:startedAtTime": manifest.started,
        "prov:wasAssociatedWith": {
            "@type": "prov:SoftwareAgent",
            "name": "tamis",
            "version": made.tamis,
            "sha256": made.code_sha256,
        },
        "prov:used": {"@type": "prov:Entity", "@id": "manifest.json", "config_sha256": manifest.config_sha256},
    }
    return {"prov:wasDerivedFrom": inputs, "prov:wasGeneratedBy": activity}
