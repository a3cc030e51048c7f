"""The files of a plan looked at by workers, for commands that are no runs but read as one does."""

from dataclasses import dataclass

from tamis.jobs.run.build import WORK_FILES, file_list
from tamis.jobs.run.plan import Plan
from tamis.jobs.run.stages import READ_CODE
from tamis.pipeline.code import module_code
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.graph.passes import Graph, Pass
from tamis.pipeline.passes.inputs import (
    INPUTS,
    FileGroups,
    Inspected,
    InspectFiles,
    SourceShard,
    inspected_files,
    source_shards,
    write_file_list,
)
from tamis.pipeline.storage import filesystem

__all__ = ["InspectedInputs", "inspect_inputs"]


@dataclass(frozen=True)
class InspectedInputs:
    """What workers found.

    Attributes:
        files: of each input file, in the plan's order.
        shards: the source shards, in canonical order.
    """

    files: tuple[Inspected, ...]
    shards: tuple[SourceShard, ...]


def inspect_inputs(plan: Plan, engine: Engine, work: str) -> InspectedInputs:
    """Digest the input files and cut source shards.

    Args:
        plan: the plan.
        engine: where it is done.
        work: a folder for what is kept.

    Raises:
        InputError: naming every file that can't be read.
    """
    path = file_list(work, plan)
    write_file_list(path, plan.inputs, plan.files)
    inspect = InspectFiles(path, filesystem.join(work, WORK_FILES), module_code(READ_CODE), plan.folders)
    graph = Graph((Pass(INPUTS, inspect, FileGroups(path)),))
    value, _ = engine.execute(graph, [INPUTS], name=INPUTS)[INPUTS]
    return InspectedInputs(inspected_files(path, value), source_shards(path, value))
