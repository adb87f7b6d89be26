"""Rows as NOVA writes them: plain SQL, column by column, behind Django's back."""

from typing import Any

from django.db import connection
from psycopg import sql


def insert(table: str, **columns: Any) -> int:
    """Inserts one row, leaving every column that is not named to its default; answers with its id."""
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, list(columns.values()))
        return int(cursor.fetchone()[0])


def update(table: str, pk: int, **columns: Any) -> None:
    assignments = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(name), sql.Placeholder()) for name in columns
    )
    statement = sql.SQL("UPDATE {} SET {} WHERE id = {}").format(
        sql.Identifier(table), assignments, sql.Placeholder()
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, [*columns.values(), pk])


def make_client(slug: str, **columns: Any) -> int:
    return insert("clients", **{"name": slug.upper(), "slug": slug} | columns)


def make_database(client_id: int, **columns: Any) -> int:
    defaults = {
        "db_host": "db.example.test",
        "db_port": 5432,
        "db_name": "app",
        "db_user": "app",
        "db_password_encrypted": "example-password-1",
    }
    return insert("client_database_credentials", client_id=client_id, **defaults | columns)


def make_email(client_id: int, **columns: Any) -> int:
    defaults = {
        "email_user": "invoices@example.test",
        "email_password_encrypted": "example-app-password-2",
        "sender_whitelist": "a@example.test,b@example.test",
    }
    return insert("client_email_credentials", client_id=client_id, **defaults | columns)


def make_aws(client_id: int, **columns: Any) -> int:
    defaults = {
        "access_key_id": "EXAMPLE-KEY-ID",
        "secret_access_key": "example-secret-key-3",
        "region": "eu-west-1",
    }
    return insert("client_aws_credentials", client_id=client_id, **defaults | columns)


def make_full_client(slug: str, **columns: Any) -> int:
    """A client with one login of each kind."""
    pk = make_client(slug, **columns)
    make_database(pk)
    make_email(pk)
    make_aws(pk)
    return pk
