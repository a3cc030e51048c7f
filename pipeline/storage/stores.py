"""What is wrong with a store as such, in a sentence: credentials, buckets, permission, the way there."""

import functools
import math
import os
import re
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from tamis.schemas.errors import ConfigError, InputError

__all__ = ["SCHEME", "TIMEOUT", "check_reach", "client_options", "patient", "scheme_of", "store_fault"]

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_GOOGLE = "https://storage.googleapis.com"
_CONNECT, _SILENCE = 15.0, 60.0
"""Seconds until a connection must stand, and in which a server must say something."""
TIMEOUT = "TAMIS_STORE_TIMEOUT"
"""Variable of the environment: seconds in place of `_SILENCE`, for all stores."""
_WAITS = (0.4, 1.6, 6.4)
"""Seconds between tries."""
_PATIENCE = 30.0
"""Seconds after which nothing is tried again: Azure's client has done so by itself by then, with pauses of its own."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_CUT = re.compile(
    "Payload|Disconnected|ConnectionReset|ClientOSError|Timeout|IncompleteRead|ServiceRequest|ServiceResponse"
)
_CALLS = frozenset(
    "cat_file exists find get_file glob info isdir ls makedirs open pipe_file put_file rm rm_file".split()  # noqa: SIM905
)
_REACHED: set[str] = set()
_TRIES, _SECONDS = 2, 5.0
"""How often a connection is tried before a store counts as out of reach, and how long each time."""


def scheme_of(path: str) -> str | None:
    """Return the scheme of a URL; None for what lies on a file system of this machine."""
    match = SCHEME.match(path)
    scheme = match.group(1).lower() if match else None
    return None if scheme in ("file", "local") else scheme


def client_options(path: str) -> dict[str, Any]:
    """Return how the client of a path's store is made: no silence of a server may last for ever.

    S3's client has limits of its own, shorter ones, unless `TAMIS_STORE_TIMEOUT` says other seconds for all stores.

    Raises:
        ConfigError: if that is no number of seconds.
    """
    scheme = scheme_of(path)
    given = os.environ.get(TIMEOUT)
    if scheme in ("s3", "s3a"):
        return {} if given is None else {"config_kwargs": {"read_timeout": _silence(given)}}
    if scheme in ("abfs", "abfss", "az"):
        return {"connection_timeout": int(_CONNECT), "read_timeout": math.ceil(_silence(given))}
    if scheme not in ("gs", "gcs", "http", "https"):
        return {}
    from aiohttp import ClientTimeout

    limits = ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=_silence(given))
    return {"requests_timeout": limits} if scheme in ("gs", "gcs") else {"client_kwargs": {"timeout": limits}}


def _silence(given: str | None) -> float:
    try:
        seconds = _SILENCE if given is None else float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        msg = f"{TIMEOUT}={given}: give the seconds after which a store that says nothing counts as silent, above 0"
        raise ConfigError(msg)
    return seconds


class _Patient:
    """A file system whose calls are made again after a while where they failed for a reason that may pass."""

    def __init__(self, inner: Any):
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return functools.partial(_again, found) if name in _CALLS else found


def patient(path: str, store: Any) -> Any:
    """Return a path's file system, made patient where its client isn't.

    Those of S3 and Cloud Storage try by themselves again what fails with 429, 500 and 503, or is cut off.
    """
    return store if scheme_of(path) in ("s3", "s3a", "gs", "gcs", "memory") else _Patient(store)


def _again(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    began = time.monotonic()
    for wait in _WAITS:
        try:
            return call(*arguments, **named)
        except Exception as error:
            if not _passes(error) or time.monotonic() - began > _PATIENCE:
                raise
            time.sleep(wait)
    return call(*arguments, **named)


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
    return chain


def _passes(error: Exception) -> bool:
    """Return whether a failure may pass: an answer that says so, or a connection that was cut or silent."""
    chain = _chain(error)
    if any(getattr(one, name, None) in _PASSING for one in chain for name in ("status", "status_code")):
        return True
    names = " ".join(type(one).__name__ for one in chain)
    return _CUT.search(names) is not None


def check_reach(path: str) -> None:
    """Say at once that Cloud Storage can't be reached: its client would look for credentials and try for a minute.

    Asked once a process; not at all where a proxy stands between.

    Raises:
        InputError: if no connection to its endpoint comes about.
    """
    if scheme_of(path) not in ("gs", "gcs") or any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy")):
        return
    endpoint = os.environ.get("STORAGE_EMULATOR_HOST") or _GOOGLE
    why = _unreachable(endpoint if "//" in endpoint else f"http://{endpoint}")
    if why is not None:
        advice = "check the network, and the endpoint if one is set"
        msg = f"the store of {path} can't be reached: {endpoint}: {why}: {advice}"
        raise InputError(msg)


def _unreachable(endpoint: str) -> str | None:
    """Return why no connection to an endpoint comes about; None if one does, or did before."""
    parts = urlsplit(endpoint)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    why = None
    for attempt in range(0 if endpoint in _REACHED else _TRIES):
        time.sleep(attempt)
        try:
            socket.create_connection((parts.hostname or "", port), _SECONDS).close()
        except OSError as error:
            why = error.strerror or str(error)
        else:
            _REACHED.add(endpoint)
            return None
    return why


_NO_CREDENTIALS = frozenset(
    {"DefaultCredentialsError", "NoCredentialsError", "PartialCredentialsError", "RefreshError", "TokenRetrievalError"}
)
_UNREACHABLE = re.compile(r"Endpoint|Connect|Timeout|DNS|Resolution|gaierror")
_CREDENTIALS = {
    "gs": "`gcloud auth application-default login`, or GOOGLE_APPLICATION_CREDENTIALS",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or `aws configure`",
    "az": "AZURE_STORAGE_CONNECTION_STRING",
}


def store_fault(path: str, error: Exception) -> str | None:
    """Return in a sentence what is wrong with a store as such, not with a file of it; None if it's not that."""
    scheme = {"gcs": "gs", "s3a": "s3", "abfs": "az", "abfss": "az"}.get(scheme_of(path) or "", scheme_of(path) or "")
    chain = _chain(error)
    names = [type(one).__name__ for one in chain]
    text = " ".join(" ".join(map(str, chain)).split())
    anonymous = "Anonymous caller" in text or "Invalid Credentials" in text
    if anonymous or not _NO_CREDENTIALS.isdisjoint(names):
        how = _CREDENTIALS.get(scheme)
        return f"{path}: no credentials for {scheme}:// were found{f': give {how}' if how else ''}"
    if re.search(r"bucket does ?n.t exist|bucket does not exist|NoSuchBucket", text):
        root = SCHEME.sub("", path).partition("/")[0]
        return f"{path}: there is no bucket {root}"
    if isinstance(error, PermissionError) or re.search(r"\b403\b|Forbidden|AccessDenied", text):
        return f"{path}: no permission for this, with the credentials at hand"
    if any(_UNREACHABLE.search(name) for name in names):
        return f"the store of {path} can't be reached: {error}: check the network, and the endpoint if one is set"
    return None
