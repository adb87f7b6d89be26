"""The stores of every test: the worker's own database and its own embedded AWS, both empty at the start."""

import atexit
import gc
import math
import os
from collections.abc import Iterator
from functools import cache
from types import SimpleNamespace

import botocore.session
import pytest
from django.db import connection
from django.template import Context, RequestContext, Template
from django.test import TransactionTestCase
from django.test.utils import instrumented_test_render
from django.utils import timezone, translation
from django_q.signals import post_spawn
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from credentials.triggers import ensure_writes_are_counted
from migration.core import counters, leases, outgoing, refused_acts
from migration.core.audit_chain import seal_audit
from migration.core.aws_store import store_calls
from migration.core.aws_writes import _write_guard, write_guard
from migration.core.counters import forget_counters
from migration.core.outgoing import LoginOutcome
from migration.core.rate_limiter import rate_limiter
from migration.core.refused_acts import refusal_limit
from migration.moves.rules import (
    NO_COPIES_FOUND,
    Check,
    CopiesSearched,
    NoCopiesFound,
    keep_statement,
)
from migration.secrets import copies
from migration.site import audit
from migration.site.environment import account_cache
from nova_admin.database.base import SESSION
from nova_admin.embedded.aws import AwsServer
from tests import templates
from tests.attacks.hostile_site import hostile, traps
from tests.compiling import compile_tests
from tests.factories import all_tables
from tests.migrated import make_migrated_template

__all__ = ["hostile", "traps"]

pytest_plugins = ("tests.migration.doctor.iam.recorder", "tests.long_tests")

