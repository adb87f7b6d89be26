"""Pages of one client's moves: what a page offers, the buttons, the confirmation, the numbers after a cutover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib import messages
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.models import Client
from migration.core.audit import VIEW_REQUESTS, ReasonError
from migration.core.clients import (
    MOVE_PERMISSIONS,
    ClientMigration,
    Offboarding,
    PhaseChange,
    PhaseChoices,
    ReadCount,
)
from migration.core.comparisons import Comparison
from migration.core.pages import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    ClientRow,
    ClientView,
    describe_notes_of_clients,
    find_remedy,
    get_signed_in_user,
    get_typed_reason,
    redirect_back,
    show_refusal,
)
from migration.core.snapshots import ClientSnapshot, read_snapshots
from migration.moves.account import KmsAnswers
from migration.moves.approvals import CLIENT_GONE, ApprovalStepRefused, request_move
from migration.moves.checklists import Checklist, make_checklist
from migration.moves.evidence import find_end_of_purge_wait
from migration.moves.gates import (
    NEED_APPROVAL,
    OVERRIDE_PERMISSION,
    Override,
    ShutGate,
    needs_approval,
)
from migration.moves.moves import MoveResult, move
from migration.pushes.pushes import push
from migration.runs.items import PUSHED
from migration.runs.requests import MoveRequest
from nova_credentials.messages import MessageError
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase, StalePhase

# A client's page watches its cutover for this time.
WATCHED_FOR = timedelta(minutes=10)
MOVE_PERMISSION = MOVE_PERMISSIONS[Move.FORWARD]
HAVE_CHECKS = (Move.FORWARD, Move.CUTOVER, Move.PURGE)
# These need the slug typed and a reason given, on a page of their own.
NEED_CONFIRMATION = NEED_APPROVAL


@dataclass(frozen=True)
class MoveOption:
    """A move as a page offers it."""

    kind: Move
    old: Phase
    new: Phase
    client_id: int

    @property
    def button_label(self) -> str:
        return label_button(self.kind, self.new)

    @property
    def description(self) -> str:
        return describe_move_effects(self.kind, self.new)

    @property
    def confirm_url(self) -> str:
        """Return the address of the page that confirms the move, or "" if it needs none."""
        needed = self.kind in NEED_CONFIRMATION
        return get_confirm_url(self.client_id, self.new) if needed else ""

    @property
    def needs_approval(self) -> bool:
        return needs_approval(self.kind)

    @property
    def is_purge(self) -> bool:
        return self.kind == Move.PURGE

    @property
    def is_rollback_of_cutover(self) -> bool:
        return self.kind == Move.ROLLBACK

    @property
    def may_delete_secret(self) -> bool:
        return self.new == Phase.POSTGRES

    @property
    def goes_back(self) -> bool:
        return self.kind in (Move.BACK, Move.ROLLBACK, Move.RESTORE)


def get_moves_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the template context of the moves from the client's phase; `may_resolve`: the user may resolve too."""
    phase = Phase(client.phase)
    requests = MoveRequest.objects.none()
    if request.user.has_perm(VIEW_REQUESTS):
        requests = MoveRequest.objects.filter(client_id=client.pk)
    return {
        "moves": list_moves(request, client, phase),
        "move_request": requests.open().first(),
        "watch": measure_cutover(client.pk),
        "differs": client.newest_status not in (None, Comparison.Status.MATCH),
        "input_classes": " ".join(BASE_INPUT_CLASSES),
        "may_resolve": request.user.has_perm(RESOLVE_PERMISSION) and phase != Phase.PURGED,
        "today": timezone.localdate().isoformat(),
    }


def list_moves(request: HttpRequest, client: ClientRow, phase: Phase) -> list[MoveOption]:
    """Return the moves that the user may make, the rollback first, and no purge before its time.

    A client that was offboarded, or is about to be, makes none: it is brought back first.
    """
    if Offboarding.objects.leaving_or_left().filter(client=client.pk).exists():
        return []
    found = [
        MoveOption(kind, old, new, client.pk)
        for (old, new), kind in MOVES.items()
        if old == phase and request.user.has_perm(MOVE_PERMISSIONS[kind])
    ]
    if find_end_of_purge_wait(client.phase_since):
        found = [move for move in found if not move.is_purge]
    return sorted(found, key=lambda move: not move.is_rollback_of_cutover)


def get_confirm_url(client_id: int, new: Phase) -> str:
    """Return the address of the page that confirms a move."""
    return reverse("admin:credentials_client_dialog", args=[client_id, new.value])


