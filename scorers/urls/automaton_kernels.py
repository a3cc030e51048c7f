"""The loop of `tamis.scorers.urls.automaton`."""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["run"]


@kernel
def _alnum(byte: np.uint8) -> bool:
    return bool(48 <= byte <= 57 or 65 <= (byte & 0xDF) <= 90 or byte >= 0x80)


@kernel
def run(
    data: npt.NDArray[np.uint8],
    offsets: npt.NDArray[np.int64],
    classes: npt.NDArray[np.uint8],
    steps: npt.NDArray[np.int32],
    ends: npt.NDArray[np.int32],
    shorter: npt.NDArray[np.int32],
    lengths: npt.NDArray[np.int64],
    whole: npt.NDArray[np.bool_],
    out: npt.NDArray[np.int64],
) -> int:
    """Write (text, pattern, byte after the match) of each match to `out` (n, 3); return how many, which may be more.

    Args:
        data: the texts' buffer.
        offsets: their bounds.
        classes: each byte's column in `steps`.
        steps: the state after a state and a class (states, classes).
        ends: the pattern that ends in a state, or -1.
        shorter: the next state whose pattern ends there too, or -1.
        lengths: the patterns' bytes.
        whole: whether a pattern must be a word: no ASCII letter, digit or other character beyond ASCII beside it.
        out: where matches go.
    """
    found = 0
    for text in range(len(offsets) - 1):
        state = np.int32(0)
        for at in range(offsets[text], offsets[text + 1]):
            state = steps[state, classes[data[at]]]
            here = state if ends[state] >= 0 else shorter[state]
            while here >= 0:
                pattern = ends[here]
                first = at + 1 - lengths[pattern]
                alone = True
                if whole[pattern]:
                    before = first > offsets[text] and _alnum(data[first - 1])
                    alone = not before and not (at + 1 < offsets[text + 1] and _alnum(data[at + 1]))
                if alone:
                    if found < len(out):
                        out[found, 0], out[found, 1], out[found, 2] = text, pattern, at + 1 - offsets[text]
                    found += 1
                here = shorter[here]
    return found
