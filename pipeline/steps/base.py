"""What a step is: options, the columns it computes, the rules it applies, and what it decides over the whole corpus.

A step is one module of `tamis.pipeline.steps`, or of another distribution that names it under the entry point
`tamis.steps`. It overrides of `Step` what it has; the rest of the program knows only this class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa

from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.errors import ConfigError
from tamis.schemas.guide import Guide
from tamis.schemas.keep import SHARES, Keep
from tamis.schemas.paper import Paper
from tamis.schemas.rule import Op, Rule
from tamis.schemas.step import StepConfig
from tamis.scorers.base import Annotator
from tamis.scorers.selection.rules import decide

if TYPE_CHECKING:
    from tamis.pipeline.corpus.context import Corpus, Decision, Fit

__all__ = ["DOCUMENT_BYTES", "Earlier", "FoundFile", "Memory", "Step"]

DOCUMENT_BYTES = 2000
"""Text of a document, about, for estimates alone."""
KEEP_KINDS = ("min", "max", *SHARES)


@dataclass(frozen=True)
class FoundFile:
    """A model or file of a step.

    Attributes:
        reference: as the config names it.
        path: where it lies for the run; for a set of files, the reference itself.
        sha256: of its bytes; of a folder or a set of files, of their names and digests.
        bytes: its size.
    """

    reference: str
    path: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Earlier:
    """What an earlier run found in its corpus for a step.

    Attributes:
        thresholds: in numbers, as its manifest has them.
        model: folder of what was fitted, which the run left on request; None if there is none.
    """

    thresholds: Mapping[str, Any]
    model: str | None = None


@dataclass(frozen=True)
class Memory:
    """Bytes that a step takes.

    Attributes:
        worker: of each worker's own.
        shared: mapped once for all of a machine.
        how: what the step does where it wouldn't fit, a part of a sentence that a plan shows.
    """

    worker: int = 0
    shared: int = 0
    how: str = ""


class Step(StepConfig):
    """Base of all steps; see the module of any step for an example.

    Class attributes:
        best: which values of the kept column `fraction` and `documents` keep, unless `keep.best` says.
        rewrites: whether it changes the text that later steps read.
        papers: those that the step follows; `cites` says which of them with the options given.
        guide: what its page of the documentation says beside options and columns; every step of ours has one.
    """

    best: ClassVar[Literal["high", "low"]] = "high"
    rewrites: ClassVar[bool] = False
    names_columns: ClassVar[bool] = True
    papers: ClassVar[tuple[Paper, ...]] = ()
    guide: ClassVar[Guide | None] = None

    @property
    def cites(self) -> tuple[Paper, ...]:
        """The papers that whoever publishes the result should cite: by default all of `papers`."""
        return self.papers

    # --- computing columns ---

    def annotator(self, models: Mapping[str, str]) -> Annotator | None:
        """Return what computes the step's columns; None if it computes none.

        Args:
            models: option to local path, for the step's `references` and for what `fit` makes.

        Raises:
            ModelError: if a model can't be loaded or doesn't fit.
            ConfigError: if the options contradict the model.
        """
        del models
        return None

    def columns(self, models: Mapping[str, str]) -> pa.Schema:
        """Return the columns that it computes, also of a step that isn't fitted yet."""
        from tamis.pipeline.steps.loaded import annotator_of  # which needs this module

        made = annotator_of(self, models)
        return pa.schema([]) if made is None else made.schema

    def values_of(self, column: str) -> int | None:
        """Return how many different values a column of the step's takes, where its options say; for estimates."""
        del column
        return None

    # --- deciding row by row ---

    @property
    def kept(self) -> Keep:
        """What the step keeps; everything if it has no such option."""
        keep = getattr(self, "keep", None)
        return keep if isinstance(keep, Keep) else Keep()

    @property
    def kept_column(self) -> str | None:
        """The column that `keep` is about; None if the step has no such option."""
        return None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules over columns that the step applies by itself, in their order: by default the bounds of `keep`."""
        column = self.kept_column
        if column is None:
            return ()
        bounds: list[tuple[Op, float | None]] = [("min", self.kept.min), ("max", self.kept.max)]
        return tuple(
            Rule(column=column, op=op, threshold=bound, reason=self.keep_rule(op))
            for op, bound in bounds
            if bound is not None
        )

    @property
    def bounds(self) -> dict[str, Any]:
        """What the manifest says of the rules that the step applies by itself: reason to threshold."""
        return {rule.reason: rule.threshold for rule in self.rules}

    @property
    def rule_names(self) -> tuple[str, ...]:
        """The names of all rules that a row can fall to at the step; row states hold positions in it."""
        if self.kept_column is not None:
            return tuple(self.keep_rule(kind) for kind in KEEP_KINDS)
        return tuple(rule.reason for rule in self.rules)

    def keep_rule(self, kind: str) -> str:
        """Return the name of a `keep` rule in the rejected table, such as quality_perplexity_max."""
        return f"{self.kept_column}_{kind}"

    def rule(self, name: str) -> int:
        """Return the position of a rule's name, as row states hold it."""
        return self.rule_names.index(name)

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let the rows fall that the step's own rules reject; rules that need the whole corpus come later.

        Args:
            index: the step's position in the run.
            batch: the columns that `reads` names, row-aligned with `state`.
            state: changed in place.
        """
        rules = self.rules
        if not rules:
            return
        decision = decide(batch, rules)
        names = self.rule_names
        positions = np.array([names.index(rule.reason) for rule in rules], np.int16)
        thresholds = np.array([rule.threshold for rule in rules])
        hit = np.maximum(decision.rule, 0)
        state.fall(index, decision.rule >= 0, positions[hit], decision.value, thresholds[hit])

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns that `apply` reads."""
        return tuple(dict.fromkeys(rule.column for rule in self.rules))

    @property
    def can_reject(self) -> bool:
        """Whether a document can fall at the step, as its options are given."""
        return self.over_corpus or bool(self.rules) or type(self).apply is not Step.apply

    # --- deciding over the whole corpus ---

    @property
    def over_corpus(self) -> bool:
        """Whether the step decides over the whole corpus."""
        return self.kept.needs_corpus

    @property
    def corpus_columns(self) -> pa.Schema:
        """The columns that the decision over the corpus adds."""
        return pa.schema([])

    def decide(self, corpus: "Corpus") -> "Decision":
        """Return the passes that decide; by default those that find the thresholds of `keep`."""
        from tamis.pipeline.corpus.select import select

        return select(corpus)

    @property
    def fits(self) -> bool:
        """Whether the step has to be fitted to the corpus before it can annotate."""
        return False

    def fit(self, corpus: "Corpus") -> "Fit":
        """Return the passes that fit what `annotator` then finds among its models.

        Raises:
            ConfigError: if the step isn't one that is fitted.
        """
        del corpus
        msg = f"step {self.label} has nothing to fit"
        raise ConfigError(msg)

    # --- the next run over more of the same corpus ---

    @property
    def leaves_model(self) -> bool:
        """Whether the step leaves what it fits in the run's folder, as `Earlier.model`."""
        return False

    def leaving(self) -> Self:
        """Return the step so that it leaves what a later run needs: an index of what it saw, or a model."""
        return self

    def frozen(self, earlier: Earlier) -> Self:
        """Return the step so that what an earlier run found in its corpus holds; what that lacks is found anew.

        By default that are the thresholds of `keep`. A step that finds anything else in the corpus overrides it.

        Raises:
            ConfigError: if the step finds something that it can't be given.
        """
        share = self.kept.share
        if (self.over_corpus and (share is None or type(self).decide is not Step.decide)) or self.fits:
            msg = f"step {self.label}: what it finds in a corpus can't be held fast: use `thresholds: estimate`"
            raise ConfigError(msg)
        return self if share is None else self._with_thresholds(earlier)

    def _with_thresholds(self, earlier: Earlier) -> Self:
        """Return the step with the thresholds of its `keep`."""
        found = earlier.thresholds.get(self.keep_rule(str(self.kept.share)))
        return self if found is None else self.changed(keep={**self.kept.model_dump(), "thresholds": found})

    # --- before a run ---

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find and digest the model or file of an option, and what lies beside it; the default takes any model.

        Raises:
            ModelError: if it is missing or can't be fetched.
        """
        from tamis.pipeline.steps.files import find_model

        return {option: find_model(self.label, option, reference)}

    def find_all(self) -> dict[str, FoundFile]:
        """Resolve all references: option to what was found.

        Raises:
            ModelError: if a model is missing, or can't be fetched.
        """
        return {
            name: found
            for option, reference in self.references.items()
            for name, found in self.find(option, reference).items()
        }

    def resolved(self, models: Mapping[str, FoundFile]) -> Self:
        """Return the step with what it takes from its models filled in, such as a model's own threshold.

        Raises:
            ModelError: if a model hasn't what the step asks for.
        """
        del models
        return self

    def check(self, models: Mapping[str, str], available: Mapping[str, pa.Field]) -> None:
        """Find mistakes before any work, beyond columns that are missing.

        Args:
            models: as of `annotator`.
            available: the columns that there are after the step.

        Raises:
            ConfigError: one sentence that names the option.
        """
        del models, available

    def check_after(self, earlier: "Sequence[Step]", models: Mapping[str, str]) -> None:
        """Find mistakes before any work that only show among the steps before.

        Args:
            earlier: the steps before, in order.
            models: as of `annotator`.

        Raises:
            ConfigError: one sentence that names the option.
        """
        del earlier, models

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """Estimate what the step takes beyond its batches.

        Args:
            documents: about how many there are.
            models: what it reads.
        """
        del documents
        return Memory(shared=sum(model.bytes for model in models.values()))

    def costs(self, documents: int, models: Mapping[str, FoundFile], before: "Sequence[Step]") -> tuple[str, ...]:
        """Say, for `tamis plan`, what is dear about the step, a sentence each; nothing by default.

        Args:
            documents: about how many there are.
            models: what it reads.
            before: the steps before it.
        """
        del documents, models, before
        return ()

    @property
    def languages_kept(self) -> tuple[str, ...] | None:
        """The languages that documents behind the step are in; None if it keeps all."""
        return None

    def notes(self, before: Sequence["Step"]) -> tuple[str, ...]:
        """Return sentences that `tamis plan` says about the step: what its user may not expect.

        Args:
            before: the steps before it.
        """
        del before
        return ()

    @property
    def does_something(self) -> bool:
        """Whether it computes, decides or rewrites: by default, whether any of the methods for that is its own."""
        mine = type(self)
        own = ("annotator", "rules", "apply", "decide", "over_corpus", "kept_column")
        return any(getattr(mine, name) is not getattr(Step, name) for name in own)
