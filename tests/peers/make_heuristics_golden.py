"""Writes tests/golden/heuristics_datatrove.json: what datatrove decides about texts in the public domain.

    python -m tests.peers.make_heuristics_golden FOLDER_OF_DEVELOPMENT_CORPORA

The texts are excerpts of Moby-Dick, the State of the Union addresses, Shakespeare (public domain) and of
Metamath's set.mm (CC0), some of them mutilated so that every kind of rule is met, and the texts that the
kernels' tests use.
"""

import importlib.metadata
import io
import json
import random
import sys
from pathlib import Path

import zstandard

from tests.peers.datatrove_filters import cleaned, reasons, word_count
from tests.scorers.statistics.heuristic_texts import NASTY

SOURCES = ("moby-dick", "sotu", "shakespeare", "metamath-set.mm")
PER_SOURCE = 45
OUTPUT = Path(__file__).resolve().parent.parent / "golden" / "heuristics_datatrove.json"


def excerpts(folder: Path) -> list[str]:
    """Return the first documents of each source, cut to a few hundred characters at a blank."""
    found: dict[str, list[str]] = {source: [] for source in SOURCES}
    with (folder / "dev.jsonl.zst").open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            document = json.loads(line)
            texts = found.get(document["source"])
            if texts is not None and len(texts) < PER_SOURCE:
                size = (400, 700, 1000, 1400)[len(texts) % 4]
                texts.append(document["text"][:size].rsplit(" ", 1)[0])
    return [text for texts in found.values() for text in texts]


def mutilated(text: str, kind: int, random_: random.Random) -> str:
    """Return the text as a page might have it that a rule is about."""
    lines = text.split("\n")
    words = text.split()
    match kind:
        case 0:
            return "\n".join(f"- {line}" for line in lines)
        case 1:
            return "\n".join(f"{line}..." for line in lines)
        case 2:
            return "\n".join(line for line in lines for _ in range(random_.choice((1, 1, 2))))
        case 3:
            return "\n\n".join([text[:200], text[:200], text[200:]])
        case 4:
            return " ".join(words[:40] * 3 + words)
        case 5:
            return text.replace(". ", ".\n").replace("the ", "# ")
        case 6:
            return "\n".join(words)
        case 7:
            return (
                text.replace("\n", " ").replace(". ", ".\n") + "\nPlease enable JavaScript to go on.\nSee [1] there.\n"
            )
        case 8:
            return text + "\nlorem ipsum dolor sit amet.\n"
        case 9:
            return text + '\nvar x = {"a": 1};'
        case 10:
            return "".join(random_.choice("bcdfg") if c in "aeiou" else c for c in text)
        case _:
            return " ".join(f"{word} {random_.randrange(999)} |" for word in words)


def main() -> None:
    """Write the golden file."""
    random_ = random.Random(5)
    plain = excerpts(Path(sys.argv[1]))
    texts = plain[:110] + [mutilated(text, i % 12, random_) for i, text in enumerate(plain[110:])]
    texts += [mutilated(text[:700], i % 12, random_) for i, text in enumerate(plain[:60])]
    texts += [text for text in NASTY if text.strip() and len(text) < 1000]
    documents = [
        {"text": text, "words": word_count(text), "reasons": reasons(text), "cleaned": cleaned(text)} for text in texts
    ]
    made_with = {name: importlib.metadata.version(name) for name in ("datatrove", "spacy")}
    OUTPUT.write_text(
        json.dumps({"made_with": made_with, "documents": documents}, ensure_ascii=False, separators=(",", ":")),
        encoding="utf-8",
    )
    print(len(documents), OUTPUT.stat().st_size)


if __name__ == "__main__":
    main()
