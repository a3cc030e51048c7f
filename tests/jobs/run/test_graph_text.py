"""The graph of a run before it starts: every pass, drawn three ways."""

import re

import pytest

from tamis.jobs.run.execute import graph_of
from tamis.jobs.run.graph_text import graph_text
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.passes import Exchange
from tamis.pipeline.steps.registry import parse_config


@pytest.fixture
def graph(config_of, tmp_path):
    plain = config_of({"exact_dedup": {}}, {"heuristics": {"presets": ["gopher_quality"], "statistics": "rules"}})
    return graph_of(make_plan(parse_config(plain), plain), str(tmp_path / "run"))


def test_passes_are_known_before_the_run_and_bound(graph, tmp_path):
    names = [node.name for node in graph.nodes]
    assert names == [
        "inputs", "read", "exact_dedup", "exact_dedup: groups", "heuristics", "count", "write", "errors", "manifest",
    ]  # fmt: skip
    assert [node.name for node in graph.nodes if isinstance(node, Exchange)] == ["exact_dedup: groups"]
    assert {node.step for node in graph.nodes} == {"extract", "exact_dedup", "heuristics", ""}
    assert not (tmp_path / "run").exists()


def test_tree_names_every_pass_and_the_values_it_takes(graph):
    told = graph_text(graph)
    assert "├─ exact_dedup\n│  ├─ 3 exact_dedup  (values of 2)" in told
    assert "│  └─ 4 groups  (values of 2; rows move between shards)" in told
    assert "9 manifest  (values of 1-8)" in told
    assert all(len(line) <= 80 for line in told.splitlines())


def test_mermaid_and_dot_have_a_node_a_pass_and_an_arrow_a_wait(graph):
    arrows = sum(len(dict.fromkeys((*node.inputs, *node.after))) for node in graph.nodes)
    mermaid = graph_text(graph, "mermaid")
    assert mermaid.startswith("flowchart TD\n")
    assert len(re.findall(r"^    p\d+\[", mermaid, re.MULTILINE)) == len(graph.nodes)
    assert len(re.findall(r"-->|-\.->", mermaid)) == arrows
    dot = graph_text(graph, "dot")
    assert dot.count("->") == arrows
    assert dot.count("{") == dot.count("}")
    assert all(f'"{node.name}"' in dot for node in graph.nodes)
