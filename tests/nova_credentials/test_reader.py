"""The reader beside NOVA's own SQL, in every phase and failure, with the rights that docs/reader.md grants."""

import json
import logging
import os
import re
import socket
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from uuid import uuid4

import psycopg
import pytest
from django.db import connection
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from credentials.triggers import count_every_write
from migration.models import ReadCount
from migration.operations.pushes import push
from nova_admin.embedded import postgres
from nova_credentials.aws import ClientSecretsManager, SecretsManagerError
from nova_credentials.document import DocumentError, Layout
from nova_credentials.phases import Phase
from nova_credentials.reader import connect_to_database, from_aws, from_environment, from_postgres
from nova_credentials.reader.routing import Reader
from tests import nova
from tests.factories import (
    make_aws,
    make_client,
    make_database,
    make_email,
    make_full_client,
    update,
)
from tests.nova_credentials.in_phases import SECRETS, bring, stand
from tests.nova_credentials.nova_process import TIMEOUT_SECONDS as WATCHDOG_SECONDS
from tests.nova_credentials.nova_process import run
from tests.settings import LOCAL

GRANTS = re.findall(r"^GRANT .+;$", (nova.ROOT / "docs/reader.md").read_text(), re.MULTILINE)
AWS_ALONE = (Phase.AWS, Phase.PURGED)
POSTGRES_ALONE = (Phase.POSTGRES, Phase.DUAL_WRITE)


def execute(statement: str, *values: object) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def role(stores):
    """A role of NOVA's with the documented rights and no other."""
    name = f"nova_{uuid4().hex}"
    execute(f"CREATE ROLE {name} LOGIN")
    for grant in GRANTS:
        execute(grant.replace(" TO nova;", f" TO {name}"))
    yield name
    execute(f"DROP OWNED BY {name}")
    execute(f"DROP ROLE {name}")


@pytest.fixture
def database_url(role) -> str:
    name = connection.settings_dict["NAME"]
    return make_conninfo(os.environ["DATABASE_URL"], dbname=name, user=role)


@pytest.fixture
def make_reader(database_url):
    made = []

    def make(**options):
        made.append(Reader(database_url, **{"cache_seconds": 0} | options))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


@pytest.fixture
def reader(make_reader) -> Reader:
    """One that caches nothing, with a time limit that nothing here reaches by chance."""
    return make_reader(timeout=30)


@pytest.fixture
def sm(aws) -> ClientSecretsManager:
    return ClientSecretsManager()


def change_in_aws(sm: ClientSecretsManager, slug: str, service: str, **values: object) -> None:
    document = sm.get_client_credentials(slug)
    document[service] |= values
    sm.put_value(f"nova/clients/{slug}", json.dumps(document))


def counts(pk: int) -> tuple[int, int, int, int]:
    row = ReadCount.objects.get(pk=pk)
    return row.reads, row.matches, row.mismatches, row.aws_failures


def database_down(role: str) -> None:
    execute(f"ALTER ROLE {role} NOLOGIN")
    disconnect(role)


def disconnect(role: str) -> None:
    execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s", role)


def in_time(work):
    """The result of the work, or a failure instead of a test that never ends."""
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(work).result(timeout=WATCHDOG_SECONDS)
    finally:
        pool.shutdown(wait=False)


# NOVA's own questions

COLUMNS = {
    "database": "db_host, db_port, db_name, db_user, db_password_encrypted",
    "email": "email_provider, imap_host, imap_port, smtp_host, smtp_port, email_user,"
    " email_password_encrypted, sender_whitelist",
    "aws": "access_key_id, secret_access_key, region",
}


TABLES = {
    "database": "public.client_database_credentials",
    "email": "public.client_email_credentials",
    "aws": "nova_admin.client_aws_credentials",
}


def by_sql(slug: str, kind: str, label: str | None) -> list[tuple[object, ...]]:
    """Every row that NOVA's statement may give for a slug and a label."""
    condition = "is_primary = true" if label is None else "label = %s"
    return execute(
        f"SELECT c.id, c.slug, {COLUMNS[kind]}, label, is_primary FROM public.clients c"
        f" JOIN {TABLES[kind]} ON client_id = c.id"
        f" WHERE slug = %s AND is_active = true AND {condition}",
        *([slug] if label is None else [slug, label]),
    )


