"""A corpus and a config over it, whose runs end with the test."""

import pytest

from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tests.faults.trials import Trial, make_trial


@pytest.fixture
def trial(tmp_path):
    """A trial of the test's own, whose corpus and scorer it may change."""
    made = make_trial(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """A trial, with what a run gives that nobody disturbs."""
    made = make_trial(tmp_path_factory.mktemp("undisturbed"))
    made.open()
    plain, output = made.plain(), made.folder / "plain"
    execute(make_plan(parse_config(plain), plain), str(output), Engine(f"{output}/work/passes"))
    made.expected = made.digests("plain")
    return made


@pytest.fixture
def shared(undisturbed, tmp_path):
    """The trial of all tests, with folders of the test's own; the gate is shut."""
    undisturbed.close()
    made = Trial(undisturbed.folder, tmp_path, undisturbed.expected)
    yield made
    made.end()
