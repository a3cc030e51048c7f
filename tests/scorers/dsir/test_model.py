import inspect
import json
import math
import pickle
import re
from collections import Counter
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sentencepiece
from hypothesis import given
from hypothesis import strategies as st

import tamis.scorers.dsir.divergence as divergence_module
import tamis.scorers.dsir.features as features_module
import tamis.scorers.dsir.model as model_module
import tamis.scorers.dsir.sampling as sampling_module
from tamis.pipeline.steps.dsir import DsirStep
from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.base import Scorer
from tamis.scorers.dsir import features as dsir_features
from tamis.scorers.dsir.divergence import kl_divergence, kl_reduction
from tamis.scorers.dsir.features import NgramCounter, NgramFeatures
from tamis.scorers.dsir.lowercase_tokens import code_point_table
from tamis.scorers.dsir.model import EPSILON, DsirModel, DsirScorer, hashed_ngrams, ngram_counts
from tamis.scorers.dsir.piece_tokens import PieceTokenizer
from tamis.scorers.dsir.sha256_kernels import sha256_bucket, sha256_workspace
from tamis.scorers.dsir.word_chunks import word_chunks

GOLDEN = Path(__file__).parents[2] / "golden"
MASK = 2**64 - 1


def load(name):
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


INPUTS = {text["id"]: text["text"] for text in load("dsir_inputs")}
WEIGHTS = load("dsir_weights")


def slow_mix(x):
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & MASK
    return x ^ x >> 31


def slow_fast_bucket(tokens, buckets):
    """The frozen definition of the fast hash, in plain Python."""
    chain = None
    for token in tokens:
        digest = 0xCBF29CE484222325
        for byte in token.encode():
            digest = (digest ^ byte) * 0x100000001B3 & MASK
        longer = (((chain or 0) << 27 | (chain or 0) >> 37) & MASK ^ digest) * 0x9E3779B97F4A7C15 & MASK
        chain = digest if chain is None else longer
    return (slow_mix(chain) >> 32) * buckets >> 32


def slow_sha_bucket(tokens, buckets):
    return int(sha256(" ".join(tokens).encode()).hexdigest(), 16) % buckets


def slow_tokens(text, alphabet="wordpunct"):
    return text.lower().split() if alphabet == "words" else re.findall(r"\w+|[^\w\s]+", text.lower())


def slow_counts(tokens, ngrams, buckets, hash_name):
    bucket = slow_sha_bucket if hash_name == "sha256" else slow_fast_bucket
    return Counter(
        bucket(tokens[i : i + order], buckets) for order in range(1, ngrams + 1) for i in range(len(tokens) - order + 1)
    )


def rows(matrix):
    return [
        {int(k): int(v) for k, v in zip(row.indices, row.data, strict=True)}
        for row in (matrix[[i]] for i in range(matrix.shape[0]))
    ]


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.text(
            "aAbB ,.İΣσςẞßǅ\u0307\u0345'²½Ⅷ_\x1c\x1f\x85\xa0\u200b\u200d\u3000é\u0301重要🎉\U0001d7d8", max_size=40
        ),
    ).filter(lambda text: text.isprintable() or not any("\ud800" <= c <= "\udfff" for c in text)),
    max_size=5,
)


def test_golden_buckets():
    golden = load("dsir_buckets")
    texts = [INPUTS[text["id"]] for text in golden["texts"]]
    for parameters in golden["params"]:
        ngrams, buckets = parameters["ngrams"], parameters["num_buckets"]
        matrix = hashed_ngrams(texts, ngrams=ngrams, buckets=buckets, hash="sha256")
        assert matrix.dtype == np.int64
        assert matrix.shape == (len(texts), buckets)
        expected = [text["counts"][f"n{ngrams}_b{buckets}"] for text in golden["texts"]]
        assert rows(matrix) == [{int(k): v for k, v in e["nonzero"].items()} for e in expected]
        lengths = NgramFeatures(ngrams, buckets).lengths(np.asarray(matrix.sum(axis=1)))
        assert lengths.tolist() == [e["length_metadata"] for e in expected]


