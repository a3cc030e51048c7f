"""The public functions, as a script or a notebook uses them."""

import json
import subprocess
import sys

import pyarrow as pa
import pytest

import tamis
from tests.source_tree import ROOT

TEXTS = ["The river runs to the sea, as rivers do.", "Der Fluss fließt ins Meer, wie Flüsse es tun.", None]


@pytest.fixture
def config(tmp_path):
    lines = [json.dumps({"text": f"{text} {i % 3}", "id": i}) for i, text in enumerate(TEXTS[:2] * 6)]
    (tmp_path / "texts.jsonl").write_text("\n".join(lines), "utf-8")
    inputs = [{"path": str(tmp_path / "texts.jsonl"), "source": "web"}]
    return {"name": "api", "inputs": inputs, "steps": [{"language": {"keep": ["en"]}}, "exact_dedup"]}


def test_run_open_sql_and_datasets(config, tmp_path):
    run = tamis.run(config, output=tmp_path / "run")
    assert isinstance(run, tamis.Run)
    assert (run.manifest.read, run.manifest.selected, run.manifest.balanced) == (12, 3, True)
    opened = tamis.open(tmp_path / "run")
    assert opened.manifest == run.manifest
    assert opened.sql("SELECT count(*) AS n FROM selected").to_pylist() == [{"n": 3}]
    assert opened.selected().to_table(columns=["language"]).column(0).to_pylist() == ["en"] * 3
    assert set(opened.rejected().to_table(columns=["step"]).column(0).to_pylist()) == {"language", "exact_dedup"}
    assert opened.errors().count_rows() == 0
    assert opened.verify(inputs=True).ok
    again = tamis.run(config, output=tmp_path / "run")
    assert (run.nothing_to_do, again.nothing_to_do) == (False, True)


def test_a_file_runs_like_what_it_holds(config, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps(config | {"output": {"path": str(tmp_path / "there")}}))
    run = tamis.run(path, workers=2)
    assert run.path == str(tmp_path / "there")
    other = tamis.run(config, output=tmp_path / "here")
    assert [s.sha256 for s in run.manifest.shards] == [s.sha256 for s in other.manifest.shards]


def test_texts_at_hand_are_scored(tmp_path):
    table = tamis.score(TEXTS, {"language": {}, "heuristics": {"presets": ["gopher_quality"], "statistics": "rules"}})
    assert table.column("language").to_pylist()[:2] == ["en", "de"]
    assert table.column("text_words").to_pylist() == [9, 9, 0]
    assert tamis.score([], ["exact_dedup"]).column_names == ["text_hash"]
    same = [pa.array(TEXTS), pa.chunked_array([TEXTS[:1], TEXTS[1:]]), pa.array(TEXTS, pa.large_string())]
    for texts in same:
        assert tamis.score(texts, [{"language": {}}]).equals(table.select(["language", "language_score"]))


class Frame:
    """A column of another library: it hands its buffers over by Arrow's C interface."""

    def __init__(self, values):
        self._array = pa.chunked_array([values])

    def __len__(self):
        return len(self._array)

    def __arrow_c_stream__(self, requested_schema=None):
        return self._array.__arrow_c_stream__(requested_schema)


class Series:
    """A column that only knows NumPy, as pandas' of objects."""

    def __init__(self, values):
        self._values = values

    def __len__(self):
        return len(self._values)

    def to_numpy(self):
        import numpy as np

        return np.array(self._values, object)


@pytest.mark.parametrize("kind", [Frame, Series])
def test_columns_of_data_frames_are_taken(kind):
    assert tamis.score(kind(TEXTS), ["exact_dedup"]).equals(tamis.score(TEXTS, ["exact_dedup"]))


def test_columns_of_pandas_and_polars_are_taken():
    wanted = tamis.score(TEXTS, ["exact_dedup"])
    for library in ("pandas", "polars"):
        module = pytest.importorskip(library)
        assert tamis.score(module.Series(TEXTS), ["exact_dedup"]).equals(wanted)


@pytest.mark.parametrize(
    ("call", "kind", "said"),
    [
        (tamis.open, tamis.RunError, "holds no manifest.json"),
        (lambda folder: tamis.score(["a"], {"langauge": {}}), tamis.ConfigError, "did you mean 'language'"),
        (lambda folder: tamis.score("a text", {"language": {}}), tamis.DataError, "a single str"),
        (lambda folder: tamis.run({"inputs": []}, output=folder), tamis.ConfigError, "config.inputs"),
        (lambda folder: tamis.run(folder / "no.yaml"), tamis.ConfigError, "no such file"),
    ],
)
def test_mistakes_are_errors_of_ours(tmp_path, call, kind, said):
    with pytest.raises(kind, match=said) as caught:
        call(tmp_path)
    assert isinstance(caught.value, tamis.TamisError)


def test_steps_tell_what_they_take():
    steps = tamis.steps()
    assert {"language", "exact_dedup", "perplexity", "score"} <= set(steps)
    assert steps["language"].distribution == "tamis"
    assert "min_score" in steps["language"].options["properties"]
    assert all(info.summary for info in steps.values())


def test_importing_is_light():
    code = "import sys, tamis; print([m for m in ('apache_beam', 'numpy', 'pyarrow', 'pydantic') if m in sys.modules])"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def test_everything_public_shows_how_to_use_it():
    shown = [name for name in tamis.__all__ if "```python" not in (getattr(tamis, name).__doc__ or "")]
    errors = [name for name in tamis.__all__ if name.endswith("Error")]
    assert sorted(set(shown) - set(errors)) == ["StepInfo"]
