"""The config of a mixture: groups, budget, proportions given or estimated, and what is done where a group runs out."""

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from tamis.schemas.base import Model, digest, nearest, validate

__all__ = [
    "ControllerEstimate",
    "CorrelationEstimate",
    "CurveConfig",
    "Estimate",
    "FillConfig",
    "MixMinEstimate",
    "MixtureConfig",
    "ProxyConfig",
    "RunsEstimate",
    "StageConfig",
    "StateEstimate",
    "TextFiles",
    "TokenizerConfig",
]

Share = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TextFiles(Model):
    """Files of documents."""

    path: tuple[str, ...] = Field(min_length=1, description="a file, folder, glob or URL, or a list of them")
    text: str = Field(default="text", description="field of the text")

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class TokenizerConfig(Model):
    """A tokenizer, and how it ends a document."""

    path: str = Field(
        min_length=1,
        description="`tokenizer.json`, a folder with one, a SentencePiece model, or `bytes`: each byte is a token",
    )
    end: str | None = Field(
        default=None, description="the end-of-document token; absent: the one that the tokenizer is known to have"
    )
    special_tokens: bool = Field(default=False, description="let the tokenizer put its own special tokens around")

    @property
    def name(self) -> str:
        """The file's or folder's name."""
        return PurePosixPath(self.path).name


class CurveConfig(Model):
    """An upsampling curve over ranges of quality (Dolma 3's): better documents are seen more often."""

    ranges: int = Field(default=20, ge=2, description="ranges of equally many documents, by quality")
    cap: float = Field(default=7.0, gt=0, allow_inf_nan=False, description="most times that the best range is seen")
    throwaway: float = Field(default=0.4, ge=0, lt=1, description="share of the tokens, from the worst on, left out")


class FillConfig(Model):
    """Which documents of a group fill its quota first."""

    by: str | None = Field(default=None, description="column of quality, best first; absent: in keyed-hash order")
    best: Literal["high", "low"] = Field(default="high", description="which values of the column are good")
    curve: CurveConfig | None = Field(default=None, description="take better documents more often, none in order")

    @model_validator(mode="after")
    def _curve_needs_quality(self) -> "FillConfig":
        if self.curve is not None and self.by is None:
            msg = "a curve needs the column of quality: give `by` too"
            raise ValueError(msg)
        return self


class StageConfig(Model):
    """A part of a schedule."""

    proportions: dict[str, Share] = Field(min_length=1, description="group to share, in any scale")
    length: Positive = Field(default=1.0, description="of the stage, beside the other stages' lengths")


class MixMinEstimate(Model):
    """MixMin: the mixture of the groups' n-gram models that fits a target best; no torch, seconds."""

    method: Literal["mixmin"] = "mixmin"
    target: TextFiles = Field(description="documents that the mixture shall fit")
    order: int = Field(default=3, ge=1, le=6, description="the longest n-grams")
    group_mb: Positive = Field(default=4.0, description="text that each group's model learns from, in 10^6 bytes")
    target_mb: Positive = Field(default=1.0, description="text of the target that is scored, in 10^6 bytes")
    tolerance: Positive = Field(default=1e-6, description="nats a token that may still be to gain")


class RunsEstimate(Model):
    """Regression over runs on other mixtures, as Olmix, DML and RegMix do it, or simply the best of the runs."""

    method: Literal["olmix", "dml", "regmix", "best_run"] = Field(description="how the runs are read")
    ratios: str = Field(description="CSV with a row a run, a column a group")
    metrics: str = Field(description="CSV with a row a run, a column a metric, lower is better")
    weights: dict[str, Share] | None = Field(default=None, description="of metrics; absent: all, equally")
    kl: float | None = Field(default=None, ge=0, description="weight of the divergence from the groups' sizes")
    keep: dict[str, dict[str, Share]] | None = Field(
        default=None, description="name to proportions of groups that stay as they are and count as one: reuse"
    )


class CorrelationEstimate(Model):
    """Perplexity correlations: groups on which better models have lower losses, as `tamis train preselect` measures."""

    method: Literal["perplexity_correlations"] = "perplexity_correlations"
    losses: str = Field(description="losses.parquet of `tamis train preselect`")
    by: Literal["source", "domain"] = Field(default="source", description="column of the losses that names groups")
    scores: dict[str, float] = Field(min_length=2, description="benchmark score of each model, higher is better")
    estimator: Literal["spearman", "sign_cdf", "sign_sign"] = Field(
        default="spearman", description="how losses are correlated with scores"
    )


class StateEstimate(Model):
    """A controller that another program drove, by `tamis mix drive` or in Python."""

    method: Literal["state"] = "state"
    file: str = Field(description="the controller's saved state")