def test_golden_hashes():
    for vector in load("dsir_hash_vectors")["vectors"]:
        message = np.frombuffer(vector["ngram"].encode() + b"!", np.uint8)
        for key, value in vector.items():
            if key.startswith("mod"):
                assert (
                    sha256_bucket(message, 0, len(message) - 1, int(key[3:]), sha256_workspace(int(key[3:]))) == value
                )


def test_sha256_of_all_lengths_around_blocks():
    message = np.frombuffer(bytes(range(256)) * 2, np.uint8)
    for length in [*range(140), 183, 184, 247, 248, 500]:
        digest = int(sha256(message[3 : 3 + length].tobytes()).hexdigest(), 16)
        for buckets in (1, 97, 10_000, 65_536, 2**29, 2**29 + 1, 2**31 - 1):
            assert sha256_bucket(message, 3, 3 + length, buckets, sha256_workspace(buckets)) == digest % buckets


@pytest.mark.parametrize("case", WEIGHTS["cases"], ids=lambda case: case["name"])
def test_golden_weights(case):
    p = case["params"]
    features = NgramFeatures(p["ngrams"], p["num_buckets"], "sha256")
    raw = [INPUTS[i] for i in WEIGHTS["raw_ids"]]
    limit = p.get("num_tokens_to_fit", 100_000 * features.buckets)
    targets = {
        name: ngram_counts([INPUTS[i] for i in WEIGHTS["targets"][name]], features) for name in case["target_files"]
    }
    separate = p.get("separate_targets", False)
    model = DsirModel.fit(
        ngram_counts(raw, features, limit=limit),
        targets if separate else sum(targets.values()),
        smoothing=p.get("target_laplace_smoothing", 0.0),
        ngrams=features.ngrams,
        hash="sha256",
    )
    for target, ratios in enumerate(case["log_diff"]):
        for bucket, value in ratios.items():
            assert math.isclose(model.log_ratios[int(bucket), target], value, rel_tol=1e-12, abs_tol=1e-12)
    weights, lengths = model.weights_and_lengths(raw)
    assert lengths.tolist() == case["length_metadata"]
    expected = np.array(case["log_weights"]).reshape(len(raw), -1)
    allowed = 1e-9 * np.array(case["abs_term_sum"]).reshape(len(raw), -1)
    assert (np.abs(weights - expected) <= allowed).all()
    assert model.log_weights(raw).shape == np.shape(case["log_weights"])
    if separate:
        assert np.allclose(model.proportions, case["target_proportions"], rtol=1e-12)


@given(TEXTS, st.integers(1, 4), st.sampled_from([1, 97, 10_000]), st.sampled_from(["fast", "sha256"]),
       st.sampled_from(["wordpunct", "words"]))  # fmt: skip
def test_counts_against_brute_force(texts, ngrams, buckets, hash_name, alphabet):
    matrix = hashed_ngrams(texts, ngrams=ngrams, buckets=buckets, hash=hash_name, tokens=alphabet)
    expected = [slow_counts(slow_tokens(text, alphabet), ngrams, buckets, hash_name) for text in texts]
    assert rows(matrix) == expected
    features = NgramFeatures(ngrams, buckets, hash_name, alphabet)
    total = sum(expected, Counter())
    assert {i: n for i, n in enumerate(ngram_counts(texts, features).tolist()) if n} == total


@given(TEXTS, st.integers(1, 3), st.sampled_from(["fast", "sha256"]), st.integers(1, 3))
def test_weights_against_brute_force_and_whatever_the_batches(texts, ngrams, hash_name, parts):
    rng = np.random.default_rng(ngrams)
    raw, target = rng.integers(0, 9, 50), rng.integers(0, 9, (2, 50))
    model = DsirModel.fit(raw, target, smoothing=0.5, ngrams=ngrams, hash=hash_name)
    p = (target + 0.5) / (target + 0.5).sum(axis=1, keepdims=True)
    ratios = np.log(p + EPSILON) - np.log(raw / raw.sum() + EPSILON)
    weights = model.log_weights(texts)
    for text, weight in zip(texts, weights, strict=True):
        counts = slow_counts(slow_tokens(text), ngrams, 50, hash_name)
        terms = [[n * ratios[t, b] for b, n in counts.items()] for t in range(2)]
        for t in range(2):
            assert abs(weight[t] - math.fsum(terms[t])) <= 1e-9 * math.fsum(map(abs, terms[t]))
    again = [model.log_weights(texts[i::parts]) for i in range(parts)]
    for i in range(parts):
        assert (again[i] == weights[i::parts]).all()
    array = pa.array(["before", *texts, "after"])
    assert (model.log_weights(array[1:-1]) == weights).all()


