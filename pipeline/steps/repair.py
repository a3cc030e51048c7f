"""`repair`: mistaken encodings and what is left of tables, put right."""

from collections.abc import Mapping
from typing import ClassVar, Self

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import Step
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator

__all__ = ["RepairStep"]


_GUIDE = Guide(
    formula="""\
encoding      =  ftfy.fix_text: UTF-8 read as another encoding, control characters, mistaken HTML entities
symbol lines  =  lines of nothing but `symbol_lines` and blanks; a run of them becomes `replacement`""",
    follows="""\
FineWeb-2's last step: the library ftfy (Speer 2019), and its removal of lines that hold `|` alone, which stands for the
borders of tables.""",
    example="""\
- repair: {encoding: false, symbol_lines: "|-"}""",
    query="SELECT repair_lines > 0 AS had_lines, count(*) AS documents FROM documents GROUP BY ALL ORDER BY ALL",
    inputs=(WEB,),
)


class RepairStep(Step):
    """Repairs texts: encodings that were mistaken, by ftfy, and lines of table rules, as FineWeb-2's last step does.

    Later steps and the output have the repaired text.
    """

    verb: ClassVar[str] = "repair"
    guide: ClassVar[Guide] = _GUIDE
    rewrites: ClassVar[bool] = True
    name: str = Field(default="repair", pattern=NAME, description="begins the columns' names: `<name>_characters`")
    encoding: bool = Field(
        default=True, description="ftfy's repair of mojibake and of what control characters are left; extra `ftfy`"
    )
    symbol_lines: str | None = Field(
        default=None, min_length=1, max_length=100,
        description="characters, such as '|': lines of nothing else and blanks are taken out",
    )  # fmt: skip
    replacement: str = Field(
        default="", description="of `symbol_lines`: in place of each run of such lines; FineWeb-2 has a line break"
    )

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.encoding and self.symbol_lines is None:
            msg = "`encoding: false` and no `symbol_lines`: nothing is repaired"
            raise ValueError(msg)
        if self.symbol_lines is not None and any(one.isspace() for one in self.symbol_lines):
            msg = "symbol_lines: characters that are no white space; blanks between them don't count"
            raise ValueError(msg)
        if "replacement" in self.model_fields_set and self.symbol_lines is None:
            msg = "replacement is of `symbol_lines`, which isn't given"
            raise ValueError(msg)
        return self

    @property
    def label(self) -> str:
        """Verb, and name if it is another: there may be several."""
        return self.verb if self.name == self.verb else f"{self.verb}.{self.name}"

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what repairs.

        Raises:
            ConfigError: if ftfy isn't installed.
        """
        del models
        return _Repaired(self)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """A document of which nothing is left falls."""
        return (Rule(column=f"{self.name}_characters", op="min", threshold=1, reason="nothing_left"),)


class _Repaired:
    """The repaired text, whether it changed, and what is left."""

    requires = ("text",)

    def __init__(self, step: RepairStep):
        from tamis.scorers.text.repair import EncodingRepair

        self._encoding = EncodingRepair() if step.encoding else None
        self._symbols = step.symbol_lines
        self._replacement = step.replacement
        fields = [
            described("text", pa.large_string(), "the repaired text"),
            described(f"{step.name}_encoding", pa.bool_(), "whether ftfy changed the text"),
            described(f"{step.name}_lines", pa.int64(), "line feeds fewer, where lines of symbols were taken out"),
            described(f"{step.name}_characters", pa.int64(), "code points left, without white space at the ends"),
        ]
        self.schema = pa.schema(fields)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.text.repair import count_symbol_lines, drop_symbol_lines
        from tamis.scorers.text.texts import as_arrow

        text = pc.cast(as_arrow(batch.column("text")), pa.large_string())
        fixed = text if self._encoding is None else pc.cast(self._encoding.repair(text), pa.large_string())
        left, lines = fixed, pa.array([0] * batch.num_rows, pa.int64())
        if self._symbols is not None:
            lines = count_symbol_lines(fixed, self._symbols)
            left = drop_symbol_lines(fixed, self._symbols, self._replacement)
        size = pc.utf8_length(pc.utf8_trim_whitespace(left))
        columns = [left, pc.not_equal(fixed, text), lines, pc.cast(size, pa.int64())]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)
