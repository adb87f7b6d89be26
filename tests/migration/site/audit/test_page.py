"""The page Audit: filters in its address, pages from entry to entry, exports, both languages, few statements."""

import json
import re
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from credentials.models import NAMED_ROWS, ROW_NAMES, DatabaseCredential
from migration.core.audit import REFUSAL_EVENT, WRITES_STARTED_EVENT, Actor, acting
from migration.core.audit_chain import seal_audit
from migration.core.aws_writes import STARTED_WRITES
from migration.core.clients import GATE_EVENT
from migration.core.groups import CLIENT_GROUP_ADDED, CLIENT_GROUP_EVENT
from migration.core.refused_acts import PAGE_REFUSED
from migration.logins.reveals import REVEAL_EVENT, REVEALED
from migration.models import AuditEvent
from migration.moves.rules import NO_COPIES_FOUND
from migration.people.audit_signals import (
    GIVEN,
    GROUP_CHANGED_EVENT,
    LOGGED_IN,
    LOGIN_EVENT,
    OF_GROUP,
)
from migration.people.lockouts import LET_IN, LET_IN_EVENT
from migration.site.audit import ROWS_A_PAGE
from migration.site.dashboard import list_activity
from nova_credentials.messages import in_a_row
from tests.factories import make_full_client, make_user
from tests.migration.site.audit.conftest import write_entries

URL = "/admin/migration/auditevent/"


@pytest.fixture
def maria(transactional_db, client):
    user = make_user("maria", "migration.view_auditevent")
    client.force_login(user)
    return user


def test_the_page_shows_who_did_what_in_a_fixed_number_of_statements(
    maria, client, django_assert_max_num_queries
):
    write_entries(
        60,
        reason="INC-<b>42</b>",
        slug="idom",
        client_id=7,
    )
    before = AuditEvent.objects.count()
    with django_assert_max_num_queries(8):
        response = client.get(URL)

    page = response.content.decode()
    assert page.count("<time ") == ROWS_A_PAGE
    assert "Resumed AWS writes." in page
    assert "INC-&lt;b&gt;42" in page
    assert AuditEvent.objects.count() == before  # looking is no act

    older = client.get(URL, {"older": response.context["oldest"]}).context
    assert [row.pk for row in older["rows"]] == [
        *AuditEvent.objects.order_by("-pk").values_list("pk", flat=True)[
            ROWS_A_PAGE : 2 * ROWS_A_PAGE
        ]
    ]
    newer = client.get(URL, {"newer": older["rows"][0].pk}).context
    assert [row.pk for row in newer["rows"]] == [row.pk for row in response.context["rows"]]
    assert newer["newest"] is None


def test_the_page_is_in_spanish_where_its_reader_is(maria, client):
    response = client.get(URL, headers={"Accept-Language": "es"})
    assert response.headers["Content-Language"] == "es"
    assert response.status_code == 200


def test_filters_are_in_the_address_and_what_is_none_is_left_out(maria, client):
    write_entries(2, slug="idom")
    shown = client.get(URL, {"who": "user 1", "slug": "idom", "code": "writes_started"}).context
    assert [row.who for row in shown["rows"]] == ["user 1"]

    wrong = {"since": "2026-02-31", "until": "0001-01-01", "older": "x", "newer": "1" * 5000}
    shown = client.get(URL, wrong).context
    assert shown["filters"] == {}
    assert len(shown["rows"]) == AuditEvent.objects.count()

    assert client.get(URL, {"since": "2999-01-01"}).context["rows"] == []
    assert client.get(URL, {"until": "1999-01-01"}).context["rows"] == []


