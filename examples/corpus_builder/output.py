"""One file of the corpus, before it is written."""

from dataclasses import dataclass, field

__all__ = ["MADE_HERE", "Output"]

MADE_HERE = "made by this script"


@dataclass
class Output:
    """A file of the corpus with what provenance says about it."""

    name: str
    data: bytes
    fields: list[str]
    records: int
    taken: dict[str, int] = field(default_factory=dict)
    languages: dict[str, int] = field(default_factory=dict)
    details: dict[str, object] = field(default_factory=dict)

    def count(self, package: str, language: str = "en") -> None:
        """Counts one document of `package`."""
        self.taken[package] = self.taken.get(package, 0) + 1
        self.languages[language] = self.languages.get(language, 0) + 1
