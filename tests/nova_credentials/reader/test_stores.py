"""Which store a reader asks in each phase."""

import re
from concurrent.futures import Future
from dataclasses import replace

import psycopg
import pytest

from credentials.triggers import ensure_writes_are_counted
from migration.pushes.pushes import push
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader import from_postgres
from tests.factories import make_client, make_database, make_full_client, update
from tests.nova_credentials.in_phases import SECRETS, bring, stand
from tests.nova_credentials.reader.questions import (
    AWS_ALONE,
    POSTGRES_ALONE,
    change_in_aws,
    counts,
    execute,
)


def test_an_inactive_or_unknown_client_is_a_value_error_that_names_it(reader):
    def assert_unknown(slug: str) -> None:
        for ask in (
            reader.client_id,
            reader.get_primary_credentials,
            lambda slug: reader.get_credential(slug, "database"),
        ):
            with pytest.raises(ValueError, match=re.escape(slug)):
                ask(slug)

    for phase in Phase:
        pk = make_full_client(phase)
        bring(pk, phase)
        for active in (False, None):
            update("clients", pk, is_active=True)
            assert reader.client_id(phase) == pk
            update("clients", pk, is_active=active)
            assert_unknown(phase)
    for slug in ("nobody", "no\0body", "no\ud800body"):
        assert_unknown(slug)


@pytest.mark.parametrize("phase", AWS_ALONE)
def test_after_cutover_the_credential_tables_are_not_touched(reader, role, phase):
    bring(make_full_client("idom"), phase)
    execute(f"REVOKE ALL ON {', '.join(SECRETS)} FROM {role}")

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    make_full_client("other")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.get_credential("other", "database")


@pytest.mark.parametrize("phase", POSTGRES_ALONE)
def test_before_dual_read_aws_is_not_asked(reader, monkeypatch, phase):
    bring(make_full_client("idom"), phase)
    monkeypatch.setattr(reader._aws, "start_reading", None)
    monkeypatch.setattr(reader._aws, "read_document", None)

    assert reader.get_credential("idom", "email").email_password == "example-app-password-2"


def test_dual_read_returns_what_aws_has(reader, sm):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    change_in_aws(sm, "idom", "database", host="aws.example.test")

    assert reader.get_credential("idom", "database").db_host == "aws.example.test"


def test_once_a_client_is_known_to_be_in_dual_read_both_stores_are_read_side_by_side(
    reader, monkeypatch
):
    bring(make_full_client("idom"), Phase.DUAL_READ)
    begun, ask, read = [], reader._aws.start_reading, reader._postgres.read_client
    monkeypatch.setattr(reader._aws, "start_reading", lambda *of: begun.append("AWS") or ask(*of))
    monkeypatch.setattr(
        reader._postgres, "read_client", lambda slug: begun.append("rows") or read(slug)
    )
    reader.get_primary_credentials("idom")
    reader.get_primary_credentials("idom")

    assert begun == ["rows", "AWS", "AWS", "rows"]


def test_while_a_push_is_pending_postgresql_is_returned_and_nothing_counted_against_aws(reader):
    pk = make_client("idom")
    row = make_database(pk)
    bring(pk, Phase.DUAL_READ)
    for password in ("example-b", "example-c"):  # the second read asks AWS before it knows
        update("client_database_credentials", row, db_password_encrypted=password)
        assert reader.get_credential("idom", "database").db_password == password

    assert counts(pk) == (2, 0, 0, 0)


def test_a_client_that_was_never_pushed_has_a_push_pending(reader):
    pk = make_full_client("idom")
    stand(pk, Phase.DUAL_READ)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    assert counts(pk) == (1, 0, 0, 0)


UNCOUNTED = {
    "a table is made anew": """
        ALTER TABLE public.client_database_credentials RENAME TO client_database_credentials_old;
        CREATE TABLE public.client_database_credentials (LIKE public.client_database_credentials_old);
        INSERT INTO public.client_database_credentials SELECT * FROM public.client_database_credentials_old;
        GRANT SELECT ON public.client_database_credentials TO PUBLIC
    """,
    "a trigger is switched off": "ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER",
    "the last proof failed": "INSERT INTO nova_admin.credentials_countinggap (found_at) VALUES (now())",
}


@pytest.fixture
def tables_again(stores):
    yield
    execute(
        """
        DO $$ BEGIN
            IF to_regclass('public.client_database_credentials_old') IS NOT NULL THEN
                DROP TABLE public.client_database_credentials;
                ALTER TABLE public.client_database_credentials_old RENAME TO client_database_credentials;
            END IF;
        END $$
        """
    )
    execute("UPDATE nova_admin.credentials_countinggap SET ended_at = now()")
    ensure_writes_are_counted()


