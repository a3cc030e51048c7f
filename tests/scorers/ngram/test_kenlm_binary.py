"""ARPA files and KenLM's probing binaries: against KenLM's library, and a look-up by hand."""

import gzip
import json
import lzma
import random
from pathlib import Path
from typing import Any

import kenlm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ModelError
from tamis.scorers.ngram.arpa import Arpa, read_arpa, write_arpa
from tamis.scorers.ngram.decimal_kernels import parse_float, write_float
from tamis.scorers.ngram.kenlm_binary import ProbingModel, read_header, write_probing
from tamis.scorers.ngram.kenlm_library import LibraryModel
from tamis.scorers.ngram.model import open_ngram_model
from tamis.scorers.text.spans import text_spans

NAMES = ("kenlm_hand3", "kenlm_small3", "kenlm_small5")


@pytest.fixture(scope="module")
def models(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ProbingModel]:
    folder = tmp_path_factory.mktemp("binaries")
    for name in NAMES:
        write_probing(read_arpa(golden / f"{name}.arpa.xz"), folder / name)
    return {name: ProbingModel(folder / name) for name in NAMES}


def by_hand(arpa: Arpa, sentence: list[str], *, start: bool = True) -> tuple[float, int]:
    """Score by the definition: longest stored n-gram, plus back-offs of the longer histories."""
    names = [word.decode() for word in arpa.words.words()]
    probs: dict[tuple[str, ...], float] = {}
    backoffs: dict[tuple[str, ...], float] = {}
    for table in arpa.orders:
        for ids, prob, backoff in zip(
            table.ids.tolist(), table.log10_prob.tolist(), table.backoff.tolist(), strict=True
        ):
            key = tuple(names[i] for i in ids)
            probs[key], backoffs[key] = prob, backoff
    known = [word if (word,) in probs else "<unk>" for word in sentence]
    history: tuple[str, ...] = ("<s>",) if start else ()
    total = 0.0
    for word in [*known, "</s>"]:
        context = history[-(len(arpa.orders) - 1) :] if len(arpa.orders) > 1 else ()
        while (*context, word) not in probs:
            total += backoffs.get(context, 0.0)
            context = context[1:]
        total += probs[(*context, word)]
        history += (word,)
    return total, known.count("<unk>")


@pytest.mark.parametrize("name", NAMES)
def test_golden_sentences_bit_for_bit(golden: Path, models: dict[str, ProbingModel], name: str) -> None:
    cases = json.loads((golden / "kenlm_scores.json").read_text())["models"][name]
    scores = models[name].score(text_spans([case["s"] for case in cases]))
    python = models[name].score(text_spans([case["s"] for case in cases]), python_count=True)
    assert scores.log10_prob.tolist() == [case["score"] for case in cases]
    assert scores.words.tolist() == [len(case["full"]) - 1 for case in cases]
    assert python.words.tolist() == [len(case["s"].split()) for case in cases]
    assert scores.oov.tolist() == [sum(word[2] for word in case["full"]) for case in cases]
    np.testing.assert_allclose(
        10 ** (-scores.log10_prob / (scores.words + 1)), [case["pp_kenlm"] for case in cases], rtol=1e-12
    )


def vocabulary(model: ProbingModel) -> list[str]:
    words = model.words()
    assert words is not None
    return [word.decode() for word in words]


@pytest.mark.parametrize("name", NAMES)
def test_random_text_scores_as_in_the_library(models: dict[str, ProbingModel], name: str) -> None:
    model = models[name]
    library = kenlm.Model(str(model.path))
    draw = random.Random(5)
    words = [*vocabulary(model), "zzz", "Ünïcödé", "x" * 200, "<s>", "</s>"]
    blanks = [" ", "  ", "\t", "\n", "\r\n", "\v", "\f"]
    texts = [
        "".join(draw.choice(words) + draw.choice(blanks) for _ in range(length))
        for length in [*range(60), 2040, 2046, 2047, 2048, 2049, 5000]
    ]
    scores = model.score(text_spans(texts))
    assert scores.log10_prob.tolist() == [library.score(text) for text in texts]
    full = [list(library.full_scores(text)) for text in texts]
    assert scores.oov.tolist() == [sum(word[2] for word in sentence) for sentence in full]
    exact = model.score(text_spans(texts), exact=True)
    np.testing.assert_allclose(exact.log10_prob, [sum(word[0] for word in sentence) for sentence in full], rtol=1e-12)
    one_by_one = [model.score(text_spans([text])).log10_prob[0] for text in texts]
    assert scores.log10_prob.tolist() == one_by_one


