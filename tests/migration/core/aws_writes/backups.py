"""A backup of every table, and the same database restored from it: nothing in it shows that time went back."""

from django.db import connection

from migration.core.aws_writes import write_guard
from tests.factories import all_tables

BACKUP = "old_backup"


def take_backup() -> None:
    """Copy the tables that have rows; the others come back empty."""
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {BACKUP} CASCADE; CREATE SCHEMA {BACKUP}")
        for table in all_tables():
            cursor.execute(f"SELECT EXISTS (SELECT FROM {table})")
            if cursor.fetchone() == (True,):
                cursor.execute(f"CREATE TABLE {copy_of(table)} AS TABLE {table}")


def restore_backup() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [BACKUP])
        kept = {f"{BACKUP}.{name}" for (name,) in cursor.fetchall()}
        tables = all_tables()
        statements = [f"DELETE FROM {table}" for table in tables]
        statements += [
            f"INSERT INTO {table} TABLE {copy_of(table)}"
            for table in tables
            if copy_of(table) in kept
        ]
        cursor.execute("; ".join(["SET LOCAL session_replication_role = replica", *statements]))
    write_guard().forget_state()


def drop_backup() -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP SCHEMA IF EXISTS {BACKUP} CASCADE")


def copy_of(table: str) -> str:
    return f"{BACKUP}.{table.partition('.')[2]}"
