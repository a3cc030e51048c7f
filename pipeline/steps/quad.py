"""`quad`: clusters drawn by a bandit, by the influence of a few of their documents on a reference loss."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision, Fit
from tamis.pipeline.steps.base import DOCUMENT_BYTES, FoundFile, Memory, Step
from tamis.pipeline.steps.files import find_documents, find_model
from tamis.pipeline.steps.papers import QUAD
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import FORUM, PROSE, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.pipeline.corpus.quad import Quad
    from tamis.pipeline.corpus.quad_direction import Proxy
    from tamis.scorers.influence.size import ProxySize

__all__ = ["QuadStep"]

_GUIDE = Guide(
    formula="""\
influence of d    =  grad L_ref^T (H + damping)^-1 grad L_d,   H by K-FAC or EK-FAC, L the proxy's loss
cluster score     =  mean influence of its probes + alpha x sqrt(2 ln N / n_i)
round             =  the `per_round` best clusters are probed; whose probe's mean is above tau gives `block` documents
first turn        =  gives its probe alone, as the best clusters aren't known yet (`first_turn`)
kept              =  accepted blocks, until the budget is spent""",
    follows="""\
Quad's estimator and bandit, with what the paper leaves open (units of influence, order within clusters, what a pass
scores) fixed; [Quad](../quad.md) says how. `tamis quad replay` tries other options on a run's scores.""",
    example="""\
- embed: {dimensions: 64, write: false}
- cluster: {clusters: 8}
- quad:
    reference: examples/corpus/target.jsonl.zst
    proxy: models/proxy
    fraction: 0.2
    probe: 2
    block: 10
    chunks: 1
    reference_documents: 32
    sample: 32""",
    query="SELECT title, documents, scored, round(mean_influence, 2) AS influence, selected FROM quad_clusters "
    "ORDER BY selected DESC, influence DESC",
    inputs=(
        FORUM,
        PROSE,
    ),
    before="tamis train proxy examples/corpus/books.jsonl.zst --text body -o models/proxy --steps 60",
)


