"""Manifest commands: a run is what its manifest says, every way of tampering is named, differences are explained."""

import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.jobs.cli.manifest_output import diff, rerun, show, verify
from tamis.jobs.manifest.compare import compare
from tamis.jobs.manifest.file import files_of, inside, read_manifest
from tamis.pipeline.steps.registry import parse_config
from tamis.pipeline.storage import filesystem
from tamis.schemas.base import digest
from tamis.schemas.config import significant
from tamis.schemas.errors import ConfigError, RunError
from tests.jobs.handmade import DOCUMENTS, edit, make_run, write_shard

WEB = "selected/source=web/part-00000.parquet"
REJECTED = "rejected/part-00000.parquet"


@pytest.fixture
def made(tmp_path):
    """The folder of a handmade run."""
    make_run(tmp_path / "run")
    return tmp_path / "run"


def failures(run, **options):
    return list(verify(str(run), **options).failures)


def step(manifest, label, source):
    record = next(record for record in manifest["steps"] if record["label"] == label)
    return next(counts for counts in record["counts"] if counts["source"] == source)


# --- verify ---


def test_an_untouched_run_verifies(made, capsys):
    result = verify(str(made), inputs=True)
    manifest = read_manifest(str(made))
    assert result.ok
    assert (result.failures, result.notes) == ((), ())
    assert (result.shards, result.rows) == (4, 8)
    assert result.bytes == sum(shard.bytes for shard in manifest.shards)
    assert "is what its manifest says" in capsys.readouterr().out


@pytest.mark.parametrize("documents", [[], DOCUMENTS[:2], DOCUMENTS[2:4]])
def test_runs_of_one_fate_verify(tmp_path, documents):
    make_run(tmp_path / "run", documents, errors=0)
    assert failures(tmp_path / "run", inputs=True) == []


