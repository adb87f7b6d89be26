"""The commands as an operator runs them: output, exit codes, one-line refusals."""

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from uuid import uuid4

import psycopg
import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import CommandError, call_command

from credentials.models import Client, ClientRevision
from migration.core.aws_writes import DATABASE_UNKNOWN, WriteGuard
from migration.core.clients import all_clients
from migration.management.base import ClientsCommand
from migration.models import ClientMigration, CopySearch
from migration.runs.models import Run
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.phases import Phase
from tests import nova_database
from tests.checkout import ROOT, manage
from tests.factories import make_client, make_database, make_full_client, update
from tests.migrated import migrated_database, migrated_nova_database

COUNTS = (
    "clients", "created", "updated", "unchanged", "restored", "skipped", "failed", "matched", "mismatched",
)  # fmt: skip


@pytest.fixture
def run(stores, capsys):
    """Runs a command in this process: (exit code, the object on standard output)."""

    def run(*arguments: str):
        code = 0
        try:
            call_command(*arguments, "--format", "json")
        except SystemExit as end:
            code = end.code
        return code, json.loads(capsys.readouterr().out)

    return run


def test_migrate_clients_prints_one_object_with_every_count_and_item(run):
    make_full_client("idom"), make_client("empty")

    code, result = run("migrate_clients", "--all", "--inline")

    assert code == 0
    assert [result[name] for name in COUNTS] == [2, 1, 0, 0, 0, 1, 0, 1, 0]
    assert result["items"] == [
        {"slug": "idom", "outcome": "created", "error_class": "", "message": "", "code": ""},
        {
            "slug": "empty",
            "outcome": "skipped",
            "error_class": "",
            "message": "No credentials.",
            "code": "not_pushed_empty",
        },
    ]


def test_migrate_clients_exits_with_1_where_one_failed(run):
    make_full_client("b d")

    code, result = run("migrate_clients", "b d", "--inline")

    assert (code, result["failed"], result["items"][0]["error_class"]) == (1, 1, "data")


def test_a_dry_run_has_the_same_shape_and_moves_nobody(run):
    make_full_client("idom")

    code, result = run("migrate_clients", "--all", "--dry-run")

    assert (code, result["run"], result["created"], result["items"][0]["outcome"]) == (
        0, None, 1, "created",
    )  # fmt: skip
    assert not all_clients().in_phases(Phase.DUAL_WRITE).exists()


def test_compare_clients_reports_fingerprints_and_exits_with_1(run):
    pk = make_client("idom")
    row = make_database(pk)
    run("migrate_clients", "--all", "--inline")
    assert run("compare_clients", "--all", "--inline")[0] == 0
    update("client_database_credentials", row, db_password_encrypted="example-password-1 ")
    record_as_pushed(pk)

    code, result = run("compare_clients", "idom", "--inline")

    assert (code, result["mismatched"], result["pending"]) == (1, 1, 0)
    (mismatch,) = result["items"][0]["mismatches"]
    assert (mismatch["path"], mismatch["kind"], mismatch["hint"]) == (
        "database.password", "different", "blank",
    )  # fmt: skip
    assert "example-password" not in json.dumps(result)


def record_as_pushed(pk: int) -> None:
    """As if a push had taken the present rows to AWS."""
    revision = Client.objects.with_revision().get(pk=pk).revision
    ClientRevision.objects.record_pushed([(pk, revision)])


def test_what_differs_while_a_push_is_pending_is_no_mismatch_unless_it_was_refused(run):
    pks = {slug: make_client(slug) for slug in ("idom", "refused")}
    rows = {slug: make_database(pk) for slug, pk in pks.items()}
    run("migrate_clients", "--all", "--inline")
    for row in rows.values():
        update("client_database_credentials", row, db_password_encrypted="example-b")
    revision = Client.objects.with_revision().get(pk=pks["refused"]).revision
    ClientMigration.objects.record_refused([(pks["refused"], revision)])

    code, result = run("compare_clients", "--all", "--inline")

    assert (code, result["mismatched"], result["pending"]) == (1, 1, 1)
    status = {item["slug"]: item["status"] for item in result["items"]}
    assert status == {"idom": "pending", "refused": "mismatch"}
    assert run("compare_clients", "idom", "--inline")[0] == 0
    assert run("push_pending", "idom", "--inline")[0] == 0
    assert run("compare_clients", "idom", "--inline")[1]["matched"] == 1


def test_migrate_clients_on_a_duplicate_says_so_at_once(stores, monkeypatch):
    make_full_client("idom")
    monkeypatch.setattr(WriteGuard, "explain_refused_database", lambda *_: DATABASE_UNKNOWN())
    waited: list[object] = []
    monkeypatch.setattr(ClientsCommand, "wait_for_end", lambda *_, **__: waited.append(1))

    with pytest.raises(CommandError, match="Nothing was pushed") as refused:
        call_command("migrate_clients", "--all")

    assert refused.value.returncode == 1
    assert not Run.objects.exists()
    assert not waited


