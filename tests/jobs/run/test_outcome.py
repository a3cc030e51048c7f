"""The exit status that a nightly job can trust, and how a run stands as another terminal sees it."""

import json
import os
import subprocess
import sys
import time

import pytest

import tamis
from tamis.jobs.cli.run_folder import show_status
from tamis.jobs.manifest.verify import verify
from tamis.jobs.run.execute import execute
from tamis.jobs.run.folder import owned
from tamis.jobs.run.memory import Need, estimate, refuse_what_does_not_fit
from tamis.jobs.run.plan import make_plan
from tamis.jobs.run.status import clean_run, run_status
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import parse_config
from tests.source_tree import ROOT

CLI = "from tamis.jobs.cli.app import main; main()"
GOOD, BROKEN = '{"text": "words about rivers"}', '{"text": '


def config(folder, lines, **changes):
    (folder / "texts.jsonl").write_text("\n".join(lines) + "\n")
    return {"inputs": [{"path": str(folder / "texts.jsonl"), "source": "web"}], "steps": [], **changes}


def finished(folder, plain):
    output = str(folder / "run")
    with Engine(output + "/work/passes") as engine:
        return execute(make_plan(parse_config(plain), plain), output, engine)


@pytest.mark.parametrize(
    ("lines", "changes", "said"),
    [
        ([GOOD] * 100 + [BROKEN], {}, ()),
        ([GOOD] * 100 + [BROKEN] * 2, {}, ("reading: 2 of 102 records became errors, 2.0%", "allows 1.0%")),
        ([GOOD] * 100 + [BROKEN] * 2, {"max_errors": 0.02}, ()),
        ([GOOD] * 100 + [BROKEN], {"max_errors": 0.0}, ("1 of 101",)),
        ([""], {}, ("no record was read: the inputs hold only what is skipped: 1 blank line (`allow_empty: true`",)),
        ([""], {"allow_empty": True}, ()),
        ([GOOD], {"steps": [{"language": {"keep": ["de"]}}]}, ("no document was selected of 1 record read",)),
        ([GOOD], {"steps": [{"language": {"keep": ["de"]}}], "allow_empty": True}, ()),
    ],
)
def test_what_makes_a_whole_run_fail(tmp_path, lines, changes, said):
    plain = config(tmp_path, lines, **changes)
    found = finished(tmp_path, plain)
    assert bool(found.problems) == bool(said)
    assert all(part in "; ".join(found.problems) for part in said)
    assert found.manifest.balanced
    assert verify(str(tmp_path / "run")).ok
    again = finished(tmp_path, plain)
    assert (again.nothing_to_do, again.problems) == (True, found.problems)
    if said:
        with pytest.raises(tamis.RunError, match=r"became errors|no record|no document"):
            tamis.run(plain, output=tmp_path / "run")
        assert tamis.open(tmp_path / "run").manifest == found.manifest


def test_what_only_the_status_follows_from_is_not_digested(tmp_path):
    plain = config(tmp_path, [GOOD])
    assert parse_config(plain).digest({}) == parse_config(plain | {"max_errors": 0.5, "allow_empty": True}).digest({})


def test_the_command_line_exits_with_it(tmp_path):
    (tmp_path / "config.yaml").write_text(json.dumps(config(tmp_path, [GOOD, BROKEN])))
    command = [sys.executable, "-c", CLI, "run", "config.yaml", "--output", "run"]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.returncode == 1
    assert "tamis: reading: 1 of 2 records became errors, 50.0%" in done.stderr
    assert "2 records read = 1 selected + 0 rejected + 1 error" in done.stdout
    assert run_status(str(tmp_path / "run")).state == "finished"


def test_a_run_can_be_looked_at_and_its_work_folder_deleted(tmp_path, capsys):
    output = str(tmp_path / "run")
    with pytest.raises(tamis.RunError, match="holds no run of tamis"):
        run_status(output)
    finished(tmp_path, config(tmp_path, [GOOD] * 3))
    status = run_status(output)
    assert (status.state, status.owner) == ("finished", None)
    assert status.work_bytes > 0
    (tmp_path / "run" / "manifest.json").rename(tmp_path / "manifest.json")
    told = {"passes": 9, "pass": 3, "label": "language", "tasks": 8, "done": 5, "began": 100.0, "updated": 160.0}
    (tmp_path / "run" / "work" / "progress.json").write_text(json.dumps(told))
    status = run_status(output)
    assert (status.state, status.number, status.passes, status.done) == ("stopped", 3, 9, 5)
    assert (status.label, status.tasks, status.seconds) == ("language", 8, 60.0)
    assert (status.rate, status.left) == (None, None)
    with owned(output):
        status = run_status(output)
        assert (status.state, status.left) == ("running", None)
        now = time.time()
        told |= {"tasks": 80, "done": 20, "pass_began": now - 10, "updated": now}
        (tmp_path / "run" / "work" / "progress.json").write_text(json.dumps(told))
        status = run_status(output)
        assert status.rate == pytest.approx(2.0)
        assert 0 < status.left <= 30.0
        show_status(output)
        out = capsys.readouterr().out
        assert "2.0 tasks a second" in out
        assert " of this pass" in out
        assert f"process {os.getpid()} on " in status.owner
        code = f"from tamis.jobs.run.status import clean_run; clean_run({output!r})"
        environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert f"another run works in {output}" in done.stderr
    assert clean_run(output) > 0
    assert not (tmp_path / "run" / "work").exists()
    with pytest.raises(tamis.RunError, match="nothing to clean"):
        clean_run(output)


def test_memory_is_estimated_and_what_cannot_fit_is_refused(config_of):
    plain = config_of({"exact_dedup": {}})
    need = estimate(make_plan(parse_config(plain), plain))
    assert need.largest[0] == "exact_dedup"
    assert need.worker > 500 << 20
    refuse_what_does_not_fit(need, 1)
    huge = Need(worker=1 << 50, shared=0, disk=0, documents=1, largest=("near_dedup", 1 << 49))
    with pytest.raises(tamis.RunError, match=r"with 4 workers, and this machine has .* step near_dedup takes 562"):
        refuse_what_does_not_fit(huge, 4)
