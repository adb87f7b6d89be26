"""Requests: the cutovers and purges that wait for a second person, their list, the page of one, approve and cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST, require_safe
from unfold.decorators import display

from credentials.localization import localize, localize_html
from credentials.models import Client
from migration.admin.base import ReadOnlyAdmin
from migration.admin.move_confirmation import checklist, consequence
from migration.admin.moves import tell
from migration.models import MoveRequest
from migration.operations.approvals import NotApproved, approve_request, cancel_request
from migration.operations.gates import ShutGate
from migration.operations.snapshots import read_snapshots
from migration.templatetags.migration_pages import badge, moment
from nova_credentials.phases import MOVES, Phase

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

APPROVE_PERMISSION = "migration.approve_move"


class MoveRequestAdmin(ReadOnlyAdmin):
    list_display = ("name", "standing", "why", "requested_by", "asked", "decided_by", "decided")
    list_filter = ("state",)
    list_select_related: ClassVar = ["requested_by", "decided_by"]
    search_fields = ("slug",)
    search_help_text = _("Slug")
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER

    @display(description=_("request"), ordering="pk")
    def name(self, asked: MoveRequest) -> str:
        return str(asked)

    @display(description=_("state"), ordering="state")
    def standing(self, asked: MoveRequest) -> str:
        return badge(asked.state)

    @display(description=_("checks that fail"))
    def why(self, asked: MoveRequest) -> SafeString:
        return format_html_join(" ", "{}", ([localize_html(reason)] for reason in asked.reasons))

    @display(description=_("requested"), ordering="requested_at")
    def asked(self, asked: MoveRequest) -> SafeString | str:
        return moment(asked.requested_at)

    @display(description=_("decided"), ordering="decided_at")
    def decided(self, asked: MoveRequest) -> SafeString | str:
        return moment(asked.decided_at)

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/approve/", view(self.approve), name="migration_moverequest_approve"),
            path("<int:pk>/cancel/", view(self.cancel), name="migration_moverequest_cancel"),
            *super().get_urls(),
        ]

    @method_decorator(require_safe)
    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = self.get_object(request, unquote(object_id))
        if asked is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        context = self.page_context(
            request, str(asked), opts=self.opts, original=asked, **request_context(request, asked)
        )
        return TemplateResponse(request, "admin/migration/request.html", context)

    @method_decorator(require_POST)
    def approve(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        if not request.user.has_perm(APPROVE_PERMISSION):
            raise PermissionDenied
        try:
            moved = approve_request(request_id=pk, by=request.user)  # type: ignore[arg-type]  # has a permission
        except MoveRequest.DoesNotExist:
            raise Http404 from None
        except (ShutGate, NotApproved) as refusal:
            messages.error(request, localize(refusal.message))
        else:
            tell(request, moved.slug, moved.new, moved.message)
        return _to_request(pk)

    @method_decorator(require_POST)
    def cancel(self, request: HttpRequest, pk: int) -> HttpResponseRedirect:
        asked = MoveRequest.objects.filter(pk=pk).first()
        if asked is None or not may_cancel(request, asked):
            raise PermissionDenied
        try:
            cancel_request(request_id=pk, by=request.user)  # type: ignore[arg-type]  # asked for it, or has a permission
        except NotApproved as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, gettext("The request is cancelled."))
        return _to_request(pk)


def _to_request(pk: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(reverse("admin:migration_moverequest_change", args=[pk]))


def may_cancel(request: HttpRequest, asked: MoveRequest) -> bool:
    return asked.requested_by_id == request.user.pk or request.user.has_perm(APPROVE_PERMISSION)


def request_context(request: HttpRequest, asked: MoveRequest) -> dict[str, Any]:
    """Who asked for what, its checklist as it stands now, and what the user may do about it."""
    approves = request.user.has_perm(APPROVE_PERMISSION)
    own = asked.requested_by_id == request.user.pk
    acts = asked.is_open and (approves or own)
    rows = read_snapshots([asked.client_id]).get(asked.client_id) if acts else None
    there = rows is not None and rows.phase == asked.old
    back = reverse("admin:migration_moverequest_change", args=[asked.pk])
    lines = checklist(request, rows, Phase(asked.new), back=back) if rows and there else []
    name = Client.objects.filter(pk=asked.client_id).values_list("name", flat=True).first()
    return {
        "asked": asked,
        "lines": lines,
        "own": own,
        "may_approve": acts and approves and not own,
        "may_cancel": acts,
        "consequence": consequence(MOVES[Phase(asked.old), Phase(asked.new)], name or asked.slug),
        "client_is_there": name is not None and request.user.has_perm("credentials.view_client"),
    }
