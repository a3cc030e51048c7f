"""What datatrove itself decides about a text, filter by filter."""

from functools import cache

FILTERS = (
    "datatrove_gopher_quality",
    "datatrove_gopher_repetition",
    "datatrove_c4",
    "datatrove_c4_fineweb",
    "datatrove_fineweb",
)
CLEANING = {"datatrove": "datatrove_c4", "datatrove_fineweb": "datatrove_c4_fineweb"}


@cache
def filters():
    """Return our preset's name to datatrove's filter with its default options."""
    from datatrove.pipeline import filters as peers
    from loguru import logger

    logger.remove()
    made = (
        peers.GopherQualityFilter(),
        peers.GopherRepetitionFilter(),
        peers.C4QualityFilter(),
        peers.C4QualityFilter(filter_no_terminal_punct=False),
        peers.FineWebQualityFilter(),
    )
    return dict(zip(FILTERS, made, strict=True))


def reason(preset, text):
    """Return the reason for which the text is dropped, None if it is kept."""
    from datatrove.data import Document

    decision = filters()[preset].filter(Document(text=text, id="0"))
    return None if decision is True else decision[1]


def reasons(text):
    """Return our preset's name to the reason, for the filters that drop the text."""
    return {preset: found for preset in FILTERS if (found := reason(preset, text)) is not None}


def clean_text(preset, text):
    """Return what datatrove's C4 filter makes of a text, None if it drops it."""
    from datatrove.data import Document

    document = Document(text=text, id="0")
    return document.text if filters()[preset].filter(document) is True else None


def cleaned(text):
    """Return our variant's name to the characters of the lines left, for the C4 filters that keep the
    text."""
    found = {variant: clean_text(preset, text) for variant, preset in CLEANING.items()}
    return {variant: [len(line) for line in left.split("\n")] for variant, left in found.items() if left is not None}


def word_count(text):
    """Return the number of words that datatrove counts."""
    from datatrove.utils.text import split_into_words

    return len(split_into_words(text))