def every_question(slug: str) -> dict[tuple[str, str | None], list[tuple[object, ...]]]:
    own = "WHERE client_id = (SELECT id FROM public.clients WHERE slug = %s)"
    tables = [f"SELECT label FROM {TABLES[kind]} {own}" for kind in COLUMNS]
    labels = {label for (label,) in execute(" UNION ".join(tables), slug, slug, slug)}
    labels |= {None, "no such label"}
    return {(kind, label): by_sql(slug, kind, label) for kind in COLUMNS for label in labels}


def answer(reader: Reader, slug: str, kind: str, label: str | None) -> tuple[object, ...] | None:
    try:
        return astuple(reader.get_credential(slug, kind, label))
    except ValueError:
        return None


def assert_answers(reader: Reader, slug: str, questions) -> None:
    for (kind, label), rows in questions.items():
        got = answer(reader, slug, kind, label)
        assert got in rows if rows else got is None
    primary = {kind: row and astuple(row) for kind, row in reader.get_all_credentials(slug).items()}
    assert primary == {kind: answer(reader, slug, kind, None) for kind in ("database", "email")}


def several_logins(pk):
    for label, primary in (("main", True), ("backup", False), ("backup", None), (None, False)):
        make_database(pk, label=label, is_primary=primary, db_user=f"{label}-{primary}")
        make_email(pk, label=label, is_primary=primary, email_user=f"{label}-{primary}")
        make_aws(pk, label=label, is_primary=primary, region=f"{label}-{primary}")


def nulls(pk):
    columns = ("email_provider", "imap_host", "imap_port", "smtp_host", "smtp_port")
    make_email(pk, **dict.fromkeys([*columns, "sender_whitelist", "label"]))
    make_aws(pk, region=None)


def empty_texts(pk):
    make_database(pk, db_host="", db_user="", db_password_encrypted="", label="")
    make_email(pk, email_provider="", imap_host="", sender_whitelist="", label="")


def odd_passwords(pk):
    for index, password in enumerate(
        [" example ", 'it\'s "quoted" \\', "two\r\nlines\n", "pässwörd 🔑"]
    ):
        make_database(pk, db_password_encrypted=password, is_primary=not index, label=f"{index}")
    make_email(pk, email_password_encrypted="x" * 4096)


def primary_unknown(pk):
    make_database(pk, is_primary=None, label="main")
    make_email(pk, is_primary=None)


SHAPES = {
    "one of each": lambda pk: (make_database(pk), make_email(pk), make_aws(pk)),
    "several, labels NULL and repeated": several_logins,
    "primary is NULL": primary_unknown,
    "no mail": make_database,
    "no database": make_email,
    "NULL in every column": nulls,
    "empty texts": empty_texts,
    "odd passwords": odd_passwords,
}


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_row_is_as_plain_sql_gives_it(make_reader, settings, shape, phase, layout):
    settings.NOVA_SECRET_LAYOUT = layout
    pk = make_client("idom")
    SHAPES[shape](pk)
    questions = every_question("idom")
    bring(pk, phase)

    reader = make_reader(layout=layout, timeout=30)

    assert_answers(reader, "idom", questions)
    assert reader.client_id("idom") == pk
    if phase == Phase.DUAL_READ:
        reads, matches, *_ = counts(pk)
        assert reads == matches > 0


@pytest.mark.parametrize("phase", Phase)
def test_a_client_without_any_credential_has_none_in_a_layout_without_its_secrets(
    make_reader, settings, phase
):
    settings.NOVA_SECRET_LAYOUT = "service"
    bring(make_client("idom"), phase)

    reader = make_reader(layout=Layout.SERVICE, timeout=30)

    assert_answers(reader, "idom", every_question("idom"))
    assert reader.get_all_credentials("idom") == {"database": None, "email": None}


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ])
def test_of_two_primary_rows_one_is_given(reader, phase):
    pk = make_client("idom")
    make_database(pk, db_user="first")
    make_database(pk, db_user="second")
    stand(pk, phase)

    assert_answers(reader, "idom", every_question("idom"))


text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
labels = {"label": st.none() | text, "is_primary": st.sampled_from([False, None])}
ports = st.integers(-(2**31), 2**31 - 1)
columns = {
    make_database: {
        **dict.fromkeys(("db_host", "db_name", "db_user", "db_password_encrypted"), text),
        "db_port": ports,
    },
    make_email: {
        **dict.fromkeys(("email_user", "email_password_encrypted"), text),
        **dict.fromkeys(("email_provider", "imap_host", "sender_whitelist"), st.none() | text),
        "smtp_port": st.none() | ports,
    },
    make_aws: {
        **dict.fromkeys(("access_key_id", "secret_access_key"), text),
        "region": st.none() | text,
    },
}