@given(data=st.data())
def test_scores_follow_the_definition(golden: Path, models: dict[str, ProbingModel], data: st.DataObject) -> None:
    arpa = read_arpa(golden / "kenlm_hand3.arpa.xz")
    words = data.draw(st.lists(st.sampled_from(["a", "b", "c", "z", "<s>", "</s>"]), max_size=12))
    score = models["kenlm_hand3"].score(text_spans([" ".join(words)]), exact=True)
    expected, oov = by_hand(arpa, words)
    assert score.log10_prob[0] == pytest.approx(expected, rel=1e-6)
    assert score.oov[0] == oov


def test_unicode_white_space_splits_on_request(models: dict[str, ProbingModel]) -> None:
    model = models["kenlm_small5"]
    spaces = "\x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"
    texts = [f"the{space}cat" for space in spaces] + ["the\x1ccat", "the\u200bcat", "the\x00cat"]
    apart = model.score(text_spans(["the cat"])).log10_prob[0]
    plain = model.score(text_spans(texts))
    assert plain.words.tolist() == [1] * len(spaces) + [1, 1, 2]
    split = model.score(text_spans(texts), unicode_split=True)
    assert split.words.tolist() == [2] * len(spaces) + [1, 1, 2]
    assert split.log10_prob[: len(spaces)].tolist() == [apart] * len(spaces)
    assert split.log10_prob[-1] == apart
    counted = model.score(text_spans(texts), python_count=True)
    assert counted.words.tolist() == [2] * len(spaces) + [2, 1, 2]


def test_a_trie_goes_through_the_library_and_scores_the_same(
    golden: Path, models: dict[str, ProbingModel], tmp_path: Path
) -> None:
    path = tmp_path / "small3.trie"
    path.write_bytes(lzma.decompress((golden / "kenlm_small3.trie.xz").read_bytes()))
    trie = open_ngram_model(path)
    assert isinstance(trie, LibraryModel)
    probing = models["kenlm_small3"]
    assert trie.order == probing.order == 3
    assert sorted(trie.words() or []) == sorted(probing.words() or [])
    texts = ["", "the cat sees", "the\xa0cat\x00sees zzz", "\u3000 qq", "a dog . " * 300]
    for options in ({}, {"unicode_split": True}, {"python_count": True}, {"exact": True}):
        ours, theirs = probing.score(text_spans(texts), **options), trie.score(text_spans(texts), **options)
        np.testing.assert_array_equal(ours.words, theirs.words)
        np.testing.assert_array_equal(ours.oov, theirs.oov)
        np.testing.assert_array_equal(ours.log10_prob, theirs.log10_prob)


def test_the_library_reads_what_we_write(golden: Path, models: dict[str, ProbingModel], tmp_path: Path) -> None:
    for name in NAMES:
        plain = tmp_path / f"{name}.arpa"
        plain.write_bytes(lzma.decompress((golden / f"{name}.arpa.xz").read_bytes()))
        again = tmp_path / f"{name}.again.arpa"
        write_arpa(read_arpa(plain), again)
        from_arpa, from_ours = kenlm.Model(str(again)), kenlm.Model(str(models[name].path))
        reference = kenlm.Model(str(plain))
        for text in ("", "a b c", "the cat sees the data .", "zzz"):
            assert reference.score(text) == from_arpa.score(text) == from_ours.score(text)


