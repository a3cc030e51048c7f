"""The report in a real browser: plots drawn, nothing cut or overlapping, keys and clicks do what they say."""

from pathlib import Path

import pytest

from tamis.jobs.report.report import make_report
from tests.jobs.handmade import make_run

pytestmark = pytest.mark.browser
NAMES = ["a" * 90, "CC-MAIN-2024-18_segments_1713297", "with.dots.and_low_lines" * 3]
NAMES += [f"source-{i}" for i in range(30)]
"""Sources that want room."""
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
# Labels of one axis whose boxes overlap, and pictures that are wider than their place.
PROBLEMS = """() => {
  const found = [];
  const overlap = (a, b) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2;
  for (const figure of document.querySelectorAll('figure[data-plot]')) {
    const name = figure.querySelector('h3').textContent;
    const svg = figure.querySelector('svg');
    if (!svg) { found.push(name + ': no picture'); continue; }
    const place = figure.querySelector('.wide').getBoundingClientRect();
    const picture = figure.querySelector('.picture');
    if (svg.getBoundingClientRect().width > picture.clientWidth + 1) found.push(name + ': wider than its place');
    if (!picture.style.minWidth && picture.scrollWidth > place.width + 1) found.push(name + ': scrolls');
    for (const group of svg.querySelectorAll('.role-axis-label')) {
      const boxes = [...group.querySelectorAll('text')].filter((t) => t.textContent && +getComputedStyle(t).opacity > 0)
        .map((t) => t.getBoundingClientRect());
      if (boxes.some((box, i) => i && overlap(boxes[i - 1], box))) found.push(name + ': labels overlap');
    }
    for (const text of svg.querySelectorAll('text')) {
      const box = text.getBoundingClientRect(), all = svg.getBoundingClientRect();
      if (text.textContent.endsWith('…')) found.push(name + ': a name is cut: ' + text.textContent);
      const cut = box.width && (box.left < all.left - 2 || box.right > all.right + 2);
      if (cut) found.push(name + ': a label is cut: ' + text.textContent);
    }
    const marks = ['rect', 'symbol', 'line'].map((kind) => `.mark-${kind}.role-mark path`).join(', ');
    const drawn = [...svg.querySelectorAll(marks)].filter((mark) => {
      const box = mark.getBoundingClientRect(), style = getComputedStyle(mark);
      const seen = [style.fill, style.stroke].some((colour) => colour !== 'none' && !/, 0\\)$/.test(colour));
      return (box.width > 0.5 || box.height > 0.5) && seen;
    });
    if (!drawn.length) found.push(name + ': no mark');
  }
  for (const item of document.querySelectorAll('ul.parts li')) {
    if (item.scrollWidth > item.clientWidth + 1) found.push('legend: ' + item.textContent + ' is cut');
  }
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) found.push('the page scrolls sideways');
  return found;
}"""
CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
      .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const ratio = (e) => {
    const x = light(getComputedStyle(e).color);
    return (Math.max(x, paper) + 0.05) / (Math.min(x, paper) + 0.05);
  };
  return Math.min(...[...document.querySelectorAll('p, td, th, caption, figcaption, summary, nav a, h2')].map(ratio));
}"""


@pytest.fixture(scope="module")
def pages(reported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    named = str(folder / "named")
    make_run(Path(named), [(f"d{i}", NAMES[i % len(NAMES)], "A river. " * (5 + i), None) for i in range(60)])
    for name, runs in (("one", reported[:1]), ("two", reported), ("named", [named]), ("other", [named, reported[0]])):
        (folder / f"{name}.html").write_text(make_report(runs))
    return folder


@pytest.fixture
def opened(browser, pages):
    """Return a function that opens a page, and the list of what its console and network said."""
    contexts = []

    def go(name, screen="desktop", scheme="light"):
        width, height = SCREENS[screen]
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, is_mobile=screen == "phone"
        )
        contexts.append(context)
        page = context.new_page()
        said = []
        page.on("console", lambda message: said.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:")) else said.append(request.url)
        )
        page.goto((pages / f"{name}.html").as_uri())
        return page, said

    yield go
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", list(SCREENS))
@pytest.mark.parametrize("name", ["one", "two", "named", "other"])
def test_everything_is_drawn_and_readable(opened, name, screen, scheme):
    page, said = opened(name, screen, scheme)
    page.evaluate("tamisReport.drawAll()")
    figures = page.locator("figure[data-plot]").count()
    assert figures > (10 if name in ("one", "two") else 1)
    assert page.locator("figure[data-drawn]").count() == figures
    assert page.evaluate(PROBLEMS) == []
    assert page.evaluate(CONTRAST) >= 4.5
    assert page.evaluate("window.broken") is None
    assert said == []


def test_plots_are_drawn_as_they_come_into_view(opened):
    page, _ = opened("one")
    last = page.locator("#costs figure")
    assert last.get_attribute("data-drawn") is None
    last.scroll_into_view_if_needed()
    page.wait_for_selector("#costs figure[data-drawn]")


def test_choosing_zooming_searching_with_the_keyboard(opened):
    page, said = opened("one")
    figure = page.locator("#scores figure", has=page.locator("h3", has_text="quality_perplexity"))
    figure.scroll_into_view_if_needed()
    figure.locator("svg").wait_for()
    figure.locator("select").select_option("language")
    page.wait_for_function("document.querySelector('#scores figure[data-drawn=language]') !== null")
    number = figure.get_attribute("data-plot")
    ends = f"() => {{ const f = tamisReport.figures[{number}]; return [f.view.signal('from'), f.view.signal('to')]; }}"
    before = page.evaluate(ends)
    figure.locator(".picture").focus()
    page.keyboard.press("+")
    closer = page.evaluate(ends)
    assert before[0] < closer[0] < closer[1] < before[1]
    page.keyboard.press("ArrowRight")
    moved = page.evaluate(ends)
    assert moved[0] > closer[0]
    figure.locator("button[data-move=all]").press("Enter")
    assert page.evaluate(ends) == before
    figure.locator("details.numbers > summary").press("Enter")
    figure.locator("details.numbers td").first.wait_for()
    shown = page.locator("#scores figure:visible").count()
    page.locator("#scores input").fill("min_word_count")
    assert 0 < page.locator("#scores figure:visible").count() < shown
    assert said == []


def test_harmful_text_shows_when_asked_for(opened):
    page, _ = opened("one")
    page.evaluate("document.querySelectorAll('#rejected details').forEach((d) => { d.open = true; })")
    box = page.locator("#rejected .blurred").first
    pre = box.locator("pre")
    assert "blur" in pre.evaluate("e => getComputedStyle(e).filter")
    assert pre.get_attribute("aria-hidden") == "true"
    button = page.locator("#rejected button[data-show]").first
    button.press("Enter")
    pre = button.locator("xpath=..").locator("pre")
    assert pre.evaluate("e => getComputedStyle(e).filter") == "none"
    assert button.get_attribute("aria-expanded") == "true"
    page.locator("#veil").press("Enter")
    assert "blur" in pre.evaluate("e => getComputedStyle(e).filter")
