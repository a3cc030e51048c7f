"""Whether a text is in the language that it is taken for: by words of that language alone, or by its address.

FineWeb-2's filter for languages of which much is something else (Penedo et al. 2025, arXiv:2506.20920;
`misc/precision_filtering` of huggingface/fineweb-2): a document stays where one of its words is in the language's list
of words that hardly occur in others, or where its address names the language: by its code, by the ending of a domain,
or by words such as names of the region.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.scorers.statistics.language_words import LanguageWords
from tamis.scorers.text.texts import Texts

__all__ = ["UrlEvidence", "listed_share"]

_WORD = r"[\p{L}\p{N}\p{M}]"
"""What tells a word from a mark."""


def listed_share(texts: Texts, words: LanguageWords, listed: pa.Array) -> npt.NDArray[np.float64]:
    """Return the share of each text's different words that are in a list, 0 for a text without a word.

    Args:
        texts: they.
        words: how words of their language are found.
        listed: the list, strings; capitals count.
    """
    found = words.find(texts)
    offsets = np.asarray(found.ends, np.int64)
    array = pa.LargeStringArray.from_buffers(
        len(offsets) - 1, pa.py_buffer(np.ascontiguousarray(offsets)), pa.py_buffer(np.ascontiguousarray(found.data))
    )
    counts = np.diff(found.words)
    owners = np.repeat(np.arange(len(counts)), counts)
    some = pc.match_substring_regex(array, pattern=_WORD)
    array, owners = array.filter(some), owners[some.to_numpy(zero_copy_only=False)]
    coded = array.dictionary_encode()
    pairs = np.unique(np.stack([owners, coded.indices.to_numpy()], axis=1), axis=0)
    known = pc.is_in(coded.dictionary, value_set=listed.cast(coded.dictionary.type)).to_numpy(zero_copy_only=False)
    total = np.bincount(pairs[:, 0], minlength=len(counts))
    hits = np.bincount(pairs[:, 0], known[pairs[:, 1]].astype(np.float64), len(counts))
    return np.asarray(hits / np.maximum(total, 1), np.float64)


class UrlEvidence:
    """Whether an address names a language.

    Args:
        code: of the language, such as `bar`: in capitals it counts anywhere, else where no letter or digit is beside.
        words: that count anywhere in the address's letters and digits, without capitals; those that begin with a dot
            are endings of hosts.
    """

    def __init__(self, code: str, words: Iterable[str]):
        listed = list(words)
        self._endings = tuple(word.lower() for word in listed if word.startswith("."))
        self._capitals = code.upper()
        self._code = re.compile(rf"(?<![a-zA-Z0-9]){re.escape(code)}(?![a-zA-Z0-9])")
        self._words = [word.lower() for word in listed if not word.startswith(".")]

    def names(self, urls: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """Return whether each address names the language, bool (n,)."""
        return np.array([url is not None and self._names(url) for url in urls], np.bool_)

    def _names(self, url: str) -> bool:
        plain = url.removeprefix("http://").removeprefix("https://")
        host = plain.partition("/")[0].partition("?")[0].partition(":")[0].lower()
        if host.endswith(self._endings):
            return True
        if self._capitals in plain or self._code.search(plain):
            return True
        letters = _OTHERS.sub("", plain).lower()
        return any(word in letters for word in self._words)


_OTHERS = re.compile(r"[^a-zA-Z0-9/.]+")
