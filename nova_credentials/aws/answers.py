"""Owns what AWS answers: values, descriptions and the one error. Knows no boto3."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Self

from nova_credentials.comparison import same
from nova_credentials.document import MAX_BYTES, MAX_NAME, Document, DocumentError, decode
from nova_credentials.messages import say


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

    def document(self) -> Document:
        """Decode the text; DocumentError names the secret."""
        return decode(self.text or "", source=self.name)

    @property
    def is_document(self) -> bool:
        """Whether the text can be decoded."""
        try:
            self.document()
        except DocumentError:
            return False
        return True

    def holds(self, document: Document) -> bool:
        """Whether it is this document, however its JSON is laid out."""
        return self.is_document and same(self.document(), document)


@dataclass(frozen=True)
class SecretDescription:
    """What AWS tells of a secret without its value."""

    name: str
    arn: str
    tags: dict[str, str]
    deleted_at: datetime | None
    versions: dict[str, tuple[str, ...]]

    @property
    def is_ours(self) -> bool:
        """Whether this app made or adopted it."""
        return self.tags.get("ManagedBy") == "nova-admin"


class ErrorClass(StrEnum):
    """What has to change: data, permissions, the rate, nothing (try again), the secret's state."""

    DATA = "data"
    PERMISSION = "permission"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    CONFLICT = "conflict"


# Our own code for what no code of AWS's says for certain: only DescribeSecret's DeletedDate does.
SCHEDULED_FOR_DELETION = "ScheduledForDeletion"

# The first one that is found in AWS's code, in the name of botocore's class, or in one of our own
# codes (InvalidName, TooLarge, NotCurrent, NoAnswer, ScheduledForDeletion). KMS can throttle, so THROTTLED comes first.
# LimitExceeded is a quota that is used up, which no second try changes.
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
    "data": say("AWS refuses the request as it is; correct the client's data"),
    "permission": say(
        "check this process' AWS credentials, its IAM policy and the secret's KMS key"
    ),
    "throttled": say("AWS limits the rate; try again, more slowly"),
    "unavailable": say("AWS gave no usable answer; try again"),
    "conflict": say("the secret is not in the state that this needs; look at it first"),
    "InvalidName": say(
        "a name takes ASCII letters, digits and _+=.@- up to %(n)s in all", n=MAX_NAME
    ),
    "TooLarge": say("a document takes up to %(n)s bytes of UTF-8", n=f"{MAX_BYTES:,}"),
    "LimitExceededException": say("a quota of the AWS account or of this secret is used up"),
    "ResourceNotFoundException": say("there is no such secret, or it has no value"),
    "ResourceExistsException": say("this name, or the token of this write, is taken already"),
    "InvalidRequestException": say(
        "its state forbids this; if its deletion is scheduled, restore it"
    ),
    SCHEDULED_FOR_DELETION: say("its deletion is scheduled; restore it"),
    "NotCurrent": say("AWS kept another version as the current one; look at it first"),
}


class SecretsManagerError(Exception):
    """AWS failed or refused. Holds no value, nor AWS's own text, which can echo one."""

    def __init__(self, error_class: ErrorClass, code: str, operation: str, name: str) -> None:
        super().__init__(error_class, code, operation, name)
        self.error_class, self.code, self.operation, self.name = error_class, code, operation, name

    @classmethod
    def of(cls, code: str, operation: str, name: str, *, status: int = 400) -> Self:
        """Make the error of a code; the HTTP status decides where the code is not known."""
        known = (kind for kind, pattern in _CLASSES.items() if re.search(pattern, code))
        # Where an answer has no code, botocore takes the status for one: AWS did not write it.
        unwritten = code.isdigit() or status >= 500
        other = ErrorClass.UNAVAILABLE if unwritten else ErrorClass.DATA
        return cls(next(known, _BY_STATUS.get(status, other)), code, operation, name)

    def about(self, name: str) -> Self:
        """Return the same error of another secret."""
        return type(self)(self.error_class, self.code, self.operation, name)

    def __str__(self) -> str:
        advice = _ADVICE.get(self.code) or _ADVICE[self.error_class]
        return say(
            "%(operation)s failed for secret %(name)s with %(code)s: %(advice)s.",
            operation=self.operation,
            name=repr(self.name),
            code=self.code,
            advice=advice,
        )

    @property
    def scheduled_for_deletion(self) -> bool:
        """Whether DescribeSecret said so (`SecretsManager.tell_deletions`); its class is CONFLICT."""
        return self.code == SCHEDULED_FOR_DELETION

    @property
    def not_found(self) -> bool:
        """Whether there is no such secret; its class is CONFLICT, and no second try helps."""
        return self.code == "ResourceNotFoundException"


# For each name that was asked for, its value or why there is none.
Answers = dict[str, SecretValue | SecretsManagerError]
