"""The local page in a real browser: filters, documents, thresholds, SQL, and a state that its address holds."""

import pytest

from tamis.jobs.ui.server import Server
from tamis.jobs.ui.store import Store
from tests.jobs.ui.large_run import make_large_run

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module", params=[pytest.param(20_000), pytest.param(1_000_000, marks=pytest.mark.slow)])
def served(request, tmp_path_factory):
    run = tmp_path_factory.mktemp("ui") / "run"
    make_large_run(run, request.param)
    store = Store(str(run))
    server = Server(store)
    server.start()
    yield server, store
    server.stop()
    store.close()


@pytest.fixture
def opened(browser, served):
    """Return a function that opens a view of the page, and the list of what its console said."""
    contexts = []

    def go(view="", width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(served[0].address(view))
        return page, said

    yield go
    for context in contexts:
        context.close()


def ready(page):
    page.wait_for_function("!document.body.hasAttribute('aria-busy')")


def test_filter_open_and_share(opened, served):
    page, said = opened()
    page.locator("#rows tbody tr").first.wait_for()
    assert "token" not in page.url
    page.locator("select[name=language]").select_option("de")
    page.locator("input[name=search]").fill("River stone")
    page.locator("#filters button").click()
    page.wait_for_function("document.getElementById('where').textContent.includes('documents')")
    ready(page)
    total = served[1].sql("SELECT count(*) FROM documents WHERE language = 'de' AND contains(text, 'river stone')")[
        "rows"
    ][0][0]
    assert page.locator("#where").text_content().startswith(f"{total:,} documents")
    page.locator("#rows tbody tr").nth(2).press("Enter")
    page.locator("#document pre").wait_for()
    text = page.locator("#document pre").text_content()
    assert "river stone" in text
    # A colleague's page shows the same from the address alone; going back closes the document.
    again, _ = opened(page.url.partition("?")[2])
    again.locator("#document pre").wait_for()
    assert again.locator("#document pre").text_content() == text
    assert again.locator("input[name=search]").input_value() == "River stone"
    page.go_back()
    page.locator("#document").wait_for(state="hidden")
    assert said == []


def test_a_threshold_that_is_moved(opened, served):
    page, said = opened("tab=thresholds&try=score_a")
    page.wait_for_selector("#picture[data-drawn=score_a] svg")
    assert "score_a_min: at least 0.3" in page.locator("#now").text_content()
    page.locator("#slide-least").fill("500")
    page.wait_for_function("new URLSearchParams(location.search).has('least')")
    ready(page)
    least = float(page.locator("input[name=least]").input_value())
    assert 0.4 < least < 0.6
    told = f"SELECT count(*) FROM selected WHERE score_a < {least}"
    fall = served[1].sql(told)["rows"][0][0]
    assert f"and {fall:,} fall" in page.locator("#effect").text_content()
    assert page.locator("#effects tbody tr").count() == 48
    assert said == []


def test_what_a_step_found_harmful_is_blurred_until_asked_for(opened, served):
    served[1].manifest = served[1].manifest.model_copy(
        update={"steps": tuple(s.model_copy(update={"verb": "url_filter"}) for s in served[1].manifest.steps)}
    )
    page, said = opened("fate=rejected")
    cell = page.locator("#rows tbody td.text").first
    cell.wait_for()
    assert "blur" in cell.evaluate("e => getComputedStyle(e).filter")
    page.locator("#rows tbody tr").first.click()
    page.locator("#document pre.blurred").wait_for()
    page.locator("#document button", has_text="harmful").press("Enter")
    assert page.locator("#document pre").evaluate("e => getComputedStyle(e).filter") == "none"
    assert said == []


def test_sql_and_manifest_by_keyboard(opened):
    page, said = opened("tab=sql")
    query = page.locator("textarea")
    query.fill("SELECT source, count(*) AS n FROM documents GROUP BY ALL ORDER BY ALL")
    query.press("Control+Enter")
    page.locator("#answer tbody tr").first.wait_for()
    assert page.locator("#answer tbody tr").count() == 6
    query.fill("SELECT nothing FROM documents")
    query.press("Control+Enter")
    page.wait_for_function("document.getElementById('status').textContent.includes('nothing')")
    page.locator("#tab-sql").press("ArrowRight")
    page.wait_for_function("document.querySelector('#manifest pre').textContent.includes('config_sha256')")
    # A mistake is answered with a status that the browser's console tells, too.
    assert [line for line in said if "400" not in line] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("view", ["", "tab=thresholds", "tab=sql&query=FROM+funnel()", "tab=manifest"])
def test_nothing_is_wider_than_the_screen(opened, view, width, scheme):
    page, said = opened(view, width, scheme)
    page.wait_for_selector("#counts:not(:empty)")
    ready(page)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert said == []
