"""A child process outlives neither its time nor its parent's trust."""

import time
from pathlib import Path

import pytest

from tamis.schemas.errors import RunError
from tamis.scorers.extraction.sandbox import CallFailedError, OutOfMemoryError, Sandbox, TimedOutError


def test_calls_and_failures() -> None:
    sandbox = Sandbox("json:loads")
    assert sandbox.call('"höö"', 30) == "höö"
    with pytest.raises(CallFailedError, match="JSONDecodeError"):
        sandbox.call("{", 30)
    assert sandbox.call('"again"', 30) == "again"
    sandbox.close()
    assert sandbox.call('"after close"', 30) == "after close"
    sandbox.close()


def test_timeout_ends_the_child_and_the_next_call_starts_another() -> None:
    sandbox = Sandbox("os:system")
    began = time.monotonic()
    with pytest.raises(TimedOutError):
        sandbox.call("exec sleep 60", 0.2)
    assert time.monotonic() - began < 30
    sandbox.close()


def test_time_is_that_of_the_processor() -> None:
    sandbox = Sandbox("builtins:exec")
    with pytest.raises(TimedOutError, match="CPU time"):
        sandbox.call("while True: pass", 0.2)
    sandbox.close()
    sandbox = Sandbox("builtins:eval")
    assert sandbox.call("str(__import__('time').sleep(0.5))", 0.2) == "None"  # asleep for longer than it may work
    sandbox.close()


def test_memory_is_bounded() -> None:
    sandbox = Sandbox("builtins:eval", memory=200 << 20)
    assert sandbox.call("'x' * 1000", 30) == "x" * 1000
    with pytest.raises(OutOfMemoryError):
        sandbox.call("str(len(bytearray(500 << 20)))", 30)
    assert sandbox.call("str(len(bytearray(50 << 20)))", 30) == str(50 << 20)
    sandbox.close()


def test_a_panic_is_a_failure() -> None:
    sandbox = Sandbox("builtins:exec")
    for what in ("raise SystemExit(3)", "raise KeyboardInterrupt", "raise BaseException('panic')"):
        with pytest.raises(CallFailedError, match=what.split()[1].split("(")[0]):
            sandbox.call(what, 30)
    sandbox.close()


def test_large_texts() -> None:
    sandbox = Sandbox("html:escape")
    text = "é" * 3_000_000
    assert sandbox.call(text, 60) == text
    sandbox.close()


def test_a_child_that_dies() -> None:
    sandbox = Sandbox("builtins:exec")
    with pytest.raises(CallFailedError, match="died"):
        sandbox.call("import os; os._exit(3)", 30)
    sandbox.close()


def test_a_child_that_somebody_ends_is_replaced(tmp_path: Path) -> None:
    sandbox = Sandbox("builtins:eval")
    mark = str(tmp_path / "mark")
    once = f"'again' if os.path.exists({mark!r}) else (os.mkdir({mark!r}), os.kill(os.getpid(), 15))"
    assert sandbox.call(once, 30) == "again"
    sandbox.close()


def test_interrupts_are_for_the_parent() -> None:
    sandbox = Sandbox("builtins:eval")
    assert sandbox.call("str(__import__('os').kill(__import__('os').getpid(), 2))", 30) == "None"
    sandbox.close()


def test_what_cannot_be_imported() -> None:
    with pytest.raises(RunError, match="no_such_module"):
        Sandbox("no_such_module:function").call("", 1)