class ProxyConfig(Model):
    """A small causal language model, and how it is trained."""

    model: dict[str, Any] = Field(
        default={"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4},
        description="configuration as transformers has it; sizes of vocabulary and context are filled in",
    )
    tokenizer: TokenizerConfig = TokenizerConfig(path="bytes")
    context: int = Field(default=128, ge=2, description="tokens of a row")
    batch_rows: int = Field(default=8, ge=1, description="rows of a batch")
    learning_rate: Positive = Field(default=1e-3, description="largest")
    final_learning_rate: float = Field(default=0.0, ge=0, description="at the end")
    warmup_steps: int = Field(default=20, ge=0)
    schedule: Literal["cosine", "constant"] = Field(
        default="cosine", description="of the learning rate after the warm-up"
    )
    weight_decay: float = Field(default=0.01, ge=0)
    validation_rows: int = Field(default=32, ge=1, description="fixed rows of each group or set that are measured")
    group_mb: Positive = Field(default=8.0, description="text of each group that rows are made of, in 10^6 bytes")
    device: str = Field(default="cpu", description="cpu, cuda, auto: auto takes a GPU if there is one")
    threads: int = Field(default=1, ge=1, description="of the CPU, for each model")


class ControllerEstimate(Model):
    """A proxy model is trained while a controller looks for the mixture (extra `lm`)."""

    method: Literal["aioli", "skill_it", "doremi", "doge", "dga", "swarm"] = Field(description="the controller")
    options: dict[str, Any] = Field(default={}, description="the controller's own")
    proxy: ProxyConfig = ProxyConfig()
    target: TextFiles | None = Field(default=None, description="of alignments (dga)")


Estimate: TypeAlias = MixMinEstimate | RunsEstimate | CorrelationEstimate | StateEstimate | ControllerEstimate

_ESTIMATES: dict[str, type[Model]] = {
    "mixmin": MixMinEstimate,
    **dict.fromkeys(("olmix", "dml", "regmix", "best_run"), RunsEstimate),
    "perplexity_correlations": CorrelationEstimate,
    "state": StateEstimate,
    **dict.fromkeys(("aioli", "skill_it", "doremi", "doge", "dga", "swarm"), ControllerEstimate),
}


class MixtureConfig(Model):
    """How much of each group is trained on, and what is done where a group runs out; see `tamis mix`."""

    by: str = Field(default="source", min_length=1, description="column that names the groups; `meta.key` reaches in")
    missing: str | None = Field(default=None, description="group of documents without a value; absent: an error")
    unit: Literal["tokens", "bytes", "documents"] = Field(default="bytes", description="of budget and quotas")
    tokenizer: TokenizerConfig | None = Field(default=None, description="that counts tokens; they become a column")
    budget: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="of the whole; absent: with proportions what no group must repeat for, else all"
    )
    proportions: dict[str, Share] | None = Field(default=None, description="group to share, in any scale")
    stages: tuple[StageConfig, ...] | None = Field(default=None, description="a schedule: mixtures in turn")
    estimate: Estimate | None = Field(default=None, description="find the proportions: `{method: ..., ...}`")
    without: Literal["union", "equal", "unimax"] | None = Field(
        default=None, description="what the shares are if none of these is given: by size, equal, or UniMax's"
    )
    schedule: Literal["mean", "rounds"] = Field(
        default="mean", description="of an estimate with rounds, or of stages: their mean, or each in its turn"
    )
    exhausted: Literal["repeat", "once", "shrink", "error"] = Field(
        description="a group has too little: repeat it up to `max_epochs` and give the rest to the others; the same "
        "with one epoch; shrink the budget, shares stay; refuse"
    )
    max_epochs: float = Field(default=4.0, ge=1, allow_inf_nan=False, description="most passes over a group")
    fill: FillConfig = FillConfig()
    order: Literal["group", "training"] | None = Field(
        default=None, description="of the shards: a folder a group, or interleaved for training; rounds are training"
    )
    clusters: str | None = Field(
        default=None, description="column of duplicate clusters for times seen; absent: `dup_cluster` if it is there"
    )
    parameters: Positive | None = Field(default=None, description="of the model to train: for warnings of repetition")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the order")
    format: Literal["parquet", "jsonl"] = Field(default="parquet", description="of the shards; JSONL is compressed")
    shard_mb: float = Field(default=256, gt=0, allow_inf_nan=False, description="text of a shard, in 10^6 bytes")

    @field_validator("estimate", mode="before")
    @classmethod
    def _by_method(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        method = value.get("method")
        if method not in _ESTIMATES:
            msg = f"unknown method {method!r}{nearest(str(method), list(_ESTIMATES))}"
            raise ValueError(msg)
        return validate(_ESTIMATES[str(method)], value, f"estimate ({method})")

    @model_validator(mode="after")
    def _fits(self) -> "MixtureConfig":
        given = [name for name in ("proportions", "stages", "estimate", "without") if getattr(self, name) is not None]
        if len(given) != 1:
            told = f"these are {len(given)}: {', '.join(given)}" if given else "none is given"
            msg = f"say what the shares are by one of proportions, stages, estimate and without; {told}"
            raise ValueError(msg)
        if self.unit == "tokens" and self.tokenizer is None:
            msg = "tokens are counted by a tokenizer: name one, or choose the unit bytes or documents"
            raise ValueError(msg)
        if self.schedule == "rounds" and self.stages is None and self.estimate is None:
            msg = "a schedule of rounds needs stages, or an estimate that has rounds"
            raise ValueError(msg)
        if self.schedule == "rounds" and self.order == "group":
            msg = "a schedule is a training order: leave `order` out, or take the schedule's mean"
            raise ValueError(msg)
        return self

    @property
    def in_training_order(self) -> bool:
        """Whether shards stand in the order of training."""
        return self.schedule == "rounds" or self.order == "training"

    def resolved(self, files: dict[str, str]) -> dict[str, Any]:
        """Return all that can change a result as plain data, files by their content and not by their place.

        Args:
            files: path as the config names it to SHA-256.
        """
        found: dict[str, Any] = _by_content(self.model_dump(mode="json", exclude={"parameters"}), files)
        return found

    def digest(self, files: dict[str, str]) -> str:
        """Return the SHA-256 of `resolved`."""
        return digest(self.resolved(files))


def _by_content(value: Any, files: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _by_content(inner, files) for key, inner in value.items()}
    if isinstance(value, list):
        return [_by_content(inner, files) for inner in value]
    return f"sha256:{files[value]}" if isinstance(value, str) and value in files else value