class QuadStep(Step):
    """Influence on a reference set, estimated for a few documents of each cluster; a bandit spends the budget by it."""

    verb: ClassVar[str] = "quad"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (QUAD,)
    reference: Annotated[str, FilePath] = Field(description="files of the documents whose loss is to fall")
    proxy: Annotated[str, FilePath] = Field(
        description="a causal language model: a folder, of `tamis train proxy` say, or a GGUF file"
    )
    by: tuple[str, ...] = Field(
        default=("cluster",), min_length=1, description="columns that say a document's cluster, together"
    )
    budget: Annotated[float | None, Decides] = Field(default=None, ge=0, description="how much to select, in `unit`")
    fraction: Annotated[float | None, Decides] = Field(
        default=None, gt=0, le=1, description="the same as a share of the pool"
    )
    unit: Literal["documents", "bytes", "tokens"] = Field(
        default="documents", description="of the budget; tokens are the proxy's"
    )
    alpha: Annotated[float, Decides] = Field(
        default=0.5, ge=0, description="weight of exploration, in standard deviations of influence"
    )
    tau: Annotated[float, Decides] = Field(
        default=0.0, description="a probe's mean must be above it, in standard deviations from the pool's mean"
    )
    probe: Annotated[int, Decides] = Field(default=8, ge=1, description="documents scored at a cluster's turn")
    block: Annotated[int | None, Decides] = Field(
        default=None,
        ge=1,
        description="documents selected at an accepted turn; a hundredth of the budget, at least 10 probes, if absent",
    )
    first_turn: Annotated[Literal["probe", "block"], Decides] = Field(
        default="probe",
        description="what a cluster's first turn can select; probe: blocks are given when all clusters were looked at",
    )
    per_round: Annotated[int, Decides] = Field(default=10, ge=1, description="clusters drawn in a round")
    rounds: Annotated[int, Decides] = Field(default=100_000, ge=1, description="at most")
    neighbours: Annotated[float | None, Decides] = Field(
        default=None,
        gt=0,
        le=2,
        description="clusters at a smaller cosine distance learn from each other; none if absent",
    )
    embedding: Annotated[str, Decides] = Field(default="embedding", description="column of vectors, for `neighbours`")
    passes: Annotated[int, Decides] = Field(default=16, ge=1, le=200, description="over the corpus to score, at most")
    ahead: Annotated[int | None, Decides] = Field(
        default=None, ge=1, description="documents scored in each pass after the first; those of a round if absent"
    )
    text: str = Field(default="text", description="the text field of the reference files")
    reference_documents: int = Field(default=256, ge=1, description="of the reference that are looked at, at most")
    sample: int = Field(default=256, ge=1, description="documents of the pool that the curvature is estimated on")
    curvature: Literal["none", "kfac", "ekfac"] = Field(
        default="kfac", description="of the loss: K-FAC, EK-FAC; none: a product of gradients"
    )
    damping: float = Field(
        default=0.1, gt=0, description="added to the curvature's eigenvalues, as a share of their mean"
    )
    attention: Literal["fused", "split"] = Field(
        default="fused", description="query, key and value projections as one block, or as three"
    )
    layers: str | None = Field(
        default=None, description="regular expression for names of the modules that count; all linear ones if absent"
    )
    context: int | None = Field(default=None, ge=2, description="tokens of a chunk; what the proxy takes if absent")
    chunks: int | None = Field(
        default=4, ge=1, description="of a document that are looked at, from its start; null: all"
    )
    batch_tokens: int = Field(default=2048, ge=1, description="in a batch of a document's chunks")
    device: str = Field(default="auto", description="as PyTorch calls it; auto: the first GPU, else the CPU")
    name: str = Field(default="quad", pattern=NAME, description="begins the columns' names")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.budget is None) == (self.fraction is None):
            msg = "give either `budget` (so many of `unit`) or `fraction` (a share of the pool)"
            raise ValueError(msg)
        if self.block is not None and self.block < self.probe:
            msg = f"block is {self.block}: it begins with the probe, so it must be at least probe ({self.probe})"
            raise ValueError(msg)
        return self

    @property
    def _cost(self) -> str | None:
        """The column of what documents cost."""
        return None if self.unit == "documents" else f"{self.name}_{self.unit}"

    @property
    def rule_names(self) -> tuple[str, ...]:
        """A turn that wasn't accepted, a turn that never came, and in no cluster."""
        return (f"{self.name}_influence_min", f"{self.name}_budget", f"{self.name}_no_cluster")

    def columns(self, models: Mapping[str, str]) -> pa.Schema:
        """Return what documents cost, where that isn't one each; known before the fit."""
        del models
        if self._cost is None:
            return pa.schema([])
        field = described(self._cost, pa.int64(), f"{self.unit} of the text, as the budget counts them")
        return pa.schema([field])

    def annotator(self, models: Mapping[str, str]) -> Annotator | None:
        """Return what measures documents."""
        if self.unit == "documents":
            return None
        return _Bytes(self.columns(models)) if self.unit == "bytes" else _Tokens(self.columns(models), models["proxy"])

    @property
    def over_corpus(self) -> bool:
        """Always."""
        return True

    @property
    def corpus_columns(self) -> pa.Schema:
        """Cluster, influence, round, and whether the document was scored."""
        from tamis.pipeline.corpus.quad import quad_schema

        return quad_schema(self.name)

    @property
    def fits(self) -> bool:
        """Always: the direction that documents are scored along."""
        return True

    def fit(self, corpus: Corpus) -> Fit:
        """Fit the direction."""
        from tamis.pipeline.corpus.quad_direction import fit_proxy_direction

        return fit_proxy_direction(corpus, self._proxy(corpus))

    def decide(self, corpus: Corpus) -> Decision:
        """Score probes and play."""
        from tamis.pipeline.corpus.quad import decide_quad

        return decide_quad(corpus, self._quad(), self._proxy(corpus))

    def _proxy(self, corpus: Corpus) -> "Proxy":
        from tamis.pipeline.corpus.quad_direction import Proxy

        return Proxy(
            model=corpus.stage.model_paths("")["proxy"],
            device=self.device,
            reference=self.reference,
            text=self.text,
            documents=self.reference_documents,
            sample=self.sample,
            influence=self._influence(),
        )

    def _influence(self) -> dict[str, Any]:
        names = ("curvature", "damping", "attention", "layers", "context", "chunks", "batch_tokens")
        return {name: getattr(self, name) for name in names}

    def _quad(self) -> "Quad":
        from tamis.pipeline.corpus.quad import Quad

        return Quad(
            name=self.name,
            by=self.by,
            unit=self.unit,
            cost=self._cost,
            budget=self.budget,
            fraction=self.fraction,
            alpha=self.alpha,
            tau=self.tau,
            probe=self.probe,
            block=self.block,
            per_round=self.per_round,
            rounds=self.rounds,
            neighbours=self.neighbours,
            embedding=self.embedding,
            passes=self.passes,
            ahead=self.ahead,
            first_turn=self.first_turn,
        )

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find the proxy, or the files of the reference set.

        Raises:
            ModelError: if there are none, or no document in them.
        """
        if option == "reference":
            return {option: find_documents(self.label, option, reference, self.text)}
        return {option: find_model(self.label, option, reference)}

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Find columns that are missing, and a proxy that can't be used.

        Raises:
            ConfigError: if an option doesn't fit columns or proxy.
            ModelError: if the proxy can't be loaded.
        """
        for name in self.by:
            found = available.get(name)
            if found is None:
                hint = ": put the steps `embed` and `cluster` before it" if name == "cluster" else ""
                msg = f"step {self.label}: by: no column {name!r} at this point{hint}"
                raise ConfigError(msg)
            kind = found.type
            if not (pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
                msg = f"step {self.label}: by: column {name!r} holds {kind}; text, whole numbers and true or false do"
                raise ConfigError(msg)
        if self.neighbours is not None:
            vectors = available.get(self.embedding)
            if vectors is None or not pa.types.is_fixed_size_list(vectors.type):
                msg = f"step {self.label}: neighbours: there is no column of vectors {self.embedding!r} at this point"
                raise ConfigError(msg)
        from tamis.scorers.causal.models import check_causal_model
        from tamis.scorers.influence.fit import InfluenceOptions
        from tamis.scorers.influence.size import proxy_size

        check_causal_model(models["proxy"], context=self.context)
        proxy_size(models["proxy"], InfluenceOptions(**self._influence()))

    def _batch(self, size: "ProxySize") -> int:
        """Return the tokens of the largest batch: one of the reference or of the sample, as far as these fill it."""
        chunks = self.batch_tokens if self.chunks is None else self.chunks * max(self.reference_documents, self.sample)
        return max(size.context, min(size.batch, chunks * size.context))

    def costs(self, documents: int, models: Mapping[str, FoundFile], before: Sequence[Step]) -> tuple[str, ...]:
        """Say how much of the pool is scored about, how long that takes here, and what it holds in memory."""
        from tamis.scorers.influence.fit import InfluenceOptions
        from tamis.scorers.influence.size import chunk_seconds, proxy_size

        size = proxy_size(models["proxy"].path, InfluenceOptions(**self._influence()))
        seconds, device = chunk_seconds(models["proxy"].path, size.context, self.device)
        known = [[step.values_of(name) for step in before if step.values_of(name) is not None] for name in self.by]
        clusters = math.prod(values[-1] or 1 for values in known) if all(known) else None
        document = {"documents": 1.0, "bytes": float(DOCUMENT_BYTES), "tokens": DOCUMENT_BYTES / 4}[self.unit]
        wanted = (self.fraction or 0.0) * documents if self.budget is None else self.budget / document
        block = self.block or max(10 * self.probe, math.ceil(wanted / 100))
        if self.first_turn == "probe":  # all clusters are compared first; then most turns are accepted
            turns = (clusters or 0) + math.ceil(1.25 * wanted / block)
        else:
            turns = max(clusters or 0, math.ceil(2 * wanted / block))  # as if every other turn is accepted
        scored = min(documents, turns * self.probe)
        per_document = math.ceil(DOCUMENT_BYTES / 4 / (size.context - 1))
        if self.chunks is not None:
            per_document = min(per_document, self.chunks)
        chunks = scored * per_document
        # With a backward pass: three passes where scoring has two; EK-FAC looks at the sample twice. For each group of
        # layers the sample passes once more, and backward as far as the group's first layer: half of it in the mean.
        looks = {"none": 0, "kfac": 1, "ekfac": 2}[self.curvature] * (0.5 * size.groups + 0.5 * (size.groups + 1))
        fitting = per_document * (1.5 * self.reference_documents + looks * min(self.sample, documents)) * seconds
        share = scored / documents if documents else 0.0
        batches = size.activations * self._batch(size)
        unsure = "" if clusters else "; the number of clusters isn't known before the run"
        return (
            f"scores about {scored:,} of {documents:,} documents ({share:.1%}), {chunks:,} chunks of up to "
            f"{size.context:,} tokens{unsure}",
            f"{1 / seconds:,.1f} chunks/s on one {device} here: about {_time(chunks * seconds)} over all workers, "
            f"and up to {_time(fitting)} before that in one worker, to fit the direction",
            f"{size.parameters / 1e6:,.1f} M parameters: {size.fitting / 1e6:,.0f} MB to fit the direction, in one "
            f"worker, and {size.scoring / 1e6:,.0f} MB to score, in each; {batches / 1e6:,.0f} MB of batches",
        )

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """The larger of fitting and scoring, what documents cost, and the bandit's own tables."""
        from tamis.scorers.influence.fit import InfluenceOptions
        from tamis.scorers.influence.size import proxy_size

        size = proxy_size(models["proxy"].path, InfluenceOptions(**self._influence()))
        costs = 0 if self._cost is None else 60 * documents
        batches = size.activations * self._batch(size)
        return Memory(worker=max(size.fitting, size.scoring) + batches + costs + 400 * min(documents, 1_000_000))


def _time(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds < 120 else f"{seconds / 60:,.0f} minutes"


class _Bytes:
    """The length of texts."""

    requires = ("text",)

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the bytes of each row's text, UTF-8."""
        sizes = pc.binary_length(batch.column("text")).cast(pa.int64())
        return pa.RecordBatch.from_arrays([sizes], schema=self.schema)


class _Tokens:
    """The number of a proxy's tokens in texts."""

    requires = ("text",)

    def __init__(self, schema: pa.Schema, proxy: str) -> None:
        from tamis.scorers.causal.models import load_tokenizer

        self.schema = schema
        self._tokenizer = load_tokenizer(proxy)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the tokens of each row's text."""
        from tamis.scorers.causal.models import text_tokens

        counts = [len(text_tokens(self._tokenizer, text)) if text else 0 for text in batch.column("text").to_pylist()]
        return pa.RecordBatch.from_arrays([pa.array(counts, pa.int64())], schema=self.schema)
