"""The page Audit: the entries with filters in its address, the page of one entry, and the export."""

from __future__ import annotations

import io
from datetime import UTC, datetime, time, timedelta
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, ClassVar
from urllib.parse import urlencode
from uuid import UUID

from django.http import FileResponse, HttpResponseBadRequest
from django.utils.dateparse import parse_date
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import BASE_INPUT_CLASSES, SELECT_CLASSES

from migration.core.audit import AuditCode, AuditEvent, AuditLink, audit_keys
from migration.core.audit_chain import read_head
from migration.core.audit_export import AuditFilter, ExportFormat, export_audit
from migration.core.pages import (
    AdminView,
    ObjectView,
    ReadOnlyAdmin,
    get_signed_in_user,
    list_chips,
)

if TYPE_CHECKING:
    from datetime import date

    from django.http import HttpRequest, HttpResponse, QueryDict
    from django.http.response import HttpResponseBase
    from django_stubs_ext import StrPromise

ROWS_A_PAGE = 50
# A larger export is written to the disk.
IN_MEMORY = 4 * 1024 * 1024
FILTERS: dict[str, StrPromise] = {
    "who": gettext_lazy("Who"),
    "about": gettext_lazy("Done to user"),
    "code": gettext_lazy("What"),
    "slug": gettext_lazy("Client (slug)"),
    "since": gettext_lazy("From day"),
    "until": gettext_lazy("To day"),
}
CODES = {("code", code): label for code, label in AuditCode.choices}
CONTENT_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.JSON: "application/json",
}


def read_filters(query: QueryDict) -> dict[str, str]:
    """Return the filters that the address sets; days that are none are left out."""
    given = {name: value for name in FILTERS if (value := query.get(name, "").strip())}
    return {
        name: value
        for name, value in given.items()
        if name not in ("since", "until") or _read_day(value)
    }


def make_filter(given: dict[str, str]) -> AuditFilter:
    """Make the AuditFilter of these texts of the address; `until` is the last day, in UTC as the page's times."""
    since, until = _read_day(given.get("since", "")), _read_day(given.get("until", ""))
    return AuditFilter(
        who=given.get("who", ""),
        about=given.get("about", ""),
        code=given.get("code", ""),
        slug=given.get("slug", ""),
        since=_begin_of(since) if since else None,
        before=_begin_of(until) + timedelta(days=1) if until else None,
    )


def _read_day(text: str) -> date | None:
    try:
        day = parse_date(text)
    except ValueError:
        return None
    return day if day and 1970 < day.year < 9000 else None


def _begin_of(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _read_id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


class AuditEntriesView(AdminView):
    """The entries, the newest first, a page at a time from one entry to the next ones."""

    template_name = "admin/migration/audit.html"

    @property
    def title(self) -> str:
        return _("Audit")

    def get(self, request: HttpRequest) -> HttpResponse:
        given = read_filters(request.GET)
        older, newer = (_read_id(request.GET.get(name, "")) for name in ("older", "newer"))
        chosen = make_filter(given).select()
        if newer:
            rows = list(chosen.filter(pk__gt=newer).order_by("pk")[: ROWS_A_PAGE + 1])
            more, rows = len(rows) > ROWS_A_PAGE, rows[:ROWS_A_PAGE][::-1]
            has_newer, has_older = more, True
        else:
            rows = list((chosen.filter(pk__lt=older) if older else chosen)[: ROWS_A_PAGE + 1])
            has_newer, has_older = older is not None, len(rows) > ROWS_A_PAGE
            rows = rows[:ROWS_A_PAGE]
        return self.render_to_response(
            self.get_context_data(
                rows=rows,
                filters=given,
                in_use={"chips": list_chips(given, FILTERS, CODES)},
                newest=rows[0].pk if rows and has_newer else None,
                oldest=rows[-1].pk if rows and has_older else None,
                query=urlencode(given) + "&" if given else "",
                codes=[
                    (code, label, given.get("code") == code) for code, label in AuditCode.choices
                ],
                head=read_head(),
                may_view_clients=request.user.has_perm("credentials.view_client"),
                input_classes=" ".join(BASE_INPUT_CLASSES),
                select_classes=" ".join(SELECT_CLASSES),
            )
        )


class SpooledExport:
    """A file in memory, and on the disk once it is large. The answer that sends it closes it."""

    def __init__(self) -> None:
        self.file: IO[bytes] = io.BytesIO()

    def write(self, text: str) -> None:
        if isinstance(self.file, io.BytesIO) and self.file.tell() > IN_MEMORY:
            in_memory, self.file = self.file, TemporaryFile()  # noqa: SIM115  # the answer closes it
            self.file.write(in_memory.getvalue())
        self.file.write(text.encode())


class ExportAuditView(AdminView):
    """The entries that the address chooses, as a file. It is written whole, then sent: a slow reader holds nothing."""

    def post(self, request: HttpRequest) -> HttpResponseBase:
        if request.POST.get("format") not in [*ExportFormat]:
            return HttpResponseBadRequest()
        kind = ExportFormat(request.POST["format"])
        export = SpooledExport()
        export_audit(
            chosen=make_filter(read_filters(request.GET)),
            kind=kind,
            write=export.write,
            by=get_signed_in_user(request),
        )
        export.file.seek(0)
        return FileResponse(
            export.file,
            as_attachment=True,
            filename=f"audit.{kind}",
            content_type=CONTENT_TYPES[kind],
        )


class AuditEventView(ObjectView[AuditEvent]):
    """The page of one entry, with its place in the chain."""

    template_name = "admin/migration/audit_event.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return super().get_context_data(
            event=self.original,
            link=AuditLink.objects.filter(event_id=self.original.pk).first(),
            is_unchanged=self.original.is_unchanged(audit_keys()),
            may_view_clients=self.request.user.has_perm("credentials.view_client"),
            **kwargs,
        )


class AuditEventAdmin(ReadOnlyAdmin):
    object_view = AuditEventView
    own_views: ClassVar = [("export/", "export", ExportAuditView)]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponseBase:
        return AuditEntriesView.as_view(model_admin=self)(request)
