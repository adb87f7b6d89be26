"""Pictures of the demo's pages, for the docs and for looking at: `python -m tests.screenshots [FOLDER] [--dark]`."""

import argparse
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from tests.browser import launch

BASE_DIR = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT, MOST = 1440, 900, 1680
PAGES = {
    "dashboard": "/",
    "clients": "/credentials/client/",
    "client": "/credentials/client/?q=changed_in_aws",
    "runs": "/migration/run/",
    "run": "/migration/run/1/change/?items=failed",
    "mismatches": "/migration/comparison/report/",
    "cutover": "/credentials/client/?q=idom",
    "onboarding": "/credentials/client/onboard/",
}
FOLLOW = {"client": "#result_list tbody a >> nth=0", "cutover": "#result_list tbody a >> nth=0"}
DOCS = {"dashboard", "client", "run", "mismatches", "cutover", "onboarding"}


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


def open_the_gate(page: Page) -> None:
    """From the client's page to the dialog of its cutover; the demo leaves it in dual write."""
    page.get_by_role("list", name="Phases").wait_for()
    if (go_on := page.get_by_role("button", name="Move to Dual read")).count():
        go_on.click()
    page.get_by_role("link", name="Comparison").first.click()
    for _ in range(3):
        page.get_by_role("button", name="Check again").click()
        page.get_by_text("Checked again").first.wait_for()
    page.get_by_role("link", name="Overview").click()
    page.get_by_role("link", name="Cut over to AWS").click()


def open_the_comparison(page: Page) -> None:
    page.get_by_role("link", name="Comparison").first.click()
    page.get_by_text("Copy AWS to PostgreSQL").wait_for()


def begin_to_type(page: Page) -> None:
    page.get_by_label("Name").first.fill("Rioja Cellars")
    page.get_by_label("Slug").fill("rioja_cellars")
    login = page.get_by_role("group", name="Database login")
    login.get_by_label("Host").fill("db.database.example")
    login.get_by_label("Port").fill("70000")
    page.get_by_text("nova/clients/rioja_cellars").wait_for()
    page.get_by_text("65535").wait_for()


ACTS: dict[str, Callable[[Page], None]] = {
    "client": open_the_comparison,
    "cutover": open_the_gate,
    "onboarding": begin_to_type,
}


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
        if name in ACTS:
            ACTS[name](page)
        page.wait_for_load_state("networkidle")
        # The window as tall as the page: bars that stick to the window's edge stay at the page's.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": WIDTH, "height": min(MOST, max(HEIGHT, height))})
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
        browser = launch(playwright)
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
