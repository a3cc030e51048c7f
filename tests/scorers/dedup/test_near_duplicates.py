"""Near-duplicates as a whole: against brute force, whatever the sharding; chains, survivors, earlier runs."""

import dataclasses
import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.dedup.bands import BandRows, Bands
from tamis.scorers.dedup.clusters import EARLIER_GONE, EARLIER_KEPT, NEW, Members, resolve_clusters
from tamis.scorers.dedup.keep import Keep
from tamis.scorers.dedup.near_duplicate_index import INDEX_BIT, NearDuplicateIndex
from tamis.scorers.dedup.near_duplicates import NearDuplicates, Shard, document_numbers
from tamis.scorers.dedup.pairs import Edges, candidate_pairs, verify_by_sets
from tamis.scorers.dedup.shingles import Shingles
from tamis.scorers.text.identity import doc_id
from tamis.scorers.text.noise import id_words
from tests.scorers.dedup.shingle_twin import components, jaccard, shingles

CUT = Shingles("words", 3, "folded")
LINKS = st.sampled_from(["component", "kept"])
SURE = Bands(96, 1)
"""Bands with which two texts of similarity 0.3 are missed once in 10^15."""


def corpus(seed, size, families=6, words=30):
    """Texts in families, each a copy of its family's with some words changed, and some too short for a shingle."""
    draw = random.Random(seed)
    bases = [[f"w{draw.randrange(400)}" for _ in range(words)] for _ in range(families)]
    texts = []
    for _ in range(size):
        if draw.random() < 0.1:
            texts.append(draw.choice(["", "one", "a b", "!?", "a b c d"]))
            continue
        text = list(draw.choice(bases))
        for _ in range(draw.choice([0, 0, 1, 2, 4, 9])):
            text[draw.randrange(words)] = f"v{draw.randrange(1000)}"
        texts.append(" ".join(text))
    return texts


def identities(texts):
    return [doc_id("test", str(i)) for i in range(len(texts))]


def sharded(texts, ids, order, cuts, column=None):
    places = [list(part) for part in np.split(np.array(order, np.int64), sorted(cuts))]
    return [
        Shard([texts[i] for i in part], [ids[i] for i in part], None if column is None else [column[i] for i in part])
        for part in places
    ]


def by_id(shards, found):
    """Each document's survivor and cluster size, by id."""
    names = {s << 32 | row: i for s, shard in enumerate(shards) for row, i in enumerate(shard.ids)}
    return {
        name: (names.get(int(kept), int(kept)), int(size))
        for s, shard in enumerate(shards)
        for name, kept, size in zip(shard.ids, found.kept[s], found.sizes[s], strict=True)
    }


def true_edges(texts, size, threshold):
    sets = [set(shingles(text, "words", size, "folded")) for text in texts]
    pairs = [(i, j) for i in range(len(texts)) for j in range(i) if sets[i] and sets[j]]
    return [(i, j) for i, j in pairs if jaccard(sets[i], sets[j]) >= threshold]


def twin_component(texts, ids, size, threshold):
    labels = components(range(len(texts)), true_edges(texts, size, threshold))
    groups = {}
    for i, label in labels.items():
        groups.setdefault(label, []).append(ids[i])
    return {ids[i]: (min(groups[label]), len(groups[label])) for i, label in labels.items()}


def twin_kept(texts, ids, size, threshold, rank):
    edges = {frozenset(edge) for edge in true_edges(texts, size, threshold)}
    kept = {}
    for i in sorted(range(len(texts)), key=rank):
        if i not in kept:
            kept[i] = i
            kept |= {j: i for j in range(len(texts)) if j not in kept and frozenset((i, j)) in edges}
    sizes = Counter(kept.values())
    return {ids[i]: (ids[stays], sizes[stays]) for i, stays in kept.items()}


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.4, 0.6, 0.9]), st.booleans(), st.data())
def test_clusters_are_those_of_brute_force(seed, threshold, out_of_core, data):
    texts = corpus(seed, 40)
    ids = identities(texts)
    order = data.draw(st.permutations(range(len(texts))))
    cuts = data.draw(st.lists(st.integers(0, len(texts)), max_size=3))
    shards = sharded(texts, ids, order, cuts)
    options = NearDuplicates(CUT, SURE, "shingles", threshold)
    found = options.find(shards, partitions=data.draw(st.integers(1, 4)), out_of_core=out_of_core)
    assert by_id(shards, found) == twin_component(texts, ids, 3, threshold)
    assert not found.left_out
    assert (found.edges.similarity >= threshold).all()  # precision after verification is 1


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from([0.4, 0.6, 0.9]), st.data())
def test_kept_links_are_those_of_brute_force(seed, threshold, data):
    texts = corpus(seed, 40)
    ids = identities(texts)
    years = [random.Random(seed + i).choice([None, 2001, 2002, 2003]) for i in range(len(texts))]
    order = data.draw(st.permutations(range(len(texts))))
    shards = sharded(texts, ids, order, data.draw(st.lists(st.integers(0, len(texts)), max_size=3)), years)
    options = NearDuplicates(CUT, SURE, "shingles", threshold, "kept", Keep("newest"))
    found = options.find(shards, partitions=data.draw(st.integers(1, 4)))
    wanted = twin_kept(texts, ids, 3, threshold, lambda i: (-(years[i] or 0), ids[i]))
    assert by_id(shards, found) == wanted


