import itertools
import json
import math
import pickle
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, RunError
from tamis.scorers.dsir.divergence import kl_reduction
from tamis.scorers.dsir.features import NgramFeatures
from tamis.scorers.dsir.model import DsirModel, ngram_counts
from tamis.scorers.dsir.sampling import DsirDraw, DsirSampling, shares
from tamis.scorers.selection.groups import Groups
from tamis.scorers.selection.order_statistics import Partial
from tamis.scorers.selection.selection import Selection, TopAmount, TopDocuments, TopFraction, TopWeight
from tamis.scorers.text.noise import gumbel_noise, id_words

GOLDEN = Path(__file__).parents[2] / "golden"
WEIGHTS = json.loads((GOLDEN / "dsir_weights.json").read_text(encoding="utf-8"))


def make_ids(n, seed=0):
    rng = random.Random(seed)
    return np.array([f"{rng.getrandbits(128):032x}" for _ in range(n)], dtype="U32")


def sample(sampling, weights, ids, tokens=None, units=None, *, shards=1, order_seed=0):
    """Run a sampling over rows dealt out at random; return the chosen target of each row."""
    rows = np.random.default_rng(order_seed).permutation(len(ids))
    parts = np.array_split(rows, shards)

    def at(column, part):
        return None if column is None else np.asarray(column)[part]

    while (task := sampling.next_pass()) is not None:
        task = pickle.loads(pickle.dumps(task))
        partials = [task.accumulate(weights[p], ids[p], at(tokens, p), at(units, p)) for p in parts]
        sampling.advance(Partial.from_bytes(Partial.merge(partials[::-1]).to_bytes()))
    decision = pickle.loads(pickle.dumps(sampling.decision()))
    chosen = np.empty(len(ids), np.int16)
    for part in parts:
        chosen[part] = decision.choose(weights[part], ids[part], at(tokens, part))
    return chosen


@pytest.mark.parametrize("case", WEIGHTS["cases"], ids=lambda case: case["name"])
@pytest.mark.parametrize("kind", ["sample_gumbel", "sample_top_k"])
def test_reference_resampling_with_its_own_noise(case, kind):
    """The reference draws targets in turn, with noise drawn afresh for the candidates that are left."""
    ids = WEIGHTS["raw_ids"]
    weights = np.array(case["log_weights"]).reshape(len(ids), -1)
    long_enough = np.array(case["length_metadata"]) >= case["params"]["min_example_length"]
    result = case[kind]
    sizes = shares(result["k"], case["target_proportions"] or [1.0])
    free = [i for i in range(len(ids)) if long_enough[i]]
    chosen = []
    noise = iter(result["noise"])
    for target, size in enumerate(sizes):
        if not size:
            continue
        keys = weights[free, target]
        if kind == "sample_gumbel":
            drawn = next(noise)
            assert drawn["num"] == size
            assert drawn["candidate_ids"] == [ids[i] for i in free]
            keys = keys + np.array(drawn["gumbel"])
        names = id_words([f"{i:032x}" for i in free])
        selection = Selection(TopDocuments(size))
        while (task := selection.next_pass()) is not None:
            selection.advance(Partial.merge([task.accumulate(keys[i::3], names[i::3]) for i in range(3)]))
        mask = selection.decision().keep(keys, names)
        chosen += [i for i, kept in zip(free, mask, strict=True) if kept]
        free = [i for i, kept in zip(free, mask, strict=True) if not kept]
    assert [ids[i] for i in sorted(chosen)] == result["chosen_ids_in_file_order"]


@given(
    st.integers(1, 60),
    st.integers(0, 70),
    st.integers(0, 2**63),
    st.integers(1, 4),
    st.integers(0, 1000),
    st.booleans(),
    st.integers(1, 3),
)
def test_sampling_against_brute_force(n, k, seed, shards, order_seed, top_k, targets):
    rng = np.random.default_rng(order_seed)
    weights = rng.normal(0, 3, (n, targets)).round(1 if top_k else 9)
    tokens = rng.integers(0, 300, n)
    tokens[0] = 100
    ids = make_ids(n, order_seed)
    proportions = [1.0, 2.0, 0.0][:targets]
    sampling = DsirSampling(TopDocuments(k), seed=seed, proportions=proportions, top_k=top_k)
    chosen = sample(sampling, weights, ids, tokens, shards=shards, order_seed=order_seed)

    free = [i for i in range(n) if tokens[i] >= 100]
    expected = np.full(n, -1)
    assert (sampling.candidates, sampling.sizes) == (len(free), shares(k, proportions))
    assert bool(sampling.notes()) == (len(free) < k)
    for target, size in enumerate(shares(k, proportions)):
        keys = weights[:, target]
        if not top_k:
            keys = keys + gumbel_noise(seed, f"dsir/{target}" if target else "dsir", ids)
        for i in sorted(free, key=lambda i: (-keys[i], ids[i]))[:size]:
            expected[i] = target
            free.remove(i)
    assert chosen.tolist() == expected.tolist()


