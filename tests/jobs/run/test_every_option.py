"""Every option of `docs/config.md` changes a result: here by two small runs, or in the tests of its step.

An option that is new has to come into one of the two tables.
"""

import gzip
import json
import lzma
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

import tamis
from docs.build_reference import nested
from tamis.jobs.run.execute import execute
from tamis.jobs.run.plan import make_plan
from tamis.jobs.train.dsir import train_dsir
from tamis.pipeline.graph.engine import Engine
from tamis.pipeline.steps.registry import built_in, parse_config, step_class
from tamis.schemas.config import Config
from tamis.schemas.step import StepConfig
from tamis.scorers.dsir.features import NgramFeatures
from tamis.scorers.fasttext.training import FastTextOptions, train_classifier
from tamis.scorers.perplexity.training import train_lm
from tests.pipeline.formats.warc_files import article, http, record
from tests.source_tree import ROOT

MODELS = (Config, *(m for m in nested([Config, *map(step_class, built_in())]) if m is not StepConfig))

TESTED_THERE = {
    "cluster": "tests/jobs/run/test_cluster.py",
    "combine": "tests/jobs/run/test_combine.py",
    "decontaminate": "tests/jobs/run/test_decontaminate.py",
    "embed": "tests/jobs/run/test_embed*.py",
    "exact_dedup": "tests/jobs/run/test_exact_dedup.py|tests/jobs/run/test_index.py",
    "label": "tests/jobs/run/test_label.py",
    "madlad": "tests/jobs/run/test_madlad.py",
    "near_dedup": "tests/jobs/run/test_near_dedup.py|tests/jobs/run/test_index.py",
    "paragraph_dedup": "tests/jobs/run/test_repeats.py|tests/jobs/run/test_index.py",
    "pii": "tests/jobs/run/test_pii.py",
    "PricesConfig": "tests/jobs/run/test_requests.py",
    "quad": "tests/**/test_*quad*.py|tests/scorers/influence/*.py",
    "repair": "tests/jobs/run/test_repair.py",
    "repeat": "tests/jobs/run/test_repeat.py",
    "CurveOptions": "tests/jobs/run/test_repeat.py",
    "sample": "tests/jobs/run/test_sample.py|tests/jobs/run/test_soft_dedup.py",
    "soft_dedup": "tests/jobs/run/test_soft_dedup.py",
    "substring_dedup": "tests/jobs/run/test_repeats.py",
    "url_filter": "tests/jobs/run/test_url_filter.py",
    "WatchConfig": "tests/jobs/watch/*.py",
    "word_lists": "tests/jobs/run/test_word_lists.py",
}
"""Steps whose own tests give every option a value that changes a result."""
MIXTURES = "tests/jobs/mix/*.py|tests/jobs/experiment/*.py|tests/scorers/mixture/*.py|tests/pipeline/**/*.py"
"""Where the tests of what no step and no table has are: mixtures and experiments."""

LM = {"model": "lm"}
ARPA = {"model": "small.arpa"}
BAD = {"column": "text_bad_words", "op": "max", "threshold": 0, "reason": "bad"}
DSIR = {"target": "water.jsonl", "min_tokens": 1, "keep": {"fraction": 0.5}}
SCORE = {"scorer": "mine.py:Share", "column": "share", "keep": {"max": 0.09}}
RULE = {"column": "text_words", "op": "max", "threshold": 20, "reason": "long"}
WATER_HOME = {"water": "water.jsonl", "home": "home.jsonl"}

