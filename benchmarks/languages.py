"""Identifying languages of short texts: fastText's lid.176 beside eldc, with and without the check of scripts.

    taskset -c 1 python benchmarks/languages.py [--data FOLDER] [--each 300]

From each document of the development corpus whose language its source tells (neither guessed nor that of a package),
the first words, so many characters of them; of each language as many texts, drawn with a seed. Accuracy is the mean
over languages, on those that both models know; printed with it are how many texts get a label that isn't written in
their letters, and MB of text a CPU-second. `--data` names the folder with `dev.jsonl.zst` (default: the environment
variable TAMIS_DEV_DATA, else ../shared/data). `--lines` names a file of `code<TAB>text` lines in place of it, such as
the test data of the package eld. eldc is left out where it isn't installed.
"""

import argparse
import importlib.util
import io
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import zstandard

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

from tamis.scorers.language.identify import LanguageIdentifier
from tamis.scorers.language.scripts import ScriptCheck
from tamis.scorers.text.texts import as_buffer

LENGTHS = (15, 30, 60, 120, 500)
FEWEST = 50
"""Documents of a language, at least."""


def known(folder: Path) -> dict[str, list[str]]:
    """Return the texts of each language whose label comes from the source itself."""
    found: dict[str, list[str]] = {}
    with zstandard.open(folder / "dev.jsonl.zst", "rb") as stream:
        for line in io.TextIOWrapper(stream, encoding="utf-8"):
            row = json.loads(line)
            if row["lang_src"] == "source" and row["domain"] != "code":
                found.setdefault(row["lang"], []).append(row["text"])
    return found


def lines_of(path: Path) -> dict[str, list[str]]:
    """Return the texts of each language of a file of `code<TAB>text` lines."""
    found: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        code, _, text = line.partition("\t")
        found.setdefault(code, []).append(text)
    return found


def beginning(text: str, characters: int) -> str:
    """Return the first words, so many characters of them at most (at least one word)."""
    words = " ".join(text[: 40 * characters].split())
    if len(words) <= characters:
        return words
    cut = words.rfind(" ", 0, characters + 1)
    return words[: cut if cut > characters // 2 else characters]


def doubtful(texts: list[str], labels: list[str]) -> int:
    """Return how many labels aren't written in the letters of their texts."""
    names = sorted(set(labels) - {"und"})
    check = ScriptCheck(names)
    rows = [i for i, label in enumerate(labels) if label != "und"]
    buffer = as_buffer([texts[i] for i in rows])
    letters = check.letters(buffer, buffer.offsets[:-1], buffer.offsets[1:])
    return int(check.doubtful(letters, np.array([names.index(labels[i]) for i in rows], np.int64)).sum())


def main() -> None:
    """Print a table for each length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("TAMIS_DEV_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--lines", type=Path)
    parser.add_argument("--each", type=int, default=300, help="texts of a language")
    options = parser.parse_args()
    engines: dict[str, Any] = {
        "lid.176": LanguageIdentifier(),
        "lid.176, scripts checked": LanguageIdentifier(check_scripts=True),
    }
    if importlib.util.find_spec("eldc") is not None:
        engines["eldc"] = LanguageIdentifier(engine="eldc")
        engines["eldc, scripts checked"] = LanguageIdentifier(engine="eldc", check_scripts=True)
    by_language = known(options.data) if options.lines is None else lines_of(options.lines)
    shared = set.intersection(*(set(engine.languages) for engine in engines.values()))
    languages = sorted(code for code, texts in by_language.items() if len(texts) >= FEWEST and code in shared)
    print(f"{len(languages)} languages: {' '.join(languages)}")
    draw = random.Random(7)
    drawn = {code: draw.sample(by_language[code], min(options.each, len(by_language[code]))) for code in languages}
    for characters in LENGTHS:
        texts = [beginning(text, characters) for code in languages for text in drawn[code]]
        gold = [code for code in languages for _ in drawn[code]]
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        print(f"{characters} characters, {len(texts):,} texts")
        for name, engine in engines.items():
            engine.score(texts[:10])
            started = time.process_time()
            labels = engine.score(texts).column(0).to_pylist()
            seconds = time.process_time() - started
            right: dict[str, list[bool]] = {}
            for code, label in zip(gold, labels, strict=True):
                right.setdefault(code, []).append(code == label)
            accuracy = sum(sum(hits) / len(hits) for hits in right.values()) / len(right)
            worst = sorted(right, key=lambda code: sum(right[code]) / len(right[code]))[:3]
            told = ", ".join(f"{code} {sum(right[code]) / len(right[code]):.2f}" for code in worst)
            print(
                f"  {name:<26} accuracy {accuracy:.3f}  other scripts {doubtful(texts, labels):>4}  "
                f"{megabytes / max(seconds, 1e-6):6.1f} MB/s  worst: {told}",
                flush=True,
            )


if __name__ == "__main__":
    main()
