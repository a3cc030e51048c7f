"""The config of an ablation by merging: one model a part of the corpus, averages instead of trainings."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from tamis.schemas.base import Model
from tamis.schemas.experiment import EvaluationConfig
from tamis.schemas.mixture import ProxyConfig, TextFiles

__all__ = ["MergeConfig"]


class MergeConfig(Model):
    """From one seed model a model for each unit of each group; averages of them stand for trained candidates."""

    run: str = Field(min_length=1, description="a finished run's folder")
    by: str = Field(default="source", min_length=1, description="column that names the groups; `meta.key` reaches in")
    missing: str | None = Field(default=None, description="group of documents without a value; absent: an error")
    proxy: ProxyConfig = ProxyConfig(schedule="constant", warmup_steps=0, learning_rate=1e-3)
    unit_tokens: int = Field(ge=1, description="of a unit: each model is trained on so many, once")
    seed: TextFiles | None = Field(default=None, description="what the seed model learns from; absent: `seed_groups`")
    seed_groups: tuple[str, ...] | None = Field(
        default=None,
        description="groups that the seed model learns from, by size; absent: all (then a new group "
        "means a new seed, and all units again)",
    )
    seed_steps: int = Field(default=300, ge=1, description="of the seed model")
    evaluation: dict[str, EvaluationConfig] = Field(
        default={}, description="sets beside the groups' own validation rows, which are always measured"
    )
    candidates: Literal["subsets", "draws"] = Field(default="subsets", description="all subsets of groups, or mixtures")
    largest: Annotated[int, Field(ge=1)] | None = Field(default=None, description="groups of a subset; two if absent")
    draws: int = Field(default=64, ge=1, description="mixtures drawn around the groups' sizes")
    weights: Literal["macro", "micro"] = Field(
        default="macro", description="of subsets: each group's mean of units counts alike, or each unit"
    )
    check: int = Field(default=0, ge=0, description="candidates that are trained too, to see how far to trust averages")
    random_seed: int = Field(default=0, ge=0, lt=2**31, description="of rows, weights and draws")
    output: str = Field(default="runs/merge", min_length=1, description="the folder of models and results")

    @model_validator(mode="after")
    def _fits(self) -> "MergeConfig":
        row = self.proxy.context * self.proxy.batch_rows
        if self.unit_tokens < row:
            msg = f"unit_tokens is {self.unit_tokens}: one batch takes {row} (context x batch_rows)"
            raise ValueError(msg)
        if self.check in (1, 2):
            msg = "check: a table of fewer than three candidates says nothing; give 0, or 3 or more"
            raise ValueError(msg)
        if self.largest is not None and self.candidates == "draws":
            msg = "`largest` is of subsets: leave it out, or take `candidates: subsets`"
            raise ValueError(msg)
        return self
