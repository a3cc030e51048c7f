"""The crawl: `web.warc.gz`, `damaged.warc.gz` and `crawl.warc.wet.gz`."""

import gzip
import re
import struct
import zlib
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from .draw import Draw, ranked
from .htmltext import page_title
from .output import MADE_HERE, Output
from .sources import CC_BY_SA, Page, handbook_pages, manual_pages
from .synthetic import SPAM_HOSTS, SPAM_KINDS, spam_page
from .variants import near_copy, near_copy_html
from .warcfile import WarcBuilder, chunked, gzip_member, http_response

__all__ = ["Pages", "collect_pages", "damaged_warc", "web_warc", "wet"]

_EDITIONS = {
    "ar": "ar-MA",
    "ca": "ca-ES",
    "de": "de-DE",
    "es": "es-ES",
    "fa": "fa-IR",
    "fr": "fr-FR",
    "id": "id-ID",
    "it": "it-IT",
    "ja": "ja-JP",
    "nb": "nb-NO",
    "nl": "nl-NL",
    "pl": "pl-PL",
    "pt": "pt-BR",
    "ru": "ru-RU",
    "sv": "sv-SE",
    "vi": "vi-VN",
    "zh": "zh-CN",
}
# How many pages of each edition and manual go into the WARC, and how many others into the WET.
_WEB = {
    "ar": 9,
    "ca": 10,
    "de": 18,
    "en": 46,
    "es": 17,
    "fa": 6,
    "fr": 16,
    "id": 12,
    "it": 14,
    "ja": 6,
    "nb": 12,
    "nl": 5,
    "pl": 5,
    "pt": 14,
    "ru": 14,
    "sv": 10,
    "vi": 6,
    "zh": 7,
    "sqlite3-doc": 58,
    "rust-doc": 40,
    "python-sqlalchemy-doc": 20,
    "python-pytest-doc": 35,
    "python-flask-doc": 38,
    "sphinx-doc": 20,
}
_WET = {
    "ca": 4,
    "de": 8,
    "en": 15,
    "es": 6,
    "fr": 5,
    "id": 4,
    "it": 4,
    "ja": 1,
    "nb": 3,
    "pt": 5,
    "ru": 5,
    "sv": 3,
    "zh": 2,
    "sqlite3-doc": 15,
    "rust-doc": 8,
    "python-pytest-doc": 7,
    "python-flask-doc": 5,
}
_ISO3 = {
    "ar": "ara",
    "ca": "cat",
    "de": "deu",
    "en": "eng",
    "es": "spa",
    "fa": "fas",
    "fr": "fra",
    "id": "ind",
    "it": "ita",
    "ja": "jpn",
    "nb": "nob",
    "nl": "nld",
    "pl": "pol",
    "pt": "por",
    "ru": "rus",
    "sv": "swe",
    "vi": "vie",
    "zh": "zho",
}
_PDF = "usr/share/doc/debian-handbook/html/nb-NO/images/netfilter.pdf.gz"
_META = re.compile(r"(<\?xml[^>]*encoding=\"|charset=[\"']?)utf-8", re.I)


@dataclass(frozen=True)
class Pages:
    """The pages chosen for each file."""

    web: list[Page]
    wet: list[Page]
    damaged: list[Page]
    pdf: bytes


def collect_pages(roots: dict[str, Path]) -> Pages:
    """Reads the documentation packages and deals out their pages; no page goes into two places."""
    handbook = roots["debian:debian-handbook"]
    sets = {language: handbook_pages(handbook, language, folder) for language, folder in _EDITIONS.items()}
    sets["en"] = handbook_pages(handbook, "en", "en-US")
    sets |= {name: manual_pages(roots[f"debian:{name}"], name) for name in _WEB if name not in sets}
    web = [page for name, count in _WEB.items() for page in sets[name][:count]]
    other = [page for name, count in _WET.items() for page in sets[name][_WEB[name] : _WEB[name] + count]]
    damaged = sets["sqlite3-doc"][_WEB["sqlite3-doc"] + _WET["sqlite3-doc"] :][:7]
    return Pages(
        ranked("web", web, lambda page: page.url),
        ranked("wet", other, lambda page: page.url),
        damaged,
        gzip.decompress((handbook / _PDF).read_bytes()),
    )


