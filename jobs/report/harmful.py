"""Which steps of a run look for harmful text: what they found is blurred until a reader asks for it."""

import re
from collections.abc import Mapping

from tamis.schemas.manifest import Manifest

__all__ = ["harmful_steps"]

_HARMFUL = re.compile(r"harm|toxic|offens|adult|nsfw|hate", re.IGNORECASE)


def harmful_steps(manifest: Manifest) -> frozenset[str]:
    """Return the labels of the steps that look for harmful text.

    These are lists of sites, language models with a threshold of their own (which only those of harmful text have), and
    what is called so.
    """
    found = set()
    steps = manifest.config.get("steps", ())
    for step, record in zip(steps, manifest.steps, strict=False):
        verb, options = next(iter(step.items())) if isinstance(step, Mapping) else (step, None)
        by_model = verb == "perplexity" and isinstance(options, Mapping) and options.get("threshold") == "model"
        if by_model or record.verb == "url_filter" or _HARMFUL.search(record.label):
            found.add(record.label)
    return frozenset(found)
