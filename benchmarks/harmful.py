"""Finding harmful text: n-gram models beside classifiers, on groups none of them has seen.

    taskset -c 1 python benchmarks/harmful.py [--data FOLDER] [--splits 5] [--task WORD] [--variant WORD ...]

Tasks from the development corpus: strongly offensive quotations among others of the same collection, parted by the
collection's files, and as single quotations (so that files are in all parts, and what is learned of a file helps);
answers of models that people found harmful or not, and spam among other mail, parted by answer and message. Each split
puts groups into training, validation and test; thresholds are chosen on validation. The paper's form sees harmful text
alone; the ratio (`--contrast`) and the classifiers see both classes. Printed are means over splits on the test groups:
the area under the curve, which no threshold enters, with the half of its 95 % interval over splits and that of its
difference from the default's on the same splits, and what the chosen threshold does. The regression on TF-IDF takes
scikit-learn, and is left out where that isn't installed. `--data` names the folder with `dev.jsonl.zst` (default: the
environment variable TAMIS_DEV_DATA, else ../shared/data).
"""

import argparse
import importlib.util
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from scipy.special import stdtrit

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

import fasttext

from tamis.schemas.errors import DataError
from tamis.scorers.perplexity.calibration import Metrics, calibrate, evaluate, group_split
from tamis.scorers.perplexity.harmful import LabelledDocuments, train_harmful


def tasks(folder: Path) -> dict[str, LabelledDocuments]:
    """Return the labelled documents of each task."""
    names = (
        "offensive quotations, by file",
        "offensive quotations, by quotation",
        "answers, by answer",
        "spam, by message",
    )
    found: dict[str, list[tuple[str, bool, str]]] = {name: [] for name in names}
    offensive, alone, answers, spam = found.values()
    with zstandard.open(folder / "dev.jsonl.zst", "rb") as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            row = json.loads(line)
            if row["source"].startswith("fortune-mod") and row.get("harm_level") != "weak":
                name = row["url"].split("/")[-1].split("%23")[0]
                offensive.append((row["text"], bool(row["harmful"]), f"{row['source']}/{name}"))
                alone.append((row["text"], bool(row["harmful"]), row["id"]))
            elif row["source"] == "pyrit-scorer-evals" and row.get("harmful") is not None:
                answers.append((row["text"], row["harmful"], row["id"]))
            elif row["source"].startswith("spamassassin"):
                spam.append((row["text"], bool(row["spam"]), row["id"]))
    return {
        task: LabelledDocuments([r[0] for r in rows], np.array([r[1] for r in rows]), [r[2] for r in rows])
        for task, rows in found.items()
    }


def classifier(documents: LabelledDocuments, seed: int, work: Path) -> Metrics:
    """Train fastText on the training groups, choose its threshold on validation, measure on the test groups."""
    split = group_split(documents.groups, validation=0.2, test=0.2, seed=seed)
    train = work / "train.txt"
    lines = [text.replace("\n", " ") for text in documents.texts]
    with train.open("w", encoding="utf-8") as file:
        for i in np.flatnonzero(split == "train").tolist():
            file.write(f"__label__{int(documents.harmful[i])} {lines[i]}\n")
    model = fasttext.train_supervised(str(train), wordNgrams=2, epoch=25, thread=1, verbose=0)
    clean = {}
    for part in ("validation", "test"):
        labels, probabilities = model.predict([lines[i] for i in np.flatnonzero(split == part).tolist()], k=2)
        clean[part] = np.array(
            [p[list(names).index("__label__0")] for names, p in zip(labels, probabilities, strict=True)]
        )
    chosen = calibrate(clean["validation"], documents.harmful[split == "validation"])
    return evaluate(clean["test"], documents.harmful[split == "test"], chosen.threshold)


def regression(documents: LabelledDocuments, seed: int) -> Metrics:
    """Train a logistic regression on TF-IDF of words and pairs, choose and measure as `classifier`."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    split = group_split(documents.groups, validation=0.2, test=0.2, seed=seed)
    rows = {part: np.flatnonzero(split == part) for part in ("train", "validation", "test")}
    texts = {part: [documents.texts[i] for i in found.tolist()] for part, found in rows.items()}
    features = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    train = features.fit_transform(texts["train"])
    model = LogisticRegression(C=10, max_iter=1000).fit(train, documents.harmful[rows["train"]])
    clean = {part: -model.decision_function(features.transform(texts[part])) for part in ("validation", "test")}
    chosen = calibrate(clean["validation"], documents.harmful[rows["validation"]])
    return evaluate(clean["test"], documents.harmful[rows["test"]], chosen.threshold)


def interval(values: Sequence[float]) -> float:
    """Return half of the 95 % interval of a mean of values, by Student's t."""
    if len(values) < 2:
        return float("nan")
    return float(stdtrit(len(values) - 1, 0.975) * np.std(values, ddof=1) / np.sqrt(len(values)))


