"""The bulk actions that move clients. A cutover of several is thought over on a page, with the checklist of each."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.contrib.admin import helpers
from django.core.exceptions import PermissionDenied
from django.http import HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin import moves
from migration.admin.base import reason_of
from migration.admin.move_confirmation import checklist
from migration.models import (
    MOVE_PERMISSIONS,
    PhaseChoices,
    ReasonError,
    check_reason,
    select_clients,
)
from migration.operations.gates import needs_approval
from migration.operations.moves import move
from migration.operations.snapshots import read_snapshots
from nova_credentials.phases import IllegalMove, Move, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from migration.models import ClientsByPhase

# Each reads AWS while the person waits; more of them are for `move_clients`.
AT_ONCE = 50
# Before the server in front of a worker gives up on the page.
GIVE_UP_AFTER_SECONDS = 20.0
CHECKBOX = helpers.ACTION_CHECKBOX_NAME


def urls(model_admin: Any) -> list[URLPattern]:
    @require_POST
    def cut_over(request: HttpRequest) -> HttpResponse:
        ids = [int(pk) for pk in request.POST.getlist(CHECKBOX) if pk.isdecimal()]
        chosen = select_clients().filter(pk__in=ids)
        return _cut_over(model_admin, request, chosen) or _to_the_list()

    view = model_admin.admin_site.admin_view
    return [path("cutover/", view(cut_over), name="credentials_client_cutover")]


def actions(request: HttpRequest) -> dict[str, Any]:
    """As far as the user may; a purge asks for each slug, so it is none of them."""
    found: dict[str, Any] = {}
    if request.user.has_perm(moves.MOVE_PERMISSION):
        for phase in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ):
            text = _("Move eligible clients to %(phase)s") % {"phase": PhaseChoices(phase).label}
            found[f"move_to_{phase}"] = (partial(_move_all, phase=phase), text)
        found["cut_over"] = (_cut_over, _("Cut over to AWS (opens a page with the checks)"))
    if request.user.has_perm(MOVE_PERMISSIONS[Move.RESTORE]):
        found["restore"] = (_restore_all, _("Restore purged clients"))
    return {name: (do, name, text) for name, (do, text) in found.items()}


def _restore_all(model_admin: Any, request: HttpRequest, chosen: ClientsByPhase) -> None:
    _move_all(model_admin, request, chosen.in_phases(Phase.PURGED), phase=Phase.AWS)


def _move_all(
    _model_admin: Any, request: HttpRequest, chosen: ClientsByPhase, *, phase: Phase
) -> None:
    user: Any = request.user
    found = _few(request, chosen)
    done = 0
    for client in _in_time(request, found or []):
        try:
            move(client_id=client.pk, new=phase, seen=Phase(client.phase), by=user)
        except moves.REFUSALS as refusal:
            messages.error(request, moves.refusal_text(refusal))
        else:
            done += 1
    if found == []:
        messages.warning(request, _("None of the selected clients can make this move."))
    if done:
        text = ngettext(
            "%(n)d client is in %(phase)s now.", "%(n)d clients are in %(phase)s now.", done
        )
        messages.success(request, text % {"n": done, "phase": PhaseChoices(phase).label})


def _few(request: HttpRequest, chosen: ClientsByPhase) -> list[Any] | None:
    """The clients chosen, in the order of their slugs; None where they are too many to wait for."""
    found = list(chosen.with_phase().order_by("slug")[: AT_ONCE + 1])
    if len(found) <= AT_ONCE:
        return found
    text = _("Nothing was moved: select up to %(n)d clients, or use the command move_clients.")
    messages.error(request, text % {"n": AT_ONCE})
    return None


def _cut_over(
    model_admin: Any, request: HttpRequest, chosen: ClientsByPhase
) -> HttpResponse | None:
    """The page; sent from there, with a reason and their number typed, the cutover of those whose gate is open."""
    if not request.user.has_perm(moves.MOVE_PERMISSION):
        raise PermissionDenied
    found = _few(request, chosen)
    if found is None:
        return None
    if "number" in request.POST:
        if not (problem := _problem(request, len(found))):
            _cut_over_now(request, found)
            return _to_the_list()
        messages.error(request, problem)
    return _page(model_admin, request, found)


def _cut_over_now(request: HttpRequest, found: list[Any]) -> None:
    for client in _in_time(request, found):
        moves.carry_out(request, client.pk, Phase.AWS, Phase.DUAL_READ, reason_of(request))


def _in_time(request: HttpRequest, found: list[Any]) -> Iterator[Any]:
    """One after the other, as long as somebody can be made to wait; then it says how many are left."""
    give_up_at = time.monotonic() + GIVE_UP_AFTER_SECONDS
    for number, client in enumerate(found):
        if time.monotonic() > give_up_at:
            text = _(
                "This took too long. Clients not tried: %(n)d. Check that AWS answers, then try again."
            )
            messages.error(request, text % {"n": len(found) - number})
            return
        yield client


def _problem(request: HttpRequest, number: int) -> str:
    if not reason_of(request):
        return _("Nothing was done: give a reason or a ticket.")
    if request.POST["number"].strip() != str(number):
        return _("Nothing was done: type the number of clients, %(n)d, to confirm.") % {"n": number}
    try:
        check_reason(reason_of(request))
    except ReasonError as refusal:
        return localize(refusal.message)
    return ""


def _to_the_list() -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:credentials_client_changelist"))


def _page(model_admin: Any, request: HttpRequest, found: list[Any]) -> HttpResponse:
    rows = read_snapshots([client.pk for client in found])
    shown = [_shown(request, client, rows[client.pk]) for client in found if client.pk in rows]
    context = {
        **model_admin.admin_site.each_context(request),
        "title": _("Cut over several clients"),
        "opts": model_admin.opts,
        "clients": shown,
        "open": [client for client in shown if client["open"]],
        "asks": needs_approval(Move.CUTOVER),
        "checkbox": CHECKBOX,
        "input_classes": " ".join(BASE_INPUT_CLASSES),
    }
    return TemplateResponse(request, "admin/migration/bulk_cutover.html", context)


def _shown(request: HttpRequest, client: Any, rows: Any) -> dict[str, Any]:
    url = reverse("admin:credentials_client_change", args=[client.pk])
    shown = {"id": client.pk, "name": client.name, "slug": client.slug, "url": url}
    if rows.phase != Phase.DUAL_READ:
        refusal = localize(IllegalMove(rows.slug, rows.phase, Phase.AWS).message)
        if rows.phase == Phase.PURGED:
            refusal = _("It is purged: NOVA reads it from AWS already.")
        return shown | {"open": False, "refusal": refusal}
    lines = checklist(request, rows, Phase.AWS, back=moves.dialog_url(client.pk, Phase.AWS))
    return shown | {"open": all(line["passed"] for line in lines), "lines": lines}
