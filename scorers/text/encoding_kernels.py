"""Decoders of the multi-byte encodings, step by step as the WHATWG's Encoding Standard has them.

All take bytes and tables and return code points, U+FFFD for each error; what a byte that doesn't fit means by itself
is kept (an ASCII byte after a lead byte is given back, so that markup survives).
"""

import numpy as np
import numpy.typing as npt

from tamis.scorers.kernels.jit import kernel

__all__ = ["LEAD", "NOTHING", "decode_euc_jp", "decode_gb18030", "decode_iso_2022_jp", "decode_pairs"]

NOTHING = 0
"""In a table: no character."""

LEAD = 0xFFFFFFFF
"""In a table of single bytes: the first byte of a pair."""

_ERROR = 0xFFFD

Bytes = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.uint32]


@kernel
def decode_pairs(data: Bytes, single: Codes, pairs: Codes) -> Codes:
    """Decode Shift_JIS, EUC-KR or Big5.

    Args:
        data: the bytes.
        single: 256 code points of bytes that stand alone, `LEAD` for those that begin a pair, U+FFFD for others.
        pairs: code points by 256 times lead plus trail; one above U+10FFFF is two, the second 65536 times as large.

    Returns:
        Code points.
    """
    n = len(data)
    out = np.empty(n + 1, np.uint32)
    size = 0
    i = 0
    while i < n:
        byte = data[i]
        i += 1
        code = single[byte]
        if code != LEAD:
            out[size] = code
            size += 1
            continue
        if i == n:
            out[size] = _ERROR
            size += 1
            break
        trail = data[i]
        code = pairs[256 * int(byte) + trail]
        if code == NOTHING:
            out[size] = _ERROR
            size += 1
            if trail >= 0x80:
                i += 1
            continue
        i += 1
        if code > 0x10FFFF:
            out[size] = code & 0xFFFF
            size += 1
            code >>= 16
        out[size] = code
        size += 1
    return out[:size]


@kernel
def decode_euc_jp(data: Bytes, jis0208: Codes, jis0212: Codes) -> Codes:
    """Decode EUC-JP.

    Args:
        data: the bytes.
        jis0208: code points of 94 rows of 94.
        jis0212: the same of the second set.

    Returns:
        Code points.
    """
    n = len(data)
    out = np.empty(n + 1, np.uint32)
    size = 0
    lead = 0
    second_set = False
    i = 0
    while i < n:
        byte = int(data[i])
        i += 1
        if lead == 0x8E and 0xA1 <= byte <= 0xDF:
            lead = 0
            out[size] = 0xFF61 - 0xA1 + byte
            size += 1
        elif lead == 0x8F and 0xA1 <= byte <= 0xFE:
            second_set = True
            lead = byte
        elif lead:
            code = np.uint32(NOTHING)
            if 0xA1 <= lead <= 0xFE and 0xA1 <= byte <= 0xFE:
                place = (lead - 0xA1) * 94 + byte - 0xA1
                code = jis0212[place] if second_set else jis0208[place]
            lead = 0
            second_set = False
            if code == NOTHING:
                code = np.uint32(_ERROR)
                if byte < 0x80:
                    i -= 1
            out[size] = code
            size += 1
        elif byte < 0x80:
            out[size] = byte
            size += 1
        elif byte in (0x8E, 0x8F) or 0xA1 <= byte <= 0xFE:
            lead = byte
        else:
            out[size] = _ERROR
            size += 1
    if lead:
        out[size] = _ERROR
        size += 1
    return out[:size]


