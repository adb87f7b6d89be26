"""The page Failures: each client whose newest push, comparison or move failed, and why, whichever run it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.paginator import Paginator
from django.utils.translation import gettext as _

from migration.admin.base import AdminView
from migration.admin.run_items import list_rows
from migration.admin.run_starts import may_go_on
from migration.models.failures import count_failed_clients, select_current_failures
from migration.models.run_items import Act, was_written_since_refusal

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


FAILURES_A_PAGE = 50


class OpenFailuresView(AdminView):
    """Lists what failed and was not done since, by the act that the address names."""

    template_name = "admin/migration/failures.html"

    @property
    def title(self) -> str:
        return _("Failures")

    def get(self, request: HttpRequest) -> HttpResponse:
        counts = count_failed_clients().by_act
        chosen = request.GET.get("act", "")
        act = Act(chosen) if chosen in Act else None
        found = (
            select_current_failures(act)
            .annotate(is_mended=was_written_since_refusal())
            .select_related("run")
        )
        pages = Paginator(found.order_by("slug", "act"), FAILURES_A_PAGE)
        page = pages.get_page(request.GET.get("page"))
        rows = list_rows(request, page)
        for row, item in zip(rows, page, strict=True):
            row["may_retry"] = item.run.finished_at is not None and may_go_on(request, item.run)
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
                page=page,
                rows=rows,
                headings=[_("Client"), _("Act"), _("Outcome"), _("Message"), _("Run"), _("Failed")],
                may_view_clients=request.user.has_perm("credentials.view_client"),
            )
        )
