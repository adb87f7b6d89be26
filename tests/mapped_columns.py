"""Columns that NOVA added, one of each use, which hold markers in every row: for the tests of what escapes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from django.db import connection
from django.urls import reverse

TABLES = ("clients", "client_database_credentials")
USES = {"token": "secret", "note": "plain", "rest": "ignore"}
COMMANDS = (
    *(("nova_tables", "map", f"{table}.token", "secret", "--format", "json") for table in TABLES),
    *(("nova_tables", "map", f"{table}.rest", "ignore") for table in TABLES),
    (
        "nova_tables",
        "accept",
    ),
    ("nova_tables", "accept", "--format", "json"),
)


def alter_tables(action: str) -> Iterator[str]:
    """The statements that do the same with each of the columns."""
    changes = ", ".join(action.format(name) for name in USES)
    return (f"ALTER TABLE public.{table} {changes}" for table in TABLES)


ADD = (*alter_tables("ADD {0} text DEFAULT 'MARKER-FOUR of {0}'"),)
DROP = (*alter_tables("DROP {0}"),)


@contextmanager
def added() -> Iterator[None]:
    """Adds the columns, and takes them away again."""
    with connection.cursor() as cursor:
        cursor.execute("; ".join(ADD))
        try:
            yield
        finally:
            cursor.execute("; ".join(DROP))


def map_everything(command: Callable[..., None], page: Callable[..., str]) -> None:
    """Maps them by the command and by the page, one of them three times."""
    for arguments in COMMANDS:
        command(*arguments)
    for url, data in list_posts():
        assert "is mapped" in page(url, data)


def list_posts() -> Iterator[tuple[str, dict[str, str]]]:
    """What the page sends for a column that is mapped, and mapped otherwise, and back."""
    url = reverse("admin:credentials_columnmapping_map")
    for table in TABLES:
        seen = ""
        for use in ("plain", "secret", "plain"):
            yield url, {"column": f"public.{table}.note", "use": use, "seen": seen}
            seen = use
