"""Owns the answers of AWS: values, descriptions and the one error. Knows no boto3."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from nova_credentials import sentences
from nova_credentials.comparison import are_equal, is_exact_encoding_of
from nova_credentials.document import (
    MAX_BYTES,
    MAX_NAME,
    Document,
    DocumentError,
    decode_document,
)
from nova_credentials.messages import Message, MessageError


@dataclass(frozen=True)
class SecretVersion:
    """One version of a secret."""

    name: str
    arn: str
    version_id: str


@dataclass(frozen=True)
class SecretValue(SecretVersion):
    """A version with its text; None where the secret is binary."""

    text: str | None = field(repr=False)
    created_at: datetime | None = None

    def to_document(self) -> Document:
        """Decode the text; DocumentError names the secret."""
        return decode_document(self.text or "", source=self.name)

    @property
    def is_document(self) -> bool:
        """Say whether the text can be decoded."""
        try:
            self.to_document()
        except DocumentError:
            return False
        return True

    def holds_document(self, document: Document) -> bool:
        """Say whether the text is this document, however its JSON is laid out."""
        if self.holds_text_of(document):
            return True
        try:
            return are_equal(self.to_document(), document)
        except DocumentError:
            return False

    def holds_text_of(self, document: Document) -> bool:
        """Say whether the text is the very one that we would write: then it is this document, with no need to parse."""
        return self.text is not None and is_exact_encoding_of(self.text, document)


@dataclass(frozen=True)
class Replica:
    """A replica of a secret as its primary shows it. AWS's own words on a failure are left out."""

    region: str
    status: str  # InSync, InProgress or Failed
    kms_key: str = ""  # an id, an alias or an ARN

    @property
    def is_failed(self) -> bool:
        return self.status == "Failed"


@dataclass(frozen=True)
class SecretDescription:
    """A secret as DescribeSecret shows it, without its value."""

    name: str
    arn: str
    tags: dict[str, str]
    deleted_at: datetime | None
    versions: dict[str, tuple[str, ...]]
    kms_key: str = ""  # empty: the account's own key for Secrets Manager
    description: str = ""
    replicas: tuple[Replica, ...] = ()

    @property
    def has_our_tag(self) -> bool:
        """Say whether it has the tag that this app's secrets have, which IAM policies ask for. Anybody can set it."""
        return self.tags.get("ManagedBy") == "nova-admin"


class ErrorClass(StrEnum):
    """The part that has to change before a try succeeds; UNAVAILABLE means: try the same again."""

    DATA = "data"
    PERMISSION = "permission"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    CONFLICT = "conflict"
    SCHEMA = "schema"  # NOVA's tables are not as this release knows them


# Our own code: no code of AWS's says for certain that a deletion is scheduled, only DescribeSecret's DeletedDate does.
SCHEDULED_FOR_DELETION = "ScheduledForDeletion"
# Our own code, too: AWS had the version already and moved no stage to it.
NOT_CURRENT = "NotCurrent"
# Our own code: NOVA's process was too busy to ask AWS.
PROCESS_IS_BUSY = "ProcessIsBusy"
# AWS's code where a stage is to be moved away from a version that doesn't have it.
STAGE_IS_ELSEWHERE = "InvalidParameterException"

