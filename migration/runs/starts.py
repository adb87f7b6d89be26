"""Starts a run from a page: stores it, hands it to the workers, and leads to the run's page."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import intcomma
from migration import tasks
from migration.core.clients import ClientPhaseQuerySet
from migration.core.pages import RUN_PERMISSION, get_signed_in_user
from migration.logins.models import LoginStores
from migration.runs.models import MANY_TRIES, Run


def start_run(
    request: HttpRequest,
    kind: Run.Kind,
    chosen: ClientPhaseQuerySet,
    *,
    stores: LoginStores | None = None,
    secret_settings: dict[str, Any] | None = None,
    reason: str = "",
) -> HttpResponseRedirect:
    """Start a run in the user's name, enqueue it, and lead to its page.

    `stores` are for a run of login tests, `secret_settings` for one that applies them, `reason` for one of copies.
    """
    run = Run.start(
        kind=kind,
        chosen=chosen,
        by=get_signed_in_user(request),
        tries=MANY_TRIES,
        stores=stores,
        secret_settings=secret_settings,
        reason=reason,
    )
    announce_and_enqueue_run(request, run)
    return HttpResponseRedirect(get_run_url(run))


def announce_and_enqueue_run(request: HttpRequest, run: Run) -> None:
    """Say that the run is started, or requested, and enqueue it where it is started."""
    number = run.items.count()
    if run.state == Run.State.REQUESTED:
        text = ngettext(
            "requested for %(n)s client: somebody else has to approve it.",
            "requested for %(n)s clients: somebody else has to approve it.",
            number,
        )
    else:
        text = ngettext("started for %(n)s client.", "started for %(n)s clients.", number)
        enqueue_run(request, run)
    link = format_html('<a class="underline" href="{}">{}</a>', get_run_url(run), run)
    move = f"({run.move_shown}) " if run.move_shown else ""
    messages.success(request, format_html("{} {}{}", link, move, text % {"n": intcomma(number)}))


def may_go_on(request: HttpRequest, run: Run) -> bool:
    """Say whether the user may have the run go on with its clients, which needs the permission for its act, too."""
    may = request.user.has_perm
    return may(RUN_PERMISSION) and (not run.own_permission or may(run.own_permission))


def enqueue_run(request: HttpRequest, run: Run) -> None:
    """Enqueue the run; if the queue can't be reached, say when the run goes on."""
    if not tasks.enqueue(run):
        text = _(
            "The task queue can't be reached. %(run)s is stored, and starts within two minutes"
            " once the queue answers again."
        )
        messages.warning(request, text % {"run": run})


def get_run_url(run: Run | int) -> str:
    """Return the address of the page of a run, or of the run with this id."""
    pk = run.pk if isinstance(run, Run) else run
    return reverse("admin:migration_run_change", args=[pk])


def get_plan_url(run: Run) -> str:
    """Return the address of the page with the plan of a run."""
    return reverse("admin:credentials_client_act_plan", args=[run.pk])
