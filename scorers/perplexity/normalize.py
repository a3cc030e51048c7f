"""Text normalisation for language models: cc_net's, bit-equal, and a variant that keeps words at line ends apart.

A language model is tied to the normalisation of the text it was trained on: scored on anything else its perplexity
means nothing. So a normaliser has a name, a version and options, its `spec` string is stored in the model, and a
model is scored with no other.

The rules are those of cc_net's `text_normalizer.normalize` (Wenzek et al. 2019, arXiv:1911.00359): strip white space at
both ends; lower the case; decompose (NFD, not recomposed) and drop non-spacing marks; every decimal digit becomes `0`;
34 punctuation marks are mapped to ASCII; control characters U+0000-001F and U+007F-009F are deleted. Deletion takes
the line breaks too, so that in cc_net the words on either side of one are glued together.
"""

import functools
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.perplexity.normalize_kernels import CASED, IGNORABLE, SIGMA, SLOW, map_texts
from tamis.scorers.text.code_points import points_as_text
from tamis.scorers.text.spans import Spans, text_spans
from tamis.scorers.text.texts import TextBuffer, Texts

__all__ = ["NONE", "Normalizer", "NormalizerSpec", "ccnet", "ccnet_batch", "parse_normalizer"]

_PUNCTUATION = {
    "，": ",",
    "。": ".",
    "、": ",",
    "„": '"',
    "”": '"',
    "“": '"',
    "«": '"',
    "»": '"',
    "１": '"',  # cc_net's own slip, kept: it shows only where digits aren't mapped first
    "」": '"',
    "「": '"',
    "《": '"',
    "》": '"',
    "´": "'",
    "∶": ":",
    "：": ":",
    "？": "?",
    "！": "!",
    "（": "(",
    "）": ")",
    "；": ";",
    "–": "-",
    "—": " - ",
    "．": ". ",
    "～": "~",
    "’": "'",
    "…": "...",
    "━": "-",
    "〈": "<",
    "〉": ">",
    "【": "[",
    "】": "]",
    "％": "%",
    "►": "-",
}
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_BREAKING = (*range(0x09, 0x0E), *range(0x1C, 0x20), 0x85)
"""The control characters that are white space: tab, the line breaks, and the separators."""

_MAPPED = (
    range(0x80, 0x3400),
    range(0xA000, 0xD800),
    range(0xF900, 0x20000),
    range(0x2F800, 0x2FA20),
    range(0xE0000, 0xE0200),
)
"""Where Unicode has characters that a rule can change; the rest are ideographs, private use and unassigned."""

_APART = "\ue000"
"""Keeps characters apart that are mapped together: for private use, so that no rule makes or changes it."""


@dataclass(frozen=True, slots=True)
class _Options:
    accents: bool = True
    case: bool = True
    numbers: bool = True
    punct: int = 1
    breaks: bool = False

    def __post_init__(self) -> None:
        if self.punct not in (0, 1, 2):
            msg = f"the normaliser's option punct is {self.punct!r}; it is 0 (keep), 1 (map to ASCII) or 2 (delete)"
            raise ConfigError(msg)


class _Tables(NamedTuple):
    """What `map_texts` looks up; see there. `growth` bounds bytes out per byte in."""

    ascii_map: npt.NDArray[np.int16]
    pages: npt.NDArray[np.int32]
    classes: npt.NDArray[np.uint8]
    lengths: npt.NDArray[np.int8]
    places: npt.NDArray[np.int32]
    pool: npt.NDArray[np.uint8]
    final_sigma: npt.NDArray[np.uint8]
    growth: int


def ccnet(text: str, *, accents: bool = True, case: bool = True, numbers: bool = True, punct: int = 1) -> str:
    """Return `text` normalised exactly as cc_net's `normalize(text, accent, case, numbers, punct)` does.

    Args:
        text: any text; the whole of it is one "line", so line breaks inside are deleted without a blank.
        accents: strip accents (cc_net's `accent`): decompose and drop non-spacing marks, in every script.
        case: lower the case.
        numbers: every decimal digit, of any script, becomes `0`.
        punct: 1 maps 34 punctuation marks to ASCII, 2 deletes them, 0 keeps them.

    Raises:
        ConfigError: if `punct` isn't 0, 1 or 2.
    """
    options = _Options(accents, case, numbers, punct)
    try:
        encoded = np.frombuffer(text.encode(), np.uint8)
    except UnicodeEncodeError:  # a lone surrogate, which UTF-8 can't hold
        return _reference(text, options)
    span = Spans(encoded, np.zeros(1, np.int64), np.full(1, len(encoded), np.int64))
    return _normalize(span, options).text(0)


