"""What ran: versions of the packages that can change a result, the program's own code, and its commit."""

import functools
import hashlib
import platform
import subprocess
import unicodedata
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import tamis
from tamis.pipeline.code import package_versions, step_code
from tamis.pipeline.steps.base import Step
from tamis.pipeline.steps.registry import plugged_in
from tamis.schemas.manifest import Provenance

__all__ = ["code_digest", "provenance", "version"]

FOLDERS = ("schemas", "scorers", "pipeline", "jobs")


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 of the program's source files: a stage's files are only reused by the code that made them."""
    root = Path(tamis.__file__).parent
    total = hashlib.sha256()
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            total.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def version() -> str:
    """Return the installed version of the distribution."""
    try:
        return metadata.version("tamis")
    except metadata.PackageNotFoundError:  # run from a checkout that isn't installed
        return "0+unknown"


def _commit() -> str | None:
    root = Path(tamis.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except OSError:
        return None
    return found.stdout.strip() or None


def provenance(steps: Sequence[Step] = ()) -> Provenance:
    """Return versions as they are in this process.

    Args:
        steps: of the run; those that other distributions bring are told with their versions and digests.
    """
    packages = dict(package_versions())
    plugins = {}
    for step in steps:
        point = plugged_in().get(step.verb)
        if point is not None:
            plugins[step.verb] = step_code(step)
            if point.dist is not None:
                packages[point.dist.name] = point.dist.version
    return Provenance(
        tamis=version(),
        code_sha256=code_digest(),
        git_commit=_commit(),
        python=platform.python_version(),
        unicode=unicodedata.unidata_version,
        packages=packages,
        plugins=plugins,
    )
