"""HTML to text without boilerplate, within limits of size, time and sense."""

import functools
import os
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tamis.schemas.errors import ModelError, RunError
from tamis.scorers.extraction.sandbox import CallFailedError, Sandbox, TimedOutError

__all__ = [
    "ExtractOptions",
    "Extracted",
    "Refusal",
    "clean_text",
    "html_to_text",
    "looks_binary",
    "odd_share",
    "plain_to_text",
]

Engine = Literal["resiliparse", "trafilatura"]


@dataclass(frozen=True)
class ExtractOptions:
    """How pages become text.

    Attributes:
        engine: resiliparse is fast; trafilatura finds more of the right text at a twentieth of the speed, and
            needs the extra of its name.
        main_content: leave out navigation, headers, footers, comments and other boilerplate.
        max_page_bytes: a larger page (decoded, as UTF-8) is refused.
        timeout: seconds that a page may take. For resiliparse it is turned into a bound on the parser's work,
            counted before parsing, so that the same pages are refused on every machine; trafilatura is
            stopped by the clock.
        min_characters: a shorter text counts as none.
    """

    engine: Engine = "resiliparse"
    main_content: bool = True
    max_page_bytes: int = 16 << 20
    timeout: float = 10.0
    min_characters: int = 1


class Refusal(NamedTuple):
    """Why a page gives no document: a rule's name, the page's value, and the threshold it was held against."""

    rule: str
    value: float | None = None
    threshold: float | None = None


class Extracted(NamedTuple):
    """The text of a page, or the refusal (and then the text is empty)."""

    text: str
    refusal: Refusal | None = None


# Steps (see `parser_steps`) that take one second at least, measured with resiliparse 2.0 on nested and on
# flat pages and on tags of many attributes: 30 to 67 ns each where the main content is looked for, up to 4 ns
# otherwise.
_STEPS_PER_SECOND = {True: 1.5e7, False: 2.5e8}
_MAX_UNPRINTABLE = 0.05
_LONGEST_RUN = 10_000  # characters of ASCII without a blank
_SNIFFED = (b"%PDF-", b"PK\x03\x04", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"\x1f\x8b", b"\x7fELF", b"Rar!")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_ODD_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_BLANK_LINES = re.compile("\n{3,}")
_RUN = re.compile(f"[!-~]{{{_LONGEST_RUN},}}")

# Elements that hold nothing, or that a parser closes by itself wherever the next of their kind begins.
_UNSTACKED = """
    area base br col embed hr img input keygen link meta param source track wbr frame basefont bgsound
    p tr td th tbody thead tfoot caption colgroup html head body
"""
# Elements that a parser closes when the next of their kind follows directly, and by what name they are told apart.
_SIBLINGS, _KINDS = "li dt dd option", "li dt dt option"
# Elements whose content isn't markup.
_RAW = "script style textarea title xmp iframe noembed noframes"
# Elements within which it is markup all the same.
_FOREIGN = "svg math"


@functools.cache
def _name_hashes(names: str) -> "np.ndarray[Any, np.dtype[np.uint64]]":
    from tamis.scorers.extraction.markup_kernels import name_hash

    return np.array(
        [name_hash(np.frombuffer(name.encode(), np.uint8), 0, len(name)) for name in names.split()], np.uint64
    )


@functools.cache
def _sandbox(target: str, process: int) -> Sandbox:  # noqa: ARG001  (a forked process needs a child of its own)
    return Sandbox(f"tamis.scorers.extraction.trafilatura_child:{target}")


def clean_text(text: str) -> str:
    """Return extracted text in a plain form: LF line ends, no control characters.

    There is at most one blank line in a row. Blanks at line ends and white space at both ends are removed.
    """
    if _ODD_LINE_ENDS.search(text):
        text = _ODD_LINE_ENDS.sub("\n", text)
    text = "\n".join([line.rstrip(" \t\xa0") for line in text.split("\n")])
    if _CONTROLS.search(text):
        text = _CONTROLS.sub("", text)
    return _BLANK_LINES.sub("\n\n", text).strip()


def looks_binary(data: bytes) -> bool:
    """Return whether bytes begin as a PDF, an archive, an image or a program does."""
    return data.startswith(_SNIFFED)


