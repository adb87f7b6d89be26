"""Asks AWS for its time, by the Date header of a call that reads no value. Knows no client and no phase."""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from nova_credentials.aws.answers import SecretsManagerError

if TYPE_CHECKING:
    from datetime import datetime

    from nova_credentials.aws.secrets_manager import SecretsManager

Headers = dict[str, str]


def read_aws_clock(sm: SecretsManager, name: str) -> datetime:
    """Return the time, in whole seconds, at which AWS answered a DescribeSecret of this secret, or refused it.

    The secret needn't exist and the call needn't be allowed: AWS dates every answer. Raises SecretsManagerError where
    no answer comes, or one without a date.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    code, headers = "NoAnswer", Headers()
    try:
        headers = sm.sm.describe_secret(SecretId=name)["ResponseMetadata"]["HTTPHeaders"]
    except ClientError as error:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    except BotoCoreError as error:
        code = type(error).__name__
    date = _parse_date(headers)
    if date is None:  # raised out here: botocore's error is not in its chain
        raise SecretsManagerError.from_code(code, "DescribeSecret", name, status=503)
    return date


def _parse_date(headers: Headers) -> datetime | None:
    try:
        return parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