def test_the_entries_of_a_client_a_run_and_a_campaign_are_chosen_by_its_number(maria, client):
    with acting(Actor("", "run 5")):
        write_entries(2, slug="idom", client_id=7)
    with acting(Actor("", "campaign 5")):
        write_entries(1)
    write_entries(1, slug="renamed", client_id=7)

    for filters, number in (
        ({"correlation": "run 5"}, 2),
        ({"correlation": "campaign 5"}, 1),
        ({"client": "7"}, 3),
        ({"client": "7", "correlation": "run 5", "who": "user 1"}, 1),
        ({"client": "0"}, 0),
        ({"client": "8" * 18}, 0),
    ):
        shown = client.get(URL, filters).context
        assert shown["filters"] == filters
        assert len(shown["rows"]) == number
    assert client.get(URL, {"client": "idom"}).context["filters"] == {}
    shown = client.get(URL, {"client": "7"})
    assert 'type="hidden" name="client" value="7"' in shown.content.decode()


def test_the_kinds_to_filter_by_are_those_that_there_are(maria, client):
    write_entries(1)
    codes = {code for code, _title, _chosen in client.get(URL).context["codes"]}
    assert codes == {*AuditEvent.objects.values_list("code", flat=True)}
    assert "writes_started" in codes


def test_an_entry_tells_the_address_of_a_person_and_no_host_of_a_worker(maria, client):
    with acting(Actor("10.0.0.8", "1")):
        write_entries(1)
    with acting(Actor("worker on nova-2", "2")):
        write_entries(1)
    page = client.get(URL).content.decode()
    assert "10.0.0.8" in page
    assert "nova-2" not in page
    entry = client.get(f"{URL}{AuditEvent.objects.order_by('-pk')[0].pk}/change/")
    assert "nova-2" in entry.content.decode()


def test_each_filter_in_use_is_named_in_words_and_taken_away_by_a_link(maria, client):
    page = client.get(URL, {"who": "user 1", "code": "writes_started"})

    (who, what) = page.context["in_use"]["chips"]
    assert (who.title, who.value, who.remove_url) == ("Who", "user 1", "?code=writes_started")
    assert (what.title, what.value, what.remove_url) == (
        "What",
        "AWS writes resumed",
        "?who=user+1",
    )
    assert 'href="?who=user+1"' in page.content.decode()


@pytest.mark.parametrize(("number", "key"), [(4, "given"), (5, "brief_given")])
def test_many_permissions_are_counted_in_the_list_and_named_on_the_entrys_page(
    maria, client, number, key
):
    names = tuple(f"Can do thing {n}" for n in range(number))
    facts = GIVEN(owner=OF_GROUP(name="Viewer"), names=names)
    entry = AuditEvent.objects.record(GROUP_CHANGED_EVENT, facts, by=maria)

    row, *_others = client.get(URL, {"code": GROUP_CHANGED_EVENT}).context["rows"]
    page = client.get(reverse("admin:migration_auditevent_change", args=[entry.pk]))

    assert (row.pk, row.brief.key) == (entry.pk, key)
    assert all(name in page.content.decode() for name in names)


@pytest.mark.parametrize(
    ("page", "told"),
    [
        ("admin:people", "No permission for the page People."),
        ("admin:migration_run_health", "No permission for the page Health."),
        ("admin:person_role", "No permission for the page admin:person_role (GET)."),
    ],
)
def test_a_refused_page_is_told_by_its_title_where_the_menu_has_it(maria, client, page, told):
    AuditEvent.objects.record(REFUSAL_EVENT, PAGE_REFUSED(method="GET", page=page), by=maria)

    row, *_others = client.get(URL, {"code": REFUSAL_EVENT}).context["rows"]

    assert str(row.brief) == told


