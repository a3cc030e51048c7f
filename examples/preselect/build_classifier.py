"""Builds the classifier that comes with the examples, `examples/models/preselect`, as the tutorial does.

    python examples/preselect/build_classifier.py

Models that `build_models.py` left in `runs/preselect/models` are taken as they are.
"""

import os
import shutil
from pathlib import Path

from examples.preselect.build_models import FAMILY, build
from tamis.jobs.cli.console import RunProgress
from tamis.jobs.train.preselect import load_training, train_preselect
from tamis.pipeline.graph.engine import Engine
from tamis.scorers.fasttext.model import MODEL_FILE
from tamis.scorers.models.folder import MODEL_FILE as DESCRIPTION

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent.parent
CONFIG = "examples/preselect/train.yaml"
MODELS = Path("runs/preselect/models")
TARGET = Path("examples/models/preselect")


def main() -> None:
    """Build what is missing of the family, train, and copy the classifier."""
    os.chdir(ROOT)  # the config's paths are relative to it, and no path of this machine gets into the model
    if not all((MODELS / member.name / "model.safetensors").exists() for member in FAMILY):
        build(MODELS)
    config = load_training(CONFIG)
    engine = Engine(f"{config.output}/.work/passes", progress=RunProgress())
    train_preselect(config, engine, config.output, config_file=CONFIG)
    TARGET.mkdir(parents=True, exist_ok=True)
    for name in (MODEL_FILE, "training.json", DESCRIPTION):
        shutil.copyfile(Path(config.output) / name, TARGET / name)


if __name__ == "__main__":
    main()