def ccnet_batch(
    texts: "Texts | TextBuffer", *, accents: bool = True, case: bool = True, numbers: bool = True, punct: int = 1
) -> TextBuffer:
    """Return all `texts` normalised as by `ccnet`, as one buffer.

    Raises:
        ConfigError: if `punct` isn't 0, 1 or 2.
        DataError: if a text holds a lone surrogate.
    """
    spans = _normalize(text_spans(texts), _Options(accents, case, numbers, punct))
    return TextBuffer(spans.data, np.append(spans.starts, len(spans.data)).astype(np.int64, copy=False))


NormalizerName: TypeAlias = Literal["none", "ccnet", "ccnet-blanks"]


@dataclass(frozen=True, slots=True)
class Normalizer:
    """A normaliser that a model can name: what it does is fixed by name, version and options.

    Attributes:
        name: `none` leaves texts as they are; `ccnet` is cc_net's normalisation; `ccnet-blanks` is the same with each
            white-space control character (line breaks, tab) turned into a blank where cc_net deletes it.
        accents: strip accents.
        case: lower the case.
        numbers: digits become `0`.
        punct: 0, 1 or 2 as in `ccnet`.
    """

    name: NormalizerName = "ccnet"
    accents: bool = True
    case: bool = True
    numbers: bool = True
    punct: int = 1

    @property
    def version(self) -> int:
        """The version of the rules; a change of any output would raise it."""
        return 1

    @property
    def spec(self) -> str:
        """The name, version and what differs from the default options, as stored in models: `ccnet/1`."""
        return f"{self.name}/{self.version}{_option_text(self)}"

    def apply(self, spans: Spans) -> Spans:
        """Return each span normalised, as spans of a new buffer."""
        if self.name == "none":
            return spans
        return _normalize(spans, self._options)

    def __call__(self, text: str) -> str:
        """Return `text` normalised."""
        return self.apply(text_spans([text])).text(0)

    @property
    def _options(self) -> _Options:
        return _Options(self.accents, self.case, self.numbers, self.punct, self.name == "ccnet-blanks")


NONE = Normalizer("none")
"""Leaves texts as they are."""

NormalizerSpec: TypeAlias = "Normalizer | str | Mapping[str, object] | None"
"""A normaliser, its name or spec, a mapping of its options with `name`, or None for none."""

_NAMES: dict[str, NormalizerName] = {"none": "none", "ccnet": "ccnet", "ccnet-blanks": "ccnet-blanks"}
_SPEC = re.compile(r"(?P<name>[a-z-]+)(?:/(?P<version>\d+))?(?:\((?P<options>[a-z0-9=, ]*)\))?")
_PLAIN = {"true": True, "false": False, "0": 0, "1": 1, "2": 2}


def parse_normalizer(spec: NormalizerSpec) -> Normalizer:
    """Return the normaliser that `spec` names, such as `ccnet` or `ccnet/1(accents=false,case=false)`.

    Raises:
        ConfigError: if there is no such normaliser, version or option.
    """
    if isinstance(spec, Normalizer):
        return spec
    if spec is None:
        return NONE
    if isinstance(spec, Mapping):
        options = dict(spec)
        name, version = str(options.pop("name", "ccnet")), None
    else:
        match = _SPEC.fullmatch(spec.strip())
        if match is None:
            msg = (
                f"{spec!r} names no normaliser; write none, ccnet, ccnet-blanks, or such as "
                "ccnet(accents=false,case=false)"
            )
            raise ConfigError(msg)
        name, version = match["name"], match["version"]
        options = dict(_parse_option(part) for part in (match["options"] or "").split(",") if part.strip())
    if name not in _NAMES:
        msg = f"there is no normaliser {name!r}; there are {', '.join(_NAMES)}"
        raise ConfigError(msg)
    for key, value in options.items():
        if key not in {"accents", "case", "numbers", "punct"} or (not isinstance(value, bool)) != (key == "punct"):
            msg = (
                f"the normaliser {name} has no option {key}={value!r}; accents, case and numbers are true or false, "
                "punct is 0, 1 or 2"
            )
            raise ConfigError(msg)
    normalizer = Normalizer(_NAMES[name], **options)  # type: ignore[arg-type]  # the loop above checked the types
    if version is not None and int(version) != normalizer.version:
        msg = (
            f"the normaliser {name} has version {normalizer.version}, not {version}; use a model made with that version"
        )
        raise ConfigError(msg)
    if name != "none":
        normalizer._options  # noqa: B018  # refuses a punct out of range
    return normalizer