def test_compare_clients_counts_what_it_could_not_check_as_failed(run, settings):
    make_full_client("idom")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    code, result = run("compare_clients", "--all", "--inline")

    assert (code, result["matched"], result["failed"]) == (1, 0, 1)
    assert result["items"][0]["status"] == "unchecked"


def test_push_pending_pushes_what_was_written_since(run, monkeypatch):
    pk = make_client("idom")
    row = make_database(pk)
    run("migrate_clients", "--all", "--inline")
    assert run("push_pending", "--inline")[1]["clients"] == 0
    update("client_database_credentials", row, db_port=5433)

    code, result = run("push_pending", "--inline")

    assert (code, result["clients"], result["updated"]) == (0, 1, 1)


def test_client_status_prints_the_objects_of_the_design(run):
    make_full_client("idom"), make_client("other")
    run("migrate_clients", "--all", "--inline")

    code, (idom, other) = run("client_status")

    assert code == 0
    assert list(idom) == [
        "slug", "name", "phase", "secrets", "push_pending", "revision", "pushed_revision", "comparison",
        "run", "phase_since", "reads",
    ]  # fmt: skip
    assert (idom["phase"], idom["secrets"], idom["push_pending"]) == (
        "dual_write", ["nova/clients/idom"], False,
    )  # fmt: skip
    assert (idom["comparison"]["status"], idom["comparison"]["mismatches"]) == ("match", [])
    assert (other["phase"], other["comparison"], other["push_pending"]) == ("postgres", None, False)


def test_wrong_use_is_exit_2(db):
    for arguments in (
        ["migrate_clients", "nobody"],
        ["migrate_clients"],
        ["migrate_clients", "--all", "idom"],
        ["migrate_clients", "--all", "--no-such-flag"],
        ["compare_clients", "nobody", "--inline"],
        ["client_status", "nobody"],
        ["client_status", "--format", "yaml"],
        ["push_pending", "idom"],
    ):
        with pytest.raises(CommandError) as refused:
            call_command(*arguments)

        assert refused.value.returncode == 2, arguments


def test_wrong_use_from_a_shell():
    with migrated_database() as uri:
        for arguments in (
            ["migrate_clients", "nobody"],
            ["migrate_clients", "--bad"],
            ["run", "begin"],
            ["run", "show", "99"],
        ):
            done = manage(*arguments, DATABASE_URL=uri)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_before_the_first_migrate_every_command_says_so_in_one_line():
    with nova_database.database() as uri:
        for arguments in (["client_status"], ["push_pending", "--inline"]):
            done = manage(*arguments, DATABASE_URL=uri)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.startswith("The tables are not there, or this role may not use")
            assert done.stderr.count("\n") == 1


@pytest.fixture
def without_rights():
    """The URI of a role that may enter the database and read NOVA's clients, and nothing more."""
    role = f"nobody_{uuid4().hex}"
    with migrated_database() as uri, psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN")
        connection.execute(f"GRANT SELECT ON clients TO {role}")
        connection.execute("INSERT INTO clients (slug, name) VALUES ('idom', 'Idom')")
        yield psycopg.conninfo.make_conninfo(uri, user=role)
        connection.execute(f"REVOKE SELECT ON clients FROM {role}")
        connection.execute(f"DROP ROLE {role}")


def test_a_right_that_is_missing_is_one_line(without_rights):
    role = psycopg.conninfo.conninfo_to_dict(without_rights)["user"]

    def says(command: str, uri: str = without_rights) -> str:
        done = manage(command, DATABASE_URL=uri)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        return done.stderr

    assert "this role may not use the schema nova_admin" in says("client_status")
    assert "The schema nova_admin belongs to the role postgres" in says("migrate")
    with psycopg.connect(without_rights.replace(role, "postgres"), autocommit=True) as connection:
        connection.execute(f"GRANT USAGE ON SCHEMA nova_admin TO {role}")
        told = says("client_status")
        connection.execute(f"REVOKE USAGE ON SCHEMA nova_admin FROM {role}")
    assert told.startswith("This role lacks a right in the database: permission denied for table ")
    with nova_database.database() as empty:
        told = says("migrate", psycopg.conninfo.make_conninfo(empty, user=role))
    assert f"CREATE SCHEMA nova_admin AUTHORIZATION {role};" in told


def test_a_server_that_is_not_there_is_named_in_one_line():
    done = manage("client_status", DATABASE_URL="postgresql://nova:example-pw@127.0.0.1:1/nova")

    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no connection to PostgreSQL at 127.0.0.1:1 as nova" in done.stderr
    assert "docs/runbooks.md#database" in done.stderr
    assert "example-pw" not in done.stderr