@pytest.mark.parametrize("obstacle", UNCOUNTED)
def test_where_writes_are_not_counted_postgresql_is_returned(reader, tables_again, obstacle):
    pks = {phase: make_client(phase) for phase in (*POSTGRES_ALONE, Phase.DUAL_READ)}
    rows = {phase: make_database(pk) for phase, pk in pks.items()}
    for phase, pk in pks.items():
        bring(pk, phase)
    execute(UNCOUNTED[obstacle])
    execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")

    def assert_read() -> None:
        for phase in pks:
            assert reader.get_credential(phase, "database").db_password == f"unseen-{phase}"

    for phase, row in rows.items():
        update("client_database_credentials", row, db_password_encrypted=f"unseen-{phase}")
    assert_read()
    assert counts(pks[Phase.DUAL_READ]) == (1, 0, 0, 0)

    execute("UPDATE nova_admin.credentials_countinggap SET ended_at = now()")
    ensure_writes_are_counted()
    assert_read()
    push(client_ids=list(pks.values()))
    assert_read()


def test_after_cutover_uncounted_writes_change_nothing_of_what_is_read(reader, tables_again):
    for phase in AWS_ALONE:
        bring(make_full_client(phase), phase)
    execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
    execute(
        "UPDATE public.client_database_credentials SET db_password_encrypted = 'example-unseen'"
    )

    for phase in AWS_ALONE:
        assert reader.get_credential(phase, "database").db_password == "example-password-1"


def late_answer(document):
    """An `ask` whose first answer is older than what AWS has."""
    old: Future = Future()
    old.set_result(document)
    return old


def test_an_answer_of_aws_from_before_a_push_is_no_mismatch(reader, sm, monkeypatch, caplog):
    pk = make_client("idom")
    row = make_database(pk)
    bring(pk, Phase.DUAL_READ)
    reader.get_primary_credentials("idom")
    old, ask = [late_answer(sm.get_client_credentials("idom"))], reader._aws.start_reading
    monkeypatch.setattr(reader._aws, "start_reading", lambda *of: old.pop() if old else ask(*of))
    update("client_database_credentials", row, db_password_encrypted="example-b")
    push(client_ids=[pk])

    assert reader.get_credential("idom", "database").db_password == "example-b"
    assert counts(pk) == (2, 2, 0, 0)
    assert not caplog.records


def test_an_answer_of_aws_from_before_the_cutover_is_not_used(reader, sm, monkeypatch):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    reader.get_primary_credentials("idom")
    old = late_answer(sm.get_client_credentials("idom"))
    monkeypatch.setattr(reader._aws, "start_reading", lambda *_: old)
    stand(pk, Phase.AWS)
    change_in_aws(sm, "idom", "database", password="example-b")

    assert reader.get_credential("idom", "database").db_password == "example-b"


def test_a_save_between_the_two_looks_of_a_mismatch_is_returned(reader, sm, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk)
    bring(pk, Phase.DUAL_READ)
    change_in_aws(sm, "idom", "database", password="example-a")
    look, looked = reader._look_up, []

    def save_before_the_second(slug):
        if looked:
            update("client_database_credentials", row, db_password_encrypted="example-b")
        looked.append(slug)
        return look(slug)

    monkeypatch.setattr(reader, "_look_up", save_before_the_second)

    assert reader.get_credential("idom", "database").db_password == "example-b"
    assert counts(pk) == (1, 0, 0, 0)


@pytest.mark.parametrize("last", [Phase.DUAL_READ, Phase.DUAL_WRITE])
def test_a_rollback_is_followed_at_the_next_read(reader, sm, last):
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    change_in_aws(sm, "idom", "database", password="example-b")
    assert reader.get_credential("idom", "database").db_password == "example-b"
    stand(pk, last)
    row = execute("SELECT id FROM public.client_database_credentials")[0][0]
    update("client_database_credentials", row, db_password_encrypted="example-c")

    assert reader.get_credential("idom", "database").db_password == "example-c"


def test_phase_and_rows_are_of_one_moment(reader, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk, db_user="a")
    bring(pk, Phase.DUAL_READ)
    execute_there = psycopg.Connection.execute

    def save_in_between(there, query, *args, **kwargs):
        if query == from_postgres.ROWS["database"]:
            update("client_database_credentials", row, db_user="b")
        return execute_there(there, query, *args, **kwargs)

    monkeypatch.setattr(psycopg.Connection, "execute", save_in_between)
    assert reader._postgres.read_client("idom").credentials.databases[0].db_user == "a"
    monkeypatch.undo()
    assert reader._postgres.read_client("idom").credentials.databases[0].db_user == "b"


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, Phase.AWS, Phase.PURGED])
def test_a_secret_that_is_gone_since_postgresql_was_asked_is_looked_for_once_more(
    reader, settings, monkeypatch, phase
):
    """The layout was changed in between, and the secrets of the former one went."""
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    bring(pk, phase)
    asked, ask = [], reader._postgres.read_client

    def ask_in_vain_first(slug):
        asked.append(slug)
        found = ask(slug)
        return replace(found, layout=Layout.CLIENT) if len(asked) == 1 else found

    monkeypatch.setattr(reader._postgres, "read_client", ask_in_vain_first)

    assert reader.get_credential("idom", "email").email_password == "example-app-password-2"
    assert len(asked) == 2
    reads, matches, mismatches, failures = counts(pk)
    assert (reads, matches, mismatches, failures) == (1, int(phase == Phase.DUAL_READ), 0, 0)
