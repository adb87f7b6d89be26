"""The page Failures: each client whose newest push, comparison or move failed, and why, whichever run it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.paginator import Paginator
from django.utils.translation import gettext as _

from migration.admin.base import AdminView
from migration.models import Act
from migration.reports.failures import count_failures, select_failures

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

FAILURES_A_PAGE = 50


class FailuresView(AdminView):
    """Lists what failed and was not done since, by the act that the address names."""

    template_name = "admin/migration/failures.html"

    @property
    def title(self) -> str:
        return _("Failures")

    def get(self, request: HttpRequest) -> HttpResponse:
        counts = count_failures().by_act
        chosen = request.GET.get("act", "")
        act = Act(chosen) if chosen in Act else None
        found = select_failures(act).select_related("run").order_by("slug", "act")
        numbers = {"": sum(counts.values())} | {each.value: counts.get(each, 0) for each in Act}
        labels = {"": _("All")} | {each.value: str(each.label) for each in Act}
        tabs = [
            {"key": key, "label": labels[key], "count": number, "chosen": key == (act or "")}
            for key, number in numbers.items()
            if number or key in ("", act)
        ]
        return self.render_to_response(
            self.get_context_data(
                tabs=tabs,
                act=act,
                page=Paginator(found, FAILURES_A_PAGE).get_page(request.GET.get("page")),
                headings=[_("Client"), _("Act"), _("Outcome"), _("Message"), _("Run"), _("Failed")],
                may_view_clients=request.user.has_perm("credentials.view_client"),
            )
        )
