"""The rounds of a mixture as a picture: of a materialised one, of a run's, or of a controller's state."""

from pathlib import Path

from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.mix.folder import holds_mixture, read_mixture
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import DataError
from tamis.scorers.mixture.methods import controller_from_json
from tamis.scorers.mixture.plot import plot_rounds

__all__ = ["plot_mixture"]


def plot_mixture(source: str, path: Path) -> int:
    """Draw shares and losses by round, or the shares alone where there are no rounds; return how many rounds.

    Args:
        source: the folder of a mixture, of a run with one, or a controller's saved state.
        path: the picture; its ending says the format.

    Raises:
        ConfigError: if it ends in neither .png nor .svg.
        DataError: if there is nothing to draw.
        RunError: if the folder holds neither.
    """
    if filesystem.is_local(source) and Path(filesystem.local_path(source)).is_file():
        controller = controller_from_json(Path(filesystem.local_path(source)).read_text())
        plot_rounds(controller.groups, controller.history(), path, title=controller.method)
        return len(controller.history())
    if holds_mixture(source):
        record = read_mixture(source).mixture
    else:
        record = read_manifest(source).mixture.get("materialised") or {}
        if not record:
            msg = f"{source} was not materialised in a mixture: there is nothing to draw"
            raise DataError(msg)
    names = [group["name"] for group in record["groups"]]
    rounds = [row for row in record["rounds"] if "p" in row]
    if rounds:
        groups = list(record["proportions"])
        plot_rounds(groups, rounds, path, title=record["method"])
        return len(rounds)
    stages = [list(stage.values()) for stage in record["stages"]]
    shares = [{"p": [quota / max(1, sum(stage)) for quota in stage]} for stage in stages]
    plot_rounds(names, shares, path, title=record["method"])
    return len(shares)
