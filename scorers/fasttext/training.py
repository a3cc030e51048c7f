"""Training of fastText classifiers, reproducible to the bit, with a held-out share to measure them on.

The defaults are those of PreSelect's published training (3 epochs, rate 0.1, two-word n-grams); everything
else is fastText's own default.
"""

import hashlib
import importlib.metadata
import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.fasttext.format import LOSSES, read_fasttext
from tamis.scorers.fasttext.model import LABEL_PREFIX, MODEL_FILE, FastTextModel
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["FastTextOptions", "TrainingReport", "train_classifier"]

LABEL_TOKENS = re.compile(r"(?<![^ \t\n\v\f\r\0])__label__[^ \t\n\v\f\r\0]*")
REPORT = "training.json"
BATCH = 4096


@dataclass(frozen=True)
class FastTextOptions:
    """How to train: fastText's options with PreSelect's values.

    More than one thread give another model every time.

    Attributes:
        epoch: passes over the data.
        lr: learning rate, falling linearly to 0.
        dim: length of the vectors.
        word_ngrams: longest word n-gram.
        minn: shortest character n-gram.
        maxn: longest character n-gram; 0: none.
        min_count: words seen less often are left out.
        bucket: hash buckets for n-grams.
        loss: `softmax`, `hs`, `ova` or `ns`.
        thread: number of threads.
        seed: of the start values and the order of examples.

    Raises:
        ConfigError: if a value is out of range.
    """

    epoch: int = 3
    lr: float = 0.1
    dim: int = 100
    word_ngrams: int = 2
    minn: int = 0
    maxn: int = 0
    min_count: int = 1
    bucket: int = 2_000_000
    loss: str = "softmax"
    thread: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epoch", "lr", "dim", "word_ngrams", "min_count", "bucket", "thread"):
            if not getattr(self, name) > 0:
                msg = f"{name} must be above 0 to train a classifier, got {getattr(self, name)}"
                raise ConfigError(msg)
        if not 0 <= self.minn <= self.maxn or not 0 <= self.seed < 2**31:
            msg = f"0 <= minn <= maxn and 0 <= seed < 2^31 must hold, got {self.minn}, {self.maxn} and {self.seed}"
            raise ConfigError(msg)
        if self.loss not in LOSSES.values():
            msg = f"loss must be one of {', '.join(LOSSES.values())}, got {self.loss!r}"
            raise ConfigError(msg)


@dataclass(frozen=True)
class TrainingReport:
    """What was trained and how well it does.

    Attributes:
        labels: label to number of documents.
        trained: documents trained on.
        held_out: documents kept aside.
        accuracy: share of held-out documents whose best label is theirs; None if there are none.
        confusion: for held-out documents of each label, how many got each label.
        options: the training options.
        sha256: of the model file.
        library: the training library and its version.
        provenance: what the caller wants on record.
    """

    labels: Mapping[str, int]
    trained: int
    held_out: int
    accuracy: float | None
    confusion: Mapping[str, Mapping[str, int]]
    options: Mapping[str, Any]
    sha256: str
    library: str
    provenance: Mapping[str, Any] = field(default_factory=dict)


