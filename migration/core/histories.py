"""Makes lines of a history from events of the audit: a client's, a run's. Each line opens. Asks nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from django.urls import reverse

from migration.core.audit import AuditEvent, audit_keys
from migration.core.clients import VIEW_AUDIT
from nova_credentials.messages import Message

HasPermission = Callable[[str], bool]


@dataclass(frozen=True)
class HistoryLine:
    """One thing that happened; what is empty isn't shown."""

    at: datetime
    icon: str
    kind: str
    message: Message | None = None
    # As somebody typed it.
    text: str = field(default="", repr=False)
    reason: str = ""
    who: str = ""
    is_carried_over: bool = False
    # Not where somebody wrote it, or wrote over it, in the database.
    is_genuine: bool = True
    # Its time is yet to come.
    is_ahead: bool = False
    # The run or campaign that it was part of, where it isn't that one's history.
    part_of: str = ""
    part_of_url: str = ""
    # For who may view the audit.
    origin: str = ""
    entry_url: str = ""

    @property
    def place(self) -> tuple[bool, datetime]:
        """Return its place among others, of which the highest is told first."""
        return not self.is_ahead, self.at


def make_line(
    event: AuditEvent, has_permission: HasPermission, *, part_of: str = ""
) -> HistoryLine:
    """Make the line of an event; `part_of` names the run or campaign that it was part of."""
    group, may_view_audit = event.group_page, has_permission(VIEW_AUDIT)
    return HistoryLine(
        at=event.when,
        icon=event.kind.icon if event.kind else "info",
        kind=event.code_label,
        message=event.message,
        reason=event.reason,
        who=event.by,
        is_carried_over=event.happened_at is not None,
        is_genuine=event.is_unchanged(audit_keys()),
        is_ahead=event.is_ahead,
        part_of=part_of,
        part_of_url=group.url if part_of and group else "",
        origin=event.origin if may_view_audit else "",
        entry_url=reverse("admin:migration_auditevent_change", args=[event.pk])
        if may_view_audit
        else "",
    )
