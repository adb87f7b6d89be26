"""Examines, at the real account, whether the site has each permission that it needs. Changes nothing there.

What NOVA's own credentials may do can't be asked with the site's: the policy for them is printed (`iam_policy reader`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from django.conf import settings

from migration import iam_sentences
from migration.models.secrets import Secret
from migration.operations.aws_store import secrets_manager
from migration.operations.aws_writes import WritesRefusedError
from migration.operations.doctor.findings import FindingState
from migration.operations.iam.permissions import KMS, SM, Role, list_permissions
from migration.operations.iam.policies import find_layouts_in_use
from nova_credentials.aws import probes
from nova_credentials.aws.kms_keys import KeyName
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.document import secret_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from migration.operations.iam.permissions import Permission
    from nova_credentials.aws.answers import SecretDescription
    from nova_credentials.aws.secrets_manager import SecretsManager
    from nova_credentials.messages import Message

    Trial = Callable[[SecretsManager, str], None]

# A slug that no client has; a secret of this name is left alone all the same.
ABSENT_SLUG = "check_aws"
# Of the secrets that pushes met, so many are described to find one that is there still.
MOST_TRIED = 5
WORST_FIRST = (FindingState.FAILED, FindingState.NOT_LOOKED_AT, FindingState.OK)

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
        """Return a name of `absent` of which AWS doesn't say that no secret has it, or nothing."""
        for name in self.absent:
            try:
                self.sm.describe_secret(name)
            except SecretsManagerError as error:
                if error.not_found:
                    continue
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
            return _leave(permission, iam_sentences.IAM_SITE_MAY_NOT_WRITE(why=error.message))
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
            return _leave(permission, iam_sentences.IAM_NOT_HARMLESS(why=why), is_untold=True)
        if action in ON_PRESENT or action.startswith(f"{KMS}:"):
            return self._try_on_present(permission, why)
        if action in CHANGING and self.taken:
            return _leave(permission, iam_sentences.IAM_NAME_IS_TAKEN(name=self.taken, why=why))
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
            refused = iam_sentences.IAM_READ_BUT_REFUSED(name=name, code=error.code, why=why)
            return PermissionFinding(permission, FindingState.FAILED, refused, _remedy())
        return _pass(permission, why)

    def _try_on_present(self, permission: Permission, why: Message) -> PermissionFinding:
        action, there = permission.action, self.present
        needed = [f"{SM}:DescribeSecret"]
        if action not in (f"{SM}:CreateSecret", f"{SM}:UpdateSecret"):
            needed += [f"{SM}:GetSecretValue"]
        if lacking := next((other for other in needed if other in self.refused), None):
            return _leave(permission, iam_sentences.IAM_NEEDS_OTHER(action=lacking, why=why))
        if there is None:
            return _leave(permission, iam_sentences.IAM_NO_SECRET_TO_TRY(why=why))
        if action in UNTRIED_OF_KEYS:
            return _leave(permission, iam_sentences.IAM_KEY_NOT_PROVEN(why=why), is_untold=True)
        if action == f"{SM}:UpdateSecretVersionStage" and probes.current_is_pending(
            self.sm, there.name
        ):
            return _leave(permission, iam_sentences.IAM_PENDING_THERE(name=there.name, why=why))
        if trial := ON_PRESENT.get(action):
            trial(self.sm, there.name)
        return _pass(permission, why)

    def _judge_error(self, permission: Permission, error: SecretsManagerError) -> PermissionFinding:
        why = permission.why()
        if not _is_refusal(error):
            self._note_loss(error)
            message = iam_sentences.IAM_NO_ANSWER(code=error.code)
            return _leave(permission, message, iam_sentences.IAM_SEE_CREDENTIALS())
        refused = iam_sentences.IAM_REFUSED_FOR(name=error.name, code=error.code, why=why)
        return PermissionFinding(permission, FindingState.FAILED, refused, _remedy())


def examine_account() -> list[PermissionFinding]:
    """Try every permission that the site needs; return first what AWS refused, then what was not looked at."""
    examination = _Examination(secrets_manager(interactive=True))
    layouts = find_layouts_in_use()
    own_key = bool(examination.present and examination.present.kms_key) or has_own_key()
    replicas = settings.NOVA_REPLICA_REGIONS
    needed = list_permissions(Role.ADMIN, layouts, kms=own_key, replicas=replicas)
    findings = [examination.examine(permission) for permission in needed]
    return sorted(findings, key=lambda finding: WORST_FIRST.index(finding.state))


def list_needed() -> list[Permission]:
    """Return the permissions that the site needs by its settings and its clients' layouts."""
    replicas = settings.NOVA_REPLICA_REGIONS
    return list_permissions(Role.ADMIN, find_layouts_in_use(), kms=has_own_key(), replicas=replicas)


def has_own_key() -> bool:
    """Say whether the settings name a KMS key of your own."""
    return not KeyName.parse(settings.NOVA_KMS_KEY_ID).is_aws_own


def _is_refusal(error: SecretsManagerError) -> bool:
    """Say whether AWS knows who asks, and doesn't allow it: no wrong or expired key, and no outage."""
    return "AccessDenied" in error.code or "NotAuthorized" in error.code


def _pass(permission: Permission, why: Message) -> PermissionFinding:
    return PermissionFinding(permission, FindingState.OK, iam_sentences.IAM_PERMITTED(why=why))


def _leave(
    permission: Permission,
    message: Message,
    remedy: Message | None = None,
    *,
    is_untold: bool = False,
) -> PermissionFinding:
    return PermissionFinding(permission, FindingState.NOT_LOOKED_AT, message, remedy, is_untold)


def _remedy() -> Message:
    return iam_sentences.IAM_ATTACH_POLICY()
