"""The tables of NOVA's workflows in which its worker leaves copies, as NOVA's scripts make them."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.factories import nova_uri

WORKFLOWS = """
CREATE TABLE public.workflows (id SERIAL PRIMARY KEY, name VARCHAR(255), graph_definition JSON, code TEXT);
CREATE TABLE public.code_cache (id SERIAL PRIMARY KEY, cache_key VARCHAR(64), code TEXT);
CREATE TABLE public.executions (
    id SERIAL PRIMARY KEY, workflow_id INTEGER, status VARCHAR(50) NOT NULL, started_at TIMESTAMP,
    completed_at TIMESTAMP, result JSON, error TEXT, created_at TIMESTAMP NOT NULL DEFAULT NOW());
CREATE TABLE public.chain_of_work (
    id SERIAL PRIMARY KEY, execution_id INTEGER REFERENCES public.executions(id), node_id VARCHAR(255),
    node_type VARCHAR(50), code_executed TEXT, input_context JSON, output_result JSON, status VARCHAR(50),
    error_message TEXT, timestamp TIMESTAMP NOT NULL DEFAULT NOW());
CREATE TABLE public.client_credentials (
    id SERIAL PRIMARY KEY, client_name VARCHAR(255) NOT NULL, client_slug VARCHAR(100) UNIQUE NOT NULL,
    db_host VARCHAR(255) NOT NULL, db_port INTEGER NOT NULL, db_name VARCHAR(255) NOT NULL,
    db_user VARCHAR(255) NOT NULL, db_password VARCHAR(255) NOT NULL, is_active BOOLEAN NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT NOW(), updated_at TIMESTAMP NOT NULL DEFAULT NOW());
"""
NAMES = ("chain_of_work", "executions", "workflows", "code_cache", "client_credentials", "notes")


@contextmanager
def novas_tables() -> Iterator[psycopg.Connection]:
    """NOVA's own connection to a database with these tables; they are dropped afterwards."""
    with psycopg.connect(nova_uri(), autocommit=True) as nova:
        nova.execute(WORKFLOWS)
        try:
            yield nova
        finally:
            tables = ", ".join(f"public.{name}" for name in NAMES)
            nova.execute(f"DROP TABLE IF EXISTS {tables} CASCADE")


def add_execution(
    nova: psycopg.Connection, result: str, *, hours_ago: float = 2, status: str = "completed"
) -> int:
    """An execution that ended so many hours ago; `result` is the text of its JSON."""
    row = nova.execute(
        "INSERT INTO public.executions (status, completed_at, result)"
        " VALUES (%s, (now() AT TIME ZONE 'UTC') - make_interval(secs => %s), %s) RETURNING id",
        [status, hours_ago * 3600, result],
    ).fetchone()
    return row[0]


def add_step(nova: psycopg.Connection, execution: int | None, **columns: str) -> int:
    names = ", ".join(columns)
    values = ", ".join(["%s"] * len(columns))
    row = nova.execute(
        f"INSERT INTO public.chain_of_work (execution_id, {names}) VALUES (%s, {values}) RETURNING id",
        [execution, *columns.values()],
    ).fetchone()
    return row[0]
