"""Reads and writes secrets by name. Owns boto3, imported when AWS is first asked; knows no client and no phase."""

from __future__ import annotations

import logging
import os
import re
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from uuid import uuid4

from nova_credentials.aws.answers import (
    NOT_CURRENT,
    SCHEDULED_FOR_DELETION,
    STAGE_IS_ELSEWHERE,
    Answers,
    ErrorClass,
    SecretDescription,
    SecretsManagerError,
    SecretValue,
    SecretVersion,
)
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.endpoint import read_endpoint, refuse_configured_endpoint
from nova_credentials.aws.pacing import register_pacer
from nova_credentials.aws.requests import make_new_secret, make_tags, parse_description
from nova_credentials.aws.session import own_botocore_session, own_session, session_lock
from nova_credentials.document import MAX_BYTES, MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from datetime import datetime

    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_secretsmanager.type_defs import (
        GetSecretValueResponseTypeDef,
        ListSecretsRequestTypeDef,
        SecretValueEntryTypeDef,
    )

    from nova_credentials.aws.pacing import Pacer

__all__ = [
    "STAGE_IS_ELSEWHERE",
    "ErrorClass",
    "SecretDescription",
    "SecretValue",
    "SecretVersion",
    "SecretsManager",
    "SecretsManagerError",
]

_P = ParamSpec("_P")
_Answer = TypeVar("_Answer", bound="Mapping[str, object]")

BATCH_GET, _BATCH_SIZE, _BATCHES_AT_ONCE = "BatchGetSecretValue", 20, 10
_NAME = re.compile(rf"[A-Za-z0-9/_+=.@-]{{1,{MAX_NAME}}}|arn:[A-Za-z0-9:/_+=.@-]{{1,2000}}")

_make_error = SecretsManagerError.from_code

# At DEBUG these two write whole requests and answers, values included.
for _logger in ("botocore.endpoint", "botocore.parsers"):
    logging.getLogger(_logger).addFilter(lambda record: record.levelno > logging.DEBUG)


