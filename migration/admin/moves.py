"""The buttons that move or push one client: they call an operation and show what it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.http import Http404, HttpResponseRedirect
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _

from credentials.localization import localize
from credentials.models import Client
from migration import sentences
from migration.admin.base import (
    RUN_PERMISSION,
    ClientView,
    get_signed_in_user,
    get_typed_reason,
)
from migration.admin.move_options import NEED_CONFIRMATION, get_confirm_url
from migration.admin.remedies import find_remedy, redirect_back, show_refusal
from migration.models.clients import ClientMigration
from migration.models.moves import PhaseChange
from migration.models.phases import MOVE_PERMISSIONS, PhaseChoices
from migration.models.reasons import ReasonError
from migration.models.run_items import PUSHED
from migration.operations.approvals import ApprovalStepRefused, request_move
from migration.operations.evidence import find_end_of_purge_wait
from migration.operations.gates import Override, ShutGate, needs_approval
from migration.operations.moves import move
from migration.operations.pushes import push
from nova_credentials.messages import MessageError
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase, StalePhase

if TYPE_CHECKING:
    from django.http import HttpRequest

    from migration.operations.account import KmsAnswers
    from migration.operations.moves import MoveResult


MOVE_PERMISSION = MOVE_PERMISSIONS[Move.FORWARD]
REFUSALS = (
    ShutGate,
    IllegalMove,
    StalePhase,
    ApprovalStepRefused,
    ReasonError,
    Client.DoesNotExist,
)


class MoveClientView(ClientView):
    """Moves the client to the phase `new`, if it still is in the phase `seen`, or requests the move."""

    @cached_property
    def new(self) -> Phase:
        return read_phase(self.request, "new")

    @cached_property
    def seen(self) -> Phase:
        return read_phase(self.request, "seen")

    def has_permission(self) -> bool:
        kind = MOVES.get((self.seen, self.new))
        permission = MOVE_PERMISSIONS[kind] if kind else MOVE_PERMISSION
        return bool(self.client and self.request.user.has_perm(permission))

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        needs_confirmation = MOVES.get((self.seen, self.new)) in NEED_CONFIRMATION
        if needs_confirmation and (problem := self.find_confirmation_problem()):
            messages.error(request, problem)
            moved = False
        else:
            override = None if self.is_early_purge() else read_override(request)
            moved = try_to_move_or_request(
                request, client_id, self.new, self.seen, override=override
            )
        if moved or not needs_confirmation or self.was_moved_meanwhile():
            return redirect_back(request, client_id)
        return HttpResponseRedirect(get_confirm_url(client_id, self.new))

    def was_moved_meanwhile(self) -> bool:
        """Say whether the client is no longer in the phase in which the user saw it."""
        found = ClientMigration.objects.filter(pk=self.client_id).first()
        return Phase(found.phase if found else Phase.POSTGRES) != self.seen

    def is_early_purge(self) -> bool:
        """Say whether the move is a purge before its time, which no page offers: so no form overrides it either."""
        if self.new != Phase.PURGED:
            return False
        found = ClientMigration.objects.filter(pk=self.client_id).first()
        return find_end_of_purge_wait(found.phase_changed_at if found else None) is not None

    def find_confirmation_problem(self) -> str:
        """Return what is missing in the confirmation, or ""."""
        if self.request.POST.get("slug") != self.client.slug:
            text = _("Nothing was done: type the slug, %(slug)s, to confirm.")
            return text % {"slug": self.client.slug}
        if not get_typed_reason(self.request):
            return _("Nothing was done: give a reason or a ticket.")
        return ""


class PushClientView(ClientView):
    """Pushes one client while the person waits."""

    permission_required = RUN_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        for result in push(client_ids=[self.client.pk], interactive=True):
            text = f"{result.outcome.label}. {localize(result.message)}".strip()
            if result.outcome in PUSHED:
                messages.success(request, text)
            else:
                codes = result.message.codes if result.message else []
                link = find_remedy(request, client_id, codes)
                messages.error(request, format_html("{} {}", text, link) if link else text)
        return redirect_back(request, client_id)


def try_to_move_or_request(
    request: HttpRequest,
    client_id: int,
    new: Phase,
    seen: Phase,
    *,
    override: Override | None = None,
    answers: KmsAnswers | None = None,
) -> bool:
    """Move the client, or request the move if it needs an approval, and report it. Return False if it was refused."""
    user, reason = get_signed_in_user(request), get_typed_reason(request)
    kind = MOVES.get((seen, new))
    try:
        if kind and needs_approval(kind):
            made = request_move(
                client_id=client_id,
                new=new,
                by=user,
                reason=reason,
                seen=seen,
                override=override,
            )
            text = _("Requested (%(what)s): somebody else has to approve it.") % {"what": made}
            messages.success(request, " ".join([text, *map(localize, made.reasons)]))
        else:
            moved = move(
                client_id=client_id,
                new=new,
                seen=seen,
                by=user,
                reason=reason,
                schedule_deletion="schedule_deletion" in request.POST,
                override=override,
                answers=answers,
            )
            report_move(request, moved)
    except REFUSALS as refusal:
        if isinstance(refusal, ShutGate):
            show_refusal(request, client_id, refusal.message, refusal.codes)
        elif isinstance(refusal, StalePhase):
            messages.error(request, describe_other_move(client_id, refusal))
        else:
            messages.error(request, describe_refusal(refusal))
        return False
    return True


def read_override(request: HttpRequest, lines_field: str = "missing") -> Override | None:
    """Return the override that a form asks for, with the reason of the move; None where it asks for none.

    It is for the lines that the form showed, which it posts in the fields `lines_field`, and for no others.
    """
    reason = get_typed_reason(request)
    if not (reason and request.POST.get("override")):
        return None
    shown = frozenset(request.POST.getlist(lines_field))
    return Override(reason, get_signed_in_user(request), shown)


def describe_refusal(refusal: Exception) -> str:
    """Return why a move was refused, in the language of the page."""
    message = refusal.message if isinstance(refusal, MessageError) else sentences.CLIENT_GONE()
    return localize(message)


def describe_other_move(client_id: int, refusal: StalePhase) -> str:
    """Return who moved the client before this user could, and that nothing was done, as a sentence."""
    change = PhaseChange.objects.filter(client_id=client_id).order_by("-pk").first()
    if change is None:
        return describe_refusal(refusal)
    text = _("%(who)s moved %(slug)s to %(phase)s %(when)s. Nothing was done.")
    return text % {
        "who": change.by_name or _("A command"),
        "slug": refusal.slug,
        "phase": change.get_new_display(),
        "when": naturaltime(change.changed_at),
    }


def report_move(request: HttpRequest, moved: MoveResult) -> None:
    """Have the next page tell the user in which phase the client is now."""
    values = {"slug": moved.slug, "phase": PhaseChoices(moved.new).label}
    text = _("%(slug)s is in %(phase)s now.") % values
    messages.success(request, f"{text} {localize(moved.message_with_overridden)}".strip())


def read_phase(request: HttpRequest, name: str) -> Phase:
    """Return the phase in a field of the form; raise Http404 if it is none."""
    try:
        return Phase(request.POST.get(name, ""))
    except ValueError:
        raise Http404 from None