def test_blocks_don_t_matter(monkeypatch):
    texts = [INPUTS[i] for i in WEIGHTS["raw_ids"]]
    for hash_name in ("fast", "sha256"):
        whole = hashed_ngrams(texts, ngrams=3, hash=hash_name)
        counts = ngram_counts(texts, NgramFeatures(3, 10_000, hash_name))
        model = DsirModel.fit(counts + 1, np.arange(10_000), ngrams=3, hash=hash_name)
        weights = model.log_weights(texts)
        for tokens, size in ((1, 1), (7, 50)):
            monkeypatch.setattr(dsir_features, "_BLOCK_TOKENS", tokens)
            monkeypatch.setattr(dsir_features, "_BLOCK_BYTES", size)
            monkeypatch.setattr(dsir_features, "_MEMO_ROWS", 4)
            assert (hashed_ngrams(texts, ngrams=3, hash=hash_name) != whole).nnz == 0
            assert (ngram_counts(texts, NgramFeatures(3, 10_000, hash_name)) == counts).all()
            assert (model.log_weights(texts) == weights).all()
            monkeypatch.undo()


def test_every_character_is_lowered_and_classed_as_by_python():
    characters = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    table = code_point_table()
    assert code_point_table() is table
    assert not table.flags.writeable
    wrong = []
    for character in characters:
        low = character.lower()
        entry = int(table[ord(character)])
        if entry & 3 == 3:
            assert character in "İΣ"
            continue
        kind = 1 if low.isalnum() or low == "_" else 0 if low.isspace() else 2
        if entry >> 2 != ord(low) or entry & 3 != kind or low.lower() != low:
            wrong.append(character)
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "ΟΔΥΣΣΕΥΣ ΣΟΦΟΣ. Σ ΑΣ' ΑΣ’α ΑΣ\u0345 Σ",
        "İSTANBUL İİ iİ",
        "STRASSE ẞ ǅ Ⅷ ½ ² x²y",
        "a\x1cb\x1db\x1ec\x1fd\x85e\xa0f\u3000g\u200bh\u2028i",
        "e\u0301 e\u0301e 👩\u200d👩\u200d👧 )(...!? __init__ a_b",
        "Ⱥ.Ⱥ.Ⱥ K Å \U00010400 \U0001e900",
        "\x00\x01 \ufeff \U0010ffff \uffff",
        "\n\t \r\n",
        "",
    ],
)
def test_awkward_texts(text):
    for hash_name in ("fast", "sha256"):
        texts = ["ascii only", text, text.lower(), "x" + text]
        matrix = hashed_ngrams(texts, ngrams=3, buckets=1009, hash=hash_name)
        assert rows(matrix) == [slow_counts(slow_tokens(t), 3, 1009, hash_name) for t in texts]


def test_long_texts():
    word = "Wörd" * 500_000
    letters = "a b " * 250_000
    for hash_name in ("fast", "sha256"):
        matrix = hashed_ngrams([word, letters], ngrams=2, buckets=97, hash=hash_name)
        assert rows(matrix)[0] == slow_counts(slow_tokens(word), 2, 97, hash_name)
        bucket = slow_sha_bucket if hash_name == "sha256" else slow_fast_bucket
        expected = Counter()
        for gram, n in ((["a"], 250_000), (["b"], 250_000), (["a", "b"], 250_000), (["b", "a"], 249_999)):
            expected[bucket(gram, 97)] += n
        assert rows(matrix)[1] == expected


