"""Lists what happened to one client, as sentences, newest first. Reads the database alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import F, Q, Subquery, Window
from django.db.models.functions import Lag
from django.urls import reverse
from django.utils import formats
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from credentials.models import CREDENTIAL_MODELS, Client
from migration.clients.models import ClientComment
from migration.clients.offboarding import CLIENT_ACTIVATED, CLIENT_DEACTIVATED
from migration.core.audit import IMPORT_EVENT, AuditEvent, AuditEventQuerySet
from migration.core.clients import OFFBOARDING_EVENT, PhaseChange
from migration.core.comparisons import Comparison, Resolution
from migration.logins.models import Reveal, Rotation
from migration.logins.testing import LOGIN_TEST_EVENT
from migration.pushes.saves import CLIENT_SAVED_EVENT
from migration.runs.items import RunItem
from migration.runs.models import Run
from migration.runs.requests import MoveRequest
from migration.secrets.adoptions import ADOPTION_EVENT
from migration.secrets.layouts import LAYOUT_EVENT
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message

HasPermission = Callable[[str], bool]
Source = Callable[[int, int, HasPermission], Iterator["Event"]]

SHOWN = 20
# A page reads the events of all pages before it, so their number is limited.
PAGES = 50
FIELDS_NAMED = 3
# The acts that the audit alone keeps.
AUDITED_ICONS: dict[str, str] = {
    LAYOUT_EVENT: "key",
    ADOPTION_EVENT: "key",
    IMPORT_EVENT: "upload",
    OFFBOARDING_EVENT: "logout",
}


@dataclass(frozen=True)
class Event:
    """One thing that happened, with its messages; `url` leads to its page, where the user may see it."""

    at: datetime
    icon: str
    text: str
    messages: tuple[Message | None, ...] = ()
    url: str = ""


@dataclass(frozen=True)
class HistoryPage:
    """One page of a client's history."""

    events: list[Event]
    page: int
    has_more: bool

    @property
    def older_page(self) -> int | None:
        return self.page + 1 if self.has_more and self.page < PAGES else None

    @property
    def newer_page(self) -> int | None:
        return self.page - 1 if self.page > 1 else None


def load_history(client_id: int, *, has_permission: HasPermission, page: int = 1) -> HistoryPage:
    """Load one page of the client's history, in one query a source; `has_permission` says what the user may see."""
    page = min(max(page, 1), PAGES)
    end = page * SHOWN
    found = chain.from_iterable(source(client_id, end + 1, has_permission) for source in SOURCES)
    events = sorted(found, key=lambda event: event.at, reverse=True)
    return HistoryPage(events[end - SHOWN : end], page, len(events) > end)


def _make_sentence(what: str, who: object = None, reason: str = "", more: str = "") -> str:
    """Join what was done, by whom, why (as the user typed it) and what followed."""
    text = _("%(what)s by %(who)s") % {"what": what, "who": who} if who else what
    text = f"{text}: {reason}" if reason else text
    return f"{text.removesuffix('.')}. {more}".strip()


def _list_moves(client_id: int, number: int, _has_permission: HasPermission) -> Iterator[Event]:
    for change in PhaseChange.objects.filter(client_id=client_id)[:number]:
        phases = {"old": change.get_old_display(), "new": change.get_new_display()}
        what = _("Moved from %(old)s to %(new)s") % phases
        # That evidence was missing, and why it was overridden; the evidence itself is in messages.
        more = ""
        if change.overridden and change.override_reason == change.reason:
            more = _("Missing evidence was overridden.")
        elif change.overridden:
            reason = change.override_reason.removesuffix(".")
            more = _("Missing evidence was overridden: %(reason)s.") % {"reason": reason}
        text = _make_sentence(what, change.by_name, change.reason, more)
        messages = (change.note, *change.overridden)
        yield Event(change.changed_at, "trending_flat", text, messages)


