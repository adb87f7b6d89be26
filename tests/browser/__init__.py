"""The one browser that tests and screenshots drive: Debian's Chromium, where it is, and how it is started."""

import os
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Playwright

# The same Chromium without windows opens a page for half of the processor's time.
PLACES = (Path("/usr/bin/chromium-headless-shell"), Path("/usr/bin/chromium"))
CHROMIUM = next(filter(Path.exists, PLACES), PLACES[-1])
# Nothing is drawn by a graphics card; a process of its own for that takes a sixth of the browser's time.
ARGUMENTS = (
    *("--no-sandbox", "--disable-dev-shm-usage"),
    *("--no-zygote", "--in-process-gpu", "--disable-gpu"),
)
HOW_TO_GET_IT = f"no browser at {CHROMIUM}: apt-get install chromium"


def launch(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


def do_without() -> NoReturn:
    """Skips the test that wants a browser; where it may not be skipped (`REQUIRE_BROWSER`, in .ci/run) fails it."""
    if os.environ.get("REQUIRE_BROWSER"):
        pytest.fail(HOW_TO_GET_IT)
    pytest.skip(HOW_TO_GET_IT)
