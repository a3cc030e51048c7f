"""How soon `tamis ui` answers over a large run: in its server, and in a browser that draws what is answered.

    python benchmarks/ui.py [--documents 1000000] [--words 40] [--run FOLDER] [--no-browser]

The run is made without running anything (`tests/jobs/ui/large_run.py`): so many documents of so many words each, in
shards as a run cuts them; with `--run`, in a folder that is kept and taken again. Each question is asked often, of
other documents and bounds each time: the median and the largest wall time are printed, and the median of CPU time,
which doesn't depend on what else the machine does.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
for folder in (ROOT, ROOT / "src"):
    sys.path.insert(0, str(folder))

from tamis.jobs.ui.server import Server
from tamis.jobs.ui.store import Filters, Store, WhatIf
from tests.jobs.ui.large_run import make_large_run

TIMES = 15


def told(what: str, walls: list[float], cpus: list[float] | None = None) -> None:
    cpu = f"{statistics.median(cpus) * 1e3:8.0f}" if cpus else f"{'':8}"
    print(f"{what:58} {statistics.median(walls) * 1e3:8.0f} {max(walls) * 1e3:8.0f} {cpu}", flush=True)


def timed(what: str, asks: Iterator[Callable[[], Any]]) -> None:
    walls, cpus = [], []
    for ask in asks:
        began, cpu = time.perf_counter(), time.process_time()
        ask()
        walls.append(time.perf_counter() - began)
        cpus.append(time.process_time() - cpu)
    told(what, walls, cpus)


def in_server(store: Store) -> None:
    """Ask the store what the page asks."""
    found = store.sql(f"SELECT doc_id FROM documents USING SAMPLE {TIMES} ROWS (reservoir, 1)")["rows"]
    ids = [str(row[0]) for row in found]
    languages = store.overview()["languages"]
    many = range(TIMES)
    timed("server: first page", (lambda: store.documents(Filters()) for _ in many))
    timed("server: page 200", (lambda i=i: store.documents(Filters(page=200 + i)) for i in many))
    timed("server: of a language", (lambda i=i: store.documents(Filters(language=languages[i % 8])) for i in many))
    score = {"column": "score_b", "high": 0.5, "sort": "score_c", "descending": True}
    timed("server: by bounds, sorted", (lambda i=i: store.documents(Filters(low=i / 40, **score)) for i in many))
    timed(
        "server: words in the text",
        (lambda i=i: store.documents(Filters(search=f"stone {'br' if i % 2 else 'ri'}")) for i in many),
    )
    timed("server: open a document", (lambda i=i: store.document(i) for i in ids))
    timed("server: move a threshold", (lambda i=i: store.what_if(WhatIf(column="score_a", low=i / 30)) for i in many))


def in_browser(server: Server) -> None:
    """Click through the page, and wait until what was asked for is drawn."""
    from playwright.sync_api import sync_playwright

    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        began = time.perf_counter()
        page.goto(server.address())
        page.locator("#rows tbody tr").first.wait_for()
        told("browser: first load", [time.perf_counter() - began])

        def until(act: Callable[[], Any], done: str) -> float:
            began = time.perf_counter()
            act()
            page.wait_for_function(f"() => !document.body.hasAttribute('aria-busy') && ({done})", polling=10)
            return time.perf_counter() - began

        picks = page.locator("select[name=language] option").evaluate_all("all => all.map(one => one.value)")
        walls = []
        for language in [pick for pick in picks if pick]:
            choose = f"document.querySelector('#rows tbody tr')?.cells[2].textContent === {json.dumps(language)}"
            walls.append(until(lambda name=language: page.locator("select[name=language]").select_option(name), choose))
        told("browser: filter by a language", walls)
        walls = []
        for row in range(TIMES):
            line = page.locator("#rows tbody tr").nth(row)
            short = line.locator("td").first.text_content()
            opened = f"document.querySelector('#document h2')?.textContent.startsWith({json.dumps(short)})"
            walls.append(until(line.click, opened))
        told("browser: open a document", walls)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--words", type=int, default=40)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        run = options.run or Path(made) / "run"
        if not (run / "manifest.json").exists():
            make_large_run(run, options.documents, options.words)
        began, cpu = time.perf_counter(), time.process_time()
        store = Store(str(run))
        print(f"{'ms':58} {'median':>8} {'largest':>8} {'CPU':>8}")
        told("server: read the run", [time.perf_counter() - began], [time.process_time() - cpu])
        try:
            in_server(store)
            if not options.no_browser:
                server = Server(store)
                server.start()
                in_browser(server)
                server.stop()
        finally:
            store.close()


if __name__ == "__main__":
    main()
