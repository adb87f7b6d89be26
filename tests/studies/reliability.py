"""Whether migrations by real workers end well under every fault: of AWS, workers, hosts, PostgreSQL and Redis.

Each fault is caused on purpose. Afterwards, without anyone's help, every item has its outcome and both stores match.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg
from psycopg.conninfo import make_conninfo

from migration.core.sentences import NO_WORKER
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule, mixed_rules
from nova_credentials.phases import Phase
from tests import redis_server
from tests.hosts import ROOT, RUN_WHILE_PARENT_LIVES, kill_group
from tests.redis_server import RedisServer
from tests.studies import reliability_hosts, reliability_moves, study
from tests.studies.study import NO_EVIDENCE, Study, Table, set_up, use_settings

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator

    from migration.runs.models import Run
    from nova_credentials.messages import Message

LOCAL = study.LOCAL / "reliability"
ROUND_TRIP = 0.02
# A client's turn comes at least once in so long: no scenario waits longer.
PATIENCE_SECONDS = 240


@dataclass
class Stage:
    """Both stores, the workers, and what was seen on the page."""

    aws: AwsServer
    env: dict[str, str]
    number: int
    hosts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    reasons: list[Message] = field(default_factory=list)
    # Where there are several hosts: what reads all the while, and what the last command told on standard error.
    nova: reliability_hosts.Nova | None = None
    said: str = ""
    redis: RedisServer | None = None

    def start_worker(self, host: str = "") -> None:
        """Start a `qcluster` as a host of its own."""
        host = host or f"host-{time.monotonic_ns()}"
        with (LOCAL / "qcluster.log").open("ab") as log:
            self.hosts[host] = subprocess.Popen(
                [*RUN_WHILE_PARENT_LIVES, str(os.getpid()), sys.executable, "manage.py", "qcluster"],
                cwd=ROOT, env=self.env | {"NOVA_HOST_NAME": host},
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def kill_worker(self, run: Run, host: str = "") -> None:
        """The whole process group at once, as a host that goes, in mid-run; without a name the oldest one."""
        kill_group(self.hosts.pop(host or next(iter(self.hosts))))
        if not run.items.filter(outcome="").exists():
            raise SystemExit("the run was over before its worker was killed")

    def end_workers(self) -> None:
        for worker in self.hosts.values():
            worker.terminate()
        for worker in self.hosts.values():
            worker.wait(30)  # the runner waits half as long before it kills
        self.hosts.clear()

    def await_created(self, number: int) -> None:
        """Until AWS got so many new secrets: workers are in mid-batch, for outcomes are stored a batch at a time."""
        self.until(lambda: self.calls("CreateSecret") >= number)

    def calls(self, operation: str) -> int:
        return self.aws.conditions.report()["calls"].get(operation, {"calls": 0})["calls"]

    def await_end(self, *runs: Run) -> None:
        from migration.runs.models import Run

        keys = [run.pk for run in runs]
        self.until(
            lambda: not Run.objects.filter(pk__in=keys, finished_at=None).exists(), of=keys[0]
        )

    def until(self, true: Callable[[], bool], of: int | None = None) -> None:
        from django.db import DatabaseError, connection

        from migration.runs.progress import measure_progress, select_runs_for_progress

        deadline = time.monotonic() + max(PATIENCE_SECONDS, self.number / 10)
        while time.monotonic() < deadline:
            try:
                if true():
                    return
                if of and (
                    reason := measure_progress(select_runs_for_progress().get(pk=of)).delay_reason
                ):
                    self.reasons.append(reason)
            except DatabaseError:  # of the PostgreSQL that restarts
                connection.close()
            time.sleep(0.2)
        raise SystemExit(f"not done after {PATIENCE_SECONDS} s; see {LOCAL}")


@dataclass(frozen=True)
class Scenario:
    """One thing that goes wrong, and what is done to make it so."""

    name: str
    what: str
    act: Callable[[Stage], list[Run]]
    # Secrets that were written twice because somebody saved their client meanwhile.
    saved: int = 0
    # Whether calls are struck in any case, and whether so many that the page has to say so.
    strikes: bool = False
    tells: bool = False
    # Whether the clients were moved to AWS and back.
    moves: bool = False
    # Whether there are two hosts from which NOVA reads meanwhile, and whether their queue is in Redis.
    hosts: bool = False
    redis: bool = False
    clients: int = 300


def migrate(stage: Stage) -> Run:
    from migration.core.clients import all_clients
    from migration.runs.models import Run
    from tests import factories

    return factories.start_run(kind=Run.Kind.MIGRATE, chosen=all_clients())


def under(*faults: FaultRule) -> Callable[[Stage], list[Run]]:
    """The whole run under these faults, which end by themselves, or at its last client."""

    def act(stage: Stage) -> list[Run]:
        stage.aws.conditions.set(Conditions(round_trip_seconds=ROUND_TRIP, faults=faults, seed=1))
        run = migrate(stage)
        stage.await_end(run)
        return [run]

    return act


def kill_in_mid_batch(stage: Stage) -> list[Run]:
    run = migrate(stage)
    stage.await_created(stage.number // 5)
    stage.kill_worker(run)
    stage.start_worker()
    stage.await_end(run)
    return [run]


def restart_postgresql(stage: Stage) -> list[Run]:
    """By SIGKILL of one of its processes, after which it ends all and recovers."""
    from django.db import connection

    run = migrate(stage)
    stage.await_created(stage.number // 5)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend' LIMIT 1"
        )
        pid = cursor.fetchone()[0]
    os.kill(pid, signal.SIGKILL)
    stage.await_end(run)
    return [run]


def save_in_mid_run(stage: Stage) -> list[Run]:
    """Plain SQL, as NOVA saves: every tenth client, some pushed already and some not."""
    from django.db import connection

    run = migrate(stage)
    stage.await_created(stage.number // 2)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE public.client_database_credentials SET db_port = 5433 WHERE client_id %% 10 = 0",
            [],
        )
    stage.await_end(run)
    from migration.core.clients import all_clients

    stage.until(lambda: not all_clients().push_due().exists())
    return [run]


def deliver_twice(stage: Stage) -> list[Run]:
    from migration import tasks

    run = migrate(stage)
    tasks.enqueue(run)
    tasks.enqueue(run)
    stage.await_end(run)
    return [run]


def two_runs(stage: Stage) -> list[Run]:
    first, second = migrate(stage), migrate(stage)
    stage.await_end(first, second)
    return [first, second]


def two_workers_one_killed(stage: Stage) -> list[Run]:
    stage.aws.conditions.set(
        Conditions(round_trip_seconds=ROUND_TRIP, faults=mixed_rules(0.1, hold_seconds=6), seed=1)
    )
    stage.start_worker()
    run = migrate(stage)
    stage.await_created(stage.number // 5)
    stage.kill_worker(run)
    stage.await_end(run)
    return [run]


WORDS = {
    Fault.THROTTLED: "ThrottlingException",
    Fault.INTERNAL: "InternalServiceError",
    Fault.DENIED: "AccessDeniedException",
    Fault.EXPIRED: "ExpiredTokenException",
    Fault.KMS: "the KMS key fails",
    Fault.DOWN: "AWS is unavailable",
    Fault.REFUSED: "connection refused",
    Fault.RESET: "connection reset",
    Fault.TIMEOUT: "read time-out, the write applied",
    Fault.LOST: "answer lost, the write applied",
}
SCENARIOS = [
    *(
        Scenario(
            fault.value,
            f"{WORDS[fault]}: half of all calls for 5 s",
            under(FaultRule(fault=fault, probability=0.5, seconds=5, hold_seconds=6)),
            strikes=True,
        )
        for fault in Fault
    ),
    Scenario(
        "all-down",
        "AWS down: every call for 10 s",
        under(FaultRule(fault=Fault.DOWN, seconds=10)),
        strikes=True,
        tells=True,
    ),
    Scenario(
        "nobody",
        "nobody listens at AWS's address for 10 s",
        under(FaultRule(fault=Fault.REFUSED, seconds=10)),
        tells=True,
    ),
    Scenario(
        "expired-token",
        "credentials that expire in mid-run: every call for 10 s",
        under(FaultRule(fault=Fault.EXPIRED, seconds=10)),
        strikes=True,
        tells=True,
    ),
    Scenario(
        "mixed",
        "all ten at once, 10 % of the calls, to the end",
        under(*mixed_rules(0.1, hold_seconds=6)),
        strikes=True,
    ),
    Scenario("killed", "the workers killed by SIGKILL in mid-batch, others started", kill_in_mid_batch),
    Scenario("postgresql", "PostgreSQL crashes and restarts in mid-run", restart_postgresql),
    Scenario("save", "every tenth client saved by plain SQL in mid-run", save_in_mid_run, saved=10),
    Scenario("twice", "the same tasks delivered three times", deliver_twice),
    Scenario("two-runs", "two runs over the same clients at once", two_runs),
    Scenario("two-workers", "two workers, 10 % mixed faults, one worker killed", two_workers_one_killed, strikes=True),
    *(
        Scenario(f"moves-{name}", f"to AWS and back, in each of three runs: {what}",
                 reliability_moves.move_under(strike), moves=True)
        for name, what, strike in reliability_moves.STRIKES
    ),
    Scenario(
        "hosts",
        "two hosts, to AWS and back: in each of four runs one of them killed, the other goes on",
        reliability_hosts.kill_one_in_each_run,
        moves=True,
        hosts=True,
        clients=reliability_hosts.CLIENTS,
    ),
    Scenario(
        "hosts-redis",
        "two hosts over Redis, to AWS and back: Redis killed in mid-run, every tenth client saved meanwhile; a run"
        " started while Redis is down; a host killed with Redis; both hosts killed with Redis; each time it comes back"
        " empty",
        reliability_hosts.kill_hosts_and_redis,
        saved=10,
        moves=True,
        hosts=True,
        redis=True,
        clients=reliability_hosts.CLIENTS,
    ),
]  # fmt: skip


def verify(stage: Stage, scenario: Scenario, runs: list[Run]) -> list[str]:
    """What is not as it must be."""
    from migration.core.aws_store import secrets_manager
    from migration.core.clients import all_clients
    from migration.models import Worker
    from migration.runs.engine import finish_inline
    from migration.runs.models import Run

    wrong = [] if Worker.objects.last_seen_at() else ["no worker was ever seen"]
    stage.aws.conditions.clear()
    if scenario.moves:
        moves = [run for run in runs if run.kind == Run.Kind.MOVE]
        wrong += reliability_moves.list_faults(moves, stage.number)
    for run in (run for run in runs if run.kind == Run.Kind.MIGRATE):
        counts = run.count_outcomes_and_matches()
        if sum(counts[o] for o in ("created", "updated", "unchanged", "restored")) != stage.number:
            wrong.append(f"{run}: {counts}")
    wrong += [f"{run} has open items" for run in runs if run.items.open().exists()]
    check = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients())
    finish_inline(check)
    if (matched := check.count_outcomes_and_matches()["matched"]) != stage.number:
        wrong.append(f"{matched} of {stage.number} match")
    phase = reliability_moves.END if scenario.moves else Phase.DUAL_WRITE
    if (there := all_clients().in_phases(phase).count()) != stage.number:
        wrong.append(f"{there} of {stage.number} are in {phase}")
    sm = secrets_manager().sm
    pages = sm.get_paginator("list_secrets").paginate()
    secrets = [secret for page in pages for secret in page["SecretList"]]
    if len(secrets) != stage.number or len({s["Name"] for s in secrets}) != stage.number:
        wrong.append(f"{len(secrets)} secrets for {stage.number} clients")
    versions = sum(len(secret["SecretVersionsToStages"]) for secret in secrets)
    most = stage.number + stage.number * scenario.saved // 100
    if not stage.number <= versions <= most:
        wrong.append(f"{versions} versions of {stage.number} secrets")
    return wrong + (stage.nova.list_faults() if stage.nova else [])


def new_database(server: str) -> str:
    """An empty one in place of the last run's; no connection to it is left."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS reliability WITH (FORCE)")
        connection.execute("CREATE DATABASE reliability")
    return make_conninfo(server, dbname="reliability")


