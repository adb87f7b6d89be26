"""Connects to a client's own database, by whichever driver NOVA uses. Knows no phase and no cache.

No error raised here holds a password: the driver's own error is left behind, as it can hold the whole connection.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from nova_credentials.aws.answers import SecretsManagerError
from nova_credentials.credential_types import CredentialType, DatabaseCredentials
from nova_credentials.shown_names import escape_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import psycopg
    from psycopg.rows import TupleRow
    from psycopg2.extensions import connection as psycopg2_connection

    from nova_credentials.reader.routing import Reader

    DriverConnection: TypeAlias = psycopg.Connection[TupleRow] | psycopg2_connection
    Connect: TypeAlias = Callable[..., object]

logger = logging.getLogger(__name__)

LOGIN_SECONDS = 10
# libpq counts whole seconds, so it may give up almost a second earlier.
TIMED_OUT_AFTER_SECONDS = LOGIN_SECONDS - 1
PROBE_SECONDS = 2
DRIVERS = ("psycopg2", "psycopg")
NO_DETAILS = "the connection to its database failed"


def read_driver(environment: Mapping[str, str]) -> str:
    """Return the driver that NOVA_CONNECTION_DRIVER names, or "" where it is unset; RuntimeError if it isn't known."""
    name = environment.get("NOVA_CONNECTION_DRIVER", "").strip()
    if name not in ("", *DRIVERS):
        raise RuntimeError(f"NOVA_CONNECTION_DRIVER must be one of {', '.join(DRIVERS)}.")
    return name


def choose_connect(environment: Mapping[str, str]) -> Connect:
    """Return the `connect` of the driver that the environment names; unset: psycopg2 where it is installed."""
    return _import_connect(read_driver(environment))


def _import_connect(driver: str) -> Connect:
    if driver not in ("", *DRIVERS):
        raise ValueError(f"connect must be a function or one of {', '.join(DRIVERS)}.")
    if driver != "psycopg":
        try:
            import psycopg2
        except ModuleNotFoundError:
            if driver:
                raise RuntimeError(
                    "psycopg2 is not installed: pip install 'nova-credentials[psycopg2]'."
                ) from None
        else:
            return psycopg2.connect
    import psycopg

    return psycopg.connect


def connect_to_database(
    reader: Reader,
    slug: str,
    label: str | None = None,
    *,
    refresh: bool = False,
    connect: Connect | str | None = None,
) -> object:
    """Connect to the client's database; `connect` is a driver's name, or is called as `psycopg.connect` would be.

    Where the login fails, but not for lack of a server, the credentials are read anew, and those of a rotation that is
    under way. Raises the driver's error.
    """
    if connect is None:
        connect = choose_connect(os.environ)
    elif isinstance(connect, str):
        connect = _import_connect(connect)
    outcome: object = None
    for login in _choose_logins(reader, slug, label, refresh=refresh):
        outcome = _log_in(login, connect)
        if not isinstance(outcome, _LoginFailure) or outcome.has_no_server:
            break
    if isinstance(outcome, _LoginFailure):
        raise outcome.error_class(f"Client '{slug}': {outcome.text}")
    return outcome


def _choose_logins(
    reader: Reader, slug: str, label: str | None, *, refresh: bool
) -> Iterator[DatabaseCredentials]:
    """Yield the login, the same read anew, that of a rotation under way, and the first read once more; each once.

    A login that was refused although it was just read is one that a rotation replaces: it has put the new one into
    AWS beforehand (`pending`), and where that is gone already, the rotation is over and the current one is new.
    """
    wanted = CredentialType.DATABASE
    tried = [reader.get_credential(slug, wanted, label, refresh=refresh)]
    yield tried[0]
    unreadable: tuple[type[Exception], ...] = (SecretsManagerError, *_driver_errors())
    try:
        # One that was read past the cache is read once more: a rotation may have ended meanwhile.
        for is_pending in (False, True, False):
            if is_pending:
                login = _take_password(tried[-1], reader.list_awspending_credentials(slug, wanted))
            else:
                login = reader.get_credential(slug, wanted, label, refresh=True)
            if login is not None and login not in tried:
                tried.append(login)
                yield login
    except unreadable as error:
        # The caller gets the error of the login, which came first.
        told = "%s can't be read anew after a failed login: %s"
        logger.warning(told, escape_name(slug), type(error).__name__)


def _take_password(
    login: DatabaseCredentials, pending: Sequence[DatabaseCredentials]
) -> DatabaseCredentials | None:
    """Return the login with its role's pending password; None where none is for the same server and user.

    The labels don't count: somebody may have changed them since.
    """

    def find_role(each: DatabaseCredentials) -> tuple[str, int, str]:
        return (each.db_host or "").lower(), each.db_port, each.db_user

    same = (each for each in pending if find_role(each) == find_role(login))
    found = next(same, None)
    return replace(login, db_password=found.db_password) if found else None


@dataclass(frozen=True)
class _LoginFailure:
    error_class: type[Exception]
    text: str
    has_no_server: bool


def _log_in(login: DatabaseCredentials, connect: Connect) -> object:
    """Return a connection or a _LoginFailure."""
    began = time.monotonic()
    try:
        return connect(
            host=login.db_host,
            port=login.db_port,
            dbname=login.db_name,
            user=login.db_user,
            password=login.db_password,
            connect_timeout=LOGIN_SECONDS,
        )
    except _driver_errors() as error:
        error_class, text = type(error), str(error)
    except UnicodeDecodeError:  # psycopg2's, of a server's message that is not in UTF-8
        error_class, text = _driver_errors()[-1], NO_DETAILS
    if login.db_password and login.db_password in text:
        text = NO_DETAILS
    timed_out = time.monotonic() - began >= TIMED_OUT_AFTER_SECONDS
    return _LoginFailure(error_class, text, timed_out or not _is_server_there(login))


def _driver_errors() -> tuple[type[Exception], ...]:
    """Return the classes of the drivers' errors; the last one is of the driver that is preferred."""
    import psycopg

    psycopg2 = sys.modules.get("psycopg2")
    return (
        (psycopg.OperationalError, psycopg.Error)
        if psycopg2 is None
        else (
            psycopg.Error,
            psycopg2.Error,
            psycopg2.OperationalError,
        )
    )


def _is_server_there(login: DatabaseCredentials) -> bool:
    """Say whether anybody accepts connections there. Without a login, and so without the words of an error.

    libpq tells a refused connection from a refused password in its text only. A host that has no address or no route
    may be an outdated one, so that counts as there.
    """
    import socket  # 3 ms, for a login that failed

    try:
        if login.db_host.startswith("/"):
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(PROBE_SECONDS)
                probe.connect(f"{login.db_host}/.s.PGSQL.{login.db_port}")
        elif login.db_host:
            socket.create_connection((login.db_host, login.db_port), PROBE_SECONDS).close()
    except (ConnectionRefusedError, FileNotFoundError, TimeoutError):
        return False
    except (OSError, ValueError, OverflowError):  # UnicodeError is a ValueError
        pass
    return True
