import json

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, DataError, ModelError
from tamis.scorers.influence.curvature import (
    Damping,
    collect_curvature,
    collect_eigenvalues,
    factorise,
    inverse_product,
)
from tamis.scorers.influence.fit import InfluenceDirection, InfluenceOptions, fit_direction
from tamis.scorers.influence.gradients import reference_gradient
from tamis.scorers.influence.samples import chunk_batches, cut_chunks
from tests.scorers.influence.tiny_models import TEXTS, make_model, make_tokenizer, torch

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
