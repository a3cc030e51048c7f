"""Soak: kills, signals, damage and resumes of real runs, whose bytes must stay those of an undisturbed one.

    python benchmarks/soak.py [--trials 60] [--seed 1] [--folder FOLDER]

Each trial starts the same command on a folder with one or two workers, and does something to it at a random moment:
kills the driver, its group or a worker, sends SIGINT, SIGTERM or SIGHUP to the driver or its group, damages files of
the work folder between runs or while one works, or leaves it alone. A run that ends is held against the digests of an
undisturbed run; one that doesn't must leave no process and no traceback, and the next trial goes on in its folder.
Now and then a finished folder gets another share to keep, or a new folder is begun. Exit status 1 if anything was off.
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.faults.damage import KINDS, damage, damageable
from tests.faults.trials import SENTENCE, caught, document, gone, make_trial, session

PASSES = 22
LIMIT = 240.0
SIGNALS = {"INT": signal.SIGINT, "TERM": signal.SIGTERM, "HUP": signal.SIGHUP}
FAULTS = {
    "nothing": 1, "kill driver": 2, "kill group": 2, "kill worker": 3, "damage at rest": 3, "damage at work": 3,
    **{f"SIG{name} to {target}": 1 for name in SIGNALS for target in ("driver", "group")},
}  # fmt: skip


class Soak:
    """The trials."""

    def __init__(self, folder: Path, seed: int):
        self.draw = random.Random(seed)
        self.trial = make_trial(folder)
        self.trial.open()
        plain = self.trial.plain()
        target = folder / "target.jsonl"
        target.write_text("".join(json.dumps(document(self.draw, i)) + "\n" for i in range(20)))
        dsir = {"target": str(target), "buckets": 50, "min_tokens": 1, "keep": {"fraction": 0.5}}
        plain["steps"].append({"dsir": dsir})
        self.trial.config.write_text(yaml.safe_dump(plain))
        self.share = 0.5
        self.number = 0
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.expected = {}
        for share in (0.5, 0.8):
            status, told = self.trial.run(f"plain{share}", 1, *self.set(share))
            if status:
                raise SystemExit(told)
            self.expected[share] = self.trial.digests(f"plain{share}")

    def set(self, share: float) -> tuple[str, str]:
        """Return the arguments that change the share to keep."""
        steps = self.trial.plain()["steps"]
        steps[1]["score"]["keep"] = {"fraction": share}
        return "--set", f"steps={json.dumps(steps)}"

    @property
    def output(self) -> str:
        """The folder at hand."""
        return f"run{self.number}"

    def one(self) -> str:
        """Do one trial; return what happened."""
        draw = self.draw
        fault = draw.choices(list(FAULTS), list(FAULTS.values()))[0]
        workers = draw.choice([1, 2])
        work = self.trial.folder / self.output / "work"
        manifest = self.trial.folder / self.output / "manifest.json"
        if manifest.exists():
            if draw.random() < 0.3:
                self.number += 1
                work = self.trial.folder / self.output / "work"
            else:
                manifest.unlink()
                self.share = draw.choice([0.5, 0.8])
        if fault == "damage at rest" and work.exists():
            for path in draw.sample(found := damageable(work), min(len(found), draw.randint(1, 6))):
                damage(path, draw.choice(list(KINDS)), draw)
        process = self.trial.start(self.output, workers, *self.set(self.share))
        # A run tells of its passes, so the moment is one of the run and not of its start.
        lines_now = _Lines(process)
        passes, pause = draw.randrange(PASSES), draw.random() * 0.4
        hit = lines_now.wait(passes) and fault not in ("nothing", "damage at rest")
        if hit:
            time.sleep(pause)
            self.strike(fault, process, work)
        ended = lines_now.ended(LIMIT)
        told = "".join(lines_now.lines)
        what = f"{workers} workers, {fault}{f' after {passes} passes' if hit else ''}: "
        if not ended:
            self.wrong.append(f"{what} it hung\n{told}")
            process.kill()
            return what + "HUNG"
        result = self.judge(fault if hit else "", process, told)
        self.counts[f"{fault if hit or fault == 'damage at rest' else 'nothing'}: {result}"] += 1
        return what + result

    def strike(self, fault: str, process, work: Path) -> None:
        """Do it to a running run."""
        while fault.startswith("SIG") and process.poll() is None and not caught(process.pid, signal.SIGTERM):
            time.sleep(0.01)  # before that it isn't our program yet, but Python on its way to it
        draw = self.draw
        try:
            if fault == "kill driver":
                process.kill()
            elif fault == "kill group":
                os.killpg(process.pid, signal.SIGKILL)
            elif fault == "kill worker":
                others = [p for p in session(process.pid) if p != process.pid and not _is_tracker(p)]
                if others:
                    os.kill(draw.choice(others), signal.SIGKILL)
            elif fault == "damage at work":
                found = damageable(work) if work.exists() else []
                for path in draw.sample(found, min(len(found), draw.randint(1, 2))):
                    damage(path, draw.choice(list(KINDS)), draw)
            elif fault.startswith("SIG"):
                name, _, target = fault[3:].partition(" to ")
                (os.kill if target == "driver" else os.killpg)(process.pid, SIGNALS[name])
        except (ProcessLookupError, FileNotFoundError):
            pass  # the run was faster

    def judge(self, fault: str, process, told: str) -> str:
        """Return how a run ended; note what is wrong with that."""
        status = process.returncode
        problems = []
        if not gone(process.pid):
            problems.append(f"processes left: {session(process.pid)}")
        if "Traceback" in told or "Warning" in told:
            problems.append("a traceback or warning")
        last = told.splitlines()[-1] if told else ""
        result = f"exit {status}"
        if status == 0:
            if self.trial.digests(self.output) != self.expected[self.share]:
                problems.append("other bytes")
            result = "same bytes"
        elif fault.startswith("SIG"):
            number = SIGNALS[fault[3:].partition(" to ")[0]]
            if status != 128 + number or last != f"tamis: {SENTENCE}":
                problems.append(f"exit {status} of a signal")
        elif status == 1:
            if not last.startswith("tamis: "):
                problems.append("no sentence")
            elif fault not in ("kill worker", "damage at work"):
                problems.append("a failure of its own")
            result = "one sentence"
        elif not (status == -signal.SIGKILL and fault.startswith("kill")):
            problems.append(f"exit {status}")
        self.wrong += [f"{problem} ({fault}, {self.output})\n{told}" for problem in problems]
        return ", ".join([result, *problems])


class _Lines:
    """The lines of a run's stderr, read as they come."""

    def __init__(self, process):
        self.lines: list[str] = []
        self._process = process
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._process.stderr:
            self.lines.append(line)  # each as it comes

    def wait(self, count: int) -> bool:
        while len(self.lines) < count and self._reader.is_alive():
            time.sleep(0.01)
        return self._process.poll() is None

    def ended(self, seconds: float) -> bool:
        self._reader.join(seconds)
        if self._reader.is_alive():
            return False
        self._process.wait(seconds)
        return True


def _is_tracker(pid: int) -> bool:
    try:
        return b"resource_tracker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    for number in SIGNALS.values():  # runs inherit what is ignored, as under nohup
        signal.signal(number, signal.SIG_DFL)
    with tempfile.TemporaryDirectory(prefix="soak-") as own:
        folder = arguments.folder or Path(own)
        folder.mkdir(parents=True, exist_ok=True)
        soak = Soak(folder, arguments.seed)
        try:
            for number in range(arguments.trials):
                print(f"{number + 1}: {soak.one()}", flush=True)
            status, told = soak.trial.run(soak.output, 2, *soak.set(soak.share))
            if status or soak.trial.digests(soak.output) != soak.expected[soak.share]:
                soak.wrong.append(f"the last resume: exit {status}\n{told}")
        finally:
            soak.trial.end()
    for what, count in sorted(soak.counts.items()):
        print(f"{count:4d}  {what}")
    print(f"{arguments.trials} trials, {len(soak.wrong)} of them wrong")
    for problem in soak.wrong:
        print(f"--- {problem}")
    return bool(soak.wrong)


if __name__ == "__main__":
    sys.exit(main())
