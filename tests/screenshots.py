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
WIDE, TALLEST = {"width": 1440, "height": 900}, 1680
# A campaign is taken further once a minute.
PATIENCE_MS = 300_000
LIST = "/credentials/client/"
PAGES = {
    "dashboard": "/",
    "clients": LIST,
    "client": f"{LIST}?q=idom",
    "comparison": f"{LIST}?q=changed_in_aws",
    "run": "/migration/run/1/change/?items=failed",
    "cutover": f"{LIST}?q=aldana_logistics",
    "campaign": "/migration/campaign/",
}
GROUPS = {
    "Food": ("bahia_foods", "olivar_oils", "quinta_wines"),
    "Energy": ("ebro_water", "jara_energy"),
    "Transport": ("galerna_shipping", "norte_rail"),
}


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
        printed = ""
        for line in process.stdout or ():
            printed += line
            if found := re.search(r"(http://\S+?)/?\s+user: admin\s+password: (\S+)", printed):
                yield found[1], found[2]
                break
        else:
            raise SystemExit("the demo did not come up")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def manage(*arguments: str) -> None:
    """Run a command on the demo's stores."""
    subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=BASE_DIR,
        env=os.environ | {"DEBUG": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )


def start_campaign() -> None:
    """Start a campaign of three waves. Its limits are wide: a busy machine is late with a read now and then."""
    for name, slugs in GROUPS.items():
        manage("group", "add", name, *slugs)
    limits = [f"--stop-at-{what}=100" for what in ("mismatches", "failed-reads", "refused")]
    manage("campaign", "start", *GROUPS, "--goal=dual_read", "--soak-hours=0.02", *limits)


def open_first(page: Page) -> None:
    page.locator("#result_list tbody th a, #result_list tbody td a").first.click()


def open_client(page: Page) -> None:
    open_first(page)
    page.get_by_role("list", name="Phases").wait_for()


def open_comparison(page: Page) -> None:
    open_client(page)
    page.get_by_role("link", name="Comparison").first.click()
    page.get_by_text("Copy AWS to PostgreSQL").wait_for()


def open_cutover(page: Page) -> None:
    """From the client's page to that of its cutover; the demo leaves it in dual write."""
    open_client(page)
    if (go_on := page.get_by_role("link", name="Move to dual read")).count():
        go_on.click()
        page.get_by_role("button", name="Move to dual read").click()
    page.get_by_role("link", name="Cut over to AWS").click()


def open_campaign(page: Page) -> None:
    """Waits until a wave is done."""
    open_first(page)
    page.get_by_text(re.compile("[1-3] of 3 waves done")).wait_for()


ACTS: dict[str, Callable[[Page], None]] = {
    "client": open_client,
    "comparison": open_comparison,
    "cutover": open_cutover,
    "campaign": open_campaign,
}


def log_in(page: Page, site: str, password: str) -> None:
    page.goto(f"{site}/")
    page.fill("#id_username", "admin")
    page.fill("#id_password", password)
    page.click("[type=submit]")
    page.get_by_role("heading", name="Dashboard").wait_for()


def shoot(page: Page, site: str, folder: Path) -> None:
    for name, address in PAGES.items():
        page.goto(f"{site}/admin{address}")
        if name in ACTS:
            ACTS[name](page)
        page.wait_for_load_state("networkidle")
        # The window as tall as the page: bars that stick to the window's edge stay at the page's.
        height = page.evaluate("document.documentElement.scrollHeight")
        tall = WIDE | {"height": min(TALLEST, max(WIDE["height"], height))}
        page.set_viewport_size(tall)
        page.screenshot(path=folder / f"{name}.png")
        page.set_viewport_size(WIDE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "folder", nargs="?", type=Path, default=BASE_DIR / "docs", help="default: the docs' own"
    )
    parser.add_argument("--dark", action="store_true")
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    with demo() as (site, password), sync_playwright() as playwright:
        browser = launch(playwright)
        page = browser.new_page(
            viewport=WIDE, color_scheme="dark" if asked.dark else "light", locale="en-GB"
        )
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", lambda message: sys.stderr.write(f"{message.type}: {message.text}\n"))
        log_in(page, site, password)
        # It goes on while the other pictures are taken.
        page.goto(f"{site}/admin{PAGES['campaign']}")
        if not page.locator("#result_list").count():
            start_campaign()
        shoot(page, site, asked.folder)
        browser.close()


if __name__ == "__main__":
    main()
