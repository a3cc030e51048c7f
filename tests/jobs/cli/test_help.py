"""Help as other programs have it: at 80 columns nothing is cut, every command shows how it is called."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest
from typer.main import get_command

from tamis.jobs.cli import sql_query as tamis_sql
from tamis.jobs.cli.app import app, main


def commands(group: Any = None, *path: str) -> list[tuple[str, ...]]:
    """All groups and commands, by the words that are typed for them."""
    group = group or get_command(app)
    found = [path]
    for name, command in group.commands.items():
        found += commands(command, *path, name) if hasattr(command, "commands") else [(*path, name)]
    return found


ALL = commands()
LEAVES = [path for path in ALL if (path and path[0] not in ("manifest", "mix", "quad", "train")) or len(path) == 2]


def tamis(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tamis", *arguments])
        patch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as stopped:
            main()
    told = capsys.readouterr()
    return int(stopped.value.code or 0), told.out, told.err


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_of_every_command(path: tuple[str, ...], capsys: Any) -> None:
    status, out, err = tamis(capsys, *path, "--help")
    assert (status, err) == (0, "")
    assert tamis(capsys, *path, "-h")[1] == out
    assert max(map(len, out.splitlines())) <= 80
    summaries = out.partition("Commands:")[2].partition("Examples:")[0]
    assert "..." not in summaries
    assert not re.search(r"<\w+|\{[A-Z]", out)  # placeholders are words in capitals
    usage = out.splitlines()[0]
    assert usage.startswith(" ".join(["Usage: tamis", *path]))


@pytest.mark.parametrize("path", [path for path in LEAVES if path != ("version",)], ids=" ".join)
def test_every_command_shows_examples_and_explains_its_options(path: tuple[str, ...], capsys: Any) -> None:
    _, out, _ = tamis(capsys, *path, "-h")
    shown = out.partition("Examples:\n")[2].splitlines()
    assert shown
    assert all(" ".join(["tamis", *path]) in line for line in shown)
    options = [line for line in out.partition("Options:")[2].partition("Examples:")[0].splitlines() if "--" in line]
    assert options
    for line in options:
        assert re.search(r"  +[A-Z\w]", line.strip()), line


def test_examples_name_options_that_exist(capsys: Any) -> None:
    for path in LEAVES:
        _, out, _ = tamis(capsys, *path, "-h")
        before, _, shown = out.partition("Examples:\n")
        for option in re.findall(r"(?<!\w)(--?[a-z][\w-]*)", re.sub(r"'.*?'|\".*?\"| -- .*|head .*\|", "", shown)):
            assert re.search(rf"(?<![\w-]){option}(?![\w-])", before), (path, option)


def test_the_version(capsys: Any) -> None:
    _, alone, _ = tamis(capsys, "version")
    for option in ("--version", "-V"):
        assert tamis(capsys, option) == (0, f"tamis {alone}", "")


def test_completion_can_be_shown() -> None:
    code = "import sys; sys.argv[0] = 'tamis'; from tamis.jobs.cli.app import main; main()"
    environment = {"_TAMIS_COMPLETE": "complete_bash", "COMP_WORDS": "tamis manifest ", "COMP_CWORD": "2"}

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | environment
    )
    assert done.stdout.split() == ["show", "verify", "diff", "rerun", "export", "sign"]


def test_a_stopped_command_is_a_sentence(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tamis_sql, "run_query", stop)
    assert tamis(capsys, "sql", "run", "SELECT 1") == (130, "", "stopped\n")


def test_a_usage_mistake_names_the_help(capsys: Any) -> None:
    status, _, err = tamis(capsys, "manifest", "show")
    assert status == 2
    assert "Usage: tamis manifest show [OPTIONS] RUN" in err
    assert "Missing argument 'RUN'" in err
