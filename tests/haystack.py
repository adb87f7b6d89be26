"""Everything that was written anywhere, and the markers that are looked for in it."""

import logging
import os
import re
import traceback
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from django.db import connection
from psycopg import sql

from migration.doctor.nova import QUIET_LOG
from nova_admin.logs import JsonFormatter

# Quotes and backslashes are escaped one way or another on the way out: what is looked for survives all of them.
NEEDLE = re.compile("MARKER[-/](ONE|TWO|THREE|FOUR)")


# The most that a server can be told to log; and what `migrate` sets for the site's role.
LOUD = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "error",
    "log_error_verbosity": "verbose",
} | {name: value for name, value in QUIET_LOG.items() if "." not in name}
ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\d \S+ \S+ \[)", re.MULTILINE)


@dataclass
class Haystack:
    """Everything that was written anywhere, by where."""

    pieces: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    # How an entry of PostgreSQL's log goes on in which NOVA's own code, or what it stored, quotes a row.
    novas_words: str = ""

    def add(self, place: str, text: str) -> None:
        self.pieces[place].append(text)

    def found(self) -> list[str]:
        return sorted(place for place in self.pieces if NEEDLE.search(self.text(place)))

    def text(self, place: str) -> str:
        return "\n".join(self.pieces[place])


class TextsOfExceptions(logging.Formatter):
    """Without the lines of code between them, which hold no value and take half of the time."""

    def formatException(self, ei) -> str:  # noqa: N802 - logging's own name
        return "".join(traceback.format_exception(*ei, limit=0))


class Collector(logging.Handler):
    def __init__(self, haystack: Haystack) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(TextsOfExceptions())
        self.json, self.haystack = JsonFormatter(), haystack

    def emit(self, record: logging.LogRecord) -> None:
        self.haystack.add(f"log {record.name}", self.format(record) + repr(record.args))
        self.haystack.add(f"JSON {record.name}", self.json.format(record))


@contextmanager
def everything_logged(haystack: Haystack) -> Iterator[None]:
    """Every logger at DEBUG, whatever the settings say: what may not be logged may not even then.

    PostgreSQL logs every statement too, with what `migrate` sets for the site's role.
    """
    handler, root = Collector(haystack), logging.getLogger()
    # Templates log whole contexts, for seconds a page: at DEBUG where secrets are typed (`templates_logged`).
    names = ("", "boto3", "botocore", "urllib3", "django", "django-q")
    levels = dict.fromkeys(names, logging.DEBUG) | {"django.template": logging.INFO}
    others, root.handlers = root.handlers, [handler]  # pytest's own would write all of it once more
    try:
        with at_levels(levels), statements_logged(haystack):
            yield
    finally:
        root.handlers = others


@contextmanager
def statements_logged(haystack: Haystack) -> Iterator[None]:
    """PostgreSQL's log of every session that begins meanwhile as this connection's role, as loud as it gets.

    Not where a test is one transaction, which can't begin a session.
    """
    if connection.in_atomic_block:
        yield
        return
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        name, role = (
            connection.settings_dict["NAME"],
            connection.settings_dict["USER"] or "postgres",
        )
        where = sql.SQL("ALTER ROLE {} IN DATABASE {} ").format(*map(sql.Identifier, (role, name)))
        log = Path(server.execute("SHOW data_directory").fetchone()[0]).with_name("log")
        begin = log.stat().st_size
        for setting, value in LOUD.items():
            server.execute(where + sql.SQL("SET {} = {}").format(sql.Identifier(setting), value))
        connection.close()
        try:
            yield
        finally:
            if not connection.in_atomic_block:
                connection.close()
            server.execute(where + sql.SQL("RESET ALL"))
    with log.open("rb") as file:
        file.seek(begin)
        entries = ENTRY.split(file.read().decode(errors="replace"))
    of_this_database = [entry for entry in entries if f"] {name} " in entry[:200]]
    assert of_this_database
    if haystack.novas_words:
        of_this_database = [each for each in of_this_database if haystack.novas_words not in each]
    haystack.add("PostgreSQL's log", "".join(of_this_database))


def templates_logged():
    return at_levels({"django.template": logging.DEBUG})


@contextmanager
def at_levels(levels: dict[str, int]) -> Iterator[None]:
    before = {name: logging.getLogger(name).level for name in levels}
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