def _list_runs(client_id: int, number: int, has_permission: HasPermission) -> Iterator[Event]:
    """Yield the client's runs, without the sweeps: a sweep is listed as a comparison where its result changed."""
    items = RunItem.objects.filter(client_id=client_id).exclude(
        run__kind=Run.Kind.COMPARE, run__by_name=""
    )
    for item in items.select_related("run__wave__campaign").order_by("-pk")[:number]:
        outcome = item.get_outcome_display() if item.outcome else _("Waiting")
        if item.was_never_begun:
            outcome = _("Not begun")
        name, wave = str(item.run), item.run.wave
        if wave:
            name = _("%(run)s of %(campaign)s") % {"run": item.run, "campaign": wave.campaign}
        url = reverse("admin:migration_run_change", args=[item.run_id])
        yield Event(
            item.finished_at or item.run.created_at,
            "play_circle",
            _make_sentence(name, item.run.by_name, outcome),
            (item.message,),
            url if has_permission("migration.view_run") else "",
        )


def _list_comparisons(
    client_id: int, number: int, has_permission: HasPermission
) -> Iterator[Event]:
    """Yield the comparisons whose result differs from the one before."""
    if not has_permission("migration.view_comparison"):
        return
    news = (
        Comparison.objects.filter(client_id=client_id)
        .annotate(
            status_before=Window(Lag("status"), order_by="id"),
            mismatches_before=Window(Lag("mismatches"), order_by="id"),
        )
        .filter(
            ~Q(status=F("status_before"))
            | ~Q(mismatches=F("mismatches_before"))
            | Q(status_before=None)
        )
    )
    for comparison in news.order_by("-id")[:number]:
        url = reverse("admin:migration_comparison_change", args=[comparison.pk])
        text, message = _describe_comparison(comparison), comparison.message
        yield Event(comparison.compared_at, "compare_arrows", text, (message,), url)


def _describe_comparison(comparison: Comparison) -> str:
    if comparison.status == Comparison.Status.MATCH:
        return _("Both stores hold the same values.")
    fields = comparison.read_mismatches()
    if not fields:
        return _make_sentence(str(comparison.get_status_display()))
    text = ngettext("%(n)d field differs", "%(n)d fields differ", len(fields)) % {"n": len(fields)}
    named = ", ".join(field.path for field in fields[:FIELDS_NAMED])
    return _make_sentence(text, reason=f"{named}, …" if len(fields) > FIELDS_NAMED else named)


def _list_resolutions(
    client_id: int, number: int, has_permission: HasPermission
) -> Iterator[Event]:
    may_undo = has_permission("migration.resolve_mismatch")
    undoable = Resolution.objects.find_undoable_copy(client_id) if may_undo else None
    undo_page = reverse("admin:credentials_client_undo_copy", args=[client_id])
    for row in Resolution.objects.filter(client_id=client_id)[:number]:
        what = str(row.get_kind_display())
        if row.until:
            until = formats.date_format(row.until)
            what = _("%(what)s until %(until)s") % {"what": what, "until": until}
        text = _make_sentence(what, row.by_name, row.reason)
        url = undo_page if row == undoable else ""
        yield Event(row.resolved_at, "build", text, (row.message,), url)


def _list_comments(client_id: int, number: int, _has_permission: HasPermission) -> Iterator[Event]:
    for row in ClientComment.objects.filter(client_id=client_id)[:number]:
        text = _make_sentence(_("Comment"), row.by_name, row.text)
        yield Event(row.left_at, "chat", text)


def _list_edits(client_id: int, number: int, _has_permission: HasPermission) -> Iterator[Event]:
    """Yield the changes in the admin's log, which names fields and holds no value."""
    entries = LogEntry.objects.filter(
        content_type=ContentType.objects.get_for_model(Client), object_id=str(client_id)
    )
    for entry in entries.select_related("user").order_by("-action_time", "-pk")[:number]:
        values = {"who": entry.user, "what": _describe_edit(entry)}
        yield Event(entry.action_time, "edit", _("%(who)s on this site: %(what)s") % values)


def _describe_edit(entry: LogEntry) -> str:
    """Say what was edited. Django's log has the fields' labels, whose capital letters no translation has.

    A login is called there by the name of its kind and its id.
    """
    try:
        parts = json.loads(entry.change_message)
        for act in [act for part in parts for act in part.values()]:
            if "fields" in act:
                act["fields"] = list(map(_translate_label, act["fields"]))
            if (name := act.get("name", "")) and act["object"].startswith(f"{name} "):
                act["object"] = _(name) + act["object"].removeprefix(name)
        entry.change_message = json.dumps(parts)
        return str(entry.get_change_message())
    except (ValueError, TypeError, AttributeError, LookupError, RecursionError):
        return entry.change_message  # a sentence, as it is; or nothing of Django's


