"""The action that downloads the selected clients as a CSV file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _

from migration.admin.client_columns import may_view_groups, may_view_run_results
from migration.operations.csv_cells import make_csv_line
from migration.reports.client_list import ListRights, iterate_export

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest
    from django_stubs_ext import StrOrPromise

    from credentials.models import Client
    from migration.admin.bulk_moves import BulkAction
    from migration.models import ClientPhaseQuerySet


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
