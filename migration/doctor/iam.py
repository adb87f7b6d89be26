"""Says which permissions in AWS each role needs, writes their policies, and examines what the account may do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from django.conf import settings
from django.utils.translation import gettext_lazy as _

from credentials.secret_names import configured_layout
from migration.core.aws_store import secrets_manager, trying_permissions
from migration.core.aws_writes import WritesRefusedError
from migration.core.clients import RECOVERY_DAYS, ClientMigration
from migration.core.problems import (
    WORST_FIRST,
    Area,
    Finder,
    Finding,
    FindingState,
    Look,
    problem,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.core.secrets import OtherSecretsState, Secret
from migration.site.environment import ACCOUNT, read_account_of_newest_secret
from nova_credentials.aws import probes
from nova_credentials.aws.answers import SecretDescription
from nova_credentials.aws.kms_keys import KeyName
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManager, SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout, secret_names
from nova_credentials.messages import Message, MessageError, Sentence

# The permissions that each role needs in AWS, and what for
#
# A test compares it with every call that the tests make: none may lack here, and none may be here that is never made.


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

IAM_FOR_READING = Sentence(
    "iam_for_reading", "reading secrets: comparisons, pushes, reveals, NOVA's reader"
)
IAM_FOR_READING_MANY = Sentence(
    "iam_for_reading_many",
    "reading 20 secrets per call: comparisons, pushes, NOVA's reads of one secret per service",
)
IAM_FOR_DESCRIBING = Sentence(
    "iam_for_describing",
    "telling whose a secret is, its versions, and whether it is scheduled for deletion",
)
IAM_FOR_LISTING = Sentence(
    "iam_for_listing", "finding the KMS keys of secrets, and versions still marked AWSPENDING"
)
IAM_FOR_VERSIONS = Sentence("iam_for_versions", "listing a client's former versions")
IAM_FOR_CREATING = Sentence(
    "iam_for_creating", "creating secrets: a client's first push, and changes of layout"
)
IAM_FOR_TAGGING = Sentence(
    "iam_for_tagging", "tagging new secrets, and adopting secrets made by others"
)
IAM_FOR_WRITING = Sentence(
    "iam_for_writing",
    "writing values: pushes, saves after a cutover, rotations, and the check of this right before a cutover",
)
IAM_FOR_STAGES = Sentence("iam_for_stages", "rotating database passwords, and removing AWSPENDING")
IAM_FOR_DELETING = Sentence(
    "iam_for_deleting",
    "scheduling the deletion of secrets that nobody needs; AWS keeps them for 30 more days",
)
IAM_FOR_RESTORING = Sentence(
    "iam_for_restoring",
    "cancelling a scheduled deletion when the client is pushed again",
)
IAM_FOR_DECRYPTING = Sentence(
    "iam_for_decrypting", "reading secrets that have a KMS key of your own"
)
IAM_FOR_ENCRYPTING = Sentence(
    "iam_for_encrypting", "writing secrets that have a KMS key of your own"
)
IAM_FOR_UPDATING = Sentence(
    "iam_for_updating", "setting the KMS key and the description of secrets"
)
IAM_FOR_REPLICATING = Sentence(
    "iam_for_replicating", "replicating secrets to the regions of NOVA_REPLICA_REGIONS"
)
IAM_FOR_REMOVING_REPLICAS = Sentence(
    "iam_for_removing_replicas",
    "removing replicas: those no longer wanted, and before a secret is deleted",
)
IAM_FOR_ANOTHER_KEY = Sentence(
    "iam_for_another_key", "encrypting secrets again when they get another KMS key"
)
IAM_FOR_REPLICA_KEYS = Sentence(
    "iam_for_replica_keys", "replicas that have a KMS key of your own in their region"
)
PERMISSIONS = (
    Permission(f"{SM}:GetSecretValue", Scope.UNDER_PREFIX, IAM_FOR_READING),
    Permission(
        f"{SM}:BatchGetSecretValue",
        Scope.ANY,
        IAM_FOR_READING_MANY,
        # The single secret of a client is read by GetSecretValue.
        only_in=(Role.READER, Layout.SERVICE),
    ),
    Permission(f"{SM}:DescribeSecret", Scope.UNDER_PREFIX, IAM_FOR_DESCRIBING, WRITERS),
    Permission(f"{SM}:ListSecrets", Scope.ANY, IAM_FOR_LISTING, ADMIN),
    Permission(f"{SM}:ListSecretVersionIds", Scope.UNDER_PREFIX, IAM_FOR_VERSIONS, ADMIN),
    Permission(f"{SM}:CreateSecret", Scope.WITH_OUR_TAGS, IAM_FOR_CREATING, WRITERS),
    Permission(f"{SM}:TagResource", Scope.WITH_OUR_TAGS, IAM_FOR_TAGGING, WRITERS),
    Permission(f"{SM}:PutSecretValue", Scope.OURS, IAM_FOR_WRITING, WRITERS),
    Permission(f"{SM}:UpdateSecretVersionStage", Scope.OURS, IAM_FOR_STAGES, WRITERS),
    Permission(f"{SM}:RestoreSecret", Scope.RESTORABLE, IAM_FOR_RESTORING, ADMIN),
    Permission(f"{SM}:DeleteSecret", Scope.OURS_RECOVERABLE, IAM_FOR_DELETING, ADMIN),
    Permission(f"{SM}:UpdateSecret", Scope.OURS, IAM_FOR_UPDATING, ADMIN),
    Permission(
        f"{SM}:ReplicateSecretToRegions",
        Scope.REPLICATED,
        IAM_FOR_REPLICATING,
        WRITERS,
    ),
    Permission(
        f"{SM}:RemoveRegionsFromReplication",
        Scope.OURS_REPLICATED,
        IAM_FOR_REMOVING_REPLICAS,
        ADMIN,
    ),
    Permission(f"{KMS}:Decrypt", Scope.KMS_KEY, IAM_FOR_DECRYPTING),
    Permission(f"{KMS}:GenerateDataKey", Scope.KMS_KEY, IAM_FOR_ENCRYPTING, WRITERS),
    Permission(f"{KMS}:Encrypt", Scope.KMS_KEY, IAM_FOR_ANOTHER_KEY, ADMIN),
    *(
        Permission(f"{KMS}:{action}", Scope.REPLICA_KEYS, IAM_FOR_REPLICA_KEYS, WRITERS)
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


def list_needed() -> list[Permission]:
    """Return the permissions that the site needs by its settings and its clients' layouts."""
    replicas = settings.NOVA_REPLICA_REGIONS
    return list_permissions(Role.ADMIN, find_layouts_in_use(), kms=has_own_key(), replicas=replicas)


