"""On a terminal of 80 columns no line is longer, and no name is cut, whatever command prints."""

import fcntl
import itertools
import os
import pty
import re
import shlex
import shutil
import struct
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from tests.source_tree import ROOT

pytestmark = pytest.mark.slow

COLUMNS = 80
TAMIS = "import sys; from tamis.jobs.cli.app import main; sys.argv[0] = 'tamis'; main()"
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07)")
MIXTURE = "by: source\nunit: bytes\nbudget: 200000\nwithout: unimax\nexhausted: repeat\nmax_epochs: 3\n"
STEPS = [
    *("extract", "language", "exact_dedup", "heuristics"),
    *("perplexity.harmful", "perplexity.quality", "dsir", "preselect"),
]
RULES = [
    "gopher_repetition.max_duplicate_5_gram_char_fraction",
    "gopher_repetition.max_duplicate_line_char_fraction",
    "gopher_quality.min_alphabetic_word_fraction",
    "quality_perplexity_percentile",
]
# What is typed, how it ends, and names that have to be whole.
COMMANDS: list[tuple[str, int, list[str]]] = [
    ("demo --output again", 0, [*STEPS, "dsir_log_weight_fraction", "most rejected by"]),
    ("run first.yaml --output second", 0, ["heuristics", "exact_dedup"]),
    ("run first.yaml --set steps.language.min_score=0.9", 2, []),
    ("run nowhere.yaml", 2, ["nowhere.yaml"]),
    ("plan examples/demo.yaml", 0, [*STEPS, "examples/corpus/target.jsonl.zst", "encyclopedia"]),
    ("plan examples/demo.yaml --sample --sample-mb 1", 0, STEPS),
    ("plan examples/demo.yaml --graph", 0, STEPS),
    ("score examples/corpus/forum.csv --limit 3 --step language", 0, ["language_score"]),
    (
        "score examples/corpus/forum.csv --limit 3 --step heuristics", 0,
        ["text_duplicate_paragraph_char_fraction", "text_terminal_line_fraction"],
    ),
    ("sql demo 'SELECT step, rule, count(*) AS documents FROM rejected GROUP BY ALL'", 0, [*STEPS, *RULES]),
    ("sql demo 'FROM passes'", 0, [*STEPS, "exact_dedup: groups"]),
    ("sql demo 'FROM rules' --limit 400", 0, RULES),
    ("sql demo 'FROM funnel()'", 0, [*STEPS, "cpu_seconds"]),
    ("sql demo 'FROM thresholds' --limit 400", 0, [*RULES, "text_duplicate_5_gram_char_fraction"]),
    ("sql demo 'SELECT text_wrods FROM selected'", 2, ["text_wrods"]),
    ("status demo", 0, []),
    ("manifest show demo", 0, [*STEPS, "examples/corpus/crawl.warc.wet.gz", "encyclopedia"]),
    ("manifest verify demo", 0, []),
    ("manifest diff demo runs/first", 1, ["perplexity.quality"]),
    ("mix compare demo mixture.yaml", 0, ["encyclopedia", "UniMax"]),
    ("report demo --output demo.html", 0, []),
    ("init examples/corpus --language en --select quality --output second.yaml", 0, []),
]  # fmt: skip
FIRST = """\
name: first
inputs:
  - {path: examples/corpus/forum.csv, source: forum}
steps:
  - language: {keep: [en]}
  - exact_dedup: {}
  - heuristics: {presets: [gopher_quality, gopher_repetition]}
output: {path: runs/first}
"""


def typed(command: str, folder: Path) -> tuple[int, str]:
    """Run a command on a terminal of its own, and return its status and what is left on the screen."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        environment |= {"TERM": "xterm", "PYTHONPATH": str(ROOT / "src")}
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
        os.execvpe(sys.executable, [sys.executable, "-c", TAMIS, *shlex.split(command)], environment)
    found = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # it has ended
            break
        if not block:
            break
        found += block
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    # A progress bar is drawn again and again: each time is a line of its own here.
    return os.waitstatus_to_exitcode(status), re.sub(r"\r\n?", "\n", ESCAPES.sub("", found.decode()))


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples, a finished demo, and files that the commands name."""
    folder = tmp_path_factory.mktemp("terminal")
    (folder / "examples").symlink_to(ROOT / "examples")
    (folder / "first.yaml").write_text(FIRST)
    (folder / "mixture.yaml").write_text(MIXTURE)
    for command in ("demo --output demo --quiet", "run first.yaml --quiet"):
        status, out = typed(command, folder)
        assert status == 0, out
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize(("command", "status", "names"), COMMANDS, ids=[command for command, *_ in COMMANDS])
def test_lines_fit_and_names_are_whole(command: str, status: int, names: list[str], desk: Path) -> None:
    ended, out = typed(command, desk)
    assert ended == status, out
    assert "Traceback" not in out
    lines = [line for line in out.splitlines() if "tamis sql " not in line]  # commands to copy stay in one piece
    assert [line for line in lines if cell_len(line.rstrip()) > COLUMNS] == []
    assert [line for line in lines if "…" in line or re.search(r"\w\.\.\.(\s|$)", line)] == []
    squeezed = "".join(out.split())
    missing = [name for name in names if name.replace(" ", "") not in squeezed and not folded(name, out)]
    assert missing == [], out


def folded(name: str, out: str) -> bool:
    """Whether a name stands in two lines of a table, one part below the other, with nothing of it lost."""
    lines = out.splitlines()
    cuts = [i + 1 for i, sign in enumerate(name) if sign in "._/ +-:"]
    for at in cuts:
        first, rest = name[:at].rstrip(), name[at:]
        for here, below in itertools.pairwise(lines):
            place = here.find(first)
            if place >= 0 and (below[place:].startswith(rest) or folded(rest, below)):
                return True
    return False
