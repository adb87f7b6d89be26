"""Comparisons: their list, and the page of one."""

from __future__ import annotations

from typing import ClassVar

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.db.models import Max
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from credentials.localization import localize_html
from credentials.models import Client
from migration.admin.base import RESOLVE_PERMISSION, ObjectView, ReadOnlyAdmin
from migration.admin.mismatches import OWN_VIEWS, MismatchReportView
from migration.models.comparisons import Comparison
from migration.models.mismatches import OpenMismatch
from migration.models.secrets import Secret
from migration.templatetags.migration_pages import badge, time_ago


class ComparisonView(ObjectView[Comparison]):
    """The page of one comparison."""

    template_name = "admin/migration/comparison.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        may = self.request.user.has_perm
        return super().get_context_data(
            comparison=self.original,
            newest=self.find_newer(),
            may_view_clients=may("credentials.view_client"),
            may_resolve=may(RESOLVE_PERMISSION),
            **get_versions_and_writers_context(self.original),
            **kwargs,
        )

    def find_newer(self) -> Comparison | None:
        """Return the client's newest comparison where this is an old one."""
        found = Comparison.objects.filter(client_id=self.original.client_id).first()
        return found if found and found.pk != self.original.pk else None


class ComparisonAdmin(ReadOnlyAdmin):
    nothing_yet = gettext_lazy(
        "Nothing was compared yet. “Compare all clients” on the page of mismatches does it."
    )
    list_display = (
        "slug",
        "result_badge",
        "number_of_mismatches",
        "short_message",
        "compared_when",
    )
    list_filter = ("status",)
    # Only the beginning of the slug is searched, which the index answers.
    search_fields = ("slug__startswith",)
    search_help_text = gettext_lazy("The slug begins with")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    object_view = ComparisonView
    own_views: ClassVar = [("report/", "report", MismatchReportView), *OWN_VIEWS]

    @display(description=gettext_lazy("result"), ordering="status")
    def result_badge(self, comparison: Comparison) -> str:
        return badge(comparison.status)

    @display(description=gettext_lazy("fields that differ"))
    def number_of_mismatches(self, comparison: Comparison) -> int:
        return len(comparison.mismatches)

    @display(description=gettext_lazy("message"))
    def short_message(self, comparison: Comparison) -> SafeString:
        whole = localize_html(comparison.message)
        return mark_safe(Truncator(whole).chars(100, html=True))  # noqa: S308  # a part of what is safe

    @display(description=gettext_lazy("compared"), ordering="compared_at")
    def compared_when(self, comparison: Comparison) -> SafeString | str:
        return time_ago(comparison.compared_at)


def get_versions_and_writers_context(comparison: Comparison) -> dict[str, object]:
    """Return the versions in both stores and who wrote last. Takes four queries."""
    pk = comparison.client_id
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
        "client": Client.objects.with_revision()
        .select_related("client_owner__owner")
        .filter(pk=pk)
        .first(),
        "rows_written_at": max(filter(None, written.values()), default=None),
        "saved_here": saved.select_related("user").order_by("-pk").first(),
        "secrets": Secret.objects.filter(client_id=pk).order_by("name"),
        # What is open now, whichever comparison was the last to find it.
        "open_mismatches": OpenMismatch.objects.filter(client_id=pk).order_by("path"),
    }
