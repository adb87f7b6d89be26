"""Owns the table of the permissions that each role needs in AWS, and what for. Asks nobody.

A test compares it with every call that the tests make: none may lack here, and none may be here that is never made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from migration import iam_sentences
from nova_credentials.aws.kms_keys import KeyName
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nova_credentials.messages import Sentence


class Role(StrEnum):
    """Who is given a policy. Each is whole: whoever has it needs no other."""

    READER = "reader"  # NOVA, by its reader
    ADMIN = "admin"  # this site: its pages, workers and commands
    ROTATION = "rotation"  # a process that only rotates (`rotate_credential`)


class Scope(StrEnum):
    """The secrets that a permission is for."""

    ANY = "any"  # AWS knows no narrower one for this action
    UNDER_PREFIX = "under_prefix"
    # Also without this site's tag: an adoption restores a secret first and tags it then.
    RESTORABLE = "restorable"
    # Tags that are sent with the call have to be this site's.
    WITH_OUR_TAGS = "with_our_tags"
    # The secret has to have this site's tag already.
    OURS = "ours"
    # And the deletion has to leave time to restore it.
    OURS_RECOVERABLE = "ours_recoverable"
    # Only to the regions of the settings; also of a secret that the call creates, which has no tag before.
    REPLICATED = "replicated"
    # As `OURS`, where the settings say anything of replicas.
    OURS_REPLICATED = "ours_replicated"
    KMS_KEY = "kms_key"
    REPLICA_KEYS = "replica_keys"


@dataclass(frozen=True)
class Permission:
    """One action of AWS's, on which secrets, who needs it and what for."""

    action: str
    scope: Scope
    why: Sentence
    roles: tuple[Role, ...] = tuple(Role)
    # A role that needs it only where clients have this layout.
    only_in: tuple[Role, Layout] | None = None

    def is_needed(self, role: Role, layouts: frozenset[Layout]) -> bool:
        """Say whether this role needs the permission, given the layouts that clients have."""
        if role not in self.roles:
            return False
        return self.only_in is None or role != self.only_in[0] or self.only_in[1] in layouts


WRITERS = (Role.ADMIN, Role.ROTATION)
ADMIN = (Role.ADMIN,)
SM, KMS = "secretsmanager", "kms"

PERMISSIONS = (
    Permission(f"{SM}:GetSecretValue", Scope.UNDER_PREFIX, iam_sentences.IAM_FOR_READING),
    Permission(
        f"{SM}:BatchGetSecretValue",
        Scope.ANY,
        iam_sentences.IAM_FOR_READING_MANY,
        # The single secret of a client is read by GetSecretValue.
        only_in=(Role.READER, Layout.SERVICE),
    ),
    Permission(
        f"{SM}:DescribeSecret", Scope.UNDER_PREFIX, iam_sentences.IAM_FOR_DESCRIBING, WRITERS
    ),
    Permission(f"{SM}:ListSecrets", Scope.ANY, iam_sentences.IAM_FOR_LISTING, ADMIN),
    Permission(
        f"{SM}:ListSecretVersionIds", Scope.UNDER_PREFIX, iam_sentences.IAM_FOR_VERSIONS, ADMIN
    ),
    Permission(f"{SM}:CreateSecret", Scope.WITH_OUR_TAGS, iam_sentences.IAM_FOR_CREATING, WRITERS),
    Permission(f"{SM}:TagResource", Scope.WITH_OUR_TAGS, iam_sentences.IAM_FOR_TAGGING, WRITERS),
    Permission(f"{SM}:PutSecretValue", Scope.OURS, iam_sentences.IAM_FOR_WRITING, WRITERS),
    Permission(f"{SM}:UpdateSecretVersionStage", Scope.OURS, iam_sentences.IAM_FOR_STAGES, WRITERS),
    Permission(f"{SM}:RestoreSecret", Scope.RESTORABLE, iam_sentences.IAM_FOR_RESTORING, ADMIN),
    Permission(f"{SM}:DeleteSecret", Scope.OURS_RECOVERABLE, iam_sentences.IAM_FOR_DELETING, ADMIN),
    Permission(f"{SM}:UpdateSecret", Scope.OURS, iam_sentences.IAM_FOR_UPDATING, ADMIN),
    Permission(
        f"{SM}:ReplicateSecretToRegions",
        Scope.REPLICATED,
        iam_sentences.IAM_FOR_REPLICATING,
        WRITERS,
    ),
    Permission(
        f"{SM}:RemoveRegionsFromReplication",
        Scope.OURS_REPLICATED,
        iam_sentences.IAM_FOR_REMOVING_REPLICAS,
        ADMIN,
    ),
    Permission(f"{KMS}:Decrypt", Scope.KMS_KEY, iam_sentences.IAM_FOR_DECRYPTING),
    Permission(f"{KMS}:GenerateDataKey", Scope.KMS_KEY, iam_sentences.IAM_FOR_ENCRYPTING, WRITERS),
    Permission(f"{KMS}:Encrypt", Scope.KMS_KEY, iam_sentences.IAM_FOR_ANOTHER_KEY, ADMIN),
    *(
        Permission(
            f"{KMS}:{action}", Scope.REPLICA_KEYS, iam_sentences.IAM_FOR_REPLICA_KEYS, WRITERS
        )
        for action in ("GenerateDataKey", "Encrypt")
    ),
)


def list_permissions(
    role: Role,
    layouts: frozenset[Layout],
    *,
    kms: bool,
    replicas: Mapping[str, str] | None = None,
) -> list[Permission]:
    """Return what the role needs; with `kms` where secrets have a key of your own.

    `replicas`: region -> KMS key there; None where the settings say nothing of replicas.
    """
    wanted = {
        Scope.KMS_KEY: kms,
        Scope.REPLICATED: bool(replicas),
        Scope.OURS_REPLICATED: replicas is not None,
        Scope.REPLICA_KEYS: bool(find_own_keys(replicas)),
    }
    return [
        permission
        for permission in PERMISSIONS
        if permission.is_needed(role, layouts) and wanted.get(permission.scope, True)
    ]


def find_own_keys(replicas: Mapping[str, str] | None) -> dict[str, str]:
    """Return region -> KMS key of the replicas that have one of your own."""
    named = (replicas or {}).items()
    return {region: key for region, key in named if not KeyName.parse(key).is_aws_own}