# "step.option": the step's options, and what is changed of them; None takes an option away.
STEPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "clean.variant": ({}, {"variant": "datatrove_fineweb"}),
    "clean.name": ({}, {"name": "other"}),
    "dsir.name": (DSIR, {"name": "other"}),
    "dsir.target": (DSIR, {"target": "home.jsonl"}),
    "dsir.model": (DSIR, {"target": None, "model": "dsir"}),
    "dsir.proportions": (DSIR | {"target": WATER_HOME}, {"proportions": {"water": 1, "home": 50}}),
    "dsir.text": (DSIR, {"text": "other"}),
    "dsir.ngrams": (DSIR, {"ngrams": 1}),
    "dsir.buckets": (DSIR, {"buckets": 8}),
    "dsir.hash": (DSIR | {"buckets": 16}, {"hash": "sha256"}),
    "dsir.smoothing": (DSIR, {"smoothing": 5.0}),
    "dsir.min_tokens": (DSIR, {"min_tokens": 25}),
    "dsir.normalise": (DSIR, {"normalise": "token"}),
    "dsir.chunk_tokens": (DSIR | {"normalise": "chunk"}, {"chunk_tokens": 5}),
    "dsir.tokens": (DSIR, {"tokens": "words"}),
    "dsir.tokenizer": (DSIR, {"tokenizer": "pieces.model"}),
    "dsir.max_ngrams": (DSIR, {"max_ngrams": 20}),
    "dsir.top_k": (DSIR, {"top_k": True}),
    "dsir.keep": (DSIR, {"keep": {"fraction": 0.2}}),
    "extract.engine": ({}, {"engine": "trafilatura"}),
    "extract.main_content": ({}, {"main_content": False}),
    "extract.max_page_bytes": ({}, {"max_page_bytes": 1000}),
    "extract.timeout": ({}, {"timeout": 0.01}),
    "extract.min_characters": ({}, {"min_characters": 74}),
    "extract.statuses": ({}, {"statuses": [404]}),
    "extract.content_types": ({}, {"content_types": ["text/plain"]}),
    "heuristics.presets": ({}, {"presets": ["gopher_quality"]}),
    "heuristics.thresholds": ({"presets": ["c4"]}, {"thresholds": {"c4.min_sentences": 1}}),
    "heuristics.rules": ({}, {"rules": [RULE]}),
    "heuristics.statistics": ({"rules": [RULE]}, {"statistics": "rules"}),
    "heuristics.name": ({}, {"name": "first"}),
    "heuristics.ellipsis": ({}, {"ellipsis": "spaced"}),
    "heuristics.bad_words": ({"rules": [BAD], "bad_words": "none.txt"}, {"bad_words": "words.txt"}),
    "language.keep": ({}, {"keep": ["de"]}),
    "language.min_score": ({}, {"min_score": 0.9}),
    "language.model": ({}, {"model": "classifier.bin"}),
    "language.name": ({}, {"name": "lang"}),
    "language.scripts": ({}, {"scripts": False}),
    "language.merge": ({}, {"merge": {"germanic": ["en", "de"]}}),
    "language.prefix": ({}, {"prefix": 4}),
    "near_dedup.seed": ({"shingle_size": 1, "bands": 2, "rows": 1}, {"seed": 2}),
    "perplexity.model": (LM, {"model": "lm-de"}),
    "perplexity.normalizer": (ARPA, {"normalizer": "none"}),
    "perplexity.policy": (ARPA, {"policy": "lines"}),
    "perplexity.mode": (ARPA, {"mode": "kenlm"}),
    "perplexity.name": (LM, {"name": "other"}),
    "perplexity.against": (LM, {"against": "lm-de"}),
    "perplexity.languages": ({"model": "lm-{language}", "languages": ["de"]}, {"languages": ["de", "en"]}),
    "perplexity.keep": (LM, {"keep": {"percentile": [0, 50]}}),
    "perplexity.threshold": ({"model": "harmful"}, {"threshold": "model"}),
    "perplexity.bucket": (LM, {"bucket": "corpus"}),
    "perplexity.bucket_percentiles": (LM | {"bucket": "corpus"}, {"bucket_percentiles": [10, 90]}),
    "perplexity.bucket_cuts": (LM | {"bucket": "corpus", "bucket_by": []}, {"bucket_cuts": {"all": [1.0, 2.0]}}),
    "perplexity.bucket_by": (LM | {"bucket": "corpus"}, {"bucket_by": []}),
    "preselect.model": ({"model": "preselect"}, {"model": "classifier.bin"}),
    "preselect.label": ({"model": "classifier.bin"}, {"label": "__label__0"}),
    "preselect.newline": ({"model": "classifier.bin"}, {"newline": "glue"}),
    "preselect.name": ({"model": "classifier.bin"}, {"name": "other"}),
    "preselect.keep": ({"model": "classifier.bin"}, {"keep": {"fraction": 0.5}}),
    "rules.rules": ({"rules": [RULE]}, {"rules": [RULE | {"threshold": 10}]}),
    "rules.name": ({"rules": [RULE]}, {"name": "other"}),
    "score.scorer": (SCORE, {"scorer": "mine.py:Other"}),
    "score.options": (SCORE, {"options": {"letter": "r"}}),
    "score.column": (SCORE, {"column": "count"}),
    "score.name": (SCORE, {"name": "other"}),
    "score.keep": (SCORE, {"keep": {"max": 0.05}}),
}
NO_RESULT = {"embed.device", "quad.device", "ProxyConfig.device", "ProxyConfig.threads"}
"""What only says where something is computed."""
ELSEWHERE = {
    **{f"heuristics.{name}": "tests/jobs/run/test_language_rules.py" for name in ("by", "languages", "other")},
    **dict.fromkeys(("Config.watch", "combine.cuts", "dsir.write_model", "sample.max_draw"), "tests/jobs/watch/*.py"),
    "Config.prices": "tests/jobs/run/test_requests.py",
    "language.engine": "tests/scorers/language/*.py",  # the other one is an extra
    "perplexity.tokenizer": "tests/scorers/perplexity/test_perplexity.py",  # a model has one that fits it
    "heuristics.splitter": "tests/scorers/statistics/test_text_statistics.py",  # the other one is an extra
}

