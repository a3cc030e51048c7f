"""What the detection of personal data knows: countries' account numbers, calling codes, cue words, shapes of tokens."""

import functools
import re
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tamis.scorers.pii.number_kernels import word_hash_of
from tamis.scorers.pii.scan_kernels import AT_CLASS, COLON_CLASS, DIGIT_CLASS, HEAD_CLASS

__all__ = ["FILE_ENDINGS", "ScanTables", "scan_tables", "secret_pattern"]

_IBAN_LENGTHS = """
AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18
FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20
LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24
SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30
"""
"""SWIFT's IBAN registry: country and length."""

_CALLING_CODES = """
1 7 20 27 30-34 36 39 40 41 43-49 51-58 60-66 81 82 84 86 90-95 98 211-213 216 218 220-258 260-269 290 291 297-299
350-359 370-383 385-387 389 420 421 423 500-509 590-599 670 672-683 685-692 800 808 850 852 853 855 856 870 878 880-883
886 888 960-968 970-977 979 992-996 998
"""
"""ITU-T E.164's assigned country codes."""

_VERSION_WORDS = (
    "version versions ver v vers release releases rev revision build firmware section sections chapter kernel"
)
_VERSION_WORDS += " driver patch update upgrade clause oid rfc bios article paragraph appendix figure table step"

_NETWORK_WORDS = (
    "ip address adresse addr host server client gateway router node peer proxy dns ping from to at via port"
)
_NETWORK_WORDS += (
    " nameserver resolver traceroute remote source destination login visit connect blocked allow deny subnet"
)

_PHONE_WORDS = (
    "tel tél telephone telefon telefono téléphone telefone teléfono phone phones fax call calls mobile mob cell"
)
_PHONE_WORDS += " cellphone whatsapp sms handy hotline dial telefonnummer ring pager voicemail text телефон Телефон тел"
_PHONE_WORDS += " Тел факс Факс моб Моб"

_OTHER_WORDS = (
    "isbn issn doi pmid arxiv ean upc asin oclc lccn patent order invoice account konto serial sku id ref zip"
)
_OTHER_WORDS += " vin imei ticket tracking pmc"

FILE_ENDINGS = frozenset(
    [
        "avif",
        "bmp",
        "css",
        "gif",
        "htm",
        "html",
        "ico",
        "jpeg",
        "jpg",
        "js",
        "jsx",
        "json",
        "less",
        "pdf",
        "php",
        "png",
        "scss",
        "svg",
        "tif",
        "tiff",
        "ts",
        "tsx",
        "webp",
    ]
)
"""What looks like the top level of a host but is the ending of a file's name: `icon@2x.png` is no e-mail address."""

_TOKEN = rb"[A-Za-z0-9_-]"
SECRETS: dict[bytes, tuple[int, bytes]] = {
    b"AKIA": (1, rb"AKIA[A-Z0-9]{16}"),
    b"ASIA": (2, rb"ASIA[A-Z0-9]{16}"),
    b"AIza": (2, rb"AIza[A-Za-z0-9_-]{35}"),
    b"eyJ": (2, rb"eyJ[A-Za-z0-9_-]{8,4000}\.eyJ[A-Za-z0-9_-]{8,8000}\.[A-Za-z0-9_-]{8,2000}"),
    b"ya29.": (4, rb"ya29\.[A-Za-z0-9_-]{20,300}"),
    b"shpat_": (5, rb"shpat_[a-fA-F0-9]{32}"),
    b"dop_v1_": (3, rb"dop_v1_[a-f0-9]{64}"),
    b"SG.": (1, rb"SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}"),
    **{b"gh" + letter + b"_": (3, rb"gh[pousr]_[A-Za-z0-9]{36,255}") for letter in (b"p", b"o", b"u", b"s", b"r")},
    b"github_pat_": (6, rb"github_pat_[A-Za-z0-9_]{40,255}"),
    b"npm_": (3, rb"npm_[A-Za-z0-9]{36}"),
    b"hf_": (2, rb"hf_[A-Za-z0-9]{30,60}"),
    **{
        kind + b"_" + mode + b"_": (2, rb"[srp]k_(?:live|test)_[A-Za-z0-9]{16,247}")
        for kind in (b"sk", b"rk", b"pk")
        for mode in (b"live", b"test")
    },
    b"sk-": (2, rb"sk-(?=[A-Za-z0-9_-]{0,40}[0-9])" + _TOKEN + rb"{20,300}"),
    b"glpat-": (5, rb"glpat-" + _TOKEN + rb"{20,64}"),
    **{
        b"xox" + letter + b"-": (4, rb"xox[abeoprs]-[A-Za-z0-9-]{10,250}")
        for letter in (b"a", b"b", b"e", b"o", b"p", b"r", b"s")
    },
    b"pypi-": (4, rb"pypi-AgEIcHlwaS5vcmc" + _TOKEN + rb"{50,1000}"),
    b"-----BEGIN ": (
        4,
        rb"-----BEGIN (?P<kind>(?:[A-Z0-9]+ ){0,3})PRIVATE KEY(?: BLOCK)?-----(?:[^-]|-(?!----)){1,16000}"
        rb"-----END (?P=kind)PRIVATE KEY(?: BLOCK)?-----",
    ),
}
"""Known beginnings of keys and tokens: which byte of it is looked for first, and the whole shape, as their issuers
document them: AWS, Google, JSON web tokens, Shopify, DigitalOcean, SendGrid, GitHub, npm, Hugging Face, Stripe, OpenAI
and Anthropic, GitLab, Slack, PyPI, PEM."""


