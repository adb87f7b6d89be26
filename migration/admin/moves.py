"""The buttons that move a client and resolve mismatches: they ask an operation and tell its answer."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.models import Client
from migration import sentences
from migration.admin.base import RUN_PERMISSION, reason_of
from migration.models import (
    MOVE_PERMISSIONS,
    PUSHED,
    Comparison,
    MoveRequest,
    PhaseChoices,
    ReasonError,
)
from migration.operations import resolutions
from migration.operations.approvals import NotApproved, request_move
from migration.operations.gates import NEED_APPROVAL, ShutGate, needs_approval
from migration.operations.moves import move
from migration.operations.pushes import push
from migration.operations.resolutions import NotResolved
from migration.reports.client_status import watch_of
from nova_credentials.messages import Message, MessageError
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase, StalePhase

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.urls import URLPattern


MOVE_PERMISSION = MOVE_PERMISSIONS[Move.FORWARD]
RESOLVE_PERMISSION = "migration.resolve_mismatch"
VIEW_REQUESTS = "migration.view_moverequest"
# What is thought over on a page of its own: the slug is typed and a reason given.
IN_A_DIALOG = NEED_APPROVAL
REFUSALS = (ShutGate, IllegalMove, StalePhase, NotApproved, ReasonError, Client.DoesNotExist)


def urls(model_admin: Any) -> list[URLPattern]:
    view = model_admin.admin_site.admin_view
    return [
        path(
            f"<int:client_id>/{what}/",
            view(require_POST(do)),
            name=f"credentials_client_{what}",
        )
        for what, do in (("move", _move), ("resolve", _resolve), ("push", _push))
    ]


def context(request: HttpRequest, client: Any) -> dict[str, Any]:
    """What the client's page offers: the moves from where it stands, as far as the user may, and the resolutions."""
    phase = Phase(client.phase)
    asked = MoveRequest.objects.none()
    if request.user.has_perm(VIEW_REQUESTS):
        asked = MoveRequest.objects.filter(client_id=client.pk)
    return {
        "moves": [
            offer(kind, old, new, client.pk)
            for (old, new), kind in MOVES.items()
            if old == phase and request.user.has_perm(MOVE_PERMISSIONS[kind])
        ],
        "move_request": asked.open().select_related("requested_by").first(),
        "watch": watch_of(client.pk, phase),
        "differs": client.newest_status not in (None, Comparison.Status.MATCH),
        "input_classes": " ".join(BASE_INPUT_CLASSES),
        "may_resolve": request.user.has_perm(RESOLVE_PERMISSION) and phase != Phase.PURGED,
        "today": timezone.localdate().isoformat(),
    }


def offer(kind: Move, old: Phase, new: Phase, client_id: int) -> dict[str, Any]:
    """A move as a page offers it; where it has a `dialog`, that is where its button leads."""
    in_dialog = kind in IN_A_DIALOG
    return {
        "kind": kind.value,
        "old": old.value,
        "new": new.value,
        "button": button(kind, new),
        "effect": effect(kind, new),
        "dialog": dialog_url(client_id, new) if in_dialog else "",
        "asks": needs_approval(kind),
        "danger": kind == Move.PURGE,
        "may_delete": new == Phase.POSTGRES,
        "back": kind in (Move.BACK, Move.ROLLBACK, Move.RESTORE),
    }


def dialog_url(client_id: int, new: Phase) -> str:
    return reverse("admin:credentials_client_dialog", args=[client_id, new.value])


def button(kind: Move, new: Phase) -> str:
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


def effect(kind: Move, new: Phase) -> str:
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


