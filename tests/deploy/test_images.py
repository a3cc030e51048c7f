"""Both images, built from nothing and run: the demo by each gives the bytes of this checkout's."""

import importlib.util
import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tamis.jobs.manifest.file import shard_path
from tamis.schemas.manifest import Manifest
from tests.engines.carriers import ROOT, environment, external, prism_arguments, tamis, worker_pool
from tests.engines.conftest import at_hand, unzipped

pytestmark = pytest.mark.images
LIMIT = 3600.0
"""Seconds for building both, and for each run; kernels are compiled while an image is built."""


def script():
    specification = importlib.util.spec_from_file_location("build_images", ROOT / "deploy" / "build_images.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class Storage:
    """Images in a folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.command = ["buildah", "--storage-driver", "vfs", "--root", str(folder / "root"), "--runroot",
                        str(folder / "runroot")]  # fmt: skip

    def run(self, *words: str) -> str:
        done = subprocess.run([*self.command, *words], capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    @contextmanager
    def container(self, image: str):
        name = self.run("from", "--pull-never", image).strip()
        try:
            yield name
        finally:
            self.run("rm", name)


@pytest.fixture(scope="module")
def boot():
    return at_hand("TAMIS_BOOT", "boot.zip", "the boot program of Beam's Python image (/opt/apache/beam/boot)")


@pytest.fixture(scope="module")
def images(boot, tmp_path_factory):
    """The images; TAMIS_IMAGES names a folder in which `deploy/build_images.py` has built them."""
    why = script().missing()
    if why is not None:
        pytest.skip(why)
    named = os.environ.get("TAMIS_IMAGES")
    folder = Path(named) if named else tmp_path_factory.mktemp("images")
    if not named:
        command = [sys.executable, str(ROOT / "deploy" / "build_images.py"), str(folder), "--boot", str(boot)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    return Storage(folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the demo's run gives in this checkout."""
    folder = tmp_path_factory.mktemp("demo")
    ended = tamis(folder / "told", "run", "examples/demo.yaml", "-o", str(folder / "run"))
    assert ended.status == 0, ended.err
    return shards(folder / "run")


def shards(run: Path) -> dict[str, str]:
    manifest = Manifest.model_validate_json((run / "manifest.json").read_bytes())
    return {shard_path("", one).lstrip("/"): one.sha256 for one in manifest.files}


def said(images, container, folder: Path, command: str) -> str:
    """Return what a command in a container says: by a file, since buildah loses the end of what it passes on."""
    folder.mkdir(mode=0o777, exist_ok=True)
    folder.chmod(0o777)
    words = ("run", "--isolation=chroot", "--volume", f"{folder}:/data", container, "--", "/bin/sh", "-c")
    images.run(*words, f"({command}) > /data/said 2>&1 || (cat /data/said >&2; exit 1)")
    return (folder / "said").read_text()


def test_the_image_of_the_command_line_runs_the_demo_as_nobody_special(images, demo, tmp_path):
    data = tmp_path / "data"
    with images.container("localhost/tamis:built") as container:
        assert said(images, container, data, "id -u") == "10001\n"
        told = said(images, container, data, "tamis demo --output /data/run")
        assert "Traceback" not in told
        assert "records read = " in told
        said(images, container, data, "tamis manifest verify /data/run")
        components(images, container, data)
    assert shards(data / "run") == demo


def components(images, container, folder) -> None:
    """Check the list of what is in an image."""
    told = json.loads(said(images, container, folder, "cat /opt/tamis/sbom.json"))
    assert told["bomFormat"] == "CycloneDX"
    versions = {one["name"]: one["version"] for one in told["components"]}
    pinned = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split() if "==" in line)
    assert versions["apache-beam"] == pinned["apache-beam"]
    assert {"tamis", "numba", "pyarrow"} <= versions.keys()


def test_the_workers_image_behind_prism_gives_the_same_bytes(images, demo, tmp_path):
    prism = unzipped(at_hand("TAMIS_PRISM", "prism.zip", "Prism, Beam's portable runner,"), tmp_path)
    with images.container("localhost/tamis-worker:built") as container:
        components(images, container, tmp_path / "data")
        boot = tmp_path / "boot"
        seen = [f"{ROOT / 'examples'}:{ROOT / 'examples'}:ro", f"{tmp_path}:{tmp_path}"]
        run = [*images.command, "run", "--isolation=chroot", "--workingdir", "/tmp"]
        volumes = [word for volume in seen for word in ("--volume", volume)]
        started = " ".join([*run, *volumes, container, "--", "/opt/apache/beam/boot"])
        boot.write_text(f'#!/bin/sh\nexec {started} "$@"\n')
        boot.chmod(0o755)
        config = tmp_path / "demo.yaml"
        config.write_text((ROOT / "examples" / "demo.yaml").read_text().replace("examples/", f"{ROOT}/examples/"))
        with worker_pool(tmp_path / "pool", boot) as (port, _):
            ended = tamis(
                tmp_path / "told", "run", str(config), "-o", str(tmp_path / "run"),
                *prism_arguments(prism, *external(port)), limit=LIMIT,
            )  # fmt: skip
            assert ended.status == 0, ended.err + (tmp_path / "pool" / "log").read_text()[-3000:]
    near = tamis(tmp_path / "near", "run", str(config), "-o", str(tmp_path / "local"))
    assert near.status == 0, near.err
    assert shards(tmp_path / "run") == shards(tmp_path / "local")
    assert shards(tmp_path / "run").keys() == demo.keys()


def test_without_what_it_needs_the_script_says_so_in_a_sentence(tmp_path):
    command = [sys.executable, str(ROOT / "deploy" / "build_images.py"), str(tmp_path), "--only", "tamis-worker"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment(PATH=str(tmp_path))
    )
    assert done.returncode == 2
    assert done.stderr.startswith("build_images: ")
    assert len(done.stderr.splitlines()) == 1
