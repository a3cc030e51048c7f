"""From a text's summed rows to label probabilities, as each of fastText's losses defines them.

Arithmetic is single precision in the library's order (`loss.cc`), including its `log(p + 1e-5)`: a reported
probability is `exp(log(p + 1e-5))` and can exceed 1 by as much.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.fasttext.rows_kernels import Features, Scratch, sum_rows
from tamis.scorers.fasttext.vocabulary_kernels import Vocabulary
from tamis.scorers.kernels.jit import helper, kernel

__all__ = ["HIERARCHICAL", "SIGMOID", "SOFTMAX", "Output", "predict_dense", "predict_projected"]

HIERARCHICAL, SIGMOID, SOFTMAX = 1, 2, 3
ZERO = np.float32(0.0)
ONE = np.float32(1.0)
EIGHT = np.float32(8.0)
STEPS = np.float32(512.0)
TWO = np.float32(2.0)


class Output(NamedTuple):
    """The output layer.

    Attributes:
        kind: `HIERARCHICAL`, `SIGMOID` (one-vs-all and negative sampling) or `SOFTMAX`.
        n_labels: number of labels.
        by_dim: float32 of shape (dim, outputs): the output matrix, transposed so that labels lie side by
            side.
        scale: float32, a factor for each output (the norms of a quantised matrix, else ones).
        children: int32 of shape (2 * labels - 1, 2) for `HIERARCHICAL`: left and right, -1 at leaves.
        sigmoid: float32 of 513 values of the logistic function from -8 to 8, which `SIGMOID` reads.
    """

    kind: int
    n_labels: int
    by_dim: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    children: npt.NDArray[np.int32]
    sigmoid: npt.NDArray[np.float32]


class Heap(NamedTuple):
    """The best labels so far, lowest score first, in the order of C++'s heap, which decides between equals.

    Attributes:
        scores: float32, logarithms of probabilities; room for one more than is kept.
        labels: int32.
    """

    scores: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int32]


@helper
def _std_log(x: Any) -> Any:
    """Return fastText's `std_log`: the argument and the result are rounded to single precision."""
    return np.float32(np.log(np.float64(np.float32(x)) + 1e-5))


@helper
def _dots(hidden: npt.NDArray[np.float32], output: Output, values: npt.NDArray[np.float32]) -> None:
    """Set `values` to the products of all output rows with `hidden`, each summed in order of dimension."""
    by_dim = output.by_dim
    values[:] = ZERO
    for j in range(len(hidden)):
        h = hidden[j]
        for i in range(len(values)):
            values[i] += by_dim[j, i] * h
    for i in range(len(values)):
        values[i] *= output.scale[i]


@helper
def _softmax(values: npt.NDArray[np.float32]) -> None:
    top = values[0]
    for i in range(len(values)):
        top = max(top, values[i])
    z = ZERO
    for i in range(len(values)):
        values[i] = np.float32(np.exp(np.float64(values[i] - top)))
        z += values[i]
    for i in range(len(values)):
        values[i] /= z


@helper
def _sigmoid(output: Output, values: npt.NDArray[np.float32]) -> None:
    for i in range(len(values)):
        x = values[i]
        if x < -EIGHT:
            values[i] = ZERO
        elif x > EIGHT:
            values[i] = ONE
        else:
            values[i] = output.sigmoid[np.int64((x + EIGHT) * STEPS / EIGHT / TWO)]


