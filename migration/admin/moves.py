"""The buttons and bulk actions that move clients and resolve mismatches: they ask an operation and tell its answer."""

from __future__ import annotations

import time
from datetime import date
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.models import Client
from migration.models import Comparison, PhaseChoices
from migration.operations import resolving
from migration.operations.gates import ShutGate
from migration.operations.moving import move
from migration.operations.resolving import NotResolved
from migration.phases import MOVES, IllegalMove, Move, Phase, StalePhase

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest
    from django.urls import URLPattern

    from migration.models import ClientsByPhase

MOVE_PERMISSION = "migration.move_client"
PURGE_PERMISSION = "migration.purge_client"
RESOLVE_PERMISSION = "migration.resolve_mismatch"
# Each reads AWS while the person waits; more of them are for `move_clients`.
AT_ONCE = 50
# Before the server in front of a worker gives up on the page.
GIVE_UP_AFTER_SECONDS = 20.0


def urls(model_admin: Any) -> list[URLPattern]:
    view = model_admin.admin_site.admin_view
    return [
        path("<int:client_id>/move/", view(require_POST(_move)), name="credentials_client_move"),
        path(
            "<int:client_id>/resolve/",
            view(require_POST(_resolve)),
            name="credentials_client_resolve",
        ),
    ]


def context(request: HttpRequest, client: Any) -> dict[str, Any]:
    """What the client's page offers: the moves from where it stands, as far as the user may, and the resolutions."""
    phase = Phase(client.phase)
    moves = [
        {
            "new": new.value,
            "button": _button(kind, new),
            "effect": _effect(kind, new),
            "confirm": kind == Move.PURGE,
            "may_delete": new == Phase.POSTGRES,
            "back": kind in (Move.BACK, Move.ROLLBACK, Move.RESTORE),
        }
        for (old, new), kind in MOVES.items()
        if old == phase and request.user.has_perm(_permission(kind))
    ]
    return {
        "moves": moves,
        "differs": client.newest_status not in (None, Comparison.Status.MATCH),
        "input_classes": " ".join(BASE_INPUT_CLASSES),
        "may_resolve": request.user.has_perm(RESOLVE_PERMISSION) and phase != Phase.PURGED,
        "today": timezone.localdate().isoformat(),
    }


def _permission(kind: Move) -> str:
    return PURGE_PERMISSION if kind in (Move.PURGE, Move.RESTORE) else MOVE_PERMISSION


def _button(kind: Move, new: Phase) -> str:
    label = PhaseChoices(new).label
    return {
        Move.FORWARD: _("Go on to %(phase)s") % {"phase": label},
        Move.BACK: _("Step back to %(phase)s") % {"phase": label},
        Move.CUTOVER: _("Cut over to AWS"),
        Move.ROLLBACK: _("Roll back"),
        Move.PURGE: _("Purge"),
        Move.RESTORE: _("Restore"),
    }[kind]


def _effect(kind: Move, new: Phase) -> str:
    return {
        (Move.FORWARD, Phase.DUAL_WRITE): _(
            "Pushes it to AWS; from then every write goes to both stores."
        ),
        (Move.FORWARD, Phase.DUAL_READ): _(
            "NOVA reads both stores and compares; AWS's value is taken."
        ),
        (Move.CUTOVER, Phase.AWS): _(
            "NOVA reads AWS alone. PostgreSQL keeps receiving every write."
        ),
        (Move.ROLLBACK, Phase.DUAL_READ): _(
            "NOVA reads both stores again. What AWS holds is copied to PostgreSQL first."
        ),
        (Move.PURGE, Phase.PURGED): _(
            "Replaces its secret values in PostgreSQL by pointers. They can be restored from AWS."
        ),
        (Move.RESTORE, Phase.AWS): _("Writes its secret values back to PostgreSQL from AWS."),
        (Move.BACK, Phase.DUAL_WRITE): _("NOVA reads PostgreSQL alone; writes go to both."),
        (Move.BACK, Phase.POSTGRES): _(
            "Writes go to PostgreSQL alone; the secret stays where it is, unless you have it deleted."
        ),
    }[kind, new]


