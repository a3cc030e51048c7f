"""Kernels for personal data made of digits: addresses, card and account numbers by their check digits, phone numbers.

Each `*_at` looks at the number whose first digit is at `at` in the text `data[begin:end]` and returns where the number
starts and ends, or (-1, -1).
"""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.characters import integer
from tamis.scorers.kernels.jit import kernel

__all__ = ["account_at", "address_at", "card_at", "phone_at", "word_hash_of"]

_BASIS = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
_LONGEST_WORD = 16
_GROUPS = 8


def word_hash_of(word: str) -> int:
    """Return the hash by which kernels know a word: FNV-1a, 64 bits, of its UTF-8 with ASCII in lower case."""
    h = 0xCBF29CE484222325
    for byte in word.encode():
        h = (h ^ (byte | 32 if 65 <= byte <= 90 else byte)) * 0x100000001B3 % 2**64
    return h


@kernel
def _digit(byte: np.uint8) -> bool:
    return bool(48 <= byte <= 57)


@kernel
def _letter(byte: np.uint8) -> bool:
    return bool(65 <= (byte & 0xDF) <= 90 or byte >= 0x80)


@kernel
def _alnum(byte: np.uint8) -> bool:
    """Say whether it is an ASCII letter, digit or underscore: beside other letters (CJK) a number may stand."""
    return bool(48 <= byte <= 57 or 65 <= (byte & 0xDF) <= 90 or byte == 95)


@kernel
def _cued(data: npt.NDArray[np.uint8], begin: int, at: int, words: npt.NDArray[np.uint64], back: int, gap: int) -> bool:
    """Say whether one of the `back` words before `at` on its line is among the sorted hashes.

    Between words, and between the last and `at`, stand at most `gap` bytes that are no letters.
    """
    for _ in range(back):
        skipped = 0
        while at > begin and not _letter(data[at - 1]) and data[at - 1] != 10 and skipped < gap:
            at -= 1
            skipped += 1
        stop = at
        while at > begin and _letter(data[at - 1]) and stop - at <= _LONGEST_WORD:
            at -= 1
        if at == stop:
            return False
        h = _BASIS
        for i in range(at, stop):
            byte = data[i]
            if 65 <= byte <= 90:
                byte |= np.uint8(32)
            h = (h ^ np.uint64(byte)) * _PRIME
        place = np.searchsorted(words, h)
        if place < len(words) and words[place] == h:
            return True
    return False


@kernel
def _in_url(data: npt.NDArray[np.uint8], begin: int, at: int) -> bool:
    """Say whether `://`, `www.` or `doi.org` stands before `at` without white space or a bracket between."""
    lowest = max(begin, at - 300)
    while at > lowest:
        byte = data[at - 1]
        if byte <= 32 or byte in (60, 34, 40, 41):
            return False
        if byte == 47 and at - 3 >= begin and data[at - 2] == 47 and data[at - 3] == 58:
            return True
        if byte == 46 and at - 4 >= begin and data[at - 2] == 119 and data[at - 3] == 119 and data[at - 4] == 119:
            return True
        at -= 1
    return False


@kernel
def _numbering(data: npt.NDArray[np.uint8], begin: int, end: int, at: int, stop: int) -> bool:
    """Say whether small numbers parted by dots look like a heading's (they begin a line, a word follows) or a version.

    A version stands behind a capitalised word such as a program's name or, in any language, the word for section.
    """
    if at == begin or data[at - 1] == 10:
        follows = stop + (1 if stop < end and data[stop] == 46 else 0)
        return bool(follows + 1 < end and data[follows] == 32 and _letter(data[follows + 1]))
    if data[at - 1] != 32:
        return False
    first = at - 1
    while first > begin and _letter(data[first - 1]):
        first -= 1
    small = first + 1 < at - 1 and (97 <= data[first + 1] <= 122 or data[first + 1] >= 0x80)
    capital = 65 <= data[first] <= 90 or (data[first] == 0xD0 and 0x90 <= data[first + 1] <= 0xAF)
    return bool(small and capital)


