"""What is installed is what is needed: dependencies, pinned versions, and the files in the wheel."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hatchling import build
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.source_tree import FILES, LAYERS, ROOT, at_import_time, imported, imports, is_child, top, tree

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BASE = [Requirement(line) for line in PROJECT["dependencies"]]


def extra(name: str) -> list[Requirement]:
    """Return what an extra asks for, with the extras that it names in turn."""
    found = []
    for requirement in map(Requirement, PROJECT["optional-dependencies"][name]):
        if requirement.name == PROJECT["name"]:
            found += [inner for named in requirement.extras for inner in extra(named)]
        else:
            found.append(requirement)
    return found


EXTRAS = {name: extra(name) for name in PROJECT["optional-dependencies"]}

DISTRIBUTIONS = {
    "apache_beam": "apache-beam",
    "fasttext": "fasttext-community",
    "openlineage": "openlineage-python",
    "yaml": "pyyaml",
}
"""Module to distribution, where they are called differently."""
NOT_IMPORTED = {
    "kenlm-ex": "another name of kenlm, for Python 3.13",
    "lxml-html-clean": "trafilatura imports it",
}


def distribution(module: str) -> str:
    return canonicalize_name(DISTRIBUTIONS.get(top(module), top(module)))


def third_party(origins: set[str]) -> set[str]:
    ours = {"tamis", *LAYERS, *sys.stdlib_module_names}
    return {distribution(origin) for origin in origins if top(origin) not in ours}


def names(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def pins() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def here(requirement: Requirement, extra: str = "") -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": extra})


def test_what_is_imported_is_declared() -> None:
    every = {origin for module in FILES for origin, _ in imports(module)}
    assert third_party(every) <= names(BASE) | {name for extra in EXTRAS.values() for name in names(extra)}


def test_what_is_imported_with_a_module_is_installed_without_extras() -> None:
    early = {
        origin
        for module in FILES
        if not is_child(module)
        for node in at_import_time(tree(module).body)
        for origin, _ in imported(module, node)
    }
    assert third_party(early) <= names(BASE)


def test_what_is_declared_is_imported() -> None:
    every = third_party({origin for module in FILES for origin, _ in imports(module)})
    assert names(BASE) - every == set(NOT_IMPORTED) & names(BASE)


def test_constraints_are_names_and_versions_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = [line for line in lines if line and not line.startswith("#")]
    shape = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*==[0-9][0-9A-Za-z.]*(; python_version (<|>=|==) '3\.1[0-9]')?")
    assert not [line for line in pinned if not shape.fullmatch(line)]
    assert pinned == sorted(set(pinned), key=lambda line: line.split("=="))


def test_constraints_hold_all_that_an_installation_takes() -> None:
    pinned = pins()
    wanted = [(requirement, "") for requirement in [*BASE, *EXTRAS["dev"]]]
    seen: set[tuple[str, str]] = set()
    missing = set()
    while wanted:
        requirement, extra = wanted.pop()
        name = canonicalize_name(requirement.name)
        if not here(requirement, extra) or (name, str(sorted(requirement.extras))) in seen:
            continue
        seen.add((name, str(sorted(requirement.extras))))
        if not any(here(pin) for pin in pinned.get(name, [])):
            missing.add(name)
        for line in metadata.requires(name) or []:
            needed = Requirement(line)
            wanted += [(needed, wanted_extra) for wanted_extra in ["", *requirement.extras]]
    assert not missing


def test_constraints_are_what_the_metadata_allows() -> None:
    pinned = pins()
    wrong = []
    for requirement in [*BASE, *(r for extra in EXTRAS.values() for r in extra)]:
        versions = [
            str(pin.specifier).removeprefix("==") for pin in pinned.get(canonicalize_name(requirement.name), [])
        ]
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            wrong.append(f"{requirement}: pinned {versions}")
    assert not wrong


def test_pythons_of_the_classifiers_are_those_that_are_allowed() -> None:
    told = {c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)}
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert told == {f"3.{minor}" for minor in range(30) if allowed.contains(f"3.{minor}.0")}


def test_changelog_speaks_of_this_version() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert PROJECT["version"] in headings[:2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return folder / build.build_wheel(str(folder))


def test_wheel_holds_the_packages_and_the_examples_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = {
        path.relative_to(ROOT)
        for folder in (*LAYERS, "examples")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    examples = {path for path in source if path.parts[0] == "examples"}
    packages = {f"tamis/{path.as_posix()}" for path in source - examples}
    data = {f"tamis/{path.as_posix()}" for path in examples if path.suffix != ".py"}
    assert {"tamis/examples/demo.yaml", "tamis/examples/corpus/web.warc.gz"} <= data
    assert inside == packages | data | {"tamis/__init__.py", "tamis/py.typed"}


def test_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        sdist = tmp_path / build.build_sdist(str(tmp_path))
        with tarfile.open(sdist) as archive:
            archive.extractall(tmp_path, filter="tar")
        patch.chdir(tmp_path / sdist.name.removesuffix(".tar.gz"))
        again = tmp_path / build.build_wheel(str(tmp_path))
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        lists = ([i for i in archive.infolist() if not i.filename.endswith("RECORD")] for archive in (one, other))
        contents = [{i.filename: i.CRC for i in files} for files in lists]
    assert contents[0] == contents[1]


def test_wheel_names_licence_command_and_python(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = f"tamis-{PROJECT['version']}.dist-info"
        assert archive.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        assert b"tamis = tamis.jobs.cli.start:main" in archive.read(f"{folder}/entry_points.txt")
        told = archive.read(f"{folder}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in told
    assert "Requires-Python: <3.14,>=3.11" in told


def test_wheel_works_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    unpacked, elsewhere = tmp_path / "site", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    code = (
        "import os\n"
        "from tamis.jobs.cli.demo import bundled_examples\n"
        "from tamis.jobs.config_file import load_config\n"
        "from tamis.pipeline.storage import filesystem\n"
        "folder = bundled_examples(); os.chdir(folder.parent)\n"
        "config, _ = load_config('examples/demo.yaml')\n"
        "for entry in config.inputs: [filesystem.expand(path) for path in entry.path]\n"
        "print(folder)"
    )
    environment = dict(os.environ, PYTHONPATH=str(unpacked))
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=elsewhere, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(unpacked / "tamis" / "examples")