def test_broken_utf8_stays_within_bounds():
    data = b"ok \xff\xf7\xbf\xbf\xbf \xc3\xce\xa3 \xe2\x82 \xf0\x9f\x98"
    offsets = pa.py_buffer(np.array([0, 3, len(data) - 3, len(data)], np.int64).tobytes())
    texts = pa.Array.from_buffers(pa.large_string(), 3, [None, offsets, pa.py_buffer(data)])
    for hash_name in ("fast", "sha256"):
        assert hashed_ngrams(texts, hash=hash_name, ngrams=3).shape == (3, 10_000)


def test_lone_surrogates_and_nulls():
    with pytest.raises(DataError, match="text 1 holds a lone surrogate"):
        hashed_ngrams(["fine", "bad \ud800"])
    assert rows(hashed_ngrams([None, "a"]))[0] == {}
    assert hashed_ngrams([]).shape == (0, 10_000)
    assert hashed_ngrams(pa.array([], pa.string()), hash="fast").shape == (0, 10_000)


def test_limit_stops_after_the_document_that_passes_it():
    texts = ["a b c", "d", "e f", "g h"]  # 5, 1, 3, 3 n-grams
    features = NgramFeatures(2, 97, "sha256")
    for limit, documents in ((0, 1), (4, 1), (5, 2), (6, 3), (8, 3), (9, 4), (10**9, 4)):
        counter = NgramCounter(features, limit)
        wanted = [counter.add([text]) for text in texts]
        assert counter.total == ngram_counts(texts[:documents], features).sum() == counter.counts.sum()
        assert ngram_counts(texts, features, limit=limit).sum() == counter.total
        assert wanted == [True] * (documents - 1) + [counter.total <= limit] * (5 - documents)


def test_counters_of_shards_add_up():
    features = NgramFeatures(2, 97)
    first, second, both = NgramCounter(features), NgramCounter(features), NgramCounter(features)
    first.add(["a b"])
    second.add(["c d e"])
    both.add(["a b", "c d e"])
    first.merge(second)
    assert (first.counts == both.counts).all()
    assert first.total == both.total
    with pytest.raises(ConfigError, match="can't be added"):
        first.merge(NgramCounter(NgramFeatures(3, 97)))


def test_bad_fits_are_refused():
    good = np.ones(10, np.int64)
    for raw, target, message in (
        (np.zeros(10), good, "the raw pool has no n-grams"),
        (good, np.zeros(10), "the target has no n-grams"),
        (good, {"wiki": good, "books": np.zeros(10)}, "target 'books' has no n-grams"),
        (good, {}, "at least one target"),
        (good, np.full(10, np.nan), "finite"),
        (-good, good, "not negative"),
        (good, np.ones(11), "as many buckets"),
        (good, np.array(["x"] * 10), "vector of numbers"),
    ):
        with pytest.raises(DataError, match=message):
            DsirModel.fit(raw, target)
    for smoothing in (-1, math.nan, math.inf):
        with pytest.raises(ConfigError, match="smoothing"):
            DsirModel.fit(good, good, smoothing=smoothing)


def test_bucket_empty_on_both_sides_counts_nothing():
    model = DsirModel.fit([1, 0, 3], [2, 0, 2])
    assert model.log_ratios[1, 0] == 0.0
    smoothed = DsirModel.fit([1, 0, 3], [2, 0, 2], smoothing=1.0)
    assert math.isclose(smoothed.log_ratios[1, 0], math.log(1 / 7 + 1e-8) - math.log(1e-8), rel_tol=1e-12)


def test_every_function_has_the_same_default_hash():
    """Counts of one and weights of the other would be of other buckets, and the weights near random."""
    found = {
        f"{module.__name__}.{name}": parameter.default
        for module in (features_module, model_module, sampling_module, divergence_module)
        for name, function in vars(module).items()
        if callable(function) and str(getattr(function, "__module__", "")).startswith("tamis.scorers.dsir")
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name in ("hash", "hash_")
    }
    found["fit"] = inspect.signature(DsirModel.fit).parameters["hash"].default
    found["step"] = DsirStep.model_fields["hash"].default
    assert len(found) > 3
    assert set(found.values()) == {"fast"}


