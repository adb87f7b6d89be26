"""Starts a run from a page: stores it, hands it to the workers, and leads to the run's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration import tasks
from migration.admin.base import RUN_PERMISSION, get_signed_in_user
from migration.models import MANY_TRIES, MOVE_PERMISSIONS, PhaseChoices, Run
from migration.operations.run_approvals import start_move_run
from nova_credentials.phases import MOVES

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from django.http import HttpRequest

    from migration.models import ClientPhaseQuerySet, LoginStores
    from migration.operations.evidence import Evidence
    from nova_credentials.phases import Phase

VIEW_RUNS = "migration.view_run"


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


def start_move_runs(
    request: HttpRequest,
    chosen: ClientPhaseQuerySet,
    new: Phase,
    *,
    reason: str = "",
    override_reason: str = "",
    override_lines: Collection[Evidence] = (),
) -> HttpResponseRedirect | None:
    """Start a run of moves to `new` for each phase that the clients are in, and lead to its page if it is one.

    Raises `ApprovalStepRefused` and `ReasonError`. Clients whose phase has no such move are left out, and counted.
    """
    user, started, left = get_signed_in_user(request), [], chosen.count()
    for (old, to), kind in MOVES.items():
        some = chosen.in_phases(old)
        if to != new or not user.has_perm(MOVE_PERMISSIONS[kind]) or not some.exists():
            continue
        run = start_move_run(
            chosen=some,
            old=old,
            new=new,
            by=user,
            reason=reason,
            override_reason=override_reason,
            override_lines=override_lines,
            tries=MANY_TRIES,
        )
        announce_and_enqueue_run(request, run)
        started.append(run)
        left -= run.items.count()
    if left:
        text = ngettext(
            "%(n)s selected client can't move to %(phase)s from its phase: it was left out.",
            "%(n)s selected clients can't move to %(phase)s from their phase: they were left out.",
            left,
        )
        messages.warning(request, text % {"n": intcomma(left), "phase": PhaseChoices(new).label})
    may_view = user.has_perm(VIEW_RUNS) or user.has_perm(RUN_PERMISSION)
    if len(started) == 1 and may_view:
        return HttpResponseRedirect(get_run_url(started[0]))
    return None


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
