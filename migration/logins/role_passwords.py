"""Changes the own password of a database's role and proves it by a login; tells which logins of a client use the role.

A password travels to the server as a verifier; no error that leaves this module holds the server's text.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from typing import TypeAlias

import psycopg
from django.db import connection as django_connection
from psycopg import sql

from credentials.models import Client, Credential, DatabaseCredential
from credentials.values import POINTER
from migration.core.keys import make_fingerprint
from migration.core.outgoing import Deadline, LoginFailedError, LoginOutcome
from migration.core.sentences import LOGIN_OUTCOMES
from migration.core.snapshots import read_client_with_rows
from migration.logins.attempts import DatabaseConnection, DatabaseLogin, open_database
from migration.logins.pending import (
    is_same_role,
    make_passwordless_login,
    read_logins,
)
from migration.pushes.models import KnownValue
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.shown_names import escape_name

OpenLogin: TypeAlias = Callable[[DatabaseLogin], AbstractContextManager[DatabaseConnection]]
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
SELECT session_user::text, pg_is_in_recovery(), to_char(rolvaliduntil AT TIME ZONE 'UTC', 'FMDD Mon YYYY, HH24:MI'),
    rolvaliduntil < now() + interval '15 minutes'
FROM pg_catalog.pg_roles WHERE rolname = session_user
"""
NO_RIGHT, READ_ONLY, WRONG_PASSWORD = "42501", "25006", "28P01"


class RotationRefusedError(MessageError):
    """The rotation can't be made; nothing is changed, or everything put back."""


class RoleRefusedError(MessageError):
    """The server does not change this role's password; nothing was changed there."""


class ValidPasswordUnknownError(MessageError):
    """Nothing is known of the password now: the server can't be reached, or was lost in between."""


def make_password() -> str:
    """Return a new random password for the role of a client's login."""
    return "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(PASSWORD_LENGTH))


@contextmanager
def open_login(login: DatabaseLogin) -> Iterator[DatabaseConnection]:
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


ROTATION_NOT_LOGGED_IN = Sentence(
    "rotation_not_logged_in",
    "The server could not be logged in to: %(outcome)s. Test the login, then try again.",
)


def _not_logged_in(outcome: LoginOutcome) -> Message:
    return ROTATION_NOT_LOGGED_IN(outcome=LOGIN_OUTCOMES[outcome]())


ROTATION_OF_THE_SITES_ROLE = Sentence(
    "rotation_of_the_sites_role",
    "This site logs in as %(user)s with the same password: a new one would lock it out."
    " Give the client a user of its own first.",
)


def require_changeable(login: DatabaseLogin, open_login: OpenLogin) -> None:
    """Raise `RoleRefusedError` where this login can't, or may not, change the password of its own role.

    Raises `LoginFailedError` where it can't be logged in to.
    """
    own = django_connection.settings_dict
    if (login.user, login.password) == (own["USER"], own["PASSWORD"]):
        raise RoleRefusedError(ROTATION_OF_THE_SITES_ROLE(user=login.user))
    with open_login(login) as connection, _refusals(login):
        _require_ready(connection, login)


ROTATION_PUT_BACK = Sentence(
    "rotation_put_back",
    "The new password did not log in, so the former one was put back. Nothing else was changed.",
)


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
    raise RoleRefusedError(ROTATION_PUT_BACK())


ROTATION_PASSWORD_EXPIRES = Sentence(
    "rotation_password_expires",
    "The password is valid until %(until)s (UTC) only, whatever it is:"
    " have somebody set VALID UNTIL of %(user)s first.",
)
ROTATION_OTHER_USER = Sentence(
    "rotation_other_user",
    "The server knows this login under another user, as a pooler may have it: its password can't be changed here.",
)
ROTATION_SERVER_IN_RECOVERY = Sentence(
    "rotation_server_in_recovery",
    "This server is a replica, which takes no changes: the login has to lead to the primary server.",
)


def _require_ready(connection: DatabaseConnection, login: DatabaseLogin) -> None:
    """Raise `RoleRefusedError` where the change can't be made in this session, or proves nothing."""
    connection.autocommit = True
    with connection.transaction():
        connection.execute(PREPARE)
        found = connection.execute(ROLE).fetchone()
    user, in_recovery, until, expires = found or ("", None, None, None)
    if user != login.user:
        raise RoleRefusedError(ROTATION_OTHER_USER())
    if in_recovery:
        raise RoleRefusedError(ROTATION_SERVER_IN_RECOVERY())
    if expires:
        raise RoleRefusedError(ROTATION_PASSWORD_EXPIRES(user=user, until=until))


def _set_password(connection: DatabaseConnection, user: str, password: str) -> None:
    """Change the password; the server and its log get a verifier, never the password."""
    verifier = connection.pgconn.encrypt_password(password.encode(), user.encode(), VERIFIER)
    connection.execute(
        sql.SQL("BEGIN READ WRITE; {} ALTER ROLE {} PASSWORD {}; COMMIT").format(
            sql.SQL(f"{PREPARE};"), sql.Identifier(user), sql.Literal(verifier.decode())
        )
    )


