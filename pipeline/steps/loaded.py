"""The annotators that this process has loaded: built once for equal options and models, and let go together."""

from collections.abc import Mapping

from tamis.pipeline.steps.base import Step
from tamis.schemas.base import canonical_json
from tamis.scorers.base import Annotator

__all__ = ["annotator_of", "forget_annotators"]

_loaded: dict[tuple[str, str], Annotator | None] = {}


def annotator_of(step: Step, models: Mapping[str, str]) -> Annotator | None:
    """Return a step's annotator, built once a process; None if the step computes no columns.

    Args:
        step: the step.
        models: option to local path, for the step's `references` and for what the run fitted itself.

    Raises:
        ModelError: if a model can't be loaded or doesn't fit.
        ConfigError: if the options contradict the model.
    """
    key = (f"{type(step).__module__}.{step.label}", canonical_json([step.scoring_options(), dict(models)]))
    if key not in _loaded:
        _loaded[key] = step.annotator(models)
    return _loaded[key]


def forget_annotators() -> None:
    """Let all loaded models go, so that their memory can be used otherwise."""
    _loaded.clear()
