"""`warm` compiles every kernel that Python code calls, and with a config those that its steps need."""

import json
import subprocess
import sys

from tests.source_tree import FILES, ROOT, imports, tree

WARM = """
import json, sys
from tamis.jobs.warm import warm
config = None
if len(sys.argv) > 1:
    from tamis.jobs.config_file import load_config
    config, _ = load_config(sys.argv[1])
report = warm(config)
states = {s.name: [s.entry, s.signatures, s.compiled, s.loaded] for s in report.kernels}
print(json.dumps([states, [s.name for s in report.compiled], report.folder, report.seconds]))
"""


def run(*arguments: str) -> tuple[dict[str, list[int]], list[str], str | None, float]:
    done = subprocess.run(
        [sys.executable, "-c", WARM, *arguments], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    states, compiled, folder, seconds = json.loads(done.stdout.splitlines()[-1])
    return states, compiled, folder, seconds


def kernels_called_from_python() -> set[str]:
    """Return the full names of the kernels that modules without kernels import."""
    kernels = {
        f"{module}.{node.name}"
        for module in FILES
        for node in tree(module).body
        if any(getattr(mark, "id", "") in ("kernel", "lean_kernel") for mark in getattr(node, "decorator_list", ()))
    }
    modules = {name.rpartition(".")[0] for name in kernels}
    named = {f"{origin}.{name}" for module in FILES if module not in modules for origin, name in imports(module)}
    whole = named & modules  # imported as modules
    return {name for name in kernels if name in named or name.rpartition(".")[0] in whole}


def test_everything_is_warm_and_stays_so() -> None:
    states, _, folder, seconds = run()
    wanted = kernels_called_from_python()
    assert len(wanted) > 40
    assert not sorted(name for name in wanted if states.get(name, [0, 0])[1] == 0)
    assert folder is not None
    assert seconds > 0
    states, compiled, _, _ = run()
    assert compiled == []
    assert sum(state[3] for state in states.values()) >= len(wanted)


def test_config_warms_what_it_needs() -> None:
    states, _, _, _ = run("examples/demo.yaml")
    ready = {name.removeprefix("tamis.scorers.") for name, state in states.items() if state[1]}
    assert {
        "kernels.whitespace.collapse",
        "fasttext.output_kernels.predict_dense",
        "fasttext.output_kernels.predict_projected",
        "statistics.text_kernels.text_statistics",
        "ngram.query_kernels.score_ids",
        "dsir.ngram_kernels.add_log_weights",
        "text.noise_kernels.gumbels",
        "kernels.gather.scatter_texts",
    } <= ready
    assert not ready & {
        "statistics.datatrove_kernels.datatrove_words",
        "ngram.count_kernels.add_sentences",
        "dsir.token_kernels.take_pieces",
    }
