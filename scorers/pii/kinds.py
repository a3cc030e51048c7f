"""The kinds of personal data that are found."""

from typing import Literal, TypeAlias, get_args

__all__ = ["KINDS", "PiiKind"]

PiiKind: TypeAlias = Literal["email", "ip", "phone", "iban", "card", "key"]

KINDS: tuple[PiiKind, ...] = get_args(PiiKind)
