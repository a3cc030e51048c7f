from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tamis.schemas.errors import ConfigError, DataError, RunError  # noqa: E402
from tamis.scorers.mixture.controlled_training import train_by_controller  # noqa: E402
from tamis.scorers.mixture.methods import CONTROLLERS  # noqa: E402
from tamis.scorers.mixture.rows import GroupRows  # noqa: E402
from tamis.scorers.mixture.trainer import CausalTrainer, TrainerOptions, learning_rate_at  # noqa: E402

torch.set_num_threads(1)  # threads cost more than they bring at this size, and the machine is shared

MODEL = {"model_type": "gpt2", "vocab_size": 16, "n_positions": 12, "n_embd": 16, "n_layer": 1, "n_head": 2,
         "resid_pdrop": 0.1, "embd_pdrop": 0.0, "attn_pdrop": 0.0}  # fmt: skip
OPTIONS = TrainerOptions(MODEL, total_steps=40, batch_rows=5, learning_rate=5e-3, warmup_steps=4, gradient_rows=4)


def groups(rows: int = 30) -> list[GroupRows]:
    """Groups that are easy in different ways: counting up, counting down, two tokens at random."""
    generator = np.random.default_rng(0)
    start = generator.integers(0, 16, (rows + 6, 1))
    steps = np.arange(12)
    tables = {
        "up": (start + steps) % 16,
        "down": (start - steps) % 16,
        "noise": generator.integers(0, 2, (rows + 6, 12)),
    }
    return [GroupRows(name, t[6:].astype(np.int32), t[:6].astype(np.int32)) for name, t in tables.items()]


NAMES = ["up", "down", "noise"]


def controller(method: str) -> Any:
    options: dict[str, Any] = {
        "aioli": {"rounds": 2, "round_steps": 14, "sweeps": 1, "interval_steps": 3},
        "dga": {"steps": 6, "every": 2, "repeats": 2},
        "doge": {"steps": 4, "every": 2},
        "doremi": {"steps": 6, "every": 2, "reference_steps": 5},
        "fixed": {"schedule": [[1, 1, 1], [0, 0, 1]], "steps": [6, 4], "evaluate_every": 3},
        "skill_it": {"steps": 6, "every": 3, "graph_steps": 3},
        "swarm": {"runs": 3, "steps": 4, "solve": "best_run"},
    }
    return CONTROLLERS[method](groups=NAMES, **options[method])


def extra() -> dict[str, Any]:
    return {"target": groups()[0].validation}


@pytest.mark.parametrize("method", sorted(CONTROLLERS))
def test_a_run_that_was_cut_off_goes_on_bit_by_bit(method: str, tmp_path: Path) -> None:
    whole = train_by_controller(controller(method), OPTIONS, groups(), folder=tmp_path / "whole", extra=extra())
    assert whole is not None
    result, stops = None, 0
    while result is None:
        assert len(list((tmp_path / "parts").glob("*.pt"))) <= 1
        result = train_by_controller(
            controller(method), OPTIONS, groups(), folder=tmp_path / "parts", extra=extra(), segments=1
        )
        stops += 1
    assert stops == len(whole.boundaries)
    assert result == whole
    weights = [torch.load(next((tmp_path / part).glob("*.pt")), weights_only=True) for part in ("whole", "parts")]
    for key in ("model", "optimizer"):
        a, b = (torch.utils._pytree.tree_leaves(some[key]) for some in weights)
        assert all(torch.equal(x, y) if torch.is_tensor(x) else x == y for x, y in zip(a, b, strict=True))
    assert train_by_controller(controller(method), OPTIONS, groups(), folder=tmp_path / "parts", extra=extra()) == whole


def test_rows_follow_the_quotas() -> None:
    run = controller("aioli")
    result = train_by_controller(run, OPTIONS, groups())
    assert result is not None
    due = sum(np.array(b.mixture) * b.steps * OPTIONS.batch_rows for b in result.boundaries)
    assert sum(result.rows) == 28 * 5
    assert np.abs(np.array(result.rows) - due).max() <= 1.001
    np.testing.assert_allclose(result.epochs, np.array(result.rows) / 30)
    assert result.parameters == sum(p.numel() for p in CausalTrainer(OPTIONS, groups()).model.parameters())


def test_training_lowers_what_is_trained_on() -> None:
    trainer = CausalTrainer(OPTIONS, groups())
    before = trainer.evaluate(NAMES)
    trainer.train([1, 0, 0], 40)
    after = trainer.evaluate(NAMES)
    assert after[0] < before[0] - 0.5
    assert after[1] > before[1] - 0.3
    assert trainer.rows == (200, 0, 0)


def test_losses_are_the_models_own() -> None:
    trainer = CausalTrainer(OPTIONS, groups())
    rows = torch.from_numpy(groups()[1].validation.astype(np.int64))
    trainer.model.eval()
    with torch.no_grad():
        wanted = trainer.model(input_ids=rows, labels=rows).loss
    assert trainer.evaluate(["down"])[0] == pytest.approx(float(wanted), rel=1e-5)
    small = CausalTrainer(TrainerOptions(MODEL, total_steps=1, evaluation_rows=1), groups())
    assert small.evaluate(["down"])[0] == pytest.approx(float(wanted), rel=1e-5)


