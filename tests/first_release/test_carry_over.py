"""`migrate` on a database of the first release: everything is carried over, or nothing, and it works as before."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import boto3
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nova_admin.database.schema import CARRIED_OVER
from tests import nova
from tests.first_release.load import SECRET_KEY, load_database, load_secrets, store_arns

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

EXPECTED = json.loads((Path(__file__).parent / "expected.json").read_text("utf-8"))
NOVA_TABLES = [
    "client_database_credentials",
    "client_database_schemas",
    "client_email_credentials",
    "clients",
]
OLD_FUNCTION = "public.nova_admin_count_write()"
# What later schema migrations, and what runs after every `migrate`, change in rows that are there. All other columns
# of all other tables hold what they held.
CHANGED = {
    "migration_comparison": {"message"},
    "migration_runitem": {"message"},
    "migration_resolution": {"message"},
    "migration_phasechange": {"reason", "note"},
    "migration_moverequest": {"reasons"},
    "django_q_schedule": {"minutes"},
}
TABLES_OF = """
SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' ORDER BY 1
"""
WHERE_ALL_STANDS = """
SELECT n.nspname::text, c.relkind::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('public', 'nova_admin') ORDER BY 1, 2, 3
"""


class First:
    """The database with the dump in it, and the site's role."""

    def __init__(self, uri: str, site: str) -> None:
        self.uri, self.site = uri, site

    def ask(self, query: Any, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.uri) as connection:
            return connection.execute(query, values or None).fetchall()

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        uri = make_conninfo(self.uri, user=self.site)
        return nova.manage(*arguments, DATABASE_URL=uri, SECRET_KEY=SECRET_KEY, **environment)

    def migrate(self) -> subprocess.CompletedProcess[str]:
        return self.manage("migrate", "--no-color")

    def tables(self, schema: str) -> list[str]:
        return [name for (name,) in self.ask(TABLES_OF, schema)]

    def rows(self, schema: str) -> dict[str, list[dict[str, Any]]]:
        """Every table's rows, each by its columns."""
        found = {}
        for table in self.tables(schema):
            query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(schema, table))
            found[table] = [row for (row,) in self.ask(query)]
        return found

    def own(self) -> None:
        """The site's role made the first release's tables, as where nothing changed since; NOVA's belong to another."""
        self.run(
            *(f"ALTER TABLE public.{table} OWNER TO {self.site}" for table in CARRIED_OVER),
            f"ALTER FUNCTION {OLD_FUNCTION} OWNER TO {self.site}",
        )


@pytest.fixture
def first() -> Iterator[First]:
    """Loaded by a superuser, who owns all of it; the site's role may do what docs/reader.md and `migrate` ask for."""
    site = f"site_{uuid4().hex[:12]}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"CREATE ROLE {site} LOGIN")
        try:
            with nova.database() as uri:
                load_database(uri)
                first = First(uri, site)
                first.run(
                    f"CREATE SCHEMA nova_admin AUTHORIZATION {site}",
                    *(
                        f"GRANT SELECT, INSERT, UPDATE, REFERENCES, TRIGGER ON public.{table} TO {site}"
                        for table in NOVA_TABLES
                    ),
                    f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {site}",
                )
                yield first
        finally:
            server.execute(f"DROP ROLE {site}")


def as_texts(rows: list[dict[str, Any]], without: set[str] = frozenset()) -> Counter[str]:
    return Counter(
        json.dumps({key: row[key] for key in row if key not in without}, sort_keys=True)
        for row in rows
    )


def in_one_piece(first: First) -> str:
    """The schema in which all of the first release's tables stand."""
    here, there = ({*first.tables(schema)} & {*CARRIED_OVER} for schema in ("public", "nova_admin"))
    assert not (here and there)
    assert here | there == {*CARRIED_OVER}
    return "public" if here else "nova_admin"


def test_the_dump_has_rows_in_every_table(first):
    rows = first.rows("public")

    assert sorted(rows) == sorted([*CARRIED_OVER, *NOVA_TABLES])
    assert all(rows.values())


def test_the_tables_are_carried_over_as_they_are(first):
    first.own()
    before = first.rows("public")
    things = first.ask(WHERE_ALL_STANDS)

    done = first.manage(
        "shell", "-c", "from django.db import connection; connection.prepare_database()"
    )

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


