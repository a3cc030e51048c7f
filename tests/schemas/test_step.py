"""What a step is called."""

from typing import ClassVar

from tamis.schemas.step import StepConfig


class Plain(StepConfig):
    verb: ClassVar[str] = "plain"


class Named(StepConfig):
    verb: ClassVar[str] = "named"
    name: str = "columns"


class Optional(StepConfig):
    verb: ClassVar[str] = "optional"
    name: str | None = None


class Required(StepConfig):
    verb: ClassVar[str] = "required"
    name: str


def test_a_name_is_part_of_the_label_if_it_is_not_the_default() -> None:
    assert Plain().label == "plain"
    assert [Named().label, Named(name="columns").label, Named(name="other").label] == ["named", "named", "named.other"]
    assert [Optional().label, Optional(name="other").label] == ["optional", "optional.other"]
    assert Required(name="other").label == "required.other"