def _move(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    new, seen = _phase(request, "new"), _phase(request, "seen")
    slug = slug_of(client_id)
    kind = MOVES.get((seen, new))
    if not request.user.has_perm(MOVE_PERMISSIONS[kind] if kind else MOVE_PERMISSION):
        raise PermissionDenied
    reason = reason_of(request)
    if kind not in IN_A_DIALOG:
        carry_out(request, client_id, new, seen, reason)
        return back(request, client_id)
    if request.POST.get("slug") != slug:
        text = _("Nothing was done: type the slug, %(slug)s, to confirm.")
        messages.error(request, text % {"slug": slug})
    elif not reason:
        messages.error(request, _("Nothing was done: give a reason or a ticket."))
    elif carry_out(request, client_id, new, seen, reason):
        return back(request, client_id)
    return HttpResponseRedirect(dialog_url(client_id, new))


def carry_out(request: HttpRequest, client_id: int, new: Phase, seen: Phase, reason: str) -> bool:
    """Moves the client, or asks for it where somebody else has to approve; tells what became of it."""
    user: Any = request.user  # has a permission, so it is nobody anonymous
    kind = MOVES.get((seen, new))
    try:
        if kind and needs_approval(kind):
            asked = request_move(client_id=client_id, new=new, by=user, reason=reason, seen=seen)
            text = _("Requested (%(what)s): somebody else has to approve it.") % {"what": asked}
            messages.success(request, " ".join([text, *map(localize, asked.reasons)]))
        else:
            moved = move(
                client_id=client_id,
                new=new,
                seen=seen,
                by=user,
                reason=reason,
                schedule_deletion="schedule_deletion" in request.POST,
            )
            tell(request, moved.slug, moved.new, moved.message)
    except REFUSALS as refusal:
        messages.error(request, refusal_text(refusal))
        return False
    return True


def refusal_text(refusal: Exception) -> str:
    """Why it was refused, in the language of the page."""
    message = refusal.message if isinstance(refusal, MessageError) else sentences.CLIENT_GONE()
    return localize(message)


def _push(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    """Pushes one client while the person waits."""
    if not request.user.has_perm(RUN_PERMISSION):
        raise PermissionDenied
    slug_of(client_id)
    for result in push(client_ids=[client_id], interactive=True):
        level = messages.SUCCESS if result.outcome in PUSHED else messages.ERROR
        text = f"{result.outcome.label}. {localize(result.message)}".strip()
        messages.add_message(request, level, text)
    return back(request, client_id)


def tell(request: HttpRequest, slug: str, new: Phase, message: Message | None) -> None:
    text = _("%(slug)s is in %(phase)s now.") % {"slug": slug, "phase": PhaseChoices(new).label}
    messages.success(request, f"{text} {localize(message)}".strip())


def _phase(request: HttpRequest, name: str) -> Phase:
    try:
        return Phase(request.POST.get(name, ""))
    except ValueError:
        raise Http404 from None


def slug_of(client_id: int) -> str:
    slug = Client.objects.filter(pk=client_id).values_list("slug", flat=True).first()
    if slug is None:
        raise Http404
    return slug


def back(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    """To the page of this site that the form came from, else to the client's."""
    came_from = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(came_from, allowed_hosts=None):
        return HttpResponseRedirect(came_from)
    return HttpResponseRedirect(reverse("admin:credentials_client_change", args=[client_id]))


def _resolve(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    if not request.user.has_perm(RESOLVE_PERMISSION):
        raise PermissionDenied
    slug_of(client_id)
    kind, reason = request.POST.get("kind", ""), reason_of(request)
    shown = request.POST.get("shown", "")
    ways: dict[str, Callable[..., Any]] = {
        "check": resolutions.check_again,
        "to_aws": partial(resolutions.copy_to_aws, reason=reason),
        "to_postgres": partial(resolutions.copy_to_postgres, reason=reason),
        "acknowledge": partial(
            resolutions.acknowledge,
            reason=reason,
            until=_until(request),
            shown=int(shown) if shown.isdecimal() else None,
        ),
    }
    if kind not in ways:
        raise Http404
    if kind == "acknowledge" and not (reason and _until(request) >= timezone.localdate()):
        messages.error(
            request, _("Nothing was acknowledged: give a reason and a day, today or later.")
        )
        return back(request, client_id)
    try:
        resolution = ways[kind](client_id=client_id, by=request.user)
    except (NotResolved, ReasonError) as refusal:
        messages.error(request, localize(refusal.message))
    else:
        text = f"{resolution.get_kind_display()}. {localize(resolution.message)}"
        messages.success(request, text.strip())
    return back(request, client_id)


def _until(request: HttpRequest) -> date:
    try:
        return date.fromisoformat(request.POST.get("until", ""))
    except ValueError:
        return date.min