@kernel
def address_at(
    data: npt.NDArray[np.uint8],
    begin: int,
    end: int,
    at: int,
    versions: npt.NDArray[np.uint64],
    networks: npt.NDArray[np.uint64],
) -> tuple[int, int]:
    """Find a public IPv4 address: four octets without leading zeros, globally reachable, no version or heading.

    `versions` and `networks` are sorted hashes of words behind which stands a version, or an address for certain.
    """
    if at > begin:
        before = data[at - 1]
        if _alnum(before) or before == 46 or (before == 45 and at - 1 > begin and _alnum(data[at - 2])):
            return -1, -1
    place = at
    a = b = c = d = -1
    largest = 0
    for octet in range(4):
        value = 0
        first = place
        while place < end and _digit(data[place]) and place - first < 4:
            value = value * 10 + integer(data[place]) - 48
            place += 1
        if place == first or place - first > 3 or value > 255 or (data[first] == 48 and place - first > 1):
            return -1, -1
        a, b, c, d = b, c, d, value
        largest = max(largest, value)
        if octet < 3:
            if place >= end or data[place] != 46:
                return -1, -1
            place += 1
    if place < end:
        after = data[place]
        if _alnum(after):
            return -1, -1
        if (after in (46, 45)) and place + 1 < end and _alnum(data[place + 1]):
            return -1, -1
    if a in (0, 10, 127) or a >= 224:
        return -1, -1
    if (a == 100 and 64 <= b < 128) or (a == 169 and b == 254) or (a == 172 and 16 <= b < 32):
        return -1, -1
    if a == 192 and (b == 168 or (b == 0 and (c in (0, 2)))):
        return -1, -1
    if (a == 198 and (18 <= b < 20 or (b == 51 and c == 100))) or (a == 203 and b == 0 and c == 113):
        return -1, -1
    if _cued(data, begin, at, versions, 2, 3):
        return -1, -1
    small = largest < 30 and not (a == b and b == c and c == d)
    if small and _numbering(data, begin, end, at, place) and not _cued(data, begin, at, networks, 1, 3):
        return -1, -1
    return at, place


@kernel
def _card_shape(digits: npt.NDArray[np.int64], count: int) -> bool:
    """Say whether an issuer gives out numbers of this beginning and length."""
    two = digits[0] * 10 + digits[1]
    three = two * 10 + digits[2]
    four = three * 10 + digits[3]
    if digits[0] == 4:
        return bool(count in (13, 16, 19))
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return bool(count == 16)
    if two in (34, 37):
        return bool(count == 15)
    if 300 <= three <= 305 or two in (36, 38, 39):
        return bool(count == 14)
    if four == 6011 or 644 <= three <= 649 or two in (65, 62) or 3528 <= four <= 3589:
        return bool(16 <= count <= 19)
    maestro = four in (5018, 5020, 5038, 5893, 6304, 6759)
    return bool((maestro or 6760 <= four <= 6779) and 13 <= count <= 19)


@kernel
def card_at(data: npt.NDArray[np.uint8], begin: int, end: int, at: int) -> tuple[int, int]:
    """Find a payment card's number: 13 to 19 digits, an issuer's beginning and length, groups as printed, Luhn's check.

    Digits stand together or in groups of 4 (the last 1 to 4), or 4, 6, 5 or 4, 6, 4, parted by one blank or hyphen
    throughout.
    """
    if at > begin:
        before = data[at - 1]
        if _alnum(before) or before in (46, 47, 45, 43):
            return -1, -1
        if before == 44 and at - 1 > begin and _digit(data[at - 2]):
            return -1, -1
    digits = np.zeros(20, np.int64)
    sizes = np.zeros(_GROUPS, np.int64)
    count = groups = 0
    separator = 0
    place = at
    while place < end:
        byte = integer(data[place])
        if 48 <= byte <= 57:
            if count >= 19:
                return -1, -1
            digits[count] = byte - 48
            count += 1
            sizes[groups] += 1
            place += 1
            continue
        joins = (byte in (32, 45)) and place + 1 < end and _digit(data[place + 1])
        first = separator == 0
        if joins and (first or byte == separator) and groups + 1 < _GROUPS and count < 19:
            if first and sizes[0] != 4:
                break
            if sizes[groups] < 4:
                break
            separator = byte
            groups += 1
            place += 1
            continue
        break
    if count < 13 or count > 19:
        return -1, -1
    if place < end:
        after = data[place]
        if _alnum(after):
            return -1, -1
        if (after in (46, 44, 45)) and place + 1 < end and _digit(data[place + 1]):
            return -1, -1
    if separator:
        fours = groups >= 3 and sizes[groups] <= 4
        for i in range(groups):
            fours = fours and sizes[i] == 4
        sixes = groups == 2 and sizes[1] == 6 and (sizes[2] == 5 or sizes[2] == 4)
        if not fours and not sixes:
            return -1, -1
    if not _card_shape(digits, count):
        return -1, -1
    total = 0
    same = True
    for i in range(count):
        digit = digits[count - 1 - i]
        same = same and digits[i] == digits[0]
        if i % 2:
            digit = 2 * digit - 9 if digit > 4 else 2 * digit
        total += digit
    if total % 10 or same or (separator == 0 and _in_url(data, begin, at)):
        return -1, -1
    return at, place


