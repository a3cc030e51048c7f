"""Mixtures side by side: small models on unequal groups, at equal steps, over seeds.

    taskset -c 1 python benchmarks/mixtures.py [--steps 400] [--seeds 3] [--width 64] [--layers 2]

Groups are the sample corpus' books, encyclopedia, code and forum, cut to unequal sizes (`--sizes`, bytes). Tokens are
bytes. Every arm trains the same model from the same initial weights for the same steps; Aioli's probes are among its
steps, the runs behind `best static` and the n-gram models behind `MixMin` are not, and are told. Printed are the mean
test loss over groups, the mean perplexity, and for both the difference from stratified over paired seeds with its 95 %
interval. At this size differences between mixtures are about as large as those between seeds: what is measured here is
whether the parts work, not which method is best.
"""

import argparse
import csv
import gzip
import io
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
import zstandard

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

from tamis.scorers.mixture.aioli import Aioli
from tamis.scorers.mixture.controller import Controller
from tamis.scorers.mixture.driving import drive
from tamis.scorers.mixture.fixed import Fixed, proportional, stratified, unimax
from tamis.scorers.mixture.mixmin import mixmin, score_tokens, token_probabilities
from tamis.scorers.mixture.paired import compare_arms, proxy_note
from tamis.scorers.mixture.rows import GroupRows, pack_rows
from tamis.scorers.mixture.runs import draw_mixtures
from tamis.scorers.mixture.trainer import CausalTrainer, TrainerOptions
from tamis.scorers.ngram.estimate import estimate
from tamis.scorers.ngram.kenlm_binary import ProbingModel, write_probing
from tamis.scorers.text.identity import doc_id
from tamis.scorers.text.spans import text_spans

END = 256
CORPUS = ROOT / "examples" / "corpus"
ROUNDS, SWEEPS, INTERVAL = 8, 2, 2
"""Aioli's rounds, probes of each group in a round, and steps of a probe."""


def records(lines: io.TextIOBase) -> list[dict]:
    """Return the JSON records that can be read: the sample corpus has damaged lines on purpose."""
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [row for row in found if isinstance(row, dict)]


def texts() -> dict[str, list[str]]:
    """Return the documents of each group."""
    with zstandard.open(CORPUS / "books.jsonl.zst", "rb") as stream:
        books = [row.get("body") for row in records(io.TextIOWrapper(stream, encoding="utf-8", errors="replace"))]
    with gzip.open(CORPUS / "code.jsonl.gz", "rt", encoding="utf-8", errors="replace") as lines:
        code = [row.get("text") for row in records(lines)]
    encyclopedia = pq.read_table(CORPUS / "encyclopedia.parquet").column("text").to_pylist()
    with (CORPUS / "forum.csv").open(encoding="utf-8", errors="replace", newline="") as file:
        forum = [row.get("text") for row in csv.DictReader(file)]
    found = {"books": books, "encyclopedia": encyclopedia, "code": code, "forum": forum}
    return {name: [text for text in some if isinstance(text, str) and text] for name, some in found.items()}


def cut(documents: list[str], size: int) -> list[str]:
    """Return the first documents of about `size` bytes."""
    ends = np.cumsum([len(text.encode()) for text in documents])
    return documents[: int(np.searchsorted(ends, size)) + 1]


def rows_of(documents: dict[str, list[str]], context: int, held: int) -> tuple[list[GroupRows], dict[str, np.ndarray]]:
    """Return the groups' rows, and test rows that no controller sees: half of what is held out."""
    groups, test = [], {}
    for name, some in documents.items():
        tokens = [np.frombuffer(text.encode(), np.uint8) for text in some]
        ids = [doc_id(name, str(i)) for i in range(len(some))]
        packed = pack_rows(name, tokens, ids, context=context, end=END, validation_rows=2 * held)
        test[f"{name}/test"] = packed.validation[held:]
        groups.append(replace(packed, validation=packed.validation[:held]))
    return groups, test


def text_of(rows: np.ndarray) -> list[str]:
    """Return the lines of rows of bytes, read as one text."""
    flat = rows.ravel()
    text = bytes(np.where(flat == END, 10, flat).astype(np.uint8)).decode(errors="ignore")
    return [line for line in text.splitlines() if line.strip()]


def mixmin_shares(groups: list[GroupRows]) -> tuple[np.ndarray, float]:
    """Return MixMin's shares for all groups' validation text equally, by word 3-gram models, and the CPU seconds."""
    begin = time.process_time()
    target = [line for group in groups for line in text_of(group.validation)]
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        for group in groups:
            lines, path = text_of(group.train), Path(folder) / group.name
            write_probing(estimate([text_spans(lines)], order=3, discount_fallback=True, skip_symbols=True).arpa, path)
            scores.append(score_tokens(ProbingModel(path), text_spans(target)))
    return mixmin(token_probabilities(scores)).shares, time.process_time() - begin


