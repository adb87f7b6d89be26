"""The bulk actions that move clients. A cutover of several is confirmed on a page with the checks of each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypedDict, cast

from django.contrib import messages
from django.contrib.admin import ModelAdmin, helpers
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.models import Client
from migration.core.audit import ReasonError, require_storable_reason
from migration.core.clients import MOVE_PERMISSIONS, ClientPhaseQuerySet, PhaseChoices, all_clients
from migration.core.pages import (
    AdminView,
    ClientWithPhase,
    describe_notes_of_clients,
    get_signed_in_user,
    get_typed_reason,
    read_number,
)
from migration.core.snapshots import ClientSnapshot, read_snapshots
from migration.moves.account import KmsAnswers
from migration.moves.approval_pages import start_move_runs
from migration.moves.approvals import ApprovalStepRefused
from migration.moves.checklists import Checklist, make_checklist
from migration.moves.evidence import EVIDENCE, Evidence, GateFacts
from migration.moves.gates import OVERRIDE_PERMISSION, count_missing_kinds, needs_approval
from migration.moves.moves import move
from migration.moves.pages import (
    MOVE_PERMISSION,
    REFUSALS,
    describe_refusal,
    get_confirm_url,
    read_override,
    try_to_move_or_request,
)
from nova_credentials.phases import IllegalMove, Move, Phase

BulkAction = Callable[
    ["ModelAdmin[Client]", HttpRequest, ClientPhaseQuerySet], HttpResponseBase | None
]

# Each move reads AWS while the person waits. More of them are a run.
MOST_CLIENTS = 50
# Less than the server in front of a worker waits for the page.
GIVE_UP_AFTER_SECONDS = 20.0
CHECKBOX = helpers.ACTION_CHECKBOX_NAME


class BulkClient(TypedDict):
    """One client as the page shows it."""

    id: int
    name: str
    slug: str
    url: str
    open: bool
    unproven: bool
    refusal: str
    checks: Checklist | None


class BulkCutoverView(AdminView):
    """The page with the checks of the clients that were selected in the list, and the button that cuts them over."""

    template_name = "admin/migration/bulk_cutover.html"
    permission_required = MOVE_PERMISSION
    selected: ClientPhaseQuerySet | None = None
    list_url = ""

    @property
    def title(self) -> str:
        return _("Cut over several clients")

    def post(self, request: HttpRequest) -> HttpResponse:
        found = list_clients_if_few(self.get_selected())
        if found is None:
            return self.post_many(request)
        if "number" not in request.POST:
            return self.show_page(found)
        if problem := self.find_confirmation_problem(len(found)):
            messages.error(request, problem)
            return self.show_page(found)
        answers = KmsAnswers()
        for client in iterate_until_timeout(request, found):
            override = read_override(request, lines_field=f"missing_{client.pk}")
            try_to_move_or_request(
                request, client.pk, Phase.AWS, Phase.DUAL_READ, override=override, answers=answers
            )
        return self.redirect_to_list()

    def get_selected(self) -> ClientPhaseQuerySet:
        """Return the clients that the list's action was given, or those that the page itself names."""
        if self.selected is not None:
            return self.selected
        # Django takes no form of thousands of fields: many clients are in a single one.
        many = self.request.POST.get("clients", "").split(",")
        chosen = map(read_number, self.request.POST.getlist(CHECKBOX) or many)
        return all_clients().with_ids([pk for pk in chosen if pk is not None])

    def post_many(self, request: HttpRequest) -> HttpResponse:
        """Show the page that confirms a cutover of many clients; start its run if that page was sent."""
        ready = self.get_selected().in_phases(Phase.DUAL_READ).order_by("pk")
        client_ids = list(ready.values_list("pk", flat=True))
        if "number" not in request.POST:
            return self.show_many(client_ids)
        if problem := self.find_confirmation_problem(len(client_ids)):
            messages.error(request, problem)
            return self.show_many(client_ids)
        reason = get_typed_reason(request)
        lines = [each for each in Evidence if each in request.POST.getlist("line")]
        override = reason if lines and request.user.has_perm(OVERRIDE_PERMISSION) else ""
        try:
            page = start_move_runs(
                request,
                ready,
                Phase.AWS,
                reason=reason,
                override_reason=override,
                override_lines=lines,
            )
        except ApprovalStepRefused as refusal:
            messages.error(request, localize(refusal.message))
            return self.show_many(client_ids)
        return page or self.redirect_to_list()

    def show_many(self, client_ids: list[int]) -> HttpResponse:
        """Show how many clients are to be cut over, and how many of them lack which evidence now."""
        missing = count_missing_kinds(client_ids, Phase.AWS)
        self.template_name = "admin/migration/bulk_cutover_run.html"
        return self.render_to_response(
            self.get_context_data(
                number=len(client_ids),
                campaign_notes=describe_notes_of_clients(self.request, client_ids),
                client_ids=",".join(map(str, client_ids)),
                missing=[
                    (kind.value, localize(EVIDENCE[kind]()), n) for kind, n in missing.items()
                ],
                may_override=self.request.user.has_perm(OVERRIDE_PERMISSION),
                needs_approval=needs_approval(Move.CUTOVER),
                input_classes=" ".join(BASE_INPUT_CLASSES),
            )
        )

    def find_confirmation_problem(self, number: int) -> str:
        """Return what is wrong with the confirmation of so many clients, or ""."""
        reason = get_typed_reason(self.request)
        if not reason:
            return _("Nothing was done: give a reason or a ticket.")
        # Typed as the page shows it, or without what separates thousands.
        if "".join(filter(str.isdecimal, self.request.POST["number"])) != str(number):
            text = _("Nothing was done: type the number of clients, %(n)d, to confirm.")
            return text % {"n": number}
        try:
            require_storable_reason(reason)
        except ReasonError as refusal:
            return localize(refusal.message)
        return ""

    def redirect_to_list(self) -> HttpResponseRedirect:
        url = self.list_url or reverse("admin:credentials_client_changelist")
        return HttpResponseRedirect(url)

    def show_page(self, found: list[ClientWithPhase]) -> HttpResponse:
        """Show the checks of each client as of now. Reads both stores."""
        snapshots = read_snapshots([client.pk for client in found])
        answers, facts = KmsAnswers(), GateFacts(snapshots.keys())
        shown = [
            self.describe_client(client, snapshots[client.pk], answers, facts)
            for client in iterate_until_timeout(self.request, found)
            if client.pk in snapshots
        ]
        unproven = [client for client in shown if client["unproven"]]
        lists = [client["checks"].checks for client in unproven if client["checks"]]
        lacking = Counter(
            check.evidence
            for checks in lists
            for check in checks
            if check.evidence and not check.passed
        )
        may_override = self.request.user.has_perm(OVERRIDE_PERMISSION)
        return self.render_to_response(
            self.get_context_data(
                clients=shown,
                campaign_notes=describe_notes_of_clients(self.request, snapshots),
                open=[client for client in shown if client["open"]],
                unproven=unproven if may_override else [],
                missing=[(localize(EVIDENCE[kind]()), n) for kind, n in lacking.items()],
                needs_approval=needs_approval(Move.CUTOVER),
                checkbox=CHECKBOX,
                input_classes=" ".join(BASE_INPUT_CLASSES),
            )
        )

    def describe_client(
        self,
        client: ClientWithPhase,
        snapshot: ClientSnapshot,
        answers: KmsAnswers,
        facts: GateFacts,
    ) -> BulkClient:
        """Return what the page shows of one client, and whether its cutover is `open`, or nothing but `unproven`."""
        shown: BulkClient = {
            "id": client.pk,
            "name": client.name,
            "slug": client.slug,
            "url": reverse("admin:credentials_client_change", args=[client.pk]),
            "open": False,
            "unproven": False,
            "refusal": "",
            "checks": None,
        }
        if snapshot.phase != Phase.DUAL_READ:
            refusal = localize(IllegalMove(snapshot.slug, snapshot.phase, Phase.AWS).message)
            if snapshot.phase == Phase.PURGED:
                refusal = _("It is purged: NOVA reads it from AWS already.")
            return {**shown, "refusal": refusal}
        checks = make_checklist(
            self.request,
            snapshot,
            Phase.AWS,
            back=get_confirm_url(client.pk, Phase.AWS),
            answers=answers,
            facts=facts,
        )
        shown["open"], shown["unproven"] = not checks.is_shut, checks.may_be_overridden
        return {**shown, "checks": checks, "refusal": localize(checks.why_shut)}


