"""The page on which a cutover, a purge or another move is thought over: a checklist with its remedies, and a form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from credentials.models import Client
from migration.admin import moves
from migration.admin.base import RUN_PERMISSION
from migration.models import MOVE_PERMISSIONS, ClientMigration, MoveRequest
from migration.operations.gates import CheckFix, all_checks, needs_approval
from migration.operations.snapshots import read_snapshots
from migration.reports.client_status import watch_of
from nova_credentials.phases import MOVES, IllegalMove, Move, Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from migration.operations.gates import Check
    from migration.operations.snapshots import ClientSnapshot


def urls(model_admin: Any) -> list[URLPattern]:
    view = model_admin.admin_site.admin_view

    @require_safe
    def dialog(request: HttpRequest, client_id: int, new: str) -> HttpResponse:
        return _dialog(model_admin, request, client_id, new)

    @require_safe
    def watch(request: HttpRequest, client_id: int) -> HttpResponse:
        if not model_admin.has_view_permission(request):
            raise PermissionDenied
        return _watch(request, client_id)

    return [
        path("<int:client_id>/move/<str:new>/", view(dialog), name="credentials_client_dialog"),
        path("<int:client_id>/watch/", view(watch), name="credentials_client_watch"),
    ]


def _dialog(model_admin: Any, request: HttpRequest, client_id: int, new: str) -> HttpResponse:
    if new not in set(Phase):
        raise Http404
    wanted = Phase(new)
    rows = read_snapshots([client_id]).get(client_id)
    if rows is None:
        raise Http404
    kind = MOVES.get((rows.phase, wanted))
    if not request.user.has_perm(MOVE_PERMISSIONS[kind or Move.FORWARD]):
        raise PermissionDenied
    if kind is None:
        illegal = IllegalMove(rows.slug, rows.phase, wanted)
        messages.error(request, localize(illegal.message))
        return HttpResponseRedirect(reverse("admin:credentials_client_change", args=[client_id]))
    client = Client.objects.get(pk=client_id)
    gated = kind in (Move.FORWARD, Move.CUTOVER, Move.PURGE)
    lines = checklist(request, rows, wanted, back=request.get_full_path()) if gated else []
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title(kind, client.name),
        "opts": model_admin.opts,
        "original": client,
        "slug": rows.slug,
        "move": moves.offer(kind, rows.phase, wanted, client_id),
        "consequence": consequence(kind, client.name) or moves.effect(kind, wanted),
        "lines": lines,
        "shut": any(not line["passed"] for line in lines),
        "move_request": MoveRequest.objects.open()
        .filter(client_id=client_id)
        .select_related("requested_by")
        .first(),
        "input_classes": " ".join(BASE_INPUT_CLASSES),
    }
    request.current_app = model_admin.admin_site.name  # as Django's own views do
    return TemplateResponse(request, "admin/migration/dialog.html", context)


def title(kind: Move, name: str) -> str:
    asks = needs_approval(kind)
    words = {
        Move.CUTOVER: _("Request the cutover of %(client)s") if asks else _("Cut over %(client)s"),
        Move.PURGE: _("Request the purge of %(client)s") if asks else _("Purge %(client)s"),
        Move.ROLLBACK: _("Roll back %(client)s"),
        Move.RESTORE: _("Restore %(client)s"),
    }
    return words.get(kind, _("Move %(client)s")) % {"client": name}


def consequence(kind: Move, name: str) -> str:
    """What happens, in a sentence."""
    words = {
        Move.CUTOVER: _(
            "From now NOVA reads %(client)s from AWS. PostgreSQL keeps receiving every write."
            " You can roll back in one click."
        ),
        Move.PURGE: _(
            "The secret values of %(client)s in PostgreSQL are replaced with pointers: only AWS keeps them."
            " They can be restored from AWS as long as the secret exists."
        ),
        Move.ROLLBACK: _(
            "From now NOVA reads both stores of %(client)s again."
            " AWS's values are copied to PostgreSQL first, so nothing is lost."
        ),
    }
    return words.get(kind, "") % {"client": name}


def checklist(
    request: HttpRequest, rows: ClientSnapshot, new: Phase, *, back: str
) -> list[dict[str, Any]]:
    """The gate as it stands now: reads AWS too."""
    return with_remedies(request, rows.client_id, all_checks(rows, new), back=back)


def with_remedies(
    request: HttpRequest, client_id: int, checks: Iterable[Check], *, back: str
) -> list[dict[str, Any]]:
    """The lines of `checklist.html`: beside what is shut, what would open it, as far as the user may."""
    return [
        {
            "passed": check.passed,
            "text": localize(check.text),
            "remedy": None if check.passed else _remedy(request, client_id, check, back),
        }
        for check in checks
    ]


def _remedy(request: HttpRequest, client_id: int, check: Check, back: str) -> dict[str, Any] | None:
    """A link, or a button where it `posts` something; None where the user may not."""
    may = request.user.has_perm
    look_again = {"label": _("Reload the checks"), "url": back}
    ways: dict[CheckFix, tuple[str, Callable[[], dict[str, Any]]]] = {
        CheckFix.PUSH: (
            RUN_PERMISSION,
            lambda: _posts(_("Push this client now"), "push", client_id, back),
        ),
        CheckFix.COMPARE: (
            moves.RESOLVE_PERMISSION,
            lambda: (
                _posts(_("Compare both stores now"), "resolve", client_id, back) | {"kind": "check"}
            ),
        ),
        CheckFix.COMPARISON: (
            "migration.view_comparison",
            lambda: _link(_("See the differences"), "migration_comparison_change", check.about),
        ),
        CheckFix.RUN: (
            "migration.view_run",
            lambda: _link(_("See the run"), "migration_run_change", check.about),
        ),
        CheckFix.READS: (
            "credentials.view_client",
            lambda: _link(_("See NOVA's reads"), "credentials_client_change", client_id),
        ),
        CheckFix.NONE: ("", lambda: look_again),
    }
    permission, way = ways[check.fix]
    return way() if not permission or may(permission) else None


def _posts(label: str, what: str, client_id: int, back: str) -> dict[str, Any]:
    url = reverse(f"admin:credentials_client_{what}", args=[client_id])
    return {"label": label, "url": url, "posts": True, "back": back}


def _link(label: str, page: str, pk: int | None) -> dict[str, Any]:
    return {"label": label, "url": reverse(f"admin:{page}", args=[pk])}


def _watch(request: HttpRequest, client_id: int) -> HttpResponse:
    """The numbers alone, for a page that is open."""
    stands = ClientMigration.objects.filter(pk=client_id).first()
    watch = watch_of(client_id, Phase(stands.phase)) if stands else None
    context = {"watch": watch, "client_id": client_id}
    return TemplateResponse(request, "admin/migration/client_watch_numbers.html", context)