def has_own_key() -> bool:
    """Say whether the settings name a KMS key of your own."""
    return not KeyName.parse(settings.NOVA_KMS_KEY_ID).is_aws_own


# The least policy of a role as IAM has it, for exactly this account, region, prefix, layouts and KMS key
#
# AWS is asked nothing: the account is that of the newest secret that a push met, unless somebody names it.

# What comes before the account in an ARN depends on the region.
PARTITIONS = {"cn-": "aws-cn", "us-gov-": "aws-us-gov"}
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
    # Region -> KMS key there; None: the settings say nothing.
    replicas: Mapping[str, str] | None = None

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


IAM_ACCOUNT_UNKNOWN = Sentence(
    "iam_account_unknown",
    "The AWS account is not known yet: no push has met a secret. Name it by its 12 digits.",
)
IAM_ACCOUNT_MALFORMED = Sentence("iam_account_malformed", "An AWS account has 12 digits.")
IAM_KEY_MALFORMED = Sentence(
    "iam_key_malformed", "A KMS key is named by its id, its alias (alias/…) or its ARN."
)
IAM_KEY_ELSEWHERE = Sentence(
    "iam_key_elsewhere", "The KMS key is in %(region)s, and the secrets are in %(wanted)s."
)


def find_policy_facts(
    *, account: str = "", kms_key: str = "", layouts: Iterable[Layout] = ()
) -> PolicyFacts:
    """Return what this site's policies are narrowed to; raises `PolicyError` where the account isn't known.

    What is named counts instead of what is known; `layouts` are added to those that clients have.
    """
    account = account or read_account_of_newest_secret()
    if not account:
        raise PolicyError(IAM_ACCOUNT_UNKNOWN())
    if not ACCOUNT.fullmatch(account):
        raise PolicyError(IAM_ACCOUNT_MALFORMED())
    key = kms_key or settings.NOVA_KMS_KEY_ID
    try:
        named = KeyName.parse(key)
    except ValueError:
        raise PolicyError(IAM_KEY_MALFORMED()) from None
    if named.region not in ("", settings.AWS_REGION):
        raise PolicyError(IAM_KEY_ELSEWHERE(region=named.region, wanted=settings.AWS_REGION))
    return PolicyFacts(
        account=account,
        region=settings.AWS_REGION,
        prefix=settings.NOVA_SECRET_PREFIX,
        layouts=find_layouts_in_use() | frozenset(layouts),
        kms_key="" if named.is_aws_own else key,
        replicas=settings.NOVA_REPLICA_REGIONS,
    )


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


