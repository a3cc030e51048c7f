"""The papers of a data set say what the run and its owner know; each is valid for those who read it."""

import json
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

from tamis.jobs.cli.app import app
from tamis.jobs.manifest.file import read_manifest
from tamis.jobs.manifest.papers.about import About, AboutSource, Creator, read_about
from tamis.jobs.manifest.papers.ai_act import ai_act_summary, domain_list, listed_domains
from tamis.jobs.manifest.papers.card import card
from tamis.jobs.manifest.papers.citation import citation
from tamis.jobs.manifest.papers.described import cite_as, cited
from tamis.jobs.manifest.papers.facts import Domain, Facts, Size, SourceFacts, collect_facts
from tamis.schemas.errors import ConfigError, TamisError
from tamis.schemas.tables import DOCUMENT_SCHEMA

HOSTS = ["www.example.co.uk", "shop.example.co.uk:8080", "user:secret@news.example.org", "192.0.2.7", "[2001:db8::1]"]
"""Of 100 documents, 20 each."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run over two sources, one with addresses and times."""
    folder = tmp_path_factory.mktemp("papers")
    web = pa.table(
        {
            "text": [f"page {i} with a few words about rivers and stones" for i in range(100)],
            "id": [str(i) for i in range(100)],
            "url": [f"https://{HOSTS[i % 5]}/{i}?q=a@b" for i in range(100)],
            "timestamp": [f"2024-0{1 + i % 3}-01T00:00:00Z" for i in range(100)],
        }
    )
    pq.write_table(web, folder / "web.parquet")
    (folder / "books.jsonl").write_text(
        "".join(json.dumps({"text": f"book {i} für alle", "id": i}) + "\n" for i in range(7)), encoding="utf-8"
    )
    config = {
        "name": "papers",
        "inputs": [
            {"path": str(folder / "web.parquet"), "source": "web"},
            {"path": str(folder / "books.jsonl"), "source": "books"},
        ],
        "steps": [{"language": {}}, {"exact_dedup": {}}],
        "output": {"path": str(folder / "run")},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    result = CliRunner().invoke(app, ["run", str(folder / "config.yaml"), "--quiet"])
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def about(tmp_path):
    path = tmp_path / "about.yaml"
    path.write_text(
        """
title: "Rivers | stones"
license: ODC-By-1.0
doi: 10.1234/rivers
contact: data@example.org
creators:
  - {name: Ada B. Example, orcid: 0000-0002-1825-0097, email: ada@example.org}
  - {name: Example Institute, organization: true}
sources:
  web: {kind: crawled, crawler: examplebot}
  books: {kind: synthetic, generator: a model}
"""
    )
    return path


class Ended(NamedTuple):
    status: int
    output: str


def command(*arguments):
    """Run `tamis manifest ...`; a refusal's sentence is in the output."""
    result = CliRunner().invoke(app, ["manifest", *map(str, arguments)])
    if isinstance(result.exception, TamisError):
        return Ended(2 if isinstance(result.exception, ConfigError) else 1, result.output + str(result.exception))
    return Ended(result.exit_code, result.output)


def test_facts(finished):
    manifest, facts = collect_facts(str(finished))
    assert facts.size.documents == manifest.selected == 107
    assert facts.sources["books"].domains == ()
    web = facts.sources["web"]
    assert {d.name: d.size.documents for d in web.domains} == {
        "example.co.uk": 40,
        "example.org": 20,
        "192.0.2.7": 20,
        "[2001:db8::1]": 20,
    }
    assert sum(d.size.bytes for d in web.domains) == web.size.bytes
    assert (str(web.first), str(web.last)) == ("2024-01-01 00:00:00", "2024-03-01 00:00:00")
    texts = [f"book {i} für alle" for i in range(7)]
    assert facts.sources["books"].size == Size(7, sum(len(text.encode()) for text in texts))
    assert sum(size.documents for size in facts.languages.values()) == 107


def test_all_papers_are_written(finished, about, tmp_path):
    for package in ("mlcroissant", "openlineage"):
        pytest.importorskip(package)
    wanted = ["--card", "--croissant", "--citation", "--ai-act", "--openlineage"]
    result = command("export", finished, *wanted, "--about", about, "--output", tmp_path / "out")
    assert result.status == 0, result.output
    names = {"README.md", "croissant.json", "CITATION.cff", "ai-act.md", "ai-act-domains.csv", "openlineage.jsonl"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert "secret" not in "".join(path.read_text() for path in (tmp_path / "out").iterdir())


def test_papers_stay_unless_replaced(finished, tmp_path):
    def card_of(*options):
        return command("export", finished, "--card", "--output", tmp_path, *options)

    assert card_of().status == 0
    (tmp_path / "README.md").write_text("mine")
    refused = card_of()
    assert refused.status == 2
    assert "README.md is there already" in refused.output
    assert (tmp_path / "README.md").read_text() == "mine"
    assert card_of("--replace").status == 0
    assert (tmp_path / "README.md").read_text() != "mine"


def test_papers_in_the_run_s_folder_harm_no_check(finished):
    assert command("export", finished, "--card", "--ai-act", "--replace").status == 0
    assert command("verify", finished).status == 0


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph:DeprecationWarning")  # mlcroissant's use of rdflib
def test_croissant_reads_back(finished, about):
    mlc = pytest.importorskip("mlcroissant")
    from tamis.jobs.manifest.papers.croissant import croissant

    manifest, facts = collect_facts(str(finished))
    text = croissant(manifest, facts, read_about(str(about), ("web", "books")))
    (finished / "croissant.json").write_text(text)
    dataset = mlc.Dataset(str(finished / "croissant.json"))
    assert not dataset.metadata.ctx.issues.errors
    found = json.loads(text)
    assert found["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    digests = {file["sha256"] for file in found["distribution"] if "sha256" in file}
    assert digests == {record.sha256 for record in manifest.shards if record.fate == "selected"}
    inputs = {entry["sha256"] for entry in found["prov:wasDerivedFrom"]}
    assert inputs == {record.sha256 for record in manifest.inputs}
    fields = [field["name"] for field in found["recordSet"][0]["field"]]
    assert fields == facts.schema.names


def test_lineage_events(finished, about):
    pytest.importorskip("openlineage")
    from tamis.jobs.manifest.papers.openlineage import lineage

    manifest, facts = collect_facts(str(finished))
    lines = lineage(str(finished), manifest, facts, About()).splitlines()
    start, complete = map(json.loads, lines)
    assert (start["eventType"], complete["eventType"]) == ("START", "COMPLETE")
    assert start["run"]["runId"] == complete["run"]["runId"]
    assert {i["facets"]["version"]["datasetVersion"] for i in complete["inputs"]} == {r.sha256 for r in manifest.inputs}
    output = complete["outputs"][0]
    assert output["name"] == str(finished / "selected")
    assert output["namespace"] == "file"
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 107
    assert [f["name"] for f in output["facets"]["schema"]["fields"]] == facts.schema.names
    assert lines == lineage(str(finished), manifest, facts, About()).splitlines()


def test_card_lists_what_the_hub_loads(finished, about):
    manifest, facts = collect_facts(str(finished))
    text = card(manifest, facts, read_about(str(about), ("web", "books")))
    _, head, body = text.split("---\n", 2)
    metadata = yaml.safe_load(head)
    assert metadata["license"] == "odc-by-1.0"
    assert metadata["size_categories"] == ["n<1K"]
    configs = {config["config_name"]: config["data_files"] for config in metadata["configs"]}
    assert list(configs) == ["default", "books", "web", "rejected"]
    rows = {n: sum(pq.read_metadata(finished / file).num_rows for file in configs[n]) for n in ("books", "web")}
    assert rows == {"books": 7, "web": 100}
    assert sum(pq.read_metadata(path).num_rows for path in finished.glob(configs["default"])) == 107
    assert "# Rivers | stones" in body
    assert "FastText.zip" in body
    assert all(f"| `{name}` |" in body for name in facts.schema.names)


def test_card_with_a_licence_by_address(finished):
    manifest, facts = collect_facts(str(finished))
    head = yaml.safe_load(card(manifest, facts, About(license="https://example.org/terms")).split("---\n")[1])
    assert (head["license"], head["license_link"]) == ("other", "https://example.org/terms")


def test_citation(finished, about):
    manifest = read_manifest(str(finished))
    found = yaml.safe_load(citation(manifest, read_about(str(about), ("web", "books"))))
    assert found["authors"] == [
        {
            "email": "ada@example.org",
            "given-names": "Ada B.",
            "family-names": "Example",
            "orcid": "https://orcid.org/0000-0002-1825-0097",
        },
        {"name": "Example Institute"},
    ]
    assert found["doi"] == "10.1234/rivers"
    assert str(found["date-released"]) == manifest.started[:10]
    titles = [reference["title"] for reference in found["references"]]
    assert any("FastText.zip" in title for title in titles)
    with pytest.raises(ConfigError, match="wants an author"):
        citation(manifest, About())


def test_cited_papers_follow_the_options(finished):
    manifest = read_manifest(str(finished))

    def titles(*steps):
        given = manifest.source_config | {"steps": list(steps)}
        return [paper.url.rpartition("/")[2] for paper in cited(manifest.model_copy(update={"source_config": given}))]

    extract = {"extract": {"engine": "trafilatura"}}
    assert titles(extract) == ["2021.acl-demo.15"]
    assert titles(extract, {"heuristics": {"presets": ["c4"]}})[1:] == ["1910.10683"]
    assert titles(extract, {"heuristics": {"presets": ["gopher_quality", "fineweb"]}})[1:] == [
        "2112.11446",
        "2406.17557",
    ]
    assert titles(extract, {"perplexity": {"model": "m"}})[1:] == ["W11-2123", "1911.00359"]
    assert titles(extract, {"perplexity": {"model": "m", "threshold": "model"}})[1:] == ["W11-2123", "2212.10440"]
    assert titles(extract, {"unknown": {}}, {"dsir": {"target": "t"}})[1:] == ["2302.03169"]


def facts_of(sizes, kind="crawled"):
    domains = tuple(Domain(f"site{i}.example", Size(1, size)) for i, size in enumerate(sizes))
    total = Size(len(sizes), sum(sizes))
    source = SourceFacts(total, None, None, domains)
    return Facts(DOCUMENT_SCHEMA, total, {"web": source}, {}), About(sources={"web": AboutSource(kind=kind)})


@pytest.mark.parametrize(
    ("domains", "small", "listed"),
    [(1, False, 1), (10, False, 1), (11, False, 2), (100, False, 10), (100, True, 5), (30_000, True, 1000)],
)
def test_listed_domains(domains, small, listed):
    facts, about = facts_of(range(domains))
    found = listed_domains(facts, about.model_copy(update={"small_provider": small}))
    assert [d.size.bytes for d in found] == list(range(domains))[::-1][:listed]
    assert domain_list(found).count("\n") == listed + 1


def test_domains_of_crawled_sources_alone(finished):
    _, facts = collect_facts(str(finished))
    crawled = SourceFacts(Size(1, 9), None, None, (Domain("crawled.example", Size(1, 9)),))
    both = Facts(facts.schema, facts.size, facts.sources | {"more": crawled}, {})
    about = About(sources={"more": AboutSource(kind="crawled")})
    assert [d.name for d in listed_domains(both, about)] == ["crawled.example"]


@pytest.mark.parametrize(
    ("size", "words"), [(10**9, "less than 1 billion"), (4 * 10**9, "1 billion to"), (4 * 10**13, "more than 10")]
)
def test_range_of_tokens(finished, size, words):
    facts, about = facts_of([size])
    assert words in ai_act_summary(read_manifest(str(finished)), facts, about, list_name="d.csv")


def test_summary_follows_the_template(finished, about):
    manifest, facts = collect_facts(str(finished))
    text = ai_act_summary(manifest, facts, read_about(str(about), ("web", "books")), list_name="d.csv")
    sections = dict(part.split("\n", 1) for part in text.split("### ")[1:])
    assert "**web**" in sections["2.3 Data crawled and scraped from online sources"]
    assert "2024-01-01 to 2024-03-01" in sections["2.3 Data crawled and scraped from online sources"]
    assert "example.co.uk" in sections["2.3 Data crawled and scraped from online sources"]
    assert "made by the model: a model" in sections["2.5 Synthetic data"]
    assert "to be filled in" in sections["3.1 Respect of reservation of rights"]
    assert "kept 107 of 107" in sections["3.3 Other: the steps of the run"]


def test_citation_line(finished):
    manifest = read_manifest(str(finished))
    year = manifest.started[:4]
    assert cite_as(manifest, About()) == f"papers, version 1.0.0 ({year})."
    named = About(creators=(Creator(name="A B"),), doi="10.1234/x", title="T")
    assert cite_as(manifest, named) == f"A B ({year}). T, version 1.0.0. https://doi.org/10.1234/x"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("titel: x", "did you mean 'title'"),
        ("sources: {wbe: {kind: crawled}}", "no source 'wbe'"),
        ("sources: {web: {kind: stolen}}", "kind"),
        ("version: '1'", "version"),
    ],
)
def test_mistakes_in_about(finished, tmp_path, text, words):
    (tmp_path / "about.yaml").write_text(text)
    result = command("export", finished, "--card", "--output", tmp_path, "--about", tmp_path / "about.yaml")
    assert result.status == 2
    assert words in result.output
    assert "Traceback" not in result.output


def test_no_paper_named(finished):
    assert "name papers" in command("export", finished).output
    assert "name the run" in command("export", "--card").output
    assert json.loads(command("export", "--schema").output)["title"] == "About"


def key_pair(folder):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(private)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / "public.pem").write_bytes(public)
    return folder / "key.pem", folder / "public.pem"


