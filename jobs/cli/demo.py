"""The demo: the bundled config over the bundled sample corpus."""

from pathlib import Path

import tamis
from tamis.jobs.cli.run_and_plan import run_config
from tamis.jobs.config_file import load_config
from tamis.schemas.errors import RunError

__all__ = ["run_demo"]

RUNNER = "FnApiRunner"


def bundled_examples() -> Path:
    """Return the folder of example configs and the sample corpus: in a checkout, or as installed.

    Raises:
        RunError: if neither is there.
    """
    package = Path(tamis.__file__).resolve().parent
    for folder in (package.parent.parent / "examples", package / "examples"):
        if (folder / "demo.yaml").exists():
            return folder
    msg = "the bundled examples are missing: install tamis again, or run the demo from a checkout"
    raise RunError(msg)


def run_demo(output: str, workers: int, *, quiet: bool = False) -> None:
    """Run the bundled config; its paths are relative to the folder that holds `examples`."""
    examples = bundled_examples()
    config, plain = load_config(str(examples / "demo.yaml"))
    beside = str(examples.parent / "demo.yaml")
    run_config(config, plain, output, config_file=beside, workers=workers, runner=RUNNER, replace=True, quiet=quiet)
