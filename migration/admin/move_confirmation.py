"""The page that confirms one move, with its checks and a form, and the numbers that are watched after a cutover."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404, HttpResponseRedirect
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin.base import ClientView, describe_notes_of_clients
from migration.admin.checklists import Checklist, make_checklist
from migration.admin.move_options import MoveOption, describe_move_effects
from migration.models.approvals import MoveRequest
from migration.models.clients import ClientMigration
from migration.models.phases import MOVE_PERMISSIONS
from migration.operations.evidence import find_end_of_purge_wait
from migration.operations.gates import OVERRIDE_PERMISSION, needs_approval
from migration.operations.snapshots import read_snapshots
from migration.reports.cutover_watch import measure_cutover
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase

if TYPE_CHECKING:
    from datetime import datetime

    from django.http import HttpRequest, HttpResponse

    from migration.operations.snapshots import ClientSnapshot

HAVE_CHECKS = (Move.FORWARD, Move.CUTOVER, Move.PURGE)


class ConfirmMoveView(ClientView):
    """The page that confirms the move to the phase `new` in the address."""

    template_name = "admin/migration/move_confirmation.html"

    @cached_property
    def new(self) -> Phase:
        try:
            return Phase(self.kwargs["new"])
        except ValueError:
            raise Http404 from None

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
        possible_at = self.find_purge_wait_end() if kind == Move.PURGE else None
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

    def find_purge_wait_end(self) -> datetime | None:
        """Return from when the client may be purged; None if from now. Before, no page offers it."""
        client_migration = ClientMigration.objects.filter(pk=self.client_id).first()
        return find_end_of_purge_wait(
            client_migration.phase_changed_at if client_migration else None
        )


class CutoverNumbersView(ClientView):
    """The part of a client's page with the numbers since its cutover: HTML that the open page asks for again."""

    template_name = "admin/migration/client_watch_numbers.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self.render_to_response(
            {"watch": measure_cutover(client_id), "client_id": client_id}
        )


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
