"""The card of an exported dataset: what `datasets.load_dataset` needs, and what a person wants to know."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from tamis.jobs.provenance import version
from tamis.jobs.unprintable import UNPRINTABLE
from tamis.schemas.wording import counted

__all__ = ["dataset_card"]

_SIZES = (10**3, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9, 10**10, 10**11, 10**12)
_NAMES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")
_REPEATED = ", in the order of the mixture's shards; a document that is repeated has a row each time."


def dataset_card(
    name: str,
    documents: int,
    size: int,
    groups: Sequence[Mapping[str, Any]],
    repetition: Mapping[str, Any] | None,
    sha256: str,
) -> str:
    """Return the README.md of a dataset's folder.

    Args:
        name: of the run.
        documents: in it.
        size: bytes of its files.
        groups: of the mixture, as its record has them; empty for a plain selection.
        repetition: of the mixture.
        sha256: digest of what was exported.
    """
    head = {
        "pretty_name": name,
        "task_categories": ["text-generation"],
        "size_categories": [_size_category(documents)],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}],
    }
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip(),
        "---",
        "",
        f"# {_inline(name)}",
        "",
        f"{counted(documents, 'document')} in {size / 1e6:,.1f} MB of Parquet, written by tamis {version()} "
        f"(`{sha256[:16]}`). "
        f"One row a document{_REPEATED if groups else '.'}",
        "",
        "```python",
        "import datasets",
        "",
        'datasets.load_dataset("path/to/this/folder", split="train")',
        "```",
    ]
    if groups:
        lines += ["", "| group | documents | share | epochs |", "| --- | ---: | ---: | ---: |"]
        lines += [
            f"| {_inline(g['name'])} | {g['taken']:,} | {g['realised']:.4f} | {g['epochs']:.2f} |" for g in groups
        ]
    if repetition is not None and repetition["seen"]:
        lines += [
            "",
            f"{repetition['seen']:,.0f} {repetition['unit']} are seen, {repetition['unique']:,.0f} of them different, "
            f"worth about {repetition['effective']:,.0f} fresh ones.",
        ]
    lines += ["", "The documents' licences are those of their sources.", ""]
    return "\n".join(lines)


def _size_category(documents: int) -> str:
    place = next((i for i, size in enumerate(_SIZES) if documents < size), len(_SIZES))
    if place == 0:
        return "n<1K"
    if place == len(_SIZES):
        return "n>1T"
    return f"{_NAMES[place - 1]}<n<{_NAMES[place]}"


def _inline(text: object) -> str:
    """Return text that can't end a line, a cell or the card's head."""
    plain = UNPRINTABLE.sub(" ", str(text))
    return "".join("\\" + c if c in "\\`*_[]<>|#" else c for c in plain)
