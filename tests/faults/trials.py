"""Real runs that are stopped in the middle: a scorer that waits at a gate, and processes that are looked for."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from tamis.jobs.cli.app import main; main()"]
SENTENCE = "stopped; what is finished is kept, and the same command goes on from there"
SCORER = '''
import os, time
from pathlib import Path
import numpy as np
import pyarrow as pa

class Gated:
    """Counts letters; at a text that begins with GATE it says so, and waits until it may go on."""

    schema = pa.schema([("letters", pa.int64())])

    def __init__(self, folder):
        self.folder = Path(folder)

    def score(self, texts):
        texts = texts.to_pylist()
        if any(text.startswith("GATE") for text in texts) and not (self.folder / "open").exists():
            (self.folder / f"at-{os.getpid()}").touch()
            while not (self.folder / "open").exists():
                time.sleep(0.02)
        return pa.record_batch([pa.array([len(text) for text in texts], pa.int64())], schema=self.schema)
'''
WORDS = ["river", "stone", "bright", "window", "letter", "garden", "winter", "music", "paper", "silver", "cloud"]


def document(draw, number):
    return {
        "id": str(number),
        "text": "\n".join(" ".join(draw.choices(WORDS, k=12)) for _ in range(draw.randint(1, 6))),
    }


@dataclass
class Trial:
    """A corpus of four small inputs, a config over it, and the runs made of it.

    `root` is where the folders of runs are; `expected` what an undisturbed run gave.
    """

    folder: Path
    root: Path
    expected: dict = field(default_factory=dict)
    processes: list = field(default_factory=list)

    @property
    def gate(self):
        return self.folder / "gate"

    @property
    def config(self):
        return self.folder / "config.yaml"

    def plain(self, **changes):
        return yaml.safe_load(self.config.read_text()) | changes

    def command(self, output, workers, *more):
        return [*COMMAND, "run", self.config, "-o", self.root / output, "-w", str(workers), *more]

    def start(self, output, workers=1, *more, under=(), **environment):
        """Start a run as the leader of a session of its own."""
        command = [*under, *map(str, self.command(output, workers, *more))]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT / "src")} | environment,
        )  # fmt: skip
        self.processes.append(process)
        return process

    def at_gate(self, process, number=1):
        """Wait until so many processes wait at the gate; return their ids."""
        for _ in range(1200):
            found = [int(path.name[3:]) for path in self.gate.glob("at-*")]
            found = [pid for pid in found if Path(f"/proc/{pid}").exists()]
            if len(found) >= number:
                return found
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.05)
        raise TimeoutError("nobody came to the gate")

    def open(self):
        (self.gate / "open").touch()

    def close(self):
        for path in self.gate.iterdir():
            path.unlink()

    def ended(self, process, seconds=120):
        """Wait for the end; return what was told on stderr."""
        _, told = process.communicate(timeout=seconds)
        return told

    def run(self, output, workers=1, *more, **environment):
        """Run to the end; return exit status and stderr."""
        process = self.start(output, workers, *more, **environment)
        told = self.ended(process)
        return process.returncode, told

    def end(self):
        """Kill what is left."""
        for process in self.processes:
            for pid in session(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.kill()
            process.communicate()

    def digests(self, output):
        plain = json.loads((self.root / output / "manifest.json").read_text())
        return {shard["path"]: shard["sha256"] for shard in plain["shards"]}


def session(leader):
    """Return the living processes of a session."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def caught(pid, number):
    """Return whether a process looks at a signal by itself."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(status.partition("SigCgt:")[2].split()[0], 16)
    # Python itself looks at SIGINT from its start on, but at the others only when told.
    return all(mask >> (n - 1) & 1 for n in (number, signal.SIGTERM))


def gone(leader, seconds=5.0):
    """Return whether a session has no process after so many seconds."""
    until = time.monotonic() + seconds
    while session(leader):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def make_trial(folder):
    """Make corpus, scorer and config."""
    made = Trial(folder, folder)
    made.gate.mkdir()
    (folder / "scorer.py").write_text(SCORER)
    (folder / "corpus").mkdir()
    draw = random.Random(7)
    for number in range(4):
        documents = [document(draw, f"{number}-{i}") for i in range(60)]
        documents[30]["text"] = "GATE " + documents[30]["text"]
        documents[40] = documents[3] | {"id": f"{number}-40"}
        lines = [json.dumps(one) for one in documents]
        (folder / "corpus" / f"part{number}.jsonl").write_text("\n".join(lines) + "\n")
    plain = {
        "name": "faults",
        "inputs": [{"path": str(folder / "corpus" / f"part{n}.jsonl"), "source": f"s{n}"} for n in range(4)],
        "steps": [
            {"exact_dedup": {}},
            {
                "score": {
                    "scorer": f"{folder / 'scorer.py'}:Gated",
                    "options": {"folder": str(made.gate)},
                    "column": "letters",
                    "keep": {"fraction": 0.5},
                }
            },
        ],
        "output": {"shard_mb": 0.01},
    }
    made.config.write_text(yaml.safe_dump(plain))
    return made
