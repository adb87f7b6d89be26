"""Reads all secrets of one client as its document, and writes them: the plan's class. Knows no phase and no Django."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nova_credentials import sentences
from nova_credentials.aws.answers import ErrorClass, SecretsManagerError, SecretValue
from nova_credentials.aws.plan_errors import raise_as_boto3
from nova_credentials.aws.secrets_manager import BATCH_GET, SecretsManager
from nova_credentials.credential_types import CredentialType, get_secret_value_key
from nova_credentials.document import (
    Document,
    DocumentError,
    Layout,
    encode_document,
    join_parts,
    name_problem,
    parts_to_store,
    secret_names,
    split_document,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_secretsmanager import SecretsManagerClient

    from nova_credentials.aws.answers import Answers


@dataclass(frozen=True)
class ClientSecrets:
    """The secrets of one client as AWS holds them: part -> value."""

    values: Mapping[str, SecretValue] = field(repr=False)
    layout: Layout

    def to_document(self) -> Document:
        """Return the client's document; DocumentError names the secret that holds none."""
        parts = {part: value.to_document() for part, value in self.values.items()}
        return join_parts(parts, layout=self.layout)

    def hold_texts_of(self, document: Document) -> bool:
        """Say whether they are the very texts that we would write for this document: then `to_document` returns it."""
        parts = parts_to_store(document, layout=self.layout, keep=self.values)
        return parts.keys() == self.values.keys() and all(
            value.holds_text_of(parts[part]) for part, value in self.values.items()
        )


def legal_secret_names(slug: str, *, prefix: str, layout: Layout) -> dict[str, str]:
    """Return part -> name of its secret; raises SecretsManagerError of class DATA where AWS would refuse a name."""
    names = secret_names(slug, prefix=prefix, layout=layout)
    if name_problem(slug, prefix=prefix, layout=layout):
        raise SecretsManagerError.from_code("InvalidName", "Naming", next(iter(names.values())))
    return names


def read_client(
    sm: SecretsManager, names_by_part: Mapping[str, str], *, layout: Layout
) -> ClientSecrets:
    """Read a client's secrets, given as part -> name. Raises as join_answers does."""
    # A single secret is read by GetSecretValue, as the plan's policy doesn't allow the batch call.
    read = sm.batch_get if len(names_by_part) > 1 else sm.get_one_by_one
    answers = read(names_by_part.values())
    if any(_is_batch_denied(answer) for answer in answers.values()):
        # A process that has read one secret a client so far may have no right to the batch call.
        answers = sm.get_one_by_one(names_by_part.values())
    return join_answers(names_by_part, answers, layout=layout)


def _is_batch_denied(answer: SecretValue | SecretsManagerError) -> bool:
    return (
        isinstance(answer, SecretsManagerError)
        and answer.error_class == ErrorClass.PERMISSION
        and answer.operation == BATCH_GET
    )


def join_answers(
    names_by_part: Mapping[str, str], answers: Answers, *, layout: Layout
) -> ClientSecrets:
    """Collect what AWS answered under one client's names; a type without a credential may have no secret.

    Raises SecretsManagerError where a secret can't be read, or where none is there (`not_found`).
    """
    values: dict[str, SecretValue] = {}
    missing = []
    for part, name in names_by_part.items():
        answer = answers[name]
        if isinstance(answer, SecretValue):
            values[part] = answer
        elif answer.not_found:
            missing.append(answer)
        else:
            raise answer
    if not values:
        raise missing[0]
    return ClientSecrets(values, layout)


