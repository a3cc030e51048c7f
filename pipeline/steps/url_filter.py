"""`url_filter`: lists of addresses and words in URLs."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import FoundFile, Memory, Step
from tamis.pipeline.steps.files import find_file, find_model
from tamis.pipeline.storage.row_state import RowState
from tamis.schemas.base import nearest
from tamis.schemas.errors import ConfigError, InputError, ModelError
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.step import NAME, Decides, FilePath
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["UrlFilterStep"]

_READ = 10
"""Memory for a byte of a list while it is read: measured on 500,000 hosts, of which 4 bytes stay."""
_LIST_KINDS = ("lists", "adblock", "opt_out")
_WRITTEN: dict[str, Literal["plain", "adblock", "any"]] = {"lists": "plain", "adblock": "adblock", "opt_out": "any"}
_RESERVED = "lists of reserved rights that name the URL, in alphabetical order"
_WORD_KINDS = ("words", "soft_words", "parts")
_FOLDERS: dict[str, Literal["22.01", "23.01"]] = {"oscar_22.01": "22.01", "oscar_23.01": "23.01"}

_Words = str | tuple[str, ...]
"""A file with a word a line, or the words themselves."""

_GUIDE = Guide(
    formula="""\
host in list      =  the URL's host or one above it is named
address in list   =  host and path are those of a line; of Adblock's lines the path is a beginning
words             =  a word of the list stands between signs of the URL; `parts`: anywhere in its letters and digits
opt_out           =  lists of reserved rights that name the URL; a column, which rejects where `reject` says so
falls             =  a list or word that `reject` names matches, and no list that `allow` names""",
    follows="""\
UT1's folders as FineWeb and OSCAR use them (`folders` has OSCAR's exact ways of matching), hosts files, and the
part of Adblock's syntax that names addresses. `soft_words` is FineWeb's rule: so many different ones in one URL.""",
    example="""\
