"""The config of continuous mode: what becomes of new files, and of files that changed after they were read."""

from typing import Literal

from pydantic import Field

from tamis.schemas.base import Model

__all__ = ["WatchConfig"]


class WatchConfig(Model):
    """What `tamis watch` does with new files: increments of one corpus; `tamis run` doesn't look at it."""

    thresholds: Literal["estimate", "frozen"] = Field(
        default="estimate",
        description="estimate: shares, percentiles and fits are those of each increment; frozen: what the first one "
        "found holds for all later ones, and a group that it lacked is held from its own first one on",
    )
    changed: Literal["say", "read", "fail"] = Field(
        default="say",
        description="files of other content than when they were read. say: they are told once and stay as they were "
        "read; read: all of their records are read, as of a new file; fail: nothing is done until they are as before",
    )
    settle: float = Field(
        default=0,
        ge=0,
        allow_inf_nan=False,
        description="seconds for which a local file must not have been written to before it is read; objects of a "
        "store appear whole",
    )
    max_files: int | None = Field(
        default=None, ge=1, description="of one increment; what there is more goes into further ones of the same pass"
    )
    indexes: Literal["last", "all"] = Field(
        default="last",
        description="what was seen, which each increment leaves whole. last: that of the latest alone is kept; all: "
        "`tamis manifest rerun` can repeat each increment",
    )
