"""The step `embed` with models from folders: static embeddings, and an encoder of transformers."""

import json

import numpy as np
import pytest

from tests.jobs.run.step_columns import columns_of, parsed

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
safetensors = pytest.importorskip("safetensors.numpy")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "river", "runs", "stone", "stands", "query", ":"]
TEXTS = ["the river runs the river runs", "stone stands", "", "the stone"]


def tokenizer():
    whole = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    whole.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return whole


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=32, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer(), pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def static(tmp_path_factory):
    folder = tmp_path_factory.mktemp("static")
    table = np.random.default_rng(0).normal(size=(len(WORDS), 8)).astype(np.float32)
    safetensors.save_file({"embeddings": table}, folder / "model.safetensors")
    tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec"}))
    return folder


def vectors(**options):
    return [row["embedding"] for row in columns_of(parsed("embed", **options), text=TEXTS)]


def test_encoder_is_found_and_its_vectors_do_not_depend_on_batches(bert):
    found = vectors(model=str(bert))  # columns_of compares batches to the last bit
    assert vectors(model=str(bert), encoder="transformers") == found
    assert np.allclose(np.linalg.norm(found, axis=1), [1, 1, 0, 1], atol=1e-6)


@pytest.mark.parametrize(
    "options", [{"pooling": "cls"}, {"max_tokens": 2}, {"prefix": "query: "}, {"dtype": "bfloat16"}]
)
def test_each_option_changes_the_encoders_vectors(bert, options):
    assert vectors(model=str(bert), **options) != vectors(model=str(bert))


def test_static_model_is_found(static):
    found = vectors(model=str(static))
    assert vectors(model=str(static), encoder="static") == found
    assert vectors(model=str(static), max_tokens=1) != found
    assert len(found[0]) == 8
