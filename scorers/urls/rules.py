"""Lists of addresses in the forms they are published in, and which URLs they name.

* *plain*: a line is a host (`example.com`, which names all hosts below it too) or an address with a path
  (`example.com/page`); scheme and a leading `www.` don't count, a trailing `/` neither; `#` begins a remark; the lines
  of a hosts file (`0.0.0.0 example.com`) are hosts.
* *adblock*: `||host^` and `||host/path` (the host and those below it, the path as a beginning), `|https://beginning`,
  parts of an address with `*` and the separator `^`, a leading `@@` for exceptions, `!` for remarks. Rules for parts
  of a page (`##`), regular expressions and rules with options, which are about what a page loads, are passed over and
  counted.

An UT1 category is a folder with the files `domains` and `urls`, both plain.
"""

import gzip
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from tamis.schemas.errors import ConfigError, InputError
from tamis.scorers.urls.automaton import Automaton

__all__ = ["AddressRules", "ListForm", "UrlWords", "split_address"]

ListForm: TypeAlias = Literal["plain", "adblock"]

_SINK = re.compile(r"^(?:0\.0\.0\.0|127\.0\.0\.1|::1?)\s+")
_BARE_HOST = re.compile(r"(?:[a-z0-9_-]+\.)+[a-z0-9_-]+")
_WHOLE_PAGE = {"document", "all", "doc", "important", "popup"}

Urls: TypeAlias = "Sequence[str | None] | pa.Array | pa.ChunkedArray"


def split_address(url: str | None) -> tuple[str, str] | None:
    """Return host (lower case, without `www.`, international names in ASCII) and path with query, or None."""
    text = (url or "").strip()
    if not text:
        return None
    if "://" not in text.split("?", 1)[0]:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").rstrip(".")
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:
        return None
    if not host or " " in host:
        return None
    path = parts.path.rstrip("/")
    return _without_www(host), f"{path}?{parts.query}" if parts.query else path


def _without_www(host: str) -> str:
    """Return a host without a leading `www.`, but for such as www.com: what is left would name all of .com."""
    rest = host.removeprefix("www.")
    return rest if "." in rest else host


def _domains(host: str) -> list[str]:
    """Return a host and the domains above it."""
    labels = host.split(".")
    return [".".join(labels[start:]) for start in range(len(labels))]


class _Names:
    """A set of names as sorted 64-bit hashes: eight bytes each, shared by forked workers."""

    def __init__(self, names: Iterable[str]) -> None:
        self._hashes = np.unique(np.fromiter((xxhash.xxh3_64_intdigest(name.encode()) for name in names), np.uint64))

    def __len__(self) -> int:
        return len(self._hashes)

    def holds(self, names: Sequence[str]) -> npt.NDArray[np.bool_]:
        wanted = np.fromiter((xxhash.xxh3_64_intdigest(name.encode()) for name in names), np.uint64, len(names))
        if not len(self):
            return np.zeros(len(wanted), np.bool_)
        places = np.minimum(np.searchsorted(self._hashes, wanted), len(self) - 1)
        return np.asarray(self._hashes[places] == wanted)


