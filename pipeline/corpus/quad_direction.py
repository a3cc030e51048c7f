"""The direction that documents are scored along: fitted once, from the reference set and a sample of the pool."""

import heapq
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.pipeline.corpus.context import Corpus, Fit, Outcome
from tamis.pipeline.formats.options import ReadOptions, data_suffixes
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.graph.passes import Pass, Values
from tamis.pipeline.passes.shard_reader import ColumnReader, read_columns
from tamis.pipeline.passes.stage import READ, StoredShards, stored_shards
from tamis.pipeline.storage import filesystem
from tamis.pipeline.storage.place import Place, Shard
from tamis.pipeline.storage.value_file import read_value, write_value
from tamis.schemas.errors import DamagedError, DataError, ModelError
from tamis.scorers.causal.threads import one_thread
from tamis.scorers.text.noise import id_words, keyed_hash

__all__ = ["DIRECTION", "Proxy", "fit_proxy_direction", "fitted_direction", "forget_proxy", "influence_scorer"]

DIRECTION = "direction"
SPLIT_BYTES = 128 << 20


@dataclass(frozen=True)
class Proxy:
    """The proxy model, what it shall learn, and how influence is computed with it.

    Attributes:
        model: folder or GGUF file.
        device: as PyTorch calls it, or `auto`.
        reference: files of the reference set.
        text: their text field.
        documents: of the reference set that are looked at, at most.
        sample: documents of the pool that the curvature is estimated on.
        influence: fields of `InfluenceOptions`.
    """

    model: str
    device: str
    reference: str
    text: str
    documents: int
    sample: int
    influence: dict[str, Any] = field(default_factory=dict)


_held: dict[tuple[str, ...], Any] = {}


def forget_proxy() -> None:
    """Drop the loaded model, so that its memory can be used otherwise."""
    _held.clear()


def _loaded(model: str, device: str) -> Any:
    from tamis.scorers.causal.models import load_causal_model, resolve_device

    key = (model, resolve_device(device))
    if key not in _held:
        forget_proxy()
        _held[key] = load_causal_model(model, device=key[1])
    return _held[key]


def fitted_direction(path: str) -> tuple[dict[str, Any], bytes]:
    """Return what is known of a direction that the run fitted, and its bytes.

    Raises:
        DamagedError: if it isn't what was written.
    """
    known = read_value(f"{path}.value", [])
    if known is None:
        raise DamagedError(f"{path}.value", "it is missing")
    head, _, body = known.partition(b"\n")
    return json.loads(head), body


def influence_scorer(proxy: Proxy, path: str) -> Any:
    """Return the scorer along a direction that the run fitted, and the direction's digest; loaded once a process.

    Raises:
        DamagedError: if the direction isn't what was written.
        ModelError: if the model can't be loaded.
    """
    from tamis.scorers.influence.fit import InfluenceDirection

    key = ("scorer", proxy.model, proxy.device, path)
    if key not in _held:
        told, body = fitted_direction(path)
        direction = InfluenceDirection.from_bytes(body)
        del body  # as large as what follows from it
        held = _loaded(proxy.model, proxy.device)
        scorer = direction.scorer(held.model, held.tokenizer, alone=True)
        _held[key] = (scorer, told["sha256"])
    return _held[key]


@dataclass(frozen=True)
class _SamplePool:
    """Draws documents of the pool: places of the rows alive of least key."""

    reader: ColumnReader
    most: int
    seed: int

    def __call__(self, shard: Shard, values: Values) -> bytes:
        del values
        parts = [np.zeros((0, 6), np.uint64)]
        for number, (batch, state, _) in enumerate(self.reader.read(shard)):
            rows = np.flatnonzero(state.mask)
            words = id_words(batch.column("doc_id").take(pa.array(rows)))
            keys = keyed_hash(self.seed, "quad-curvature", words)
            places = np.broadcast_to(np.array([shard.index, number], np.uint64), (len(rows), 2))
            table = np.column_stack([keys, words, places, rows.astype(np.uint64)])
            parts = [_least([*parts, table], self.most)]
        return np.ascontiguousarray(parts[0], "<u8").tobytes()


def _least(parts: Sequence[npt.NDArray[np.uint64]], most: int) -> npt.NDArray[np.uint64]:
    table = np.concatenate(parts)
    found: npt.NDArray[np.uint64] = table[np.lexsort(table.T[::-1])[:most]]
    return found


@dataclass(frozen=True)
class _JoinPlaces:
    most: int

    def __call__(self, parts: Sequence[bytes]) -> bytes:
        tables = [np.frombuffer(part, "<u8").reshape(-1, 6) for part in parts]
        return np.ascontiguousarray(_least(tables, self.most), "<u8").tobytes()


