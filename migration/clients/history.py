"""Lists what happened to one client, newest first: its events and its comments. Reads the database alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from operator import attrgetter

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migration.campaigns.history import name_campaigns
from migration.campaigns.models import Campaign
from migration.clients.models import COMMENT_EVENT, ClientComment
from migration.core.audit import EVENT_KINDS, AuditEvent
from migration.core.audit_chain import find_whole_since
from migration.core.clients import MOVE_EVENT, OVERRIDE_EVENT, VIEW_CAMPAIGNS, read_move
from migration.core.histories import HasPermission, HistoryLine, make_line
from migration.pushes.pushes import MOVED_BY_RUN
from migration.runs.models import Run
from nova_credentials.messages import in_a_row
from nova_credentials.phases import Phase

SHOWN = 20
# The moves that people call by a name, by the phases between which they lead.
NAMED_MOVES: dict[tuple[Phase, Phase] | None, Promise] = {
    (Phase.DUAL_READ, Phase.AWS): gettext_lazy("Cut over to AWS."),
    (Phase.AWS, Phase.DUAL_READ): gettext_lazy("Rolled back to Dual read."),
    (Phase.AWS, Phase.PURGED): gettext_lazy("Purged."),
    (Phase.PURGED, Phase.AWS): gettext_lazy("Restored from the purge."),
}
# Beyond any history: PostgreSQL counts no further.
MOST_PAGES = 10**9


@dataclass(frozen=True)
class HistoryPage:
    """One page of a client's history. `whole_since`: on the last page, where the audit was trimmed."""

    lines: list[HistoryLine]
    page: int
    has_more: bool
    whole_since: datetime | None = None

    @property
    def older_page(self) -> int | None:
        return self.page + 1 if self.has_more else None

    @property
    def newer_page(self) -> int | None:
        return self.page - 1 if self.page > 1 else None


def load_history(client_id: int, *, has_permission: HasPermission, page: int = 1) -> HistoryPage:
    """Load one page of the client's history; `has_permission` says what the user may see.

    Takes a query for the events, one for the comments, and one each for the names of runs, of campaigns, and of the
    campaigns of runs. An override is told in place of the move that it let pass.
    """
    page = min(max(page, 1), MOST_PAGES)
    end = page * SHOWN
    comments = list(ClientComment.objects.with_places().filter(client_id=client_id)[: end + 1])
    # At least so many events come before the page: whatever else is newer are comments.
    before = max(end - SHOWN - len(comments), 0)
    told = [
        kind for kind in EVENT_KINDS.values() if kind.in_history and kind.is_seen_by(has_permission)
    ]
    found = AuditEvent.objects.filter(client_id=client_id, code__in=told)
    events = list(found.newest_first()[before : end + 1])
    AuditEvent.name_logins(events)
    # Of two at once, the event is told above the comment. The sort keeps the order of events.
    newest: list[AuditEvent | ClientComment] = [*events, *comments]
    newest.sort(key=attrgetter("place"), reverse=True)
    shown = newest[end - SHOWN - before : end - before]
    of_events = [each for each in shown if isinstance(each, AuditEvent)]
    names = _name_groups(of_events, has_permission)
    campaigns = name_campaigns(of_events) if has_permission(VIEW_CAMPAIGNS) else {}
    lines = []
    for newer, each in pairwise([None, *shown]):
        if isinstance(each, ClientComment):
            lines.append(_make_comment_line(each))
        elif each and not (isinstance(newer, AuditEvent) and _tells_move(newer, each)):
            line = _make_event_line(each, has_permission, names.get(each.correlation, ""))
            lines.append(replace(line, who=campaigns.get(each.pk, line.who)))
    has_more = before + len(newest) > end
    return HistoryPage(lines, page, has_more, None if has_more else find_whole_since())


def _tells_move(override: AuditEvent, move: AuditEvent) -> bool:
    """Say whether the first is the override by which the second, a move, was made: both are written together."""
    (first, *_others), overridden = move.message.parts, override.message
    return (
        (override.code, move.code) == (OVERRIDE_EVENT, MOVE_EVENT)
        and override.correlation == move.correlation
        and override.when - move.when < timedelta(seconds=1)
        and "new" in overridden.values
        and overridden.values["new"] == first.values.get("new")
    )


def _name_groups(events: Iterable[AuditEvent], has_permission: HasPermission) -> dict[str, str]:
    """Return correlation -> name of each run and campaign of these events that is there, and that the user may see."""
    ids: dict[str, set[int]] = {}
    for event in events:
        if (group := event.group_page) and has_permission(group.permission):
            kind, _blank, number = event.correlation.partition(" ")
            ids.setdefault(kind, set()).add(int(number))
    names = {}
    for run in Run.objects.filter(pk__in=ids.get("run", ())).select_related("wave__campaign"):
        name = str(run)
        if run.wave:
            name = _("%(run)s of %(campaign)s") % {"run": run, "campaign": run.wave.campaign}
        names[f"run {run.pk}"] = name
    for campaign in Campaign.objects.filter(pk__in=ids.get("campaign", ())):
        names[f"campaign {campaign.pk}"] = str(campaign)
    return names


def _make_event_line(event: AuditEvent, has_permission: HasPermission, group: str) -> HistoryLine:
    line, message = make_line(event, has_permission, part_of=group), event.message
    # The line names the run beside its link.
    parts = [part for part in message.parts if not group or part.key != MOVED_BY_RUN.key]
    line = replace(line, message=in_a_row(*parts) or message)
    phases = read_move(parts[0]) if len(parts) == 1 else None
    return replace(line, text=str(NAMED_MOVES[phases])) if phases in NAMED_MOVES else line


def _make_comment_line(comment: ClientComment) -> HistoryLine:
    return HistoryLine(
        at=comment.left_at,
        icon=COMMENT_EVENT.icon,
        kind=str(COMMENT_EVENT.label),
        text=comment.text,
        who=comment.by_name,
    )
