"""Comparisons: their list, and the page of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Max
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe
from unfold.decorators import display

from credentials.localization import localize_html
from credentials.models import Client
from migration.admin import mismatches
from migration.admin.base import ReadOnlyAdmin
from migration.admin.moves import RESOLVE_PERMISSION
from migration.models import Comparison, OpenMismatch, Secret
from migration.templatetags.migration_pages import badge, moment

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern


class ComparisonAdmin(ReadOnlyAdmin):
    list_display = ("slug", "result", "number_of_fields", "text", "compared")
    list_filter = ("status",)
    # By its beginning: the index answers that, and no search in the middle.
    search_fields = ("slug__startswith",)
    search_help_text = gettext_lazy("The slug begins with")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False

    @display(description=gettext_lazy("result"), ordering="status")
    def result(self, comparison: Comparison) -> str:
        return badge(comparison.status)

    @display(description=gettext_lazy("fields that differ"))
    def number_of_fields(self, comparison: Comparison) -> int:
        return len(comparison.mismatches)

    @display(description=gettext_lazy("message"))
    def text(self, comparison: Comparison) -> SafeString:
        whole = localize_html(comparison.message)
        return mark_safe(Truncator(whole).chars(100, html=True))  # noqa: S308  # a part of what is safe

    @display(description=gettext_lazy("compared"), ordering="compared_at")
    def compared(self, comparison: Comparison) -> SafeString | str:
        return moment(comparison.compared_at)

    def get_urls(self) -> list[URLPattern]:
        return [*mismatches.urls(self), *super().get_urls()]

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
            may_resolve=request.user.has_perm(RESOLVE_PERMISSION),
            **both_sides(comparison),
        )
        return TemplateResponse(request, "admin/migration/comparison.html", context)


def both_sides(comparison: Comparison) -> dict[str, Any]:
    """What is known of the versions of both stores and of who wrote last: four queries."""
    pk = comparison.client_id
    client = Client.objects.with_revision().filter(pk=pk).first()
    written = Client.objects.filter(pk=pk).aggregate(
        **{
            f"in_{rows or 'clients'}": Max(f"{rows}updated_at")
            for rows in ("", "databases__", "emails__", "aws_logins__")
        }
    )
    saved = LogEntry.objects.filter(
        content_type__app_label="credentials", content_type__model="client", object_id=str(pk)
    )
    return {
        "client": client,
        "rows_written_at": max(filter(None, written.values()), default=None),
        "saved_here": saved.select_related("user").order_by("-pk").first(),
        "secrets": Secret.objects.filter(client_id=pk).order_by("name"),
        "standing_since": OpenMismatch.objects.filter(comparison=comparison).select_related(
            "owner"
        ),
    }