def _texts_at(table: npt.NDArray[np.uint64], shards: Sequence[Shard], text: Place) -> list[str]:
    """Return the texts at places, in the order of their keys."""
    found: dict[tuple[int, int, int], str] = {}
    places = [(int(shard), int(batch), int(row)) for shard, batch, row in table[:, 3:]]
    for index in sorted({place[0] for place in places}):
        batches = sorted({batch for shard, batch, _ in places if shard == index})
        read = read_columns(shards[index], ["text"], {"text": text}, batches)
        for number, batch in zip(batches, read, strict=True):
            for row in [row for shard, at, row in places if (shard, at) == (index, number)]:
                found[index, number, row] = batch.column("text")[row].as_py()
    return [found[place] for place in places]


@dataclass(frozen=True)
class _UnlessFitted:
    model: Place

    def __call__(self, values: Values) -> Iterable[Any]:
        return StoredShards()(values) if read_value(f"{_path(self.model, values)}.value", []) is None else ()


def _path(model: Place, values: Values) -> str:
    shards = stored_shards(values[READ])
    return model.of_corpus(shards[0].corpus if shards else "")


@dataclass(frozen=True)
class _FitDirection:
    """Fits the direction on one thread of one worker, and keeps it."""

    label: str
    proxy: Proxy
    seed: int
    sample: str
    text: Place
    model: Place

    def __call__(self, task: None, values: Values) -> bytes:
        """Return what is known of it, as JSON."""
        del task
        path = _path(self.model, values)
        if read_value(f"{path}.value", []) is None:
            shards = stored_shards(values[READ])
            write_value(f"{path}.value", self._fitted(values[self.sample], shards))
        told, _ = fitted_direction(path)
        return json.dumps(told).encode()

    def _fitted(self, sample: bytes, shards: Sequence[Shard]) -> bytes:
        from tamis.scorers.influence.fit import InfluenceOptions, fit_direction

        proxy = self.proxy
        pool = _texts_at(np.frombuffer(sample, "<u8").reshape(-1, 6), shards, self.text)
        if not pool:  # then no document is scored, and a direction isn't needed
            return json.dumps({"curvature_documents": 0, "sha256": None}).encode() + b"\n"
        reference, errors = self._reference()
        held = _loaded(proxy.model, proxy.device)
        options = InfluenceOptions(**proxy.influence)
        try:
            with one_thread():
                direction = fit_direction(held.model, held.tokenizer, reference, pool, options)
        except (DataError, ModelError) as error:
            msg = f"step {self.label}: {error}"
            raise type(error)(msg) from None
        told = {
            "reference_documents": len(reference),
            "reference_errors": errors,
            "reference_tokens": direction.reference_tokens,
            "curvature_documents": len(pool) if options.curvature != "none" else 0,
            "curvature_tokens": direction.pool_tokens,
            "sha256": direction.digest,
        }
        return direction.to_bytes(json.dumps(told).encode() + b"\n")

    def _reference(self) -> tuple[list[str], int]:
        """Return the documents of the reference set of least key, in that order, and how many couldn't be read."""
        proxy = self.proxy
        options = ReadOptions(text=proxy.text)
        files = filesystem.expand(proxy.reference, suffixes=data_suffixes())
        errors = 0

        def documents() -> Iterator[tuple[int, str, str]]:
            nonlocal errors
            for file in files:
                for split in plan_splits(file, options, SPLIT_BYTES):
                    for read in read_split(split, "reference", options):
                        errors += read.errors.num_rows
                        ids = read.documents.column("doc_id")
                        keys = keyed_hash(self.seed, "quad-reference", ids).tolist()
                        yield from zip(keys, ids.to_pylist(), read.documents.column("text").to_pylist(), strict=True)

        chosen = heapq.nsmallest(proxy.documents, (one for one in documents() if one[2]))
        if not chosen:
            told = f"the reference {proxy.reference} holds no text in the field {proxy.text!r}"
            msg = f"step {self.label}: {told}"
            raise DataError(msg)
        return [text for _, _, text in chosen], errors


@dataclass(frozen=True)
class _Told:
    name: str

    def __call__(self, values: Values) -> Outcome:
        told = json.loads(values[self.name])
        return Outcome(metrics={("direction_sha256" if key == "sha256" else key): value for key, value in told.items()})


def fit_proxy_direction(corpus: Corpus, proxy: Proxy) -> Fit:
    """Return the passes that draw the sample of the pool and fit the direction."""
    model = corpus.stage.fitted_place(DIRECTION)
    sample = corpus.each_shard(
        "sample",
        _SamplePool(ColumnReader.of(corpus.state, corpus.columns, []), proxy.sample, corpus.seed),
        combine=_JoinPlaces(proxy.sample),
        tasks=_UnlessFitted(model),
    )
    fit = Pass(
        f"{corpus.label}: direction",
        _FitDirection(corpus.label, proxy, corpus.seed, sample.name, corpus.columns["text"], model),
        inputs=(READ, sample.name),
        step=corpus.label,
        small=True,
    )
    return Fit((sample, fit), {DIRECTION: model}, _Told(fit.name), (fit.name,))