class ScanTables(NamedTuple):
    """The tables that `tamis.scorers.pii.scan_kernels.scan` takes, in its order."""

    classes: npt.NDArray[np.uint8]
    heads: npt.NDArray[np.uint8]
    head_bounds: npt.NDArray[np.int64]
    head_marks: npt.NDArray[np.int64]
    head_places: npt.NDArray[np.int64]
    versions: npt.NDArray[np.uint64]
    networks: npt.NDArray[np.uint64]
    lengths: npt.NDArray[np.int64]
    cues: npt.NDArray[np.uint64]
    others: npt.NDArray[np.uint64]
    calling: npt.NDArray[np.bool_]


def _hashes(words: str) -> npt.NDArray[np.uint64]:
    return np.array(sorted(word_hash_of(word) for word in words.split()), np.uint64)


@functools.cache
def scan_tables() -> ScanTables:
    """Return the tables."""
    heads = sorted(SECRETS, key=lambda head: (head[SECRETS[head][0]], head))
    marks = np.array([SECRETS[head][0] for head in heads], np.int64)
    marked = np.array([head[mark] for head, mark in zip(heads, marks.tolist(), strict=True)])
    classes = np.zeros(256, np.uint8)
    classes[marked] = HEAD_CLASS
    classes[48:58], classes[ord("@")], classes[ord(":")] = DIGIT_CLASS, AT_CLASS, COLON_CLASS
    lengths = np.zeros(26 * 26, np.int64)
    for country in _IBAN_LENGTHS.split():
        lengths[26 * (ord(country[0]) - 65) + ord(country[1]) - 65] = int(country[2:])
    calling = np.zeros(1000, np.bool_)
    for part in _CALLING_CODES.split():
        low, _, high = part.partition("-")
        width = 10 ** (3 - len(low))
        calling[int(low) * width : (int(high or low) + 1) * width] = True
    return ScanTables(
        classes,
        np.frombuffer(b"".join(heads), np.uint8),
        np.cumsum([0, *map(len, heads)]),
        marks,
        np.searchsorted(marked, np.arange(257)),
        _hashes(_VERSION_WORDS),
        _hashes(_NETWORK_WORDS),
        lengths,
        _hashes(_PHONE_WORDS),
        _hashes(_OTHER_WORDS),
        calling,
    )


@functools.cache
def secret_pattern() -> "re.Pattern[bytes]":
    """Return the shapes of all keys and tokens as one pattern, with the borders that they need."""
    shapes = dict.fromkeys(shape for _, shape in SECRETS.values())
    plain = [shape for shape in shapes if not shape.startswith(b"-")]
    pem = [shape for shape in shapes if shape.startswith(b"-")]
    whole = rb"(?<![A-Za-z0-9_])(?:" + b"|".join(plain) + rb")(?![A-Za-z0-9_])|" + b"|".join(pem)
    return re.compile(whole)