@pytest.mark.parametrize("path", [WEB, REJECTED, "errors/part-00000.parquet"])
def test_every_flipped_byte_is_found(made, path):
    data = (made / path).read_bytes()
    for position in range(0, len(data), max(1, len(data) // 12)):
        changed = bytearray(data)
        changed[position] ^= 0x10
        (made / path).write_bytes(changed)
        found = failures(made)
        assert any(f"{path} was changed: its SHA-256 is" in sentence for sentence in found)
        assert all(path in sentence for sentence in found)
        assert not any("\n" in sentence for sentence in found)


def test_a_cut_shard_is_found(made):
    data = (made / WEB).read_bytes()
    (made / WEB).write_bytes(data[:-20])
    found = failures(made)
    assert f"{WEB} holds {len(data) - 20:,} bytes, recorded are {len(data):,}" in found
    assert any(f"{WEB} can't be read: " in sentence for sentence in found)


def test_a_missing_shard_and_unknown_files_are_named(made):
    (made / WEB).unlink()
    (made / "rejected" / "part-00007.parquet").write_bytes(b"")
    (made / "selected" / "notes.txt").write_text("mine")
    (made / "errors" / ".hidden.tmp").write_text("left by a crash, read by nobody")
    assert failures(made) == [
        f"{WEB} is missing",
        "selected/notes.txt is no file of the run: the manifest doesn't name it",
        "rejected/part-00007.parquet is no file of the run: the manifest doesn't name it",
    ]


def test_a_shard_of_another_config_is_named(made):
    """Its record agrees with the file in everything else."""
    table = pq.read_table(made / WEB, partitioning=None)
    record = write_shard(made / WEB, table, "0" * 64)
    edit(made, lambda m: next(s for s in m["shards"] if s["path"] == WEB).update(record))
    assert len(failures(made)) == 1
    assert failures(made)[0].startswith(f"{WEB} comes from another config: its footer says 0000")


def test_a_shard_with_forged_record_is_found_by_the_counts(made):
    """A row was taken away, and the shard's record made to agree."""
    digest = read_manifest(str(made)).config_sha256
    table = pq.read_table(made / REJECTED, partitioning=None).slice(1)
    text_bytes = sum(len(text.encode()) for text in table["text"].to_pylist())
    record = write_shard(made / REJECTED, table, digest) | {"text_bytes": text_bytes}
    edit(made, lambda m: next(s for s in m["shards"] if s["path"] == REJECTED).update(record))
    found = failures(made)
    assert "rejected/ holds 3 rows by the list of shards, the run says 4" in found
    assert "step language, source web, rule language: the shards hold 0 rejected, recorded are 1" in found


def test_a_moved_rejection_is_found_by_the_rows(made):
    """The numbers agree with each other, but not with the rows."""

    def change(manifest):
        step(manifest, "language", "web")["rejected"] = {"language": 2}

    edit(made, change)
    assert failures(made) == [
        "step language, source web, rule language: the shards hold 1 rejected, recorded are 2",
        "step language, source web, rule language_score_min: the shards hold 1 rejected, recorded are 0",
    ]


def test_other_columns_are_named(made):
    digest = read_manifest(str(made)).config_sha256
    table = pa.table({"doc_id": ["x", "y"], "text": ["a", "b"]})
    record = write_shard(made / WEB, table, digest)
    edit(made, lambda m: next(s for s in m["shards"] if s["path"] == WEB).update(record))
    assert any(f"{WEB} hasn't the columns of selected" in sentence for sentence in failures(made))


def test_rows_of_another_source_are_named(made):
    digest = read_manifest(str(made)).config_sha256
    table = pq.read_table(made / WEB, partitioning=None)
    table = table.set_column(2, table.schema.field("source"), pa.array(["books", "web"]))
    record = write_shard(made / WEB, table, digest)
    edit(made, lambda m: next(s for s in m["shards"] if s["path"] == WEB).update(record))
    assert failures(made) == [f"{WEB} holds rows of source books, recorded is web"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(read=9), "the run doesn't balance: 9 read isn't 3 selected + 4 rejected + 1 errors"),
        (lambda m: m["sources"]["web"].update(read=7), "source web doesn't balance: 7 read, but 6 ended"),
        (lambda m: m["sources"]["books"].update(selected=2), "selected: the sources add up to 4, the run says 3"),
        (lambda m: m["inputs"][0].update(records=5), "source books: 2 read, but its inputs hold 5 records"),
        (lambda m: m["shards"][0].update(rows=2), "errors/part-00000.parquet holds 1 rows, recorded are 2"),
        (lambda m: m["shards"][1].update(text_bytes=1), "bytes of text, recorded are 1"),
        (lambda m: m["shards"][1].update(fate="selected"), "doesn't lie in the folder of its fate, selected"),
        (lambda m: m["shards"][1].update(path="rejected/../../x"), "doesn't lie in the folder of its fate"),
        (lambda m: m["shards"].append(m["shards"][0]), "errors/part-00000.parquet is listed twice"),
        (
            lambda m: step(m, "exact_dedup", "web").update(documents=4),
            "step exact_dedup, source web: 4 came, but language kept 3",
        ),
        (
            lambda m: step(m, "language", "web").update(errors=1),
            "step language, source web doesn't balance: 5 documents came, which isn't 3 kept + 2 rejected + 1 errors",
        ),
        (
            lambda m: step(m, "exact_dedup", "web").update(kept=3, rejected={}),
            "source web: the steps add up to 3 selected, the source says 2",
        ),
        (lambda m: m["mixture"]["bytes"].update(books=9), "mixture: books has 7 bytes of text, recorded are 9"),
        (lambda m: m["mixture"]["proportions"].update(books=0.1), "mixture: books has a share of 0.0897"),
        (lambda m: m["config"].update(seed=1), "the recorded config has the digest "),
        (lambda m: m["config"]["steps"][1]["language"].update(min_score=0.1), "the recorded config has the digest "),
        (lambda m: m["source_config"].update(seed=1), "the config as it was given has the digest "),
        (lambda m: m["source_config"].update(sed=1), "the config as it was given can't be parsed"),
        (lambda m: m.update(config_sha256="0" * 64), "comes from another config"),
    ],
)
def test_every_edited_number_is_named(made, change, sentence):
    edit(made, change)
    found = failures(made)
    assert any(sentence in failure for failure in found), found


def test_another_version_of_the_program_may_resolve_a_config_otherwise(made):
    def change(manifest):
        manifest["source_config"]["steps"][0]["language"]["option_of_old"] = 1
        manifest["provenance"]["code_sha256"] = "0" * 64

    edit(made, change)
    result = verify(str(made))
    assert result.ok
    assert len(result.notes) == 1
    assert "can't be parsed" in result.notes[0]


def test_changed_inputs_are_notes_unless_asked_for(made, tmp_path):
    path = tmp_path / "inputs" / "web.jsonl"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"First", b"Frist"))
    assert verify(str(made)).notes == ()
    assert [sentence.split(":")[0] for sentence in failures(made, inputs=True)] == [f"input {path} was changed"]
    path.write_bytes(data + b"{}\n")
    result = verify(str(made))
    assert result.ok
    assert result.notes == (f"input {path} has {len(data) + 3} bytes now, recorded are {len(data)}",)
    path.unlink()
    result = verify(str(made))
    assert result.ok
    assert result.notes == (f"input {path} is no longer there, or can't be read",)
    assert failures(made, inputs=True) == list(result.notes)


