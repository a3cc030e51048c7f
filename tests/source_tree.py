"""What the tests of the code's shape share: every module of the packages, its syntax tree, imports and exports."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

__all__ = [
    "FILES",
    "LAYERS",
    "ROOT",
    "Definition",
    "at_import_time",
    "defined",
    "exported",
    "imported",
    "imports",
    "is_child",
    "top",
    "tree",
]

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("schemas", "scorers", "pipeline", "jobs")

FILES = {
    "tamis." + path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
    for layer in LAYERS
    for path in sorted((ROOT / layer).rglob("*.py"))
} | {"tamis": ROOT / "src" / "tamis" / "__init__.py"}
"""Module name to file."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def top(module: str) -> str:
    """Return the layer of a module of ours, such as `scorers`; of another, its outermost package."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] or package if package == "tamis" else package


@functools.cache
def tree(module: str) -> ast.Module:
    return ast.parse(FILES[module].read_text("utf-8"))


def imported(module: str, node: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name taken from it) for an import statement; no name for a plain `import`."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, None) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        origin = node.module or ""
        if node.level:
            package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
            parents = package.split(".")
            origin = ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])
        yield from ((origin, alias.name) for alias in node.names)


@functools.cache
def imports(module: str) -> tuple[tuple[str, str | None], ...]:
    """Return all that a module imports anywhere, in functions too."""
    return tuple(pair for node in ast.walk(tree(module)) for pair in imported(module, node))


def at_import_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run when the module is imported, those inside `if`, `try` and `with` too."""
    for node in body:
        yield node
        type_checking = isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        if isinstance(node, Definition) or type_checking:
            continue
        for inner in ("body", "orelse", "finalbody"):
            yield from at_import_time(getattr(node, inner, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import_time(handler.body)


@functools.cache
def exported(module: str) -> tuple[str, ...] | None:
    for node in tree(module).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return tuple(ast.literal_eval(node.value))
    return None


@functools.cache
def defined(module: str) -> frozenset[str]:
    """Return the names that a module has once it is imported."""
    names: set[str] = set()
    for node in at_import_time(tree(module).body):
        if isinstance(node, Definition):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
    return frozenset(names)


def is_child(module: str) -> bool:
    """Whether a module is only ever run in a child process, which loads what the program itself doesn't."""
    return module.endswith("_child")
