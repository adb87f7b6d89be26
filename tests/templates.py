"""Databases that many tests need alike, such as a migrated one: made once a run, then copied in a tenth of a second.

A copy is a database of its own; only the roles are the server's. It claims to be the one that writes to AWS, as the
first one would after its `migrate`. What hosts share is noted by whoever writes to AWS
first: tests have keys of their own.
"""

import os
import re
from collections.abc import Callable

import psutil
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

# Names one run, for all its processes: the first process' id and a random part (`settings.py`).
RUN = "NOVA_TEST_RUN"
# Databases and roles that may go: nobody makes tests in them.
OF_A_RUN = re.compile(r"(?:template|nova|site|reader)_(\d+)_[0-9a-f]{8}_\w+")
CLAIM = """
UPDATE nova_admin.migration_databaseclaim
SET database_oid = d.oid::bigint, place = regexp_replace(place, '[^/]*$', d.datname::text), claimed_at = now(),
    facts = NULL
FROM pg_database d WHERE d.datname = current_database()
"""


def make_once(what: str, fill: Callable[[str], None]) -> str:
    """Have the first process of the run that asks make and fill a database, by its URI; return its name to the rest.

    Whoever asks meanwhile waits. Nobody can connect to it afterwards, as PostgreSQL copies no database that is in use.
    """
    name = f"template_{os.environ[RUN]}_{what}"
    identifier = sql.Identifier(name)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])  # until the connection ends
        is_made = "SELECT FROM pg_database WHERE datname = %s AND NOT datallowconn"
        if server.execute(is_made, [name]).fetchone() is None:
            server.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(identifier))
            server.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
            fill(make_conninfo(os.environ["DATABASE_URL"], dbname=name))
            server.execute(sql.SQL("ALTER DATABASE {} OWNER TO CURRENT_USER").format(identifier))
            server.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(identifier))
    return name


def claim_copy(uri: str) -> None:
    """Have the copy note what it is, as if it had been migrated now; one without tables notes nothing."""
    # On this path no trap of NOVA's role is stepped into.
    with psycopg.connect(uri, autocommit=True, options="-c search_path=pg_catalog") as connection:
        is_there = "SELECT to_regclass('nova_admin.migration_databaseclaim') IS NOT NULL"
        if connection.execute(is_there).fetchone() == (True,):
            connection.execute(CLAIM)


def drop_templates() -> None:
    """Drop what this run made once, and what a run that was killed left behind."""
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        for catalogue, column in (("pg_database", "datname"), ("pg_roles", "rolname")):
            names = server.execute(f"SELECT {column} FROM {catalogue}").fetchall()
            for (name,) in names:
                found = OF_A_RUN.fullmatch(name)
                if found and (int(found[1]) == os.getpid() or not psutil.pid_exists(int(found[1]))):
                    kind = "DATABASE" if catalogue == "pg_database" else "ROLE"
                    server.execute(f"DROP {kind} IF EXISTS {name}")


def hand_over(uri: str, before: str, after: str) -> None:
    """Give a copy's things to a role of the copy's own, and take from the template's role what it may do there."""
    with psycopg.connect(uri, autocommit=True, options="-c search_path=pg_catalog") as connection:
        connection.execute(f"REASSIGN OWNED BY {before} TO {after}")
        connection.execute(f"DROP OWNED BY {before}")
