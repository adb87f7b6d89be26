"""A value counts as one that never stood in plain text only where the site can tell it from each that did."""

from datetime import timedelta

import pytest
from django.utils import timezone

from credentials.models import DatabaseCredential
from migration.core.keys import fingerprint_key_id, make_fingerprint
from migration.core.secrets import Fingerprint
from migration.models import KnownValue, NotedClient, Secret
from migration.moves.moves import move
from migration.pushes import known_values
from migration.pushes.known_values import note_new_values_in_aws, note_written_rows
from migration.pushes.models import NewValueOrigin, PresentValue, SeenClient
from migration.pushes.pushes import push
from migration.pushes.resolutions import copy_to_postgres, plan_undo, undo_copy
from migration.secrets.copies import search_copies
from migration.secrets.pages import describe_known_values
from nova_credentials.phases import Phase
from tests.factories import CHANGE, VIEW, make_full_client, make_user
from tests.migration.moves.clients import (
    NAME,
    advance,
    change_in_aws,
    enter_phase,
    enter_phase_together,
    write_password,
)
from tests.migration.secrets.copies.nova_tables import add_execution
from tests.migration.secrets.versions.known import (
    LOST_KEY,
    facts,
    forget_all,
    kinds_to_rotate,
    known,
    save_password,
    save_values,
    write_mail_password,
)

pytestmark = pytest.mark.usefixtures("stores")

FIRST, SECOND, THIRD = "example-password-1", "example-second", "example-third"
STOOD = ["stood_in_tables"]


@pytest.fixture
def browser(client):
    client.force_login(make_user("operator", *VIEW, *CHANGE))
    return client


def make_purged() -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    return pk


# Another NOVA_FINGERPRINT_KEY


def test_after_a_change_of_the_key_no_typed_value_can_be_told_from_one_that_stood(
    browser, settings
):
    def in_doubt(pk: int) -> list[str]:
        return [each["login"] for each in describe_known_values(pk) if each["is_in_doubt"]]

    pk = make_purged()
    save_password(browser, pk, SECOND)
    assert in_doubt(pk) == []
    settings.NOVA_FINGERPRINT_KEY = LOST_KEY
    assert facts(pk) == []

    former_mail = {"emails-0-email_password": "example-app-password-2"}
    save_values(
        browser, pk, **{"databases-0-db_password": FIRST, "emails-0-email_password": SECOND}
    )
    # AWS held the mailbox's former value, which the site had seen in the row: this is another.
    assert (facts(pk), facts(pk, "email")) == (STOOD, [])
    # The third may be another that stood there.
    save_values(browser, pk, **{"databases-0-db_password": THIRD} | former_mail)
    assert (facts(pk), facts(pk, "email")) == (STOOD, STOOD)
    assert "database" in kinds_to_rotate(pk)
    (login,) = in_doubt(pk)
    assert "database" in login
    page = browser.get(f"/admin/credentials/client/{pk}/versions/").content.decode()
    assert page.count("NOVA_FINGERPRINT_KEY was changed") == 1
    # One that this site made at random is no former one.
    key = ("database", known(pk).credential_id)
    note_new_values_in_aws(pk, {key: "example-random"}, origin=NewValueOrigin.GENERATED)
    assert (facts(pk), in_doubt(pk)) == ([], [])
    note_new_values_in_aws(pk, {key: FIRST}, origin=NewValueOrigin.TYPED)
    assert facts(pk) == STOOD
    # AWS held this one at the first save, in the version that the site had written.
    save_password(browser, pk, SECOND)
    assert facts(pk) == []


def test_a_value_that_aws_was_given_by_others_may_be_one_that_stood(browser, settings, sm):
    pks = written, moved = [make_full_client(slug) for slug in ("idom", "acme")]
    enter_phase_together(pks, Phase.PURGED)
    name = "nova/clients/acme"
    former = sm.get_value(name).version_id
    for pk in pks:
        save_password(browser, pk, SECOND)
    search_copies(client_ids=pks)
    settings.NOVA_FINGERPRINT_KEY = LOST_KEY
    # Also by this site, where its process was killed before the commit.
    change_in_aws(sm, password=FIRST)
    sm.move_stage(name, "AWSCURRENT", away_from=sm.get_value(name).version_id, to=former)

    search_copies(client_ids=pks)

    assert (facts(written), facts(moved)) == (STOOD, STOOD)