def _headers(page: Page, content_type: str = "text/html; charset=utf-8") -> list[tuple[str, str]]:
    headers = [
        ("Date", "Fri, 01 Mar 2024 00:00:00 GMT"),
        ("Server", "example"),
        ("Content-Type", content_type),
    ]
    if page.licence_url:
        headers.append(("Link", f'<{page.licence_url}>; rel="license"'))
    return headers


def _request(url: str) -> bytes:
    parts = urlsplit(url)
    lines = (f"GET {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "User-Agent: tamis-sample", "", "")
    return "\r\n".join(lines).encode()


# Encoding of the body, what the header says, what the page's own declaration says (None: left as it was).
_ENCODINGS = (
    ("fr", "iso-8859-1", "text/html; charset=ISO-8859-1", None),
    ("ja", "shift_jis", "text/html; charset=Shift_JIS", "Shift_JIS"),
    ("zh", "gbk", "text/html", "gbk"),
    ("ru", "cp1251", "text/html; charset=windows-1251", "windows-1251"),
    ("de", "utf-16", "text/html; charset=utf-16", "utf-16"),
    ("pl", "iso-8859-2", "text/html", "iso-8859-2"),
)


def _encoded(page: Page, encoding: str, declared: str | None) -> bytes:
    html = _META.sub(lambda found: found.group(1) + declared, page.html) if declared else page.html
    if encoding == "utf-16":
        return b"\xff\xfe" + html.encode("utf-16-le")
    return html.encode(encoding, "xmlcharrefreplace")


def _odd_records(warc: WarcBuilder, pages: Pages) -> dict[str, str]:
    """Everything that a crawl holds besides pages: by name, the address."""
    response = "application/http; msgtype=response"
    html = [("Content-Type", "text/html; charset=utf-8")]
    gone = (
        "<!DOCTYPE html><html><head><title>404 Not Found</title></head>"
        "<body><h1>Not Found</h1><p>The page that you asked for is not here.</p></body></html>"
    )
    book, site = "https://handbook.example.org", "https://www.example.org"
    plain = [("Content-Type", "text/plain")]
    home = [("Location", f"{book}/browse/en-US/stable/index.html")]
    pdf = [("Content-Type", "application/pdf"), ("Link", f'<{CC_BY_SA}>; rel="license"')]
    error = b"Internal Server Error"
    made: dict[str, tuple[str, bytes, list[tuple[str, str]], str]] = {
        "not-found": (f"{book}/browse/en-US/stable/no-such-page.html", gone.encode(), html, "404 Not Found"),
        "redirect": ("http://handbook.example.org/", b"", home, "301 Moved Permanently"),
        "server-error": (
            "https://flask.example.edu/en/2.2.x/search?q=tamis",
            error,
            plain,
            f"500 {error.decode()}",
        ),
        "pdf": (f"{book}/browse/nb-NO/stable/images/netfilter.pdf", pages.pdf, pdf, "200 OK"),
        "robots": (f"{book}/robots.txt", b"User-agent: *\nAllow: /\n", plain, "200 OK"),
        "json": (
            f"{site}/api/status.json",
            b'{"status": "ok"}',
            [("Content-Type", "application/json")],
            "200 OK",
        ),
        "image": (f"{site}/pixel.png", _png(), [("Content-Type", "image/png")], "200 OK"),
        "empty": (f"{site}/empty.html", b"", html, "200 OK"),
    }
    for url, body, headers, status in made.values():
        warc.add("response", url, http_response(body, headers, status), response)
    return {name: url for name, (url, *_) in made.items()}


def _png() -> bytes:
    def part(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + part(b"IHDR", head)
        + part(b"IDAT", zlib.compress(b"\0\x80", 9))
        + part(b"IEND", b"")
    )


def _mirror(url: str, number: int) -> str:
    """Another address for the same page."""
    parts = urlsplit(url)
    return (
        f"{url}?utm_source=newsletter&utm_medium=mail",
        f"http://{parts.netloc}{parts.path}",
        f"https://mirror.example.net/{parts.netloc}{parts.path}",
    )[number % 3]


def web_warc(pages: Pages) -> Output:
    """The WARC of whole pages."""
    warc = WarcBuilder(
        "web.warc.gz",
        "Pages of free manuals at invented addresses. Each response names its licence in a Link header; "
        "see README.md and LICENSES beside this file.",
    )
    out = Output(warc.name, b"", [], 0)
    details: dict[str, object] = {}
    response = "application/http; msgtype=response"
    encodings: dict[str, str] = {}
    waiting = list(_ENCODINGS)
    transfers: dict[str, str] = {}
    for number, page in enumerate(pages.web):
        headers, body = _headers(page), page.html.encode()
        case = next((case for case in waiting if case[0] == page.language), None)
        if case:
            waiting.remove(case)
            _, encoding, content_type, declared = case
            headers, body = _headers(page, content_type), _encoded(page, encoding, declared)
            encodings[page.url] = encoding
        elif number % 120 == 7:
            headers, body = [*headers, ("Content-Encoding", "gzip")], gzip_member(body)
            transfers[page.url] = "gzip"
        elif number % 120 == 11:
            headers, body = [*headers, ("Transfer-Encoding", "chunked")], chunked(body)
            transfers[page.url] = "chunked"
        elif number % 240 == 13:
            headers = [*headers, ("Content-Encoding", "gzip"), ("Transfer-Encoding", "chunked")]
            body = chunked(gzip_member(body), 1024)
            transfers[page.url] = "gzip, chunked"
        identity = warc.add("response", page.url, http_response(body, headers), response)
        out.count(page.package, page.language)
        if number % 10 == 0:
            pair = [("WARC-Concurrent-To", identity)]
            warc.add("request", page.url, _request(page.url), "application/http; msgtype=request", pair)
            warc.add_fields("metadata", page.url, [("fetchTimeMs", str(90 + number))], pair)
        if number % 200 == 50:
            profile = "http://netpreserve.org/warc/1.1/revisit/identical-payload-digest"
            extra = [("WARC-Profile", profile), ("WARC-Refers-To", identity)]
            warc.add("revisit", page.url, http_response(b"", _headers(page)), response, extra)
    # Copies come after all originals, so that the order of the file is the order in which they were made.
    plain = [page for page in pages.web if page.url not in encodings]
    chosen = ranked("web-copies", plain, lambda page: page.url)
    half = len(pages.web) // 20
    for number, page in enumerate(chosen[:half]):
        copy = replace(page, url=_mirror(page.url, number))
        warc.add("response", copy.url, http_response(copy.html.encode(), _headers(copy)), response)
        out.count(page.package, page.language)
    shares = []
    for number, page in enumerate(chosen[half : 2 * half]):
        html, share = near_copy_html(page.html, Draw(f"near {page.url}"))
        shares.append(share)
        copy = replace(page, url=_mirror(page.url, number).replace("mirror.", "old."), html=html)
        warc.add("response", copy.url, http_response(html.encode(), _headers(copy)), response)
        out.count(page.package, page.language)
    for number in range(15):
        kind = SPAM_KINDS[number % len(SPAM_KINDS)]
        host = SPAM_HOSTS[kind][number % len(SPAM_HOSTS[kind])]
        html = spam_page(kind, host, Draw(f"spam page {number}"))
        url = f"http://www.{host}/offer-{number}.html"
        warc.add("response", url, http_response(html.encode(), [("Content-Type", "text/html")]), response)
        out.count(MADE_HERE)
    details["odd_records"] = _odd_records(warc, pages)
    details["encodings"] = encodings
    details["transfers"] = transfers
    details["exact_copies"] = half
    details["near_copies"] = {
        "documents": half,
        "words_changed": [round(min(shares), 4), round(max(shares), 4)],
    }
    details["synthetic_spam_pages"] = 15
    details["record_types"] = dict(sorted(warc.counts.items()))
    out.data, out.records, out.details = warc.getvalue(), len(warc.members), details
    return out


def wet(pages: Pages) -> Output:
    """The text extracts: pages that the WARC doesn't have, some that it has, and copies of some extracts."""
    warc = WarcBuilder(
        "crawl.warc.wet.gz",
        "Text extracted from pages of free documentation at invented addresses; see README.md and LICENSES.",
    )
    out = Output(warc.name, b"", [], 0)

    def add(page: Page, url: str, text: str) -> None:
        extra = [("WARC-Identified-Content-Language", _ISO3[page.language])]
        warc.add("conversion", url, (text + "\n").encode(), "text/plain", extra)
        out.count(page.package, page.language)

    shared = [page for page in pages.web if page.package != "debian:sphinx-doc"][:36]
    for page in ranked("wet-order", [*pages.wet, *shared], lambda page: page.url):
        add(page, page.url, page.text)
    chosen = ranked("wet-copies", [*pages.wet, *shared], lambda page: page.url)
    for number, page in enumerate(chosen[:8]):
        add(page, _mirror(page.url, number), page.text)
    shares = []
    for number, page in enumerate(chosen[8:16]):
        text, share = near_copy(page.text, Draw(f"near wet {page.url}"))
        shares.append(share)
        add(page, _mirror(page.url, number).replace("mirror.", "old."), text)
    out.details = {
        "also_in_web.warc.gz": len(shared),
        "exact_copies": 8,
        "near_copies": {"documents": 8, "words_changed": [round(min(shares), 4), round(max(shares), 4)]},
        "record_types": dict(sorted(warc.counts.items())),
    }
    out.data, out.records = warc.getvalue(), len(warc.members)
    return out


def damaged_warc(pages: Pages) -> Output:
    """A small WARC with three broken members, good pages before and after each but the last."""
    warc = WarcBuilder("damaged.warc.gz", "Pages of free documentation with three broken members among them.")
    out = Output(warc.name, b"", [], 0)
    response = "application/http; msgtype=response"
    broken: list[dict[str, object]] = []

    def member(page: Page) -> bytes:
        return gzip_member(
            warc.record("response", page.url, http_response(page.html.encode(), _headers(page)), response)[1]
        )

    def damage(what: str, data: bytes) -> None:
        broken.append({"what": what, "offset": warc.offset, "bytes": len(data)})
        warc.add_raw(data)

    good = list(pages.damaged)
    titles = []
    for number, page in enumerate(good[:5]):
        warc.add("response", page.url, http_response(page.html.encode(), _headers(page)), response)
        out.count(page.package, page.language)
        titles.append(page_title(page.html))
        if number == 1:
            data = member(good[5])
            middle = len(data) // 2
            damaged = bytes(byte ^ 0x5A for byte in data[middle : middle + 64])
            damage("compressed data overwritten in the middle", data[:middle] + damaged + data[middle + 64 :])
        elif number == 3:
            damage(
                "a gzip member that holds no WARC record", gzip_member(b"this is not a WARC record\r\n" * 40)
            )
    data = member(good[6])
    damage("the file ends inside this member", data[: len(data) * 2 // 3])
    out.details = {"broken_members": broken, "good_pages": titles}
    out.data, out.records = warc.getvalue(), len(warc.members)
    return out
