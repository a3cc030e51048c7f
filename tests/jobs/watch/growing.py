"""A corpus that grows, for tests: a folder of files, a config, and passes over it."""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tamis.jobs.run.execute import execute
from tamis.jobs.run.paths import places_of
from tamis.jobs.run.plan import make_plan
from tamis.jobs.watch.compact import Compacted, compact
from tamis.jobs.watch.increment import Event, Grown, Stood, Told, watched
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.manifest import Manifest

__all__ = ["Growing", "names", "shard_bytes", "texts_of"]

WORDS = ["the", "of", "and", "to", "in", "that", "river", "stone", "bright", "window", "letter", "garden", "winter"]
WORDS += ["music", "paper", "silver", "cloud", "table"]
SCORER = """
import pyarrow as pa
class Share:
    schema = pa.schema([pa.field("share", pa.float64(), nullable=False)])
    def score(self, texts):
        texts = [text or "" for text in pa.array(texts).to_pylist()]
        shares = [text.count("e") / max(1, len(text)) for text in texts]
        return pa.RecordBatch.from_arrays([pa.array(shares)], schema=self.schema)
"""


def texts_of(number: int, seed: int = 1, copies: float = 0.2) -> list[str]:
    """Return texts of which some come twice and some resemble others."""
    draw = random.Random(seed)
    texts: list[str] = []
    for _ in range(number):
        if texts and draw.random() < copies:
            words = draw.choice(texts).split()
            if draw.random() < 0.5:
                words[draw.randrange(len(words))] = "different"
            texts.append(" ".join(words))
        else:
            texts.append(" ".join(draw.choices(WORDS, k=draw.randint(20, 60))))
    return texts


class Growing:
    """A folder `in` of JSONL files, and a corpus made of what is there.

    Args:
        root: where both go.
        steps: of the config.
        watch: its section.
        changes: other keys of the config.
    """

    def __init__(self, root: Path, steps: Sequence[Any], watch: dict[str, Any] | None = None, **changes: Any):
        self.root = root
        self.corpus = root / "corpus"
        self.inputs = root / "in"
        self.inputs.mkdir(parents=True, exist_ok=True)
        (root / "mine.py").write_text(SCORER)
        self.plain: dict[str, Any] = {
            "name": "grown",
            "inputs": [{"path": "in/*.jsonl", "source": "web", "id": "id"}],
            "steps": list(steps),
            "output": {"shard_mb": 0.005},
            **changes,
        }
        if watch is not None:
            self.plain["watch"] = watch
        self.workers = 1
        self.written = 0

    def put(self, name: str, texts: Sequence[str], **fields: Any) -> Path:
        """Write a file of new documents."""
        path = self.inputs / name
        rows = []
        for text in texts:
            rows.append({"id": f"d{self.written}", "text": text, **fields})
            self.written += 1
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    def engine(self, folder: str) -> Engine:
        """Return an engine whose scratch lies in a run's folder."""
        return Engine(f"{folder}/work/passes", workers=self.workers)

    def events(self, **options: Any) -> Iterator[Event]:
        """Yield what happens in one pass."""
        places = places_of(str(self.root / "config.yaml"))
        config = parse_config(self.plain)
        with watched(str(self.corpus), config, self.plain, places, self.engine, **options) as corpus:
            yield from corpus.run_once()

    def watch(self, **options: Any) -> list[Event]:
        """Make one pass, and return what happened."""
        return list(self.events(**options))

    def grow(self, **options: Any) -> Manifest:
        """Make one pass, and return the corpus's manifest."""
        *_, last = self.watch(**options)
        assert isinstance(last, Stood)
        assert last.corpus is not None
        return last.corpus

    def told(self, **options: Any) -> list[str]:
        """Make one pass, and return the sentences that matter."""
        return [event.text for event in self.watch(**options) if isinstance(event, Told) and event.matters]

    def compact(self, **options: Any) -> Compacted:
        """Merge the increments."""
        return compact(str(self.corpus), self.engine, **options)

    def one_run(self, folder: str = "one", **changes: Any) -> Path:
        """Run the config over all that is there; return the run's folder."""
        plain = {**self.plain, **changes}
        output = self.root / folder
        plan = make_plan(parse_config(plain), plain, str(self.root / "config.yaml"))
        execute(plan, str(output), self.engine(str(output)))
        return output


def names(events: Sequence[Event]) -> list[str]:
    """Return the increments that joined."""
    return [event.name for event in events if isinstance(event, Grown)]


def shard_bytes(run: Path) -> dict[str, bytes]:
    """Return all that a run selected, rejected, or couldn't read, by path."""
    return {
        str(path.relative_to(run)): path.read_bytes()
        for fate in ("selected", "rejected", "errors")
        for path in sorted((run / fate).rglob("*.parquet"))
    }