@contextmanager
def stage(aws: AwsServer, server: str, scenario: Scenario, number: int) -> Iterator[Stage]:
    """So many clients in a database of their own, an empty AWS, and qclusters."""
    from django.core.management import call_command
    from django.db import connection

    from migration.models import Worker
    from nova_admin.embedded.management.commands.demo import add_clients_up_to

    # The audit's tables refuse to be emptied.
    connection.close()
    new_database(server)
    call_command("migrate", verbosity=0)
    add_clients_up_to(number)
    aws.reset()
    aws.conditions.set(Conditions(round_trip_seconds=ROUND_TRIP))
    made = Stage(aws, dict(os.environ), number)
    with ExitStack() as stack:
        if scenario.redis:
            made.redis = stack.enter_context(RedisServer(LOCAL))
            made.redis.start()
            made.env["NOVA_REDIS_URL"] = made.redis.url
        if scenario.hosts:
            made.nova = stack.enter_context(reliability_hosts.reading())
        stack.callback(made.end_workers)
        if not scenario.hosts:
            made.start_worker()
            # A fault that lasts some seconds begins once somebody is there whom it can strike.
            made.until(Worker.objects.exists)
        yield made


def perform(table: Table, aws: AwsServer, server: str, scenario: Scenario, number: int) -> None:
    """Add the scenario's row."""
    with stage(aws, server, scenario, number) as made:
        runs = scenario.act(made)
        again = sum(run.items.filter(attempts__gt=0).count() for run in runs)
        struck = sum(aws.conditions.report()["injected"].values())
        wrong = verify(made, scenario, runs)
    told = str(next((r for r in made.reasons if r.key != NO_WORKER.key), ""))
    if scenario.strikes and not struck:
        wrong.append("no call was struck")
    if scenario.tells and not told:
        wrong.append("the page said nothing")
    told = re.sub(r"Retrying \d+ clients? in \d+ s: ", "Retrying … in … s: ", told)
    told = re.sub(r"secret '[^']+'", "secret '…'", told)
    end = "; ".join(wrong) or f"{number:,} matches, one secret each"
    if made.nova and not wrong:
        end += f"; {made.nova.reads:,} reads by NOVA, none wrong"
    numbers = f"{number:,}", f"{struck or '–'}", f"{again or '–'}"
    table.add(scenario.what, *numbers, told or "–", table.judge(end, holds=not wrong))


