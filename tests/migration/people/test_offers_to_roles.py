"""No page offers a role what would be refused."""

import re
from html.parser import HTMLParser
from urllib.parse import urljoin

import pytest
from django.urls import resolve

from tests.migration.people.test_roles import (
    ADMINISTRATOR,
    APPROVER,
    AUDIT,
    CLIENT,
    GROUP,
    OPERATOR,
    OTHERS,
    PERSON_ACTS,
    POSTS,
    TABLES,
    USER_ADMINISTRATOR,
    VIEWER,
    site,
)

__all__ = ["site"]


class Offers(HTMLParser):
    """What a page offers: the addresses of its links, and of the forms that have a button."""

    def __init__(self, html: str, address: str) -> None:
        super().__init__()
        self.address = address
        self.links: set[str] = set()
        self.forms: dict[str, str] = {}  # address by id
        self.inside = ""
        self.pressed: set[str] = set()  # ids
        self.posts: set[str] = set()
        self.feed(html)
        self.posts |= {self.forms[form] for form in self.pressed if form in self.forms}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        kind = given.get("type", "submit" if tag == "button" else "")
        link = given.get("href", "") if tag == "a" else ""
        if link.startswith("/admin/"):
            self.links.add(link)
        if link.startswith("?"):
            self.links.add(self.address.partition("?")[0] + link)
        if tag == "button" and "hx-post" in given:
            self.posts.add(urljoin(self.address, given["hx-post"]))
        if kind == "submit" and "formaction" in given:
            self.posts.add(urljoin(self.address, given["formaction"]))
        elif tag == "form":
            self.inside = given.get("id") or f"form {len(self.forms)}"
            if given.get("method") == "post":
                self.forms[self.inside] = given.get("action") or self.address
        elif tag in ("button", "input") and kind == "submit":
            self.pressed.add(given.get("form") or self.inside)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self.inside = ""


def is_entry(address: str) -> bool:
    return bool(re.fullmatch(r"/admin/migration/auditevent/[0-9a-f-]{36}/change/", address))


def walk(client) -> dict[str, Offers]:
    """Every page that can be reached by links, each address once whatever is asked of it."""
    found: dict[str, Offers] = {}
    to_see = ["/admin/"]
    while to_see and len(found) < 200:
        address = to_see.pop()
        if address in found or (is_entry(address) and any(map(is_entry, found))):
            continue  # the page of one entry of the audit is as that of another
        response = client.get(address)
        assert response.status_code in (200, 302), f"{address} is linked: {response.status_code}"
        shown = response.status_code == 200 and not response.streaming
        html = response.content.decode() if shown else ""
        found[address] = Offers(html, address)
        # The tabs of a client's page, and the question before a campaign is cancelled, are pages too.
        links = {
            re.sub(r"\?(?!tab=|cancel=|state=).*|#.*", "", link) for link in found[address].links
        }
        to_see += sorted(links - set(found))
    return found


# Who may least is offered too much first. The others walk the same pages.
NIGHTLY = [
    pytest.param(role, marks=pytest.mark.nightly)
    for role in (APPROVER, USER_ADMINISTRATOR, ADMINISTRATOR)
]


@pytest.mark.parametrize("role", [VIEWER, OPERATOR, *NIGHTLY])
def test_no_page_offers_what_would_be_refused(site, client, role):
    client.force_login(site.users[role])

    pages = walk(client)

    posts = {post for offers in pages.values() for post in offers.posts}
    names = {resolve(re.sub(r"[?#].*", "", post)).url_name for post in posts} - OTHERS
    assert {name for name in names if role not in POSTS[name][1]} == set()
    assert len(pages) > 20
    assert names == EXPECTED_BUTTONS[role]


# The others are offered on pages that no link leads to here, or to who has a password.
OPERATORS_BUTTONS = {
    *(f"{CLIENT}_{what}" for what in ("add", "import", "change", "changelist")),
    *(f"{CLIENT}_{what}" for what in ("compare", "comment")),
    f"{CLIENT}_leaving",
    *(f"{CLIENT}_{what}" for what in ("test_logins", "test_typed", "test_new", "add_test")),
    *(f"{CLIENT}_{what}" for what in ("rotate", "set_schedule")),
    *(
        f"migration_run_{what}"
        for what in (*("compare_all", "steer", "rate", "health", "stop_writes", "check_aws"),)
    ),
    *(f"migration_comparison_{what}" for what in ("check", "act")),
    *(f"migration_campaign_{what}" for what in ("start", "steer", "cancel")),
    *(f"{GROUP}_{what}" for what in ("add", "change", "delete")),
    "migration_copysearch_start",
}
# New recovery codes are for whoever has some.
# The list offers everybody the download of the selected clients.
OWN_BUTTONS = {
    "second_factor_set_up",
    "time_zone",
    f"{CLIENT}_cutover_file",
    f"{CLIENT}_changelist",
}
EXPECTED_BUTTONS = {
    VIEWER: OWN_BUTTONS,
    OPERATOR: OPERATORS_BUTTONS | OWN_BUTTONS,
    APPROVER: {"migration_run_approve", "migration_run_cancel", f"{AUDIT}_export"} | OWN_BUTTONS,
    USER_ADMINISTRATOR: {
        "people_invite",
        # Nobody has a second factor, and nobody is deactivated.
        *({*PERSON_ACTS} - {"person_factor", "person_activate"}),
        "person_sessions",
        *OWN_BUTTONS,
    },
    ADMINISTRATOR: {name for name in POSTS if not name.startswith(("person", "people", "let_in"))}
    - {f"{CLIENT}_cutover", "password_change"}
    # NOVA's tables have no column and no object to offer them for.
    - {f"{TABLES}_map", f"{TABLES}_accept"}
    # NOVA has no legacy table.
    - {f"{CLIENT}_legacy"}
    # No secret is somebody else's, and none differs from the rows.
    - {f"{CLIENT}_copy", f"{CLIENT}_undo_copy"}
    # NOVA has deleted no client.
    - {"migration_run_secret_settings"}
    # Of no secret a version was chosen, and none is left pending.
    - {f"{CLIENT}_restore_version", f"{CLIENT}_take_pending_off"}
    # No campaign waits for an approval, and none has refused a client.
    - {"migration_campaign_approve", "migration_campaign_go_on_without"}
    # Nobody has acknowledged anything yet.
    - {"migration_comparison_undo"}
    # Nobody has a second factor.
    - {"second_factor"}
    - {
        "migration_run_start_writes",
        "migration_run_claim",
    },  # writes are not stopped, and it is no copy
}
