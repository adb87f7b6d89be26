"""Mismatches and reads are counted, without a value."""

import json
import logging
from types import SimpleNamespace

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from migration.models import ReadCount
from nova_credentials.phases import Phase
from nova_credentials.reader import from_postgres
from tests.factories import make_client, make_database, make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.reader.questions import (
    GRANTS,
    POSTGRES_ALONE,
    assert_answers,
    change_in_aws,
    counts,
    every_question,
    execute,
    in_time,
)


def test_a_mismatch_is_logged_and_counted_without_a_value(reader, sm, caplog):
    caplog.set_level(logging.DEBUG)
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    change_in_aws(sm, "idom", "email", app_password="example-b", imap_port=1)

    assert reader.get_credential("idom", "email").email_password == "example-b"

    assert counts(pk) == (1, 0, 1, 0)
    assert ReadCount.objects.get(pk=pk).last_mismatch_at is not None
    (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("nova_credentials")]
    fields = "emails[0].imap_port, emails[0].email_password"
    assert warning == f"idom: AWS differs from PostgreSQL in {fields}"
    assert "example" not in caplog.text.replace("example.test", "")


@pytest.mark.parametrize("gone", ["database", "email", "aws"])
def test_a_row_that_aws_lacks_is_returned_from_postgresql(reader, sm, gone):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    document = sm.get_client_credentials("idom")
    del document[gone]
    sm.put_value("nova/clients/idom", json.dumps(document))

    assert_answers(reader, "idom", every_question("idom"))
    assert counts(pk)[2] > 0


def test_a_label_that_aws_lacks_is_returned_from_postgresql(reader, sm):
    pk = make_client("idom")
    make_database(pk, label="main", db_user="ours")
    bring(pk, Phase.DUAL_READ)
    # Still the primary row, so that it is the label alone that is missing there.
    change_in_aws(sm, "idom", "database", label="renamed")

    assert reader.get_credential("idom", "database", "main").db_user == "ours"


@pytest.mark.parametrize("phase", Phase)
def test_reads_are_counted_from_dual_read_on(reader, phase):
    pk = make_full_client("idom")
    bring(pk, phase)
    reader.get_primary_credentials("idom")
    reader.get_primary_credentials("idom")

    if phase in POSTGRES_ALONE:
        assert not ReadCount.objects.exists()
    else:
        assert counts(pk) == (2, 2 if phase == Phase.DUAL_READ else 0, 0, 0)
        row = ReadCount.objects.get(pk=pk)
        assert row.last_read_at is not None
        assert row.last_mismatch_at is None


@pytest.mark.parametrize(
    "obstacle",
    [
        "REVOKE ALL ON nova_admin.migration_readcount FROM {}",
        "ALTER TABLE nova_admin.migration_readcount RENAME TO aside",
    ],
)
def test_what_cannot_be_counted_is_read_all_the_same(reader, role, obstacle):
    bring(make_full_client("idom"), Phase.DUAL_READ)
    execute(obstacle.format(role))
    try:
        for _ in range(2):
            assert reader.get_credential("idom", "database").db_password == "example-password-1"
    finally:
        if "RENAME" in obstacle:
            execute("ALTER TABLE nova_admin.aside RENAME TO migration_readcount")


def test_a_locked_count_holds_nobody_up(reader, database_url, caplog):
    caplog.set_level(logging.DEBUG, "nova_credentials")
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    superuser = make_conninfo(database_url, user="postgres")
    with psycopg.connect(superuser) as other:
        other.execute("LOCK TABLE nova_admin.migration_readcount")
        assert (
            in_time(lambda: reader.get_credential("idom", "database")).db_password
            == "example-password-1"
        )
    assert not ReadCount.objects.exists()
    assert "A read was not counted: LockNotAvailable" in caplog.messages
    reader.get_credential("idom", "database")
    assert counts(pk) == (1, 0, 0, 0)


def test_without_the_right_to_count_it_is_not_tried_at_every_read(reader, role, monkeypatch):
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    now = [1000.0]
    monkeypatch.setattr(from_postgres, "time", SimpleNamespace(monotonic=lambda: now[0]))
    execute(f"REVOKE ALL ON nova_admin.migration_readcount FROM {role}")
    reader.get_primary_credentials("idom")
    execute(GRANTS[-1].replace(" TO nova;", f" TO {role}"))

    now[0] = 1299.9
    reader.get_primary_credentials("idom")
    assert not ReadCount.objects.exists()
    now[0] = 1300.0
    reader.get_primary_credentials("idom")
    assert counts(pk) == (1, 0, 0, 0)
