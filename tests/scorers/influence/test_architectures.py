"""Gradients, directions and scores of language models of transformers, against autograd on the parameters."""

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.base import Scorer
from tamis.scorers.influence.curvature import (
    Damping,
    collect_curvature,
    collect_eigenvalues,
    factorise,
    inverse_product,
)
from tamis.scorers.influence.gradients import flows, reference_gradient, sample_gradients
from tamis.scorers.influence.layers import find_blocks, influence_memory
from tamis.scorers.influence.samples import chunk_batches, chunk_losses, cut_chunks, influence_context
from tamis.scorers.influence.scores import InfluenceScorer, parameter_direction, sample_scores
from tests.scorers.influence.tiny_models import ARCHITECTURES, CONTEXT, TEXTS, make_model, make_tokenizer, torch

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

REFERENCE = ["the cat sat", "the hat and the mat sat on the cat " * 3]
POOL = ["one two three", "the mat the mat", "and on and on and on " * 4, "four"]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


def chunks_of(tokenizer, texts):
    return cut_chunks(tokenizer, texts, context=CONTEXT)


def batches_of(tokenizer, texts, batch_tokens=50):
    return list(chunk_batches(chunks_of(tokenizer, texts), batch_tokens))


def autograd(model, chunk):
    """The gradient of one chunk's loss for every parameter, as PyTorch has it."""
    tokens = torch.tensor([chunk.tokens])
    model.zero_grad()
    with torch.enable_grad():
        logits = model(input_ids=tokens).logits[0, :-1]
        torch.nn.functional.cross_entropy(logits, tokens[0, 1:]).backward()
    found = {
        name: np.zeros(tuple(p.shape)) if p.grad is None else p.grad.double().numpy().copy()
        for name, p in model.named_parameters()
    }
    model.zero_grad()
    return found


def as_parameters(blocks, matrices):
    return parameter_direction(blocks, {name: np.asarray(matrix, np.float64) for name, matrix in matrices.items()})


