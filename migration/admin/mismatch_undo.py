"""Undoes the user's last acknowledgement of mismatches. Which it was is kept in their session, as ids."""

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
from migration.models.resolutions import Resolution

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest

# A session of an earlier release may hold another act under the former name.
SESSION_KEY = "acknowledgement_undo"
OFFERED_FOR = timedelta(hours=1)


def store_resolutions_undo(request: HttpRequest, ids: Collection[int]) -> None:
    """Store in the session which acknowledgements were made, so that the user can undo them."""
    if ids:
        request.session[SESSION_KEY] = {"resolutions": list(ids), "at": time.time()}


def describe_undoable_act(request: HttpRequest) -> str:
    """Say which acknowledgement of mismatches the user can undo; "" where there is none."""
    undo = request.session.get(SESSION_KEY)
    if not undo or time.time() - undo["at"] > OFFERED_FOR.total_seconds():
        return ""
    number = len(undo["resolutions"])
    text = ngettext(
        "You acknowledged the mismatches of %(n)d client.",
        "You acknowledged the mismatches of %(n)d clients.",
        number,
    )
    return text % {"n": number}


class UndoResolutionsView(AdminView):
    """Takes the acknowledgements back, as far as nobody changed them since."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        undo = request.session.pop(SESSION_KEY, None)
        if undo is None:
            messages.warning(request, _("There is nothing to undo."))
            return redirect_to_report(request)
        by = get_signed_in_user(request)
        number = len(Resolution.objects.withdraw_acknowledgements(undo["resolutions"], by=by))
        if number:
            text = ngettext("Undone for %(n)d.", "Undone for %(n)d.", number)
            messages.success(request, text % {"n": number})
        if changed := len(undo["resolutions"]) - number:
            text = ngettext(
                "%(n)d was left as it is: it was changed or resolved since.",
                "%(n)d were left as they are: they were changed or resolved since.",
                changed,
            )
            messages.warning(request, text % {"n": changed})
        return redirect_to_report(request)


def get_report_url(request: HttpRequest) -> str:
    """Return the address of the report with the filters of this one."""
    query = request.GET.urlencode()
    url = reverse("admin:migration_comparison_report")
    return f"{url}?{query}" if query else url


def redirect_to_report(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the report with the filters of this address."""
    return HttpResponseRedirect(get_report_url(request))
