"""Passes that don't depend on one another aren't linked in the pipeline, so an engine may run them at the same time."""

import apache_beam as beam
import pyarrow as pa

from tamis.pipeline.graph.beam import SpreadPasses
from tamis.pipeline.graph.failures import Failures
from tamis.pipeline.graph.passes import Exchange, Graph, Once, Pass

NUMBER = pa.schema([("n", pa.int64())])


def nothing(*_):
    return b""


def one(_):
    return 1


def exchange(name, folder, **named):
    return Exchange(name, Once(), one, nothing, nothing, nothing, NUMBER, NUMBER, str(folder), **named)


def upstream(graph, folder):
    """Return, for each pass, the passes whose transforms its own wait for, directly or through others."""
    pipeline = beam.Pipeline(runner="FnApiRunner")
    values = pipeline | "passes" >> SpreadPasses(graph, Failures(str(folder / "failure.json")))
    proto = pipeline.to_runner_api()
    made = {}  # collection to the transform that makes it, of the innermost transforms
    for key, transform in proto.components.transforms.items():
        if not transform.subtransforms:
            made |= dict.fromkeys(transform.outputs.values(), key)
    assert len(values) == len(graph.nodes)
    names = {f"{number:02d} {node.name}": node.name for number, node in enumerate(graph.nodes)}

    def pass_of(key):
        label = proto.components.transforms[key].unique_name.split("/")[1]
        return names[label.partition(":")[0]]

    found = {node.name: set() for node in graph.nodes}
    for key, transform in proto.components.transforms.items():
        if transform.subtransforms or "/" not in transform.unique_name:
            continue
        seen, todo = set(), [key]
        while todo:
            at = todo.pop()
            if at not in seen:
                seen.add(at)
                todo += [made[name] for name in proto.components.transforms[at].inputs.values() if name in made]
        found[pass_of(key)] |= {pass_of(at) for at in seen} - {pass_of(key)}
    return found


def test_only_passes_that_are_named_are_waited_for(tmp_path):
    graph = Graph(
        (
            Pass("read", nothing),
            Pass("fit one", nothing, inputs=("read",)),
            Pass("fit two", nothing, inputs=("read",)),
            exchange("pairs", tmp_path, inputs=("read",)),
            Pass("draw", nothing, inputs=("fit one",)),
            Pass("tidy", nothing, after=("pairs",)),
            Pass("alone", nothing),
            Pass("all", nothing, inputs=("draw",), after=("fit two", "tidy")),
        )
    )
    assert upstream(graph, tmp_path) == {
        "read": set(),
        "fit one": {"read"},
        "fit two": {"read"},
        "pairs": {"read"},
        "draw": {"read", "fit one"},
        "tidy": {"read", "pairs"},
        "alone": set(),
        "all": {"read", "fit one", "fit two", "pairs", "draw", "tidy"},
    }
