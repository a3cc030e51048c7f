"""Reads a config file, applies overrides from the command line, and says plainly what is wrong with either."""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from tamis.pipeline.storage import filesystem
from tamis.schemas.base import nearest
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError, InputError

__all__ = ["load_config", "load_plain", "override", "parse_override", "read_yaml"]


class _Loader(yaml.SafeLoader):
    """Safe, and strict about a key given twice, which YAML would silently let win."""


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            line = key_node.start_mark.line + 1
            msg = f"line {line}: the key {key!r} is given twice"
            raise ConfigError(msg)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


_BRACES = r"\$?\{\w+(?:,\w+)*\}"
_UNQUOTED = re.compile(rf"(?<![\w'\"])(?:[@%`*]|[\w.~/:-]*{_BRACES})(?:[\w.~/*?@%`:-]|{_BRACES}|\[[^\]\s]*\])*")
"""A value that YAML doesn't take for text: one with braces within braces, or one that begins with a sign of its own."""


def read_yaml(text: str, where: str) -> Any:
    """Parse YAML; `where` names it in errors."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        hint = _quotes(text, mark.line, mark.column) if mark else ""
        msg = f"{where}: {place}{getattr(error, 'problem', None) or 'no valid YAML'}{hint}"
        raise ConfigError(msg) from None
    except ConfigError as error:
        msg = f"{where}: {error}"
        raise ConfigError(msg) from None


def _quotes(text: str, row: int, column: int) -> str:
    """Return what to write where YAML takes a path for something else, such as `lm/{language}` in braces; or nothing.

    Args:
        text: the YAML.
        row: of the mistake, from 0.
        column: of the mistake, from 0.
    """
    lines = text.splitlines()
    line = lines[row] if row < len(lines) else ""
    if line[column : column + 1] == "\t":
        return ": indent with blanks"
    for found in _UNQUOTED.finditer(line):
        if found.start() <= column <= found.end():
            return f": put quotes around it, '{found[0]}'"
    return ""


def load_config(path: str, overrides: Iterable[str] = ()) -> tuple[Config, dict[str, Any]]:
    """Read a run's config file; the arguments are those of `load_plain`.

    Returns:
        The config, and the plain data that it was made of.

    Raises:
        ConfigError: for anything wrong with the file or an override; the message begins with the file's name.
    """
    from tamis.pipeline.steps.registry import parse_config

    plain = load_plain(path, overrides)
    try:
        return parse_config(plain), plain
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from None


def load_plain(path: str, overrides: Iterable[str] = ()) -> Any:
    """Read a YAML file.

    Args:
        path: a local path or a URL.
        overrides: "key=value", where the key is dotted, a step is reached by its verb or position, and the value is
            YAML: `steps.language.min_score=0.8`.

    Returns:
        The plain data with the overrides.

    Raises:
        ConfigError: if there is no such file, it is no YAML, or an override doesn't fit it.
    """
    try:
        with filesystem.open_binary(path) as stream:
            text = stream.read().decode()
    except InputError as error:
        raise ConfigError(str(error)) from None
    except UnicodeDecodeError:
        msg = f"{path}: not UTF-8 text"
        raise ConfigError(msg) from None
    plain = read_yaml(text, path)
    for pair in overrides:
        key, value = parse_override(pair)
        override(plain, key, value)
    return plain


def parse_override(pair: str) -> tuple[str, Any]:
    """Split "key=value" and parse the value as YAML."""
    key, found, value = pair.partition("=")
    if not found or not key:
        msg = f"--set {pair}: expected key=value, such as --set seed=7"
        raise ConfigError(msg)
    return key, read_yaml(value, f"--set {key}")


def override(plain: Any, key: str, value: Any) -> None:
    """Set the value at a dotted key in plain config data."""
    *path, last = key.split(".")
    at = plain
    for depth, part in enumerate(path):
        at = _enter(at, part, ".".join(path[: depth + 1]), make=path[depth + 1] if depth + 1 < len(path) else last)
    if isinstance(at, list):
        at[_position(at, last, key)] = value
    elif isinstance(at, dict):
        at[last] = value
    else:
        msg = f"--set {key}: {'.'.join(path)} is no mapping"
        raise ConfigError(msg)


def _enter(at: Any, part: str, where: str, make: str) -> Any:
    if isinstance(at, dict):
        if at.get(part) is None:
            if make.isdigit():
                msg = f"--set: {where} is no list"
                raise ConfigError(msg)
            at[part] = {}
        return at[part]
    if isinstance(at, list):
        position = _position(at, part, where)
        if isinstance(at[position], str):
            at[position] = {at[position]: {}}
        entry = at[position]
        verb = next(iter(entry)) if isinstance(entry, dict) and len(entry) == 1 else None
        if verb is None or make == verb:
            return entry
        if entry[verb] is None:
            entry[verb] = {}
        return entry[verb]
    msg = f"--set: {where} can't be reached: what holds it is neither a mapping nor a list"
    raise ConfigError(msg)


def _position(entries: list[Any], part: str, where: str) -> int:
    if part.isdigit() and int(part) < len(entries):
        return int(part)
    verbs = [entry if isinstance(entry, str) else next(iter(entry), "") for entry in entries]
    matches = [i for i, verb in enumerate(verbs) if verb == part]
    if len(matches) == 1:
        return matches[0]
    problem = "several entries" if matches else f"no entry{nearest(part, [str(v) for v in verbs])}"
    msg = f"--set {where}: {problem}; give a position from 0 to {len(entries) - 1}"
    raise ConfigError(msg)