@hypothesis_settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_whatever_the_tables_hold_comes_back_in_every_phase(make_reader, data):
    slug = uuid4().hex
    pk = make_client(slug)
    for make, of_table in columns.items():
        rows = data.draw(st.lists(st.fixed_dictionaries(of_table | labels), max_size=3))
        primary = data.draw(st.integers(0, 3))
        for index, row in enumerate(rows):
            make(pk, **row | ({"is_primary": True} if index == primary else {}))
    questions = every_question(slug)
    reader = make_reader(timeout=30)

    for phase in Phase:
        bring(pk, phase)
        assert_answers(reader, slug, questions)
    assert counts(pk)[2:] == (0, 0)
    reader.close()


# Which store is read


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("active", [False, None])
def test_an_inactive_or_unknown_client_is_a_value_error_that_names_it(reader, phase, active):
    pk = make_full_client("idom")
    bring(pk, phase)
    assert reader.client_id("idom") == pk
    update("clients", pk, is_active=active)

    for slug in ("idom", "nobody", "no\0body", "no\ud800body"):
        for ask in (
            reader.client_id,
            reader.get_all_credentials,
            lambda slug: reader.get_credential(slug, "database"),
        ):
            with pytest.raises(ValueError, match=re.escape(slug)):
                ask(slug)


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
    monkeypatch.setattr(reader._aws, "start_reading", lambda slug: begun.append("AWS") or ask(slug))
    monkeypatch.setattr(
        reader._postgres, "read_client", lambda slug: begun.append("rows") or read(slug)
    )
    reader.get_all_credentials("idom")
    reader.get_all_credentials("idom")

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
    count_every_write()


@pytest.mark.parametrize("obstacle", UNCOUNTED)
@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ])
def test_where_writes_are_not_counted_postgresql_is_returned(reader, tables_again, phase, obstacle):
    pk = make_client("idom")
    row = make_database(pk)
    bring(pk, phase)
    execute(UNCOUNTED[obstacle])
    execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
    update("client_database_credentials", row, db_password_encrypted="example-unseen")

    assert reader.get_credential("idom", "database").db_password == "example-unseen"
    if phase == Phase.DUAL_READ:
        assert counts(pk) == (1, 0, 0, 0)

    execute("UPDATE nova_admin.credentials_countinggap SET ended_at = now()")
    count_every_write()
    assert reader.get_credential("idom", "database").db_password == "example-unseen"
    push(client_ids=[pk])
    assert reader.get_credential("idom", "database").db_password == "example-unseen"


@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
def test_after_cutover_uncounted_writes_change_nothing_of_what_is_read(reader, tables_again, phase):
    bring(make_full_client("idom"), phase)
    execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
    execute(
        "UPDATE public.client_database_credentials SET db_password_encrypted = 'example-unseen'"
    )

    assert reader.get_credential("idom", "database").db_password == "example-password-1"


def late_answer(document):
    """An `ask` whose first answer is older than what AWS has."""
    old: Future = Future()
    old.set_result(document)
    return old


def test_an_answer_of_aws_from_before_a_push_is_no_mismatch(reader, sm, monkeypatch, caplog):
    pk = make_client("idom")
    row = make_database(pk)
    bring(pk, Phase.DUAL_READ)
    reader.get_all_credentials("idom")
    old, ask = [late_answer(sm.get_client_credentials("idom"))], reader._aws.start_reading
    monkeypatch.setattr(reader._aws, "start_reading", lambda slug: old.pop() if old else ask(slug))
    update("client_database_credentials", row, db_password_encrypted="example-b")
    push(client_ids=[pk])

    assert reader.get_credential("idom", "database").db_password == "example-b"
    assert counts(pk) == (2, 2, 0, 0)
    assert not caplog.records


def test_an_answer_of_aws_from_before_the_cutover_is_not_used(reader, sm, monkeypatch):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    reader.get_all_credentials("idom")
    old = late_answer(sm.get_client_credentials("idom"))
    monkeypatch.setattr(reader._aws, "start_reading", lambda _: old)
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


# Mismatches and counts


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


@pytest.mark.parametrize("phase", Phase)
def test_reads_are_counted_from_dual_read_on(reader, phase):
    pk = make_full_client("idom")
    bring(pk, phase)
    reader.get_all_credentials("idom")
    reader.get_all_credentials("idom")

    if phase in POSTGRES_ALONE:
        assert not ReadCount.objects.exists()
    else:
        assert counts(pk) == (2, 2 if phase == Phase.DUAL_READ else 0, 0, 0)
        assert ReadCount.objects.get(pk=pk).last_read_at is not None


