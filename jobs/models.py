"""Finds the models and files that steps refer to, and digests them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.reader import plan_splits
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import Config
from tamis.schemas.errors import InputError, ModelError
from tamis.schemas.steps import DsirStep, PerplexityStep, StepConfig

__all__ = ["FoundModel", "digest_path", "find_models"]

FOLDER_SIDECARS = (".projected", ".cache", ".tmp")


@dataclass(frozen=True)
class FoundModel:
    """A model or file of a step.

    Attributes:
        reference: as the config names it.
        path: where it lies for the run; for a target corpus, the reference itself.
        sha256: of its bytes; of a folder or a set of files, of their names and digests.
        bytes: its size.
    """

    reference: str
    path: str
    sha256: str
    bytes: int


def digest_path(path: str) -> tuple[str, int]:
    """Return SHA-256 and size of a file, or of a folder by the names and contents below it."""
    local = Path(filesystem.local_path(path))
    if filesystem.is_local(path) and local.is_dir():
        files = [f for f in local.rglob("*") if f.is_file() and not _is_sidecar(f, local)]
        return _digest_many([(f.relative_to(local).as_posix(), str(f)) for f in files])
    size = filesystem.info(path).size
    return filesystem.sha256(path), size or 0


def _is_sidecar(path: Path, root: Path) -> bool:
    """Return whether a file is a cache that a scorer keeps beside a model: its content follows from the model's."""
    return any(part.startswith(".") or part.endswith(FOLDER_SIDECARS) for part in path.relative_to(root).parts)


def _digest_many(named: Sequence[tuple[str, str]]) -> tuple[str, int]:
    total = hashlib.sha256()
    size = 0
    for name, path in sorted(named):
        total.update(f"{name}\0{filesystem.sha256(path)}\n".encode())
        size += filesystem.info(path).size or 0
    return total.hexdigest(), size


def find_models(config: Config) -> dict[str, dict[str, FoundModel]]:
    """Resolve all references of all steps: step label to {option: model}.

    Raises:
        ModelError: if a model is missing, or can't be fetched.
    """
    return {step.label: _of_step(step) for step in config.steps if step.references}


def _of_step(step: StepConfig) -> dict[str, FoundModel]:
    found = {}
    for option, reference in step.references.items():
        if isinstance(step, DsirStep) and option.startswith("target."):
            try:
                files = filesystem.expand(reference)
            except InputError as error:
                msg = f"step {step.label}: target: {error}"
                raise ModelError(msg) from None
            try:  # also says now, and not after the pool was counted, that a field is missing
                parts = [part for file in files for part in plan_splits(file, ReadOptions(text=step.text))]
            except InputError as error:
                msg = f"step {step.label}: target: {error}"
                raise ModelError(msg) from None
            if not parts:
                msg = f"step {step.label}: target: {reference} holds no document"
                raise ModelError(msg)
            sha256, size = _digest_many([(Path(file.path).name, file.path) for file in files])
            found[option] = FoundModel(reference, reference, sha256, size)
            continue
        from tamis.scorers.models.hub import resolve

        if option == "bad_words" and "://" not in reference and not Path(reference).is_file():
            msg = f"step {step.label}: {option}: there is no file {reference}"
            raise ModelError(msg)
        try:
            path = resolve(reference)
            sha256, size = digest_path(str(path))
        except (InputError, ModelError) as error:
            msg = f"step {step.label}: {option}: {error}"
            raise ModelError(msg) from None
        found[option] = FoundModel(reference, str(path), sha256, size)
        beside = _tokenizer_beside(Path(path)) if isinstance(step, PerplexityStep) and step.tokenizer is None else None
        if beside is not None:
            name = option.replace("model", "tokenizer", 1)
            found[name] = FoundModel(f"{reference}: {beside.name}", str(beside), *digest_path(str(beside)))
    return found


def _tokenizer_beside(model: Path) -> Path | None:
    """Return `LANG.sp.model` beside a model called `LANG.arpa.bin`, as published models lie: it is read with it."""
    language, found, _ = model.name.partition(".arpa")
    beside = model.with_name(f"{language}.sp.model")
    return beside if found and beside.is_file() else None
