"""Takes credentials out of what is shown or kept: user names, passwords, signatures and tokens in addresses."""

import re
from typing import Any, TypeVar, cast

__all__ = ["REDACTED", "redacted", "redacted_all"]

REDACTED = "***"
"""Stands for what was taken out."""

T = TypeVar("T")

# Azure's addresses have a container, which is no secret, where others have a user: abfs://container@account.
_USER = re.compile(r"(?i)(?<![\w.+-])((?!abfss?://|wasbs?://|adl://)[a-z][a-z0-9+.-]*://)[^\s/?#'\"<>]+@")
_NAMES = (
    r"[\w.-]*(?:signature|credential|token|secret|passw|api[_-]?key|access[_-]?key|accessid|key-pair-id|policy|"
    r"authorization|session)[\w.-]*|sig|sas|jwt|auth|key|login|pass|pwd|user|username"
)
_PARAMETER = re.compile(rf"(?i)([?&;#](?:{_NAMES})=)(?:[^&\s#'\"<>;,:]|:(?!\s|$))+")


def redacted(text: str) -> str:
    """Return text with the credentials in its addresses taken out.

    ```python
    redacted("https://me:word@h.example/x?page=2&X-Amz-Signature=ab")  # https://***@h.example/x?page=2&...=***
    ```
    """
    if "://" not in text:
        return text
    return _PARAMETER.sub(rf"\1{REDACTED}", _USER.sub(rf"\1{REDACTED}@", text))


def redacted_all(value: T) -> T:
    """Return plain data (mappings, lists, scalars) with all its texts so; keys are texts, too."""
    found: Any = value
    if isinstance(value, str):
        found = redacted(value)
    elif isinstance(value, dict):
        found = {redacted_all(key): redacted_all(inner) for key, inner in value.items()}
    elif isinstance(value, list | tuple):
        found = [redacted_all(inner) for inner in value]
        found = tuple(found) if isinstance(value, tuple) else found
    return cast("T", found)