def test_signature(finished, tmp_path, monkeypatch):
    pytest.importorskip("model_signing")
    private, public = key_pair(tmp_path)
    signature = tmp_path / "run.sig"
    assert command("sign", finished, "--key", private, "--signature", signature).status == 0
    check = ("verify", finished, "--public-key", public, "--signature", signature)
    assert "the signature is right" in command(*check).output
    # As most type it: a relative path, and the signature in the run's folder, where it is no file too many.
    monkeypatch.chdir(finished.parent)
    near = ("verify", finished.name, "--public-key", public)
    assert command("sign", finished.name, "--key", private).status == 0
    assert "the signature is right" in command(*near).output
    (finished / "manifest.sig").unlink()
    (finished / "notes.txt").write_text("what isn't named by the manifest isn't signed")
    assert command(*check).status == 0
    shard = next(finished.glob("selected/**/*.parquet"))
    good = shard.read_bytes()
    try:
        shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        result = command(*check)
        assert result.status == 1
        assert f"changed since: {shard.relative_to(finished)}" in result.output
    finally:
        shard.write_bytes(good)
    (tmp_path / "other").mkdir()
    _, stranger = key_pair(tmp_path / "other")
    assert command("verify", finished, "--public-key", stranger, "--signature", signature).status == 1
    assert command("verify", finished, "--public-key", public).status == 1
    assert command("verify", finished, "--signature", signature).status == 2
    assert command("sign", finished, "--key", public).status == 2


