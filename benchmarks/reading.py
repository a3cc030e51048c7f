"""Reading: WARC to text and JSONL to record batches, each beside the bare libraries, on one core.

    python benchmarks/reading.py [--data FOLDER] [--rounds 3] [--core 1]

Reported are CPU-seconds, the least of some rounds. `--data` names the folder with `dev.warc.gz` and `dev.jsonl.zst`
(default: the environment variable TAMIS_DEV_DATA, else ../shared/data beside the repository). The bare WARC loop is
fastwarc's iterator and resiliparse on bytes decoded as UTF-8, without recovery, limits, ids or tables; the bare JSONL
loop is zstd, a split at line ends and orjson, then the texts as an Arrow array.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import orjson
import pyarrow as pa
import zstandard
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.storage import filesystem
from tamis.scorers.extraction.html import ExtractOptions, html_to_text
from tamis.scorers.text.encoding import decode


def pages(path: Path) -> list[bytes]:
    with path.open("rb") as stream:
        records = ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True)
        return [record.reader.read() for record in records]


def bare_warc(path: Path) -> int:
    """Return the characters of text."""
    characters = 0
    with path.open("rb") as stream:
        for record in ArchiveIterator(stream, record_types=WarcRecordType.response, parse_http=True):
            html = record.reader.read().decode("utf-8", "replace")
            text = extract_plain_text(html, main_content=True, alt_texts=False, comments=False, post_meta=False)
            characters += len(text)
    return characters


def bare_jsonl(path: Path) -> int:
    """Return the bytes of text."""
    size = 0
    rest = b""
    texts: list[str] = []
    with path.open("rb") as stream, zstandard.ZstdDecompressor().stream_reader(stream) as plain:
        while block := plain.read(1 << 20):
            *lines, rest = (rest + block).split(b"\n")
            texts += [orjson.loads(line)["text"] for line in lines]
            if len(texts) >= 2000:
                size += pa.array(texts, pa.large_string()).nbytes
                texts = []
    return size + pa.array(texts, pa.large_string()).nbytes


def tamis(path: Path) -> tuple[int, int]:
    """Return documents and bytes of text."""
    options = ReadOptions()
    rows = size = 0
    for split in plan_splits(filesystem.info(str(path)), options):
        for batch in read_split(split, "benchmark", options):
            rows += batch.documents.num_rows
            size += batch.documents.column("text").nbytes
    return rows, size


def fastest(function: Callable[[], object], rounds: int) -> float:
    """Return the least CPU-seconds of some calls."""
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        function()
        seconds.append(time.process_time() - began)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of reading")
    parser.add_argument("--data", default=os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"), type=Path)
    parser.add_argument("--rounds", default=3, type=int)
    parser.add_argument("--core", default=1, type=int)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {arguments.core})

    warc, jsonl = arguments.data / "dev.warc.gz", arguments.data / "dev.jsonl.zst"
    html = pages(warc)
    megabytes = sum(map(len, html)) / 1e6
    html_to_text("<p>compiles or loads the kernels</p>")
    print(f"{warc.name}: {len(html)} pages, {megabytes:.1f} MB of HTML")
    for label, function in {
        "bare fastwarc + resiliparse": lambda: bare_warc(warc),
        "tamis, WARC to batches": lambda: tamis(warc),
    }.items():
        seconds = fastest(function, arguments.rounds)
        print(f"  {label:30} {megabytes / seconds:7.1f} MB HTML/s {len(html) / seconds:7.0f} pages/s")

    try:
        import trafilatura
    except ImportError:
        print("  trafilatura isn't installed")
    else:
        few = html[::12]
        part = sum(map(len, few)) / 1e6
        bare = fastest(lambda: [trafilatura.extract(decode(page).text) for page in few], 1)
        print(f"  {'bare trafilatura':30} {part / bare:7.1f} MB HTML/s {len(few) / bare:7.0f} pages/s")
        began = time.perf_counter()  # its work is done in a child process, whose CPU-seconds aren't ours
        for page in few:
            html_to_text(decode(page).text, ExtractOptions(engine="trafilatura"))
        wall = time.perf_counter() - began
        print(f"  {'tamis with trafilatura (wall)':30} {part / wall:7.1f} MB HTML/s {len(few) / wall:7.0f} pages/s")

    rows, size = tamis(jsonl)
    print(f"{jsonl.name}: {rows} documents, {size / 1e6:.1f} MB of text")
    for label, function in {
        "bare zstd + orjson + Arrow": lambda: bare_jsonl(jsonl),
        "tamis, JSONL to batches": lambda: tamis(jsonl),
    }.items():
        seconds = fastest(function, arguments.rounds)
        print(f"  {label:30} {size / 1e6 / seconds:7.1f} MB text/s {rows / seconds:7.0f} documents/s")


if __name__ == "__main__":
    main()