# The audit refuses DELETE to everybody; here a teardown, and nobody else, plays a replica and may empty it. Its own
# tests put the function back as it is.
AUDIT_OF_TESTS = audit.MAKE_FUNCTION.replace(
    "BEGIN",
    """BEGIN
    IF current_setting('session_replication_role') = 'replica' THEN
        IF TG_OP = 'UPDATE' THEN RETURN NEW; END IF;
        RETURN OLD;
    END IF;""",
    1,
)
# What `migrate` leaves in the tables, copied once, to be put back after each test that commits.
KEPT = "kept_for_tests"
PUT_BACK = f"{KEPT}.put_back()"
# What these tell is of the database itself, its tables and triggers, and not of a test's rows.
LEFT_ALONE = ("nova_admin.django_migrations", "nova_admin.credentials_countingtriggers")
# Deleted rows keep their room, which every later search of the table would read. Where somebody still uses the table
# it stays so until the next test.
SHRINK = f"""
CREATE FUNCTION {KEPT}.shrink() RETURNS void LANGUAGE plpgsql
SET session_replication_role = replica SET lock_timeout = '1s' AS $$
DECLARE grown text;
BEGIN
    SELECT string_agg(oid::regclass::text, ', ') INTO grown FROM pg_class
    WHERE relkind = 'r' AND relnamespace IN ('public'::regnamespace, 'nova_admin'::regnamespace)
    AND oid <> ALL ('{{{", ".join(LEFT_ALONE)}}}'::regclass[]) AND pg_relation_size(oid) > 256 * 1024;
    IF grown IS NOT NULL THEN EXECUTE 'TRUNCATE ' || grown || ' CASCADE'; END IF;
EXCEPTION WHEN lock_not_available THEN NULL;
END$$
"""
# Of each table its columns and triggers, of the site's own its constraints and indexes too (some tests have NOVA make a
# table anew, which gives them other names). A test that doesn't put them back makes others fail.
STRUCTURE = """
SELECT t.relname, found.* FROM pg_class t JOIN pg_namespace n ON n.oid = t.relnamespace, LATERAL (
    SELECT 'column', attname::text, format_type(atttypid, atttypmod) FROM pg_attribute
        WHERE attrelid = t.oid AND attnum > 0 AND NOT attisdropped
    UNION ALL SELECT 'constraint', conname::text, contype::text FROM pg_constraint
        WHERE conrelid = t.oid AND n.nspname = 'nova_admin'
    UNION ALL SELECT 'index', indexrelid::regclass::text, indisvalid::text FROM pg_index
        WHERE indrelid = t.oid AND n.nspname = 'nova_admin'
    UNION ALL SELECT 'trigger', tgname::text, tgenabled::text FROM pg_trigger WHERE tgrelid = t.oid AND NOT tgisinternal
) AS found
WHERE t.relkind = 'r' AND n.nspname IN ('public', 'nova_admin')
"""
# Of the rows of what is named `told`, whatever their order.
DIGEST = "coalesce(sum(hashtextextended(told::text, 0)), 0)"
STRUCTURE_DIGEST = f"SELECT {DIGEST} FROM ({STRUCTURE}) AS told"
# The number of all such rows, and the newest transaction that wrote one: while these stay, so does the digest.
CATALOGUES = ("pg_class", "pg_attribute", "pg_constraint", "pg_index", "pg_trigger")
LAST_CHANGE = " UNION ALL ".join(
    f"SELECT '{name}', count(*), max(xmin::text::bigint) FROM {name}" for name in CATALOGUES
)
# A busy machine is no defect.
hypothesis_settings.register_profile(
    "tests", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("tests")
FORGET_SESSION = "RESET ALL; SELECT pg_advisory_unlock_all(); UNLISTEN *; DISCARD TEMP"


# A session of boto3's reads AWS's models anew, for 80 ms; all sessions of this process share what was read.
botocore.session.create_loader = cache(botocore.session.create_loader)


@pytest.fixture(scope="session", autouse=True)
def contexts_of_pages(django_test_environment) -> None:
    """Have `response.context` hold what a page was given, and no copy of it for each of the hundreds it includes."""
    Template._render = render_template


def render_template(template: Template, context: Context) -> str:
    if isinstance(context, RequestContext) and context.template is template:
        return instrumented_test_render(template, context)
    return template.nodelist.render(context)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    compile_tests(config)


def pytest_collection_finish() -> None:
    """Have the garbage collector leave alone what stays to the end, and come seldom: it takes a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 10)


def pytest_unconfigure(config: pytest.Config) -> None:
    atexit.unregister(store_calls)  # the database of the tests is gone by then
    if not hasattr(config, "workerinput"):
        templates.drop_templates()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings) -> None:
    """Have the processes of a run copy their databases from one that is migrated."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        connection.settings_dict["TEST"]["TEMPLATE"] = make_migrated_template()


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker) -> Iterator[None]:
    """The worker's database, from which this process' limiter has gone before it is dropped."""
    # Tests that play a worker are no worker process: a thread would outlive them, with its connection.
    post_spawn.disconnect(dispatch_uid="migration.start_heartbeat")
    with django_db_blocker.unblock():
        with connection.cursor() as cursor:
            cursor.execute(templates.CLAIM)
            cursor.execute(AUDIT_OF_TESTS)
        # No worker has: what `migrate` wrote would soon be told as unsealed, on every page.
        seal_audit(from_beginning=True)
        keep_rows()
        structure = Structure()
    with pytest.MonkeyPatch.context() as patch:
        # Django truncates every table and has `migrate` fill them again: a fifth of a second a test.
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda _case: put_back(structure))
        # It connects anew for each test, to a backend that knows no table yet; that takes longer than most tests.
        patch.setattr(TransactionTestCase, "_should_reload_connections", lambda _case: False)
        patch.setattr(copies, "OWN_SCHEMAS", (*copies.OWN_SCHEMAS, KEPT))
        yield
    rate_limiter().close()


def keep_rows() -> None:
    """Copies each table that has rows now, and makes the function that puts them back."""
    statements = []
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {KEPT} CASCADE; CREATE SCHEMA {KEPT}")
        for table in all_tables():
            if table in LEFT_ALONE:
                continue
            empty = f"DELETE FROM {table};"
            cursor.execute(f"SELECT EXISTS (SELECT FROM {table})")
            if cursor.fetchone() == (True,):
                copy = f"{KEPT}.{table.partition('.')[2]}"
                cursor.execute(f"CREATE TABLE {copy} AS TABLE {table}")
                cursor.execute(f"SELECT {DIGEST} FROM {copy} AS told")
                empty = (
                    f"IF (SELECT {DIGEST} FROM {table} AS told) <> {cursor.fetchone()[0]}"
                    f" THEN {empty} INSERT INTO {table} TABLE {copy}; END IF;"
                )
            statements.append(empty)
        # A function's statements are planned once.
        body = " ".join(statements)
        cursor.execute(
            f"CREATE FUNCTION {PUT_BACK} RETURNS void LANGUAGE plpgsql"
            f" SET session_replication_role = replica AS $$BEGIN {body} END$$"
        )
        cursor.execute(SHRINK)


