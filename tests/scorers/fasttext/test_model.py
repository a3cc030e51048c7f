import functools
import itertools
import re

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.fasttext import prepared as fasttext_prepared
from tamis.scorers.fasttext.format import read_fasttext
from tamis.scorers.fasttext.model import FastTextModel
from tamis.scorers.fasttext.texts_kernels import cut_texts
from tamis.scorers.text.texts import as_buffer

TOPICS = {
    "a": "river mountain forest stream valley rock 山 河 森林 река гора лес ποτάμι βουνό نهر जंगल naïve Élan",
    "b": "engine wheel motor brake gear oil 车 轮 引擎 мотор колесо κινητήρας محرك इंजन straße ÿ",
    "c": "bread butter cheese olive garlic onion 面包 奶酪 хлеб сыр ψωμί خبز रोटी crème brûlée",
    "d": "loss gradient tensor kernel batch epoch 张量 梯度 тензор τανυστής 😀 🚀 𝕏",
    "e": "judge court law statute appeal verdict 法院 法官 суд закон δικαστήριο محكمة न्यायालय",
}
COMMON = [*"etaoinshrdlu", "the", "of", "and", "to", "in", "it", "is", "was"]

KINDS = {
    # name: (labels, training options, quantisation options)
    "plain": ("ab", {}, None),
    "preselect": ("ab", {"wordNgrams": 2, "dim": 100}, None),
    "long_ngrams": ("ab", {"wordNgrams": 5, "dim": 8}, None),
    "five_labels": ("abcde", {"wordNgrams": 2, "dim": 32}, None),
    "five_labels_narrow": ("abcde", {"wordNgrams": 3, "dim": 10}, None),
    "one_label": ("a", {}, None),
    "subwords": ("ab", {"minn": 2, "maxn": 4, "wordNgrams": 2}, None),
    "subwords_from_1": ("abcde", {"minn": 1, "maxn": 3, "dim": 12}, None),
    "rare_words_cut": ("ab", {"minCount": 30, "wordNgrams": 2}, None),
    "hierarchical": ("abcde", {"loss": "hs", "wordNgrams": 2}, None),
    "hierarchical_subwords": ("abcde", {"loss": "hs", "minn": 2, "maxn": 3, "dim": 16}, None),
    "hierarchical_one_label": ("a", {"loss": "hs"}, None),
    "one_vs_all": ("abcde", {"loss": "ova", "wordNgrams": 2}, None),
    "negative_sampling": ("abcde", {"loss": "ns", "dim": 11}, None),
    "quantised": ("ab", {"wordNgrams": 2, "dim": 10}, {"dsub": 3}),
    "quantised_norms": ("abcde", {"minn": 2, "maxn": 4, "dim": 16}, {"qnorm": True}),
    "quantised_output": ("many", {"wordNgrams": 2, "dim": 9}, {"qout": True, "dsub": 2}),
    "pruned": ("ab", {"wordNgrams": 2, "dim": 16}, {"cutoff": 500, "retrain": False}),
    "pruned_subwords": ("abcde", {"minn": 2, "maxn": 4, "loss": "hs"}, {"cutoff": 400, "qnorm": True}),
    "pruned_words_only": ("ab", {"dim": 16}, {"cutoff": 300}),
}

TOLERANCE = 2e-5  # the library adds thousands of rows in single precision

ODD = [
    "",
    " ",
    "\t\r\v\f",
    "a",
    "river",
    "out of vocabulary entirely xyzzy",
    "__label__a river",
    "__label__unknown river __label__",
    "__label__b",
    "</s>",
    "river </s> engine engine engine",
    "river</s> engine <s> < > <river>",
    "nul\0between river\0engine",
    "naïve Élan straße ÿ ÿÿÿ 山 山河 𝕏𝕏",
    "river\u00a0engine\u3000bread\u2028butter",
    "river\x1cengine\x85bread",
    "x" * 3000,
    "山" * 2000,
    " ".join(["river engine"] * 700),
    " " + "a " * 1500,
]


