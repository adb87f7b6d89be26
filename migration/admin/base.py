"""What the pages share: read-only models, and starting a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin

from migration import tasks

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    from migration.models import ClientsByPhase, Run

RUN_PERMISSION = "migration.add_run"


class ReadOnlyAdmin(ModelAdmin):
    """History: nobody adds, changes or deletes it, superusers neither."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def page_context(self, request: HttpRequest, title: str, **context: Any) -> dict[str, Any]:
        """What the templates of a page of one's own need."""
        request.current_app = self.admin_site.name  # as Django's own views do
        return {**self.admin_site.each_context(request), "title": title, **context}


def reason_of(request: HttpRequest) -> str:
    """The reason that was typed, less the blanks around it. The operation that keeps it judges it."""
    return request.POST.get("reason", "").strip()


def start_run(request: HttpRequest, kind: Run.Kind, chosen: ClientsByPhase) -> HttpResponseRedirect:
    """Starts a run in the user's name and leads to its page."""
    run = tasks.start_run(kind=kind, chosen=chosen, by=request.user)  # type: ignore[arg-type]  # has a permission
    url = reverse("admin:migration_run_change", args=[run.pk])
    number = run.items.count()
    text = ngettext("started for %(n)d client.", "started for %(n)d clients.", number)
    link = format_html('<a class="underline" href="{}">{}</a>', url, run)
    messages.success(request, format_html("{} {}", link, text % {"n": number}))
    return HttpResponseRedirect(url)
