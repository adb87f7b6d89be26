"""Pages of what waits for a second person: requests for a move, and requested runs of moves."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display

from credentials.localization import localize, localize_html
from credentials.models import Client
from migration.core.clients import APPROVE_MOVES
from migration.core.pages import (
    AdminView,
    ObjectView,
    ReadOnlyAdmin,
    add_pages,
    get_signed_in_user,
    read_raw_form_text,
)
from migration.core.snapshots import read_snapshots
from migration.moves.acts import MOVE_ACTS, describe_move
from migration.moves.approvals import (
    ApprovalStepRefused,
    approve_request,
    approve_run,
    cancel_request,
    cancel_run_request,
    find_approval_refusal,
    find_run_approval_refusal,
    get_override,
)
from migration.moves.checklists import Checklist, show_checks
from migration.moves.gates import (
    ShutGate,
    count_missing_kinds,
    count_overrides,
    evaluate_gate,
    label_evidence,
)
from migration.runs.models import Run
from migration.runs.pages import MORE_OF_RUN
from migration.runs.requests import MoveRequest
from migration.runs.starts import enqueue_run, get_run_url
from migration.templatetags.migration_pages import badge, time_ago
from nova_credentials.phases import Phase

# Requests of one client: their list, the page of one, approve and cancel


class MoveRequestView(ObjectView[MoveRequest]):
    """The page of one request: who asked for what, its checks as of now, and what the user may do about it."""

    template_name = "admin/migration/approval.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        move_request, user = self.original, self.request.user
        is_there = Client.objects.filter(pk=move_request.client_id).exists()
        act = MOVE_ACTS[Phase(move_request.old), Phase(move_request.new)]
        # Nobody has decided it yet, and the user may.
        may_act = move_request.is_open and may_cancel(self.request, move_request)
        approves = may_act and user.has_perm(APPROVE_MOVES)
        why_not = (
            find_approval_refusal(move_request, get_signed_in_user(self.request))
            if approves
            else None
        )
        content = move_request.read_content()
        checks = self.make_checks() if may_act else Checklist([], [])
        return super().get_context_data(**kwargs) | {
            "move_request": move_request,
            "lines": checks.lines,
            "why_shut": checks.why_shut,
            "is_own": move_request.requested_by_id == user.pk,
            "may_approve": approves and why_not is None,
            "why_not_approved": why_not,
            "content": content,
            "present_slug": content.renamed
            and Client.objects.values_list("slug", flat=True).get(pk=move_request.client_id),
            "may_cancel": may_act,
            "confirmation_text": f"{act.effect} {act.way_back}",
            "may_view_client": is_there and user.has_perm("credentials.view_client"),
        }

    def make_checks(self) -> Checklist:
        """Return the checks as of now; none if the client left the phase in which the move was requested."""
        client_id, old = self.original.client_id, self.original.old
        snapshot = read_snapshots([client_id]).get(client_id)
        if snapshot is None or snapshot.phase != old:
            return Checklist([], [])
        return show_checks(
            self.request,
            client_id,
            evaluate_gate(snapshot, Phase(self.original.new)),
            back=get_request_url(self.original.pk),
            override=get_override(self.original),
            marks_overridable=False,
        )


class ApproveMoveView(AdminView):
    """Makes the requested move, unless the user requested it too."""

    permission_required = APPROVE_MOVES

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        try:
            moved = approve_request(
                request_id=pk,
                by=get_signed_in_user(request),
                shown=read_raw_form_text(request, "shown"),
            )
        except MoveRequest.DoesNotExist:
            raise Http404 from None
        except (ShutGate, ApprovalStepRefused) as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, describe_move(moved))
        return HttpResponseRedirect(get_request_url(pk))


class CancelMoveView(AdminView):
    """Withdraws the user's own request, or refuses another's, which needs the permission to approve."""

    def has_permission(self) -> bool:
        move_request = MoveRequest.objects.filter(pk=self.kwargs["pk"]).first()
        return move_request is not None and may_cancel(self.request, move_request)

    def post(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        try:
            cancel_request(request_id=pk, by=get_signed_in_user(request))
        except ApprovalStepRefused as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, gettext("The request is cancelled."))
        return HttpResponseRedirect(get_request_url(pk))


class MoveRequestAdmin(ReadOnlyAdmin):
    list_display = (
        "request_name",
        "state_badge",
        "failed_checks",
        "requested_by_name",
        "requested_when",
        "decided_by_name",
        "decided_when",
    )
    list_filter = ("state",)
    search_fields = ("slug",)
    search_help_text = _("Slug")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    object_view = MoveRequestView
    own_views: ClassVar = [
        ("<int:pk>/approve/", "approve", ApproveMoveView),
        ("<int:pk>/cancel/", "cancel", CancelMoveView),
    ]

    @property
    def nothing_yet(self) -> str:
        if settings.NOVA_REQUIRE_APPROVAL:
            return gettext("Nobody has asked for a cutover or a purge yet.")
        return gettext(
            "Approval is off (NOVA_REQUIRE_APPROVAL): cutovers and purges need no second person."
        )

    @display(description=_("request"), ordering="pk")
    def request_name(self, move_request: MoveRequest) -> str:
        return str(move_request)

    @display(description=_("state"), ordering="state")
    def state_badge(self, move_request: MoveRequest) -> str:
        return badge(move_request.state)

    @display(description=_("checks that fail"))
    def failed_checks(self, move_request: MoveRequest) -> SafeString:
        return format_html_join(
            " ", "{}", ([localize_html(reason)] for reason in move_request.reasons)
        )

    @display(description=_("requested"), ordering="requested_at")
    def requested_when(self, move_request: MoveRequest) -> SafeString | str:
        return time_ago(move_request.requested_at)

    @display(description=_("decided"), ordering="decided_at")
    def decided_when(self, move_request: MoveRequest) -> SafeString | str:
        return time_ago(move_request.decided_at)


def get_request_url(pk: int) -> str:
    """Return the address of the page of the move request with this id."""
    return reverse("admin:migration_moverequest_change", args=[pk])


def may_cancel(request: HttpRequest, move_request: MoveRequest) -> bool:
    """Say whether the user may cancel the request: who made it may, and who may approve moves."""
    is_own = move_request.requested_by_id == request.user.pk
    return is_own or request.user.has_perm(APPROVE_MOVES)


# Runs of moves: the buttons that approve and cancel one, and what the page of any adds


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
