"""From verbs to steps: the modules of this folder, then the entry points `tamis.steps` of other distributions."""

import functools
import importlib
import pkgutil
from importlib import metadata
from pathlib import Path
from typing import Any

from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.extract import ExtractStep
from tamis.schemas.base import nearest, validate
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError
from tamis.schemas.extract import ExtractConfig

__all__ = ["built_in", "parse_config", "parse_step", "plugged_in", "step_class", "verbs"]

GROUP = "tamis.steps"
"""Entry points of other distributions: `emoji = "my_package.emoji:EmojiStep"`; the name is the verb."""
NO_STEPS = frozenset(
    {"base", "evaluation_items", "files", "labelled", "loaded", "papers", "registry", "repeats", "seen"}
)
"""Modules of this folder that are no steps; every other is called like its verb."""


@functools.cache
def built_in() -> tuple[str, ...]:
    """Return the verbs of this distribution, in alphabetical order."""
    return tuple(sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if m.name not in NO_STEPS))


@functools.cache
def plugged_in() -> dict[str, metadata.EntryPoint]:
    """Return verb to entry point of the steps that other distributions bring; our own verbs can't be replaced."""
    return {point.name: point for point in metadata.entry_points(group=GROUP) if point.name not in built_in()}


def verbs() -> tuple[str, ...]:
    """Return all verbs there are."""
    return (*built_in(), *sorted(plugged_in()))


@functools.cache
def step_class(verb: str) -> type[Step]:
    """Return the class of a verb.

    Raises:
        ConfigError: if there is none, or what another distribution brings is no step.
    """
    if verb in built_in():
        module = importlib.import_module(f"tamis.pipeline.steps.{verb}")
        found: type[Step] = next(
            kind for kind in vars(module).values() if isinstance(kind, type) and getattr(kind, "verb", None) == verb
            and kind.__module__ == module.__name__ and issubclass(kind, Step)
        )  # fmt: skip
        return found
    if verb not in plugged_in():
        msg = f"unknown step {verb!r}{nearest(verb, list(verbs()))}"
        raise ConfigError(msg)
    point = plugged_in()[verb]
    try:
        kind = point.load()
    except Exception as error:
        msg = f"the step {verb!r} of {_owner(point)} can't be loaded: {type(error).__name__}: {error}"
        raise ConfigError(msg) from error
    if not (isinstance(kind, type) and issubclass(kind, Step)) or getattr(kind, "verb", None) != verb:
        msg = f"the step {verb!r} of {_owner(point)} is no Step with verb = {verb!r}: {point.value}"
        raise ConfigError(msg)
    return kind


def _owner(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value


def parse_step(value: Any, where: str) -> Step:
    """Build a step from `{verb: {options}}`, `{verb: null}` or the bare verb.

    Raises:
        ConfigError: for an unknown verb, more than one verb, or wrong options.
    """
    if isinstance(value, str):
        value = {value: {}}
    if not isinstance(value, dict) or len(value) != 1:
        msg = f"{where}: expected one step such as `language: {{keep: [en]}}`, got {value!r}"
        raise ConfigError(msg)
    verb, options = next(iter(value.items()))
    try:
        kind = step_class(str(verb))
    except ConfigError as error:
        msg = f"{where}: {error}"
        raise ConfigError(msg) from None
    step = validate(kind, {} if options is None else options, f"{where}.{verb}")
    if not step.does_something:
        msg = f"{where}: the step {verb!r} neither computes, decides nor rewrites anything: it is not finished"
        raise ConfigError(msg)
    return step


def parse_config(value: Any) -> Config:
    """Build a config from plain data as YAML gives it.

    Raises:
        ConfigError: one sentence naming the key, what is wrong with it, and the nearest known key.
    """
    if not isinstance(value, dict):
        msg = "the config must be a mapping with `inputs:` and `steps:`"
        raise ConfigError(msg)
    steps = value.get("steps") or []
    if not isinstance(steps, list):
        msg = "steps: expected a list, one step an entry"
        raise ConfigError(msg)
    parsed = [parse_step(step, f"steps[{i}]") for i, step in enumerate(steps)]
    if not any(isinstance(step, ExtractConfig) for step in parsed):
        # Every run begins with it, said or not: it says what becomes of records without text.
        parsed.insert(0, ExtractStep())
    limit, seed = value.get("limit"), value.get("seed", 0)
    if type(limit) is int and limit > 0 and type(seed) is int:  # what else they are, the config refuses
        parsed.insert(1, parse_step({"sample": {"documents": limit, "seed": seed, "name": "limit"}}, "limit"))
    return validate(Config, value | {"steps": parsed}, "config")
