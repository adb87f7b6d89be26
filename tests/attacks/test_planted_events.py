"""Rows that a hostile role writes into the audit: every page and file that tells events shows them or leaves them."""

import json
from datetime import UTC, datetime, timedelta
from random import randrange
from uuid import UUID

import pytest
from django.db import connection
from django.urls import reverse

from credentials.models import Client
from migration.campaigns.history import list_history
from migration.clients.history import load_history
from migration.clients.models import ClientComment
from migration.core.audit import PUSH_EVENT, make_entry_id
from migration.core.audit_chain import seal_audit
from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientMigration
from migration.pushes.pushes import SECRETS_PUSHED
from migration.runs import engine
from migration.runs.models import Run
from migration.runs.pages import load_run_history
from migration.secrets.versions import list_secrets
from migration.site.audit import verify_audit
from migration.site.dashboard import list_activity
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client
from tests.migration.campaigns import taken
from tests.migration.moves.clients import enter_phase

pytestmark = pytest.mark.usefixtures("stores")


def plant(facts: str, **columns: object) -> None:
    row = {
        "id": make_entry_id()[0], "at": datetime.now(UTC), "happened_at": None, "code": "failure", "who": "eve",
        "origin": "", "client_id": None, "slug": "", "reason": "", "facts": facts, "correlation": "", "key": "x",
        "signature": "ü",
    } | columns  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO nova_admin.migration_auditevent ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
            list(row.values()),
        )


def say(key: str = "x", text: str = "x", **values: object) -> str:
    return json.dumps({"key": key, "values": values, "text": text})


def nest(times: int) -> str:
    deep = '{"key":"in_a_row","text":"x","values":{"sentences":{"message":'
    return deep * times + '{"key":"x","text":"x","values":{}}' + "}}}" * times


def nest_lists(times: int) -> str:
    deep = '{"key":"in_a_row","text":"x","values":{"sentences":[{"message":'
    return deep * times + '{"key":"x","text":"x","values":{}}' + "}]}}" * times


FACTS = [
    *("", "7", "null", "[]", "{", '"text"'),
    say("fields_differ", n=1, fields=[["a", ["b"]]]),
    '{"key":"fields_differ","values":{"n":1e999,"fields":[]},"text":"x"}',
    '{"key":"fields_differ","values":{"n":NaN,"fields":[]},"text":"x"}',
    '{"key":"fields_differ","values":{"n":true,"fields":[]},"text":"x"}',
    f'{{"key":"fields_differ","values":{{"n":{"9" * 4200},"fields":[]}},"text":"x"}}',
    say("failed_in_run", run={"time": "0001-01-01T00:00:00+23:00"}, why="x"),
    say("failed_in_run", run={"time": "9999-12-31T23:59:59-23:00"}, why="x"),
    say("failed_in_run", run={"time": "0001-01-01T00:00:00+00:00"}, why={"date": "9999-12-31"}),
    say("failed_in_run", run={"time": "2020-01-01T00:00:00"}, why="x"),
    say(
        "failed_in_run", run=json.loads(say(id="")) and {"message": json.loads(say(id=""))}, why="x"
    ),
    say("failed_in_run", run={"message": json.loads(say(id="a\nb"))}, why="x"),
    say("failed_in_run", run={"message": json.loads(say(id=[["x"]]))}, why="x"),
    say(
        "failed_in_run",
        run={"message": json.loads(say(id=7))},
        why=[{"message": json.loads(say(a="b"))}],
    ),
    say(
        "failed_in_run",
        run={"message": json.loads(say("run_push", id="7"))},
        why=[{"message": json.loads(say(a="b"))}],
    ),
    say("steered", campaign="x", state={"message": json.loads(say())}),
    say("run_steered", run="x", state=[1]),
    say(text="\ud800"),
    say(text="a\0b"),
    say("failed_in_run", run="\ud800", why="\udfff"),
    say(text="<script>alert(1)</script>%(x)s{0.__class__}"),
    *(nest(n) for n in (100, 150, 200, 240, 280, 320, 400, 480)),
    *(nest_lists(n) for n in (100, 150, 200, 240, 280, 320, 400, 480)),
]


@pytest.fixture
def planted(admin_user) -> dict[str, str]:
    """Name -> address of each page that tells events."""
    pk = make_full_client("idom")
    campaign = taken.begin(taken.make_group("north", 1, Phase.DUAL_READ))
    run = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients(), by=admin_user)
    correlations = (f"campaign {campaign.pk}", f"run {run.pk}", "run ²", "run 99999999999999999999")
    for facts in FACTS:
        plant(facts, client_id=pk, slug="<b>", happened_at="infinity")
        plant(facts, client_id=pk, slug="<b>", at="infinity", happened_at="-infinity", code="new")
        for correlation in correlations:
            plant(facts, correlation=correlation, client_id=pk, code="run")
    return {
        "client": f"/admin/credentials/client/{pk}/change/?tab=history",
        "run": reverse("admin:migration_run_change", args=[run.pk]) + "?",
        "campaign": reverse("admin:migration_campaign_change", args=[campaign.pk]) + "?history=all",
        "dashboard": "/admin/?",
        "audit": "/admin/migration/auditevent/?",
    }