@pytest.mark.parametrize("reject", [[], ["robots"]])
def test_opt_outs_are_in_the_public_summary(tmp_path, reject):
    (tmp_path / "robots.txt").write_text("news.example.org\n")
    rows = [{"text": f"page {i} about rivers", "id": i, "url": f"https://{HOSTS[0]}/{i}"} for i in range(6)]
    rows += [{"text": f"news {i} für alle", "id": f"n{i}", "url": f"https://news.example.org/{i}"} for i in range(3)]
    (tmp_path / "web.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = {
        "inputs": [{"path": str(tmp_path / "web.jsonl"), "source": "web"}],
        "steps": [{"url_filter": {"opt_out": {"robots": str(tmp_path / "robots.txt")}, "reject": reject}}],
        "output": {"path": str(tmp_path / "run")},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    assert CliRunner().invoke(app, ["run", str(tmp_path / "config.yaml"), "--quiet"]).exit_code == 0
    manifest, facts = collect_facts(str(tmp_path / "run"))
    (one,) = facts.opt_outs
    left = 0 if reject else 3
    assert (one.name, one.rejected, one.selected.documents) == ("robots", 3 - left, left)
    assert one.selected.bytes == left * len("news 0 für alle".encode())
    assert one.sha256 == manifest.models[0].sha256
    told = ai_act_summary(manifest, facts, About(reservation_of_rights="We asked."), list_name="d.csv")
    section = told.split("### 3.1")[1].split("### 3.2")[0]
    assert "We asked." in section
    assert (
        f"opt-outs `robots` (SHA-256 `{one.sha256}`): {3 - left} documents under its addresses were left out" in section
    )
    assert f"{left} of the selected documents" in section
