"""Schedules the deletion of a client's secrets, once it is back in `postgres`; always with a recovery window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.models import ClientMigration, PhaseChange
from migration.operations.stores import secrets_manager
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.messages import say as _
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from migration.operations.stores import Rows
    from nova_credentials.aws.secrets_manager import SecretsManager

RECOVERY_DAYS = 30


def schedule_deletion_of(rows: Rows) -> str:
    """What became of each secret, in words; kept with the move, which stands whatever that is.

    The caller holds the client's lock and has committed the move.
    """
    sm = secrets_manager(someone_waits=True)
    told = " ".join(filter(None, [_schedule(rows, sm, name) for name in rows.names.values()]))
    told = told or _("It has no secret to delete.")
    change = PhaseChange.objects.filter(client_id=rows.client_id, new=Phase.POSTGRES).first()
    if change:
        change.reason = f"{change.reason} {told}"
        change.save(update_fields=["reason"])
    return told


def _schedule(rows: Rows, sm: SecretsManager, name: str) -> str:
    try:
        there = sm.describe(name)
        if there.deleted_at:
            return _("The deletion of %(name)s was scheduled already.") % {"name": name}
        if not there.is_ours:
            return _("%(name)s is not ours, and was left as it is.") % {"name": name}
        if ClientMigration.objects.filter(pk=rows.client_id).exclude(phase=Phase.POSTGRES).exists():
            return _("%(name)s was left as it is: the client was moved on.") % {"name": name}
        # By its ARN: another secret may get this name in the meantime.
        at = sm.schedule_deletion(there.arn, days=RECOVERY_DAYS)
    except SecretsManagerError as error:
        if error.not_found:  # with a secret a service, one that has no row has no secret
            return ""
        return _("%(name)s was left as it is: %(error)s") % {"name": name, "error": error}
    told = {"name": name, "day": f"{at:%Y-%m-%d}"}
    return _("%(name)s is deleted on %(day)s; until then it can be restored.") % told
