"""What the pages share: read-only models, and starting a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin

from migration import tasks
from migration.models import MANY_TRIES, Run

if TYPE_CHECKING:
    from django.db.models import Model
    from django.http import HttpRequest

    from migration.models import ClientsByPhase

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
    """Start a run in the user's name, enqueue it, and lead to its page."""
    user: Any = request.user  # has a permission, so is logged in
    run = Run.start(kind=kind, chosen=chosen, by=user, tries=MANY_TRIES)
    number = run.items.count()
    text = ngettext("started for %(n)d client.", "started for %(n)d clients.", number)
    link = format_html('<a class="underline" href="{}">{}</a>', run_url(run), run)
    messages.success(request, format_html("{} {}", link, text % {"n": number}))
    enqueue_run(request, run)
    return HttpResponseRedirect(run_url(run))


def enqueue_run(request: HttpRequest, run: Run) -> None:
    """Enqueue the run; where the queue can't be reached, say when it goes on."""
    if not tasks.enqueue(run):
        text = _(
            "The task queue can't be reached. %(run)s is stored, and starts within two minutes"
            " once the queue answers again."
        )
        messages.warning(request, text % {"run": run})


def run_url(run: Run) -> str:
    """Return the address of the run's page."""
    return reverse("admin:migration_run_change", args=[run.pk])
