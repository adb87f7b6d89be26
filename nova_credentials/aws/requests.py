"""Makes the parts of requests that are alike, and reads what DescribeSecret answers. Calls nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nova_credentials.aws.answers import Replica, SecretDescription

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_secretsmanager.type_defs import (
        CreateSecretRequestTypeDef,
        DescribeSecretResponseTypeDef,
        ReplicaRegionTypeTypeDef,
        TagTypeDef,
    )


def list_tags(slug: str) -> dict[str, str]:
    """Return the tags that a client's secrets have."""
    return {"Project": "NOVA", "ManagedBy": "nova-admin", "Client": slug}


def make_tags(slug: str) -> list[TagTypeDef]:
    return [{"Key": key, "Value": value} for key, value in list_tags(slug).items()]


def make_description(slug: str) -> str:
    """Return the description that a client's secrets have."""
    return f"NOVA credentials for client {slug}"


def make_replica_regions(replicas: Mapping[str, str]) -> list[ReplicaRegionTypeTypeDef]:
    """Return the replicas (region -> KMS key) as the list that AWS takes; without a key AWS's own is used there."""
    return [
        {"Region": region, "KmsKeyId": key} if key else {"Region": region}
        for region, key in sorted(replicas.items())
    ]


def make_new_secret(
    name: str, *, slug: str, kms_key: str, replicas: Mapping[str, str] | None
) -> CreateSecretRequestTypeDef:
    """Return what CreateSecret is sent beside the value."""
    values: CreateSecretRequestTypeDef = {
        "Name": name,
        "Description": make_description(slug),
        "Tags": make_tags(slug),
    }
    if kms_key:
        values["KmsKeyId"] = kms_key
    if replicas:
        values["AddReplicaRegions"] = make_replica_regions(replicas)
    return values


def parse_description(answer: DescribeSecretResponseTypeDef) -> SecretDescription:
    return SecretDescription(
        name=answer["Name"],
        arn=answer["ARN"],
        tags={tag["Key"]: tag["Value"] for tag in answer.get("Tags", [])},
        deleted_at=answer.get("DeletedDate"),
        versions={k: tuple(v) for k, v in answer.get("VersionIdsToStages", {}).items()},
        kms_key=answer.get("KmsKeyId", ""),
        description=answer.get("Description", ""),
        replicas=tuple(
            Replica(each["Region"], each.get("Status", ""), each.get("KmsKeyId", ""))
            for each in answer.get("ReplicationStatus", [])
        ),
    )
