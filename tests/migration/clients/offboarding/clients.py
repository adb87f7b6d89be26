"""Clients that leave, and what both stores and NOVA's reader say of them."""

from collections.abc import Callable
from typing import Any

import pytest

from credentials.models import Client, DatabaseCredential
from migration.clients.offboarding import OffboardingError
from migration.core import aws_store
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import make_full_client, nova_uri, update
from tests.migration.moves.clients import enter_phase

PASSWORDS = {
    "database": "example-password-1",
    "email": "example-app-password-2",
    "aws": "example/secret/access/key/that/is/no/key",
}


def make_inactive(phase: Phase, slug: str = "idom") -> int:
    """A client with three logins that was taken to the phase, and that NOVA does not read any more."""
    pk = make_full_client(slug)
    enter_phase(pk, phase)
    deactivate(pk)
    return pk


def deactivate(pk: int) -> None:
    update("clients", pk, is_active=False)


def activate(pk: int) -> None:
    update("clients", pk, is_active=True)


def ask_reader(slug: str = "idom", kind: str = "database") -> Any:
    """What a process of NOVA that has just started gets: the row, or the error."""
    reader = Reader(nova_uri(), cache_seconds=0)
    try:
        return reader.get_credential(slug, kind)
    except Exception as error:  # noqa: BLE001  # told to the test
        return error
    finally:
        reader.close()


def rows_of(pk: int) -> dict[str, str]:
    client = Client.objects.get(pk=pk)
    return {
        "database": client.databases.get().db_password,
        "email": client.emails.get().email_password,
        "aws": client.aws_logins.get().secret_access_key,
    }


def refusal_of(act: Callable[..., object], pk: int, **options: object) -> str:
    with pytest.raises(OffboardingError) as refused:
        act(client_id=pk, reason="CHG-7", **options)
    return str(refused.value)


def is_scheduled(name: str) -> bool | None:
    """Whether the secret's deletion is scheduled; None where there is no such secret."""
    try:
        return bool(aws_store.secrets_manager().describe_secret(name).deleted_at)
    except SecretsManagerError as error:
        if not error.not_found:
            raise
        return None


def write_row(pk: int, value: str) -> None:
    """As NOVA's own scripts do."""
    row = DatabaseCredential.objects.get(client_id=pk)
    update("client_database_credentials", row.pk, db_password_encrypted=value)