def test_an_unknown_value_in_an_older_version_of_aws_may_be_one_that_stood(sm, monkeypatch):
    pk = make_purged()
    ours = sm.get_value(NAME).version_id
    change_in_aws(sm, password=SECOND)
    theirs = sm.get_value(NAME).version_id
    sm.move_stage(NAME, "AWSCURRENT", away_from=theirs, to=ours)
    forget_all()
    # AWS tells the second: what is seen is seen later than that.
    now = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(seconds=1))
    search_copies(client_ids=[pk])
    assert facts(pk) == STOOD

    sm.move_stage(NAME, "AWSCURRENT", away_from=ours, to=theirs)
    search_copies(client_ids=[pk])

    assert known(pk).digest == make_fingerprint(pk, SECOND).digest
    assert facts(pk) == STOOD


def test_an_unknown_value_in_a_version_of_ours_may_be_one_that_stood(browser):
    pk = make_purged()
    note_written_rows()
    kept = [list(model.objects.values()) for model in (KnownValue, NotedClient, Secret)]
    move(client_id=pk, new=Phase.AWS)
    save_password(browser, pk, SECOND)
    advance(pk, Phase.PURGED)
    for model, rows in zip((KnownValue, NotedClient, Secret), kept, strict=True):
        model.objects.all().delete()  # a backup of the database is restored
        model.objects.bulk_create(model(**row) for row in rows)

    search_copies(client_ids=[pk])

    assert known(pk).digest == make_fingerprint(pk, SECOND).digest
    assert facts(pk) == STOOD


def test_a_value_that_was_replaced_while_the_key_changed_is_not_forgotten(browser, settings):
    pk = make_full_client("idom")
    note_written_rows()
    settings.NOVA_FINGERPRINT_KEY = LOST_KEY
    write_password(pk, SECOND)
    note_written_rows()
    enter_phase(pk, Phase.PURGED)

    save_password(browser, pk, FIRST)

    assert facts(pk) == STOOD


# Other logins and other clients


def test_the_value_of_another_login_of_the_client_is_known_too(browser):
    pk = make_full_client("idom")
    write_mail_password(pk, SECOND)
    enter_phase(pk, Phase.PURGED)
    save_values(browser, pk, **{"emails-0-email_password": THIRD})

    save_password(browser, pk, SECOND)

    assert facts(pk, "email") == []
    assert facts(pk) == STOOD
    assert set(kinds_to_rotate(pk)) == {"aws", "database"}


def test_a_value_stood_where_another_login_has_it_later(browser):
    pk = make_purged()
    save_password(browser, pk, SECOND)
    assert facts(pk) == []

    write_mail_password(pk, SECOND)
    note_written_rows()

    assert facts(pk, "email") == ["stands_in_tables", "stood_in_tables"]
    assert facts(pk) == STOOD


def test_a_login_that_was_deleted_and_added_again_is_the_same(browser):
    pk = make_purged()
    save_password(browser, pk, SECOND)
    row = DatabaseCredential.objects.get(client_id=pk)
    columns = [f.attname for f in DatabaseCredential._meta.concrete_fields if f.attname != "id"]
    again = DatabaseCredential(**{name: getattr(row, name) for name in columns})
    row.delete()
    again.save()
    note_written_rows()

    save_password(browser, pk, FIRST)

    assert facts(pk) == STOOD


def test_a_search_finds_the_value_in_the_rows_of_another_client(browser):
    pk, acme = make_purged(), make_full_client("acme")
    save_password(browser, pk, SECOND)
    save_values(browser, pk, **{"emails-0-email_password": THIRD})
    write_password(acme, SECOND)

    search_copies(client_ids=[pk])
    assert (facts(pk), facts(pk, "email")) == (STOOD, [])

    write_mail_password(acme, THIRD)
    search_copies(client_ids=[pk, acme])
    assert facts(pk, "email") == STOOD


# Rows that were written, and not looked at


def test_a_value_that_nova_wrote_into_a_purged_row_stood_there_when_it_is_typed(browser):
    pk = make_purged()
    write_password(pk, SECOND)

    save_password(browser, pk, SECOND)
    note_written_rows()

    assert facts(pk) == STOOD