@kernel
def decode_iso_2022_jp(data: Bytes, jis0208: Codes) -> Codes:
    """Decode ISO-2022-JP: ASCII, Roman, half-width kana and JIS X 0208, told apart by escape sequences.

    Args:
        data: the bytes.
        jis0208: code points of 94 rows of 94.

    Returns:
        Code points.
    """
    n = len(data)
    out = np.empty(n + 1, np.uint32)
    size = 0
    mode = 0  # 0 ASCII, 1 Roman, 2 kana, 3 two bytes
    lead = 0
    switched = False  # the last thing was an escape sequence: another is an error, for nothing was said between
    i = 0
    while i < n:
        byte = int(data[i])
        i += 1
        if byte == 0x1B:
            if lead:  # a character cut in two
                lead = 0
                out[size] = _ERROR
                size += 1
                i -= 1
                continue
            new = -1
            if i + 1 < n:
                first, second = data[i], data[i + 1]
                if first == 0x28:
                    if second == 0x42:
                        new = 0
                    elif second == 0x4A:
                        new = 1
                    elif second == 0x49:
                        new = 2
                elif first == 0x24 and second in (0x40, 0x42):
                    new = 3
            if new < 0:
                out[size] = _ERROR
                size += 1
                switched = False
                continue
            i += 2
            mode = new
            if switched:
                out[size] = _ERROR
                size += 1
            switched = True
            continue
        code = np.uint32(_ERROR)
        if mode == 3:
            if lead:
                if 0x21 <= byte <= 0x7E:
                    code = jis0208[(lead - 0x21) * 94 + byte - 0x21]
                    if code == NOTHING:
                        code = np.uint32(_ERROR)
                lead = 0
            elif 0x21 <= byte <= 0x7E:
                switched = False
                lead = byte
                continue
        elif mode == 2:
            if 0x21 <= byte <= 0x5F:
                code = np.uint32(0xFF61 - 0x21 + byte)
        elif byte < 0x80 and byte not in (0x0E, 0x0F):
            code = np.uint32(byte)
            if mode == 1:
                if byte == 0x5C:
                    code = np.uint32(0xA5)
                elif byte == 0x7E:
                    code = np.uint32(0x203E)
        switched = False
        out[size] = code
        size += 1
    if lead:
        out[size] = _ERROR
        size += 1
    return out[:size]


@kernel
def decode_gb18030(data: Bytes, pairs: Codes, starts: npt.NDArray[np.int64], codes: npt.NDArray[np.int64]) -> Codes:
    """Decode GB18030, and with it GBK and GB 2312.

    Args:
        data: the bytes.
        pairs: code points by 256 times lead plus trail.
        starts: numbers of four-byte sequences at which a run of code points begins, ascending from 0.
        codes: the code point at each start.

    Returns:
        Code points.
    """
    n = len(data)
    out = np.empty(n + 1, np.uint32)
    size = 0
    i = 0
    while i < n:
        byte = int(data[i])
        i += 1
        if byte <= 0x80 or byte == 0xFF:
            out[size] = byte if byte < 0x80 else (0x20AC if byte == 0x80 else _ERROR)
            size += 1
            continue
        if i == n:
            out[size] = _ERROR
            size += 1
            break
        second = int(data[i])
        if not 0x30 <= second <= 0x39:
            code = pairs[256 * byte + second]
            i += 1
            if code == NOTHING:
                code = np.uint32(_ERROR)
                if second < 0x80:
                    i -= 1
            out[size] = code
            size += 1
            continue
        if i + 1 == n:  # cut off: the digit that was taken is lost with it
            out[size] = _ERROR
            size += 1
            break
        third = int(data[i + 1])
        if not 0x81 <= third <= 0xFE:
            out[size] = _ERROR
            size += 1
            continue
        if i + 2 == n:
            out[size] = _ERROR
            size += 1
            break
        fourth = int(data[i + 2])
        if not 0x30 <= fourth <= 0x39:
            out[size] = _ERROR
            size += 1
            continue
        i += 3
        number = (((byte - 0x81) * 10 + second - 0x30) * 126 + third - 0x81) * 10 + fourth - 0x30
        found = _ERROR
        if number == 7457:
            found = 0xE7C7
        elif 189000 <= number <= 1237575:
            found = 0x10000 + number - 189000
        elif number <= 39419:
            run = np.searchsorted(starts, number, side="right") - 1
            found = codes[run] + number - starts[run]
        out[size] = found
        size += 1
    return out[:size]
