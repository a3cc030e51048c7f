import json

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.base import Scorer
from tamis.scorers.embeddings.static import StaticEmbeddings

tokenizers = pytest.importorskip("tokenizers")
safetensors_numpy = pytest.importorskip("safetensors.numpy")

WORDS = ["[UNK]", "the", "cat", "sat", "on", "mat"]
TEXTS = ["the cat sat", "", "the the unknown mat", "nothing known", "on " * 30]


def make_tokenizer(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: i for i, word in enumerate(WORDS)}
    model = tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.enable_truncation(2)  # a tokenizer's own settings don't cut documents
    tokenizer.enable_padding(pad_id=1, pad_token="the", length=64)
    tokenizer.save(str(path))


def save(path, **tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors_numpy.save_file({name.replace("__", "."): tensor for name, tensor in tensors.items()}, path)


def table(rows=6, dtype=np.float32):
    return np.random.default_rng(0).normal(size=(rows, 4)).astype(dtype)


def twin(matrix, text, *, weights=None, mapping=None, most=None):
    ids = [WORDS.index(word) for word in text.split() if word in WORDS[1:]][:most]
    if not ids:
        return np.zeros(4)
    rows = [matrix[i if mapping is None else mapping[i]] * (1 if weights is None else weights[i]) for i in ids]
    mean = np.mean(np.array(rows, float), axis=0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("layout", ["model2vec", "quantised", "sentence-transformers", "wordllama", "flat"])
def test_layouts(tmp_path, layout):
    matrix, weights, mapping = table(), None, None
    if layout == "model2vec":
        make_tokenizer(tmp_path / "tokenizer.json")
        save(tmp_path / "model.safetensors", embeddings=matrix)
        (tmp_path / "config.json").write_text(json.dumps({"normalize": True}))
    elif layout == "quantised":  # fewer vectors than tokens, with weights
        matrix, mapping = table(3), np.array([0, 1, 2, 0, 1, 2])
        weights = np.linspace(0.5, 2, len(WORDS))
        make_tokenizer(tmp_path / "tokenizer.json")
        save(tmp_path / "model.safetensors", embeddings=matrix, weights=weights, mapping=mapping)
    elif layout == "sentence-transformers":
        make_tokenizer(tmp_path / "0_StaticEmbedding" / "tokenizer.json")
        save(tmp_path / "0_StaticEmbedding" / "model.safetensors", embedding__weight=matrix)
    elif layout == "wordllama":
        matrix = table(dtype=np.float16)
        make_tokenizer(tmp_path / "tokenizers" / "l2_tokenizer_config.json")
        save(tmp_path / "weights" / "l2_256.safetensors", embedding__weight=matrix)
    else:
        make_tokenizer(tmp_path / "l2_tokenizer_config.json")
        save(tmp_path / "l2_256.safetensors", embedding__weight=matrix)
    embeddings = StaticEmbeddings(tmp_path)
    expected = [twin(matrix, text, weights=weights, mapping=mapping) for text in TEXTS]
    np.testing.assert_allclose(embeddings.vectors(TEXTS), expected, atol=1e-6)
    assert isinstance(embeddings, Scorer)
    assert embeddings.score(TEXTS).schema == embeddings.schema
    assert embeddings.score([]).num_rows == 0
    short = StaticEmbeddings(tmp_path, max_tokens=2).vectors(TEXTS)
    np.testing.assert_allclose(
        short, [twin(matrix, text, weights=weights, mapping=mapping, most=2) for text in TEXTS], atol=1e-6
    )


def test_batching_changes_nothing(tmp_path):
    make_tokenizer(tmp_path / "tokenizer.json")
    save(tmp_path / "model.safetensors", embeddings=table())
    embeddings = StaticEmbeddings(tmp_path)
    many = TEXTS * 120
    np.testing.assert_array_equal(embeddings.vectors(many)[-5:], embeddings.vectors(TEXTS))


def test_bad_folders(tmp_path):
    with pytest.raises(ModelError, match="isn't a static embedding model"):
        StaticEmbeddings(tmp_path)
    make_tokenizer(tmp_path / "tokenizer.json")
    save(tmp_path / "model.safetensors", other=table())
    with pytest.raises(ModelError, match="has no matrix called embeddings"):
        StaticEmbeddings(tmp_path)
    save(tmp_path / "model.safetensors", embeddings=table(3))
    with pytest.raises(ModelError, match=r"vectors for 3 tokens and .* has 6: no pair"):
        StaticEmbeddings(tmp_path)
    save(tmp_path / "model.safetensors", embeddings=table(), mapping=np.array([0, 1, 2, 3, 4, 9]))
    with pytest.raises(ModelError, match="no pair"):
        StaticEmbeddings(tmp_path)
    matrix = table()
    matrix[2, 2] = np.nan
    save(tmp_path / "model.safetensors", embeddings=matrix)
    with pytest.raises(ModelError, match="isn't finite"):
        StaticEmbeddings(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match=r"model\.safetensors can't be read"):
        StaticEmbeddings(tmp_path)
    save(tmp_path / "model.safetensors", embeddings=table())
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match=r"tokenizer\.json can't be read"):
        StaticEmbeddings(tmp_path)
    with pytest.raises(ConfigError):
        StaticEmbeddings(tmp_path, max_tokens=0)
