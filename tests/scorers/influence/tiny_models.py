"""Small language models with random weights of the architectures that Quad knows, and their tokenizer."""

import warnings

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")

CONTEXT = 16
ARCHITECTURES = ("gpt2", "neox", "llama", "qwen2", "qwen3", "phi3")
TEXTS = [
    "the cat sat on the mat and the hat",
    "",
    "a",
    "naïve 山",
    "one two three four five six seven eight nine ten " * 2,
    "the mat sat on the cat",
]


def make_tokenizer():
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<s>"],
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(["the cat sat on the mat and the hat"] * 3, trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>")


def make_model(architecture, *, vocabulary=270, tied=False, dtype=torch.float64):
    """Grouped queries where the architecture has them, biases where it has them, all of random weights."""
    common = {
        "vocab_size": vocabulary,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.2,
        "tie_word_embeddings": tied,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    grouped = {**common, "num_key_value_heads": 2}
    torch.manual_seed(0)
    if architecture == "gpt2":
        config = transformers.GPT2Config(
            vocab_size=vocabulary, n_positions=CONTEXT, n_embd=16, n_layer=2, n_head=4, initializer_range=0.2,
            tie_word_embeddings=tied, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        model = transformers.GPT2LMHeadModel(config)
    elif architecture == "neox":
        model = transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**common))
    elif architecture == "llama":
        model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**grouped))
    elif architecture == "qwen2":
        model = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**grouped))
    elif architecture == "qwen3":
        model = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**grouped, head_dim=4))
    else:
        model = transformers.Phi3ForCausalLM(transformers.Phi3Config(**grouped))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
    return model.to(dtype).eval()
