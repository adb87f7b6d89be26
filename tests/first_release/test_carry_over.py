"""`migrate` on a database of the first release carries everything over, or nothing."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import datetime
from typing import Any

import psycopg
import pytest

from migration.task_queue import is_task_name
from nova_admin.database.schema import CARRIED_OVER
from tests.first_release.database import NOVA_TABLES, OLD_FUNCTION, First

# What later schema migrations, and what runs after every `migrate`, change in rows that are there. All other columns
# of all other tables hold what they held.
CHANGED = {
    "migration_clientmigration": {"clean_streak"},  # evidence begins anew
    "migration_comparison": {"message"},
    "migration_openmismatch": {"owner_id"},  # its client's owner is it now
    "migration_runitem": {"message"},
    "migration_resolution": {"message"},
    "migration_phasechange": {"reason", "note"},
    "django_q_schedule": {"minutes", "func"},
}
# A table that goes: what was open is a run, and the rest events.
REQUESTS = "migration_moverequest"
WHERE_ALL_STANDS = """
SELECT n.nspname::text, c.relkind::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'nova_admin') ORDER BY 1, 2, 3
"""

# The first step of `migrate` alone.
CARRY_OVER = ("shell", "-c", "from django.db import connection; connection.prepare_database()")


def as_texts(rows: list[dict[str, Any]], without: set[str] = frozenset()) -> Counter[str]:
    return Counter(
        json.dumps({key: row[key] for key in row if key not in without}, sort_keys=True)
        for row in rows
    )


def in_one_piece(first: First) -> str:
    """The schema in which all of the first release's tables stand."""
    here, there = ({*first.tables(schema)} & {*CARRIED_OVER} for schema in ("public", "nova_admin"))
    assert not (here and there)
    assert here | there | {REQUESTS} == {*CARRIED_OVER}
    return "public" if here else "nova_admin"


def test_the_dump_has_rows_in_every_table(first):
    rows = first.rows("public")

    assert sorted(rows) == sorted([*CARRIED_OVER, *NOVA_TABLES])
    assert all(rows.values())


def test_the_tables_are_carried_over_as_they_are(first):
    first.own()
    before = first.rows("public")
    things = first.ask(WHERE_ALL_STANDS)

    done = first.manage(*CARRY_OVER)

    assert done.returncode == 0, done.stderr
    assert in_one_piece(first) == "nova_admin"
    after = first.rows("nova_admin") | first.rows("public")
    assert {table: as_texts(rows) for table, rows in after.items()} == {
        table: as_texts(rows) for table, rows in before.items()
    }
    # With their indexes and sequences; nothing else was made or lost.
    assert sorted(thing[1:] for thing in first.ask(WHERE_ALL_STANDS)) == sorted(
        thing[1:] for thing in things
    )


def test_the_doctor_says_in_one_line_that_it_waits_for_migrate(first):
    told = first.manage("doctor", "--format", "json")

    assert told.returncode == 1
    (line,) = json.loads(told.stdout)
    assert (line["check"], line["codes"]) == ("schema_behind", ["first_release"])
    assert first.tables("nova_admin") == []


