"""A detached signature of a run, by OpenSSF Model Signing: its manifest and all shards that the manifest names."""

import contextlib
import io
import os
import re
from pathlib import Path

from tamis.jobs.manifest.file import MANIFEST, read_manifest
from tamis.jobs.manifest.papers.extras import needs
from tamis.pipeline.storage import filesystem
from tamis.schemas.errors import ConfigError, RunError
from tamis.schemas.manifest import Manifest

__all__ = ["SIGNATURE", "check_signature", "sign"]

SIGNATURE = "manifest.sig"
_FILE = re.compile(r"Hash mismatch for \\*'([^'\\]+)")


def sign(run: str, key: str, signature: str | None = None, *, password: str | None = None) -> str:
    """Sign a run with an elliptic-curve private key (PEM), offline.

    The signature is a Sigstore bundle (OMS v1) over the digests of `manifest.json` and of each shard it names; whatever
    else lies in the folder, such as `work/` or a report, isn't signed.

    Args:
        run: the run's folder, local.
        key: the private key's file.
        signature: where to write; `manifest.sig` in the run's folder by default.
        password: of the key.

    Returns:
        The signature's path.

    Raises:
        ConfigError: if model-signing isn't installed, the folder isn't local, or the key can't be used.
        RunError: if the folder holds no finished run, or a shard is missing.
    """
    manifest, folder = _run(run)
    with needs("model-signing", "a signature is"):
        from model_signing import hashing, signing
    target = Path(signature) if signature else folder / SIGNATURE
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key, password=password)
    except (ValueError, TypeError, OSError) as error:
        msg = f"{key} can't be used as private key: {error}"
        raise ConfigError(msg) from None
    only = hashing.Config().set_ignored_paths(paths=_unnamed(folder, manifest), ignore_git_paths=False)
    signer.set_hashing_config(only)
    try:
        signer.sign(folder, target)
    except OSError as error:
        msg = f"{target} can't be written: {error}"
        raise RunError(msg) from None
    return signature or filesystem.join(run, SIGNATURE)


def check_signature(run: str, key: str, signature: str | None = None) -> None:
    """Check that a run is what was signed: manifest and shards, byte by byte.

    Args:
        run: the run's folder, local.
        key: the public key's file, PEM.
        signature: the signature's path; `manifest.sig` in the run's folder by default.

    Raises:
        ConfigError: if model-signing isn't installed, the folder isn't local, or the key can't be used.
        RunError: if there is no signature, or it isn't one of this run by this key.
    """
    manifest, folder = _run(run)
    with needs("model-signing", "a signature is"):
        from model_signing import hashing, verifying
    source = Path(signature) if signature else folder / SIGNATURE
    if not source.is_file():
        msg = f"{source} is missing: tamis manifest sign makes it"
        raise RunError(msg)
    try:
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=key)
    except (ValueError, TypeError, OSError) as error:
        msg = f"{key} can't be used as public key: {error}"
        raise ConfigError(msg) from None
    only = hashing.Config().set_ignored_paths(paths=_unnamed(folder, manifest), ignore_git_paths=False)
    verifier.set_hashing_config(only)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            verifier.verify(folder, source)
    except Exception as error:  # noqa: BLE001  (the library raises what its parts do: one of ten kinds)
        changed = sorted(set(_FILE.findall(str(error))))
        told = f"changed since: {', '.join(changed)}" if changed else str(error).strip() or type(error).__name__
        msg = f"{source} is no signature of {run} by {key}: {told}"
        raise RunError(msg) from None


def _run(run: str) -> tuple[Manifest, Path]:
    manifest = read_manifest(run)
    if not filesystem.is_local(run):
        msg = f"{run} isn't local: copy the run, sign it there, and copy {SIGNATURE} back"
        raise ConfigError(msg)
    # Absolute: the library holds paths to be left out against those that it finds, and takes relative ones for others.
    folder = Path(filesystem.local_path(run)).absolute()
    missing = [record.path for record in manifest.shards if not (folder / record.path).is_file()]
    if missing:
        msg = f"{folder / missing[0]} is missing, though the manifest names it"
        raise RunError(msg)
    return manifest, folder


def _unnamed(folder: Path, manifest: Manifest) -> list[Path]:
    """Return every file and folder of the run's folder that holds nothing which the manifest names."""
    named = {folder / MANIFEST, *(folder / record.path for record in manifest.shards)}
    kept = named | {parent for path in named for parent in path.parents}
    found = []
    for root, folders, files in os.walk(folder):
        found += [Path(root, name) for name in (*folders, *files) if Path(root, name) not in kept]
        folders[:] = [name for name in folders if Path(root, name) in kept]
    return found
