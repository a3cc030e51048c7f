"""`examples/quad.yaml` from the files of the pool to the selection, as its head says, with a smaller proxy."""

import pytest

import tamis
from tamis.jobs.cli.app import main
from tests.source_tree import ROOT

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")


@pytest.mark.slow
def test_example_runs_end_to_end(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    corpus = "examples/corpus"
    model = ["--dimensions", "48", "--vocabulary", "600", "--steps", "150", "--context", "96"]
    commands = [
        ["train", "proxy", f"{corpus}/encyclopedia.parquet", f"{corpus}/crawl.warc.wet.gz", "-o", f"{tmp_path}/proxy",
         *model],
        ["run", "examples/quad.yaml", "-o", f"{tmp_path}/run", "--set", f"steps.quad.proxy={tmp_path}/proxy"],
        ["quad", "replay", f"{tmp_path}/run"],
        ["quad", "plot", f"{tmp_path}/run", "-o", f"{tmp_path}/quad.png"],
        ["manifest", "verify", f"{tmp_path}/run"],
    ]  # fmt: skip
    for command in commands:
        monkeypatch.setattr("sys.argv", ["tamis", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code, capsys.readouterr().err
    run = tamis.open(f"{tmp_path}/run")
    step = run.manifest.steps[-1]
    assert run.manifest.balanced
    assert step.metrics["stop"] == "budget"
    assert step.metrics["spent"] == run.manifest.selected == -(-step.metrics["documents"] // 5)
    assert step.metrics["scored_share"] < 0.15
    # The target is of encyclopedia and speeches; the pool's code and manuals teach little of it.
    shares = {
        row["source"]: row["share"]
        for row in run.sql(
            "SELECT source, avg((fate = 'selected')::INT) AS share FROM documents GROUP BY source"
        ).to_pylist()
    }
    assert min(shares["encyclopedia"], shares["books"]) > 2 * max(shares["code"], shares["web"])