@kernel
def account_at(
    data: npt.NDArray[np.uint8], begin: int, end: int, at: int, lengths: npt.NDArray[np.int64]
) -> tuple[int, int]:
    """Find an IBAN (ISO 13616): its country's length, in groups of four or none, and its check digits.

    `at` is the first check digit; `lengths[26 * first + second]` is the length for the country's letters, 0 for none.
    """
    first = at - 2
    if first < begin or at + 2 > end or not _digit(data[at + 1]):
        return -1, -1
    x, y = integer(data[first]) - 65, integer(data[first + 1]) - 65
    if not (0 <= x < 26 and 0 <= y < 26) or (first > begin and _alnum(data[first - 1])):
        return -1, -1
    length = lengths[26 * x + y]
    if length == 0:
        return -1, -1
    taken = 0
    place = first
    spaced = False
    values = np.zeros(34, np.int64)
    while place < end and taken < length:
        byte = integer(data[place])
        if 48 <= byte <= 57:
            values[taken] = byte - 48
        elif 65 <= byte <= 90:
            values[taken] = byte - 55
        elif byte == 32 and taken % 4 == 0 and (spaced or taken == 4):
            spaced = True
            place += 1
            continue
        else:
            return -1, -1
        if spaced and taken % 4 == 0 and taken > 4 and data[place - 1] != 32:
            return -1, -1
        taken += 1
        place += 1
    if taken < length or (place < end and _alnum(data[place])):
        return -1, -1
    rest = 0
    for i in range(length):
        value = values[(i + 4) % length]
        rest = (rest * (100 if value > 9 else 10) + value) % 97
    if rest != 1:
        return -1, -1
    return first, place


@kernel
def _separator(data: npt.NDArray[np.uint8], at: int, end: int) -> int:
    """Return the bytes of what may stand between a phone number's groups: one mark, or one with a blank or bracket."""
    place = at
    marks = 0
    while place < end and place - at < 4 and marks < 3:
        byte = data[place]
        if byte in (32, 45, 46, 47, 40, 41):
            place += 1
        elif byte == 0xC2 and place + 1 < end and data[place + 1] == 0xA0:
            place += 2
        elif byte == 0xE2 and place + 2 < end and data[place + 1] == 0x80 and 0x90 <= data[place + 2] <= 0x93:
            place += 3
        else:
            break
        marks += 1
    return place - at


@kernel
def _has(data: npt.NDArray[np.uint8], at: int, end: int, byte: int) -> bool:
    found = False
    for i in range(at, end):
        found = found or data[i] == byte
    return found


@kernel
def _closes(data: npt.NDArray[np.uint8], at: int, end: int) -> bool:
    """Say whether the digits at `at`, at most six, are followed by a closing bracket."""
    place = at
    while place < end and _digit(data[place]) and place - at < 7:
        place += 1
    return bool(place < end and data[place] == 41)


