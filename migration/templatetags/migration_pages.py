"""The filters and tags that show moments, phases, outcomes, differences and names. The admin's lists call them too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from django import template
from django.conf import settings
from django.db import DatabaseError
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, ngettext, override
from django.utils.translation import gettext as _

from credentials.localization import find_local, localize, localize_html, show_moment
from migration.campaigns.models import describe_minutes
from migration.core import aws_writes
from migration.core.audit import CARRIED_OVER, ORIGIN
from migration.core.clients import PhaseChoices
from migration.core.comparisons import Comparison, OpenMismatch
from migration.core.groups import ClientOwner
from migration.core.outgoing import LoginOutcome
from migration.core.sentences import LOGIN_OUTCOMES
from migration.logins.reveals import RevealedValue
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.site.environment import describe_environment
from nova_credentials.aws.secrets_manager import ErrorClass
from nova_credentials.comparison import UNKNOWN_NAME, Mismatch, MismatchKind
from nova_credentials.messages import Message, describe_age
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name

register = template.Library()
register.filter("localize_message", localize_html)
register.filter("shown_name", escape_name)
# In a text, an attribute or on paper; elsewhere `exact_moment`.
register.filter("moment_and_zone", show_moment)

DOCUMENT = re.compile(r"docs/([a-z_-]+\.md)")

LABELS = {
    **dict(PhaseChoices.choices),
    **dict(Comparison.Status.choices),
    **dict(Outcome.choices),
}
# Each has a colour and an icon, since not everybody can tell the colours apart.
LOOKS: dict[str, tuple[str, str]] = {
    PhaseChoices.POSTGRES: ("default", "database"),
    PhaseChoices.DUAL_WRITE: ("info", "call_split"),
    PhaseChoices.DUAL_READ: ("info", "compare_arrows"),
    PhaseChoices.AWS: ("success", "cloud_done"),
    PhaseChoices.PURGED: ("success", "cloud_lock"),
    Comparison.Status.MATCH: ("success", "check"),
    Comparison.Status.MISMATCH: ("danger", "difference"),
    Comparison.Status.MISSING_IN_AWS: ("danger", "cloud_off"),
    Comparison.Status.MISSING_IN_POSTGRES: ("danger", "dns"),
    Comparison.Status.UNCHECKED: ("warning", "help"),
    Outcome.CREATED: ("success", "add"),
    Outcome.UPDATED: ("success", "edit"),
    Outcome.UNCHANGED: ("default", "equal"),
    Outcome.RESTORED: ("success", "restore"),
    Outcome.COMPARED: ("default", "compare_arrows"),
    Outcome.TESTED: ("success", "key"),
    Outcome.SKIPPED: ("default", "skip_next"),
    Outcome.FAILED: ("danger", "error"),
    Outcome.MOVED: ("success", "arrow_forward"),
    Outcome.REFUSED: ("warning", "block"),
}


LOGIN_LOOKS: dict[str, tuple[str, str]] = {
    LoginOutcome.WORKS: ("success", "check"),
    LoginOutcome.REFUSED: ("danger", "block"),
    LoginOutcome.NO_DATABASE: ("danger", "block"),
}


@register.simple_tag
def find_write_refusal() -> Message | None:
    """Return why this site may not write to AWS now; None where it may, or where that can't be asked."""
    try:
        return aws_writes.find_write_refusal()
    except DatabaseError:
        return None


register.simple_tag(describe_environment, name="find_environment")


@register.simple_tag
def find_open_plan() -> Run | None:
    """Return the newest push that is planned, or being planned, and was neither started nor discarded."""
    planned = Run.objects.filter(state__in=(Run.State.PLANNING, Run.State.PLANNED), act="push")
    return planned.only("kind").first()


@register.simple_tag
def find_stop_reason() -> str:
    """Return why somebody stopped all AWS writes, as typed; "" where they are not stopped."""
    try:
        stop = aws_writes.get_aws_write_state().stop
    except DatabaseError:
        return ""
    return stop.reason if stop else ""


@register.filter
def badge(value: str) -> str:
    """Return the label of a phase, an outcome, the status of a comparison or the state of a request."""
    variant, icon = LOOKS[value]
    return make_label(str(LABELS[value]), variant, icon)


@register.filter
def phase_steps(phase: str) -> SafeString:
    """Return the phase's name, after its five steps, as lists show it."""
    number = list(Phase).index(Phase(phase)) + 1
    name = PhaseChoices(phase).label
    return format_html('<span class="list-phase list-phase-{}">{}</span>', number, name)


@register.filter
def login_badge(outcome: str) -> str:
    """Return the label of a login test's outcome."""
    variant, icon = LOGIN_LOOKS.get(outcome, ("warning", "warning"))
    return make_label(str(LoginOutcome(outcome).label), variant, icon)


@register.filter
def explain_login(outcome: str) -> Message:
    """Return what a login test's outcome means."""
    return LOGIN_OUTCOMES[outcome]()


