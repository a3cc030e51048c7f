"""Where personal data and secrets stand in texts: e-mail and IP addresses, phone, card and account numbers, keys.

A kernel reads the bytes once: numbers it decides on exactly (`tamis.scorers.pii.number_kernels` says by what rules),
and the few places where an e-mail address, an IPv6 address or a token may stand are looked at here.

* `email`: local part of letters, digits and `._%+'-`, at most 64 bytes, beginning and ending with a letter or digit; a
  host of at least two labels whose last is letters and no file's ending. Not: `user:name@host` in a URL, `@user@host`,
  `git@host:path`.
* `ip`: IPv4 and IPv6 addresses that are globally reachable (IANA's registries), and no version numbers.
* `phone`, `card`, `iban`: see the kernels.
* `key`: keys and tokens of the shapes in `tamis.scorers.pii.tables.SECRETS`.

Where two overlap, the one counts that comes first in: key, email, iban, card, ip, phone.
"""

import ipaddress
import re
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ConfigError
from tamis.scorers.pii.kinds import KINDS, PiiKind
from tamis.scorers.pii.scan_kernels import ACCOUNT, ADDRESS, AT_SIGN, CARD, COLON, PHONE, SECRET, scan
from tamis.scorers.pii.tables import FILE_ENDINGS, scan_tables, secret_pattern
from tamis.scorers.text.texts import TextBuffer, Texts, as_buffer

__all__ = ["PiiSpans", "find_pii"]

_PRECEDENCE = ("key", "email", "iban", "card", "ip", "phone")
_DECIDED = {ADDRESS: "ip", CARD: "card", ACCOUNT: "iban", PHONE: "phone"}

_WORD = rb"[A-Za-z0-9]|\xc3[\x80-\xbf]|[\xc4-\xcf\xd0-\xd3][\x80-\xbf]"
"""An ASCII letter or digit, or a letter of two bytes: Latin, Greek or Cyrillic."""

_LOCAL = re.compile(rb"(?:" + _WORD + rb")(?:(?:" + _WORD + rb"|[._%+'-])*(?:" + _WORD + rb"|[_+-]))?\Z")
_LABEL = rb"(?:" + _WORD + rb")(?:(?:" + _WORD + rb"|-){0,62}(?:" + _WORD + rb"))?"
_HOST = re.compile(
    rb"(?:"
    + _LABEL
    + rb"\.)+(xn--[a-z0-9-]{2,59}|(?:[A-Za-z]|\xc3[\x80-\xbf]|[\xc4-\xd3][\x80-\xbf]){2,63})(?![A-Za-z0-9])"
)
_BEFORE = 64
_BEHIND = 254


class PiiSpans(NamedTuple):
    """Findings in a batch of texts, by text and place; none overlap.

    Attributes:
        texts: which text, int64 (n,).
        starts: first byte in the text's UTF-8, int64 (n,).
        ends: byte after the last.
        kinds: index in `KINDS`, int8 (n,).
    """

    texts: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    kinds: npt.NDArray[np.int8]

    def counts(self, rows: int) -> dict[PiiKind, npt.NDArray[np.int64]]:
        """Return for each kind how many each of the batch's texts has, int64 (rows,)."""
        return {kind: np.bincount(self.texts[self.kinds == i], minlength=rows) for i, kind in enumerate(KINDS)}


def find_pii(texts: "Texts | TextBuffer", kinds: Collection[PiiKind] = KINDS) -> PiiSpans:
    """Find personal data of some kinds in each text; a text's result depends on nothing else.

    Raises:
        ConfigError: for a kind that there isn't.
    """
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown:
        msg = f"personal data is of the kinds {', '.join(KINDS)}, not {unknown[0]!r}"
        raise ConfigError(msg)
    data, offsets = as_buffer(texts)
    rows = _scanned(data, offsets, kinds)
    raw = memoryview(data.data)
    found: list[tuple[int, int, int, int]] = []
    bounds = offsets.tolist()
    for text, code, start, stop in rows.tolist():
        if code in _DECIDED:
            found.append((text, start, stop, KINDS.index(_DECIDED[code])))
            continue
        begin, end = bounds[text], bounds[text + 1]
        if code == AT_SIGN:
            span, kind = _email(raw, begin, end, start), "email"
        elif code == SECRET:
            match = secret_pattern().match(raw[begin:end], start - begin)
            span, kind = (None if match is None else (start, begin + match.end())), "key"
        else:
            span, kind = (start, stop) if _public_groups(raw[start:stop]) else None, "ip"
        if span is not None:
            found.append((text, *span, KINDS.index(kind)))
    return _without_overlaps(found, offsets)


