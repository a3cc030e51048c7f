"""The example on the page of `quad`, from its proxy to its query, as the page says."""

from pathlib import Path

import pytest

import tamis
from docs.step_pages import commands, example_config, guide_of
from tamis.jobs.cli.app import main
from tests.source_tree import ROOT

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("tokenizers")


@pytest.mark.slow
def test_the_example_runs_and_the_step_changes_its_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = guide_of("quad")
    assert commands("quad").startswith(guide.before)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", guide.before.split())
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    config = example_config("quad")
    run = tamis.run(config, output="with")
    assert run.manifest.steps[-1].metrics["spent"] == run.manifest.selected > 0
    assert run.manifest.rejected > 0
    assert run.sql(guide.query).num_rows == 8
