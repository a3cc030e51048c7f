"""Work files prove themselves: whatever is damaged is said and made again, and the result is what it was."""

import json
import random
from pathlib import Path

import pytest

from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tamis.schemas.errors import TamisError
from tests.faults.damage import KINDS, damage, damageable
from tests.faults.trials import document, make_trial


class Told:
    """What a run tells its user; may do something between passes."""

    def __init__(self, between=None):
        self.notes = []
        self.reused = {}
        self._between = between
        self._label = ""

    def plan(self, passes):
        pass

    def start(self, label, total):
        self._label = label

    def update(self, done):
        pass

    def finish(self, reused=0):
        self.reused[self._label] = reused
        if self._between is not None:
            self._between(self._label)

    def note(self, text):
        self.notes.append(text)


class Runs:
    """Runs of one config into one folder, with another share to keep now and then."""

    def __init__(self, folder):
        trial = make_trial(folder)
        trial.open()
        self.output = folder / "run"
        self.work = self.output / "work"
        self._plain = trial.plain()
        draw = random.Random(1)
        target = folder / "target.jsonl"
        target.write_text("".join(json.dumps(document(draw, i)) + "\n" for i in range(20)))
        self._plain["steps"].append(
            {"dsir": {"target": str(target), "buckets": 50, "min_tokens": 1, "keep": {"fraction": 0.5}}}
        )
        self.expected = {}
        for fraction in (0.5, 0.8):
            self.expected[fraction] = self.digests(self.run(fraction, folder / f"plain{fraction}"))
        assert self.expected[0.5] != self.expected[0.8]

    def run(self, fraction=0.5, output=None, told=None):
        output = output or self.output
        self._plain["steps"][1]["score"]["keep"] = {"fraction": fraction}
        engine = Engine(f"{output}/work/passes", progress=told)
        return execute(make_plan(parse_config(self._plain), self._plain), str(output), engine).manifest

    def again(self, fraction=0.5, told=None):
        """Run where there is work to do."""
        (self.output / "manifest.json").unlink(missing_ok=True)
        return self.run(fraction, told=told)

    def in_the_end(self, fraction, told=None):
        """Run; once more if one sentence says what was damaged."""
        said = ""
        try:
            return self.again(fraction, told)
        except TamisError as error:
            said = str(error)
        assert "\n" not in said
        assert "is damaged" in said or "run the same command again" in said
        return self.again(fraction)

    @staticmethod
    def digests(manifest):
        return {shard.path: shard.sha256 for shard in manifest.shards}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    made = Runs(tmp_path_factory.mktemp("damage"))
    made.run()
    return made


# What every run writes anew, and what is read only where something else is missing.
NOT_READ = ("/exchange/", "/inputs/files-", "/pool/")


@pytest.mark.parametrize("notes", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_damage_to_a_file_of_every_folder_is_said_and_made_again(runs, kind, notes):
    draw = random.Random(kind)
    folders = {}
    for path in damageable(runs.work):
        if (path.suffix == ".value") == notes:  # where a note is damaged, what it is about is made again unread
            folders.setdefault(path.parent, []).append(path)
    assert len(folders) > (2 if notes else 14)
    damaged = [path for paths in folders.values() if damage(path := draw.choice(paths), kind, draw)]
    told = Told()
    manifest = runs.again(told=told)
    assert runs.digests(manifest) == runs.expected[0.5]
    said = " ".join((*told.notes, *manifest.warnings))
    names = [str(path.relative_to(runs.output)) for path in damaged]
    # A shard's files of one step are written together: where one is damaged, the others aren't looked at.
    told_of = {Path(name).name for name in names if name in said}
    silent = [name for name in names if Path(name).name not in told_of and not any(part in name for part in NOT_READ)]
    # What is missing isn't damaged: it is just made.
    assert kind == "delete" or not silent


@pytest.mark.parametrize("kind", ["flip", "cut", "delete"])
def test_a_model_damaged_after_its_fit_is_fitted_again(runs, kind):
    hits = []

    def between(label):
        if label == "dsir: fit" and not hits:
            path = next(runs.work.glob("*-dsir-fit-*/model/*.value"))
            hits.append(damage(path, kind, random.Random(3)))
            next(runs.work.glob("*-dsir-columns-*/*")).unlink()

    told = Told(between)
    assert runs.digests(runs.again(told=told)) == runs.expected[0.5]
    assert hits == [True]
    assert any("-dsir-fit-" in text and "made again" in text for text in told.notes)


def swap(one, other):
    first = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(first)


@pytest.mark.parametrize("suffix", [".arrow", ".value"])
def test_intact_files_that_took_each_others_places_are_made_again(runs, suffix):
    """All files of each folder that has several, and across folders where the names are alike."""
    folders = {}
    for path in damageable(runs.work):
        if path.suffix == suffix:
            folders.setdefault(path.parent, []).append(path)
    swapped = [paths for paths in folders.values() if len(paths) > 1]
    assert swapped
    for first, second, *_ in swapped:
        swap(first, second)
    told = Told()
    manifest = runs.again(told=told)
    assert runs.digests(manifest) == runs.expected[0.5]
    said = " ".join((*told.notes, *manifest.warnings))
    assert "it is another file under this name" in said


@pytest.mark.parametrize("seed", range(3))
def test_many_files_damaged_at_once(runs, seed):
    draw = random.Random(seed)
    found = damageable(runs.work)
    for path in draw.sample(found, len(found) // 3):
        damage(path, draw.choice(list(KINDS)), draw)
    fraction = draw.choice([0.5, 0.8])
    manifest = runs.in_the_end(fraction)
    assert runs.digests(manifest) == runs.expected[fraction]


@pytest.mark.parametrize("seed", range(4))
def test_files_damaged_while_a_run_goes_on(runs, seed):
    draw = random.Random(100 + seed)
    hits = []

    def between(label):
        if draw.random() < 0.25 and len(hits) < 3:
            path = draw.choice(damageable(runs.work))
            kind = draw.choice(list(KINDS))
            if damage(path, kind, draw):
                hits.append((label, kind, str(path)))

    fraction = draw.choice([0.5, 0.8])
    manifest = runs.in_the_end(fraction, Told(between))
    assert runs.digests(manifest) == runs.expected[fraction], hits
