"""What only training shows: directions on easy cases, never that one method beats another."""

import csv
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tamis.scorers.mixture.aioli import Aioli  # noqa: E402
from tamis.scorers.mixture.controlled_training import train_by_controller  # noqa: E402
from tamis.scorers.mixture.dga import Dga  # noqa: E402
from tamis.scorers.mixture.fixed import Fixed  # noqa: E402
from tamis.scorers.mixture.rows import GroupRows, pack_rows  # noqa: E402
from tamis.scorers.mixture.trainer import TrainerOptions  # noqa: E402
from tamis.scorers.text.identity import doc_id  # noqa: E402

CORPUS = Path(__file__).resolve().parents[3] / "examples" / "corpus"
CONTEXT, END = 64, 256
MODEL = {
    "model_type": "gpt2", "vocab_size": 257, "bos_token_id": END, "eos_token_id": END, "n_positions": CONTEXT,
    "n_embd": 48, "n_layer": 2, "n_head": 3, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
}  # fmt: skip


def packed(name: str, texts: list[str]) -> GroupRows:
    tokens = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    ids = [doc_id(name, str(i)) for i in range(len(texts))]
    return pack_rows(name, tokens, ids, context=CONTEXT, end=END, validation_rows=32)


def corpus() -> dict[str, GroupRows]:
    """Code and forum posts of the sample corpus, and two phrases repeated with a little noise."""
    with gzip.open(CORPUS / "code.jsonl.gz", "rt", encoding="utf-8", errors="replace") as lines:
        rows = [line for line in lines if line.startswith('{"id"')]
    code = []
    for line in rows:
        try:
            code.append(json.loads(line)["text"])
        except ValueError:
            continue  # the sample corpus has damaged lines on purpose
    with (CORPUS / "forum.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        forum = [row["text"] for row in csv.DictReader(file) if row["text"]]
    groups = {"code": packed("code", code[:60]), "forum": packed("forum", forum)}
    generator = np.random.default_rng(0)
    for name, phrase in (("easy1", "all work and no play "), ("easy2", "0123456789, ")):
        texts = []
        for _ in range(60):
            letters = list(phrase * 60)
            for at in np.flatnonzero(generator.uniform(size=len(letters)) < 0.01):
                letters[at] = chr(97 + int(generator.integers(26)))
            texts.append("".join(letters))
        groups[name] = packed(name, texts)
    return groups


def options(steps: int, **more: Any) -> TrainerOptions:
    torch.set_num_threads(1)
    return TrainerOptions(MODEL, steps, learning_rate=3e-3, final_learning_rate=3e-4, warmup_steps=10, **more)


@pytest.mark.slow
def test_aioli_by_perplexity_leaves_easy_groups() -> None:
    groups = corpus()
    aioli = Aioli(
        groups=list(groups), rounds=8, round_steps=32, sweeps=1, interval_steps=3, eta=0.5, ema=0.5,
        objective="perplexity", normalise="std", trust=1.0, floor=0.025,
    )  # fmt: skip
    result = train_by_controller(aioli, options(256), list(groups.values()))
    assert result is not None
    p = dict(zip(groups, aioli.history()[-1]["p"], strict=True))
    assert p["easy1"] + p["easy2"] < 0.4
    assert sum(result.rows) == 256 * 8


@pytest.mark.slow
def test_dga_leans_to_the_targets_groups() -> None:
    groups = corpus()
    target = np.concatenate([groups[name].validation for name in ("code", "forum")])
    dga = Dga(groups=list(groups), steps=240)
    result = train_by_controller(dga, options(240), list(groups.values()), extra={"target": target})
    assert result is not None
    weights = dict(zip(groups, dga.history()[-1]["p"], strict=True))
    assert weights["code"] + weights["forum"] > 0.6


@pytest.mark.slow
def test_what_is_trained_on_shuffled_text_is_worse() -> None:
    """A difference that must survive: the same bytes in random order teach less."""
    clean = corpus()["forum"]
    rows = np.random.default_rng(0).permuted(clean.train, axis=1)
    losses = []
    for train in (clean.train, rows):
        group = GroupRows("forum", train, clean.validation)
        fixed = Fixed(groups=["forum"], schedule=[[1.0]], steps=[360])
        result = train_by_controller(fixed, options(360), [group])
        assert result is not None
        losses.append(result.boundaries[-1].values[0])
    assert losses[1] > losses[0] + 0.1  # 0.18 was measured
