"""Malformed requests to every address: the site fails at none of them, and none of them changes anything.

What is sent to which address is drawn with a seed, so it is the same every time.
"""

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import get_resolver

from credentials.models import DatabaseCredential
from migration.models import AuditEvent, Campaign
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.attacks import malformed
from tests.attacks.malformed import DIGITS, NUL
from tests.factories import all_tables, make_comparison, make_full_client, make_user
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import store_plan
from tests.page_forms import forms_alone, send_form
from tests.test_headers import list_addresses

SEED = 13
# Every visit writes the first, and every look into AWS the second, and counts its calls in the third.
NOTES = tuple(
    f"nova_admin.{name}"
    for name in (
        *("axes_accessattempt", "django_session", "migration_auditevent", "migration_lease"),
        *("migration_rate", "migration_keptcounts", "migration_wrongpassword"),
        "migration_logintest",  # whatever can be read is a label
        "migration_databaseclaim",  # what hosts share, by the first who needs it if `migrate` could not
    )
)


@pytest.fixture
def ids(stores) -> dict[str, int]:
    """The id of one object of each kind, by the path before it."""
    client_id = make_full_client("idom")
    enter_phase(client_id, Phase.DUAL_READ)
    run = Run.objects.create(kind=Run.Kind.PUSH)
    run.add_items([(client_id, "idom")])
    run.items.update(outcome="failed")
    discarded = store_plan("test_logins")
    discarded.discard(by=None)
    former = store_plan()
    former.discard(by=None)
    Run.objects.filter(pk=former.pk).update(former_plan=former.pk)
    administrator = make_user("maria", is_superuser=True)  # every page is open to her
    return {
        "/client/": client_id,
        "/database/": DatabaseCredential.objects.get(client=client_id).pk,
        "/run/": run.pk,
        "/run/plan/": former.pk,
        "/act/plan/": discarded.pk,
        "/campaign/": Campaign.objects.create(goal="aws", state="cancelled").pk,
        "/comparison/": make_comparison(client_id, "mismatch").pk,
        "/people/": administrator.pk,
    }


@pytest.fixture
def administrator(ids) -> Client:
    browser = sign_out()
    browser.force_login(User.objects.get(pk=ids["/people/"]))
    return browser


def sign_out() -> Client:
    return Client(raise_request_exception=False)


@pytest.fixture
def nothing_changes(ids, administrator) -> Iterator[None]:
    """Fails a test whose requests changed a row."""
    before = read_tables()
    yield
    after = read_tables()
    assert [name for name in before if before[name] != after[name]] == []


def read_tables() -> dict[str, str]:
    names = [name for name in all_tables() if name not in NOTES and "kept_for_tests" not in name]
    digests = " UNION ALL ".join(
        f"SELECT '{name}', md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {name} t"
        for name in names
    )
    with connection.cursor() as cursor:
        cursor.execute(digests)
        return dict(cursor.fetchall())


def list_requests(address: str, ids: dict[str, int], draw: random.Random) -> Iterator[tuple]:
    """What is sent to one address: a name of the request, a method and what `generic` takes besides."""
    url = address
    for before, pk in ids.items():
        url = url.replace(f"{before}PK", f"{before}{pk}")
    if "PK" in address:
        for bad, method in zip(draw.sample(malformed.IDS, 2), ("GET", "POST"), strict=True):
            yield f"id {bad[:9]}", method, (address.replace("PK", bad),), {}
    for name, value in zip(
        draw.sample(malformed.NAMES, 2), draw.sample(malformed.VALUES, 2), strict=True
    ):
        yield f"?{name}={value[:9]}", "GET", (url,), {"QUERY_STRING": f"{name}={value}"}
    if not url.endswith(malformed.WITHOUT_FIELDS):
        name = draw.choice(sorted(malformed.BODIES))
        content_type, body = malformed.BODIES[name]
        yield name, "POST", (url, body, content_type), {}
    length = draw.choice(malformed.LENGTHS)
    sent = {"CONTENT_LENGTH": length}
    yield f"length {length[:9]}", "POST", (url, b"kind=x", malformed.FORM), sent
    name = draw.choice(sorted(malformed.HEADERS))
    yield name, "GET", (url,), {"headers": malformed.HEADERS[name]}
    method = draw.choice(malformed.METHODS)
    yield f"method {method}", method, (url,), {}


class Sender:
    """Sends requests as one person, without rendering most pages, and keeps those at which the site failed."""

    def __init__(self, browser: Client, who: str) -> None:
        self.browser, self.who = browser, who
        self.session = browser.cookies.get("sessionid")
        self.failed: list[tuple] = []
        self.statuses: Counter[int] = Counter()

    def send(self, name: str, method: str, address: str, *body, **options) -> int:
        with forms_alone():
            status = self.browser.generic(method, address, *body, **options).status_code
        self.count(status, address, name)
        return status

    def post(self, name: str, address: str, data: dict) -> int:
        status = send_form(self.browser, address, data).status_code
        self.count(status, address, name)
        return status

    def count(self, status: int, address: str, name: str) -> None:
        self.statuses[status] += 1
        if status >= 500:
            self.failed.append((address, name, self.who, status))
        # A session that is none is deleted with the answer.
        self.browser.cookies.clear()
        if self.session:
            self.browser.cookies["sessionid"] = self.session.value


