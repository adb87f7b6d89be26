"""NOVA's role shadows everything that our statements could call; workers, schedules and the reader do all they can do.

Nothing that NOVA's role made may run as another role, whatever the search path of other roles holds. The same is
watched while every page and command is used: in `tests/test_no_secret_escapes.py` and `…_on_the_way.py`.
"""

import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from credentials.models import Client
from migration import tasks
from migration.core import leases
from migration.core.clients import all_clients
from migration.models import ClientMigration, Rate
from migration.runs.models import Run
from nova_admin.database import base
from nova_admin.embedded import run_while_parent_lives
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.attacks.hostile import NOVA_TABLES, Hostile
from tests.factories import make_full_client, start_run

ROOT = Path(__file__).parents[2]
WORKERS_SECONDS = 300
# As docs/nova.md says.
READERS_RIGHTS = f"""
GRANT SELECT ON {NOVA_TABLES} TO {{role}};
GRANT USAGE ON SCHEMA nova_admin TO {{role}};
GRANT SELECT ON nova_admin.client_aws_credentials, nova_admin.migration_clientmigration TO {{role}};
GRANT SELECT ON nova_admin.credentials_clientrevision, nova_admin.credentials_clientwrite TO {{role}};
GRANT SELECT, INSERT, UPDATE ON nova_admin.migration_readcount TO {{role}};
"""
QUERIES = (
    *("?q=idom", "?phase=dual_write", "?comparison=match", "?comparison=none", "?push=pending"),
    *("?push=late", "?push=refused", "?active=yes", "?active=no", "?o=-2.1", "?all=1"),
)


def write_as_nova(hostile: Hostile) -> None:
    """NOVA's own statements, on a path with its traps and temporary objects of the names that ours have."""
    hostile.run(
        "SET search_path = pg_temp, public, pg_catalog; CREATE TEMP TABLE credentials_clientwrite (client_id int);"
        " CREATE DOMAIN pg_temp.int4 AS pg_catalog.int4 CHECK (trap.yes('a temporary type'));"
        " CREATE FUNCTION pg_temp.unnest(int4[]) RETURNS SETOF int4 LANGUAGE sql AS 'SELECT trap.yes(''unnest'')::int';"
        " SET search_path = public, pg_temp;"
        " UPDATE public.clients SET name = 'By NOVA' WHERE id IN (SELECT min(id) FROM public.clients);"
        " UPDATE public.client_database_credentials SET db_port = 5433 WHERE db_user = 'app'::varchar;"
        " INSERT INTO public.clients (name, slug) VALUES ('By NOVA', 'by-nova')",
        role=hostile.nova,
    )


def work_as_a_cluster(hostile: Hostile, aws) -> None:
    """A real qcluster takes a run over every client, and the schedules, to their ends."""
    # django-q takes a minute after the other to come from there to now.
    Schedule.objects.update(next_run=timezone.now() - timedelta(minutes=1))
    run = start_run(kind=Run.Kind.MIGRATE, chosen=all_clients())
    tasks.Timetable().queue_due_tasks()  # a cluster does so after half a minute
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
        "DATABASE_URL": hostile.of(hostile.site),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint,
        "NOVA_WORKERS": "1",
    }
    worker = subprocess.Popen(
        [sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid()),
         sys.executable, "manage.py", "qcluster"],
        cwd=ROOT, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + WORKERS_SECONDS
        waiting = ["first"]
        while waiting and time.monotonic() < deadline:
            time.sleep(0.2)
            waiting = [
                *Run.objects.filter(pk=run.pk, finished_at=None),
                *Schedule.objects.filter(task=None),
                *OrmQ.objects.filter(lock__lte=timezone.now()),
            ]
        assert waiting == []
    finally:
        worker.terminate()
        worker.wait(60)


def read_in_every_phase(hostile: Hostile) -> None:
    hostile.run(READERS_RIGHTS.format(role=hostile.reader))
    reader = Reader(hostile.of(hostile.reader), cache_seconds=0, timeout=30)
    try:
        for phase in (None, Phase.DUAL_WRITE, Phase.DUAL_READ, Phase.AWS):
            if phase:
                ClientMigration.objects.filter(client__slug="acme").update(phase=phase)
            assert reader.get_primary_credentials("acme")["database"].db_user == "app"
            assert reader.get_credential("acme", "aws").region == "eu-west-1"
    finally:
        reader.close()
    ((reads,),) = hostile.ask("SELECT sum(reads) FROM nova_admin.migration_readcount")
    assert reads >= 2


def test_nothing_that_novas_role_makes_runs_as_another_role(traps, stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    for slug in ("acme", "idom", "b d"):
        make_full_client(slug)
    write_as_nova(traps)
    assert all_clients().with_revision().get(slug="acme").revision > 3  # NOVA's writes were counted
    Rate.objects.set_rates(dict.fromkeys(Rate.Kind, 1000.0))
    work_as_a_cluster(traps, stores)
    read_in_every_phase(traps)
    tasks.sweep()
    tasks.push_pending()
    tasks.resume_stalled_runs()
    call_command("migrate", verbosity=0)
    for query in QUERIES:
        assert client.get("/admin/credentials/client/" + query).status_code == 200

    assert traps.sprung() == []
    assert traps.gained() == []
    assert list(User.objects.filter(username="intruder")) == []
    assert traps.sprung(by_nova=True) != []  # they do spring


@pytest.mark.nightly
def test_the_traps_catch_a_site_whose_path_has_public(hostile):
    call_command("migrate", verbosity=0)
    make_full_client("acme")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base, "SESSION", "SET search_path = public, nova_admin")
        connection.close()

        list(Client.objects.filter_push_pending().filter(slug="acme"))
        with leases.hold_client_locks(Client.objects.values_list("pk", flat=True), wait_seconds=0):
            pass

    sprung = " ".join(hostile.sprung())
    assert "= (varchar, varchar)" in sprung
    assert "unnest(int8[])" in sprung


def test_novas_role_can_make_no_cast_between_postgresqls_own_types(hostile):
    function = (
        "CREATE FUNCTION trap.cast_(varchar) RETURNS text LANGUAGE sql AS 'SELECT ''trapped'''"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        hostile.run(
            function,
            "CREATE CAST (varchar AS text) WITH FUNCTION trap.cast_(varchar) AS IMPLICIT",
            role=hostile.nova,
        )