def test_alignments_are_first_order_changes_of_the_targets_loss() -> None:
    options = TrainerOptions(MODEL, total_steps=1, gradient_rows=4, cosine_alignment=False)
    trainer = CausalTrainer(options, groups(), extra=extra())
    request = controller("dga").next()._replace(repeats=1, restart=False)
    products = trainer._scores(request, 0)
    base = trainer.evaluate(["target"])[0]
    for j in range(3):
        gradient = trainer._gradient(trainer._cursors[j].peek(4))
        change = []
        for step in (1e-3, -1e-3):
            with torch.no_grad():
                for p, g in zip(trainer._trainable(), gradient, strict=True):
                    p.sub_(step * g)
            change.append(trainer.evaluate(["target"])[0])
            with torch.no_grad():
                for p, g in zip(trainer._trainable(), gradient, strict=True):
                    p.add_(step * g)
        assert (change[1] - change[0]) / 2e-3 == pytest.approx(products[j], rel=0.05, abs=2e-3)
    assert trainer.evaluate(["target"])[0] == pytest.approx(base, rel=1e-4)
    cosine = CausalTrainer(TrainerOptions(MODEL, total_steps=1), groups(), extra=extra())._scores(request, 0)
    assert all(-1 <= x <= 1 for x in cosine)
    assert int(np.argmax(cosine)) == 0  # the group that the target comes from


def test_alignments_of_distributions() -> None:
    rows = {"one": [1.0, 0.0, 0.0], "two": [0.0, 0.5, 0.5]}
    trainer = CausalTrainer(OPTIONS, groups(), extra=extra(), distributions=rows)
    request = controller("dga").next()._replace(repeats=1, of=("one", "two"))
    found = trainer._scores(request, 0)
    assert found[0] == trainer._scores(request._replace(of=("up",)), 0)[0]
    assert found[0] > found[1]
    with pytest.raises(DataError, match="gradients of 'three' are wanted"):
        trainer._scores(request._replace(of=("three",)), 0)
    run = CONTROLLERS["dga"](groups=NAMES, steps=6, every=3, distributions=list(rows.values()), names=list(rows))
    result = train_by_controller(run, OPTIONS, groups(), extra=extra())
    assert result is not None
    assert result.proportions[1] == pytest.approx(result.proportions[2])


def test_excess_losses_compare_with_the_reference() -> None:
    still = TrainerOptions({**MODEL, "resid_pdrop": 0.0}, total_steps=40, batch_rows=5, learning_rate=1e-12)
    trainer = CausalTrainer(still, groups())
    with pytest.raises(RunError, match="need a reference model"):
        trainer.train([1, 1, 0], 2, with_reference=True)
    trainer._reference = trainer._copied()
    excess = trainer.train([1, 1, 0], 2, with_reference=True)
    assert excess[:2] == pytest.approx([0, 0], abs=1e-5)
    assert excess[2] is None


def test_restarts_begin_with_the_same_weights_and_rows() -> None:
    trainer = CausalTrainer(OPTIONS, groups())
    runs = [trainer.segment(controller("swarm").next()).values for _ in range(2)]
    assert runs[0] == runs[1]
    other = CausalTrainer(TrainerOptions(MODEL, total_steps=40, batch_rows=5, seed=1), groups())
    assert other.evaluate(NAMES) != CausalTrainer(OPTIONS, groups()).evaluate(NAMES)


def test_the_callers_random_numbers_are_left_alone() -> None:
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train_by_controller(controller("fixed"), OPTIONS, groups())
    assert torch.equal(torch.rand(3), wanted)


def test_learning_rates() -> None:
    options = TrainerOptions(MODEL, total_steps=110, learning_rate=1.0, final_learning_rate=0.1, warmup_steps=10)
    rates = [learning_rate_at(options, step) for step in (0, 4, 9, 10, 60, 110, 500)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.55, 0.1, 0.1])
    flat = TrainerOptions(MODEL, total_steps=10, learning_rate=1.0, schedule="constant")
    assert learning_rate_at(flat, 9) == 1.0


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="learning_rate is 0"):
        TrainerOptions(MODEL, total_steps=1, learning_rate=0)
    with pytest.raises(ConfigError, match="but the controller's groups are"):
        train_by_controller(controller("fixed"), OPTIONS, groups()[::-1])
    with pytest.raises(ConfigError, match="can't be used"):
        CausalTrainer(TrainerOptions({"model_type": "nothing"}, total_steps=1), groups())
    train_by_controller(controller("fixed"), OPTIONS, groups(), folder=tmp_path, segments=1)
    with pytest.raises(ConfigError, match="other options or other rows"):
        train_by_controller(controller("fixed"), OPTIONS, groups(29), folder=tmp_path)
    (tmp_path / "checkpoint.json").write_text("{")
    with pytest.raises(RunError, match="can't be read"):
        train_by_controller(controller("fixed"), OPTIONS, groups(), folder=tmp_path)
    with pytest.raises(DataError, match="no validation rows of 'x'"):
        CausalTrainer(OPTIONS, groups()).evaluate(["x"])
    trainer = CausalTrainer(OPTIONS, groups())
    with torch.no_grad():
        next(iter(trainer.model.parameters())).fill_(float("nan"))
    with pytest.raises(RunError, match="isn't finite at step 0"):
        trainer.train([1, 1, 1], 1)
