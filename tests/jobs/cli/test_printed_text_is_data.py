"""Names of files, configs, steps and errors are shown as they are, and can neither style nor drive a terminal."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tamis.jobs.cli.app import main
from tamis.jobs.cli.console import RunProgress
from tamis.jobs.cli.manifest_output import diff, show, verify
from tamis.jobs.cli.run_and_plan import print_summary, show_plan
from tamis.jobs.cli.sql_query import run_query
from tamis.jobs.cli.text import harmless
from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.unprintable import UNPRINTABLE
from tamis.pipeline.steps.registry import parse_config
from tests.jobs.handmade import edit, make_run

NASTY = "[red]x[/quote] :smile: \x1b[2J\x1b]0;t\x07 \x9b1m \u202e\r\n[/]"


def clean(out: str) -> bool:
    return not UNPRINTABLE.search(out.replace("\n", ""))


def nasty_run(folder: Path, text: str) -> None:
    """A run whose manifest has `text` wherever a person's words can stand."""
    make_run(folder)

    def change(manifest: dict[str, Any]) -> None:
        manifest["name"] = text
        manifest["warnings"] = [text]
        manifest["started"] = text
        manifest["provenance"]["git_commit"] = text
        manifest["sources"] = {text: next(iter(manifest["sources"].values()))}
        manifest["mixture"] = {"method": text, "unit": text, "proportions": {text: 0.5}}
        for step in manifest["steps"]:
            step["label"] += text
            step["thresholds"] = {text: text}
            for counts in step["counts"]:
                counts["rejected"] = {text: 1}
        for record in manifest["inputs"]:
            record |= {"path": text, "source": text, "sha256": None, "fingerprint": text}
        manifest["models"] = [{"step": text, "option": text, "reference": text, "sha256": "0" * 64}]

    edit(folder, change)


@settings(max_examples=15)
@given(text=st.text(min_size=1, max_size=30) | st.just(NASTY), width=st.sampled_from([40, 80, 200]))
def test_manifest_commands_and_sql(tmp_path_factory: Any, text: str, width: int) -> None:
    folder = tmp_path_factory.mktemp("nasty")
    nasty_run(folder / "run", text)
    make_run(folder / "plain")
    with pytest.MonkeyPatch.context() as patch:
        out = _Out()
        patch.setenv("COLUMNS", str(width))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", out)
        run = str(folder / "run")
        show(run)
        show(run, as_json=True)
        print_summary(read_manifest(run), f"{folder}/{text}")
        verify(run)
        verify(run, as_json=True)
        diff(run, str(folder / "plain"))
        diff(str(folder / "plain"), run, as_json=True)
        for format_ in ("table", "json"):
            run_query(run, "FROM steps; FROM inputs; FROM manifest; FROM rules", format=format_)
        run_query(run, "SELECT ? AS a".replace("?", "'" + text.replace("'", "''").replace("\0", "") + "'"))
    assert clean(out.text)


class _Out:
    """A stream that keeps what is written."""

    encoding = "utf-8"

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def test_names_show_as_they_are(tmp_path: Path, capsys: Any) -> None:
    nasty_run(tmp_path / "run", NASTY)
    show(str(tmp_path / "run"))
    out = capsys.readouterr().out
    assert clean(out)
    for shown in ("[red]x[/quote] :smile: \\x1b[2J", "\\x9b1m \\u202e\\r\\n[/]"):
        assert shown in " ".join(out.split())