def test_migrate_keeps_every_row_and_leaves_novas_tables_alone_in_public(first):
    first.own()
    before = first.rows("public")

    done = first.migrate()

    assert done.returncode == 0, done.stderr
    after = first.rows("nova_admin")
    for table in CARRIED_OVER:
        without = CHANGED.get(table, set())
        columns = set(before[table][0]) & set(after[table][0])
        kept = [{key: row[key] for key in columns} for row in after[table]]
        lost = as_texts(before[table], without) - as_texts(kept, without)
        assert not lost, (table, list(lost)[:2])
        added = len(after[table]) - len(before[table])
        made_by_migrate = table.startswith(("django_", "auth_")) or table in MAY_GROW
        assert added == 0 or (added > 0 and made_by_migrate), (table, added)
    assert first.tables("public") == NOVA_TABLES
    sequences = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'S' ORDER BY 1"
    assert [name for (name,) in first.ask(sequences)] == [
        f"{table}_id_seq" for table in NOVA_TABLES
    ]
    assert first.ask("SELECT to_regprocedure(%s) IS NULL", OLD_FUNCTION) == [(True,)]
    public = first.rows("public")
    assert {table: as_texts(public[table]) for table in NOVA_TABLES} == {
        table: as_texts(before[table]) for table in NOVA_TABLES
    }


# Each client is counted once where the triggers are replaced; a role gets what it never had.
MAY_GROW = {"credentials_clientwrite", "migration_rolegrant"}


def test_what_was_text_is_a_message_with_the_same_words(first):
    first.own()
    before = first.rows("public")

    assert first.migrate().returncode == 0

    after = first.rows("nova_admin")
    for table in ("migration_comparison", "migration_runitem", "migration_resolution"):
        texts = {row["id"]: row["message"] for row in before[table]}
        assert {row["id"]: (row["message"] or {}).get("text", "") for row in after[table]} == texts
    reasons = {row["id"]: row["reason"] for row in before["migration_phasechange"]}
    assert {
        row["id"]: row["reason"] or (row["note"] or {}).get("text", "")
        for row in after["migration_phasechange"]
    } == reasons
    assert {
        row["id"]: [line["text"] for line in row["reasons"]]
        for row in after["migration_moverequest"]
    } == {row["id"]: row["reasons"] for row in before["migration_moverequest"]}


def test_a_second_migrate_changes_nothing(first):
    first.own()
    assert first.migrate().returncode == 0
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
    before = first.rows("public")

    done = first.migrate()

    assert done.returncode != 0
    assert in_one_piece(first) == "public"
    assert first.rows("public") == before
    first.run(f"DROP {in_the_way}")
    assert first.migrate().returncode == 0
    assert in_one_piece(first) == "nova_admin"


