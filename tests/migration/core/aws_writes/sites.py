"""A site on a database of its own, run by its commands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg

from tests.checkout import manage

ADD_CLIENT = """
WITH made AS (INSERT INTO public.clients (name, slug) VALUES ('X', %s) RETURNING id)
INSERT INTO public.client_database_credentials (client_id, db_host, db_name, db_user, db_password_encrypted)
SELECT id, 'db.example.test', 'app', 'app', 'example-password-1' FROM made RETURNING client_id
"""
WRITE = (
    "UPDATE public.client_database_credentials SET db_password_encrypted = %s WHERE client_id = %s"
)


@dataclass
class Site:
    """The site on one database, by its commands."""

    uri: str
    aws: Any

    def manage(self, *arguments: str, **environment: str):
        settings = {
            "DATABASE_URL": self.uri,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": self.aws.endpoint,
        }
        done = manage(*arguments, **settings | environment)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            cursor = connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def add_client(self, slug: str) -> int:
        return self.ask(ADD_CLIENT, slug)[0][0]

    def migrate_first(self) -> None:
        """Run the first `migrate`, at which the database notes what it is."""
        done = self.manage("migrate", "--no-color")
        noted = "This database is the one that writes to AWS:" in done.stdout
        assert (done.returncode, noted) == (0, True), done.stdout[-500:] + done.stderr

    def migrate_all(self):
        return self.manage("migrate_clients", "--all", "--inline")

    def push_pending(self, **environment: str):
        return self.manage("push_pending", "--inline", **environment)
