"""The config of `tamis train preselect`: a sample of documents, models to measure on it, a classifier to train."""

from itertools import combinations
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from tamis.schemas.base import Model, canonical_json, digest
from tamis.schemas.config import InputConfig

__all__ = [
    "ClassifierOptions",
    "DomainSample",
    "ExampleOptions",
    "LossOptions",
    "MeasuredModel",
    "PreselectTraining",
]

RESERVED = ("doc_id", "url", "source", "domain", "strength", "label")
"""Columns of the table of losses that no model may be called like."""


class MeasuredModel(Model):
    """A causal language model, and how good it is."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", description="names its column of losses")
    path: str = Field(description="a folder, a GGUF file, or hf://ORG/REPO[@REVISION]")
    gguf_file: str | None = Field(default=None, description="name of a GGUF file in the folder")
    score: float = Field(allow_inf_nan=False, description="average over downstream benchmarks, higher is better")

    @field_validator("name")
    @classmethod
    def _free(cls, value: str) -> str:
        if value.lower() in RESERVED:
            msg = f"a model can't be called {value!r}, which is another column of the table of losses"
            raise ValueError(msg)
        return value


class DomainSample(Model):
    """The documents to measure: equally many from each of the most frequent domains."""

    domains: int = Field(default=3000, gt=0, description="number of domains, the most frequent ones")
    per_domain: int = Field(default=300, gt=0, description="documents from each, drawn by a hash of id and seed")


class LossOptions(Model):
    """How losses are measured."""

    context: int | None = Field(default=None, ge=2, description="tokens in a window; what the model takes if absent")
    stride: int | None = Field(default=None, ge=1, description="tokens that a further window counts; half a window")
    batch_tokens: int = Field(default=4096, gt=0, description="most tokens in a batch: bounds memory")
    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, mps; auto takes a GPU if there is one")
    threads: int | None = Field(default=None, gt=0, description="of the CPU a worker; an equal share of the cores")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(default="float32", description="of the models' numbers")
    shard_mb: float = Field(default=1.0, gt=0, description="text of a shard, in 10^6 bytes: what a rerun resumes by")


class ExampleOptions(Model):
    """Which documents become examples."""

    balance_domains: bool = Field(default=True, description="as many negatives as positives from each domain")
    limit: int | None = Field(default=None, gt=0, description="most examples a class")
    held_out: float = Field(default=0.1, ge=0, lt=1, description="share of the examples to measure accuracy on")


class ClassifierOptions(Model):
    """fastText's options; the defaults are the paper's, and one thread, so that training can be repeated."""

    epoch: int = Field(default=3, gt=0)
    lr: float = Field(default=0.1, gt=0)
    dim: int = Field(default=100, gt=0)
    word_ngrams: int = Field(default=2, gt=0)
    minn: int = Field(default=0, ge=0)
    maxn: int = Field(default=0, ge=0)
    min_count: int = Field(default=1, gt=0)
    bucket: int = Field(default=2_000_000, gt=0)
    loss: Literal["softmax", "hs", "ova", "ns"] = "softmax"
    thread: int = Field(default=1, gt=0, description="more than one gives another model every time")
    seed: int = Field(default=0, ge=0, lt=2**31)


class PreselectTraining(Model):
    """From documents and models to a classifier."""

    name: str = "preselect"
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the draw of documents")
    inputs: tuple[InputConfig, ...] = Field(min_length=1)
    models: tuple[MeasuredModel, ...]
    sample: DomainSample = DomainSample()
    losses: LossOptions = LossOptions()
    examples: ExampleOptions = ExampleOptions()
    fasttext: ClassifierOptions = ClassifierOptions()
    output: str = Field(default="runs/preselect", description="the model's folder")

    @field_validator("inputs")
    @classmethod
    def _order_free(cls, value: tuple[InputConfig, ...]) -> tuple[InputConfig, ...]:
        return tuple(sorted(value, key=lambda entry: (entry.source, canonical_json(entry.model_dump(mode="json")))))

    @field_validator("models")
    @classmethod
    def _comparable(cls, value: tuple[MeasuredModel, ...]) -> tuple[MeasuredModel, ...]:
        if len(value) < 2:
            msg = f"predictive strength compares models: give at least two, not {len(value)} (the paper has six)"
            raise ValueError(msg)
        for first, second in combinations(value, 2):
            if first.name.lower() == second.name.lower():  # SQL doesn't tell them apart
                msg = f"two models are called {first.name!r}: give each a name of its own"
                raise ValueError(msg)
            if first.score == second.score:
                msg = (
                    f"{first.name} and {second.name} have the same score {first.score:g}, so that no document could "
                    "tell them apart as the benchmark does: leave one out"
                )
                raise ValueError(msg)
        return tuple(sorted(value, key=lambda model: model.score))

    @model_validator(mode="after")
    def _windows_fit(self) -> "PreselectTraining":
        context, stride = self.losses.context, self.losses.stride
        if context is not None and stride is not None and stride >= context:
            msg = f"losses.stride is {stride}: it must be below losses.context, {context}"
            raise ValueError(msg)
        return self

    def digest(self, models: dict[str, str]) -> str:
        """Return the SHA-256 of all that can change the classifier, models by their digests and not their places.

        Args:
            models: name to SHA-256.
        """
        plain: dict[str, Any] = self.model_dump(mode="json", exclude={"name", "output"})
        for model in plain["models"]:
            del model["path"], model["gguf_file"]
            model["sha256"] = models[model["name"]]
        for option in ("batch_tokens", "device", "threads", "shard_mb"):  # change no more than rounding does
            del plain["losses"][option]
        return digest(plain)
