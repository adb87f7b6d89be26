"""Owns the types of credential and their rows, which name their keys in a client's document. Knows no table."""

from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import TypeAlias, TypedDict


class CredentialType(StrEnum):
    """One type of credential; its value is the key of the primary one in a client's document."""

    DATABASE = "database"
    EMAIL = "email"
    AWS = "aws"

    @property
    def plural(self) -> str:
        """Return the name for several credentials of this type."""
        return {
            CredentialType.DATABASE: "databases",
            CredentialType.EMAIL: "emails",
            CredentialType.AWS: "aws",
        }[self]

    @property
    def others_key(self) -> str:
        """Return the document's key for the credentials of this type that aren't primary."""
        return f"other_{self.plural}"


@dataclass(frozen=True)
class DatabaseCredentials:
    """One database login, with the attributes of NOVA's reader; each names its key in the document."""

    client_id: int
    client_slug: str
    db_host: str = field(metadata={"key": "host"})
    db_port: int = field(metadata={"key": "port"})
    db_name: str = field(metadata={"key": "name"})
    db_user: str = field(metadata={"key": "user"})
    db_password: str = field(repr=False, metadata={"key": "password"})
    label: str | None = field(metadata={"key": "label"})
    is_primary: bool | None = field(metadata={"key": "is_primary"})


@dataclass(frozen=True)
class EmailCredentials:
    """One mailbox, with the attributes of NOVA's reader; each names its key in the document."""

    client_id: int
    client_slug: str
    email_provider: str | None = field(metadata={"key": "provider"})
    imap_host: str | None = field(metadata={"key": "imap_host"})
    imap_port: int | None = field(metadata={"key": "imap_port"})
    smtp_host: str | None = field(metadata={"key": "smtp_host"})
    smtp_port: int | None = field(metadata={"key": "smtp_port"})
    email_user: str = field(metadata={"key": "user"})
    email_password: str = field(repr=False, metadata={"key": "app_password"})
    sender_whitelist: str | None = field(metadata={"key": "sender_whitelist"})
    label: str | None = field(metadata={"key": "label"})
    is_primary: bool | None = field(metadata={"key": "is_primary"})


@dataclass(frozen=True)
class AwsCredentials:
    """One AWS access key of a client; each attribute names its key in the document."""

    client_id: int
    client_slug: str
    access_key_id: str = field(metadata={"key": "access_key_id"})
    secret_access_key: str = field(repr=False, metadata={"key": "secret_access_key"})
    region: str | None = field(metadata={"key": "region"})
    label: str | None = field(metadata={"key": "label"})
    is_primary: bool | None = field(metadata={"key": "is_primary"})


class AllCredentials(TypedDict):
    """The primary credentials of one client, of the two types that NOVA's own helper returns."""

    database: DatabaseCredentials
    email: EmailCredentials


class PrimaryDatabaseAndEmail(TypedDict):
    """A client's primary database and mail login, each None where the client has none."""

    database: DatabaseCredentials | None
    email: EmailCredentials | None


CredentialRow: TypeAlias = DatabaseCredentials | EmailCredentials | AwsCredentials

ROW_CLASSES: dict[CredentialType, type[CredentialRow]] = {
    CredentialType.DATABASE: DatabaseCredentials,
    CredentialType.EMAIL: EmailCredentials,
    CredentialType.AWS: AwsCredentials,
}


@dataclass(frozen=True)
class ClientCredentials:
    """All credentials of one client, each type with its primary first."""

    client_name: str | None
    databases: tuple[DatabaseCredentials, ...]
    emails: tuple[EmailCredentials, ...]
    aws: tuple[AwsCredentials, ...]

    def of_type(self, credential_type: CredentialType) -> tuple[CredentialRow, ...]:
        """Return the rows of one type."""
        rows: tuple[CredentialRow, ...] = getattr(self, credential_type.plural)
        return rows


def map_to_json_keys(row_class: type[CredentialRow]) -> dict[str, str]:
    """Return attribute -> key in the document, for each attribute that the document holds."""
    return {f.name: f.metadata["key"] for f in fields(row_class) if "key" in f.metadata}


def get_secret_value_key(credential_type: CredentialType) -> str:
    """Return the document's key for the secret value of this type: the key of the field that no repr shows."""
    (key,) = (f.metadata["key"] for f in fields(ROW_CLASSES[credential_type]) if not f.repr)
    return str(key)