def label_button(kind: Move, new: Phase) -> str:
    """Return the text of the button that makes the move, or requests it if it needs an approval."""
    label = PhaseChoices(new).label
    if needs_approval(kind):
        return {
            Move.CUTOVER: _("Request the cutover"),
            Move.PURGE: _("Request the purge"),
        }[kind]
    return {
        Move.FORWARD: _("Move to %(phase)s") % {"phase": label},
        Move.BACK: _("Move back to %(phase)s") % {"phase": label},
        Move.CUTOVER: _("Cut over to AWS"),
        Move.ROLLBACK: _("Roll back"),
        Move.PURGE: _("Purge"),
        Move.RESTORE: _("Restore"),
    }[kind]


def describe_move_effects(kind: Move, new: Phase) -> str:
    """Return a sentence about what the move does."""
    return {
        (Move.FORWARD, Phase.DUAL_WRITE): _(
            "Pushes the client to AWS; from then on every write goes to both stores."
        ),
        (Move.FORWARD, Phase.DUAL_READ): _(
            "NOVA reads and compares both stores and uses AWS's value."
        ),
        (Move.CUTOVER, Phase.AWS): _(
            "NOVA reads AWS only. PostgreSQL keeps receiving every write."
        ),
        (Move.ROLLBACK, Phase.DUAL_READ): _(
            "NOVA reads both stores again. AWS's values are copied to PostgreSQL first."
        ),
        (Move.PURGE, Phase.PURGED): _(
            "Replaces the secret values in PostgreSQL with pointers. They can be restored from AWS."
        ),
        (Move.RESTORE, Phase.AWS): _("Copies the secret values from AWS back to PostgreSQL."),
        (Move.BACK, Phase.DUAL_WRITE): _("NOVA reads PostgreSQL only; writes go to both stores."),
        (Move.BACK, Phase.POSTGRES): _(
            "Writes go to PostgreSQL only; the secret stays in AWS unless you delete it."
        ),
    }[kind, new]


# The buttons that move or push one client: they call an operation and show what it answers

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
        return read_phase(self.request.POST.get("new", ""))

    @cached_property
    def seen(self) -> Phase:
        return read_phase(self.request.POST.get("seen", ""))

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
            # No page offers a purge before its time: so no form overrides it either.
            is_early_purge = self.new == Phase.PURGED and find_time_of_purge(client_id) is not None
            override = None if is_early_purge else read_override(request)
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
    message = refusal.message if isinstance(refusal, MessageError) else CLIENT_GONE()
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


def read_phase(text: str) -> Phase:
    """Return the phase that an address or a form names; raise Http404 if it is none."""
    try:
        return Phase(text)
    except ValueError:
        raise Http404 from None


def find_time_of_purge(client_id: int) -> datetime | None:
    """Return from when the client may be purged; None if from now."""
    found = ClientMigration.objects.filter(pk=client_id).first()
    return find_end_of_purge_wait(found.phase_changed_at if found else None)


# The confirmation of one move


class ConfirmMoveView(ClientView):
    """The page that confirms the move to the phase `new` in the address."""

    template_name = "admin/migration/move_confirmation.html"

    @cached_property
    def new(self) -> Phase:
        return read_phase(self.kwargs["new"])

    @cached_property
    def snapshot(self) -> ClientSnapshot:
        snapshot = read_snapshots([self.client_id]).get(self.client_id)
        if snapshot is None:
            raise Http404
        return snapshot

    @property
    def kind(self) -> Move | None:
        return MOVES.get((self.snapshot.phase, self.new))

    @property
    def title(self) -> str:
        return make_confirmation_title(self.kind, self.client.name) if self.kind else ""

    def has_permission(self) -> bool:
        return self.request.user.has_perm(MOVE_PERMISSIONS[self.kind or Move.FORWARD])

    def get(self, request: HttpRequest, client_id: int, new: str) -> HttpResponse:
        if self.kind is None:
            illegal = IllegalMove(self.snapshot.slug, self.snapshot.phase, self.new)
            messages.error(request, localize(illegal.message))
            url = reverse("admin:credentials_client_change", args=[client_id])
            return HttpResponseRedirect(url)
        return self.render_to_response(self.get_context_data(**self.get_move_context(self.kind)))

    def get_move_context(self, kind: Move) -> dict[str, object]:
        """Return the move, its checks as of now, and an open request for a move of this client."""
        # Before that time no page offers a purge.
        possible_at = find_time_of_purge(self.client_id) if kind == Move.PURGE else None
        checks = (
            make_checklist(
                self.request,
                self.snapshot,
                self.new,
                back=self.request.get_full_path(),
                marks_overridable=not possible_at,
            )
            if kind in HAVE_CHECKS
            else Checklist([], [])
        )
        may_override = self.request.user.has_perm(OVERRIDE_PERMISSION)
        missing = checks.missing_evidence_codes if may_override else []
        requests = MoveRequest.objects.open().filter(client_id=self.client_id)
        text = make_move_warning(kind, self.client.name)
        note, waits = checks.override_note, needs_approval(kind)
        if missing and waits and not checks.may_be_overridden:
            note = _(
                "You can override the lines marked so, with a reason. The request waits for the others: those can't be"
                " overridden."
            )
        return {
            "slug": self.snapshot.slug,
            "move": MoveOption(kind, self.snapshot.phase, self.new, self.client_id),
            "confirmation_text": text or describe_move_effects(kind, self.new),
            "lines": checks.lines,
            "shut": checks.is_shut,
            "why_shut": checks.why_shut,
            "override_note": note,
            "campaign_notes": describe_notes_of_clients(self.request, [self.client_id]),
            # A request waits for the facts that fail; a move at once is not offered then.
            "missing": missing if waits or checks.may_be_overridden else [],
            "possible_at": possible_at,
            "move_request": requests.first(),
            "input_classes": " ".join(BASE_INPUT_CLASSES),
        }


