"""Rows of the legacy table."""

from typing import Any

import psycopg
from psycopg import sql

# The values of `tests.factories.make_database`.
LOGIN = {
    "db_host": "db.example.test",
    "db_port": 5432,
    "db_name": "app",
    "db_user": "app",
    "db_password": "example-password-1",
}


def add_row(nova: psycopg.Connection, slug: str | None, **columns: Any) -> None:
    values = {
        "client_name": (slug or "").upper(),
        "client_slug": slug,
        "is_active": True,
        **LOGIN,
        **columns,
    }
    nova.execute(
        sql.SQL("INSERT INTO public.client_credentials ({}) VALUES ({})").format(
            sql.SQL(", ").join(map(sql.Identifier, values)),
            sql.SQL(", ").join(sql.Placeholder() * len(values)),
        ),
        list(values.values()),
    )


def read_all(nova: psycopg.Connection) -> list[tuple[Any, ...]]:
    return nova.execute(
        "SELECT *, xmin::text FROM public.client_credentials ORDER BY id"
    ).fetchall()
