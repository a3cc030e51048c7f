"""GGUF files unpacked once on a machine: their numbers as float32 in a folder that loads in a moment.

Reading a GGUF file means to unpack all of its numbers and to build its tokenizer anew, half a minute for 135 million
parameters; each worker process and each command would do it again. What is unpacked lies in the cache for what can be
built again, named by the file's content and by the version of transformers that read it.
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tamis.schemas.base import digest
from tamis.scorers.models.hub import cache_folder, sha256_file

__all__ = ["known_unpacked", "unpack"]

_DONE = "config.json"
"""Written last."""

_digests: dict[tuple[str, int, int], str] = {}


def _folder(file: Path, version: str) -> Path:
    told = file.stat()
    key = (str(file.absolute()), told.st_size, told.st_mtime_ns)
    if key not in _digests:
        _digests[key] = sha256_file(file)
    return cache_folder() / "unpacked" / digest([_digests[key], version])


def known_unpacked(file: Path, version: str) -> Path | None:
    """Return the folder of what a GGUF file was unpacked to; None if it wasn't yet.

    Args:
        file: the GGUF file.
        version: of transformers.
    """
    try:
        folder = _folder(file, version)
        return folder if (folder / _DONE).exists() else None
    except OSError:
        return None


def unpack(file: Path, version: str, load: Callable[[], tuple[Any, Any]]) -> Path | None:
    """Return the folder of what a GGUF file was unpacked to, now if need be; None if nothing can be written there.

    One process unpacks while others wait.

    Args:
        file: the GGUF file.
        version: of transformers.
        load: returns the model, in float32 on the CPU, and its tokenizer.
    """
    try:
        folder = _folder(file, version)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (folder / _DONE).exists():
                _write(folder, *load())
    except OSError:  # a cache that is full or can't be written
        return None
    return folder


def _write(folder: Path, model: Any, tokenizer: Any) -> None:
    from safetensors.torch import save_model

    shutil.rmtree(folder, ignore_errors=True)  # of a process that was stopped
    partial = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        tokenizer.save_pretrained(partial)
        save_model(model, str(partial / "model.safetensors"), metadata={"format": "pt"})
        config = model.config
        for name in ("quantization_config", "_pre_quantization_dtype"):  # the numbers are unpacked
            if hasattr(config, name):
                delattr(config, name)
        config.save_pretrained(partial)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