@pytest.mark.parametrize(
    "obstacle",
    [
        "REVOKE ALL ON nova_admin.migration_readcount FROM {}",
        "DROP TABLE nova_admin.migration_readcount",
    ],
)
def test_what_cannot_be_counted_is_read_all_the_same(reader, role, obstacle):
    bring(make_full_client("idom"), Phase.DUAL_READ)
    execute("CREATE TABLE kept (LIKE migration_readcount INCLUDING ALL)")
    try:
        execute(obstacle.format(role))
        for _ in range(2):
            assert reader.get_credential("idom", "database").db_password == "example-password-1"
    finally:
        if obstacle.startswith("DROP"):
            execute("ALTER TABLE kept RENAME TO migration_readcount")
        else:
            execute("DROP TABLE kept")


def test_a_locked_count_holds_nobody_up(reader, database_url):
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
    reader.get_credential("idom", "database")
    assert counts(pk) == (1, 0, 0, 0)


def test_without_the_right_to_count_it_is_not_tried_at_every_read(reader, role, monkeypatch):
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    execute(f"REVOKE ALL ON nova_admin.migration_readcount FROM {role}")
    reader.get_all_credentials("idom")
    execute(GRANTS[-1].replace(" TO nova;", f" TO {role}"))

    reader.get_all_credentials("idom")
    assert not ReadCount.objects.exists()
    later = from_postgres.time.monotonic() + from_postgres.COUNT_AGAIN_AFTER_SECONDS
    monkeypatch.setattr("nova_credentials.reader.from_postgres.time.monotonic", lambda: later)
    reader.get_all_credentials("idom")
    assert counts(pk) == (1, 0, 0, 0)


# AWS fails