COLUMNS = (
    *("fault", "clients", "calls struck", "clients tried again"),
    *("meanwhile the page says", "afterwards"),
)
NAMED = {"name": "faults", "every": tuple(scenario.what for scenario in SCENARIOS)}


def measure(options: Namespace) -> list[Table]:
    from nova_admin.embedded import postgres

    LOCAL.mkdir(parents=True, exist_ok=True)
    (LOCAL / "qcluster.log").unlink(missing_ok=True)
    with AwsServer() as aws:
        server = postgres.start_server(LOCAL / "postgres")
        use_settings(
            aws=aws.endpoint,
            DATABASE_URL=new_database(server),
            NOVA_WORKERS="2",
            NOVA_AWS_WRITES_PER_SECOND="200",
            NOVA_AWS_READS_PER_SECOND="200",
            **NO_EVIDENCE,
        )
        set_up()
        table = Table(COLUMNS, **NAMED)
        for scenario in SCENARIOS:
            if options.only and scenario.name not in options.only:
                continue
            if scenario.redis and not redis_server.REDIS_SERVER:
                print(f"{scenario.name} is left out: {redis_server.HOW_TO_GET_IT}", file=sys.stderr)
                table.holds &= not os.environ.get("REQUIRE_REDIS")
                continue
            perform(table, aws, server, scenario, options.clients or scenario.clients)
    return [table]


STUDY = Study(
    measure,
    needs="up to an hour; without a redis-server a row is left out, unless REQUIRE_REDIS is set",
    options={
        "--clients": {"type": int, "help": "300, with two hosts 900"},
        "--only": {"choices": [each.name for each in SCENARIOS], "action": "append"},
    },
    writes=True,
)
