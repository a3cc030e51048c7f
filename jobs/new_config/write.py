"""The text of a first config: commented YAML from the inputs found, the languages, and what is to be selected."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from tamis.jobs.config_file import read_yaml
from tamis.jobs.new_config.found_inputs import FoundInput, find_inputs
from tamis.jobs.run.check import check_steps
from tamis.jobs.run.plan import check_inputs, make_plan
from tamis.jobs.text import file_size, one_line
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError
from tamis.scorers.language.labels import is_english

__all__ = ["AIMS", "Aim", "NewConfig", "new_config", "refuse_overwriting", "write_config"]

Aim = Literal["copies", "quality", "target"]
AIMS: dict[Aim, str] = {
    "copies": "every text once",
    "quality": "running prose, each text once",
    "target": "prose like that of files of yours",
}
"""What a first config can select for."""
FIELDS_SHOWN = 12
PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
NOT_PLAIN = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


@dataclass(frozen=True)
class NewConfig:
    """A config that was tried, and not written yet.

    Attributes:
        text: the YAML.
        inputs: what it reads.
        left_out: sentences on files that it doesn't read.
    """

    text: str
    inputs: tuple[FoundInput, ...]
    left_out: tuple[str, ...]


def refuse_overwriting(path: str) -> None:
    """Refuse a place where a config couldn't be written.

    Raises:
        ConfigError: if something is there, or its folder isn't.
    """
    if not filesystem.is_local(path):
        msg = f"{path} is no local file: write the config here, and copy it there"
        raise ConfigError(msg)
    if os.path.lexists(path):
        msg = f"{path} is there already, and stays as it is: give another name with --output"
        raise ConfigError(msg)
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        msg = f"{path}: the folder {folder} isn't there: make it first"
        raise ConfigError(msg)


def new_config(
    paths: Sequence[str], languages: Sequence[str], aim: Aim, config_file: str, *, target: str | None = None
) -> NewConfig:
    """Find the inputs and return a config over them that a run takes as it is.

    Args:
        paths: files, folders, globs or URLs.
        languages: codes of those to keep, such as `en`; all if empty.
        aim: what is selected for.
        config_file: where it will lie: its relative paths lead from there.
        target: of the aim `target`, the files that show what is wanted.

    Raises:
        ConfigError: for a contradiction, or a language that the identifier doesn't know.
        InputError: if no file with text is found.
    """
    if aim not in get_args(Aim):
        msg = f"--select {aim}: give one of {', '.join(get_args(Aim))}"
        raise ConfigError(msg)
    if (aim == "target") != (target is not None):
        msg = "--select target needs --target FILE, and no other aim takes one"
        raise ConfigError(msg)
    found = find_inputs(paths)
    folder = Path(config_file).absolute().parent
    inputs = tuple(replace(one, path=tuple(_from(folder, path) for path in one.path)) for one in found.inputs)
    lines = [*_head(config_file), *_inputs(inputs, found.left_out)]
    lines += _steps(languages, aim, _target(folder, target))
    lines += _output(config_file)
    text = "\n".join(lines) + "\n"
    plain = read_yaml(text, config_file)
    plan = make_plan(parse_config(plain), plain, config_file)
    check_inputs(plan, 200)
    check_steps(plan.steps, {step.label: plan.model_paths(step.label) for step in plan.steps}, plan.input_columns)
    return NewConfig(text, inputs, found.left_out)


def write_config(path: str, config: NewConfig) -> None:
    """Write it to a file that isn't there yet.

    Raises:
        ConfigError: if it is there.
    """
    refuse_overwriting(path)
    with Path(path).open("x", encoding="utf-8") as stream:
        stream.write(config.text)


def _from(folder: Path, path: str) -> str:
    """Return a path as a config in a folder names it: relative ones lead from there."""
    if not filesystem.is_local(path) or Path(path).is_absolute() or path.startswith("~"):
        return path
    return os.path.relpath(path, folder)


def _target(folder: Path, target: str | None) -> tuple[str, str] | None:
    """Return the path of the target as the config names it, and its text field."""
    if target is None:
        return None
    found = find_inputs([target]).inputs
    fields = {one.text or "text" for one in found}
    if len(fields) > 1:
        msg = f"--target {target}: its files have their text in {' and '.join(sorted(fields))}: give files of one kind"
        raise ConfigError(msg)
    return _from(folder, target), fields.pop()


def _scalar(value: str) -> str:
    """Return a text as YAML has it, quoted where it must be."""
    return value if PLAIN.fullmatch(value) and value.lower() not in NOT_PLAIN else json.dumps(value, ensure_ascii=False)


def _head(config_file: str) -> Iterator[str]:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(config_file).stem).strip("-._") or "run"
    file = one_line(Path(config_file).name, 60)
    yield f"# What a run reads, does and writes. `tamis plan {file}` says what it would do."
    yield f"name: {_scalar(name)}"
    yield "# Of every random decision: the same seed, inputs and config give the same bytes again."
    yield "seed: 0"


def _inputs(inputs: Sequence[FoundInput], left_out: Sequence[str]) -> Iterator[str]:
    yield "inputs:"
    for sentence in left_out:
        yield f"  # Left out: {one_line(sentence, 150)}"
    for one in inputs:
        files = "1 file" if one.files == 1 else f"{one.files:,} files"
        told = f"  # {files} of {one.format}, {file_size(one.bytes)}"
        if one.fields:
            shown = ", ".join(one_line(name, 40) for name in one.fields[:FIELDS_SHOWN])
            told += f"; fields: {shown}{', and more' if len(one.fields) > FIELDS_SHOWN else ''}"
        yield told
        pairs = {"source": one.source, "text": one.text, "id": one.id, "url": one.url, "timestamp": one.timestamp}
        path = json.dumps(one.path[0] if len(one.path) == 1 else list(one.path), ensure_ascii=False)
        rest = "".join(f", {key}: {_scalar(value)}" for key, value in pairs.items() if value is not None)
        rest = rest.replace(", text: text", "", 1)
        yield f"  - {{path: {path}{rest}{', html: true' if one.html else ''}}}"


def _steps(languages: Sequence[str], aim: Aim, target: tuple[str, str] | None) -> Iterator[str]:
    yield "# In order; `tamis plan` says of each what it decides. docs/config.md has every option."
    yield "steps:"
    yield "  # Text of web pages; what is text already passes as it is."
    yield "  - extract: {}"
    if languages:
        yield "  # Documents in these languages that the identifier is sure enough of."
        yield f"  - language: {{keep: [{', '.join(map(_scalar, languages))}], min_score: 0.5}}"
    else:
        yield "  # Labels alone. `keep: [en]` would keep English."
        yield "  - language: {}"
    yield "  # One document of each text, then one of each cluster of near-copies, as FineWeb finds them."
    yield "  - exact_dedup: {}"
    yield "  - near_dedup: {preset: fineweb, name: near}"
    if aim != "copies":
        if languages and all(map(is_english, languages)):
            yield "  # Too short, repeating itself, lists, menus: the rules of Gopher, C4 and FineWeb."
            yield "  - heuristics: {presets: [gopher_repetition, gopher_quality, c4, fineweb]}"
        elif languages:
            yield "  # Gopher's and FineWeb's rules with the thresholds and stop words of each language, as FineWeb-2."
            yield "  - heuristics: {presets: [fineweb2]}"
        else:
            yield "  # What repeats itself, in any language. Other rules go by language: keep some above, and give"
            yield "  # `presets: [fineweb2]`, or for English alone `[gopher_quality, c4, fineweb]`."
            yield "  - heuristics: {presets: [gopher_repetition]}"
    if target is not None:
        path, field = target
        text = "" if field == "text" else f", text: {_scalar(field)}"
        yield "  # The half that is drawn by its resemblance to these files (DSIR)."
        yield f"  - dsir: {{target: {json.dumps(path, ensure_ascii=False)}{text}, keep: {{fraction: 0.5}}}}"


def _output(config_file: str) -> Iterator[str]:
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", Path(config_file).stem).strip("-._") or "run"
    yield "# Shards of so many MB of text, the rejected with their reasons, and the manifest."
    yield f"output: {{path: runs/{name}, shard_mb: 256}}"
