"""The classifiers that `tamis.scorers.language.identify` asks: fastText models, and the package eldc."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from tamis.schemas.errors import ModelError
from tamis.scorers.fasttext.model import LABEL_PREFIX, FastTextModel
from tamis.scorers.text.texts import Texts, as_list

__all__ = ["EldcEngine", "Engine", "FastTextEngine", "Ranking"]


class Ranking(NamedTuple):
    """Labels of texts, the best first: positions in the engine's `languages`, -1 for none, and their scores."""

    ids: npt.NDArray[np.int64]
    scores: npt.NDArray[np.float32]


class Engine(Protocol):
    """What finds languages."""

    languages: list[str]
    probabilities: bool
    """Whether scores of labels can be added up."""

    def rank(self, texts: Texts, labels: int | None, prefix: int | None) -> Ranking:
        """Return the best labels of each text, (texts, labels); at least one column.

        Args:
            texts: the texts.
            labels: how many; None for all that the engine tells.
            prefix: number of characters to look at; None for all.
        """
        ...


class FastTextEngine:
    """A supervised fastText model; texts without a word that it knows get no label.

    Args:
        model: the model's file.

    Raises:
        ModelError: if it is missing or corrupt.
    """

    probabilities = True

    def __init__(self, model: Path) -> None:
        self._model = FastTextModel(model)
        self.languages = [label.removeprefix(LABEL_PREFIX) for label in self._model.labels]

    def rank(self, texts: Texts, labels: int | None, prefix: int | None) -> Ranking:
        """Return labels and fastText's probabilities."""
        found = self._model.top(texts, -1 if labels is None else labels, prefix=prefix)
        known = (found.ids >= 0) & (found.tokens > 0)[:, None]
        return Ranking(np.where(known, found.ids, -1), np.where(known, found.probabilities, np.float32(0)))


class EldcEngine:
    """The package eldc: 60 languages, made for short texts; its scores lie between 0 and 1 and don't add up to 1.

    Raises:
        ModelError: if the package isn't installed.
    """

    probabilities = False
    _MOST = 20

    def __init__(self) -> None:
        try:
            import eldc
        except ImportError as error:
            msg = (
                "engine: eldc needs the package eldc: install the extra, as `pip install '.[eldc]'` does in a checkout"
            )
            raise ModelError(msg) from error
        eldc.init()
        self._eldc = eldc.instance()
        self._eldc.set_scores(self._MOST)
        self.languages = list(eldc.LANGUAGES)
        self._positions = {code: position for position, code in enumerate(self.languages)}

    def rank(self, texts: Texts, labels: int | None, prefix: int | None) -> Ranking:
        """Return labels and eldc's scores; it tells 20 at most."""
        listed = as_list(texts)
        width = min(self._MOST, labels or self._MOST)
        ids, scores = np.full((len(listed), width), -1, np.int64), np.zeros((len(listed), width), np.float32)
        for row, text in enumerate(listed):
            found = self._eldc.detect_details(text.lstrip()[:prefix])
            if found.language not in self._positions:
                continue
            for column, (code, score) in enumerate(list(found.scores.items())[:width]):
                ids[row, column], scores[row, column] = self._positions[code], score
        return Ranking(ids, scores)
