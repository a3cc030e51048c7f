"""Influence against what it claims to predict: retraining without a document, and one real step on it."""

import numpy as np
import pytest
import scipy.stats

from tamis.scorers.influence.curvature import (
    Damping,
    collect_curvature,
    collect_eigenvalues,
    factorise,
    inverse_product,
)
from tamis.scorers.influence.gradients import reference_gradient
from tamis.scorers.influence.layers import find_blocks
from tamis.scorers.influence.samples import Batch, chunk_batches, chunk_losses, cut_chunks
from tamis.scorers.influence.scores import parameter_direction, sample_scores
from tests.scorers.influence.tiny_models import CONTEXT, make_model, make_tokenizer, torch

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]


def logistic_losses(model, batch):
    points, labels = batch.inputs
    return torch.nn.functional.binary_cross_entropy_with_logits(model(points)[:, 0], labels, reduction="none")


def as_batch(points, labels):
    inputs = torch.tensor(points), torch.tensor(labels)
    return Batch(inputs, None, torch.ones(len(labels), dtype=torch.float64), tuple(range(len(labels))))


def solve_logistic(points, labels, weights, ridge, start):
    """Newton's method to optimality, the bias as one more weight; all of them shrunk."""
    wide = np.hstack([points, np.ones((len(points), 1))])
    theta = start.copy()
    for _ in range(50):
        p = 1 / (1 + np.exp(-wide @ theta))
        gradient = wide.T @ (weights * (p - labels)) / len(points) + ridge * theta
        hessian = (wide * (weights * p * (1 - p))[:, None]).T @ wide / len(points) + ridge * np.eye(len(theta))
        step = np.linalg.solve(hessian, gradient)
        theta -= step
        if np.abs(step).max() < 1e-13:
            break
    assert np.abs(gradient).max() < 1e-12
    return theta


def mean_loss(points, labels, theta):
    margins = (np.hstack([points, np.ones((len(points), 1))]) @ theta) * (2 * labels - 1)
    return np.logaddexp(0, -margins).mean()


@pytest.mark.parametrize("kind", ["kfac", "ekfac"])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_leave_one_out_retraining(kind, seed):
    """The labels are noisy: Kronecker factors take a layer's inputs and output gradients as independent.

    Where labels follow from the inputs they aren't, and only the exact Hessian still reaches 0.95 (K-FAC about 0.9).
    """
    rng = np.random.default_rng(seed)
    ridge, rows, dimensions = 1e-2, 400, 6
    truth = rng.normal(size=dimensions) * 0.3
    scales = np.linspace(0.3, 2.0, dimensions)

    def draw(count):
        points = rng.normal(size=(count, dimensions)) * scales + 0.3
        labels = (rng.random(count) < 1 / (1 + np.exp(-(points @ truth - 0.3)))).astype(float)
        return points, labels

    (points, labels), (reference, wanted) = draw(rows), draw(40)
    theta = solve_logistic(points, labels, np.ones(rows), ridge, np.zeros(dimensions + 1))
    model = torch.nn.Linear(dimensions, 1, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(theta[None, :-1]))
        model.bias.copy_(torch.tensor(theta[-1:]))
    blocks = find_blocks(model)
    pool = as_batch(points, labels)
    gradient = reference_gradient(model, blocks, [as_batch(reference, wanted)], logistic_losses).mean
    curvature = factorise(collect_curvature(model, blocks, [pool], logistic_losses))
    eigenvalues = None
    if kind == "ekfac":
        eigenvalues = collect_eigenvalues(model, blocks, [pool], curvature, logistic_losses)
    direction = inverse_product(gradient, curvature, eigenvalues=eigenvalues, damping=Damping(ridge, relative=False))
    before = mean_loss(reference, wanted, theta)
    rises = []
    for i in range(rows):
        weights = np.ones(rows)
        weights[i] = 0
        rises.append(mean_loss(reference, wanted, solve_logistic(points, labels, weights, ridge, theta)) - before)
    for method in ("backward", "forward", "difference"):
        scores = sample_scores(
            model, blocks, direction, [pool], method=method, step=1e-5, losses=logistic_losses
        ).scores
        assert scipy.stats.spearmanr(scores, rises).statistic >= 0.95
        # Not only the order: a document left out raises the loss by its share of the score.
        assert np.polyfit(scores / rows, rises, 1)[0] == pytest.approx(1, abs=0.2)
    plain = sample_scores(model, blocks, gradient, [pool], method="backward", losses=logistic_losses).scores
    assert scipy.stats.spearmanr(plain, rises).statistic < 0.95  # the inverse Hessian is what does it
    forgotten = {name: np.hstack([matrix[:, :-1], np.zeros((1, 1))]) for name, matrix in direction.items()}
    without_bias = sample_scores(model, blocks, forgotten, [pool], method="backward", losses=logistic_losses).scores
    assert np.abs(without_bias - scores).max() > 1e-3 * np.abs(scores).max()


