"""Exact deduplication against a dictionary, for any number of shards and partitions."""

from dataclasses import dataclass

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st
from tamis.schemas.steps import ExactDedupStep

from tamis.pipeline.corpus.deduplicate_exact import CLUSTER_SCHEMA, ApplyClusters, MatchPartition, PartitionShard
from tamis.pipeline.passes.stage import Stage, shard_file
from tamis.pipeline.storage.column_file import ColumnFile, write_batches
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.tables import STATE_SCHEMA
from tamis.scorers.dedup.text_hash import HASH_COLUMN, TextHash


@dataclass(frozen=True)
class Shard:
    index: int
    key: str


IDS = pa.schema([("doc_id", pa.string())])
ROW = st.tuples(st.integers(0, 30), st.sampled_from("abcdefgh"), st.booleans())


@given(
    shards=st.lists(st.lists(st.lists(ROW, max_size=5), max_size=3), min_size=1, max_size=4), count=st.integers(1, 5)
)
def test_groups_are_those_of_a_dictionary(tmp_path_factory, shards, count):
    folder = tmp_path_factory.mktemp("dedup")
    documents, hashes, before, after, columns, keys, matches = (str(folder / str(i)) for i in range(7))
    sources = [Shard(i, f"s{i}") for i in range(len(shards))]
    every = []
    for shard, batches in zip(sources, shards, strict=True):
        ids = [[xxhash.xxh3_128_hexdigest(bytes([number])) for number, _, _ in batch] for batch in batches]
        texts = [[text for _, text, _ in batch] for batch in batches]
        states = []
        for batch in batches:
            state = RowState.alive(len(batch))
            for row, (_, _, alive) in enumerate(batch):
                state.step[row] = -1 if alive else 0
                state.rule[row] = -1 if alive else 0
            states.append(state.to_batch())
        write_batches(
            shard_file(documents, shard.key),
            IDS,
            [pa.record_batch([b], schema=IDS) for b in map(pa.array, [pa.array(i, pa.string()) for i in ids])],
        )
        write_batches(shard_file(hashes, shard.key), TextHash.schema, [TextHash().score(t) for t in texts])
        write_batches(shard_file(before, shard.key), STATE_SCHEMA, states)
        flat = [
            (doc_id, text, alive)
            for i, t, b in zip(ids, texts, batches, strict=True)
            for doc_id, text, (_, _, alive) in zip(i, t, b, strict=True)
        ]
        every += [(doc_id, shard.index, row, text) for row, (doc_id, text, alive) in enumerate(flat) if alive]

    for shard in sources:
        PartitionShard(documents, hashes, before, keys, count)(shard)
    for partition in range(count):
        MatchPartition(tuple(sources), keys, matches)(partition)
    stage = Stage(1, ExactDedupStep(), {}, None, after, "")
    fell = sum(ApplyClusters(stage, documents, before, matches, count, columns)(task) for task in enumerate(sources))

    groups = {}
    for doc_id, shard, row, text in sorted(every):
        groups.setdefault(text, []).append((doc_id, shard, row))
    expected = {}
    for members in groups.values():
        for doc_id, shard, row in members:
            expected[shard, row] = (members[0][0], len(members), (doc_id, shard, row) == members[0])
    assert fell == sum(len(members) - 1 for members in groups.values())
    for shard in sources:
        with ColumnFile(shard_file(columns, shard.key)) as found, ColumnFile(shard_file(after, shard.key)) as states:
            rows = found.read().to_pylist()
            state = states.read().to_pylist()
        for row, (cluster, fate) in enumerate(zip(rows, state, strict=True)):
            if (shard.index, row) in expected:
                first, size, kept = expected[shard.index, row]
                assert (cluster["dup_cluster"], cluster["dup_cluster_size"]) == (first, size)
                assert (fate["step"] == -1) == kept
            else:
                assert cluster == dict.fromkeys(CLUSTER_SCHEMA.names)
                assert fate["step"] == 0


def test_hash_column_is_what_the_scorer_writes():
    assert TextHash.schema.names == [HASH_COLUMN]


@pytest.mark.parametrize(("rows", "count"), [(0, 1), (1, 1), (4_000_000, 1), (4_000_001, 2)])
def test_partitions_follow_the_corpus(rows, count):
    from tamis.pipeline.corpus.deduplicate_exact import partitions

    assert partitions(rows) == count