def sentences(n, labels, seed):
    rng = np.random.default_rng(seed)
    words = {label: TOPICS[label].split() for label in TOPICS}
    names = list(TOPICS) if labels == "many" else list(labels)
    for i in range(n):
        topic = names[i % len(names)]
        size = int(rng.integers(3, 40))
        mixed = [
            str(rng.choice(words[topic] if rng.random() < 0.4 else COMMON))
            if rng.random() < 0.95
            else f"w{rng.integers(500)}"
            for _ in range(size)
        ]
        label = f"{topic}{i % 300}" if labels == "many" else topic
        yield label, " ".join(mixed)


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Return a function from a kind to the path of its model, trained by the library on first use."""
    folder = tmp_path_factory.mktemp("fasttext")
    built = {}

    def build(kind):
        if kind in built:
            return built[kind]
        labels, options, quantisation = KINDS[kind]
        train = folder / f"{kind}.txt"
        with train.open("w") as file:
            for label, text in sentences(900, labels, 1):
                file.write(f"__label__{label} {text}\n")
        options = {
            "dim": 20,
            "bucket": 3000,
            "epoch": 3,
            "lr": 0.5,
            "thread": 1,
            "verbose": 0,
            "minCount": 1,
        } | options
        model = fasttext.train_supervised(str(train), **options)
        if quantisation is not None:
            model.quantize(input=str(train), thread=1, verbose=0, **quantisation)
        built[kind] = folder / f"{kind}.bin"
        model.save_model(str(built[kind]))
        return built[kind]

    return build


def library_scores(library, texts):
    """Return one dictionary of label to probability for each text."""
    lines = [text.replace("\n", " ") for text in texts]
    return [dict(zip(*library.predict(line, k=-1), strict=True)) for line in lines]


@pytest.mark.parametrize("kind", KINDS)
def test_equals_the_library(trained, kind):
    path = trained(kind)
    library, ours = fasttext.load_model(str(path)), FastTextModel(path)
    texts = ODD + [text for _, text in sentences(300, "abcde", 2)]
    texts += [" ".join(pair) for pair in itertools.pairwise(texts[-50:])]
    expected = library_scores(library, texts)
    labels, probabilities = ours.predict(texts, k=-1)
    for row_labels, row, reference in zip(labels, probabilities, expected, strict=True):
        assert set(row_labels) == set(reference)
        assert list(row) == sorted(row, reverse=True)
        np.testing.assert_allclose(row, [reference[label] for label in row_labels], rtol=0, atol=TOLERANCE)
    for label in ours.labels[:6]:
        scores = ours.score(texts, label=label)
        assert scores.dtype == np.float32
        wanted = np.array([reference.get(label, 0.0) for reference in expected])
        np.testing.assert_allclose(scores, wanted, rtol=0, atol=TOLERANCE)
    assert tuple(library.get_labels()) == ours.labels


@pytest.mark.parametrize("kind", ["preselect", "five_labels_narrow", "hierarchical", "one_vs_all", "pruned_subwords"])
@pytest.mark.parametrize(("k", "threshold"), [(1, 0.0), (2, 0.0), (3, 0.3), (-1, 0.1), (1, 0.9), (100, 0.02)])
def test_k_and_threshold(trained, kind, k, threshold):
    path = trained(kind)
    library, ours = fasttext.load_model(str(path)), FastTextModel(path)
    texts = [text for _, text in sentences(100, "abcde", 3)]
    labels, probabilities = ours.predict(texts, k, threshold)
    expected_labels, expected = library.predict(texts, k, threshold)
    for i in range(len(texts)):
        assert labels[i] == list(expected_labels[i])
        np.testing.assert_allclose(probabilities[i], expected[i], rtol=0, atol=TOLERANCE)
    top = ours.top(texts, k, threshold)
    width = min(k if k > 0 else 100, len(ours.labels))
    assert top.ids.shape == top.probabilities.shape == (len(texts), width)
    assert [[ours.labels[i] for i in row if i >= 0] for row in top.ids] == labels


PIECES = st.sampled_from(
    [
        *" \t\r\v\f\0\x1c\x85\u00a0\u3000",
        *"ab<>/s_é山𝕏",
        "river",
        "engine",
        "__label__a",
        "__label__",
        "</s>",
        "мотор ",
    ]
)


@functools.cache
def both(path):
    return fasttext.load_model(str(path)), FastTextModel(path)


@pytest.mark.parametrize("kind", ["preselect", "subwords_from_1", "pruned_subwords"])
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(PIECES, max_size=40))
def test_any_text_equals_the_library(trained, kind, pieces):
    library, ours = both(trained(kind))
    (expected,) = library_scores(library, ["".join(pieces)])
    (labels,), (row,) = ours.predict(["".join(pieces)], k=-1)
    assert set(labels) == set(expected)
    np.testing.assert_allclose(row, [expected[label] for label in labels], rtol=0, atol=TOLERANCE)


def test_newlines(trained):
    library, ours = both(trained("preselect"))
    texts = [
        "  river\nengine\n\nbread ",
        "\u00a0river\n engine\u3000",
        "\n",
        "\x1cmountain\nwheel\x85",
        "a\nb" * 300,
    ]
    for newline, strip, same in (
        ("blank", False, lambda text: text.replace("\n", " ")),
        ("blank", True, lambda text: text.strip().replace("\n", " ")),
        ("glue", True, lambda text: text.strip().replace("\n", "")),
        ("glue", False, lambda text: text.replace("\n", "")),
    ):
        expected = [row["__label__b"] for row in library_scores(library, map(same, texts))]
        np.testing.assert_allclose(
            ours.score(texts, label="b", newline=newline, strip=strip), expected, rtol=0, atol=TOLERANCE
        )
    with pytest.raises(ConfigError, match="newline is 'space'"):
        ours.score(texts, label="b", newline="space")


@given(
    st.text(
        st.sampled_from("a\n \t\x1c\x1f\x85\u00a0\u1680\u2000\u200a\u200b\u2028\u202f\u205f\u3000\u180eé𝕏"),
        max_size=12,
    )
)
@settings(deadline=None)
def test_cut_is_str_strip(text):
    buffer = as_buffer([text])
    starts, stops = np.zeros(1, np.int64), np.zeros(1, np.int64)
    for prefix in (-1, 0, 2):
        cut_texts(buffer.data, buffer.offsets, True, prefix, starts, stops)
        expected = text.strip() if prefix < 0 else text.strip()[:prefix]
        assert bytes(buffer.data[starts[0] : stops[0]]).decode() == expected


def test_batches_do_not_matter(trained):
    _, ours = both(trained("preselect"))
    texts = ODD + [text for _, text in sentences(50, "abcde", 4)]
    together = ours.score(texts, label="a")
    assert list(together) == [ours.score([text], label="a")[0] for text in texts]
    np.testing.assert_array_equal(together[3:9], ours.score(pa.array(texts).slice(3, 6), label="a"))
    assert ours.score([], label="a").shape == (0,)
    assert ours.predict([], k=-1) == ([], [])
    assert ours.score([None], label="a") == ours.score([""], label="a")
    with pytest.raises(DataError, match="surrogate"):
        ours.score(["\ud800"], label="a")


def test_labels_and_k_are_checked(trained):
    _, ours = both(trained("preselect"))
    assert ours.label_id("a") == ours.label_id("__label__a")
    with pytest.raises(ConfigError, match=r"no label 'z'; it has __label__"):
        ours.score(["x"], label="z")
    for k in (0, -2):
        with pytest.raises(ConfigError, match="k is"):
            ours.predict(["x"], k=k)


def test_table_is_stored_beside_the_model_by_digest(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(fasttext_prepared, "STORED_FROM", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    texts = [text for _, text in sentences(20, "ab", 5)]
    for kind in ("preselect", "quantised_norms", "subwords"):
        _, plain = both(trained(kind))
        path = tmp_path / kind / "model.bin"
        path.parent.mkdir()
        path.write_bytes(trained(kind).read_bytes())
        first = FastTextModel(path).score(texts, label="a")
        (stored,) = path.parent.glob(".model.bin.*.tamis")
        np.testing.assert_array_equal(first, plain.score(texts, label="a"))
        monkeypatch.setattr(fasttext_prepared, "_build", None)  # what is stored isn't built again
        np.testing.assert_array_equal(FastTextModel(path).score(texts, label="a"), first)
        monkeypatch.undo()
        monkeypatch.setattr(fasttext_prepared, "STORED_FROM", 0)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        for damage in (b"", b"{}\n", stored.read_bytes()[:-64], b"\xff" * 100):
            stored.write_bytes(damage)
            np.testing.assert_array_equal(FastTextModel(path).score(texts, label="a"), first)
        assert [p.name for p in path.parent.iterdir() if p != path] == [stored.name]
    assert not (tmp_path / "cache").exists()
    other = trained("pruned")
    path.write_bytes(other.read_bytes())  # another model under the same name has another table
    np.testing.assert_array_equal(FastTextModel(path).score(texts, label="a"), both(other)[1].score(texts, label="a"))


def test_table_goes_to_the_user_cache_where_the_folder_is_read_only(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(fasttext_prepared, "STORED_FROM", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = fasttext_prepared._store

    def refuse(path, arrays):
        if path.parent == trained("preselect").parent:
            raise PermissionError
        store(path, arrays)

    monkeypatch.setattr(fasttext_prepared, "_store", refuse)
    FastTextModel(trained("preselect"))
    assert len(list((tmp_path / "cache" / "tamis").iterdir())) == 1
    FastTextModel(trained("preselect"), cache=False)


def test_numbers_that_are_not_finite(trained, tmp_path):
    for kind, loads in (("preselect", False), ("subwords", True)):
        path = tmp_path / "model.bin"
        data = bytearray(trained(kind).read_bytes())
        model = read_fasttext(trained(kind))
        rows = data.index(model.input.values.tobytes()[:400])
        data[rows : rows + 4 * model.input.values.size] = b"\xff" * (4 * model.input.values.size)  # NaN
        path.write_bytes(data)
        with pytest.raises(ModelError, match=r"corrupt.*(finite)"):
            FastTextModel(path) if not loads else FastTextModel(path).score(["river"], label="a")


def twin(model, text):
    """Return a softmax model's probabilities without character n-grams, in double precision, token by token."""
    entries, position = {}, model.entries_at
    raw = model.data.tobytes()
    for i in range(model.n_words):
        end = raw.index(b"\0", position)
        entries[raw[position:end]] = i
        position = end + 10
    rows, hashes = [], []
    for token in [*re.split(rb"[ \t\n\v\f\r\0]+", text.encode().strip(b" \t\n\v\f\r\0")), b"</s>"]:
        if not token or (token not in entries and token.startswith(b"__label__")):
            continue
        fnv = 2166136261
        for byte in token:
            fnv = ((fnv ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
        hashes.append(fnv if fnv < 1 << 31 else fnv - (1 << 32))
        rows += [entries[token]] if token in entries else []
    for i, first in enumerate(hashes):
        h = first
        for other in hashes[i + 1 : i + model.word_ngrams]:
            h = (h * 116049371 + other) % (1 << 64)
            rows.append(model.n_words + h % model.bucket)
    hidden = model.input.dense(0, model.input.shape[0])[rows].mean(axis=0, dtype=np.float64)
    logits = model.output.dense(0, len(model.labels)).astype(np.float64) @ hidden
    return np.exp(np.log(np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum() + 1e-5))


@pytest.mark.parametrize("kind", ["preselect", "long_ngrams", "five_labels", "rare_words_cut"])
def test_equals_the_twin(trained, kind):
    model, ours = read_fasttext(trained(kind)), FastTextModel(trained(kind))
    texts = [*ODD, "ab" * 100_000, "a b " * 3000]
    texts = [text for text in texts if "</s>" not in text]
    expected = np.array([twin(model, text) for text in texts])
    for i, label in enumerate(ours.labels):
        np.testing.assert_allclose(ours.score(texts, label=label), expected[:, i], rtol=0, atol=1e-6)
