"""A stand-in for NOVA's Celery worker: prefork, psycopg2, plain SQL; it reads clients through its own module alone.

A ValueError fails a task, and any other error has it tried again, as in NOVA.
"""

import os
import sys
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import psycopg2
from psycopg2.extras import Json, RealDictCursor, execute_values

# What NOVA doesn't have, and must not need.
sys.modules["django"] = None

from src.celery_app import make_app  # noqa: E402
from src.models.credentials import (  # noqa: E402
    DatabaseCredentials,
    EmailCredentials,
    get_all_credentials,
    get_client_db_connection,
    get_client_id,
    get_database_connection,
    get_database_credentials,
    get_database_schemas,
    get_email_credentials,
)

app = make_app(Path(os.environ["NOVA_FOLDER"]))
DATABASE_URL = os.environ["DATABASE_URL"]


@app.task(bind=True, max_retries=3, default_retry_delay=0.1)
def run_workflow(self, client_slug: str) -> dict[str, object]:
    """Read the client, work in its database, and store the execution; return how it went, without a secret."""
    with closing(psycopg2.connect(DATABASE_URL)) as nova:
        with nova, nova.cursor() as cursor:
            cursor.execute(
                "INSERT INTO executions (status, started_at) VALUES ('running', now()) RETURNING id"
            )
            (execution,) = cursor.fetchone()
        try:
            result = {"retries": self.request.retries, "pid": os.getpid(), **work_for(client_slug)}
        except ValueError:
            store(nova, execution, "failed", {})
            raise
        except Exception as error:  # noqa: BLE001  # as NOVA does
            raise self.retry(exc=RuntimeError(type(error).__name__)) from None
        store(nova, execution, "completed", result)
    return result


def work_for(client_slug: str) -> dict[str, object]:
    client_id = get_client_id(client_slug)
    both = get_all_credentials(client_slug)
    database, email = both["database"], both["email"]
    assert database == get_database_credentials(client_slug=client_slug, label=None)
    assert email == get_email_credentials(client_slug, label=None)
    assert isinstance(database, DatabaseCredentials)
    assert isinstance(email, EmailCredentials)
    return {
        "client_id": client_id,
        "invoices": write_invoices(client_slug),
        "old_workflow": read_by_old_workflow(client_slug),
        "email": sha256(email.email_password.encode()).hexdigest(),
        "tables": list(get_database_schemas(client_slug)),
    }


def write_invoices(client_slug: str) -> int:
    """Work in the client's database as generated code does."""
    conn = get_database_connection(client_slug)
    with conn, conn.cursor() as cursor:
        cursor.execute("CREATE TEMPORARY TABLE invoices (id int, supplier text)")
        execute_values(cursor, "INSERT INTO invoices VALUES %s", [(1, "a"), (2, "b"), (3, "c")])
    with conn, conn.cursor(cursor_factory=RealDictCursor) as cursor:  # it is still open
        cursor.execute("SELECT count(*) AS number FROM invoices WHERE id IN %s", ((1, 2),))
        number = cursor.fetchone()["number"]
    conn.close()
    return number


def read_by_old_workflow(client_slug: str) -> str:
    with closing(get_client_db_connection(client_slug)) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT current_user")
        return cursor.fetchone()[0]


def store(nova, execution: int, status: str, result: dict[str, object]) -> None:
    with nova, nova.cursor() as cursor:
        cursor.execute(
            "UPDATE executions SET status = %s, completed_at = now(), result = %s WHERE id = %s",
            (status, Json(result), execution),
        )