ROTATION_MAY_NOT_CHANGE_PASSWORD = Sentence(
    "rotation_may_not_change_password",
    "The server does not let this user change its own password (SQLSTATE %(code)s). Nothing was changed:"
    " ask its administrator.",
)
ROTATION_PASSWORD_NOT_CHANGED = Sentence(
    "rotation_password_not_changed",
    "The server refused to change the password (SQLSTATE %(code)s). Nothing was changed.",
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
        raise RoleRefusedError(ROTATION_MAY_NOT_CHANGE_PASSWORD(code=code))
    if code == READ_ONLY:
        raise RoleRefusedError(ROTATION_SERVER_IN_RECOVERY())
    if code and not code.startswith(("08", "57")):
        raise RoleRefusedError(ROTATION_PASSWORD_NOT_CHANGED(code=code))
    raise ValidPasswordUnknownError(_not_logged_in(LoginOutcome.UNREACHABLE))


# The rows of a role, and what else logs in as it. Reads only.

MOST_NAMED = 5  # of the others that have the same login
MOST_CHARACTERS = 100  # of a host's name


def find_row(
    client: Client, credential_type: CredentialType, label: str | None
) -> Credential | None:
    """Return the client's primary row of the type, or the first of the label, as NOVA's reader picks it."""
    rows = client.credentials_by_type()[credential_type]
    ordered = sorted(rows, key=lambda row: row.is_primary is not True)
    for row in ordered:
        if row.is_primary if label is None else row.label == label:
            return row
    return None


ROTATION_NO_SUCH_LOGIN = Sentence(
    "rotation_no_such_login", "%(slug)s has no %(kind)s login %(which)s."
)
ROTATION_PRIMARY_LOGIN = Sentence("rotation_primary_login", "that is primary")
ROTATION_LOGIN_LABELLED = Sentence("rotation_login_labelled", "with the label %(label)s")


def describe_missing_login(
    slug: str, credential_type: CredentialType, label: str | None
) -> Message:
    """Say that the client has no such login."""
    which = ROTATION_PRIMARY_LOGIN()
    if label is not None:
        which = ROTATION_LOGIN_LABELLED(label=label)
    return ROTATION_NO_SUCH_LOGIN(slug=slug, kind=credential_type.value, which=which)


def list_rows_of_role(client: Client, login: DatabaseLogin) -> list[DatabaseCredential]:
    """Return the client's rows that log in as the role of this login."""
    return [row for row in list_rows(client) if is_same_role(make_login(row), login)]


def read_row_passwords(client_id: int) -> dict[int, str]:
    """Return what NOVA's rows hold as the password of each database login, by row."""
    return {row.pk: row.db_password for row in list_rows(read_client_with_rows(client_id))}


def list_rows(client: Client) -> list[DatabaseCredential]:
    """Return the client's rows of database logins."""
    rows = client.credentials_by_type()[CredentialType.DATABASE]
    return [row for row in rows if isinstance(row, DatabaseCredential)]


def make_login(row: DatabaseCredential) -> DatabaseLogin:
    """Return the login that the row holds, where NOVA lets columns be NULL, too; its password may be a pointer."""
    return DatabaseLogin(
        row.db_host or "",
        row.db_port or 0,
        row.db_name or "",
        row.db_user or "",
        row.db_password or "",
    )


ROTATION_LOGIN_SHARED = Sentence(
    "rotation_login_shared",
    "The same user at the same server is also the login of %(slugs)s: the new password would lock them out."
    " Give each client a user of its own first.",
    glue=", ",
)
ROTATION_LOGIN_ELSEWHERE = Sentence(
    "rotation_login_elsewhere",
    "The client has another login with the same user and password at %(hosts)s. If that is the same server under"
    " another name, it would be locked out: give both the same host, or each a password of its own.",
    glue=", ",
)


def require_own_role(client: Client, document: Document, login: DatabaseLogin) -> None:
    """Raise `RotationRefusedError` where another login is, or may be, of the same role and would be locked out.

    Those of the client itself at the same server get the new password too. Under another name of a host (a pooler, a
    replica, an alias) a role can't be told from its namesake elsewhere: the same user with the same password counts.
    """
    if slugs := tuple(_list_other_clients(client, login)[:MOST_NAMED]):
        raise RotationRefusedError(ROTATION_LOGIN_SHARED(slugs=slugs))
    own = [*read_logins(document), *map(make_login, list_rows(client))]
    alike = {
        f"{escape_name(each.host[:MOST_CHARACTERS])}:{each.port}"
        for each in own
        if (each.user, each.password) == (login.user, login.password)
        and not is_same_role(each, login)
    }
    if alike:
        raise RotationRefusedError(
            ROTATION_LOGIN_ELSEWHERE(hosts=tuple(sorted(alike))[:MOST_NAMED])
        )


def _list_other_clients(client: Client, login: DatabaseLogin) -> list[str]:
    """Return the slugs of other clients that log in as the same role, or as its namesake with the same password."""
    namesakes = (
        DatabaseCredential.objects.filter(db_user=login.user)
        .exclude(client_id=client.pk)
        .order_by("client__slug")
        .values_list("client_id", "client__slug", "db_host", "db_port", "db_password")
    )
    found = [
        (owner, slug, host or "", port, secret or "")
        for owner, slug, host, port, secret in namesakes
    ]
    purged = {owner for owner, *_, password in found if password.startswith(POINTER)}
    with_it = set(
        KnownValue.objects.current_of_present_clients()
        .filter(
            kind=CredentialType.DATABASE,
            digest__in=[make_fingerprint(owner, login.password).digest for owner in purged],
        )
        .values_list("client_id", flat=True)
    )
    sharing = (
        slug
        for owner, slug, host, port, password in found
        if is_same_role(make_passwordless_login(host, port, login.user), login)
        or password == login.password
        or owner in with_it
    )
    return list(dict.fromkeys(sharing))
