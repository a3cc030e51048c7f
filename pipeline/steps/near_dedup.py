"""`near_dedup`: one document of each cluster of near-duplicates."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.corpus.keep_policy import KeepPolicy, check_policy, policy_problem
from tamis.pipeline.steps.base import FoundFile, Memory
from tamis.pipeline.steps.papers import MINHASH
from tamis.pipeline.steps.seen import IndexedStep
from tamis.schemas.guide import PROSE, Guide
from tamis.schemas.paper import Paper
from tamis.schemas.step import NAME, Decides
from tamis.scorers.annotators import OverText
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.scorers.dedup.near_duplicates import NearDuplicates

__all__ = ["NearDedupStep"]

_OF_PRESET = ("shingles", "shingle_size", "folding", "bands", "rows", "permutations")
"""Options that a preset settles."""

_GUIDE = Guide(
    formula="""\
S(d)         =  set of hashes of the shingles of d (words or characters, folded)
sig_k(d)     =  min over s in S(d) of perm_k(s),   k = 1 .. bands x rows
candidates   =  pairs whose rows of some band all agree;  P = 1 - (1 - J^rows)^bands at Jaccard similarity J
J(a, b)      =  |S(a) & S(b)| / |S(a) | S(b)|, computed itself where `verify: shingles`
cluster      =  connected component of the pairs left (`link: component`); one document of each stays""",
    follows="""\
datasketch's signatures and bands with `hash: sha1`; FineWeb's parameters (`preset: fineweb`, 14 bands of 8 over
5-word shingles) and Dolma 3's (`preset: dolma3`, 26 of 11, verified at 0.8). [Duplicates](../duplicates.md)
compares.""",
    example="""\
