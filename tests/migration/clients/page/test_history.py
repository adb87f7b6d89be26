"""History to a client, newest first."""

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.utils import timezone
from django.utils.translation import override

from credentials.localization import localize
from credentials.models import Client, DatabaseCredential
from migration.clients.history import PAGES, SHOWN, load_history
from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from migration.logins.testing import try_typed_login
from migration.models import (
    ClientMigration,
    MoveRequest,
    PhaseChange,
    Resolution,
    Reveal,
    Rotation,
    RunItem,
)
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_comparison, make_full_client, make_user, sent_form
from tests.migration.clients.page.pages import page
from tests.migration.pages import DIFFERENT, EXTRA, page_of, text


def everything(_permission: str) -> bool:
    return True


def told(pk: int, **kwargs) -> list[str]:
    return [
        " ".join([event.text, *(localize(message) for message in event.messages if message)])
        for event in load_history(pk, has_permission=everything, **kwargs).events
    ]


def test_each_thing_that_happened_is_a_sentence(idom):
    maria = User.objects.create_user("maria")
    run = Run.objects.create(kind=Run.Kind.MIGRATE, by=maria)
    item = {"run": run, "client_id": idom, "slug": "idom", "batch": 0}
    RunItem.objects.create(
        **item,
        outcome=Outcome.FAILED,
        message=Message.from_text_without_key("AWS limits the rate."),
    )
    ClientMigration.objects.change_phase(
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
            "maria on this site: Changed Host.",
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
        "maria requested a move of idom (Cutover), reason INC-42. Done by juan"
    )
    assert "maria requested" not in text(page(viewer, idom, "history"))
    viewer.force_login(make_user("auditor", *VIEW, "migration.view_moverequest"))
    assert "maria requested" in text(page(viewer, idom, "history"))


def test_what_is_not_met_yet_has_its_remedy_beside_it(client, idom):
    client.force_login(make_user("operator", *VIEW, "migration.resolve_mismatch"))
    ClientMigration.objects.create(client_id=idom, phase=Phase.DUAL_READ)

    assert "Compare both stores now" in text(page(client, idom))


def test_login_tests_of_people_are_told_and_those_of_a_run_once(idom):
    maria = make_user("maria")
    for _ in range(SHOWN + 5):
        row = DatabaseCredential.objects.get(client_id=idom)
        row.db_host = ""  # can't be tried
        try_typed_login(row, client=row.client, by=maria)
    run = Run.objects.create(kind=Run.Kind.TEST_LOGINS, stores="aws", by=maria)
    RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0, outcome="tested")

    first, second = told(idom), told(idom, page=2)

    assert first[0] == f"Login tests {run.pk} by maria: Logins work."
    assert "Logins tested by maria. Tested what was typed for database login" in first[1]
    assert (len(first), len(second)) == (SHOWN, 6)
    seen = load_history(idom, has_permission=lambda name: not name.endswith("_awscredential"))
    assert [event.icon for event in seen.events] == ["play_circle"]


def test_the_newest_is_told_first(idom):
    now = timezone.now()
    for minutes in (3, 1, 2):
        PhaseChange.objects.create(
            client_id=idom, slug="idom", old="aws", new="dual_read",
            reason=str(minutes), changed_at=now - timedelta(minutes=minutes),
        )  # fmt: skip
    make_comparison(idom, "match", compared_at=now - timedelta(seconds=90))

    assert [sentence[-2] for sentence in told(idom)] == ["1", "s", "2", "3"]


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
        "Both stores hold the same values.",
        "Could not check.",
        "1 field differs: database.host.",
        "1 field differs: database.password.",
        "Both stores hold the same values.",
    ]


def test_the_sweeps_own_runs_are_not_told_and_a_persons_are(idom):
    for by in (None, User.objects.create_user("maria")):
        run = Run.objects.create(kind=Run.Kind.COMPARE, by=by)
        RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0, outcome="compared")

    assert told(idom) == [f"Comparison {run.pk} by maria: Compared."]


def test_what_happened_to_another_client_is_not_told(idom):
    other = make_full_client("other")
    ClientMigration.objects.change_phase([other], Phase.POSTGRES, Phase.DUAL_WRITE)
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
    first, last = (
        page(viewer, idom, "history").content.decode(),
        page(viewer, idom, "history", "&history=3"),
    )
    assert 'href="?tab=history&amp;history=2#history"' in first
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

    assert load_history(idom, has_permission=everything, page=PAGES).older_page is None


def test_who_may_see_no_comparison_is_told_none_and_led_to_no_run(client, idom):
    client.force_login(make_user("narrow", "credentials.view_client"))
    run = Run.objects.create(kind=Run.Kind.PUSH)
    RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0, outcome="updated")
    make_comparison(idom, "mismatch", mismatches=[DIFFERENT])

    response = page(client, idom, "history")

    assert f"Push {run.pk}: Updated." in text(response)
    assert "database.password" not in response.content.decode()
    assert f"/migration/run/{run.pk}/" not in response.content.decode()


def test_an_edit_in_the_admin_is_told_without_its_value(root, idom):
    data = sent_form(page(root, idom, "logins").content.decode())
    root.post(
        page_of("credentials_client", idom), data | {"databases-0-db_password": "MARKER-FOUR"}
    )

    (sentence,) = told(idom)

    assert sentence.startswith("root on this site: Changed Password for database login")
    assert "MARKER" not in page(root, idom, "history").content.decode()


def test_that_it_left_and_came_back_is_told_with_the_reason(root, idom, stores):
    page_of_leaving = f"/admin/credentials/client/{idom}/leaving/"
    root.post(page_of_leaving, {"act": "deactivate"})
    offboard_client(client_id=idom, reason="CHG-7")
    bring_back_as_inactive(client_id=idom, reason="CHG-8")

    found = told(idom)

    for sentence in (
        "Deactivated the client by root",
        "Client offboarded or brought back by system: CHG-7. Began to offboard the client.",
        "The client is offboarded.",
        "Began to bring the client back.",
        "by system: CHG-8. The client is back in",
    ):
        assert any(sentence in each for each in found), (sentence, found)


def test_an_edit_names_its_fields_in_the_page_s_language(root, idom):
    data = sent_form(page(root, idom, "logins").content.decode())
    changed = {"is_active": "false", "databases-0-db_password": "example-password-2"}
    root.post(page_of("credentials_client", idom), data | changed)
    Rotation.objects.begin(Client.objects.get(pk=idom), CredentialType.DATABASE, "archive", by=None)

    with override("es"):
        rotation, edit = told(idom)

    assert rotation.startswith("Rotación de acceso a base de datos › archive")
    assert "Activo" in edit
    assert "“acceso a base de datos " in edit
    assert "login" not in edit


@pytest.mark.parametrize("stored", ["Changed by hand.", "", "{}"])
def test_what_another_release_logged_of_an_edit_is_told_as_it_is(root, idom, stored):
    kind = ContentType.objects.get_for_model(Client)
    who = User.objects.get(username="root")
    LogEntry.objects.create(
        user=who, content_type=kind, object_id=str(idom), action_flag=2, change_message=stored
    )

    assert len(told(idom)) == 1
