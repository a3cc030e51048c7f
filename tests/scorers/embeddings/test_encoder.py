import warnings

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.base import Scorer
from tamis.scorers.embeddings.encoder import EncoderEmbeddings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

TEXTS = ["the cat sat on the mat", "", "the", "cat sat " * 20, "naïve 山", "on the mat sat the cat"]
CONTEXT = 24


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param)
    vocabulary = {word: i for i, word in enumerate(["<s>", "<pad>", "</s>", "<unk>", "the", "cat", "sat", "on", "mat"])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", cls_token="<s>", sep_token="</s>", unk_token="<unk>"
    )
    options = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "pad_token_id": 1,
        "initializer_range": 0.5,
    }
    torch.manual_seed(0)
    if request.param == "bert":
        model = transformers.BertModel(transformers.BertConfig(max_position_embeddings=CONTEXT, **options))
    else:  # two positions are lost to the padding token
        model = transformers.RobertaModel(transformers.RobertaConfig(max_position_embeddings=CONTEXT + 2, **options))
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def brute_force(folder, text, pooling):
    if not text:
        return np.zeros(16)
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer(text)["input_ids"]
    if len(ids) > CONTEXT:
        ids = [*ids[: CONTEXT - 1], 2]
    with torch.no_grad():
        states = model(input_ids=torch.tensor([ids])).last_hidden_state[0].double().numpy()
    vector = states.mean(axis=0) if pooling == "mean" else states[0]
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("batch_tokens", [1, 60, 10_000])
def test_equals_one_at_a_time(folder, pooling, batch_tokens):
    embeddings = EncoderEmbeddings(folder, pooling=pooling, batch_tokens=batch_tokens, device="cpu")
    assert isinstance(embeddings, Scorer)
    expected = [brute_force(folder, text, pooling) for text in TEXTS]
    np.testing.assert_allclose(embeddings.vectors(TEXTS), expected, atol=1e-5)
    np.testing.assert_allclose(embeddings.vectors(TEXTS[::-1])[::-1], expected, atol=1e-5)
    batch = embeddings.score(TEXTS)
    assert batch.schema == embeddings.schema
    assert embeddings.score([]).schema == embeddings.schema


def test_prefix_and_cut(folder):
    embeddings = EncoderEmbeddings(folder, prefix="the cat ", device="cpu")
    plain = EncoderEmbeddings(folder, device="cpu")
    np.testing.assert_allclose(embeddings.vectors(["sat"]), plain.vectors(["the cat sat"]), atol=1e-6)
    short = EncoderEmbeddings(folder, max_tokens=4, device="cpu")
    np.testing.assert_allclose(short.vectors(["the cat sat on"]), plain.vectors(["the cat"]), atol=1e-6)


def test_errors(folder, tmp_path):
    with pytest.raises(ModelError, match="can't be loaded"):
        EncoderEmbeddings(tmp_path)
    for options in ({"pooling": "max"}, {"batch_tokens": 0}, {"max_tokens": 0}, {"dtype": "int8"}):
        with pytest.raises(ConfigError):
            EncoderEmbeddings(folder, device="cpu", **options)