def make_confirmation_title(kind: Move, name: str) -> str:
    """Return the title of the page that confirms a move of the client `name`."""
    asks = needs_approval(kind)
    titles = {
        Move.CUTOVER: _("Request the cutover of %(client)s") if asks else _("Cut over %(client)s"),
        Move.PURGE: _("Request the purge of %(client)s") if asks else _("Purge %(client)s"),
        Move.ROLLBACK: _("Roll back %(client)s"),
        Move.RESTORE: _("Restore %(client)s"),
    }
    return titles.get(kind, _("Move %(client)s")) % {"client": name}


def make_move_warning(kind: Move, name: str) -> str:
    """Return what changes for the client `name`, or "" if the move needs no such warning."""
    texts = {
        Move.CUTOVER: _(
            "After the cutover NOVA reads %(client)s from AWS. PostgreSQL keeps receiving every write."
            " You can roll back in one click."
        ),
        Move.PURGE: _(
            "The secret values of %(client)s in PostgreSQL are replaced with pointers: only AWS keeps them."
            " They can be restored from AWS as long as the secret exists."
        ),
        Move.ROLLBACK: _(
            "After the rollback NOVA reads both stores of %(client)s again."
            " AWS's values are copied to PostgreSQL first, so nothing is lost."
        ),
    }
    return texts.get(kind, "") % {"client": name}


# The minutes after a cutover


class CutoverNumbersView(ClientView):
    """The part of a client's page with the numbers since its cutover: HTML that the open page asks for again."""

    template_name = "admin/migration/client_watch_numbers.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self.render_to_response(
            {"watch": measure_cutover(client_id), "client_id": client_id}
        )


@dataclass(frozen=True)
class CutoverWatch:
    """A client's reads and comparisons since its cutover a few minutes ago."""

    client_id: int
    since: datetime
    until: datetime
    reads: int
    aws_failures: int
    last_read_at: datetime | None
    comparisons: int
    mismatches: int

    @property
    def seconds_left(self) -> float:
        return (self.until - timezone.now()).total_seconds()


def measure_cutover(client_id: int) -> CutoverWatch | None:
    """Return reads and comparisons since the cutover; None if older than WATCHED_FOR or not in AWS now."""
    lately = timezone.now() - WATCHED_FOR
    later = Comparison.objects.filter(client_id=client_id, compared_at__gt=OuterRef("changed_at"))
    numbers = later.order_by().values("client_id").annotate(number=Count("pk")).values("number")
    in_aws = Exists(ClientMigration.objects.filter(pk=client_id, phase=Phase.AWS))
    cutover = (
        PhaseChange.objects.filter(in_aws, client_id=client_id, changed_at__gte=lately)
        .annotate(
            compared=Coalesce(Subquery(numbers), 0),
            differ=Coalesce(Subquery(numbers.filter(status__in=Comparison.DIFFERS)), 0),
        )
        .order_by("-pk")
        .first()
    )
    if not cutover or cutover.old != Phase.DUAL_READ:
        return None
    seen = ReadCount.objects.filter(pk=client_id).first() or ReadCount()
    since = seen.count_since(cutover.reads_before)
    return CutoverWatch(
        client_id=client_id,
        since=cutover.changed_at,
        until=cutover.changed_at + WATCHED_FOR,
        last_read_at=seen.last_read_at,
        comparisons=cutover.compared,  # type: ignore[attr-defined]  # annotated
        mismatches=cutover.differ,  # type: ignore[attr-defined]
        reads=since.reads,
        aws_failures=since.aws_failures,
    )
