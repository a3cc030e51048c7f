"""Exact deduplication against a dictionary, for any number of shards and partitions."""

import pyarrow as pa
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from tamis.pipeline.corpus.context import Corpus
from tamis.pipeline.corpus.deduplicate_exact import CLUSTER_SCHEMA, deduplicate_exact, hash_partitions
from tamis.pipeline.graph.exchange import through_files
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.passes.stage import READ, Cut, ReadNote, Stage, stored_shards
from tamis.pipeline.steps.exact_dedup import ExactDedupStep
from tamis.pipeline.storage.column_file import ColumnFile, write_batches
from tamis.pipeline.storage.place import Place
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.tables import STATE_SCHEMA
from tamis.scorers.dedup.text_hash import HASH_COLUMN, TextHash

IDS = pa.schema([("doc_id", pa.string())])
ROW = st.tuples(st.integers(0, 30), st.sampled_from("abcdefgh"), st.booleans())


def read_value_of(rows):
    """Return the value of the pass `read` for source shards of one stored shard each."""
    cuts = [(Cut(count, 0, 1, "x.jsonl"),) for count in rows]
    return b"".join(ReadNote(i, "web", f"s{i}", cut, (), 0, 0.0).to_line() for i, cut in enumerate(cuts))


@given(
    shards=st.lists(st.lists(st.lists(ROW, max_size=5), max_size=3), min_size=1, max_size=4), count=st.integers(1, 5)
)
def test_groups_are_those_of_a_dictionary(tmp_path_factory, shards, count):
    folder = tmp_path_factory.mktemp("dedup")
    places = {name: Place(str(folder / name), corpus=True) for name in ("documents", "hashes", "before", "after")}
    values = Values({READ: read_value_of([1] * len(shards))})
    sources = stored_shards(values[READ])
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
        rows = [pa.record_batch([pa.array(i, pa.string())], schema=IDS) for i in ids]
        write_batches(places["documents"].file(shard), IDS, rows)
        write_batches(places["hashes"].file(shard), TextHash().schema, [TextHash().score(t) for t in texts])
        write_batches(places["before"].file(shard), STATE_SCHEMA, states)
        flat = [
            (doc_id, text, alive)
            for i, t, b in zip(ids, texts, batches, strict=True)
            for doc_id, text, (_, _, alive) in zip(i, t, b, strict=True)
        ]
        every += [(doc_id, shard.index, row, text) for row, (doc_id, text, alive) in enumerate(flat) if alive]

    stage = Stage(1, ExactDedupStep(), {}, None, places["after"], str(folder / "own"))
    columns = {"doc_id": places["documents"], HASH_COLUMN: places["hashes"]}
    decision = deduplicate_exact(Corpus(stage, places["before"], columns, 0, ()))
    (exchange,) = decision.nodes
    object.__setattr__(exchange, "partitions", lambda _: count)
    told = b""
    for node in through_files(exchange):
        told = node.combine([result_of(node.process(task, values)) for task in node.tasks(values)])
    outcome = decision.report(Values({READ: values[READ], exchange.name: told}))

    groups = {}
    for doc_id, shard, row, text in sorted(every):
        groups.setdefault(text, []).append((doc_id, shard, row))
    expected = {}
    for members in groups.values():
        for doc_id, shard, row in members:
            expected[shard, row] = (members[0][0], len(members), (doc_id, shard, row) == members[0])
    assert outcome.metrics["duplicates"] == sum(len(members) - 1 for members in groups.values())
    assert outcome.metrics["documents"] == len(every)
    for shard in sources:
        found_at = decision.columns["dup_cluster"].file(shard)
        with ColumnFile(found_at, CLUSTER_SCHEMA.names) as found, ColumnFile(places["after"].file(shard)) as states:
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


def result_of(done):
    return done if isinstance(done, bytes) else done.value


def test_hash_column_is_what_the_scorer_writes():
    assert TextHash().schema.names == [HASH_COLUMN]


@pytest.mark.parametrize(("rows", "count"), [(0, 1), (1, 1), (4_000_000, 1), (4_000_001, 2)])
def test_partitions_follow_the_corpus(rows, count):
    assert hash_partitions(Values({READ: read_value_of([rows])})) == count
