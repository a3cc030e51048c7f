"""Finished runs for the tests of mixtures, made by hand."""

import random
from pathlib import Path
from typing import Any

from tamis.jobs.mix.materialise import Mixed, materialise
from tamis.pipeline.graph.engine import Engine
from tamis.schemas.base import validate
from tamis.schemas.mixture import MixtureConfig
from tamis.scorers.text.identity import doc_id
from tests.jobs.handmade import make_run

WORDS = {
    "web": ["click", "here", "for", "more", "news", "about", "the", "weather", "today", "page", "link", "site", "home"],
    "books": ["she", "walked", "slowly", "through", "the", "old", "garden", "and", "thought", "of", "winter", "rain"],
    "code": ["def", "return", "self", "import", "class", "value", "None", "True", "for", "in", "range", "print"],
}


def documents(sizes: dict[str, int], *, seed: int = 0, words: tuple[int, int] = (5, 60)) -> list[Any]:
    """So many documents of each source, of words of its own."""
    found = []
    for source, number in sizes.items():
        draw = random.Random(f"{seed} {source}")
        for i in range(number):
            pool = WORDS.get(source, WORDS["web"])
            lines = [" ".join(draw.choices(pool, k=draw.randint(*words))) for _ in range(draw.randint(1, 3))]
            found.append((doc_id(source, str(i)), source, "\n".join(lines), None))
    return found


def run_of(folder: Path, sizes: dict[str, int], **options: Any) -> Path:
    """A finished run that selected so many documents of each source."""
    make_run(folder, documents(sizes, **options))
    return folder


def mix(run: Path, folder: Path, *, workers: int = 1, fresh: bool = False, **keys: Any) -> Mixed:
    """Materialise a mixture with some keys of the config."""
    plain = {"exhausted": "repeat", **keys}
    with Engine(str(folder / "work" / "passes"), workers=workers) as engine:
        config = validate(MixtureConfig, plain, "mixture")
        return materialise(str(run), config, plain, str(folder), engine, fresh=fresh)