SHORT = {"rules": [RULE]}
# "Model.option": a config, and what is changed of it, by path.
CONFIGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Config.name": ({}, {"name": "other"}),
    "Config.seed": ({"steps": [{"dsir": DSIR}]}, {"seed": 9}),
    "Config.inputs": ({}, {"inputs": [{"path": "more.jsonl", "source": "web"}]}),
    "Config.steps": ({}, {"steps": ["exact_dedup"]}),
    "Config.score": ({"steps": [{"heuristics": SHORT}, {"perplexity": LM}]}, {"score": "all"}),
    "Config.output": ({"inputs.0.path": "large.jsonl"}, {"output": {"shard_mb": 0.01}}),
    "Config.max_errors": ({"inputs.0.path": "broken.jsonl"}, {"max_errors": 0.9}),
    "Config.allow_empty": ({"inputs.0.path": "empty.jsonl"}, {"allow_empty": True}),
    "Config.limit": ({}, {"limit": 5}),
    "InputConfig.path": ({}, {"inputs.0.path": "more.jsonl"}),
    "InputConfig.source": ({}, {"inputs.0.source": "other"}),
    "InputConfig.format": ({"inputs.0.path": "texts.jsonl"}, {"inputs.0.format": "text"}),
    "InputConfig.text": ({}, {"inputs.0.text": "other"}),
    "InputConfig.id": ({}, {"inputs.0.id": "key"}),
    "InputConfig.url": ({}, {"inputs.0.url": "link"}),
    "InputConfig.timestamp": ({}, {"inputs.0.timestamp": "when"}),
    "InputConfig.columns": ({}, {"inputs.0.columns": {"n": "int64"}}),
    "InputConfig.html": ({}, {"inputs.0.html": True}),
    "InputConfig.encoding": (
        {"inputs.0.path": "latin.csv", "inputs.0.encoding": "latin-1"},
        {"inputs.0.encoding": "cp1251"},
    ),
    "InputConfig.delimiter": (
        {"inputs.0.path": "semicolons.csv", "inputs.0.text": "a", "inputs.0.delimiter": ";"},
        {"inputs.0.delimiter": ","},
    ),
    "InputConfig.unreadable": ({"inputs.0.path": "texts.parquet"}, {"inputs.0.unreadable": "record"}),
    "InputConfig.limits": ({}, {"inputs.0.limits": {"max_record_bytes": 200}}),
    "OutputConfig.path": ({}, {"output": {"path": "elsewhere"}}),
    "OutputConfig.shard_mb": ({"inputs.0.path": "large.jsonl"}, {"output": {"shard_mb": 0.01}}),
    "Limits.max_record_bytes": ({}, {"inputs.0.limits": {"max_record_bytes": 200}}),
    "Limits.max_expansion": (
        {"inputs.0.path": "blown.jsonl.gz"},
        {"inputs.0.limits": {"max_expansion": 5, "max_record_bytes": 4000}},
    ),
    "InputColumn.type": (
        {"inputs.0.columns": {"n": {"type": "int64"}}},
        {"inputs.0.columns": {"n": {"type": "string"}}},
    ),
    "InputColumn.field": (
        {"inputs.0.columns": {"n": {"type": "int64"}}},
        {"inputs.0.columns": {"n": {"type": "int64", "field": "m"}}},
    ),
    **{
        f"Keep.{option}": (
            {"steps": ["language", {"perplexity": LM | {"keep": base}}]},
            {"steps.1.perplexity.keep": keep},
        )
        for option, base, keep in (
            ("min", {}, {"min": 100.0}),
            ("max", {}, {"max": 100.0}),
            ("percentile", {}, {"percentile": [0, 40]}),
            ("by", {"percentile": [0, 40]}, {"percentile": [0, 40], "by": ["language"]}),
            ("fraction", {}, {"fraction": 0.4}),
            ("of", {"fraction": 0.4}, {"fraction": 0.4, "of": "characters"}),
            ("documents", {}, {"documents": 3}),
            ("bytes", {}, {"bytes": 500}),
            ("tokens", {}, {"tokens": 60}),
            ("thresholds", {"fraction": 0.4}, {"fraction": 0.4, "thresholds": 1000.0}),
            ("best", {"documents": 3}, {"documents": 3, "best": "high"}),
        )
    },
    **{
        f"Rule.{option}": ({"steps": [{"heuristics": SHORT}]}, {f"steps.0.heuristics.rules.0.{option}": value})
        for option, value in (("column", "text_characters"), ("op", "min"), ("threshold", 10), ("reason", "other"))
    },
}

