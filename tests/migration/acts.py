"""The page of an act, as somebody opens it and presses its button."""

from django.contrib.messages import get_messages
from django.http import HttpResponse
from django.test import Client as Browser

from migration.moves.pages import find_move_act
from migration.runs.plans import Reason
from nova_credentials.phases import Phase
from tests.migration.pages import CLIENTS


def act_page(code: str, *pks: int, **more: str) -> str:
    query = "".join(f"&{name}={value}" for name, value in more.items())
    return f"{CLIENTS}act/{code}/?clients={','.join(map(str, pks))}{query}"


def move_page(old: Phase, new: Phase, *pks: int, **more: str) -> str:
    act = find_move_act(old, new)
    assert act
    return act_page(act.code, *pks, **more)


def press(browser: Browser, address: str, **fields: str) -> HttpResponse:
    """Open the page, and send its form as it is shown."""
    return send(browser, address, browser.get(address), **fields)


def send(browser: Browser, address: str, page: HttpResponse, **fields: str) -> HttpResponse:
    """Send the form of a page that was opened before."""
    return browser.post(address, {"confirmed": "1", "clients": page.context["shown"], **fields})


def said_on(response: HttpResponse) -> str:
    return " ".join(str(message) for message in get_messages(response.wsgi_request))


def by_verdict(page: HttpResponse) -> dict[str, list[str]]:
    """The slugs of the page's clients by what the plan says of them."""
    return {
        group["verdict"]: [client["slug"] for client, _name in group["clients"]]
        for group in page.context["groups"]
        if group["clients"]
    }


def client_of(page: HttpResponse, slug: str = "idom") -> dict:
    """What the page shows of one client."""
    found = [client for group in page.context["groups"] for client, _name in group["clients"]]
    return next(client for client in found if client["slug"] == slug)


def reasons_of(page: HttpResponse, slug: str = "idom") -> dict[str, Reason]:
    """Code -> what is not met, of one client."""
    return {line["code"]: line for line in client_of(page, slug)["lines"]}


def remedies_of(page: HttpResponse, slug: str = "idom") -> list[dict | None]:
    """The remedy of each thing that is not met, of one client."""
    return [line["remedy"] for line in client_of(page, slug)["lines"]]
