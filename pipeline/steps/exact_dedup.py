"""`exact_dedup`: one document of each text, address, or value of any column."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.corpus.context import Corpus, Decision
from tamis.pipeline.corpus.keep_policy import KeepPolicy, check_policy, policy_problem
from tamis.pipeline.steps.base import FoundFile, Memory
from tamis.pipeline.steps.seen import IndexedStep
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import Guide
from tamis.schemas.step import NAME, Decides
from tamis.schemas.tables import described, internal
from tamis.scorers.base import Annotator

if TYPE_CHECKING:
    from tamis.scorers.dedup.text_hash import TextHash

__all__ = ["ExactDedupStep"]

_GUIDE = Guide(
    formula="""\
key      =  text, address or any column; white space folded (`whitespace`), or folded words alone (`words`)
hash     =  XXH3-128(key)
group    =  documents of equal hash, over the whole input
kept     =  one of each group: smallest doc_id, or by `keep`""",
    follows="""\
No paper: hashing is as old as sorting. Two different keys share a hash with a probability of about n^2 / 2^129 for
n documents. Duplodocus and datatrove hash the same way; [duplicates](../duplicates.md) says where counts differ.""",
    example="""\
- exact_dedup: {normalize: words}""",
    query="SELECT dup_cluster_size, fate, count(*) AS documents FROM documents GROUP BY ALL ORDER BY ALL",
)


class ExactDedupStep(IndexedStep):
    """Exact deduplication over the whole input by a 128-bit hash of the (normalised) text, or of another column."""

    verb: ClassVar[str] = "exact_dedup"
    guide: ClassVar[Guide] = _GUIDE
    name: str | None = Field(
        default=None, pattern=NAME, description="begins the columns' names, in place of dup and of the key's name"
    )
    key: str = Field(
        default="text", min_length=1, description="the column that is compared: text, url, any; without value: stays"
    )
    normalize: Literal["none", "whitespace", "words"] = Field(
        default="whitespace",
        description="whitespace: runs of white space count as one blank, ends are cut; words: folded words alone count",
    )
    folding: Literal["simplified", "folded", "none"] | None = Field(
        default=None,
        description="of `normalize: words`; folded (if absent): lower case, no accents, no punctuation; "
        "simplified: digits alike too; none: words as they are",
    )
    keep: KeepPolicy = Field(default="id", description="which document of a group stays")
    keep_column: Annotated[str | None, Decides] = Field(default=None, description="what `keep` looks at")
    priorities: Annotated[tuple[str, ...], Decides] = Field(
        default=(), description="of `keep: priority`: values of `keep_column` (source if absent), the best first"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problem = policy_problem(self.keep, self.keep_column, self.priorities)
        if problem is None and self.folding is not None and self.normalize != "words":
            problem = "`folding` says how words are folded: give `normalize: words` too, or leave it out"
        if problem is not None:
            raise ValueError(problem)
        return self

    @property
    def _hash_column(self) -> str:
        return f"{self.key if self.name is None else self.name}_hash"

    @property
    def _policy_column(self) -> str | None:
        """The column that the policy looks at."""
        if self.keep == "longest":
            return f"{'dup' if self.name is None else self.name}_length"
        return "source" if self.keep == "priority" and self.keep_column is None else self.keep_column

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return the hash of texts, or of another column's values."""
        from tamis.scorers.dedup.text_hash import TextHash

        del models
        hashing = TextHash(normalize=self.normalize, folding=self.folding or "folded", column=self._hash_column)
        return _KeyHash(hashing, self.key, self._policy_column if self.keep == "longest" else None)

    @property
    def rule_names(self) -> tuple[str, ...]:
        """A copy of a document that is kept."""
        return ("duplicate",)

    @property
    def over_corpus(self) -> bool:
        """Copies may lie anywhere."""
        return True

    @property
    def corpus_columns(self) -> pa.Schema:
        """The group of copies."""
        from tamis.pipeline.corpus.deduplicate_exact import exact_schema

        return exact_schema(self.name)

    def decide(self, corpus: Corpus) -> Decision:
        """Keep one document of each group."""
        from tamis.pipeline.corpus.deduplicate_exact import ExactDedup, deduplicate_exact
        from tamis.pipeline.corpus.earlier import IndexOptions
        from tamis.scorers.dedup.keep import Keep

        keep = Keep(self.keep, self.priorities)
        index = IndexOptions.of(corpus.stage, corpus.output, self.index_settings(), write=self.write_index)
        return deduplicate_exact(corpus, ExactDedup(self._hash_column, keep, self._policy_column, self.name, index))

    def index_settings(self) -> dict[str, Any]:
        """Return what makes hashes comparable."""
        folding = (self.folding or "folded") if self.normalize == "words" else None
        return {"key": self.key, "normalize": self.normalize, "folding": folding}

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Find a key that can't be compared, and a keep policy whose column is missing or can't be ordered.

        Raises:
            ConfigError: if there is one.
        """
        del models
        check_policy(self.label, self.keep, self._policy_column, self.priorities, available)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """One partition of the hash space, with its sorted copy."""
        from tamis.pipeline.corpus.clusters import rank_words
        from tamis.pipeline.corpus.deduplicate_exact import ROWS_PER_PARTITION
        from tamis.scorers.dedup.keep import Keep

        # A row of an index has 40 bytes or so, nearly all of them hashes and ids that can't be compressed.
        documents += sum(model.bytes for model in models.values()) // 40
        words = 6 + rank_words(Keep(self.keep, self.priorities))
        return Memory(worker=min(documents, ROWS_PER_PARTITION) * words * 8 * 3)


class _KeyHash:
    """The hash of a column's values, null where there is none; on request the length of the text."""

    def __init__(self, hashing: "TextHash", key: str, length: str | None):
        self._hashing = hashing
        self._key = key
        self._length = length
        self.requires = tuple(dict.fromkeys([key, *(["text"] if length is not None else [])]))
        fields = [pa.field(f.name, f.type, metadata=f.metadata) for f in hashing.schema]
        if key != "text":
            fields = [described(fields[0].name, fields[0].type, f"XXH3-128 of the column {key}, normalised")]
        if length is not None:
            fields.append(internal(length, pa.int64(), "bytes of the text, UTF-8"))
        self.schema = pa.schema(fields)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return hashes and lengths.

        Raises:
            ConfigError: if values of the key's type can't be compared.
        """
        import pyarrow.compute as pc

        key = batch.column(self._key)
        if not (pa.types.is_string(key.type) or pa.types.is_large_string(key.type)):
            try:
                key = key.cast(pa.large_string())
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                msg = f"exact_dedup: key: the column {self._key!r} holds {key.type}, whose values can't be compared"
                raise ConfigError(msg) from None
        hashes = self._hashing.score(key).column(0)
        if key.null_count:
            hashes = pc.if_else(key.is_null(), pa.scalar(None, hashes.type), hashes)
        columns = [hashes]
        if self._length is not None:
            columns.append(pc.binary_length(batch.column("text")).cast(pa.int64()))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)