def pruned(draw: random.Random, order: int) -> str:
    """An ARPA file in which endings of longer n-grams are missing, as other tools' pruning leaves them."""
    words = ["<s>", "</s>", "a", "b", "c", "d"] + (["<unk>"] if draw.random() < 0.7 else [])
    sentences = [["<s>", *draw.choices("abcd", k=draw.randrange(9)), "</s>"] for _ in range(12)]
    grams = [{(word,) for word in words}]
    for n in range(2, order + 1):
        grams.append({tuple(s[i : i + n]) for s in sentences for i in range(len(s) - n + 1)})
    for n in range(order - 1, 1, -1):
        contexts = {gram[:-1] for gram in grams[n]}
        for gram in sorted(grams[n - 1] - contexts):
            if draw.random() < 0.3:
                grams[n - 1].discard(gram)
    lines = ["\\data\\", *(f"ngram {n}={len(level)}" for n, level in enumerate(grams, 1))]
    for n, level in enumerate(grams, 1):
        lines += ["", f"\\{n}-grams:"]
        for gram in sorted(level):
            prob = -round(draw.uniform(0, 3), 4)
            backoff = draw.choice(["", "\t0", f"\t{-round(draw.uniform(0, 1), 4)}"]) if n < order else ""
            lines.append(f"{prob}\t{' '.join(gram)}{backoff}")
    return "\n".join([*lines, "", "\\end\\", ""])


@pytest.mark.parametrize("order", [2, 3, 4, 6])
def test_models_with_missing_endings_score_as_in_the_library(tmp_path: Path, order: int) -> None:
    draw = random.Random(order)
    for attempt in range(20):
        path = tmp_path / f"{attempt}.arpa"
        path.write_text(pruned(draw, order))
        library = kenlm.Model(str(path))
        write_probing(read_arpa(path), tmp_path / "binary")
        model = ProbingModel(tmp_path / "binary")
        texts = [" ".join(draw.choices("abcdz", k=length)) for length in range(30)]
        assert model.score(text_spans(texts)).log10_prob.tolist() == [library.score(text) for text in texts]


def test_too_many_missing_endings_are_refused(tmp_path: Path) -> None:
    words = [f"w{i}" for i in range(20)]
    sections = [
        ["-1\t<unk>", "-1\ta", "-1\tb", *(f"-1\t{word}" for word in words)],
        ["-0.1\ta b"],
        [f"-0.1\ta b {word}" for word in words],
    ]
    lines = ["\\data\\", *(f"ngram {n}={len(section)}" for n, section in enumerate(sections, 1))]
    for n, section in enumerate(sections, 1):
        lines += ["", f"\\{n}-grams:", *section]
    (tmp_path / "pruned.arpa").write_text("\n".join([*lines, "", "\\end\\", ""]))
    with pytest.raises(ModelError, match="missing from the model; prune it less"):
        write_probing(read_arpa(tmp_path / "pruned.arpa"), tmp_path / "binary")


def test_order_one(tmp_path: Path) -> None:
    path = tmp_path / "one.arpa"
    path.write_text("\\data\\\nngram 1=4\n\n\\1-grams:\n-1\t<unk>\n0\t<s>\n-0.5\t</s>\n-0.25\ta\n\n\\end\\\n")
    arpa = read_arpa(path)
    write_probing(arpa, tmp_path / "binary")
    scores = ProbingModel(tmp_path / "binary").score(text_spans(["a a z", ""]))
    assert scores.log10_prob.tolist() == [-2.0, -0.5]
    assert scores.oov.tolist() == [1, 0]


def test_a_model_without_unknown_gives_it_minus_100(tmp_path: Path) -> None:
    path = tmp_path / "no_unknown.arpa"
    path.write_text(
        "\\data\\\nngram 1=3\nngram 2=1\n\n\\1-grams:\n0\t<s>\n-1\t</s>\n-2\ta\n\n\\2-grams:\n-0.1\t<s> a\n\n\\end\\\n"
    )
    arpa = read_arpa(path)
    assert not arpa.has_unknown
    write_probing(arpa, tmp_path / "binary")
    expected = kenlm.Model(str(path)).score("a z")
    assert ProbingModel(tmp_path / "binary").score(text_spans(["a z"])).log10_prob[0] == expected
    write_arpa(arpa, tmp_path / "again.arpa")
    again = read_arpa(tmp_path / "again.arpa")
    assert not again.has_unknown
    assert again.words.words() == arpa.words.words()


def test_arpa_reads_compressed_and_keeps_numbers(golden: Path, tmp_path: Path) -> None:
    arpa = read_arpa(golden / "kenlm_small3.arpa.xz")
    write_arpa(arpa, tmp_path / "a.arpa")
    (tmp_path / "a.gz").write_bytes(gzip.compress((tmp_path / "a.arpa").read_bytes()))
    for path in (tmp_path / "a.arpa", tmp_path / "a.gz"):
        again = read_arpa(path)
        assert again.words.words() == arpa.words.words()
        for ours, theirs in zip(again.orders, arpa.orders, strict=True):
            for left, right in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(left, right)


