"""Where the paths of a config lead: from its own folder, or else from the working folder; with `${VAR}` and `~`."""

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tamis.pipeline.steps.base import FoundFile, Step
from tamis.pipeline.storage import filesystem
from tamis.schemas.config import Config
from tamis.schemas.errors import ConfigError

__all__ = ["Places", "led", "led_by", "places_of"]

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")

_LANGUAGE = re.compile(r"\{\w+\}")


def _folder_of(config_file: str | None) -> str | None:
    """Return the local folder that a config file lies in; None if there is none, or it lies elsewhere."""
    if config_file is None or not filesystem.is_local(config_file):
        return None
    return str(Path(filesystem.local_path(config_file)).absolute().parent)


def places_of(config_file: str | None) -> "Places":
    """Return where the paths of a config file are looked up: its folder, then the working folder.

    Args:
        config_file: its path; None for a config that isn't a file, and for one that isn't local.
    """
    here = str(Path.cwd())
    folder = _folder_of(config_file)
    return Places((here,) if folder in (None, here) else (str(folder), here))


@dataclass(frozen=True)
class Places:
    """Looks paths up.

    Attributes:
        folders: absolute ones, in their order.
        elsewhere: paths that only the later ones have; filled while paths are looked up.
    """

    folders: tuple[str, ...]
    elsewhere: list[str] = field(default_factory=list, compare=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on what was found elsewhere than beside the config, if anything was."""
        found = dict.fromkeys(self.elsewhere)
        if not found:
            return ()
        first = next(iter(found))
        told = f"the path {first} leads" if len(found) == 1 else f"{len(found)} paths, such as {first}, lead"
        return (f"{told} from the working folder: beside the config, in {self.folders[0]}, there is no such file",)

    def expanded(self, path: str, where: str) -> str:
        """Return a path with its `${VAR}`; the names of environment variables alone stand for something.

        Args:
            path: as the config has it.
            where: the key, for the message.

        Raises:
            ConfigError: if there is no such variable.
        """

        def value(found: re.Match[str]) -> str:
            if found[1] not in os.environ:
                msg = f"{where}: {path}: the environment has no variable {found[1]}: set it, or write the path out"
                raise ConfigError(msg)
            return os.environ[found[1]]

        return _VARIABLE.sub(value, path)

    def seek(self, path: str) -> str | None:
        """Return the folder in which a relative local path is found; None if in none, or it isn't such a path.

        A note is taken of one that only a later folder has.
        """
        name = path.removeprefix("@")
        if not filesystem.is_local(name) or filesystem.at_home(name).is_absolute():
            return None
        name = name.removeprefix("file://")
        for folder in self.folders:
            candidate = str(Path(folder) / name)
            pattern = _LANGUAGE.sub("*", candidate)
            if os.path.lexists(candidate) or next(glob.iglob(pattern, recursive=True), None) is not None:  # noqa: PTH207
                if folder != self.folders[0]:
                    self.elsewhere.append(path)
                return folder
        return None

    def placed(self, path: str, where: str) -> str:
        """Return a path made absolute; one that is found nowhere as it is, for who looks for it to say so."""
        path = self.expanded(path, where)
        at, name = ("@", path[1:]) if path.startswith("@") else ("", path)
        if name.startswith("~"):
            return f"{at}{filesystem.at_home(name)}"
        found = self.seek(path)
        return path if found is None else f"{at}{Path(found) / name.removeprefix('file://')}"

    def output(self, path: str) -> str:
        """Return the run's folder that a config names: of its own folder, unless the working folder has it already."""
        path = self.expanded(path, "output.path")
        if not filesystem.is_local(path) or filesystem.at_home(path).is_absolute():
            return path
        folder = self.seek(path) or self.folders[0]
        return path if folder == self.folders[-1] else os.path.relpath(Path(folder) / path)

    def inputs(self, config: Config) -> Config:
        """Return the config with the variables in its inputs' paths filled in; they keep their names otherwise."""
        entries = []
        for number, entry in enumerate(config.inputs):
            where = f"inputs[{number}].path"
            paths = tuple(self.expanded(path, where) for path in entry.path)
            for path in paths:
                self.seek(path)
            entries.append(entry.model_copy(update={"path": paths}))
        return config.model_copy(update={"inputs": tuple(entries)})

    def step(self, step: Step) -> Step:
        """Return a step whose models and files are named by absolute paths."""

        def place(path: str) -> str:
            return self.placed(path, f"step {step.label}")

        return step.placed(place)

    def as_named(self, step: Step, found: Mapping[str, FoundFile]) -> dict[str, FoundFile]:
        """Return what a placed step found, with the names that the config gives it.

        Args:
            step: as the config has it.
            found: option to what the placed step found.
        """
        placed = self.step_references(step)
        told = {}
        for option, file in found.items():
            reference = placed.get(file.reference, file.reference)
            for folder in self.folders if any(not Path(name).is_absolute() for name in placed.values()) else ():
                reference = reference.removeprefix(folder + "/")
            told[option] = FoundFile(reference, file.path, file.sha256, file.bytes)
        return told

    def step_references(self, step: Step) -> dict[str, str]:
        """Return the placed name of each model and file of a step, to the name that the config gives it."""
        quiet = Places(self.folders)
        placed = quiet.step(step).references
        return {placed[option]: name for option, name in step.references.items() if option in placed}


def led(plain: Any, config_file: str, keys: Sequence[str], output: str) -> tuple[Any, Places]:
    """Return a config with its paths as they lead from the working folder, and what it was looked up with.

    Args:
        plain: the config as it was given.
        config_file: where it was read.
        keys: those that hold paths, dotted, with `*` for any name or number, such as `arms.*.run`.
        output: the default of the key `output`, a folder.

    Raises:
        ConfigError: if the environment lacks a variable.
    """
    places = places_of(config_file)
    if not isinstance(plain, dict):  # who validates it says so
        return plain, places
    plain = led_by(places, plain, keys)
    folder = plain.get("output", output)
    return (plain | {"output": places.output(folder)} if isinstance(folder, str) else plain), places


def led_by(places: Places, plain: Any, keys: Sequence[str]) -> Any:
    """Return plain data with the paths under some keys as they lead from the working folder.

    Args:
        places: where they are looked up.
        plain: the data.
        keys: see `led`.

    Raises:
        ConfigError: if the environment lacks a variable.
    """

    def path(value: str, where: str) -> str:
        value = places.expanded(value, where)
        found = places.seek(value)
        return value if found in (None, places.folders[-1]) else os.path.relpath(Path(str(found)) / value)

    def changed(value: Any, parts: Sequence[str], where: str) -> Any:
        if not parts:
            if isinstance(value, list):
                return [path(one, where) if isinstance(one, str) else one for one in value]
            return path(value, where) if isinstance(value, str) else value
        first, *rest = parts
        if isinstance(value, dict):
            return {
                key: changed(inner, rest, f"{where}.{key}".lstrip(".")) if first in ("*", key) else inner
                for key, inner in value.items()
            }
        if isinstance(value, list) and first == "*":
            return [changed(inner, rest, f"{where}[{number}]") for number, inner in enumerate(value)]
        return value

    for key in keys:
        plain = changed(plain, key.split("."), "")
    return plain