def train_classifier(
    texts: Texts,
    labels: Sequence[str],
    folder: str | Path,
    *,
    options: FastTextOptions | None = None,
    held_out: float = 0.1,
    provenance: Mapping[str, Any] | None = None,
) -> TrainingReport:
    """Train a fastText classifier and write `model.bin` and `training.json` to `folder`.

    Newlines become blanks. Tokens in a text that look like labels are left out, as they are in prediction.
    Which documents are held out, and the order of the others, follow from a hash of text and seed: equal
    texts are on the same side, and the order of the input doesn't matter beyond equal texts.

    Args:
        texts: the documents.
        labels: their labels, with or without `__label__`.
        folder: where to write; made if it isn't there.
        options: training options; None: PreSelect's.
        held_out: share of the documents to measure accuracy on, from 0 to below 1.
        provenance: recorded in the report: where texts and labels come from.

    Raises:
        ConfigError: if `held_out` is out of range, or the fastText library can't train.
        DataError: if there are fewer than two labels, a label can't be written, or no word is left to train
            on.
    """
    options = options or FastTextOptions()
    if not 0 <= held_out < 1:
        msg = f"held_out must be from 0 to below 1, got {held_out}"
        raise ConfigError(msg)
    documents = as_list(texts)
    names = [label if label.startswith(LABEL_PREFIX) else LABEL_PREFIX + label for label in labels]
    _check(documents, names)
    keys = np.array([xxhash.xxh3_64_intdigest(text.encode(), options.seed) for text in documents], np.uint64)
    order = np.argsort(keys, kind="stable")
    aside = keys < np.uint64(held_out * 2.0**64)
    training = [int(i) for i in order if not aside[i]]
    testing = [int(i) for i in order if aside[i]]
    missing = sorted(set(names) - {names[i] for i in training})
    if missing:
        msg = f"with {held_out:g} of the documents held out, none of label {missing[0]} is left to train on; give more"
        raise DataError(msg)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".training-") as scratch:
        examples, built = Path(scratch) / "examples.txt", Path(scratch) / MODEL_FILE
        with examples.open("w", encoding="utf-8", newline="\n") as file:
            for i in training:
                file.write(f"{names[i]} {LABEL_TOKENS.sub('', documents[i]).replace(chr(10), ' ')}\n")
        _fit(examples, built, options)
        confusion = _confusion(built, [documents[i] for i in testing], [names[i] for i in testing])
        with built.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        report = TrainingReport(
            labels=dict(sorted(Counter(names).items())),
            trained=len(training),
            held_out=len(testing),
            accuracy=sum(confusion[name].get(name, 0) for name in confusion) / len(testing) if testing else None,
            confusion=confusion,
            options=asdict(options),
            sha256=digest,
            library=f"fasttext-community {importlib.metadata.version('fasttext-community')}",
            provenance=dict(provenance or {}),
        )
        built.replace(folder / MODEL_FILE)
    text = json.dumps(asdict(report), indent=2, ensure_ascii=False)
    (folder / REPORT).write_text(text + "\n", encoding="utf-8")
    return report


def _check(documents: list[str], names: list[str]) -> None:
    if len(documents) != len(names):
        msg = f"{len(names)} labels were given for {len(documents)} documents"
        raise DataError(msg)
    for name in sorted(set(names)):
        if name == LABEL_PREFIX or re.search(r"[ \t\n\v\f\r\0]", name):
            msg = (
                f"the label {name.removeprefix(LABEL_PREFIX)!r} is empty or holds white space: fastText can't write it"
            )
            raise DataError(msg)
    if len(set(names)) < 2:
        msg = f"a classifier needs documents of at least two labels, got {len(set(names))}"
        raise DataError(msg)


def _fit(examples: Path, built: Path, options: FastTextOptions) -> None:
    import fasttext

    if not hasattr(fasttext, "train_supervised"):
        msg = (
            "the installed fastText can only predict, because fasttext-predict overwrote fasttext-community: "
            "run pip install --force-reinstall --no-deps fasttext-community"
        )
        raise ConfigError(msg)
    try:
        model = fasttext.train_supervised(
            str(examples),
            epoch=options.epoch,
            lr=options.lr,
            dim=options.dim,
            wordNgrams=options.word_ngrams,
            minn=options.minn,
            maxn=options.maxn,
            minCount=options.min_count,
            bucket=options.bucket,
            loss=options.loss,
            thread=options.thread,
            seed=options.seed,
            verbose=0,
        )
    except (ValueError, RuntimeError) as error:  # no words left; numbers that overflow
        msg = f"fastText can't train with these options and texts: {error}"
        raise DataError(msg) from error
    model.save_model(str(built))
    if read_fasttext(built).n_words < 2:  # the end marker is one
        msg = f"fastText can't train: no word occurs {options.min_count} times or more; lower min_count"
        raise DataError(msg)


def _confusion(path: Path, documents: list[str], names: list[str]) -> dict[str, dict[str, int]]:
    if not documents:
        return {}
    model = FastTextModel(path, cache=False)
    found: dict[str, Counter[str]] = {}
    for start in range(0, len(documents), BATCH):
        best = model.top(documents[start : start + BATCH]).ids[:, 0]
        for name, i in zip(names[start : start + BATCH], best.tolist(), strict=True):
            found.setdefault(name, Counter())[model.labels[i] if i >= 0 else ""] += 1
    return {name: dict(sorted(found[name].items())) for name in sorted(found)}