def test_bad_features_are_refused():
    for change in ({"ngrams": 0}, {"ngrams": 17}, {"buckets": 0}, {"buckets": 2**31}, {"hash": "md5"}, {"tokens": "x"}):
        with pytest.raises(ConfigError):
            NgramFeatures(**change)
    assert hashed_ngrams(["a"], buckets=2**31 - 1, hash="sha256").indices[0] == slow_sha_bucket(["a"], 2**31 - 1)


def test_length_can_be_taken_out():
    model = DsirModel.fit(np.arange(1, 98), np.arange(97, 0, -1))
    texts = ["", "one", " ".join(f"w{i % 50}" for i in range(300))]
    plain = model.log_weights(texts)
    assert model.log_weights(texts, normalise="token").tolist() == [0.0, plain[1], plain[2] / 300]
    chunked = model.log_weights(texts, normalise="chunk", chunk_tokens=100)
    assert chunked[:2].tolist() == plain[:2].tolist()
    assert math.isclose(chunked[2], plain[2] / 3, rel_tol=1e-12)
    for bad in ({"normalise": "x"}, {"normalise": "chunk", "chunk_tokens": 0}):
        with pytest.raises(ConfigError):
            model.log_weights(texts, **bad)


def test_save_and_load(tmp_path):
    texts = ["The cat sat.", "Le chat"]
    for targets in (np.arange(97), {"wiki": np.arange(97), "bücher": np.arange(97)[::-1]}):
        model = DsirModel.fit(np.ones(97, np.int64), targets, smoothing=0.25, ngrams=3, hash="sha256", tokens="words")
        model.save(tmp_path / "model")
        loaded = DsirModel.load(tmp_path / "model")
        assert loaded.features == model.features
        assert (loaded.targets, loaded.smoothing) == (model.targets, 0.25)
        assert (loaded.raw_counts == model.raw_counts).all()
        assert (loaded.target_counts == model.target_counts).all()
        assert (loaded.log_weights(texts) == model.log_weights(texts)).all()


def test_damaged_models_are_refused(tmp_path):
    with pytest.raises(ModelError, match="can't be read"):
        DsirModel.load(tmp_path)
    folder = tmp_path / "model"
    DsirModel.fit([1, 2], [2, 1]).save(folder)
    about = json.loads((folder / "dsir.json").read_text())
    for change in ({"format": 9}, {"buckets": 3}, {"targets": ["a", "b"]}, {"hash": "x"}):
        (folder / "dsir.json").write_text(json.dumps({**about, **change}))
        with pytest.raises(ModelError):
            DsirModel.load(folder)
    (folder / "dsir.json").write_text(json.dumps(about))
    DsirModel.load(folder)
    (folder / "log_ratios.npy").write_bytes(b"x")
    with pytest.raises(ModelError, match="tamis train dsir"):
        DsirModel.load(folder)


def test_scorer():
    single = DsirScorer(DsirModel.fit(np.ones(97), np.arange(97)))
    several = DsirScorer(DsirModel.fit(np.ones(97), {"a": np.arange(97), "b": np.arange(97) + 1}), normalise="token")
    assert single.schema.names == ["dsir_log_weight", "dsir_tokens"]
    assert several.schema.names == ["dsir_log_weight_a", "dsir_log_weight_b", "dsir_tokens"]
    for scorer in (single, several):
        assert isinstance(scorer, Scorer)
        batch = scorer.score(pa.array(["a b c.", None, ""]))
        assert batch.schema == scorer.schema
        assert batch["dsir_tokens"].to_pylist() == [4, 0, 0]
        assert scorer.score([]).schema == scorer.schema
        assert scorer.score([]).num_rows == 0


@pytest.fixture(scope="module")
def piece_model(tmp_path_factory):
    path = tmp_path_factory.mktemp("pieces") / "small.model"
    with path.open("wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([INPUTS["english"], INPUTS["german"], INPUTS["code_python"]] * 5),
            model_writer=file, vocab_size=120, hard_vocab_limit=False, minloglevel=2,
        )  # fmt: skip
    return path