@pytest.fixture
def hanging(monkeypatch):
    """An AWS that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
        yield server


@pytest.fixture
def down(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")


@pytest.mark.parametrize("failure", ["hanging", "down"])
def test_dual_read_returns_postgresql_where_aws_fails(make_reader, request, caplog, failure):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    request.getfixturevalue(failure)
    reader = make_reader(timeout=0.2)

    for _ in range(2):
        row = in_time(lambda: reader.get_credential("idom", "database"))
        assert row.db_password == "example-password-1"

    assert counts(pk) == (2, 0, 0, 2)
    assert [r.levelname for r in caplog.records if r.name.startswith("nova_credentials")] == [
        "WARNING"
    ] * 2


@pytest.mark.parametrize("phase", AWS_ALONE)
@pytest.mark.parametrize("failure", ["hanging", "down"])
def test_after_cutover_a_failure_of_aws_is_raised_and_counted(make_reader, request, phase, failure):
    pk = make_full_client("idom")
    bring(pk, phase)
    request.getfixturevalue(failure)
    reader = make_reader(timeout=0.2)

    with pytest.raises(SecretsManagerError, match="nova/clients/idom"):
        reader.get_credential("idom", "database")
    assert counts(pk) == (1, 0, 0, 1)
    assert reader.client_id("idom") == pk


def test_no_caller_waits_for_a_thread_that_hangs_and_few_threads_do(make_reader, monkeypatch):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    reader, let_go = make_reader(timeout=0.01), threading.Event()
    monkeypatch.setattr(reader._aws, "read_document", lambda _: let_go.wait(WATCHDOG_SECONDS))
    before = threading.active_count()

    for _ in range(from_aws.THREADS + 4):
        row = in_time(lambda: reader.get_credential("idom", "database"))
        assert row.db_password == "example-password-1"

    assert threading.active_count() <= before + from_aws.THREADS + 1
    assert counts(pk)[3] == from_aws.THREADS + 4
    let_go.set()


BROKEN = ["no JSON", '{"database": "MARKER"}', '{"database": {"host": 1}}', "[]", '{"MARKER']


@pytest.mark.parametrize("text", BROKEN)
def test_a_secret_that_is_no_document_is_a_failure_in_dual_read(reader, sm, caplog, text):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    sm.put_value("nova/clients/idom", text)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    assert counts(pk) == (1, 0, 0, 1)
    assert "MARKER" not in caplog.text


@pytest.mark.parametrize("text", BROKEN)
def test_a_secret_that_is_no_document_is_an_error_without_values_after_cutover(reader, sm, text):
    bring(make_full_client("idom"), Phase.AWS)
    sm.put_value("nova/clients/idom", text)

    with pytest.raises(DocumentError, match="idom") as caught:
        reader.get_credential("idom", "database")
    assert "MARKER" not in str(caught.value)
    assert caught.value.__cause__ is caught.value.__context__ is None


def test_a_secret_that_is_gone_is_a_failure_of_aws_and_not_an_unknown_client(reader, sm):
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    sm.sm.delete_secret(SecretId="nova/clients/idom", ForceDeleteWithoutRecovery=True)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    assert counts(pk) == (1, 0, 0, 1)
    stand(pk, Phase.AWS)
    with pytest.raises(SecretsManagerError) as caught:
        reader.get_credential("idom", "database")
    assert caught.value.not_found


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, *AWS_ALONE])
def test_three_secrets_that_are_all_gone_are_a_failure_and_not_a_client_without_credentials(
    make_reader, settings, sm, phase
):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    bring(pk, phase)
    for service in ("database", "email", "aws"):
        name = f"nova/clients/idom/{service}"
        sm.sm.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    reader = make_reader(layout=Layout.SERVICE, timeout=30, cache_seconds=1000)

    for failures in (1, 2):  # no failure is cached
        if phase == Phase.DUAL_READ:
            assert (
                reader.get_all_credentials("idom", refresh=True)["database"].db_host
                == "db.example.test"
            )
        else:
            with pytest.raises(SecretsManagerError) as caught:
                reader.get_all_credentials("idom")
            assert caught.value.not_found
        assert counts(pk) == (failures, 0, 0, failures)


@pytest.mark.parametrize("phase", [Phase.DUAL_READ, *AWS_ALONE])
def test_one_secret_of_three_that_cannot_be_read_is_a_failure(make_reader, settings, sm, phase):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    bring(pk, phase)
    sm.schedule_deletion("nova/clients/idom/email")
    reader = make_reader(layout=Layout.SERVICE, timeout=30)

    if phase == Phase.DUAL_READ:
        assert reader.get_credential("idom", "email").email_password == "example-app-password-2"
    else:
        with pytest.raises(SecretsManagerError, match="nova/clients/idom/email"):
            reader.get_credential("idom", "email")
    assert counts(pk) == (1, 0, 0, 1)


# PostgreSQL fails


@pytest.mark.parametrize("phase", AWS_ALONE)
def test_once_the_phase_is_known_aws_needs_no_postgresql(reader, sm, role, phase):
    pk = make_full_client("idom")
    bring(pk, phase)
    reader.get_all_credentials("idom")
    database_down(role)
    change_in_aws(sm, "idom", "database", password="example-b")

    assert reader.get_credential("idom", "database").db_password == "example-b"
    assert reader.get_credential("idom", "database").client_id == reader.client_id("idom") == pk


@pytest.mark.parametrize("phase", [p for p in Phase if p not in AWS_ALONE])
def test_before_cutover_postgresql_has_to_answer(reader, role, phase):
    bring(make_full_client("idom"), phase)
    reader.get_all_credentials("idom")
    database_down(role)

    with pytest.raises(psycopg.OperationalError):
        reader.get_credential("idom", "database")


def test_what_was_known_is_forgotten_with_the_client(reader, role):
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    reader.get_all_credentials("idom")
    update("clients", pk, is_active=False)
    with pytest.raises(ValueError, match="idom"):
        reader.get_all_credentials("idom")
    database_down(role)

    with pytest.raises(psycopg.OperationalError):
        reader.get_all_credentials("idom")


@pytest.mark.parametrize("phase", Phase)
def test_a_connection_that_was_cut_is_opened_again(reader, role, phase):
    bring(make_full_client("idom"), phase)
    for _ in range(2):
        reader.get_all_credentials("idom")
        disconnect(role)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"


def test_a_statement_that_takes_too_long_is_given_up(reader, database_url, monkeypatch):
    make_full_client("idom")
    monkeypatch.setattr(from_postgres, "STATEMENT_TIMEOUT", "100ms")
    with psycopg.connect(make_conninfo(database_url, user="postgres")) as other:
        other.execute("LOCK TABLE public.clients")
        with pytest.raises(psycopg.errors.QueryCanceled):
            in_time(lambda: reader.get_all_credentials("idom"))

    assert reader.get_all_credentials("idom")["database"].db_password == "example-password-1"


def test_before_this_app_is_migrated_every_client_is_read_from_nova_s_tables():
    with nova.database() as uri:
        with psycopg.connect(uri, autocommit=True) as there:
            for statement in (*nova.TABLES, nova.ROWS):
                there.execute(statement)
        reader = Reader(uri, cache_seconds=0)
        for _ in range(2):
            assert reader.get_credential("acme", "database").db_password == "example-password-1"
        assert reader.get_all_credentials("acme")["email"].imap_host is None
        with pytest.raises(ValueError, match="acme"):
            reader.get_credential("acme", "aws")
        reader.close()


@pytest.mark.parametrize("phase", Phase)
def test_while_migrate_has_not_made_the_function_yet_nothing_is_counted(
    reader, counting_again, phase
):
    pk = make_client("idom")
    row = make_database(pk)
    bring(pk, phase)
    execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
    if not phase.aws_is_authority:
        update("client_database_credentials", row, db_password_encrypted="example-newer")
    execute("DROP FUNCTION nova_admin.writes_are_counted()")

    read = reader.get_credential("idom", "database").db_password

    assert read == ("example-password-1" if phase.aws_is_authority else "example-newer")


def test_tables_that_are_there_but_out_of_sight_are_no_missing_tables(reader):
    bring(make_full_client("idom"), Phase.PURGED)
    execute(
        "CREATE SCHEMA aside; ALTER TABLE nova_admin.migration_clientmigration SET SCHEMA aside"
    )
    try:
        with pytest.raises(psycopg.errors.UndefinedTable):
            reader.get_credential("idom", "database")
    finally:
        execute(
            "ALTER TABLE aside.migration_clientmigration SET SCHEMA nova_admin; DROP SCHEMA aside"
        )


@pytest.mark.parametrize(
    ("schema", "table"),
    [("nova_admin", "migration_clientmigration"), ("public", "client_email_credentials")],
)
def test_a_missing_right_is_told(reader, role, schema, table):
    make_full_client("idom")
    execute(f"REVOKE ALL ON {schema}.{table} FROM {role}")

    with pytest.raises(psycopg.errors.InsufficientPrivilege, match=table):
        reader.get_credential("idom", "database")


# The cache


@pytest.mark.parametrize("phase", Phase)
def test_a_cached_read_asks_neither_store_and_a_refresh_asks_both(make_reader, role, phase):
    pk = make_full_client("idom")
    bring(pk, phase)
    reader = make_reader(cache_seconds=1000, timeout=30)
    first = reader.get_credential("idom", "database")
    execute("UPDATE public.clients SET name = 'X', is_active = false")

    assert reader.get_credential("idom", "database") is first
    assert reader.client_id("idom") == pk
    assert reader.get_all_credentials("idom")["email"].email_password == "example-app-password-2"
    with pytest.raises(ValueError, match="idom"):
        reader.get_credential("idom", "database", refresh=True)
    with pytest.raises(ValueError, match="idom"):  # nor is it cached any more
        reader.get_credential("idom", "database")


def test_the_cache_ends_its_time_after_the_start_of_the_read(make_reader, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk, db_user="a")
    reader, clock, look = make_reader(cache_seconds=30), [100.0], Reader._look_up
    monkeypatch.setattr("nova_credentials.reader.routing.time.monotonic", lambda: clock[0])

    def slow(self, slug):
        found = look(self, slug)
        clock[0] += 20
        return found

    monkeypatch.setattr(Reader, "_look_up", slow)
    reader.get_credential("idom", "database")
    update("client_database_credentials", row, db_user="b")
    clock[0] = 129.9
    assert reader.get_credential("idom", "database").db_user == "a"
    clock[0] = 130.0
    assert reader.get_credential("idom", "database").db_user == "b"


def test_a_slow_read_does_not_replace_a_later_one_in_the_cache(make_reader, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk, db_user="a")
    reader, look, once = make_reader(cache_seconds=1000), Reader._look_up, [True]

    def overtaken(self, slug):
        found = look(self, slug)
        if once:
            once.clear()
            update("client_database_credentials", row, db_user="b")
            self.get_credential(slug, "database", refresh=True)
        return found

    monkeypatch.setattr(Reader, "_look_up", overtaken)

    assert reader.get_credential("idom", "database").db_user == "a"
    assert reader.get_credential("idom", "database").db_user == "b"


def test_a_row_that_the_cache_lacks_is_looked_for(make_reader):
    pk = make_client("idom")
    make_database(pk)
    reader = make_reader(cache_seconds=1000)
    with pytest.raises(ValueError, match="idom"):
        reader.get_credential("idom", "email")
    make_email(pk)

    assert reader.get_credential("idom", "email").email_user == "invoices@example.test"


def test_a_failed_read_is_not_cached(make_reader, sm):
    bring(make_full_client("idom"), Phase.AWS)
    reader = make_reader(cache_seconds=1000, timeout=30)
    text = sm.get_value("nova/clients/idom").text
    sm.put_value("nova/clients/idom", "no JSON")
    with pytest.raises(DocumentError):
        reader.get_all_credentials("idom")
    sm.put_value("nova/clients/idom", text)

    assert reader.get_credential("idom", "database").db_password == "example-password-1"


# Processes and threads


@pytest.mark.parametrize("phase", Phase)
def test_nova_s_functions_work_without_django(database_url, phase):
    pk = make_full_client("idom")
    make_database(pk, label="backup", is_primary=False, db_user="other")
    bring(pk, phase)

    printed = run(
        """
