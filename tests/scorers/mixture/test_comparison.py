import numpy as np
import pytest

from tamis.schemas.errors import ConfigError
from tamis.scorers.mixture.comparison import COMPARISON, Candidate, compare_mixtures
from tamis.scorers.mixture.laws import Law
from tamis.scorers.mixture.repetition import effective_tokens


def test_one_row_a_method() -> None:
    law = Law("log_linear", np.array([1.0]), np.array([[-1.0, 0.0]]), np.zeros(1))
    table = compare_mixtures(
        ["web", "books"],
        {
            "proportional": Candidate([900, 100], extra_steps=0),
            "stratified": Candidate([1, 1], measured=2.5),
            "books only": Candidate([0, 1], note="extrapolation"),
        },
        sizes=[900, 100],
        budget=1000,
        law=law,
    )
    assert table.schema.equals(COMPARISON)
    rows = table.to_pylist()
    assert rows[0]["distance"] == rows[0]["divergence"] == 0
    assert rows[0]["effective_tokens"] == pytest.approx(1000)
    assert rows[1]["most_repeated"] == "books"
    assert rows[1]["most_epochs"] == pytest.approx(5)
    assert rows[1]["effective_tokens"] == pytest.approx(500 + effective_tokens(100, 500))
    assert rows[1]["divergence"] == pytest.approx(0.5 * np.log(0.5 / 0.9) + 0.5 * np.log(5))
    assert rows[2]["predicted"] == pytest.approx(2)
    assert rows[2]["divergence"] == pytest.approx(np.log(10))
    with pytest.raises(ConfigError, match="'x' has 3 shares for 2 groups"):
        compare_mixtures(["a", "b"], {"x": Candidate([1, 1, 1])}, sizes=[1, 1], budget=1)
    with pytest.raises(ConfigError, match="above 0"):
        compare_mixtures(["a", "b"], {}, sizes=[1, 0], budget=1)