def read_structure(what: str = STRUCTURE_DIGEST) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(what)
        return cursor.fetchall()


class Structure:
    """How the tables are made. To ask for the last change takes a third of the time that the digest takes."""

    def __init__(self) -> None:
        self.digest, self.last_change = read_structure(), read_structure(LAST_CHANGE)

    def check(self) -> None:
        last_change = read_structure(LAST_CHANGE)
        if last_change != self.last_change:
            assert read_structure() == self.digest, read_structure(STRUCTURE)
            self.last_change = last_change


def put_back(structure: Structure) -> None:
    """Empties the tables and ends what the session kept; fails where the test left the tables otherwise made."""
    empty_tables()
    with connection.cursor() as cursor:
        cursor.execute(FORGET_SESSION)
    leases._of_thread.__dict__.clear()  # the lock that its leases stand on is gone
    connection.connection.execute(SESSION)
    connection.init_connection_state()
    structure.check()


def empty_tables() -> None:
    """Makes every table hold what it held at the start; no trigger and no foreign key looks on."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {KEPT}.shrink(), {PUT_BACK}")
        write_guard().forget_state()  # a stop that the test began is gone too
        # A test may have left the triggers or their functions otherwise than it found them.
        ensure_writes_are_counted(nothing_was_pushed=True)
        cursor.execute(
            "DELETE FROM nova_admin.credentials_countingproof; DELETE FROM nova_admin.credentials_countinggap"
        )


@pytest.fixture(autouse=True)
def rules_are_put_into_statements_anew() -> None:
    """A test may have other rules than the one before it."""
    keep_statement.cache_clear()


@pytest.fixture(autouse=True)
def copies_are_not_looked_for(monkeypatch) -> None:
    """Most tests are about something else (`tests/settings.py`), and no setting switches this line of evidence off."""
    for rule in (CopiesSearched, NoCopiesFound):
        monkeypatch.setattr(rule, "list_conditions", lambda *_: [])
    line = Check(
        NoCopiesFound.code, True, NO_COPIES_FOUND(ago=timezone.now()), evidence="copies_found"
    )
    monkeypatch.setattr(NoCopiesFound, "say", lambda *_: iter([line]))


@pytest.fixture(autouse=True)
def logins_stay_here(monkeypatch) -> None:
    """No test of a login asks a name server, or reaches a server of somebody else."""
    monkeypatch.setattr(outgoing, "_ask_resolver", lambda *_: LoginOutcome.NO_SUCH_HOST)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    """The site's own language after every test: a page in Spanish leaves its language behind in the thread."""
    yield
    translation.deactivate()


@pytest.fixture(autouse=True)
def guard_of_the_test(monkeypatch) -> Iterator[None]:
    """Each test is a process that has just begun: it may have worked on another database than the last one."""
    _write_guard.cache_clear()
    forget_counters()
    # They are stored where a test says so, and by no thread between tests.
    monkeypatch.setattr(counters, "STORE_EVERY_SECONDS", math.inf)
    yield
    _write_guard.cache_clear()
    forget_counters()


@pytest.fixture(autouse=True)
def nothing_refused_before(monkeypatch) -> None:
    """Each test is one minute of its own, in which repeated refusals are counted, whatever the clock does."""
    refusal_limit.forget_all()
    monkeypatch.setattr(refused_acts, "time", SimpleNamespace(time=lambda: 1_800_000_000.0))


@pytest.fixture(autouse=True)
def account_is_looked_up(monkeypatch) -> None:
    """Pages look the AWS account up once in minutes, and not just while a test counts a page's statements."""
    monkeypatch.setattr(account_cache, "_known_until", math.inf)


@pytest.fixture(scope="session")
def aws_server() -> Iterator[AwsServer]:
    with AwsServer() as server:
        yield server


@pytest.fixture
def aws(aws_server, settings, monkeypatch) -> AwsServer:
    """The strict embedded AWS, empty, where settings and boto3 look for it."""
    aws_server.reset()
    settings.AWS_ENDPOINT_URL = aws_server.endpoint
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", aws_server.endpoint)
    return aws_server


@pytest.fixture
def stores(transactional_db, aws, monkeypatch) -> AwsServer:
    """Both stores, with real transactions: what is committed is seen by other connections."""
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)
    return aws


@pytest.fixture
def counting_again(stores) -> Iterator[None]:
    """For a test that has writes go uncounted: they are counted again after it."""
    yield
    ensure_writes_are_counted()