def odd_share(text: str) -> float:
    """Return the share of characters that no text has: controls but white space, and U+FFFD."""
    from tamis.scorers.extraction.markup_kernels import unprintable_share

    return unprintable_share(np.frombuffer(text.encode("utf-8", "replace"), np.uint8))


def html_to_text(html: str, options: ExtractOptions | None = None) -> Extracted:
    """Extract the text of a page.

    Args:
        html: the decoded page.
        options: engine and limits.

    Returns:
        The text as `clean_text` leaves it, or a refusal with one of the rules `page_too_large` (bytes),
        `gibberish` (share of characters that no text has, or length of a run without blanks),
        `page_too_complex` (seconds, estimated), `page_timeout` (seconds) and `empty_text` (characters).

    Raises:
        CallFailedError: if the engine fails on this page.
        ModelError: if the engine isn't installed.
    """
    from tamis.scorers.extraction.markup_kernels import parser_steps

    options = options or ExtractOptions()
    data = np.frombuffer(html.encode("utf-8", "replace"), np.uint8)
    if refusal := _refused(data, options):
        return Extracted("", refusal)
    if options.engine == "resiliparse":
        pace = _STEPS_PER_SECOND[options.main_content]
        limit = int(options.timeout * pace)
        steps = parser_steps(
            data,
            _name_hashes(_UNSTACKED),
            _name_hashes(_SIBLINGS),
            _name_hashes(_KINDS),
            _name_hashes(_RAW),
            _name_hashes(_FOREIGN),
            limit,
        )
        if steps > limit:
            return Extracted("", Refusal("page_too_complex", steps / pace, options.timeout))
        text = _resiliparse(html, options)
    else:
        try:
            text = _trafilatura(html, options)
        except TimedOutError:
            return Extracted("", Refusal("page_timeout", None, options.timeout))
    return _checked(clean_text(text), options)


def plain_to_text(page: str, options: ExtractOptions | None = None) -> Extracted:
    """Return a page that is plain text already, cleaned and held against the same limits as HTML."""
    options = options or ExtractOptions()
    refusal = _refused(np.frombuffer(page.encode("utf-8", "replace"), np.uint8), options)
    return Extracted("", refusal) if refusal else _checked(clean_text(page), options)


def _refused(data: "np.ndarray[Any, np.dtype[np.uint8]]", options: ExtractOptions) -> Refusal | None:
    from tamis.scorers.extraction.markup_kernels import unprintable_share

    if len(data) > options.max_page_bytes:
        return Refusal("page_too_large", len(data), options.max_page_bytes)
    share = unprintable_share(data)
    return Refusal("gibberish", share, _MAX_UNPRINTABLE) if share > _MAX_UNPRINTABLE else None


def _checked(text: str, options: ExtractOptions) -> Extracted:
    """Return `text`, or the refusal if it is too short or mostly one run of characters without a blank."""
    least = max(1, options.min_characters)
    if len(text) < least:
        return Extracted("", Refusal("empty_text", len(text), least))
    run = _RUN.search(text)
    if run and 2 * (run.end() - run.start()) > len(text):
        return Extracted("", Refusal("gibberish", run.end() - run.start(), _LONGEST_RUN))
    return Extracted(text)


def _resiliparse(html: str, options: ExtractOptions) -> str:
    from resiliparse.extract.html2text import extract_plain_text

    try:
        return extract_plain_text(
            html,
            main_content=options.main_content,
            alt_texts=False,
            comments=not options.main_content,
            post_meta=not options.main_content,
        )
    except BaseException as error:
        if isinstance(error, MemoryError | KeyboardInterrupt | SystemExit | GeneratorExit):
            raise
        # A panic of native code, which is no Exception: it must cost the page, not the run.
        msg = f"resiliparse: {type(error).__name__}: {error}"
        raise CallFailedError(msg) from error


def _trafilatura(html: str, options: ExtractOptions) -> str:
    target = "main_content" if options.main_content else "all_text"
    try:
        return _sandbox(target, os.getpid()).call(html, options.timeout)
    except RunError as error:
        msg = f'the extractor trafilatura can\'t be used ({error}): pip install "tamis[trafilatura]"'
        raise ModelError(msg) from error
