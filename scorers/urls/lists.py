"""Lists of sites and pages in the form of the UT1 (Toulouse) blocklists, and which URLs they name.

A category is a folder such as `adult` with the files `domains` (a host a line) and `urls` (an address without its
scheme a line), plain or gzipped. OSCAR has tagged documents with them in two ways:

* `22.01`: the host must be a line of `domains` exactly (`www.x` isn't `x`), or host and path a line of `urls`;
* `23.01`: the host, or any domain above it but the top level, must be a line of `domains`; or scheme, host and path a
  line of `urls`, whose lines count as `https://` (so no page with `http://` matches them).

Query and fragment never count.
"""

import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from tamis.schemas.errors import ConfigError, InputError

__all__ = ["Semantics", "UrlList", "host_of"]

Semantics = Literal["22.01", "23.01"]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ftp": 21, "ws": 80, "wss": 443}


class _Address(NamedTuple):
    scheme: str
    host: str
    port: str
    path: str


def host_of(url: str | None) -> str:
    """Return the host of a URL in lower case, international names in their ASCII form; "" if there is none."""
    address = _parse(url)
    return address.host if address else ""


def _parse(url: str | None) -> _Address | None:
    """Parse a URL; one without a scheme is tried with `https://` in front."""
    text = (url or "").strip()
    if not text:
        return None
    for attempt in (text, f"https://{text}"):
        try:
            parts = urlsplit(attempt)
            host, port = parts.hostname, parts.port
        except ValueError:
            continue
        if parts.scheme and host and "://" in attempt[: len(parts.scheme) + 3]:
            shown = "" if port is None or _DEFAULT_PORTS.get(parts.scheme) == port else f":{port}"
            return _Address(parts.scheme, _ascii(host), shown, _path(parts))
    return None


def _path(parts: SplitResult) -> str:
    return parts.path or "/"


def _ascii(host: str) -> str:
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:
        return host


class UrlList:
    """One category of a blocklist, as sorted 64-bit hashes: eight bytes an entry, shared by forked workers.

    Attributes:
        semantics: which way of matching it follows.
        parents: whether a domain stands for those below it.
    """

    def __init__(
        self,
        domains: Iterable[str],
        urls: Iterable[str] = (),
        *,
        semantics: Semantics = "23.01",
        parents: bool | None = None,
    ) -> None:
        """Build the list.

        Args:
            domains: hosts.
            urls: addresses.
            semantics: `22.01` or `23.01`; see the module.
            parents: match domains above the host; None as the semantics has it.

        Raises:
            ConfigError: for other semantics.
        """
        if semantics not in ("22.01", "23.01"):
            msg = f"a URL list is matched as in 22.01 or 23.01, not {semantics!r}"
            raise ConfigError(msg)
        self.semantics = semantics
        self.parents = semantics == "23.01" if parents is None else parents
        self._domains = _hashes(_ascii(line.strip().lower()) for line in domains)
        self._urls = _hashes(line.strip() if semantics == "22.01" else _with_scheme(line) for line in urls)

    @classmethod
    def read(cls, folder: Path, *, semantics: Semantics = "23.01", parents: bool | None = None) -> "UrlList":
        """Read a category's folder; either of its files may be missing.

        Raises:
            InputError: if both are, or one isn't text.
        """
        found = {name: _file(folder, name) for name in ("domains", "urls")}
        if not any(found.values()):
            msg = (
                f"{folder} holds neither a file `domains` nor `urls`; name the folder of one category, such as "
                "blacklists/adult"
            )
            raise InputError(msg)
        lines = {name: [] if path is None else _lines(path) for name, path in found.items()}
        return cls(lines["domains"], lines["urls"], semantics=semantics, parents=parents)

    def matches(self, urls: "Sequence[str | None] | pa.Array | pa.ChunkedArray") -> npt.NDArray[np.bool_]:
        """Tell for each URL whether the list names it; what isn't a URL is never named."""
        listed = urls.to_pylist() if isinstance(urls, pa.Array | pa.ChunkedArray) else urls
        rows: list[int] = []
        keys: list[int] = []
        pages: list[int] = []
        page_rows: list[int] = []
        for row, url in enumerate(listed):
            address = _parse(url)
            if address is None:
                continue
            for domain in self._candidates(address.host):
                rows.append(row)
                keys.append(_hash(domain))
            page_rows.append(row)
            pages.append(_hash(self._page(address)))
        result = np.zeros(len(listed), np.bool_)
        result[np.array(rows, np.int64)[_among(keys, self._domains)]] = True
        result[np.array(page_rows, np.int64)[_among(pages, self._urls)]] = True
        return result

    def _candidates(self, host: str) -> list[str]:
        """Return the domains of which one must be on the list: the host, and with `parents` those above it."""
        if not self.parents:
            return [host]
        labels = host.split(".")
        return [".".join(labels[start:]) for start in range(max(len(labels) - 1, 1))]

    def _page(self, address: _Address) -> str:
        if self.semantics == "22.01":
            return address.host + address.path
        return f"{address.scheme}://{address.host}{address.port}{address.path}"


def _with_scheme(line: str) -> str:
    """Return a line of `urls` as the 23.01 matching compares it."""
    address = _parse(line)
    return f"{address.scheme}://{address.host}{address.port}{address.path}" if address else ""


def _file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _lines(path: Path) -> list[str]:
    try:
        raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        msg = f"{path} can't be read: {error}"
        raise InputError(msg) from error
    return raw.decode(errors="replace").splitlines()  # UT1 has some lines in Latin-1: they match nothing


def _hash(text: str) -> int:
    return xxhash.xxh3_64_intdigest(text.encode(errors="surrogatepass"))


def _hashes(lines: Iterable[str]) -> npt.NDArray[np.uint64]:
    return np.unique(np.fromiter((_hash(line) for line in lines if line), np.uint64))


def _among(keys: list[int], known: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
    wanted = np.array(keys, np.uint64)
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    places = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.asarray(known[places] == wanted)