def _scanned(
    data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], kinds: Collection[PiiKind]
) -> npt.NDArray[np.int64]:
    wanted = np.zeros(7, np.bool_)
    for code, kind in ((AT_SIGN, "email"), (COLON, "ip"), (SECRET, "key"), *_DECIDED.items()):
        wanted[code] = kind in kinds
    # what isn't wanted still keeps others from taking its place: a card is no phone number
    if wanted[PHONE]:
        wanted[[CARD, ACCOUNT, ADDRESS]] = True
    out = np.empty((1024 + len(data) // 2048, 4), np.int64)
    while True:
        count = scan(data, offsets, *scan_tables(), wanted, out)
        if count <= len(out):
            break
        out = np.empty((count, 4), np.int64)
    rows = out[:count]
    named = np.array([_DECIDED.get(code, "") in (*kinds, "") for code in range(7)])
    found: npt.NDArray[np.int64] = rows[named[rows[:, 1]]]
    return found


def _email(raw: memoryview, begin: int, end: int, at: int) -> tuple[int, int] | None:
    host = _HOST.match(raw, at + 1, min(end, at + 1 + _BEHIND))
    if host is None or host[1].lower().decode() in FILE_ENDINGS:
        return None
    local = _longest_local(bytes(raw[max(begin, at - _BEFORE - 2) : at]))
    if not local or len(local) > _BEFORE:
        return None
    start, stop = at - len(local), host.end()
    before = bytes(raw[max(begin, start - 1) : start])
    behind = bytes(raw[stop : min(end, stop + 1)])
    if (
        before == b"@"
        or bytes(raw[max(begin, start - 2) : start]) == b"//"
        or (before == b":" and b"//" in bytes(raw[max(begin, start - 80) : start]).split()[-1])
    ):
        return None
    if local == b"git" and behind == b":":
        return None
    if stop - start > _BEHIND or behind == b"@":
        return None
    return start, stop


def _longest_local(before: bytes) -> bytes:
    """Return the longest local part that the bytes before an @ end with."""
    at = len(before)
    while at:
        byte = before[at - 1]
        wordlike = 48 <= byte <= 57 or 65 <= byte <= 90 or 97 <= byte <= 122 or byte in b"._%+'-"
        if wordlike:
            at -= 1
        elif 0x80 <= byte < 0xC0 and at > 1 and 0xC3 <= before[at - 2] <= 0xD3:
            at -= 2
        else:
            break
    local = before[at:].lstrip(b"._%+'-")
    quote = local.rfind(b"'")
    if quote >= 0 and not local[:quote].isalpha():
        local = local[quote + 1 :].lstrip(b"._%+-")  # a quotation mark, but for names such as o'brien
    return local if _LOCAL.match(local) and b".." not in local else b""


def _public_groups(token: memoryview) -> bool:
    """Say whether a token is an IPv6 address that is globally reachable."""
    try:
        address = ipaddress.IPv6Address(bytes(token).decode())
    except ValueError:
        return False
    number = int(address)
    if number >> 125 != 1:  # 2000::/3 is all that is given out
        return False
    documentation = number >> 96 == 0x20010DB8 or number >> 108 == 0x3FFF0
    special = number >> 105 == 0x20010000 >> 9 or number >> 112 == 0x2002  # 2001::/23, 6to4
    return not (documentation or special)


def _without_overlaps(found: list[tuple[int, int, int, int]], offsets: npt.NDArray[np.int64]) -> PiiSpans:
    """Return findings in order; of two that overlap the one of greater precedence, then the earlier, longer one."""
    order = {KINDS.index(kind): place for place, kind in enumerate(_PRECEDENCE)}
    kept: list[tuple[int, int, int, int]] = []
    found.sort()
    group: list[tuple[int, int, int, int]] = []
    reach = -1
    for item in [*found, (-1, 2**62, 2**62, 0)]:
        if item[1] >= reach and group:  # spans that touch no other are nearly all of them
            taken: list[tuple[int, int, int, int]] = []
            for one in sorted(group, key=lambda span: (order[span[3]], span[1], -span[2])):
                if all(one[2] <= other[1] or one[1] >= other[2] for other in taken):
                    taken.append(one)
            kept += sorted(taken)
            group = []
        group.append(item)
        reach = max(reach, item[2])
    columns = np.array(kept, np.int64).reshape(-1, 4)
    base = offsets[columns[:, 0]]
    return PiiSpans(columns[:, 0], columns[:, 1] - base, columns[:, 2] - base, columns[:, 3].astype(np.int8))
