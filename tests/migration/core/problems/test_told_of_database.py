"""Problems of database and queue, in a database with roles of its own, asked in a process of the site."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass

import pytest
import redis

from migration.core.problems import PROBLEMS
from migration.site.audit import make_trigger_switch_sql
from tests.checkout import manage
from tests.migration.core.problems.causes import CAUSES
from tests.migration.core.problems.surfaces import NO_ANSWER, Surfaces, Told
from tests.migration.core.problems.test_told_alike import NEVER_OPEN, assert_told_alike
from tests.migration.doctor.conftest import migrated
from tests.migration.doctor.pgbouncer import pooled
from tests.migration.doctor.test_pooler import as_url
from tests.redis_server import REDIS_SERVER, RedisServer, do_without, find_free_port

__all__ = ["migrated"]

ASK = "from tests.migration.core.problems.surfaces import print_surfaces; print_surfaces({!r})"
EMAILS = "public.client_email_credentials"
EVENTS = "nova_admin.migration_auditevent"


@dataclass(frozen=True)
class Statements:
    """What a superuser runs to cause a problem and to mend it; None: what the problem's own remedy says."""

    cause: tuple[str, ...]
    mend: tuple[str, ...] | None = None


CAUSES_IN_DATABASE = {
    # `migrate` grants NOVA nothing, and may not set all parameters.
    "reader_lacks_rights": Statements(()),
    "values_in_log": Statements(()),
    "schema_open": Statements(("GRANT CREATE ON SCHEMA nova_admin TO {nova}",)),
    "others_may_create": Statements(("GRANT CREATE ON SCHEMA public TO PUBLIC",)),
    "tables_missing": Statements(
        (f"ALTER TABLE {EMAILS} RENAME TO kept",),
        ("ALTER TABLE public.kept RENAME TO client_email_credentials",),
    ),
    "roles_not_apart": Statements(("GRANT {site} TO {nova}",), ("REVOKE {site} FROM {nova}",)),
    "site_lacks_rights": Statements(("REVOKE TRIGGER ON public.clients FROM {site}",)),
    "audit_unsound": Statements(
        (make_trigger_switch_sql(EVENTS, "DISABLE"),),
        (make_trigger_switch_sql(EVENTS, "ENABLE ALWAYS"),),
    ),
}
CAUSED_ELSEWHERE = {"pooler", "queue_away", "queue_at_risk", "tasks_left"}


@dataclass(frozen=True)
class Asked:
    told: Surfaces
    statements: list[str]


def ask(code: str, uri: str, **environment: str) -> Asked:
    """What each surface of a process with this DATABASE_URL tells of the problem; it is ready as problems say."""
    done = manage("shell", "--no-imports", "-c", ASK.format(code), DATABASE_URL=uri, **environment)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    unready, expected = told.pop("unready"), told.pop("expected_unready")
    assert unready == expected
    statements = told.pop("statements")
    for surface in ("dashboard", "health", "doctor"):
        told[surface] = Told(**told[surface])
    assert unready or not (PROBLEMS[code].unready and told["count"])
    return Asked(Surfaces(**told), statements)


def test_every_problem_has_a_cause():
    caused = [*CAUSES, *CAUSES_IN_DATABASE, *CAUSED_ELSEWHERE, *NEVER_OPEN]

    assert sorted(caused) == sorted(PROBLEMS)


def assert_is_over(code: str, uri: str, **environment: str) -> None:
    told = ask(code, uri, **environment).told
    assert (told.count, told.metrics, told.dashboard, told.health, told.doctor) == (
        *(0, 0),
        *(Told(), Told(), Told()),
    )


@pytest.mark.parametrize("code", CAUSES_IN_DATABASE)
def test_a_problem_of_the_database_is_told_alike_until_it_is_mended(code, migrated):
    caused, uri = CAUSES_IN_DATABASE[code], migrated.of(migrated.site)
    roles = {"site": migrated.site, "nova": migrated.nova}
    migrated.run(*(line.format(**roles) for line in caused.cause))
    try:
        asked = ask(code, uri)
    finally:
        migrated.run(*(line.format(**roles) for line in caused.mend or ()))
    if caused.mend is None:
        migrated.run(*asked.statements)

    assert_told_alike(PROBLEMS[code], asked.told)
    # No page works without one of NOVA's tables; the page Health does.
    assert (asked.told.dashboard == NO_ANSWER) == (code == "tables_missing")
    assert_is_over(code, uri)


def test_a_pooler_is_told_alike_until_it_is_gone(migrated, tmp_path):
    direct = migrated.of(migrated.site)
    with pooled(direct, tmp_path, mode="transaction") as uri:
        told = ask("pooler", as_url(uri)).told

    assert_told_alike(PROBLEMS["pooler"], told)
    assert_is_over("pooler", direct)


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[RedisServer]:
    if not REDIS_SERVER:
        do_without()
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        server.start()
        yield server


def test_a_redis_that_is_away_is_told_alike_until_it_is_back(migrated, server):
    uri = migrated.of(migrated.site)

    told = ask("queue_away", uri, NOVA_REDIS_URL=f"redis://127.0.0.1:{find_free_port()}").told

    assert_told_alike(PROBLEMS["queue_away"], told)
    assert_is_over("queue_away", uri, NOVA_REDIS_URL=server.url)


def test_a_redis_that_forgets_is_told_alike_until_it_is_set_otherwise(migrated, server):
    uri = migrated.of(migrated.site)
    with closing(redis.from_url(server.url)) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        told = ask("queue_at_risk", uri, NOVA_REDIS_URL=server.url).told
        admin.config_set("maxmemory-policy", "noeviction")

    assert_told_alike(PROBLEMS["queue_at_risk"], told)
    assert_is_over("queue_at_risk", uri, NOVA_REDIS_URL=server.url)


def test_tasks_that_were_left_are_told_alike_until_they_are_removed(migrated, server):
    uri = migrated.of(migrated.site)
    migrated.run(
        "INSERT INTO nova_admin.django_q_ormq (key, payload, lock)"
        " VALUES ('nova_admin', 'a task', now() - interval '6 minutes')"
    )

    asked = ask("tasks_left", uri, NOVA_REDIS_URL=server.url)

    assert_told_alike(PROBLEMS["tasks_left"], asked.told)
    migrated.run(*asked.statements)
    assert_is_over("tasks_left", uri, NOVA_REDIS_URL=server.url)
