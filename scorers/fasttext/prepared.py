"""What scoring needs beside the model file: an index of its words and a table of rows, built once and cached.

The table of a softmax classifier with few labels is the input matrix multiplied by the output matrix: a
feature then costs one number a label to look up instead of a whole row. Big tables are stored beside the
model (or, where that folder isn't writable, in the user's cache folder), so that further processes map the
same pages of memory and start at once.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from tamis.scorers.fasttext.format import DenseMatrix, FastTextFile, corrupt
from tamis.scorers.fasttext.vocabulary_kernels import build_slots

__all__ = ["Prepared", "prepare"]

STORED_FROM = 64 << 20
"""From this size of model (bytes) on, tables are stored; smaller ones are prepared in memory in a moment."""
LAYOUT = 2
"""Raised whenever the content of a stored table changes its meaning."""
CHUNK = 1 << 16
ALIGNMENT = 64


@dataclass(frozen=True, eq=False)
class Prepared:
    """Tables for the kernels.

    Attributes:
        starts: int64, position of each dictionary entry in the model file.
        slots: uint64 of shape (slots, 2), open-addressing table of the entries (see `Vocabulary`).
        table: float32 rows: projected on the labels if `projected`, else rows of the input matrix.
        projected: whether `table` holds logits: one column a label, or for two labels the second's minus
            the first's.
    """

    starts: npt.NDArray[np.int64]
    slots: npt.NDArray[np.uint64]
    table: npt.NDArray[np.float32]
    projected: bool


def prepare(model: FastTextFile, *, cache: bool = True) -> Prepared:
    """Return the tables for `model`: stored ones, else built (and stored, for big models).

    Raises:
        ModelError: if the input matrix holds numbers that aren't finite.
    """
    projected = _projects(model)
    if not cache or len(model.data) < STORED_FROM:
        return _prepared(model, _build(model, projected), projected)
    name = f".{model.path.name}.{_digest(model.path)}.tamis"
    folders = [model.path.resolve().parent, _user_cache()]
    for folder in folders:
        stored = _load(folder / name)
        if stored is not None:
            return _prepared(model, stored, projected)
    built = _build(model, projected)
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            _store(folder / name, built)
            stored = _load(folder / name)
            if stored is not None:
                return _prepared(model, stored, projected)
    return _prepared(model, built, projected)


def _projects(model: FastTextFile) -> bool:
    """Project where rows get at least four times shorter; only softmax is a smooth function of its logits."""
    labels = len(model.labels)
    columns = 1 if labels == 2 else labels
    return model.loss == "softmax" and labels >= 2 and 4 * columns <= model.dim


def _prepared(model: FastTextFile, arrays: dict[str, npt.NDArray[Any]], projected: bool) -> Prepared:
    table = arrays.get("table")
    if table is None:
        table = model.input.dense(0, model.input.shape[0])  # unquantised: a view of the file
    for array in (arrays["starts"], arrays["slots"], table):
        array.flags.writeable = False
    return Prepared(arrays["starts"], arrays["slots"], table, projected)


def _build(model: FastTextFile, projected: bool) -> dict[str, npt.NDArray[Any]]:
    entries = model.n_words + len(model.labels)
    starts = np.zeros(entries, np.int64)
    slots = np.zeros((1 << (2 * entries).bit_length(), 2), np.uint64)
    build_slots(model.data, model.entries_at, starts, slots)
    arrays: dict[str, npt.NDArray[Any]] = {"starts": starts, "slots": slots}
    if projected:
        arrays["table"] = _project(model)
    elif not isinstance(model.input, DenseMatrix):
        arrays["table"] = model.input.dense(0, model.input.shape[0])
    return arrays


def _project(model: FastTextFile) -> npt.NDArray[np.float32]:
    """Return input @ output.T, summed in double precision, rounded once."""
    weights = model.output.dense(0, len(model.labels)).astype(np.float64)
    if len(weights) == 2:
        weights = weights[1:] - weights[:1]
    rows = model.input.shape[0]
    table = np.empty((rows, len(weights)), np.float32)
    for start in range(0, rows, CHUNK):
        table[start : start + CHUNK] = model.input.dense(start, min(start + CHUNK, rows)).astype(np.float64) @ weights.T
        model.release()
    if not np.isfinite(table).all():
        raise corrupt(model.path, "its input matrix holds numbers that aren't finite")
    return table


def _digest(path: Path) -> str:
    """Return the file's digest, read in pieces so that it doesn't count as this process's memory."""
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            state.update(piece)
    return state.hexdigest()


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tamis"


def _store(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write a line of JSON (names, types, shapes, positions), then the arrays; no one sees half a file."""
    entries: dict[str, Any] = {}
    position = 0
    for name, array in arrays.items():
        entries[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "at": position}
        position += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
    head = json.dumps({"layout": LAYOUT, "arrays": entries, "bytes": position}).encode()
    head += b" " * (-(len(head) + 1) % ALIGNMENT) + b"\n"
    with _replacing(path) as file:
        file.write(head)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).data)
            file.write(bytes(-array.nbytes % ALIGNMENT))


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Any]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
        Path(name).chmod(0o644)  # others on the machine may map it too
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _load(path: Path) -> dict[str, npt.NDArray[Any]] | None:
    """Map a stored file; None where there is none of this layout and of its full size."""
    try:
        data = np.asarray(np.memmap(path, np.uint8, mode="r"))
        end = data[: 1 << 16].tobytes().index(b"\n") + 1
        head = json.loads(data[:end].tobytes())
        if head["layout"] != LAYOUT or head["bytes"] != len(data) - end:
            return None
        arrays = {}
        for name, entry in head["arrays"].items():
            dtype = np.dtype(entry["dtype"])
            at = end + entry["at"]
            size = dtype.itemsize * int(np.prod(entry["shape"]))
            arrays[name] = data[at : at + size].view(dtype).reshape(entry["shape"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return arrays
