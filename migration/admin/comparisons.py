"""Comparisons: their list, the page of one, and the mismatch report over every client's newest one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Max
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe
from unfold.decorators import display

from migration.admin.base import RUN_PERMISSION, ReadOnlyAdmin
from migration.models import Comparison
from migration.templatetags.migration_pages import badge, kind_label, moment

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse, QueryDict
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

    from migration.comparison import Mismatch
    from migration.models import ComparisonQuerySet

CLIENTS_A_PAGE = 50
UNCHECKED_SHOWN = 50

Status = Comparison.Status


class ComparisonAdmin(ReadOnlyAdmin):
    list_display = ("slug", "result", "number_of_fields", "text", "compared")
    list_filter = ("status",)
    search_fields = ("slug",)
    search_help_text = gettext_lazy("Slug")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER

    @display(description=gettext_lazy("result"), ordering="status")
    def result(self, comparison: Comparison) -> str:
        return badge(comparison.status)

    @display(description=gettext_lazy("fields that differ"))
    def number_of_fields(self, comparison: Comparison) -> int:
        return len(comparison.mismatches)

    @display(description=gettext_lazy("message"))
    def text(self, comparison: Comparison) -> str:
        return Truncator(comparison.message).chars(100)

    @display(description=gettext_lazy("compared"), ordering="compared_at")
    def compared(self, comparison: Comparison) -> SafeString | str:
        return moment(comparison.compared_at)

    def get_urls(self) -> list[URLPattern]:
        report = self.admin_site.admin_view(self.report)
        return [path("report/", report, name="migration_comparison_report"), *super().get_urls()]

    @method_decorator(require_safe)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        comparison = self.get_object(request, unquote(object_id))
        if comparison is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        context = self.page_context(
            request,
            str(comparison),
            opts=self.opts,
            original=comparison,
            comparison=comparison,
            may_view_clients=request.user.has_perm("credentials.view_client"),
        )
        return TemplateResponse(request, "admin/migration/comparison.html", context)

    @method_decorator(require_safe)
    def report(self, request: HttpRequest) -> HttpResponse:
        """Where the stores differ now: numbers first, then one row a client and field."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        context = self.page_context(
            request,
            _("Mismatches"),
            model_admin=self,
            may_run=request.user.has_perm(RUN_PERMISSION),
            may_view_clients=request.user.has_perm("credentials.view_client"),
            **report_context(request.GET),
        )
        return TemplateResponse(request, "admin/migration/mismatch_report.html", context)


def report_context(asked: QueryDict) -> dict[str, Any]:
    """The report's numbers and one page of its rows: five queries, whatever the number of clients."""
    newest = Comparison.objects.newest().with_acknowledged().order_by("slug", "pk")
    by_status = {
        row["status"]: row
        for row in newest.order_by()
        .values("status")
        .annotate(n=Count("pk"), last=Max("compared_at"))
    }
    numbers = {status: by_status[status]["n"] if status in by_status else 0 for status in Status}
    differing = newest.filter(status__in=Comparison.DIFFERS)
    filters = {
        key: str(asked[key]) for key in ("status", "kind", "field", "open") if asked.get(key)
    }
    page = Paginator(narrowed(newest, filters), CLIENTS_A_PAGE).get_page(asked.get("page"))
    return {
        "numbers": [(status, str(status.label), numbers[status]) for status in Status],
        "compared": sum(numbers.values()),
        "matched": numbers[Status.MATCH],
        "differing": sum(numbers[status] for status in Comparison.DIFFERS),
        "last_compared_at": max((row["last"] for row in by_status.values()), default=None),
        **counted(differing.values_list("mismatches", flat=True)),
        "filters": filters,
        "page": page,
        "query": urlencode(filters) + "&" if filters else "",
        "headings": [_("Client"), _("Result"), _("Field"), _("How it differs"), _("Compared")],
        "rows": [row for comparison in page for row in rows_of(comparison, filters)],
        "unchecked": newest.filter(status=Status.UNCHECKED)[:UNCHECKED_SHOWN],
        "unchecked_count": numbers[Status.UNCHECKED],
    }


def narrowed(newest: ComparisonQuerySet, filters: dict[str, str]) -> ComparisonQuerySet:
    """Those that differ, or those with the result that is asked for."""
    results = [filters["status"]] if "status" in filters else Comparison.DIFFERS
    wanted = {json: filters[key] for key, json in FILTERED if key in filters}
    found = newest.filter(status__in=results)
    if "open" in filters:
        found = found.unacknowledged()
    return found.filter(mismatches__contains=[wanted]) if wanted else found


# A filter's name, and what it looks at in a stored mismatch.
FILTERED = (("kind", "kind"), ("field", "path"))


def counted(stored: Any) -> dict[str, Any]:
    """How many fields differ in which way, and which fields differ at how many clients."""
    kinds, fields = Counter[str](), Counter[str]()
    for mismatches in stored:
        kinds.update(mismatch["kind"] for mismatch in mismatches)
        fields.update({mismatch["path"] for mismatch in mismatches})
    return {
        "by_kind": [(kind, kind_label(kind), number) for kind, number in kinds.most_common()],
        "by_field": fields.most_common(),
    }


def rows_of(comparison: Comparison, filters: dict[str, str]) -> list[dict[str, Any]]:
    """A row a field; one row without a field where the whole client is missing."""
    found: list[Mismatch | None] = [
        mismatch
        for mismatch in comparison.fields_that_differ()
        if all(
            filters.get(key, getattr(mismatch, name)) == getattr(mismatch, name)
            for key, name in FILTERED
        )
    ]
    return [{"comparison": comparison, "mismatch": mismatch} for mismatch in found or [None]]
