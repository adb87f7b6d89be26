"""The page of the mismatch report."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlencode

from django.urls import reverse
from django.utils.translation import gettext as _

from migration.admin.base import NO_MODEL_IN_PATH, AdminView, get_signed_in_user
from migration.admin.bulk_resolutions import (
    AcknowledgeMismatchesView,
    BulkCopyToPostgresView,
    CompareClientsAgainView,
    CopyToAwsView,
)
from migration.admin.mismatch_report import get_report_context, read_filters
from migration.admin.mismatch_undo import (
    UndoResolutionsView,
    describe_undoable_act,
)
from migration.models.resolutions import Resolution

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


# By the name of the address, with the icon of the button.
REPORT_ACTS: dict[str, tuple[type[AdminView], str]] = {
    "check": (CompareClientsAgainView, "compare_arrows"),
    "to_aws": (CopyToAwsView, "cloud_upload"),
    "to_postgres": (BulkCopyToPostgresView, "cloud_download"),
    "acknowledge": (AcknowledgeMismatchesView, "done_all"),
}
OWN_VIEWS: list[tuple[str, str, type[AdminView]]] = [
    *(
        (f"report/{name.replace('_', '-')}/", name, view)
        for name, (view, _icon) in REPORT_ACTS.items()
    ),
    ("report/undo/", "undo", UndoResolutionsView),
]
# Without a field that differs there is nothing to copy.
FOR_CLIENTS = (Resolution.Kind.CHECK, Resolution.Kind.ACKNOWLEDGE, "owners")


class ReportButton(NamedTuple):
    """A button over the report: it posts the selected clients to `url`."""

    label: str
    icon: str
    url: str


class MismatchReportView(AdminView):
    """The report, for everybody who may view comparisons."""

    template_name = "admin/migration/mismatch_report.html"

    @property
    def title(self) -> str:
        return _("Mismatches")

    def get(self, request: HttpRequest) -> HttpResponse:
        may = request.user.has_perm
        report = get_report_context(request.GET, user=get_signed_in_user(request))
        buttons = self.list_buttons(status=read_filters(request.GET).get("status", ""))
        context = self.get_context_data(
            may_run=may(CompareClientsAgainView.permission_required),
            may_view_clients=may("credentials.view_client"),
            buttons=buttons,
            first_url=buttons[0].url if buttons else "",
            undo=describe_undoable_act(request)
            if may(UndoResolutionsView.permission_required)
            else "",
            **report,
        )
        return self.render_to_response(context | NO_MODEL_IN_PATH)

    def list_buttons(self, *, status: str) -> list[ReportButton]:
        """Return the buttons that the user may press over the selection."""
        query = urlencode(read_filters(self.request.GET))
        return [
            ReportButton(
                f"{view.heading}…", icon, f"{reverse(f'admin:migration_comparison_{name}')}?{query}"
            )
            for name, (view, icon) in REPORT_ACTS.items()
            if self.request.user.has_perm(view.permission_required or "")
            and is_offered(name, status)
        ]


def is_offered(name: str, status: str) -> bool:
    """Say whether the act makes sense for the clients that this status selects."""
    if status == "match":
        return name == Resolution.Kind.CHECK
    return status != "unchecked" or name in FOR_CLIENTS