class AddressRules:
    """The rules of one list.

    Args:
        lines: its lines.
        form: how they are written.

    Attributes:
        passed_over: lines that name no address: see the module.

    Raises:
        ConfigError: for another form.
    """

    def __init__(self, lines: Iterable[str], form: ListForm = "plain") -> None:
        hosts: list[str] = []
        pages: list[str] = []
        self._beginnings: dict[str, list[str]] = {}
        self._patterns: list[str] = []
        self._excepted: AddressRules | None = None
        self.passed_over = 0
        exceptions: list[str] = []
        if form not in ("plain", "adblock"):
            msg = f"lists of addresses are plain or adblock, not {form!r}"
            raise ConfigError(msg)
        for raw in lines:
            line = raw.strip().lstrip("\ufeff")
            if form == "plain":
                self._add_plain(line, hosts, pages)
            elif line.startswith("@@"):
                exceptions.append(line[2:])
            else:
                self._add_adblock(line, hosts)
        self._hosts, self._pages = _Names(hosts), _Names(pages)
        if exceptions:
            self._excepted = AddressRules(exceptions, "adblock")
            self.passed_over += self._excepted.passed_over
        self._expression = re.compile("|".join(self._patterns)) if self._patterns else None

    @classmethod
    def read(cls, path: Path, form: ListForm | Literal["any"] = "plain") -> "AddressRules":
        """Read a list, plain or gzipped, or the folder of an UT1 category.

        Args:
            path: of the file or folder.
            form: how it is written; any: Adblock's if a line begins with `||`, else plain.

        Raises:
            InputError: if there is no such list, or it can't be read.
        """
        files = [path]
        if path.is_dir():
            names = ("domains", "urls")
            files = [file for name in names for file in (path / name, path / f"{name}.gz") if file.is_file()]
        lines: list[str] = []
        try:
            for file in files:
                raw = file.read_bytes()
                lines += (gzip.decompress(raw) if file.suffix == ".gz" else raw).decode(errors="replace").splitlines()
        except (OSError, EOFError) as error:
            msg = f"{path} can't be read: {error}"
            raise InputError(msg) from error
        if not files:
            msg = f"{path} holds neither a file `domains` nor `urls`; name a list, or the folder of one category"
            raise InputError(msg)
        if form == "any":
            form = "adblock" if any(line.startswith(("||", "@@||")) for line in lines) else "plain"
        return cls(lines, form)

    def __len__(self) -> int:
        beginnings = sum(map(len, self._beginnings.values()))
        return len(self._hosts) + len(self._pages) + beginnings + len(self._patterns)

    def _add_plain(self, line: str, hosts: list[str], pages: list[str]) -> None:
        if _BARE_HOST.fullmatch(line):  # what lists of millions of lines consist of, without taking it apart
            hosts.append(_without_www(line))
            return
        entry = _SINK.sub("", line.split("#", 1)[0].strip() if not line.startswith("http") else line)
        address = split_address(entry) if entry else None
        if address is None:
            self.passed_over += bool(line and not line.startswith("#"))
        elif address[1]:
            pages.append("".join(address))
        else:
            hosts.append(address[0])

    def _add_adblock(self, line: str, hosts: list[str]) -> None:
        if not line or line.startswith(("!", "[")):
            return
        rule, _, options = line.partition("$")
        parts = {option.strip() for option in options.split(",")} if options else set()
        expression = len(rule) > 1 and rule.startswith("/") and rule.endswith("/")
        if "##" in line or "#@#" in line or "#?#" in line or expression or not parts <= _WHOLE_PAGE:
            self.passed_over += 1
            return
        named = re.fullmatch(r"\|\|([^/*^|?]+)(\^?\|?|/[^*^|]*)", rule)
        if named and split_address(named[1]):
            host = _without_www(named[1].lower())
            path = named[2] if named[2].startswith("/") else ""
            if path.rstrip("/"):
                self._beginnings.setdefault(host, []).append(path)
            else:
                hosts.append(host)
            return
        pattern = re.escape(rule.strip("*")).replace(r"\*", ".*").replace(r"\^", r"(?:[^\w.%-]|$)")
        if pattern.startswith(r"\|\|"):
            pattern = r"^[a-z]+://(?:[^/?#]+\.)?" + pattern[4:]
        elif pattern.startswith(r"\|"):
            pattern = "^" + pattern[2:]
        if pattern.endswith(r"\|"):
            pattern = pattern[:-2] + "$"
        if len(rule.strip("*|^")) < 3:  # it would name nearly everything
            self.passed_over += 1
            return
        self._patterns.append(f"(?:{pattern})")

    def names(self, urls: Urls) -> list[str | None]:
        """Return what of each URL the list names: `host`, `url` or `part`; None if nothing, or what isn't a URL."""
        listed = urls.to_pylist() if isinstance(urls, pa.Array | pa.ChunkedArray) else urls
        found: list[str | None] = [None] * len(listed)
        hosts, host_rows, pages, page_rows = [], [], [], []
        addresses = [split_address(url) for url in listed]
        for row, address in enumerate(addresses):
            if address is None:
                continue
            host, path = address
            domains = _domains(host)
            hosts += domains
            host_rows += [row] * len(domains)
            pages += [host + path, host + path.split("?", 1)[0].rstrip("/")]
            page_rows += [row, row]
        for name, keys, rows, known in (
            ("url", pages, page_rows, self._pages),
            ("host", hosts, host_rows, self._hosts),
        ):
            for at in np.flatnonzero(known.holds(keys)).tolist():
                found[rows[at]] = name
        if self._beginnings or self._expression is not None:
            for row, (url, address) in enumerate(zip(listed, addresses, strict=True)):
                if address is not None and found[row] is None:
                    found[row] = self._by_beginning(url or "", *address)
        if self._excepted is not None:
            for row, excepted in enumerate(self._excepted.names(listed)):
                found[row] = None if excepted else found[row]
        return found

    def _by_beginning(self, url: str, host: str, path: str) -> str | None:
        beginnings = (start for domain in _domains(host) for start in self._beginnings.get(domain, ()))
        if self._beginnings and any(f"{path}/".startswith(beginning) for beginning in beginnings):
            return "url"
        if self._expression is None:
            return None
        whole = url.strip() if "://" in url else f"http://{url.strip()}"
        return "part" if self._expression.search(whole.lower()) or self._expression.search(whole) else None

    def matches(self, urls: Urls) -> npt.NDArray[np.bool_]:
        """Tell for each URL whether the list names it."""
        return np.array([name is not None for name in self.names(urls)], np.bool_)


