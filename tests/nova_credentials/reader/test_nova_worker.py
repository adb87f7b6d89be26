"""A stand-in for NOVA's worker (Celery prefork, psycopg2, plain SQL) while its clients go all the way and back."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from hashlib import sha256

import psutil
import psycopg2
import pytest
from celery.result import AsyncResult

from migration.models import ReadCount
from migration.moves.moves import move
from migration.pushes.pushes import push
from nova_admin.embedded import run_while_parent_lives
from nova_credentials.phases import Phase
from tests.checkout import ROOT
from tests.factories import make_email
from tests.migration.moves.clients import LINE, advance, phase_of
from tests.nova_credentials.reader.questions import execute
from tests.nova_credentials.reader.stand_in.src.celery_app import make_app, send_workflow

FOLDER = ROOT / "tests/nova_credentials/reader/stand_in"
EXECUTIONS = """
CREATE TABLE public.executions (
    id SERIAL PRIMARY KEY, workflow_id INTEGER, status VARCHAR(20) NOT NULL DEFAULT 'pending',
    started_at TIMESTAMP, completed_at TIMESTAMP, result JSON, error TEXT, created_at TIMESTAMP NOT NULL DEFAULT NOW()
)
"""
BACK = LINE[-2::-1]
AT_ONCE = 4
SECONDS = 300


@pytest.fixture
def tables(role, schemas_table) -> Iterator[None]:
    """NOVA's other tables, and its right to use them and to write its clients."""
    execute(EXECUTIONS)
    execute(f"GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA public TO {role}")
    execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}")
    yield
    execute("DROP TABLE public.executions")


@pytest.fixture
def idom(login, tables) -> int:
    """A client with a login of a real server, a mailbox and a schema."""
    row, _ = login
    ((pk,),) = execute("SELECT id FROM public.clients WHERE slug = 'idom'")
    make_email(pk)
    execute(
        "INSERT INTO public.client_database_schemas (client_id, database_credential_id, table_name, schema_definition)"
        " VALUES (%s, %s, 'invoices', '{}')",
        pk,
        row,
    )
    return pk


@pytest.fixture
def begin_workflow(database_url, aws, tmp_path) -> Iterator[Callable[[str], AsyncResult]]:
    """Begins a task, as NOVA's API does. A worker of two processes takes it, and caches no client."""
    command = [sys.executable, "-m", "celery", "--app", "src.worker", "worker", "--pool", "prefork"]
    command += ["--concurrency", "2", "--loglevel", "WARNING"]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": database_url,
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint,
        "AWS_ACCESS_KEY_ID": "embedded",
        "AWS_SECRET_ACCESS_KEY": "embedded",
        "NOVA_CACHE_SECONDS": "0",
        "NOVA_READ_TIMEOUT_SECONDS": "30",
        "NOVA_FOLDER": str(tmp_path),
    }
    wrapper = [sys.executable, "-m", run_while_parent_lives.__name__, str(os.getpid())]
    with (tmp_path / "log").open("w+b") as log:
        process = subprocess.Popen(
            [*wrapper, *command], cwd=FOLDER, env=environment, start_new_session=True,
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield partial(send_workflow, make_app(tmp_path, queue="written"), tmp_path)
        finally:
            for worker in psutil.Process(process.pid).children(recursive=True):
                worker.kill()  # asked to end, Celery takes 6 s
            process.wait(SECONDS)
    assert "example-" not in (tmp_path / "log").read_text()


@pytest.fixture
def change_by_script(database_url, idom, login) -> Callable[[str], None]:
    """A script of NOVA's, which changes the client's password in its database and, by plain SQL, in NOVA's table."""
    _, change = login

    def change_both(password: str) -> None:
        change(password)
        with closing(psycopg2.connect(database_url)) as nova, nova, nova.cursor() as cursor:
            cursor.execute(
                "UPDATE client_database_credentials SET db_password_encrypted = %s, updated_at = now()"
                " WHERE client_id = (SELECT id FROM clients WHERE slug = %s AND is_active = true)"
                " AND is_primary = true",
                (password, "idom"),
            )
            assert cursor.rowcount == 1

    return change_both


def test_every_task_succeeds_on_the_way_through_all_phases_and_back(
    begin_workflow, idom, change_by_script
):
    user = execute("SELECT db_user FROM public.client_database_credentials")[0][0]
    expected = {
        "client_id": idom,
        "invoices": 2,
        "old_workflow": user,
        "email": sha256(b"example-app-password-2").hexdigest(),
        "tables": ["invoices"],
        "retries": 0,
    }
    tasks, processes = 0, set()

    def assert_tasks_succeed() -> None:
        nonlocal tasks
        for task in [begin_workflow("idom") for _ in range(AT_ONCE)]:
            answer = task.get(timeout=SECONDS, interval=0.02)
            processes.add(answer.pop("pid"))
            assert answer == expected
            tasks += 1

    for number, phase in enumerate([Phase.POSTGRES, *LINE[1:], *BACK]):
        if number >= len(LINE):
            move(client_id=idom, new=phase)
        else:
            advance(idom, phase)
        assert phase_of(idom) == phase
        assert_tasks_succeed()
        if not phase.aws_is_authority:
            # A save of NOVA's own: until its push has landed, and after it.
            change_by_script(f"example-{number}")
            assert_tasks_succeed()
            push(client_ids=[idom])
            assert_tasks_succeed()

    # One that is unknown fails its task, which is not tried again.
    with pytest.raises(ValueError, match="'nobody'"):
        begin_workflow("nobody").get(timeout=SECONDS, interval=0.02)

    assert execute("SELECT status, count(*) FROM public.executions GROUP BY 1 ORDER BY 1") == [
        ("completed", tasks),
        ("failed", 1),
    ]
    assert len(processes) == 2
    counted = ReadCount.objects.get(pk=idom)
    assert counted.reads > counted.matches > 0
    assert (counted.mismatches, counted.aws_failures) == (0, 0)
