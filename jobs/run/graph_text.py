"""The graph of a run as text: a tree for a terminal, Mermaid for a page, DOT for Graphviz."""

from collections.abc import Sequence
from typing import Literal, TypeAlias

from tamis.pipeline.graph.passes import Exchange, Graph, Node

__all__ = ["GraphFormat", "graph_text"]

GraphFormat: TypeAlias = Literal["tree", "mermaid", "dot"]


def graph_text(graph: Graph, form: GraphFormat = "tree") -> str:
    """Return a graph's passes and what each waits for.

    Args:
        graph: the passes.
        form: `tree` groups passes by step and names the values that flow into each; `mermaid` and `dot` draw every
            arrow: solid where a value flows, dashed where a pass only waits.
    """
    return {"tree": _tree, "mermaid": _mermaid, "dot": _dot}[form](graph.nodes)


def _groups(nodes: Sequence[Node]) -> list[tuple[str, list[Node]]]:
    """Return consecutive passes of one step together."""
    groups: list[tuple[str, list[Node]]] = []
    for node in nodes:
        step = node.step or "run"
        if not groups or groups[-1][0] != step:
            groups.append((step, []))
        groups[-1][1].append(node)
    return groups


def _tree(nodes: Sequence[Node]) -> str:
    places = {node.name: number for number, node in enumerate(nodes, start=1)}
    width = len(str(len(nodes)))
    lines = []
    groups = _groups(nodes)
    for position, (step, members) in enumerate(groups):
        last_group = position == len(groups) - 1
        lines.append(f"{'└' if last_group else '├'}─ {step}")
        for number, node in enumerate(members):
            stem = "   " if last_group else "│  "
            branch = "└" if number == len(members) - 1 else "├"
            name = node.name.removeprefix(f"{step}: ")
            told = f"{stem}{branch}─ {places[node.name]:>{width}} {name}"
            values = _ranges(sorted(places[name] for name in node.inputs))
            extra = [f"values of {values}"] if values else []
            extra += ["rows move between shards"] if isinstance(node, Exchange) else []
            lines.append(told + (f"  ({'; '.join(extra)})" if extra else ""))
    return "\n".join(lines)


def _ranges(numbers: Sequence[int]) -> str:
    """Return numbers as 1, 3-5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def _mermaid(nodes: Sequence[Node]) -> str:
    ids = {node.name: f"p{number}" for number, node in enumerate(nodes)}
    lines = ["flowchart TD"]
    for number, (step, members) in enumerate(_groups(nodes)):
        lines.append(f'  subgraph g{number}["{_quoted(step)}"]')
        for node in members:
            opening, closing = ("[[", "]]") if isinstance(node, Exchange) else ("[", "]")
            lines.append(f'    {ids[node.name]}{opening}"{_quoted(node.name)}"{closing}')
        lines.append("  end")
    for node in nodes:
        lines += [f"  {ids[name]} --> {ids[node.name]}" for name in node.inputs]
        lines += [f"  {ids[name]} -.-> {ids[node.name]}" for name in node.after if name not in node.inputs]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return text.replace('"', "#quot;")


def _dot(nodes: Sequence[Node]) -> str:
    lines = ["digraph run {", '  node [shape=box, fontname="sans-serif"];']
    for number, (step, members) in enumerate(_groups(nodes)):
        lines.append(f"  subgraph cluster_{number} {{")
        lines.append(f"    label={_dot_quoted(step)};")
        lines += [f"    {_dot_quoted(n.name)}{' [shape=folder]' if isinstance(n, Exchange) else ''};" for n in members]
        lines.append("  }")
    for node in nodes:
        lines += [f"  {_dot_quoted(name)} -> {_dot_quoted(node.name)};" for name in node.inputs]
        waits = [name for name in node.after if name not in node.inputs]
        lines += [f"  {_dot_quoted(name)} -> {_dot_quoted(node.name)} [style=dashed];" for name in waits]
    lines.append("}")
    return "\n".join(lines)


def _dot_quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
