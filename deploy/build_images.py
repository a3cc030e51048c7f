"""Builds both images without a container engine or a registry: `sudo python deploy/build_images.py FOLDER`.

It takes Debian's `buildah` and `debootstrap`, root, and the network for Debian's packages and Python's. What the
Containerfiles build on is made here and carries the names that they give: Python's image is Debian's Python, with
pip set to take the wheels gathered here; Beam's has the boot program that `--boot` names, and nothing else. The
launcher of Flex Templates is Google's alone: an empty file stands in its place. All lies in FOLDER, the images too:

    buildah --storage-driver vfs --root FOLDER/root --runroot FOLDER/runroot images
"""

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ("buildah", "debootstrap")
SUITES = {"3.11": "bookworm", "3.13": "trixie"}
"""Debian's releases, by the Python that they have."""
IMAGES = {"tamis": "deploy/Containerfile", "tamis-worker": "deploy/dataflow/Containerfile"}
EXTRAS = "gcp,aws"


class Builder:
    """Builds in a folder.

    Args:
        folder: for everything.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._buildah = (
            "buildah", "--storage-driver", "vfs", "--root", str(folder / "root"), "--runroot", str(folder / "runroot"),
        )  # fmt: skip

    def run(self, *command: str | Path) -> str:
        """Carry out a command, and return what it printed."""
        print("+", shlex.join(map(str, command)), file=sys.stderr, flush=True)
        done = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def buildah(self, *words: str | Path) -> str:
        """Carry out one of buildah's commands on the images in the folder."""
        return self.run(*self._buildah, *words)

    def has(self, name: str) -> bool:
        """Return whether there is an image of that name."""
        shown = subprocess.run([*self._buildah, "images", "--noheading", "--format", "{{.Name}}:{{.Tag}}"],
                               capture_output=True, text=True, check=True).stdout  # fmt: skip
        return name in shown.split()

    def from_files(self, name: str, files: Path) -> None:
        """Make an image of a folder's files."""
        if self.has(name):
            return
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, files, "/")
        self.buildah("config", "--env", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.buildah("commit", "--quiet", "--rm", container, name)

    def wheels(self) -> Path:
        """Gather the wheels of all that the images install."""
        folder = self._folder / "wheels"
        if not folder.exists():
            partial = folder.with_name("wheels.partial")
            pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", partial)
            self.run(*pip, "-c", ROOT / "constraints.txt", f"{ROOT}[{EXTRAS}]")
            project = tomllib.loads((ROOT / "pyproject.toml").read_text())
            self.run(*pip, "-c", ROOT / "constraints.txt", *project["build-system"]["requires"])
            self.run(*pip, *tools())
            for own in partial.glob("tamis-*.whl"):  # the images build it themselves
                own.unlink()
            partial.rename(folder)
        return folder

    def python(self, version: str) -> None:
        """Make the image that has Python."""
        name = f"docker.io/library/python:{version}-slim"
        if self.has(name):
            return
        system = self._folder / "system"
        if not (system / "usr/local/bin/python").is_symlink():
            shutil.rmtree(system, ignore_errors=True)
            packages = "python3,python3-venv,ca-certificates"
            self.run("debootstrap", "--variant=minbase", f"--include={packages}", SUITES[version], system)
            (system / "etc/pip.conf").write_text("[global]\nno-index = true\nfind-links = /wheels\n")
            (system / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        self.from_files(name, system)

    def beam(self, boot: Path, python: str, version: str) -> None:
        """Make the image that has Beam's boot program, and the one that should have Google's launcher."""
        made = self._folder / "beam" / "opt/apache/beam"
        made.mkdir(parents=True, exist_ok=True)
        if zipfile.is_zipfile(boot):
            with zipfile.ZipFile(boot) as archive:
                (made / "boot").write_bytes(archive.read(archive.namelist()[0]))
        else:
            shutil.copyfile(boot, made / "boot")
        (made / "boot").chmod(0o755)
        self.from_files(f"docker.io/apache/beam_python{python}_sdk:{version}", self._folder / "beam")
        launcher = self._folder / "launcher" / "opt/google/dataflow"
        launcher.mkdir(parents=True, exist_ok=True)
        (launcher / "python_template_launcher").touch()
        name = f"gcr.io/dataflow-templates-base/python{python.replace('.', '')}-template-launcher-base:latest"
        self.from_files(name, self._folder / "launcher")

    def build(self, name: str, revision: str) -> str:
        """Build an image as its Containerfile says, and return its name."""
        self.buildah(
            "bud", "--quiet", "--isolation=chroot", "--layers=false", "--pull-never", "--volume",
            f"{self.wheels()}:/wheels:ro", "--build-arg", f"REVISION={revision}", "--build-arg", f"EXTRAS={EXTRAS}",
            "-f", ROOT / IMAGES[name], "-t", f"localhost/{name}:built", ROOT,
        )  # fmt: skip
        return f"localhost/{name}:built"


def tools() -> list[str]:
    """Return the packages that Containerfiles install besides, as they name them."""
    texts = [(ROOT / path).read_text() for path in IMAGES.values()]
    return sorted({word for text in texts for word in re.findall(r"\b[a-z][a-z0-9-]*==[0-9.]+", text)})


def argument(name: str) -> str:
    """Return what a Containerfile's ARG is unless something else is given."""
    return re.findall(rf"^ARG {name}=(\S+)", (ROOT / IMAGES["tamis-worker"]).read_text(), re.MULTILINE)[0]


def missing() -> str | None:
    """Return what is missing here for building images; None if nothing is."""
    if os.geteuid() != 0:
        return "images are built as root alone: sudo python deploy/build_images.py"
    absent = [program for program in NEEDED if shutil.which(program) is None]
    if absent:
        return f"{' and '.join(absent)} missing: apt-get install {' '.join(absent)}"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if version != argument("PYTHON"):
        return (
            f"the images have Python {argument('PYTHON')}, and this is {version}: their wheels can't be gathered by it"
        )
    return None


def main(arguments: Sequence[str]) -> int:
    """Build; print the images' names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="for images and all that they are made of")
    parser.add_argument("--boot", type=Path, help="Beam's boot program, or a zip of it; the worker image needs it")
    parser.add_argument("--only", choices=sorted(IMAGES), help="build this one alone")
    given = parser.parse_args(arguments)
    wanted = [given.only] if given.only else [name for name in IMAGES if name == "tamis" or given.boot]
    why = missing()
    if why is None and "tamis-worker" in wanted and given.boot is None:
        why = "the worker image needs Beam's boot program: --boot FILE (/opt/apache/beam/boot of Beam's Python image)"
    if why is not None:
        print(f"build_images: {why}", file=sys.stderr)
        return 2
    given.folder.mkdir(parents=True, exist_ok=True)
    builder = Builder(given.folder.resolve())
    python = argument("PYTHON")
    revision = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    try:
        builder.python(python)
        if given.boot is not None:
            builder.beam(given.boot, python, argument("BEAM"))
        for name in wanted:
            print(builder.build(name, revision.strip() or "unknown"), flush=True)
    except subprocess.CalledProcessError as error:
        print(f"build_images: {shlex.join(error.cmd)} ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
