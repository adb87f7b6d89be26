"""The page NOVA's processes: those that read through the package, and who still reads the tables directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from django.contrib import admin
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import display

from migration.admin.base import ObjectView, ReadOnlyAdmin
from migration.models.reader_processes import ReaderProcess
from migration.reports.readers import ADOPTION_STEPS, compare_other_statements, describe_readers
from migration.templatetags.migration_pages import make_label, time_ago

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.utils.safestring import SafeString
    from django_stubs_ext import StrOrPromise

    from migration.models.reader_processes import ReaderProcessQuerySet


class SeenFilter(admin.SimpleListFilter):
    title = gettext_lazy("seen")
    parameter_name = "seen"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[ReaderProcess]
    ) -> list[tuple[str, StrOrPromise]]:
        return [
            ("yes", gettext_lazy("In the last hour")),
            ("no", gettext_lazy("Not in the last hour")),
            ("failing", gettext_lazy("Failed to read AWS in the last 30 minutes")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ReaderProcess]
    ) -> QuerySet[ReaderProcess]:
        found = cast("ReaderProcessQuerySet", queryset)
        match self.value():
            case "yes":
                return found.seen_in_last_hour()
            case "no":
                return found.not_seen_in_last_hour()
            case "failing":
                return found.failing_now()
        return found


class ReaderProcessView(ObjectView[ReaderProcess]):
    """The page of one process."""

    template_name = "admin/migration/reader.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        process = self.original
        return super().get_context_data(
            process=process, seen_label=make_seen_in_last_hour_label(process), **kwargs
        )


class ReaderProcessAdmin(ReadOnlyAdmin):
    nothing_yet = gettext_lazy(
        "No process of NOVA has read through the package yet. It is listed here once it does."
    )
    list_display = (
        "process_name",
        "seen_badge",
        "version",
        "access_key",
        "newest_error",
        "first_seen_when",
        "last_read_when",
    )
    list_filter: ClassVar = [SeenFilter]
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_before_template = "admin/migration/readers.html"
    object_view = ReaderProcessView

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        readers = ReaderProcess.objects.summarize()
        return super().changelist_view(
            request,
            (extra_context or {})
            | {
                "readers": readers,
                "readers_sentence": describe_readers(readers),
                "adoption_steps": () if readers.last_read_at else ADOPTION_STEPS,
                "others": compare_other_statements(),
            },
        )

    @display(description=gettext_lazy("host and process"), ordering="host")
    def process_name(self, process: ReaderProcess) -> str:
        return str(process)

    @display(description=gettext_lazy("state"))
    def seen_badge(self, process: ReaderProcess) -> str:
        return make_seen_in_last_hour_label(process)

    @display(description=gettext_lazy("AWS access key"))
    def access_key(self, process: ReaderProcess) -> str:
        return f"…{process.access_key_end}" if process.access_key_end else "–"

    @display(description=gettext_lazy("newest AWS error"), ordering="aws_error_at")
    def newest_error(self, process: ReaderProcess) -> str:
        return process.aws_error_label or "–"

    @display(description=gettext_lazy("first seen"), ordering="first_seen_at")
    def first_seen_when(self, process: ReaderProcess) -> SafeString | str:
        return time_ago(process.first_seen_at)

    @display(description=gettext_lazy("last read"), ordering="last_read_at")
    def last_read_when(self, process: ReaderProcess) -> SafeString | str:
        return time_ago(process.last_read_at)


def make_seen_in_last_hour_label(process: ReaderProcess) -> str:
    """Return a label that says whether the process read in the last hour."""
    if process.is_seen:
        return make_label(_("Seen in the last hour"), "success", "check")
    return make_label(_("Not seen in the last hour"), "default", "schedule")
