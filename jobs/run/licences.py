"""The models and lists that a plan reads, with the licence that stands beside each of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from tamis.jobs.run.plan import Plan
from tamis.pipeline.steps.files import digest_path
from tamis.pipeline.steps.language import LanguageStep
from tamis.pipeline.storage import filesystem
from tamis.scorers.language.identify import packaged_model

__all__ = ["ReadFile", "licence_beside", "read_files"]

_FRONT = re.compile(r"^(?:license|licence):[ \t]*[\"']?([^\s\"'#][^\n\"'#]*)", re.MULTILINE)
_NAMES = ("license", "licence", "copying")
_HEAD = 1 << 14
PACKAGED = "CC BY-SA 3.0"
"""Of lid.176, see `scorers/models/README.md`."""


@dataclass(frozen=True)
class ReadFile:
    """A model or list.

    Attributes:
        step: label of the step that reads it.
        option: of that step.
        reference: as the config names it, or that it comes with the installation.
        sha256: of its content.
        licence: as it is said beside it: an identifier, or the name of a file; None if nothing says it.
    """

    step: str
    option: str
    reference: str
    sha256: str
    licence: str | None


def read_files(plan: Plan) -> tuple[ReadFile, ...]:
    """Return all models and lists of a plan, those that come with the installation among them."""
    found = []
    for step in plan.steps:
        models = plan.models.get(step.label, {})
        if isinstance(step, LanguageStep) and step.engine == "fasttext" and step.model is None:
            sha256, _ = digest_path(str(packaged_model()))
            found.append(ReadFile(step.label, "model", "lid.176.ftz, packaged", sha256, PACKAGED))
        for option, model in models.items():
            found.append(ReadFile(step.label, option, model.reference, model.sha256, licence_beside(model.path)))
    return tuple(found)


def licence_beside(path: str) -> str | None:
    """Return what a model's folder says of its licence: `license:` at the head of a README, or a file of that name.

    Args:
        path: of the model: a folder, or a file whose folder is looked at. Only local ones are.
    """
    if not filesystem.is_local(path):
        return None
    local = Path(filesystem.local_path(path))
    folder = local if local.is_dir() else local.parent
    if not folder.is_dir():
        return None
    names = sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    for name in names:
        if name.lower() in ("readme.md", "readme"):
            with (folder / name).open(encoding="utf-8", errors="replace") as stream:
                head = stream.read(_HEAD)
            front = head.split("\n---", 1)[0] if head.startswith("---") else ""
            if told := _FRONT.search(front):
                return told[1].strip()
    return next((f"see {name}" for name in names if name.lower().partition(".")[0] in _NAMES), None)
