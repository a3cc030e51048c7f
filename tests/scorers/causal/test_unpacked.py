"""GGUF files: unpacked once on a machine, equal to what transformers reads of them."""

import warnings

import numpy as np
import pytest

from tamis.schemas.errors import ModelError
from tamis.scorers.causal import models
from tamis.scorers.causal.models import check_causal_model, load_causal_model, load_tokenizer, text_tokens

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    gguf = pytest.importorskip("gguf")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

WIDTH, INNER, HEADS, GROUPS, LAYERS, CONTEXT = 32, 64, 4, 2, 1, 16


def write_gguf(path):
    """A Llama of random weights with a byte-level vocabulary, as other programs write it."""
    rng = np.random.default_rng(0)
    tokens = ["<s>", *sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()), "th", "the"]
    file = gguf.GGUFWriter(str(path), "llama")
    file.add_context_length(CONTEXT)
    file.add_embedding_length(WIDTH)
    file.add_feed_forward_length(INNER)
    file.add_block_count(LAYERS)
    file.add_head_count(HEADS)
    file.add_head_count_kv(GROUPS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_vocab_size(len(tokens))
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre("gpt-2")
    file.add_token_list(tokens)
    file.add_token_types([3] + [1] * (len(tokens) - 1))
    file.add_token_merges(["t h", "th e"])
    file.add_bos_token_id(0)
    file.add_eos_token_id(0)
    half = WIDTH // HEADS * GROUPS
    shapes = {
        "token_embd": (len(tokens), WIDTH),
        "output_norm": (WIDTH,),
        "output": (len(tokens), WIDTH),
        **{
            f"blk.{layer}.{name}": shape
            for layer in range(LAYERS)
            for name, shape in {
                "attn_norm": (WIDTH,),
                "attn_q": (WIDTH, WIDTH),
                "attn_k": (half, WIDTH),
                "attn_v": (half, WIDTH),
                "attn_output": (WIDTH, WIDTH),
                "ffn_norm": (WIDTH,),
                "ffn_gate": (INNER, WIDTH),
                "ffn_up": (INNER, WIDTH),
                "ffn_down": (WIDTH, INNER),
            }.items()
        },
    }
    for name, shape in shapes.items():
        values = rng.normal(0, 0.2, shape).astype(np.float32)
        if len(shape) == 2 and name.startswith("blk"):
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            file.add_tensor(f"{name}.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            file.add_tensor(f"{name}.weight", values)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


@pytest.fixture
def packed(tmp_path, monkeypatch):
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "model").mkdir()
    path = tmp_path / "model" / "tiny.gguf"
    write_gguf(path)
    return path


def count_loads(monkeypatch):
    seen = []
    original = transformers.AutoModelForCausalLM.from_pretrained

    def watched(*arguments, **options):
        seen.append("gguf_file" in options)
        return original(*arguments, **options)

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", watched)
    return seen


def test_equals_what_transformers_reads(packed):
    told = {"gguf_file": packed.name, "local_files_only": True}
    with models.quiet_transformers(transformers):
        whole = transformers.AutoModelForCausalLM.from_pretrained(packed.parent, dtype=torch.float32, **told).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(packed.parent, **told)
    check_causal_model(packed, context=8)  # before it is unpacked
    text = "the cat naïve 山 <s> them"
    assert text_tokens(load_tokenizer(packed), text) == text_tokens(tokenizer, text)
    found = load_causal_model(packed)
    assert text_tokens(found.tokenizer, text) == text_tokens(tokenizer, text)
    assert text_tokens(load_tokenizer(packed), text) == text_tokens(tokenizer, text)
    ids = torch.tensor([text_tokens(tokenizer, text)])
    with torch.no_grad():
        assert torch.equal(found.model(ids).logits, whole(ids).logits)
    check_causal_model(packed, context=8)
    assert models.empty_causal_model(packed).config.vocab_size == whole.config.vocab_size
    by_name = load_causal_model(packed.parent, gguf_file=packed.name, dtype="bfloat16")
    assert by_name.model.dtype == torch.bfloat16


def test_is_unpacked_once(packed, monkeypatch):
    seen = count_loads(monkeypatch)
    for _ in range(3):
        load_causal_model(packed)
    assert seen.count(True) == 1
    moved = packed.with_name("other.gguf")
    moved.write_bytes(packed.read_bytes())
    load_causal_model(moved)  # by content
    assert seen.count(True) == 1


def test_another_file_under_the_name_is_unpacked_anew(packed, monkeypatch):
    before = load_causal_model(packed).model.state_dict()
    data = bytearray(packed.read_bytes())
    data[-1] ^= 1  # of the last weight
    packed.write_bytes(data)
    seen = count_loads(monkeypatch)
    after = load_causal_model(packed).model.state_dict()
    assert seen.count(True) == 1
    assert not all(torch.equal(tensor, after[name]) for name, tensor in before.items())


def test_a_cache_that_cannot_be_written_is_done_without(packed, tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("a file")
    seen = count_loads(monkeypatch)
    for _ in range(2):
        load_causal_model(packed)
    assert seen == [True, True]


def test_what_a_stopped_process_left_is_no_model(packed, tmp_path, monkeypatch):
    load_causal_model(packed)
    (config,) = (tmp_path / "cache" / "unpacked").glob("*/config.json")
    config.unlink()
    seen = count_loads(monkeypatch)
    load_causal_model(packed)
    assert seen.count(True) == 1
    assert config.exists()


def test_a_damaged_file_is_told_in_a_sentence(packed):
    packed.write_bytes(packed.read_bytes()[:200])
    with pytest.raises(ModelError, match=r"tiny\.gguf can't be loaded"):
        load_causal_model(packed)
