"""How much likelier a text is under one n-gram model than under another.

A text that a model of harmful text finds easy may be harmful, or easy for any model: short words, lists, much
repetition. The ratio to a model of clean text from the same sources takes that out:

    <name>_log_ratio = (log10_prob under the model - log10_prob under the other) * ln 10 / tokens

in nats a token, ends of sentences counted as tokens. Both models read the same tokens: equal normalisers, conventions
and tokenizers. For good text against common text it is the cross-entropy difference of Moore and Lewis (2010,
"Intelligent selection of language model training data").

Words that neither model knows have another probability under each: the model of fewer words gives them more, and so
they speak for it, though they tell nothing. Where many are unknown, as in small collections, SentencePiece's pieces
are better tokens: they leave nothing unknown (measured in `benchmarks/harmful.py`).
"""

import math

import pyarrow as pa
import pyarrow.compute as pc

from tamis.schemas.errors import ModelError
from tamis.schemas.tables import described
from tamis.scorers.models.hub import sha256_file
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.text.texts import Texts, as_buffer

__all__ = ["LikelihoodRatio"]


class LikelihoodRatio:
    """Scores texts with two n-gram models; conforms to `tamis.scorers.base.Scorer`.

    Adds the model's own columns (see `tamis.scorers.perplexity.perplexity`), `<name>_against_log10_prob` of the other
    model, and `<name>_log_ratio`: null where a text has no sentence to score.

    Args:
        model: the model whose likely texts get high ratios.
        against: the other model.
        name: begins the columns' names.

    Raises:
        ModelError: if the models don't read the same tokens.
    """

    def __init__(self, model: NgramPerplexity, against: NgramPerplexity, *, name: str = "quality") -> None:
        _same_tokens(model, against)
        self._model, self._against, self._name = model, against, name
        told = "log10 probability under the model that the ratio is against"
        ratio = "log of the ratio of probabilities, model to the other, in nats a token"
        self.schema = pa.schema(
            [
                *model.schema,
                described(f"{name}_against_log10_prob", pa.float64(), told),
                described(f"{name}_log_ratio", pa.float64(), ratio),
            ]
        )

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return one row a text; a null text counts as an empty one.

        Raises:
            DataError: if a text holds a lone surrogate.
        """
        buffer = as_buffer(texts)
        mine, other = self._model.score(buffer), self._against.score(buffer)
        first, second = mine.column(0), other.column(0)
        tokens = pc.cast(pc.max_element_wise(mine.column(1), pa.scalar(1, pa.int64())), pa.float64())
        nats = pc.multiply(pc.subtract(first, second), pa.scalar(math.log(10)))
        return pa.RecordBatch.from_arrays([*mine.columns, second, pc.divide(nats, tokens)], schema=self.schema)


def _same_tokens(model: NgramPerplexity, against: NgramPerplexity) -> None:
    """Refuse two models whose texts are cut differently.

    Raises:
        ModelError: naming what differs.
    """
    for what in ("mode", "policy", "normalizer"):
        mine, other = getattr(model, what), getattr(against, what)
        if mine != other:
            told = [getattr(value, "spec", value) for value in (mine, other)]
            msg = (
                f"the ratio's two models read texts differently: their {what} is {told[0]} and {told[1]}; train both "
                "together, as `tamis train lm --harmful --contrast` does"
            )
            raise ModelError(msg)
    pieces = [None if scorer.tokenizer is None else sha256_file(scorer.tokenizer.path) for scorer in (model, against)]
    if pieces[0] != pieces[1]:
        msg = (
            "the ratio's two models have different tokenizers: their probabilities can't be compared; train both "
            "together, as `tamis train lm --harmful --contrast` does"
        )
        raise ModelError(msg)