def test_migrate_keeps_every_row_and_leaves_novas_tables_alone_in_public(first, migrated_first):
    before, after = first.rows("public"), migrated_first.rows("nova_admin")

    assert REQUESTS not in after
    for table in {*CARRIED_OVER} - {REQUESTS}:
        without, old = CHANGED.get(table, set()), before[table]
        columns = set(old[0]) & set(after[table][0])
        kept = [{key: row[key] for key in columns} for row in after[table]]
        lost = as_texts(old, without) - as_texts(kept, without)
        assert table in GONE or not lost, (table, list(lost)[:2])
        assert sum(lost.values()) == GONE.get(table, 0), table
        added = len(after[table]) - len(before[table])
        made_by_migrate = table.startswith(("django_", "auth_")) or table in MAY_GROW
        assert added == 0 or (added > 0 and made_by_migrate), (table, added)
    # A schedule of the first release calls this release's function for it.
    assert all(is_task_name(row["func"]) for row in after["django_q_schedule"])
    assert migrated_first.tables("public") == NOVA_TABLES
    sequences = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' ORDER BY 1"
    assert [name for (name,) in migrated_first.ask(sequences)] == [
        f"{table}_id_seq" for table in NOVA_TABLES
    ]
    assert migrated_first.ask("SELECT to_regprocedure(%s) IS NULL", OLD_FUNCTION) == [(True,)]
    public = migrated_first.rows("public")
    assert {table: as_texts(public[table]) for table in NOVA_TABLES} == {
        table: as_texts(before[table]) for table in NOVA_TABLES
    }
    # What was open is a requested run of one client.
    asked = [row for row in before[REQUESTS] if row["state"] in ("requested", "waiting")]
    expected = [
        [
            datetime.fromisoformat(row[name]) if name == "requested_at" else row[name]
            for name in ASKED_OF
        ]
        for row in sorted(asked, key=lambda row: row["id"])
    ]
    assert [list(row[1:]) for row in migrated_first.ask(ASKED)] == expected != []
    for table in ("migration_comparison", "migration_runitem", "migration_resolution"):
        texts = {row["id"]: row["message"] for row in before[table]}
        found = {row["id"]: (row["message"] or {}).get("text", "") for row in after[table]}
        assert {pk: found[pk] for pk in texts} == texts
    reasons = {row["id"]: row["reason"] for row in before["migration_phasechange"]}
    assert {
        row["id"]: row["reason"] or (row["note"] or {}).get("text", "")
        for row in after["migration_phasechange"]
    } == reasons


# Administrator's eight permissions over users and groups, which are a role of its own now; and of requests, which are
# runs now, the permissions, of which each of four roles had the one to view them.
GONE = {
    "auth_group_permissions": 8 + 4,
    "migration_rolegrant": 8 + 4,
    "auth_permission": 5,
    "django_content_type": 1,
}
# Each client is counted once where the triggers are replaced; a role gets what it never had.
MAY_GROW = {"credentials_clientwrite", "migration_rolegrant", "migration_run", "migration_runitem"}
ASKED = """
SELECT run.id, run.by_id, run.move_from, run.move_to, run.reason, run.created_at, item.client_id, item.slug
FROM nova_admin.migration_run AS run JOIN nova_admin.migration_runitem AS item ON item.run_id = run.id
WHERE run.state = 'requested' AND run.kind = 'move' AND item.outcome = '' ORDER BY run.id
"""
ASKED_OF = ("requested_by_id", "old", "new", "reason", "requested_at", "client_id", "slug")


@pytest.mark.nightly
def test_a_second_migrate_changes_nothing(migrated_first):
    first = migrated_first
    first.migrate()  # notes what hosts share, which a copied database lacks
    catalogue = "SELECT 'c', oid::text FROM pg_class UNION SELECT 't', oid::text FROM pg_trigger ORDER BY 1, 2"
    before = first.ask(catalogue), first.rows("nova_admin"), first.rows("public")

    done = first.migrate()

    assert done.returncode == 0, done.stderr
    assert "No migrations to apply" in done.stdout
    after = first.ask(catalogue), first.rows("nova_admin"), first.rows("public")
    assert after[0] == before[0]
    for schema in (1, 2):
        assert {table: as_texts(rows) for table, rows in after[schema].items()} == {
            table: as_texts(rows) for table, rows in before[schema].items()
        }


def test_a_statement_that_fails_in_the_middle_leaves_everything_in_public(first):
    first.own()
    # In the way of an index of one of the later tables.
    in_the_way = "SEQUENCE nova_admin.migration_runitem_pkey"
    first.run(f"CREATE {in_the_way}", f"ALTER {in_the_way} OWNER TO {first.site}")
    before = first.ask(WHERE_ALL_STANDS), first.rows("public")

    done = first.migrate()

    assert done.returncode != 0
    assert in_one_piece(first) == "public"
    assert (first.ask(WHERE_ALL_STANDS), first.rows("public")) == before


