"""URL lists, thresholds, buckets and the model of harmful text, on invented words."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, DataError, InputError, ModelError
from tamis.scorers.models.folder import read_model_folder
from tamis.scorers.perplexity.buckets import (
    ANY,
    CCNET_CUTOFFS,
    buckets,
    cutoffs,
    percentile_table,
    store_percentiles,
    stored_percentiles,
)
from tamis.scorers.perplexity.calibration import calibrate, evaluate, group_split
from tamis.scorers.perplexity.harmful import label_documents, train_harmful
from tamis.scorers.perplexity.perplexity import NgramPerplexity
from tamis.scorers.perplexity.plot import plot_perplexities
from tamis.scorers.perplexity.training import train_lm
from tamis.scorers.urls.lists import UrlList, host_of

DOMAINS = ["bad.example", "www.worse.example", "192.0.2.7", "münchen.example"]
URLS = ["host.example/sub/page", "https://secure.example/x", "http://plain.example/y", "top.example"]


@pytest.mark.parametrize(
    ("url", "in_22", "in_23"),
    [
        ("https://bad.example/any?q#f", True, True),
        ("http://bad.example", True, True),
        ("bad.example/any", True, True),
        ("HTTPS://BAD.example:8080/", True, True),
        ("https://www.bad.example/", False, True),
        ("https://a.b.bad.example/", False, True),
        ("https://notbad.example/", False, False),
        ("https://example/", False, False),
        ("https://worse.example/", False, False),
        ("https://www.worse.example/", True, True),
        ("http://192.0.2.7/x", True, True),
        ("https://münchen.example/", True, True),
        ("https://xn--mnchen-3ya.example/", True, True),
        ("https://host.example/sub/page?x=1#y", True, True),
        ("http://host.example/sub/page", True, False),
        ("host.example/sub/page", True, True),
        ("https://host.example/sub/page/", False, False),
        ("https://host.example/sub", False, False),
        ("https://secure.example/x", False, True),
        ("http://plain.example/y", False, True),
        ("https://plain.example/y", False, False),
        ("https://top.example", False, True),
        ("", False, False),
        (None, False, False),
        ("not a url", False, False),
        ("https://[broken", False, False),
    ],
)
def test_url_lists(url: str | None, in_22: bool, in_23: bool) -> None:
    assert UrlList(DOMAINS, URLS, semantics="22.01").matches([url]).tolist() == [in_22]
    assert UrlList(DOMAINS, URLS, semantics="23.01").matches([url]).tolist() == [in_23]


def test_parents_can_be_chosen() -> None:
    urls = ["https://www.bad.example/"]
    assert UrlList(DOMAINS, semantics="22.01", parents=True).matches(urls).tolist() == [True]
    assert UrlList(DOMAINS, semantics="23.01", parents=False).matches(urls).tolist() == [False]
    with pytest.raises(ConfigError, match="in 22"):
        UrlList([], semantics="24")  # type: ignore[arg-type]


def test_lists_are_read_from_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a file `domains` nor `urls`"):
        UrlList.read(tmp_path)
    (tmp_path / "domains").write_bytes(b"bad.example\n\nother.example\r\n\xff\n")
    (tmp_path / "urls.gz").write_bytes(gzip.compress(b"x.example/y\n"))
    found = UrlList.read(tmp_path)
    urls = pa.array(["https://a.other.example", "https://x.example/y", None, "https://x.example/z"])
    assert found.matches(urls).tolist() == [True, True, False, False]
    (tmp_path / "urls.gz").write_bytes(b"not gzip")
    with pytest.raises(InputError, match="can't be read"):
        UrlList.read(tmp_path)


def test_hosts() -> None:
    assert host_of("http://User@A.Example:80/x") == "a.example"
    assert host_of(None) == host_of("?") == ""


PERPLEXITIES = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, 5.0, 8.0, np.nan]), st.booleans()), min_size=2)


def by_hand(values: list[float], labels: list[bool], threshold: float) -> float:
    scores = []
    for kind in (True, False):
        said = [(value < threshold) == kind for value in values]
        right = sum(a and b == kind for a, b in zip(said, labels, strict=True))
        total = sum(said) + labels.count(kind)
        scores.append(2 * right / total if total else 0.0)
    return sum(scores) / 2


@given(PERPLEXITIES)
def test_the_threshold_is_the_best_there_is(pairs: list[tuple[float, bool]]) -> None:
    values, labels = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    known = {label for value, label in pairs if not np.isnan(value)}
    if len(known) < 2:
        with pytest.raises(DataError, match="both harmful and clean"):
            calibrate(values, labels)
        return
    found = calibrate(values, labels)
    best = max(by_hand(values, labels, threshold) for threshold in (0.5, 1.5, 2.5, 4, 6, 9))
    assert found.best.macro_f1 == pytest.approx(best)
    assert by_hand(values, labels, found.threshold) == pytest.approx(best)
    assert max(found.macro_f1) == pytest.approx(best)
    for threshold, score in zip(found.thresholds, found.macro_f1, strict=True):
        assert score == pytest.approx(by_hand(values, labels, threshold))


def test_metrics() -> None:
    metrics = evaluate([1, 2, 3, 4, np.nan], [True, False, True, False, True], 2.5)
    assert (metrics.harmful_precision, metrics.harmful_recall) == (1 / 2, 1 / 3)
    assert (metrics.clean_precision, metrics.clean_recall) == (1 / 3, 1 / 2)
    assert metrics.accuracy == 2 / 5
    assert (metrics.harmful, metrics.clean) == (3, 2)
    assert calibrate([1, 2, 3, 9], [True, True, False, False], candidates=100).best.macro_f1 == 1
    assert evaluate([], [], 1).macro_f1 == 0


def test_groups_are_never_split() -> None:
    groups = [f"host{i % 300}" for i in range(3000)]
    split = group_split(groups, validation=0.2, test=0.3, seed=3)
    assert len({(group, part) for group, part in zip(groups, split, strict=True)}) == 300
    shares = {part: np.mean(split == part) for part in ("train", "validation", "test")}
    assert shares["validation"] == pytest.approx(0.2, abs=0.07)
    assert shares["test"] == pytest.approx(0.3, abs=0.07)
    assert (group_split(groups, seed=3) == group_split(groups, seed=3)).all()
    assert (group_split(groups, seed=3) != group_split(groups, seed=4)).any()
    assert (group_split(groups[::-1], seed=3)[::-1] == group_split(groups, seed=3)).all()
    with pytest.raises(ConfigError, match="leave some groups"):
        group_split(groups, validation=0.5, test=0.5)


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plots_are_the_same_bytes_again(tmp_path: Path, suffix: str) -> None:
    values, labels = [1, 10, 100, 1000, np.nan, np.inf], [True, True, False, False, True, False]
    paths = [tmp_path / f"{i}{suffix}" for i in range(2)]
    for path in paths:
        plot_perplexities(values, labels, path, threshold=50, title="words")
    assert paths[0].read_bytes() == paths[1].read_bytes()
    plot_perplexities([], [], tmp_path / f"empty{suffix}")


def test_plots_have_two_formats(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.png or \.svg"):
        plot_perplexities([1], [True], tmp_path / "a.pdf")


def corpus(count: int = 600) -> pa.Table:
    """Documents of two vocabularies that overlap, from 60 hosts; every third host is on the list."""
    draw = random.Random(9)
    shared = [f"s{i}" for i in range(50)]
    own = {True: [f"h{i}" for i in range(30)], False: [f"c{i}" for i in range(200)]}
    rows = []
    for i in range(count):
        host = i % 60
        harmful = host % 3 == 0
        words = [draw.choice(own[harmful] if draw.random() < 0.4 else shared) for _ in range(30)]
        rows.append({"text": " ".join(words), "url": f"https://h{host}.{'bad' if harmful else 'good'}.example/{i}"})
    return pa.Table.from_pylist(rows)


def test_from_labelled_documents_to_a_tested_threshold(tmp_path: Path) -> None:
    labelled = label_documents([corpus()], urls=UrlList(["bad.example"]))
    assert labelled.harmful.sum() == 200
    trained = train_harmful(labelled, tmp_path / "lm", validation=0.3, test=0.3, order=3, provenance={"list": "test"})
    assert trained.validation.macro_f1 > 0.95
    assert trained.test is not None
    assert trained.test.macro_f1 > 0.9
    assert trained.test.harmful + trained.test.clean == sum(trained.documents["test"])
    folder = read_model_folder(tmp_path / "lm")
    assert folder.settings["threshold"] == trained.calibration.threshold
    assert folder.settings["mode"] == "oscar"
    assert sorted(folder.files) == ["lm.arpa", "lm.binary", "perplexity.svg"]
    assert folder.provenance["test"]["macro_f1"] == trained.test.macro_f1
    assert folder.provenance["split"]["train"]["harmful"] == trained.documents["train"][0]
    assert len(folder.provenance["sweep"]) <= 100
    scorer = NgramPerplexity(tmp_path / "lm", name="harmful")
    low, high = scorer.score(["h1 h2 s1 h3", "c1 c2 c3 s1"]).column("harmful_perplexity").to_pylist()
    assert low < trained.calibration.threshold < high


def test_labels_from_a_column() -> None:
    table = pa.table(
        {
            "body": ["a", "b", "c", "", "e", "f"],
            "label": pa.array(["harmful", "clean", None, "harmful", "YES", "0"]),
            "source": ["x", "y", "z", "x", None, "x"],
        }
    )
    found = label_documents(table.to_batches(), label="label", text="body")
    assert found.texts == ["a", "b", "e", "f"]
    assert found.harmful.tolist() == [True, False, True, False]
    assert found.groups == ["x", "y", "", "x"]
    numbers = pa.table({"text": ["a", "b"], "bad": [1, 0], "url": ["https://h.example/a", None], "source": ["s", "s"]})
    found = label_documents([numbers], label="bad")
    assert (found.harmful.tolist(), found.groups) == ([True, False], ["h.example", "s"])
    assert label_documents([numbers], label="bad", group="source").groups == ["s", "s"]


def test_labels_are_asked_for_in_one_way() -> None:
    table = pa.table({"text": ["a"]})
    with pytest.raises(ConfigError, match="give one of the two"):
        label_documents([table])
    with pytest.raises(DataError, match="no column 'url'"):
        label_documents([table], urls=UrlList(DOMAINS))
    with pytest.raises(DataError, match="no column 'bad'; they have text"):
        label_documents([table], label="bad")


def test_splits_by_name_and_what_they_lack(tmp_path: Path) -> None:
    labelled = label_documents([corpus()], urls=UrlList(["bad.example"]))
    hosts = sorted(set(labelled.groups))
    splits: dict[str, Any] = {host: ("train", "validation")[i % 2] for i, host in enumerate(hosts)}
    trained = train_harmful(labelled, tmp_path / "a", splits=splits, order=2)
    assert trained.test is None
    assert json.loads((tmp_path / "a" / "model.json").read_text())["provenance"]["test"] is None
    with pytest.raises(ConfigError, match="not 'dev'"):
        train_harmful(labelled, tmp_path / "b", splits={hosts[0]: "dev"})
    with pytest.raises(DataError, match="no document in the training groups is harmful"):
        train_harmful(labelled, tmp_path / "b", splits=dict.fromkeys(hosts, "test"))
    with pytest.raises(DataError, match="no document in the validation groups is harmful"):
        train_harmful(labelled, tmp_path / "b", splits=dict.fromkeys(hosts, "train"))
    near = hosts[0][:-1]
    with pytest.raises(ConfigError, match=f"'{near}' that --splits names; did you mean"):
        train_harmful(labelled, tmp_path / "b", splits={near: "train"})


def test_cc_nets_buckets(golden: Path) -> None:
    reference = json.loads((golden / "ccnet_sp_kenlm.json").read_text())
    expected = {k: (v["head_below(p30)"], v["middle_below(p60)"]) for k, v in reference["cutoffs"].items()}
    assert expected == CCNET_CUTOFFS
    cases = reference["cases"]
    found = buckets([case["perplexity"] for case in cases], ["en"] * len(cases))
    assert found.to_pylist() == [case["bucket_en"] for case in cases]
    values = [339.9, 339.96, 340, 519.9, 520, None, float("nan"), 1.0]
    languages = ["en"] * 7 + ["xx"]
    assert buckets(values, languages).to_pylist() == ["head", "head", "middle", "middle", "tail", "all", "all", "all"]
    assert buckets(values, languages, decimals=1).to_pylist()[:2] == ["head", "middle"]


def test_buckets_by_a_models_own_table(tmp_path: Path) -> None:
    perplexity = pa.array([*range(100), *range(1000, 1100), None], pa.float64())
    language = ["en"] * 100 + ["de"] * 100 + ["de"]
    source = ["a", "b"] * 100 + ["a"]
    table = percentile_table(perplexity, language, source)
    assert set(table) == {ANY, "en", "de"}
    assert set(table["en"]) == {ANY, "a", "b"}
    assert table["en"][ANY] == pytest.approx(np.percentile(np.arange(100), np.arange(101)))
    assert cutoffs(table, "de", "unseen", (50,)) == pytest.approx((1049.5,))
    assert cutoffs(table, "fr", "a") is None
    found = buckets(perplexity, language, source, table=table).to_pylist()
    assert [found.count(name) for name in ("head", "middle", "tail", "all")] == [60, 60, 80, 1]
    halves = buckets([10, 60], ["en", "en"], table=table, at=[50], names=["low", "high"])
    assert halves.to_pylist() == ["low", "high"]
    alone = percentile_table([1.0, 2.0, 3.0])
    assert buckets([1.0, 3.0], ["en", "de"], table=alone).to_pylist() == ["head", "tail"]
    assert percentile_table([None], ["en"]) == {}
    model = train_lm(["a b"], tmp_path, order=2).folder
    with pytest.raises(ModelError, match="no percentile table"):
        stored_percentiles(model)
    stored = stored_percentiles(store_percentiles(model, table))
    assert stored == table
    assert stored_percentiles(read_model_folder(tmp_path)) == table


def test_wrong_buckets_are_refused() -> None:
    with pytest.raises(ConfigError, match="must ascend"):
        buckets([1.0], ["en"], at=(60, 30))
    with pytest.raises(ConfigError, match="3 buckets, but there are 2 names"):
        buckets([1.0], ["en"], names=["a", "b"])
    with pytest.raises(ConfigError, match="percentiles 30 and 60"):
        buckets([1.0], ["en"], at=(10, 20))
    with pytest.raises(ConfigError, match="'mine'"):
        buckets([1.0], ["en"], table="mine")
