"""Compares two runs by their manifests and documents: what differs, and what of it explains the rest."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from tamis.jobs.manifest.differences import ORDER, Difference, differences, shard_digests
from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.sql.views import connect, reach, shard_relation
from tamis.schemas.base import canonical_json
from tamis.schemas.manifest import Manifest
from tamis.schemas.wording import counted
from tamis.scorers.mixture.record import explain_difference

__all__ = ["Comparison", "Moved", "compare", "independent", "moved_documents", "plain"]

CAUSES = ("config", "inputs", "models", "program", "packages")
"""Sections that can explain why others differ."""
SAID = 5
"""Differences of one kind that are told one by one."""
NAMED = 8
"""Steps or sources that are named."""
INPUTS, PATH = "inputs.", ".path"
"""Begin and end of the key of an input's path among the differences of the config."""


@dataclass(frozen=True)
class Moved:
    """Documents that only one of the runs selected, by what became of them in the other.

    Attributes:
        only: "first" or "second", the run that selected them.
        step: the step they fell at in the other; None if the other has no such document.
        rule: the rule they fell to.
        documents: how many.
    """

    only: str
    step: str | None
    rule: str | None
    documents: int


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs.

    Attributes:
        same_bytes: the shards, and tables beside them, have the same names and the same bytes.
        differences: section by section.
        moved: documents that only one of them selected; empty if the documents weren't compared.
        why: sentences.
    """

    same_bytes: bool
    differences: tuple[Difference, ...]
    moved: tuple[Moved, ...]
    why: tuple[str, ...]


def compare(first: str, second: str, *, documents: bool = True) -> Comparison:
    """Compare two runs.

    Args:
        first: a run's folder.
        second: another's.
        documents: look up which documents only one of them selected, where the shards differ.

    Raises:
        RunError: if one of the folders holds no finished run.
    """
    a, b = read_manifest(first), read_manifest(second)
    found = tuple(differences(a, b))
    same = shard_digests(a) == shard_digests(b)
    moved = () if same or not documents else _moved(first, a, second, b)
    why = [*_why(a, b, found, moved, same=same, looked=documents), *_mixtures(a, b)]
    return Comparison(same, found, moved, tuple(why))


def moved_documents(first: str, second: str) -> tuple[Moved, ...]:
    """Return the documents that only one of two runs selected, by what became of them in the other.

    Raises:
        RunError: if one of the folders holds no finished run.
    """
    return _moved(first, read_manifest(first), second, read_manifest(second))


def _moved(first: str, a: Manifest, second: str, b: Manifest) -> tuple[Moved, ...]:
    return tuple(
        Moved(only, step, rule, documents)
        for only, (run, other, manifest) in {"first": (first, second, b), "second": (second, first, a)}.items()
        for step, rule, documents in _lost(run, other, manifest)
    )


def _lost(run: str, other: str, manifest: Manifest) -> Sequence[tuple[str | None, str | None, int]]:
    """Return what became in the other run of the documents that only `run` selected."""
    with connect(run) as connection:
        reach(connection, other)
        for fate in ("selected", "rejected"):
            relation = shard_relation(other, manifest, fate)
            rows = f"FROM {relation}" if relation else f"FROM {fate} WHERE false"
            connection.execute(f"CREATE VIEW other_{fate} AS {rows}")
        return connection.execute(
            "SELECT r.step, r.rule, count(*) "
            "FROM (SELECT doc_id FROM selected ANTI JOIN other_selected USING (doc_id)) "
            "LEFT JOIN other_rejected r USING (doc_id) GROUP BY ALL ORDER BY 3 DESC, 1, 2"
        ).fetchall()


# --- why ---


def _why(
    a: Manifest, b: Manifest, differences: Sequence[Difference], moved: Sequence[Moved], *, same: bool, looked: bool
) -> Iterator[str]:
    by_section = {section: [d for d in differences if d.section == section] for section in CAUSES}
    causes = list(_causes(by_section))
    if same:
        yield "The shards are the same, byte for byte."
        if causes:
            yield "What differs changed nothing in them:"
            yield from causes
        return
    yield _where_they_part(a, b)
    if looked and not moved:
        footer = " Every shard's footer names the config's digest." if a.config_sha256 != b.config_sha256 else ""
        yield f"Both selected the same documents, but don't store them in the same bytes.{footer}"
    for only in ("first", "second"):
        mine = [m for m in moved if m.only == only]
        if mine:
            told = ", ".join(f"{m.documents:,} {_fate(m)}" for m in mine[:SAID])
            number = sum(m.documents for m in mine)
            yield f"Documents that only the {only} selected: {number:,}; in the other {told}."
    if causes:
        yield "What explains it:"
        yield from causes
    else:
        yield (
            "Nothing that the manifests record explains it: one of the runs was changed (tamis manifest verify finds "
            "that), or this is a fault of tamis."
        )


def _mixtures(a: Manifest, b: Manifest) -> Iterator[str]:
    """Yield how the mixtures differ that the runs were materialised in."""
    first, second = (manifest.mixture.get("materialised") for manifest in (a, b))
    if first is None and second is None:
        return
    if first is None or second is None:
        yield f"Only the {'second' if first is None else 'first'} was materialised in a mixture."
    elif first["mixture_sha256"] == second["mixture_sha256"]:
        yield "The mixtures are the same."
    else:
        told = explain_difference(first, second)
        yield "The mixtures differ:" if told else "The mixtures differ only in what they were made from."
        yield from (f"- {sentence}" for sentence in told)


def _fate(moved: Moved) -> str:
    return f"rejected at {moved.step} by {moved.rule}" if moved.step else "not among its documents"


def _where_they_part(a: Manifest, b: Manifest) -> str:
    """Return which step is the first with other counts."""
    if a.read != b.read:
        return f"The runs part when they read: {counted(a.read, 'record')} in the first, {b.read:,} in the second."
    labels = {"first": [step.label for step in a.steps], "second": [step.label for step in b.steps]}
    for left, right in zip(a.steps, b.steps, strict=False):
        if left.label != right.label:
            for name, label, others in (("first", left.label, "second"), ("second", right.label, "first")):
                if label not in labels[others] and not set(labels[others]) - set(labels[name]):
                    return f"The runs part at the step {label}, which only the {name} has."
            return f"The runs part where the first has the step {left.label} and the second {right.label}."
        if left.counts != right.counts:
            kept = [f"{sum(c.kept for c in step.counts):,}" for step in (left, right)]
            return f"The runs part at the step {left.label}: the first kept {kept[0]} documents, the second {kept[1]}."
    if len(a.steps) != len(b.steps):
        longer, name = (a, "first") if len(a.steps) > len(b.steps) else (b, "second")
        return f"Only the {name} has the step {longer.steps[min(len(a.steps), len(b.steps))].label}."
    return "The counts agree at every step."


def _causes(by_section: Mapping[str, Sequence[Difference]]) -> Iterator[str]:
    inputs = by_section["inputs"]
    if inputs:
        numbers = {
            "only in the first": sum(d.only == "first" for d in inputs),
            "only in the second": sum(d.only == "second" for d in inputs),
            "with other content": sum(d.only is None for d in inputs),
        }
        yield f"- input files: {', '.join(f'{number:,} {what}' for what, number in numbers.items() if number)}"
    for what, alone in (
        ("source", _inputs_of_one(by_section["config"])),
        ("step", _steps_of_one(by_section["config"])),
    ):
        for only in ("first", "second"):
            labels = sorted(label for side, label in alone if side == only)
            if labels:
                more = f" and {len(labels) - NAMED:,} more" if len(labels) > NAMED else ""
                several = "" if len(labels) == 1 else "s"
                yield f"- only the {only} has the {what}{several} {', '.join(labels[:NAMED])}{more}"
    for section, what in (("models", "model"), ("config", "config"), ("packages", "package")):
        found = independent(by_section[section], by_section["config"])
        for difference in found[:SAID]:
            yield f"- {what} {difference.key}: {_change(difference)}"
        if len(found) > SAID:
            yield f"- {len(found) - SAID:,} further differences of {section}"
    program = {d.key: d for d in by_section["program"]}
    for key in ("tamis", "python", "unicode"):
        if key in program:
            yield f"- {key}: {_change(program[key])}"
    if "code_sha256" in program:
        commits = program.get("git_commit")
        told = f" ({_change(commits)})" if commits else ""
        yield f"- the program's own code{told}"


def independent(found: Sequence[Difference], config: Sequence[Difference]) -> list[Difference]:
    """Return those of some differences that don't follow from a step or a source that one run lacks.

    Args:
        found: differences of any sections.
        config: those of the config.
    """
    steps = {label for _, label in _steps_of_one(config)}
    sources = {label for _, label in _inputs_of_one(config)}
    return [difference for difference in found if not _belongs_to(difference, steps, sources)]


def _steps_of_one(config: Sequence[Difference]) -> list[tuple[str, str]]:
    """Return (first or second, label) of the steps that the other run lacks."""
    order = next((d for d in config if d.section == "config" and d.key == ORDER), None)
    if order is None:
        return []
    sides = (("first", order.first, order.second), ("second", order.second, order.first))
    return [(side, label) for side, mine, others in sides for label in mine if label not in others]


def _inputs_of_one(config: Sequence[Difference]) -> list[tuple[str, str]]:
    """Return (first or second, source) of the inputs that the other run's config lacks: all have a path."""
    return [
        (d.only, d.key.removeprefix(INPUTS).removesuffix(PATH))
        for d in config
        if d.only is not None and d.section == "config" and d.key.startswith(INPUTS) and d.key.endswith(PATH)
    ]


def _belongs_to(difference: Difference, steps: Set[str], sources: Set[str]) -> bool:
    """Return whether a difference is one of these steps' or sources' own, or that of the order of steps."""
    if difference.section == "config" and difference.key == ORDER:
        kept = [[label for label in side if label not in steps] for side in (difference.first, difference.second)]
        return kept[0] == kept[1]
    prefix = {"config": "steps.", "models": "", "thresholds": ""}.get(difference.section)
    mine = [] if prefix is None else [f"{prefix}{label}." for label in steps]
    mine += [f"{INPUTS}{source}." for source in sources] if difference.section == "config" else []
    return any(difference.key.startswith(begin) for begin in mine)


def _change(difference: Difference) -> str:
    if difference.only is not None:
        alone = difference.first if difference.only == "first" else difference.second
        told = "" if difference.section == "models" else f" ({plain(alone)})"
        return f"only the {difference.only} has it{told}"
    if difference.section == "models":
        return "other content"
    return f"{plain(difference.first)} became {plain(difference.second)}"


def plain(value: Any) -> str:
    """Return a value as a config has it."""
    return value if isinstance(value, str) else canonical_json(value)
