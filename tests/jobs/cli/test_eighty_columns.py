"""What a person sees first fits 80 columns: no name is cut, no line is longer, at any number of digits."""

import random
from pathlib import Path
from typing import Any

import pytest

from tamis.jobs.cli.manifest_output import show
from tamis.jobs.cli.run_and_plan import print_summary, show_plan
from tamis.jobs.config_file import load_config
from tamis.jobs.manifest.file import read_manifest
from tests.jobs.handmade import edit, make_run
from tests.source_tree import ROOT

LABELS = ("extract", "language", "exact_dedup", "heuristics", "perplexity.harmful", "perplexity.quality", "dsir")
RULES = (
    "c4.curly_bracket",
    "gopher_repetition.max_duplicate_5_gram_char_fraction",
    "gopher_repetition.max_duplicate_line_fraction",
    "quality_perplexity_percentile",
    "fineweb.short_line_fraction",
)


def large_run(folder: Path, scale: int) -> Path:
    """A run as a demo's or a crawl's manifest has it: steps and rules of long names, numbers of many digits."""
    make_run(folder)
    draw = random.Random(scale)

    def change(manifest: dict[str, Any]) -> None:
        manifest["name"] = "demo"
        manifest["steps"] = []
        for label in LABELS:
            rejected = {rule: draw.randint(1, scale) for rule in RULES}
            kept = draw.randint(1, 3 * scale)
            counts = {"source": "web", "documents": kept + sum(rejected.values()), "kept": kept, "rejected": rejected}
            step = {"label": label, "verb": label.partition(".")[0], "counts": [counts], "seconds": scale / 7}
            manifest["steps"].append(step)
        number = {name: draw.randint(1, scale) for name in ("read", "selected", "rejected", "errors")}
        manifest["sources"] = dict.fromkeys(("web", "encyclopedia", "common-crawl-2024-10"), number)
        manifest["models"] = [
            {"step": label, "option": "model", "reference": f"models/of/{label}/{'long-' * 12}name", "sha256": "0" * 64}
            for label in LABELS
        ]
        manifest["inputs"][0]["path"] = "data/" + "a-long-folder/" * 8 + "file-of-a-crawl.warc.gz"
        manifest["warnings"] = ["a warning of the run"]

    edit(folder, change)
    return folder


def check(out: str, names: tuple[str, ...], width: int = 80) -> None:
    assert "…" not in out
    assert "..." not in out
    squeezed = "".join(out.split())
    assert [name for name in names if "".join(name.split()) not in squeezed] == []
    laid_out = [line for line in out.splitlines() if "tamis sql " not in line]  # a command to copy stays in one piece
    assert [line for line in laid_out if len(line) > width and "read = " not in line] == []


@pytest.fixture
def eighty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("eighty")
@pytest.mark.parametrize("scale", [9, 5_000, 10**6, 10**9, 10**12])
def test_summary_and_manifest_show(scale: int, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    large_run(tmp_path / "run", scale)
    print_summary(read_manifest("run"), "run")
    heads = ("documents", "kept %", "rejected", "errors", "CPU s", "most rejected by")
    out = capsys.readouterr().out
    check(out, (*LABELS, *heads, "2 more rules"))
    assert "\nwarning: a warning of the run\n" in out
    show("run")
    heads = ("source", "files", "selected %", "share", "records", "digest", "reference", "common-crawl-2024-10")
    check(capsys.readouterr().out, (*LABELS, *heads, "a-long-folder/", "file-of-a-crawl.warc.gz"))


@pytest.mark.usefixtures("eighty")
def test_plan_of_the_demo(capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(ROOT)
    config, plain = load_config("examples/demo.yaml")
    show_plan(config, plain, as_json=False)
    labels = (*LABELS, "preselect")
    out = capsys.readouterr().out
    check(out, (*labels, "encyclopedia", "examples/corpus/target.jsonl.zst", "quality_perplexity"))
    # Of a score's many columns some are named, and where the others are.
    assert "text_characters" in out
    assert "more text_* (--json lists them)" in " ".join(out.split())
    assert "text_bullet_line_fraction" not in out


@pytest.mark.parametrize("width", [40, 60, 100, 200])
def test_other_widths(width: int, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    large_run(tmp_path / "run", 10**6)
    show("run")
    out = capsys.readouterr().out
    check("\n".join(out.splitlines()[6:]), LABELS, max(width, 66))


def test_reasons_stand_below_the_table(tmp_path: Path, capsys: Any) -> None:
    make_run(tmp_path / "run")
    print_summary(read_manifest(str(tmp_path / "run")), "run")
    assert capsys.readouterr().out == (
        "handmade: run\n\n"
        "steps\n"
        "step         documents  kept  kept %  rejected  errors  CPU s\n"
        "───────────  ─────────  ────  ──────  ────────  ──────  ─────\n"
        "extract              7     7   100.0         0       0    0.0\n"
        "language             7     4    57.1         3       0    0.5\n"
        "exact_dedup          4     3    75.0         1       0    1.0\n\n"
        "most rejected by\n"
        "language     language 2, language_score_min 1\n"
        "exact_dedup  duplicate 1\n\n"
        "warning: a warning of the run\n"
        "8 records read = 3 selected + 4 rejected + 1 error\n"
        "116 B of text in 1.5 s\n"
        "Look inside:\n"
        "  tamis report run\n"
        '  tamis sql run "SELECT step, rule, count(*) FROM rejected GROUP BY ALL"\n'
        '  tamis sql run "SELECT step, error, count(*) FROM errors GROUP BY ALL"\n'
    )
