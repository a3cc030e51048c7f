"""The config of a run: inputs, steps, output; parsed strictly, and digested so that equal work has an equal name."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tamis.schemas.base import Model, canonical_json, digest
from tamis.schemas.errors import ConfigError
from tamis.schemas.extract import ExtractConfig
from tamis.schemas.mixture import MixtureConfig
from tamis.schemas.secrets import redacted_all
from tamis.schemas.step import StepConfig
from tamis.schemas.watch import WatchConfig

__all__ = ["Config", "InputColumn", "InputConfig", "Limits", "OutputConfig", "PricesConfig", "significant"]

Format = Literal["warc", "wet", "arc", "jsonl", "parquet", "arrow", "csv", "text", "html"]
_PERCENT = re.compile(r"(\d+(?:\.\d*)?|\.\d+) ?%")
_COLUMN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_NO_RESULT = ("name", "max_errors", "allow_empty", "mixture", "prices", "watch")
_DOCUMENT = ("doc_id", "url", "source", "text", "timestamp", "meta")
_OURS = ("text_bytes", "text_chars", "file", "step", "rule", "value", "threshold")


class Limits(Model):
    """What one record may cost before it becomes an error record."""

    max_record_bytes: int = Field(default=64 << 20, gt=0, description="decompressed bytes of one record")
    max_expansion: int = Field(default=200, gt=0, description="bytes out a byte in of one compressed member")


class InputColumn(Model):
    """A field of an input's records as a column of the documents."""

    type: Literal["string", "int64", "double", "bool", "timestamp"] = Field(description="of the column")
    field: str | None = Field(default=None, description="of the records; the column's name if absent")


