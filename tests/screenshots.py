"""Pictures of the demo's pages, for the docs and for looking at: `python -m tests.screenshots [FOLDER] [--dark]`."""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

BASE_DIR = Path(__file__).resolve().parent.parent
CHROMIUM = "/usr/bin/chromium"
WIDTH, HEIGHT = 1440, 900
PAGES = {
    "dashboard": "/",
    "clients": "/credentials/client/",
    "client": "/credentials/client/?q=changed_in_aws",
    "runs": "/migration/run/",
    "run": "/migration/run/1/change/?items=failed",
    "mismatches": "/migration/comparison/report/",
}
FOLLOW = {"client": "#result_list tbody a >> nth=0"}
DOCS = {"dashboard"}


@contextmanager
def demo() -> Iterator[tuple[str, str]]:
    """The demo's address and password."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo"],
        cwd=BASE_DIR,
        env=os.environ | {"DEBUG": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout or ():
            if found := re.search(r"(http://\S+?)/?\s+user: admin\s+password: (\S+)", line):
                yield found[1], found[2]
                break
        else:
            raise SystemExit("the demo did not come up")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def shoot(page: Page, site: str, password: str, folder: Path, names: set[str]) -> None:
    page.goto(f"{site}/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", password)
    page.click("[type=submit]")
    for name, address in PAGES.items():
        if name not in names:
            continue
        page.goto(f"{site}/admin{address}")
        if name in FOLLOW:
            page.click(FOLLOW[name])
        page.wait_for_load_state("networkidle")
        # The window as tall as the page: bars that stick to the window's edge stay at the page's.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": WIDTH, "height": max(HEIGHT, height)})
        page.screenshot(path=folder / f"{name}.png")
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, help="all pages, there; default: the docs' own"
    )
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    folder, names = (asked.folder, set(PAGES)) if asked.folder else (BASE_DIR / "docs", DOCS)
    folder.mkdir(parents=True, exist_ok=True)
    with demo() as (site, password), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(
            viewport={"width": WIDTH, "height": HEIGHT},
            color_scheme="dark" if asked.dark else "light",
            locale="en-GB",
        )
        page.on("console", lambda message: sys.stderr.write(f"{message.type}: {message.text}\n"))
        shoot(page, site, password, folder, names)
        browser.close()


if __name__ == "__main__":
    main()
