"""Makes the least policy of a role as IAM has it, for exactly this account, region, prefix, layouts and KMS key.

Asks AWS nothing: the account is that of the newest secret that a push met, unless somebody names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings

from credentials.secret_names import configured_layout
from migration import iam_sentences
from migration.models.clients import ClientMigration
from migration.models.layouts import OtherSecretsState
from migration.models.offboardings import RECOVERY_DAYS
from migration.models.secrets import Secret
from migration.operations.iam.permissions import Scope, find_own_keys, list_permissions
from nova_credentials.aws.kms_keys import KeyName
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout
from nova_credentials.messages import MessageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from migration.operations.iam.permissions import Role

# What comes before the account in an ARN depends on the region.
PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
ACCOUNT = re.compile(r"[0-9]{12}")
# AWS appends a hyphen and six characters to each name.
SUFFIX = "-??????"
TAGS = {"Project": "NOVA", "ManagedBy": "nova-admin"}
TAG_KEYS = ["Client", *TAGS]
OUR_TAG = {"secretsmanager:ResourceTag/ManagedBy": TAGS["ManagedBy"]}

# As IAM has them: the operator, then the key, then the value or values.
Conditions = dict[str, dict[str, str | list[str]]]


class PolicyError(MessageError):
    """The policy can't be made; the message says what to name."""


@dataclass(frozen=True)
class PolicyFacts:
    """What a policy is narrowed to."""

    account: str
    region: str
    prefix: str
    layouts: frozenset[Layout]
    kms_key: str = ""  # an id, an alias or an ARN; empty: AWS's own key for Secrets Manager
    replicas: Mapping[str, str] | None = (
        None  # region -> KMS key there; None: the settings say nothing
    )

    @property
    def partition(self) -> str:
        """Return AWS's partition of this region, which its ARNs name after "arn:": "aws" for most."""
        return next((p for start, p in PARTITIONS.items() if self.region.startswith(start)), "aws")

    def get_service_host(self, region: str) -> str:
        """Return the name by which KMS knows Secrets Manager in the region."""
        domain = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"secretsmanager.{region}.{domain}"

    def list_secret_arns(self, region: str = "") -> list[str]:
        """Return the patterns of the secrets' ARNs; of their replicas' in another region.

        Those of one secret per service have one without AWS's suffix too: a name without a secret may be judged as it
        was given, and has to be answered by "no such secret" and not by a refusal.
        """
        region = region or self.region
        start = (
            f"arn:{self.partition}:secretsmanager:{region}:{self.account}:secret:{self.prefix}/*"
        )
        if Layout.CLIENT in self.layouts:  # it holds those of the other layout too
            return [start]
        services = (f"{start}/{credential_type}" for credential_type in CredentialType)
        return [pattern for name in services for pattern in (name, f"{name}{SUFFIX}")]

    def find_key_arn_pattern(self, key: str, region: str) -> str:
        """Return the pattern of the KMS key's ARN. An alias is no resource of its own: a condition names it."""
        if key.startswith("arn:"):  # perhaps of another account
            owner, alias, _name = key.partition(":alias/")
            return f"{owner}:key/*" if alias else key
        name = "*" if key.startswith("alias/") else key
        return f"arn:{self.partition}:kms:{region}:{self.account}:key/{name}"

    @property
    def keys_without_replicas(self) -> dict[str, str]:
        """Return region -> own KMS key of the secrets, not of their replicas; {} where AWS's key is used."""
        return {self.region: self.kms_key} if self.kms_key else {}


@dataclass(frozen=True)
class Statement:
    """One statement of a policy: all of them allow."""

    sid: str
    actions: list[str]
    resources: list[str]
    conditions: Conditions

    def to_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {
            "Sid": self.sid,
            "Effect": "Allow",
            "Action": self.actions,
            "Resource": self.resources,
        }
        return found | ({"Condition": self.conditions} if self.conditions else {})


def find_policy_facts(
    *, account: str = "", kms_key: str = "", layouts: Iterable[Layout] = ()
) -> PolicyFacts:
    """Return what this site's policies are narrowed to; raises `PolicyError` where the account isn't known.

    What is named counts instead of what is known; `layouts` are added to those that clients have.
    """
    account = account or read_account_of_newest_secret()
    if not account:
        raise PolicyError(iam_sentences.IAM_ACCOUNT_UNKNOWN())
    if not ACCOUNT.fullmatch(account):
        raise PolicyError(iam_sentences.IAM_ACCOUNT_MALFORMED())
    key = kms_key or settings.NOVA_KMS_KEY_ID
    try:
        named = KeyName.parse(key)
    except ValueError:
        raise PolicyError(iam_sentences.IAM_KEY_MALFORMED()) from None
    if named.region not in ("", settings.AWS_REGION):
        raise PolicyError(
            iam_sentences.IAM_KEY_ELSEWHERE(region=named.region, wanted=settings.AWS_REGION)
        )
    return PolicyFacts(
        account=account,
        region=settings.AWS_REGION,
        prefix=settings.NOVA_SECRET_PREFIX,
        layouts=find_layouts_in_use() | frozenset(layouts),
        kms_key="" if named.is_aws_own else key,
        replicas=settings.NOVA_REPLICA_REGIONS,
    )