@pytest.mark.parametrize("hash_name", ["fast", "sha256"])
def test_pieces_of_a_tokenizer(tmp_path, hash_name, monkeypatch, piece_model):
    tokenizer = PieceTokenizer(piece_model)
    assert tokenizer == pickle.loads(pickle.dumps(tokenizer))
    processor = sentencepiece.SentencePieceProcessor(model_file=str(piece_model))
    texts = ["the old house by the river", "", "Ünïcode 重要", *(text for text in INPUTS.values() if len(text) < 500)]
    pieces = [processor.encode(text, out_type=int) for text in texts]
    names = [[processor.id_to_piece(p) for p in row] for row in pieces]
    matrix = hashed_ngrams(texts, ngrams=3, buckets=1009, hash=hash_name, tokens=tokenizer)
    assert rows(matrix) == [slow_counts(row, 3, 1009, hash_name) for row in names]
    model = DsirModel.fit(np.arange(1, 1010), np.arange(1009), ngrams=3, hash=hash_name, tokens=tokenizer)
    weights = model.log_weights(texts)
    model.save(tmp_path)
    assert (DsirModel.load(tmp_path).log_weights(texts) == weights).all()
    monkeypatch.setattr(dsir_features, "_BLOCK_TOKENS", 3)
    monkeypatch.setattr(dsir_features, "_BLOCK_BYTES", 10)
    assert (model.log_weights(texts) == weights).all()
    (tmp_path / "tokenizer.model").write_bytes(piece_model.read_bytes() + b"\0")
    with pytest.raises(ModelError, match="isn't the one"):
        DsirModel.load(tmp_path)


def test_tokenizer_json(tmp_path):
    tokenizers = pytest.importorskip("tokenizers")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    matrix = hashed_ngrams(["a b x", ""], tokens=PieceTokenizer(tmp_path / "tokenizer.json"), hash="fast", buckets=97)
    assert rows(matrix) == [slow_counts(["a", "b", "[UNK]"], 2, 97, "fast"), {}]


def test_bad_tokenizers_are_refused(tmp_path):
    with pytest.raises(ModelError, match="doesn't exist"):
        PieceTokenizer(tmp_path / "none.model")
    for name in ("bad.model", "bad.json"):
        (tmp_path / name).write_bytes(b"{}nonsense")
        with pytest.raises(ModelError, match="isn't a tokenizer"):
            hashed_ngrams(["a"], tokens=PieceTokenizer(tmp_path / name))


@given(st.lists(st.text("ab \n", max_size=30), max_size=4), st.integers(1, 4))
def test_word_chunks(texts, words):
    chunks = word_chunks(texts, words=words)
    for i, text in enumerate(texts):
        mine = [t for t, d in zip(chunks.texts.to_pylist(), chunks.documents, strict=True) if d == i]
        assert " ".join(mine) == text
        assert mine == [" ".join(text.split(" ")[j : j + words]) for j in range(0, len(text.split(" ")), words)]
        assert chunks.places[chunks.documents == i].tolist() == list(range(len(mine)))


def test_word_chunks_need_words():
    with pytest.raises(ConfigError, match="positive"):
        word_chunks(["a"], words=0)


def test_divergence():
    p, q = [1, 3], [2, 2]
    assert math.isclose(kl_divergence(p, q, epsilon=0), 0.25 * math.log(0.5) + 0.75 * math.log(1.5))
    assert kl_divergence(p, [2, 6]) == 0
    assert 15 < kl_divergence([1, 1], [0, 2]) * 2 < 25
    assert kl_reduction(p, p, q) == kl_divergence(p, q)
    assert kl_reduction([p, q], p, q) == pytest.approx((kl_divergence(p, q) - kl_divergence(q, p)) / 2)
    for bad in ([0, 0], [-1, 2], [math.nan, 1], []):
        with pytest.raises(DataError, match="distribution needs"):
            kl_divergence(p, bad)
    with pytest.raises(DataError, match="can't be compared"):
        kl_divergence(p, [1, 2, 3])
    with pytest.raises(DataError, match="at least one target"):
        kl_reduction(np.zeros((0, 2)), p, q)
