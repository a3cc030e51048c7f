"""From a model's name in a config to a local path: files, hub repositories, URLs with a digest, object stores.

| reference | what it means |
|---|---|
| `models/en`, `file:///models/en.arpa` | a local file or folder |
| `hf://ORG/REPO[@REVISION][/PATH]` | a file or folder of a Hugging Face repository, in `huggingface_hub`'s cache |
| `https://HOST/PATH#sha256=DIGEST` | a download, kept under its digest |
| `gs://...`, `s3://...` and other fsspec URLs | copied once for each version of the object |
"""

import contextlib
import hashlib
import os
import re
import shutil
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO

from tamis.schemas.errors import ModelError

__all__ = ["cache_folder", "resolve", "sha256_file"]

_HUB = re.compile(r"hf://(?P<repo>[^/@]+/[^/@]+)(?:@(?P<revision>[^/]+))?(?:/(?P<path>.*))?")
_DIGEST = re.compile(r"sha256=([0-9a-fA-F]{64})")
_CHUNK = 1 << 20


def cache_folder() -> Path:
    """Return the folder for what can be fetched or built again: `$TAMIS_CACHE`, or `tamis` in the user's cache."""
    named = os.environ.get("TAMIS_CACHE")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tamis"


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve(reference: str | os.PathLike[str]) -> Path:
    """Return the local path of what `reference` names, fetched if need be.

    Raises:
        ModelError: if there is no such thing, or it can't be fetched; the sentence says what to do.
    """
    name = os.fspath(reference)
    scheme, separator, rest = name.partition("://")
    if not separator:
        with contextlib.suppress(RuntimeError):  # of no user's home, `~name` is a file's own name
            return _existing(Path(name).expanduser(), name)
        return _existing(Path(name), name)
    if scheme == "file":
        return _existing(Path(rest), name)
    if scheme == "hf":
        return _from_hub(name)
    if scheme in ("http", "https"):
        return _download(name)
    return _from_store(name)


def _existing(path: Path, name: str) -> Path:
    if not path.exists():
        msg = f"there is no model {name}; check the path (it is looked up from {Path.cwd()})"
        raise ModelError(msg)
    return path


def _from_hub(name: str) -> Path:
    match = _HUB.fullmatch(name)
    if match is None:
        msg = f"{name!r} isn't such as hf://ORG/REPO/PATH or hf://ORG/REPO@REVISION/PATH"
        raise ModelError(msg)
    repo, revision, path = match["repo"], match["revision"], (match["path"] or "").strip("/")
    import huggingface_hub
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    cache = os.environ.get("HF_HUB_CACHE")  # read now, so that it may be set after the library was imported
    unreachable = (
        f"{name} isn't in the local cache and the hub can't be reached (or is set offline); run `hf download {repo}"
        f"{' ' + path if path else ''}` where it can, or give a local path"
    )
    answered = False
    verbosity = huggingface_hub.logging.get_verbosity()
    huggingface_hub.logging.set_verbosity_error()  # what it would say of its retries is in the error
    try:
        if path:
            try:
                return Path(huggingface_hub.hf_hub_download(repo, path, revision=revision, cache_dir=cache))
            except EntryNotFoundError as error:  # it may be a folder
                answered = not isinstance(error, LocalEntryNotFoundError)
        pattern = f"{path}/*" if path else None
        root = Path(huggingface_hub.snapshot_download(repo, revision=revision, cache_dir=cache, allow_patterns=pattern))
    except RepositoryNotFoundError as error:
        msg = f"{name}: there is no repository {repo} on the hub, or it asks for a login (`hf auth login`)"
        raise ModelError(msg) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise ModelError(unreachable) from error
    finally:
        huggingface_hub.logging.set_verbosity(verbosity)
    found = root / path
    if not found.exists() or (found.is_dir() and not any(found.iterdir())):
        raise ModelError(f"{name}: the repository {repo} has no {path}" if answered else unreachable)
    return found


def _download(name: str) -> Path:
    url, _, fragment = name.partition("#")
    match = _DIGEST.fullmatch(fragment)
    if match is None:
        msg = (
            f"{url} needs a digest, such as {url}#sha256=..., so that a run can be repeated (`sha256sum FILE` "
            "prints it)"
        )
        raise ModelError(msg)
    digest = match[1].lower()
    target = cache_folder() / "downloads" / digest / (url.rstrip("/").rpartition("/")[2] or "model")
    if target.exists():
        return target
    try:
        with urllib.request.urlopen(url, timeout=60) as stream:  # noqa: S310  # the scheme was checked
            found = _keep(stream, target, digest)
    except (urllib.error.URLError, TimeoutError, OSError) as error:
        msg = f"{url} can't be fetched ({error}); download it where it can be, and give its local path"
        raise ModelError(msg) from error
    if found != digest:
        msg = f"{url} has the SHA-256 {found}, not {digest}: the file has changed, or the digest is another file's"
        raise ModelError(msg)
    return target


def _keep(stream: IO[bytes], target: Path, digest: str) -> str:
    """Write a stream to `target` if it has this digest; return the digest it has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    state = hashlib.sha256()
    try:
        with partial.open("wb") as file:
            while piece := stream.read(_CHUNK):
                state.update(piece)
                file.write(piece)
        if state.hexdigest() == digest:
            partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return state.hexdigest()


def _from_store(name: str) -> Path:
    import fsspec

    try:
        store, path = fsspec.core.url_to_fs(name)
        if not store.exists(path):
            msg = f"there is no model {name}"
            raise ModelError(msg)
        files = sorted(store.find(path))
        version = hashlib.sha256("\n".join([name, *(str(store.ukey(file)) for file in files)]).encode()).hexdigest()
        target = cache_folder() / "objects" / version / name.rstrip("/").rpartition("/")[2]
        if not target.exists():
            partial = target.parent.with_name(f".{version}.{os.getpid()}")
            store.get(path, str(partial / target.name), recursive=store.isdir(path))
            try:
                partial.rename(target.parent)
            except OSError:  # another process was faster
                shutil.rmtree(partial, ignore_errors=True)
    except (ImportError, ValueError, OSError) as error:
        msg = f"{name} can't be fetched: {error}"
        raise ModelError(msg) from error
    return target
