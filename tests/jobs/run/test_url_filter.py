"""`url_filter`: which list and which word matched, what that rejects, and what makes a run match again."""

import gzip
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tamis.schemas.errors import ConfigError, ModelError
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, models_of, parsed

URLS = [
    "https://www.bad.example/page?x=1",
    "http://sub.bad.example:8080/",
    "https://forum.example/t/adult/5",
    "https://forum.example/t/cooking/5",
    "https://ads.example/banner/1.html",
    "https://good.example/casino-night/win",
    "https://good.example/cash/win",
    "https://good.example/free-po-rn",
    "https://good.example/",
    None,
    "not a url",
]


@pytest.fixture
def lists(tmp_path):
    """A folder of UT1, a plain list, a gzipped hosts file and an Adblock list."""
    adult = tmp_path / "adult"
    adult.mkdir()
    (adult / "domains").write_text("bad.example\n")
    (adult / "urls").write_text("forum.example/t/adult/5\n")
    (tmp_path / "plain.txt").write_text("# remark\nads.example\nbad.example\n")
    (tmp_path / "hosts.gz").write_bytes(gzip.compress(b"0.0.0.0 forum.example\n"))
    (tmp_path / "rules.txt").write_text(
        "! remark\n||ads.example/banner^\n@@||sub.bad.example^\n||bad.example^\n/ads/\n"
    )
    return tmp_path


def of_all_forms(folder):
    return {
        "lists": {"mine": str(folder / "plain.txt"), "adult": str(folder / "adult")},
        "adblock": {"block": str(folder / "rules.txt")},
    }


def column(rows, name):
    return [row[name] for row in rows]


def test_lists_of_every_form_and_what_they_name(lists):
    step = parsed(
        "url_filter",
        lists={"mine": str(lists / "plain.txt"), "adult": str(lists / "adult"), "hosts": str(lists / "hosts.gz")},
        adblock={"block": str(lists / "rules.txt")},
    )
    rows = columns_of(step, url=URLS)
    assert column(rows, "url_lists") == [
        "adult block mine", "adult mine", "adult hosts", "hosts", "block mine", *[None] * 6,
    ]  # fmt: skip
    assert column(rows, "url_matched") == ["host", "host", "url", "host", "part", *[None] * 6]
    assert set(column(rows, "url_words")) == {None}


def test_folders_as_oscar_matches_them(lists):
    def named(folders):
        step = parsed("url_filter", lists={"adult": str(lists / "adult")}, folders=folders)
        return [row is not None for row in column(columns_of(step, url=URLS), "url_lists")][:4]

    assert named("hosts") == [True, True, True, False]
    assert named("oscar_22.01") == [False, False, True, False]  # www. and sub. are hosts of their own
    assert named("oscar_23.01") == [True, True, True, False]


def test_words_soft_words_and_parts(lists):
    (lists / "words.txt").write_text("# remark\ncasino\n\nadult\n")
    words = {"words": str(lists / "words.txt"), "soft_words": ["win", "cash", "night"], "parts": ["porn"]}
    rows = columns_of(parsed("url_filter", **words), url=URLS)
    found = dict(zip(URLS, column(rows, "url_words"), strict=True))
    assert found["https://forum.example/t/adult/5"] == "words:adult"
    assert found["https://good.example/casino-night/win"] == "words:casino soft_words:night+win"
    assert found["https://good.example/cash/win"] == "soft_words:cash+win"
    assert found["https://good.example/free-po-rn"] == "parts:porn"
    assert sum(value is not None for value in found.values()) == 4
    three = columns_of(parsed("url_filter", **words, soft_least=3), url=URLS)
    assert column(three, "url_words")[6] is None
    inline = columns_of(parsed("url_filter", words=["casino", "adult"], name="address"), url=URLS)
    assert [row["address_words"] for row in inline] == [
        value and value.partition(" ")[0] if value and value.startswith("words") else None for value in found.values()
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=40), st.sampled_from(["", "http://", "https://user@", "//", "http://["]))
def test_any_text_in_the_place_of_a_url(lists, text, before):
    step = parsed("url_filter", **of_all_forms(lists), words=["casino"], parts=["porn"])
    (row,) = columns_of(step, url=[before + text])
    assert row["url_lists"] is None or row["url_matched"] in ("host", "url", "part")


def config(folder, **options):
    path = folder / "pages.jsonl"
    lines = [{"id": str(i), "text": f"page {i}", "url": url} for i, url in enumerate(URLS)]
    lines[-1]["url"] = None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = {
        "lists": {"mine": str(folder / "plain.txt"), "adult": str(folder / "adult")},
        "words": ["casino"],
        "soft_words": ["win", "cash"],
        **options,
    }
    return {"inputs": [{"path": str(path), "source": "web"}], "steps": [{"url_filter": given}]}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["adult", "adult", "adult", None, "mine", "words", "soft", None, None, None, None]),
        ({"reject": ["mine"]}, ["mine", "mine", None, None, "mine", *[None] * 6]),
        ({"reject": ["soft_words", "mine"]}, ["mine", "mine", None, None, "mine", None, "soft", *[None] * 4]),
        ({"reject": []}, [None] * 11),
        ({"allow": ["adult"]}, [None, None, None, None, "mine", "words", "soft", *[None] * 4]),
        ({"reject": [], "no_url": "reject"}, [*[None] * 9, "missing", "missing"]),
    ],
)
def test_what_rejects(lists, run, tmp_path, options, expected):
    manifest = run(config(lists, **options))
    rows = {int(json.loads(row["meta"])["id"]): row for row in every_row(manifest, tmp_path / "run")}
    names = {"adult": "url_list_adult", "mine": "url_list_mine", "words": "url_words", "soft": "url_soft_words"}
    names |= {"missing": "url_missing"}
    fates = [rows[i]["rule"] if rows[i]["fate"] == "rejected" else None for i in range(len(URLS))]
    assert fates == [name and names[name] for name in expected]
    if not options:
        assert digests(run(config(lists, **options), "two", workers=2)) == digests(manifest)