class InputConfig(Model):
    """Files of one source, and where in their records things are."""

    path: tuple[str, ...] = Field(description="a file, folder, glob or URL, or a list of them")
    source: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        max_length=200,
        description="label of letters, digits, `_`, `.` and `-`; names the output folder",
    )
    format: Format | None = Field(default=None, description="inferred from the suffix if absent")
    text: str = Field(default="text", description="field of the text; a dotted path reaches into objects")
    id: str | None = Field(default=None, description="field of the record's identity; `id` if there is one")
    url: str | None = Field(default=None, description="field of the address; `url` if there is one")
    timestamp: str | None = Field(default=None, description="field of the time; `timestamp` or `date` if absent")
    columns: dict[str, InputColumn] = Field(
        default={}, description="fields as typed columns: name to type, or to `{type: ..., field: ...}`"
    )
    html: bool = Field(default=False, description="the text field holds HTML, to be extracted")
    encoding: str = Field(default="utf-8", description="of JSONL and CSV files")
    delimiter: str | None = Field(
        default=None,
        description="between columns of CSV files; a comma if absent, a tab in `.tsv` files",
    )
    unreadable: Literal["fail", "record"] = Field(
        default="fail", description="files that can't be read at all: fail before any work, or become error records"
    )
    limits: Limits = Field(default=Limits(), description="what one record may cost")

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float | dict):
            msg = f"expected a path, or a list of paths, got {value!r}"
            raise ValueError(msg)
        return (value,) if isinstance(value, str) else value

    @field_validator("delimiter")
    @classmethod
    def _one_sign(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or value in '\r\n"'):
            msg = f"expected one character, no quote and no end of line, got {value!r}"
            raise ValueError(msg)
        return value

    @field_validator("columns", mode="before")
    @classmethod
    def _types(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name in value:
            if not isinstance(name, str) or not _COLUMN.fullmatch(name):
                msg = f"a column's name has letters, digits and `_`, and begins with a letter, unlike {name!r}"
                raise ValueError(msg)
            if name in _DOCUMENT:
                msg = f"{name!r} is a column that all documents have: choose another name"
                raise ValueError(msg)
            if name in _OURS:
                msg = f"{name!r} is a column of the program's own: choose another name"
                raise ValueError(msg)
        return {name: {"type": column} if isinstance(column, str) else column for name, column in value.items()}

    @field_validator("path")
    @classmethod
    def _some(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or not all(value):
            msg = "names no file"
            raise ValueError(msg)
        return tuple(sorted(set(value)))


class OutputConfig(Model):
    """Where the run is written, and in what size."""

    path: str = Field(default="runs/default", min_length=1, description="the run's folder, unless `--output` names one")
    shard_mb: float = Field(
        default=256, gt=0, allow_inf_nan=False, description="bound on the text of one output shard, in 10^6 bytes"
    )


class PricesConfig(Model):
    """Prices in US dollars by which `tamis plan` tells what a run asks of object stores; list prices, which change.

    They change no result.
    """

    reads_per_million: float = Field(
        default=0.4, ge=0, allow_inf_nan=False, description="requests that read or look, for a million"
    )
    writes_per_million: float = Field(
        default=5.0, ge=0, allow_inf_nan=False, description="requests that write, list or delete, for a million"
    )
    moved_per_gb: float = Field(
        default=0.0, ge=0, allow_inf_nan=False, description="10^9 bytes read or written; nothing within a region"
    )
    stored_per_gb_month: float = Field(
        default=0.02, ge=0, allow_inf_nan=False, description="10^9 bytes kept for a month, the work folder among them"
    )


class Config(Model):
    """A whole run. `digest` names everything that can change a result, and nothing else."""

    name: str = Field(default="run", description="of the run, in its manifest and the names of jobs")
    seed: int = Field(default=0, ge=0, lt=2**63, description="key of every random decision")
    inputs: tuple[InputConfig, ...] = Field(min_length=1, description="what is read; their order changes nothing")
    steps: tuple[StepConfig, ...] = Field(
        default_factory=lambda: (ExtractConfig(),), description="in order; `extract` comes first"
    )
    score: Literal["alive", "all"] = Field(default="alive", description="all: score rejected rows too")
    output: OutputConfig = Field(default=OutputConfig(), description="where the run goes, and the size of its shards")
    max_errors: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="share of a step's documents, also as `1%`: with more errors a run fails, though whole",
    )
    allow_empty: bool = Field(default=False, description="a run that reads no record or selects none is no failure")

    mixture: MixtureConfig | None = Field(
        default=None, description="of groups of what was selected, written to `mixture/` in the run's folder"
    )
    prices: PricesConfig = Field(default=PricesConfig(), description="of requests and bytes, for `tamis plan`")
    watch: WatchConfig | None = Field(
        default=None, description="of `tamis watch`, which takes new files in as they come: see docs/watch.md"
    )
    limit: int | None = Field(
        default=None,
        ge=1,
        description="a trial: so many documents at most, drawn by `sample`, of so many files as hold about as many",
    )

    @field_validator("inputs", mode="before")
    @classmethod
    def _mappings(cls, value: Any) -> Any:
        entries = value if isinstance(value, list | tuple) else [value]
        bare = next((entry for entry in entries if isinstance(entry, str)), None)
        if bare is not None:
            msg = f"an input is a path with the name of its source, not {bare!r}: write [{{path: {bare}, source: web}}]"
            raise ValueError(msg)
        if isinstance(value, dict):
            msg = "expected a list: write a - before the first input"
            raise ValueError(msg)
        return value

    @field_validator("inputs")
    @classmethod
    def _order_free(cls, value: tuple[InputConfig, ...]) -> tuple[InputConfig, ...]:
        # The order in which inputs are listed must not change a byte of the output.
        return tuple(sorted(value, key=lambda entry: (entry.source, canonical_json(entry.model_dump(mode="json")))))

    @field_validator("max_errors", mode="before")
    @classmethod
    def _percent(cls, value: Any) -> Any:
        found = _PERCENT.fullmatch(value.strip()) if isinstance(value, str) else None
        return float(found[1]) / 100 if found else value

    @model_validator(mode="after")
    def _steps_fit(self) -> "Config":
        labels = [step.label for step in self.steps]
        for step, label in zip(self.steps, labels, strict=True):
            if labels.count(label) > 1:
                named = "name" in type(step).model_fields
                hint = "give each a `name` of its own, or merge them" if named else "a run has one of that kind"
                msg = f"two steps are called {label!r}: {hint}"
                raise ValueError(msg)
        if [step for step in self.steps if isinstance(step, ExtractConfig)] != list(self.steps[:1]):
            msg = "extract must be the first step: it makes the text that all others read"
            raise ValueError(msg)
        return self

    @property
    def extract(self) -> ExtractConfig:
        """The options of the first step, which every run has."""
        first = self.steps[0]
        if not isinstance(first, ExtractConfig):
            msg = "extract must be the first step"
            raise ConfigError(msg)
        return first

    def resolved(self, models: dict[str, dict[str, str]] | None = None) -> dict[str, Any]:
        """Return the config as plain data with all defaults filled in.

        Args:
            models: step label to {option: SHA-256} of the models and files it reads; they stand in for their paths,
                so that a model's content counts and its place doesn't.
        """
        steps = []
        for step in self.steps:
            options = step.model_dump(mode="json", by_alias=True)
            digests = (models or {}).get(step.label, {})
            if digests:
                options["sha256"] = digests
            steps.append({step.verb: options})
        absent = {name for name in ("mixture", "watch") if getattr(self, name) is None}
        plain = self.model_dump(mode="json", exclude={"steps", "prices", *absent})
        return plain | {"steps": steps}

    def digest(self, models: dict[str, dict[str, str]]) -> str:
        """Return the SHA-256 of all that can change a result: not name, place, where models lie, or credentials."""
        return digest(significant(redacted_all(self.resolved(models))))


def significant(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what can change a result of a resolved config, as `Config.resolved` gives it and a manifest records it.

    Left out are the run's name, its folder, what only its exit status follows from, the place of models whose digests
    are there, the mixture, which follows from the run's selection and has a digest of its own, and what `tamis watch`
    makes of the config.
    """
    output = {key: value for key, value in config.get("output", {}).items() if key != "path"}
    steps = []
    for step in config.get("steps", ()):
        kept = {}
        for verb, options in step.items():
            digested = {key.split(".")[0] for key in options.get("sha256", {})}
            kept[verb] = {k: v for k, v in options.items() if k not in digested}
        steps.append(kept)
    plain = {key: value for key, value in config.items() if key not in _NO_RESULT}
    if plain.get("limit") is None:
        plain.pop("limit", None)
    return plain | {"output": output, "steps": steps}