def _parse_option(part: str) -> tuple[str, object]:
    key, _, value = part.partition("=")
    return key.strip(), _PLAIN.get(value.strip(), value.strip())


def _option_text(normalizer: Normalizer) -> str:
    default = Normalizer(normalizer.name)
    changed = [
        f"{key}={str(getattr(normalizer, key)).lower()}"
        for key in ("accents", "case", "numbers", "punct")
        if getattr(normalizer, key) != getattr(default, key) and normalizer.name != "none"
    ]
    return f"({','.join(changed)})" if changed else ""


def _normalize(spans: Spans, options: _Options) -> Spans:
    tables = _tables(options)
    count = len(spans.starts)
    used = int((spans.ends - spans.starts).sum())
    out = np.empty(used * tables.growth, np.uint8)  # pages that aren't written to take no memory
    starts, ends, slow = np.empty(count, np.int64), np.empty(count, np.int64), np.zeros(count, np.bool_)
    size = map_texts(
        *spans,
        tables.ascii_map,
        tables.pages,
        tables.classes,
        tables.lengths,
        tables.places,
        tables.pool,
        tables.final_sigma,
        out,
        starts,
        ends,
        slow,
    )
    if not slow.any():
        return Spans(out[:size], starts, ends)
    pieces = [out[a:b] for a, b in zip(starts, ends, strict=True)]
    for index in np.flatnonzero(slow):
        pieces[index] = np.frombuffer(_reference(spans.text(int(index)), options).encode(), np.uint8)
    ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
    return Spans(np.concatenate(pieces), np.append(0, ends[:-1]), ends)


def _reference(text: str, options: _Options) -> str:
    """Normalise one text by the rules as they are written down: the slow path, and what the tables are made with."""
    return _mapped(text.strip(), options)


def _mapped(text: str, options: _Options) -> str:
    if options.case:
        text = text.lower()
    if options.accents:
        text = unicodedata.normalize("NFD", text)
        text = "".join([c for c in text if unicodedata.category(c) != "Mn"])
    if options.numbers:
        text = "".join(["0" if unicodedata.category(c) == "Nd" else c for c in text])
    return text.translate(_translation(options))


@functools.cache
def _translation(options: _Options) -> dict[int, str]:
    table = {} if options.punct == 0 else {ord(a): b if options.punct == 1 else "" for a, b in _PUNCTUATION.items()}
    table |= dict.fromkeys(_CONTROLS, "")
    if options.breaks:
        table |= dict.fromkeys(_BREAKING, " ")
    return table


