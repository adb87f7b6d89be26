"""The pages that copy AWS to PostgreSQL, and undo that: which fields change, in which stores, a reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin.base import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    ClientView,
    get_signed_in_user,
    get_typed_reason,
    read_raw_form_text,
)
from migration.admin.client_tabs import ClientTab, get_tab_url
from migration.models.reasons import ReasonError
from migration.models.resolutions import Resolution
from migration.operations.resolutions import NotResolved, copy_to_postgres, plan_copy_to_postgres
from migration.operations.undone_copies import find_undo_refusal_in_database, plan_undo, undo_copy
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from migration.admin.base import ClientRow


class CopyToPostgresView(ClientView):
    """Shows by codes what copying from AWS would change in PostgreSQL, and copies once a reason is given."""

    template_name = "admin/migration/copy_to_postgres.html"
    permission_required = RESOLVE_PERMISSION

    @property
    def title(self) -> str:
        return _("Copy AWS to PostgreSQL: %(client)s") % {"client": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = self.get_context_data(
            back=get_tab_url(client_id, ClientTab.COMPARISON),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            may_run=request.user.has_perm(RUN_PERMISSION),
            may_view_comparisons=request.user.has_perm("migration.view_comparison"),
        )
        try:
            plan = plan_copy_to_postgres(self.client.pk)
        except NotResolved as refusal:
            context["why_not"] = refusal.message
        else:
            context |= {"plan": plan, "why_not": plan.refusal, "comparison": plan.comparison}
        return self.render_to_response(context)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        here = HttpResponseRedirect(request.get_full_path())
        reason = get_typed_reason(request)
        if not reason:
            messages.error(request, _("Nothing was copied: give a reason or a ticket."))
            return here
        try:
            resolution = copy_to_postgres(
                client_id=self.client.pk,
                by=get_signed_in_user(request),
                reason=reason,
                seen=read_raw_form_text(request, "seen"),
            )
        except (NotResolved, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            return here
        text = f"{resolution.get_kind_display()}. {localize(resolution.message)}"
        messages.success(request, text.strip())
        return HttpResponseRedirect(get_tab_url(client_id, ClientTab.COMPARISON))


class UndoCopyView(ClientView):
    """Shows by codes what undoing the newest copy would change, and undoes it once a reason is given."""

    template_name = "admin/migration/undo_copy.html"
    permission_required = RESOLVE_PERMISSION

    @property
    def title(self) -> str:
        return _("Put the former values back: %(client)s") % {"client": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = self.get_context_data(
            copy=Resolution.objects.find_undoable_copy(self.client.pk),
            back=get_tab_url(client_id, ClientTab.COMPARISON),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            may_view_comparisons=request.user.has_perm("migration.view_comparison"),
        )
        try:
            context["plan"] = plan_undo(self.client.pk)
        except NotResolved as refusal:
            context["why_not"] = refusal.message
        return self.render_to_response(context)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        here = HttpResponseRedirect(request.get_full_path())
        reason = get_typed_reason(request)
        if not reason:
            messages.error(request, _("Nothing was put back: give a reason or a ticket."))
            return here
        try:
            undone = undo_copy(
                client_id=self.client.pk,
                by=get_signed_in_user(request),
                reason=reason,
                seen=read_raw_form_text(request, "seen"),
            )
        except (NotResolved, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            return here
        text = f"{undone.get_kind_display()}. {localize(undone.message)}"
        messages.success(request, text.strip())
        return HttpResponseRedirect(get_tab_url(client_id, ClientTab.COMPARISON))


def get_undo_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the copy that the user may undo, and why the database alone refuses it."""
    may_undo = request.user.has_perm(RESOLVE_PERMISSION)
    copy = Resolution.objects.find_undoable_copy(client.pk) if may_undo else None
    if copy is None:
        return {}
    why = find_undo_refusal_in_database(copy, phase=Phase(client.phase), revision=client.revision)
    return {"undoable_copy": copy, "undo_refusal": why}
