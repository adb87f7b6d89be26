"""Statements of others that read NOVA's credential tables are found, by role, without their text."""

from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from credentials.models import Client
from migration import tasks
from migration.core.snapshots import read_snapshots
from migration.models import OtherStatement
from migration.nova.models import OtherStatementCount
from migration.nova.readers import (
    StatementReport,
    UnseenReason,
    find_credential_tables_read,
    read_other_statements,
)
from nova_admin.database.base import mark_statement
from nova_credentials.reader import from_postgres
from nova_credentials.tables import STATEMENT_MARK
from tests.factories import make_full_client
from tests.migration.nova.readers import statistics

DATABASES, EMAILS = "client_database_credentials", "client_email_credentials"
HELPER = (
    "SELECT dc.db_host, dc.db_password_encrypted FROM clients c JOIN client_database_credentials dc"
    " ON dc.client_id = c.id WHERE c.slug = $1 AND dc.is_primary = $2"
)

# Which statements read


@pytest.mark.parametrize(
    ("text", "tables"),
    [
        (HELPER, [DATABASES]),
        (f"/* x */ -- y\n  select * from public.{EMAILS}", [EMAILS]),
        (f'SELECT * FROM "public"."{EMAILS}", {DATABASES} d', [DATABASES, EMAILS]),
        (f"WITH x AS (SELECT 1 FROM {DATABASES}) SELECT * FROM x", [DATABASES]),
        (f"(SELECT 1 FROM {DATABASES}) UNION SELECT 2", [DATABASES]),
        (f"DECLARE c CURSOR FOR SELECT * FROM {DATABASES.upper()}", [DATABASES]),
        (f"TABLE {DATABASES}", [DATABASES]),
        (f"COPY public.{DATABASES} (id, db_host) TO stdout", [DATABASES]),
        (f"COPY (SELECT * FROM {EMAILS}) TO stdout", [EMAILS]),
        (f"COPY {EMAILS} FROM stdin", []),
        (f"INSERT INTO aside SELECT * FROM {DATABASES}", [DATABASES]),
        (f"INSERT INTO {DATABASES} (client_id) VALUES ($1)", []),
        (f"INSERT INTO public.{DATABASES} SELECT * FROM {EMAILS}", [EMAILS]),
        (f"UPDATE {DATABASES} SET db_host = $1 WHERE {DATABASES}.id = $2", []),
        (f'update only "public"."{DATABASES}" SET db_host = $1', []),
        (f"UPDATE clients SET name = $1 FROM {EMAILS} e WHERE e.client_id = clients.id", [EMAILS]),
        (f"DELETE FROM {EMAILS} WHERE client_id = $1", []),
        ("SELECT * FROM client_credentials", ["client_credentials"]),
        ("SELECT * FROM client_database_credentials_old", []),
        ("SELECT * FROM my_client_email_credentials", []),
        (f"CREATE INDEX ON {DATABASES} (client_id)", []),
        (f"ALTER TABLE {DATABASES} ADD COLUMN x text DEFAULT 'a secret'", []),
        (f"VACUUM {DATABASES}", []),
        (f"LOCK TABLE {DATABASES}", []),
    ],
)
def test_which_credential_tables_a_statement_reads(text, tables):
    assert find_credential_tables_read(text) == tables


# Our own


@pytest.mark.parametrize("query", from_postgres.ROWS.values())
def test_the_readers_statements_are_marked_behind_their_first_word(query):
    assert query.split()[:4] == ["SELECT", *STATEMENT_MARK.split()]


@pytest.mark.parametrize(
    ("statement", "marked"),
    [
        (f"SELECT * FROM {DATABASES}", f"SELECT {STATEMENT_MARK} * FROM {DATABASES}"),
        (f" ( select 1 FROM {EMAILS})", f" ( select {STATEMENT_MARK} 1 FROM {EMAILS})"),
        (f"UPDATE {EMAILS} SET x = 'SELECT'", f"UPDATE {STATEMENT_MARK} {EMAILS} SET x = 'SELECT'"),
        ("SELECT * FROM clients", "SELECT * FROM clients"),
        (
            f"CREATE FUNCTION x AS 'SELECT FROM {EMAILS}'",
            f"CREATE FUNCTION x AS 'SELECT FROM {EMAILS}'",
        ),
        (f"SELECTED {EMAILS}", f"SELECTED {EMAILS}"),
    ],
)
def test_the_sites_statements_are_marked_where_they_name_a_credential_table(statement, marked):
    assert mark_statement(statement) == marked


def test_whatever_the_site_reads_of_the_tables_is_marked(transactional_db):
    pk = make_full_client("idom")
    texts: list[str] = []

    def note(execute, sql, *rest):
        texts.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        read_snapshots([pk])
        Client.objects.filter(pk=pk).read_rows_and_columns()
        list(Client.objects.get(pk=pk).databases.iterator())

    reading = [text for text in texts if find_credential_tables_read(text)]
    assert len(reading) > 6
    assert [text for text in reading if STATEMENT_MARK not in text] == []


# What is found


@pytest.fixture
def extension(db):
    statistics.install()


def test_without_the_extension_it_is_said(db):
    assert read_other_statements() == StatementReport(unseen_reason=UnseenReason.NOT_INSTALLED)


def test_a_view_of_its_name_that_is_not_the_extensions_is_not_asked(db):
    with connection.cursor() as cursor:
        cursor.execute("CREATE VIEW public.pg_stat_statements AS SELECT 1 / 0 AS userid")

    assert read_other_statements().unseen_reason == UnseenReason.NOT_INSTALLED