TRAINING = [
    "the cat sat on the mat and the hat",
    "one two three four five six seven eight",
    "a naïve 山 of words",
    "and and and and and",
]
REFERENCE = ["the cat sat on the hat", "the hat sat on the cat and the mat"]
CANDIDATES = [
    "the cat and the hat",
    "on the mat",
    "one two one two",
    "three four five",
    "山 山 山",
    "the the the the",
    "hat cat mat sat",
    "and and",
    "seven eight nine ten",
    "words of a mat",
    "sat",
    "the cat sat on the mat. the cat sat on the mat",
]


@pytest.fixture(scope="module")
def trained():
    """A transformer that has learned a little: influence means nothing at random weights."""
    tokenizer = make_tokenizer()
    model = make_model("gpt2", tied=True)
    batches = list(chunk_batches(cut_chunks(tokenizer, TRAINING, context=CONTEXT), 10_000))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.3)
    for _ in range(30):
        optimiser.zero_grad()
        sum(chunk_losses(model, batch).mean() for batch in batches).backward()
        optimiser.step()
    model.zero_grad()
    return tokenizer, model.eval()


def reference_loss(model, batches):
    with torch.no_grad():
        losses = [(chunk_losses(model, batch).double(), batch.weights) for batch in batches]
    return float(sum((loss * weight).sum() for loss, weight in losses) / sum(weight.sum() for _, weight in losses))


@pytest.mark.parametrize("kind", ["none", "kfac", "ekfac"])
def test_one_real_step(trained, kind):
    """A step on the candidate, by its gradient or by its preconditioned gradient, lowers the loss as was said."""
    tokenizer, model = trained
    blocks = find_blocks(model)
    reference = list(chunk_batches(cut_chunks(tokenizer, REFERENCE, context=CONTEXT), 10_000))
    pool = list(chunk_batches(cut_chunks(tokenizer, TRAINING + CANDIDATES, context=CONTEXT), 10_000))
    candidates = cut_chunks(tokenizer, CANDIDATES, context=CONTEXT)
    gradient = reference_gradient(model, blocks, reference).mean
    curvature = eigenvalues = None
    if kind != "none":
        curvature = factorise(collect_curvature(model, blocks, pool))
    if kind == "ekfac":
        eigenvalues = collect_eigenvalues(model, blocks, pool, curvature)
    direction = inverse_product(gradient, curvature, eigenvalues=eigenvalues)
    scores = sample_scores(model, blocks, direction, chunk_batches(candidates, 10_000)).scores
    before = reference_loss(model, reference)
    parameters = dict(model.named_parameters())
    drops = []
    for i in range(len(candidates)):
        single = list(chunk_batches([candidates[i]], 10_000))
        own = reference_gradient(model, blocks, single).mean
        step = parameter_direction(blocks, inverse_product(own, curvature, eigenvalues=eigenvalues))
        size = 1e-3 if kind == "none" else 1e-5
        saved = {name: parameters[name].detach().clone() for name in step}
        with torch.no_grad():
            for name, matrix in step.items():
                parameters[name] -= size * torch.tensor(matrix)
        drops.append((before - reference_loss(model, reference)) / size)
        with torch.no_grad():
            for name, tensor in saved.items():
                parameters[name].copy_(tensor)
    assert scipy.stats.spearmanr(scores, drops).statistic > 0.98
    np.testing.assert_allclose(scores, drops, rtol=0, atol=0.05 * np.abs(drops).max())


def test_curvature_none_predicts_a_step_of_all_parameters(trained):
    """Steps of training move embeddings and norms as well; the linear layers' share still tells the order."""
    tokenizer, model = trained
    blocks = find_blocks(model)
    reference = list(chunk_batches(cut_chunks(tokenizer, REFERENCE, context=CONTEXT), 10_000))
    candidates = cut_chunks(tokenizer, CANDIDATES, context=CONTEXT)
    direction = inverse_product(reference_gradient(model, blocks, reference).mean)
    scores = sample_scores(model, blocks, direction, chunk_batches(candidates, 10_000)).scores
    before = reference_loss(model, reference)
    saved = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    drops = []
    for chunk in candidates:
        model.zero_grad()
        with torch.enable_grad():
            sum(chunk_losses(model, batch).sum() for batch in chunk_batches([chunk], 10_000)).backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.sub_(parameter.grad, alpha=1e-2)
        drops.append(before - reference_loss(model, reference))
        model.load_state_dict(saved)
    model.zero_grad()
    assert scipy.stats.spearmanr(scores, drops).statistic > 0.8
