"""Near-deduplication over the whole corpus: MinHash bands, candidate pairs, edges, components, one document of each.

The stages are those of `tamis.scorers.dedup.near_duplicates`; each works on one shard or one partition. What they find
is kept with the step: where all of it is there, a run that begins again moves no row.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from tamis.pipeline.corpus.clusters import LARGEST, MATCHES, ApplyClusters, cluster_schema
from tamis.pipeline.corpus.context import Corpus, Decision, Outcome
from tamis.pipeline.corpus.earlier import EveryPart, IndexOptions
from tamis.pipeline.corpus.leave_index import index_passes
from tamis.pipeline.corpus.near_clusters import (
    MEMBERS,
    MEMBERS_PER_PARTITION,
    ClusterPartitions,
    MatchMembers,
    SendMembers,
)
from tamis.pipeline.corpus.near_components import BYTES_PER_EDGE, EDGES_IN_MEMORY, FindComponents
from tamis.pipeline.corpus.near_edges import (
    BAND_ROWS_PER_PARTITION,
    BANDS,
    EVIDENCE,
    EVIDENCE_BYTES_PER_PARTITION,
    FOUND_EDGES,
    PAIRS,
    PAIRS_PER_PARTITION,
    BandPartitions,
    EvidencePartitions,
    MatchBands,
    MatchEvidence,
    ReceiveEdges,
    ReceivePairs,
    SendBands,
    SendEvidence,
    count_notes,
)
from tamis.pipeline.corpus.near_index import SeenSignatures
from tamis.pipeline.corpus.unfinished import Unfinished
from tamis.pipeline.graph.passes import Exchange, Node, Pass, Values
from tamis.pipeline.passes.shard_reader import ColumnReader
from tamis.pipeline.passes.stage import READ
from tamis.scorers.dedup.near_duplicates import NearDuplicates
from tamis.scorers.dedup.report import SourceShare, band_memory, share_notes

__all__ = ["NearDedup", "deduplicate_near", "near_schema", "working_memory"]


_PAIR_BYTES = 100
"""While candidate pairs are sorted and cut."""


@dataclass(frozen=True)
class NearDedup:
    """What a step that removes near-duplicates was asked for.

    Attributes:
        options: what counts as near-duplicates, and what stays.
        name: of the step, if it has one of its own.
        prefix: of the columns of signatures, see `tamis.scorers.dedup.signature_columns`.
        column: what the keep policy looks at, if anything.
        edges_in_memory: edges up to which components are found in memory.
        index: what earlier runs have seen, and where what this one saw goes.
    """

    options: NearDuplicates
    name: str | None = None
    prefix: str = "dup"
    column: str | None = None
    edges_in_memory: int = EDGES_IN_MEMORY
    index: IndexOptions = field(default_factory=IndexOptions)


def near_schema(name: str | None) -> pa.Schema:
    """Return the columns of clusters."""
    return cluster_schema(name, "cluster", "near-duplicates")


def working_memory(documents: int, options: NearDuplicates, *, shingles_bytes: int = 4096) -> int:
    """Return about the bytes that the largest of the stages takes.

    Args:
        documents: how many there are.
        options: what is done.
        shingles_bytes: of a document that is verified, on average.
    """
    band_rows = documents * options.bands.bands
    matching = band_memory(documents, options.bands, -(-max(band_rows, 1) // BAND_ROWS_PER_PARTITION))
    matching += min(band_rows, PAIRS_PER_PARTITION) * _PAIR_BYTES
    evidence = 0 if options.verify == "none" else 2 * min(EVIDENCE_BYTES_PER_PARTITION, documents * shingles_bytes)
    edges = min(documents, EDGES_IN_MEMORY) * BYTES_PER_EDGE
    members = min(documents, MEMBERS_PER_PARTITION) * 200
    return max(matching, evidence, edges, members)


def deduplicate_near(corpus: Corpus, near: NearDedup) -> Decision:
    """Find the clusters of the rows alive, keep one document of each, and write cluster columns and row states."""
    stage, options = corpus.stage, near.options
    pairs, labels = stage.place("pairs"), stage.place("components")
    verified = options.verify != "none"
    edges = stage.place("edges") if verified else pairs
    indexes, folder = near.index.read, near.index.folder
    matches = None if folder is None else stage.place("matches")
    everywhere = tuple(dict.fromkeys([pairs, edges, labels, *([] if matches is None else [matches])]))
    work = Unfinished((stage.state,), everywhere)
    unfinished = corpus.each_shard("finished work", work, tasks=EveryPart(indexes))
    before = (unfinished.name,)

    def exchange(what: str, inputs: tuple[str, ...], after: tuple[str, ...], **parts: Any) -> Exchange:
        return Exchange(
            name=f"{stage.label}: {what}",
            tasks=EveryPart(indexes),
            folder=stage.place(f"{what}-exchange").folder,
            inputs=(READ, *before, *inputs),
            after=(*corpus.after, *after),
            step=stage.label,
            **parts,
        )

    signatures = [f"{near.prefix}_bands", f"{near.prefix}_digest"]
    candidates = exchange(
        "candidates",
        (),
        (),
        partitions=BandPartitions(unfinished.name, options.bands.bands, indexes),
        send=SendBands(
            ColumnReader.of(corpus.state, corpus.columns, signatures), near.prefix, options.bands.bands, options.link
        ),
        match=MatchBands(options, indexes),
        receive=ReceivePairs(pairs, options.shingles.unit == "words", unfinished.name),
        sent=BANDS,
        returned=PAIRS,
    )
    nodes: list[Node] = [unfinished, candidates]
    if verified:
        compared = "text" if options.verify == "shingles" else f"{near.prefix}_minima"
        nodes.append(
            exchange(
                "verification",
                (candidates.name,),
                (),
                partitions=EvidencePartitions(candidates.name, unfinished.name),
                send=SendEvidence(options, pairs, {compared: corpus.columns[compared]}, near.prefix),
                match=MatchEvidence(options),
                receive=ReceiveEdges(pairs, edges, unfinished.name),
                sent=EVIDENCE,
                returned=FOUND_EDGES,
            )
        )
    counted = nodes[-1].name
    keys = ("edges", "ties") if verified else ("candidates", "copies", "ties")
    components = Pass(
        f"{stage.label}: components",
        FindComponents(edges, labels, counted, keys, unfinished.name, near.edges_in_memory, indexes),
        inputs=(READ, unfinished.name, counted),
        step=stage.label,
    )
    wanted = ["doc_id"] if near.column is None else ["doc_id", near.column]
    schema = near_schema(near.name)
    clusters = exchange(
        "clusters",
        (components.name,),
        (),
        partitions=ClusterPartitions(components.name, unfinished.name),
        send=SendMembers(options.keep, near.column, {name: corpus.columns[name] for name in wanted}, edges, labels),
        match=MatchMembers(options.link),
        receive=ApplyClusters(stage, ColumnReader.of(corpus.state, corpus.columns, []), schema, matches),
        sent=MEMBERS,
        returned=MATCHES,
    )
    nodes += [components, clusters]
    listing = None
    if folder is not None and matches is not None:
        evidence = {"shingles": ["text"], "signatures": [f"{near.prefix}_minima"], "none": []}[options.verify]
        reader = ColumnReader.of(corpus.state, corpus.columns, [*signatures, *evidence])
        seen = SeenSignatures(reader, options, near.prefix, matches)
        parts, listing = index_passes(stage, near.index, seen, (*corpus.after, clusters.name))
        nodes += [parts, listing]
    told = listing.name if listing is not None else None
    report = _Found(near, stage.label, candidates.name, counted, components.name, clusters.name, told)
    reads = (READ, candidates.name, counted, components.name, clusters.name, *([] if told is None else [told]))
    return Decision(tuple(nodes), dict.fromkeys(schema.names, stage.state), report, reads)


@dataclass(frozen=True)
class _Found:
    near: NearDedup
    label: str
    candidates: str
    counted: str
    components: str
    clusters: str
    listing: str | None = None

    def __call__(self, values: Values) -> Outcome:
        options = self.near.options
        candidates, copies, left_out = count_notes(values[self.candidates], "candidates", "copies", "left_out")
        components = json.loads(values[self.components] or b"{}")
        notes = [json.loads(line) for line in values[self.clusters].splitlines()]
        documents, fell, clusters = (sum(note[key] for note in notes) for key in ("documents", "fell", "clusters"))
        there, gone = Counter[str](), Counter[str]()
        for note in notes:
            if note["source"] is not None:
                there[note["source"]] += note["documents"]
                gone[note["source"]] += note["fell"]
        shares = {source: SourceShare(count, gone[source]) for source, count in sorted(there.items())}
        largest = sorted((tuple(one) for note in notes for one in note["largest"]), key=_by_size)[:LARGEST]
        metrics = {
            "documents": documents,
            "duplicates": fell,
            "clusters": clusters,
            "candidates": candidates,
            "copies": copies,
            "edges": components.get("edges", 0),
            "comparisons_left_out": left_out,
            "components": "out of core" if components.get("out_of_core") else "in memory",
            "bands": options.bands.bands,
            "rows": options.bands.rows,
            "recall": {f"{at:.2f}": round(recall, 6) for at, recall in options.bands.curve()},
            "removed": {
                source: {"documents": share.documents, "removed": share.removed} for source, share in shares.items()
            },
            "largest": [
                {"doc_id": doc_id, "size": size, "lowest_similarity": lowest} for size, doc_id, lowest in largest
            ],
        }
        if self.near.index.read:
            metrics["duplicates_of_earlier_runs"] = sum(note["earlier"] for note in notes)
        if self.listing is not None:
            metrics["index"] = json.loads(values[self.listing])
        warnings = [f"step {self.label}: {note}" for note in share_notes(shares)]
        if left_out:
            warnings.append(
                f"step {self.label}: {left_out:,} comparisons were left out in bands that very many different texts "
                "share: more rows a band tell them apart"
            )
        return Outcome(metrics=metrics, warnings=tuple(warnings))


def _by_size(cluster: tuple[int, str, float | None]) -> tuple[int, str]:
    return -cluster[0], cluster[1]
