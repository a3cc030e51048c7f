"""A runner's error as one sentence with its cause, whatever it comes as."""

import pytest

from tamis.pipeline.graph.failures import Failures, cause
from tamis.schemas.errors import InputError

TRACEBACK = """bundle inst006 stage-011 failed:Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1512, in apache_beam.runners.common.DoFnRunner.process
  File "/opt/app/scorer.py", line 3, in score
    raise ValueError("the table is empty")
ValueError: the table is empty

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/opt/app/other.py", line 9, in process
app.errors.TableError: no table: tables/a.bin [while running 'passes/04 score']
"""
PANIC = """Pipeline job-001 failed: panic in stage.Execute bundle processing goroutine: {}, stage: &{{ID:x
goroutine 114 [running]:
runtime/debug.Stack()
	runtime/debug/stack.go:26 +0x5e
created by golang.org/x/sync/errgroup.(*Group).Go in goroutine 40
	golang.org/x/sync@v0.23.0/errgroup/errgroup.go:78 +0x95
>
"""
RENDEZVOUS = """<_MultiThreadedRendezvous of RPC that terminated with:
	status = StatusCode.UNAVAILABLE
	details = "Stream removed (Socket closed)"
	debug_error_string = "UNAVAILABLE:Stream removed (Socket closed)"
>"""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (TRACEBACK, "failed: app.errors.TableError: no table: tables/a.bin"),
        (PANIC.format("runtime error: index out of range [3]"), "by an error of its own: runtime error: index out"),
        ("panic: assignment to entry in nil map\n\ngoroutine 1 [running]:\nmain.main()\n", "own: assignment to entry"),
        (PANIC.format("send on closed channel"), "lost a worker process"),
        ("bundle inst031 failed:SDK worker disconnected: worker[a], 2 active instructions", "lost a worker"),
        ("Channel closed prematurely.", "lost a worker process"),
        ("stage-3: worker a didn't get control connection to id after 60s", "waited in vain for a worker"),
        (RENDEZVOUS, "can't be reached: it has ended, or its address is wrong"),
        ("Service failed to start up with error 2", "failed: Service failed to start up with error 2"),
        ("", "failed: RuntimeError"),
        ("\n  >\nout of quota\nin europe-west1\n", "failed: out of quota"),
    ],
)  # fmt: skip
def test_a_cause_is_one_sentence(text, told):
    sentence = str(cause("PrismRunner", RuntimeError(text)))
    assert sentence.startswith("the runner PrismRunner ")
    assert told in sentence
    assert "\n" not in sentence
    assert "while running" not in sentence


def test_what_a_worker_raised_comes_back(tmp_path):
    failures = Failures(str(tmp_path / "failure.json"))
    assert failures.first() is None
    with pytest.raises(InputError), failures.told("read", "part 3"):
        raise InputError("a.jsonl is empty")
    assert isinstance(failures.first(), InputError)
    assert str(failures.first()) == "a.jsonl is empty"
    failures.clear()
    assert failures.first() is None
