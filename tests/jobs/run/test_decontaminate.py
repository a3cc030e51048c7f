"""`decontaminate`: planted items, what tells them, what becomes of the documents, and options that change it."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tamis.jobs.sql.views import connect
from tamis.schemas.errors import ConfigError, ModelError
from tamis.scorers.contamination.find import Aligned, NGrams
from tamis.scorers.contamination.index import ContaminationIndex
from tests.jobs.finished_runs import digests, every_row
from tests.jobs.run.step_columns import columns_of, models_of, parsed

DRAW = random.Random(7)
VOCABULARY = ["".join(DRAW.choices("abcdefghijklmnopqrstuvw", k=DRAW.randint(4, 9))) for _ in range(3000)]


def words(count):
    return " ".join(DRAW.choices(VOCABULARY, k=count))


ITEMS = [words(30) for _ in range(8)]
SHORT = words(9)
ANSWERS = [words(2) for _ in range(8)]
BEFORE, AFTER = words(40), words(40)


def changed(text, every):
    return " ".join("other" if i % every == every - 1 else word for i, word in enumerate(text.split()))


DOCUMENTS = {
    "clean": f"{BEFORE} {AFTER}",
    "verbatim": f"{BEFORE} {ITEMS[0]} {AFTER}",
    "upper": f"{BEFORE} {ITEMS[1].upper()} {AFTER}",
    "edited": f"{BEFORE} {changed(ITEMS[2], 6)} {AFTER}",
    "half": f"{BEFORE} {' '.join(ITEMS[3].split()[:16])} {AFTER}",
    "two": f"{ITEMS[4]} {BEFORE} {ITEMS[5]}",
    "nothing else": f" {ITEMS[6]}\n",
    "answer": f"{BEFORE} {ITEMS[7]} {ANSWERS[7]} {AFTER}",
    "short": f"{BEFORE} {SHORT} {AFTER}",
}


@pytest.fixture
def sets(tmp_path):
    """Two sets of items: JSONL with a field of its own, and Parquet in two files."""
    lines = [{"question": text, "key": f"q{i}", "answer": ANSWERS[i]} for i, text in enumerate(ITEMS[:4])]
    (tmp_path / "first.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = tmp_path / "second"
    folder.mkdir()
    answers = [*ANSWERS[4:], "", ""]
    table = pa.table({"text": [*ITEMS[4:], SHORT, ITEMS[0]], "key": [10, 11, 12, 13, 14, 15], "answer": answers})
    pq.write_table(table.slice(0, 2), folder / "a.parquet")
    pq.write_table(table.slice(2), folder / "b.parquet")
    return {"first": str(tmp_path / "first.jsonl"), "second": str(folder / "*.parquet")}


def rows_of(sets, **options):
    step = parsed("decontaminate", items=sets, text={"first": "question"}, **options)
    return dict(zip(DOCUMENTS, columns_of(step, text=list(DOCUMENTS.values())), strict=True))


def column(rows, name):
    return {key: row[f"contamination_{name}"] for key, row in rows.items()}


def test_items_whole_changed_and_in_part(sets):
    rows = rows_of(sets)
    assert column(rows, "item") == {
        "clean": None, "verbatim": "first/0", "upper": "first/1", "edited": "first/2", "half": "first/3",
        "two": "second/0", "nothing else": "second/2", "answer": "second/3", "short": "second/4",
    }  # fmt: skip
    assert column(rows, "items") == dict.fromkeys(DOCUMENTS, 1) | {"clean": 0, "two": 2}
    assert column(rows, "whole_items") == dict.fromkeys(DOCUMENTS, 1) | {"clean": 0, "two": 2, "half": 0}
    coverage = column(rows, "coverage")
    assert coverage["clean"] == 0
    assert coverage["verbatim"] == coverage["upper"] == 1
    assert 0.65 < coverage["edited"] < 1
    assert 0.4 < coverage["half"] < 0.65
    assert rows["upper"]["contamination_match"] == ITEMS[1].upper()
    assert rows["upper"]["contamination_item_match"] == ITEMS[1]
    assert rows["half"]["contamination_match"] == " ".join(ITEMS[3].split()[:16])
    assert rows["clean"]["contamination_match"] is None


def test_columns_agree_with_the_algorithms(sets):
    """The best item is one of greatest coverage among those that the algorithm finds in the text alone."""
    every = [*ITEMS, SHORT]
    index = ContaminationIndex.build(every)
    grams = NGrams(every, size=13, short=8)
    for method, known, find in (
        ("aligned", index, lambda texts: Aligned().find(texts, index)),
        ("ngrams", grams.index, grams.find),
    ):
        for text, row in zip(DOCUMENTS.values(), rows_of(sets, method=method).values(), strict=True):
            hits = find([text])
            assert row["contamination_items"] == len(set(hits.items.tolist()))
            assert row["contamination_coverage"] == pytest.approx(max(hits.coverage.tolist(), default=0))
            if len(hits.items):
                best = int(hits.coverage.argmax())
                assert known.items[int(hits.items[best])].as_py() in every


def test_a_large_index_is_built_once_and_mapped(sets, tmp_path, monkeypatch):
    plain = rows_of(sets)
    built = []
    build = ContaminationIndex.build

    def counted(*items, **options):
        built.append(items)
        return build(*items, **options)

    monkeypatch.setattr(ContaminationIndex, "build", counted)
    monkeypatch.setattr("tamis.pipeline.steps.evaluation_items.LARGE", 0)
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "cache"))
    assert [rows_of(sets), rows_of(sets)] == [plain, plain]
    assert len(built) == 1
    (folder,) = (tmp_path / "cache" / "contamination").iterdir()
    (folder / "words.npy").write_bytes(b"damaged")
    assert rows_of(sets) == plain
    assert len(built) == 2
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TAMIS_CACHE", str(tmp_path / "file"))  # where nothing can be kept
    assert rows_of(sets) == plain


def test_ids_of_items_and_name(sets):
    rows = rows_of(sets, id="key", name="evals")
    assert [row["evals_item"] for row in rows.values()][1:6] == [
        "first/q0", "first/q1", "first/q2", "first/q3", "second/10",
    ]  # fmt: skip
    named = rows_of(sets, id={"second": "key"})
    assert (named["verbatim"]["contamination_item"], named["two"]["contamination_item"]) == ("first/0", "second/10")


def test_thresholds_of_aligned(sets):
    assert column(rows_of(sets, threshold=0.95), "whole_items")["edited"] == 0
    assert column(rows_of(sets, partial=0.6), "items")["half"] == 0
    assert column(rows_of(sets, short_weight=70, long_weight=80), "items")["short"] == 0
    assert column(rows_of(sets, short_weight=70, long_weight=80), "items")["verbatim"] == 1
    # a half has half the weight in common: too little where items of so much weight are short ones
    assert column(rows_of(sets, long_weight=1000), "items")["half"] == 0


def test_ngrams(sets):
    assert column(rows_of(sets, method="ngrams"), "items") == dict.fromkeys(DOCUMENTS, 1) | {
        "clean": 0, "two": 2, "edited": 0,
    }  # fmt: skip
    assert column(rows_of(sets, method="ngrams", size=5, short_size=5), "items")["edited"] == 1
    assert column(rows_of(sets, method="ngrams", size=40, short_size=20), "items")["half"] == 0
    shared = rows_of(sets, method="ngrams", share=0.5)
    assert column(shared, "items")["half"] == 1
    assert column(shared, "whole_items")["half"] == 0
    assert column(rows_of(sets, method="ngrams", share=0.1), "whole_items")["half"] == 1


def test_decon(sets):
    plain = rows_of(sets, method="decon")
    assert column(plain, "item")["verbatim"] == "first/0"
    assert column(plain, "items")["short"] == 0  # under twenty words
    answered = rows_of(sets, method="decon", answer="answer")
    assert answered["answer"]["contamination_coverage"] > 0.99
    assert column(answered, "items")["two"] == 0  # their answers don't follow
    assert column(plain, "items")["two"] == 2
    passages = rows_of(sets, method="decon", passage={"first": "answer"})
    assert column(passages, "coverage")["verbatim"] != column(plain, "coverage")["verbatim"]


@pytest.fixture
def questions(tmp_path):
    """Items of several fields: a short question that several have, choices as a list, an answer."""
    stem = "Which of the following is"
    lines = [
        {"question": f"{stem} {words(2)}?", "choices": [words(6) for _ in range(4)], "answer": words(3)}
        for _ in range(3)
    ]
    lines.append({"question": ITEMS[0], "choices": [words(6) for _ in range(4)], "answer": None})
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return {"quiz": str(tmp_path / "q.jsonl")}, lines


@pytest.mark.parametrize("method", ["aligned", "ngrams"])
def test_items_of_several_fields_are_looked_for_by_the_first_and_with_each_that_follows(questions, method):
    sets, lines = questions
    choices = [" ".join(line["choices"]) for line in lines]
    texts = [
        f"{BEFORE} {lines[0]['question']} {AFTER}",  # a short question alone says nothing
        f"{BEFORE} {lines[0]['question']} {choices[0]} {AFTER}",
        f"{BEFORE} {lines[1]['question']} {choices[1]} {lines[1]['answer']} {AFTER}",
        f"{BEFORE} {lines[3]['question']} {AFTER}",
        f"{BEFORE} {lines[3]['question']} {choices[3]} {AFTER}",
    ]

    def found(fields):
        step = parsed("decontaminate", items=sets, text={"quiz": fields}, table=True, method=method)
        return columns_of(step, text=texts)

    rows = found(["question", "choices", "answer"])
    assert [row["contamination_item"] for row in rows][1:] == ["quiz/0", "quiz/1", "quiz/3", "quiz/3"]
    # The forms of an item are one item: it is counted once, and each place of it is one hit.
    assert [row["contamination_items"] for row in rows][1:] == [1, 1, 1, 1]
    assert [len(row["contamination_hits"] or []) for row in rows][1:] == [1, 1, 1, 1]
    assert [row["contamination_coverage"] for row in rows][1:] == pytest.approx([1] * 4)
    assert rows[2]["contamination_match"].endswith(lines[1]["answer"])
    assert rows[1]["contamination_item_match"].splitlines()[1:] == lines[0]["choices"]
    assert [row["contamination_coverage"] for row in found(["question"])] == [
        row["contamination_coverage"] for row in found("question")
    ]
    if method == "aligned":
        assert rows[0]["contamination_items"] == 0
        assert [row["contamination_items"] for row in found("question")] == [0, 0, 0, 1, 1]


def test_an_n_gram_of_many_items_is_a_sign_of_none(tmp_path):
    instruction = words(14)
    items = [f"{instruction} {words(20)}" for _ in range(25)]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps({"text": item}) + "\n" for item in items))
    text = f"{BEFORE} {instruction} {AFTER}"

    def hits(**options):
        step = parsed("decontaminate", items={"mine": str(tmp_path / "items.jsonl")}, **options)
        return [row["contamination_items"] for row in columns_of(step, text=[text, f"{BEFORE} {items[3]}"])]

    assert hits(method="ngrams") == [0, 1]
    assert hits(method="ngrams", most_items=25) == [25, 25]  # one n-gram credited to all
    assert hits() == [0, 1]
    assert hits(method="decon") == [0, 1]


@pytest.mark.parametrize("method", ["aligned", "ngrams"])
def test_what_many_documents_have_is_boilerplate_by_a_pass_over_the_corpus(run, tmp_path, method):
    quotation, rare = words(16), words(30)
    items = [{"text": f"{quotation} {words(14)}"}, {"text": rare}]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    texts = [f"{words(40)} {quotation} {words(40)}" for _ in range(60)]
    texts += [f"{words(30)} {rare} {words(10)}", f"{words(30)} {items[0]['text']}", *(words(60) for _ in range(100))]
    lines = [json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(texts)]
    for part in range(3):
        (tmp_path / f"part{part}.jsonl").write_text("".join(lines[part::3]))

    def done(name, workers=1, **options):
        given = {"items": {"mine": str(tmp_path / "items.jsonl")}, "method": method, **options}
        inputs = [{"path": str(tmp_path / "part*.jsonl"), "source": "web"}]
        manifest = run({"inputs": inputs, "steps": [{"decontaminate": given}]}, name, workers=workers)
        rows = by_id(manifest, tmp_path / name)
        return manifest, {int(i) for i, row in rows.items() if row["fate"] == "rejected"}

    assert done("run")[1] == {*range(60), 60, 61}
    manifest, fell = done("counted", boilerplate="corpus")
    assert fell == {60, 61}  # the item itself is found, the quotation isn't
    told = next(step for step in manifest.steps if step.label == "decontaminate").metrics
    assert told["documents"] == len(texts)
    assert told["commonest"][0][1] == 61
    assert told["commonest"][0][0] in quotation
    assert told["common_ngrams"] == (13 if method == "aligned" else 4)
    assert digests(done("two", workers=2, boilerplate="corpus")[0]) == digests(manifest)
    if method == "ngrams":
        assert done("many", boilerplate="corpus", most_documents=100)[1] == {*range(60), 60, 61}


def config(folder, sets, **options):
    path = folder / "pages.jsonl"
    lines = [{"id": name, "text": text} for name, text in DOCUMENTS.items()]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines * 1))
    given = {"items": sets, "text": {"first": "question"}, **options}
    return {"inputs": [{"path": str(path), "source": "web"}], "steps": [{"decontaminate": given}]}


def by_id(manifest, folder):
    return {json.loads(row["meta"])["id"]: row for row in every_row(manifest, folder)}


@pytest.mark.parametrize(
    ("options", "left"),
    [({}, {"clean"}), ({"hits": "whole"}, {"clean", "half"}), ({"action": "annotate"}, set(DOCUMENTS))],
)
def test_documents_fall(sets, run, tmp_path, options, left):
    manifest = run(config(tmp_path, sets, **options))
    rows = by_id(manifest, tmp_path / "run")
    assert {name for name, row in rows.items() if row["fate"] == "selected"} == left
    for name, row in rows.items():
        assert row["text"] == DOCUMENTS[name]
        if row["fate"] == "rejected":
            assert (row["step"], row["rule"], row["threshold"]) == ("decontaminate", "contamination_found", 0)
            assert row["value"] == (2 if name == "two" else 1)
    if not options:
        assert digests(run(config(tmp_path, sets), "two", workers=2)) == digests(manifest)


@pytest.mark.parametrize("hits", ["any", "whole"])
def test_items_are_taken_out(sets, run, tmp_path, hits):
    manifest = run(config(tmp_path, sets, action="remove", hits=hits))
    rows = by_id(manifest, tmp_path / "run")
    assert {name for name, row in rows.items() if row["fate"] == "rejected"} == {"nothing else"}
    gone = rows["nothing else"]
    assert (gone["rule"], gone["text"]) == ("nothing_left", DOCUMENTS["nothing else"])
    assert rows["clean"]["text"] == DOCUMENTS["clean"]
    assert rows["verbatim"]["text"] == f"{BEFORE}  {AFTER}"
    assert rows["verbatim"]["contamination_removed_chars"] == len(ITEMS[0])
    assert rows["verbatim"]["contamination_left"] == len(BEFORE) + len(AFTER) + 2
    assert rows["two"]["text"] == f" {BEFORE} "
    half = DOCUMENTS["half"] if hits == "whole" else f"{BEFORE}  {AFTER}"
    assert rows["half"]["text"] == half


def test_what_is_done_with_hits_finds_nothing_again_but_other_items_do(sets, run, tmp_path):
    def columns():
        return {p: p.stat().st_mtime_ns for p in (tmp_path / "run" / "work").glob("*decontaminate-columns-*/*.arrow")}

    run(config(tmp_path, sets))
    before = columns()
    run(config(tmp_path, sets, action="annotate", hits="whole"))
    assert columns() == before
    with (tmp_path / "first.jsonl").open("a") as file:
        file.write(json.dumps({"question": DOCUMENTS["clean"]}) + "\n")
    assert run(config(tmp_path, sets)).selected == 0
    assert columns() != before


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"items": {}}, "items"),
        ({"method": "ngrams", "threshold": 0.5}, "threshold is of `method: aligned`"),
        ({"size": 5}, "size is of `method: ngrams`"),
        ({"answer": "answer"}, "answer is of `method: decon`"),
        ({"partial": 0.9}, "partial .* above threshold"),
        ({"short_weight": 50}, "short_weight .* below long_weight"),
        ({"method": "ngrams", "size": 5}, "short_size .* above size"),
        ({"most_items": 3}, "most_items is of `method: ngrams`"),
        ({"method": "ngrams", "most_documents": 3}, "most_documents is of `boilerplate: corpus`"),
        ({"method": "decon", "boilerplate": "corpus"}, "decon's score knows items alone"),
        ({"method": "decon", "text": ["question", "answer"]}, "one field with `method: decon`"),
        ({"text": []}, "text: empty"),
        ({"text": {"evls": ["a", "b"]}}, "text: `items` has no 'evls'; did you mean 'evals'"),
        ({"id": {"evls": "key"}}, "id: `items` has no 'evls'; did you mean 'evals'"),
    ],
)
def test_mistakes(options, told):
    with pytest.raises(ConfigError, match=told):
        parsed("decontaminate", **{"items": {"evals": "x.jsonl"}, **options})


def test_files_that_hold_no_items(sets, tmp_path):
    def models(path, **options):
        step = parsed("decontaminate", items={"evals": str(path)}, **options)
        return step, models_of(step)

    with pytest.raises(ModelError, match=r"step decontaminate: items\.evals: .*absent"):
        models(tmp_path / "absent.jsonl")
    with pytest.raises(ModelError, match="has the field 'text'"):
        models(sets["first"])
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ModelError, match="holds no item"):
        models(tmp_path / "empty.jsonl")
    (tmp_path / "broken.jsonl").write_text(json.dumps({"text": ITEMS[0]}) + "\n" + json.dumps({"text": 5}) + "\n")
    step, found = models(tmp_path / "broken.jsonl")
    with pytest.raises(ModelError, match=r"broken\.jsonl, record .*: text_not_a_string"):
        step.annotator(found)
    (tmp_path / "brief.jsonl").write_text(json.dumps({"text": "Too brief."}) + "\n")
    step, found = models(tmp_path / "brief.jsonl")
    with pytest.raises(ModelError, match="none of the 1 items can be looked for: they weigh too little"):
        step.annotator(found)
    step, found = models(tmp_path / "brief.jsonl", method="decon")
    with pytest.raises(ModelError, match="no evaluation item has 20 words"):
        step.annotator(found)


def test_all_hits_are_a_table_of_their_own(run, tmp_path, sets):
    """Every hit with both texts, in the shards and as a view of SQL: none is lost beside the first of a document."""
    manifest = run(config(tmp_path, sets, table=True))
    rows = every_row(manifest, tmp_path / "run")
    with connect(str(tmp_path / "run")) as connection:
        found = connection.execute("SELECT * FROM contamination_hits ORDER BY doc_id, start, item")
        names = [column[0] for column in found.description]
        hits = [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    assert names[:3] == ["doc_id", "source", "fate"]
    assert {h["fate"] for h in hits} == {"rejected"}
    for row in rows:
        mine = [hit for hit in hits if hit["doc_id"] == row["doc_id"]]
        assert len(mine) == row["contamination_items"]
        listed = row["contamination_hits"] or []
        assert sorted(hit["item"] for hit in listed) == sorted(hit["item"] for hit in mine)
        for hit in listed:
            # Rejected documents are there as they came, so that places are those of their text.
            assert row["text"].encode()[hit["start"] : hit["end"]].decode() == hit["match"]
            assert hit["whole"] == (hit["coverage"] >= 0.65)
        if mine:
            assert row["contamination_item"] in {hit["item"] for hit in mine}
    assert max(row["contamination_items"] for row in rows) > 1
    assert "contamination_hits" not in every_row(run(config(tmp_path, sets), "without"), tmp_path / "without")[0]


def test_hits_do_not_depend_on_batches(sets):
    step = parsed("decontaminate", items=sets, text={"first": "question"}, table=True)
    rows = columns_of(step, text=list(DOCUMENTS.values()))
    assert [len(row["contamination_hits"] or []) for row in rows] == [row["contamination_items"] for row in rows]


def test_plan_says_which_items_are_too_short_and_what_is_found_of_the_others(tmp_path):
    lines = [{"id": f"q{i}", "text": text} for i, text in enumerate([*ITEMS, "two words", "yes", "no", "maybe so"])]
    (tmp_path / "items.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for method, shares in (("aligned", "100% with a word"), ("ngrams", "100% word for word, 67% with a word")):
        step = parsed("decontaminate", items={"mine": str(tmp_path / "items.jsonl")}, id="id", method=method)
        told = step.costs(100, step.find_all(), ())
        whole = next(one for one in told if " items planted" in one)
        assert shares in whole
        assert "in the midst of a long line" in whole
        assert f"of {8 if method == 'aligned' else 12} items planted" in whole
        assert (told[-1] == whole) == (method == "aligned")
        if method == "ngrams":
            assert told[-1].startswith("of 4 items of fewer than 20 words planted in other text are found: 100% word")
        if method == "aligned":
            assert told[0].startswith("4 of 12 items are too short to be looked for (mine/q8, mine/q9, mine/q10")
