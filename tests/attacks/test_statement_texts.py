"""No value is in a statement: not in PostgreSQL's log, and not in what a monitoring role sees of a slow one."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import monotonic, sleep
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from django.db import DatabaseError, connection, transaction

from credentials.models import Client, DatabaseCredential
from tests.attacks.hostile import Hostile, copied_hostile_database
from tests.attacks.hostile_site import connected_to
from tests.checkout import manage
from tests.factories import make_client, make_database
from tests.haystack import NEEDLE, Haystack, statements_logged
from tests.migration.doctor.conftest import migrate_with_a_client, run_doctor

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "MARKER-ONE typed"
TABLE = "public.client_database_credentials"
TRIGGER = """
CREATE FUNCTION public.novas_own() RETURNS trigger LANGUAGE plpgsql AS $own$BEGIN {body} RETURN NEW; END $own$;
CREATE TRIGGER novas_own BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION public.novas_own()
"""


@pytest.fixture
def site(stores) -> Iterator[Hostile]:
    """NOVA's database with roles of their own, to which this process is connected as the site."""
    with copied_hostile_database("of_the_doctor", migrate_with_a_client) as hostile:
        hostile.run("DELETE FROM public.clients")
        with connected_to(hostile):
            yield hostile


# How NOVA's table comes to refuse a row, one after the other, what is saved, and the SQLSTATE.
FAILURES = [
    ("", {"db_host": "h" * 256}, "22001"),
    (f"ALTER TABLE {TABLE} ADD UNIQUE (db_password_encrypted)", {}, "23505"),
    (f"ALTER TABLE {TABLE} ADD CHECK (db_port <> 5433) NOT VALID", {"db_port": 5433}, "23514"),
    (TRIGGER.format(table=TABLE, body="RAISE EXCEPTION 'no' USING HINT = NEW::text;"), {}, "P0001"),
]


def test_postgresqls_log_holds_no_value_of_a_save_that_fails(site):
    pk, other = make_client("idom"), make_client("other")
    row_id = make_database(pk)
    make_database(other, db_password_encrypted=SECRET)
    for change, values, code in FAILURES:
        if change:
            site.run(change, role=site.nova)
        haystack = Haystack()

        with statements_logged(haystack):
            row = DatabaseCredential.objects.get(pk=row_id)
            for save in (row.save, lambda: DatabaseCredential.objects.bulk_create([row, row])):  # noqa: B023
                for name, value in ({"db_password": SECRET} | values).items():
                    setattr(row, name, value)
                with pytest.raises(DatabaseError, match=f"SQLSTATE {code}"), transaction.atomic():
                    save()

        assert "ERROR: " in haystack.text("PostgreSQL's log")
        assert haystack.found() == [], code


def test_a_monitoring_role_sees_no_value_of_a_slow_save(site):
    row = DatabaseCredential.objects.get(pk=make_database(make_client("idom")))
    site.run(TRIGGER.format(table=TABLE, body="PERFORM pg_advisory_xact_lock(7);"), role=site.nova)
    row.db_password = SECRET

    with monitoring(site) as monitor, ThreadPoolExecutor(1) as threads:
        monitor.execute("SELECT pg_advisory_lock(7)")
        seen = threads.submit(read_waiting_statement, monitor, site)
        row.save()

    assert seen.result().startswith(f'UPDATE /* nova_credentials */ "public"."{TABLE[7:]}" SET')
    assert not NEEDLE.search(seen.result())


@contextmanager
def monitoring(site: Hostile) -> Iterator[psycopg.Connection]:
    """A connection of a role that may read all statements that run, and nothing else."""
    role = f"monitor_{uuid4().hex[:12]}"
    site.run(f"CREATE ROLE {role} LOGIN; GRANT pg_monitor TO {role}")
    try:
        with psycopg.connect(site.of(role), autocommit=True) as connection:
            yield connection
    finally:
        site.run(f"DROP ROLE {role}")


def read_waiting_statement(monitor: psycopg.Connection, site: Hostile) -> str:
    """The site's statement that waits for the monitor's lock, which is then given free."""
    waiting = (
        "SELECT query FROM pg_stat_activity WHERE usename = %s AND wait_event = 'advisory'"
        " AND datname = current_database()"
    )
    deadline = monotonic() + 30
    try:
        while not monitor.execute(waiting, [site.site]).fetchone():
            assert monotonic() < deadline
            sleep(0.01)
        # PostgreSQL reads a statement's text before what it waits for: the first look may still see the one before it.
        return monitor.execute(waiting, [site.site]).fetchone()[0]
    finally:
        monitor.execute("SELECT pg_advisory_unlock(7)")


def test_migrate_says_what_keeps_values_out_of_the_log_and_does_it_where_it_may(site):
    def migrate() -> str:
        done = manage("migrate", "--no-color", DATABASE_URL=site.of(site.site))
        assert done.returncode == 0
        return done.stdout

    name = psycopg.conninfo.conninfo_to_dict(site.uri)["dbname"]
    loud = {"log_error_verbosity": "verbose", "log_parameter_max_length_on_error": "-1"}
    site.run(*(f"ALTER DATABASE {name} SET {setting} = {to}" for setting, to in loud.items()))
    found = run_doctor(site)
    assert found.codes("values_in_log") == ["log_may_hold_values"]
    printed = re.findall(r"ALTER ROLE .*;", migrate())
    assert printed == found.statements("values_in_log")
    assert len(printed) == 3

    site.run("GRANT SET ON PARAMETER log_error_verbosity TO " + site.site)
    assert len(re.findall(r"ALTER ROLE .*;", migrate())) == 2
    site.run("REVOKE SET ON PARAMETER log_error_verbosity FROM " + site.site)
    site.run(*printed)

    assert "ALTER ROLE" not in migrate()
    assert run_doctor(site).states("values_in_log") == ["ok"]


def test_a_superusers_migrate_leaves_nothing_to_be_run(site):
    own = connection.settings_dict["USER"]
    site.run(f"ALTER ROLE {own} SUPERUSER")

    assert manage("migrate", "--no-color", DATABASE_URL=site.of(own)).returncode == 0
    site.run(f"ALTER ROLE {own} NOSUPERUSER")

    assert run_doctor(site).states("values_in_log") == ["ok"]


def test_a_selection_may_be_of_more_clients_than_a_statement_has_parameters(site):
    pk = make_client("idom")
    many = range(pk, pk + 70_000)

    assert Client.objects.filter(pk__in=many).get().pk == pk
    assert Client.objects.filter(slug__in=["idom", *map(str, many)]).get().pk == pk
    assert not Client.objects.exclude(pk__in=many).exists()
    # No number of the column's type is an error either.
    assert not Client.objects.filter(pk__in=[2**31, -(2**40)]).exists()