def test_what_the_form_stored_in_the_rows_and_what_it_replaced_there_is_known(browser):
    pk = make_full_client("idom")
    save_password(browser, pk, SECOND)
    write_password(pk, THIRD)
    save_password(browser, pk, "example-last")
    enter_phase(pk, Phase.PURGED)

    for value in (SECOND, THIRD):
        save_password(browser, pk, value)
        assert facts(pk) == STOOD


def test_a_value_that_was_restored_stood_there_however_short(browser):
    pk = make_purged()
    save_password(browser, pk, SECOND)
    move(client_id=pk, new=Phase.AWS)
    write_password(pk, THIRD)
    push(client_ids=[pk])
    advance(pk, Phase.PURGED)

    save_password(browser, pk, SECOND)

    assert facts(pk) == STOOD


def test_what_a_copy_to_postgres_replaced_and_stored_and_what_undid_it_are_known(browser, sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    note_written_rows()
    write_password(pk, SECOND)
    change_in_aws(sm, password=THIRD)
    copy_to_postgres(client_id=pk, reason="INC-1")
    undo_copy(client_id=pk, seen=plan_undo(pk).digest, reason="INC-2")
    write_password(pk, "example-last")
    push(client_ids=[pk])
    advance(pk, Phase.PURGED)

    for value in (SECOND, THIRD):
        save_password(browser, pk, value)
        assert facts(pk) == STOOD


def test_what_a_rollback_copied_to_the_rows_stood_there(browser, sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    change_in_aws(sm, password=SECOND)
    move(client_id=pk, new=Phase.DUAL_READ)
    write_password(pk, THIRD)
    push(client_ids=[pk])
    advance(pk, Phase.PURGED)

    save_password(browser, pk, SECOND)

    assert facts(pk) == STOOD


def test_a_look_that_comes_late_still_says_what_stood_there(browser):
    pk = make_full_client("idom")
    write_password(pk, SECOND)
    late = see(pk)
    write_password(pk, THIRD)
    note_written_rows()

    KnownValue.objects.record_rows([late], key_id=fingerprint_key_id())
    assert known(pk).digest == make_fingerprint(pk, THIRD).digest
    enter_phase(pk, Phase.PURGED)
    save_password(browser, pk, SECOND)

    assert facts(pk) == STOOD


def see(pk: int) -> SeenClient:
    clients = known_values.all_clients().filter(pk=pk).with_revision()
    clients.read_rows_and_columns()
    return known_values.see_rows(clients[0])


# Where nothing was noted


def test_a_client_of_which_nothing_was_noted_had_its_values_in_the_tables(browser):
    pk = make_purged()
    forget_all()

    save_password(browser, pk, SECOND)
    assert facts(pk) == []  # AWS held another
    assert facts(pk, "email") == STOOD
    save_password(browser, pk, FIRST)
    assert facts(pk) == STOOD


def test_a_value_that_others_gave_aws_before_anything_was_noted_may_have_stood_there(sm):
    pk = make_purged()
    change_in_aws(sm, password=SECOND)
    forget_all()

    search_copies(client_ids=[pk])
    change_in_aws(sm, password=THIRD)
    search_copies(client_ids=[pk])

    assert facts(pk) == STOOD  # it may be the one that stood there, which is not known


def test_a_value_of_aws_whose_row_was_never_seen_may_have_stood_there():
    pk = make_full_client("idom")
    value = PresentValue(Fingerprint("a" * 64, "b"), stands_in_tables=False, stood_in_tables=False)

    KnownValue.objects.record_aws_values({pk: {("database", 1): value}}, read_at=timezone.now())

    assert facts(pk) == STOOD


def test_a_former_value_of_aws_that_a_search_found_in_a_copy_is_known_when_it_is_typed(
    browser, sm, nova
):
    pk = make_purged()
    ours = sm.get_value(NAME).version_id
    change_in_aws(sm, password=SECOND)  # nobody notes it
    theirs = sm.get_value(NAME).version_id
    sm.move_stage(NAME, "AWSCURRENT", away_from=theirs, to=ours)
    add_execution(nova, f'{{"password": "{SECOND}"}}')
    search_copies(client_ids=[pk])

    save_password(browser, pk, SECOND)

    assert facts(pk) == ["stood_in_copy"]
    assert "database" in kinds_to_rotate(pk)
