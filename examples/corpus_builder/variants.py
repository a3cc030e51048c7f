"""Near copies of a document, and long texts cut into documents."""

import re

from .draw import Draw

__all__ = ["chunks", "near_copy", "near_copy_html", "sentences"]

_WORD = re.compile(r"[^\W\d_]{3,}")
_MARKUP = re.compile(
    r"(<!--.*?-->|<script\b.*?</script>|<style\b.*?</style>|<head\b.*?</head>|<pre\b.*?</pre>|<[^>]*>)",
    re.S | re.I,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]* +(?=[\"'(A-Z])")


def _swap(pieces: list[str], share: float, draw: Draw) -> tuple[list[str], float]:
    """Replaces `share` of the words in `pieces` by others of them; says what share really changed, too."""
    places = [(index, found.span()) for index, piece in enumerate(pieces) for found in _WORD.finditer(piece)]
    words = [pieces[index][start:end] for index, (start, end) in places]
    chosen = sorted(draw.some(range(len(places)), max(1, round(share * len(places)))), reverse=True)
    changed = 0
    for position in chosen:
        index, (start, end) = places[position]
        word = draw.one(words)
        changed += word != words[position]
        pieces[index] = pieces[index][:start] + word + pieces[index][end:]
    return pieces, changed / max(1, len(words))


def near_copy(text: str, draw: Draw, low: float = 0.01, high: float = 0.08) -> tuple[str, float]:
    """`text` with a share of its words (`low` to `high`) replaced by others of it, and that share."""
    pieces, share = _swap([text], draw.uniform(low, high), draw)
    return pieces[0], share


def near_copy_html(html: str, draw: Draw, low: float = 0.01, high: float = 0.08) -> tuple[str, float]:
    """The same for the running text of a page; markup, scripts, head and code stay as they are."""
    pieces = _MARKUP.split(html)  # odd places are markup
    pieces[::2], share = _swap(pieces[::2], draw.uniform(low, high), draw)
    return "".join(pieces), share


def sentences(paragraph: str) -> list[str]:
    """English prose cut after sentence ends."""
    return [sentence.strip() for sentence in _SENTENCE_END.split(paragraph) if sentence.strip()]


def chunks(paragraphs: list[str], low: int, high: int, draw: Draw) -> list[str]:
    """Consecutive paragraphs joined by empty lines into documents of about `low` to `high` characters."""
    documents: list[str] = []
    current: list[str] = []
    limit = draw.integer(low, high)
    for paragraph in paragraphs:
        current.append(paragraph)
        if sum(map(len, current)) >= limit:
            documents.append("\n\n".join(current))
            current = []
            limit = draw.integer(low, high)
    if sum(map(len, current)) >= low // 2:
        documents.append("\n\n".join(current))
    return documents
