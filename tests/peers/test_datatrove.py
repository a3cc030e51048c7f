"""The datatrove presets against datatrove itself, on a few thousand real documents in many languages.

Run where datatrove and spaCy are installed: `pytest -m peers tests/peers/test_datatrove.py`.
"""

import io
import json
import os

import pytest

from tamis.scorers.selection.rules import decide
from tamis.scorers.statistics.english_words import exceptions
from tamis.scorers.statistics.presets import PRESETS
from tamis.scorers.statistics.text_statistics import TextStatistics, c4_clean
from tests.peers.datatrove_filters import CLEANING, FILTERS, clean_text, reason

pytestmark = [pytest.mark.peers]

DOCUMENTS = int(os.environ.get("TAMIS_PEER_DOCUMENTS", "3000"))
LONGEST = 50_000
"""Characters; datatrove takes seconds for a megabyte."""

COLUMNS = sorted({rule.column for preset in FILTERS for rule in PRESETS[preset]})


@pytest.fixture(scope="module")
def texts(dev_data):
    zstandard = pytest.importorskip("zstandard")
    pytest.importorskip("datatrove")
    pytest.importorskip("spacy")
    found = []
    with (dev_data / "dev.jsonl.zst").open("rb") as file:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8")
        for i, line in enumerate(lines):
            if i % 23 == 0:
                found.append(json.loads(line)["text"][:LONGEST])
            if len(found) == DOCUMENTS:
                break
    return found


@pytest.fixture(scope="module")
def wanted(texts):
    return {preset: [reason(preset, text) for text in texts] for preset in FILTERS}


@pytest.fixture(scope="module")
def batches(texts):
    return {splitter: TextStatistics(COLUMNS, splitter=splitter).score(texts) for splitter in ("spacy", "fast")}


def ours(batch, preset):
    return [None if rule < 0 else PRESETS[preset][rule].reason for rule in decide(batch, PRESETS[preset]).rule]


@pytest.mark.devdata
@pytest.mark.parametrize("preset", FILTERS)
def test_decisions_with_spacy_are_exactly_datatroves(preset, batches, wanted):
    assert ours(batches["spacy"], preset) == wanted[preset]


@pytest.mark.devdata
@pytest.mark.parametrize("preset", FILTERS)
def test_decisions_with_the_fast_splitter_agree(preset, batches, wanted, capsys):
    got = ours(batches["fast"], preset)
    agreed = sum(a == b for a, b in zip(got, wanted[preset], strict=True)) / len(got)
    dropped = sum(found is not None for found in wanted[preset]) / len(got)
    with capsys.disabled():
        print(f"\n{preset}: {agreed:.4%} of {len(got)} decisions agree, datatrove drops {dropped:.1%}")
    assert agreed >= 0.99


@pytest.mark.devdata
@pytest.mark.parametrize("variant", sorted(CLEANING))
def test_cleaned_texts_are_exactly_datatroves(variant, texts):
    left = [clean_text(CLEANING[variant], text) for text in texts]
    kept = [i for i, text in enumerate(left) if text is not None]
    assert c4_clean([texts[i] for i in kept], variant).to_pylist() == [left[i] for i in kept]


def test_exceptions_are_spacys():
    spacy = pytest.importorskip("spacy")
    from spacy.symbols import ORTH

    rules = {
        text: tuple(token[ORTH] for token in tokens)
        for text, tokens in spacy.blank("en").tokenizer.rules.items()
        if not text.isspace()
    }
    assert exceptions() == rules