- near_dedup: {preset: dolma3}""",
    query="SELECT dup_cluster_size, fate, count(*) AS documents FROM documents GROUP BY ALL ORDER BY ALL",
    inputs=(PROSE,),
)


class NearDedupStep(IndexedStep):
    """Near-deduplication over the whole input by MinHash signatures and bands (LSH), verified where asked."""

    verb: ClassVar[str] = "near_dedup"
    guide: ClassVar[Guide] = _GUIDE
    papers: ClassVar[tuple[Paper, ...]] = (MINHASH,)
    name: str | None = Field(default=None, pattern=NAME, description="begins the columns' names, in place of dup")
    preset: Literal["fineweb", "dolma3"] | None = Field(
        default=None, description="fineweb: 5 words, 14 bands of 8 rows; dolma3: 26 of 11, verified by shingles at 0.8"
    )
    shingles: Literal["words", "characters"] | None = Field(
        default=None, description="what texts are cut into; words if nothing says otherwise"
    )
    shingle_size: int | None = Field(
        default=None, ge=1, le=1024, description="words or characters of a shingle; 5 if nothing says otherwise"
    )
    folding: Literal["simplified", "folded", "none"] | None = Field(
        default=None,
        description="simplified (if nothing says otherwise): lower case, no accents, no punctuation, digits alike; "
        "folded: digits as they are",
    )
    hash: Literal["mix64", "sha1"] = Field(default="mix64", description="of shingles; sha1: as datasketch's")
    bands: int | None = Field(default=None, ge=1, le=4096, description="of a signature; 14 if nothing says otherwise")
    rows: int | None = Field(default=None, ge=1, le=4096, description="entries of a band; 8 if nothing says otherwise")
    permutations: int | None = Field(
        default=None, ge=2, le=4096, description="entries to divide into bands by `threshold`; 128 if absent"
    )
    threshold: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Jaccard similarity of near-duplicates: gives the bands, and what is verified (0.8 if absent)",
    )
    verify: Literal["none", "estimate", "shingles"] | None = Field(
        default=None,
        description="candidates by the share of equal entries, or by their shingles; the preset's, or none",
    )
    link: Annotated[Literal["component", "kept"], Decides] = Field(
        default="component", description="kept: only what resembles the document that stays goes, so no chains"
    )
    keep: Annotated[KeepPolicy, Decides] = Field(default="id", description="which document of a cluster stays")
    keep_column: Annotated[str | None, Decides] = Field(default=None, description="what `keep` looks at")
    priorities: Annotated[tuple[str, ...], Decides] = Field(
        default=(), description="of `keep: priority`: values of `keep_column` (source if absent), the best first"
    )
    seed: int = Field(default=1, ge=0, lt=2**32, description="of the permutations, as datasketch's")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem = self._problem() or policy_problem(self.keep, self.keep_column, self.priorities)
        if problem is not None:
            raise ValueError(problem)
        return self

    def _problem(self) -> str | None:
        """Return what contradicts what, in a sentence."""
        given = [name for name in _OF_PRESET if getattr(self, name) is not None]
        if self.preset is not None and given:
            return f"preset {self.preset} says what `{given[0]}` is: leave out one of the two"
        if (self.bands is None) != (self.rows is None):
            return "give `bands` and `rows` together"
        if self.bands is not None and self.permutations is not None:
            return "`bands` and `rows` say how long a signature is: leave `permutations` out"
        if self.permutations is not None and self.threshold is None:
            return "`permutations` are divided by a `threshold`: give it, or `bands` and `rows`"
        if self.threshold is not None and (self.preset or self.bands) and self._verify == "none":
            return "`threshold` decides nothing where bands are given and nothing is verified: give `verify` too"
        return None

    @property
    def _verify(self) -> Literal["none", "estimate", "shingles"]:
        if self.verify is None:
            return "shingles" if self.preset == "dolma3" else "none"
        return self.verify

    @property
    def _prefix(self) -> str:
        return "dup" if self.name is None else self.name

    @property
    def _policy_column(self) -> str | None:
        """The column that the policy looks at."""
        if self.keep == "longest":
            return f"{self._prefix}_length"
        return "source" if self.keep == "priority" and self.keep_column is None else self.keep_column

    def options(self) -> "NearDuplicates":
        """Return what counts as near-duplicates, and which of them stay."""
        from tamis.scorers.dedup.bands import PRESETS, Bands, optimal_bands
        from tamis.scorers.dedup.keep import Keep
        from tamis.scorers.dedup.near_duplicates import NearDuplicates, Verify
        from tamis.scorers.dedup.shingles import Shingles

        default = PRESETS[self.preset or "fineweb"]
        shingles, bands = default.shingles, default.bands
        if self.preset is None:
            shingles = Shingles(
                self.shingles or shingles.unit, self.shingle_size or shingles.size, self.folding or shingles.folding
            )
            if self.bands is not None and self.rows is not None:
                bands = Bands(self.bands, self.rows)
            elif self.threshold is not None:
                bands = optimal_bands(self.threshold, self.permutations or 128)
        verify: dict[str, Verify] = {"none": "none", "estimate": "signatures", "shingles": "shingles"}
        return NearDuplicates(
            Shingles(shingles.unit, shingles.size, shingles.folding, self.hash),
            bands,
            verify[self._verify],
            self.threshold or default.verify or 0.8,
            self.link,
            Keep(self.keep, self.priorities),
            self.seed,
        )

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the signatures of texts."""
        from tamis.scorers.dedup.signature_columns import SignatureColumns

        del models
        options = self.options()
        minima = options.verify == "signatures"
        return OverText(SignatureColumns(options.minhash, options.bands, name=self._prefix, minima=minima))

    @property
    def rule_names(self) -> tuple[str, ...]:
        """A document that resembles one that is kept."""
        return ("near_duplicate",)

    @property
    def over_corpus(self) -> bool:
        """Near-duplicates may lie anywhere."""
        return True

    @property
    def corpus_columns(self) -> pa.Schema:
        """The cluster."""
        from tamis.pipeline.corpus.deduplicate_near import near_schema

        return near_schema(self.name)

    def decide(self, corpus: Corpus) -> Decision:
        """Find the clusters, and keep one document of each."""
        from tamis.pipeline.corpus.deduplicate_near import NearDedup, deduplicate_near
        from tamis.pipeline.corpus.earlier import IndexOptions

        index = IndexOptions.of(corpus.stage, corpus.output, self.index_settings(), write=self.write_index)
        near = NearDedup(self.options(), self.name, self._prefix, self._policy_column, index=index)
        return deduplicate_near(corpus, near)

    def index_settings(self) -> dict[str, Any]:
        """Return what makes signatures comparable, and clusters the same."""
        options = self.options()
        told = {name: getattr(options.shingles, name) for name in ("unit", "size", "folding", "hash")}
        verified = {} if options.verify == "none" else {"threshold": options.threshold}
        return {
            "shingles": told,
            "bands": options.bands.bands,
            "rows": options.bands.rows,
            "seed": options.seed,
            "verify": self._verify,
            **verified,
            "link": self.link,
        }

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Find a keep policy whose column is missing or can't be ordered.

        Raises:
            ConfigError: if it is.
        """
        del models
        check_policy(self.label, self.keep, self._policy_column, self.priorities, available)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """The largest of matching a partition, verifying one, finding components, and choosing what stays."""
        from tamis.pipeline.corpus.deduplicate_near import working_memory
        from tamis.pipeline.corpus.near_components import EDGES_IN_MEMORY

        options = self.options()
        # A row of an index has its bands, a few words, and what pairs are verified by.
        each = 8 * options.bands.bands + 60
        if options.verify == "signatures":
            each += 4 * options.bands.permutations
        elif options.verify == "shingles":
            each += 4096
        documents += sum(model.bytes for model in models.values()) // each
        how = "clusters are found in memory"
        if documents > EDGES_IN_MEMORY:
            how = f"clusters are found on disk where there are over {EDGES_IN_MEMORY:,} pairs"
        return Memory(worker=working_memory(documents, options), how=how)
