"""What all tests share: deterministic property tests, and the folder of development corpora where there is one."""

import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tamis.jobs.cli import app

# Kernels compile on first use, so a deadline would measure the compiler; derandomised, CI repeats what was seen here.
settings.register_profile(
    "tamis", deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tamis")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session", autouse=True)
def _signals_are_as_a_terminal_has_them() -> None:
    """Ctrl-C raises KeyboardInterrupt, also where tests were started in the background, which ignores it.

    And `main` called within this process leaves its signals alone: they are the test runner's.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    app.end_by_signals = lambda arguments: None


@pytest.fixture(scope="session")
def dev_data() -> Path:
    """The folder of development corpora; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "dev.jsonl.zst").exists():
        pytest.skip("the folder of development corpora is absent; name it with TAMIS_DEV_DATA")
    return folder


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of reference values."""
    return ROOT / "tests" / "golden"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of example configs and the sample corpus."""
    return ROOT / "examples"
