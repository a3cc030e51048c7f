"""What an engine is handed, looked at without running it: labels, display data, names, and a size that doesn't grow."""

import json

import apache_beam as beam
import pytest
import yaml
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2

from tamis.jobs.config_file import load_config
from tamis.jobs.run.execute import graph_of
from tamis.jobs.run.plan import make_plan
from tamis.pipeline.graph.beam import LocalPasses, SpreadPasses
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.exchange import through_files
from tamis.pipeline.graph.failures import Failures
from tamis.pipeline.graph.passes import Exchange, Graph, Pass

STEPS = [
    {"exact_dedup": {}},
    {"heuristics": {"presets": ["gopher_quality"]}},
    {"exact_dedup": {"name": "again"}},
]


def run_graph(folder, files):
    """Return the graph of a run over so many input files."""
    data = folder / f"data-{files}"
    data.mkdir()
    for number in range(files):
        (data / f"part{number:05d}.jsonl").write_text(json.dumps({"text": f"document {number}"}) + "\n")
    config = folder / f"{files}.yaml"
    inputs = [{"path": str(data / "*.jsonl"), "source": "web"}]
    plain = {"name": "shape", "seed": 1, "inputs": inputs, "steps": STEPS[:2], "output": {"path": "unused"}}
    config.write_text(yaml.safe_dump(plain))
    loaded, source = load_config(str(config), ())
    plan = make_plan(loaded, source)
    assert len(plan.files) == files
    return graph_of(plan, str(folder / f"run-{files}"))


def translated(transform):
    """Return what a transform becomes."""
    pipeline = beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))
    _ = pipeline | "passes" >> transform
    return beam_runner_api_pb2.Pipeline.FromString(pipeline.to_runner_api().SerializeToString())


def spread(graph):
    return translated(SpreadPasses(graph, Failures("failure.json")))


def local(graph):
    passes = [p for node in graph.nodes for p in (through_files(node) if isinstance(node, Exchange) else (node,))]
    return translated(LocalPasses(passes, "key"))


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("graphs")
    return {files: run_graph(folder, files) for files in (10, 2000)}


@pytest.mark.parametrize("translate", [spread, local])
def test_the_graph_does_not_grow_with_the_input_files(graphs, translate):
    few, many = (translate(graphs[files]) for files in (10, 2000))
    assert sorted(t.unique_name for t in few.components.transforms.values()) == sorted(
        t.unique_name for t in many.components.transforms.values()
    )
    # Paths differ by the digits of folders; a name of a file would add at least 2,000 times ten bytes.
    assert abs(many.ByteSize() - few.ByteSize()) < 2_000
    assert few.ByteSize() < 20_000_000 / 20  # what Dataflow refuses, and twenty times as many passes


def test_a_task_list_in_the_graph_would_be_found(tmp_path):
    sizes = [
        spread(Graph((Pass("given", Nothing(), Given(tuple(range(n))), small=True),))).ByteSize() for n in (10, 2000)
    ]
    assert sizes[1] - sizes[0] > 2_000


class Given:
    def __init__(self, tasks):
        self.tasks = tasks

    def __call__(self, values):
        return self.tasks


class Nothing:
    def __call__(self, task, values):
        return b""


@pytest.mark.parametrize("translate", [spread, local])
def test_labels_and_display_data_tell_pass_and_step(graphs, translate):
    graph = graphs[10]
    proto = translate(graph)
    names = [t.unique_name for t in proto.components.transforms.values()]
    assert len(names) == len(set(names))
    for number, node in enumerate(graph.nodes if translate is spread else ()):
        label = f"passes/{number:02d} {node.name}"
        assert any(name == label or name.startswith((f"{label}: ", f"{label}/")) for name in names), label
    shown = {}
    for transform in proto.components.transforms.values():
        data = {}
        for item in transform.display_data:
            found = beam_runner_api_pb2.LabelledPayload.FromString(item.payload)
            data[found.key] = found.string_value
        for name in filter(None, (data.get("pass") or data.get("passes", "")).split(", ")):
            shown.setdefault(name, set()).add(data["step"])
    assert {name for name in shown if ": " not in name or name in {n.name for n in graph.nodes}} >= {
        node.name for node in graph.nodes
    }
    for node in graph.nodes:
        assert shown[node.name] == {node.step or "run"}


def test_job_names_are_unique_and_valid_everywhere(tmp_path, monkeypatch):
    jobs = []
    monkeypatch.setattr(Engine, "_locally", lambda self, graph, wanted, job: jobs.append(job) or {})
    for name in ("Nightly run: größte Menge, Ü", "日本語", "日本語", "", "x" * 300, "a--b"):
        with Engine(str(tmp_path)) as engine:
            for _ in range(3):
                engine.execute(Graph(()), [], name=name)
    assert len(set(jobs)) == len(jobs) == 18
    assert jobs[0].startswith("tamis-nightly-run-grote-menge-")
    for job in jobs:  # Dataflow's pattern, and Kubernetes'
        assert len(job) <= 63
        assert all(c.isascii() and (c.islower() or c.isdigit() or c == "-") for c in job)
        assert job[0].isalpha()
        assert job[-1].isalnum()
