"""From a step's config to the object that computes its columns: the only place that knows which scorer a verb means."""

import functools
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tamis.pipeline.passes.decide import CLEAN_COLUMN, step_rules
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import canonical_json
from tamis.schemas.errors import RunError
from tamis.schemas.steps import (
    CleanStep,
    DsirStep,
    ExactDedupStep,
    HeuristicsStep,
    LanguageStep,
    PerplexityStep,
    PreselectStep,
    StepConfig,
)
from tamis.schemas.tables import described
from tamis.scorers.base import Scorer
from tamis.scorers.statistics.columns import DEFAULT_TEXT_COLUMNS, TEXT_COLUMNS

if TYPE_CHECKING:
    from tamis.scorers.perplexity.buckets import PercentileTable

__all__ = ["Annotator", "annotator", "bucket_field", "local_folder"]


class Annotator(Protocol):
    """Computes a step's columns for a batch of documents."""

    @property
    def schema(self) -> pa.Schema:
        """The columns it adds."""
        ...

    @property
    def requires(self) -> tuple[str, ...]:
        """The columns it reads."""
        ...

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return one row a row, with exactly the columns of `schema`."""
        ...


def local_folder(folder: str) -> Path:
    """Return a folder of small files as a local one, fetched if it lies elsewhere."""
    if filesystem.is_local(folder):
        return Path(filesystem.local_path(folder))
    scratch = Path(tempfile.mkdtemp(prefix="tamis-"))
    for file in filesystem.expand(folder):
        with filesystem.open_binary(file.path) as stream:
            (scratch / file.path.rsplit("/", 1)[-1]).write_bytes(stream.read())
    return scratch


def _nullable(schema: pa.Schema) -> pa.Schema:
    """Return the schema with all fields nullable: in a run, rows that were rejected before have no value."""
    return pa.schema([pa.field(f.name, f.type, metadata=f.metadata) for f in schema])


class _TextAnnotator:
    """A scorer over the text alone."""

    requires = ("text",)

    def __init__(self, scorer: Scorer):
        self._scorer = scorer
        self.schema = _nullable(scorer.schema)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.RecordBatch.from_arrays(self._scorer.score(batch.column("text")).columns, schema=self.schema)


class _LanguageAnnotator:
    """One scorer a language, loaded when its first document comes; documents of other languages get nulls."""

    requires = ("text", "language")

    def __init__(self, load: Callable[[str], Scorer], languages: tuple[str, ...]):
        self._load = functools.cache(load)
        self._languages = languages
        self.schema = _nullable(self._load(languages[0]).schema)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        codes = np.array(batch.column("language").to_pylist(), dtype=object)
        pieces = []
        rows = []
        for language in self._languages:
            chosen = np.flatnonzero(codes == language)
            if len(chosen):
                pieces.append(self._load(language).score(batch.column("text").take(pa.array(chosen))))
                rows.append(chosen)
        table = pa.Table.from_batches(pieces, self.schema).combine_chunks()
        place: Any = np.full(batch.num_rows, -1)
        if rows:
            place[np.concatenate(rows)] = np.arange(sum(len(chosen) for chosen in rows))
        indices = pa.array(place, mask=place < 0)
        taken = [column.take(indices).combine_chunks() for column in table.columns]
        arrays = [a.chunk(0) if isinstance(a, pa.ChunkedArray) else a for a in taken]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def bucket_field(step: PerplexityStep) -> pa.Field:
    """Return the column of a step's buckets."""
    text = "head, middle or tail by perplexity; all: no perplexity, or no cut-offs for the language"
    return described(f"{step.name}_bucket", pa.string(), text)


class _CleanAnnotator:
    """The text without the lines that C4's rules take out, and how many characters are left."""

    requires = ("text",)

    def __init__(self, config: CleanStep):
        self._variant = config.variant
        text = described("text", pa.large_string(), "the text that is left")
        self.schema = pa.schema([text, described(CLEAN_COLUMN, pa.int64(), "code points that cleaning left")])

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.statistics.text_statistics import c4_clean

        cleaned = c4_clean(batch.column("text"), self._variant)
        return pa.RecordBatch.from_arrays([cleaned, pc.utf8_length(cleaned)], schema=self.schema)


