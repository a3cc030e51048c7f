"""What differs between two manifests, value by value: config, inputs, models, program, counts, thresholds, shards."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tamis.schemas.base import canonical_json
from tamis.schemas.config import significant
from tamis.schemas.manifest import Manifest

__all__ = ["ORDER", "Difference", "config_changes", "differences", "shard_digests"]

ORDER = "order of steps"
SHORT = 40
"""Characters of a value, at most, where it is told within a sentence."""
ABSENT: Any = object()
"""What a run lacks, where None may be a value: a rule that is switched off has the threshold null."""


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes:
        section: which part of the manifest it belongs to.
        key: its name there.
        first: its value in the first run; None where that lacks it, or where the value is null.
        second: the same of the second.
        only: "first" or "second", if one run alone has it; None if both do.
    """

    section: str
    key: str
    first: Any
    second: Any
    only: Literal["first", "second"] | None = None


def shard_digests(manifest: Manifest) -> dict[str, str]:
    """Return the digest of each file that a run wrote, by its path in the run's folder."""
    return {record.path: record.sha256 for record in manifest.files}


def differences(a: Manifest, b: Manifest) -> Iterator[Difference]:
    """Yield all that differs, section by section."""
    sides: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]] = {
        "config": (_config(a), _config(b)),
        "inputs": (_inputs(a), _inputs(b)),
        "models": (_models(a), _models(b)),
        "program": (_program(a), _program(b)),
        "packages": (a.provenance.packages, b.provenance.packages),
        "steps": (_steps(a), _steps(b)),
        "thresholds": (_thresholds(a), _thresholds(b)),
        "totals": (_totals(a), _totals(b)),
        "mixture": (_flat(_as_selected(a)), _flat(_as_selected(b))),
        "shards": (shard_digests(a), shard_digests(b)),
    }
    for section, (left, right) in sides.items():
        for key in dict.fromkeys([*left, *right]):
            found = _difference(section, key, left, right)
            if found is not None:
                yield found


def _difference(section: str, key: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> Difference | None:
    first, second = left.get(key, ABSENT), right.get(key, ABSENT)
    for mine, others in ((first, right), (second, left)):
        # An empty mapping beside one with keys: these are told one by one.
        if mine == {} and key not in others and any(other.startswith(f"{key}.") for other in others):
            return None
    if first is ABSENT:
        return Difference(section, key, None, second, "second")
    if second is ABSENT:
        return Difference(section, key, first, None, "first")
    return Difference(section, key, first, second) if first != second else None


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Return nested data as dotted keys; lists are values."""
    if not isinstance(value, Mapping) or not value:
        return {key: value} if key else {}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _flat(inner, f"{key}.{name}" if key else str(name))
    return flat


def _as_selected(manifest: Manifest) -> dict[str, Any]:
    return {key: value for key, value in manifest.mixture.items() if key != "materialised"}


def config_changes(manifest: Manifest, config: Mapping[str, Any], labels: Sequence[str]) -> Iterator[str]:
    """Yield what another config changes of a run's, a sentence's part each: `steps.language.min_score was 0.5 ...`.

    Args:
        manifest: of the run.
        config: the other config, resolved.
        labels: of its steps.
    """
    before, after = _config(manifest), _options(config, labels)
    for key in dict.fromkeys([*before, *after]):
        found = _difference("config", key, before, after)
        if found is None:
            continue
        if found.only is not None:
            yield f"{key} is {'new' if found.only == 'second' else 'gone'}"
        else:
            first, second = _short(canonical_json(found.first), canonical_json(found.second))
            yield f"{key} was {first} and is {second}"


def _short(first: str, second: str) -> tuple[str, str]:
    """Return the parts of two values that a sentence tells: long ones are shown from a little before they differ."""
    if max(len(first), len(second)) <= SHORT:
        return first, second
    pairs = enumerate(zip(first, second, strict=False))
    same = next((at for at, (one, other) in pairs if one != other), min(len(first), len(second)))
    start = max(0, same - SHORT // 2)
    shown = []
    for value in (first, second):
        rest = value[start:] if not start else "..." + value[start + 3 :]
        shown.append(rest if len(rest) <= SHORT else rest[: SHORT - 3] + "...")
    return shown[0], shown[1]


def _config(manifest: Manifest) -> dict[str, Any]:
    return _options(manifest.config, [record.label for record in manifest.steps])


def _options(config: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    plain = significant(config)
    flat = _flat({key: value for key, value in plain.items() if key not in ("inputs", "steps")})
    seen: dict[str, int] = {}
    for entry in plain.get("inputs", ()):
        source = entry["source"]
        seen[source] = seen.get(source, 0) + 1
        name = f"inputs.{source}" + (f".{seen[source]}" if seen[source] > 1 else "")
        flat |= _flat({option: value for option, value in entry.items() if option != "source"}, name)
    for label, step in zip(labels, plain.get("steps", ()), strict=True):
        for options in step.values():
            # Digests of models are told among the models.
            flat |= _flat({k: v for k, v in options.items() if k != "sha256"}, f"steps.{label}")
    return flat | {ORDER: list(labels)}


def _inputs(manifest: Manifest) -> dict[str, str]:
    return {f"{record.source}: {record.path}": record.sha256 or record.fingerprint for record in manifest.inputs}


def _models(manifest: Manifest) -> dict[str, str]:
    return {f"{record.step}.{record.option}": record.sha256 for record in manifest.models}


def _program(manifest: Manifest) -> dict[str, Any]:
    plain = manifest.provenance.model_dump(exclude={"packages"})
    return {key: value for key, value in plain.items() if value is not None}


def _steps(manifest: Manifest) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    for step in manifest.steps:
        for counts in step.counts:
            where = f"{step.label}, {counts.source}"
            rows |= {f"{where}: {name}": getattr(counts, name) for name in ("documents", "kept", "errors")}
            rows |= {f"{where}: rejected by {rule}": number for rule, number in counts.rejected.items()}
    return rows


def _thresholds(manifest: Manifest) -> dict[str, Any]:
    return _flat({step.label: step.thresholds for step in manifest.steps})


def _totals(manifest: Manifest) -> dict[str, Any]:
    totals = {name: getattr(manifest, name) for name in ("read", "selected", "rejected", "errors", "text_bytes")}
    return totals | _flat(manifest.sources)
