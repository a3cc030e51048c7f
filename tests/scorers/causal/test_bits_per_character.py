import math
import warnings

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.causal.bits_per_character import bits_per_character, measure_losses

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

CONTEXT = 24
TEXTS = [
    "the cat sat on the mat",
    "",
    "a",
    "naïve 山 😀",
    "one two three four five six seven eight nine ten " * 2,
    "line\nbreaks\n\nand <s> markers </s> inside",
    "x" * 23,
    "x" * 24,
    "x" * 25,
]


def text_losses(*arguments, **options):
    return measure_losses(*arguments, **options).nats


def make_tokenizer(**special):
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(["the cat sat on the mat and the hat"] * 3, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, **special)


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(bos_token="<s>", eos_token="</s>")


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def model(request, tokenizer):
    torch.manual_seed(0)
    if request.param == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4
        )
        return transformers.GPT2LMHeadModel(config).eval()
    config = transformers.LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=CONTEXT,
        initializer_range=0.4,
    )
    return transformers.LlamaForCausalLM(config).eval()


def brute_force(model, start, tokens, context, stride):
    """Score token by token: the context of each is what its window holds before it."""
    tokens = [start, *tokens]
    total, stop = 0.0, min(context, len(tokens))
    for position in range(1, len(tokens)):
        if position >= stop:
            stop = min(stop + stride, len(tokens))
        before = tokens[max(0, stop - context) : position]
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([before])).logits[0, -1]
        total -= torch.log_softmax(logits.double(), 0)[tokens[position]].item()
    return total


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]


@pytest.mark.parametrize(("context", "stride"), [(None, None), (CONTEXT, 1), (CONTEXT, CONTEXT - 1), (8, 3), (2, 1)])
def test_equals_brute_force(model, tokenizer, context, stride):
    losses = text_losses(model, TEXTS, tokenizer=tokenizer, context=context, stride=stride)
    size = context or CONTEXT
    expected = [
        brute_force(model, tokenizer.bos_token_id, encode(tokenizer, text), size, stride or size // 2) for text in TEXTS
    ]
    np.testing.assert_allclose(losses, expected, rtol=1e-5, atol=1e-5)
    bits = bits_per_character(model, TEXTS, tokenizer=tokenizer, context=context, stride=stride)
    for text, value, loss in zip(TEXTS, bits, expected, strict=True):
        if text:
            assert value == pytest.approx(loss / len(text) / math.log(2), rel=1e-5)
        else:
            assert np.isnan(value)


@pytest.mark.parametrize("batch_tokens", [1, 50, 100_000])
def test_documents_do_not_see_each_other(model, tokenizer, batch_tokens):
    together = text_losses(model, TEXTS, tokenizer=tokenizer, batch_tokens=batch_tokens)
    alone = [text_losses(model, [text], tokenizer=tokenizer)[0] for text in TEXTS]
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
    backwards = text_losses(model, TEXTS[::-1], tokenizer=tokenizer, batch_tokens=batch_tokens)
    np.testing.assert_allclose(backwards[::-1], alone, rtol=1e-5, atol=1e-5)


def test_uniform_model_pays_for_every_token_once(tokenizer):
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=1)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    for stride in range(1, CONTEXT):
        losses = text_losses(model, TEXTS, tokenizer=tokenizer, stride=stride)
        expected = [len(encode(tokenizer, text)) * math.log(len(tokenizer)) for text in TEXTS]
        np.testing.assert_allclose(losses, expected, rtol=1e-6)
    assert model.training  # the mode is given back as it was


def test_characters_not_bytes(model, tokenizer):
    text = "山😀é"
    loss = text_losses(model, [text], tokenizer=tokenizer)[0]
    assert bits_per_character(model, [text], tokenizer=tokenizer)[0] == pytest.approx(loss / 3 / math.log(2))


def test_end_token_starts_a_text_where_there_is_no_other(model, tokenizer):
    only_end = make_tokenizer(eos_token="</s>")
    loss = text_losses(model, ["the cat"], tokenizer=only_end)[0]
    start = tokenizer.convert_tokens_to_ids("</s>")
    assert loss == pytest.approx(brute_force(model, start, encode(only_end, "the cat"), CONTEXT, 12), rel=1e-5)
    with pytest.raises(ModelError, match="start a document"):
        text_losses(model, ["the cat"], tokenizer=make_tokenizer())


def test_folder(model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    expected = bits_per_character(model, TEXTS, tokenizer=tokenizer)
    np.testing.assert_allclose(bits_per_character(tmp_path, TEXTS), expected, rtol=1e-6)
    loaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    np.testing.assert_allclose(bits_per_character(loaded, TEXTS), expected, rtol=1e-6)
    with pytest.raises(ModelError, match="can't be loaded"):
        bits_per_character(tmp_path / "none", TEXTS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context": 1}, "context is 1"),
        ({"context": CONTEXT + 1}, "from 2 to 24"),
        ({"stride": 0}, "stride is 0"),
        ({"stride": CONTEXT}, "stride is 24"),
        ({"batch_tokens": 0}, "batch_tokens is 0"),
    ],
)
def test_wrong_options(model, tokenizer, options, message):
    with pytest.raises(ConfigError, match=message):
        text_losses(model, ["a"], tokenizer=tokenizer, **options)


def test_no_finite_loss(tokenizer):
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_positions=CONTEXT, n_embd=8, n_layer=1, n_head=1)
    model = transformers.GPT2LMHeadModel(config)
    with torch.no_grad():
        model.transformer.wte.weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="text 1 of the batch no finite loss"):
        text_losses(model, ["", "a"], tokenizer=tokenizer)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_equals_cpu(model, tokenizer):
    expected = text_losses(model, TEXTS, tokenizer=tokenizer)
    try:
        np.testing.assert_allclose(
            text_losses(model.to("cuda"), TEXTS, tokenizer=tokenizer), expected, rtol=1e-4, atol=1e-4
        )
    finally:
        model.to("cpu")
