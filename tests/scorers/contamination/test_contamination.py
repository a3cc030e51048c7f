"""Contamination: planted items of known kinds, the alignment against a twin, the classical rule, decon's score."""

import gzip
import json
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.contamination.decon import DeconScore, Item
from tamis.scorers.contamination.find import Aligned, NGrams, gram_hits, hit_spans, one_of_each_item, side_by_side
from tamis.scorers.contamination.index import ContaminationIndex
from tests.scorers.dedup.shingle_twin import words

DRAW = random.Random(11)
VOCABULARY = [f"{a}{b}{c}" for a in "bcdfghjkmnpqvwxz" for b in "aeiouy" for c in "lmnrst"]


def sentence(size, draw=DRAW):
    return " ".join(draw.choice(VOCABULARY) for _ in range(size))


ITEMS = [sentence(n) for n in (12, 16, 20, 25, 30, 40, 60, 80)] + [
    f"Which of the following is {w}" for w in VOCABULARY[:40]
]


def tuples(hits):
    return list(zip(*(column.tolist() for column in hits), strict=True))


def planted(item, seed, kind):
    draw = random.Random(seed)
    parts = item.split()
    if kind == "edit":
        for at in draw.sample(range(len(parts)), max(1, len(parts) // 12)):
            parts[at] = draw.choice(["", "changed", parts[at] + " added"])
    elif kind == "half":
        parts = parts[: len(parts) // 2 + 1]
    elif kind == "split":
        parts.insert(len(parts) // 2, "(a remark, said by the way)")
    text = " ".join(parts)
    if kind == "case":
        text = text.upper().replace(" ", ",\n")
    before, after = sentence(40, draw), sentence(30, draw)
    return f"{before}. {text}. {after}", len(before.encode()) + 2, len(before.encode()) + 2 + len(text.encode())


@pytest.mark.parametrize("kind", ["verbatim", "case", "edit", "split", "half"])
def test_planted_items_are_found_where_they_stand(kind):
    index = ContaminationIndex.build(ITEMS)
    for row in range(8):
        text, start, end = planted(ITEMS[row], row, kind)
        hits = [hit for hit in tuples(Aligned().find([text], index)) if hit[1] == row]
        if kind == "half" and row < 2:
            continue  # six or eight words are too few to say anything
        assert len(hits) == 1
        _, _, coverage, whole, first, last, item_first, item_last = hits[0]
        assert whole == (kind != "half")
        assert abs(first - start) <= 10
        assert abs(last - end) <= 10
        if kind in ("verbatim", "case"):
            assert coverage == 1
            assert (first, last, item_first, item_last) == (start, end, 0, len(ITEMS[row]))
        if kind == "half":
            assert 0.4 <= coverage <= 0.75


def test_spans_and_matches():
    index = ContaminationIndex.build([*ITEMS, ITEMS[4] + " and more words here"])
    text, start, end = planted(ITEMS[4], 1, "case")
    texts = ["é " * 10, text]
    hits = Aligned().find(texts, index)
    assert set(hits.items.tolist()) == {4, len(ITEMS)}
    cuts = hit_spans(hits)
    assert tuples(cuts) == [(1, start, end)]
    table = side_by_side(texts, index, hits).to_pylist()
    assert table[0]["document_match"] == text.encode()[start:end].decode()
    assert table[0]["item_match"] == ITEMS[4]
    assert hit_spans(Aligned().find([], index)).texts.tolist() == []


def test_a_small_set_of_items_is_found_too():
    for count in (1, 2, 5):
        items = ITEMS[:count]
        index = ContaminationIndex.build(items)
        text, _, _ = planted(items[-1], 3, "edit")
        assert [hit[1] for hit in tuples(Aligned().find([text], index))] == [count - 1]
        assert not tuples(Aligned().find([sentence(300)], index))


def test_boilerplate_and_clean_documents_are_not_hit():
    index = ContaminationIndex.build(ITEMS)
    texts = [
        "Which of the following is",
        "which of the following is true? Which of the following is false?",
        sentence(500),
    ]
    assert not tuples(Aligned().find(texts, index))
    tail = " ".join(ITEMS[7].split()[-30:])
    assert not tuples(Aligned().find([f"{sentence(50)} {tail} {sentence(50)}"], index))


def test_corpus_frequencies_lower_what_is_common():
    quotation = sentence(14)
    items = [*ITEMS, f"{quotation} {sentence(12)}"]
    index = ContaminationIndex.build(items)
    corpus = [f"{sentence(20)} {quotation} {sentence(20)}" for _ in range(60)] + [sentence(50) for _ in range(200)]
    shards = [corpus[:100], corpus[100:]]
    counts = sum(index.documents_with(shard) for shard in shards)
    assert np.array_equal(counts, index.documents_with(corpus))
    assert any(hit[1] == len(items) - 1 for hit in tuples(Aligned().find(corpus, index)))
    assert not tuples(Aligned().find(corpus, index.weighted(counts, len(corpus))))


def align(item, document, weights, gap):
    """Smith and Waterman's best score, by the textbook."""
    score = defaultdict(float)
    best = 0.0
    for i, word in enumerate(item):
        for j, other in enumerate(document):
            options = [0.0, score[i - 1, j] - gap, score[i, j - 1] - gap]
            if word == other:
                options.append(score[i - 1, j - 1] + weights[i])
            score[i, j] = max(options)
            best = max(best, score[i, j])
    return best


@given(st.integers(0, 10**6), st.integers(0, 8))
def test_coverage_is_that_of_the_best_alignment(seed, edits):
    """No skipped words are within a run, so that score and weight are tied: score = weight - skipped."""
    draw = random.Random(seed)
    item = draw.choice(ITEMS[:7])
    parts = item.split()
    for _ in range(edits):
        parts[draw.randrange(len(parts))] = "other"
    document = f"{sentence(20, draw)} {' '.join(parts)} {sentence(20, draw)}"
    index = ContaminationIndex.build([*ITEMS, "zz yy xx ww"])
    row = ITEMS.index(item)
    weights = index.weights[index.bounds[row] : index.bounds[row + 1]].tolist()
    total = sum(weights)
    hits = [hit for hit in tuples(Aligned(0.05, 0.05, 1e-9, 2e-9).find([document], index)) if hit[1] == row]
    best = align(words(item, "folded"), words(document, "folded"), weights, 1.0)
    longest = max(len(run.split()) for run in " ".join(parts).split("other"))
    if best >= 0.5 * total and longest >= max(4, len(parts) // 5):  # a look starts at a run of equal words
        assert hits
        assert best / total - 1e-4 <= max(hit[2] for hit in hits) <= 1


def test_a_batch_is_its_texts():
    index = ContaminationIndex.build(ITEMS)
    texts = [planted(item, 5, "edit")[0] for item in ITEMS[:8]] + [""]
    together = tuples(Aligned().find(texts, index))
    alone = [(row, *hit[1:]) for row, text in enumerate(texts) for hit in tuples(Aligned().find([text], index))]
    assert together == alone
    assert not tuples(Aligned().find([], index))


def test_repetitive_documents_are_not_quadratic():
    index = ContaminationIndex.build([*ITEMS, "a b a b a b a b a b a b", "the the the the the the"])
    texts = ["a b " * 100_000, "the " * 200_000, (ITEMS[4] + " ") * 2000]
    hits = Aligned().find(texts, index)
    assert len(hits.documents) < 10_000


def test_equal_and_short_items():
    index = ContaminationIndex.build(["a b c d e", "A, B! c d e.", "a b c", ""])
    assert index.rows.tolist() == [0, 0, -1, -1]
    assert len(index) == 1
    assert Aligned().left_out(index).tolist() == []
    assert Aligned(short=40, long=50).left_out(index).tolist() == [0]
    empty = ContaminationIndex.build([])
    assert not tuples(Aligned().find(["some text is here"], empty))


def test_index_files(tmp_path):
    index = ContaminationIndex.build(ITEMS)
    text = planted(ITEMS[3], 1, "edit")[0]
    first = index.write(tmp_path / "a", provenance={})
    assert ContaminationIndex.build(ITEMS).write(tmp_path / "b", provenance={}) == first
    again = ContaminationIndex.read(tmp_path / "a")
    assert tuples(Aligned().find([text], again)) == tuples(Aligned().find([text], index))
    assert again.items.to_pylist() == index.items.to_pylist()
    (tmp_path / "a" / "words.npy").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"words\.npy"):
        ContaminationIndex.read(tmp_path / "a")


def twin_ngrams(items, texts, size, short):
    found = {}
    for d, text in enumerate(texts):
        document = words(text, "folded")
        for i, item in enumerate(items):
            parts = words(item, "folded")
            n = size if len(parts) >= size else short if len(parts) >= short else len(parts)
            if not n:
                continue
            mine = [tuple(parts[k : k + n]) for k in range(len(parts) - n + 1)]
            there = {tuple(document[k : k + n]) for k in range(len(document) - n + 1)}
            share = sum(gram in there for gram in mine) / len(mine)
            if share:
                found[d, i] = share
    return found


@given(st.integers(0, 10**6))
def test_ngrams_are_the_twins(seed):
    draw = random.Random(seed)
    items = list(dict.fromkeys(sentence(draw.randrange(1, 12), draw) for _ in range(12)))
    texts = [" ".join(draw.choice([*items, sentence(3, draw)]) for _ in range(5)) for _ in range(4)]
    finder = NGrams(items, size=5, short=3)
    assert finder.index.items.to_pylist() == items
    got = {(hit[0], hit[1]): hit[2] for hit in tuples(finder.find(texts))}
    assert got == pytest.approx(twin_ngrams(items, texts, 5, 3))


def test_ngrams_of_many_documents_can_be_left_out():
    items = [f"{sentence(6)} {sentence(9)}" for _ in range(3)]
    finder = NGrams(items, most_documents=5)
    texts = [items[0]] * 8 + [items[1]]
    finder.counted(finder.count(texts))
    assert {hit[1] for hit in tuples(finder.find(texts))} == {1}


def test_decon():
    items = [
        Item(sentence(30)),
        Item(sentence(20), "forty two"),
        Item(sentence(25), sentence(12), sentence(40)),
        Item("too short"),
    ]
    finder = DeconScore(items)
    assert finder.names == [[0], [1], [2]]
    whole = [f"{sentence(9)} {i.passage} {i.question} {i.answer} {sentence(9)}" for i in items[:3]]
    assert [hit[:2] for hit in tuples(finder.find(whole))] == [(0, 0), (1, 1), (2, 2)]
    bare = [f"{sentence(9)} {i.question} {sentence(9)}" for i in items[:3]]
    assert [hit[:2] for hit in tuples(finder.find(bare))] == [(0, 0)]  # with an answer, a bare question isn't called
    half = items[0].question.split()[:15]
    assert not tuples(finder.find([" ".join(half)]))
    with pytest.raises(DataError, match="20 words"):
        DeconScore([Item("short")])


def test_wrong_options_are_named():
    with pytest.raises(ConfigError, match="partial"):
        Aligned(threshold=0.3)
    with pytest.raises(ConfigError, match="short"):
        Aligned(short=50)
    with pytest.raises(ConfigError, match="not 0"):
        ContaminationIndex.build(["a"], size=0)
    with pytest.raises(ConfigError, match="14"):
        NGrams(["a"], short=14)


@pytest.mark.devdata
def test_recall_on_planted_contamination(dev_data):
    folder = dev_data / "contamination"
    if not folder.exists():
        pytest.skip("the development corpora have no folder `contamination`")
    evals, train = (gzip.decompress((folder / f"{name}.jsonl.gz").read_bytes()) for name in ("evals", "train"))
    items = [json.loads(line)["question"] for line in evals.splitlines()]
    records = [json.loads(line) for line in train.splitlines()]
    truth = json.loads((folder / "truth.json").read_text())
    hits = Aligned().find([record["text"] for record in records], ContaminationIndex.build(items))
    whole, any_part = ({records[d]["id"] for d in hits.documents[mask]} for mask in (hits.whole, hits.coverage >= 0))
    found = Counter(truth[name][0] for name in whole)
    parts = Counter(truth[name][0] for name in any_part)
    assert [found[kind] for kind in ("verbatim", "qa", "case", "spaces")] == [100] * 4
    assert found["edit1"] >= 95
    assert found["edit3"] >= 80
    assert found["edit6"] >= 50
    assert found["split"] >= 90
    assert parts["half"] >= 80
    assert parts["decoy"] <= 2
    assert parts["clean"] == 0


def test_one_look_finds_the_n_grams_of_every_size_that_a_look_for_each_size_finds():
    draw = random.Random(17)
    few = [f"w{i}" for i in range(12)]
    items = [" ".join(draw.choices(few, k=k)) for k in (1, 2, 3, 4, 5, 7, 8, 9, 13, 14, 30, 30)]
    texts = [" ".join(draw.choices(few, k=draw.randint(0, 60))) for _ in range(60)] + ["", items[-1], items[2]]
    grams = NGrams(items)
    assert len(grams._groups) >= 7
    for (index, _), rows in zip(grams._groups, grams._search.rows(texts), strict=True):
        wanted, _ = gram_hits(texts, index)
        assert rows.tolist() == wanted.tolist()
    assert [c.tolist() for c in grams.count(texts)] == [i.documents_with(texts).tolist() for i, _ in grams._groups]


QUERY, LABEL = sentence(14), sentence(13)
PEER = {
    "query": f"{sentence(12)} {QUERY} {sentence(12)}",
    "label": f"{sentence(12)} {LABEL} {sentence(12)}",
    "both": f"{sentence(12)} {' '.join(QUERY.split()[-6:])} {' '.join(LABEL.split()[:6])} {sentence(12)}",
    "one 12-gram of the query": f"{sentence(12)} {' '.join(QUERY.split()[:12])} {sentence(12)}",
    "less than a 12-gram": f"{sentence(12)} {' '.join(QUERY.split()[:11])} {sentence(12)}",
    "neither": sentence(40),
}


@pytest.mark.parametrize(
    ("items", "found"),
    [
        ([LABEL], {"label"}),  # there: by default, and with find_query_ngrams and find_overlap_ngrams off
        ([QUERY], {"query", "one 12-gram of the query"}),
        ([QUERY, f"{QUERY} {LABEL}"], {"query", "label", "both", "one 12-gram of the query"}),
    ],
)
def test_what_datatroves_tests_of_decontamination_hold_it_to(items, found):
    """12-grams of the label, of the query, and across both, where an item's forms hold them."""
    grams = NGrams(items, size=12, short=8, groups=[0] * len(items))
    hits = {name for name, text in PEER.items() if len(grams.find([text]).items)}
    assert hits == found


def test_forms_of_an_item_are_one_item_wherever_items_are_counted():
    forms = [ITEMS[5], f"{ITEMS[5]} {ITEMS[6]}"]
    others = ITEMS[:4]
    index = ContaminationIndex.build([*others, *forms], groups=[0, 1, 2, 3, 4, 4])
    plain = ContaminationIndex.build([*others, forms[1]])
    assert index.distinct == len(plain) == 5
    begin = index.bounds[5]
    assert index.weights[begin:].tolist() == plain.weights[plain.bounds[4] :].tolist()
    assert index.items_with.max() == plain.items_with.max()
    hits = Aligned().find([f"{sentence(9)} {forms[1]} {sentence(9)} {forms[0]}"], index)
    merged = one_of_each_item(hits, index)
    assert len(hits.items) > len(merged.items) == 2  # at one place the longer form, at the other the shorter
    assert sorted(merged.items.tolist()) == [4, 5]
    assert merged.whole.all()
    assert tuples(one_of_each_item(Aligned().find([forms[0]], plain), plain)) == tuples(
        Aligned().find([forms[0]], plain)
    )
