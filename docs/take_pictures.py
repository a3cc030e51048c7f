"""Takes the pictures of the README and the pages: `python docs/take_pictures.py` makes the demo's report and opens it.

It needs headless Chromium; `TAMIS_CHROMIUM` names it where it isn't called chromium.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src")]

import tamis
from tamis.jobs.report.report import make_report

__all__ = ["main"]

PICTURES = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 1180, 860


def main() -> None:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("TAMIS_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    PICTURES.mkdir(exist_ok=True)
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory(prefix="tamis-pictures-") as folder, sync_playwright() as playwright:
        tamis.run("examples/demo.yaml", output=f"{folder}/demo")
        (Path(folder) / "demo.html").write_text(make_report([f"{folder}/demo"]), "utf-8")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto(f"file://{folder}/demo.html")
        page.wait_for_selector("figure[data-plot] svg")
        page.wait_for_timeout(500)
        page.screenshot(path=str(PICTURES / "report.png"))
        browser.close()


if __name__ == "__main__":
    main()