@pytest.mark.parametrize("rule", [TopFraction(0.3), TopDocuments(9), TopWeight(0.4)], ids=str)
@pytest.mark.parametrize(("top_k", "shards", "order_seed"), [(False, 1, 0), (False, 4, 1), (True, 3, 2)])
def test_groups_are_drawn_from_as_if_alone(rule, top_k, shards, order_seed):
    rng = np.random.default_rng(4)
    ids, weights, tokens = make_ids(120), rng.normal(0, 3, 120), rng.integers(50, 200, 120)
    labels = [("en",), ("de",), (None,), ("fr",)]
    codes = np.minimum(rng.integers(0, 6, 120), 3)
    tokens[codes == 3] = 10  # a group in which no document is long enough
    units = rng.integers(1, 50, 120)
    sampling = DsirSampling(rule, seed=6, top_k=top_k, grouped=True)
    parts = np.array_split(np.random.default_rng(order_seed).permutation(120), shards)
    while (task := sampling.next_pass()) is not None:
        task = pickle.loads(pickle.dumps(task))
        partials = [
            task.accumulate(weights[p], ids[p], tokens[p], units[p], groups=Groups(codes[p], labels)) for p in parts
        ]
        sampling.advance(Partial.from_bytes(Partial.merge(partials[::-1]).to_bytes()))
    decision = pickle.loads(pickle.dumps(sampling.decision()))
    chosen = decision.choose(weights, ids, tokens, groups=Groups(codes, labels))
    assert (chosen[codes == 3] == -1).all()
    assert sampling.candidates == (tokens >= 100).sum()
    for code in range(3):
        mine = codes == code
        alone = sample(
            DsirSampling(rule, seed=6, top_k=top_k), weights[mine], ids[mine], tokens[mine], units[mine], shards=2
        )
        assert chosen[mine].tolist() == alone.tolist()


def test_groups_of_too_few_are_told():
    sampling = DsirSampling(TopDocuments(3), seed=1, min_tokens=0, grouped=True)
    groups = Groups(np.array([0, 0, 0, 0, 1]), [("en", "web"), (None, "books")])
    while (task := sampling.next_pass()) is not None:
        sampling.advance(Partial.merge([task.accumulate(np.arange(5.0), make_ids(5), groups=groups)]))
    assert sampling.notes() == [
        "dsir was asked for 3 documents of null/books, but only 1 have at least 0 tokens: all of them are kept"
    ]
    assert (sampling.decision().choose(np.arange(5.0), make_ids(5), groups=groups) == 0).sum() == 4
    with pytest.raises(ConfigError, match="for one target alone"):
        DsirSampling(TopDocuments(3), seed=1, proportions=[0.5, 0.5], grouped=True)


def test_fraction_and_share_of_characters():
    rng = np.random.default_rng(5)
    weights, ids = rng.normal(0, 50, 1001), make_ids(1001)
    characters = rng.integers(1, 5000, 1001)
    assert (sample(DsirSampling(TopFraction(0.5), seed=1), weights, ids) == 0).sum() == 500
    drawn = sample(DsirSampling(TopWeight(0.25), seed=1), weights, ids, units=characters) == 0
    share = characters[drawn].sum() / characters.sum()
    assert 0.25 < share <= 0.25 + 5000 / characters.sum()
    both = DsirSampling(TopFraction(0.5), seed=1, proportions=[0.3, 0.7])
    chosen = sample(both, np.stack([weights, -weights], axis=1), ids, shards=3)
    assert [(chosen == 0).sum(), (chosen == 1).sum()] == [150, 350]
    with pytest.raises(ConfigError, match="share out documents"):
        DsirSampling(TopWeight(0.5), seed=1, proportions=[0.5, 0.5])


def test_inclusion_is_sampling_without_replacement():
    """Frequencies of the pairs drawn, over many seeds, against the exact probabilities (chi-squared)."""
    weights = np.log([1.0, 2.0, 4.0, 0.5, 3.0])
    p = np.exp(weights) / np.exp(weights).sum()
    ids = id_words(make_ids(5))
    pairs = dict.fromkeys(itertools.combinations(range(5), 2), 0)
    exact = {(i, j): p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j]) for i, j in pairs}
    assert math.isclose(sum(exact.values()), 1)
    draws = 20_000
    for seed in range(draws):
        keys = DsirDraw(seed).keys(weights, ids)
        first, second = sorted(np.argsort(-keys)[:2].tolist())
        pairs[first, second] += 1
    statistic = sum((pairs[pair] - draws * exact[pair]) ** 2 / (draws * exact[pair]) for pair in pairs)
    assert statistic < 27.9  # 9 degrees of freedom, p = 0.001


