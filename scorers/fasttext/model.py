"""Supervised fastText models scored without the fastText library: the same results, several times faster.

Text classifiers published as `.bin` or `.ftz` files (PreSelect, DCLM's, FineWeb-style, Dolma's, language
identification) work by naming file and label. Bag of Tricks for Efficient Text Classification,
arXiv:1607.01759.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.fasttext.format import FastTextFile, corrupt, read_fasttext
from tamis.scorers.fasttext.output_kernels import (
    HIERARCHICAL,
    SIGMOID,
    SOFTMAX,
    Output,
    predict_dense,
    predict_projected,
)
from tamis.scorers.fasttext.prepared import Prepared, prepare
from tamis.scorers.fasttext.rows_kernels import BLOCK, SHORT_ROWS, SHORT_SLOTS, Features, Scratch
from tamis.scorers.fasttext.texts_kernels import cut_texts, drop_newlines
from tamis.scorers.fasttext.vocabulary_kernels import Vocabulary, find_words, new_tokens, set_token
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["LABEL_PREFIX", "MODEL_FILE", "FastTextModel", "Newline", "Predictions"]

Newline = Literal["blank", "glue"]
"""What a newline becomes: a blank, or nothing, which glues words together (PreSelect's own filter)."""

LABEL_PREFIX = "__label__"
"""What fastText puts before each label."""
MODEL_FILE = "model.bin"
"""The model's name in a folder of its own."""
KINDS = {"hs": HIERARCHICAL, "ns": SIGMOID, "ova": SIGMOID, "softmax": SOFTMAX}
TREE_SENTINEL = 10**15


class Predictions(NamedTuple):
    """The best labels of each text, best first.

    Attributes:
        ids: int32 of shape (texts, k), indices into the model's `labels`; -1 where there are fewer.
        probabilities: float32 of shape (texts, k); 0 where there are fewer.
        tokens: int64 of shape (texts,), number of white-space tokens seen.
    """

    ids: npt.NDArray[np.int32]
    probabilities: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int64]


