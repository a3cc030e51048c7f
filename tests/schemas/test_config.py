"""The config: strict keys, sentences that help, and a digest of just what can change a result."""

import json

import pytest

from tamis.jobs.config_file import load_config, override, parse_override
from tamis.pipeline.steps.registry import built_in, parse_config
from tamis.schemas.errors import ConfigError

INPUT = {"path": "a.jsonl", "source": "web"}


def config(**changes):
    return {"inputs": [INPUT], "steps": [{"language": {"keep": ["en"]}}, "exact_dedup"], **changes}


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        (config(stpes=[]), "unknown key 'stpes'; did you mean 'steps'"),
        (config(inputs=[INPUT | {"txet": "body"}]), "config.inputs[0].txet: unknown key 'txet'; did you mean 'text'"),
        (config(steps=[{"langauge": {}}]), "steps[0]: unknown step 'langauge'; did you mean 'language'"),
        (config(steps=[{"language": {"min_scor": 1}}]), "did you mean 'min_score'"),
        (config(steps=[{"perplexity": {"model": "m", "keep": {"percentle": [0, 1]}}}]), "did you mean 'percentile'"),
        (config(steps=[{"language": {"keep": [False]}}]), "quote language codes"),
        (config(steps=[{"perplexity": {"model": "m", "keep": {"min": 2, "max": 1}}}]), "min 2.0 is above max 1.0"),
        (config(steps=[{"perplexity": {"model": "m", "keep": {"by": ["source"]}}}]), "`by` is about each group"),
        (config(steps=[{"perplexity": {"model": "{language}.arpa"}}]), "needs `languages:"),
        (config(steps=[{"dsir": {}}]), "either `target`"),
        (config(steps=[{"language": {"keep": []}}]), "keeps no language"),
        (config(steps=[{"language": {"keep": "en"}}]), "expected a list, got 'en'"),
        (config(steps=[{"perplexity": {"model": "m", "keep": {"of": "bytes"}}}]), "`fraction` too"),
        (config(inputs=[{"path": "a", "sorce": "web"}]), "unknown key 'sorce'; did you mean 'source'"),
        (config(output={"path": ""}), "config.output.path"),
        (config(output={"shard_mb": float("inf")}), "config.output.shard_mb"),
        (config(steps=["exact_dedup", "exact_dedup"]), "two steps are called 'exact_dedup'"),
        (config(steps=["exact_dedup", "extract"]), "extract must be the first step"),
        (config(steps=[{"language": {}, "extract": {}}]), "expected one step"),
        (config(steps={"language": {}}), "steps: expected a list"),
        (config(inputs=[]), "config.inputs"),
        (config(inputs=[{"path": "a", "source": "a/b"}]), "config.inputs[0].source"),
        (config(inputs=[{"path": [], "source": "a"}]), "names no file"),
        (config(inputs=[{"path": None, "source": "a"}]), "path: expected a path, or a list of paths, got None"),
        (config(inputs=[{"path": 5, "source": "a"}]), "path: expected a path, or a list of paths, got 5"),
        (config(max_errors="101%"), "config.max_errors: expected less than or equal to 1"),
        (config(max_errors="few"), "config.max_errors: expected a valid number"),
        (config(seed=-1), "config.seed"),
        ([], "must be a mapping"),
    ],
)
def test_mistakes_are_named_with_what_was_meant(plain, said):
    with pytest.raises(ConfigError) as caught:
        parse_config(plain)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


NEEDS_OPTIONS = {"cluster", "combine", "decontaminate", "dsir", "label", "perplexity", "preselect", "quad", "repeat"}
NEEDS_OPTIONS |= {"rules", "score", "soft_dedup", "url_filter", "word_lists"}


@pytest.mark.parametrize("verb", built_in())
def test_every_step_has_a_bare_form_or_says_what_is_missing(verb):
    plain = config(steps=[verb])
    if verb in NEEDS_OPTIONS:
        with pytest.raises(ConfigError, match=rf"steps\[0\]\.{verb}"):
            parse_config(plain)
    else:
        assert verb in [step.verb for step in parse_config(plain).steps]


@pytest.mark.parametrize(("given", "share"), [("1%", 0.01), ("2.5 %", 0.025), (".5%", 0.005), (0.2, 0.2)])
def test_a_share_of_errors_may_be_in_percent(given, share):
    assert parse_config(config(max_errors=given)).max_errors == pytest.approx(share)