GOOD = "\\data\\\nngram 1=2\nngram 2=1\n\n\\1-grams:\n-1\t<s>\t-0.5\n-1\ta\n\n\\2-grams:\n-0.1\t<s> a\n\n\\end\\\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("\\data\\", "data", "neither an ARPA file"),
        ("ngram 1=2", "ngram 2=2", "isn't such as 'ngram 1=1000'"),
        ("ngram 1=2\nngram 2=1\n", "", "no 1-grams"),
        ("ngram 2=1", "ngram 2=999999", "more than its"),
        ("-1\ta\n", "1\ta\n", "line 2 of the 1-grams"),
        ("-1\ta\n", "x\ta\n", "line 2 of the 1-grams"),
        ("-1\ta\n", "-1\ta\tnan\n", "no back-off"),
        ("-1\ta\n", "-1\t<s>\n", "twice"),
        ("<s> a\n", "<s> b\n", "isn't among the 1-grams"),
        ("<s> a\n", "<s>\n", "right number of words"),
        ("<s> a\n", "<s> a -1 7\n", "right number of words"),
        ("\\2-grams:", "\\3-grams:", "expected \\2-grams:"),
        ("\\end\\\n", "", "cut short"),
    ],
)
def test_broken_arpa_files_are_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "broken.arpa"
    path.write_text(GOOD)
    read_arpa(path)
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(ModelError) as caught:
        read_arpa(path)
    assert says in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_context_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "context.arpa"
    path.write_text(
        "\\data\\\nngram 1=3\nngram 2=1\nngram 3=1\n\n\\1-grams:\n-1\t<unk>\n-1\ta\n-1\tb\n\n"
        "\\2-grams:\n-0.1\ta b\n\n\\3-grams:\n-0.1\tb a b\n\n\\end\\\n"
    )
    with pytest.raises(ModelError, match="'b a b' is in the model but not"):
        write_probing(read_arpa(path), tmp_path / "binary")
    assert not (tmp_path / "binary").exists()


def test_damaged_binaries_are_refused(models: dict[str, ProbingModel], tmp_path: Path) -> None:
    whole = models["kenlm_small3"].path.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match="cut short"):
        ProbingModel(cut)
    cut.write_bytes(whole.replace(b"version 5", b"version 4"))
    with pytest.raises(ModelError, match="another version"):
        read_header(cut)
    cut.write_bytes(whole[:100])
    with pytest.raises(ModelError):
        read_header(cut)
    cut.write_text("text")
    assert read_header(cut) is None
    with pytest.raises(ModelError, match="isn't a KenLM probing binary"):
        ProbingModel(cut)


@given(st.floats(width=32, min_value=-999, max_value=0))
def test_float32_survives_its_decimal(value: float) -> None:
    if 0 < abs(value) < 1e-12:
        value = 0.0
    buffer = np.zeros(64, np.uint8)
    end = write_float(np.float32(value), buffer, 0)
    text = bytes(buffer[:end]).decode()
    assert np.float32(float(text)) == np.float32(value)
    assert len(text.lstrip("-0.").replace(".", "")) <= 9
    parsed, stop = parse_float(buffer, 0, end)
    assert (np.float32(parsed), stop) == (np.float32(value), end)


@pytest.mark.parametrize(
    "text", ["-1e-05", "-1.5E2", "0", "-0", "3", "+2.5", "-.5", "-12.", "1e-400", "123456789012345678901"]
)
def test_parse_float(text: str) -> None:
    data = np.frombuffer(f"{text} ".encode(), np.uint8)
    value, stop = parse_float(data, 0, len(data))
    assert value == pytest.approx(float(text), rel=1e-14)
    assert stop == len(text)


@pytest.mark.parametrize("text", ["", "-", "x", ".", "-inf"])
def test_parse_float_finds_none(text: str) -> None:
    data: Any = np.frombuffer(text.encode() + b" ", np.uint8)
    assert parse_float(data, 0, len(text))[1] == 0
