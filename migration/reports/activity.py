"""Lists what users did lately, as sentences: moves, runs, resolved mismatches, and stops of all AWS writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, F, Model, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils.translation import gettext as _

from migration.campaigns.models import Campaign
from migration.core.clients import (
    VIEW_CAMPAIGNS,
    VIEW_CLIENTS,
    VIEW_COMPARISONS,
    VIEW_RUNS,
    PhaseChange,
    PhaseChoices,
)
from migration.core.comparisons import Resolution
from migration.core.write_state import WriteStop
from migration.runs.models import Run
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from datetime import datetime

SHOWN = 10

# A row of the union: its columns are the same for every table.
_Row = dict[str, Any]


@dataclass(frozen=True)
class Activity:
    """One thing that a user did; `permission` is needed to see it."""

    at: datetime
    sentence: str
    url: str
    permission: str
    # This site's own message about it.
    note: Message | None = None


def list_activity() -> list[Activity]:
    """List the newest activity, in one query."""
    # A run stands for its moves, a campaign for its runs, and the runs of the schedule are no user's activity.
    moves = PhaseChange.objects.filter(run=None)
    runs = Run.objects.filter(~Q(by_name="") | Q(kind=Run.Kind.MIGRATE), wave=None)
    campaigns = Campaign.objects.all()
    resolutions, stops = Resolution.objects.all(), WriteStop.objects.all()
    # Several stops end in the same moment, where several people stopped.
    ended = stops.exclude(started_at=None).order_by("started_at", "-pk").distinct("started_at")
    starts = stops.filter(pk__in=ended.values("pk"))
    parts = (
        _select_newest(
            moves, "move", "changed_at", "client_id", "slug", "old", "new", "reason", "note", "override_reason"
        ),
        _select_newest(runs, "run", "created_at", "pk", "", "kind", "", "", "", ""),
        _select_newest(campaigns, "campaign", "created_at", "pk", "", "", "", "reason", "", ""),
        _select_newest(
            resolutions, "resolution", "resolved_at", "client_id", "slug", "kind", "", "reason", "message", ""
        ),
        _select_newest(stops, "stop", "stopped_at", "pk", "", "", "", "reason", "", ""),
        _select_newest(starts, "start", "started_at", "pk", "", "", "", "", "", "", by="started_by"),
    )  # fmt: skip
    newest = parts[0].union(*parts[1:], all=True).order_by("-at")[:SHOWN]
    return [_make_activity(row) for row in newest]


def _select_newest(
    rows: QuerySet[Model], what: str, at: str, target: str, *texts: str, by: str = "by"
) -> QuerySet[Model, _Row]:
    """Select the newest rows of one table, with the columns that the tables share."""
    names = ("slug", "first", "second", "why", "note", "override")
    columns = {
        f"of_{name}": Cast(F(text) if text else Value(""), TextField())
        for name, text in zip(names, texts, strict=True)
    }
    chosen = rows.order_by("-pk").annotate(
        what=Value(what, CharField()),
        at=F(at),
        target=F(target),
        who=F(f"{by}_name"),
        **columns,
    )
    newest: QuerySet[Model, _Row] = chosen.values("what", "at", "target", "who", *columns)[:SHOWN]
    return newest


def _make_activity(row: _Row) -> Activity:
    what, target = row["what"], row["target"]
    if what == "run":
        url = reverse("admin:migration_run_change", args=[target])
        return Activity(
            row["at"], _describe_creation(row, Run(pk=target, kind=row["of_first"])), url, VIEW_RUNS
        )
    if what == "campaign":
        url = reverse("admin:migration_campaign_change", args=[target])
        sentence = _with_reason(_describe_creation(row, Campaign(pk=target)), row["of_why"])
        return Activity(row["at"], sentence, url, VIEW_CAMPAIGNS)
    if what in ("stop", "start"):
        url = reverse("admin:migration_run_aws_writes")
        sentence = _with_reason(_describe_switch(row), row["of_why"])
        return Activity(row["at"], sentence, url, VIEW_RUNS)
    url = reverse("admin:credentials_client_change", args=[target])
    sentence, permission = (
        (_describe_move(row), VIEW_CLIENTS)
        if what == "move"
        else (_describe_resolution(row), VIEW_COMPARISONS)
    )
    note = Message.from_json(json.loads(row["of_note"])) if row["of_note"] else None
    reasons = dict.fromkeys(why for why in (row["of_why"], row["of_override"]) if why)
    return Activity(row["at"], _with_reason(sentence, "; ".join(reasons)), url, permission, note)


def _actor_name(row: _Row) -> str:
    return row["who"] or _("A command")


def _describe_creation(row: _Row, created: Run | Campaign) -> str:
    return _("%(who)s created %(what)s") % {"who": _actor_name(row), "what": created}


def _describe_move(row: _Row) -> str:
    old, new = (PhaseChoices(row[key]).label for key in ("of_first", "of_second"))
    values = {"who": _actor_name(row), "slug": row["of_slug"], "old": old, "new": new}
    if row["of_override"]:
        text = _("%(who)s moved %(slug)s from %(old)s to %(new)s, overriding missing evidence")
        return text % values
    return _("%(who)s moved %(slug)s from %(old)s to %(new)s") % values


def _describe_switch(row: _Row) -> str:
    values = {"who": _actor_name(row)}
    if row["what"] == "stop":
        return _("%(who)s stopped all AWS writes") % values
    return _("%(who)s started AWS writes again") % values


def _describe_resolution(row: _Row) -> str:
    kind = Resolution.Kind
    values = {"who": _actor_name(row), "slug": row["of_slug"]}
    return {
        kind.CHECK: _("%(who)s checked %(slug)s again"),
        kind.TO_AWS: _("%(who)s copied %(slug)s from PostgreSQL to AWS"),
        kind.TO_POSTGRES: _("%(who)s copied %(slug)s from AWS to PostgreSQL"),
        kind.ACKNOWLEDGE: _("%(who)s acknowledged the mismatch of %(slug)s"),
        kind.TO_FORMER: _("%(who)s put the former values of %(slug)s back"),
        kind.TO_VERSION: _("%(who)s restored a former version of %(slug)s"),
    }[kind(row["of_first"])] % values


def _with_reason(sentence: str, reason: str) -> str:
    if not reason:
        return sentence
    return _("%(sentence)s, reason: %(reason)s") % {"sentence": sentence, "reason": reason}
