"""Tries out permissions without changing anything: AWS judges whether a call is allowed before it does it.

Each trial is one that AWS can't carry out: on a name without a secret, or with values that exclude each other. Raises
SecretsManagerError with AWS's refusal; where AWS got as far as seeing that it can't be done, the call is allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from nova_credentials.aws.requests import make_tags
from nova_credentials.aws.secrets_manager import SecretsManagerError, _call_aws
from nova_credentials.aws.versions import CURRENT, PENDING, list_versions

if TYPE_CHECKING:
    from collections.abc import Callable

    from nova_credentials.aws.secrets_manager import SecretsManager

# AWS answers with these once it has found the call allowed.
AFTER_AUTHORIZATION = (
    *("ResourceNotFoundException", "ResourceExistsException"),
    *("InvalidParameterException", "InvalidRequestException"),
)


def try_batch(sm: SecretsManager, absent: str) -> None:
    """Try BatchGetSecretValue with a name that no secret has; raises AWS's refusal of the call, not of the name."""
    _expect_failure(absent, sm.sm.batch_get_secret_value, SecretIdList=[absent])


def try_read(sm: SecretsManager, absent: str) -> None:
    """Try GetSecretValue of a secret that isn't there; raises AWS's refusal where that isn't allowed."""
    _expect_failure(absent, sm.sm.get_secret_value, SecretId=absent)


def try_describe(sm: SecretsManager, absent: str) -> None:
    """Try DescribeSecret on a secret that isn't there; raises SecretsManagerError where AWS refuses the call."""
    _expect_failure(absent, sm.sm.describe_secret, SecretId=absent)


def try_list(sm: SecretsManager, prefix: str) -> None:
    """Try to list one secret whose name begins with `prefix`; raises AWS's refusal where that isn't allowed."""
    named: Any = [{"Key": "name", "Values": [prefix]}]
    _call_aws(prefix, sm.sm.list_secrets, Filters=named, MaxResults=1)


def try_versions(sm: SecretsManager, absent: str) -> None:
    """Try to list the versions of a secret that isn't there; raises AWS's refusal where that isn't allowed."""
    _ignore_failure(lambda: list_versions(sm, absent))


def try_tag(sm: SecretsManager, absent: str) -> None:
    """Try to tag a secret that isn't there; raises AWS's refusal where that isn't allowed."""
    _ignore_failure(lambda: sm.tag_secret(absent, slug=absent.rpartition("/")[2]))


def try_restore(sm: SecretsManager, absent: str) -> None:
    """Try to take a secret that isn't there back from deletion; raises AWS's refusal where that isn't allowed."""
    _ignore_failure(lambda: sm.restore_secret(absent))


def try_create(sm: SecretsManager, present: str) -> None:
    """Try to create a secret whose name is taken, with a text and a binary value, of which AWS takes only one."""
    _expect_failure(
        present,
        sm.sm.create_secret,
        Name=present,
        SecretString="{}",
        SecretBinary=b"{}",
        ClientRequestToken=str(uuid4()),
        Tags=make_tags(present.rpartition("/")[2]),
    )


def resend_current_version(sm: SecretsManager, present: str) -> None:
    """Send the current version again, by its own id: AWS makes no new one."""
    value = sm.get_value(present)
    if value.text is not None:
        sm.put_value(present, value.text, token=value.version_id)


def try_update(sm: SecretsManager, present: str) -> None:
    """Try to update a secret with a text and a binary value, of which AWS takes only one."""
    both: Any = {"SecretString": "{}", "SecretBinary": b"{}", "ClientRequestToken": str(uuid4())}
    _expect_failure(present, sm.sm.update_secret, SecretId=present, **both)


def try_remove_stage(sm: SecretsManager, present: str) -> None:
    """Try to take AWSPENDING off the current version, which must not have it (`current_is_pending`)."""
    current = sm.get_value(present).version_id
    _ignore_failure(lambda: sm.move_stage(present, PENDING, away_from=current))


def current_is_pending(sm: SecretsManager, present: str) -> bool:
    """Say whether the current version has AWSPENDING too, as a rotation of AWS's own leaves it."""
    versions = sm.describe_secret(present).versions.values()
    return any(CURRENT in stages and PENDING in stages for stages in versions)


def _expect_failure(name: str, method: Callable[..., Any], **values: Any) -> None:
    _ignore_failure(lambda: _call_aws(name, method, **values))


def _ignore_failure(call: Callable[[], object]) -> None:
    try:
        call()
    except SecretsManagerError as error:
        if error.code not in AFTER_AUTHORIZATION:
            raise
