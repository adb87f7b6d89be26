"""NOVA, which reads and writes its tables all the while: a process with a connection for each kind of its work."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg

from nova_credentials.reader.from_postgres import STATE

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.connection import Connection

APPLICATION = "nova"
PAUSE_SECONDS = 0.002
OF_SLUG = "SELECT id FROM public.clients WHERE slug = %s"
READ = """
SELECT d.db_host, d.db_user, d.db_password_encrypted FROM public.client_database_credentials d
JOIN public.clients c ON c.id = d.client_id WHERE c.slug = %s AND c.is_active
"""
READ_MAIL = """
SELECT e.email_user, e.email_password_encrypted FROM public.client_email_credentials e
JOIN public.clients c ON c.id = e.client_id WHERE c.slug = %s AND e.is_primary
"""
WRITE = (
    "UPDATE public.client_database_credentials SET db_password_encrypted = %s WHERE client_id = %s"
)
WRITE_MAIL = (
    "UPDATE public.client_email_credentials SET email_password_encrypted = %s WHERE client_id = %s"
)
RENAME = "UPDATE public.clients SET description = %s WHERE id = %s"
ADD = "INSERT INTO public.clients (name, slug) VALUES (%s, %s) RETURNING id"
ADD_LOGIN = """
INSERT INTO public.client_database_credentials (client_id, db_host, db_name, db_user, db_password_encrypted)
VALUES (%s, 'db.example.test', 'app', 'app', 'example-password-1')
"""
COUNT = """
INSERT INTO nova_admin.migration_readcount AS kept (client_id, reads, matches, mismatches, aws_failures, last_read_at)
VALUES (%s, 1, 1, 0, 0, now())
ON CONFLICT (client_id) DO UPDATE SET reads = kept.reads + 1, matches = kept.matches + 1, last_read_at = now()
"""


# What took less is not kept, and did not wait longer.
SLOW_SECONDS = 0.003


@dataclass
class Work:
    """What one connection did: its statements, the longest, those that may have waited, and its writes by client."""

    name: str
    statements: int = 0
    longest: float = 0.0
    slow: list[tuple[int, float, float]] = field(default_factory=list)  # process, beginning, end
    writes: Counter[int] = field(default_factory=Counter)
    error: str = ""


class Session:
    """A connection of NOVA's, whose statements are timed."""

    def __init__(self, uri: str, work: Work) -> None:
        self.work = work
        # As the package connects: without prepared statements.
        self.connection = psycopg.connect(
            uri, autocommit=True, application_name=APPLICATION, prepare_threshold=None
        )

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        start = time.time()
        cursor = self.connection.execute(statement, values or None)
        rows = cursor.fetchall() if cursor.description else []
        end = time.time()
        self.work.statements += 1
        self.work.longest = max(self.work.longest, end - start)
        if end - start > SLOW_SECONDS:
            self.work.slow.append((self.connection.info.backend_pid, start, end))
        return rows


def read(session: Session, slug: str, _: int) -> None:
    session.execute(READ, slug)
    session.execute(READ_MAIL, slug)


def write(session: Session, _: str, pk: int) -> None:
    session.execute(WRITE, f"example-{random.random()}", pk)
    session.work.writes[pk] += 1


def write_together(session: Session, _: str, pk: int) -> None:
    """Three tables in one transaction that stays open for some time."""
    with session.connection.transaction():
        session.execute(RENAME, "written", pk)
        session.execute(WRITE, "example-together", pk)
        time.sleep(0.01)
        session.execute(WRITE_MAIL, "example-together", pk)
    session.work.writes[pk] += 3


def add(session: Session, slug: str, _: int) -> None:
    with session.connection.transaction():
        ((pk,),) = session.execute(ADD, "Added", f"added-{slug}-{random.getrandbits(60)}")
        session.execute(ADD_LOGIN, pk)
    session.work.writes[pk] += 2


def ask_phase(session: Session, slug: str, _: int) -> None:
    """The first statement of each read by the package."""
    session.execute(STATE, slug)


def count_read(session: Session, _: str, pk: int) -> None:
    """As the package counts a read, without the limit after which it gives up."""
    session.execute(COUNT, pk)


Act: TypeAlias = "Callable[[Session, str, int], None]"
WORK: dict[str, Act] = {
    "reads": read,
    "writes": write,
    "writes together": write_together,
    "adds": add,
}
BY_PACKAGE: dict[str, Act] = {
    "phases by the package": ask_phase,
    "counts by the package": count_read,
}


def work_on(uri: str, work: Work, act: Act, slugs: list[str], over: Any) -> None:
    """Do this over and over on clients that no other connection writes, until it is over."""
    try:
        session = Session(uri, work)
        ids = {slug: session.execute(OF_SLUG, slug)[0][0] for slug in slugs}
        while not over.is_set():
            slug = random.choice(slugs)
            act(session, slug, ids[slug])
            time.sleep(PAUSE_SECONDS)
    except Exception as error:  # noqa: BLE001 (whatever ends it, the study says that it ended)
        work.error = repr(error)


def run_nova(uri: str, with_package: bool, answers: Connection, begun: Any, over: Any) -> None:
    """Be NOVA until it is over, then send what was done. The function of a process."""
    works, threads = [], []
    for number, (name, act) in enumerate((WORK | BY_PACKAGE if with_package else WORK).items()):
        slugs = [f"many-{number * 100 + each:06}" for each in range(1, 101)]
        works.append(Work(name))
        threads.append(threading.Thread(target=work_on, args=(uri, works[-1], act, slugs, over)))
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    answers.send(works)


class Nova:
    """NOVA's process."""

    def __init__(self, uri: str, *, with_package: bool) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.answers, theirs = spawn.Pipe(duplex=False)
        self.begun, self.over = spawn.Event(), spawn.Event()
        self.process = spawn.Process(
            target=run_nova, args=(uri, with_package, theirs, self.begun, self.over), daemon=True
        )
        self.process.start()
        self.begun.wait()

    def end(self) -> list[Work]:
        self.over.set()
        works: list[Work] = self.answers.recv()
        self.process.join()
        return works
