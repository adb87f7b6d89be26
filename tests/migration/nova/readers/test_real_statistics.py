"""The real pg_stat_statements tells the package's and the site's statements from NOVA's old helper's.

A site and a reader of this checkout run on it. Skipped where no PostgreSQL of the machine has the extension, but not
in CI, which installs one.
"""

import re
from dataclasses import dataclass

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from migration.nova.readers import FIND_LIBRARY, UnseenReason, read_statements
from nova_credentials.reader.routing import Reader
from tests import nova_database
from tests.checkout import ROOT, manage
from tests.migration.nova.readers.real_server import do_without, find_programs, running

PROGRAMS = find_programs()
HELPER = """
SELECT dc.db_host, dc.db_user, dc.db_password_encrypted FROM clients c
JOIN client_database_credentials dc ON dc.client_id = c.id
WHERE c.slug = %s AND c.is_active = true AND dc.is_primary = true
"""


@dataclass
class Server:
    """A server with NOVA's tables, the site's and the extension, and two roles: NOVA's and a watcher without rights."""

    uri: str
    environment: dict[str, str]

    def as_role(self, role: str) -> str:
        return self.uri.replace("postgres@", f"{role}@")

    def read(self, role: str = "postgres"):
        with psycopg.connect(self.as_role(role)) as there:
            return read_statements(there.cursor())

    def execute(self, statement: str, *values: object, role: str = "postgres") -> None:
        with psycopg.connect(self.as_role(role), autocommit=True) as there:
            there.execute(statement, values or None)


@pytest.fixture(scope="module", params=PROGRAMS or [None], ids=str)
def server(request):
    if request.param is None:
        do_without()
    with running(request.param) as uri:
        nowhere = "http://127.0.0.1:1"
        environment = {"DATABASE_URL": uri, "AWS_ENDPOINT_URL_SECRETS_MANAGER": nowhere}
        found = Server(uri, environment)
        for statement in (*nova_database.TABLES, nova_database.ROWS):
            found.execute(statement)
        found.execute("UPDATE clients SET is_active = true")
        # Some hosts keep extensions in a schema of their own, some in `public`.
        found.execute(
            "CREATE SCHEMA extensions; CREATE EXTENSION pg_stat_statements SCHEMA extensions"
        )
        done = manage("migrate", "--no-color", "-v0", **environment)
        assert done.returncode == 0, done.stderr
        # The site reads the tables too: for a push, and for this list.
        for command in (("migrate_clients", "--all", "--inline"), ("client_status",)):
            manage(*command, **environment)
        found.execute("CREATE ROLE nova LOGIN; CREATE ROLE watcher LOGIN")
        found.execute(
            "GRANT SELECT ON ALL TABLES IN SCHEMA public TO nova; GRANT USAGE ON SCHEMA nova_admin TO nova;"
            " GRANT SELECT ON ALL TABLES IN SCHEMA nova_admin TO nova;"
            " GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA nova_admin TO nova;"
            " GRANT USAGE ON SCHEMA extensions TO nova, watcher"
        )
        yield found


def read_through_the_package(server: Server) -> None:
    reader = Reader(server.as_role("nova"), cache_seconds=0)
    for _ in range(3):
        assert reader.get_credential("acme", "database").db_password == "example-password-1"
    reader.close()


def test_who_reads_through_the_package_is_nobody_else_and_the_site_is_not_either(server):
    server.execute("SELECT extensions.pg_stat_statements_reset()")
    read_through_the_package(server)
    manage("migrate_clients", "--all", "--inline", **server.environment)
    with psycopg.connect(server.uri) as there:
        marked, texts = there.execute(
            "SELECT count(*) FILTER (WHERE query LIKE '%nova_credentials */%'),"
            " string_agg(query, '; ') FROM extensions.pg_stat_statements"
            " WHERE query LIKE '%client_database_credentials%'"
        ).fetchone()

    assert marked >= 2, texts  # the reader's and the site's, each with its mark kept
    assert server.read().statements == ()

    # NOVA's old helper is seen beside the package.
    for _ in range(4):
        server.execute(HELPER, "acme", role="nova")
    read_through_the_package(server)
    (found,) = server.read().statements
    assert (found.role, found.tables, found.calls) == ("nova", "client_database_credentials", 4)

    # That the library counts is seen by every role, in a database without the extension too.
    server.execute("CREATE DATABASE bare")
    with psycopg.connect(make_conninfo(server.as_role("watcher"), dbname="bare")) as there:
        assert there.execute(FIND_LIBRARY).fetchone() is not None


@pytest.mark.nightly
def test_a_reader_of_before_the_mark_does_not_hide_the_packages_statements_nor_become_them(server):
    """Statements of one shape are counted under the text of the first; with the mark the shape differs."""
    server.execute("SELECT extensions.pg_stat_statements_reset()")
    server.execute(
        "SELECT db_host, db_port, db_name, db_user, db_password_encrypted AS db_password, label, is_primary"
        " FROM public.client_database_credentials WHERE client_id = %s ORDER BY is_primary IS TRUE DESC, id",
        2,
        role="nova",
    )
    read_through_the_package(server)

    (found,) = server.read().statements

    assert found.calls == 1


@pytest.mark.nightly
def test_a_statement_that_keeps_a_literal_shows_only_its_table(server):
    server.execute("SELECT extensions.pg_stat_statements_reset()")
    with psycopg.connect(server.as_role("nova")) as there:
        there.execute("DECLARE c CURSOR FOR SELECT 'a literal' FROM client_email_credentials")

    report = server.read()

    assert {row.tables for row in report.statements} == {"client_email_credentials"}
    assert "literal" not in repr(report)


@pytest.mark.nightly
def test_a_role_without_the_right_is_told_that_others_are_hidden(server):
    server.execute(HELPER, "acme", role="nova")

    hidden = server.read("watcher")

    assert (hidden.statements, hidden.unseen_reason) == ((), UnseenReason.NOT_ALLOWED)
    assert hidden.own_role == "watcher"
    server.execute("GRANT pg_read_all_stats TO watcher")
    allowed = server.read("watcher")
    server.execute("REVOKE pg_read_all_stats FROM watcher")
    assert allowed.unseen_reason is None
    assert "nova" in {row.role for row in allowed.statements}


def test_ci_installs_a_postgresql_with_the_extension_and_lets_nobody_skip_these_tests():
    ci = (ROOT / ".ci" / "run").read_text()

    assert "REQUIRE_PG_STAT_STATEMENTS=1" in ci[: ci.index("make check test")]
    assert re.search(r"apt-get install .*\bpostgresql\b", ci)


def test_without_the_extension_they_are_skipped_but_fail_where_it_is_required(monkeypatch):
    monkeypatch.delenv("REQUIRE_PG_STAT_STATEMENTS", raising=False)
    with pytest.raises(pytest.skip.Exception):
        do_without()
    monkeypatch.setenv("REQUIRE_PG_STAT_STATEMENTS", "1")
    with pytest.raises(pytest.fail.Exception):
        do_without()