def _list_resources(scope: Scope, facts: PolicyFacts) -> list[str]:
    if scope == Scope.ANY:
        return ["*"]
    if scope in KEY_SCOPES:
        keys = _find_keys(scope, facts).items()
        return list(dict.fromkeys(facts.find_key_arn_pattern(key, region) for region, key in keys))
    return facts.list_secret_arns()


def _find_keys(scope: Scope, facts: PolicyFacts) -> dict[str, str]:
    """Return region -> own KMS key, of the secrets or of their replicas; {} where AWS's key is used."""
    if scope == Scope.REPLICA_KEYS:
        return find_own_keys(facts.replicas)
    return {facts.region: facts.kms_key} if facts.kms_key else {}


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


def write_terraform(name: str, statements: list[Statement]) -> str:
    """Return a policy document and a policy of this name (letters and digits), as Terraform has them (HCL)."""
    lines = [f'data "aws_iam_policy_document" "nova_{name}" {{']
    for statement in statements:
        lines += [
            "  statement {",
            f"    sid       = {_quote(statement.sid)}",
            '    effect    = "Allow"',
            f"    actions   = {_quote_list(statement.actions)}",
            f"    resources = {_quote_list(statement.resources)}",
        ]
        for test, values_of in statement.conditions.items():
            for variable, values in values_of.items():
                listed = [values] if isinstance(values, str) else values
                lines += [
                    "    condition {",
                    f"      test     = {_quote(test)}",
                    f"      variable = {_quote(variable)}",
                    f"      values   = {_quote_list(listed)}",
                    "    }",
                ]
        lines.append("  }")
    lines += [
        "}",
        "",
        f'resource "aws_iam_policy" "nova_{name}" {{',
        f'  name   = "nova-{name}"',
        f"  policy = data.aws_iam_policy_document.nova_{name}.json",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _quote_list(texts: list[str]) -> str:
    return f"[{', '.join(map(_quote, texts))}]"


def _quote(text: str) -> str:
    """Quote a text for HCL, in which ${ and %{ would begin an expression."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


# The examination, at the real account, of each permission that the site needs. It changes nothing there.
#
# What NOVA's own credentials may do can't be asked with the site's: the policy for them is printed (`iam_policy
# reader`).

Trial = Callable[[SecretsManager, str], None]
# A slug that no client has; a secret of this name is left alone all the same.
ABSENT_SLUG = "check_aws"
# Of the secrets that pushes met, so many are described to find one that is there still.
MOST_TRIED = 5

# Tried on a name that no secret has.
ON_ABSENT: dict[str, Trial] = {
    f"{SM}:GetSecretValue": probes.try_read,
    f"{SM}:DescribeSecret": probes.try_describe,
    f"{SM}:ListSecretVersionIds": probes.try_versions,
    f"{SM}:TagResource": probes.try_tag,
    f"{SM}:RestoreSecret": probes.try_restore,
}
# These change something where the name has a secret after all.
CHANGING = {f"{SM}:TagResource", f"{SM}:RestoreSecret"}
# Tried on a secret of this site, as a policy may ask for its tag.
ON_PRESENT: dict[str, Trial] = {
    f"{SM}:CreateSecret": probes.try_create,
    f"{SM}:PutSecretValue": probes.resend_current_version,
    f"{SM}:UpdateSecretVersionStage": probes.try_remove_stage,
    f"{SM}:UpdateSecret": probes.try_update,
}
# No trial of these is harmless.
UNTRIED = {
    *(f"{SM}:DeleteSecret", f"{SM}:ReplicateSecretToRegions"),
    f"{SM}:RemoveRegionsFromReplication",
}
UNTRIED_OF_KEYS = {f"{KMS}:GenerateDataKey", f"{KMS}:Encrypt"}


@dataclass(frozen=True)
class PermissionFinding:
    """What AWS said about one permission."""

    permission: Permission
    state: FindingState
    message: Message
    remedy: Message | None = None
    # No harmless trial can tell, whatever is changed: it doesn't count as a failure of the check.
    is_untold: bool = False

    @property
    def ok(self) -> bool:
        return self.state == FindingState.OK

    @property
    def title(self) -> str:
        return self.permission.action

    def to_json(self) -> dict[str, object]:
        """Return the finding as `check_aws --format json` prints it."""
        return {
            "check": self.permission.action,
            "ok": self.ok,
            "state": self.state.value,
            "message": str(self.message),
            "remedy": str(self.remedy or ""),
            "codes": self.message.codes,
        }


IAM_PERMITTED = Sentence("iam_permitted", "Allowed. For: %(why)s.")
IAM_REFUSED_FOR = Sentence(
    "iam_refused_for", "AWS refuses it on %(name)s (%(code)s). Missing for: %(why)s."
)
IAM_READ_BUT_REFUSED = Sentence(
    "iam_read_but_refused",
    "Allowed, but AWS refuses the secret %(name)s (%(code)s): check its KMS key and resource policy. Missing "
    "for: %(why)s.",
)
IAM_NO_ANSWER = Sentence("iam_no_answer", "Not known, as the call failed (%(code)s).")
IAM_SITE_MAY_NOT_WRITE = Sentence(
    "iam_site_may_not_write", "Not tried, as this site may not write to AWS now: %(why)s"
)
IAM_NO_SECRET_TO_TRY = Sentence(
    "iam_no_secret_to_try",
    "Can only be tested on a secret of this site, and there is none yet. For: %(why)s.",
)
IAM_NAME_IS_TAKEN = Sentence(
    "iam_name_is_taken",
    "Not tried: it needs a name that no secret has, and %(name)s exists. For: %(why)s.",
)
IAM_PENDING_THERE = Sentence(
    "iam_pending_there",
    "Not tried, as the current version of %(name)s has AWSPENDING too, which the trial would take off. For: %(why)s.",
)
IAM_NEEDS_OTHER = Sentence(
    "iam_needs_other", "Can't be tested while %(action)s is refused. For: %(why)s."
)
IAM_NOT_HARMLESS = Sentence(
    "iam_not_harmless",
    "It can't be tried without being done, so this check leaves it out. For: %(why)s.",
)
IAM_KEY_NOT_PROVEN = Sentence(
    "iam_key_not_proven",
    "AWS asks the key only when a value is written, and this check writes none. For: %(why)s.",
)
IAM_ATTACH_POLICY = Sentence(
    "iam_attach_policy",
    "Give it to the site: python manage.py iam_policy admin prints the whole policy (docs/secrets.md).",
)
IAM_SEE_CREDENTIALS = Sentence(
    "iam_see_credentials",
    "Check that this host reaches AWS, and with valid credentials. Then check again.",
)


def examine_account() -> list[PermissionFinding]:
    """Try every permission that the site needs; return first what AWS refused, then what was not looked at."""
    examination = _Examination(secrets_manager(interactive=True))
    layouts = find_layouts_in_use()
    own_key = bool(examination.present and examination.present.kms_key) or has_own_key()
    replicas = settings.NOVA_REPLICA_REGIONS
    needed = list_permissions(Role.ADMIN, layouts, kms=own_key, replicas=replicas)
    with trying_permissions():
        findings = [examination.examine(permission) for permission in needed]
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.state))


ACTION_REFUSED = Sentence("action_refused", "%(action)s: %(what)s")
AWS_PERMITS_ALL = Sentence(
    "aws_permits_all",
    "The site has the %(n)s permissions it needs, as far as a dry run can tell.",
    one="The site has the permission it needs, as far as a dry run can tell: %(n)s.",
)


@problem(
    "aws_permissions",
    _("Permissions in AWS"),
    Area.AWS,
    found_by=Finder.DOCTOR,
    every=timedelta(days=1),
    page="run_check_aws",
    button=_("See AWS permissions"),
)
def find_lacking_permissions(_look: Look) -> Iterator[Finding]:
    """Name what AWS doesn't permit the site, and what could not be tried."""
    yield from report_permissions(examine_account())


def report_permissions(found: Sequence[PermissionFinding]) -> Iterator[Finding]:
    """Yield what the examination of the account says of the site."""
    wrong = [each for each in found if not each.ok and not each.is_untold]
    for each in wrong:
        message = ACTION_REFUSED(action=each.permission.action, what=each.message)
        is_refused = each.state == FindingState.FAILED
        report = report_failure if is_refused else report_unlooked
        yield report(message, each.remedy)
    if not wrong:
        yield report_ok(AWS_PERMITS_ALL(n=len(found)))


@dataclass
class _Examination:
    """One look at the account: its answers, and the names that are tried."""

    sm: SecretsManager
    refused: set[str] = field(default_factory=set)  # the actions that AWS refused
    # Why nothing more is asked: a page waits for the answers, and AWS gives none.
    lost: SecretsManagerError | None = None

    @cached_property
    def absent(self) -> list[str]:
        """Return a name of each kind that the policies tell apart."""
        prefix = settings.NOVA_SECRET_PREFIX
        return [
            name
            for layout in sorted(find_layouts_in_use())
            for name in secret_names(ABSENT_SLUG, prefix=prefix, layout=layout).values()
        ]

    @cached_property
    def taken(self) -> str:
        """Return a name of `absent` that a secret has, or nothing. Raises where AWS doesn't say."""
        for name in self.absent:
            try:
                self.sm.describe_secret(name)
            except SecretsManagerError as error:
                if error.not_found:
                    continue
                raise
            return name
        return ""

    @cached_property
    def present(self) -> SecretDescription | None:
        """Describe a secret of this site that is there and has a value; None where none is known."""
        newest = Secret.objects.order_by("-seen_at").values_list("name", "arn")
        for name, arn in newest[:MOST_TRIED]:
            if self.lost:
                break
            try:
                found = self.sm.describe_secret(name)
            except SecretsManagerError as error:
                self._note_loss(error)
                continue
            is_ours = found.arn == arn and found.has_our_tag
            if is_ours and not found.deleted_at and found.versions:
                return found
        return None

    def examine(self, permission: Permission) -> PermissionFinding:
        """Try one permission, and say what AWS answered."""
        if self.lost:
            return self._judge_error(permission, self.lost)
        try:
            finding = self._try_permission(permission, permission.why())
        except WritesRefusedError as error:
            return _leave(permission, IAM_SITE_MAY_NOT_WRITE(why=error.message))
        except SecretsManagerError as error:
            finding = self._judge_error(permission, error)
        if finding.state == FindingState.FAILED:
            self.refused.add(permission.action)
        return finding

    def _note_loss(self, error: SecretsManagerError) -> None:
        if error.error_class in (ErrorClass.UNAVAILABLE, ErrorClass.PERMISSION) and not (
            _is_refusal(error)
        ):
            self.lost = error

    def _try_permission(self, permission: Permission, why: Message) -> PermissionFinding:
        action = permission.action
        if action in UNTRIED:
            return _leave(permission, IAM_NOT_HARMLESS(why=why), is_untold=True)
        if action in ON_PRESENT or action.startswith(f"{KMS}:"):
            return self._try_on_present(permission, why)
        if action in CHANGING:
            try:
                taken = self.taken
            except SecretsManagerError as error:
                if not _is_refusal(error):
                    raise
                needed = f"{SM}:DescribeSecret"
                return _leave(permission, IAM_NEEDS_OTHER(action=needed, why=why))
            if taken:
                return _leave(permission, IAM_NAME_IS_TAKEN(name=taken, why=why))
        if action == f"{SM}:ListSecrets":
            probes.try_list(self.sm, f"{settings.NOVA_SECRET_PREFIX}/")
        elif action == f"{SM}:BatchGetSecretValue":
            probes.try_batch(self.sm, self.absent[0])
        else:
            for name in self.absent:
                ON_ABSENT[action](self.sm, name)
        if action == f"{SM}:GetSecretValue" and self.present:
            return self._read_present(permission, why)
        return _pass(permission, why)

    def _read_present(self, permission: Permission, why: Message) -> PermissionFinding:
        """Read a secret of this site, for which its KMS key and its own policy have to allow it too."""
        name = self.present.name if self.present else ""
        try:
            self.sm.get_value(name)
        except SecretsManagerError as error:
            if not _is_refusal(error):
                raise
            refused = IAM_READ_BUT_REFUSED(name=name, code=error.code, why=why)
            return PermissionFinding(permission, FindingState.FAILED, refused, IAM_ATTACH_POLICY())
        return _pass(permission, why)

    def _try_on_present(self, permission: Permission, why: Message) -> PermissionFinding:
        action, there = permission.action, self.present
        needed = [f"{SM}:DescribeSecret"]
        if action not in (f"{SM}:CreateSecret", f"{SM}:UpdateSecret"):
            needed += [f"{SM}:GetSecretValue"]
        if lacking := next((other for other in needed if other in self.refused), None):
            return _leave(permission, IAM_NEEDS_OTHER(action=lacking, why=why))
        if there is None:
            return _leave(permission, IAM_NO_SECRET_TO_TRY(why=why))
        if action in UNTRIED_OF_KEYS:
            return _leave(permission, IAM_KEY_NOT_PROVEN(why=why), is_untold=True)
        if action == f"{SM}:UpdateSecretVersionStage" and probes.current_is_pending(
            self.sm, there.name
        ):
            return _leave(permission, IAM_PENDING_THERE(name=there.name, why=why))
        if trial := ON_PRESENT.get(action):
            trial(self.sm, there.name)
        return _pass(permission, why)

    def _judge_error(self, permission: Permission, error: SecretsManagerError) -> PermissionFinding:
        why = permission.why()
        if not _is_refusal(error):
            self._note_loss(error)
            message = IAM_NO_ANSWER(code=error.code)
            return _leave(permission, message, IAM_SEE_CREDENTIALS())
        refused = IAM_REFUSED_FOR(name=error.name, code=error.code, why=why)
        return PermissionFinding(permission, FindingState.FAILED, refused, IAM_ATTACH_POLICY())


def _is_refusal(error: SecretsManagerError) -> bool:
    """Say whether AWS knows who asks, and doesn't allow it: no wrong or expired key, and no outage."""
    return "AccessDenied" in error.code or "NotAuthorized" in error.code


def _pass(permission: Permission, why: Message) -> PermissionFinding:
    return PermissionFinding(permission, FindingState.OK, IAM_PERMITTED(why=why))


def _leave(
    permission: Permission,
    message: Message,
    remedy: Message | None = None,
    *,
    is_untold: bool = False,
) -> PermissionFinding:
    return PermissionFinding(permission, FindingState.NOT_LOOKED_AT, message, remedy, is_untold)