print(reader.get_client_id("idom"), reader.get_database_credentials("idom").db_user,
      reader.get_database_credentials("idom", "backup", refresh=True).db_user,
      reader.get_email_credentials("idom").email_user, reader.get_aws_credentials("idom").region,
      sorted(reader.get_all_credentials("idom")), reader.get_database_credentials("idom"))
""",
        database_url,
    )

    assert printed.startswith(
        f"{pk} app other invoices@example.test eu-west-1 ['database', 'email'] DatabaseCredentials("
    )
    assert "password" not in printed


@pytest.mark.parametrize("phase", Phase)
def test_a_fork_uses_nothing_of_its_parent(database_url, phase):
    bring(make_full_client("idom"), phase)

    printed = run(
        """
import os
one = reader._shared_reader()
def read():
    return one.get_credential("idom", "database", refresh=True).db_password == "example-password-1"
def backends():
    return {c.info.backend_pid for c in one._postgres._idle}
assert read()
of_parent = backends()
one._aws._making.acquire()
child = os.fork()
if child == 0:
    ok = read() and read() and backends() and not backends() & of_parent
    os._exit(0 if ok else 1)
one._aws._making.release()
print(os.waitpid(child, 0)[1], read(), backends() == of_parent)
""",
        database_url,
        NOVA_READ_TIMEOUT_SECONDS="30",
    )

    assert printed == "0 True True"


def test_many_threads_read_at_once(make_reader):
    reader = make_reader(timeout=30)
    slugs = []
    for index, phase in enumerate([*Phase, *Phase]):
        slugs.append(f"client-{index}")
        pk = make_client(slugs[-1])
        make_database(pk, db_user=slugs[-1])
        bring(pk, phase)

    with ThreadPoolExecutor(16) as pool:
        work = slugs * 20
        users = [
            row.db_user
            for row in pool.map(lambda slug: reader.get_credential(slug, "database"), work)
        ]

    assert users == work
    assert sum(row.reads for row in ReadCount.objects.all()) == 20 * 6
    assert len(reader._postgres._idle) <= from_postgres.KEPT_CONNECTIONS


# The environment


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "mysql://nova:MARKER@db/nova"),
        ("DATABASE_URL", "postgresql://nova:MARKER@db:port/nova?no=such"),
        ("NOVA_SECRET_LAYOUT", "both"),
        ("NOVA_READ_TIMEOUT_SECONDS", "soon"),
        ("NOVA_READ_TIMEOUT_SECONDS", "0"),
        ("NOVA_CACHE_SECONDS", "-1"),
        ("NOVA_CACHE_SECONDS", "nan"),
        ("NOVA_READ_TIMEOUT_SECONDS", "1e300"),
    ],
)
def test_a_wrong_variable_is_named_and_not_shown(variable, value):
    with pytest.raises(RuntimeError, match=variable) as caught:
        from_environment({"DATABASE_URL": "postgresql:///nova"} | {variable: value})
    assert "MARKER" not in str(caught.value)
    assert caught.value.__context__ is None


def test_an_empty_variable_counts_as_unset(database_url):
    names = ("AWS_REGION", "NOVA_SECRET_PREFIX", "NOVA_SECRET_LAYOUT", "NOVA_CACHE_SECONDS")
    names += ("NOVA_READ_TIMEOUT_SECONDS",)
    set_to_nothing, unset = (
        vars(from_environment({"DATABASE_URL": database_url} | values))
        for values in (dict.fromkeys(names, " "), {})
    )

    for name in ("_aws_settings", "_timeout", "_cache_seconds"):
        assert set_to_nothing[name] == unset[name]


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgres+psycopg"]
)
def test_nova_s_database_url_is_taken_as_it_is(scheme):
    got = conninfo_to_dict(
        from_postgres.parse_database_url(f"{scheme}://nova:p%20w@db.example.test/nova")
    )
    wanted = {"user": "nova", "password": "p w", "host": "db.example.test", "dbname": "nova"}
    assert got.items() >= wanted.items()


def test_prefix_layout_and_region_are_those_of_the_site(stores, settings, database_url):
    settings.NOVA_SECRET_PREFIX, settings.NOVA_SECRET_LAYOUT = "other/place", "service"
    bring(make_full_client("idom"), Phase.AWS)

    reader = from_environment(
        {
            "DATABASE_URL": database_url,
            "NOVA_SECRET_PREFIX": "/other/place/",
            "NOVA_SECRET_LAYOUT": "service",
        }
    )

    assert reader.get_credential("idom", "database").db_password == "example-password-1"
    reader.close()


# The client's database


@pytest.fixture(scope="module")
def login_server() -> str:
    """A server that asks everybody but its owner for a password."""
    folder = LOCAL / "login"  # not in /tmp: another test run shuts its folder there
    folder.mkdir(parents=True, exist_ok=True)
    rules = folder / "hba.conf"
    rules.write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    rules.chmod(0o644)
    return postgres.start(folder, settings={"fsync": "off", "hba_file": str(rules)})


@pytest.fixture
def login(login_server, stores):
    """The row of a client's login on that server, and a way to change the password there."""
    parts, user = conninfo_to_dict(login_server), f"client_{uuid4().hex}"
    row = make_database(
        make_client("idom"),
        db_host=parts["host"],
        db_port=parts["port"],
        db_name="postgres",
        db_user=user,
        db_password_encrypted="example-a",
    )
    with psycopg.connect(login_server, autocommit=True) as server:
        server.execute(f"CREATE ROLE {user} LOGIN PASSWORD 'example-a'")
        yield row, lambda password: server.execute(f"ALTER ROLE {user} PASSWORD '{password}'")
        server.execute(f"DROP ROLE {user}")