def run(controller: Controller, options: TrainerOptions, groups: list[GroupRows], test: dict[str, np.ndarray]) -> dict:
    """Train one arm with one seed; return its test losses by group, its mixture and epochs."""
    trainer = CausalTrainer(options, groups, extra=test)
    mixture = drive(controller, trainer)
    losses = trainer.evaluate(list(test))
    return {"losses": losses, "mixture": mixture, "epochs": trainer.epochs, "parameters": trainer.parameters}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--static-runs", type=int, default=6, help="mixtures tried for `best static`, with one seed")
    parser.add_argument("--sizes", type=int, nargs=4, default=[800_000, 400_000, 200_000, 100_000])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    least = ROUNDS * SWEEPS * INTERVAL * len(arguments.sizes)
    if arguments.steps < least:
        parser.error(f"--steps: at least {least}, as Aioli probes each group in each of {ROUNDS} rounds")
    torch.set_num_threads(1)
    documents = {n: cut(t, size) for (n, t), size in zip(texts().items(), arguments.sizes, strict=True)}
    groups, test = rows_of(documents, arguments.context, held=32)
    names = [group.name for group in groups]
    sizes = [len(group.train) for group in groups]
    budget = arguments.steps * 8
    model = {
        "model_type": "gpt2",
        "vocab_size": END + 1,
        "bos_token_id": END,
        "eos_token_id": END,
        "n_positions": arguments.context,
        "n_embd": arguments.width,
        "n_layer": arguments.layers,
        "n_head": max(1, arguments.width // 16),
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
    }

    def options(seed: int) -> TrainerOptions:
        return TrainerOptions(model, arguments.steps, learning_rate=2e-3, final_learning_rate=2e-4, warmup_steps=20,
                              seed=seed, device=arguments.device, evaluation_rows=64)  # fmt: skip

    def static(shares: np.ndarray) -> Fixed:
        return Fixed(groups=names, schedule=[shares.tolist()], steps=[arguments.steps])

    print(f"rows of {arguments.context} bytes: " + ", ".join(f"{n} {s}" for n, s in zip(names, sizes, strict=True)))
    print(f"{arguments.steps} steps of 8 rows; {arguments.seeds} seeds")
    shares, seconds = mixmin_shares(groups)
    tried = draw_mixtures(sizes, arguments.static_runs, seed=1, strength=(0.5, 4.0))
    best, lowest = tried[0], float("inf")
    for p in tried:
        trainer = CausalTrainer(options(1000), groups)
        drive(static(p), trainer)
        loss = float(np.mean(trainer.evaluate(names)))
        best, lowest = (p, loss) if loss < lowest else (best, lowest)
    probes = {"rounds": ROUNDS, "round_steps": arguments.steps // ROUNDS, "sweeps": SWEEPS, "interval_steps": INTERVAL,
              "one_hot_factor": 0.625}  # fmt: skip
    arms = {
        "stratified": lambda _: static(stratified(len(names))),
        "proportional": lambda _: static(proportional(sizes)),
        "UniMax (1 epoch)": lambda _: static(unimax(sizes, budget, 1.0).shares),
        "MixMin": lambda _: static(shares),
        "best static": lambda _: static(best),
        "Aioli": lambda seed: Aioli(groups=names, eta=0.2, seed=seed, **probes),
        "Aioli, perplexity": lambda seed: Aioli(groups=names, eta=0.5, ema=0.5, objective="perplexity", normalise="std",
                                                shrink="ratio", trust=1.0, floor=0.025, seed=seed, **probes),
    }  # fmt: skip
    losses: dict[str, dict[str, dict[int, float]]] = {}
    perplexities: dict[str, dict[str, dict[int, float]]] = {}
    print(f"MixMin: {seconds:.1f} CPU-s; best static: {arguments.static_runs} runs of {arguments.steps} steps beside\n")
    print(f"{'arm':18} {'mean loss':>18} {'mean perplexity':>18} {'CPU-s':>6}  shares (epochs)")
    for arm, make in arms.items():
        begin = time.process_time()
        results = [run(make(seed), options(seed), groups, test) for seed in range(arguments.seeds)]
        loss = [float(np.mean(r["losses"])) for r in results]
        perplexity = [float(np.mean(np.exp(r["losses"]))) for r in results]
        losses[arm], perplexities[arm] = {"loss": dict(enumerate(loss))}, {"perplexity": dict(enumerate(perplexity))}
        mixture = np.mean([r["mixture"] for r in results], axis=0)
        shown = " ".join(f"{p:.2f} ({e:.1f})" for p, e in zip(mixture, results[0]["epochs"], strict=True))
        spread = [np.std(x, ddof=1) if len(x) > 1 else float("nan") for x in (loss, perplexity)]
        seconds = (time.process_time() - begin) / arguments.seeds
        print(f"{arm:18} {np.mean(loss):9.4f} ± {spread[0]:.4f} {np.mean(perplexity):9.3f} ± {spread[1]:.3f} "
              f"{seconds:8.1f}  {shown}", flush=True)  # fmt: skip
    print()
    for table, unit in ((losses, "nats"), (perplexities, "of perplexity")):
        for row in compare_arms(table, "stratified", unit=unit):
            print(row.sentence)
    print(proxy_note(results[0]["parameters"]))


if __name__ == "__main__":
    main()