class ClientSecretsManager(SecretsManager):
    """Reads and writes a client's secrets by its slug: the class of the plan, with its six methods.

    What these six raise where AWS fails is a SecretsManagerError and a ClientError of botocore's (a BotoCoreError where
    AWS was not reached): `except ClientError` and `except manager.client.exceptions.ResourceExistsException` catch it.
    """

    def __init__(
        self,
        region_name: str = "us-east-1",
        *,
        prefix: str = "nova/clients",
        layout: Layout = Layout.CLIENT,
        **options: Any,
    ) -> None:
        """Accept the options of SecretsManager too."""
        super().__init__(region_name, **options)
        self.prefix, self.layout = prefix, Layout(layout)

    @property
    def client(self) -> SecretsManagerClient:
        """Return the boto3 client, under the name that the plan's code uses."""
        return self.sm

    @raise_as_boto3
    def get_client_credentials(self, client_slug: str) -> Document:
        """Return the whole document; ValueError where the client has no secret."""
        return self._read_secrets(client_slug).to_document()

    @raise_as_boto3
    def get_database_credentials(self, client_slug: str) -> Document:
        """Return the primary database login; ValueError where there is none."""
        return self._read_primary(client_slug, CredentialType.DATABASE)[2]

    @raise_as_boto3
    def get_email_credentials(self, client_slug: str) -> Document:
        """Return the primary mailbox; ValueError where there is none."""
        return self._read_primary(client_slug, CredentialType.EMAIL)[2]

    @raise_as_boto3
    def create_client_credentials(self, client_slug: str, credentials: Document) -> None:
        """Create the client's secrets; raises SecretsManagerError of class CONFLICT where one exists already."""
        names = self.secret_names(client_slug)
        parts = split_document(credentials, layout=self.layout)
        if not parts:
            raise ValueError(f"Client '{client_slug}' has no credentials to store")
        for part, document in parts.items():
            self.create_secret(names[part], encode_document(document), slug=client_slug)

    @raise_as_boto3
    def update_client_credentials(self, client_slug: str, credentials: Document) -> None:
        """Write the secrets that differ, create parts that are new, empty those without a row."""
        names, current = self.secret_names(client_slug), self._read_secrets(client_slug).values
        for part, document in split_document(credentials, layout=self.layout, keep=current).items():
            if part not in current:
                self.create_secret(names[part], encode_document(document), slug=client_slug)
            elif not current[part].holds_document(document):  # AWS keeps only about 100 versions
                self.put_value(names[part], encode_document(document))

    @raise_as_boto3
    def rotate_password(self, client_slug: str, service: str, new_password: str) -> None:
        """Replace the secret value of a primary credential; ValueError where there is none."""
        if service not in tuple(
            CredentialType
        ):  # the text doesn't repeat it: it may be the password
            raise ValueError(f"Unknown service; choose one of {', '.join(CredentialType)}")
        credential_type = CredentialType(service)
        name, document, credential = self._read_primary(client_slug, credential_type)
        credential[get_secret_value_key(credential_type)] = new_password
        self.put_value(name, encode_document(document))

    def secret_names(self, client_slug: str) -> dict[str, str]:
        """Return part -> name of its secret; raises SecretsManagerError of class DATA where AWS would refuse a name."""
        return legal_secret_names(client_slug, prefix=self.prefix, layout=self.layout)

    def _read_secrets(self, client_slug: str) -> ClientSecrets:
        try:
            return read_client(self, self.secret_names(client_slug), layout=self.layout)
        except SecretsManagerError as error:
            if not error.not_found:
                raise
        raise ValueError(f"Client '{client_slug}' not found in Secrets Manager")

    def _read_primary(
        self, client_slug: str, wanted: CredentialType
    ) -> tuple[str, Document, Document]:
        """Return the name of the secret that holds a type, its document, and the primary credential."""
        names = self.secret_names(client_slug)
        name = names.get(wanted) or names["client"]
        try:
            document = self.get_value(name).to_document()
        except SecretsManagerError as error:
            if not error.not_found:
                raise
            document = {}
        if wanted not in document:
            raise ValueError(f"Client '{client_slug}' has no {wanted} in Secrets Manager")
        if not isinstance(document[wanted], dict):
            problem = sentences.MUST_BE_OBJECT()
            raise DocumentError(
                sentences.FIELD_IS_WRONG(slug=client_slug, path=wanted, problem=problem)
            )
        return name, document, document[wanted]
