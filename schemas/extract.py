"""The options of `extract`, the first step of every run, which readers follow."""

from typing import ClassVar, Literal

from pydantic import Field

from tamis.schemas.step import StepConfig

__all__ = ["EXTRACT_RULES", "ExtractConfig"]

EXTRACT_RULES = (
    "http_status",
    "content_type",
    "empty_payload",
    "empty_text",
    "page_too_large",
    "page_too_complex",
    "page_timeout",
    "gibberish",
)
"""Why readers and extraction refuse a record; row states hold positions in it."""


class ExtractConfig(StepConfig):
    """HTML to text; applies to records of WARC files and to inputs marked `html: true`."""

    verb: ClassVar[str] = "extract"
    engine: Literal["auto", "resiliparse", "trafilatura"] = Field(
        default="auto", description="auto: resiliparse, and trafilatura where that misses the text"
    )
    main_content: bool = Field(default=True, description="leave navigation, headers and footers out")
    max_page_bytes: int = Field(default=16 << 20, gt=0, description="larger pages are rejected")
    timeout: float = Field(default=10.0, gt=0, description="CPU-seconds a page")
    min_characters: int = Field(default=1, ge=0, description="pages of which less is left are rejected")
    statuses: tuple[int, ...] = Field(default=(200,), description="HTTP statuses whose pages become documents")
    content_types: tuple[str, ...] = Field(
        default=("text/html", "application/xhtml+xml", "text/plain"),
        description="media types whose pages become documents",
    )