def test_inputs_without_a_digest_are_said(made, capsys):
    def change(manifest):
        manifest["inputs"][0] |= {
            "sha256": None,
            "fingerprint": filesystem.info(manifest["inputs"][0]["path"]).fingerprint,
        }

    edit(made, change)
    for inputs in (False, True):
        result = verify(str(made), inputs=inputs)
        assert result.ok
        assert [note.partition(",")[0] for note in result.notes] == [
            "not checked by content: 1 input was recorded without a SHA-256"
        ]
    assert "note: not checked by content: 1 input" in capsys.readouterr().out


def test_many_notes_are_counted_and_not_listed(made, capsys):
    def change(manifest):
        record = manifest["inputs"][0]
        manifest["inputs"] += [record | {"path": f"absent-{number}", "records": 0} for number in range(50)]

    edit(made, change)
    result = verify(str(made))
    assert len(result.notes) == 50
    out = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("note: ") for line in out) == 20
    assert "and 30 more of 50 notes; --json has all" in out


def test_quiet_is_quiet_unless_something_is_wrong(made, capsys):
    verify(str(made), quiet=True)
    assert capsys.readouterr() == ("", "")
    (made / WEB).unlink()
    verify(str(made), quiet=True)
    told = capsys.readouterr()
    assert told.err == ""
    assert f"wrong: {WEB} is missing" in told.out


