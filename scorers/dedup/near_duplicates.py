"""Near-duplicates of a corpus in shards: signatures, bands, pairs, verified edges, clusters, one document of each kept.

The stages, each a pure function of one shard or one partition, so that no stage needs more memory than that:

1. a shard's texts -> signatures (`sign`) -> band rows, which go to the partitions of the hash space (`BandRows.split`);
2. a partition's band rows, of all shards -> candidate pairs (`candidates`);
3. with verification: pairs go to the partition of their first document, and each shard sends there the shingles of the
   documents that the pairs name (`evidence`) -> edges (`edges`);
4. edges -> components, in memory or out of core (`tamis.scorers.dedup.components`);
5. a partition of components, with the ranks that the shards send -> clusters
   (`tamis.scorers.dedup.clusters.resolve_clusters`), which go back to the shards.

`find` makes them one after the other in this process.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tamis.schemas.errors import ConfigError
from tamis.scorers.dedup.bands import PRESETS, BandRows, Bands, band_rows
from tamis.scorers.dedup.clusters import Clusters, Link, Members, resolve_clusters
from tamis.scorers.dedup.components import (
    Arcs,
    Components,
    connected_components,
    contract,
    partition_arcs,
)
from tamis.scorers.dedup.keep import Keep
from tamis.scorers.dedup.minhash import MinHash, Permutations, Signatures
from tamis.scorers.dedup.near_duplicate_index import INDEX_BIT, NearDuplicateIndex
from tamis.scorers.dedup.pairs import (
    NEIGHBOURS,
    Candidates,
    Edges,
    candidate_pairs,
    unique_pairs,
    verify_by_sets,
    verify_by_signatures,
)
from tamis.scorers.dedup.shingles import Shingles, ShingleSets
from tamis.scorers.text.noise import DocumentIds, id_words
from tamis.scorers.text.texts import TextBuffer, Texts, as_arrow

__all__ = ["Found", "NearDuplicates", "Shard", "Verify", "document_numbers"]

Verify: TypeAlias = Literal["shingles", "signatures", "none"]
"""What makes a candidate an edge: the true Jaccard similarity of the shingles, its estimate from the signatures, or
that it is a candidate."""


def document_numbers(shard: int, rows: int) -> npt.NDArray[np.uint64]:
    """Return the numbers of a shard's documents, shard << 32 | row; shard from 0 to 2^31 - 1."""
    return np.uint64(shard << 32) + np.arange(rows, dtype=np.uint64)


class Shard(NamedTuple):
    """A shard in memory.

    Attributes:
        texts: its texts.
        ids: their 128-bit ids.
        column: what the keep policy looks at; None where it needs nothing.
    """

    texts: "Texts | TextBuffer"
    ids: DocumentIds
    column: Any = None


class Found(NamedTuple):
    """What `NearDuplicates.find` found.

    Attributes:
        kept: for each shard the document number that stays for each document's cluster (its own where it stays).
        sizes: for each shard the size of each document's cluster, earlier runs included.
        clusters: all documents with an edge, those of the index included.
        edges: all edges.
        left_out: see `tamis.scorers.dedup.pairs.Candidates`.
    """

    kept: list[npt.NDArray[np.uint64]]
    sizes: list[npt.NDArray[np.int64]]
    clusters: Clusters
    edges: Edges
    left_out: int


