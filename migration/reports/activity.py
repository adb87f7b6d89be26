"""What people did lately, in sentences: moves, runs and what became of mismatches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.db.models import CharField, F, Q, TextField, Value
from django.db.models.functions import Cast
from django.urls import reverse
from django.utils.translation import gettext as _

from migration.models import PhaseChange, PhaseChoices, Resolution, Run
from migration.reports.alerts import VIEW_CLIENTS, VIEW_COMPARISONS, VIEW_RUNS
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from datetime import datetime

SHOWN = 10


@dataclass(frozen=True)
class Activity:
    at: datetime
    sentence: str
    url: str
    permission: str
    # What is ours to say of it.
    note: Message | None = None


def activity() -> list[Activity]:
    """The newest: one query."""
    # The moves that a run made are told by the run, and what the schedule starts is nobody's doing.
    moves = PhaseChange.objects.filter(run=None)
    runs = Run.objects.filter(~Q(by=None) | Q(kind=Run.Kind.MIGRATE))
    resolutions = Resolution.objects.all()
    parts = (
        _part(moves, "move", "changed_at", "client_id", "slug", "old", "new", "reason", "note"),
        _part(runs, "run", "created_at", "pk", "", "kind", "", "", ""),
        _part(resolutions, "resolution", "resolved_at", "client_id", "slug", "kind", "", "reason", "message"),
    )  # fmt: skip
    newest = parts[0].union(*parts[1:], all=True).order_by("-at")[:SHOWN]
    return [_activity(row) for row in newest]


def _part(rows: Any, what: str, at: str, target: str, *texts: str) -> Any:
    """The newest of one table, in columns that all of them share."""
    names = ("slug", "first", "second", "why", "note")
    columns = {
        f"of_{name}": Cast(F(text) if text else Value(""), TextField())
        for name, text in zip(names, texts, strict=True)
    }
    chosen = rows.order_by("-pk").annotate(
        what=Value(what, CharField()), at=F(at), target=F(target), who=F("by__username"), **columns
    )
    return chosen.values("what", "at", "target", "who", *columns)[:SHOWN]


def _activity(row: dict[str, Any]) -> Activity:
    what, target = row["what"], row["target"]
    if what == "run":
        url = reverse("admin:migration_run_change", args=[target])
        return Activity(row["at"], _run(row), url, VIEW_RUNS)
    url = reverse("admin:credentials_client_change", args=[target])
    sentence, permission = (
        (_move(row), VIEW_CLIENTS) if what == "move" else (_resolution(row), VIEW_COMPARISONS)
    )
    note = Message.from_json(json.loads(row["of_note"])) if row["of_note"] else None
    return Activity(row["at"], _with_reason(sentence, row["of_why"]), url, permission, note)


def _who(row: dict[str, Any]) -> str:
    return row["who"] or _("A command")


def _run(row: dict[str, Any]) -> str:
    said = {"who": _who(row), "kind": Run.Kind(row["of_first"]).label, "n": row["target"]}
    return _("%(who)s started %(kind)s %(n)s") % said


def _move(row: dict[str, Any]) -> str:
    old, new = (PhaseChoices(row[key]).label for key in ("of_first", "of_second"))
    said = {"who": _who(row), "slug": row["of_slug"], "old": old, "new": new}
    return _("%(who)s moved %(slug)s from %(old)s to %(new)s") % said


def _resolution(row: dict[str, Any]) -> str:
    kind = Resolution.Kind
    said = {"who": _who(row), "slug": row["of_slug"]}
    return {
        kind.CHECK: _("%(who)s checked %(slug)s again"),
        kind.TO_AWS: _("%(who)s copied %(slug)s from PostgreSQL to AWS"),
        kind.TO_POSTGRES: _("%(who)s copied %(slug)s from AWS to PostgreSQL"),
        kind.ACKNOWLEDGE: _("%(who)s acknowledged the mismatch of %(slug)s"),
    }[kind(row["of_first"])] % said


def _with_reason(sentence: str, reason: str) -> str:
    if not reason:
        return sentence
    return _("%(sentence)s, reason: %(reason)s") % {"sentence": sentence, "reason": reason}
