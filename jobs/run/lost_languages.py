"""Which languages a run rejects nearly whole, and by which rule: what a threshold meant for another language does."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

__all__ = ["lost_languages"]

SHARE = 0.95
"""Of a language's documents: a run that rejects more says so."""
FEWEST = 10
"""Documents of a language, at least: of fewer, a share says little."""
SHOWN = 8
"""Languages that a sentence names, at most."""


class _Step(Protocol):
    @property
    def label(self) -> str: ...
    @property
    def verb(self) -> str: ...
    @property
    def rules(self) -> tuple[str, ...]: ...


def lost_languages(counts: Mapping[tuple[str, int, int], int], steps: Sequence[_Step]) -> Iterator[str]:
    """Yield a sentence for each rule that most documents of some languages fell to, of which over 95 % were rejected.

    What a step `language` itself rejects is meant to fall, and doesn't count; errors don't either.

    Args:
        counts: (language, step, rule) to documents; -1 for those that are selected.
        steps: of the run, by position; labels, verbs, and the names of rules.
    """
    documents, rejected = Counter[str](), Counter[str]()
    by_rule: dict[str, Counter[tuple[int, int]]] = {}
    for (language, step, rule), number in counts.items():
        fell = step >= 0 and rule >= 0
        if fell and steps[step].verb == "language":
            continue
        documents[language] += number
        if fell:
            rejected[language] += number
            by_rule.setdefault(language, Counter())[step, rule] += number
    found: dict[tuple[int, int], list[str]] = {}
    for language, number in sorted(documents.items(), key=lambda item: (-item[1], item[0])):
        if number < FEWEST or rejected[language] <= SHARE * number:
            continue
        worst, most = min(by_rule[language].items(), key=lambda item: (-item[1], item[0]))
        found.setdefault(worst, []).append(
            f"{language} ({rejected[language]:,} of {number:,} rejected, {most:,} by it)"
        )
    for (step, rule), languages in sorted(found.items()):
        more = f" and {len(languages) - SHOWN} more" if len(languages) > SHOWN else ""
        yield (
            f"step {steps[step].label}: over {SHARE:.0%} of these languages are rejected, most by the rule "
            f"{steps[step].rules[rule]}: {', '.join(languages[:SHOWN])}{more}"
        )