class FastTextModel:
    """A supervised fastText model, memory-mapped.

    Softmax models with few labels are projected: the input matrix is multiplied by the output matrix once,
    so that a word or n-gram costs one look-up of a number a label. All others (character n-grams or not,
    quantised, hierarchical softmax, one-vs-all) are computed from their rows in the library's order and
    precision.

    Args:
        path: the model file, or a folder with it: as `model.bin`, or as its only `.bin` or `.ftz` file, as in the
            repositories of published classifiers.
        cache: store the tables of a model of 64 MB or more beside it (else in the user's cache folder),
            under a name with the model's digest, for later processes to map. Small ones are prepared in
            memory.

    Raises:
        ModelError: if the file is missing, truncated, corrupt, or no supervised fastText model.
    """

    def __init__(self, path: str | Path, *, cache: bool = True) -> None:
        self.path = _model_file(Path(path))
        model = read_fasttext(self.path)
        self.labels = model.labels
        prepared = prepare(model, cache=cache)
        self._vocabulary = Vocabulary(model.data, prepared.starts, prepared.slots)
        self._features = _features(model, self._vocabulary)
        self._prepared: Prepared = prepared
        self._output = _output(model)

    def label_id(self, label: str) -> int:
        """Return the index of `label`, which may be given without fastText's `__label__`.

        Raises:
            ConfigError: if the model doesn't have it.
        """
        for name in (label, LABEL_PREFIX + label):
            if name in self.labels:
                return self.labels.index(name)
        some = ", ".join(self.labels[:10]) + (", ..." if len(self.labels) > 10 else "")
        msg = f"the fastText model {self.path} has no label {label!r}; it has {some}"
        raise ConfigError(msg)

    def score(
        self,
        texts: Texts,
        *,
        label: str,
        newline: Newline = "blank",
        strip: bool = False,
        prefix: int | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return the probability of `label` for each text, as fastText's `predict` with `k=-1` reports it.

        Args:
            texts: the texts.
            label: the label, with or without `__label__`.
            newline: what a newline becomes.
            strip: whether to strip the text first, as `str.strip` does.
            prefix: number of characters to look at, from the first that isn't white space; None: all.

        Returns:
            float32 of shape (texts,). 0 where fastText reports no such label: the text has no feature that
            the model knows (not even `</s>`), or hierarchical softmax gave up a branch below 1e-5.

        Raises:
            ConfigError: if the model doesn't have the label.
            ModelError: if the model holds numbers that aren't finite.
        """
        found = self._predict(texts, self.label_id(label), 1, 0.0, newline, strip, prefix)
        return found.probabilities[:, 0]

    def top(
        self,
        texts: Texts,
        k: int = 1,
        threshold: float = 0.0,
        *,
        newline: Newline = "blank",
        strip: bool = False,
        prefix: int | None = None,
    ) -> Predictions:
        """Return the `k` best labels of each text (-1: all) with a probability of at least `threshold`.

        Raises:
            ConfigError: if `k` is neither positive nor -1.
            ModelError: if the model holds numbers that aren't finite.
        """
        if k != -1 and k < 1:
            msg = f"k is {k}: it must be 1 or more, or -1 for all labels"
            raise ConfigError(msg)
        k = len(self.labels) if k == -1 else min(k, len(self.labels))
        return self._predict(texts, -1, k, threshold, newline, strip, prefix)

    def predict(
        self,
        texts: Texts,
        k: int = 1,
        threshold: float = 0.0,
        *,
        newline: Newline = "blank",
        strip: bool = False,
        prefix: int | None = None,
    ) -> tuple[list[list[str]], list[npt.NDArray[np.float32]]]:
        """Return labels and probabilities of each text, in the form of fastText's `predict` for a list.

        Raises:
            ConfigError: if `k` is neither positive nor -1.
            ModelError: if the model holds numbers that aren't finite.
        """
        found = self.top(texts, k, threshold, newline=newline, strip=strip, prefix=prefix)
        sizes = (found.ids >= 0).sum(axis=1).tolist()
        labels = [[self.labels[i] for i in ids[:n]] for ids, n in zip(found.ids.tolist(), sizes, strict=True)]
        return labels, [row[:n] for row, n in zip(found.probabilities, sizes, strict=True)]

    def _predict(
        self,
        texts: Texts,
        label: int,
        k: int,
        threshold: float,
        newline: Newline,
        strip: bool,
        prefix: int | None,
    ) -> Predictions:
        if newline not in ("blank", "glue"):
            msg = f"newline is {newline!r}: it must be 'blank' or 'glue'"
            raise ConfigError(msg)
        data, starts, stops = _cut(as_buffer(texts), newline, strip, prefix)
        n = len(starts)
        ids = np.full((n, k), -1, np.int32)
        probabilities = np.zeros((n, k), np.float32)
        tokens = np.zeros(n, np.int64)
        scratch = _scratch(self._features, starts, stops)
        common = (data, starts, stops, self._vocabulary, self._features, scratch, self._prepared.table)
        results = (label, np.float32(threshold), ids, probabilities, tokens)
        if self._prepared.projected:
            predict_projected(*common, *results)
        elif (bad := predict_dense(*common, self._output, *results)) >= 0:
            raise corrupt(self.path, f"text {bad} of the batch gets no finite score")
        return Predictions(ids, probabilities, tokens)


def _model_file(path: Path) -> Path:
    """Return the model file that a path names.

    Raises:
        ModelError: if it is a folder with several models, none of them called `model.bin`.
    """
    if not path.is_dir() or (path / MODEL_FILE).is_file():
        return path / MODEL_FILE if path.is_dir() else path
    models = sorted(file for file in path.iterdir() if file.suffix in (".bin", ".ftz") and file.name[0] != ".")
    if len(models) > 1:
        msg = f"the folder {path} has several models ({', '.join(file.name for file in models)}): name the file"
        raise ModelError(msg)
    return models[0] if models else path / MODEL_FILE


def _cut(
    texts: TextBuffer, newline: Newline, strip: bool, prefix: int | None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return a buffer and the byte ranges in it that the model sees."""
    starts, stops = np.zeros(len(texts), np.int64), np.zeros(len(texts), np.int64)
    data = _frozen(texts.data)
    cut_texts(data, _frozen(texts.offsets), strip, -1 if prefix is None else prefix, starts, stops)
    if newline == "glue":
        glued = np.empty(int((stops - starts).sum()), np.uint8)
        drop_newlines(data, starts, stops, glued)
        data = _frozen(glued)
    return data, starts, stops


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a read-only view, so that kernels are compiled for one kind of array only."""
    view = array.view()
    view.flags.writeable = False
    return view


def _scratch(features: Features, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64]) -> Scratch:
    longest = int((stops - starts).max(initial=0))
    block = BLOCK + min(features.maxn, longest + 2)
    slots = SHORT_SLOTS if features.maxn > 0 else 1
    return Scratch(
        new_tokens(BLOCK),
        np.empty(BLOCK, np.int64),
        np.empty(2 * block, np.int64),
        np.empty(2 * block, np.int64),
        np.empty(block, np.uint32),
        np.zeros(BLOCK, np.uint32),
        np.zeros(slots, np.uint64),
        np.empty((slots, SHORT_ROWS), np.int32),
        np.empty(longest // 2 + 2 if features.word_ngrams > 1 else 0, np.int32),
    )


def _features(model: FastTextFile, vocabulary: Vocabulary) -> Features:
    eos = np.frombuffer(b"</s>", np.uint8)
    token, word = new_tokens(1), np.empty(1, np.int64)
    set_token(eos, 0, len(eos), token, 0)
    find_words(vocabulary, eos, token, 1, word)
    bits = np.zeros(model.bucket // 64 + 1, np.uint64)
    targets = np.zeros(0, np.int64)
    pruned = -1
    if model.pruned is not None:
        pruned = min(1, len(model.pruned))
        order = np.argsort(model.pruned[:, 0])
        buckets = model.pruned[order, 0].astype(np.uint64)
        targets = model.pruned[order, 1].astype(np.int64)
        np.bitwise_or.at(bits, buckets >> np.uint64(6), np.uint64(1) << (buckets & np.uint64(63)))
    counts = np.bitwise_count(bits).astype(np.int64)
    ranks = np.cumsum(counts) - counts
    return Features(  # all arrays as they are made here: writable, aligned
        model.n_words,
        model.bucket,
        model.minn,
        model.maxn,
        model.word_ngrams,
        int(word[0]) if word[0] < model.n_words else -1,
        pruned,
        bits,
        ranks,
        targets,
    )


def _output(model: FastTextFile) -> Output:
    n = len(model.labels)
    x = np.arange(513, dtype=np.float32) * np.float32(16) / np.float32(512) - np.float32(8)
    sigmoid = (1.0 / (1.0 + np.exp(-x)).astype(np.float64)).astype(np.float32)
    return Output(
        KINDS[model.loss],
        n,
        np.ascontiguousarray(model.output.unscaled(0, n).T, dtype=np.float32),
        model.output.scale,
        _tree(model.label_counts.tolist()) if model.loss == "hs" else np.zeros((0, 2), np.int32),
        sigmoid,
    )


def _tree(counts: list[int]) -> npt.NDArray[np.int32]:
    """Build the Huffman tree of the labels as fastText does: leaves first, most frequent first, root last.

    Returns:
        int32 of shape (2 * labels - 1, 2): the children of each node, -1 for leaves.
    """
    n = len(counts)
    weights = counts + [TREE_SENTINEL] * (n - 1)
    children = np.full((2 * n - 1, 2), -1, np.int32)
    leaf, node = n - 1, n
    for parent in range(n, 2 * n - 1):
        for side in range(2):
            if leaf >= 0 and weights[leaf] < weights[node]:
                children[parent, side] = leaf
                leaf -= 1
            else:
                children[parent, side] = node
                node += 1
        weights[parent] = weights[children[parent, 0]] + weights[children[parent, 1]]
    return children
