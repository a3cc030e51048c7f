"""`perplexity`: perplexity under an n-gram language model, for quality or against harmful text."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.steps.base import Earlier, FoundFile, Step
from tamis.pipeline.steps.files import digest_path, find_model
from tamis.pipeline.steps.papers import CCNET, HARMFUL, KENLM
from tamis.schemas.errors import ModelError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.keep import Keep
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.annotators import ByLanguage, OverText
from tamis.scorers.base import Annotator, Scorer

if TYPE_CHECKING:
    from tamis.scorers.perplexity.buckets import PercentileTable

__all__ = ["PerplexityStep"]

_GUIDE = Guide(
    formula="""\
<name>_log10_prob    =  log10 probability of all sentences with their ends, under the n-gram model
<name>_tokens        =  words (pieces) + 1 for each sentence, as `mode` counts them
<name>_perplexity    =  10 ^ (-<name>_log10_prob / <name>_tokens)
<name>_log_ratio     =  (log10 P under `model` - log10 P under `against`) x ln 10 / tokens, nats a token
bucket               =  head below the first percentile of its group, tail from the second on, else middle
threshold: model     =  kept above the calibrated perplexity, or below the calibrated ratio""",
    follows="""\
KenLM's scores to the last float32 digit; cc_net's and OSCAR's normalisation, splitting and counting (`mode`).
Harmful text by perplexity alone is Jansen et al.'s; by a ratio of two models, Moore and Lewis's cross-entropy
difference.""",
    example="""\