@pytest.mark.usefixtures("extension")
def test_the_old_helper_is_found_by_role_tables_and_calls():
    statistics.count(HELPER, queryid=7, calls=12)
    statistics.count(HELPER, queryid=7, calls=3)  # within a function
    statistics.count(f"SELECT 1 FROM {EMAILS}", queryid=8, role="pg_monitor", calls=40)

    report = read_other_statements()

    assert report.unseen_reason is None
    assert report.statements == (
        OtherStatementCount("pg_monitor", 8, EMAILS, 40),
        OtherStatementCount("postgres", 7, DATABASES, 15),
    )


@pytest.mark.usefixtures("extension")
def test_the_packages_and_the_sites_statements_are_not_among_them():
    for number, query in enumerate(from_postgres.ROWS.values()):
        statistics.count(query, queryid=number)
    statistics.count(mark_statement(f"SELECT * FROM {DATABASES} WHERE id = $1"), queryid=10)
    foreign_key = (
        f'SELECT 1 FROM ONLY "public"."{DATABASES}" x WHERE "id" OPERATOR(pg_catalog.=) $1'
        " FOR KEY SHARE OF x"
    )
    statistics.count(foreign_key, queryid=11)

    assert read_other_statements().statements == ()


@pytest.mark.usefixtures("extension")
def test_statements_of_another_database_are_left_out():
    statistics.count(HELPER)
    with connection.cursor() as cursor:
        cursor.execute('UPDATE "the ""extensions""".statements SET dbid = 1')

    assert read_other_statements().statements == ()


@pytest.mark.usefixtures("extension")
def test_what_other_roles_do_may_be_hidden():
    statistics.count("<insufficient privilege>", queryid=None)
    statistics.count(HELPER)

    report = read_other_statements()

    assert (report.unseen_reason, report.own_role) == (UnseenReason.NOT_ALLOWED, "postgres")
    assert len(report.statements) == 1


@pytest.mark.usefixtures("extension")
def test_a_view_that_fails_is_told_and_fails_nothing_else():
    with connection.cursor() as cursor:
        cursor.execute('ALTER TABLE "the ""extensions""".statements RENAME calls TO number')
        cursor.execute('ALTER VIEW "the ""extensions""".pg_stat_statements RENAME calls TO number')

    assert read_other_statements() == StatementReport(unseen_reason=UnseenReason.NOT_READABLE)
    assert not OtherStatement.objects.exists()


# When it was called last


def age(**given: float) -> None:
    """What was noted so far was noted so long ago."""
    moment = timezone.now() - timedelta(**given)
    OtherStatement.objects.update(first_noticed_at=moment, noticed_at=moment)


def is_called_now() -> bool:
    """Whether the workers know of a call within the hour."""
    lately = timezone.now() - timedelta(hours=1)
    return OtherStatement.objects.filter(called_at__gt=lately).exists()


@pytest.mark.usefixtures("extension")
def test_the_task_finds_out_when_a_statement_was_called_last():
    statistics.count(HELPER, queryid=7, calls=12)
    tasks.note_other_statements()
    age(hours=2)

    tasks.note_other_statements()
    (row,) = OtherStatement.objects.all()
    assert (row.calls, row.called_at) == (12, None)
    assert timezone.now() - row.first_noticed_at > timedelta(hours=1)
    assert not is_called_now()

    statistics.count(HELPER, queryid=7, calls=1)
    tasks.note_other_statements()
    assert is_called_now()
    assert OtherStatement.objects.get().calls == 13
    OtherStatement.objects.update(called_at=timezone.now() - timedelta(hours=5))
    tasks.note_other_statements()
    assert not is_called_now()


@pytest.mark.usefixtures("extension")
def test_a_page_finds_it_too_and_changes_nothing():
    statistics.count(HELPER, queryid=7, calls=12)
    (shown,) = OtherStatement.objects.compare_counts(read_other_statements().statements)
    assert (shown.role, shown.called_at) == ("postgres", None)
    assert not OtherStatement.objects.exists()
    tasks.note_other_statements()
    statistics.count(HELPER, queryid=7, calls=1)

    (shown,) = OtherStatement.objects.compare_counts(read_other_statements().statements)

    assert shown.calls == 13
    assert timezone.now() - shown.called_at < timedelta(minutes=1)
    assert OtherStatement.objects.get().called_at is None


@pytest.mark.usefixtures("db")
def test_after_a_reset_of_the_statistics_a_call_is_noticed():
    OtherStatement.objects.note_counts([OtherStatementCount("nova", 7, DATABASES, 500)])

    OtherStatement.objects.note_counts([OtherStatementCount("nova", 7, DATABASES, 1)])

    assert is_called_now()
    assert OtherStatement.objects.get().calls == 1


@pytest.mark.usefixtures("extension")
def test_no_text_is_stored_and_what_is_gone_is_forgotten():
    statistics.count(f"SELECT 'a literal', 42 FROM {DATABASES}", queryid=9)
    tasks.note_other_statements()
    with connection.cursor() as cursor:
        cursor.execute("SELECT t::text FROM migration_otherstatement t")
        assert "literal" not in str(cursor.fetchall())
        cursor.execute('DELETE FROM "the ""extensions""".statements')
    age(days=8)

    tasks.note_other_statements()

    assert not OtherStatement.objects.exists()