# The first pattern that is found decides. It is searched for in AWS's code, in the name of botocore's class, or in one
# of our own codes (InvalidName, TooLarge, NotCurrent, NoAnswer, ScheduledForDeletion). KMS can throttle, so THROTTLED
# comes first. LimitExceeded is a quota that is used up, which no second try changes.
_CLASSES = {
    ErrorClass.THROTTLED: r"Throttl|TooManyRequests|RequestLimitExceeded|SlowDown",
    ErrorClass.UNAVAILABLE: r"Internal|Unavailable|Timeout|Connection|NoAnswer",
    ErrorClass.PERMISSION: r"AccessDenied|UnrecognizedClient|Expired|Signature|Token|Credential"
    r"|OptIn|NotAuthorized|SSO|MFA|Login|Profile|KMS|(En|De)cryptionFailure",
    ErrorClass.CONFLICT: r"Resource(Exists|NotFound)|InvalidRequest|Precondition|NotCurrent|ScheduledFor",
    ErrorClass.DATA: r"InvalidParameter|Validation|LimitExceeded|InvalidName|TooLarge",
}
_BY_STATUS = {
    401: ErrorClass.PERMISSION,
    403: ErrorClass.PERMISSION,
    429: ErrorClass.THROTTLED,
}
_ADVICE = {
    "data": sentences.DATA_ADVICE(),
    "permission": sentences.PERMISSION_ADVICE(),
    "throttled": sentences.THROTTLED_ADVICE(),
    "unavailable": sentences.UNAVAILABLE_ADVICE(),
    "conflict": sentences.CONFLICT_ADVICE(),
    "schema": sentences.SCHEMA_ADVICE(),
    "SSLError": sentences.CERTIFICATE_ADVICE(),
    "InvalidName": sentences.NAME_ADVICE(n=MAX_NAME),
    "TooLarge": sentences.SIZE_ADVICE(n=MAX_BYTES),
    "LimitExceededException": sentences.QUOTA_ADVICE(),
    "ResourceNotFoundException": sentences.NOT_FOUND_ADVICE(),
    "ResourceExistsException": sentences.EXISTS_ADVICE(),
    "InvalidRequestException": sentences.STATE_ADVICE(),
    SCHEDULED_FOR_DELETION: sentences.SCHEDULED_ADVICE(),
    "NotCurrent": sentences.NOT_CURRENT_ADVICE(),
    PROCESS_IS_BUSY: sentences.BUSY_ADVICE(),
}


class SecretsManagerError(MessageError):
    """AWS failed or refused. Holds no value, nor AWS's own text, which can echo one."""

    def __init__(self, error_class: ErrorClass, code: str, operation: str, name: str) -> None:
        Exception.__init__(self, error_class, code, operation, name)
        self.error_class, self.code, self.operation, self.name = error_class, code, operation, name

    @classmethod
    def from_code(cls, code: str, operation: str, name: str, *, status: int = 400) -> Self:
        """Make the error of a code; the HTTP status decides where the code is not known."""
        known = (kind for kind, pattern in _CLASSES.items() if re.search(pattern, code))
        # Where an answer has no code, botocore uses the HTTP status as the code, and AWS did not write the answer.
        unwritten = code.isdigit() or status >= 500
        other = ErrorClass.UNAVAILABLE if unwritten else ErrorClass.DATA
        return cls(next(known, _BY_STATUS.get(status, other)), code, operation, name)

    def for_secret(self, name: str) -> Self:
        """Return the same error of another secret."""
        return type(self)(self.error_class, self.code, self.operation, name)

    @property
    def message(self) -> Message:
        """Say what failed, and what to look at."""
        return sentences.AWS_FAILED(
            operation=self.operation,
            name=repr(self.name),
            code=self.code,
            advice=_ADVICE.get(self.code) or _ADVICE[self.error_class],
        )

    @property
    def scheduled_for_deletion(self) -> bool:
        """Say whether `SecretsManager.detect_deletions` found the secret scheduled; its class is CONFLICT."""
        return self.code == SCHEDULED_FOR_DELETION

    @property
    def is_gone(self) -> bool:
        """Say whether no reader can have the secret: there is none, or AWS refuses it, as its deletion is scheduled."""
        return self.not_found or self.code in (SCHEDULED_FOR_DELETION, "InvalidRequestException")

    @property
    def not_found(self) -> bool:
        """Say whether there is no such secret; its class is CONFLICT, and no second try helps."""
        return self.code == "ResourceNotFoundException"


# Name -> its value, or the error with which AWS refused it, for each name that was asked for.
Answers = dict[str, SecretValue | SecretsManagerError]