@dataclass(frozen=True)
class NearDuplicates:
    """What counts as near-duplicates, and which of them stay.

    Attributes:
        shingles: what a text is cut into.
        bands: the signature's division.
        verify: see `Verify`.
        threshold: least similarity of an edge, with `verify`.
        link: see `tamis.scorers.dedup.clusters`.
        keep: which document of a cluster stays.
        seed: of the permutations.
        scheme: of the permutations.
        neighbours: see `tamis.scorers.dedup.pairs.candidate_pairs`.
    """

    shingles: Shingles = field(default_factory=Shingles)
    bands: Bands = PRESETS["fineweb"].bands
    verify: Verify = "none"
    threshold: float = 0.8
    link: Link = "component"
    keep: Keep = field(default_factory=Keep)
    seed: int = 1
    scheme: Literal["affine32", "affine64", "legacy"] = "affine32"
    neighbours: int = NEIGHBOURS

    def __post_init__(self) -> None:
        if self.verify not in get_args(Verify):
            msg = f"near-duplicates are verified by one of {', '.join(get_args(Verify))}, not {self.verify!r}"
            raise ConfigError(msg)
        if self.link not in get_args(Link):
            msg = f"near-duplicates are linked by one of {', '.join(get_args(Link))}, not {self.link!r}"
            raise ConfigError(msg)
        if not 0 < self.threshold <= 1:
            msg = f"the threshold of near-duplicates is a Jaccard similarity above 0 and up to 1, not {self.threshold}"
            raise ConfigError(msg)

    @classmethod
    def preset(cls, name: str, *, link: Link = "component", keep: Keep | None = None) -> "NearDuplicates":
        """Return a published recipe, see `tamis.scorers.dedup.bands.PRESETS`.

        Raises:
            ConfigError: if there is none of that name.
        """
        if name not in PRESETS:
            msg = f"near-duplicates have the presets {', '.join(PRESETS)}, not {name!r}"
            raise ConfigError(msg)
        shingles, bands, verify = PRESETS[name]
        return cls(shingles, bands, "none" if verify is None else "shingles", verify or 0.8, link, keep or Keep())

    @property
    def minhash(self) -> MinHash:
        """The signer."""
        return MinHash(self.shingles, Permutations(self.bands.permutations, self.seed, self.scheme))

    @property
    def every(self) -> bool:
        """Whether all pairs of a bucket are needed."""
        return self.verify != "none" or self.link == "kept"

    def candidates(
        self, rows: BandRows, *, limit: int | None = None, groups: npt.NDArray[np.int64] | None = None
    ) -> Candidates:
        """Return the pairs of a partition's band rows, those between two documents of one index left out.

        Args:
            rows: the partition's.
            limit: see `tamis.scorers.dedup.pairs.candidate_pairs`.
            groups: for each shard's number that of the index that it belongs to, 0 for one of the run; None: an index's
                numbers have `INDEX_BIT`.
        """
        found = candidate_pairs(rows, every=self.every, neighbours=self.neighbours, limit=limit)

        def known(pairs: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
            if groups is None:
                inside: npt.NDArray[np.bool_] = (pairs & np.uint64(INDEX_BIT) != 0).all(axis=1)
                return inside
            of = groups[(pairs >> np.uint64(32)).astype(np.int64)]
            same: npt.NDArray[np.bool_] = (of[:, 0] == of[:, 1]) & (of[:, 0] > 0)
            return same

        equal, pairs = (part[~known(part)] for part in (found.equal, found.pairs))
        return Candidates(equal, pairs, found.left_out)

    def evidence(self, texts: "Texts | TextBuffer", rows: npt.NDArray[np.int64]) -> ShingleSets:
        """Return the sets of shingles of some of a shard's texts."""
        taken = texts if not isinstance(texts, TextBuffer) else _array(texts)
        return self.shingles.sets(as_arrow(taken).take(pa.array(rows)))

    def edges(
        self,
        pairs: npt.NDArray[np.uint64],
        documents: npt.NDArray[np.uint64],
        sets: ShingleSets | None,
        minima: npt.NDArray[np.unsignedinteger] | None,
    ) -> Edges:
        """Return which of a partition's pairs are edges.

        Args:
            pairs: document numbers (n, 2).
            documents: the documents that they name, ascending (m,).
            sets: their shingles (m), with `verify: shingles`.
            minima: their signatures (m, permutations), with `verify: signatures`.

        Raises:
            ConfigError: if what verification needs is absent.
            DataError: if a document of a pair is.
        """
        if self.verify == "none":
            return Edges.of(pairs, np.nan)
        if self.verify == "shingles" and sets is not None:
            return verify_by_sets(pairs, documents, sets, self.threshold)
        if self.verify == "signatures" and minima is not None:
            return verify_by_signatures(pairs, documents, minima, self.threshold)
        msg = f"pairs can't be verified by {self.verify} without them"
        raise ConfigError(msg)

    def find(
        self,
        shards: Sequence[Shard],
        *,
        partitions: int = 1,
        index: NearDuplicateIndex | None = None,
        out_of_core: bool = False,
        signatures: Sequence[Signatures] | None = None,
    ) -> Found:
        """Find the near-duplicates of shards in memory; the result doesn't depend on the partitions.

        Args:
            shards: the documents.
            partitions: parts of the hash space, matched one at a time.
            index: what earlier runs have seen, made with the same options.
            out_of_core: find components by passes over partitions of edges.
            signatures: the shards' signatures, where they are made already.
        """
        signer = self.minhash
        signed = [signer.sign(shard.texts) for shard in shards] if signatures is None else list(signatures)
        numbers = [document_numbers(i, len(part)) for i, part in enumerate(signed)]
        rows = [band_rows(part, self.bands, of).split(partitions) for part, of in zip(signed, numbers, strict=True)]
        if index is not None:
            rows.append(band_rows(index.signatures, self.bands, index.numbers).split(partitions))
        matched = [self.candidates(BandRows.concatenate([shard[p] for shard in rows])) for p in range(partitions)]
        del rows
        equal = unique_pairs(np.concatenate([np.zeros((0, 2), np.uint64), *(one.equal for one in matched)]))
        pairs = unique_pairs(np.concatenate([np.zeros((0, 2), np.uint64), *(one.pairs for one in matched)]))
        found = [Edges.of(equal, 1.0, same=True)]
        for part in _split_pairs(pairs, partitions):
            documents = np.unique(part)
            sets, minima = self._evidence(shards, signed, index, documents)
            found.append(self.edges(part, documents, sets, minima))
        edges = Edges.concatenate(found)
        return self._resolved(shards, numbers, index, edges, partitions if out_of_core else 0, matched)

    def _evidence(
        self,
        shards: Sequence[Shard],
        signed: Sequence[Signatures],
        index: NearDuplicateIndex | None,
        documents: npt.NDArray[np.uint64],
    ) -> tuple[ShingleSets | None, npt.NDArray[np.unsignedinteger] | None]:
        if self.verify == "none":
            return None, None
        sets, minima = [], []
        owner = documents >> np.uint64(32)
        places = (documents & np.uint64(0xFFFFFFFF)).astype(np.int64)
        for i, shard in enumerate(shards):
            rows = places[owner == i]
            if self.verify == "signatures":
                minima.append(signed[i].minima[rows])
            elif len(rows):
                sets.append(self.evidence(shard.texts, rows))
        if index is not None:
            rows = (documents[documents >= INDEX_BIT] - np.uint64(INDEX_BIT)).astype(np.int64)
            if self.verify == "signatures":
                minima.append(index.signatures.minima[rows])
            else:
                sets.append(index.sets.take(rows))
        if self.verify == "signatures":
            return None, np.concatenate(minima) if minima else np.zeros((0, self.bands.permutations), np.uint32)
        return ShingleSets.concatenate(sets), None

    def _resolved(
        self,
        shards: Sequence[Shard],
        numbers: list[npt.NDArray[np.uint64]],
        index: NearDuplicateIndex | None,
        edges: Edges,
        partitions: int,
        matched: Sequence[Candidates],
    ) -> Found:
        ids = [id_words(shard.ids) for shard in shards]
        if index is not None:
            edges = Edges.concatenate([edges, index.ties(np.unique(np.concatenate([edges.a, edges.b])))])
        components = _components(edges, partitions)
        members = []
        for i, shard in enumerate(shards):
            mine = components.documents[components.documents >> np.uint64(32) == i]
            ranks = self.keep.ranks(ids[i], shard.column)
            members.append(Members.new(mine, ranks[(mine - np.uint64(i << 32)).astype(np.int64)]))
        width = max([2, *(part.ranks.shape[1] for part in members)])
        if index is not None:
            members.append(index.members(components.documents[components.documents >= INDEX_BIT], width))
        whole = (
            Members(*(np.concatenate(columns) for columns in zip(*members, strict=True)))
            if members
            else (Members.new(np.zeros(0, np.uint64), np.zeros((0, width), np.uint64)))
        )
        clusters = resolve_clusters(edges, whole, self.link)
        kept = [number.copy() for number in numbers]
        sizes = [np.ones(len(number), np.int64) for number in numbers]
        for i in range(len(shards)):
            of = clusters.documents >> np.uint64(32) == i
            places = (clusters.documents[of] - np.uint64(i << 32)).astype(np.int64)
            kept[i][places] = clusters.kept[of]
            sizes[i][places] = clusters.sizes[of]
        return Found(kept, sizes, clusters, edges, sum(one.left_out for one in matched))


def _array(texts: TextBuffer) -> pa.LargeStringArray:
    data, offsets = texts
    return pa.LargeStringArray.from_buffers(len(texts), pa.py_buffer(offsets.tobytes()), pa.py_buffer(data))


def _split_pairs(pairs: npt.NDArray[np.uint64], partitions: int) -> list[npt.NDArray[np.uint64]]:
    """Return the pairs of each partition, by a hash of their first document."""
    arcs = partition_arcs(Arcs(pairs[:, 0], pairs[:, 1]), partitions)
    return [np.stack(part, axis=1) for part in arcs]


def _components(edges: Edges, partitions: int) -> Components:
    """Return the components, out of core where there are partitions."""
    if not partitions:
        return connected_components(edges.a, edges.b)

    def exchange(parts: Any) -> list[Arcs]:
        cuts = [partition_arcs(part, partitions) for part in parts]
        columns = [tuple(map(np.concatenate, zip(*mine, strict=True))) for mine in zip(*cuts, strict=True)]
        return [Arcs(*pair) for pair in columns]

    stars = contract(partition_arcs(Arcs(edges.a, edges.b), partitions), exchange)
    a, b = (np.concatenate(columns) for columns in zip(*stars, strict=True))
    return connected_components(a, b)
