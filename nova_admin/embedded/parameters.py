"""Checks one call's parameters as AWS does, before any secret is looked at. Knows no state.

Where AWS documents no error code, ValidationException means that a value is wrong by itself, InvalidParameterException
that values are wrong together. No message repeats a value.
"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from moto.secretsmanager.exceptions import InvalidParameterException, ValidationException

from nova_credentials.aws.kms_keys import KMS_ARN, KMS_NAME

Parameters = dict[str, Any]

MAX_NAME = 512
MAX_VALUE_BYTES = 65_536
MAX_BATCH = 20
MAX_LABELS = 20
MAX_TAGS = 50
MAX_TAG_KEY = 128
MAX_TAG_VALUE = 256

_NAME = re.compile(rf"[A-Za-z0-9/_+=.@-]{{1,{MAX_NAME}}}")
_REGION = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]+")
_TAG_PUNCTUATION = frozenset("_.:/=+-@")


def check_parameters(parameters: Parameters) -> None:
    """Raise the AWS error for the first parameter that AWS would refuse."""
    if "Name" in parameters and not _NAME.fullmatch(parameters["Name"]):
        raise ValidationException(
            f"Invalid name. Must be 1 to {MAX_NAME} ASCII letters, digits or any of /_+=.@-"
        )
    _check_value(parameters.get("SecretString"), parameters.get("SecretBinary"))
    _check_tags(parameters.get("Tags") or [])
    if len(parameters.get("VersionStages") or []) > MAX_LABELS:
        raise ValidationException(f"VersionStages can't hold more than {MAX_LABELS} labels.")
    if len(parameters.get("SecretIdList") or []) > MAX_BATCH:
        raise InvalidParameterException(f"SecretIdList can't hold more than {MAX_BATCH} ids.")
    for key in _list_keys(parameters):
        # Of well-formed keys the embedded AWS knows all: it has no KMS. `conditions.py` has the faults of keys.
        if key and not (KMS_ARN.fullmatch(key) or KMS_NAME.fullmatch(key)):
            raise ValidationException("Invalid KMS key.")
    regions = [each.get("Region", "") for each in parameters.get("AddReplicaRegions") or []]
    regions += parameters.get("RemoveReplicaRegions") or []
    if not all(_REGION.fullmatch(region) for region in regions):
        raise ValidationException("Invalid region.")
    if len(set(regions)) < len(regions):
        raise InvalidParameterException("A region can be given only once.")


def check_key_region(key: str | None, region: str) -> None:
    """Raise the error of a key whose ARN names another region than that of the secret."""
    named = KMS_ARN.fullmatch(key or "")
    if named and named["region"] != region:
        raise InvalidParameterException("The KMS key isn't in the region of the secret.")


def _list_keys(parameters: Parameters) -> list[str]:
    replicas = parameters.get("AddReplicaRegions") or []
    return [parameters.get("KmsKeyId", ""), *(each.get("KmsKeyId", "") for each in replicas)]


def _check_value(text: str | None, binary: str | None) -> None:
    if text is not None and binary is not None:
        raise InvalidParameterException(
            "You can't specify both a binary secret value and a string secret value."
        )
    if text is not None:
        # JSON can hold a lone surrogate, which plain UTF-8 can't.
        size = len(text.encode("utf-8", "surrogatepass"))
    elif binary is not None:
        size = len(b64decode(binary))
    else:
        return
    if not 1 <= size <= MAX_VALUE_BYTES:
        raise ValidationException(f"The value must have 1 to {MAX_VALUE_BYTES} bytes.")


def _check_tags(tags: Sequence[Mapping[str, str]]) -> None:
    check_tag_count(len(tags))
    if len({tag["Key"] for tag in tags}) < len(tags):
        raise InvalidParameterException("A tag key can be given only once.")
    for tag in tags:
        key, value = tag["Key"], tag.get("Value", "")
        if not 1 <= len(key) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise ValidationException(
                f"A tag has a key of 1 to {MAX_TAG_KEY} and a value of up to {MAX_TAG_VALUE} "
                "characters."
            )
        if not all(c.isalnum() or c.isspace() or c in _TAG_PUNCTUATION for c in key + value):
            raise ValidationException("A tag has only letters, digits, spaces and _.:/=+-@")


def check_tag_count(count: int) -> None:
    # TagResource documents no LimitExceededException.
    if count > MAX_TAGS:
        raise InvalidParameterException(f"A secret can't have more than {MAX_TAGS} tags.")