class SecretsManager:
    """Calls AWS; each failure is a SecretsManagerError. Thread-safe: a process needs one. Time-outs are in seconds.

    Without an `endpoint_url` the environment decides; RuntimeError where it names one that is not for secrets.
    """

    def __init__(
        self,
        region_name: str = "us-east-1",
        *,
        endpoint_url: str | None = None,
        connect_timeout: float = 3,
        read_timeout: float = 5,
        max_attempts: int = 5,
        pool: int = 50,
        pacer: Pacer | None = None,
        caller: str = "nova-credentials",  # CloudTrail keeps it in `userAgent`
    ) -> None:
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": max_attempts},
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            max_pool_connections=pool,
            user_agent_extra=caller,
        )
        endpoint_url = endpoint_url or read_endpoint(os.environ)
        with session_lock:
            if not endpoint_url:
                refuse_configured_endpoint(own_botocore_session(os.getpid()))
            self.sm: SecretsManagerClient = own_session(os.getpid()).client(
                "secretsmanager", region_name=region_name, endpoint_url=endpoint_url, config=config
            )
        if pacer:
            register_pacer(self.sm, pacer)

    def find_access_key_hint(self) -> str:
        """Return the last four characters of the access key id that this process uses, or nothing."""
        from botocore.exceptions import BotoCoreError

        try:
            with session_lock:
                credentials = own_session(os.getpid()).get_credentials()
            return (
                (credentials.get_frozen_credentials().access_key or "")[-4:] if credentials else ""
            )
        except BotoCoreError:  # a role or profile that gives none at present
            return ""

    def get_value(self, name: str) -> SecretValue:
        """Read the current version."""
        return _parse_value(_call_aws(name, self.sm.get_secret_value, SecretId=name))

    def get_stage(self, name: str, stage: str) -> SecretValue | None:
        """Read the version that has this stage; None where there is none, or no such secret."""
        return self._get_version(name, VersionStage=stage)

    def get_version(self, name: str, version_id: str) -> SecretValue | None:
        """Read the version of this id, whatever its stages; None where there is none, or no such secret."""
        return self._get_version(name, VersionId=version_id)

    def _get_version(self, name: str, **which: str) -> SecretValue | None:
        try:
            answer = _call_aws(name, self.sm.get_secret_value, SecretId=name, **which)
        except SecretsManagerError as error:
            if error.not_found:
                return None
            raise
        return _parse_value(answer)

    def get_one_by_one(self, names: Iterable[str]) -> Answers:
        """Read one by one; return for every name its value or its error."""
        answers: Answers = {}
        for name in names:
            try:
                answers[name] = self.get_value(name)
            except SecretsManagerError as error:
                answers[name] = error
        return answers

    def batch_get(self, names: Iterable[str]) -> Answers:
        """Read many, 20 a call; return for every name its value or its error."""
        asked = list(dict.fromkeys(names))
        invalid = _make_error("InvalidName", BATCH_GET, "")
        answers: Answers = {name: invalid.for_secret(name) for name in asked}
        legal = [name for name in asked if _NAME.fullmatch(name)]
        calls = [legal[start : start + _BATCH_SIZE] for start in range(0, len(legal), _BATCH_SIZE)]
        # The calls of a round run at once. If AWS is down, all of them time out, and no other round begins.
        for start in range(0, len(calls), _BATCHES_AT_ONCE):
            batches = self._get_batches(calls[start : start + _BATCHES_AT_ONCE])
            for batch in batches:
                answers |= batch
            down = next(iter(batches[-1].values()))
            if isinstance(down, SecretsManagerError) and down.error_class == ErrorClass.UNAVAILABLE:
                rest = [name for call in calls[start + _BATCHES_AT_ONCE :] for name in call]
                return answers | {name: down.for_secret(name) for name in rest}
        return answers

    def _get_batches(self, calls: list[list[str]]) -> list[Answers]:
        if len(calls) == 1:
            return [self._get_batch(calls[0])]
        with ContextThreads(len(calls)) as threads:
            return list(threads.map(self._get_batch, calls))

    def _get_batch(self, names: list[str]) -> Answers:
        try:
            answer = _call_aws(names[0], self.sm.batch_get_secret_value, SecretIdList=names)
        except SecretsManagerError as error:
            # One bad name can fail the whole call, so each name is read by itself.
            if error.error_class in (ErrorClass.DATA, ErrorClass.CONFLICT):
                return self.get_one_by_one(names)
            kind, code = error.error_class, error.code
            return {name: SecretsManagerError(kind, code, BATCH_GET, name) for name in names}
        no_answer = _make_error("NoAnswer", BATCH_GET, "")
        given: Answers = {name: no_answer.for_secret(name) for name in names}
        for value in answer.get("SecretValues", []):
            given[value["Name"]] = given[value["ARN"]] = _parse_value(value)
        for failure in answer.get("Errors", []):
            asked, code = failure["SecretId"], failure["ErrorCode"]
            given[asked] = _make_error(code, BATCH_GET, asked)
        return {name: given[name] for name in names}

    def detect_deletions(self, answers: Answers, lacking: Collection[str] = ()) -> Answers:
        """Return the answers, with code ScheduledForDeletion where DescribeSecret says that the deletion is scheduled.

        AWS refuses to read such a secret (InvalidRequestException). An emulator may say that there is none, so missing
        secrets whose names are in `lacking` are described too.
        """
        in_doubt = {
            name: error
            for name, error in answers.items()
            if isinstance(error, SecretsManagerError)
            and (error.code == "InvalidRequestException" or (error.not_found and name in lacking))
        }
        if not in_doubt:
            return answers
        with ContextThreads(_BATCHES_AT_ONCE) as threads:
            errors = threads.map(self._detect_deletion, in_doubt.values())
            return answers | {error.name: error for error in errors}

    def _detect_deletion(self, error: SecretsManagerError) -> SecretsManagerError:
        try:
            scheduled = self.describe_secret(error.name).deleted_at is not None
        except SecretsManagerError:  # the error of the read says more
            scheduled = False
        return (
            _make_error(SCHEDULED_FOR_DELETION, error.operation, error.name) if scheduled else error
        )

    def describe_secret(self, name: str) -> SecretDescription:
        """Read everything but the value, also of a secret that is scheduled for deletion."""
        answer = _call_aws(name, self.sm.describe_secret, SecretId=name)
        return parse_description(answer)

    def list_kms_keys_of_secrets(
        self, prefixes: list[str], page: str = ""
    ) -> tuple[dict[str, str], str]:
        """Read name -> KMS key of the secrets whose names begin with one of at most ten prefixes; and the next page.

        The list may be minutes old, and has no secret that is scheduled for deletion.
        """
        asked: ListSecretsRequestTypeDef = {
            "Filters": [{"Key": "name", "Values": prefixes}],
            "MaxResults": 100,
        }
        if page:
            asked["NextToken"] = page
        answer = _call_aws(prefixes[0], self.sm.list_secrets, **asked)
        keys = {secret["Name"]: secret.get("KmsKeyId", "") for secret in answer["SecretList"]}
        return keys, answer.get("NextToken", "")

    def create_secret(
        self,
        name: str,
        text: str,
        *,
        slug: str,
        token: str | None = None,
        kms_key: str = "",
        replicas: Mapping[str, str] | None = None,
    ) -> SecretVersion:
        """Create the secret with its tags. A second call with the same token and text changes nothing.

        Without a `kms_key` it has AWS's own. `replicas`: region -> KMS key there, which AWS makes later.
        """
        request = make_new_secret(name, slug=slug, kms_key=kms_key, replicas=replicas)
        request["SecretString"] = _require_sendable(text, "CreateSecret", name)
        request["ClientRequestToken"] = token or str(uuid4())
        answer = _call_aws(name, self.sm.create_secret, **request)
        return SecretVersion(answer["Name"], answer["ARN"], answer["VersionId"])

    def put_value(self, name: str, text: str, *, token: str | None = None) -> str:
        """Write a new current version and return its id; CONFLICT if it did not become current."""
        answer = _call_aws(
            name,
            self.sm.put_secret_value,
            SecretId=name,
            SecretString=_require_sendable(text, "PutSecretValue", name),
            ClientRequestToken=token or str(uuid4()),
        )
        # AWS accepts an old token again without making its version current.
        if "AWSCURRENT" not in answer.get("VersionStages", []):
            raise _make_error(NOT_CURRENT, "PutSecretValue", name)
        return answer["VersionId"]

    def put_aside(self, name: str, text: str, *, stage: str, token: str | None = None) -> str:
        """Keep a text as a version under a stage of its own and return its id; the current version stays current.

        CONFLICT if the stage isn't on it: AWS accepts a known token again and moves no stage then.
        """
        answer = _call_aws(
            name,
            self.sm.put_secret_value,
            SecretId=name,
            SecretString=_require_sendable(text, "PutSecretValue", name),
            ClientRequestToken=token or str(uuid4()),
            VersionStages=[stage],
        )
        if stage not in answer.get("VersionStages", []):
            raise _make_error(NOT_CURRENT, "PutSecretValue", name)
        return answer["VersionId"]

    def move_stage(self, name: str, stage: str, *, away_from: str = "", to: str = "") -> None:
        """Move a stage from one version to another, only take it off, or only put it on.

        Nothing is changed where the stage isn't on `away_from`: the error's code is STAGE_IS_ELSEWHERE then.
        """
        versions = {"RemoveFromVersionId": away_from, "MoveToVersionId": to}
        given = {key: version for key, version in versions.items() if version}
        move = self.sm.update_secret_version_stage
        _call_aws(name, move, SecretId=name, VersionStage=stage, **given)

    def restore_secret(self, name: str) -> None:
        """Cancel a scheduled deletion."""
        _call_aws(name, self.sm.restore_secret, SecretId=name)

    def tag_secret(self, name: str, *, slug: str) -> None:
        """Adopt a secret: put this app's tags on it."""
        _call_aws(name, self.sm.tag_resource, SecretId=name, Tags=make_tags(slug))

    def schedule_deletion(self, name: str, *, days: int = 30) -> datetime:
        """Schedule the deletion and return its time; until then it can be restored."""
        delete = self.sm.delete_secret
        return _call_aws(name, delete, SecretId=name, RecoveryWindowInDays=days)["DeletionDate"]


def _call_aws(
    name: str, method: Callable[_P, _Answer], *args: _P.args, **kwargs: _P.kwargs
) -> _Answer:
    from botocore.exceptions import BotoCoreError, ClientError

    operation = "".join(word.capitalize() for word in method.__name__.split("_"))
    if not _NAME.fullmatch(name):
        raise _make_error("InvalidName", operation, name)
    try:
        answer = method(*args, **kwargs)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    except (BotoCoreError, UnicodeDecodeError) as error:
        code, status = type(error).__name__, 503
    else:
        # A proxy's page with status 200 is parsed into an answer without anything in it.
        if answer.keys() - {"ResponseMetadata"} or operation == "TagResource":
            return answer
        code, status = "NoAnswer", 503
    # Raised out here: botocore's error can echo the request and would be in the chain.
    raise _make_error(code, operation, name, status=status)


def _require_sendable(text: str, operation: str, name: str) -> str:
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _make_error("TooLarge", operation, name)
    return text


def _parse_value(answer: GetSecretValueResponseTypeDef | SecretValueEntryTypeDef) -> SecretValue:
    text = answer.get("SecretString")
    created_at = answer.get("CreatedDate")
    return SecretValue(answer["Name"], answer["ARN"], answer["VersionId"], text, created_at)
