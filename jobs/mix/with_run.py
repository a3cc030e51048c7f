"""The mixture that a run's own config asks for: made after the run, in its folder, and told in its manifest."""

from collections.abc import Mapping
from typing import Any

from tamis.jobs.manifest.file import MANIFEST
from tamis.jobs.mix.folder import MIXED
from tamis.jobs.mix.materialise import materialise
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.storage import filesystem
from tamis.schemas.manifest import Manifest
from tamis.schemas.mixture import MixtureConfig

__all__ = ["FOLDER", "mix_with_run"]

FOLDER = "mixture"
"""In the run's folder."""


def mix_with_run(
    manifest: Manifest, config: MixtureConfig, plain: Mapping[str, Any], output: str, engine: Engine, *, fresh: bool
) -> tuple[Manifest, bool]:
    """Materialise a run's mixture, and tell of it in the run's manifest.

    Args:
        manifest: of the finished run.
        config: of the mixture.
        plain: the same as it was given.
        output: the run's folder.
        engine: where passes run.
        fresh: forget what earlier runs left.

    Returns:
        The manifest, and whether the mixture had been there before.

    Raises:
        TamisError: whatever stopped it, in a sentence; the run stays whole.
    """
    mixed = materialise(output, config, plain, filesystem.join(output, FOLDER), engine, fresh=fresh)
    told = {
        "folder": f"{FOLDER}/{MIXED}",
        "mixture_sha256": mixed.manifest.mixture_sha256,
        "tokenizer": mixed.manifest.tokenizer,
        "documents": mixed.manifest.documents,
        "repetition": mixed.manifest.repetition,
        **mixed.manifest.mixture,
    }
    warnings = tuple(f"mixture: {text}" for text in mixed.manifest.warnings)
    others = tuple(text for text in manifest.warnings if not text.startswith("mixture: "))
    changed = manifest.model_copy(
        update={"mixture": {**manifest.mixture, "materialised": told}, "warnings": (*others, *warnings)}
    )
    if changed != manifest:
        with filesystem.write_atomically(filesystem.join(output, MANIFEST)) as stream:
            stream.write(changed.model_dump_json(indent=1).encode() + b"\n")
    return changed, mixed.nothing_to_do