@kernel
def phone_at(
    data: npt.NDArray[np.uint8],
    begin: int,
    end: int,
    at: int,
    cues: npt.NDArray[np.uint64],
    others: npt.NDArray[np.uint64],
    calling: npt.NDArray[np.bool_],
) -> tuple[int, int]:
    """Find a phone number: international, North American, national with a leading 0, or any behind `tel`.

    International: `+` or `00`, an assigned calling code, 8 to 15 digits in all; behind +1 exactly 10 more. North
    American: 3, 3 and 4 digits in groups, area and exchange from 200 on, `1` before them or not. National: 9 to 12
    digits from 0 and not 00 on, in 2 to 6 groups of 2 to 8, no date. Behind a cue: 7 to 15 digits.

    Args:
        data: the buffer.
        begin: where the text begins.
        end: where it ends.
        at: the first digit.
        cues: sorted hashes of words that announce a phone number.
        others: sorted hashes of words that announce another number, such as ISBN.
        calling: which numbers below 1000 are calling codes, or begin with one.
    """
    start = at
    plus = False
    bracket = False
    if start > begin and data[start - 1] == 43:
        plus = True
        start -= 1
    if start > begin and data[start - 1] == 40:
        bracket = True
        start -= 1
        if not plus and start > begin and data[start - 1] == 43:
            plus = True
            start -= 1
    if bracket and not _closes(data, at, end):
        bracket = False  # it is the sentence's
        start = at - 1 if plus else at
    if start > begin:
        before = data[start - 1]
        bad = before in (46, 45, 47, 61, 95, 35)
        if bad or before in (36, 43, 37) or _alnum(before):
            return -1, -1
        if (before in (44, 58)) and start - 1 > begin and _digit(data[start - 2]):
            return -1, -1
        if before in (0xA3, 0xAC, 0xA5):  # pound, euro and yen end in these bytes
            return -1, -1
    firsts = np.zeros(_GROUPS, np.int64)
    sizes = np.zeros(_GROUPS, np.int64)
    stops = np.zeros(_GROUPS, np.int64)
    groups = count = 0
    place = at
    opened = 1 if bracket else 0
    opened_once = bracket
    while groups < _GROUPS:
        first = place
        while place < end and _digit(data[place]) and count <= 16:
            place += 1
            count += 1
        if count > 15:
            count -= place - first
            break
        firsts[groups], sizes[groups], stops[groups] = first, place - first, place
        groups += 1
        width = _separator(data, place, end)
        if width == 0 or place + width >= end or not _digit(data[place + width]):
            break
        if count > 7 and _has(data, place, place + width, 47):
            break  # a slash may follow an area code, or part two numbers
        opens = _has(data, place, place + width, 40)
        if count > 7 and opens:
            break  # an area code begins the next number
        if count >= 10 and not plus and data[at] == 48 and data[place] == 32 and data[place + width] == 48:
            break  # so does a leading 0
        closes = _has(data, place, place + width, 41)
        if (closes and not opened and not opens) or (opens and opened and not closes):
            break
        opened = 1 if opens and not closes else 0 if closes else opened
        opened_once = opened_once or opens
        place += width
    # a lone last digit behind a blank belongs to the sentence, not to the number
    while groups > 1 and sizes[groups - 1] == 1 and data[firsts[groups - 1] - 1] == 32:
        groups -= 1
        count -= 1
    stop = integer(stops[groups - 1])
    if count < 7:
        return -1, -1
    zeros = not plus and data[at] == 48 and at + 1 < end and data[at + 1] == 48
    national = data[at] == 48 and not zeros and not plus
    american = False
    last = groups
    if plus or zeros:
        place = at + (0 if plus else 2)
        code = 0
        seen = 0
        while place < stop and seen < 3:
            if _digit(data[place]):
                code = code * 10 + integer(data[place]) - 48
                seen += 1
            place += 1
        digits = count - (0 if plus else 2)
        one = code // 100 == 1
        if seen < 3 or not calling[code]:
            return -1, -1
        if one:
            total = 0
            last = 0
            while last < groups and total < (11 if plus else 13):
                total += integer(sizes[last])
                last += 1
            if total != (11 if plus else 13):
                return -1, -1
        elif digits < 8 or digits > 15:
            return -1, -1
        if zeros and groups < 2:
            return -1, -1  # a number in digits alone that begins with zeros is most often something else
    else:
        lead = 1 if sizes[0] == 1 and data[at] == 49 else 0
        if groups >= lead + 3 and sizes[lead] == 3 and sizes[lead + 1] == 3 and sizes[lead + 2] == 4:
            area, exchange = data[firsts[lead]], data[firsts[lead + 1]]
            american = bool(50 <= area <= 57 and 50 <= exchange <= 57)
            one, two = data[firsts[lead + 1] - 1], data[firsts[lead + 2] - 1]
            if (one == 46) != (two == 46):
                american = False
            if one == 32 and two == 32 and not opened_once and lead == 0:
                american = american and _cued(data, begin, start, cues, 3, 4)
            if american:
                last = lead + 3
        if not american and bracket and groups == 2 and sizes[0] == 3 and sizes[1] == 7:
            american = bool(50 <= data[at] <= 57)
        if not american:
            cued = _cued(data, begin, start, cues, 3, 4)
            if national and not cued:
                date = groups >= 3 and sizes[0] == 2 and sizes[1] == 2 and sizes[2] == 4
                date = date or (groups == 2 and sizes[0] == 5 and sizes[1] == 4)  # a postal code of the United States
                small = groups < 2 or groups > 6 or count < 9 or count > 12
                for i in range(groups):
                    small = small or sizes[i] < 2 or sizes[i] > 8
                if date or small:
                    return -1, -1
            elif not cued:
                return -1, -1
    stop = integer(stops[last - 1])
    if stop < end:
        after = data[stop]
        if (_alnum(after)) or after == 37:
            return -1, -1
        joined = after in (46, 45, 47, 44, 58)
        if joined and stop + 1 < end and _digit(data[stop + 1]):
            return -1, -1
    if _cued(data, begin, start, others, 2, 5) or _in_url(data, begin, start):
        return -1, -1
    return start, stop
