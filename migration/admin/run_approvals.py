"""Requested runs of moves: the buttons that approve and cancel one; and what the page of any run of moves adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import Http404, HttpResponseRedirect
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from migration.admin.base import (
    RUN_PERMISSION,
    AdminView,
    add_pages,
    get_signed_in_user,
    read_raw_form_text,
)
from migration.admin.run_starts import announce_and_enqueue_run, enqueue_run, get_run_url
from migration.admin.run_views import MORE_OF_RUN
from migration.models.permissions import APPROVE_MOVES, VIEW_RUNS
from migration.models.phases import MOVE_PERMISSIONS, PhaseChoices
from migration.models.runs import MANY_TRIES, Run
from migration.operations.approvals import ApprovalStepRefused
from migration.operations.evidence_counts import (
    count_missing_kinds,
    count_overrides,
    label_evidence,
)
from migration.operations.run_approvals import (
    approve_run,
    cancel_run_request,
    find_run_approval_refusal,
    start_move_run,
)
from nova_credentials.phases import MOVES

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest

    from migration.models.clients import ClientPhaseQuerySet
    from migration.operations.evidence import Evidence
    from nova_credentials.phases import Phase


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


class ApproveRunView(AdminView):
    """Lets a requested run begin, unless the user requested it."""

    permission_required = APPROVE_MOVES

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        try:
            run = approve_run(
                run_id=pk,
                by=get_signed_in_user(request),
                shown=read_raw_form_text(request, "shown"),
            )
        except Run.DoesNotExist:
            raise Http404 from None
        except ApprovalStepRefused as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, _("Approved: the run begins."))
            enqueue_run(request, run)
        return HttpResponseRedirect(get_run_url(pk))


class CancelRunRequestView(AdminView):
    """Withdraws the run that the user requested, or refuses another's, which needs the permission to approve."""

    def has_permission(self) -> bool:
        run = Run.objects.filter(pk=self.kwargs["pk"]).first()
        return run is not None and may_cancel_run(self.request, run)

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        try:
            cancel_run_request(run_id=pk, by=get_signed_in_user(request))
        except ApprovalStepRefused as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, _("The request is cancelled."))
        return HttpResponseRedirect(get_run_url(pk))


def may_cancel_run(request: HttpRequest, run: Run) -> bool:
    """Say whether the user may cancel the run: its requester before it is approved, or who may approve moves."""
    is_own = run.state == Run.State.REQUESTED and run.by_id == request.user.pk
    return is_own or request.user.has_perm(APPROVE_MOVES)


def get_run_moves_context(request: HttpRequest, run: Run) -> dict[str, object]:
    """Return the moves, overrides and approval of a run of moves for its page; {} for any other run."""
    moves = run.moves
    if moves is None:
        return {}
    waits = run.state == Run.State.REQUESTED
    missing = {}
    if waits and moves.override_reason:
        pks = list(run.items.open().values_list("client_id", flat=True))
        missing = {
            kind: number
            for kind, number in count_missing_kinds(pks, moves.new).items()
            if kind in moves.override_lines
        }
    approves = waits and request.user.has_perm(APPROVE_MOVES)
    why_not = find_run_approval_refusal(run, get_signed_in_user(request)) if approves else None
    return {
        "moves": moves,
        "content": run.read_request() if waits else None,
        "to_be_overridden": label_evidence(missing),
        "overridden": label_evidence(count_overrides(run)),
        "may_approve": approves and why_not is None,
        "why_not_approved": why_not,
        "may_cancel": waits and may_cancel_run(request, run),
    }


add_pages(
    "run",
    ("<int:pk>/approve/", "approve", ApproveRunView),
    ("<int:pk>/cancel/", "cancel", CancelRunRequestView),
)
MORE_OF_RUN.append(get_run_moves_context)
