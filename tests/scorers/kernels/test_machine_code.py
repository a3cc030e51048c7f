"""Machine code is kept between processes, and never used for other sources than it was made of."""

import os
import pathlib
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.source_tree import FILES, ROOT, exported, imports

ONE = """
from tamis.scorers.kernels.jit import helper

@helper
def factor(x: int) -> int:
    return x * {factor}
"""
TWO = """
from tamis.scorers.kernels.jit import kernel
from tiny.one import factor

@kernel
def scaled(x: int) -> int:
    return factor(x) + 1
"""
RUN = """
import sys
from tiny.two import scaled
from tamis.scorers.kernels.jit import kernel_states
value = scaled(int(sys.argv[1]))
states = [s for s in kernel_states() if s.name.startswith("tiny")]
print(value, sum(s.compiled for s in states), sum(s.loaded for s in states))
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A package with a kernel that calls a helper in another file."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "two.py").write_text(TWO)
    write_helper(tmp_path, 2)
    return tmp_path


def write_helper(place: Path, factor: int) -> None:
    (place / "tiny" / "one.py").write_text(ONE.format(factor=factor))


def run(place: Path, *arguments: object, code: str = RUN, **environment: str) -> list[str]:
    """Run the code in a new process that finds the package in `place`; return the words that it prints."""
    inherited = {k: v for k, v in os.environ.items() if k not in ("TAMIS_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    path = os.pathsep.join([str(place), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments or (5,))],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=place,
        env=inherited | {"PYTHONPATH": path, "HOME": str(place / "home")} | environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def kept(base: Path) -> list[Path]:
    return sorted(base.glob("tiny-kernels-*"))


def test_second_process_compiles_nothing(tiny: Path) -> None:
    assert run(tiny) == ["11", "2", "0"]
    assert run(tiny) == ["11", "0", "1"]  # the helper is part of the kernel


def test_changed_helper_in_another_file_is_seen(tiny: Path) -> None:
    assert run(tiny)[0] == "11"
    write_helper(tiny, 3)
    assert run(tiny) == ["16", "2", "0"]
    assert run(tiny) == ["16", "0", "1"]


def test_helper_changed_back_finds_its_old_code(tiny: Path) -> None:
    for factor in (2, 3):
        write_helper(tiny, factor)
        run(tiny)
    write_helper(tiny, 2)
    assert run(tiny) == ["11", "0", "1"]


def test_folders_of_old_digests_dont_pile_up(tiny: Path) -> None:
    for factor in range(2, 7):
        write_helper(tiny, factor)
        assert run(tiny)[0] == str(5 * factor + 1)
    assert len(kept(tiny / "tiny" / "__pycache__")) == 3
    assert run(tiny) == ["31", "0", "1"]  # the one in use stays


def test_source_changed_after_the_import_is_compiled_but_not_kept(tiny: Path) -> None:
    code = """
    import sys
    from pathlib import Path
    from tiny.two import scaled
    one = Path("tiny/one.py")
    one.write_text(one.read_text().replace("* 2", "* 33"))
    print(scaled(5))
    """
    assert run(tiny, code=textwrap.dedent(code)) == ["11"]
    assert run(tiny) == ["166", "2", "0"]


def test_damaged_code_is_compiled_again(tiny: Path) -> None:
    run(tiny)
    (folder,) = kept(tiny / "tiny" / "__pycache__")
    for path in folder.iterdir():
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data[: len(data) - len(path.name) % 2])
    assert run(tiny) == ["11", "2", "0"]
    assert run(tiny) == ["11", "0", "1"]


def test_two_copies_keep_their_own(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(tiny / "tiny", other / "tiny")
    write_helper(other, 3)
    for _ in range(2):
        assert run(tiny)[0] == "11"
        assert run(other)[0] == "16"
    assert run(tiny)[1:] == run(other)[1:] == ["0", "1"]


def read_only(place: Path) -> None:
    """Make the folder beside the package unusable, for root too."""
    shutil.rmtree(place / "tiny" / "__pycache__", ignore_errors=True)
    (place / "tiny" / "__pycache__").write_text("no folder")


def test_package_that_cant_be_written_to_uses_the_folder_of_the_user(tiny: Path) -> None:
    read_only(tiny)
    for name, base in (("TAMIS_CACHE", "kernels"), ("XDG_CACHE_HOME", "tamis/kernels")):
        folder = tiny / name
        assert run(tiny, **{name: str(folder)}) == ["11", "2", "0"]
        assert run(tiny, **{name: str(folder)}) == ["11", "0", "1"]
        assert len(kept(folder / base)) == 1
    assert run(tiny) == ["11", "2", "0"]
    assert len(kept(tiny / "home" / ".cache" / "tamis" / "kernels")) == 1


def test_without_any_folder_of_its_own_a_private_temporary_one_is_used(tiny: Path) -> None:
    read_only(tiny)
    blocked, scratch = tiny / "file", tiny / "scratch"
    blocked.touch()
    scratch.mkdir()
    for expected in (["11", "2", "0"], ["11", "0", "1"]):
        assert run(tiny, TAMIS_CACHE=str(blocked), TMPDIR=str(scratch)) == expected
    (private,) = scratch.glob("tamis-kernels-*")
    private.chmod(0o777)  # anyone could put code there now
    assert run(tiny, TAMIS_CACHE=str(blocked), TMPDIR=str(scratch)) == ["11", "2", "0"]


def test_code_warmed_beside_a_package_is_used_when_that_is_read_only(tiny: Path) -> None:
    run(tiny)
    code = RUN + "import tamis.scorers.kernels.machine_code as m\n"
    blocked = "import tamis.scorers.kernels.machine_code as m\nm._write = lambda *a: 1 / 0\n"
    assert run(tiny, code=blocked + code) == ["11", "0", "1"]


def test_helper_that_returns_arrays_is_refused(tiny: Path) -> None:
    code = """
    import numpy as np
    import tiny.arrays
    try:
        tiny.arrays.k(np.zeros(3))
    except Exception as error:
        print(error)
    """
    (tiny / "tiny" / "arrays.py").write_text(
        "from tamis.scorers.kernels.jit import helper, kernel\n"
        "@helper\ndef h(a):\n    return a\n"
        "@kernel\ndef k(a):\n    return h(a)[0]\n"
    )
    assert "make it a kernel" in " ".join(run(tiny, code=textwrap.dedent(code)))


def defines_kernels(module: str) -> bool:
    origin = {name for source, name in imports(module) if source == "tamis.scorers.kernels.jit"}
    return bool(origin & {"helper", "kernel", "lean_kernel"})


def test_kernels_are_made_of_digested_sources_alone() -> None:
    """A constant from a module without kernels would change without the digest."""
    wrong = []
    for module in FILES:
        if not defines_kernels(module):
            continue
        assert module.startswith("tamis.scorers."), module
        for origin, _ in imports(module):
            digested = origin.startswith("tamis.scorers.kernels.") or (origin in FILES and defines_kernels(origin))
            if origin.startswith("tamis") and not digested:
                wrong.append(f"{module} takes from {origin}")
    assert not wrong
    assert exported("tamis.scorers.kernels.jit")


def test_importing_kernels_reads_no_sources_and_makes_no_folder(tiny: Path) -> None:
    code = """
    import pathlib
    pathlib.Path.read_bytes = None
    import tamis.scorers.statistics.text_kernels, tiny.two
    print("fine")
    """
    assert run(tiny, code=textwrap.dedent(code)) == ["fine"]
    assert not list(pathlib.Path(tiny).rglob("tiny-kernels-*"))
