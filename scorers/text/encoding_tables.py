"""Tables of the encodings that browsers read, made from Python's codecs and what the WHATWG's standard has otherwise.

Python's codecs are those of vendors or of national standards; pages are written for browsers. The differences are
listed here, and tested against an independent decoder for every label, every byte and every pair.
"""

import functools
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from tamis.scorers.text.encoding_kernels import LEAD, NOTHING

__all__ = [
    "PYTHON_NAMES",
    "FourByteRuns",
    "big5_tables",
    "euc_kr_tables",
    "four_byte_runs",
    "gb18030_pairs",
    "jis0208",
    "jis0212",
    "shift_jis_tables",
    "single_byte_table",
]

Codes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint32]]"

PYTHON_NAMES = {
    "big5": "big5hkscs",
    "euc-jp": "euc_jp",
    "euc-kr": "cp949",
    "gbk": "gb18030",
    "ibm866": "cp866",
    "iso-2022-jp": "iso2022_jp",
    "iso-8859-8-i": "iso8859-8",
    "macintosh": "mac-roman",
    "replacement": "ascii",
    "shift_jis": "cp932",
    "utf-16be": "utf-16-be",
    "utf-16le": "utf-16-le",
    "windows-874": "cp874",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-user-defined": "latin-1",
} | {f"windows-125{i}": f"cp125{i}" for i in range(9)}
"""The codec of Python's that is nearest to an encoding, where it has another name."""

_OWN_BYTES = {"koi8-u": {0xAE: 0x45E, 0xBE: 0x40E}, "windows-1255": {0xCA: 0x5BA}}
_TRAILS = [*range(0x40, 0x7F), *range(0xA1, 0xFF)]

# Big5: number of the pair to the characters from there on. Hong Kong's set of 2008 and older vendors' variants.
_BIG5 = {
    1000: "㡵𡵓𣚞𦀡㻬𥣞㫵竼龗𤅡𨤍𣇪𠪊𣉞䌊蒄龖鐯䤰蘓墖靊鈘秐稲晠権袝瑌篅枂稬剏遆",
    1034: "㓦珄𥶹瓆鿇垳䤯呌䄱𣚎堘穲𧭥讏䚮𦺈䆁𥶙箮𢒼鿈𢓁𢓉𢓌鿉蔄𣖻䂴鿊䓡𪷿拁灮鿋",
    2082: "箸",
    2088: "簆",
    2103: "糎",
    2114: "緒",
    2123: "縝",
    2148: "者",
    2151: "耨",
    2221: "菁",
    2239: "蒨",
    2244: "萏",
    2303: "覦覩",
    2354: "起",
    2400: "都",
    2413: "銹",
    2477: "靜",
    2498: "響",
    2605: "鼖",
    2673: "蔃",
    2746: "兙兛兝兞",
    2771: "鍮",
    2780: "瑹",
    2990: "浧",
    3087: "禛",
    3259: "邗",
    3301: "靝",
    3436: "瀞",
    3451: "嬨",
    4136: "爁",
    4138: "矗",
    4141: "纇",
    4182: "駖",
    4206: "釔",
    4220: "惞",
    4230: "澶",
    4241: "輶",
    4258: "侻",
    4273: "營",
    4279: "鄄",
    4282: "鷰",
    4294: "菏",
    4329: "尐秣",
    4349: "婧",
    4419: "輋",
    4422: "筑",
    4494: "拐",
    4624: "恢",
    4694: "痹",
    4708: "汊",
    4742: "鬮",
    4748: "鼗",
    4815: "僭",
    4828: "弌",
    4902: "蠏",
    4922: "拎",
    4982: "瑨",
    4992: "煢",
    4997: "牐",
    5029: "‧",
    5038: "﹑",
    5120: "¯",
    5153: "～",
    5168: "⊕⊙",
    5182: "∕﹨",
    5185: "￥",
    5187: "￠￡",
    5432: "␀␁␂␃␄␅␆␇␈␉␊␋␌␍␎␏␐␑␒␓␔␕␖␗␘␙␚␛␜␝␞␟␡€",
    10942: "廴",
    10946: "无",
    10948: "癶",
    10950: "隶",
    10957: "〃仝",
    19028: "倩",
    19035: "偽",
    19088: "包",
    19096: "卄",
    19112: "卿",
    19162: "嘅",
    19240: "婷",
    19299: "幵",
    19305: "廐",
    19326: "彘",
    19355: "悤",
    19398: "撐",
    19439: "晴",
    19454: "杞",
    19553: "沜渝",
    19557: "港",
    19611: "煮",
    19643: "猪",
    19672: "瑜",
    19697: "瓩",
    19748: "砉",
}
# GB18030 as of 2022: pairs that Python has in the private use area.
_GB18030 = {
    0xA3A0: "\u3000", 0xA6D9: "︐︒︑︓︔︕︖", 0xA6EC: "︗︘", 0xA6F3: "︙", 0xA8BC: "ḿ",
    0xFE59: "龴", 0xFE61: "龵", 0xFE66: "龶龷", 0xFE6D: "龸", 0xFE7E: "龹", 0xFE90: "龺", 0xFEA0: "龻",
}  # fmt: skip


class FourByteRuns(NamedTuple):
    """Runs of consecutive code points among GB18030's four-byte sequences: number of the first, and its code point."""

    starts: "np.ndarray[Any, np.dtype[np.int64]]"
    codes: "np.ndarray[Any, np.dtype[np.int64]]"


def _decoded(data: bytes, codec: str) -> int:
    """Return the code point that some bytes are, `NOTHING` if they are no one character."""
    try:
        text = data.decode(codec)
    except UnicodeDecodeError:
        return NOTHING
    return ord(text) if len(text) == 1 else NOTHING