def list_bulk_moves(request: HttpRequest) -> dict[str, tuple[BulkAction, str, str | Promise]]:
    """Return the actions that the user may use, as Django has them. Purging is none: it needs each slug typed."""
    found: dict[str, tuple[BulkAction, str]] = {}
    if request.user.has_perm(MOVE_PERMISSION):
        for phase in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ):
            text = _("Move eligible clients to %(phase)s") % {"phase": PhaseChoices(phase).label}
            found[f"move_to_{phase}"] = (partial(move_clients, phase=phase), text)
        found["cut_over"] = (open_bulk_cutover, _("Cut over to AWS (opens a page with the checks)"))
    if request.user.has_perm(MOVE_PERMISSIONS[Move.RESTORE]):
        found["restore"] = (restore_purged_clients, _("Restore purged clients"))
    return {name: (action, name, text) for name, (action, text) in found.items()}


def open_bulk_cutover(
    model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> HttpResponseBase:
    """Show the page that confirms the cutover of the clients."""
    view = BulkCutoverView.as_view(
        model_admin=model_admin, selected=chosen, list_url=request.get_full_path()
    )
    return view(request)


def restore_purged_clients(
    model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> HttpResponseBase | None:
    """Restore those of the clients that are purged."""
    return move_clients(model_admin, request, chosen.in_phases(Phase.PURGED), phase=Phase.AWS)


def move_clients(
    _model_admin: ModelAdmin[Client],
    request: HttpRequest,
    chosen: ClientPhaseQuerySet,
    *,
    phase: Phase,
) -> HttpResponseBase | None:
    """Move each of the clients to the phase, from the one it is in, and report it; more than a few are a run."""
    user = get_signed_in_user(request)
    found = list_clients_if_few(chosen)
    for note in describe_notes_of_clients(request, list(chosen.values_list("pk", flat=True))):
        messages.warning(request, note)
    if found is None:
        return start_move_runs(request, chosen, phase)
    done, answers = 0, KmsAnswers()
    for client in iterate_until_timeout(request, found):
        try:
            seen = Phase(client.phase)
            move(client_id=client.pk, new=phase, seen=seen, by=user, answers=answers)
        except REFUSALS as refusal:
            messages.error(request, describe_refusal(refusal))
        else:
            done += 1
    if found == []:
        messages.warning(request, _("None of the selected clients can make this move."))
    if done:
        text = ngettext(
            "%(n)d client is in %(phase)s now.", "%(n)d clients are in %(phase)s now.", done
        )
        messages.success(request, text % {"n": done, "phase": PhaseChoices(phase).label})
    return None


def list_clients_if_few(chosen: ClientPhaseQuerySet) -> list[ClientWithPhase] | None:
    """Return the clients ordered by slug, or None if they are more than MOST_CLIENTS."""
    rows = chosen.with_phase().order_by("slug")[: MOST_CLIENTS + 1]
    found = cast("list[ClientWithPhase]", list(rows))
    return found if len(found) <= MOST_CLIENTS else None


def iterate_until_timeout(
    request: HttpRequest, found: list[ClientWithPhase]
) -> Iterator[ClientWithPhase]:
    """Yield the clients until GIVE_UP_AFTER_SECONDS are over; then say how many were not tried."""
    give_up_at = time.monotonic() + GIVE_UP_AFTER_SECONDS
    for number, client in enumerate(found):
        if time.monotonic() > give_up_at:
            text = _(
                "This took too long. Clients not tried: %(n)d. Check that AWS answers, then try again."
            )
            messages.error(request, text % {"n": len(found) - number})
            return
        yield client