def test_a_session_that_is_ended_in_the_middle_leaves_everything_in_public(first):
    """The last table is in use, so that the move has done nearly all when its session ends."""
    first.own()
    ended = []
    waits = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
        AND wait_event_type = 'Lock' AND query LIKE '%SET SCHEMA%'
    """

    def end() -> None:
        deadline = time.monotonic() + 60
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

    first.run(*statements)
    done = first.migrate()

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


def test_what_was_half_carried_by_hand_is_carried_to_its_end(first):
    first.own()
    for table in ("migration_rate", "auth_user", "credentials_clientrevision"):
        first.run(f"ALTER TABLE public.{table} SET SCHEMA nova_admin")

    done = first.migrate()

    assert done.returncode == 0, done.stderr
    assert in_one_piece(first) == "nova_admin"


@pytest.fixture
def carried(first, aws) -> First:
    """Migrated, with AWS as the first release left it."""
    keys = {"aws_access_key_id": "embedded", "aws_secret_access_key": "embedded"}
    client = boto3.client(
        "secretsmanager", region_name="us-east-1", endpoint_url=aws.endpoint, **keys
    )
    store_arns(first.uri, load_secrets(client))
    first.own()
    assert first.migrate().returncode == 0
    first.aws = aws.endpoint
    return first


def answer(first: First, *arguments: str) -> Any:
    done = first.manage(*arguments, "--format", "json", AWS_ENDPOINT_URL_SECRETS_MANAGER=first.aws)
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def statuses(first: First) -> dict[str, dict[str, Any]]:
    return {status["slug"]: status for status in answer(first, "client_status")}


SAME = ("name", "phase", "secrets", "pushed_revision")


def test_clients_stand_where_they_stood(carried):
    now = statuses(carried)

    expected = {status["slug"]: status for status in EXPECTED["client_status"]}
    assert sorted(now) == sorted(expected)
    for slug, before in expected.items():
        assert {name: now[slug][name] for name in SAME} == {name: before[name] for name in SAME}
        assert now[slug]["revision"] >= before["revision"]
        assert now[slug]["push_pending"] >= before["push_pending"]
        known, newest = before["comparison"], now[slug]["comparison"]
        assert (known is None) == (newest is None)
        if known:
            assert (newest["status"], newest["compared_at"]) == (
                known["status"],
                known["compared_at"],
            )
            assert newest["mismatches"] == known["mismatches"]


def without_codes(item: dict[str, Any]) -> dict[str, Any]:
    """Of the same, whatever the codes are keyed by."""
    # A path that somebody else's secret has is told by a code too.
    mismatches = [
        (
            each["path"][:1] if each["path"].startswith("?") else each["path"],
            each["kind"],
            each["hint"],
        )
        for each in item["mismatches"]
    ]
    return {"status": item["status"], "error_class": item["error_class"], "mismatches": mismatches}


def test_comparisons_come_out_as_before(carried):
    answer(carried, "compare_clients", "--all", "--inline")

    for expected in EXPECTED["compare"]:
        found = carried.ask(
            "SELECT status, error_class, mismatches FROM nova_admin.migration_comparison"
            " WHERE slug = %s ORDER BY id DESC LIMIT 1",
            expected["slug"],
        )
        item = dict(zip(("status", "error_class", "mismatches"), found[0], strict=True))
        assert without_codes(item) == without_codes(expected), expected["slug"]


# What the next push makes of each client that writes both stores, and what it says of those it refuses.
PUSHES = {
    "put_unanswered": ("updated", ""),
    "dual_write_pending": ("updated", ""),
    "dual_read_pending": ("updated", ""),
    "changed_in_aws": ("failed", "somebody else wrote"),
    "refused_in_aws": ("failed", "somebody else wrote"),
    "two_primaries": ("failed", "2 database rows are primary"),
}


def test_pushes_go_on_where_they_were(carried):
    result = answer(carried, "push_pending", "--inline")

    items = {item["slug"]: item for item in result["items"]}
    for slug, (outcome, words) in PUSHES.items():
        item = items.pop(slug)
        assert (item["outcome"], words in item["message"]) == (outcome, True), item
    # Those that hold the same in both stores were only counted.
    assert {item["outcome"] for item in items.values()} <= {"unchanged"}
    now = statuses(carried)
    for before in EXPECTED["client_status"]:
        slug = before["slug"]
        refused = slug in PUSHES and PUSHES[slug][0] == "failed"
        if before["phase"] in {"dual_write", "dual_read", "aws"} and not refused:
            assert now[slug]["push_pending"] is False, slug


# One step back for each client that has one, and what its rows and AWS then are.
BACK = {
    "cut_over": "dual_read",
    "put_unanswered": "dual_read",
    "changed_in_aws": "dual_read",
    "refused_in_aws": "dual_read",
    "restored": "dual_read",
    "dual_read_clean": "dual_write",
    "dual_read_pending": "dual_write",
    "there_and_back": "dual_write",
    "dual_write_pending": "postgres",
    "two_primaries": "postgres",
    "reason_typed": "postgres",
    "warned-client": "postgres",
    "purged": "aws",
}


def password(first: First, slug: str) -> str:
    query = """
        SELECT db_password_encrypted FROM public.client_database_credentials JOIN public.clients c ON c.id = client_id
        WHERE slug = %s ORDER BY is_primary IS TRUE DESC LIMIT 1
    """
    return first.ask(query, slug)[0][0]


def test_every_client_goes_a_step_back_as_the_law_says(carried):
    before = {slug: password(carried, slug) for slug in BACK}
    assert before["purged"].startswith("aws-secretsmanager:")
    mail = """
        SELECT email_password_encrypted FROM public.client_email_credentials
        JOIN public.clients c ON c.id = client_id WHERE slug = 'changed_in_aws'
    """
    mail_before = carried.ask(mail)

    for slug, phase in BACK.items():
        (moved,) = answer(carried, "move_clients", phase, slug)
        assert (moved["moved"], moved["phase"]) == (True, phase), moved

    # NOVA's newest writes stand; what only AWS has came along; a purge was undone.
    for slug in ("put_unanswered", "dual_read_pending", "dual_write_pending", "cut_over"):
        assert password(carried, slug) == before[slug], slug
    assert carried.ask(mail) != mail_before
    assert password(carried, "purged").startswith("not-a-secret-")
    history = carried.ask("SELECT count(*) FROM nova_admin.migration_phasechange")
    assert history[0][0] >= len(BACK)


def test_clients_that_wrote_postgresql_alone_and_others_go_a_step_on(carried):
    answer(carried, "push_pending", "--inline")
    migrated = answer(carried, "migrate_clients", "never_touched", "went_back", "--inline")
    assert {item["slug"]: item["outcome"] for item in migrated["items"]} == {
        "never_touched": "created",
        "went_back": "restored",
    }
    refused = answer(carried, "migrate_clients", "not_ours", "--inline")
    assert [item["outcome"] for item in refused["items"]] == ["failed"]

    answer(carried, "compare_clients", "warned-client", "dual_read_clean", "--inline")
    (moved,) = answer(carried, "move_clients", "dual_read", "warned-client")
    assert moved["moved"], moved


def test_novas_next_write_is_counted(carried):
    before = statuses(carried)["cut_over"]["revision"]

    carried.run("UPDATE public.clients SET description = 'x' WHERE slug = 'cut_over'")

    assert statuses(carried)["cut_over"]["revision"] == before + 1