def test_plan_and_run(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "in:smile:\x1b]0;t\x07"
    folder.mkdir()
    (folder / "[red]a.jsonl").write_text('{"id": "1", "text": "A text."}\n{"text": \n')
    plain = {"name": NASTY, "inputs": [{"path": str(folder), "source": "web"}], "steps": ["exact_dedup"]}
    show_plan(parse_config(plain), plain, as_json=False)
    out = capsys.readouterr().out
    assert harmless(NASTY) in out
    assert clean(out)
    show_plan(parse_config(plain), plain, as_json=True)
    out = capsys.readouterr().out
    assert clean(out)
    assert json.loads(out)["name"] == NASTY


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("run", f"absent{NASTY}.yaml"), 2),
        (("plan", "config.yaml"), 2),
        (("score", f"absent{NASTY}.jsonl", "--step", "language"), 1),
        (("score", "x.jsonl", "--step", NASTY), 2),
        (("score", "x.jsonl", "--step", "language", "-o", f"x{NASTY}"), 2),
        (("sql", f"absent{NASTY}", "SELECT 1"), 1),
        (("sql", "run", f"SELECT '{NASTY}"), 2),
        (("sql", "run", "SELECT 1", "--format", NASTY), 2),
        (("manifest", "show", f"absent{NASTY}"), 1),
        (("train", "lm", f"absent{NASTY}", "-o", "m"), 1),
        (("train", "dsir", "--raw", "a", "--target", "b", "--hash", NASTY, "-o", "m"), 2),
    ],
)
def test_errors(arguments: tuple[str, ...], status: int, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "run")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({NASTY: 1, "inputs": NASTY}))
    monkeypatch.setattr(sys, "argv", ["tamis", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr()
    assert stopped.value.code == status
    assert told.out == ""
    assert told.err.startswith("tamis: ")
    assert clean(told.err)


def test_a_fault_of_ours_tells_no_credentials(capsys: Any, monkeypatch: Any) -> None:
    def fail(*_: Any, **__: Any) -> None:
        message = "read http://me:hunter2@h.example/x?token=tokensecret \x1b[31m"
        raise RuntimeError(message)

    monkeypatch.setattr("tamis.jobs.cli.manifest_output.show", fail)
    monkeypatch.setattr(sys, "argv", ["tamis", "manifest", "show", "runs/x"])
    monkeypatch.delenv("TAMIS_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stopped:
        main()
    told = capsys.readouterr().err
    assert stopped.value.code == 1
    assert "RuntimeError: read http://***@h.example/x?token=***" in told
    assert told.endswith("tamis: this is a fault of tamis: please report it, with what is above\n")
    assert not any(word in told for word in ("hunter2", "tokensecret", "\x1b"))


ADDRESSES = ("http://u:hunter2@127.0.0.1:9/x.jsonl?a=b&token=tokensecret", "memory://none/x.jsonl?token=tokensecret")
COMMANDS = (
    ("train", "dsir", "--raw", "URL", "--target", "URL", "-o", "m"),
    ("train", "dsir", "--raw", "a.jsonl", "--target", "a=URL", "-o", "m"),
    ("train", "lm", "URL", "-o", "m"),
    ("score", "URL", "--step", "language"),
    ("init", "URL", "-o", "c.yaml", "--language", "en", "--select", "copies"),
    ("run", "URL"),
    ("sql", "URL", "select 1"),
    ("manifest", "show", "URL"),
    ("status", "URL"),
    ("report", "URL", "-o", "r.html"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_are_told_without_credentials(
    command: tuple[str, ...], address: str, tmp_path: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"text": "words"}\n')
    monkeypatch.setattr(sys, "argv", ["tamis", *(part.replace("URL", address) for part in command)])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capsys.readouterr()
    assert stopped.value.code in (1, 2)
    assert not any(word in printed.out + printed.err for word in ("hunter2", "tokensecret", "Traceback"))
    assert "***" in printed.err


def test_progress(capsys: Any) -> None:
    progress = RunProgress()
    progress.start(NASTY, 2)
    progress.update(2)
    progress.finish()
    err = capsys.readouterr().err
    assert clean(err)
    assert err.rstrip("\n").count("\n") == 0
    assert harmless(NASTY) in err


def test_a_file_name_that_isnt_utf8(tmp_path: Path, capsysbinary: Any) -> None:
    make_run(tmp_path / "run")
    run = str(tmp_path) + "/r\udcffn"
    shutil.copytree(tmp_path / "run", run)
    verify(run)
    show(run)
    assert b"/r\\udcffn" in capsysbinary.readouterr().out
