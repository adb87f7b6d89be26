"""The client's page: where it stands, its next step, its secrets in AWS, and what happened to it."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.localization import localize
from credentials.models import Client
from migration.models import (
    ClientMigration,
    MoveRequest,
    Outcome,
    PhaseChange,
    ReadCount,
    Resolution,
    Reveal,
    Run,
    RunItem,
)
from migration.operations import stores as both_stores
from migration.operations.pushes import push
from migration.reports.client_history import PAGES, SHOWN, timeline
from nova_credentials.comparison import compare_documents, list_paths
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_client,
    make_comparison,
    make_database,
    make_full_client,
    make_user,
    sent_form,
    update,
)
from tests.migration.test_admin import DIFFERENT, EXTRA, page_of, text

LINE = list(Phase)


@pytest.fixture
def root(db, client):
    client.force_login(User.objects.create_superuser("root"))
    return client


@pytest.fixture
def viewer(db, client):
    client.force_login(make_user("viewer", *VIEW))
    return client


@pytest.fixture
def idom(db) -> int:
    return make_full_client("idom")


def page(browser, pk: int, query: str = ""):
    return browser.get(page_of("credentials_client", pk) + query)


def everything(_permission: str) -> bool:
    return True


def told(pk: int, **kwargs) -> list[str]:
    return [
        " ".join([event.text, *(localize(message) for message in event.messages if message)])
        for event in timeline(pk, may=everything, **kwargs).events
    ]


# --- Where it stands


@pytest.mark.parametrize("phase", LINE)
def test_the_stepper_says_in_words_where_the_client_stands(viewer, idom, phase):
    ClientMigration.objects.create(client_id=idom, phase=phase)

    html = page(viewer, idom).content.decode()

    steps = re.findall(r"(?s)<li class=\"border flex flex-col.*?</li>", html)
    here = LINE.index(phase)
    assert len(steps) == 5
    assert ['aria-current="step"' in step for step in steps] == [n == here for n in range(5)]
    for number, step in enumerate(steps):
        said = "Behind it" if number < here else "It is here" if number == here else "Ahead"
        assert said in step


@pytest.mark.parametrize(
    ("phase", "title"),
    [
        (Phase.POSTGRES, "Next step: Dual write"),
        (Phase.DUAL_WRITE, "Next step: Dual read"),
        (Phase.DUAL_READ, "Next step: AWS (cut over)"),
        (Phase.AWS, "Next step: Purged"),
        (Phase.PURGED, "At the end of the line"),
    ],
)
def test_the_next_step_is_named(viewer, idom, phase, title):
    ClientMigration.objects.create(client_id=idom, phase=phase)

    assert title in text(page(viewer, idom))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: make_full_client("idom"), "All that the database tells is as it should be."),
        (lambda: make_client("idom"), "It has no login yet"),
        (lambda: make_full_client("b d"), "' ' (SPACE)"),
        (
            lambda: [pk := make_full_client("twice"), make_database(pk)][0],
            "2 database rows are primary",
        ),
        (
            lambda: [pk := make_client("a"), make_database(pk, db_password_encrypted="x" * 66_000)][
                0
            ],
            "bytes; Secrets Manager takes 65,536.",
        ),
    ],
)
def test_what_a_first_push_wants_is_told_before_it(viewer, make, words):
    assert words in text(page(viewer, make()))


def test_the_checklist_names_each_condition_and_how_many_are_not_met(viewer, idom):
    ClientMigration.objects.create(client_id=idom, phase=Phase.DUAL_READ)
    ReadCount.objects.create(client_id=idom, last_mismatch_at=timezone.now())

    words = text(page(viewer, idom))

    for condition in (
        "A push is pending",
        "It was never compared",
        "No run is touching it",
        "NOVA's reader met a mismatch",
        "The AWS account is tried",
        "3 conditions are not met yet",
    ):
        assert condition in words


def test_the_page_does_not_wait_for_aws(viewer, idom, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("the page asked AWS")

    monkeypatch.setattr("nova_credentials.aws.secrets_manager._call_aws", asked)
    ClientMigration.objects.create(client_id=idom, phase=Phase.DUAL_READ)

    html = page(viewer, idom).content.decode()

    assert f'hx-get="/admin/credentials/client/{idom}/versions/"' in html
    assert f'href="/admin/credentials/client/{idom}/versions/"' in html


def test_reads_are_counted_by_the_reader(viewer, idom):
    ReadCount.objects.create(
        client_id=idom, reads=1205, matches=1204, mismatches=1, aws_failures=2,
        last_read_at=timezone.now(), last_mismatch_at=timezone.now() - timedelta(hours=2),
    )  # fmt: skip

    words = text(page(viewer, idom))

    assert "matched 1,204 of 1,205 reads" in words
    assert "1 mismatched, last 2 hours ago" in words
    assert "AWS failed 2 times" in words


def test_the_comparison_is_told_field_by_field(viewer, idom):
    make_comparison(idom, "mismatch", slug="idom", mismatches=[DIFFERENT])

    response = page(viewer, idom)

    document = Client.objects.with_credentials().get(pk=idom).document()
    same = set(list_paths(document)) - {"database.password"}
    assert set(response.context["same_fields"]) == same
    assert f"{len(same)} fields are the same" in text(response)
    assert "0a1b2c3d" in text(response)


def test_a_login_that_is_missing_as_a_whole_has_no_field_that_is_the_same(viewer, idom):
    missing = DIFFERENT | {"path": "email", "kind": "missing"}
    make_comparison(idom, "mismatch", slug="idom", mismatches=[missing])

    same = page(viewer, idom).context["same_fields"]

    assert "database.host" in same
    assert not [path for path in same if path.startswith("email")]


@pytest.mark.parametrize("status", ["unchecked", "missing_in_aws", "missing_in_postgres"])
def test_nothing_is_called_the_same_that_was_not_looked_at(viewer, idom, status):
    make_comparison(idom, status, slug="idom")

    assert page(viewer, idom).context["same_fields"] == []
    assert "the same" not in text(page(viewer, idom))


def test_the_fields_are_named_as_a_comparison_names_them():
    document = {
        "other_databases": [{"host": "a", "port": 1}],
        "client_name": "x",
        "database": {"port": 1, "host": None},
    }
    other = {
        "other_databases": [{"host": "b", "port": 2}],
        "client_name": "y",
        "database": {"port": 2, "host": ""},
    }

    named = [mismatch.path for mismatch in compare_documents(document, other, key=b"k")]

    assert list(list_paths(document)) == named


# --- Its secrets in AWS


def versions(browser, pk: int, **headers) -> str:
    return text(browser.get(f"/admin/credentials/client/{pk}/versions/", headers=headers))


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-1", "https://eu-west-1.console.aws.amazon.com/secretsmanager/secret?"),
        ("cn-north-1", "https://console.amazonaws.cn/secretsmanager/secret?"),
        ("us-gov-west-1", "https://console.amazonaws-us-gov.com/secretsmanager/secret?"),
    ],
)
def test_each_secret_leads_to_the_console_of_its_region(viewer, idom, settings, region, url):
    settings.AWS_REGION, settings.NOVA_SECRET_LAYOUT = region, "service"

    html = unescape(page(viewer, idom).content.decode())

    for kind in ("database", "email", "aws"):
        assert f'href="{url}name=nova%2Fclients%2Fidom%2F{kind}&region={region}"' in html


def test_the_versions_are_told_with_their_stages_and_who_wrote_them(stores, viewer):
    pk = make_full_client("idom")
    push(client_ids=[pk])
    both_stores.secrets_manager().put_value("nova/clients/idom", "{}")

    words = versions(viewer, pk, hx_request="true")

    assert re.search(r"AWSCURRENT somebody else .*AWSPREVIOUS this site, the last that a", words)
    assert "Back to the client" not in words


def test_without_javascript_the_versions_have_a_page(stores, viewer):
    pk = make_full_client("idom")
    push(client_ids=[pk])

    words = versions(viewer, pk)

    assert "AWSCURRENT" in words
    assert "Back to the client" in words


def test_the_versions_hold_no_value(stores, viewer):
    pk = make_full_client("idom")
    push(client_ids=[pk])

    assert "example-password-1" not in versions(viewer, pk)


def test_a_secret_that_is_not_there_not_ours_or_to_be_deleted_is_told_so(stores, viewer):
    pk = make_full_client("idom")
    assert "AWS has no such secret" in versions(viewer, pk)

    sm = both_stores.secrets_manager()
    sm.sm.create_secret(Name="nova/clients/idom", SecretString="{}")
    assert "a migration has to adopt it" in versions(viewer, pk)

    sm.schedule_deletion("nova/clients/idom")
    assert "Scheduled for deletion" in versions(viewer, pk)


def test_an_aws_that_fails_is_told_in_words(viewer, idom, settings):
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    assert "AWS gave no usable answer" in versions(viewer, idom, hx_request="true")


def test_a_name_that_no_secret_can_have_asks_aws_nothing(viewer, settings):
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    assert "No secret can have this client's name" in versions(viewer, make_full_client("b d"))


def test_who_may_not_see_clients_is_told_no_version(client, db, idom):
    client.force_login(make_user("narrow", "migration.view_run"))

    assert client.get(f"/admin/credentials/client/{idom}/versions/").status_code == 403


def test_there_are_no_versions_of_a_client_that_is_not_there(viewer):
    assert viewer.get("/admin/credentials/client/999999/versions/").status_code == 404
    assert viewer.post("/admin/credentials/client/999999/versions/").status_code == 405


# --- What happened


def test_each_thing_that_happened_is_a_sentence(idom):
    maria = User.objects.create_user("maria")
    run = Run.objects.create(kind=Run.Kind.MIGRATE, by=maria)
    item = {"run": run, "client_id": idom, "slug": "idom", "batch": 0}
    RunItem.objects.create(
        **item, outcome=Outcome.FAILED, message=Message.of_text("AWS limits the rate.")
    )
    ClientMigration.objects.move(
        [idom], Phase.POSTGRES, Phase.DUAL_WRITE, by=maria, reason="INC-42"
    )
    make_comparison(idom, "mismatch", mismatches=[DIFFERENT, EXTRA])
    Resolution.objects.create(
        client_id=idom,
        slug="idom",
        kind="acknowledge",
        by=maria,
        reason="Known",
        until="2026-12-24",
    )
    LogEntry.objects.create(
        user=maria,
        content_type=ContentType.objects.get_for_model(Client),
        object_id=str(idom),
        action_flag=2,
        change_message='[{"changed": {"fields": ["Host"]}}]',
    )

    assert sorted(told(idom)) == sorted(
        [
            f"Migration {run.pk} by maria: Failed. AWS limits the rate.",
            "Moved from PostgreSQL to Dual write by maria: INC-42.",
            "2 fields differ: database.password, database.host.",
            "Acknowledged until Dec. 24, 2026 by maria: Known.",
            "maria here: Changed Host.",
        ]
    )


def test_what_was_asked_for_and_who_saw_which_value_is_told(viewer, idom):
    maria, juan = User.objects.create_user("maria"), User.objects.create_user("juan")
    MoveRequest.objects.create(
        client_id=idom, slug="idom", old="dual_read", new="aws", state="done", reason="INC-42",
        requested_by=maria, decided_by=juan, decided_at=timezone.now(),
    )  # fmt: skip
    Reveal.objects.create(
        client_id=idom, slug="idom", kind="database", credential_id=7, field="db_password",
        by=maria, username="maria", reason="INC-43", address="10.0.0.8",
    )  # fmt: skip

    reveal, request = told(idom)

    assert (
        reveal == "maria revealed idom › database login 7 › password, reason INC-43, from 10.0.0.8."
    )
    assert request.startswith(
        "maria asked for a move of idom (Cutover), reason INC-42. Done by juan"
    )
    assert "maria asked for" not in text(page(viewer, idom))
    viewer.force_login(make_user("auditor", *VIEW, "migration.view_moverequest"))
    assert "maria asked for" in text(page(viewer, idom))


def test_what_is_not_met_yet_has_its_remedy_beside_it(client, idom):
    client.force_login(make_user("operator", *VIEW, "migration.resolve_mismatch"))
    ClientMigration.objects.create(client_id=idom, phase=Phase.DUAL_READ)

    assert "Compare now" in text(page(client, idom))


def test_the_newest_is_told_first(idom):
    now = timezone.now()
    for minutes in (3, 1, 2):
        PhaseChange.objects.create(
            client_id=idom, slug="idom", old="aws", new="dual_read",
            reason=str(minutes), changed_at=now - timedelta(minutes=minutes),
        )  # fmt: skip
    make_comparison(idom, "match", compared_at=now - timedelta(seconds=90))

    assert [sentence[-2] for sentence in told(idom)] == ["1", "e", "2", "3"]


def test_a_comparison_is_told_where_it_found_something_else_than_the_one_before(idom):
    for status, mismatches in (
        ("match", []),
        ("match", []),
        ("mismatch", [DIFFERENT]),
        ("mismatch", [DIFFERENT]),
        ("mismatch", [EXTRA]),
        ("unchecked", []),
        ("match", []),
        ("match", []),
    ):
        make_comparison(idom, status, mismatches=mismatches)

    assert told(idom) == [
        "Both stores hold the same.",
        "Could not check.",
        "1 field differs: database.host.",
        "1 field differs: database.password.",
        "Both stores hold the same.",
    ]


def test_the_sweeps_own_runs_are_not_told_and_a_persons_are(idom):
    for by in (None, User.objects.create_user("maria")):
        run = Run.objects.create(kind=Run.Kind.COMPARE, by=by)
        RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0, outcome="compared")

    assert told(idom) == [f"Comparison {run.pk} by maria: Compared."]


def test_what_happened_to_another_client_is_not_told(idom):
    other = make_full_client("other")
    ClientMigration.objects.move([other], Phase.POSTGRES, Phase.DUAL_WRITE)
    make_comparison(other, "mismatch", mismatches=[DIFFERENT])

    assert told(idom) == []


def test_a_long_history_is_shown_in_pages_that_hold_each_thing_once(viewer, idom):
    now = timezone.now()
    PhaseChange.objects.bulk_create(
        PhaseChange(
            client_id=idom, slug="idom", old="aws", new="dual_read",
            reason=f"<{n}>", changed_at=now - timedelta(minutes=n),
        )
        for n in reversed(range(45))
    )  # fmt: skip

    pages = [told(idom, page=number) for number in (1, 2, 3)]

    assert [len(found) for found in pages] == [SHOWN, SHOWN, 5]
    assert [re.search(r"<(\d+)>", text)[1] for found in pages for text in found] == [
        str(n) for n in range(45)
    ]
    first, last = page(viewer, idom).content.decode(), page(viewer, idom, "?history=3")
    assert 'href="?history=2#history"' in first
    assert 'rel="prev"' not in first
    assert 'rel="next"' not in last.content.decode()
    assert "&lt;0&gt;" in first


@pytest.mark.parametrize("asked", ["0", "-1", "abc", "", "²", "9999999", "%"])
def test_any_page_of_the_history_is_answered(viewer, idom, asked):
    assert viewer.get(page_of("credentials_client", idom), {"history": asked}).status_code == 200


def test_the_history_ends_somewhere(idom):
    PhaseChange.objects.bulk_create(
        PhaseChange(client_id=idom, slug="idom", old="aws", new="dual_read")
        for _ in range(SHOWN * PAGES + 1)
    )

    assert timeline(idom, may=everything, page=PAGES).older is None


def test_who_may_see_no_comparison_is_told_none_and_led_to_no_run(client, idom):
    client.force_login(make_user("narrow", "credentials.view_client"))
    run = Run.objects.create(kind=Run.Kind.PUSH)
    RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0, outcome="updated")
    make_comparison(idom, "mismatch", mismatches=[DIFFERENT])

    response = page(client, idom)

    assert f"Push {run.pk}: Updated." in text(response)
    assert "database.password" not in response.content.decode()
    assert f"/migration/run/{run.pk}/" not in response.content.decode()


def test_an_edit_in_the_admin_is_told_without_its_value(root, idom):
    data = sent_form(page(root, idom).content.decode())
    root.post(
        page_of("credentials_client", idom), data | {"databases-0-db_password": "MARKER-FOUR"}
    )

    (sentence,) = told(idom)

    assert sentence.startswith("root here: Changed Password for database login")
    assert "MARKER" not in page(root, idom).content.decode()


# --- Queries


def fill(pk: int, number: int) -> None:
    """So many of everything that the page tells of, and so many logins."""
    user = User.objects.first()
    PhaseChange.objects.bulk_create(
        PhaseChange(client_id=pk, slug="idom", old="aws", new="dual_read", by=user)
        for _ in range(number)
    )
    runs = Run.objects.bulk_create(Run(kind=Run.Kind.PUSH, by=user) for _ in range(number))
    RunItem.objects.bulk_create(
        RunItem(run=run, client_id=pk, slug="idom", batch=0, outcome="updated") for run in runs
    )
    for n in range(number):
        make_comparison(pk, "mismatch", mismatches=[DIFFERENT | {"hint": str(n)}])
        make_database(pk, label=f"more {n}", is_primary=False)
        LogEntry.objects.create(
            user=user, object_id=str(pk), action_flag=2, change_message="[]",
            content_type=ContentType.objects.get_for_model(Client),
        )  # fmt: skip
    Resolution.objects.bulk_create(
        Resolution(client_id=pk, slug="idom", kind="check", by=user) for _ in range(number)
    )
    MoveRequest.objects.bulk_create(
        MoveRequest(
            client_id=pk, slug="idom", old="dual_read", new="aws", state="cancelled",
            reason="x", requested_by=user, decided_by=user, decided_at=timezone.now(),
        )
        for _ in range(number)
    )  # fmt: skip
    Reveal.objects.bulk_create(
        Reveal(client_id=pk, slug="idom", kind="database", credential_id=1, field="db_password")
        for _ in range(number)
    )


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_READ, Phase.AWS])
def test_the_page_asks_as_many_queries_at_fifty_rows_as_at_one(root, idom, phase):
    ClientMigration.objects.create(client_id=idom, phase=phase)
    ReadCount.objects.create(client_id=idom)
    fill(idom, 1)

    def queries() -> int:
        page(root, idom)
        with CaptureQueriesContext(connection) as captured:
            assert page(root, idom).status_code == 200
        return len(captured)

    first = queries()
    fill(idom, 49)

    assert queries() == first


def test_a_row_of_a_purged_client_is_no_value_on_the_page(viewer, idom):
    ClientMigration.objects.create(client_id=idom, phase=Phase.PURGED)
    row = Client.objects.get(pk=idom).databases.get()
    update("client_database_credentials", row.pk, db_password_encrypted="MARKER-FIVE")
    make_comparison(idom, "match")

    assert "MARKER" not in page(viewer, idom).content.decode()