SCORER = """
import pyarrow as pa
class Share:
    schema = pa.schema([pa.field(name, pa.float64(), nullable=False) for name in ("share", "count")])
    def __init__(self, letter="e"):
        self.letter = letter
    def score(self, texts):
        texts = [text or "" for text in pa.array(texts).to_pylist()]
        count = [float(text.count(self.letter)) for text in texts]
        share = [found / max(1, len(text)) for found, text in zip(count, texts)]
        return pa.RecordBatch.from_arrays([pa.array(share), pa.array(count)], schema=self.schema)
class Other(Share):
    def __init__(self):
        super().__init__("n")
"""
ENGLISH = re.findall(
    r"\w+", "the river runs over bright stones to a quiet garden while winter music fills every window of our house"
)
GERMAN = re.findall(
    r"\w+", "der Fluss fließt über helle Steine in einen stillen Garten und die Musik des Winters füllt jedes Fenster"
)


def _texts(draw: random.Random) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for number in range(30):
        words = GERMAN if number % 4 == 3 else ENGLISH
        text = "\n".join(
            " ".join(draw.choices(words, k=draw.randint(3, 14))).capitalize() + "." for _ in range(number % 4 + 1)
        )
        row = {"text": text, "other": f"<p>{' '.join(draw.choices(words, k=12))}</p>", "key": number, "n": number}
        rows.append(
            row | {"m": -number, "link": f"https://a.example/{number}", "when": f"2024-01-{number % 28 + 1:02d}"}
        )
    rows.append({"text": "Lorem ipsum { javascript must be enabled\nRiver stones, e", "n": 30})
    rows.append(rows[0] | {"n": 31})
    rows += [{"text": "The river runs . . .\nand on . . .", "n": 32}, {"text": "12 34 - 56", "n": 33}]
    return rows


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, golden: Path, examples: Path) -> Path:
    """A folder with inputs, models and lists that the tables name."""
    root = tmp_path_factory.mktemp("options")
    draw = random.Random(3)
    rows = _texts(draw)
    (root / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (root / "more.jsonl").write_text("\n".join(map(json.dumps, rows[5:20])) + "\n")
    (root / "broken.jsonl").write_text(json.dumps(rows[0]) + '\n{"text":\n')
    (root / "empty.jsonl").write_text("\n")
    (root / "latin.csv").write_bytes("text\nFlüsse fließen über Steine\n".encode("latin-1"))
    (root / "semicolons.csv").write_text("a,b;a\none, two;three\n")
    (root / "texts.parquet").write_bytes(b"PAR1 no Parquet at all")
    (root / "blown.jsonl.gz").write_bytes(gzip.compress(json.dumps({"text": "a " * 200_000}).encode()))
    pages = [
        article("one"),
        article("two") + b"<p>more</p>" * 200,
        article("three and more of it"),
        b"<div>" * 2500 + b"deep",
    ]
    records = [record(http(page), name=str(i), uri=f"http://a.example/{i}") for i, page in enumerate(pages)]
    records.append(record(http(article("missing"), status="404 Not Found")))
    records.append(record(http(b"plain words about rivers", headers="Content-Type: text/plain\r\n")))
    (root / "pages.warc").write_bytes(b"".join(records))
    (root / "large.jsonl").write_text(
        "".join(json.dumps({"text": f"{draw.random()} river"}) + "\n" for _ in range(5000))
    )
    harmful = zstandard.ZstdDecompressor().stream_reader((examples / "corpus" / "harmful_like.jsonl.zst").read_bytes())
    (root / "harmful.jsonl").write_bytes(b"".join(harmful.read().splitlines(keepends=True)[:200]))
    (root / "words.txt").write_text("music\n")
    (root / "none.txt").write_text("unheard-of\n")
    (root / "mine.py").write_text(SCORER)
    for name, words in (("water", ENGLISH[:9]), ("home", ENGLISH[9:])):
        lines = [
            json.dumps({"text": " ".join(draw.choices(words, k=40)), "other": " ".join(GERMAN)}) for _ in range(20)
        ]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    for name, words in (("lm", ENGLISH), ("lm-en", ENGLISH), ("lm-de", GERMAN)):
        train_lm([" ".join(draw.choices(words, k=30)) for _ in range(40)], root / name, order=2, use_lmplz=False)
    texts = [row["text"] for row in rows]
    labels = ["1" if "garden" in text else "0" for text in texts]
    train_classifier(
        texts, labels, root / "made", options=FastTextOptions(dim=4, bucket=500, word_ngrams=2), held_out=0
    )
    (root / "classifier.bin").write_bytes(next((root / "made").glob("*.bin")).read_bytes())
    for name, packed in (
        ("small.arpa", "kenlm_small3.arpa.xz"),
        ("pieces.arpa", "kenlm_sp5.arpa.xz"),
        ("pieces.model", "sp_small.model.xz"),
    ):
        (root / name).write_bytes(lzma.decompress((golden / packed).read_bytes()))
    for name in ("harmful", "preselect"):
        (root / name).symlink_to(examples / "models" / name)
    train_dsir([str(root / "texts.jsonl")], {"": [str(root / "home.jsonl")]}, str(root / "dsir"), NgramFeatures())
    return root


@pytest.fixture(scope="module")
def outcome(project: Path) -> Callable[[dict[str, Any]], str]:
    """A function from a config to all that a run of it leaves, and says."""
    known: dict[str, str] = {}

    def go(config: dict[str, Any]) -> str:
        told = json.dumps(config, sort_keys=True)
        if told not in known:
            known[told] = _outcome(config, project, len(known))
        return known[told]

    return go


def _outcome(config: dict[str, Any], project: Path, number: int) -> str:
    named = config.get("output", {}).get("path")
    folder = str(project / (named or f"runs/{number}"))
    try:
        plan = make_plan(parse_config(config), config, str(project / "config.yaml"))
        with Engine(f"{folder}/work/passes") as engine:
            finished = execute(plan, folder, engine, cache=str(project / "cache"))
    except tamis.TamisError as error:
        return f"{type(error).__name__}: {error}"
    run = tamis.open(folder)
    rows = run.sql("SELECT * FROM documents ORDER BY doc_id").to_pylist()
    errors = run.errors().to_table().to_pylist()
    shards = len(finished.manifest.shards)
    return repr([rows, errors, shards, finished.manifest.name, finished.problems, named])


def changed(config: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return a copy with other values at dotted paths."""
    copy: dict[str, Any] = json.loads(json.dumps(config))
    for path, value in changes.items():
        at: Any = copy
        *parts, last = path.split(".")
        for part in parts:
            at = at[int(part)] if part.isdigit() else at[part]
        at[last] = value
    return copy


def names(model: Any) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def options() -> dict[str, str]:
    """Every option to the kind of thing that has it."""
    found = {f"{verb}.{name}": verb for verb in built_in() for name in names(step_class(verb))}
    return found | {f"{model.__name__}.{name}": model.__name__ for model in MODELS for name in names(model)}


def test_every_option_has_a_test() -> None:
    tables = {**STEPS, **CONFIGS, **ELSEWHERE}
    missing = []
    for option, owner in options().items():
        name = option.partition(".")[2]
        place = ELSEWHERE.get(option) or (
            "" if option in tables else TESTED_THERE.get(owner, MIXTURES if owner[0].isupper() else "")
        )
        found = option in tables
        if place:
            given = rf"""["']{name}["']|\b{name}(=|: )"""
            files = [file for pattern in place.split("|") for file in ROOT.glob(pattern)]
            found = any(re.search(given, file.read_text("utf-8")) for file in files)
        if not found and option not in NO_RESULT:
            missing.append(f"{option}{f' (not in {place})' if place else ''}")
    assert missing == []
    assert sorted(set(tables) - set(options())) == []


@pytest.mark.slow
@pytest.mark.parametrize("option", STEPS)
def test_an_option_of_a_step_changes_a_result(option: str, outcome: Callable[[dict[str, Any]], str]) -> None:
    verb, _, name = option.partition(".")
    base, changes = STEPS[option]
    assert name in changes
    before: list[Any] = {"rules": ["heuristics"], "perplexity": ["language"]}.get(verb, [])
    paths = {"extract": "pages.warc", "perplexity": "harmful.jsonl" if name == "threshold" else "texts.jsonl"}
    source = {"path": paths.get(verb, "texts.jsonl"), "source": "web"}

    def config(step: dict[str, Any]) -> dict[str, Any]:
        given = {key: value for key, value in step.items() if value is not None}
        return {"inputs": [source], "steps": [*before, {verb: given}], "max_errors": 1, "allow_empty": True}

    first, second = outcome(config(base)), outcome(config(base | changes))
    assert not first.startswith(("ConfigError", "ModelError", "InputError", "DataError", "RunError")), first
    assert not second.startswith(("ConfigError", "ModelError", "InputError", "DataError", "RunError")), second
    assert first != second


@pytest.mark.slow
@pytest.mark.parametrize("option", CONFIGS)
def test_an_option_of_the_config_changes_a_result(option: str, outcome: Callable[[dict[str, Any]], str]) -> None:
    plain = {"inputs": [{"path": "texts.jsonl", "source": "web"}], "steps": [], "seed": 1}
    base, changes = CONFIGS[option]
    first = changed(plain, base)
    second = changed(first, changes)
    assert outcome(first) != outcome(second)
    assert not outcome(second).startswith(("ConfigError", "ModelError", "DataError", "RunError")), outcome(second)


def test_no_cell_of_the_reference_is_empty() -> None:
    page = (ROOT / "docs" / "config.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("|")]
    cells = [cell.strip() for line in rows for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    assert len(cells) > 800
    assert "" not in cells