def show(name: str, metrics: list[Metrics], usual: list[Metrics], elapsed: float) -> None:
    """Print the means, and by how much the AUC differs from the default's."""
    more = [one.auc - other.auc for one, other in zip(metrics, usual, strict=True)]
    mean = {key: np.mean([getattr(m, key) for m in metrics]) for key in Metrics.__dataclass_fields__}
    print(
        f"  {name:<38} AUC {mean['auc']:.3f} +-{interval([m.auc for m in metrics]):.3f}"
        f" ({np.mean(more):+.3f} +-{interval(more):.3f})"
        f"  macro-F1 {mean['macro_f1']:.3f} (sd {np.std([m.macro_f1 for m in metrics]):.3f})"
        f"  harmful P {mean['harmful_precision']:.3f} R {mean['harmful_recall']:.3f}"
        f"  clean P {mean['clean_precision']:.3f} R {mean['clean_recall']:.3f}  {elapsed:.1f} CPU-s"
    )


def main() -> None:
    """Run all tasks."""
    parser = argparse.ArgumentParser(description="harmful text: n-gram model beside a fastText classifier")
    default = Path(os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default, help="folder with dev.jsonl.zst")
    parser.add_argument("--splits", type=int, default=5, help="random splits by group")
    parser.add_argument("--task", default="", help="tasks with this in their name")
    parser.add_argument("--variant", nargs="*", default=[""], help="variants with one of these in their names")
    options = parser.parse_args()
    blanks = {"normalizer": "ccnet-blanks"}
    ratio = {"contrast": True}
    variants: dict[str, dict[str, Any]] = {
        "harmful alone, words (the paper's)": {},
        "harmful alone, normalised": blanks,
        "harmful alone, 2,000 pieces": {**blanks, "pieces": 2000},
        "ratio, words, order 3 (the default)": ratio,
        "ratio, normalised, order 2": {**ratio, **blanks, "order": 2},
        "ratio, normalised, order 3": {**ratio, **blanks},
        "ratio, normalised, order 5": {**ratio, **blanks, "order": 5},
        "ratio, 1,000 pieces, order 2": {**ratio, **blanks, "pieces": 1000, "order": 2},
        "ratio, 1,000 pieces, order 3": {**ratio, **blanks, "pieces": 1000},
        "ratio, 2,000 pieces, as written": {**ratio, "pieces": 2000},
        "ratio, 2,000 pieces, order 2": {**ratio, **blanks, "pieces": 2000, "order": 2},
        "ratio, 2,000 pieces, order 3": {**ratio, **blanks, "pieces": 2000},
        "ratio, 2,000 pieces, order 5": {**ratio, **blanks, "pieces": 2000, "order": 5},
        "ratio, 4,000 pieces, order 3": {**ratio, **blanks, "pieces": 4000},
    }
    usual = next(name for name in variants if "default" in name)
    variants = {
        name: choice
        for name, choice in variants.items()
        if name == usual or any(word in name for word in options.variant)
    }
    classifiers = {"fastText classifier": classifier}
    if importlib.util.find_spec("sklearn") is not None:
        classifiers["TF-IDF regression"] = lambda d, seed, work: regression(d, seed)  # noqa: ARG005
    classifiers = {n: measure for n, measure in classifiers.items() if any(word in n for word in options.variant)}
    for task, documents in tasks(options.data).items():
        if options.task not in task:
            continue
        harmful = int(documents.harmful.sum())
        clean, groups = len(documents.texts) - harmful, len(set(documents.groups))
        print(f"{task}: {harmful:,} harmful, {clean:,} clean, {groups:,} groups", flush=True)
        results: dict[str, list[Metrics]] = {name: [] for name in [*variants, *classifiers]}
        elapsed = dict.fromkeys(results, 0.0)
        seed = used = 0
        while used < options.splits and seed < 10 * options.splits:
            seed += 1
            with tempfile.TemporaryDirectory() as scratch:
                try:
                    for name, choice in variants.items():
                        started = time.process_time()
                        trained = train_harmful(
                            documents, Path(scratch) / name, validation=0.2, test=0.2, seed=seed, **choice
                        )
                        elapsed[name] += time.process_time() - started
                        if trained.test is None:
                            break
                        results[name].append(trained.test)
                    else:
                        for name, measure in classifiers.items():
                            started = time.process_time()
                            results[name].append(measure(documents, seed, Path(scratch)))
                            elapsed[name] += time.process_time() - started
                        used += 1
                except DataError:  # a split without harmful groups in validation says nothing
                    continue
        for name, metrics in results.items():
            show(name, metrics[:used], results[usual][:used], elapsed[name])


if __name__ == "__main__":
    main()
