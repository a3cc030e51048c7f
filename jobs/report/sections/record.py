"""What identifies the run: digests of config, program, inputs, models and shards."""

import json
from typing import Any

from tamis.jobs.report.blocks import Block, Documents, Section, Table, Words
from tamis.jobs.report.facts import Facts

__all__ = ["build", "compare"]

FILES = 100
CONFIG = 20_000


def build(facts: Facts) -> Section | None:
    """Return the section."""
    manifest = facts.manifest
    told = manifest.provenance
    head: list[list[Any]] = [
        ["name", manifest.name],
        ["config", manifest.config_sha256],
        ["program", f"tamis {told.tamis}, code {told.code_sha256}"],
        ["commit", told.git_commit or "none"],
        ["python", f"{told.python}, Unicode {told.unicode}"],
        ["started", manifest.started],
        ["seed", str(facts.seed)],
    ]
    blocks: list[Block] = [
        Words(
            "tamis manifest verify recomputes these digests from the files; tamis manifest rerun makes the run again."
        ),
        Table(("what", "value"), head, "the run"),
    ]
    if manifest.parents:
        numbers = ("files", "read", "selected", "rejected", "errors")
        made_of = facts.rows(f"SELECT run, started, {', '.join(numbers)} FROM {{run}}.increments ORDER BY started, run")
        blocks.append(Table(("run", "begun", *numbers), made_of, "runs that it is made of, or follows"))
    models = facts.rows("SELECT step, option, reference, sha256 FROM {run}.models ORDER BY ALL")
    if models:
        blocks.append(Table(("step", "option", "reference", "SHA-256"), models, "models and lists"))
    for view, heads, columns in (
        ("inputs", ("input", "source", "bytes", "records", "SHA-256 or etag"),
         "path, source, bytes, records, coalesce(sha256, fingerprint)"),
        ("shards", ("shard", "fate", "rows", "bytes", "SHA-256"), "path, fate, rows, bytes, sha256"),
    ):  # fmt: skip
        (many,) = facts.rows(f"SELECT count(*) FROM {{run}}.{view}")[0]
        rows = facts.rows(f"SELECT {columns} FROM {{run}}.{view} ORDER BY path LIMIT {FILES}")
        more = f", the first {FILES} of {many:,}" if many > FILES else ""
        if rows:
            blocks.append(Table(heads, rows, f"{view}{more}", folded=True))
    packages = sorted(told.packages.items())
    blocks.append(Table(("package", "version"), packages, "packages that can change a result", folded=True))
    config = json.dumps(manifest.source_config, indent=1, ensure_ascii=False)
    cut = config[:CONFIG] + ("\n…" if len(config) > CONFIG else "")
    document = facts.shown("as it was given", "", blurred=False)
    blocks.append(Documents("The config", [type(document)("as it was given", cut)], counted=False))
    return Section("record", "Digests", blocks)


def compare(a: Facts, b: Facts) -> Section | None:
    """Return the section for two runs."""
    rows = [
        [name, one, two]
        for name, one, two in (
            ("name", a.manifest.name, b.manifest.name),
            ("config", a.manifest.config_sha256, b.manifest.config_sha256),
            ("code", a.manifest.provenance.code_sha256, b.manifest.provenance.code_sha256),
            ("started", a.manifest.started, b.manifest.started),
        )
    ]
    return Section("record", "Digests", [Table(("what", a.name, b.name), rows, "the runs")])
