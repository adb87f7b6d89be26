"""Starts a run from a page: stores it, hands it to the workers, and leads to the run's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration import tasks
from migration.admin.base import get_signed_in_user
from migration.models import MANY_TRIES, Run

if TYPE_CHECKING:
    from django.http import HttpRequest

    from migration.models import ClientPhaseQuerySet


def start_run(
    request: HttpRequest, kind: Run.Kind, chosen: ClientPhaseQuerySet
) -> HttpResponseRedirect:
    """Start a run in the user's name, enqueue it, and lead to its page."""
    run = Run.start(kind=kind, chosen=chosen, by=get_signed_in_user(request), tries=MANY_TRIES)
    number = run.items.count()
    text = ngettext("started for %(n)d client.", "started for %(n)d clients.", number)
    link = format_html('<a class="underline" href="{}">{}</a>', get_run_url(run), run)
    messages.success(request, format_html("{} {}", link, text % {"n": number}))
    enqueue_run(request, run)
    return HttpResponseRedirect(get_run_url(run))


def enqueue_run(request: HttpRequest, run: Run) -> None:
    """Enqueue the run; if the queue can't be reached, say when the run goes on."""
    if not tasks.enqueue(run):
        text = _(
            "The task queue can't be reached. %(run)s is stored, and starts within two minutes"
            " once the queue answers again."
        )
        messages.warning(request, text % {"run": run})


def get_run_url(run: Run) -> str:
    """Return the address of the run's page."""
    return reverse("admin:migration_run_change", args=[run.pk])
