"""The page of what is left of a client, by which it is deactivated, offboarded and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpResponseRedirect
from django.utils import timezone
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin.base import ClientView, get_signed_in_user, get_typed_reason
from migration.models.offboardings import RECOVERY_DAYS
from migration.models.reasons import ReasonError
from migration.operations.leaving_checks import RECENT_DAYS
from migration.operations.leftovers import find_leftovers
from migration.operations.offboarding import (
    OffboardingError,
    bring_back_as_inactive,
    offboard_client,
    set_activity,
)
from migration.secrets.copy_pages import SEARCH_PERMISSION

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponse

# Who may say in the form that a client is inactive; and who may take the values out of the rows.
ACTIVITY_PERMISSION = "credentials.change_client"
OFFBOARD_PERMISSION = "migration.purge_client"
LEAVING_PERMISSIONS = (ACTIVITY_PERMISSION, OFFBOARD_PERMISSION)
NEEDED = {
    **dict.fromkeys(("deactivate", "activate"), ACTIVITY_PERMISSION),
    **dict.fromkeys(("offboard", "back"), OFFBOARD_PERMISSION),
}


class LeavingView(ClientView):
    """Shows what is left where, for everybody who may see the client; does what a button says."""

    template_name = "admin/migration/leaving.html"

    @property
    def title(self) -> str:
        return _("What is left of %(client)s") % {"client": self.client.name}

    def get_permission_denied_message(self) -> str:
        return NEEDED.get(self.request.POST.get("act", ""), OFFBOARD_PERMISSION)

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        may = request.user.has_perm
        left = find_leftovers(client_id=self.client.pk)
        first = left.leaving.first_deletion if left.leaving else None
        context = self.get_context_data(
            left=left,
            first_deletion=first,
            is_over=first is not None and first <= timezone.now(),
            recent_days=RECENT_DAYS,
            recovery_days=RECOVERY_DAYS,
            may_set_activity=may(ACTIVITY_PERMISSION),
            may_offboard=may(OFFBOARD_PERMISSION),
            may_view_copies=may("migration.view_copysearch"),
            may_search=may(SEARCH_PERMISSION) and left.leaving is None,
            may_view_campaigns=may("migration.view_campaign"),
            input_classes=" ".join(BASE_INPUT_CLASSES),
        )
        return self.render_to_response(context)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        act = request.POST.get("act", "")
        if act not in NEEDED:
            # Whoever may do neither learns nothing of which acts there are.
            if not any(map(request.user.has_perm, NEEDED.values())):
                raise PermissionDenied(OFFBOARD_PERMISSION)
            raise BadRequest("The form names no act")
        if not request.user.has_perm(NEEDED[act]):
            raise PermissionDenied(NEEDED[act])
        try:
            self._perform(act, get_signed_in_user(request))
        except (OffboardingError, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
        return HttpResponseRedirect(request.get_full_path())

    def _perform(self, act: str, user: User) -> None:
        request, client_id = self.request, self.client.pk
        if act in ("activate", "deactivate"):
            set_activity(client_id=client_id, active=act == "activate", by=user)
            done = (
                _("The client is active: NOVA reads it.")
                if act == "activate"
                else _("The client is inactive: NOVA does not read it any more.")
            )
            messages.success(request, done)
            return
        reason = get_typed_reason(request)
        if request.POST.get("slug") != self.client.slug or not reason:
            text = _("Nothing was done: type the slug, %(slug)s, and give a reason or a ticket.")
            messages.error(request, text % {"slug": self.client.slug})
            return
        if act == "back":
            done = localize(bring_back_as_inactive(client_id=client_id, reason=reason, by=user))
        else:
            acknowledged = request.POST.get("acknowledged") == "1"
            result = offboard_client(
                client_id=client_id, reason=reason, by=user, acknowledged=acknowledged
            )
            done = _("The client is offboarded. %(result)s") % {"result": localize(result)}
        messages.success(request, done)
