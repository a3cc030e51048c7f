import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError
from tamis.scorers.mixture.aioli import Aioli
from tamis.scorers.mixture.driving import Measured, drive, serve
from tamis.scorers.mixture.methods import controller_from_json
from tamis.scorers.mixture.rows import GroupRows, RowCursor, pack_rows
from tamis.scorers.text.identity import doc_id
from tests.scorers.mixture.worlds import World

LAW = {"kind": "linear", "L0": [4.0, 5.0], "A": [[2e-3, 1e-4], [0, 1e-3]]}


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=12), min_size=1, max_size=30), st.integers(2, 5), st.integers(0, 2)
)
def test_rows_are_the_documents_in_hash_order(documents: list[list[int]], context: int, validation: int) -> None:
    ids = [doc_id("s", str(i)) for i in range(len(documents))]
    total = sum(len(d) + 1 for d in documents if d)
    spare = total - (validation + 1) * context
    if spare < 13:  # the last document of validation may leave less than a row
        if spare < 0:
            with pytest.raises(DataError, match="group 'g' has"):
                pack_rows("g", documents, ids, context=context, end=0, validation_rows=validation)
        return
    rows = pack_rows("g", documents, ids, context=context, end=0, validation_rows=validation)
    assert rows.train.shape[1] == context
    assert rows.validation.shape == (validation, context)
    assert rows.train.size + rows.validation.size + rows.dropped_tokens == total
    shuffle = np.random.default_rng(0).permutation(len(documents))
    other = pack_rows("g", [documents[i] for i in shuffle], [ids[i] for i in shuffle], context=context, end=0,
                      validation_rows=validation)  # fmt: skip
    np.testing.assert_array_equal(rows.train, other.train)
    np.testing.assert_array_equal(rows.validation, other.validation)


def test_no_training_row_shares_a_document_with_validation() -> None:
    documents = [[i + 1] * 7 for i in range(200)]
    rows = pack_rows("g", documents, [doc_id("s", str(i)) for i in range(200)], context=10, end=0, validation_rows=5)
    assert not set(rows.validation.ravel()) & set(rows.train.ravel()) - {0}
    assert (rows.validation == 0).sum() > 0


def test_cursors_go_through_all_rows_in_each_pass() -> None:
    group = GroupRows("g", np.arange(14, dtype=np.int32).reshape(7, 2), np.empty((0, 2), np.int32))
    cursor = RowCursor(group, seed=3)
    ahead = cursor.peek(3, 2)
    first = np.concatenate([cursor.take(n) for n in (2, 3, 2)])
    np.testing.assert_array_equal(first[2:5], ahead)
    second = cursor.take(7)
    assert sorted(first[:, 0]) == sorted(second[:, 0]) == list(range(0, 14, 2))
    assert first[:, 0].tolist() != second[:, 0].tolist()
    assert cursor.epochs == 2
    again = RowCursor(group, seed=3, taken=5)
    np.testing.assert_array_equal(again.take(4), np.concatenate([first, second])[5:9])
    other = RowCursor(GroupRows("h", group.train, group.validation), seed=3)
    assert other.take(7)[:, 0].tolist() != first[:, 0].tolist()
    with pytest.raises(ConfigError, match="can't have given -1"):
        RowCursor(group, seed=3, taken=-1)


def aioli() -> Aioli:
    return Aioli(groups=["a", "b"], rounds=2, round_steps=40, sweeps=2)


def test_a_trainer_is_a_callback() -> None:
    class Fake:
        def __init__(self) -> None:
            self.world = World(LAW)

        def segment(self, request: Any) -> Measured:
            return Measured(self.world.train(request.mixture, request.steps).tolist())

    seen: list[Any] = []
    found = drive(aioli(), Fake(), lambda request, measured: seen.append((request, measured)))
    twin = aioli()
    World(LAW).drive(twin)
    assert found == twin.proportions()
    assert len(seen) == 1 + 2 * 5


def converse(controller: Any, messages: list[Any], state: Path | None = None) -> list[Any]:
    out = io.StringIO()
    serve(
        controller,
        (message if isinstance(message, str) else json.dumps(message) for message in messages),
        out.write,
        state,
    )
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_lines_give_the_same_run(tmp_path: Path) -> None:
    world, controller, state = World(LAW), aioli(), tmp_path / "state.json"
    answer = converse(controller, [{"do": "next"}])[0]
    count = 0
    while (request := answer["request"]) is not None:
        losses = world.train(request["mixture"], request["steps"]).tolist()
        # Each message to a controller that was read back: nothing lives in the process.
        controller = controller_from_json(state.read_text()) if state.exists() else controller
        answer = converse(
            controller, [{"do": "observe", "values": dict(zip(request["of"], losses, strict=True))}], state
        )[0]
        count += 1
    twin = aioli()
    World(LAW).drive(twin)
    assert count == 11
    last = converse(controller, ["", {"do": "proportions"}, {"do": "state"}, {"do": "end"}, {"do": "state"}])
    assert list(last[0]["proportions"].values()) == list(twin.proportions())
    assert last[1]["state"] == twin.to_json() == state.read_text()
    assert len(last) == 2


def test_what_can_not_be_done_changes_nothing() -> None:
    controller = aioli()
    before = controller.to_json()
    answers = converse(
        controller,
        [
            "not json", [1], {"do": "fly"}, {"do": "observe", "values": [1.0]}, {"do": "observe", "values": "ab"},
            {"do": "observe", "values": [1.0, None]}, {"do": "observe", "values": [1.0, 2.0], "learning_rate": "x"},
            {"do": "observe", "values": [[1.0, 2.0], [1.0, 2.0]]}, {"do": "observe", "values": {"a": 1.0}},
        ],
    )  # fmt: skip
    assert len(answers) == 9
    assert all(set(answer) == {"error"} for answer in answers)
    assert controller.to_json() == before


def test_another_program_can_drive_it(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from tamis.scorers.mixture.aioli import Aioli\n"
        "from tamis.scorers.mixture.driving import serve\n"
        "def write(line):\n    sys.stdout.write(line); sys.stdout.flush()\n"
        "serve(Aioli(groups=['a', 'b'], rounds=1, round_steps=40), sys.stdin, write)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for message, key in (({"do": "next"}, "evaluate"), ({"do": "observe", "values": [3.0, 4.0]}, "probe")):
            child.stdin.write(json.dumps(message) + "\n")
            child.stdin.flush()
            assert json.loads(child.stdout.readline())["request"]["kind"] == key
        child.stdin.write('{"do": "end"}\n')
        child.stdin.flush()
        assert child.wait(30) == 0