class UrlWords:
    """Words in URLs: one that is banned is enough, of soft ones it takes several; parts count inside words too.

    A word stands between characters that are no letters or digits. Parts are looked for in the URL without all but
    letters and digits, so that `free-po.rn` holds `porn`.

    Args:
        banned: words of which one is enough.
        soft: words of which `least` different ones are needed.
        parts: what is enough anywhere.
        least: see `soft`.

    Raises:
        ConfigError: if a word is empty or no run of letters and digits.
    """

    def __init__(
        self, banned: Iterable[str] = (), soft: Iterable[str] = (), parts: Iterable[str] = (), *, least: int = 2
    ) -> None:
        lists = [sorted({word.strip().lower() for word in words}) for words in (banned, soft, parts)]
        wrong = [word for words in lists for word in words if not word.isalnum()]
        if wrong:
            msg = f"a word to look for in URLs is letters and digits, not {wrong[0]!r}"
            raise ConfigError(msg)
        self._words = Automaton([*lists[0], *lists[1]], [True] * (len(lists[0]) + len(lists[1])))
        self._parts = Automaton(lists[2], [False] * len(lists[2]))
        self._banned = len(lists[0])
        self._least = least

    def matches(self, urls: Urls) -> list[str | None]:
        """Return for each URL `word:W`, `part:P` or `soft:W+W`, whichever is found first in that order; else None."""
        listed = urls.to_pylist() if isinstance(urls, pa.Array | pa.ChunkedArray) else urls
        texts = [url or "" for url in listed]
        out: list[str | None] = [None] * len(texts)
        soft: dict[int, set[str]] = {}
        for text, pattern, _ in self._words.find(texts).tolist():
            word = self._words.patterns[pattern]
            if pattern < self._banned:
                out[text] = out[text] or f"word:{word}"
            else:
                soft.setdefault(text, set()).add(word)
        squashed = ["".join(filter(str.isalnum, text)) for text in texts]
        for text, pattern, _ in self._parts.find(squashed).tolist():
            out[text] = out[text] or f"part:{self._parts.patterns[pattern]}"
        for text, words in soft.items():
            if len(words) >= self._least:
                out[text] = out[text] or f"soft:{'+'.join(sorted(words))}"
        return out
