"""A stand-in for the extension pg_stat_statements, whose library the embedded PostgreSQL lacks.

It is a real extension with the same view, over a table that a test fills. `test_real_statistics.py` asks the real one.
"""

from pathlib import Path

from django.db import connection

from tests.settings import SCRATCH

CONTROL = "comment = 'stand-in'\ndefault_version = '1.0'\nrelocatable = true\n"
SCRIPT = r"""
\echo Use "CREATE EXTENSION pg_stat_statements" to load this file. \quit
CREATE TABLE statements (
    userid oid, dbid oid, toplevel bool DEFAULT true, queryid bigint, query text, calls bigint DEFAULT 1
);
CREATE VIEW pg_stat_statements AS SELECT * FROM statements;
"""
SCHEMA = 'the "extensions"'


def install() -> None:
    """Make the extension in a schema of its own, as many hosts do."""
    folder = SCRATCH / "extensions" / "extension"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pg_stat_statements.control").write_text(CONTROL)
    (folder / "pg_stat_statements--1.0.sql").write_text(SCRIPT)
    make_readable(folder)
    quoted = SCHEMA.replace('"', '""')
    with connection.cursor() as cursor:
        cursor.execute(f"SET extension_control_path = '{folder.parent}'")
        cursor.execute(f'CREATE SCHEMA "{quoted}"')
        cursor.execute(f'CREATE EXTENSION pg_stat_statements SCHEMA "{quoted}"')


def remove() -> None:
    """Take it away again, after a test that committed it."""
    quoted = SCHEMA.replace('"', '""')
    with connection.cursor() as cursor:
        cursor.execute(f'DROP SCHEMA "{quoted}" CASCADE')
        cursor.execute("RESET extension_control_path")


def make_readable(folder: Path) -> None:
    """Let the server's user read the files and pass through the folders above."""
    for path in folder.iterdir():
        path.chmod(0o644)
    for above in (folder, *folder.parents):
        if not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o001)
    folder.chmod(0o755)


def count(query: str, *, role: str = "postgres", queryid: int | None = 1, calls: int = 1) -> None:
    """A statement that was counted, in this database."""
    quoted = SCHEMA.replace('"', '""')
    with connection.cursor() as cursor:
        cursor.execute(
            f'INSERT INTO "{quoted}".statements (userid, dbid, queryid, query, calls)'
            " SELECT r.oid, d.oid, %s, %s, %s FROM pg_roles r, pg_database d"
            " WHERE rolname = %s AND datname = current_database()",
            [queryid, query, calls, role],
        )
