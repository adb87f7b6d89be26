"""The demo's small NOVA: reads every client through the package again and again, as NOVA's tasks do. Knows no Django.

Runs as `python -m nova_admin.embedded.small_nova`, in a process of its own, with the two stores of its environment.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress

import psycopg
from psycopg import Connection

from nova_credentials import reader
from nova_credentials.shown_names import escape_name

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 2.0
ACTIVE = "SELECT slug FROM public.clients WHERE is_active ORDER BY slug"
CONNECT_SECONDS = 5


def main() -> None:
    """Read the active clients until the process is ended, however many; use at most half of a processor."""
    # Each read asks the stores: a cache would make one read a half minute of them.
    os.environ["NOVA_CACHE_SECONDS"] = "0"
    while True:
        started = time.monotonic()
        with suppress(psycopg.Error), _connect() as connection:
            for slug in list_active_slugs(connection):
                read_client(slug)
        time.sleep(max(PAUSE_SECONDS, time.monotonic() - started))


def _connect() -> Connection:
    return psycopg.connect(
        os.environ["DATABASE_URL"], autocommit=True, connect_timeout=CONNECT_SECONDS
    )


def list_active_slugs(connection: Connection) -> Iterator[str]:
    """Yield the slugs of the active clients."""
    for (slug,) in connection.execute(ACTIVE).fetchall():
        yield slug


def read_client(slug: str) -> bool:
    """Read one of the client's logins through the package; False where it has none, or a store fails."""
    for read in (reader.get_database_credentials, reader.get_email_credentials):
        try:
            read(slug)
        except ValueError:  # no such login
            continue
        except Exception as error:  # noqa: BLE001  # NOVA goes on with the next task
            logger.warning("%s: %s", escape_name(slug), type(error).__name__)
            return False
        return True
    return False


if __name__ == "__main__":
    main()
