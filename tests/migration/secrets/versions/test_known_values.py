"""Each credential knows since when its value exists, whether it stood in clear, and whether it is to be rotated."""

import re
import time

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from migration.models import KnownValue
from migration.moves.moves import move
from migration.pushes.known_values import note_written_rows
from migration.secrets.copies import search_copies
from nova_credentials.phases import Phase
from tests.factories import CHANGE, VIEW, make_client, make_database, make_full_client, make_user
from tests.migration.moves.clients import advance, change_in_aws, enter_phase, write_password
from tests.migration.secrets.copies.nova_tables import add_execution
from tests.migration.secrets.versions.known import (
    LOST_KEY,
    facts,
    forget_all,
    kinds_to_rotate,
    known,
    list_to_rotate,
    save_password,
)

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def browser(client):
    client.force_login(make_user("operator", *VIEW, *CHANGE))
    return client


def test_a_value_in_the_rows_is_known_from_then_on_and_a_new_one_anew():
    pk = make_full_client("idom")
    note_written_rows()
    first = known(pk)
    assert facts(pk) == ["stands_in_tables", "stood_in_tables"]
    assert re.fullmatch("[0-9a-f]{64}", first.digest)
    assert KnownValue.objects.count() == 3
    assert list_to_rotate() == {}

    write_password(pk, "example-new")
    note_written_rows()
    assert known(pk).since > first.since
    first.refresh_from_db()
    assert first.replaced_at
    assert not first.stands_in_tables

    write_password(pk, "example-password-1")
    note_written_rows()
    assert (known(pk).pk, known(pk).since) == (first.pk, first.since)
    assert known(pk).set_at > first.set_at


def test_nothing_is_done_for_what_was_not_written_and_clients_share_their_statements():
    for slug in ("idom", "acme", "other"):
        make_full_client(slug)
    with CaptureQueriesContext(connection) as first:
        note_written_rows()
    with CaptureQueriesContext(connection) as second:
        note_written_rows()
    pk = make_client("fourth")
    make_database(pk)
    with CaptureQueriesContext(connection) as third:
        note_written_rows()

    assert len(second) == 1
    assert len(third) == len(first) <= 16
    assert KnownValue.objects.count() == 10


def test_after_a_purge_each_value_is_to_be_rotated_until_another_was_set(browser):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    assert kinds_to_rotate(pk) == []

    advance(pk, Phase.PURGED)  # at once: no worker has looked at the rows
    note_written_rows()
    assert facts(pk) == ["stood_in_tables"]
    assert kinds_to_rotate(pk) == ["aws", "database", "email"]
    before = known(pk)

    save_password(browser, pk, "example-new")
    note_written_rows()
    assert facts(pk) == []
    assert kinds_to_rotate(pk) == ["aws", "email"]

    save_password(browser, pk, "example-password-1")  # the one that stood there is set again
    assert facts(pk) == ["stood_in_tables"]
    assert known(pk).since == before.since

    save_password(browser, pk, "example-newer")
    move(client_id=pk, new=Phase.AWS)
    note_written_rows()
    assert facts(pk) == ["stands_in_tables", "stood_in_tables"]
    assert kinds_to_rotate(pk) == []


def test_a_client_that_was_purged_before_anybody_looked_counts_as_one_whose_values_stood_there(sm):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    forget_all()
    note_written_rows()
    assert facts(pk) == ["stood_in_tables"]
    assert known(pk).digest == ""

    search_copies(client_ids=[pk])
    assert known(pk).digest
    assert facts(pk) == ["stood_in_tables"]

    change_in_aws(sm, password="example-theirs")  # by somebody else
    search_copies(client_ids=[pk])
    assert facts(pk) == []
    assert kinds_to_rotate(pk) == ["aws", "email"]


def test_a_search_says_which_values_stood_in_copies_and_in_the_legacy_table(nova):
    idom, acme = make_full_client("idom"), make_full_client("acme")
    write_password(acme, "example-acme-password")
    add_execution(nova, '{"password": "example-password-1"}')
    nova.execute(
        "INSERT INTO public.client_credentials (client_name, client_slug, db_host, db_port, db_name, db_user,"
        " db_password, is_active) VALUES ('ACME', 'acme', 'h', 1, 'd', 'u', 'example-acme-password', true)"
    )

    search_copies(client_ids=[idom, acme])

    assert facts(idom) == ["stands_in_tables", "stood_in_tables", "stood_in_copy"]
    assert facts(acme) == ["stands_in_tables", "stood_in_tables", "stood_in_legacy"]
    emails = KnownValue.objects.filter(kind="email")
    assert not emails.filter(stood_in_copy=True).exists()
    write_password(idom, "example-new")
    note_written_rows()
    assert facts(idom) == ["stands_in_tables", "stood_in_tables"]


def test_another_fingerprint_key_makes_no_value_look_new(settings, sm):
    kept, written, purged = (make_full_client(slug) for slug in ("kept", "written", "purged"))
    enter_phase(purged, Phase.PURGED)
    search_copies(client_ids=[kept, written, purged])
    before = {pk: known(pk) for pk in (kept, written, purged)}
    settings.NOVA_FINGERPRINT_KEY = LOST_KEY
    write_password(written, "example-new")

    note_written_rows()
    search_copies(client_ids=[kept, written, purged])

    # The three of the client that was written were kept: they may be others than its present ones.
    assert KnownValue.objects.count() == 9 + 3
    assert known(kept).since == before[kept].since
    assert known(kept).digest != before[kept].digest
    # Whether it is the same value can't be told any more.
    assert known(written).since > before[written].since
    assert (known(purged).since, facts(purged)) == (before[purged].since, ["stood_in_tables"])
    assert known(purged).key_id == known(kept).key_id
    assert kinds_to_rotate(purged) == ["aws", "database", "email"]


def test_a_search_that_read_aws_before_a_save_does_not_take_the_save_back(browser, monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    note_written_rows()
    record = KnownValue.objects.__class__.record_aws_values

    def save_first(self, seen, **options):
        save_password(browser, pk, "example-new")
        record(self, seen, **options)

    monkeypatch.setattr(KnownValue.objects.__class__, "record_aws_values", save_first)
    time.sleep(0.01)
    search_copies(client_ids=[pk])

    assert facts(pk) == []


def test_credentials_and_clients_that_are_gone_are_not_to_be_rotated():
    pk, gone = make_full_client("idom"), make_full_client("gone")
    enter_phase(pk, Phase.PURGED)
    enter_phase(gone, Phase.PURGED)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_email_credentials WHERE client_id = %s", [pk])
        cursor.execute("DELETE FROM client_aws_credentials WHERE client_id = %s", [gone])
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [gone])
    note_written_rows()

    assert {pk: [kind for kind, _ in found] for pk, found in list_to_rotate().items()} == {
        pk: ["aws", "database"]
    }
