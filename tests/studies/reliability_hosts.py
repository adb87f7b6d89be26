"""The faults of `reliability.py` that take two hosts: one killed, and Redis. NOVA reads all the while.

A host is a `qcluster` with a name of its own, a process group. Runs are started from a third one, by the commands.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.hosts import ROOT
from tests.studies import reliability_moves
from tests.studies.reliability_moves import ROUND_TRIP, WAY, await_moved, set_read_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migration.runs.models import Run
    from tests.studies.reliability import Stage

HOSTS = NORTH, SOUTH = ("north", "south")
# More batches than one task takes at once, so that both hosts have some.
CLIENTS = 900
# Seconds that Redis is away; a worker looks for it every ten.
AWAY_SECONDS = 5
# Creates a second while somebody strikes.
SLOW_CREATES = 40.0
OLD_PORT, NEW_PORT = 5432, 5433
SAVE = "UPDATE public.client_database_credentials SET db_port = %s WHERE client_id %% 10 = 0"


class Nova(threading.Thread):
    """Reads client after client as NOVA does, without a cache, and keeps each answer that breaks the law."""

    def __init__(self) -> None:
        super().__init__(name="nova", daemon=True)
        self.over = threading.Event()
        self.reads = 0
        self.wrong: list[str] = []
        # The ports that a client may have: both while a save is under way.
        self.ports: dict[str, set[int]] = {}

    def run(self) -> None:
        from nova_credentials.reader.routing import Reader

        reader = Reader(os.environ["DATABASE_URL"], cache_seconds=0, timeout=30)
        while not self.over.is_set():
            for slug in list(self.ports):
                self.read(reader, slug)
                if self.over.wait(0.01):
                    break
        reader.close()

    def read(self, reader: object, slug: str) -> None:
        ports = set(self.ports[slug])  # as they were when the read began
        try:
            login = reader.get_credential(slug, "database")
        except Exception as error:  # noqa: BLE001  # whatever it is, NOVA got nothing
            self.wrong.append(f"{slug}: {type(error).__name__}")
        else:
            if login.db_password != f"demo-password-{slug}" or login.db_port not in ports:
                self.wrong.append(f"{slug}: another login")
        self.reads += 1

    def save(self) -> None:
        """Save every tenth client by plain SQL, as NOVA does. Once that is committed, no read may give the old one."""
        from django.db import connection

        from credentials.models import Client

        saved = [c.slug for c in Client.objects.all() if c.pk % 10 == 0]
        for slug in saved:
            self.ports[slug] = {OLD_PORT, NEW_PORT}
        with connection.cursor() as cursor:
            cursor.execute(SAVE, [NEW_PORT])
        for slug in saved:
            self.ports[slug] = {NEW_PORT}

    def list_faults(self) -> list[str]:
        """Return what is not as it must be: reads that broke the law, and hosts that did nothing."""
        from migration.models import AuditEvent

        faults = [f"read wrong: {wrong}" for wrong in self.wrong]
        if self.reads < len(self.ports):
            faults.append(f"NOVA read {self.reads} times")
        origins = set(AuditEvent.objects.values_list("origin", flat=True))
        return faults + [f"{h} did nothing" for h in HOSTS if f"worker on {h}" not in origins]


@contextmanager
def reading() -> Iterator[Nova]:
    from credentials.models import Client

    nova = Nova()
    nova.ports = {slug: {OLD_PORT} for slug in Client.objects.values_list("slug", flat=True)}
    nova.start()
    try:
        yield nova
    finally:
        nova.over.set()
        nova.join(60)


def start_hosts(stage: Stage) -> None:
    """Start both, and wait until workers of each are alive."""
    for host in HOSTS:
        if host not in stage.hosts:
            stage.start_worker(host)
    stage.until(lambda: alive_hosts() == set(HOSTS))


def alive_hosts() -> set[str]:
    """Return the hosts of which a worker has lived in the last seconds."""
    from datetime import timedelta

    from django.utils import timezone

    from migration.core.heartbeat import BEAT_SECONDS
    from migration.models import Worker

    lately = timezone.now() - timedelta(seconds=2 * BEAT_SECONDS)
    names = Worker.objects.filter(seen_at__gt=lately).values_list("name", flat=True)
    return {name.partition(":")[0] for name in names}


@contextmanager
def command(stage: Stage, kind: str, *arguments: str) -> Iterator[Run]:
    """Start a run by this command, strike in the block, and wait for the end of both.

    Raises SystemExit where the command did not end well.
    """
    from migration.runs.models import Run

    known = set(Run.objects.filter(kind=kind).values_list("pk", flat=True))
    started = Run.objects.filter(kind=kind).exclude(pk__in=known)
    asked = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT, env=stage.env | {"NOVA_HOST_NAME": "third"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        stage.until(lambda: started.exists() or asked.poll() is not None)
        run = started.get()
        yield run
        stage.await_end(run)
        _out, stage.said = asked.communicate(timeout=60)
    finally:
        asked.kill()
        asked.wait()
    if asked.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {asked.returncode}: {stage.said}")


def take_to_aws_and_back(
    stage: Stage, *strikes: Callable[[Stage, Run], None], refused: int | None = None
) -> list[Run]:
    """Migrate all clients and move them, with one strike in each of the four runs.

    In the run number `refused` Redis is down when it is started.
    """
    from nova_admin.embedded.conditions import Conditions

    start_hosts(stage)
    stage.aws.conditions.set(Conditions(round_trip_seconds=ROUND_TRIP))
    asked = [("migrate", "migrate_clients", "--all")]
    asked += [("move", "move_clients", new.value, "--all-in", old.value) for old, new in WAY]
    runs = []
    for number, ((kind, *arguments), strike) in enumerate(zip(asked, strikes, strict=True)):
        start_hosts(stage)
        if number == refused:
            stage.redis.kill()
        with command(stage, kind, *arguments) as run:
            strike(stage, run)
        if number == refused and "queue cannot be reached" not in stage.said:
            raise SystemExit(f"nobody was told that Redis is down: {stage.said}")
        stage.until(all_pushed)
        runs.append(run)
    return runs


def all_pushed() -> bool:
    from migration.core.clients import all_clients

    return not all_clients().push_due().exists()


@contextmanager
def slowly(stage: Stage, run: Run) -> Iterator[None]:
    """Strike in the block: in mid-run, as calls are few a second before it. Afterwards they are as usual."""
    from migration.models import Rate

    set_read_rate(stage, reliability_moves.SLOW_READS)
    stage.until(lambda: Rate.objects.set_rates({Rate.Kind.CREATE: SLOW_CREATES}) is None)
    if run.kind == run.Kind.MIGRATE:
        stage.await_created(stage.number // 5)
    else:
        await_moved(stage, run, 1)
    yield
    if not run.items.filter(outcome="").exists():
        raise SystemExit("the run was over before anybody struck")
    stage.until(lambda: Rate.objects.set_rates(dict.fromkeys(Rate.Kind.values, None)) is None)


def kill(*hosts: str, redis: bool = False) -> Callable[[Stage, Run], None]:
    """Return what kills these hosts in mid-run and, if asked, Redis, which is back soon, empty. No host comes back
    before the run is over, unless all are gone."""

    def strike(stage: Stage, run: Run) -> None:
        with slowly(stage, run):
            for host in hosts:
                stage.kill_worker(run, host)
            if redis:
                stage.redis.kill()
        if redis:
            time.sleep(AWAY_SECONDS)
            stage.redis.start()
        if not stage.hosts:
            start_hosts(stage)

    return strike


def kill_redis_and_save(stage: Stage, run: Run) -> None:
    with slowly(stage, run):
        stage.redis.kill()
        stage.nova.save()
    time.sleep(AWAY_SECONDS)
    stage.redis.start()


def bring_redis_back(stage: Stage, run: Run) -> None:
    """Redis was down when the run was started: nobody knows of it."""
    time.sleep(AWAY_SECONDS)
    if run.items.exclude(outcome="").exists():
        raise SystemExit("somebody worked on a run that was not queued")
    stage.redis.start()


def kill_one_in_each_run(stage: Stage) -> list[Run]:
    return take_to_aws_and_back(stage, kill(NORTH), kill(SOUTH), kill(NORTH), kill(SOUTH))


def kill_hosts_and_redis(stage: Stage) -> list[Run]:
    return take_to_aws_and_back(
        stage,
        kill_redis_and_save,
        bring_redis_back,
        kill(SOUTH, redis=True),
        kill(*HOSTS, redis=True),
        refused=1,
    )
