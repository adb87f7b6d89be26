"""Finds the rows of the role that a rotation changes, and what else logs in as that role. Writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from credentials.models import DatabaseCredential
from credentials.pointers import POINTER
from migration import rotation_sentences
from migration.models import KnownValue
from migration.operations.keys import make_fingerprint
from migration.operations.login_tests.database import DatabaseLogin
from migration.operations.pending_secrets import is_same_role, read_logins
from migration.operations.rotation_ends import RefusedRotationError
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from collections.abc import Iterator

    from credentials.models import Client
    from nova_credentials.document import Document

MOST_NAMED = 5  # of the others that have the same login


def list_rows_of_role(client: Client, login: DatabaseLogin) -> list[DatabaseCredential]:
    """Return the client's rows that log in as the role of this login."""
    return [row for row in list_rows(client) if is_same_role(make_login(row), login)]


def list_rows(client: Client) -> list[DatabaseCredential]:
    """Return the client's rows of database logins."""
    rows = client.credentials_by_type()[CredentialType.DATABASE]
    return [row for row in rows if isinstance(row, DatabaseCredential)]


def make_login(row: DatabaseCredential) -> DatabaseLogin:
    """Return the login that the row holds; its password may be a pointer."""
    return DatabaseLogin(row.db_host, row.db_port, row.db_name, row.db_user, row.db_password)


def require_own_role(client: Client, document: Document, login: DatabaseLogin) -> None:
    """Raise `RefusedRotationError` where another login is, or may be, of the same role and would be locked out.

    Those of the client itself at the same server get the new password too. Under another name of a host (a pooler, a
    replica, an alias) a role can't be told from its namesake elsewhere: the same user with the same password counts.
    """
    if slugs := tuple(_find_other_clients(client, login))[:MOST_NAMED]:
        raise RefusedRotationError(rotation_sentences.ROTATION_LOGIN_SHARED(slugs=slugs))
    own = [*read_logins(document), *map(make_login, list_rows(client))]
    alike = {
        f"{each.host}:{each.port}"
        for each in own
        if (each.user, each.password) == (login.user, login.password)
        and not is_same_role(each, login)
    }
    if alike:
        raise RefusedRotationError(
            rotation_sentences.ROTATION_LOGIN_ELSEWHERE(hosts=tuple(sorted(alike))[:MOST_NAMED])
        )


def _find_other_clients(client: Client, login: DatabaseLogin) -> Iterator[str]:
    """Yield the slugs of other clients that log in as the same role, or as its namesake with the same password."""
    namesakes = (
        DatabaseCredential.objects.filter(db_user=login.user)
        .exclude(client_id=client.pk)
        .order_by("client__slug")
        .values_list("client_id", "client__slug", "db_host", "db_port", "db_password")
    )
    found = list(namesakes)
    purged = {owner for owner, *_, password in found if password.startswith(POINTER)}
    digests = dict(
        KnownValue.objects.present()
        .filter(
            kind=CredentialType.DATABASE,
            digest__in=[make_fingerprint(owner, login.password).digest for owner in purged],
        )
        .values_list("client_id", "digest")
    )
    seen = set()
    for owner, slug, host, port, password in found:
        is_there = is_same_role(DatabaseLogin(host, port, "", login.user, ""), login)
        if is_there or password == login.password or owner in digests:
            if slug not in seen:
                yield slug
            seen.add(slug)