@helper
def _rise(heap: Heap, hole: int, score: Any, label: int) -> None:
    """Place an entry at `hole` or above: `std::push_heap`."""
    while hole > 0 and heap.scores[(hole - 1) // 2] > score:
        parent = (hole - 1) // 2
        heap.scores[hole] = heap.scores[parent]
        heap.labels[hole] = heap.labels[parent]
        hole = parent
    heap.scores[hole] = score
    heap.labels[hole] = label


@helper
def _pop(heap: Heap, size: int) -> None:
    """Move the entry with the lowest score to place `size - 1`: `std::pop_heap`."""
    last = size - 1
    score, label = heap.scores[last], heap.labels[last]
    heap.scores[last], heap.labels[last] = heap.scores[0], heap.labels[0]
    hole = 0
    child = 2
    while child <= last:
        if child == last or heap.scores[child] > heap.scores[child - 1]:
            child -= 1
        heap.scores[hole] = heap.scores[child]
        heap.labels[hole] = heap.labels[child]
        hole = child
        child = 2 * hole + 2
    _rise(heap, hole, score, label)


@helper
def _offer(heap: Heap, size: int, k: int, score: Any, label: int) -> int:
    """Keep the label if it is among the `k` best so far; return how many are kept."""
    _rise(heap, size, score, label)
    if size < k:
        return size + 1
    _pop(heap, size + 1)
    return size


@kernel
def _descend(hidden: npt.NDArray[np.float32], output: Output, k: int, threshold: Any, heap: Heap) -> int:
    """Keep the `k` best leaves of the label tree, passing over branches that can't be among them."""
    n = output.n_labels
    floor = _std_log(threshold)
    size = 0
    nodes = np.empty(2 * n, np.int64)
    scores = np.empty(2 * n, np.float32)
    nodes[0] = 2 * n - 2
    scores[0] = ZERO
    depth = 1
    while depth:
        depth -= 1
        node = nodes[depth]
        score = scores[depth]
        if score < floor or (size == k and score < heap.scores[0]):
            continue
        if output.children[node, 0] < 0:
            size = _offer(heap, size, k, score, node)
            continue
        product = ZERO
        for j in range(len(hidden)):
            product += output.by_dim[j, node - n] * hidden[j]
        product *= output.scale[node - n]
        f = np.float32(1.0 / np.float64(ONE + np.exp(-product)))
        nodes[depth] = output.children[node, 1]
        scores[depth] = score + _std_log(f)
        nodes[depth + 1] = output.children[node, 0]
        scores[depth + 1] = score + _std_log(1.0 - np.float64(f))
        depth += 2
    return size


@helper
def _keep_best(values: npt.NDArray[np.float32], k: int, threshold: Any, heap: Heap) -> int:
    """Keep the `k` best labels with a probability of at least `threshold`."""
    size = 0
    for i in range(len(values)):
        if values[i] < threshold:
            continue
        score = _std_log(values[i])
        if size == k and score < heap.scores[0]:
            continue
        size = _offer(heap, size, k, score, i)
    return size


@helper
def _report(
    heap: Heap, size: int, label: int, ids: npt.NDArray[np.int32], probabilities: npt.NDArray[np.float32]
) -> None:
    """Write the labels kept, best first, equal ones in the library's order; or only `label`."""
    if label >= 0:
        for i in range(size):
            if heap.labels[i] == label:
                ids[0] = label
                probabilities[0] = np.exp(heap.scores[i])
        return
    for left in range(size, 1, -1):
        _pop(heap, left)
    for i in range(size):
        ids[i] = heap.labels[i]
        probabilities[i] = np.exp(heap.scores[i])


@kernel
def predict_dense(
    text: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    vocabulary: Vocabulary,
    features: Features,
    scratch: Scratch,
    table: Any,
    output: Output,
    label: int,
    threshold: Any,
    ids: npt.NDArray[np.int32],
    probabilities: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int64],
) -> int:
    """Predict each text `text[starts[i]:stops[i]]` from the model's own rows, rounding as the library does.

    Args:
        text: UTF-8 bytes.
        starts: first byte of each text.
        stops: byte after the last of each text.
        vocabulary: words and labels.
        features: rules of the model.
        scratch: working memory.
        table: float32 rows of the input matrix.
        output: output layer.
        label: the one label to report, or -1 for the best ones.
        threshold: float32, smallest probability to report.
        ids: int32 of shape (texts, k), -1 beforehand: labels, best first.
        probabilities: float32 of shape (texts, k), 0 beforehand.
        tokens: receives the number of tokens of each text.

    Returns:
        -1, or the first text whose sum of rows isn't finite, after which none is predicted.
    """
    hidden = np.empty(table.shape[1], np.float32)
    values = np.empty(output.n_labels, np.float32)
    k = output.n_labels if label >= 0 else ids.shape[1]
    heap = Heap(np.empty(k + 1, np.float32), np.empty(k + 1, np.int32))
    for i in range(len(starts)):
        hidden[:] = ZERO
        count, tokens[i] = sum_rows(text, starts[i], stops[i], vocabulary, features, scratch, table, hidden)
        if count == 0:
            continue
        factor = np.float32(1.0 / count)
        magnitude = ZERO
        for j in range(len(hidden)):
            hidden[j] *= factor
            magnitude += abs(hidden[j])
        if not magnitude < np.inf:
            return i
        if output.kind == HIERARCHICAL:
            size = _descend(hidden, output, k, threshold, heap)
        else:
            _dots(hidden, output, values)
            if output.kind == SOFTMAX:
                _softmax(values)
            else:
                _sigmoid(output, values)
            size = _keep_best(values, k, threshold, heap)
        _report(heap, size, label, ids[i], probabilities[i])
    return -1


@kernel
def predict_projected(
    text: npt.NDArray[np.uint8],
    starts: npt.NDArray[np.int64],
    stops: npt.NDArray[np.int64],
    vocabulary: Vocabulary,
    features: Features,
    scratch: Scratch,
    table: Any,
    label: int,
    threshold: Any,
    ids: npt.NDArray[np.int32],
    probabilities: npt.NDArray[np.float32],
    tokens: npt.NDArray[np.int64],
) -> None:
    """Predict from a softmax model's rows multiplied by its output matrix beforehand.

    The arguments are those of `predict_dense`. A table of one column holds the difference of the second
    label's logit and the first's.
    """
    width = table.shape[1]
    sums = np.empty(width, np.float64)
    values = np.empty(max(width, 2), np.float32)
    k = len(values) if label >= 0 else ids.shape[1]
    heap = Heap(np.empty(k + 1, np.float32), np.empty(k + 1, np.int32))
    for i in range(len(starts)):
        sums[:] = 0.0
        count, tokens[i] = sum_rows(text, starts[i], stops[i], vocabulary, features, scratch, table, sums)
        if count == 0:
            continue
        if width == 1:
            values[0] = ZERO
            values[1] = np.float32(sums[0] / count)
        else:
            for j in range(width):
                values[j] = np.float32(sums[j] / count)
        _softmax(values)
        size = _keep_best(values, k, threshold, heap)
        _report(heap, size, label, ids[i], probabilities[i])
