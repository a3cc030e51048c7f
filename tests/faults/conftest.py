"""A corpus and a config over it, whose runs end with the test."""

import pytest

from tests.faults.trials import make_trial


@pytest.fixture
def trial(tmp_path):
    """A trial whose processes are ended with the test."""
    made = make_trial(tmp_path)
    yield made
    made.end()
