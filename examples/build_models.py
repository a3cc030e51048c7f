"""Trains the small models of the demo from the sample corpus, as a user would: `python examples/build_models.py`.

The same corpus and code give the same files. The classifier needs the extra `lm`, and most of the time: two minutes.
"""

import os
import shutil
from pathlib import Path

from examples.preselect.build_classifier import main as build_classifier
from tamis.jobs.train.lm import add_percentiles, train_harmful_lm, train_quality_lm
from tamis.pipeline.formats.options import ReadOptions

EXAMPLES = Path(__file__).resolve().parent
MODELS = Path("examples/models")
CORPUS = "examples/corpus"


def main() -> None:
    """Write `quality`, `harmful` and `preselect` in `examples/models`."""
    os.chdir(EXAMPLES.parent)  # so that no path of this machine gets into a model
    for name in ("quality", "harmful"):
        shutil.rmtree(MODELS / name, ignore_errors=True)
    quality = MODELS / "quality"
    # Order 2 keeps the file small; a real model of good text has order 5 and a thousand times the text.
    train_quality_lm([f"{CORPUS}/target.jsonl.zst"], quality, ReadOptions(), order=2, use_lmplz=False, keep_arpa=False)
    sample = [f"{CORPUS}/encyclopedia.parquet"]
    add_percentiles(quality, sample, ReadOptions(), language=None, source=None)
    labelled = [f"{CORPUS}/harmful_like.jsonl.zst"]
    train_harmful_lm(
        labelled, MODELS / "harmful", ReadOptions(), label="label", group="host", order=3, seed=1, use_lmplz=False
    )
    build_classifier()


if __name__ == "__main__":
    main()
