"""Requested runs of moves: the buttons that approve and cancel one; and what the page of any run of moves adds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404, HttpResponseRedirect
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.admin.approvals import APPROVE_PERMISSION
from migration.admin.base import AdminView, get_signed_in_user, read_raw_form_text
from migration.admin.run_starts import enqueue_run, get_run_url
from migration.models import Run
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
)

if TYPE_CHECKING:
    from django.http import HttpRequest


class ApproveRunView(AdminView):
    """Lets a requested run begin, unless the user requested it."""

    permission_required = APPROVE_PERMISSION

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
        return run is not None and may_cancel(self.request, run)

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        try:
            cancel_run_request(run_id=pk, by=get_signed_in_user(request))
        except ApprovalStepRefused as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, _("The request is cancelled."))
        return HttpResponseRedirect(get_run_url(pk))


def may_cancel(request: HttpRequest, run: Run) -> bool:
    """Say whether the user may cancel the run: its requester before it is approved, or who may approve moves."""
    is_own = run.state == Run.State.REQUESTED and run.by_id == request.user.pk
    return is_own or request.user.has_perm(APPROVE_PERMISSION)


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
    approves = waits and request.user.has_perm(APPROVE_PERMISSION)
    why_not = find_run_approval_refusal(run, get_signed_in_user(request)) if approves else None
    return {
        "moves": moves,
        "content": run.read_request() if waits else None,
        "to_be_overridden": label_evidence(missing),
        "overridden": label_evidence(count_overrides(run)),
        "may_approve": approves and why_not is None,
        "why_not_approved": why_not,
        "may_cancel": waits and may_cancel(request, run),
    }
