"""Refuses a language model with a tokenizer or normaliser it wasn't trained with.

A model folder says what it was trained with. Of a bare model the words tell: a model of pieces knows the tokenizer's
pieces, and the words of a model trained on normalised text are left as they are by the normaliser.
"""

from pathlib import Path
from typing import Never

from tamis.schemas.errors import ModelError
from tamis.scorers.models.folder import ModelFolder
from tamis.scorers.models.hub import sha256_file
from tamis.scorers.ngram.model import SentenceModel
from tamis.scorers.perplexity.normalize import Normalizer
from tamis.scorers.perplexity.sentence_pieces import PieceTokenizer
from tamis.scorers.text.spans import text_spans

__all__ = ["check_normalizer", "check_tokenizer", "refuse_other_normalizer", "refuse_other_tokenizer"]

_SAMPLE = 20_000
_PIECE = "▁"
_SPECIAL = {b"<unk>", b"<s>", b"</s>"}
_MIN_SHARE = 0.5
_MAX_CHANGED = 0.2


def refuse_other_normalizer(folder: ModelFolder, own: Normalizer, other: Normalizer) -> Never:
    """Raise the ModelError for a normaliser that isn't the folder's own."""
    msg = (
        f"the model {folder.path} was trained on text normalised by {own.spec}, so it can't be scored with the "
        "normaliser "
        f"{other.spec}: perplexities would mean nothing; leave the normaliser out, or train a model with it"
    )
    raise ModelError(msg)


def refuse_other_tokenizer(folder: ModelFolder, own: str | None, other: Path | None) -> None:
    """Raise a ModelError if `other` (None for words) isn't the tokenizer in the folder, by digest.

    Raises:
        ModelError: then.
    """
    trained = "words" if own is None else f"the pieces of its own {own}"
    if other is None and own is None:
        return
    if other is not None and own is not None and sha256_file(other) == folder.files[own]:
        return
    asked = "words" if other is None else f"the pieces of {other}"
    msg = (
        f"the model {folder.path} was trained on {trained}, so it can't be scored with {asked}: perplexities "
        "would mean "
        "nothing; leave the tokenizer out, or train a model with it"
    )
    raise ModelError(msg)


def check_tokenizer(model: SentenceModel, tokenizer: PieceTokenizer | None, *, name: str) -> None:
    """Check by the model's words that it was trained on these pieces, or on words.

    Raises:
        ModelError: if it wasn't.
    """
    words = model.words()
    if words is None:
        return
    known = set(words) - _SPECIAL
    if tokenizer is None:
        pieces = sum(word.startswith(_PIECE.encode()) for word in known)
        if known and pieces > 0.1 * len(known):
            msg = (
                f"{name} was trained on SentencePiece pieces ({pieces:,} of its {len(known):,} words begin with "
                f"{_PIECE!r}); "
                "give the tokenizer that made them"
            )
            raise ModelError(msg)
        return
    made = {piece.encode() for piece in tokenizer.normal_pieces()}
    share = sum(word in made for word in known) / max(len(known), 1)
    if share < _MIN_SHARE:
        msg = (
            f"{name} wasn't trained on the pieces of {tokenizer.path}: only {share:.0%} of the model's "
            f"{len(known):,} words are "
            "pieces of that tokenizer; give the tokenizer that came with the model, or none for a model of words"
        )
        raise ModelError(msg)


def check_normalizer(model: SentenceModel, normalizer: Normalizer, *, named: bool, name: str) -> None:
    """Check by the model's words that its training text can have gone through the normaliser.

    Raises:
        ModelError: if the normaliser changes more than a fifth of them, which it would leave alone if they came from
            it.
    """
    words = model.words()
    if words is None or normalizer.name == "none":
        return
    step = max(len(words) // _SAMPLE, 1)
    sample = [word.decode(errors="replace") for word in words[::step] if word not in _SPECIAL]
    changed = [a for a, b in zip(sample, normalizer.apply(text_spans(sample)).texts(), strict=True) if a != b]
    if sample and len(changed) > _MAX_CHANGED * len(sample):
        default = "" if named else " (the mode's default)"
        msg = (
            f"{name} wasn't trained on text normalised by {normalizer.spec}{default}: that normaliser changes "
            f"{len(changed) / len(sample):.0%} of the model's words, such as {changed[0]!r}; name the normaliser "
            "the model was trained with, for "
            "instance ccnet(accents=false,case=false) for one trained with case and accents, or none"
        )
        raise ModelError(msg)
