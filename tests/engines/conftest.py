"""Prism, Beam's boot program and a corpus, where they are at hand; nothing here is downloaded."""

import json
import os
import random
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tests.engines.carriers import EMBEDDED, ROOT, external, prism_arguments, tamis, worker_pool

WORDS = ["the", "of", "and", "to", "in", "that", "river", "stone", "bright", "window", "letter", "garden", "winter"]


def at_hand(variable: str, name: str, what: str) -> Path:
    """Return a file that a variable names, or one in shared/engines beside the checkout; skip if there is none."""
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / "engines" / name))
    if not path.exists():
        pytest.skip(f"{what} is absent; name it with {variable}")
    return path


def unzipped(path: Path, folder: Path) -> Path:
    """Return the one program in a zip file, executable."""
    if not zipfile.is_zipfile(path):
        return path
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        program = Path(archive.extract(name, folder))
    program.chmod(0o755)
    return program


@pytest.fixture(scope="session")
def prism_zip() -> Path:
    """Prism as Beam releases it."""
    return at_hand("TAMIS_PRISM", "prism.zip", "Prism, Beam's portable runner (apache_beam-VERSION-prism-OS-ARCH.zip),")


@pytest.fixture(scope="session")
def prism(prism_zip, tmp_path_factory) -> Path:
    """Prism's program: given a zip, Beam would unpack it into the home folder."""
    return unzipped(prism_zip, tmp_path_factory.mktemp("prism"))


@pytest.fixture(scope="session")
def boot(tmp_path_factory) -> Path:
    """The boot program of Beam's container images."""
    found = at_hand("TAMIS_BOOT", "boot.zip", "the boot program of Beam's Python image (/opt/apache/beam/boot)")
    return unzipped(found, tmp_path_factory.mktemp("boot"))


@pytest.fixture
def carrier(request, tmp_path):
    """Return the arguments of an engine by its name; what it needs lives as long as the test."""
    name = request.param
    if name == "pool" or name == "boot":
        prism = request.getfixturevalue("prism")
        boot = request.getfixturevalue("boot") if name == "boot" else None
        with worker_pool(tmp_path / "pool", boot, RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT="1") as (port, _):
            yield prism_arguments(prism, *external(port))
    elif name == "prism":
        yield prism_arguments(request.getfixturevalue("prism"))
    else:
        yield {
            "local": (),
            "two workers": ("--workers", "2"),
            "embed": EMBEDDED,
        }[name]


@pytest.fixture(scope="session")
def corpus(tmp_path_factory) -> Path:
    """Three JSONL files and a Parquet file: 400 documents, copies among them, two broken lines."""
    folder = tmp_path_factory.mktemp("corpus")
    draw = random.Random(5)

    def text():
        lines = (" ".join(draw.choices(WORDS, k=draw.randint(4, 30))).capitalize() for _ in range(draw.randint(1, 6)))
        return ".\n".join(lines) + "."

    texts = [text() for _ in range(320)]
    texts += draw.choices(texts, k=80)
    draw.shuffle(texts)
    for number in range(3):
        mine = texts[number * 100 : number * 100 + 100]
        lines = [json.dumps({"id": f"{number}-{i}", "text": t}) for i, t in enumerate(mine)]
        if number == 1:
            lines[10:10] = ['{"text": ', '{"text": 5}']
        (folder / f"part{number}.jsonl").write_text("\n".join(lines) + "\n")
    pq.write_table(pa.table({"key": [f"p{i}" for i in range(100)], "text": texts[300:]}), folder / "books.parquet")
    return folder


SCORER = """
import os, signal, time
from pathlib import Path
import pyarrow as pa

FAULT = Path(__file__).with_name("fault")


class Letters:
    schema = pa.schema([pa.field("letters", pa.int64(), metadata={"description": "different characters of the text"})])

    def score(self, texts):
        fault = FAULT.read_text() if FAULT.exists() and len(texts) else ""
        if fault == "wait":
            FAULT.with_name(f"waiting-{os.getpid()}").touch()
            while fault == "wait":
                time.sleep(0.1)
                fault = FAULT.read_text() if FAULT.exists() else ""
        if fault == "raise":
            raise MemoryError("the scorer's table doesn't fit")
        if fault == "refuse":
            from tamis.schemas.errors import ModelError
            raise ModelError("letters.bin is damaged: train it again")
        if fault == "end":
            os.kill(os.getpid(), signal.SIGKILL)
        return pa.record_batch([pa.array([len(set(t.as_py() or "")) for t in texts], pa.int64())], schema=self.schema)
"""
"""A user's scorer, which goes wrong as a file beside it says; the config, and so the run, stays the same."""


@pytest.fixture(scope="session")
def session_config(corpus, tmp_path_factory) -> Path:
    """A config over the corpus: an exchange, rules, a user's scorer, and two decisions over the corpus."""
    folder = tmp_path_factory.mktemp("config")
    (folder / "scorer.py").write_text(SCORER)
    plain = {
        "name": "small",
        "seed": 3,
        "inputs": [
            {"path": str(corpus / "*.jsonl"), "source": "web"},
            {"path": str(corpus / "books.parquet"), "source": "books", "id": "key"},
        ],
        "steps": [
            {"exact_dedup": {}},
            {"heuristics": {"presets": ["gopher_quality"]}},
            {"score": {"scorer": f"{folder / 'scorer.py'}:Letters", "column": "letters", "keep": {"fraction": 0.8}}},
        ],
        "output": {"path": "unused", "shard_mb": 0.02},
    }
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(plain))
    return path


@pytest.fixture
def config(session_config) -> Path:
    """The config, with a scorer that works until a file `fault` beside it says otherwise."""
    for path in (session_config.with_name("fault"), *session_config.parent.glob("waiting-*")):
        path.unlink(missing_ok=True)
    return session_config


@pytest.fixture(scope="session")
def local(session_config, tmp_path_factory):
    """The run that all others are compared with: (its folder, how it ended)."""
    folder = tmp_path_factory.mktemp("local")
    session_config.with_name("fault").unlink(missing_ok=True)
    ended = tamis(folder / "told", "run", str(session_config), "-o", str(folder / "run"))
    assert ended.status == 0, ended.err
    return folder / "run", ended
