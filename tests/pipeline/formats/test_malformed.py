"""The 32 hard cases of the development corpora, and real pages beside their extracted twins."""

import json
from pathlib import Path
from typing import Any

import pytest

from tamis.pipeline.formats.options import ReadOptions
from tamis.pipeline.formats.reader import plan_splits, read_split
from tamis.pipeline.storage import filesystem

pytestmark = pytest.mark.devdata

DOCUMENT, REJECTED, ERROR, NOTHING = "document", "rejected", "error", "nothing"
# What each case gives; the manifest allows more where it says "document or skip".
EXPECTED = {
    "warcinfo": NOTHING,
    "no-warc-type": ERROR,
    "http-404": REJECTED,
    "content-encoding-gzip-corrupt": REJECTED,
    "empty-payload": REJECTED,
    "binary-as-html": REJECTED,
    "pdf-payload": REJECTED,
    "deep-nesting": REJECTED,
    "huge-line-no-markup": REJECTED,
    "request-record": NOTHING,
    "metadata-record": NOTHING,
    "revisit-record": NOTHING,
    "garbage-between-members": ERROR,
    "truncated-last-member": ERROR,
}


def test_every_malformed_case(dev_data: Path) -> None:
    path = dev_data / "dev_malformed.warc.gz"
    manifest = json.loads((dev_data / "dev_malformed.warc.gz.manifest.json").read_text())
    (split,) = plan_splits(filesystem.info(str(path)), ReadOptions())
    batches = list(read_split(split, "web", ReadOptions()))
    documents: dict[str, dict[str, Any]] = {}
    for batch in batches:
        for row in batch.documents.to_pylist():
            documents[json.loads(row["meta"])["record"]] = row
    errors = {row["record"]: row["error"] for batch in batches for row in batch.errors.to_pylist()}
    rejected = sum(batch.rejected.num_rows for batch in batches)
    for case in manifest["cases"]:
        place, expected = f"byte {case['offset']}", EXPECTED.get(case["case"], DOCUMENT)
        assert (place in documents) == (expected == DOCUMENT), case
        assert (place in errors) == (expected == ERROR), case
    assert rejected == list(EXPECTED.values()).count(REJECTED)
    urls = {row["url"] for row in documents.values()}
    assert set(manifest["good_records"]) <= urls
    at = {case["case"]: documents.get(f"byte {case['offset']}") for case in manifest["cases"]}
    assert "Обратная связь" in at["wrong-charset-declared"]["text"]  # type: ignore[index]
    assert at["non-utf8-uri"]["url"] == "https://uri.example/caf\ufffd?q=\ufffd"  # type: ignore[index]
    assert at["good-dup"]["doc_id"] == at["same-record-again"]["doc_id"]  # type: ignore[index]
    assert at["no-target-uri"]["url"] is None  # type: ignore[index]
    assert at["bad-date"]["timestamp"] is None  # type: ignore[index]
    assert "Pet" in at["content-encoding-gzip-ok"]["text"]  # type: ignore[index]


def test_real_pages(dev_data: Path) -> None:
    counts = {}
    for name in ("dev.warc.gz", "dev.warc.wet.gz"):
        (split,) = plan_splits(filesystem.info(str(dev_data / name)), ReadOptions())
        batches = list(read_split(split, "web", ReadOptions()))
        counts[name] = sum(batch.documents.num_rows for batch in batches)
        assert sum(batch.read for batch in batches) == 299
        assert sum(batch.errors.num_rows for batch in batches) == 0
    assert counts["dev.warc.gz"] >= 290
    assert counts["dev.warc.wet.gz"] == 299
