"""Finds many words at once in texts (Aho and Corasick 1975): time linear in the texts, whatever the number of words."""

from collections import deque
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer
from tamis.scorers.urls.automaton_kernels import run

__all__ = ["Automaton"]


class Automaton:
    """An automaton of patterns; ASCII letters match in either case.

    Args:
        patterns: what to look for, none empty.
        whole: for each pattern whether it must stand as a word, between characters that are no letters or digits.

    Raises:
        ConfigError: if a pattern is empty, or there isn't a flag for each.
    """

    def __init__(self, patterns: Sequence[str], whole: Sequence[bool]) -> None:
        encoded = [pattern.encode().lower() for pattern in patterns]
        if len(whole) != len(encoded) or not all(encoded):
            msg = "words to look for in URLs can't be empty"
            raise ConfigError(msg)
        self.patterns = tuple(patterns)
        used = sorted({byte for pattern in encoded for byte in pattern})
        self._classes = np.zeros(256, np.uint8)
        self._classes[used] = np.arange(1, len(used) + 1)
        upper = np.arange(65, 91)
        self._classes[upper] = self._classes[upper + 32]
        children: list[dict[int, int]] = [{}]
        ends = [-1]
        for number, pattern in enumerate(encoded):
            state = 0
            for byte in pattern:
                code = int(self._classes[byte])
                if code not in children[state]:
                    children[state][code] = len(children)
                    children.append({})
                    ends.append(-1)
                state = children[state][code]
            if ends[state] < 0 or whole[ends[state]]:  # of two equal patterns the one that needs no borders
                ends[state] = number
        self._steps = np.zeros((len(children), len(used) + 1), np.int32)
        self._shorter = np.full(len(children), -1, np.int32)
        fallback = [0] * len(children)
        queue = deque([0])
        while queue:
            state = queue.popleft()
            back = fallback[state]
            if state:
                self._steps[state] = self._steps[back]
                self._shorter[state] = back if ends[back] >= 0 else self._shorter[back]
            for code, child in children[state].items():
                fallback[child] = int(self._steps[state, code]) if state else 0
                self._steps[state, code] = child
                queue.append(child)
        self._ends = np.array(ends, np.int32)
        self._lengths = np.array([len(pattern) for pattern in encoded], np.int64)
        self._whole = np.array(whole, np.bool_)

    def find(self, texts: "Texts | TextBuffer") -> npt.NDArray[np.int64]:
        """Return (text, pattern, byte after the match) of each match, in order, the longest of an end first; (n, 3)."""
        data, offsets = as_buffer(texts)
        out = np.empty((256, 3), np.int64)
        while True:
            found = run(
                data, offsets, self._classes, self._steps, self._ends, self._shorter, self._lengths, self._whole, out
            )
            if found <= len(out):
                return out[:found]
            out = np.empty((found, 3), np.int64)
