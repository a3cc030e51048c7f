import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.influence import fit
from tamis.scorers.influence.curvature import (
    Damping,
    collect_curvature,
    collect_eigenvalues,
    factorise,
    inverse_product,
)
from tamis.scorers.influence.fit import InfluenceDirection, InfluenceOptions, fit_direction
from tamis.scorers.influence.gradients import reference_gradient
from tamis.scorers.influence.layers import block_groups, influence_memory
from tamis.scorers.influence.samples import batch_limit, chunk_batches, cut_chunks, token_bytes
from tests.scorers.influence.tiny_models import TEXTS, make_model, make_tokenizer, torch, transformers

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

REFERENCE = ["the cat sat", "the hat and the mat sat on the cat " * 3]
POOL = ["one two three", "the mat the mat", "and on and on and on " * 4, "", "four"]


@pytest.fixture(scope="module")
def proxy():
    return make_model("gpt2", dtype=torch.float32), make_tokenizer()


@pytest.mark.parametrize("kind", ["none", "kfac", "ekfac"])
def test_equals_its_parts(proxy, kind):
    model, tokenizer = proxy
    options = InfluenceOptions(curvature=kind, damping=0.2, attention="split", context=12, batch_tokens=40)
    found = fit_direction(model, tokenizer, REFERENCE, POOL, options)
    blocks = options.blocks(model)

    def batches(texts):
        return chunk_batches(cut_chunks(tokenizer, texts, context=12), 40)

    curvature = factorise(collect_curvature(model, blocks, batches(POOL)))
    eigenvalues = collect_eigenvalues(model, blocks, batches(POOL), curvature)
    expected = inverse_product(
        reference_gradient(model, blocks, batches(REFERENCE)).mean,
        None if kind == "none" else curvature,
        eigenvalues=eigenvalues if kind == "ekfac" else None,
        damping=Damping(0.2),
    )
    assert list(found.blocks) == [block.name for block in blocks]
    for name, matrix in found.blocks.items():
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(matrix, expected[name], rtol=1e-4, atol=1e-4 * np.abs(expected[name]).max())
    assert found.reference_tokens == sum(len(tokenizer(text)["input_ids"]) for text in REFERENCE)
    assert (found.pool_tokens > 0) == (kind != "none")


def test_stored_direction_scores_the_same(proxy):
    model, tokenizer = proxy
    found = fit_direction(model, tokenizer, REFERENCE, POOL)
    again = InfluenceDirection.from_bytes(found.to_bytes())
    assert again.to_bytes() == found.to_bytes()
    assert again.digest == found.digest
    assert again.options == found.options
    scores = [direction.scorer(model, tokenizer).score(TEXTS).column(0).to_pylist() for direction in (found, again)]
    assert scores[0] == scores[1]
    assert fit_direction(model, tokenizer, REFERENCE, POOL).digest == found.digest
    for broken in (b"", b"nonsense\n", json.dumps({"format": "other"}).encode(), found.to_bytes()[:-9]):
        with pytest.raises(DataError, match="fit it again"):
            InfluenceDirection.from_bytes(broken)


def test_texts_like_the_reference_help_it(proxy):
    """At random weights even, a step on the reference itself lowers its loss."""
    model, tokenizer = proxy
    for kind in ("none", "kfac", "ekfac"):
        scorer = fit_direction(model, tokenizer, REFERENCE, POOL, InfluenceOptions(curvature=kind)).scorer(
            model, tokenizer
        )
        assert min(scorer.score(REFERENCE).column(0).to_pylist()) > 0


def test_errors(proxy):
    model, tokenizer = proxy
    for wrong in ({"curvature": "exact"}, {"damping": 0.0}, {"batch_tokens": 0}):
        with pytest.raises(ConfigError):
            InfluenceOptions(**wrong)
    with pytest.raises(DataError, match="reference"):
        fit_direction(model, tokenizer, [""], POOL)
    with pytest.raises(DataError, match="sample of the pool"):
        fit_direction(model, tokenizer, REFERENCE, [])
    other = make_model("llama", dtype=torch.float32)
    with pytest.raises(ModelError, match="fit it for this model"):
        fit_direction(model, tokenizer, REFERENCE, POOL).scorer(other, tokenizer)