@pytest.mark.parametrize("attention", ["fused", "split"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_gradients_are_those_of_autograd(tokenizer, architecture, attention):
    model = make_model(architecture)
    blocks = find_blocks(model, attention=attention)
    chunks = chunks_of(tokenizer, TEXTS)
    covered = set()
    for batch in chunk_batches(chunks, 50):  # batches with padding
        found, values = flows(model, blocks, batch)
        gradients = {name: sample_gradients(flow) for name, flow in found.items()}
        for row, i in enumerate(batch.order):
            expected = autograd(model, chunks[i])
            own = as_parameters(blocks, {name: gradient[row] for name, gradient in gradients.items()})
            covered |= set(own)
            for name, matrix in own.items():
                np.testing.assert_allclose(matrix, expected[name], rtol=1e-7, atol=1e-10)
        assert values.shape == (len(batch.order),)
    linear = {
        f"{name}.{kind}"
        for name, module in model.named_modules()
        if (isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings())
        or type(module).__name__ == "Conv1D"
        for kind, _ in module.named_parameters(recurse=False)
    }
    assert covered == linear  # all linear layers, biases included
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_attention_is_one_block_or_three(architecture):
    model = make_model(architecture)
    fused, split = find_blocks(model), find_blocks(model, attention="split")
    wide = 48 if architecture in ("gpt2", "neox") else 32  # grouped queries: d + 2 d_kv
    assert sorted(block.shape[0] for block in fused).count(wide) >= 2
    assert len(split) == len(fused) + 4
    assert sum(block.shape[0] * block.shape[1] for block in fused) == sum(b.shape[0] * b.shape[1] for b in split)
    with_bias = {"gpt2", "neox"}
    assert all(block.bias == (architecture in with_bias) for block in fused if "mlp" in block.name)


def test_split_rows_are_queries_keys_and_values():
    """GPT-NeoX keeps them together by head: a change of the value rows alone leaves attention weights as they are."""
    for architecture in ("gpt2", "neox", "phi3"):
        model = make_model(architecture)
        model.set_attn_implementation("eager")
        tokens = torch.arange(10)[None]
        with torch.no_grad():
            before = model(input_ids=tokens, output_attentions=True).attentions[0]
            for name, same in (("v", True), ("k", False), ("q", False)):
                (part,) = next(b for b in find_blocks(model, attention="split") if b.name.endswith(f".{name}")).parts
                weight = dict(model.named_parameters())[part.weight]
                saved = weight.clone()
                (weight.T if part.transposed else weight)[list(part.rows)] *= 2.0
                after = model(input_ids=tokens, output_attentions=True).attentions[0]
                weight.copy_(saved)
                assert torch.allclose(before, after) == same


@pytest.mark.parametrize("kind", ["none", "kfac", "ekfac"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_scores_by_all_methods(tokenizer, architecture, kind):
    model = make_model(architecture)
    blocks = find_blocks(model)
    gradient = reference_gradient(model, blocks, batches_of(tokenizer, REFERENCE)).mean
    curvature = eigenvalues = None
    if kind != "none":
        curvature = factorise(collect_curvature(model, blocks, batches_of(tokenizer, POOL)))
    if kind == "ekfac":
        eigenvalues = collect_eigenvalues(model, blocks, batches_of(tokenizer, POOL), curvature)
    direction = inverse_product(gradient, curvature, eigenvalues=eigenvalues)
    chunks = chunks_of(tokenizer, TEXTS)
    named = parameter_direction(blocks, direction)
    expected = [sum((matrix * autograd(model, c)[name]).sum() for name, matrix in named.items()) for c in chunks]
    lengths = [np.sqrt(sum((autograd(model, c)[name] ** 2).sum() for name in named)) for c in chunks]
    scale = np.abs(expected).max()
    saved = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    wide = architecture in ("gpt2", "neox")  # the others compute their norms in single precision
    for method, tolerance in (
        ("backward", 1e-9 if wide else 1e-6),
        ("forward", 1e-9 if wide else 1e-5),
        ("difference", 1e-6 if wide else 3e-3),
    ):
        found = sample_scores(
            model, blocks, direction, batches_of(tokenizer, TEXTS), method=method, step=1e-5 if wide else 1e-3
        )
        np.testing.assert_allclose(found.scores, expected, rtol=0, atol=tolerance * scale)
        assert found.weights.tolist() == [chunk.counted for chunk in chunks]
        if method == "backward":
            np.testing.assert_allclose(found.norms, lengths, rtol=1e-7)
    for name, tensor in model.state_dict().items():  # the same bits as before
        assert torch.equal(tensor, saved[name])


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_single_precision_is_close(tokenizer, architecture):
    wide, model = make_model(architecture), make_model(architecture, dtype=torch.float32)
    blocks = find_blocks(model)
    curvature = factorise(collect_curvature(wide, blocks, batches_of(tokenizer, POOL)))
    direction = inverse_product(reference_gradient(wide, blocks, batches_of(tokenizer, REFERENCE)).mean, curvature)
    exact = sample_scores(wide, blocks, direction, batches_of(tokenizer, TEXTS), method="backward").scores
    for method in ("difference", "forward", "backward"):
        found = sample_scores(model, blocks, direction, batches_of(tokenizer, TEXTS), method=method).scores
        np.testing.assert_allclose(found, exact, rtol=0, atol=3e-3 * np.abs(exact).max())
    sums = collect_curvature(model, blocks, batches_of(tokenizer, POOL))
    own = inverse_product(reference_gradient(model, blocks, batches_of(tokenizer, REFERENCE)).mean, factorise(sums))
    for name, matrix in own.items():
        assert matrix.dtype == np.float64
        np.testing.assert_allclose(matrix, direction[name], atol=1e-3 * np.abs(direction[name]).max())


def test_padding_is_never_counted(tokenizer):
    """Sums, gradients and scores are those of every chunk alone, and what stands in the padding doesn't matter."""
    model = make_model("gpt2")
    blocks = find_blocks(model)
    apart, together = batches_of(tokenizer, TEXTS + POOL, 1), batches_of(tokenizer, TEXTS + POOL, 10_000)
    assert len(apart) > 5
    assert len(together) == 1
    (batch,) = together
    batch.inputs[~batch.positions] = 7
    one, other = (collect_curvature(model, blocks, batches) for batches in (apart, together))
    assert one.positions == other.positions
    assert one.weight == other.weight
    for name in one.inputs:
        np.testing.assert_allclose(one.inputs[name], other.inputs[name], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(one.outputs[name], other.outputs[name], rtol=1e-9, atol=1e-12)
    curvature = factorise(one)
    for first, second in zip(
        *(collect_eigenvalues(model, blocks, batches, curvature).blocks.values() for batches in (apart, together)),
        strict=True,
    ):
        np.testing.assert_allclose(first, second, rtol=1e-7, atol=1e-15)
    gradients = [reference_gradient(model, blocks, batches).mean for batches in (apart, together)]
    for name, matrix in gradients[0].items():
        np.testing.assert_allclose(matrix, gradients[1][name], rtol=1e-9, atol=1e-14)
    direction = inverse_product(gradients[0], curvature)
    for method in ("difference", "forward", "backward"):
        scores = [
            sample_scores(model, blocks, direction, batches, method=method).scores for batches in (apart, together)
        ]
        np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6, atol=1e-8)


def test_factors_against_their_definition(tokenizer):
    model = make_model("gpt2")
    block = next(block for block in find_blocks(model) if block.name.endswith("h.0.mlp.c_fc"))
    chunks = chunks_of(tokenizer, POOL)
    seen = []

    def hook(_module, inputs, output):
        output.retain_grad()
        seen.append((inputs, output))

    handle = model.get_submodule(block.name).register_forward_hook(hook)
    a, s, positions, weight = np.zeros((17, 17)), np.zeros((64, 64)), 0, 0
    for chunk in chunks:
        tokens = torch.tensor([chunk.tokens])
        with torch.enable_grad():
            logits = model(input_ids=tokens).logits[0, :-1]
            torch.nn.functional.cross_entropy(logits, tokens[0, 1:]).backward()
        (taken,), out = seen.pop()
        for t in range(len(chunk.tokens)):
            x = np.append(taken[0, t].detach().numpy(), 1.0)  # the bias is the weight of a one
            g = out.grad[0, t].numpy()
            a += np.outer(x, x)
            s += chunk.counted * np.outer(g, g)
        positions += len(chunk.tokens)
        weight += chunk.counted
    handle.remove()
    model.zero_grad()
    sums = collect_curvature(model, [block], batches_of(tokenizer, POOL))
    np.testing.assert_allclose(sums.inputs[block.name], a, rtol=1e-9)
    np.testing.assert_allclose(sums.outputs[block.name], s, rtol=1e-8, atol=1e-13)
    assert (sums.positions[block.name], sums.weight) == (positions, weight)


@pytest.mark.parametrize("architecture", ["gpt2", "llama"])
def test_tied_head(tokenizer, architecture):
    """A matrix that is embedding and head has the gradients of both; it is moved and restored once."""
    model = make_model(architecture, tied=True)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    blocks = find_blocks(model, head=True)
    head = blocks[-1]
    assert head.embedding is not None
    chunks = chunks_of(tokenizer, TEXTS)
    (batch,) = chunk_batches(chunks, 10_000)
    found, _ = flows(model, blocks, batch)
    gradients = {name: sample_gradients(flow) for name, flow in found.items()}
    for row, i in enumerate(batch.order):
        expected = autograd(model, chunks[i])
        for name, matrix in as_parameters(blocks, {n: g[row] for n, g in gradients.items()}).items():
            np.testing.assert_allclose(matrix, expected[name], rtol=1e-7, atol=1e-10)
    curvature = factorise(collect_curvature(model, blocks, batches_of(tokenizer, POOL)))
    eigenvalues = collect_eigenvalues(model, blocks, batches_of(tokenizer, POOL), curvature)
    gradient = reference_gradient(model, blocks, batches_of(tokenizer, REFERENCE)).mean
    total = {name: 0.0 for name, _ in model.named_parameters()}
    reference = chunks_of(tokenizer, REFERENCE)
    for chunk in reference:
        for name, matrix in autograd(model, chunk).items():
            total[name] = total[name] + chunk.counted * matrix
    for name, matrix in as_parameters(blocks, gradient).items():
        weight = sum(chunk.counted for chunk in reference)
        np.testing.assert_allclose(matrix, total[name] / weight, rtol=1e-7, atol=1e-10)
    direction = inverse_product(gradient, curvature, eigenvalues=eigenvalues)
    scores = [
        sample_scores(
            model, blocks, direction, [batch], method=method, step=1e-5 if architecture == "gpt2" else 1e-3
        ).scores
        for method in ("backward", "forward", "difference")
    ]
    scale = np.abs(scores[0]).max()
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-5 * scale)
    np.testing.assert_allclose(scores[2], scores[0], atol=(1e-5 if architecture == "gpt2" else 1e-2) * scale)
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_untied_head(tokenizer):
    model = make_model("llama")
    blocks = find_blocks(model, head=True)
    assert blocks[-1].name == "lm_head"
    assert blocks[-1].embedding is None
    assert len(find_blocks(model)) == len(blocks) - 1
    wide = make_model("llama", vocabulary=20000, dtype=torch.float32)
    with pytest.raises(ConfigError, match="head has 20000 outputs"):
        find_blocks(wide, head=True)


def test_chunks_count_every_token_once(tokenizer):
    texts = [*TEXTS, "x" * 200]
    for context in (2, 3, 7, CONTEXT):
        chunks = cut_chunks(tokenizer, texts, context=context)
        for number, text in enumerate(texts):
            own = [chunk for chunk in chunks if chunk.document == number]
            tokens = tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
            assert [token for chunk in own for token in chunk.tokens[1:]] == tokens
            assert all(2 <= len(chunk.tokens) <= context for chunk in own)
            for before, after in zip([[tokenizer.bos_token_id], *(c.tokens for c in own)], own, strict=False):
                assert after.tokens[0] == before[-1]
    assert len(cut_chunks(tokenizer, ["x" * 200], context=10, most=3)) == 3
    orders = [i for batch in chunk_batches(chunks, 40) for i in batch.order]
    assert sorted(orders) == list(range(len(chunks)))


def test_losses_are_means_over_real_tokens(tokenizer):
    model = make_model("llama")
    chunks = chunks_of(tokenizer, TEXTS)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            for batch in chunk_batches(chunks, 10_000):
                values = chunk_losses(model, batch).detach()
                for row, i in enumerate(batch.order):
                    tokens = torch.tensor([chunks[i].tokens])
                    alone = torch.nn.functional.cross_entropy(model(input_ids=tokens).logits[0, :-1], tokens[0, 1:])
                    assert float(values[row]) == pytest.approx(float(alone), rel=1e-9)


@pytest.mark.parametrize("method", ["difference", "backward"])
def test_scorer(tokenizer, method):
    model = make_model("gpt2")
    blocks = find_blocks(model)
    direction = inverse_product(reference_gradient(model, blocks, batches_of(tokenizer, REFERENCE)).mean)
    scorer = InfluenceScorer(model, tokenizer, blocks, direction, method=method)
    assert isinstance(scorer, Scorer)
    batch = scorer.score(TEXTS)
    assert batch.schema == scorer.schema
    scores, tokens = batch.column(0).to_pylist(), batch.column(1).to_pylist()
    assert scores[1] is None
    assert tokens == [len(tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0 for text in TEXTS]
    for i, text in enumerate(TEXTS):
        alone = scorer.score([text]).column(0)[0].as_py()
        assert alone == pytest.approx(scores[i], rel=1e-6) if text else alone is None
    chunks = chunks_of(tokenizer, [TEXTS[4]])
    assert len(chunks) > 2
    by_chunk = sample_scores(model, blocks, direction, chunk_batches(chunks, 10_000), method="backward").scores
    mean = np.average(by_chunk, weights=[chunk.counted for chunk in chunks])  # the short tail weighs little
    assert scores[4] == pytest.approx(mean, rel=1e-3)
    assert scorer.score([]).num_rows == 0


def test_cosine(tokenizer):
    model = make_model("gpt2")
    blocks = find_blocks(model)
    direction = inverse_product(reference_gradient(model, blocks, batches_of(tokenizer, REFERENCE)).mean)
    scorer = InfluenceScorer(model, tokenizer, blocks, direction, method="backward", cosine=True)
    own = chunks_of(tokenizer, REFERENCE[:1])
    (expected,) = [autograd(model, chunk) for chunk in own]
    named = parameter_direction(blocks, direction)
    dot = sum((named[name] * expected[name]).sum() for name in named)
    lengths = [np.sqrt(sum((side[name] ** 2).sum() for name in named)) for side in (named, expected)]
    assert scorer.score(REFERENCE[:1]).column(0)[0].as_py() == pytest.approx(dot / lengths[0] / lengths[1], rel=1e-7)
    with pytest.raises(ConfigError, match="use 'backward'"):
        InfluenceScorer(model, tokenizer, blocks, direction, cosine=True)


def test_what_cannot_be_done_is_told(tokenizer):
    model = make_model("llama")
    blocks = find_blocks(model)
    direction = inverse_product(reference_gradient(model, blocks, batches_of(tokenizer, REFERENCE)).mean)
    with pytest.raises(ModelError, match="no linear layer whose name has 'nothing'"):
        find_blocks(model, layers="nothing")
    with pytest.raises(ConfigError, match="no regular expression"):
        find_blocks(model, layers="(")
    with pytest.raises(ConfigError, match="attention"):
        find_blocks(model, attention="whole")
    with pytest.raises(DataError, match="no text"):
        collect_curvature(model, blocks, [])
    with pytest.raises(DataError, match="no token"):
        _ = reference_gradient(model, blocks, batches_of(tokenizer, ["", ""])).mean
    with pytest.raises(ModelError, match="fit it for this model"):
        parameter_direction(blocks, {**direction, blocks[0].name: np.zeros((2, 2))})
    with pytest.raises(ModelError, match="no curvature of the layer"):
        inverse_product(direction, {})
    with pytest.raises(ConfigError):
        sample_scores(model, blocks, direction, [], method="guess")
    half = make_model("llama", dtype=torch.bfloat16)
    with pytest.raises(ConfigError, match="too few bits"):
        sample_scores(half, blocks, direction, batches_of(tokenizer, TEXTS))
    with pytest.raises(ConfigError, match="it must be from 2 to the 16 tokens"):
        influence_context(model, 17)
    for value in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError):
            Damping(value)
    broken = make_model("llama")
    with torch.no_grad():
        broken.model.layers[0].mlp.up_proj.weight[0, 0] = float("nan")
    with pytest.raises(ModelError, match="no finite loss"):
        sample_scores(broken, blocks, direction, batches_of(tokenizer, TEXTS))
    assert torch.isnan(broken.model.layers[0].mlp.up_proj.weight).sum() == 1  # restored even so


def test_direction_of_zeros_scores_zero(tokenizer):
    model = make_model("llama")
    blocks = find_blocks(model)
    direction = {block.name: np.zeros(block.shape) for block in blocks}
    assert (sample_scores(model, blocks, direction, batches_of(tokenizer, TEXTS)).scores == 0).all()


def test_memory_without_weights():
    with torch.device("meta"):
        model = make_model("llama")
    blocks = find_blocks(model)
    need = influence_memory(model, blocks)
    assert need["curvature"] > need["scoring"] > 8 * sum(p.numel() for p in model.parameters())
    assert influence_memory(model, blocks, "none")["curvature"] < influence_memory(model, blocks, "kfac")["curvature"]