def test_digest_ignores_place_and_name_and_order_of_inputs():
    one, two = INPUT, {"path": ["c.jsonl", "b.jsonl"], "source": "books"}
    turned = {"path": ["b.jsonl", "c.jsonl"], "source": "books"}
    digest = parse_config(config(inputs=[one, two])).digest({})
    assert parse_config(config(inputs=[turned, one])).digest({}) == digest
    assert parse_config(config(inputs=[one, two], name="x", output={"path": "elsewhere"})).digest({}) == digest


def test_digest_names_whatever_can_change_a_result():
    base = parse_config(config()).digest({})
    changed = [
        config(seed=1),
        config(score="all"),
        config(steps=["exact_dedup"]),
        config(steps=[{"language": {"keep": ["de"]}}, "exact_dedup"]),
        config(inputs=[INPUT | {"text": "body"}]),
        config(output={"shard_mb": 1}),
    ]
    assert len({base, *(parse_config(plain).digest({}) for plain in changed)}) == len(changed) + 1


def test_a_model_counts_by_content_not_by_place():
    def of(path, sha256):
        plain = config(steps=[{"perplexity": {"model": path}}])
        return parse_config(plain).digest({"perplexity.quality": {"model": sha256}})

    assert of("a/m.arpa", "1") == of("b/m.arpa", "1") != of("a/m.arpa", "2")


def test_resolved_config_is_plain_json_and_parses_again():
    parsed = parse_config(config())
    resolved = parsed.resolved()
    assert parse_config(json.loads(json.dumps(resolved))) == parsed


def test_overrides_reach_into_steps_by_verb_and_position():
    plain = config(steps=["extract", {"language": None}])
    for pair in ("seed=7", "steps.language.min_score=0.5", "steps.0.engine=trafilatura", "output.shard_mb=8"):
        override(plain, *parse_override(pair))
    parsed = parse_config(plain)
    assert (parsed.seed, parsed.extract.engine, parsed.output.shard_mb) == (7, "trafilatura", 8)
    assert parsed.steps[1].min_score == 0.5


@pytest.mark.parametrize("pair", ["seed", "=1", "steps.languag.keep=[en]", "steps.9.x=1", "seed.x=1"])
def test_bad_overrides_are_sentences(pair):
    plain = config(seed=1)
    with pytest.raises(ConfigError, match="--set"):
        override(plain, *parse_override(pair))


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [", "line"), ("seed: 1\nseed: 2\n", "given twice"), ("just words", "must be a mapping"), ("", "mapping")],
)
def test_bad_files_are_sentences(tmp_path, text, said):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_config(str(path))


def test_a_missing_config_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        load_config(str(tmp_path / "absent.yaml"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"inputs": ["a.jsonl"]}, r"not 'a\.jsonl': write \[\{path: a\.jsonl, source: web\}\]"),
        ({"inputs": "a.jsonl"}, r"write \[\{path: a\.jsonl"),
        ({"inputs": {"path": "a", "source": "b"}}, "expected a list: write a - before the first input"),
        ({"inputs": []}, r"inputs: expected at least 1 entry, got \[\]"),
        ({"inputs": [{"path": "a", "source": "b", "delimiter": ";;"}]}, "delimiter: expected one character"),
        ({"inputs": [{"path": "a", "source": "b", "delimiter": '"'}]}, "no quote"),
    ],
)
def test_mistakes_that_beginners_make(changes, said):
    with pytest.raises(ConfigError, match=said):
        parse_config({"inputs": [{"path": "a.jsonl", "source": "web"}]} | changes)


def test_names_are_advised_where_steps_have_them():
    """A step that can't be named isn't told to be."""
    told = {}
    for verb, options in {
        "extract": {},
        "clean": {},
        "exact_dedup": {},
        "language": {},
        "heuristics": {},
        "dsir": {"target": "a"},
    }.items():
        with pytest.raises(ConfigError, match="two steps are called") as found:
            parse_config({"inputs": [{"path": "a", "source": "b"}], "steps": [{verb: options}, {verb: options}]})
        told[verb] = "`name`" in str(found.value)
        if told[verb]:
            step = {verb: options | {"name": "second"}}
            assert (
                len(parse_config({"inputs": [{"path": "a", "source": "b"}], "steps": [{verb: options}, step]}).steps)
                == 3
            )
    assert told == {verb: verb != "extract" for verb in told}


@pytest.mark.parametrize("name", ["doc_id", "text_bytes", "file", "step", "value"])
def test_an_inputs_column_may_not_take_the_name_of_one_of_ours(name):
    plain = {"inputs": [{"path": "a.jsonl", "source": "web", "columns": {name: "int64"}}]}
    with pytest.raises(ConfigError, match=f"'{name}' is a column"):
        parse_config(plain)
