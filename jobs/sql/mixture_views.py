"""The tables of a mixture for SQL: groups, rounds of its estimate, repetition."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from tamis.schemas.tables import described

__all__ = ["mixture_tables"]

_text, _count = pa.string(), pa.int64()
MIXTURE = pa.schema(
    [
        described("name", _text, "the group"),
        described("unit", _text, "tokens, bytes or documents, of sizes and quotas"),
        described("size", _count, "what the group has"),
        described("documents", _count, "how many documents that is"),
        described("asked", pa.float64(), "the share that was asked for"),
        described("quota", _count, "what it was to give"),
        described("share", pa.float64(), "its part of all quotas"),
        described("amount", _count, "what it gives"),
        described("realised", pa.float64(), "its part of all that is given"),
        described("taken", _count, "documents, repeats included"),
        described("epochs", pa.float64(), "quota by size"),
        described("effective", pa.float64(), "what it gives, in fresh tokens (or bytes)"),
        described("capped", pa.bool_(), "whether it gives less than was asked, for lack of data"),
    ]
)
ROUNDS = pa.schema(
    [
        described("round", pa.int32(), "of the estimate, from 0"),
        described("name", _text, "the group"),
        described("share", pa.float64(), "its share in that round"),
        described("loss", pa.float64(), "its validation loss at the round's end, where it was measured"),
    ]
)
REPETITION = pa.schema(
    [
        described("least", _count, "least times seen of the class"),
        described("most", _count, "most; null: no bound"),
        described("unit", _text, "tokens or bytes"),
        described("seen", pa.float64(), "seen of documents in the class, repeats included"),
        described("unique", pa.float64(), "different ones"),
        described("share", pa.float64(), "of all that is seen"),
    ]
)
HEAVY = pa.schema(
    [
        described("what", _text, "tokens or bytes of documents, or lines"),
        described("least", _count, "times seen, at least"),
        described("seen", pa.float64(), "so many of them are seen so often, repeats included"),
        described("unique", pa.float64(), "different ones"),
        described("share", pa.float64(), "of all that is seen"),
        described("counted", pa.float64(), "share of all lines that is counted, by their hash"),
    ]
)


def mixture_tables(record: Mapping[str, Any], repetition: Mapping[str, Any]) -> Sequence[tuple[str, pa.Table]]:
    """Return name and rows of each table; empty ones where there is no mixture.

    Args:
        record: the manifest's section on the mixture.
        repetition: that on repetition.
    """
    rounds = [
        {"round": number, "name": name, "share": float(share), "loss": loss}
        for number, found in enumerate(record.get("rounds", ()))
        if "p" in found
        for name, share, loss in _of_round(record, found)
    ]
    seen = [
        {"least": row["seen"][0], "most": row["seen"][1], "seen": row["tokens"], "unique": row["unique_tokens"]}
        | {"share": row["share"], "unit": repetition.get("unit")}
        for row in repetition.get("histogram", ())
    ]
    worth = repetition.get("groups", {})
    groups = [
        {name: group.get(name) for name in MIXTURE.names}
        | {"unit": record.get("unit"), "effective": worth.get(group["name"], {}).get("effective_tokens")}
        for group in record.get("groups", ())
    ]
    return [
        (name, pa.Table.from_pylist(rows, schema))
        for name, schema, rows in (
            ("mixture", MIXTURE, groups),
            ("mixture_rounds", ROUNDS, rounds),
            ("repetition", REPETITION, seen),
            ("repetition_heavy", HEAVY, _heavy(repetition)),
        )
    ]


def _heavy(repetition: Mapping[str, Any]) -> list[dict[str, Any]]:
    told = repetition.get("heavy")
    if told is None:  # no mixture, or one that an earlier version made
        return []
    tokens = {"what": repetition.get("unit"), "seen": told["tokens"], "unique": told["unique_tokens"]}
    rows = [tokens | {"share": told["share"], "counted": 1.0}]
    if told["lines"] is not None:
        rows.append({"what": "lines", **told["lines"]})
    return [{"least": told["times"], **row} for row in rows]


def _of_round(record: Mapping[str, Any], found: Mapping[str, Any]) -> list[tuple[str, float, float | None]]:
    names = list(record.get("proportions") or {})
    losses = found.get("loss_end") or []
    told = losses if len(losses) == len(names) else [None] * len(names)
    return list(zip(names, found["p"], told, strict=False))