- url_filter:
    words: [patterns, security]
    lists: {mirrors: examples/recipes/lists/mirrors}
    opt_out: {robots: examples/recipes/lists/opt-out.txt}""",
    query="SELECT url_words, url_lists, opt_out, fate, count(*) AS documents FROM documents WHERE url_words IS "
    "NOT NULL OR url_lists IS NOT NULL OR opt_out IS NOT NULL GROUP BY ALL ORDER BY ALL",
    inputs=(WEB,),
)


class UrlFilterStep(Step):
    """Rejects URLs that lists of sites and pages name (UT1, plain, hosts and Adblock files) or that hold certain words.

    Columns say which list and which word matched. A list's host stands for all hosts below it. A document without
    a URL matches nothing.
    """

    verb: ClassVar[str] = "url_filter"
    guide: ClassVar[Guide] = _GUIDE
    lists: Annotated[dict[str, str], FilePath] = Field(
        default_factory=dict, description="name: file with a host, an address with a path, or a line of a hosts file "
        "a line, plain or gzipped; or the folder of an UT1 category",
    )  # fmt: skip
    adblock: Annotated[dict[str, str], FilePath] = Field(
        default_factory=dict, description="name: file of rules such as `||example.com^`; those for parts of a page are "
        "passed over",
    )  # fmt: skip
    opt_out: Annotated[dict[str, str], FilePath] = Field(
        default_factory=dict, description="name: file, as of `lists` or `adblock`, of addresses whose owners reserve "
        "their rights (robots.txt, TDM opt-outs); they are a column, and reject only where `reject` names them",
    )  # fmt: skip
    folders: Literal["hosts", "oscar_22.01", "oscar_23.01"] = Field(
        default="hosts", description="how folders of UT1 match: as other lists, or exactly as OSCAR's releases do"
    )
    words: Annotated[_Words | None, FilePath] = Field(
        default=None, description="words of which one in the URL is enough; a list, or a file with a word a line"
    )
    soft_words: Annotated[_Words | None, FilePath] = Field(
        default=None, description="words of which it takes `soft_least` different ones; as `words`"
    )
    soft_least: int = Field(default=2, ge=1, description="see `soft_words`")
    parts: Annotated[_Words | None, FilePath] = Field(
        default=None,
        description="what is enough anywhere in the URL's letters and digits, inside words too; as `words`",
    )
    allow: Annotated[tuple[str, ...], Decides] = Field(
        default=(), description="names of lists whose addresses stay, whatever else matches"
    )
    reject: Annotated[tuple[str, ...] | None, Decides] = Field(
        default=None, description="what rejects: names of lists, `words`, `soft_words`, `parts`; all if absent but "
        "the lists of `allow` and `opt_out`, none if empty",
    )  # fmt: skip
    no_url: Annotated[Literal["keep", "reject"], Decides] = Field(
        default="keep", description="what becomes of documents without a URL"
    )
    name: str = Field(default="url", pattern=NAME, description="begins the columns' names")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not (self.lists or self.adblock or self.opt_out or self._word_kinds):
            msg = "nothing to match URLs with: give `lists`, `adblock`, `opt_out`, `words`, `soft_words` or `parts`"
            raise ValueError(msg)
        for one, other in itertools.combinations(_LIST_KINDS, 2):
            twice = sorted({*getattr(self, one)} & {*getattr(self, other)})
            if twice:
                msg = f"the list {twice[0]} stands under `{one}` and `{other}`: call one otherwise"
                raise ValueError(msg)
        for name in self._lists:
            if not name.isidentifier() or name in _WORD_KINDS:
                msg = f"a list's name is letters, digits and _, and none of {', '.join(_WORD_KINDS)}; not {name!r}"
                raise ValueError(msg)
        for option in ("allow", "reject"):
            known = [*self.lists, *self.adblock]
            if option == "reject":
                known += [*self.opt_out, *self._word_kinds]
            for name in getattr(self, option) or ():
                if name not in known:
                    msg = f"{option}: there is no {name!r}{nearest(name, known)}"
                    raise ValueError(msg)
        both = [name for name in self.reject or () if name in self.allow]
        if both:
            msg = f"the list {both[0]} stands under `allow` and `reject`"
            raise ValueError(msg)
        return self

    @property
    def _lists(self) -> dict[str, str]:
        """Name to file of all lists, in the order in which they count: of the names."""
        return dict(sorted({**self.lists, **self.adblock, **self.opt_out}.items()))

    @property
    def opt_out_column(self) -> str:
        """The column that says which lists of `opt_out` name the URL."""
        return "opt_out" if self.name == "url" else f"{self.name}_opt_out"

    @property
    def _word_kinds(self) -> tuple[str, ...]:
        return tuple(kind for kind in _WORD_KINDS if getattr(self, kind))

    @property
    def references(self) -> dict[str, str]:
        """Every list by its name, and the files of words."""
        found = {f"{kind}.{name}": path for kind in _LIST_KINDS for name, path in getattr(self, kind).items()}
        named = {kind: getattr(self, kind) for kind in self._word_kinds}
        return found | {kind: path for kind, path in named.items() if isinstance(path, str)}

    def scoring_options(self) -> dict[str, Any]:
        """Return what the columns follow from: the words given here too, which are no files."""
        named = {kind: getattr(self, kind) for kind in self._word_kinds}
        given = {kind: sorted(set(words)) for kind, words in named.items() if not isinstance(words, str)}
        return {**super().scoring_options(), "given": given}

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find a list, or a file of words.

        Raises:
            ModelError: if there is none.
        """
        if option.startswith(("lists.", "opt_out.")):  # may be a folder
            if "://" not in reference and not Path(reference).exists():
                msg = f"step {self.label}: {option}: there is no file or folder {reference}"
                raise ModelError(msg)
            return {option: find_model(self.label, option, reference)}
        return {option: find_file(self.label, option, reference)}

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what matches.

        Raises:
            ConfigError: if a file holds something that is no word, or a list names nothing.
            InputError: if a file can't be read.
        """
        return _Matches(self, models)

    def memory(self, documents: int, models: Mapping[str, FoundFile]) -> Memory:
        """Estimate the lists, which each worker reads."""
        del documents
        return Memory(worker=_READ * sum(model.bytes for model in models.values()))

    @property
    def _rejecting(self) -> tuple[str, ...]:
        """The lists and kinds of words that reject, in order."""
        found = [*self._lists, *self._word_kinds]
        wanted = [name for name in found if name not in self.opt_out] if self.reject is None else self.reject
        return tuple(name for name in found if name in wanted and name not in self.allow)

    @property
    def rule_names(self) -> tuple[str, ...]:
        """One a list, and one a kind of words."""
        names = [
            f"{self.name}_list_{name}" if name in self._lists else f"{self.name}_{name}" for name in self._rejecting
        ]
        return (*names, *([f"{self.name}_missing"] if self.no_url == "reject" else []))

    @property
    def reads(self) -> tuple[str, ...]:
        """Its own columns, and the URL."""
        return (f"{self.name}_lists", f"{self.name}_words", *([self.opt_out_column] if self.opt_out else []), "url")

    def apply(self, index: int, batch: pa.RecordBatch, state: RowState) -> None:
        """Let the documents fall that a list or word names and none of `allow` does."""
        lists = pc.fill_null(batch.column(f"{self.name}_lists"), "")
        words = pc.fill_null(batch.column(f"{self.name}_words"), "")
        reserved = pc.fill_null(batch.column(self.opt_out_column), "") if self.opt_out else None

        def on(name: str) -> npt.NDArray[np.bool_]:
            column = reserved if name in self.opt_out else lists if name in self._lists else words
            found = pc.match_substring_regex(column, rf"(^| ){name}($|[ :])")
            return np.asarray(found.to_numpy(zero_copy_only=False), np.bool_)

        allowed = np.zeros(batch.num_rows, np.bool_)
        for name in self.allow:
            allowed |= on(name)
        for rule, name in enumerate(self._rejecting):
            state.fall(index, on(name) & ~allowed, rule)
        if self.no_url == "reject":
            missing = pc.equal(pc.utf8_length(pc.fill_null(batch.column("url"), "")), 0)
            state.fall(index, missing.to_numpy(zero_copy_only=False), len(self._rejecting))

    @property
    def can_reject(self) -> bool:
        """Whether there is something that rejects."""
        return bool(self.rule_names)

    @property
    def does_something(self) -> bool:
        """It computes and decides."""
        return True


class _Matches:
    """Which lists name a URL, by what, and which words stand in it."""

    requires = ("url",)

    def __init__(self, step: UrlFilterStep, models: Mapping[str, str]):
        from tamis.scorers.urls.lists import UrlList
        from tamis.scorers.urls.rules import AddressRules, UrlWords

        self._lists: dict[str, AddressRules | UrlList] = {}
        for name in step._lists:
            form = next(kind for kind in _LIST_KINDS if name in getattr(step, kind))
            path = Path(models[f"{form}.{name}"])
            try:
                if path.is_dir() and step.folders != "hosts":
                    self._lists[name] = UrlList.read(path, semantics=_FOLDERS[step.folders])
                else:
                    rules = AddressRules.read(path, _WRITTEN[form])
                    if not len(rules):
                        msg = f"{path} names no address; set the list under `lists` or `adblock`, as it is written"
                        raise ConfigError(msg)
                    self._lists[name] = rules
            except (InputError, ConfigError) as error:
                msg = f"step {step.label}: {form}.{name}: {error}"
                raise type(error)(msg) from None
        found = {kind: _words(step, kind, models) for kind in _WORD_KINDS}
        self._opt_out = frozenset(step.opt_out)
        self._words = {
            kind: UrlWords(**{_MATCHED_AS[kind]: words}, least=step.soft_least)
            for kind, words in found.items()
            if words
        }
        name = step.name
        self.schema = pa.schema(
            [
                described(f"{name}_lists", pa.string(), "lists that name the URL, in alphabetical order"),
                described(f"{name}_matched", pa.string(), "what of the URL the first of them names: host, url or part"),
                described(f"{name}_words", pa.string(), "words found in the URL, such as words:bet soft_words:bet+win"),
                *([described(step.opt_out_column, pa.string(), _RESERVED)] if step.opt_out else []),
            ]
        )

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        urls = batch.column("url").to_pylist()
        named: list[list[str]] = [[] for _ in urls]
        matched: list[str | None] = [None] * len(urls)
        words: list[list[str]] = [[] for _ in urls]
        reserved: list[list[str]] = [[] for _ in urls]
        for name, known in self._lists.items():
            for row, what in enumerate(_what(known, urls)):
                if what is None:
                    continue
                if name in self._opt_out:
                    reserved[row].append(name)
                else:
                    named[row].append(name)
                    matched[row] = matched[row] or what
        for kind, looked_for in self._words.items():
            for row, found in enumerate(looked_for.matches(urls)):
                if found is not None:
                    words[row].append(f"{kind}:{found.partition(':')[2]}")
        columns = [[" ".join(one) or None for one in named], matched, [" ".join(one) or None for one in words]]
        if self._opt_out:
            columns.append([" ".join(one) or None for one in reserved])
        return pa.RecordBatch.from_arrays([pa.array(column, pa.string()) for column in columns], schema=self.schema)


_MATCHED_AS = {"words": "banned", "soft_words": "soft", "parts": "parts"}


def _what(known: Any, urls: list[str | None]) -> list[str | None]:
    """Return what of each URL a list names."""
    if hasattr(known, "names"):
        found: list[str | None] = known.names(urls)
        return found
    return ["url" if hit else None for hit in known.matches(urls).tolist()]


def _words(step: UrlFilterStep, kind: str, models: Mapping[str, str]) -> tuple[str, ...]:
    """Return the words of a kind.

    Raises:
        ConfigError: naming what is no word.
    """
    given = getattr(step, kind) or ()
    where = kind
    if isinstance(given, str):
        where = f"{kind}: {given}"
        try:
            lines = Path(models[kind]).read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"step {step.label}: {where} can't be read: {error}"
            raise InputError(msg) from None
        given = tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
        if not given:
            msg = f"step {step.label}: {where} holds no word"
            raise ConfigError(msg)
    wrong = [word for word in given if not word.isalnum()]
    if wrong:
        msg = f"step {step.label}: {where}: a word to look for in URLs is letters and digits, not {wrong[0]!r}"
        raise ConfigError(msg)
    return tuple(given)
