"""Undoes the user's last assignment or acknowledgement of mismatches. What it was is kept in their session, as ids."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.admin.base import RESOLVE_PERMISSION, AdminView, get_signed_in_user
from migration.models import OpenMismatch, Resolution

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from django.contrib.auth.models import User
    from django.http import HttpRequest

SESSION_KEY = "resolution_undo"
OFFERED_FOR = timedelta(hours=1)


def store_assignment_undo(
    request: HttpRequest, former: Mapping[int, int | None], assignee: User | None
) -> None:
    """Store in the session to whom each field was assigned before and is now, for the undo button."""
    new = assignee.pk if assignee else None
    _keep(request, {"rows": list(former.items()), "assigned_to": new}, len(former))


def store_resolutions_undo(request: HttpRequest, ids: Collection[int]) -> None:
    """Store in the session which acknowledgements were made, so that the user can undo them."""
    _keep(request, {"resolutions": list(ids)}, len(ids))


def _keep(request: HttpRequest, undo: dict[str, object], number: int) -> None:
    if number:
        request.session[SESSION_KEY] = {**undo, "number": number, "at": time.time()}


def describe_undoable_act(request: HttpRequest) -> str:
    """Say which assignment or acknowledgement of mismatches the user can undo; "" where there is none."""
    undo = request.session.get(SESSION_KEY)
    if not undo or time.time() - undo["at"] > OFFERED_FOR.total_seconds():
        return ""
    number = undo["number"]
    if "rows" in undo:
        text = ngettext(
            "You changed to whom %(n)d field is assigned.",
            "You changed to whom %(n)d fields are assigned.",
            number,
        )
    else:
        text = ngettext(
            "You acknowledged the mismatches of %(n)d client.",
            "You acknowledged the mismatches of %(n)d clients.",
            number,
        )
    return text % {"n": number}


class UndoResolutionsView(AdminView):
    """Assigns fields as they were before, or takes acknowledgements back, as far as nobody changed them since."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        undo = request.session.pop(SESSION_KEY, None)
        if undo is None:
            messages.warning(request, _("There is nothing to undo."))
            return redirect_to_report(request)
        by = get_signed_in_user(request)
        if "rows" in undo:
            former, new = dict(undo["rows"]), undo["assigned_to"]
            number = len(OpenMismatch.objects.give_back(former, assigned_to=new, by=by))
        else:
            number = len(Resolution.objects.withdraw_acknowledgements(undo["resolutions"], by=by))
        if number:
            text = ngettext("Undone for %(n)d.", "Undone for %(n)d.", number)
            messages.success(request, text % {"n": number})
        if changed := undo["number"] - number:
            text = ngettext(
                "%(n)d was left as it is: it was changed or resolved since.",
                "%(n)d were left as they are: they were changed or resolved since.",
                changed,
            )
            messages.warning(request, text % {"n": changed})
        return redirect_to_report(request)


def redirect_to_report(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the report with the filters of this address."""
    query = request.GET.urlencode()
    url = reverse("admin:migration_comparison_report")
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