@pytest.mark.parametrize("reject", [None, [], ["robots"]])
def test_opt_outs_are_a_column_and_reject_where_they_are_named(lists, run, tmp_path, reject):
    (lists / "robots.txt").write_text("||good.example^\n||ads.example/banner\n")
    given = {"lists": {}, "words": None, "soft_words": None, "opt_out": {"robots": str(lists / "robots.txt")}}
    options = {**given, "lists": {"mine": str(lists / "plain.txt")}}
    if reject is not None:
        options["reject"] = reject
    manifest = run(config(lists, **options))
    rows = {int(json.loads(row["meta"])["id"]): row for row in every_row(manifest, tmp_path / "run")}
    marked = [rows[i]["opt_out"] for i in range(len(URLS))]
    assert marked == [*[None] * 4, *["robots"] * 5, None, None]
    assert [rows[i]["url_lists"] for i in range(5)] == ["mine", "mine", None, None, "mine"]
    fell = {i for i in rows if rows[i]["fate"] == "rejected"}
    assert fell == {(): set(), ("robots",): {4, 5, 6, 7, 8}}.get(None if reject is None else tuple(reject), {0, 1, 4})
    named = {rows[i]["rule"] for i in fell}
    assert named == ({"url_list_robots"} if reject else {"url_list_mine"} if reject is None else set())


def test_opt_outs_of_a_step_with_a_name(lists):
    (lists / "tdm.txt").write_text("forum.example/t/adult/5\n")
    step = parsed("url_filter", opt_out={"tdm": str(lists / "tdm.txt"), "more": str(lists / "adult")}, name="rights")
    rows = columns_of(step, url=URLS)
    assert column(rows, "rights_opt_out") == ["more", "more", "more tdm", *[None] * 8]
    assert set(column(rows, "rights_lists")) == {None}
    assert not step.can_reject


def test_what_a_list_holds_counts_and_not_where_it_lies(lists, run, tmp_path):
    def columns():
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "run/work").glob("*url_filter-columns*/*.arrow")}

    run(config(lists))
    first = columns()
    (lists / "plain.txt").rename(lists / "moved.txt")
    moved = {"mine": str(lists / "moved.txt"), "adult": str(lists / "adult")}
    run(config(lists, lists=moved, reject=["mine"]))
    assert columns() == first
    (lists / "moved.txt").write_text("good.example\n")
    manifest = run(config(lists, lists=moved, reject=["mine"]))
    assert manifest.selected == len(URLS) - 4
    assert columns() != first
    again = columns()
    run(config(lists, lists=moved, reject=["mine"], words=["banner"]))  # words given here are no file, and count too
    assert columns() != again


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({}, "nothing to match"),
        ({"lists": {"a": "x"}, "adblock": {"a": "y"}}, "under `lists` and `adblock`"),
        ({"lists": {"a-b": "x"}}, "a list's name"),
        ({"lists": {"words": "x"}}, "a list's name"),
        ({"lists": {"adult": "x"}, "reject": ["adlt"]}, "did you mean 'adult'"),
        ({"lists": {"adult": "x"}, "reject": ["words"]}, "reject: there is no 'words'"),
        ({"lists": {"a": "x"}, "opt_out": {"a": "y"}}, "under `lists` and `opt_out`"),
        ({"opt_out": {"robots": "x"}, "allow": ["robots"]}, "allow: there is no 'robots'"),
        ({"words": ["x"], "allow": ["words"]}, "allow: there is no 'words'"),
        ({"lists": {"a": "x"}, "allow": ["a"], "reject": ["a"]}, "`allow` and `reject`"),
    ],
)
def test_mistakes(options, told):
    with pytest.raises(ConfigError, match=told):
        parsed("url_filter", **options)


def test_files_that_are_none(lists):
    step = parsed("url_filter", lists={"a": str(lists / "absent.txt")})
    with pytest.raises(ModelError, match=r"url_filter: lists\.a: there is no file or folder"):
        models_of(step)
    (lists / "empty.txt").write_text("# remark\n")
    (lists / "rules.txt").write_text("! remark\n##.advert\n")
    step = parsed("url_filter", adblock={"a": str(lists / "rules.txt")})
    with pytest.raises(ConfigError, match=r"url_filter: adblock\.a: .*names no address"):
        step.annotator(models_of(step))
    step = parsed("url_filter", words=str(lists / "empty.txt"))
    with pytest.raises(ConfigError, match="holds no word"):
        step.annotator(models_of(step))
    step = parsed("url_filter", parts=["po rn"])
    with pytest.raises(ConfigError, match="letters and digits, not 'po rn'"):
        step.annotator({})
