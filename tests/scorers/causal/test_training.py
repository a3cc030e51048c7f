import warnings

import numpy as np
import pytest

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.causal.bits_per_character import measure_losses
from tamis.scorers.causal.models import load_causal_model
from tamis.scorers.causal.training import TrainingOptions, byte_tokenizer, train_causal_model

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

SMALL = TrainingOptions(dimensions=16, layers=1, heads=2, context=32, steps=30, batch=4, rate=1e-2)
TEXTS = ["the cat sat on the mat. " * 8, "naïve 山 😀 " * 10, ""]


def loss(trained):
    return measure_losses(trained.model, TEXTS[:1], tokenizer=trained.tokenizer).nats[0]


def test_learns_and_repeats(tmp_path):
    state = torch.random.get_rng_state()
    one, other = train_causal_model(TEXTS, SMALL, folder=tmp_path), train_causal_model(TEXTS, SMALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True))
    untrained = train_causal_model(TEXTS, TrainingOptions(**{**SMALL.__dict__, "steps": 0}))
    assert loss(one) < 0.7 * loss(untrained)
    assert loss(load_causal_model(tmp_path)) == pytest.approx(loss(one), rel=1e-6)
    seeded = train_causal_model(TEXTS, TrainingOptions(**{**SMALL.__dict__, "seed": 1}))
    assert loss(seeded) != loss(one)
    assert not one.model.training


def test_goes_on_from_a_model():
    first = train_causal_model(TEXTS, SMALL)
    before = loss(first)
    assert loss(train_causal_model(TEXTS, SMALL, start=first)) < before


@pytest.mark.parametrize("vocabulary", [257, 300])
def test_tokenizer_is_of_bytes(vocabulary):
    tokenizer = byte_tokenizer(TEXTS, vocabulary)
    for text in [*TEXTS, "\x00\t\n <s>"]:
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        assert tokenizer.decode(ids) == text
        if vocabulary == 257:
            assert len(ids) == len(text.encode())
        assert all(0 < i < vocabulary for i in ids)
    assert tokenizer.bos_token_id == 0


@pytest.mark.parametrize(
    "wrong", [{"dimensions": 10, "heads": 4}, {"layers": 0}, {"vocabulary": 100}, {"rate": 0.0}, {"seed": -1}]
)
def test_wrong_options(wrong):
    with pytest.raises(ConfigError):
        TrainingOptions(**wrong)


def test_too_little_text():
    with pytest.raises(DataError, match="less than a row of 32"):
        train_causal_model(["short"], SMALL)
    assert np.isfinite(loss(train_causal_model(["x" * 40], SMALL)))