@pytest.mark.parametrize("name", ["vera", 've"ra', "v\\n%_é"])
def test_what_was_done_to_a_user_is_found(maria, client, name):
    vera = make_user(name)
    root = make_user("root", is_superuser=True)
    make_user("veranda")
    vera.groups.add(Group.objects.get(name="Operator"))
    let_in = LET_IN(name=name, address="10.0.0.8")
    AuditEvent.objects.record(LET_IN_EVENT, let_in, by=root)
    AuditEvent.objects.record(LOGIN_EVENT, LOGGED_IN(), by=vera)
    AuditEvent.objects.record(CLIENT_GROUP_EVENT, CLIENT_GROUP_ADDED(name=name), by=root)

    rows = client.get(URL, {"about": name}).context["rows"]

    assert [str(row.message) for row in rows] == [
        str(let_in),
        f"The user {name} was given: Operator.",
        f"Added the user {name}.",
    ]
    assert len(client.get(URL, {"about": name, "code": "let_in"}).context["rows"]) == 1
    assert client.get(URL, {"about": name, "who": name}).context["rows"] == []
    vera.username = "renamed"
    vera.save()
    for each in (name, "renamed"):
        assert client.get(URL, {"about": each}).context["rows"][0].facts.count("renamed")


def test_the_page_of_a_user_leads_to_what_the_user_did_and_what_was_done_to_them(maria, client):
    vera = make_user("vera & co")
    page = f"/admin/people/{vera.pk}/"
    maria.is_superuser = True
    maria.save()

    links = client.get(page).content.decode()

    for name in ("who", "about"):
        assert f'href="{URL}?{name}=vera+%26+co"' in links
    client.force_login(make_user("keeper", "auth.view_user"))
    assert URL not in client.get(page).content.decode()


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_the_export_has_the_filtered_entries_and_is_an_entry(maria, client, kind):
    write_entries(2, slug="idom")

    response = client.post(f"{URL}export/?slug=idom", {"format": kind})

    text = b"".join(response.streaming_content).decode()
    assert len(json.loads(text)) == 2 if kind == "json" else text.count("\r\n") == 3
    assert response.headers["Content-Disposition"] == f'attachment; filename="audit.{kind}"'
    assert "no-store" in response.headers["Cache-Control"]
    newest = AuditEvent.objects.latest("pk")
    assert (newest.code, newest.who) == ("export", "maria")
    assert str(newest.message) == f"Exported audit entries as {kind}: slug=idom."


def test_an_export_in_no_known_format_is_none(maria, client):
    before = AuditEvent.objects.count()
    assert client.post(f"{URL}export/", {"format": "xml"}).status_code == 400
    assert AuditEvent.objects.count() == before


def test_an_entry_has_a_page_and_nobody_changes_it(maria, client):
    (entry,) = write_entries(1)
    url = reverse("admin:migration_auditevent_change", args=[entry.pk])
    assert "None yet" in client.get(url).content.decode()
    seal_audit()

    page = client.get(url).content.decode()

    assert "Valid" in page
    maria.is_superuser = True
    maria.save()
    assert client.post(url, {"who": "other"}).status_code in (403, 405)
    assert client.get(f"{URL}add/").status_code == 403
    assert client.post(f"{URL}{entry.pk}/delete/", {"post": "yes"}).status_code == 403


def test_an_entry_leads_to_its_client_and_its_run_or_campaign_for_who_may_open_these(maria, client):
    with acting(Actor("", "run 5")):
        (of_run,) = write_entries(1, slug="idom", client_id=7)
    with acting(Actor("", "campaign 6")):
        (of_campaign,) = write_entries(1)
    (alone,) = write_entries(1)
    run, campaign, idom = (
        reverse(f"admin:{name}_change", args=[pk])
        for name, pk in (("migration_run", 5), ("migration_campaign", 6), ("credentials_client", 7))
    )
    pages = {of_run: {run, idom}, of_campaign: {campaign}, alone: set()}

    def find_links(entry):
        page = client.get(reverse("admin:migration_auditevent_change", args=[entry.pk]))
        text = page.content.decode()
        assert f'href="{URL}?correlation={quote(entry.correlation)}"' in text
        return {url for url in (run, campaign, idom) if f'href="{url}"' in text}

    assert {entry: find_links(entry) for entry in pages} == {entry: set() for entry in pages}
    permissions = ("migration.view_run", "migration.view_campaign", "credentials.view_client")
    client.force_login(make_user("vera", "migration.view_auditevent", *permissions))
    assert {entry: find_links(entry) for entry in pages} == pages