@functools.cache
def single_byte_table(name: str) -> str:
    """Return the 256 characters of a single-byte encoding, U+FFFE for bytes that are none (as `charmap_decode` wants).

    Args:
        name: of the standard, in lower case.
    """
    if name == "x-user-defined":
        return "".join(map(chr, (*range(0x80), *range(0xF780, 0xF800))))
    text = list(bytes(range(256)).decode(PYTHON_NAMES.get(name, name), "replace"))
    for byte, code in _OWN_BYTES.get(name, {}).items():
        text[byte] = chr(code)
    for byte in range(0x80, 0xA0):  # browsers read what Windows' sets leave open as the controls of that number
        if name.startswith("windows-") and text[byte] == "\ufffd":
            text[byte] = chr(byte)
    return "".join(text).replace("\ufffd", "\ufffe")


def _pairs() -> Codes:
    return np.zeros(1 << 16, np.uint32)


def _single(leads: "range | list[int]") -> Codes:
    """Return a table of single bytes: ASCII and these leads."""
    single = np.full(256, 0xFFFD, np.uint32)
    single[:0x80] = np.arange(0x80)
    single[list(leads)] = LEAD
    return single


@functools.cache
def _kuten() -> Codes:
    """Return the code points of 120 rows of 94, by way of Shift_JIS: 94 rows of JIS X 0208, then IBM's."""
    codes = np.zeros(120 * 94, np.uint32)
    for number in range(len(codes)):
        lead, trail = divmod(number, 188)
        lead += 0x81 if lead < 0x1F else 0xC1
        trail += 0x40 if trail < 0x3F else 0x41
        codes[number] = _decoded(bytes((lead, trail)), "cp932")
    codes[8836:10716] = NOTHING  # users' own characters
    return codes


@functools.cache
def jis0208() -> Codes:
    """Return the code points of JIS X 0208's 94 rows of 94, with NEC's rows 13 and 89 to 92."""
    return _kuten()[: 94 * 94].copy()


@functools.cache
def jis0212() -> Codes:
    """Return the code points of JIS X 0212's 94 rows of 94."""
    codes = np.array(
        [_decoded(bytes((0x8F, 0xA1 + row, 0xA1 + cell)), "euc_jp") for row in range(94) for cell in range(94)],
        np.uint32,
    )
    codes[0x01 * 94 + 0x16] = 0xFF5E  # a tilde, which Python takes for ASCII's
    return codes


@functools.cache
def shift_jis_tables() -> tuple[Codes, Codes]:
    """Return the tables of `decode_pairs`."""
    single = _single([*range(0x81, 0xA0), *range(0xE0, 0xFD)])
    single[0x80] = 0x80
    single[0xA1:0xE0] = np.arange(0xFF61, 0xFFA0)
    pairs = _pairs()
    kuten = _kuten()
    for lead in (*range(0x81, 0xA0), *range(0xE0, 0xFD)):
        for trail in (*range(0x40, 0x7F), *range(0x80, 0xFD)):
            number = (lead - (0x81 if lead < 0xA0 else 0xC1)) * 188 + trail - (0x40 if trail < 0x7F else 0x41)
            if 8836 <= number <= 10715:
                pairs[256 * lead + trail] = 0xE000 - 8836 + number
            elif number < len(kuten):
                pairs[256 * lead + trail] = kuten[number]
    return single, pairs


@functools.cache
def euc_kr_tables() -> tuple[Codes, Codes]:
    """Return the tables of `decode_pairs`."""
    pairs = _pairs()
    for lead in range(0x81, 0xFF):
        for trail in range(0x41, 0xFF):
            pairs[256 * lead + trail] = _decoded(bytes((lead, trail)), "cp949")
    return _single(range(0x81, 0xFF)), pairs


@functools.cache
def big5_tables() -> tuple[Codes, Codes]:
    """Return the tables of `decode_pairs`."""
    numbers = np.zeros(126 * 157, np.uint32)
    for number in range(len(numbers)):
        lead, trail = divmod(number, 157)
        numbers[number] = _decoded(bytes((0x81 + lead, _TRAILS[trail])), "big5hkscs")
    for number, text in _BIG5.items():
        numbers[number : number + len(text)] = list(map(ord, text))
    for number, letter, accent in ((1133, 0xCA, 0x304), (1135, 0xCA, 0x30C), (1164, 0xEA, 0x304), (1166, 0xEA, 0x30C)):
        numbers[number] = accent << 16 | letter
    pairs = _pairs()
    for lead in range(126):
        pairs[256 * (0x81 + lead) + np.array(_TRAILS)] = numbers[157 * lead : 157 * (lead + 1)]
    return _single(range(0x81, 0xFF)), pairs


@functools.cache
def gb18030_pairs() -> Codes:
    """Return the code points of two-byte sequences by 256 times lead plus trail."""
    pairs = _pairs()
    for lead in range(0x81, 0xFF):
        for trail in (*range(0x40, 0x7F), *range(0x80, 0xFF)):
            pairs[256 * lead + trail] = _decoded(bytes((lead, trail)), "gb18030")
    for pair, text in _GB18030.items():
        pairs[pair : pair + len(text)] = list(map(ord, text))
    return pairs


@functools.cache
def four_byte_runs() -> FourByteRuns:
    """Return the runs of code points of the basic plane."""
    codes = []
    for number in range(39420):
        first, rest = divmod(number, 12600)
        second, rest = divmod(rest, 1260)
        third, fourth = divmod(rest, 10)
        codes.append(_decoded(bytes((0x81 + first, 0x30 + second, 0x81 + third, 0x30 + fourth)), "gb18030"))
    found = np.array(codes, np.int64)
    starts = np.flatnonzero(np.diff(found, prepend=-2) != 1)
    return FourByteRuns(starts, found[starts])
