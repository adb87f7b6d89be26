"""Notes this process in NOVA's database: that it reads through the package, with which release and AWS key.

Knows no client and asks AWS nothing. The site's page *NOVA's processes* shows the notes.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus

from nova_credentials import VERSION, tables
from nova_credentials.aws.answers import SecretsManagerError
from nova_credentials.document import DocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from psycopg.rows import TupleRow

    class _SignedRequest(Protocol):
        """An HTTP request of botocore's."""

        headers: Mapping[str, str | bytes]


# psycopg's errors where PostgreSQL does not answer, or gives up in the middle.
NO_ANSWER = (psycopg.OperationalError, psycopg.InterfaceError)
NOTE_EVERY_SECONDS = 60.0
# Where a right or the table is missing.
NOTE_AGAIN_AFTER_SECONDS = 300.0

# It comes behind a COMMIT in the same message, as a transaction of its own: what goes wrong here undoes nothing.
NOTE = """
SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL lock_timeout = '50ms';
SET LOCAL statement_timeout = '100ms'; SET LOCAL synchronous_commit = off;
INSERT INTO {table} AS kept
    (key, host, process_id, version, access_key_end, aws_error, aws_error_at, last_read_at)
VALUES ({key}, {host}, {process_id}, {version}, {access_key_end}, {aws_error},
    now() - make_interval(secs => {error_age}), now())
ON CONFLICT (key) DO UPDATE
SET version = excluded.version,
    access_key_end = excluded.access_key_end,
    aws_error = excluded.aws_error,
    aws_error_at = excluded.aws_error_at,
    last_read_at = excluded.last_read_at
"""

# The id of an access key as AWS makes them, and of emulators. A secret key, if somebody swapped the two, is longer.
_ACCESS_KEY_ID = re.compile(r"Credential=([A-Za-z0-9]{4,32})/")
_UNPRINTABLE = re.compile(r"[^!-~]")

logger = logging.getLogger(__name__)

WARN_EVERY_SECONDS = 60.0

# One key a process, whatever its id and host: containers may share both.
_own_key: dict[str, UUID] = {}
os.register_at_fork(after_in_child=_own_key.clear)


@dataclass(frozen=True)
class _Failure:
    """The newest failure of AWS and its moment on the monotonic clock."""

    name: str
    at: float


class ProcessNotes:
    """What this process has to say of itself, and when it says it again; any number of threads may use it."""

    def __init__(self) -> None:
        self._due_at = -math.inf
        self._claim_lock = threading.Lock()
        self._access_key_end = ""
        self._failure: _Failure | None = None

    def remember_failure(self, error: BaseException) -> None:
        """Remember the class of an error of AWS, never its text."""
        self._failure = _Failure(name_failure(error), time.monotonic())

    def remember_access_key_end(self, request: _SignedRequest, **_: object) -> None:
        """Remember the last four characters of the access key id that signed a request. botocore calls it."""
        signature = request.headers.get("Authorization", "")
        text = signature.decode("ascii", "replace") if isinstance(signature, bytes) else signature
        found = _ACCESS_KEY_ID.search(text)
        self._access_key_end = found[1][-4:] if found else ""

    def execute_with_due_note(
        self,
        connection: psycopg.Connection[TupleRow],
        statement: sql.SQL | sql.Composed,
        *,
        in_own_transaction: bool = False,
    ) -> None:
        """Execute the statement, and if a note is due, make it in the same message.

        The statement ends a transaction, or is one of its own (`in_own_transaction`). Errors of the note aren't raised.
        """
        if not self._claim_note():
            connection.execute(statement)
            return
        before = sql.SQL("BEGIN; {}; COMMIT" if in_own_transaction else "{}").format(statement)
        try:
            connection.execute(sql.SQL("{}; {}").format(before, self._compose_note()))
        except psycopg.Error as error:
            if connection.info.transaction_status is not TransactionStatus.IDLE:
                # The statement before it failed, so the note was not reached.
                self._due_at = -math.inf
                raise
            if not isinstance(error, NO_ANSWER):
                self._due_at = time.monotonic() + NOTE_AGAIN_AFTER_SECONDS
            logger.debug("This process was not noted: %s", type(error).__name__)

    def _claim_note(self) -> bool:
        """Say whether a note is due; of several threads that ask, one makes it."""
        now = time.monotonic()
        if now < self._due_at:
            return False
        with self._claim_lock:
            if now < self._due_at:
                return False
            self._due_at = now + NOTE_EVERY_SECONDS
        return True

    def _compose_note(self) -> sql.Composed:
        failure = self._failure
        # Literals, as a message of several statements takes no parameters.
        return sql.SQL(NOTE).format(
            table=sql.SQL(tables.READER_PROCESSES),
            key=str(_own_key.setdefault("key", uuid4())),
            host=_UNPRINTABLE.sub("?", socket.gethostname())[:255],
            process_id=os.getpid(),
            version=VERSION,
            access_key_end=self._access_key_end,
            aws_error=failure.name if failure else "",
            error_age=time.monotonic() - failure.at if failure else None,
        )


class RareWarnings:
    """Logs one warning a minute of each cause, with how many there were; any number of threads may use it."""

    def __init__(self, told_by: logging.Logger) -> None:
        self._logger, self._lock = told_by, threading.Lock()
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def warn(self, cause: str, text: str, *values: object) -> None:
        """Log the warning unless one of this cause was logged within the last minute."""
        now = time.monotonic()
        with self._lock:
            number = self._untold[cause] = self._untold.get(cause, 0) + 1
            if now - self._told_at.get(cause, -math.inf) < WARN_EVERY_SECONDS:
                return
            self._told_at[cause], self._untold[cause] = now, 0
        if number > 1:
            text, values = f"{text} (%d such reads since the last warning)", (*values, number)
        self._logger.warning(text, *values)


def name_failure(error: BaseException) -> str:
    """Return the class of the failure: an ErrorClass, `late`, `no_document` or `unexpected`."""
    if isinstance(error, SecretsManagerError):
        return str(error.error_class)
    if isinstance(error, TimeoutError):
        return "late"
    return "no_document" if isinstance(error, DocumentError) else "unexpected"
