"""The moves that a page offers: their buttons and descriptions, and what the user may do with a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from migration.admin.base import RESOLVE_PERMISSION
from migration.models.approvals import MoveRequest
from migration.models.comparisons import Comparison
from migration.models.offboardings import Offboarding
from migration.models.permissions import VIEW_REQUESTS
from migration.models.phases import MOVE_PERMISSIONS, PhaseChoices
from migration.operations.evidence import find_end_of_purge_wait
from migration.operations.gates import NEED_APPROVAL, needs_approval
from migration.reports.cutover_watch import measure_cutover
from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from django.http import HttpRequest

    from migration.admin.base import ClientRow

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
