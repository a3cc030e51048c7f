"""The config of a mixture: from a file of its own, from a run's config, or from what the run was made with."""

from collections.abc import Sequence
from typing import Any

from tamis.jobs.config_file import load_plain, override, parse_override
from tamis.jobs.manifest.file import config_folders, read_manifest
from tamis.jobs.run.paths import Places, led_by, places_of
from tamis.schemas.base import validate
from tamis.schemas.errors import ConfigError
from tamis.schemas.mixture import MixtureConfig

__all__ = ["PATHS", "load_mixture"]

PATHS = (
    "tokenizer.path", "estimate.target.path", "estimate.ratios", "estimate.metrics", "estimate.losses", "estimate.file",
    "estimate.proxy.tokenizer.path",
)  # fmt: skip
"""Keys of a mixture's config that hold paths."""


def load_mixture(
    path: str | None, overrides: Sequence[str] = (), *, run: str | None = None
) -> tuple[MixtureConfig, dict[str, Any]]:
    """Return a mixture's config, and the plain data that it was made of.

    Args:
        path: a YAML file with a mixture's keys, or a run's config with `mixture:`; None: the run's own.
        overrides: "key=value" with a dotted key, such as `proportions.web=0.5`.
        run: a finished run's folder, whose config may have a mixture.

    Raises:
        ConfigError: for anything wrong with the file or an override; the message begins with the file's name.
        RunError: if the folder holds no finished run.
    """
    where = path or "mixture"
    if path is not None:
        plain: Any = load_plain(path)
        places = places_of(path)
        if isinstance(plain, dict) and ("mixture" in plain or "inputs" in plain):
            plain = plain.get("mixture")
            if plain is None:
                msg = f"{path}: a run's config without `mixture:`; add one, or give a file with a mixture's keys"
                raise ConfigError(msg)
    else:
        manifest = None if run is None else read_manifest(run)
        places = places_of(None) if manifest is None else Places(config_folders(str(run), manifest))
        plain = ({} if manifest is None else manifest.source_config).get("mixture") or {}
        if not plain and not overrides:
            msg = (
                "say what the mixture is: a YAML file with its keys, or --set, such as --set without=union "
                "--set exhausted=repeat; the run's config has no `mixture:`"
            )
            raise ConfigError(msg)
    for pair in overrides:
        key, value = parse_override(pair)
        if not isinstance(plain, dict):
            msg = f"{where}: expected keys and values of a mixture"
            raise ConfigError(msg)
        override(plain, key, value)
    try:
        return validate(MixtureConfig, led_by(places, plain, PATHS), "mixture"), plain
    except ConfigError as error:
        if path is None:
            raise
        msg = f"{path}: {error}"
        raise ConfigError(msg) from None