def test_no_address_fails(ids, administrator, nothing_changes):
    """Before, they failed at a Content-Length that is no number, a charset that is no text and a session of NULs."""
    addresses = list_addresses(get_resolver().url_patterns)
    maria, nobody = Sender(administrator, "maria"), Sender(sign_out(), "nobody")
    draw = random.Random(SEED)
    for number, address in enumerate(addresses):
        requests = list(list_requests(address, ids, draw))
        for name, method, args, options in requests:
            maria.send(name, method, *args, **options)
        # Nobody is asked to log in before these are read, at each address one of them.
        before_login = [each for each in requests if not each[0].startswith(("id ", "?"))]
        name, method, args, options = before_login[number % len(before_login)]
        nobody.send(name, method, *args, **options)

    assert maria.failed + nobody.failed == []
    assert len(addresses) > 80
    assert maria.statuses.total() > 600
    # Most of what is sent gets past the login to a page.
    assert maria.statuses[200] > 60
    assert set(maria.statuses) <= {200, 204, 301, 302, 304, 400, 403, 404, 405}


def test_no_field_of_a_form_makes_it_fail(ids, administrator, nothing_changes, monkeypatch):
    """Before, a NUL as owner did, and an empty name of a field."""
    for module in ("migration.people.password_pages", "migration.people.lockouts"):
        monkeypatch.setattr(f"{module}.MOST_IN_A_SESSION", 1_000)  # her session goes on
    maria = Sender(administrator, "maria")
    forms = malformed.list_forms(administrator, ids)
    draw = random.Random(SEED)
    for address, body in forms:
        fields = sorted(body.keys() - malformed.STEERING)
        for field in draw.sample(fields, min(len(fields), 4)):
            maria.post(f"{field}=NUL", address, body | {field: NUL})
            if field not in ("reason", "role"):
                # Whatever can be read is a comment, or a name.
                values = (DIGITS, "") if field in ("text", "name") else (DIGITS, "x", "-1", "")
                value = draw.choice(values)
                maria.post(f"{field}={value[:9]}", address, body | {field: value})

    assert maria.failed == []
    assert set(maria.statuses) <= {200, 302, 400, 403, 404}
    assert maria.statuses[200] > 30


def test_no_header_makes_any_page_fail(ids, administrator, nothing_changes):
    """Before, a session of NULs did, for everybody."""
    strict = Client(raise_request_exception=False, enforce_csrf_checks=True)
    for sender in (Sender(administrator, "maria"), Sender(strict, "nobody")):
        for address in ("/admin/login/", "/i18n/setlang/"):
            for name, headers in malformed.HEADERS.items():
                for method in ("GET", "POST"):
                    sender.send(name, method, address, headers=headers)

        assert sender.failed == []
        assert set(sender.statuses) <= {200, 204, 302, 400, 403, 404, 405}


def test_no_body_makes_a_form_fail(ids, administrator, nothing_changes):
    maria = Sender(administrator, "maria")
    page = f"{malformed.CLIENTS}{ids['/client/']}/"
    for address in ("/admin/login/", f"{page}change/", f"{page}resolve/"):
        for name, (content_type, body) in malformed.BODIES.items():
            maria.send(name, "POST", address, body, content_type)

    assert maria.failed == []


def test_a_nul_that_somebody_typed_is_an_error_of_the_form(administrator):
    answer = administrator.post("/admin/people/invite/", {"name": NUL, "mail": NUL})

    for field in ("name", "mail"):
        errors = str(answer.context["form"].errors[field])
        assert "Null characters are not allowed" in errors


def test_a_nul_in_the_login_is_an_error_of_the_form(db, client):
    login = client.post("/admin/login/", {"username": NUL, "password": "example"})

    assert login.status_code == 200
    assert "Null characters are not allowed" in str(login.context["form"].errors["username"])


def test_what_can_be_no_address_is_refused(client):
    for address, status in (
        ("/admin/credentials/client/1%00/change/", 404),
        ("/admin/?q=%00", 400),
        ("/admin/?%00=q", 400),
        ("/admin/credentials/client/1/change/?_to_field=", 400),
    ):
        assert client.get(address).status_code == status, address


def test_a_chosen_row_without_a_number_is_refused(administrator, nothing_changes):
    for key in (NUL, DIGITS, "x", "-1", "", "1 OR 1"):
        chosen = {"action": "delete_selected", "_selected_action": key}
        answer = administrator.post("/admin/migration/clientgroup/", chosen)
        assert answer.status_code == 400, key


def test_no_object_has_a_page_on_a_public_site_whatever_its_key_is(administrator):
    models = (AuditEvent, Session, Run)
    kinds = [ContentType.objects.get_for_model(model).pk for model in models]
    for key in ("x", "1", "00000000-0000-0000-0000-000000000000", "a%00b", "9" * 25):
        for kind in kinds:
            assert administrator.get(f"/admin/r/{kind}/{key}/").status_code == 404
        assert administrator.get(f"/admin/r/{key}/1/").status_code == 404
        assert sign_out().get(f"/admin/r/1/{key}/").status_code in (302, 404)
