"""A client made by plain SQL goes all the way and back, and the reader returns the same at every stop."""

import json
import os
from datetime import timedelta

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F
from psycopg.conninfo import make_conninfo

from migration.core.clients import all_clients
from migration.models import ClientMigration
from migration.runs.models import Run
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests import nova_database
from tests.checkout import manage
from tests.factories import make_database, make_email, make_full_client, update
from tests.migration.moves.clients import LINE

WAY = [*LINE[1:], *reversed(LINE[:-1])]
NASTY = "  'quotes' \"and\" \\ blanks \n" + "ñ😀'\" " * 400 + "  "


def everything(reader: Reader, slug: str) -> list[object]:
    rows = [reader.get_credential(slug, kind) for kind in ("database", "email", "aws")]
    return [
        *rows,
        reader.get_credential(slug, "database", "archive"),
        reader.get_primary_credentials(slug),
    ]


@pytest.fixture
def reader(stores) -> Reader:
    name = connection.settings_dict["NAME"]
    reader = Reader(make_conninfo(os.environ["DATABASE_URL"], dbname=name), cache_seconds=0)
    yield reader
    reader.close()


@pytest.fixture
def idom(stores) -> int:
    pk = make_full_client("idom")
    make_database(pk, label="archive", is_primary=False, db_password_encrypted=NASTY)
    make_email(pk, label=None, is_primary=None, email_provider=None, sender_whitelist=None)
    return pk


def test_by_commands_alone(idom, reader, capsys):
    before = everything(reader, "idom")

    for phase in WAY:
        if phase == Phase.DUAL_WRITE and all_clients().in_phases(Phase.POSTGRES).exists():
            call_command("migrate_clients", "idom", "--inline")
        else:
            call_command("compare_clients", "idom", "--inline")
            call_command("move_clients", phase, "idom", "--reason", "there and back")
        assert all_clients().with_phase().get().phase == phase
        assert everything(reader, "idom") == before

    assert NASTY.strip() not in capsys.readouterr().out


def test_move_clients_prints_an_object_a_client_and_exits_with_1_where_one_is_refused(idom, capsys):
    make_full_client("other")
    call_command("migrate_clients", "idom", "--inline")
    capsys.readouterr()

    with pytest.raises(SystemExit) as end:
        call_command("move_clients", "postgres", "idom", "other", "--format", "json")

    assert end.value.code == 1
    assert json.loads(capsys.readouterr().out) == [
        {"slug": "idom", "moved": True, "phase": "postgres", "reasons": [], "codes": []},
        {
            "slug": "other",
            "moved": False,
            "phase": "postgres",
            "reasons": ["other is in PostgreSQL. It can move to Dual write, not to PostgreSQL."],
            "codes": ["illegal_move"],
        },
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["aws"],
        ["nowhere", "idom"],
        ["aws", "nobody"],
        ["aws", "idom", "--bad"],
        ["dual_write", "idom", "--schedule-deletion"],
        ["dual_write", "\udcff"],
        ["dual_write", "idom", "--reason", "\udcff"],
        ["dual_write", "idom", "--reason", "x" * 501],
        ["dual_write", "idom", "--reason", "x\0"],
    ],
)
def test_wrong_use_of_move_clients_is_refused_with_2(idom, arguments):
    with pytest.raises(CommandError) as refused:
        call_command("move_clients", *arguments)

    assert refused.value.returncode == 2
    assert all_clients().with_phase().get().phase == Phase.POSTGRES


def test_novas_own_statements_run_in_every_phase_before_purged_and_are_pushed(idom, reader):
    """Written behind Django's back, read by NOVA's reader once its push has landed."""
    for number, phase in enumerate([Phase.POSTGRES, *WAY[:3]]):
        if phase == Phase.DUAL_WRITE:
            call_command("migrate_clients", "idom", "--inline")
        elif phase != Phase.POSTGRES:
            call_command("compare_clients", "idom", "--inline")
            call_command("move_clients", phase, "idom")
        row = all_clients().get().databases.get(label="archive")
        update("client_database_credentials", row.pk, db_password_encrypted=f"example-{number}")
        call_command("push_pending", "--inline")
        assert (
            reader.get_credential("idom", "database", "archive").db_password == f"example-{number}"
        )