@functools.cache
def _tables(options: _Options) -> _Tables:
    pages = np.full(0x1100, -1, np.int32)
    points = np.concatenate([np.arange(part.start, part.stop, dtype=np.uint32) for part in (range(0x80), *_MAPPED)])
    blocks = np.unique(points >> 8)
    pages[blocks] = np.arange(len(blocks))
    rows = len(blocks) << 8
    classes, lengths, places = np.zeros(rows, np.uint8), np.full(rows, -1, np.int8), np.zeros(rows, np.int32)
    pool = bytearray()
    growth = 1
    categories = [*map(unicodedata.category, points_as_text(points))]
    assigned = np.fromiter(map("Cn".__ne__, categories), bool, len(points))
    points = points[assigned]
    categories = [category for category in categories if category != "Cn"]
    rows_of = pages[points >> 8] << 8 | points & 255
    classes[rows_of] = _classes(points, categories, options)
    touched = _touched(points, categories, options)
    characters = points_as_text(points[touched])
    for row, character, mapped in zip(
        rows_of[touched].tolist(), characters, _each_mapped(characters, options), strict=True
    ):
        if mapped != character:
            encoded = mapped.encode()
            lengths[row], places[row] = len(encoded), len(pool)
            pool += encoded
            growth = max(growth, -(-len(encoded) // len(character.encode())))
    ascii_map = np.array(
        [ord(mapped) if (mapped := _mapped(chr(byte), options)) else -1 for byte in range(128)], np.int16
    )
    return _Tables(
        ascii_map=ascii_map,
        pages=pages,
        classes=classes,
        lengths=lengths,
        places=places,
        pool=np.frombuffer(bytes(pool), np.uint8),
        final_sigma=np.frombuffer("ς".encode(), np.uint8),
        growth=growth,
    )


def _each_mapped(characters: str, options: _Options) -> list[str]:
    """Return what becomes of each character alone, all at once."""
    return _mapped(_APART.join(characters), options).split(_APART)


def _touched(points: npt.NDArray[np.uint32], categories: Sequence[str], options: _Options) -> npt.NDArray[np.bool_]:
    """Return which code points a rule may change: most are left, and mapping is dear."""
    text = _beside(points)
    lowered = text.lower()
    found: npt.NDArray[np.bool_] = _first_of_each(lowered) != points
    if options.accents:
        found |= _first_of_each(unicodedata.normalize("NFD", lowered)) != points
    moved = frozenset({"Mn" if options.accents else "", "Nd" if options.numbers else ""})
    found |= np.fromiter(map(moved.__contains__, categories), bool, len(points))
    found |= np.isin(points, [*_translation(options)])
    return found


def _beside(points: npt.NDArray[np.uint32], before: str = "", after: str = "") -> str:
    """Return each character with `before` and `after` around it, and then what keeps it apart from the next."""
    around = [np.full(len(points), ord(c), np.uint32) for c in before]
    behind = [np.full(len(points), ord(c), np.uint32) for c in after + _APART]
    return points_as_text(np.stack([*around, points, *behind], axis=1).ravel())


def _points_and_ends(text: str) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.intp]]:
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    return points, np.flatnonzero(points == ord(_APART))


def _first_of_each(text: str, place: int = 0) -> npt.NDArray[np.uint32]:
    """Return the code point at a place of each part of a text that `_beside` made, whatever became of it since."""
    points, ends = _points_and_ends(text)
    first: npt.NDArray[np.uint32] = points[np.append(0, ends[:-1] + 1) + place]
    return first


def _classes(points: npt.NDArray[np.uint32], categories: Sequence[str], options: _Options) -> npt.NDArray[np.uint8]:
    """Return the class bits of characters under `options`.

    How `str.lower` treats a capital sigma beside a character tells whether the character is cased or skipped.
    """
    kinds = np.zeros(len(points), np.uint8)
    if options.case:
        kinds[points == ord("Σ")] |= np.uint8(SIGMA)
        cased = _first_of_each(_beside(points, "AΣ").lower(), 1) == ord("σ")
        skipped = (_first_of_each(_beside(points, "AΣ", "A").lower(), 1) == ord("σ")) & ~cased
        kinds[cased] |= np.uint8(CASED)
        kinds[skipped] |= np.uint8(IGNORABLE)
    if options.accents:
        # Canonical ordering sorts neighbouring marks by class; it shows only for the few that aren't dropped.
        decomposed, ends = _points_and_ends(unicodedata.normalize("NFD", _beside(points)))
        marks = points_as_text(points[np.fromiter((c in ("Mc", "Me") for c in categories), bool, len(points))])
        kept = [ord(c) for c in marks if unicodedata.combining(c)]  # by Unicode's policy only marks are of a class
        kinds[np.searchsorted(ends, np.flatnonzero(np.isin(decomposed, kept)))] |= np.uint8(SLOW)
    return kinds
