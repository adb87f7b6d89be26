"""The headers of every answer: what a browser may do with it, and that it keeps no page of the admin."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import URLResolver, get_resolver

from credentials.models import DatabaseCredential
from nova_admin.middleware import PERMISSIONS_POLICY
from tests.factories import make_full_client, make_user

EXPECTED = {
    "Permissions-Policy": "camera=()",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'",
}
# The pages that show a credential, or have a form for one.
WITH_CREDENTIALS = (
    *(
        "password_change/",
        "people/invite/",
        "people/PK/link/",
        "people/PK/details/",
        "login/forgot/",
    ),
    *("credentials/client/add/", "credentials/client/PK/change/"),
    "credentials/client/PK/reveal/database/PK/db_password/",
)


def list_addresses(patterns, before: str = "/") -> list[str]:
    """Every address of the site; PK stands for an id."""
    filled = {"kind": "database", "name": "db_password", "new": "dual_write", "act": "test_logins"}
    found: list[str] = []
    for pattern in patterns:
        route = str(pattern.pattern)
        route = re.sub(r"^\^\(\?P<app_label>.*", "migration/", route)
        route = re.sub(r"^\(\?P<url>.*", "no-such-page/", route)
        route = re.sub(r"<(?:\w+:)?(\w+)>", lambda found: filled.get(found[1], "PK"), route)
        if isinstance(pattern, URLResolver):
            found += list_addresses(pattern.url_patterns, before + route)
        else:
            found.append(before + route)
    return found


@pytest.fixture
def ids(stores) -> dict[str, int]:
    """Of a client, a login of it, and a user who may do everything: the id of each by the path before it."""
    client_id = make_full_client("idom")
    login = DatabaseCredential.objects.get(client=client_id)
    user = make_user("root", is_superuser=True)
    return {"": client_id, "/database/": login.pk, "/people/": user.pk}


def fill(address: str, ids: dict[str, int]) -> str:
    for before, pk in reversed(ids.items()):
        address = address.replace(f"{before}PK", f"{before}{pk}")
    return address


def lacks(response) -> dict[str, str]:
    got = {name: response.headers.get(name, "") for name in EXPECTED}
    return {name: got[name] for name in EXPECTED if EXPECTED[name] not in got[name]}


def test_every_answer_of_the_site_has_its_headers_and_is_kept_by_nobody(ids, client):
    """Before, no answer had a Permissions-Policy, and browsers might keep the form of a password."""
    signed_in, stranger = client, Client()
    signed_in.force_login(User.objects.get(username="root"))
    lacking, statuses = {}, {}
    for address in list_addresses(get_resolver().url_patterns):
        for who in (signed_in, stranger):
            response = who.get(fill(address, ids))
            statuses.setdefault(address, response.status_code)
            if missing := lacks(response):
                lacking[address, who is stranger] = missing

    assert lacking == {}
    assert len(statuses) > 80
    assert {statuses[f"/admin/{page}"] for page in WITH_CREDENTIALS} == {200}
    assert set(statuses.values()) <= {200, 204, 301, 302, 403, 404, 405}


def test_answers_to_what_is_wrong_have_them_too(db, client):
    for response in (
        client.get("/no-such-page/"),
        client.post("/admin/login/", {"username": "root", "password": "example-wrong"}),
        Client(enforce_csrf_checks=True).post("/admin/login/", {}),
        client.get("/", headers={"host": "evil.example"}),
    ):
        assert lacks(response) == {}
        assert response.status_code in (200, 400, 403, 404)


def policy_of(response) -> dict[str, str]:
    directives = response.headers["Content-Security-Policy"].split("; ")
    return dict(directive.split(" ", 1) for directive in directives)


def test_no_page_runs_a_script_that_is_not_a_file_of_the_site(db, client):
    """Before, no answer had a policy: a script that got into a page could have read every secret on it."""
    policies, nonces = [], []
    for _ in range(2):
        response = client.get("/admin/login/")
        nonce = re.search(r'<style id="unfold-theme-colors" nonce="([^"]{24})">', response.text)[1]
        policies.append(policy_of(response))
        assert policies[-1].pop("style-src-elem") == f"'self' 'nonce-{nonce}'"
        nonces.append(nonce)

    assert nonces[0] != nonces[1]
    assert policies == 2 * [
        {
            "default-src": "'none'",
            "style-src-attr": "'unsafe-inline'",
            **dict.fromkeys(("frame-ancestors", "base-uri"), "'none'"),
            **dict.fromkeys(("script-src", "img-src", "font-src"), "'self'"),
            **dict.fromkeys(("connect-src", "form-action"), "'self'"),
        }
    ]


def test_static_files_are_kept_as_before(client, settings):
    settings.WHITENOISE_USE_FINDERS = True  # of a site that did not collect them

    response = client.get("/static/migration/favicon.svg")

    assert b"".join(response.streaming_content)
    assert response.status_code == 200
    assert "no-store" not in response.headers["Cache-Control"]
    assert response.headers["Permissions-Policy"] == PERMISSIONS_POLICY
