"""The shape of the code: imports point down, names are exported exactly, and the command line starts light."""

import ast
import graphlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator

from tests.source_tree import (
    FILES,
    LAYERS,
    ROOT,
    Definition,
    at_import_time,
    defined,
    exported,
    imported,
    imports,
    is_child,
    top,
    tree,
)

ELSEWHERE = ("tests", "examples", "benchmarks", "deploy")
OPTIONAL = ("torch", "transformers", "tokenizers", "gguf", "trafilatura", "spacy", "matplotlib", "eldc")
HEAVY = (
    *OPTIONAL,
    *(
        "apache_beam",
        "duckdb",
        "fasttext",
        "fastwarc",
        "fsspec",
        "huggingface_hub",
        "kenlm",
        "llvmlite",
        "numba",
        "numpy",
    ),
    *("pandas", "pyarrow", "resiliparse", "scipy", "sentencepiece"),
)
"""What no `--help` may import; each costs from a tenth of a second to several. Typer itself takes pydantic."""


def listing_order(name: str) -> tuple[int, list[tuple[bool, int, str]]]:
    """Return the key that the linter sorts `__all__` by: constants, classes, the rest; numbers by value."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[:1].isupper() else 2
    parts = [part for part in re.split(r"(\d+)", name) if part]
    return kind, [(not part.isdigit(), int(part) if part.isdigit() else 0, part) for part in parts]


def public_definitions(body: list[ast.stmt]) -> Iterator[Definition]:
    for node in body:
        if isinstance(node, Definition) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                yield from public_definitions(node.body)


def python(code: str, *arguments: str) -> str:
    """Run code in a new process of this interpreter, with the checkout's packages, and return what it prints."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "src"))
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_point_down() -> None:
    wrong = []
    for module in FILES:
        above = {*(LAYERS[LAYERS.index(top(module)) + 1 :] if top(module) in LAYERS else ()), *ELSEWHERE}
        wrong += [f"{module} imports {origin}" for origin, _ in imports(module) if top(origin) in above]
    assert not wrong


def test_no_import_cycle() -> None:
    graph: dict[str, set[str]] = {module: set() for module in FILES}
    for module in FILES:
        for node in at_import_time(tree(module).body):
            for origin, name in imported(module, node):
                target = f"{origin}.{name}" if f"{origin}.{name}" in FILES else origin
                if target in FILES and target != module:
                    graph[module].add(target)
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the modules


def test_no_scorer_names_beam() -> None:
    below = [module for module in FILES if top(module) in ("schemas", "scorers")]
    assert not [module for module in below if any(top(origin) == "apache_beam" for origin, _ in imports(module))]


def test_the_command_line_alone_prints() -> None:
    """Work returns values: a report, a service or a test has no use for lines on a terminal."""
    elsewhere = [module for module in FILES if not module.startswith("tamis.jobs.cli")]
    terminal = {"typer", "click", "rich", "prompt_toolkit"}
    wrong = [f"{m} imports {origin}" for m in elsewhere for origin, _ in imports(m) if top(origin) in terminal]
    wrong += [
        f"{m} imports {origin}" for m in elsewhere for origin, _ in imports(m) if origin.startswith("tamis.jobs.cli")
    ]
    for module in elsewhere:
        if is_child(module):  # speaks with its parent on the standard output
            continue
        for node in ast.walk(tree(module)):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.stdout":
                wrong.append(f"{module} takes the standard output, line {node.lineno}")
    assert not wrong


def test_importing_every_scorer_loads_neither_beam_nor_an_optional_library() -> None:
    modules = [module for module in FILES if top(module) in ("schemas", "scorers") and not is_child(module)]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[2:]: importlib.import_module(name)\n"
        "print(*{m.split('.')[0] for m in sys.modules} & set(sys.argv[1].split()))"
    )
    assert python(code, " ".join(["apache_beam", *OPTIONAL]), *modules).split() == []


def test_exports_are_sorted_and_exist() -> None:
    wrong = []
    for module in FILES:
        names = exported(module)
        if names is None:
            if defined(module) and not is_child(module):
                wrong.append(f"{module} has no __all__")
            continue
        if list(names) != sorted(set(names), key=listing_order):
            wrong.append(f"{module}: __all__ isn't sorted")
        if not set(names) <= defined(module):
            wrong.append(f"{module} exports {sorted(set(names) - defined(module))}, which it doesn't define")
    assert not wrong


def test_modules_take_from_each_other_only_what_is_exported() -> None:
    wrong = []
    for module in FILES:
        for origin, name in imports(module):
            known = origin not in FILES or name is None or f"{origin}.{name}" in FILES
            if not known and name not in (exported(origin) or ()):
                wrong.append(f"{module} takes {name} from {origin}")
    assert not wrong


def test_what_is_public_is_documented() -> None:
    told_elsewhere = {"overload", "override", "setter"}
    wrong = [module for module in FILES if tree(module).body and not ast.get_docstring(tree(module))]
    for module in FILES:
        for node in public_definitions(tree(module).body):
            decorators = {ast.unparse(decorator).split(".")[-1] for decorator in node.decorator_list}
            if not ast.get_docstring(node) and not decorators & told_elsewhere:
                wrong.append(f"{module}.{node.name}, line {node.lineno}")
    assert not wrong


def test_nothing_is_unfinished_or_left_behind() -> None:
    wrong = []
    for module, path in FILES.items():
        for node in ast.walk(tree(module)):
            where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                to_a_stream = any(keyword.arg == "file" for keyword in node.keywords)
                if node.func.id == "breakpoint" or (node.func.id == "print" and not to_a_stream):
                    wrong.append(f"{where}: {node.func.id}")
            elif isinstance(node, ast.Assert):
                wrong.append(f"{where}: an assert, which python -O skips")
            elif isinstance(node, ast.Raise) and node.exc and "NotImplementedError" in ast.unparse(node.exc):
                wrong.append(f"{where}: NotImplementedError")
        wrong += [
            f"{path.relative_to(ROOT)}: {m}"
            for m in re.findall(r"\b(?:TODO|FIXME|XXX|HACK)\b", path.read_text("utf-8"))
        ]
    assert not wrong


def test_help_of_every_command_imports_nothing_heavy() -> None:
    commands = ["", "demo", "run", "plan", "score", "sql", "report", "ui", "manifest", "manifest verify", "train"]
    code = (
        "import contextlib, io, json, sys\n"
        "from tamis.jobs.cli.app import main\n"
        "for command in json.loads(sys.argv[1]):\n"
        "    sys.argv = ['tamis', *command.split(), '--help']\n"
        "    with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit): main()\n"
        "    if 'Usage: tamis' not in shown.getvalue(): sys.exit(f'no help for {command!r}')\n"
        "print(*{m.split('.')[0] for m in sys.modules} & set(json.loads(HEAVY)))"
    ).replace("HEAVY", repr(json.dumps(HEAVY)))
    assert python(code, json.dumps(commands)).split() == []
