"""MADLAD-400's rules by sentence (Kudugunta et al. 2023, arXiv:2309.04662, section 2.3), as Dolma 3 takes them too.

A sentence ends at a run of `.`, `!` and `?` before white space (the split of allenai/datamap-rs; the run belongs to no
sentence). It is questionable by the rules

* `language`: it is in another language than its document;
* `case`: it has at least 12 words, and more than half of them begin with a capital letter;
* `lengths`: it has fewer than 20 characters or more than 500;
* `technical`: more than a fifth of its characters are of `0123456789{}+/()>`;
* `cursed`: a pattern stands in it that the authors' audits found in much questionable text.

Words are runs of letters, marks, digits and underscores, with an apostrophe inside. Differences to datamap-rs 0.1:
lengths are of characters, not of bytes; patterns with an end (`$`) are looked for as such, not as plain text.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tamis.schemas.errors import ConfigError
from tamis.scorers.text.texts import Texts, as_arrow

__all__ = ["CURSED", "SENTENCE_RULES", "SentenceRule", "Sentences", "questionable", "split_sentences"]

SentenceRule: TypeAlias = Literal["language", "case", "lengths", "technical", "cursed"]

SENTENCE_RULES: tuple[SentenceRule, ...] = ("language", "case", "lengths", "technical", "cursed")
"""The rules in the paper's order."""

CURSED: tuple[str, ...] = (
    " №", "\ufffd\ufffd\ufffd", r"\|\s*$", r" nr\.$", "aute irure dolor ", " sunt in culpa qui ", "orem ipsum ",
    " quis nostrud ", " adipisicing ", " dolore eu ", " cupidatat ", "autem vel eum", "wisi enim ad", " sex ", " porn ",
    "黄色电影", "mp3", "ownload", r"Vol\.", r" Ep\.", "Episode", r" г\.\s*$", r" кг\.\s*$", r" шт\.", "Develop",
    "Facebook", " crusher ", " xxx ", " ... ... ... ... ... ... ... ... ...",
    " .... .... .... .... .... .... .... .... ....",
    " [^ ] [^ ] [^ ] [^ ] [^ ] [^ ] [^ ] [^ ] [^ ]", ", ..,,? ..,,? ..,,? ..,,?",
)  # fmt: skip
"""The patterns, regular expressions all, of the data set's card (allenai/MADLAD-400, licence ODC-BY)."""

CASE_WORDS, CASE_SHARE = 12, 0.5
SHORTEST, LONGEST = 20, 500
TECHNICAL_SHARE = 0.2

_END = r"[.!?]+[\s\x{85}\p{Z}]+"
_WORD = r"\p{L}\p{M}\p{N}_"


class Sentences:
    """The sentences of some texts, those of white space alone left out.

    Attributes:
        texts: which text each is of, ascending, int64 (n,).
        sentences: they, without what ends them.
    """

    def __init__(self, texts: npt.NDArray[np.int64], sentences: pa.Array):
        self.texts = texts
        self.sentences = sentences

    def __len__(self) -> int:
        return len(self.texts)

    def counted(self, marks: npt.NDArray[np.bool_], texts: int) -> npt.NDArray[np.int64]:
        """Return how many marked sentences each of so many texts has."""
        return np.bincount(self.texts[marks], minlength=texts).astype(np.int64)


def split_sentences(texts: Texts) -> Sentences:
    """Return the sentences of texts."""
    listed = pc.split_pattern_regex(as_arrow(texts), pattern=_END)
    sizes = pc.list_value_length(listed).to_numpy(zero_copy_only=False)
    owners = np.repeat(np.arange(len(sizes), dtype=np.int64), sizes)
    sentences = listed.flatten()
    some = pc.greater(pc.binary_length(pc.utf8_trim_whitespace(sentences)), 0)
    return Sentences(owners[some.to_numpy(zero_copy_only=False)], sentences.filter(some))


def questionable(found: Sentences, rule: SentenceRule, *, cursed: Sequence[str] = CURSED) -> npt.NDArray[np.bool_]:
    """Return which sentences are questionable by a rule; `language` is for whoever knows languages.

    Args:
        found: the sentences.
        rule: any but `language`.
        cursed: the patterns, in RE2's syntax.

    Raises:
        ConfigError: if a pattern is none, or the rule isn't one of these.
    """
    sentences = found.sentences
    if rule == "case":
        joined = pc.replace_substring_regex(sentences, pattern=f"([{_WORD}])['’]([{_WORD}])", replacement=r"\1\2")
        words = _counts(joined, f"[{_WORD}]+")
        capital = _counts(joined, rf"(?:^|[^{_WORD}])\p{{Lu}}")
        return (words >= CASE_WORDS) & (capital > CASE_SHARE * words)
    length = pc.utf8_length(sentences).to_numpy(zero_copy_only=False)
    if rule == "lengths":
        return np.asarray((length < SHORTEST) | (length > LONGEST))
    if rule == "technical":
        return np.asarray(_counts(sentences, r"[0-9{}+/()>]") > TECHNICAL_SHARE * length)
    if rule == "cursed":
        if not cursed:
            return np.zeros(len(found), np.bool_)
        try:
            hit = pc.match_substring_regex(sentences, pattern="|".join(f"(?:{one})" for one in cursed))
        except pa.ArrowInvalid as error:
            msg = f"a pattern isn't a regular expression: {str(error).splitlines()[0]}"
            raise ConfigError(msg) from None
        return np.asarray(hit.to_numpy(zero_copy_only=False), np.bool_)
    msg = f"there is no rule {rule!r} by sentences alone"
    raise ConfigError(msg)


def _counts(sentences: pa.Array, pattern: str) -> npt.NDArray[np.int64]:
    found: npt.NDArray[np.int64] = pc.count_substring_regex(sentences, pattern=pattern).to_numpy(zero_copy_only=False)
    return found.astype(np.int64)