@pytest.mark.nightly
def test_a_session_that_is_ended_in_the_middle_leaves_everything_in_public(first):
    """The last table is in use, so that the move has done nearly all when its session ends."""
    first.own()
    ended = []
    waits = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE '%SET SCHEMA%'
    """

    def end() -> None:
        deadline = time.monotonic() + 300
        with psycopg.connect(first.uri, autocommit=True) as watcher:
            while not ended and time.monotonic() < deadline:
                ended.extend(watcher.execute(waits).fetchall())

    watching = threading.Thread(target=end)
    with psycopg.connect(first.uri) as holder:
        holder.execute("LOCK TABLE public.migration_worker IN ACCESS SHARE MODE")
        watching.start()
        done = first.migrate()
        watching.join()
    assert ended
    assert done.returncode != 0
    assert in_one_piece(first) == "public"
    assert first.migrate().returncode == 0
    assert in_one_piece(first) == "nova_admin"


@pytest.mark.nightly
def test_where_a_table_stays_in_use_nothing_is_carried_over(first):
    first.own()
    with psycopg.connect(first.uri) as holder:
        holder.execute("LOCK TABLE public.migration_worker IN ACCESS SHARE MODE")
        done = first.migrate()

    assert done.returncode == 1
    assert "in use" in done.stderr
    assert in_one_piece(first) == "public"


def test_a_role_that_owns_none_of_it_is_told_what_to_run_and_changes_nothing(first):
    before = first.ask(WHERE_ALL_STANDS), first.rows("public")

    done = first.migrate()

    assert done.returncode == 1
    statements = [line for line in done.stderr.splitlines() if line.startswith("ALTER ")]
    assert len(statements) == len(CARRIED_OVER) + 1
    assert (first.ask(WHERE_ALL_STANDS), first.rows("public")) == before

    # Once they are run, the tables are carried over; what `migrate` does then is tried above.
    first.run(*statements)
    done = first.manage(*CARRY_OVER)

    assert done.returncode == 0, done.stderr
    assert in_one_piece(first) == "nova_admin"
    assert first.tables("public") == NOVA_TABLES


def test_tables_in_both_schemas_are_named_and_nothing_is_changed(first):
    first.own()
    twice = "TABLE nova_admin.migration_rate"
    first.run(f"CREATE {twice} ()", f"ALTER {twice} OWNER TO {first.site}")
    before = first.ask(WHERE_ALL_STANDS)

    done = first.migrate()

    assert done.returncode == 2
    assert "in both nova_admin and public" in done.stderr
    assert "migration_rate" in done.stderr
    assert first.ask(WHERE_ALL_STANDS) == before


@pytest.mark.nightly
def test_what_was_half_carried_by_hand_is_carried_to_its_end(first):
    first.own()
    for table in ("migration_rate", "auth_user", "credentials_clientrevision"):
        first.run(f"ALTER TABLE public.{table} SET SCHEMA nova_admin")

    done = first.migrate()

    assert done.returncode == 0, done.stderr
    assert in_one_piece(first) == "nova_admin"


KEPT = (
    *(("migration_run", of) for of in ("by", "steered_by")),
    ("migration_phasechange", "by"),
    ("migration_resolution", "by"),
)
MEMBERS = """
SELECT username FROM nova_admin.auth_user u JOIN nova_admin.auth_user_groups m ON m.user_id = u.id
JOIN nova_admin.auth_group g ON g.id = m.group_id WHERE g.name = %s ORDER BY 1
"""
HELD = """
SELECT codename FROM nova_admin.auth_permission p JOIN nova_admin.auth_group_permissions h ON h.permission_id = p.id
JOIN nova_admin.auth_group g ON g.id = h.group_id
JOIN nova_admin.django_content_type t ON t.id = p.content_type_id WHERE g.name = %s AND t.app_label = 'auth' ORDER BY 1
"""


def test_records_have_the_names_of_their_users_and_administrators_keep_the_users(migrated_first):
    first = migrated_first
    named = {
        (table, of): first.ask(
            f"SELECT count(*), count(*) FILTER (WHERE {of}_name = username) FROM nova_admin.{table}"
            f" JOIN nova_admin.auth_user u ON u.id = {of}_id"
        )[0]
        for table, of in KEPT
    }

    assert all(all_rows == with_name for all_rows, with_name in named.values()), named
    assert sum(all_rows for all_rows, _ in named.values()) > 5
    administrators = first.ask(MEMBERS, "Administrator")
    assert administrators == first.ask(MEMBERS, "User administrator") != []
    assert first.ask(HELD, "Administrator") == []
    held = [name for (name,) in first.ask(HELD, "User administrator")]
    assert held == ["add_user", "change_user", "view_group", "view_user"]
