"""`pii`: personal data and secrets, counted and masked."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field, model_validator

from tamis.pipeline.steps.base import Step
from tamis.schemas.guide import WEB, Guide
from tamis.schemas.rule import Rule
from tamis.schemas.step import NAME, Decides
from tamis.schemas.tables import described
from tamis.scorers.base import Annotator
from tamis.scorers.pii.kinds import KINDS, PiiKind

__all__ = ["PiiStep"]

_TOLD: dict[PiiKind, str] = {
    "email": "e-mail addresses",
    "ip": "public IP addresses",
    "phone": "phone numbers",
    "iban": "account numbers (IBAN)",
    "card": "card numbers",
    "key": "keys and tokens",
}

_GUIDE = Guide(
    formula="""\
email, key      =  by their shape; ip: globally reachable IPv4 and IPv6 addresses
card, iban      =  by their length, issuer and check digits (Luhn; ISO 7064 mod 97)
phone           =  by E.164's lengths, with a + or in a national form
mask            =  masks[kind][hash(what it stands for, seed) mod n]: the same address, the same mask
falls           =  findings > `max_findings`""",
    follows="""\
Of shapes: the registries themselves (IANA, ISO 13616, E.164, issuers' own descriptions of their keys). FineWeb
masks e-mail and public IP addresses alone: `kinds: [email, ip]`.""",
    example="""\
- pii: {kinds: [email, ip, phone, key], max_findings: 20}""",
    query="SELECT sum(pii_findings)::BIGINT AS findings, sum(pii_email)::BIGINT AS email, sum(pii_ip)::BIGINT "
    "AS ip FROM documents",
    inputs=(WEB,),
)


class PiiStep(Step):
    """Counts and masks e-mail and public IP addresses, phone, account and card numbers, keys and tokens.

    Later steps and the output have the masked text, rejected documents the text as it came. Numbers count where
    their check digits are right; a mask depends on what it stands for and on `seed` alone, so the same address has the
    same mask wherever it stands.
    """

    verb: ClassVar[str] = "pii"
    guide: ClassVar[Guide] = _GUIDE
    rewrites: ClassVar[bool] = True
    mode: Literal["mask", "annotate"] = Field(
        default="mask", description="mask: replace what is found; annotate: count it and leave the text"
    )
    kinds: tuple[PiiKind, ...] = Field(default=KINDS, min_length=1, description="what to look for")
    masks: dict[PiiKind, tuple[str, ...]] = Field(
        default_factory=dict, description="what stands for a kind, one of them chosen by a hash; names of the kind, "
        "addresses and numbers reserved for examples if absent",
    )  # fmt: skip
    seed: int = Field(default=0, ge=0, lt=2**63, description="key of the hash that chooses masks")
    max_findings: Annotated[int | None, Decides] = Field(
        default=None, ge=0, description="documents with more findings are rejected; none are if absent"
    )
    name: str = Field(default="pii", pattern=NAME, description="begins the columns' names")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        empty = [kind for kind, masks in self.masks.items() if not masks]
        if empty:
            msg = f"masks: {empty[0]} needs at least one mask; an empty one, '', takes it out"
            raise ValueError(msg)
        if self.masks and self.mode == "annotate":
            msg = "masks are of `mode: mask`: with `mode: annotate` the text stays as it is"
            raise ValueError(msg)
        unsought = [kind for kind in self.masks if kind not in self.kinds]
        if unsought:
            msg = f"masks: {unsought[0]} isn't among the `kinds` looked for"
            raise ValueError(msg)
        return self

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Too many findings."""
        if self.max_findings is None:
            return ()
        column = f"{self.name}_findings"
        return (Rule(column=column, op="max", threshold=self.max_findings, reason=f"{column}_max"),)

    def scoring_options(self) -> dict[str, Any]:
        """Return what the columns follow from: kinds in any order, and of masks nothing where there are none."""
        options = {**super().scoring_options(), "kinds": sorted(set(self.kinds))}
        if self.mode == "annotate":
            del options["seed"]
        return options

    def annotator(self, models: Mapping[str, str]) -> Annotator:
        """Return what finds and masks."""
        del models
        return _Findings(self)


class _Findings:
    """Counts of findings by kind, and the text with masks in their place."""

    requires = ("text",)

    def __init__(self, step: PiiStep):
        from tamis.scorers.pii.mask import Masker

        name = step.name
        self._kinds = tuple(kind for kind in KINDS if kind in step.kinds)
        self._masker = Masker(step.seed, step.masks) if step.mode == "mask" else None
        fields = [described(f"{name}_{kind}", pa.int64(), f"{_TOLD[kind]} found in the text") for kind in self._kinds]
        fields.append(described(f"{name}_findings", pa.int64(), "personal data and secrets found, of all kinds"))
        if self._masker is not None:
            told = "code points of the text that masks stand for"
            fields.append(described(f"{name}_removed_chars", pa.int64(), told))
            fields.append(described("text", pa.large_string(), "the text with masks"))
        self.schema = pa.schema(fields)

    def annotate(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        from tamis.scorers.dedup.cuts import Cuts
        from tamis.scorers.pii.detect import find_pii
        from tamis.scorers.text.texts import as_buffer

        texts = as_buffer(batch.column("text"))
        spans = find_pii(texts, self._kinds)
        counts = spans.counts(batch.num_rows)
        columns: list[pa.Array] = [pa.array(counts[kind]) for kind in self._kinds]
        columns.append(pa.array(sum(counts[kind] for kind in self._kinds)))
        if self._masker is not None:
            columns.append(pa.array(Cuts(spans.texts, spans.starts, spans.ends).removed(texts)))
            columns.append(self._masker.apply(texts, spans))
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)