def test_no_page_or_export_goes_down_and_the_chain_names_what_was_planted(
    client, admin_user, planted
):
    client.force_login(admin_user)
    own = AuditEvent.objects.exclude(key="x").count()
    more = [f"{planted['client']}&history={page}" for page in range(2, 9)]

    codes = {
        (page, language): client.get(page, headers={"accept-language": language}).status_code
        for language, pages in (("es", [*planted.values(), *more]), ("en", planted.values()))
        for page in pages
    }

    assert set(codes.values()) == {200}, codes
    seal_audit(from_beginning=True)
    found = verify_audit()
    assert found.sealed == own
    assert found.faults["added"] == AuditEvent.objects.count() - own
    for kind in ("json", "csv"):
        response = client.post("/admin/migration/auditevent/export/", {"format": kind})
        assert b"script" in b"".join(response.streaming_content)


def test_no_run_of_the_schedule_goes_down():
    pk = make_client("broken")
    make_database(pk)
    make_database(pk)  # both are primary
    ClientMigration.objects.create(client_id=pk, phase=Phase.DUAL_WRITE)
    for facts in FACTS:
        plant(facts, client_id=pk, slug="broken")
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients())

    engine.finish_inline(run)

    assert run.items.get().outcome == "failed"


def test_the_versions_of_a_secret_are_listed():
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    half = {"message": json.loads(say(name="x"))}
    for facts in (*FACTS, say("x", secrets=[half, 7, "x"])):
        plant(facts, code="push", client_id=pk, slug="idom")

    (secret,) = list_secrets(all_clients().get())

    assert secret.versions


def test_a_clients_history_marks_what_was_planted(admin_user):
    pk = make_full_client("idom")
    facts = SECRETS_PUSHED(secrets=("idom",))
    AuditEvent.objects.record(PUSH_EVENT, facts, by=admin_user, client_id=pk, slug="idom")
    plant(say(), client_id=pk, slug="idom", code="push")

    lines = load_history(pk, has_permission=admin_user.has_perm).lines

    assert [(line.who, line.is_genuine) for line in lines] == [("eve", False), ("admin", True)]


IN_AN_HOUR = datetime.now(UTC) + timedelta(hours=1)


def last_id() -> dict[str, UUID]:
    return {"id": UUID(int=(1 << 128) - 1 - randrange(1000))}


@pytest.mark.parametrize(
    "times",
    [
        {"happened_at": "infinity"},
        {"at": "infinity"},
        {"happened_at": IN_AN_HOUR, "at": IN_AN_HOUR},
    ],
    ids=["infinite", "written then", "in an hour"],
)
def test_what_is_planted_for_later_comes_before_nothing_genuine(admin_user, times):
    pk = make_full_client("idom")
    campaign = taken.begin(taken.make_group("north", 1, Phase.DUAL_READ))
    run = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients(), by=admin_user)
    ClientComment.objects.leave(Client.objects.get(pk=pk), "mine", by=admin_user)
    facts = SECRETS_PUSHED(secrets=("idom",))
    AuditEvent.objects.record(PUSH_EVENT, facts, by=admin_user, client_id=pk, slug="idom")
    plant(say(), client_id=pk, slug="idom", code="push", **times | last_id())
    plant(say(), correlation=f"run {run.pk}", code="request", **times | last_id())
    plant(say(), correlation=f"campaign {campaign.pk}", code="request", **times | last_id())

    may = admin_user.has_perm
    of_client = load_history(pk, has_permission=may).lines
    of_run = load_run_history(run, has_permission=may)
    of_campaign, _has_more = list_history(campaign, has_permission=may)

    for lines in (of_client, of_run, of_campaign):
        genuine = [line for line in lines if line.who != "eve"]
        assert genuine
        assert genuine == lines[: len(genuine)]
    assert of_client[-1].who == "eve"
    activity = list_activity(may)
    assert "eve" not in {item.event.who for item in activity}


def test_a_comment_or_a_move_of_no_time_takes_no_history_down(admin_user):
    campaign = taken.begin(taken.make_group("north", 1, Phase.DUAL_READ))
    client = Client.objects.get()
    pk = client.pk
    ClientComment.objects.leave(client, "planted", by=admin_user)
    ClientMigration.objects.change_phase([pk], Phase.DUAL_READ, Phase.DUAL_WRITE, by=admin_user)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE nova_admin.migration_clientcomment SET left_at = 'infinity'")
        cursor.execute("UPDATE nova_admin.migration_phasechange SET changed_at = 'infinity'")

    lines = load_history(pk, has_permission=admin_user.has_perm).lines
    of_campaign, _has_more = list_history(campaign, has_permission=admin_user.has_perm)

    assert lines[0].kind == "Move"
    assert lines[-1].text == "planted"
    assert of_campaign