def _translate_label(label: str) -> str:
    found = _(label)
    return capfirst(_(label[:1].lower() + label[1:])) if found == label else found


def _list_requests(client_id: int, number: int, has_permission: HasPermission) -> Iterator[Event]:
    """Yield the requests for approval with their outcome."""
    if not has_permission("migration.view_moverequest"):
        return
    for row in MoveRequest.objects.filter(client_id=client_id)[:number]:
        url = reverse("admin:migration_moverequest_change", args=[row.pk])
        text = _make_sentence(row.request_text, more=f"{row.outcome_text}.")
        at = row.decided_at or row.requested_at
        yield Event(at, "approval", text, tuple(row.reasons), url)


def _list_reveals(client_id: int, number: int, _has_permission: HasPermission) -> Iterator[Event]:
    for row in Reveal.objects.filter(client_id=client_id)[:number]:
        yield Event(row.revealed_at, "visibility", _make_sentence(row.who_saw_what))


def _list_audited_acts(
    client_id: int, number: int, _has_permission: HasPermission
) -> Iterator[Event]:
    """Yield the changes of layout, adoptions, imports and offboardings. What a run changed is listed as its item."""
    entries = _select_entries(client_id, *AUDITED_ICONS).exclude(correlation__startswith="run ")
    for entry in entries[:number]:
        yield _make_event(entry, AUDITED_ICONS[entry.code])


def _list_activity(client_id: int, number: int, _has_permission: HasPermission) -> Iterator[Event]:
    """Yield when the client was activated or deactivated by the button for it. Other saves are edits."""
    saves = _select_entries(client_id, CLIENT_SAVED_EVENT)
    for entry in saves.telling(CLIENT_ACTIVATED, CLIENT_DEACTIVATED)[:number]:
        what = localize(entry.message).removesuffix(".")
        yield Event(entry.at, "power_settings_new", _make_sentence(what, entry.who))


def _list_login_tests(
    client_id: int, number: int, has_permission: HasPermission
) -> Iterator[Event]:
    """Yield the login tests of people, for who may see all logins. Those of a run are listed as its items."""
    names = (model._meta.model_name for model in CREDENTIAL_MODELS.values())
    if all(has_permission(f"credentials.view_{name}") for name in names):
        for entry in _select_entries(client_id, LOGIN_TEST_EVENT)[:number]:
            yield _make_event(entry, "login")


def _select_entries(client_id: int, *codes: str) -> AuditEventQuerySet:
    """Select the audit's entries of the client, by the slug, for which it has an index."""
    slug = Client.objects.filter(pk=client_id).values("slug")
    found: AuditEventQuerySet = AuditEvent.objects.filter(
        slug=Subquery(slug), client_id=client_id, code__in=codes
    )
    return found


def _make_event(entry: AuditEvent, icon: str) -> Event:
    what = _make_sentence(entry.code_label, entry.who, entry.reason)
    return Event(entry.at, icon, what, (entry.message,))


def _list_rotations(client_id: int, number: int, _has_permission: HasPermission) -> Iterator[Event]:
    for row in Rotation.objects.filter(client_id=client_id)[:number]:
        outcome = row.get_outcome_display() if row.is_finished else _("not finished")
        kind = CREDENTIAL_MODELS[CredentialType(row.credential_type)]._meta.verbose_name
        login = f"{kind} › {row.label}" if row.label else kind
        what = _("Rotation of %(login)s") % {"login": login}
        text = _make_sentence(what, row.by_name, outcome)
        yield Event(row.ended_at or row.begun_at, "autorenew", text, (row.message,))


SOURCES: tuple[Source, ...] = (
    _list_moves,
    _list_audited_acts,
    _list_activity,
    _list_login_tests,
    _list_runs,
    _list_comparisons,
    _list_resolutions,
    _list_comments,
    _list_edits,
    _list_requests,
    _list_reveals,
    _list_rotations,
)
