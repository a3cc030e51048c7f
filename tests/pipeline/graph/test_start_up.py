"""A command looks for garbage seldom while it starts, and as usual once its first pass begins."""

import subprocess
import sys

SCRIPT = """
import gc, sys
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.start_up import starting

usual = gc.get_threshold()
if sys.argv[2] == "command":
    starting()
    assert gc.get_threshold()[0] > usual[0]
with Engine(sys.argv[1]) as engine:
    for _ in range(2):
        [seen] = engine.map("look", [1], lambda _: [*gc.get_threshold(), gc.get_freeze_count()])
        print(tuple(seen[:3]) == usual, seen[3] > 0)
    starting()
    print(gc.get_threshold() == usual)
"""


def _run(folder, how):
    command = [sys.executable, "-c", SCRIPT, str(folder), how]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_passes_of_a_command_collect_as_usual_but_for_what_was_there(tmp_path):
    assert _run(tmp_path, "command") == ["True"] * 5


def test_a_program_that_uses_the_library_keeps_its_own_collection(tmp_path):
    first, frozen, second, still_frozen, _ = _run(tmp_path, "library")
    assert (first, second) == ("True", "True")
    assert (frozen, still_frozen) == ("False", "False")
