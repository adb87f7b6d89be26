"""What a run's page shows of moves, and its buttons by which a second person approves or refuses a requested run."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from credentials.localization import localize, localize_html
from credentials.models import Client
from migration.core.clients import APPROVE_MOVES, all_clients
from migration.core.pages import AdminView, add_pages, get_signed_in_user, read_raw_form_text
from migration.core.snapshots import read_snapshots
from migration.core.text import shorten_list
from migration.moves.acts import MOVE_ACTS, describe_move
from migration.moves.approvals import (
    ApprovalStepRefused,
    approve_run,
    cancel_run_request,
    find_approval_refusal,
)
from migration.moves.checklists import Checklist, show_checks
from migration.moves.gates import (
    Override,
    ShutGate,
    count_missing_kinds,
    count_overrides,
    evaluate_gate,
    label_evidence,
    split_by_override,
)
from migration.moves.rules import Ask, Check, judge_gates
from migration.moves.runs import find_override
from migration.runs.acts import Order
from migration.runs.items import RunItem
from migration.runs.models import PlannedMoves, Run
from migration.runs.pages import MORE_OF_RUN, NOTES_OF_RUNS
from migration.runs.starts import enqueue_run, get_run_url
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name


class ApproveRunView(AdminView):
    """Lets a requested run begin, or moves its one client, unless the user requested it."""

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
        except (ShutGate, ApprovalStepRefused) as refusal:
            messages.error(request, localize(refusal.message))
        else:
            if (item := run.only_item) and (moves := run.moves):
                told = describe_move(item.slug, moves.new, item.message, old=moves.old)
                messages.success(request, told)
            else:
                messages.success(request, gettext("Approved: the run begins."))
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
            messages.success(request, gettext("The request is cancelled."))
        return HttpResponseRedirect(get_run_url(pk))


def may_cancel_run(request: HttpRequest, run: Run) -> bool:
    """Say whether the user may cancel the run: its requester before it is approved, or who may approve moves."""
    is_own = run.state == Run.State.REQUESTED and run.by_id == request.user.pk
    return is_own or request.user.has_perm(APPROVE_MOVES)


def get_run_moves_context(request: HttpRequest, run: Run) -> dict[str, object]:
    """Return the moves, overrides and approval of a run of moves for its page; {} for any other run.

    While it waits for an approval: what it would override as of now, and of one client the checks.
    """
    moves = run.moves
    if moves is None:
        return {}
    context: dict[str, object] = {
        "moves": moves,
        "overridden": label_evidence(count_overrides(run)),
    }
    if run.state != Run.State.REQUESTED:
        return context
    missing = {}
    if moves.override_reason:
        pks = list(run.items.open().values_list("client_id", flat=True))
        missing = {
            kind: number
            for kind, number in count_missing_kinds(pks, moves.new).items()
            if kind in moves.override_lines
        }
    approves = request.user.has_perm(APPROVE_MOVES)
    why_not = find_approval_refusal(run, get_signed_in_user(request)) if approves else None
    may_cancel = may_cancel_run(request, run)
    context |= {
        "content": run.read_request(),
        "to_be_overridden": label_evidence(missing),
        "may_approve": approves and why_not is None,
        "why_not_approved": why_not,
        "may_cancel": may_cancel,
        "is_own": run.by_id == request.user.pk,
        "approvers": list_approvers(run),
    }
    if item := run.only_item:
        act = MOVE_ACTS[moves.old, moves.new]
        checks = check_only_client(request, run, moves, item, asks_aws=may_cancel)
        slugs = Client.objects.filter(pk=item.client_id).values_list("slug", flat=True)
        context |= {
            "only_item": item,
            "present_slug": slugs.first(),
            "lines": checks.lines,
            "why_shut": checks.why_shut,
            "confirmation_text": f"{act.effect} {gettext('Undo: %(how)s') % {'how': act.way_back}}",
        }
    return context


# By it Django finds who has a permission.
PERMISSION_BACKEND = "django.contrib.auth.backends.ModelBackend"
MOST_APPROVERS = 6


def list_approvers(run: Run) -> tuple[str, ...]:
    """Return the names of the people who may approve the run."""
    people = User.objects.with_perm(APPROVE_MOVES, backend=PERMISSION_BACKEND).order_by("username")
    may = [escape_name(each.username) for each in people if not find_approval_refusal(run, each)]
    return shorten_list(may, MOST_APPROVERS)


def check_only_client(
    request: HttpRequest, run: Run, moves: PlannedMoves, item: RunItem, *, asks_aws: bool
) -> Checklist:
    """Return the checks of a requested run of one client as of now; none if it left the phase that the run names.

    `asks_aws`: also whether the account may read and write, for who decides the request; others have no AWS asked.
    """
    snapshot = read_snapshots([item.client_id]).get(item.client_id)
    if snapshot is None or snapshot.phase != moves.old:
        return Checklist([], [])
    if asks_aws:
        checks = evaluate_gate(snapshot, moves.new)
    else:
        checks = judge_gates(Ask([item.client_id]), moves.new)[item.client_id]
    return show_checks(
        request,
        item.client_id,
        checks,
        back=get_run_url(run),
        override=find_override(run, moves, item.client_id),
        marks_overridable=False,
    )


def describe_requested(runs: Sequence[Run]) -> dict[int, SafeString]:
    """Return, of each requested run of one client, its slug and what it waits for as of now.

    As far as the database alone can tell; the same number of queries for any number of runs.
    """
    requested = [run for run in runs if run.state == Run.State.REQUESTED and run.total == 1]
    of_one = {run.pk: run for run in requested if run.kind == Run.Kind.MOVE}
    items = list(RunItem.objects.filter(run__in=of_one)) if of_one else []
    by_move: dict[tuple[Phase, Phase], list[int]] = {}
    for item in items:
        run = of_one[item.run_id]
        move = Phase(run.move_from), Phase(run.move_to)
        by_move.setdefault(move, []).append(item.client_id)
    checks: dict[int, list[Check]] = {}
    for (old, new), client_ids in by_move.items():
        clients = all_clients().with_ids(client_ids).in_phases(old)
        standing_there = list(clients.values_list("pk", flat=True))
        checks |= MOVE_ACTS[old, new].check_gates(standing_there, Order(None))
    told = {}
    for item in items:
        run = of_one[item.run_id]
        failed = [check for check in checks.get(item.client_id, ()) if not check.passed]
        override = None
        if run.override_reason:
            # In nobody's name: whether who asked still may is for the approval.
            override = Override(run.override_reason, None, kinds=frozenset(run.override_lines))
        shut = [localize_html(check.text) for check in split_by_override(failed, override).shut]
        why = format_html_join(" ", "{}", ((each,) for each in shut))
        told[run.pk] = format_html("{}: {}" if shut else "{}", item.slug, why)
    return told


add_pages(
    "run",
    ("<int:pk>/approve/", "approve", ApproveRunView),
    ("<int:pk>/cancel/", "cancel", CancelRunRequestView),
)
MORE_OF_RUN.append(get_run_moves_context)
NOTES_OF_RUNS.append(describe_requested)
