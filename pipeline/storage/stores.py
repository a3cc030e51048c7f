"""What is wrong with a store as such, in a sentence: credentials, buckets, permission, the way there."""

import os
import re
import socket
import time
from urllib.parse import urlsplit

from tamis.schemas.errors import InputError

__all__ = ["SCHEME", "check_reach", "scheme_of", "store_fault"]

SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)://")
_GOOGLE = "https://storage.googleapis.com"
_REACHED: set[str] = set()
_TRIES, _SECONDS = 2, 5.0
"""How often a connection is tried before a store counts as out of reach, and how long each time."""


def scheme_of(path: str) -> str | None:
    """Return the scheme of a URL; None for what lies on a file system of this machine."""
    match = SCHEME.match(path)
    scheme = match.group(1).lower() if match else None
    return None if scheme in ("file", "local") else scheme


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
    chain: list[BaseException] = [error]
    while (inner := chain[-1].__cause__ or chain[-1].__context__) is not None and inner not in chain:
        chain.append(inner)
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