def test_seeds_purposes_and_order_of_documents():
    rng = np.random.default_rng(8)
    weights, ids = rng.normal(0, 1, 500), make_ids(500)
    draws = [
        sample(DsirSampling(TopDocuments(50), seed=seed, purpose=purpose), weights, ids)
        for seed, purpose in ((1, "dsir"), (2, "dsir"), (1, "dsir-2"))
    ]
    assert all((a != b).any() for a, b in itertools.combinations(draws, 2))
    back = sample(DsirSampling(TopDocuments(50), seed=1), weights[::-1], ids[::-1], shards=7, order_seed=3)
    assert (back[::-1] == draws[0]).all()
    arrow = DsirSampling(TopDocuments(50), seed=1)
    while (task := arrow.next_pass()) is not None:
        arrow.advance(task.accumulate(weights, pa.array(ids.tolist())))
    assert (arrow.decision().choose(weights, pa.array(ids.tolist())) == draws[0]).all()


def test_nothing_to_draw_from():
    for rule in (TopDocuments(5), TopFraction(0.5), TopWeight(0.5), TopAmount(7)):
        for tokens in ([1, 2, 99], []):
            sampling = DsirSampling(rule, seed=1)
            chosen = sample(sampling, np.zeros(len(tokens)), make_ids(len(tokens)), np.array(tokens, np.int64))
            assert (chosen == -1).all()
            assert sampling.next_pass() is None
            (note,) = sampling.notes()
            assert "no document has 100 tokens or more: lower min_tokens" in note
    several = DsirSampling(TopDocuments(5), seed=1, proportions=[0.5, 0.5], min_tokens=0)
    assert (sample(several, np.zeros((0, 2)), make_ids(0)) == -1).all()
    assert several.notes() == ["no document is left to draw from: look at what the steps before it rejected"]
    with pytest.raises(DataError, match="NaN"):
        sample(DsirSampling(TopDocuments(1), seed=1), np.array([0.0, math.nan]), make_ids(2))
    chosen = sample(DsirSampling(TopDocuments(1), seed=1), np.array([0.0, math.nan]), make_ids(2), np.array([100, 3]))
    assert chosen.tolist() == [0, -1]
    assert (sample(DsirSampling(TopDocuments(0), seed=1), np.zeros(3), make_ids(3)) == -1).all()


def test_more_asked_for_than_there_is():
    sampling = DsirSampling(TopDocuments(10), seed=1, proportions=[0.5, 0.25, 0.25])
    chosen = sample(sampling, np.zeros((6, 3)), make_ids(6))
    assert (np.bincount(chosen) == [5, 1]).all()
    assert sampling.notes() == [
        "dsir was asked for 10 documents, but only 6 have at least 100 tokens: all of them are kept"
    ]
    with pytest.raises(RunError, match="no further pass"):
        sampling.advance(Partial.merge([DsirSampling(TopDocuments(1), seed=1).next_pass().accumulate([], [])]))


def test_shares():
    assert shares(10, [1.0]) == [10]
    assert shares(10, [0.55, 0.45]) == [5, 5]
    assert shares(8, [0.9593797014234463, 0.04062029857655364]) == [7, 1]
    assert shares(7, [2, 2, 2]) == [2, 2, 3]
    for bad in ([], [0.0], [-1.0, 2.0], [math.nan]):
        with pytest.raises(ConfigError, match="proportions"):
            shares(3, bad)


def test_selection_moves_to_the_target():
    """A pool of three known domains, a target of one of them: its share rises and the KL divergence falls."""
    rng = random.Random(4)
    words = {
        "law": ["court", "judge", "law", "statute", "appeal", "plaintiff", "section", "ruling", "the", "of"],
        "cook": ["butter", "flour", "oven", "salt", "whisk", "sugar", "minutes", "the", "of", "bowl"],
        "code": ["return", "def", "class", "import", "self", "(", ")", "=", ":", "the"],
    }
    common = [f"word{i}" for i in range(40)]

    def document(domain):
        return " ".join(rng.choice(words[domain] if rng.random() < 0.4 else common) for _ in range(120))

    domains = np.array([rng.choice(list(words)) for _ in range(900)])
    texts = [document(domain) for domain in domains]
    target = [document("law") for _ in range(100)]
    features = NgramFeatures()
    raw_counts, target_counts = ngram_counts(texts, features), ngram_counts(target, features)
    model = DsirModel.fit(raw_counts, target_counts)
    ids = make_ids(len(texts))
    chosen = sample(DsirSampling(TopDocuments(200), seed=7), model.log_weights(texts), ids, shards=4) == 0
    assert (domains[chosen] == "law").mean() > 0.95
    random_draw = sample(DsirSampling(TopDocuments(200), seed=7), np.zeros(len(texts)), ids) == 0
    counts = [ngram_counts([t for t, c in zip(texts, m, strict=True) if c], features) for m in (chosen, random_draw)]
    assert kl_reduction(target_counts, *counts) > 0.1
