"""The probability that a fastText classifier gives to one label, as columns."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tamis.schemas.tables import described
from tamis.scorers.fasttext.model import FastTextModel, Newline
from tamis.scorers.text.texts import Texts

__all__ = ["LabelScorer"]


class LabelScorer:
    """Columns `<name>_score` and `<name>_tokens` of a classifier; conforms to `tamis.scorers.base.Scorer`.

    Texts are stripped first, as in the filter of PreSelect's authors. With `newline="glue"` newlines vanish, as they do
    there, which fuses words; `blank` is how their classifier was trained.

    Args:
        model: a supervised fastText model, or a folder that has it as `model.bin`.
        label: the label, with or without `__label__`.
        newline: what a newline becomes.
        name: begins the columns' names.

    Raises:
        ModelError: if the model can't be read.
        ConfigError: if it doesn't have the label.
    """

    def __init__(
        self, model: str | Path, *, label: str = "__label__1", newline: Newline = "blank", name: str = "preselect"
    ):
        self._model = FastTextModel(model)
        self._label = self._model.label_id(label)
        self._newline: Newline = newline
        self.schema = pa.schema(
            [
                described(f"{name}_score", pa.float32(), f"probability of {label} under the fastText classifier"),
                described(f"{name}_tokens", pa.int64(), "white-space tokens that the classifier saw"),
            ]
        )
        self.score([])  # a wrong newline shows now, not in the middle of a run

    def score(self, texts: Texts) -> pa.RecordBatch:
        """Return probability and tokens of each text."""
        found = self._model.top(texts, -1, newline=self._newline, strip=True)
        score = np.where(found.ids == self._label, found.probabilities, 0).sum(axis=1, dtype=np.float32)
        return pa.RecordBatch.from_arrays([pa.array(score), pa.array(found.tokens)], schema=self.schema)
