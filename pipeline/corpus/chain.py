"""Two decisions of one step, one after the other."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from tamis.pipeline.corpus.context import Corpus, Decision, Outcome, Report
from tamis.pipeline.graph.passes import Values
from tamis.pipeline.storage.place import Place

__all__ = ["chained"]


def chained(
    corpus: Corpus,
    between: Place,
    first: Callable[[Corpus, Place], Decision],
    second: Callable[[Corpus], Decision],
) -> Decision:
    """Decide twice.

    Args:
        corpus: what there is to work with.
        between: place for the row states after the first decision.
        first: from corpus and place for the row states to the first decision.
        second: from the corpus as the first leaves it to the second decision.
    """
    between = replace(between, carries=corpus.state.carries)
    before = first(corpus, between)
    after = (*corpus.after, before.nodes[-1].name)
    then = second(replace(corpus, state=between, columns={**corpus.columns, **before.columns}, after=after))
    reports = tuple(report for report in (before.report, then.report) if report is not None)
    return Decision(
        (*before.nodes, *then.nodes),
        {**before.columns, **then.columns},
        _Both(reports),
        tuple(dict.fromkeys((*before.reads, *then.reads))),
    )


@dataclass(frozen=True)
class _Both:
    reports: tuple[Report, ...]

    def __call__(self, values: Values) -> Outcome:
        found = [report(values) for report in self.reports]
        return Outcome(
            {key: value for one in found for key, value in one.thresholds.items()},
            {key: value for one in found for key, value in one.metrics.items()},
            tuple(warning for one in found for warning in one.warnings),
            {name: table for one in found for name, table in one.tables.items()},
        )
