"""Owns the types of credential that a client can have. Knows neither document nor table."""

from enum import StrEnum


class CredentialType(StrEnum):
    """One type of credential; its value is the key of the primary one in a client's document."""

    DATABASE = "database"
    EMAIL = "email"
    AWS = "aws"

    @property
    def plural(self) -> str:
        """The name for several credentials of this type."""
        return {
            CredentialType.DATABASE: "databases",
            CredentialType.EMAIL: "emails",
            CredentialType.AWS: "aws",
        }[self]

    @property
    def others(self) -> str:
        """The document's key for the credentials of this type that aren't primary."""
        return f"other_{self.plural}"