class _BucketAnnotator:
    """Perplexity, and its bucket by a table of cut-offs for each language and source."""

    def __init__(self, inner: "Annotator", config: PerplexityStep, table: "PercentileTable | str"):
        self._inner = inner
        self._config = config
        self._table = table
        self.requires = tuple(dict.fromkeys([*inner.requires, "language", "source"]))
        self.schema = inner.schema.append(bucket_field(config))

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.perplexity.buckets import buckets

        scored = self._inner.annotate(batch)
        found = buckets(
            scored.column(f"{self._config.name}_perplexity"),
            batch.column("language"),
            batch.column("source"),
            table=self._table,
            at=self._config.bucket_percentiles,
            decimals=1 if self._table == "ccnet" else None,
        )
        return pa.RecordBatch.from_arrays([*scored.columns, found], schema=self.schema)


_built: dict[tuple[str, str], Annotator | None] = {}


def annotator(config: StepConfig, models: Mapping[str, str]) -> Annotator | None:
    """Return the step's annotator, built once a process; None if the step computes no columns.

    Args:
        config: the step.
        models: option to local path, for the step's `references` and for what the run fitted itself.

    Raises:
        ModelError: if a model can't be loaded or doesn't fit.
        ConfigError: if the options contradict the model.
    """
    key = (config.label, canonical_json([config.model_dump(mode="json"), dict(models)]))
    if key not in _built:
        _built[key] = _build(config, models)
    return _built[key]


def _build(config: StepConfig, models: Mapping[str, str]) -> Annotator | None:
    match config:
        case LanguageStep():
            from tamis.scorers.language.identify import LanguageIdentifier

            options = {} if config.prefix is None else {"prefix": config.prefix}
            return _TextAnnotator(LanguageIdentifier(models.get("model"), **options))
        case ExactDedupStep():
            from tamis.scorers.dedup.text_hash import TextHash

            return _TextAnnotator(TextHash(normalize=config.normalize))
        case HeuristicsStep():
            from tamis.scorers.statistics.text_statistics import TextStatistics

            bad_words = models.get("bad_words")
            return _TextAnnotator(TextStatistics(_text_columns(config), splitter=config.splitter, bad_words=bad_words))
        case CleanStep():
            return _CleanAnnotator(config)
        case PerplexityStep():
            return _perplexity(config, models)
        case DsirStep():
            from tamis.scorers.dsir.model import DsirModel, DsirScorer

            if "model" not in models:
                msg = "the target distribution isn't fitted yet"
                raise RunError(msg)
            model = DsirModel.load(local_folder(models["model"]))
            return _TextAnnotator(DsirScorer(model, normalise=config.normalise, chunk_tokens=config.chunk_tokens))
        case PreselectStep():
            from tamis.scorers.fasttext.label_score import LabelScorer

            return _TextAnnotator(
                LabelScorer(models["model"], label=config.label_scored, newline=config.newline, name=config.name)
            )
        case _:
            return None


def _text_columns(config: HeuristicsStep) -> tuple[str, ...]:
    """Return the statistics to compute: those that rules need, and unless told otherwise all that follow the papers."""
    needed = dict.fromkeys(rule.column for rule in step_rules(config) if rule.column in TEXT_COLUMNS)
    if config.statistics == "rules" and needed:
        return tuple(needed)
    return tuple(dict.fromkeys([*DEFAULT_TEXT_COLUMNS, *needed]))


def _perplexity(config: PerplexityStep, models: Mapping[str, str]) -> Annotator:
    from tamis.scorers.models.folder import read_model_folder
    from tamis.scorers.perplexity.buckets import stored_percentiles
    from tamis.scorers.perplexity.perplexity import NgramPerplexity

    def load(suffix: str) -> Scorer:
        return NgramPerplexity(
            models[f"model{suffix}"],
            tokenizer=models.get(f"tokenizer{suffix}", models.get("tokenizer", config.tokenizer)),
            normalizer=config.normalizer,
            policy=config.policy,
            mode=config.mode,
            name=config.name,
        )

    made: Annotator
    if "{language}" in config.model:
        made = _LanguageAnnotator(lambda code: load(f".{code}"), config.languages or ())
    else:
        made = _TextAnnotator(load(""))
    if config.bucket == "ccnet":
        return _BucketAnnotator(made, config, "ccnet")
    if config.bucket == "model":
        folder = read_model_folder(Path(models.get("model", next(iter(models.values())))))
        return _BucketAnnotator(made, config, stored_percentiles(folder))
    return made
