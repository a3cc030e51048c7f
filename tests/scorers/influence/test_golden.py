"""The values of an independent implementation, on a two-layer attention model in float64."""

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tamis.scorers.influence.curvature import (  # noqa: E402
    Damping,
    collect_curvature,
    collect_eigenvalues,
    factorise,
    inverse_product,
)
from tamis.scorers.influence.gradients import GradientSum, flows, reference_gradient, sample_gradients  # noqa: E402
from tamis.scorers.influence.layers import find_blocks  # noqa: E402
from tamis.scorers.influence.samples import Batch  # noqa: E402
from tamis.scorers.influence.scores import sample_scores  # noqa: E402

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # torch's own, of forward mode
]

HEADS = 2


class Layer(torch.nn.Module):
    def __init__(self, d, ff):
        super().__init__()
        options = {"bias": False, "dtype": torch.float64}
        self.wqkv = torch.nn.Linear(d, 3 * d, **options)
        self.wo = torch.nn.Linear(d, d, **options)
        self.w1 = torch.nn.Linear(d, ff, **options)
        self.w2 = torch.nn.Linear(ff, d, **options)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (part.view(b, t, HEADS, -1).transpose(1, 2) for part in self.wqkv(rms(x)).split(d, dim=-1))
        weights = q @ k.transpose(2, 3) / math.sqrt(d // HEADS)
        weights = weights.masked_fill(torch.ones(t, t).triu(1).bool(), -math.inf).softmax(-1)
        x = x + self.wo((weights @ v).transpose(1, 2).reshape(b, t, d))
        return x + self.w2(torch.nn.functional.gelu(self.w1(rms(x))))


class Model(torch.nn.Module):
    def __init__(self, arrays):
        super().__init__()
        _, d = arrays["w.emb"].shape
        self.emb = torch.nn.Parameter(torch.tensor(arrays["w.emb"]))
        self.pos = torch.nn.Parameter(torch.tensor(arrays["w.pos"]))
        self.unemb = torch.nn.Parameter(torch.tensor(arrays["w.unemb"]))
        self.l0, self.l1 = (Layer(d, arrays["w.l0.w1"].shape[0]) for _ in range(2))
        for name, parameter in self.named_parameters():
            if name.startswith("l"):
                parameter.data.copy_(torch.tensor(arrays[f"w.{name.removesuffix('.weight')}"]))

    def forward(self, tokens):
        x = self.emb[tokens] + self.pos[: tokens.shape[1]]
        return rms(self.l1(self.l0(x))) @ self.unemb.T


def rms(x):
    return x / torch.sqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


def losses(model, batch):
    logits = model(batch.inputs)[:, :-1]
    values = torch.nn.functional.cross_entropy(logits.transpose(1, 2), batch.inputs[:, 1:], reduction="none")
    return values.mean(dim=1)


def batches(tokens, size=7):
    out = []
    for first in range(0, len(tokens), size):
        part = torch.tensor(tokens[first : first + size])
        weights = torch.full((len(part),), part.shape[1] - 1, dtype=torch.float64)
        out.append(
            Batch(part, torch.ones_like(part, dtype=torch.bool), weights, tuple(range(first, first + len(part))))
        )
    return out


@pytest.fixture(scope="module")
def case(golden):
    arrays = dict(np.load(golden / "quad_influence.npz"))
    return json.loads((golden / "quad_influence.json").read_text()), arrays, Model(arrays)


def fitted(case, *, attention="fused", layers=None):
    _, arrays, model = case
    blocks = find_blocks(model, attention=attention, layers=layers)
    gradient = reference_gradient(model, blocks, batches(arrays["ref_tokens"]), losses).mean
    sums = collect_curvature(model, blocks, batches(arrays["curv_tokens"]), losses)
    return blocks, gradient, sums


def dense(a, s, gradient, damping):
    """The block's matrix written out and solved."""
    whole = np.kron(s, a) + damping * np.eye(a.shape[0] * s.shape[0])
    return np.linalg.solve(whole, gradient.reshape(-1)).reshape(gradient.shape)


def test_gradients_and_factors(case):
    expected, arrays, model = case
    blocks, gradient, sums = fitted(case)
    assert [block.name for block in blocks] == expected["layer_order"]
    for name in expected["layer_order"]:
        np.testing.assert_allclose(gradient[name], arrays[f"meanref_grad.{name}"], rtol=1e-9, atol=1e-13)
        np.testing.assert_allclose(sums.inputs[name] / sums.positions[name], arrays[f"A.{name}"], rtol=1e-9)
        np.testing.assert_allclose(sums.outputs[name] / sums.weight, arrays[f"S.{name}"], rtol=1e-8, atol=1e-14)
    (whole,) = batches(arrays["cand_tokens"], 20)
    found, values = flows(model, blocks, whole, losses)
    np.testing.assert_allclose(values, expected["losses"]["cand"], rtol=1e-12)
    flat = np.concatenate([sample_gradients(flow).reshape(20, -1).numpy() for flow in found.values()], axis=1)
    np.testing.assert_allclose(flat, arrays["cand_grads_flat"], rtol=1e-8, atol=1e-13)


def test_fast_solution_equals_dense(case):
    expected, arrays, model = case
    blocks, gradient, sums = fitted(case)
    curvature = factorise(sums)
    damping = Damping(expected["damping"], relative=False)
    kfac = inverse_product(gradient, curvature, damping=damping)
    eigenvalues = collect_eigenvalues(model, blocks, batches(arrays["curv_tokens"]), curvature, losses)
    ekfac = inverse_product(gradient, curvature, eigenvalues=eigenvalues, damping=damping)
    for name in expected["layer_order"]:
        a, s = sums.inputs[name] / sums.positions[name], sums.outputs[name] / sums.weight
        solved = dense(a, s, gradient[name], expected["damping"])
        np.testing.assert_allclose(kfac[name], solved, rtol=0, atol=expected["tolerance"]["fast_vs_dense"])
        np.testing.assert_allclose(kfac[name], arrays[f"kfac_ihvp_meanref.{name}"], rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(ekfac[name], arrays[f"ekfac_ihvp_meanref.{name}"], rtol=1e-6, atol=1e-8)
        own = curvature[name]
        basis = np.kron(own.output_vectors, own.input_vectors)
        scaled = eigenvalues.blocks[name] / eigenvalues.weight
        whole = basis @ np.diag(scaled.reshape(-1) + expected["damping"]) @ basis.T
        solved = np.linalg.solve(whole, gradient[name].reshape(-1)).reshape(gradient[name].shape)
        np.testing.assert_allclose(ekfac[name], solved, rtol=0, atol=expected["tolerance"]["fast_vs_dense"])


def test_split_projections(case):
    expected, arrays, _ = case
    blocks, gradient, sums = fitted(case, attention="split")
    assert len(blocks) == 12
    found = inverse_product(gradient, factorise(sums), damping=Damping(expected["damping"], relative=False))
    for layer in ("l0", "l1"):
        whole = np.concatenate([found[f"{layer}.wqkv.{part}"] for part in "qkv"])
        np.testing.assert_allclose(whole, arrays[f"kfac_splitqkv_ihvp_meanref.{layer}.wqkv"], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("method", ["difference", "forward", "backward"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("dot_kfac", {}),
        ("dot_ekfac", {"kind": "ekfac"}),
        ("dot_kfac_rel", {"damping": Damping(0.1)}),
        ("dot_kfac_splitqkv", {"attention": "split"}),
        ("dot_identity", {"kind": "none"}),
        ("dot_kfac_attention_only", {"layers": r"\.w(qkv|o)$"}),
        ("dot_kfac_mlp_only", {"layers": r"\.w[12]$"}),
    ],
)
def test_scores(case, method, name, options):
    expected, arrays, model = case
    kind = options.get("kind", "kfac")
    blocks, gradient, sums = fitted(case, attention=options.get("attention", "fused"), layers=options.get("layers"))
    curvature = None if kind == "none" else factorise(sums)
    eigenvalues = None
    if kind == "ekfac":
        eigenvalues = collect_eigenvalues(model, blocks, batches(arrays["curv_tokens"]), curvature, losses)
    damping = options.get("damping", Damping(expected["damping"], relative=False))
    direction = inverse_product(gradient, curvature, eigenvalues=eigenvalues, damping=damping)
    candidates = batches(arrays["cand_tokens"])
    found = sample_scores(model, blocks, direction, candidates, method=method, step=1e-5, losses=losses)
    wanted = np.array(expected["scores"][name])
    # The difference is exact up to a term in the square of its step.
    tolerance = 1e-6 * np.abs(wanted).max() if method == "difference" else 0
    np.testing.assert_allclose(found.scores, wanted, rtol=1e-7, atol=tolerance)
    if method == "difference":
        found = sample_scores(model, blocks, direction, candidates, losses=losses)
        np.testing.assert_allclose(found.scores, wanted, rtol=0, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("kind", ["kfac", "ekfac"])
def test_mean_cosines(case, kind):
    expected, arrays, model = case
    blocks, _, sums = fitted(case)
    curvature = factorise(sums)
    eigenvalues = collect_eigenvalues(model, blocks, batches(arrays["curv_tokens"]), curvature, losses)
    total = 0.0
    for batch in batches(arrays["ref_tokens"], 1):
        direction = inverse_product(
            reference_gradient(model, blocks, [batch], losses).mean,
            curvature,
            eigenvalues=eigenvalues if kind == "ekfac" else None,
            damping=Damping(expected["damping"], relative=False),
        )
        length = math.sqrt(sum((matrix**2).sum() for matrix in direction.values()))
        found = sample_scores(
            model, blocks, direction, batches(arrays["cand_tokens"]), method="backward", losses=losses
        )
        total = total + found.scores / found.norms / length
    np.testing.assert_allclose(total / 5, expected["scores"][f"meancos_{kind}"], rtol=1e-7)


def test_sums_of_shards(case):
    _, arrays, model = case
    blocks, gradient, sums = fitted(case)
    parts = [reference_gradient(model, blocks, [batch], losses) for batch in batches(arrays["ref_tokens"], 2)]
    for name, matrix in GradientSum.merge(parts).mean.items():
        np.testing.assert_allclose(matrix, gradient[name], rtol=1e-9, atol=1e-14)
    shards = [collect_curvature(model, blocks, [batch], losses) for batch in batches(arrays["curv_tokens"], 5)]
    merged = type(sums).merge(type(sums).from_bytes(shard.to_bytes()) for shard in shards)
    for name in sums.inputs:
        np.testing.assert_allclose(merged.inputs[name], sums.inputs[name], rtol=1e-9)
        np.testing.assert_allclose(merged.outputs[name], sums.outputs[name], rtol=1e-9, atol=1e-16)
    assert merged.positions == sums.positions
    curvature = factorise(sums)
    whole = collect_eigenvalues(model, blocks, batches(arrays["curv_tokens"]), curvature, losses)
    shards = [
        collect_eigenvalues(model, blocks, [batch], curvature, losses) for batch in batches(arrays["curv_tokens"], 5)
    ]
    merged = type(whole).merge(type(whole).from_bytes(shard.to_bytes()) for shard in shards)
    for name in whole.blocks:
        np.testing.assert_allclose(merged.blocks[name], whole.blocks[name], rtol=1e-9, atol=1e-18)
