"""`pii` in steps and runs: what is counted, what is masked, and which text is shown."""

import json

import pytest

from tamis.schemas.errors import ConfigError
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, parsed

TEXTS = [
    "Write to jo.doe@corp.org or jo.doe@corp.org, from 8.8.4.4, \u00e9t\u00e9.",
    "Nothing here, not even version 1.2.3.4.",
    "Account DE89 3704 0044 0532 0130 00, card 4111 1111 1111 1111, call +1 415 555 2671.",
    "Key AKIAIOSFODNN7EXAMPLE of jo.doe@corp.org",
]
KINDS = ("email", "ip", "phone", "iban", "card", "key")
FOUND = [(2, 1, 0, 0, 0, 0), (0, 0, 0, 0, 0, 0), (0, 0, 1, 1, 1, 0), (1, 0, 0, 0, 0, 1)]


def test_counts_by_kind_and_masks():
    rows = columns_of(parsed("pii"), text=TEXTS)
    assert [tuple(row[f"pii_{kind}"] for kind in KINDS) for row in rows] == FOUND
    assert [row["pii_findings"] for row in rows] == [3, 0, 3, 2]
    assert rows[0]["pii_removed_chars"] == 2 * len("jo.doe@corp.org") + len("8.8.4.4")
    assert rows[1]["text"] == TEXTS[1]
    assert rows[1]["pii_removed_chars"] == 0
    for row in rows:
        assert not any(secret in row["text"] for secret in ("jo.doe", "8.8.4.4", "DE89", "4111", "2671", "AKIA"))
    assert rows[0]["text"].endswith("\u00e9t\u00e9.")
    mask = rows[0]["text"].removeprefix("Write to ").partition(" ")[0]
    assert rows[0]["text"].startswith(f"Write to {mask} or {mask}, from ")  # the same data, the same mask
    assert rows[3]["text"] == f"Key <KEY> of {mask}"


def test_annotate_leaves_the_text():
    rows = columns_of(parsed("pii", mode="annotate"), text=TEXTS)
    assert [row["pii_findings"] for row in rows] == [3, 0, 3, 2]
    assert not {"text", "pii_removed_chars"} & set(rows[0])


def test_kinds_masks_and_name():
    rows = columns_of(parsed("pii", kinds=["phone"], masks={"phone": ["<PHONE>"]}, name="calls"), text=TEXTS)
    assert set(rows[0]) == {"calls_phone", "calls_findings", "calls_removed_chars", "text"}
    assert [row["calls_findings"] for row in rows] == [0, 0, 1, 0]
    assert rows[2]["text"] == TEXTS[2].replace("+1 415 555 2671", "<PHONE>")
    gone = columns_of(parsed("pii", kinds=["key"], masks={"key": [""]}), text=TEXTS)
    assert gone[3]["text"] == "Key  of jo.doe@corp.org"


def test_the_seed_chooses_the_masks():
    texts = [f"person{number}@corp.org" for number in range(20)]
    first, again, other = (
        [row["text"] for row in columns_of(parsed("pii", seed=seed), text=texts)] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) > 1


def test_options_that_change_no_column_dont_count():
    def key(**options):
        return parsed("pii", **options).scoring_options()

    assert key(kinds=["ip", "email"]) == key(kinds=["email", "ip", "ip"]) == key(kinds=["email", "ip"], max_findings=3)
    assert key(mode="annotate", seed=1) == key(mode="annotate")
    assert key(seed=1) != key()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"kinds": []}, "kinds"),
        ({"kinds": ["name"]}, "kinds"),
        ({"masks": {"email": []}}, "email needs at least one mask"),
        ({"mode": "annotate", "masks": {"email": ["x"]}}, "are of `mode: mask`"),
        ({"kinds": ["ip"], "masks": {"email": ["x"]}}, "email isn't among the `kinds`"),
    ],
)
def test_mistakes(options, told):
    with pytest.raises(ConfigError, match=told):
        parsed("pii", **options)


def test_a_run_masks_what_is_selected_and_shows_rejected_documents_as_they_came(run, tmp_path):
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(TEXTS * 20)))
    plain = {
        "inputs": [{"path": str(path), "source": "web"}],
        "steps": [{"pii": {"max_findings": 2}}, {"pii": {"name": "again", "mode": "annotate", "kinds": ["ip", "key"]}}],
        "output": {"shard_mb": 0.02},
    }
    manifest = run(plain)
    rows = every_row(manifest, tmp_path / "run")
    assert manifest.selected == 40
    masked = {row["text"] for row in columns_of(parsed("pii"), text=TEXTS)}
    for row in rows:
        if row["fate"] == "rejected":
            assert (row["step"], row["rule"]) == ("pii", "pii_findings_max")
            assert (row["value"], row["threshold"]) == (3, 2)
            assert row["text"] in TEXTS
        else:
            assert row["text"] in masked
            assert row["again_findings"] == 0  # it reads the masked text
            assert row["pii_findings"] == 0 or row["text"] not in TEXTS
    assert digests(run(plain, "two", workers=2)) == digests(manifest)


def test_a_changed_bound_finds_nothing_again(run, tmp_path):
    path = tmp_path / "pages.jsonl"
    path.write_text("".join(json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(TEXTS)))

    def plain(bound):
        return {"inputs": [{"path": str(path), "source": "web"}], "steps": [{"pii": {"max_findings": bound}}]}

    assert run(plain(2)).selected == 2
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "work").glob("*pii-columns-*/*.arrow")}
    assert run(plain(3)).selected == 4
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "work").glob("*pii-columns-*/*.arrow")}