def test_the_sweep_compares_those_that_write_both_and_lets_streaks_grow(idom):
    from django_q.models import OrmQ, Schedule

    from migration import tasks

    make_full_client("untouched")
    call_command("migrate_clients", "idom", "--inline")
    for streak in (1, 2):
        tasks.sweep()
        run = Run.objects.get(kind=Run.Kind.COMPARE, finished_at=None)
        assert [item.slug for item in run.items.all()] == ["idom"]
        tasks.sweep()  # the one before is not done yet
        assert Run.objects.filter(finished_at=None).count() == 1
        tasks.work_on_run(run.pk)
        assert all_clients().get(pk=idom).client_migration.clean_streak == streak
        # A quarter of an hour later:
        ClientMigration.objects.update(
            streak_counted_at=F("streak_counted_at") - timedelta(minutes=15)
        )
    assert OrmQ.objects.count() == 2
    assert dict(Schedule.objects.values_list("func", "minutes")) == {
        "migration.tasks.keep_counting": 1,
        "migration.tasks.prove_counting": 60,
        "migration.tasks.note_other_statements": 5,
        "migration.tasks.push_pending": 1,
        "migration.tasks.sweep": 15,
        "migration.tasks.resume_stalled_runs": 1,
        "migration.tasks.take_campaigns_further": 1,
        "migration.tasks.resume_dead_searches": 1,
        "migration.tasks.seal_audit": 1,
        "migration.tasks.publish_audit_head": 60,
        "migration.tasks.count_clients": 1,
        "migration.tasks.remove_other_secrets": 10,
        "migration.tasks.describe_secrets": 10,
        "migration.tasks.note_values": 1,
        "migration.tasks.go_on_with_rotations": 1,
        "migration.tasks.go_on_with_offboardings": 1,
        "migration.tasks.start_due_rotations": 60,
        "migration.tasks.send_notices": 1,
        "migration.tasks.look_at_clients": 10,
        "migration.tasks.look_for_slow_problems": 1,
    }


def test_sweeps_leave_no_gap_in_the_ids_of_other_runs(idom):
    from migration import tasks

    call_command("migrate_clients", "idom", "--inline")
    first = Run.start(kind=Run.Kind.PUSH, chosen=all_clients())

    tasks.sweep()

    second = Run.start(kind=Run.Kind.PUSH, chosen=all_clients())
    (sweep,) = Run.objects.only_sweeps()
    assert (second.pk, sweep.pk > 1_000_000_000) == (first.pk + 1, True)


def test_without_the_triggers_the_sweep_pushes_too(idom, reader, counting_again):
    from migration import tasks

    call_command("migrate_clients", "idom", "--inline")
    with connection.cursor() as cursor:
        cursor.execute(
            "ALTER TABLE public.client_database_credentials DISABLE TRIGGER nova_admin_count_write"
        )
    row = all_clients().get().databases.get(label="archive")
    update("client_database_credentials", row.pk, db_password_encrypted="example-unseen")
    tasks.sweep()
    for run in Run.objects.filter(finished_at=None).order_by("pk"):
        tasks.work_on_run(run.pk)
    assert all_clients().get().client_migration.comparison.status == "match"


def test_on_a_database_of_novas_making_with_processes_of_their_own(aws):
    with nova_database.database() as uri:
        environment = {"DATABASE_URL": uri, "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint}
        with psycopg.connect(uri, autocommit=True) as novas:
            for statement in (*nova_database.TABLES, nova_database.ROWS):
                novas.execute(statement)
            novas.execute("UPDATE public.clients SET is_active = TRUE")
            schemas = novas.execute("SELECT * FROM public.client_database_schemas").fetchall()
        reader = Reader(uri, cache_seconds=0)
        before = reader.get_credential("acme", "database"), reader.get_credential("acme", "email")

        def run(*arguments: str) -> None:
            done = manage(*arguments, **environment)
            assert done.returncode == 0, done.stdout + done.stderr

        run("migrate")
        run("migrate_clients", "--all", "--inline")
        for phase in WAY[1:]:
            if phase in (Phase.DUAL_READ, Phase.AWS, Phase.PURGED):
                for _ in range(3 if phase == Phase.AWS else 1):
                    run("compare_clients", "acme", "--inline")
            if phase == Phase.PURGED:
                run("find_copies", "acme")
            run("move_clients", phase, "acme")
            assert (
                reader.get_credential("acme", "database"),
                reader.get_credential("acme", "email"),
            ) == before
        reader.close()
        with psycopg.connect(uri) as novas:
            assert (
                novas.execute("SELECT * FROM public.client_database_schemas").fetchall() == schemas
            )
