"""`score`: a scorer of the user's own, from a module or a file, without any packaging."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import FoundFile, Step
from tamis.pipeline.steps.files import digest_path
from tamis.schemas.base import digest, nearest
from tamis.schemas.errors import ConfigError, ModelError
from tamis.schemas.guide import Guide
from tamis.schemas.keep import Keep
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator, Scorer

__all__ = ["ScoreStep"]

_GUIDE = Guide(
    formula="""\
columns   =  YourClass(**options).score(texts), one row a text
kept      =  as `keep` says of `column`""",
    follows="""\
Whatever your class does. Its source is part of the digests: a changed scorer scores again.
`tamis.scorers.testing.check_scorer` holds it to what runs ask.""",
    example="""\
- score: {scorer: "examples/scorers/capitals.py:Capitals", name: capitals, column: capital_share, keep: {max: 0.4}}""",
    query="SELECT fate, count(*) AS documents, round(max(capital_share), 3) AS most FROM documents GROUP BY "
    "fate ORDER BY fate",
)


class ScoreStep(Step):
    """Columns of a scorer of one's own: a class with `schema` and `score(texts)`, see the guide to scorers."""

    verb: ClassVar[str] = "score"
    names_columns: ClassVar[bool] = False
    guide: ClassVar[Guide] = _GUIDE
    scorer: Annotated[str, FilePath] = Field(
        description="module:Class, or file.py:Class; a module is looked for beside the config, too"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="what the class is built with, by keyword")
    column: Annotated[str | None, Decides] = Field(
        default=None, description="the column that `keep` is about; the first number among its columns if absent"
    )
    name: str = Field(default="score", pattern=NAME, description="tells several such steps apart")
    keep: Annotated[Keep, Decides] = Field(default=Keep(), description="by `column`; the highest are the best")

    @model_validator(mode="after")
    def _named(self) -> "ScoreStep":
        module, found, name = self.scorer.rpartition(":")
        if not (module and found and name.isidentifier()):
            msg = f"scorer: expected module:Class or file.py:Class, got {self.scorer!r}"
            raise ValueError(msg)
        if self.keep != Keep() and self.column is None:
            msg = "`keep` needs `column`: the scorer's column that it is about"
            raise ValueError(msg)
        return self

    @property
    def kept_column(self) -> str | None:
        """The column named."""
        return self.column

    def placed(self, place: Callable[[str], str]) -> "ScoreStep":
        """Return the step with the class's file looked up; a module is, where it isn't installed and is such a file."""
        module, _, name = self.scorer.rpartition(":")
        if module.endswith(".py"):
            return self.model_copy(update={"scorer": f"{place(module)}:{name}"})
        path = place(f"{module.replace('.', '/')}.py")
        beside = Path(path).is_file() and Path(path).parent != Path.cwd() and "." not in module
        if beside and importlib.util.find_spec(module) is None:
            return self.model_copy(update={"scorer": f"{path}:{name}"})
        return self

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Build the class and adapt it.

        Raises:
            ConfigError: if the module has no such class, or what it builds is no scorer.
        """
        module, _, name = self.scorer.rpartition(":")
        loaded = _load(module, Path(models["scorer"]))
        kind = getattr(loaded, name, None)
        if kind is None:
            msg = f"step {self.label}: {models['scorer']} has no {name!r}"
            raise ConfigError(msg)
        try:
            made = kind(**self.options)
        except Exception as error:
            msg = (
                f"step {self.label}: {self.scorer} can't be built with {self.options}: {type(error).__name__}: {error}"
            )
            raise ConfigError(msg) from error
        if not isinstance(made, Scorer):
            msg = f"step {self.label}: {self.scorer} is no scorer: it needs `schema` and `score(texts)`"
            raise ConfigError(msg)
        return OverText(made)

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Refuse a `column` that the scorer doesn't have.

        Raises:
            ConfigError: naming the nearest one that it has.
        """
        del available
        names = self.columns(models).names
        if self.column is not None and self.column not in names:
            msg = f"step {self.label}: column: {self.scorer} has no column {self.column!r}{nearest(self.column, names)}"
            raise ConfigError(msg)

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the file that holds the class; the digest is of both, for a file may hold several.

        Raises:
            ModelError: if there is none.
        """
        module, _, name = reference.rpartition(":")
        if module.endswith(".py"):
            path = Path(module)
        else:
            with _working_folder():
                try:
                    spec = importlib.util.find_spec(module)
                except (ImportError, ValueError) as error:
                    msg = f"step {self.label}: the module {module} can't be found: {error}"
                    raise ModelError(msg) from None
            path = Path(spec.origin) if spec is not None and spec.origin is not None else Path(f"{module}.py")
        if not path.is_file():
            msg = f"step {self.label}: scorer: there is no module or file {module}, here or among what is installed"
            raise ModelError(msg)
        sha256, size = digest_path(str(path))
        return {option: FoundFile(reference, str(path.resolve()), digest([name, sha256]), size)}


@contextlib.contextmanager
def _working_folder() -> Any:
    """Let modules of the working folder be found, after all that is installed."""
    here = str(Path.cwd())
    sys.path.append(here)
    try:
        yield
    finally:
        sys.path.remove(here)


def _load(module: str, path: Path) -> Any:
    """Import a module by name from where it was found, or a file by its path."""
    if module.endswith(".py"):
        spec = importlib.util.spec_from_file_location(f"_scorer_{path.stem}", path)
        if spec is None or spec.loader is None:
            msg = f"{path} is no Python module"
            raise ConfigError(msg)
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = loaded
        spec.loader.exec_module(loaded)
        return loaded
    parts = module.count(".") + (2 if path.name == "__init__.py" else 1)
    root = str(path.parents[parts - 1])
    if root not in sys.path:
        sys.path.append(root)
    return importlib.import_module(module)