@settings(max_examples=15)
@given(st.integers(0, 10**6), st.sampled_from(["none", "signatures", "shingles"]), LINKS, st.data())
def test_order_sharding_and_partitions_change_nothing(seed, verify, link, data):
    texts = corpus(seed, 50)
    ids = identities(texts)
    lengths = [len(text) for text in texts]
    options = NearDuplicates(CUT, Bands(8, 3), verify, 0.5, link, Keep("longest"))
    plain = [Shard(texts, ids, lengths)]
    wanted = by_id(plain, options.find(plain))
    order = data.draw(st.permutations(range(len(texts))))
    shards = sharded(texts, ids, order, data.draw(st.lists(st.integers(0, len(texts)), max_size=4)), lengths)
    found = options.find(shards, partitions=data.draw(st.integers(1, 5)), out_of_core=data.draw(st.booleans()))
    assert by_id(shards, found) == wanted
    survivors = [name for name, (kept, _) in wanted.items() if kept == name]
    assert {kept for kept, _ in wanted.values()} == set(survivors)  # exactly one of each cluster stays
    assert sum(wanted[name][1] for name in survivors) == len(texts)


def chain(links, words=40, step=4):
    """Texts each like the one before, the first and last unlike."""
    return [" ".join(f"w{i}" for i in range(at * step, at * step + words)) for at in range(links)]


def test_a_chain_is_one_component_but_not_one_kept_cluster():
    texts = chain(30)
    ids = sorted(identities(texts))
    shards = [Shard(texts, ids)]
    joined = NearDuplicates(CUT, SURE, "shingles", 0.7).find(shards)
    assert set(joined.kept[0].tolist()) == {0}
    sets = [set(shingles(text, "words", 3, "folded")) for text in texts]
    assert jaccard(sets[0], sets[-1]) == 0
    linked = NearDuplicates(CUT, SURE, "shingles", 0.7, "kept").find(shards)
    kept = linked.kept[0].tolist()
    assert len(set(kept)) > 5
    assert all(jaccard(sets[i], sets[k]) >= 0.7 for i, k in enumerate(kept) if i != k)
    similarity = verify_by_sets(
        np.stack([joined.kept[0][1:], document_numbers(0, 30)[1:]], axis=1),
        document_numbers(0, 30),
        CUT.sets(texts),
        0.0,
    ).similarity
    assert similarity.min() == 0  # how a report sees that a cluster is a chain


def test_unverified_bands_join_what_verification_parts():
    """Character 5-grams and few rows: unlike records of one template share bands."""
    texts = [f"function call weather city {i:04d} units metric lang en format json" for i in range(80)]
    shards = [Shard(texts, identities(texts))]
    loose = Bands(16, 2)
    assert len(set(NearDuplicates(Shingles("characters", 5, "folded"), loose).find(shards).kept[0].tolist())) < 5
    checked = NearDuplicates(Shingles("characters", 5, "folded"), loose, "shingles", 0.95).find(shards)
    sets = [set(shingles(text, "characters", 5, "folded")) for text in texts]
    assert all(
        jaccard(sets[int(a)], sets[int(b)]) >= 0.95 for a, b in zip(checked.edges.a, checked.edges.b, strict=True)
    )


def test_texts_shorter_than_a_shingle_stay():
    texts = ["", "", "one two", "one two", "!!!", "a b c d e", "a b c d e"]
    for verify in ("none", "signatures", "shingles"):
        found = NearDuplicates(verify=verify).find([Shard(texts, sorted(identities(texts)))])
        assert found.kept[0].tolist() == [0, 1, 2, 3, 4, 5, 5]
        assert found.sizes[0].tolist() == [1, 1, 1, 1, 1, 2, 2]


def test_a_bucket_of_many_copies_is_linear():
    rows = BandRows(np.full(300_000, 7, np.uint64), np.arange(300_000, dtype=np.uint64), np.full(300_000, 9, np.uint64))
    found = candidate_pairs(rows, every=True)
    assert len(found.equal) == 299_999
    assert not len(found.pairs)
    assert not found.left_out


