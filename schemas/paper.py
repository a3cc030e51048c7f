"""A paper that a step follows, as citations and dataset cards name it."""

from typing import NamedTuple

__all__ = ["Paper"]


class Paper(NamedTuple):
    """A paper.

    Attributes:
        authors: "Given Family", in their order; a long list ends with "others".
        title: in full.
        year: of publication.
        url: where it is read, such as its page at arXiv.
    """

    authors: tuple[str, ...]
    title: str
    year: int
    url: str