def test_what_was_carried_over_is_marked_and_has_the_time_when_it_happened(maria, client):
    happened_at = timezone.now() - timedelta(days=400)
    entry = AuditEvent.make_signed(
        WRITES_STARTED_EVENT, STARTED_WRITES(), by=maria, happened_at=happened_at
    )
    entry.save(force_insert=True)
    url = reverse("admin:migration_auditevent_change", args=[entry.pk])

    for page in (client.get(URL).content.decode(), client.get(url).content.decode()):
        assert "carried over from before" in page
        assert happened_at.strftime("%Y-%m-%d") in page


def test_an_age_in_an_entry_is_the_age_that_it_had_when_it_was_written(maria, client, monkeypatch):
    searched = timezone.now() - timedelta(hours=2)
    AuditEvent.objects.record(GATE_EVENT, NO_COPIES_FOUND(ago=searched), by=maria)
    shown = SimpleNamespace(now=lambda: searched + timedelta(days=3), localtime=timezone.localtime)
    monkeypatch.setattr("credentials.localization.timezone", shown)

    page = client.get(URL).content.decode()

    assert re.search(r"2\shours", page)
    assert not re.search(r"3\sdays", page)


def test_a_login_that_an_entry_names_by_its_id_has_the_name_of_its_row(maria, client):
    make_full_client("idom")
    row = DatabaseCredential.objects.get()
    gone = REVEALED(field="db_password", row=ROW_NAMES["email"](id="4711"))
    told = in_a_row(REVEALED(field="db_password", row=row.make_row_name_message()), gone)
    event = AuditEvent.objects.record(REVEAL_EVENT, told, by="maria", slug="idom")

    shown = [client.get(URL).context["rows"][0].message]
    shown.append(client.get(f"{URL}{event.pk}/change/").context["event"].message)
    shown += [each.event.message for each in list_activity(lambda _permission: True)]

    named = NAMED_ROWS["database"](name=row.short_name)
    for message in shown:
        first, second = message.parts
        assert (first.values["row"], second) == (named, gone)
    assert AuditEvent.objects.get(pk=event.pk).message == told


def test_entries_of_a_run_s_clients_are_listed_once_something_is_looked_for(maria, client):
    with acting(Actor("worker on nova-1", correlation="run 5")):
        part = write_entry(slug="idom")
        write_entry()

    assert part not in client.get(URL).context["rows"]
    assert part in client.get(URL, {"all": "1"}).context["rows"]
    assert part in client.get(URL, {"slug": "idom"}).context["rows"]


def test_what_ran_by_itself_is_named_instead_of_who_began_it(maria, client):
    def name(origin, correlation, by=None):
        with acting(Actor(origin, correlation=correlation)):
            return client.get(f"{URL}{write_entry(by=by).pk}/change/").context["event"].doer

    assert name("worker on nova-1", "campaign 3", maria) == "Campaign 3"
    assert name("10.0.0.8", "campaign 3", maria) == "maria"
    assert name("worker on nova-1", "run 5", maria) == "maria"
    assert name("command audit verify on nova-1", "x") == "Command line"
    assert name("gunicorn on nova-1", "x") == "NOVA Admin"


def test_the_path_of_an_entry_names_it_once(maria, client):
    event = write_entry()

    page = client.get(f"{URL}{event.pk}/change/")

    (above,) = re.findall(r'<nav class="page-above".*?</nav>', page.content.decode(), re.DOTALL)
    assert re.findall(r'href="(.*?)"', above) == [URL]
    assert page.context["title"] == str(event)


def write_entry(**named) -> AuditEvent:
    return AuditEvent.objects.record(WRITES_STARTED_EVENT, STARTED_WRITES(), **named)
