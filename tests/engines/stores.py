"""Emulated object stores behind the proxy that counts and fails, by the name of their scheme."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.carriers import HERE, environment, wait_for

BUCKET = "tamis-bucket"
SECRET = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The key that Azurite's manual gives; the others take anything."""


@contextmanager
def process(command, log: Path, **changes: str):
    with log.open("wb") as stream:
        child = subprocess.Popen(
            command, env=environment(**changes), stdout=stream, stderr=stream, start_new_session=True
        )
    try:
        yield child
    finally:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@dataclass
class Store:
    """A bucket in an emulated store.

    Attributes:
        scheme: of its addresses.
        proxy: where it is asked, as `http://host:port`.
        given: the environment that leads there.
        direct: fsspec's file system that goes there directly.
    """

    scheme: str
    proxy: str
    given: dict[str, str]
    direct: object

    def url(self, name: str) -> str:
        return f"{self.scheme}://{BUCKET}/{name}"

    def write(self, name: str, data: bytes) -> None:
        self.direct.pipe_file(f"{BUCKET}/{name}", data)

    def read(self, name: str) -> bytes:
        return self.direct.cat_file(f"{BUCKET}/{name}")

    def exists(self, name: str) -> bool:
        return self.direct.exists(f"{BUCKET}/{name}")

    def told(self) -> dict:
        """Return what was asked since the last call, and how many faults there were."""
        with urllib.request.urlopen(f"{self.proxy}/__told", timeout=30) as answer:
            return json.loads(answer.read())

    @contextmanager
    def failing(self, *kinds, every: int):
        """Let each so-manieth request fail while the block runs."""

        def set_(faults) -> None:
            told = json.dumps(faults).encode()
            urllib.request.urlopen(
                urllib.request.Request(f"{self.proxy}/__faults", told, method="PUT"), timeout=30
            ).close()

        set_({"kinds": kinds, "every": every})
        try:
            yield
        finally:
            set_({"kinds": [], "every": 0})


class PlainGoogle:
    """Cloud Storage's bucket by plain HTTP: what gcsfs is told by the environment, it reads once a process."""

    def __init__(self, address: str):
        self._address = address

    def pipe_file(self, path: str, data: bytes) -> None:
        bucket, _, name = path.partition("/")
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        asked = urllib.request.Request(f"{self._address}/upload/storage/v1/b/{bucket}/o?{query}", data, method="POST")
        urllib.request.urlopen(asked, timeout=30).close()

    def cat_file(self, path: str) -> bytes:
        bucket, _, name = path.partition("/")
        address = f"{self._address}/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return answer.read()

    def exists(self, path: str) -> bool:
        with suppress(urllib.error.HTTPError):
            return bool(self.cat_file(path)) or True
        return False


@contextmanager
def proxied(upstream: str, folder: Path):
    """Give the address of a proxy before a server."""
    port = folder / "proxy-port"
    with process([sys.executable, str(HERE / "store_proxy.py"), str(port), upstream], folder / "proxy.log"):
        wait_for(lambda: port.exists() and port.read_text(), 30, "proxy")
        yield f"http://127.0.0.1:{port.read_text()}"


@contextmanager
def s3(folder: Path):
    pytest.importorskip("moto", reason="pip install 'moto[server]'")
    s3fs = pytest.importorskip("s3fs", reason="the extra aws isn't installed: pip install 'tamis[aws]'")
    port = free_port()
    code = f"from moto.server import main; main(['-H', '127.0.0.1', '-p', '{port}'])"
    with process([sys.executable, "-c", code], folder / "log"), proxied(f"127.0.0.1:{port}", folder) as proxy:
        wait_for(lambda: answers(port), 60, "S3 of moto")
        keys = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        address = f"http://127.0.0.1:{port}"
        fs = s3fs.S3FileSystem(key="key", secret=SECRET, endpoint_url=address, use_listings_cache=False)
        fs.mkdir(BUCKET)
        yield Store("s3", proxy, {"AWS_ENDPOINT_URL_S3": proxy, **keys}, fs)


# Else gcsfs asks Google itself what kind of bucket it is.
GOOGLE = {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}


@contextmanager
def google(folder: Path):
    """Give the address of an emulated Cloud Storage with the bucket."""
    port = free_port()
    code = "import sys; from gcp_storage_emulator.__main__ import main; main(sys.argv[1:])"
    options = ["start", "--host=127.0.0.1", f"--port={port}", "--in-memory", f"--default-bucket={BUCKET}"]
    with process([sys.executable, "-c", code, *options], folder / "log"):
        wait_for(lambda: answers(port), 30, "storage emulator")
        yield f"http://127.0.0.1:{port}"


@contextmanager
def gs(folder: Path):
    pytest.importorskip("gcp_storage_emulator", reason="pip install gcp-storage-emulator")
    pytest.importorskip("gcsfs", reason="the extra gcp isn't installed: pip install 'tamis[gcp]'")
    with google(folder) as address, proxied(address.removeprefix("http://"), folder) as proxy:
        yield Store("gs", proxy, {"STORAGE_EMULATOR_HOST": proxy, **GOOGLE}, PlainGoogle(address))


@contextmanager
def azure(folder: Path):
    adlfs = pytest.importorskip("adlfs", reason="the extra azure isn't installed: pip install 'tamis[azure]'")
    program = os.environ.get("TAMIS_AZURITE") or shutil.which("azurite-blob")
    if program is None:
        pytest.skip("Azurite is absent: npm install azurite, and name its azurite-blob with TAMIS_AZURITE")
    port = free_port()
    options = ["--inMemoryPersistence", "--blobPort", str(port), "--silent", "--skipApiVersionCheck"]
    with (
        process([program, *options, "--disableTelemetry"], folder / "log"),
        proxied(f"127.0.0.1:{port}", folder) as proxy,
    ):
        wait_for(lambda: answers(port), 60, "Azurite")

        def connection(address: str) -> str:
            account = f"AccountName=devstoreaccount1;AccountKey={SECRET}"
            return f"DefaultEndpointsProtocol=http;{account};BlobEndpoint={address}/devstoreaccount1;"

        fs = adlfs.AzureBlobFileSystem(connection_string=connection(f"http://127.0.0.1:{port}"))
        fs.mkdir(BUCKET)
        yield Store("abfs", proxy, {"AZURE_STORAGE_CONNECTION_STRING": connection(proxy)}, fs)


STORES = {"s3": s3, "gs": gs, "abfs": azure}
