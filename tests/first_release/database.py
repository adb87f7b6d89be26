"""A database with the first release's dump in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from nova_admin.database.schema import CARRIED_OVER
from tests.checkout import manage
from tests.first_release.load import SECRET_KEY

if TYPE_CHECKING:
    import subprocess

NOVA_TABLES = [
    "client_database_credentials",
    "client_database_schemas",
    "client_email_credentials",
    "clients",
]
OLD_FUNCTION = "public.nova_admin_count_write()"
TABLES_OF = """
SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind = 'r' ORDER BY 1
"""


class First:
    """The database with the dump in it, and the site's role."""

    def __init__(self, uri: str, site: str) -> None:
        self.uri, self.site = uri, site
        self.aws = ""

    def ask(self, query: Any, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.uri) as connection:
            return connection.execute(query, values or None).fetchall()

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.uri, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def manage(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        uri = make_conninfo(self.uri, user=self.site)
        return manage(*arguments, DATABASE_URL=uri, SECRET_KEY=SECRET_KEY, **environment)

    def migrate(self) -> subprocess.CompletedProcess[str]:
        return self.manage("migrate", "--no-color")

    def tables(self, schema: str) -> list[str]:
        return [name for (name,) in self.ask(TABLES_OF, schema)]

    def rows(self, schema: str) -> dict[str, list[dict[str, Any]]]:
        """Every table's rows, each by its columns."""
        found = {}
        for table in self.tables(schema):
            query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t").format(sql.Identifier(schema, table))
            found[table] = [row for (row,) in self.ask(query)]
        return found

    def own(self) -> None:
        """The site's role made the first release's tables, as where nothing changed since; NOVA's belong to another."""
        self.run(
            *(f"ALTER TABLE public.{table} OWNER TO {self.site}" for table in CARRIED_OVER),
            f"ALTER FUNCTION {OLD_FUNCTION} OWNER TO {self.site}",
        )


def answer(first: First, *arguments: str) -> Any:
    """What this release's command answers, as JSON, with the AWS that the fixture `carried` filled."""
    done = first.manage(*arguments, "--format", "json", AWS_ENDPOINT_URL_SECRETS_MANAGER=first.aws)
    assert "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)