@pytest.mark.parametrize("kind", ["kfac", "ekfac"])
def test_curvature_is_held_for_a_few_layers_at_a_time(proxy, kind, monkeypatch):
    model, tokenizer = proxy
    options = InfluenceOptions(curvature=kind)
    blocks = options.blocks(model)
    held = []

    def watched(*arguments):
        sums = collect_curvature(*arguments)
        held.append(sum(matrix.nbytes for part in (sums.inputs, sums.outputs) for matrix in part.values()))
        return sums

    monkeypatch.setattr(fit, "collect_curvature", watched)
    whole = fit_direction(model, tokenizer, REFERENCE, POOL, options)
    assert len(held) == 1
    most = held.pop() // 3
    parts = fit_direction(model, tokenizer, REFERENCE, POOL, options, factor_bytes=most)
    assert len(held) > 2
    assert max(held) <= most
    # Layer by layer, and with all layers at a time: the same to the last bit.
    assert fit_direction(model, tokenizer, REFERENCE, POOL, options, factor_bytes=0).digest == whole.digest
    assert parts.digest == whole.digest
    assert len(held) > len(blocks)


def test_groups_of_layers_hold_all_once_and_the_last_first():
    model = make_model("llama")
    blocks = InfluenceOptions().blocks(model)
    for most in (0, 10_000, 30_000, 1 << 40):
        groups = block_groups(blocks, most)
        assert [block.name for group in groups for block in group] == [block.name for block in reversed(blocks)]
        for group in groups:
            need = sum(8 * (o * o + i * i + o * i) for o, i in (block.shape for block in group))
            assert need <= most or len(group) == 1
    small, large = (influence_memory(model, blocks, "ekfac", most)["curvature"] for most in (0, 1 << 40))
    assert small < large


def test_batches_of_a_large_model_are_small():
    small, large = (
        transformers.LlamaConfig(vocab_size=size, hidden_size=width, num_hidden_layers=layers)
        for size, width, layers in ((1024, 64, 2), (150_000, 4096, 36))
    )
    assert batch_limit(small, 2048) == 2048
    assert batch_limit(large, 2048) * token_bytes(large) <= 1 << 30
    assert batch_limit(large, 2048) == (1 << 30) // (12 * 150_000 + 64 * 4096 * 36)


def test_a_scorer_holds_its_direction_once(proxy):
    model, tokenizer = proxy
    direction = fit_direction(model, tokenizer, REFERENCE, POOL)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    scorer = direction.scorer(model, tokenizer)
    first, second = (scorer.score(TEXTS).column(0).to_pylist() for _ in range(2))
    assert first == second
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    exact = direction.scorer(model, tokenizer, method="backward").score(TEXTS).column(0).to_pylist()
    got, wanted = (np.array([score for score in scores if score is not None]) for scores in (first, exact))
    np.testing.assert_allclose(got, wanted, atol=5e-3 * np.abs(wanted).max())
    # What is held: as many numbers as the direction has, in the parameters' own type.
    assert scorer._direction == {}
    assert sum(t.numel() for t in scorer._steps.tensors.values()) == sum(m.size for m in direction.blocks.values())


THREADS = """
import hashlib
import numpy as np
from tamis.scorers.causal.threads import one_thread
from tamis.scorers.influence.curvature import CurvatureSums, Damping, factorise, inverse_product

draw = np.random.default_rng(0)
shapes = {"a": (192, 256), "b": (320, 128)}
whole = [{n: draw.integers(-9, 10, (s[i], 400)).astype(float) for n, s in shapes.items()} for i in (1, 0)]
factors = [{name: matrix @ matrix.T for name, matrix in side.items()} for side in whole]  # exact in any order
sums = CurvatureSums(*factors, dict.fromkeys(shapes, 400), 400.0)
with one_thread():
    found = inverse_product({n: draw.normal(size=s) for n, s in shapes.items()}, factorise(sums), damping=Damping())
print(hashlib.sha256(b"".join(found[name].tobytes() for name in shapes)).hexdigest())
"""


@pytest.mark.slow
def test_the_number_of_threads_changes_no_byte():
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    digests = set()
    for number in ("1", "4"):
        environment = os.environ | dict.fromkeys(names, number)
        command = [sys.executable, "-c", THREADS]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        digests.add(done.stdout)
    assert len(digests) == 1