@register.filter
def attention(text: str) -> str:
    return make_label(text, "warning", "warning")


@register.filter
def plain_label(text: str) -> str:
    return make_label(text, "default")


@register.filter
def success_label(text: str) -> str:
    return make_label(text, "success", "check")


@register.filter
def danger_label(text: str) -> str:
    return make_label(text, "danger", "close")


def make_label(text: str, variant: str, icon: str = "") -> str:
    """Return Unfold's label in the colour `variant`, with an icon of Material Symbols."""
    context = {"text": text, "variant": variant, "icon": icon}
    return render_to_string("admin/migration/label.html", context)


@register.filter
def time_ago(value: datetime | None) -> SafeString | str:
    """Return how long ago the moment was, or in how long it will be, with the exact time in UTC on hover.

    `ages.js` tells it anew while the page is open.
    """
    return tell_age(value)


def tell_age(value: datetime | None, *, with_exact: bool = True) -> SafeString | str:
    """Return the age as `time_ago`; not `with_exact` in lists of many, where `client_list.js` adds the exact time."""
    if value is None:
        return ""
    length = timezone.now() - value
    age = localize(describe_age(abs(length)))
    text = (_("in %(age)s") if length < timedelta() else _("%(age)s ago")) % {"age": age}
    noted = format_html(' data-age="{}"', int(length.total_seconds()))
    if with_exact:
        return _make_time(value, text, noted)
    return format_html('<time datetime="{}"{}>{}</time>', value.isoformat(), noted, text)


@register.filter
def exact_moment(value: datetime | None) -> SafeString | str:
    """Return date and time in the reader's time zone, with the exact time in UTC on hover."""
    if value is None:
        return ""
    return _make_time(value, formats.date_format(find_local(value), "DATETIME_FORMAT"))


def _make_time(value: datetime, text: str, attributes: SafeString | str = "") -> SafeString:
    utc = value.astimezone(UTC)
    exact = f"{_name_minute(utc.replace(second=0, microsecond=0), get_language())}:{utc:%S} UTC"
    return format_html(
        '<time datetime="{}" title="{}"{}>{}</time>', utc.isoformat(), exact, attributes, text
    )


@lru_cache(maxsize=1000)
def _name_minute(minute: datetime, _language: str | None) -> str:
    # A page of clients names a hundred moments, most of them within some minutes.
    return formats.date_format(minute, "DATETIME_FORMAT")


@register.filter
def duration(seconds: float) -> str:
    """Return the seconds in words: as seconds below a minute and a half, as minutes below two hours, then as hours."""
    whole = round(seconds)
    if whole < 90:
        return ngettext("%(n)d second", "%(n)d seconds", whole) % {"n": whole}
    if whole < 7200:
        return _("%(n)d minutes") % {"n": max(2, round(whole / 60))}
    return _("%(n)d hours") % {"n": round(whole / 3600)}


@register.filter
def link_documents(text: str) -> SafeString:
    """Have each document that a text names be a link to it, by its title."""
    return mark_safe(DOCUMENT.sub(_link_document, conditional_escape(text)))  # noqa: S308  # each part is escaped


def _link_document(named: re.Match[str]) -> str:
    path = settings.BASE_DIR / "docs" / named[1]
    if not path.is_file():
        return named[0]
    url = reverse("document", args=[named[1]])
    return format_html(
        '<a class="text-link underline" href="{}">{}</a>{}',
        url,
        _(read_title(path)),
        note_english(named[1]),
    )


@register.simple_tag
def note_english(name: str, language: str = "") -> SafeString | str:
    """Return what stands after a link to this document where it is shown in English on a page in another language."""
    language = language or (get_language() or "en").partition("-")[0]
    if language == "en" or (settings.BASE_DIR / f"docs/{language}/{name}").is_file():
        return ""
    with override(language):
        return format_html(" <small>{}</small>", _("in English"))


def read_title(path: Path) -> str:
    """Return the first heading of a document."""
    with path.open(encoding="utf-8") as lines:
        return next((line[2:].strip() for line in lines if line.startswith("# ")), path.stem)


@register.filter
def show_audit_origin(origin: str) -> str:
    """Return where an entry of the audit came from, in the page's language: an address, or what ran on which host."""
    if origin.startswith(CARRIED_OVER):
        return _("carried over from before")
    if found := ORIGIN.fullmatch(origin):
        command, host = found["command"], escape_name(found["host"])
        if command is None:
            return _("worker on the host %(host)s") % {"host": host}
        return _("command %(command)s on the host %(host)s") % {
            "command": escape_name(command),
            "host": host,
        }
    return escape_name(origin)


@register.filter
def audit_address(origin: str) -> str:
    """Return the address from which a person did it; "" of what a worker or a command did."""
    return "" if ORIGIN.fullmatch(origin) else show_audit_origin(origin)


@register.filter
def show_minutes(minutes: int) -> str:
    """Return the minutes in words: "24 hours", "1 hour 30 minutes"."""
    return localize(describe_minutes(minutes))


