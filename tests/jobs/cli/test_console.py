"""Progress: bars on a terminal, lines with their time in a log, nothing if that was asked for."""

import io
import re
import time
from typing import Any

import pytest

from tamis.jobs.cli.console import RunProgress, SafeConsole, out_console, say
from tamis.jobs.cli.problems import Problems
from tamis.jobs.documents import DocumentsRead, RecordProblem

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"


def shown(progress: RunProgress, *done: int, total: int = 4) -> None:
    progress.start("read + clean", total)
    for number in done:
        progress.update(number)
    progress.finish()


def test_a_log_has_a_line_a_pass_with_its_time(capsys: Any) -> None:
    shown(RunProgress(), 1, 4)
    told = capsys.readouterr()
    assert told.out == ""
    assert re.fullmatch(rf"{STAMP} read \+ clean: 4 of 4 in \d+\.\d s\n", told.err)


def test_a_long_pass_tells_on_the_way(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 3.0, 6.0, 30.0, 70.0, 80.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    shown(RunProgress(), 1000, 2000, 3000, 3500, total=4000)
    lines = [re.sub(rf"^{STAMP} ", "", line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [
        "read + clean: 2,000 of 4,000, about 6.0 s left",
        "read + clean: 3,500 of 4,000, about 10 s left",
        "read + clean: 3,500 of 4,000 in 80.0 s",
    ]


def test_quiet_is_quiet(capsys: Any) -> None:
    shown(RunProgress(quiet=True), 4)
    assert capsys.readouterr() == ("", "")
    stream = io.StringIO()
    shown(RunProgress(SafeConsole(file=stream, force_terminal=True, width=80), quiet=True), 4)
    assert stream.getvalue() == ""


def test_a_terminal_has_a_bar() -> None:
    stream = io.StringIO()
    shown(RunProgress(SafeConsole(file=stream, force_terminal=True, width=80)), 2, 4)
    assert "read + clean" in stream.getvalue()
    assert "4/4" in stream.getvalue()


@pytest.mark.parametrize(("told", "width"), [("", 80), ("120", 120), ("0", 80), ("wide", 80)])
def test_the_width_is_what_columns_says(told: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", told)
    assert out_console().width == width


def test_a_sentence_stays_a_line_in_a_log(capsys: Any) -> None:
    say("word " * 50)
    assert capsys.readouterr().out == "word " * 50 + "\n"
    stream = io.StringIO()
    say("word " * 50, SafeConsole(file=stream, force_terminal=True, color_system=None, width=40))
    assert max(map(len, stream.getvalue().splitlines())) <= 40


def test_reading_is_told_on_the_way(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    for quiet in (False, True):
        clock[0] = 0.0
        with Problems(progress=not quiet) as problems:
            for now in (1.0, 6.0, 30.0, 70.0):
                clock[0] = now
                problems(DocumentsRead(1000))
        assert problems.read == 4000
        told = re.sub(STAMP, "TIME", capsys.readouterr().err)
        assert told == ("" if quiet else "TIME 2,000 documents read\nTIME 4,000 documents read\n")


def test_reading_is_shown_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    console = SafeConsole(file=stream, force_terminal=True, width=80)
    monkeypatch.setattr("tamis.jobs.cli.problems.error_console", lambda: console)
    with Problems(progress=True) as problems:
        problems(DocumentsRead(1))
        problems(RecordProblem("a.jsonl", "line 1", "invalid_json", "[b]\x1b[1m"))
        problems(DocumentsRead(1))
    assert "1 document read" in stream.getvalue()
    assert "a.jsonl: line 1: invalid_json: [b]\\x1b[1m" in stream.getvalue()


def test_passes_are_numbered_and_reuse_is_told(capsys: Any) -> None:
    progress = RunProgress()
    progress.plan(2)
    shown(progress, 4)
    progress.start("write", 1200)
    progress.update(1200)
    progress.note("a worker was lost:\x1b[1m a.jsonl")
    progress.finish(1100)
    lines = [re.sub(STAMP, "TIME", line) for line in capsys.readouterr().err.splitlines()]
    assert [re.sub(r"\d+\.\d s$", "SPAN", line) for line in lines] == [
        "TIME 1/2 read + clean: 4 of 4 in SPAN",
        "TIME a worker was lost:\\x1b[1m a.jsonl",
        "TIME 2/2 write: 1,200 of 1,200, 1,100 reused in SPAN",
    ]
    quiet = RunProgress(quiet=True)
    quiet.note("a worker was lost")
    assert capsys.readouterr().err.endswith("a worker was lost\n")
