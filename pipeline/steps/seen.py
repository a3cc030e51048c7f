"""The options `index` and `write_index` of steps that take out duplicates."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field

from tamis.pipeline.steps.base import Earlier, FoundFile, Step
from tamis.schemas.errors import ModelError
from tamis.schemas.step import Decides, FilePath

__all__ = ["IndexedStep"]


class IndexedStep(Step):
    """Base of steps that take what earlier runs have seen, and leave what they have seen themselves."""

    index: Annotated[tuple[str, ...], FilePath, Decides] = Field(
        default=(),
        description="folders of earlier runs, or of their indexes: what they kept stays, and copies of it go",
    )
    write_index: Annotated[bool, Decides] = Field(
        default=False, description="leave an index for later runs in the run's folder, with all of `index` in it"
    )

    @property
    def references(self) -> dict[str, str]:
        """Each index by its number."""
        return {f"index.{number}": path for number, path in enumerate(self.index)}

    def leaving(self) -> Self:
        """Leave an index."""
        return self.model_copy(update={"write_index": True})

    def frozen(self, earlier: Earlier) -> Self:
        """Nothing but an index follows from the corpus."""
        del earlier
        return self

    def index_settings(self) -> dict[str, Any]:
        """Return the settings that an index must have been made with, plain as JSON has them."""
        return {}

    def find(self, option: str, reference: str) -> dict[str, FoundFile]:
        """Find an index and hold it to the step's settings; what its listing says is its digest.

        Raises:
            ModelError: if there is none, or it was made with other settings.
        """
        from tamis.pipeline.corpus.earlier import find_index

        where = f"step {self.label}: index"
        try:
            found = find_index(reference, self.label)
        except ModelError as error:
            msg = f"{where}: {error}"
            raise ModelError(msg) from None
        mine: Mapping[str, Any] = self.index_settings()
        if found.verb != self.verb:
            msg = f"{where}: {reference} was left by {found.verb}, not by {self.verb}"
            raise ModelError(msg)
        other = [name for name in {**mine, **found.settings} if mine.get(name) != found.settings.get(name)]
        if other:
            name = other[0]
            told = f"`{name}: {found.settings.get(name)}`, and this is `{name}: {mine.get(name)}`"
            msg = f"{where}: {reference} was made with {told}: use the same, or make it anew"
            raise ModelError(msg)
        size = sum(part.bytes for part in found.parts)
        return {option: FoundFile(reference, found.folder, found.sha256, size)}