def _move(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    new, seen = _phase(request, "new"), _phase(request, "seen")
    slug = _slug(client_id)
    kind = MOVES.get((seen, new))
    if not request.user.has_perm(_permission(kind) if kind else MOVE_PERMISSION):
        raise PermissionDenied
    if kind == Move.PURGE and request.POST.get("slug") != slug:
        messages.error(
            request, _("Nothing was purged: type the slug, %(slug)s, to confirm.") % {"slug": slug}
        )
    else:
        try:
            moved = move(
                client_id=client_id,
                new=new,
                seen=seen,
                by=request.user,  # type: ignore[arg-type]  # has a permission
                reason=_reason(request),
                schedule_deletion="schedule_deletion" in request.POST,
            )
        except (ShutGate, IllegalMove, StalePhase) as refusal:
            messages.error(request, str(refusal))
        else:
            _tell(request, moved.slug, moved.new, moved.message)
    return _back(client_id)


def _tell(request: HttpRequest, slug: str, new: Phase, message: str) -> None:
    text = _("%(slug)s is in %(phase)s now.") % {"slug": slug, "phase": PhaseChoices(new).label}
    messages.success(request, f"{text} {message}".strip())


def _phase(request: HttpRequest, name: str) -> Phase:
    try:
        return Phase(request.POST.get(name, ""))
    except ValueError:
        raise Http404 from None


def _reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "").replace("\0", "").strip()


def _slug(client_id: int) -> str:
    slug = Client.objects.filter(pk=client_id).values_list("slug", flat=True).first()
    if slug is None:
        raise Http404
    return slug


def _back(client_id: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:credentials_client_change", args=[client_id]))


def _resolve(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    if not request.user.has_perm(RESOLVE_PERMISSION):
        raise PermissionDenied
    _slug(client_id)
    kind, reason = request.POST.get("kind", ""), _reason(request)
    shown = request.POST.get("shown", "")
    ways: dict[str, Callable[..., Any]] = {
        "check": resolving.check_again,
        "to_aws": partial(resolving.copy_to_aws, reason=reason),
        "to_postgres": partial(resolving.copy_to_postgres, reason=reason),
        "acknowledge": partial(
            resolving.acknowledge,
            reason=reason,
            until=_until(request),
            shown=int(shown) if shown.isdecimal() else None,
        ),
    }
    if kind not in ways:
        raise Http404
    if kind == "acknowledge" and not (reason and _until(request) >= timezone.localdate()):
        messages.error(
            request, _("To acknowledge a mismatch, give a reason and a day from today on.")
        )
        return _back(client_id)
    try:
        resolution = ways[kind](client_id=client_id, by=request.user)
    except NotResolved as refusal:
        messages.error(request, str(refusal))
    else:
        text = f"{resolution.get_kind_display()}. {resolution.message}"
        messages.success(request, text.strip())
    return _back(client_id)


def _until(request: HttpRequest) -> date:
    try:
        return date.fromisoformat(request.POST.get("until", ""))
    except ValueError:
        return date.min


def actions(request: HttpRequest) -> dict[str, Any]:
    """A bulk action a phase to which clients can be moved together; a purge asks for each slug, so it is none."""
    if not request.user.has_perm(MOVE_PERMISSION):
        return {}
    return {
        f"move_to_{phase}": (
            partial(_move_all, phase=phase),
            f"move_to_{phase}",
            _("Move to %(phase)s, those that may") % {"phase": PhaseChoices(phase).label},
        )
        for phase in Phase
        if phase != Phase.PURGED
    }


def _move_all(_admin: Any, request: HttpRequest, chosen: ClientsByPhase, *, phase: Phase) -> None:
    found = list(chosen.with_phase().order_by("slug")[: AT_ONCE + 1])
    if len(found) > AT_ONCE:
        text = _("Choose up to %(n)d clients, or use the command move_clients.")
        messages.error(request, text % {"n": AT_ONCE})
        return
    done, give_up_at = 0, time.monotonic() + GIVE_UP_AFTER_SECONDS
    for number, client in enumerate(found):
        if time.monotonic() > give_up_at:
            text = _("It took too long: %(n)d of them were not tried. Is AWS slow, or silent?")
            messages.error(request, text % {"n": len(found) - number})
            break
        kind = MOVES.get((Phase(client.phase), phase))  # type: ignore[attr-defined]  # annotated
        if kind and not request.user.has_perm(_permission(kind)):
            messages.error(request, _("%(slug)s: you may not do that.") % {"slug": client.slug})
            continue
        try:
            move(client_id=client.pk, new=phase, by=request.user)  # type: ignore[arg-type]
        except (ShutGate, IllegalMove, StalePhase, Client.DoesNotExist) as refusal:
            messages.error(request, str(refusal))
        else:
            done += 1
    if done:
        text = ngettext(
            "%(n)d client is in %(phase)s now.", "%(n)d clients are in %(phase)s now.", done
        )
        messages.success(request, text % {"n": done, "phase": PhaseChoices(phase).label})