- perplexity: {model: examples/models/quality, keep: {percentile: [0, 60], by: [source]}}""",
    query="SELECT source, fate, count(*) AS documents, median(quality_perplexity)::INT AS median FROM "
    "documents GROUP BY ALL ORDER BY ALL",
    inputs=(
        FORUM,
        PROSE,
    ),
)


class PerplexityStep(Step):
    """Perplexity under an n-gram model (KenLM), for quality or harmful content, or the ratio to a second model."""

    verb: ClassVar[str] = "perplexity"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (KENLM, CCNET, HARMFUL)
    best: ClassVar[Literal["high", "low"]] = "low"
    model: Annotated[str, FilePath] = Field(
        description="model folder, ARPA or KenLM binary, or hf://; may hold {language}"
    )
    against: Annotated[str | None, FilePath] = Field(
        default=None,
        description="a second model, such as the folder `clean` of one trained with --contrast; then `keep` and "
        "`threshold` are about the log ratio of probabilities, `model` to this one, in nats a token",
    )
    tokenizer: Annotated[str | None, FilePath] = Field(
        default=None, description="SentencePiece model, or none: words; may hold {language}"
    )
    normalizer: str | None = Field(
        default=None, description="ccnet, ccnet-blanks, none and others; the model's own, or the mode's, if absent"
    )
    policy: Literal["document", "lines", "nonblank_lines"] | None = Field(
        default=None, description="what a sentence is; the model's own, or the mode's, if absent"
    )
    mode: Literal["ccnet", "oscar", "kenlm"] | None = Field(
        default=None, description="whose way of splitting and counting; the model's own, or ccnet, if absent"
    )
    name: str = Field(default="quality", pattern=NAME, description="begins the columns' names")
    languages: tuple[str, ...] | None = Field(default=None, description="languages that {language} may take")
    keep: Annotated[Keep, Decides] = Field(default=Keep(), description="by the perplexity, or the ratio")
    threshold: Annotated[Literal["model"] | None, Decides] = Field(
        default=None, description="model: keep what the model's own calibrated threshold doesn't call harmful"
    )
    bucket: Literal["none", "corpus", "model", "ccnet"] = Field(
        default="none", description="head/middle/tail column: by corpus percentiles, the model's table, or cc_net's"
    )
    bucket_percentiles: tuple[float, float] = Field(
        default=(30, 60), description="[lo, hi]: head is below the first, tail from the second on"
    )
    bucket_by: tuple[str, ...] = Field(
        default=("language", "source"), description="of `bucket: corpus`: columns whose groups have cuts of their own"
    )
    bucket_cuts: Annotated[dict[str, tuple[float, float]] | None, Decides] = Field(
        default=None,
        description="of `bucket: corpus`: percentiles that an earlier run found, as its manifest has them, by group: "
        "they hold in place of those of this corpus",
    )

    @property
    def cites(self) -> tuple[Paper, ...]:
        """The harmful-content paper where the model's high perplexities are kept, cc_net's otherwise."""
        harmful = self.threshold is not None or self.keep.min is not None
        return (KENLM, HARMFUL if harmful else CCNET)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        bound = "min" if self.against is None else "max"
        if self.threshold is not None and getattr(self.keep, bound) is not None:
            msg = f"give either `threshold: model` or `keep: {{{bound}: ...}}`"
            raise ValueError(msg)
        if self.against is not None and self.bucket in ("model", "ccnet"):
            msg = f"`bucket: {self.bucket}` is a table of perplexities: with `against` take `bucket: corpus`"
            raise ValueError(msg)
        if not 0 <= self.bucket_percentiles[0] < self.bucket_percentiles[1] <= 100:
            msg = f"bucket_percentiles must be [lo, hi] with 0 <= lo < hi <= 100, got {list(self.bucket_percentiles)}"
            raise ValueError(msg)
        if self.bucket_cuts is not None and self.bucket != "corpus":
            msg = "`bucket_cuts` are of `bucket: corpus`"
            raise ValueError(msg)
        if self.bucket == "ccnet" and self.bucket_percentiles != (30, 60):
            msg = "cc_net's table has the percentiles 30 and 60 only: leave bucket_percentiles out"
            raise ValueError(msg)
        if self.against is not None and "{language}" in self.against and "{language}" not in self.model:
            msg = "`against` is of one language where `model` is: put {language} into both paths, or into `model` alone"
            raise ValueError(msg)
        if "{language}" in self.model and not self.languages:
            msg = "a model path with {language} needs `languages: [...]`, the codes there are models for"
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """Verb and name: there may be several."""
        return f"{self.verb}.{self.name}"

    @property
    def references(self) -> dict[str, str]:
        """Model and tokenizer, one of each for every language where the path holds {language}."""
        named = {"model": self.model}
        if self.against is not None:
            named["against"] = self.against
        if self.tokenizer not in (None, "none"):
            named["tokenizer"] = str(self.tokenizer)
        found: dict[str, str] = {}
        for option, path in named.items():
            if "{language}" in path:
                found |= {f"{option}.{code}": path.replace("{language}", code) for code in self.languages or ()}
            else:
                found[option] = path
        return found

    @property
    def kept_column(self) -> str:
        """The perplexity, or the ratio."""
        return f"{self.name}_perplexity" if self.against is None else f"{self.name}_log_ratio"

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the model, or one a language, and the buckets of a table if they are wanted."""
        from tamis.scorers.models.folder import read_model_folder
        from tamis.scorers.perplexity.buckets import ANY, stored_percentiles
        from tamis.scorers.perplexity.perplexity import NgramPerplexity

        def one(path: str, suffix: str) -> NgramPerplexity:
            return NgramPerplexity(
                path,
                tokenizer=models.get(f"tokenizer{suffix}", models.get("tokenizer", self.tokenizer)),
                normalizer=self.normalizer,
                policy=self.policy,
                mode=self.mode,
                name=self.name,
            )

        def load(suffix: str) -> Scorer:
            model = one(models[f"model{suffix}"], suffix)
            if self.against is None:
                return model
            from tamis.scorers.perplexity.ratio import LikelihoodRatio

            against = models.get(f"against{suffix}", models.get("against", ""))
            return LikelihoodRatio(model, one(against, suffix), name=self.name)

        made: Annotator
        if "{language}" in self.model:
            made = ByLanguage(lambda code: load(f".{code}"), self.languages or ())
        else:
            made = OverText(load(""))
        if self.bucket == "ccnet":
            return _TableBuckets(made, self, "ccnet")
        if self.bucket == "model":
            if "{language}" not in self.model:
                return _TableBuckets(made, self, stored_percentiles(read_model_folder(Path(models["model"]))))
            table: dict[str, Mapping[str, Sequence[float]]] = {}
            for code in self.languages or ():
                own = stored_percentiles(read_model_folder(Path(models[f"model.{code}"])))
                if code in own or ANY in own:
                    table[code] = own.get(code, own.get(ANY, {}))
            return _TableBuckets(made, self, table)
        return made

    @property
    def _bucket_field(self) -> pa.Field:
        text = "head, middle or tail by perplexity; all: no perplexity, or no cut-offs for the language"
        return described(f"{self.name}_bucket", pa.string(), text)

    @property
    def over_corpus(self) -> bool:
        """Its share or percentiles, and buckets by the corpus."""
        return self.keep.needs_corpus or self.bucket == "corpus"

    @property
    def corpus_columns(self) -> pa.Schema:
        """The buckets by the corpus."""
        return pa.schema([self._bucket_field] if self.bucket == "corpus" else [])

    def decide(self, corpus: Corpus) -> Decision:
        """Put into buckets, then keep."""
        from tamis.pipeline.corpus.bucket import Bucketing, corpus_buckets
        from tamis.pipeline.corpus.chain import chained
        from tamis.pipeline.corpus.given import Given
        from tamis.pipeline.corpus.select import select

        if self.bucket != "corpus":
            return select(corpus)
        bucketing = Bucketing(
            self.kept_column, self.bucket_percentiles, self.bucket_by, self._bucket_field, Given(self.bucket_cuts)
        )
        if not self.keep.needs_corpus:
            return corpus_buckets(corpus, bucketing, corpus.stage.state)
        between = corpus.stage.place("bucketed")
        return chained(corpus, between, lambda first, state: corpus_buckets(first, bucketing, state), select)

    def frozen(self, earlier: Earlier) -> Self:
        """Hold the percentiles of buckets fast, and the thresholds of `keep`."""
        step = self
        cuts = earlier.thresholds.get(self._bucket_field.name) if self.bucket == "corpus" else None
        if cuts:
            step = step.changed(bucket_cuts=cuts)
        return step if self.keep.share is None else step._with_thresholds(earlier)

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find a model, and the tokenizer that lies beside it as published models do."""
        found = {option: find_model(self.label, option, reference)}
        alone = self.tokenizer is None and option.startswith("model")
        beside = _tokenizer_beside(Path(found[option].path)) if alone else None
        if beside is not None:
            name = option.replace("model", "tokenizer", 1)
            found[name] = FoundFile(f"{reference}: {beside.name}", str(beside), *digest_path(str(beside)))
        return found

    def resolved(self, models: Mapping[str, FoundFile]) -> Self:
        """Return the step with a number where it keeps what its model's own threshold doesn't call harmful.

        Raises:
            ModelError: if the model has no threshold, or one of another kind or against another model.
        """
        from tamis.scorers.models.folder import read_model_folder

        if self.threshold is None:
            return self
        found = models.get("model")
        settings = read_model_folder(Path(found.path)).settings if found is not None else {}
        contrast = "" if self.against is None else " --contrast"
        if "threshold" not in settings:
            bound = "min" if self.against is None else "max"
            msg = (
                f"step {self.label}: the model {self.model} has no threshold of its own: "
                f"train it with `tamis train lm --harmful{contrast}`, or give `keep: {{{bound}: ...}}`"
            )
            raise ModelError(msg)
        threshold = float(settings["threshold"])
        if self.against is None:
            if settings["harmful"] == "above":
                msg = (
                    f"step {self.label}: the threshold of {self.model} is one of the ratio to its model of clean text: "
                    f"give `against: {self.model}/clean`"
                )
                raise ModelError(msg)
            return self.model_copy(update={"keep": self.keep.model_copy(update={"min": threshold})})
        other = models.get("against")
        known = read_model_folder(Path(other.path)).digest if other is not None else None
        if settings["harmful"] != "above" or settings.get("contrast") != known:
            msg = (
                f"step {self.label}: the threshold of {self.model} isn't one of its ratio to {self.against}: train "
                "both together with `tamis train lm --harmful --contrast`, or give `keep: {max: ...}`"
            )
            raise ModelError(msg)
        return self.model_copy(update={"keep": self.keep.model_copy(update={"max": threshold})})


def _tokenizer_beside(model: Path) -> Path | None:
    """Return `LANG.sp.model` beside a model called `LANG.arpa.bin`, as published models lie: it is read with it."""
    language, found, _ = model.name.partition(".arpa")
    beside = model.with_name(f"{language}.sp.model")
    return beside if found and beside.is_file() else None


class _TableBuckets:
    """Perplexity, and its bucket by a table of cut-offs for each language and source."""

    def __init__(self, inner: Annotator, step: PerplexityStep, table: "PercentileTable | str"):
        self._inner = inner
        self._step = step
        self._table = table
        self.requires = tuple(dict.fromkeys([*inner.requires, "language", "source"]))
        self.schema = inner.schema.append(step._bucket_field)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.perplexity.buckets import buckets

        scored = self._inner.annotate(batch)
        found = buckets(
            scored.column(self._step.kept_column),
            batch.column("language"),
            batch.column("source"),
            table=self._table,
            at=self._step.bucket_percentiles,
            decimals=1 if self._table == "ccnet" else None,
        )
        return pa.RecordBatch.from_arrays([*scored.columns, found], schema=self.schema)
