"""`embed`: a vector for each document, near where documents are about the same."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from tamis.pipeline.steps.base import FoundFile, Memory, Step
from tamis.schemas.errors import ModelError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.step import NAME, FilePath
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.scorers.embeddings.columns import Encoder

__all__ = ["EmbedStep"]

Kind = Literal["hashed", "static", "transformers"]
_OPTIONS: Mapping[Kind, tuple[str, ...]] = {
    "hashed": ("dimensions", "ngrams", "units", "projection"),
    "static": ("max_tokens",),
    "transformers": ("max_tokens", "pooling", "prefix", "device", "dtype"),
}
"""What only some encoders take."""
_NO_ENCODERS = ("model2vec", "wordllama")
"""Kinds of model, as their config calls them, that have vectors of tokens alone."""

_GUIDE = Guide(
    formula="""\
hashed         =  sum over n-grams g of (1 + ln count(g)) x sparse random signs of hash(g), `dimensions` long
static         =  mean of the vectors of the text's tokens
transformers   =  mean over tokens of the last layer, or its first token (`pooling`)""",
    follows="""\
Hashed: feature hashing (Weinberger et al. 2009) under a sparse Johnson-Lindenstrauss transform (Kane and Nelson
2014), so that angles between documents stay within 1/sqrt(dimensions). Static: model2vec's and wordllama's own
vectors. The rest: transformers', the same in any batch.""",
    example="""\
- embed: {dimensions: 64, ngrams: 1}""",
    query="SELECT source, count(*) AS documents, any_value(len(embedding)) AS dimensions FROM documents GROUP "
    "BY source ORDER BY source",
    inputs=(
        FORUM,
        PROSE,
    ),
)


class EmbedStep(Step):
    """A vector for each document: of hashed n-grams, of static embeddings, or by a transformers encoder."""

    verb: ClassVar[str] = "embed"
    guide: ClassVar[Guide] = _GUIDE
    encoder: Literal["auto", "hashed", "static", "transformers"] = Field(
        default="auto", description="auto: hashed n-grams without a `model`, else what its folder holds"
    )
    model: Annotated[str | None, FilePath] = Field(
        default=None, description="a folder of static embeddings (model2vec, wordllama) or of a transformers encoder"
    )
    name: str = Field(default="embedding", pattern=NAME, description="the column")
    write: bool = Field(default=True, description="false: later steps see the column, the run's shards don't")
    dimensions: int = Field(default=256, ge=1, le=65536, description="of hashed: length of the vectors")
    ngrams: int = Field(default=2, ge=1, le=16, description="of hashed: longest n-gram")
    units: Literal["words", "bytes"] = Field(
        default="words", description="of hashed: what n-grams are made of; languages without blanks need bytes"
    )
    projection: int = Field(default=0, ge=0, le=2**63, description="of hashed: seed of the projection")
    max_tokens: int | None = Field(default=None, ge=1, description="of a model: tokens of a text looked at")
    pooling: Literal["mean", "cls"] = Field(default="mean", description="of transformers: what the model learned with")
    prefix: str = Field(default="", description="of transformers: put before each text, as E5 and others want it")
    device: str = Field(default="cpu", description="of transformers: as PyTorch calls it, or auto")
    dtype: Literal["float32", "bfloat16", "float16"] = Field(default="float32", description="of transformers")

    @model_validator(mode="after")
    def _fits_encoder(self) -> Self:
        kinds: tuple[Kind, ...]
        if self.encoder == "auto":
            kinds = ("hashed",) if self.model is None else ("static", "transformers")
        else:
            kinds = (self.encoder,)
        if self.encoder == "hashed" and self.model is not None:
            msg = "hashed n-grams need no `model`: leave it out, or choose another `encoder`"
            raise ValueError(msg)
        if self.encoder in ("static", "transformers") and self.model is None:
            msg = f"encoder {self.encoder} needs a `model`: its folder"
            raise ValueError(msg)
        taken = {option for kind in kinds for option in _OPTIONS[kind]}
        every = {option for options in _OPTIONS.values() for option in options}
        for option in sorted(self.model_fields_set & (every - taken)):
            msg = f"`{option}` changes nothing of {' or '.join(kinds)} embeddings: leave it out"
            raise ValueError(msg)
        return self

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the encoder.

        Raises:
            ModelError: if the model can't be loaded.
        """
        from tamis.scorers.embeddings.columns import EmbeddingColumn

        encoder, alone = self._encoder(models)
        return EmbeddingColumn(encoder, self.name, internal=not self.write, alone=alone)

    def _encoder(self, models: Mapping[str, str]) -> "tuple[Encoder, bool]":
        if "model" not in models:
            from tamis.scorers.embeddings.hashed import HashedEmbeddings

            made = HashedEmbeddings(self.dimensions, ngrams=self.ngrams, units=self.units, seed=self.projection)
            return made, False
        folder = models["model"]
        kind = _kind_of(Path(folder)) if self.encoder == "auto" else self.encoder
        if kind == "static":
            from tamis.scorers.embeddings.static import StaticEmbeddings

            return StaticEmbeddings(folder, max_tokens=self.max_tokens), False
        from tamis.scorers.embeddings.encoder import EncoderEmbeddings

        encoder = EncoderEmbeddings(
            folder,
            pooling=self.pooling,
            max_tokens=self.max_tokens,
            prefix=self.prefix,
            device=self.device,
            dtype=self.dtype,
        )
        return encoder, True

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the model; it must be a folder.

        Raises:
            ModelError: if there is none.
        """
        found = super().find(option, reference)
        if not Path(found[option].path).is_dir():
            msg = f"step {self.label}: model: {reference} is a file; give the folder that holds model and tokenizer"
            raise ModelError(msg)
        return found

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """The model, loaded by each worker."""
        del documents
        return Memory(worker=2 * sum(model.bytes for model in models.values()))


def _kind_of(folder: Path) -> Kind:
    """Return which kind of model a folder holds: a config that names an encoder's architecture, or vectors alone."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return "static"
    kind = config.get("model_type") if isinstance(config, dict) else None
    return "static" if kind is None or kind in _NO_ENCODERS else "transformers"
