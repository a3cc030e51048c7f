"""HTML to text without boilerplate, within limits of size, time and sense."""

import functools
import importlib.util
import json
import os
import re
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from tamis.schemas.errors import ModelError, RunError
from tamis.scorers.extraction.sandbox import CallFailedError, OutOfMemoryError, Sandbox, TimedOutError

__all__ = [
    "ExtractOptions",
    "Extracted",
    "Refusal",
    "check_engine",
    "clean_text",
    "extraction_seconds",
    "html_to_text",
    "looks_binary",
    "odd_share",
    "plain_to_text",
]

Engine = Literal["auto", "resiliparse", "trafilatura"]


@dataclass(frozen=True)
class ExtractOptions:
    """How pages become text.

    Attributes:
        engine: resiliparse is fast; trafilatura finds more of the right text at a twentieth of the speed, and
            needs the extra of its name; auto takes resiliparse's text without the elements that are none by their
            names, and trafilatura's where resiliparse's is but a small share of the page's.
        main_content: leave out navigation, headers, footers, comments and other boilerplate.
        max_page_bytes: a larger page (decoded, as UTF-8) is refused.
        timeout: CPU-seconds that a page may take, in a process that the operating system ends when they are over or
            when it wants too much memory. For resiliparse the parser's work is estimated before parsing, too, so that
            almost all such pages are refused at once, and on every machine.
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


_RESILIPARSE = "tamis.scorers.extraction.resiliparse_child:"
_TRAFILATURA = "tamis.scorers.extraction.trafilatura_child:"
_INSTALL = "pip install trafilatura lxml-html-clean"
# Steps (see `parser_steps`) that take one second at least, measured with resiliparse 2.0 on nested and on
# flat pages and on tags of many attributes: 30 to 67 ns each where the main content is looked for, up to 4 ns
# otherwise.
_STEPS_PER_SECOND = {True: 1.5e7, False: 2.5e8}
# Bytes of data that a parser may hold: the least, and for each byte of the largest page. Trees of flat pages of words
# take about 20 for each byte.
_MEMORY, _MEMORY_PER_BYTE = 1 << 30, 64
# When trafilatura is asked, and believed; chosen on `benchmarks/extraction.py` for the best text at 10 MB of HTML a
# second.
_SMALL_SHARE = 0.3  # of a page's text in its main content
_PROSE = 600  # bytes of a page in lines of prose, at least, ...
_PROSE_SHARE = 0.1  # ... and for each character of its text
_TOO_LITTLE = 0.3  # of resiliparse's text
_MAX_UNPRINTABLE = 0.05
_LONGEST_RUN = 10_000  # characters of ASCII without a blank
_SNIFFED = (b"%PDF-", b"PK\x03\x04", b"\x89PNG", b"GIF8", b"\xff\xd8\xff", b"\x1f\x8b", b"\x7fELF", b"Rar!")
_CONTROLS = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
_ODD_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")
_BLANK_LINES = re.compile("\n{3,}")
_RUNS = re.compile("[!-~]+")

_SANDBOXES: list[Sandbox] = []


@functools.cache
def _sandbox(target: str, memory: int, process: int) -> Sandbox:  # noqa: ARG001  (a fork needs a child of its own)
    sandbox = Sandbox(target, memory)
    _SANDBOXES.append(sandbox)
    return sandbox


def check_engine(options: ExtractOptions) -> None:
    """Check that what the engine needs is installed, before a run asks for it in its middle.

    Raises:
        ModelError: naming what to install.
    """
    if options.engine != "resiliparse" and importlib.util.find_spec("trafilatura") is None:
        msg = f"the engine {options.engine} needs trafilatura, which isn't installed: {_INSTALL}"
        raise ModelError(msg)


def extraction_seconds() -> float:
    """Return the CPU time that this process's engines have taken so far, in processes of their own."""
    return sum(sandbox.seconds for sandbox in _SANDBOXES)


def _call(target: str, html: str, options: ExtractOptions) -> str:
    """Call a function of an engine's child, within the options' time and the memory that goes with their size."""
    memory = max(_MEMORY, _MEMORY_PER_BYTE * options.max_page_bytes)
    return _sandbox(target, memory, os.getpid()).call(html, options.timeout)


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
        `page_too_complex` (seconds as estimated; no value if the parser was ended for time or memory), `page_timeout`
        (seconds) and `empty_text` (characters).

    Raises:
        CallFailedError: if the engine fails on this page.
        ModelError: if the engine isn't installed.
    """
    options = options or ExtractOptions()
    data = np.frombuffer(html.encode("utf-8", "replace"), np.uint8)
    refusal = _refused(data, options)
    if refusal is None and options.engine != "trafilatura":
        refusal = _too_complex(data, options)
    if refusal is not None:
        return Extracted("", refusal)
    extract = {"auto": _auto, "resiliparse": _resiliparse, "trafilatura": _trafilatura}[options.engine]
    try:
        text = extract(html, options)
    except TimedOutError:
        rule = "page_timeout" if options.engine == "trafilatura" else "page_too_complex"
        return Extracted("", Refusal(rule, None, options.timeout))
    except OutOfMemoryError:
        return Extracted("", Refusal("page_too_complex", None, options.timeout))
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
    longest = 0
    if len(text) >= _LONGEST_RUN:
        longest = max((run.end() - run.start() for run in _RUNS.finditer(text)), default=0)
    if longest >= _LONGEST_RUN and 2 * longest > len(text):
        return Extracted("", Refusal("gibberish", longest, _LONGEST_RUN))
    return Extracted(text)


def _too_complex(data: "np.ndarray[Any, np.dtype[np.uint8]]", options: ExtractOptions) -> Refusal | None:
    from tamis.scorers.extraction.markup import estimated_steps

    pace = _STEPS_PER_SECOND[options.main_content]
    limit = int(options.timeout * pace)
    steps = estimated_steps(data, limit)
    return Refusal("page_too_complex", steps / pace, options.timeout) if steps > limit else None


def _resiliparse(html: str, options: ExtractOptions) -> str:
    return _call(f"{_RESILIPARSE}{'main_content' if options.main_content else 'all_text'}", html, options)


def _trafilatura(html: str, options: ExtractOptions) -> str:
    try:
        return _call(f"{_TRAFILATURA}{'main_content' if options.main_content else 'all_text'}", html, options)
    except RunError as error:
        msg = f"the extractor trafilatura can't be used ({error}): {_INSTALL}"
        raise ModelError(msg) from error


def _auto(html: str, options: ExtractOptions) -> str:
    """Return resiliparse's main content, or trafilatura's where resiliparse seems to have missed it.

    What is no text by its name is left out of the former. Missed: what it found is a small share of all text of the
    page, and there is prose on it (most pages of the first kind are forms and lists, on which neither finds anything).
    Where trafilatura finds far less, fails or takes too long, resiliparse's text is taken after all; where resiliparse
    fails, trafilatura's.
    """
    if not options.main_content:
        return _resiliparse(html, options)
    try:
        counts, _, text = _call(f"{_RESILIPARSE}main_and_all_text", html, options).partition("\n")
    except OutOfMemoryError:
        raise
    except CallFailedError:
        return _trafilatura(html, options)
    main, everything, prose = json.loads(counts)
    if main >= _SMALL_SHARE * everything or prose < max(_PROSE, _PROSE_SHARE * everything):
        return text
    try:
        other = _trafilatura(html, options)
    except (CallFailedError, TimedOutError):
        return text
    return other if len("".join(other.split())) > _TOO_LITTLE * main else text