@register.filter
def difference_label(kind: str) -> str:
    """Return how a field differs, in words."""
    return {
        MismatchKind.DIFFERENT: _("different value"),
        MismatchKind.MISSING: _("missing in AWS"),
        MismatchKind.EXTRA: _("only in AWS"),
        MismatchKind.TYPE: _("different type"),
        MismatchKind.UNREADABLE: _("unreadable in AWS"),
    }[MismatchKind(kind)]


@register.filter
def lines_to_see(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the lines of a gate that somebody should see: those that don't pass, or pass for a reason of their own."""
    return [line for line in lines if not _passes(line)]


@register.filter
def lines_that_pass(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [line for line in lines if _passes(line)]


def _passes(line: Mapping[str, Any]) -> bool:
    return bool(line["passed"] and not line["is_off"])


@register.filter
def as_formaction(address: str) -> SafeString:
    """Return the attribute by which a button sends its form to another address."""
    return format_html('formaction="{}"', address)


@register.filter
def show_compared_field(path: str) -> SafeString | str:
    """Return the field of a comparison as HTML; one whose name this site doesn't know, in words beside its code."""
    if not path:
        return _("the whole secret")
    words = _("unknown field") if UNKNOWN_NAME in path else ""
    return format_html('{} <code class="break-words">{}</code>', words, path)


@register.filter
def names_unknown_field(mismatches: Iterable[Mismatch]) -> bool:
    """Say whether one of the fields has a name that this site doesn't know."""
    return any(UNKNOWN_NAME in mismatch.path for mismatch in mismatches)


@register.filter
def describe_difference(row: OpenMismatch | Mismatch) -> str:
    """Return how a field differs, in words; what alone differs, where the comparison found that out."""
    labels = {
        "empty": _("empty on one side"),
        "line ends": _("differs only by its line endings"),
        "blank": _("differs only by spaces at the start or end"),
        "unicode form": _("differs only by its Unicode form"),
        "case": _("differs only by upper and lower case"),
    }
    return labels.get(row.hint) or difference_label(row.kind)


@register.filter
def value_length_label(bucket: str) -> str:
    """Return a class of lengths, as a comparison keeps it, in words."""
    shortest, _dash, longest = bucket.partition("-")
    if not longest:
        return _("empty")
    return _("%(shortest)s to %(longest)s characters") % {
        "shortest": shortest,
        "longest": longest,
    }


@register.filter
def error_class_label(value: str) -> str:
    """Return the class of an error, in words."""
    labels: dict[str, str] = {
        ErrorClass.DATA: _("Wrong data"),
        ErrorClass.PERMISSION: _("Permission in AWS"),
        ErrorClass.THROTTLED: _("Throttled by AWS"),
        ErrorClass.UNAVAILABLE: _("AWS unavailable"),
        ErrorClass.CONFLICT: _("Conflict"),
        ErrorClass.SCHEMA: _("NOVA's tables changed"),
    }
    return labels.get(value, value)


@register.filter
def escape_exactly(revealed: RevealedValue) -> SafeString:
    """Return the value as HTML, with carriage returns escaped: a browser would turn them into line feeds."""
    return mark_safe(escape(revealed.value).replace("\r", "&#13;"))  # noqa: S308  # escaped


@register.filter
def describe_length_and_blanks(revealed: RevealedValue) -> list[str]:
    """Return what the eye misses in a value: its length, blanks at its ends, line breaks."""
    value = revealed.value
    number = ngettext("%(n)d character", "%(n)d characters", len(value)) % {"n": len(value)}
    before, after = len(value) - len(value.lstrip()), len(value) - len(value.rstrip())
    breaks = value.count("\n")
    rest = (
        (
            ngettext("%(n)d space at the beginning", "%(n)d spaces at the beginning", before),
            before,
        ),
        (ngettext("%(n)d space at the end", "%(n)d spaces at the end", after), after),
        (ngettext("%(n)d line break", "%(n)d line breaks", breaks), breaks),
    )
    return [number, *(text % {"n": n} for text, n in rest if n)]


@register.simple_tag
def copy_button(text: str) -> SafeString:
    """Return the button that copies this text, a name or an id beside it, which must be no secret.

    It is hidden where the browser has no scripts or no clipboard.
    """
    label = _("Copy %(text)s") % {"text": text}
    return format_html(
        '<button type="button" class="copy-button" data-copy="{}" data-copied="{}" aria-label="{}" title="{}" hidden>'
        '<span class="material-symbols-outlined" aria-hidden="true">content_copy</span></button>',
        text,
        _("Copied."),
        label,
        label,
    )


@register.simple_tag
def find_client_owner_username(client_id: int) -> str:
    """Return the name of the user who looks after the client; "" where nobody does."""
    owner = ClientOwner.objects.filter(pk=client_id).values_list("owner__username", flat=True)
    return owner.first() or ""