def test_a_bucket_of_many_different_texts_is_bounded_and_counted():
    n = 2000
    digests = np.random.default_rng(3).permutation(n).astype(np.uint64)
    rows = BandRows(np.full(n, 7, np.uint64), np.arange(n, dtype=np.uint64), digests)
    found = candidate_pairs(rows, every=True, neighbours=10)
    assert len(found.pairs) == 10 * n - 55
    assert len(found.pairs) + found.left_out == n * (n - 1) // 2
    one = candidate_pairs(rows, every=False)
    assert len(one.pairs) == n - 1
    with pytest.raises(DataError, match="not 0"):
        candidate_pairs(rows, every=True, neighbours=0)


@pytest.mark.parametrize("similarity", [0.5, 0.6, 0.7, 0.8, 0.9])
def test_recall_follows_the_curve(similarity):
    """600 planted pairs of known Jaccard similarity: within four standard errors of the LSH curve."""
    pairs, union = 600, 60
    common = round(similarity * union)
    texts, draw = [], random.Random(5)
    for i in range(pairs):
        items = [f"p{i}x{j}" for j in range(union)]
        own = draw.sample(range(common, union), (union - common) // 2)
        texts.append(" ".join(items[:common] + [items[j] for j in own]))
        texts.append(" ".join(items[:common] + [items[j] for j in range(common, union) if j not in own]))
    bands = Bands(8, 4)
    found = NearDuplicates(Shingles("words", 1, "none"), bands).find([Shard(texts, identities(texts))])
    kept = found.kept[0].reshape(-1, 2)
    seen = int((kept[:, 0] == kept[:, 1]).sum())
    expected = bands.recall(common / union)
    assert abs(seen / pairs - expected) <= 4 * np.sqrt(expected * (1 - expected) / pairs) + 1e-9
    assert all(a // 2 == b // 2 for a, b in zip(found.edges.a.tolist(), found.edges.b.tolist(), strict=True))


def built(options, texts, ids, index=None):
    """A run over one shard, and the index after it."""
    shard = Shard(texts, ids)
    signed = options.minhash.sign(texts)
    found = options.find([shard], index=index)
    before = index or NearDuplicateIndex.empty(signed.minima.shape[1])
    sets = options.shingles.sets(texts) if options.verify == "shingles" else None
    return found, before.extended(found.clusters, document_numbers(0, len(texts)), id_words(ids), signed, sets)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.sampled_from(["none", "shingles", "signatures"]), st.integers(0, 45))
def test_runs_with_an_index_count_as_one_run_over_all(seed, verify, cut):
    texts = corpus(seed, 45)
    ids = sorted(identities(texts))  # earlier documents have smaller ids, as the one run must choose as they did
    options = NearDuplicates(CUT, Bands(12, 2), verify, 0.5)
    whole = by_id([Shard(texts, ids)], options.find([Shard(texts, ids)]))
    first, index = built(options, texts[:cut], ids[:cut])
    second, index = built(options, texts[cut:], ids[cut:], index)
    names = [f"{a:016x}{b:016x}" for a, b in index.ids.tolist()]
    clusters = {name: (names[index.kept[row]], int(index.sizes[index.kept[row]])) for row, name in enumerate(names)}
    assert clusters == {name: value for name, value in whole.items() if name in clusters}
    assert {name for name, (_, size) in whole.items() if size > 1} <= set(clusters)
    assert int(index.sizes.sum()) == len(index)
    # the second run keeps exactly what the one run would, less what joins clusters that the first had kept
    stays = {
        name for row, (name, kept) in enumerate(zip(ids[cut:], second.kept[0].tolist(), strict=True)) if row == kept
    }
    assert stays == {name for name in ids[cut:] if whole[name][0] == name}
    assert first.sizes[0].sum() >= cut


def test_an_earlier_survivor_stays_whatever_its_rank():
    options = NearDuplicates(Shingles("words", 2), Bands(12, 2))
    text = "the cat sat on the mat and looked at the dog"
    _, index = built(options, [text], ["f" * 32])
    found, index = built(options, [text, text + " again"], ["0" * 32, "1" * 32], index)
    assert found.kept[0].tolist() == [INDEX_BIT, INDEX_BIT]
    assert found.sizes[0].tolist() == [3, 3]
    assert index.sizes[index.kept].tolist() == [3, 3, 3]


def test_two_earlier_clusters_that_a_new_document_joins_count_as_one():
    options = NearDuplicates(Shingles("words", 1, "none"), SURE)
    _, index = built(options, ["a b c d e f", "g h i j k l"], ["1" * 32, "2" * 32])
    found, index = built(options, ["a b c d e f g h i j k l"], ["0" * 32], index)
    assert found.kept[0].tolist() == [INDEX_BIT]
    assert index.sizes[index.kept].tolist() == [3, 3, 3]
    linked = NearDuplicates(Shingles("words", 1, "none"), SURE, link="kept")
    _, index = built(linked, ["a b c d e f", "g h i j k l"], ["1" * 32, "2" * 32])
    found, index = built(linked, ["a b c d e f g h i j k l"], ["0" * 32], index)
    assert index.sizes.tolist() == [2, 1, 0]


def test_members_of_a_joined_cluster_follow_it():
    """Also those of an earlier cluster that resemble nothing of this run."""
    options = NearDuplicates(Shingles("words", 1, "none"), SURE)
    _, index = built(options, ["a b c d e f", "g h i j k l", "unlike all else here"], ["1" * 32, "2" * 32, "3" * 32])
    index = dataclasses.replace(index, kept=np.array([0, 1, 1]), sizes=np.array([1, 2, 0]))
    found, index = built(options, ["a b c d e f g h i j k l"], ["0" * 32], index)
    assert found.sizes[0].tolist() == [4]
    assert index.kept.tolist() == [0, 0, 0, 0]
    assert index.sizes.tolist() == [4, 0, 0, 0]


def test_what_earlier_runs_kept_stays_for_itself_with_kept_links():
    documents = np.arange(4, dtype=np.uint64)
    ranks = np.stack([np.zeros(4, np.uint64), documents[::-1]], axis=1)
    states = np.array([EARLIER_KEPT, EARLIER_KEPT, NEW, EARLIER_GONE], np.uint8)
    members = Members(documents, ranks, np.array([5, 3, 1, 0]), states)
    edges = Edges.of(np.array([[0, 1], [0, 2], [1, 3]], np.uint64), 1.0, same=True)
    clusters = resolve_clusters(edges, members, "kept")
    assert clusters.kept.tolist() == [0, 1, 1, 3]
    assert clusters.sizes.tolist() == [5, 4, 4, 0]


def test_signatures_of_another_length_are_refused():
    options = NearDuplicates(Shingles("words", 2), Bands(4, 2), "shingles", 0.5)
    _, index = built(options, ["a b c d", "a b c d", "x y z"], ["1" * 32, "2" * 32, "3" * 32])
    with pytest.raises(DataError, match="8 entries"):
        index.extended(
            options.find([]).clusters, document_numbers(0, 1), id_words(["5" * 32]),
            NearDuplicates(Shingles(), Bands(1, 3)).minhash.sign(["a"]),
        )  # fmt: skip


def test_presets_and_wrong_options():
    assert NearDuplicates.preset("fineweb").verify == "none"
    dolma = NearDuplicates.preset("dolma3", keep=Keep("newest"))
    assert (dolma.verify, dolma.threshold, dolma.bands) == ("shingles", 0.8, (26, 11))
    with pytest.raises(ConfigError, match="refinedweb"):
        NearDuplicates.preset("refinedweb")
    with pytest.raises(ConfigError, match="maybe"):
        NearDuplicates(verify="maybe")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="chain"):
        NearDuplicates(link="chain")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not 0"):
        NearDuplicates(threshold=0)
    with pytest.raises(ConfigError, match="without them"):
        NearDuplicates(verify="shingles").edges(np.zeros((0, 2), np.uint64), np.zeros(0, np.uint64), None, None)


def test_missing_evidence_is_an_error():
    pairs = np.array([[1, 2]], np.uint64)
    with pytest.raises(DataError, match="0:2"):
        verify_by_sets(pairs, np.array([1], np.uint64), Shingles().sets([""]), 0.5)
    edges = Edges.of(pairs, 1.0)
    with pytest.raises(DataError, match="without its rank"):
        resolve_clusters(edges, Members.new(np.array([1], np.uint64), np.zeros((1, 2), np.uint64)), "component")
    gone = Members(pairs[0], np.zeros((2, 2), np.uint64), np.zeros(2, np.int64), np.full(2, EARLIER_GONE, np.uint8))
    with pytest.raises(DataError, match="earlier run"):
        resolve_clusters(edges, gone, "component")


def test_nothing_at_all():
    for verify in ("none", "shingles", "signatures"):
        found = NearDuplicates(verify=verify).find([])
        assert found.kept == []
        found = NearDuplicates(verify=verify).find([Shard([], [])], partitions=3, out_of_core=True)
        assert [part.tolist() for part in found.kept] == [[]]
