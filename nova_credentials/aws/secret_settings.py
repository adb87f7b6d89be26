"""Sets what a secret has beside its value: description, KMS key and replicas. Makes no version, knows no client."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nova_credentials.aws.requests import make_replica_regions
from nova_credentials.aws.secrets_manager import _call_aws

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from mypy_boto3_secretsmanager.type_defs import UpdateSecretRequestTypeDef

    from nova_credentials.aws.secrets_manager import SecretsManager

# How long AWS may take to remove replicas before the next call wants them gone, in seconds.
REMOVAL_SECONDS, _POLL_SECONDS = 5.0, 0.5

# The regions in which AWS still lists a replica.
RegionsLeft = set[str]


def update_secret(
    sm: SecretsManager, arn: str, *, description: str = "", kms_key: str = ""
) -> None:
    """Set the description, the KMS key or both; what is empty stays. Without a value AWS makes no version.

    With another key AWS encrypts the labelled versions anew, and goes on to decrypt them with the former one, too.
    """
    values: UpdateSecretRequestTypeDef = {"SecretId": arn}
    if description:
        values["Description"] = description
    if kms_key:
        values["KmsKeyId"] = kms_key
    _call_aws(arn, sm.sm.update_secret, **values)


def add_replicas(sm: SecretsManager, arn: str, replicas: Mapping[str, str]) -> None:
    """Replicate to these regions, given as region -> KMS key; no secret of that name there is overwritten.

    AWS does it later: DescribeSecret says what became of it. A replica that failed is tried again.
    """
    added = make_replica_regions(replicas)
    _call_aws(arn, sm.sm.replicate_secret_to_regions, SecretId=arn, AddReplicaRegions=added)


def remove_replicas(sm: SecretsManager, arn: str, regions: Collection[str]) -> RegionsLeft:
    """Remove the replicas in these regions, wait a little, and return those regions that AWS lists even then.

    While AWS lists one, a call that wants it gone is refused, and can be tried again.
    """
    remove = sm.sm.remove_regions_from_replication
    _call_aws(arn, remove, SecretId=arn, RemoveReplicaRegions=sorted(regions))
    until = time.monotonic() + REMOVAL_SECONDS
    while left := {each.region for each in sm.describe_secret(arn).replicas} & set(regions):
        if time.monotonic() > until:
            break
        time.sleep(_POLL_SECONDS)
    return left