def read_account_of_newest_secret() -> str:
    """Return the account of the newest secret that a push met; nothing where there is none."""
    newest = Secret.objects.order_by("-seen_at").values_list("arn", flat=True).first()
    account = f"{newest or ''}::::".split(":")[4]  # arn:aws:secretsmanager:region:account:…
    return account if ACCOUNT.fullmatch(account) else ""


def find_layouts_in_use() -> frozenset[Layout]:
    """Return the layout of new clients, and those that clients have or had until lately."""
    stored = ClientMigration.objects.exclude(layout=None).order_by()
    names = stored.values_list("layout", flat=True).distinct()
    found = {Layout(layout) for layout in names if layout}
    # While a client has secrets of its other layout, they are written too.
    other = (
        tuple(Layout) if stored.filter(other_secrets__in=OtherSecretsState.values).exists() else ()
    )
    return frozenset({configured_layout(), *found, *other})


def make_statements(role: Role, facts: PolicyFacts) -> list[Statement]:
    """Return the statements of the role's policy, one for each scope."""
    needed = list_permissions(role, facts.layouts, kms=bool(facts.kms_key), replicas=facts.replicas)
    return [
        Statement(
            _SIDS[scope], actions, _list_resources(scope, facts), _list_conditions(scope, facts)
        )
        for scope in Scope
        if (actions := [each.action for each in needed if each.scope == scope])
    ]


def make_policy(role: Role, facts: PolicyFacts) -> dict[str, Any]:
    """Return the role's policy as a dict, in the form of IAM's JSON."""
    statements = make_statements(role, facts)
    return {"Version": "2012-10-17", "Statement": [each.to_json() for each in statements]}


KEY_SCOPES = (Scope.KMS_KEY, Scope.REPLICA_KEYS)
_SIDS = {
    Scope.ANY: "AskAboutMany",
    Scope.UNDER_PREFIX: "ReadSecrets",
    Scope.RESTORABLE: "RestoreSecrets",
    Scope.WITH_OUR_TAGS: "CreateAndTag",
    Scope.OURS: "WriteOwnSecrets",
    Scope.OURS_RECOVERABLE: "DeleteOwnSecrets",
    Scope.REPLICATED: "Replicate",
    Scope.OURS_REPLICATED: "RemoveReplicas",
    Scope.KMS_KEY: "UseKey",
    Scope.REPLICA_KEYS: "UseKeysOfReplicas",
}


def _list_resources(scope: Scope, facts: PolicyFacts) -> list[str]:
    if scope == Scope.ANY:
        return ["*"]
    if scope in KEY_SCOPES:
        keys = _find_keys(scope, facts).items()
        return list(dict.fromkeys(facts.find_key_arn_pattern(key, region) for region, key in keys))
    return facts.list_secret_arns()


def _find_keys(scope: Scope, facts: PolicyFacts) -> dict[str, str]:
    return facts.keys_without_replicas if scope == Scope.KMS_KEY else find_own_keys(facts.replicas)


def _list_conditions(scope: Scope, facts: PolicyFacts) -> Conditions:
    if scope == Scope.WITH_OUR_TAGS:
        return {
            "StringEquals": {f"aws:RequestTag/{key}": value for key, value in TAGS.items()},
            "ForAllValues:StringEquals": {"aws:TagKeys": TAG_KEYS},
        }
    if scope in (Scope.OURS, Scope.OURS_REPLICATED):
        return {"StringEquals": {**OUR_TAG}}
    if scope == Scope.REPLICATED:
        regions = sorted(facts.replicas or ())
        return {"ForAllValues:StringEquals": {"secretsmanager:AddReplicaRegions": regions}}
    if scope == Scope.OURS_RECOVERABLE:
        # A deletion at once has no window: the key is absent then, and nothing is allowed.
        window = {"secretsmanager:RecoveryWindowInDays": str(RECOVERY_DAYS)}
        return {"StringEquals": {**OUR_TAG}, "NumericGreaterThanEquals": {**window}}
    if scope in KEY_SCOPES:
        return _list_key_conditions(_find_keys(scope, facts), facts)
    return {}


def _list_key_conditions(keys: Mapping[str, str], facts: PolicyFacts) -> Conditions:
    """Return the bounds of the use of keys: only through Secrets Manager, and only for these secrets."""
    hosts = [facts.get_service_host(region) for region in keys]
    conditions: Conditions = {
        "StringEquals": {"kms:ViaService": hosts[0] if len(hosts) == 1 else hosts},
        "StringLike": {
            "kms:EncryptionContext:SecretARN": [
                arn for region in keys for arn in facts.list_secret_arns(region)
            ]
        },
    }
    names = [KeyName.parse(key) for key in keys.values()]
    # A condition holds for all keys of the statement, so it names aliases only where all are aliases.
    if all(name.is_alias for name in names):
        aliases = sorted({name.name for name in names})
        named = aliases[0] if len(aliases) == 1 else aliases
        conditions["ForAnyValue:StringEquals"] = {"kms:ResourceAliases": named}
    return conditions