def test_a_result_as_json(made, capsys):
    (made / WEB).unlink()
    verify(str(made), as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert told["failures"] == [f"{WEB} is missing"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match="holds no manifest"):
        verify(str(tmp_path))


def test_the_recorded_config_has_the_digest_of_the_config():
    plain = {
        "name": "a",
        "inputs": [{"path": "x.jsonl", "source": "web"}],
        "steps": [
            {"language": {"model": "m.ftz", "keep": ["en"]}},
            {
                "perplexity": {
                    "model": "{language}.arpa",
                    "tokenizer": "m.model",
                    "name": "quality",
                    "languages": ["en"],
                }
            },
            {"dsir": {"target": "m.jsonl", "keep": {"fraction": 0.5}}},
            {"preselect": {"model": "m.bin"}},
        ],
        "output": {"path": "here"},
    }
    config = parse_config(plain)

    def digests(character):
        return {step.label: dict.fromkeys(step.references, character * 64) for step in config.steps if step.references}

    recorded = json.loads(json.dumps(config.resolved(digests("1"))))
    assert digest(significant(recorded)) == config.digest(digests("1"))
    text = json.dumps(plain).replace('"m.', '"/other/m.').replace("here", "there").replace('"a"', '"b"')
    moved = parse_config(json.loads(text)).resolved(digests("1"))
    assert digest(significant(moved)) == config.digest(digests("1"))
    other = config.digest(digests("2"))
    assert digest(significant(config.resolved(digests("2")))) == other != config.digest(digests("1"))


def test_files_lie_inside_or_elsewhere(made, monkeypatch):
    assert sorted(files_of(str(made))) == sorted(shard.path for shard in read_manifest(str(made)).shards)
    monkeypatch.chdir(made.parent)
    assert sorted(files_of("./run/")) == sorted(files_of(str(made)))
    assert inside("gs://b/run", "gs://b/run/selected/x") == "selected/x"
    assert inside("gs://b/run", "gs://b/runner/selected/x") is None


# --- show ---


def test_showing_a_run(made, capsys):
    show(str(made))
    out = capsys.readouterr().out
    assert "8 records read = 3 selected + 4 rejected + 1 error" in out
    assert "language 2, language_score_min 1" in out
    assert "warning: a warning of the run" in out
    assert all(name in out for name in ("web.jsonl", "exact_dedup", "0.9103"))
    show(str(made), as_json=True)
    assert json.loads(capsys.readouterr().out) == json.loads((made / "manifest.json").read_text())


# --- diff ---


def test_equal_runs_have_no_difference(tmp_path, made, capsys):
    make_run(tmp_path / "other", name="renamed")
    comparison = compare(str(made), str(tmp_path / "other"))
    assert comparison.same_bytes
    assert comparison.differences == comparison.moved == ()
    assert comparison.why == ("The shards are the same, byte for byte.",)
    diff(str(made), str(made))
    assert capsys.readouterr().out == "The shards are the same, byte for byte.\n"


def test_a_lower_threshold_is_the_reason(tmp_path, made, capsys):
    documents = [(i, s, t, None if i == "a3" else fate) for i, s, t, fate in DOCUMENTS]
    make_run(tmp_path / "other", documents, min_score=0.2)
    comparison = diff(str(made), str(tmp_path / "other"))
    assert comparison.why == (
        "The runs part at the step language: the first kept 4 documents, the second 5.",
        "Documents that only the second selected: 1; in the other 1 rejected at language by language_score_min.",
        "What explains it:",
        "- config steps.language.min_score: 0.65 became 0.2",
    )
    told = {(d.section, d.key): (d.first, d.second) for d in comparison.differences}
    assert told["config", "steps.language.min_score"] == (0.65, 0.2)
    assert told["thresholds", "language.language_score_min"] == (0.65, 0.2)
    assert told["steps", "language, web: rejected by language_score_min"] == (1, None)
    assert told["totals", "web.selected"] == (2, 3)
    assert "mixture" in {section for section, _ in told}
    out = capsys.readouterr().out
    assert "steps.language.min_score" in out
    diff(str(made), str(tmp_path / "other"), as_json=True)
    assert json.loads(capsys.readouterr().out)["moved"] == [dataclasses.asdict(comparison.moved[0])]


def test_other_inputs_are_the_reason(tmp_path, made):
    make_run(tmp_path / "other", [*DOCUMENTS, ("c0", "web", "A new page.", None)], inputs=tmp_path / "inputs2")
    comparison = compare(str(made), str(tmp_path / "other"))
    assert comparison.why[0] == "The runs part when they read: 8 records in the first, 9 in the second."
    assert "in the other 1 not among its documents." in comparison.why[1]
    assert "- input files: 2 only in the first, 2 only in the second" in comparison.why


def test_other_models_and_programs_are_reasons(tmp_path, made):
    documents = [(i, s, t, None if i == "a3" else fate) for i, s, t, fate in DOCUMENTS]
    other = tmp_path / "other"
    make_run(other, documents)

    def with_model(manifest, sha256):
        manifest["models"] = [{"step": "language", "option": "model", "reference": "m", "sha256": sha256}]

    def change(manifest):
        with_model(manifest, "1" * 64)
        manifest["provenance"] |= {"code_sha256": "2" * 64, "tamis": "9.9"}
        manifest["provenance"]["packages"]["numpy"] = "0.1"

    edit(other, change)
    assert "- model language.model: only the second has it" in compare(str(made), str(other)).why
    edit(made, lambda manifest: with_model(manifest, "2" * 64))
    why = compare(str(made), str(other), documents=False).why
    assert "- model language.model: other content" in why
    assert any(sentence.startswith("- package numpy: ") for sentence in why)
    assert any(sentence.startswith("- tamis: ") for sentence in why)
    assert any(sentence.startswith("- the program's own code") for sentence in why)
    assert not any("only the" in sentence for sentence in why)


def test_what_nothing_explains_is_said_so(tmp_path, made):
    documents = [(i, s, t, None if i == "a3" else fate) for i, s, t, fate in DOCUMENTS]
    make_run(tmp_path / "other", documents)
    edit(tmp_path / "other", lambda m: m.update(inputs=json.loads((made / "manifest.json").read_text())["inputs"]))
    assert (
        compare(str(made), str(tmp_path / "other")).why[-1].startswith("Nothing that the manifests record explains it")
    )


# --- real runs ---


def copy_of(config_of, tmp_path, corpus):
    """Return a config over inputs of the test's own, which it may change."""
    for path in corpus.iterdir():
        (tmp_path / "inputs").mkdir(exist_ok=True)
        (tmp_path / "inputs" / path.name).write_bytes(path.read_bytes())
    plain = config_of({"exact_dedup": {}})
    for entry in plain["inputs"]:
        entry["path"] = str(tmp_path / "inputs" / Path(entry["path"]).name)
    return plain


def test_a_real_run_verifies_repeats_and_tells_what_changed(config_of, corpus, run, tmp_path, capsys):
    plain = copy_of(config_of, tmp_path, corpus)
    run(plain)
    first = str(tmp_path / "run")
    assert failures(first, inputs=True) == []
    result = rerun(first, str(tmp_path / "again"))
    assert result.same
    assert "have the same bytes" in capsys.readouterr().out
    assert failures(tmp_path / "again", inputs=True) == []

    path = tmp_path / "inputs" / "part0.jsonl"
    path.write_text("\n".join(path.read_text().splitlines()[1:]) + "\n")
    result = rerun(first, str(tmp_path / "changed"))
    assert not result.same
    assert "- input files: 1 with other content" in result.comparison.why
    assert len(failures(first, inputs=True)) == 1


def test_a_run_is_not_repeated_onto_itself(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for output in (str(made), "run", "./run/", "file://" + str(made)):
        with pytest.raises(ConfigError, match="would overwrite"):
            rerun(str(made), output)
    assert failures(made) == []


def test_a_config_of_another_version_is_refused(made, tmp_path):
    edit(made, lambda m: m["source_config"].update(olden=1))
    with pytest.raises(ConfigError, match=r"was written for tamis .* refuses it: .*olden"):
        rerun(str(made), str(tmp_path / "again"))