def test_ctrl_c_ends_a_command_without_a_traceback():
    with migrated_database() as uri, psycopg.connect(uri) as holder:
        holder.execute("LOCK TABLE public.clients")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "client_status"],
            cwd=ROOT,
            env=os.environ | {"DJANGO_SETTINGS_MODULE": "nova_admin.settings", "DATABASE_URL": uri},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A test run in the background ignores it, and what it starts would too.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )
        waiting = (
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE NOT granted AND datname = current_database()"
        )
        with psycopg.connect(uri, autocommit=True) as watcher:
            while watcher.execute(waiting).fetchone() == (0,):
                assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30) == ("", "")
        assert process.returncode == 130


def test_a_closed_pipe_ends_a_command_without_a_traceback():
    with migrated_database() as uri:
        reading, writing = os.pipe()
        os.close(reading)
        try:
            done = subprocess.run(
                [sys.executable, "manage.py", "client_status", "--format", "json"],
                cwd=ROOT,
                check=False,
                env=os.environ
                | {"DJANGO_SETTINGS_MODULE": "nova_admin.settings", "DATABASE_URL": uri},
                stdout=writing,
                stderr=subprocess.PIPE,
                text=True,
                timeout=600,
            )
        finally:
            os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


NAMED = (
    (["migrate_clients", "idom", "--inline"], "add_run"),
    (["compare_clients", "idom", "--inline"], "add_run"),
    (["push_pending", "--inline"], "add_run"),
    (["test_logins", "idom", "--inline"], "test_login"),
    (["apply_secret_settings", "idom", "--inline"], "add_run"),
    (["change_layout", "service", "idom", "--inline"], "move_client"),
    (["find_copies", "idom"], "add_copysearch"),
)


def test_by_names_whose_act_it_is_if_they_may(stores):
    make_client("idom")
    for number, (arguments, permission) in enumerate(NAMED):
        by = User.objects.create_user(f"eva-{number}")
        made = CopySearch if arguments[0] == "find_copies" else Run
        before = Run.objects.count(), CopySearch.objects.count()

        with pytest.raises(CommandError, match="lacks the permission") as refused:
            call_command(*arguments, "--by", by.username)
        assert refused.value.returncode == 2
        assert (Run.objects.count(), CopySearch.objects.count()) == before, arguments

        by.user_permissions.add(Permission.objects.get(codename=permission))
        with suppress(SystemExit):
            call_command(*arguments, "--by", by.username)
        assert made.objects.latest("pk").by == by, arguments


def test_client_status_as_text_has_names_the_pending_push_and_what_differs(stores, capsys):
    row = make_database(make_client("idom"))
    make_client("other")
    call_command("migrate_clients", "idom", "--inline")
    update("client_database_credentials", row, db_password_encrypted="example-password-1 ")
    call_command("compare_clients", "idom", "--inline")  # what waits for its push is no mismatch
    compared = capsys.readouterr().out

    call_command("client_status")

    assert capsys.readouterr().out.splitlines() == [
        "idom: dual_write, mismatch, push pending; nova/clients/idom",
        "    database.password: different (blank)",
        "other: postgres, not compared; nova/clients/other",
    ]
    assert re.search(r"^idom  pending$", compared, re.MULTILINE)


def test_an_unreachable_database_is_one_line_and_exit_2():
    done = manage("migrate_clients", "--all", DATABASE_URL="postgresql://127.0.0.1:1/none")

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "database" in done.stderr


def test_the_plans_own_reader_gets_the_tables_values_of_every_client(aws):
    """The whole path on a database of NOVA's own making, by commands alone."""
    with migrated_nova_database() as uri:
        environment = {"DATABASE_URL": uri, "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint}
        done = manage(
            "migrate_clients",
            "--all",
            "--inline",
            "--include-inactive",
            "--format",
            "json",
            **environment,
        )

        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["matched"] == 2
        plan = (
            ClientSecretsManager()
        )  # endpoint and credentials from the environment, as the plan's class
        assert plan.get_database_credentials("acme")["password"] == "example-password-1"
        assert plan.get_email_credentials("acme")["app_password"] == "example-app-password-2"
        others = plan.get_client_credentials("idom")["other_databases"]
        with psycopg.connect(uri) as connection:
            query = "SELECT db_password_encrypted FROM public.client_database_credentials WHERE client_id = 1"
            (expected,) = connection.execute(query).fetchone()
        assert [row["password"] for row in others] == [expected]


def test_clients_are_named_before_and_after_the_options(stores):
    for slug in ("idom", "acme"):
        make_full_client(slug)

    given = ("dual_write", "idom", "--reason", "INC-1", "acme", "--format", "text")
    call_command("move_clients", *given)

    assert all_clients().in_phases("dual_write").count() == 2
