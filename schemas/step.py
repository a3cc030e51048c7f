"""The base of every step's options: what a step is called, what it reads, and which options can change a score."""

from collections.abc import Callable
from typing import Any, ClassVar, Self

from tamis.schemas.base import Model, validate

__all__ = ["NAME", "Decides", "FilePath", "StepConfig"]

NAME = r"^[A-Za-z][A-Za-z0-9_]*$"
"""What a step may be called by `name`."""


class Decides:
    """Marks an option that decides about scores and can't change one: `Annotated[float, Decides]`.

    A changed threshold then leaves the columns that were computed with another one as they are.
    """


class FilePath:
    """Marks an option that names a model or file, whose digest counts in place of its path: `Annotated[str, FilePath]`.

    Where it names several, or none by default, `references` says which.
    """


class StepConfig(Model):
    """Options of a step; `verb` is the key in the config, `references` name the models and files that it reads."""

    verb: ClassVar[str]

    @property
    def label(self) -> str:
        """The step's name in tables and the manifest, unique within a run: the verb, with `name` if it is given.

        A `name` that is the default is left out.
        """
        field = type(self).model_fields.get("name")
        name = getattr(self, "name", None)
        return self.verb if field is None or name == field.default else f"{self.verb}.{name}"

    @property
    def references(self) -> dict[str, str]:
        """Option name to the model or file it names; resolved and digested before the run.

        An option may name several: they are told apart by what follows a dot, such as `target.books`.
        """
        named = {name: getattr(self, name) for name in self.marked(FilePath)}
        return {name: value for name, value in named.items() if isinstance(value, str)}

    def placed(self, place: Callable[[str], str]) -> Self:
        """Return the step with `place` applied to the paths of its models and files, of mappings to their values."""
        changed: dict[str, Any] = {}
        for name in self.marked(FilePath):
            value = getattr(self, name)
            if isinstance(value, str):
                changed[name] = place(value)
            elif isinstance(value, dict):
                changed[name] = {key: place(path) for key, path in value.items()}
            elif isinstance(value, tuple):
                changed[name] = tuple(place(path) if isinstance(path, str) else path for path in value)
        return self.model_copy(update=changed)

    def changed(self, **options: Any) -> Self:
        """Return the step with other values of some options, checked as if a config had given them.

        Raises:
            ConfigError: if they don't fit.
        """
        given = self.model_dump(mode="json", by_alias=True) | options
        return validate(type(self), given, f"step {self.label}")

    @classmethod
    def marked(cls, marker: type) -> tuple[str, ...]:
        """Return the names of the options whose type is annotated with `marker`."""
        return tuple(name for name, info in cls.model_fields.items() if marker in info.metadata)

    def scoring_options(self) -> dict[str, Any]:
        """Return the options that can change the step's columns: not what decides about them, nor where files lie."""
        hidden = {*self.marked(Decides)}
        if self.references:  # their digests count instead, wherever they lie
            hidden |= {*self.marked(FilePath)}
        return self.model_dump(mode="json", exclude=hidden)