@pytest.fixture
def caching(make_reader):
    return make_reader(cache_seconds=1000)


def test_a_connection_to_the_client_s_database(caching, login):
    with connect_to_database(caching, "idom") as there:
        assert there.execute("SELECT 1").fetchone() == (1,)
    there.close()


def test_a_refused_login_is_tried_once_more_past_the_cache(caching, login):
    row, change = login
    caching.get_all_credentials("idom")
    change("example-b")
    update("client_database_credentials", row, db_password_encrypted="example-b")

    with connect_to_database(caching, "idom") as there:
        assert there.execute("SELECT 1").fetchone() == (1,)
    there.close()


def test_a_login_that_stays_refused_is_an_error_without_the_password(caching, login, caplog):
    caplog.set_level(logging.DEBUG)
    _, change = login
    change("example-b")

    with pytest.raises(
        psycopg.OperationalError, match=r"'idom'.*password authentication"
    ) as caught:
        connect_to_database(caching, "idom")
    assert caught.value.__cause__ is caught.value.__context__ is caught.value.pgconn is None
    assert "example-a" not in str(caught.value) + caplog.text


def test_a_password_that_the_server_repeats_is_not_repeated(caching, monkeypatch):
    make_full_client("idom")

    def refuse(**_):
        raise psycopg.OperationalError("no such password: example-password-1")

    caching.get_all_credentials("idom")
    monkeypatch.setattr(psycopg, "connect", refuse)
    with pytest.raises(psycopg.OperationalError, match="'idom'") as caught:
        connect_to_database(caching, "idom")
    assert "example" not in str(caught.value)


def test_a_server_that_is_not_there_is_not_asked_twice(caching, monkeypatch):
    make_database(make_client("idom"), db_host="127.0.0.1", db_port=1)
    reads = []
    monkeypatch.setattr(
        caching,
        "_read_entry",
        lambda slug, read=caching._read_entry: reads.append(slug) or read(slug),
    )

    with pytest.raises(psycopg.OperationalError, match="'idom'"):
        connect_to_database(caching, "idom")
    assert reads == ["idom"]


@pytest.mark.parametrize("phase", Phase)
def test_a_row_that_is_not_there_is_a_value_error_that_names_the_client(reader, phase):
    pk = make_client("idom")
    make_database(pk, is_primary=None, label="main")
    bring(pk, phase)

    for question in (("database", None), ("database", "other"), ("email", None), ("aws", "main")):
        with pytest.raises(ValueError, match="'idom'"):
            reader.get_credential("idom", *question)


def test_a_client_without_a_database_has_no_connection(caching):
    make_email(make_client("idom"))

    with pytest.raises(ValueError, match="idom"):
        connect_to_database(caching, "idom")
