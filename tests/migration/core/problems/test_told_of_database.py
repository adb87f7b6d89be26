"""Problems of database and queue, in a database with roles of its own, asked in a process of the site."""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

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

ASK = "from tests.migration.core.problems.surfaces import print_surfaces; print_surfaces(*{!r})"
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
    told: dict[str, Surfaces]
    statements: dict[str, list[str]]


def ask(*codes: str, uri: str, **environment: str) -> Asked:
    """Ask each surface of a process with this DATABASE_URL; it has to be as ready as its problems say."""
    done = manage("shell", "--no-imports", "-c", ASK.format(codes), DATABASE_URL=uri, **environment)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert printed["unready"] == printed["expected_unready"]
    for code, told in printed["told"].items():
        for surface in ("dashboard", "health", "doctor"):
            told[surface] = Told(**told[surface])
        assert printed["unready"] or not (PROBLEMS[code].unready and told["count"])
    told = {code: Surfaces(**each) for code, each in printed["told"].items()}
    return Asked(told, printed["statements"])


def test_every_problem_has_a_cause():
    caused = [*CAUSES, *CAUSES_IN_DATABASE, *CAUSED_ELSEWHERE, *NEVER_OPEN]

    assert sorted(caused) == sorted(PROBLEMS)


def test_problems_of_database_pooler_and_queue_are_told_alike_until_they_are_mended(
    migrated, tmp_path
):
    if not REDIS_SERVER:
        do_without()
    uri = migrated.of(migrated.site)
    roles = {"site": migrated.site, "nova": migrated.nova}

    def ask_while_caused(*codes: str, beside: Sequence[str] = (), **environment: str) -> None:
        caused = {code: CAUSES_IN_DATABASE[code] for code in codes}
        for each in caused.values():
            migrated.run(*(line.format(**roles) for line in each.cause))
        try:
            asked = ask(*caused, *beside, **{"uri": uri} | environment)
        finally:
            for each in caused.values():
                migrated.run(*(line.format(**roles) for line in each.mend or ()))
        for code, told in asked.told.items():
            if code in caused and caused[code].mend is None:
                migrated.run(*asked.statements[code])
            assert_told_alike(PROBLEMS[code], told)
            # No page works without one of NOVA's tables; the page Health does.
            assert (told.dashboard == NO_ANSWER) == (code == "tables_missing")

    # These two change what is told of the others.
    alone = {"roles_not_apart", "tables_missing"}
    ask_while_caused(*sorted(CAUSES_IN_DATABASE.keys() - alone))
    ask_while_caused("tables_missing")
    nowhere = f"redis://127.0.0.1:{find_free_port()}"
    with pooled(uri, tmp_path, mode="transaction") as through_pooler:
        elsewhere = {"uri": as_url(through_pooler), "NOVA_REDIS_URL": nowhere}
        ask_while_caused("roles_not_apart", beside=("pooler", "queue_away"), **elsewhere)

    migrated.run(
        "INSERT INTO nova_admin.django_q_ormq (key, payload, lock)"
        " VALUES ('nova_admin', 'a task', now() - interval '6 minutes')"
    )
    with RedisServer(tmp_path) as server:
        server.start()
        with closing(redis.from_url(server.url)) as admin:
            admin.config_set("maxmemory-policy", "allkeys-lru")
        mended = CAUSES_IN_DATABASE.keys() | {"pooler", "queue_away"}
        of_queue = ("queue_at_risk", "tasks_left")
        asked = ask(*of_queue, *mended, uri=uri, NOVA_REDIS_URL=server.url)
    for code in of_queue:
        assert_told_alike(PROBLEMS[code], asked.told[code])
    for code in mended:
        told = asked.told[code]
        assert (code, told.count, told.metrics) == (code, 0, 0)
        assert (code, told.dashboard, told.health, told.doctor) == (code, Told(), Told(), Told())
    migrated.run(*asked.statements["tasks_left"])
