"""Finds the rows of the role that a rotation changes, and what else logs in as that role. Writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credentials.models import DatabaseCredential
from credentials.pointers import POINTER
from migration import rotation_sentences
from migration.core.keys import make_fingerprint
from migration.core.snapshots import read_client_with_rows
from migration.operations.login_tests.database import DatabaseLogin
from migration.operations.pending_secrets import is_same_role, make_passwordless_login, read_logins
from migration.operations.rotation_ends import RotationRefusedError
from migration.pushes.models import KnownValue
from nova_credentials.credential_types import CredentialType
from nova_credentials.shown_names import escape_name

if TYPE_CHECKING:
    from credentials.models import Client
    from nova_credentials.document import Document

MOST_NAMED = 5  # of the others that have the same login
MOST_CHARACTERS = 100  # of a host's name


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


def require_own_role(client: Client, document: Document, login: DatabaseLogin) -> None:
    """Raise `RotationRefusedError` where another login is, or may be, of the same role and would be locked out.

    Those of the client itself at the same server get the new password too. Under another name of a host (a pooler, a
    replica, an alias) a role can't be told from its namesake elsewhere: the same user with the same password counts.
    """
    if slugs := tuple(_list_other_clients(client, login)[:MOST_NAMED]):
        raise RotationRefusedError(rotation_sentences.ROTATION_LOGIN_SHARED(slugs=slugs))
    own = [*read_logins(document), *map(make_login, list_rows(client))]
    alike = {
        f"{escape_name(each.host[:MOST_CHARACTERS])}:{each.port}"
        for each in own
        if (each.user, each.password) == (login.user, login.password)
        and not is_same_role(each, login)
    }
    if alike:
        raise RotationRefusedError(
            rotation_sentences.ROTATION_LOGIN_ELSEWHERE(hosts=tuple(sorted(alike))[:MOST_NAMED])
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
