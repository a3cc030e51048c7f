"""From a text's summed rows to label probabilities, as each of fastText's losses defines them.

Arithmetic is single precision in the library's order (`loss.cc`), including its `log(p + 1e-5)`: a reported
probability is `exp(log(p + 1e-5))` and can exceed 1 by as much.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scorers.kernels.fasttext_rows import Features, Scratch, sum_rows
from scorers.kernels.fasttext_vocabulary import Vocabulary
from scorers.kernels.jit import kernel

__all__ = ["HIERARCHICAL", "SIGMOID", "SOFTMAX", "Output", "predict_dense", "predict_projected"]

HIERARCHICAL, SIGMOID, SOFTMAX = 1, 2, 3
ZERO = np.float32(0.0)
ONE = np.float32(1.0)
EIGHT = np.float32(8.0)
STEPS = np.float32(512.0)
TWO = np.float32(2.0)
MISSING = np.float32(-np.inf)


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


@kernel
def _std_log(x: Any) -> Any:
    """Return fastText's `std_log`: the argument and the result are rounded to single precision."""
    return np.float32(np.log(np.float64(np.float32(x)) + 1e-5))


@kernel
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


@kernel
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


@kernel
def _sigmoid(output: Output, values: npt.NDArray[np.float32]) -> None:
    for i in range(len(values)):
        x = values[i]
        if x < -EIGHT:
            values[i] = ZERO
        elif x > EIGHT:
            values[i] = ONE
        else:
            values[i] = output.sigmoid[np.int64((x + EIGHT) * STEPS / EIGHT / TWO)]


@kernel
def _descend(
    hidden: npt.NDArray[np.float32],
    output: Output,
    threshold: Any,
    best_only: bool,
    logs: npt.NDArray[np.float32],
) -> None:
    """Set `logs` to the leaves' log-probabilities; branches below `threshold` (or the best) stay missing."""
    n = output.n_labels
    logs[:] = MISSING
    floor = _std_log(threshold)
    best = MISSING
    nodes = np.empty(2 * n, np.int64)
    scores = np.empty(2 * n, np.float32)
    nodes[0] = 2 * n - 2
    scores[0] = ZERO
    depth = 1
    while depth:
        depth -= 1
        node = nodes[depth]
        score = scores[depth]
        if score < floor or (best_only and score < best):
            continue
        if output.children[node, 0] < 0:
            logs[node] = score
            best = max(best, score)
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


@kernel
def _logs(values: npt.NDArray[np.float32], threshold: Any) -> None:
    """Replace probabilities by fastText's logarithms; those below the threshold go missing."""
    for i in range(len(values)):
        values[i] = MISSING if values[i] < threshold else _std_log(values[i])


@kernel
def _report(
    logs: npt.NDArray[np.float32],
    label: int,
    ids: npt.NDArray[np.int32],
    probabilities: npt.NDArray[np.float32],
) -> None:
    """Write the best labels, best first, as many as `ids` has room for; or the one label asked for."""
    if label >= 0:
        if logs[label] > MISSING:
            ids[0] = label
            probabilities[0] = np.exp(logs[label])
        return
    k = len(ids)
    if k == 1:
        best = 0
        for i in range(len(logs)):
            if logs[i] > logs[best]:
                best = i
        if logs[best] > MISSING:
            ids[0] = best
            probabilities[0] = np.exp(logs[best])
        return
    order = np.argsort(-logs, kind="mergesort")
    for place in range(min(k, len(logs))):
        i = order[place]
        if not logs[i] > MISSING:
            break
        ids[place] = i
        probabilities[place] = np.exp(logs[i])


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
    values = np.empty(output.by_dim.shape[1], np.float32)
    for i in range(len(starts)):
        hidden[:] = ZERO
        count, tokens[i] = sum_rows(text, starts[i], stops[i], vocabulary, features, scratch, table, hidden)
        if count == 0:
            continue
        factor = np.float32(1.0 / count)
        size = ZERO
        for j in range(len(hidden)):
            hidden[j] *= factor
            size += abs(hidden[j])
        if not size < np.inf:
            return i
        if output.kind == HIERARCHICAL:
            best_only = label < 0 and ids.shape[1] == 1
            _descend(hidden, output, threshold, best_only, values)
        else:
            _dots(hidden, output, values)
            if output.kind == SOFTMAX:
                _softmax(values)
            else:
                _sigmoid(output, values)
            _logs(values, threshold)
        _report(values, label, ids[i], probabilities[i])
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
        _logs(values, threshold)
        _report(values, label, ids[i], probabilities[i])
