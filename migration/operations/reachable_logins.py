"""Finds the login that NOVA gets when it asks for a type and a label. Reads what was read of the client."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration import rotation_sentences

if TYPE_CHECKING:
    from credentials.models import Client, Credential
    from nova_credentials.credential_types import CredentialType
    from nova_credentials.messages import Message


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


def describe_missing_login(
    slug: str, credential_type: CredentialType, label: str | None
) -> Message:
    """Say that the client has no such login."""
    which = rotation_sentences.ROTATION_PRIMARY_LOGIN()
    if label is not None:
        which = rotation_sentences.ROTATION_LOGIN_LABELLED(label=label)
    return rotation_sentences.ROTATION_NO_SUCH_LOGIN(
        slug=slug, kind=credential_type.value, which=which
    )
