"""One browser a session, and `visit`: a page of the live site, of which every complaint fails the test."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from migration.moves.moves import move
from migration.pushes.comparisons import compare
from nova_credentials.phases import Phase
from tests.browser import CHROMIUM, do_without, launch
from tests.browser.axe import violations
from tests.factories import make_full_client
from tests.migration.moves.clients import enter_phase

# Of a machine that has much else to do; who waits so long fails.
PATIENCE_MS = 120_000


@contextmanager
def loop_runs(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Playwright's loop is seen as running in here alone: Django gives each loop connections of their own."""
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(None)


@pytest.fixture(scope="session")
def playing() -> Iterator[tuple[Browser, asyncio.AbstractEventLoop]]:
    if not CHROMIUM.exists():
        do_without()
    expect.set_options(timeout=PATIENCE_MS)
    playwright = sync_playwright().start()
    loop = asyncio.get_running_loop()
    with loop_runs(loop):
        browser = launch(playwright)
    yield browser, loop
    with loop_runs(loop):
        browser.close()
        playwright.stop()


@pytest.fixture
def browser(playing, monkeypatch) -> Iterator[Browser]:
    # Its loop runs in this thread, and Django then suspects every query.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    browser, loop = playing
    with loop_runs(loop):
        yield browser
        connections.close_all()


@pytest.fixture
def complaints(live_server) -> Iterator[list[str]]:
    """What no page may do: log an error, fail, miss something, ask another host. A test may look, and clear it."""
    complaints: list[str] = []
    yield complaints
    assert complaints == []


@pytest.fixture
def visit(browser, stores, live_server, complaints) -> Iterator[Callable[..., Page]]:
    """Opens an address in a new page, logged in as a superuser or as `user`; one context each."""
    contexts: list[BrowserContext] = []

    def visit(
        address: str, *, user: User | None = None, clock: bool = False, **options: Any
    ) -> Page:
        context = browser.new_context(**{"locale": "en-GB"} | options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        if user is None:
            user, _made = User.objects.get_or_create(
                username="root", defaults={"is_staff": True, "is_superuser": True}
            )
        if user.is_authenticated:
            context.add_cookies([session_of(user, live_server.url)])
        page = context.new_page()
        if clock:
            page.clock.install()
        listen(page, live_server.url, complaints)
        page.goto(f"{live_server.url}{address}")
        return page

    yield visit
    for context in contexts:
        context.close()


def session_of(user: User, url: str) -> Any:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    return {"name": name, "url": url, "value": client.cookies[name].value}


def listen(page: Page, site: str, complaints: list[str]) -> None:
    page.asked = []  # type: ignore[attr-defined]

    def asked(request: Any) -> None:
        page.asked.insert(0, request)  # type: ignore[attr-defined]
        if not request.url.startswith((f"{site}/", "data:", "blob:")):
            complaints.append(f"asks another host: {request.url}")

    def failed(request: Any) -> None:
        # Whoever leaves a page ends what it was still asking for.
        if request.failure != "net::ERR_ABORTED":
            complaints.append(f"{request.failure}: {request.url}")

    page.on("request", asked)
    page.on("requestfailed", failed)
    page.on("response", lambda r: r.status >= 400 and complaints.append(f"{r.status}: {r.url}"))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: said.type == "error" and complaints.append(said.text))


@pytest.fixture
def look_at(visit):
    """Goes from page to page and says of each what axe-core finds."""
    pages = []

    def look_at(*addresses: str, **options) -> dict[str, list[str]]:
        found = {}
        for address in addresses:
            if pages:
                site = "/".join(pages[0].url.split("/", 3)[:3])
                pages[0].goto(
                    "about:blank"
                )  # a page that loads itself anew now would end what is loading
                pages[0].goto(site + address)
            else:
                pages.append(visit(address, **options))
            found[address] = violations(pages[0])
        return {address: lines for address, lines in found.items() if lines}

    return look_at


@pytest.fixture
def client_in(stores):
    """A client that stands in the phase, compared there."""

    def client_in(phase: Phase, slug: str = "") -> int:
        pk = make_full_client(slug or f"in_{phase}")
        enter_phase(pk, Phase.AWS if phase == Phase.PURGED else phase)
        compare(client_ids=[pk])
        if phase == Phase.PURGED:
            move(client_id=pk, new=phase)
        return pk

    return client_in
