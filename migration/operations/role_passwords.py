"""Changes a role's own password in a client's database, and proves it by a login. Knows no row and no AWS."""

from __future__ import annotations

import secrets
import string
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import psycopg
from django.db import connection as django_connection
from psycopg import sql

from migration import login_sentences, rotation_sentences
from migration.core.outgoing import Deadline, LoginFailedError, LoginOutcome
from migration.operations.login_tests.database import DatabaseLogin, open_database
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from nova_credentials.messages import Message

    Connection = psycopg.Connection[tuple[Any, ...]]
    # Opens a connection until the block ends; raises LoginFailedError.
    OpenLogin: TypeAlias = Callable[[DatabaseLogin], AbstractContextManager[Connection]]

# About 190 bits; no character that a URI, a shell or a quoting would need to escape.
PASSWORD_CHARACTERS = string.ascii_letters + string.digits
PASSWORD_LENGTH = 32
# A whole session: the login, three statements and a second login.
SESSION_SECONDS = 10.0
# Not `change_password` of libpq's: it keeps Python's lock while it waits, and makes what the server asks for, md5 too.
VERIFIER = b"scram-sha-256"
# The role may be another one than the user's, by its own setting; and nothing in the database is found by another name.
# For one transaction only: behind a pooler the session is somebody else's afterwards.
PREPARE = """
SET LOCAL ROLE NONE; SET LOCAL search_path = pg_catalog, pg_temp;
SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '5s'
"""
ROLE = """
SELECT session_user::text, pg_is_in_recovery(), to_char(rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'),
    rolvaliduntil < now() + interval '15 minutes'
FROM pg_catalog.pg_roles WHERE rolname = session_user
"""
NO_RIGHT, READ_ONLY, WRONG_PASSWORD = "42501", "25006", "28P01"


class RoleRefusedError(MessageError):
    """The server does not change this role's password; nothing was changed there."""


class ValidPasswordUnknownError(MessageError):
    """Nothing is known of the password now: the server can't be reached, or was lost in between."""


def make_password() -> str:
    """Return a new random password for the role of a client's login."""
    return "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(PASSWORD_LENGTH))


@contextmanager
def open_login(login: DatabaseLogin) -> Iterator[Connection]:
    """Open a read-only session with this login until the block ends; raises `LoginFailedError`."""
    with (
        Deadline(SESSION_SECONDS) as deadline,
        # But for the change itself: a standby refuses a transaction that may write before it says what it is.
        open_database(login, deadline=deadline) as connection,
    ):
        yield connection


def logs_in(login: DatabaseLogin, open_login: OpenLogin) -> bool:
    """Say whether the server lets this login in; raises `ValidPasswordUnknownError` where that can't be known now."""
    try:
        with open_login(login):
            return True
    except LoginFailedError as error:
        require_wrong_password(error)
        return False


def require_wrong_password(error: LoginFailedError) -> None:
    """Raise `ValidPasswordUnknownError` unless the server said that the password is wrong.

    All else (pg_hba.conf, NOLOGIN, a database that is gone, no server) says nothing of the password.
    """
    if error.code != WRONG_PASSWORD:
        raise make_unclear(error) from None


def make_unclear(error: LoginFailedError) -> ValidPasswordUnknownError:
    """Return the error that says with which outcome the login failed."""
    return ValidPasswordUnknownError(_not_logged_in(error.outcome))


def _not_logged_in(outcome: LoginOutcome) -> Message:
    return rotation_sentences.ROTATION_NOT_LOGGED_IN(outcome=login_sentences.OUTCOMES[outcome]())


def require_changeable(login: DatabaseLogin, open_login: OpenLogin) -> None:
    """Raise `RoleRefusedError` where this login can't, or may not, change the password of its own role.

    Raises `LoginFailedError` where it can't be logged in to.
    """
    own = django_connection.settings_dict
    if (login.user, login.password) == (own["USER"], own["PASSWORD"]):
        raise RoleRefusedError(rotation_sentences.ROTATION_OF_THE_SITES_ROLE(user=login.user))
    with open_login(login) as connection, _refusals(login):
        _require_ready(connection, login)


def change_password(
    login: DatabaseLogin, new: str, open_login: OpenLogin, *, before: Callable[[], object]
) -> None:
    """Give the login's role a new password and log in with it; `before` is called last before the change.

    Raises `LoginFailedError` where the login doesn't work, `RoleRefusedError` where nothing was changed, and
    `ValidPasswordUnknownError` where it isn't known what is valid.
    """
    with open_login(login) as connection, _refusals(login):
        _require_ready(connection, login)
        before()
        _set_password(connection, login.user, new)
        # Also where that is not clear: a pooler may know the former password only, and this session is still open.
        with suppress(ValidPasswordUnknownError):
            if logs_in(replace(login, password=new), open_login):
                return
        try:
            _set_password(connection, login.user, login.password)
        except psycopg.Error:
            raise ValidPasswordUnknownError(_not_logged_in(LoginOutcome.REFUSED)) from None
    raise RoleRefusedError(rotation_sentences.ROTATION_PUT_BACK())


def _require_ready(connection: Connection, login: DatabaseLogin) -> None:
    """Raise `RoleRefusedError` where the change can't be made in this session, or proves nothing."""
    connection.autocommit = True
    with connection.transaction():
        connection.execute(PREPARE)
        found = connection.execute(ROLE).fetchone()
    user, in_recovery, until, expires = found or ("", None, None, None)
    if user != login.user:
        raise RoleRefusedError(rotation_sentences.ROTATION_OTHER_USER())
    if in_recovery:
        raise RoleRefusedError(rotation_sentences.ROTATION_SERVER_IN_RECOVERY())
    if expires:
        raise RoleRefusedError(rotation_sentences.ROTATION_PASSWORD_EXPIRES(user=user, until=until))


def _set_password(connection: Connection, user: str, password: str) -> None:
    """Change the password; the server and its log get a verifier, never the password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), VERIFIER)
    connection.execute(
        sql.SQL("BEGIN READ WRITE; {} ALTER ROLE {} PASSWORD {}; COMMIT").format(
            sql.SQL(f"{PREPARE};"), sql.Identifier(user), sql.Literal(verifier.decode())
        )
    )


@contextmanager
def _refusals(login: DatabaseLogin) -> Iterator[None]:
    """Raise our own errors in place of psycopg's, whose texts are the server's."""
    try:
        yield
    except psycopg.Error as error:
        code = error.sqlstate or ""
    else:
        return
    if code == NO_RIGHT:
        raise RoleRefusedError(rotation_sentences.ROTATION_MAY_NOT_CHANGE_PASSWORD(code=code))
    if code == READ_ONLY:
        raise RoleRefusedError(rotation_sentences.ROTATION_SERVER_IN_RECOVERY())
    if code and not code.startswith(("08", "57")):
        raise RoleRefusedError(rotation_sentences.ROTATION_PASSWORD_NOT_CHANGED(code=code))
    raise ValidPasswordUnknownError(_not_logged_in(LoginOutcome.UNREACHABLE))
