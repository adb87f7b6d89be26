"""Downloads: the selected clients as a CSV file, and the audit's entries of one client up to its cutover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import (
    Http404,
    HttpResponse,
    HttpResponsePermanentRedirect,
    StreamingHttpResponse,
)
from django.utils.http import content_disposition_header
from django.utils.text import get_valid_filename
from django.utils.translation import gettext as _

from migration.admin.base import ClientView, get_signed_in_user
from migration.admin.client_columns import may_view_groups, may_view_run_results
from migration.admin.client_tabs import ClientTab, get_tab_url
from migration.operations.csv_cells import make_csv_line
from migration.operations.cutover_exports import NotCutOverError, export_cutover
from migration.people.roles import VIEW_AUDIT
from migration.reports.client_list import ListRights, iterate_export

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise

    from credentials.models import Client
    from migration.admin.bulk_moves import BulkAction
    from migration.models.clients import ClientPhaseQuerySet

# Who may see all that the file tells may export it. Every role has these.
EXPORT_PERMISSIONS = (
    "credentials.view_client",
    "migration.view_comparison",
    "migration.view_copysearch",
    "migration.view_moverequest",
)


def list_export_actions() -> dict[str, tuple[BulkAction, str, StrOrPromise]]:
    """Return the action, as Django has it: whoever sees the list may download it."""
    return {"download": (download_clients, "download", _("Download as CSV"))}


def download_clients(
    model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> StreamingHttpResponse:
    """Send the clients with what the list shows of each, and no secret value."""
    sight = ListRights(groups=may_view_groups(request), errors=may_view_run_results(request))
    return StreamingHttpResponse(
        map(make_csv_line, iterate_export(chosen, sight)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="clients.csv"'},
    )


def may_export_cutover(request: HttpRequest) -> bool:
    return bool(request.user.has_perms(EXPORT_PERMISSIONS))


class ExportCutoverView(ClientView):
    """Sends the audit's entries of the client up to its newest cutover, as signed; a link leads to the button."""

    def has_permission(self) -> bool:
        return may_export_cutover(self.request)

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        url = get_tab_url(self.client.pk, ClientTab.HISTORY, "cutover")
        return HttpResponsePermanentRedirect(url)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        try:
            text = export_cutover(
                client=self.client,
                by=get_signed_in_user(request),
                for_auditor=request.user.has_perm(VIEW_AUDIT),
            )
        except NotCutOverError:
            raise Http404 from None
        name = get_valid_filename(f"cutover-{self.client.slug}.json")
        return HttpResponse(
            text,
            content_type="application/json",
            headers={"Content-Disposition": content_disposition_header(True, name) or ""},
        )
