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

    from django.http import HttpRequest

SESSION_KEY = "mismatch_undo"
OFFERED_FOR = timedelta(hours=1)


def keep_assignment(
    request: HttpRequest, former: Mapping[int, int | None], owner_id: int | None
) -> None:
    """Keep the former owner of each row, and whom they were given to."""
    rows = [[pk, was] for pk, was in former.items() if was != owner_id]
    _keep(request, {"rows": rows, "owner": owner_id}, len(rows))


def keep_resolutions(request: HttpRequest, ids: Collection[int]) -> None:
    """Keep which acknowledgements were made."""
    _keep(request, {"resolutions": list(ids)}, len(ids))


def _keep(request: HttpRequest, undo: dict[str, object], number: int) -> None:
    if number:
        request.session[SESSION_KEY] = {**undo, "number": number, "at": time.time()}


def describe_undo(request: HttpRequest) -> str:
    """Say what can be undone; "" where nothing can."""
    undo = request.session.get(SESSION_KEY)
    if not undo or time.time() - undo["at"] > OFFERED_FOR.total_seconds():
        return ""
    number = undo["number"]
    if "rows" in undo:
        text = ngettext(
            "You changed the owner of %(n)d field.",
            "You changed the owner of %(n)d fields.",
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
    """Gives fields back to their former owners, or takes acknowledgements back, as far as nobody changed them since."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        undo = request.session.pop(SESSION_KEY, None)
        if undo is None:
            messages.warning(request, _("There is nothing to undo."))
            return redirect_to_report(request)
        if "rows" in undo:
            number = restore_owners(dict(undo["rows"]), undo["owner"])
        else:
            by = get_signed_in_user(request)
            number = len(Resolution.objects.withdraw(undo["resolutions"], by=by))
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


def restore_owners(former: Mapping[int, int | None], owner_id: int | None) -> int:
    """Give the rows that still have this owner back to those that had them; return how many."""
    number = 0
    for was in set(former.values()):
        ids = [pk for pk, owner in former.items() if owner == was]
        rows = OpenMismatch.objects.filter(pk__in=ids, owner=owner_id)
        number += rows.update(owner=was)
    return number


def redirect_to_report(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the report with the filters of this address."""
    query = request.GET.urlencode()
    url = reverse("admin:migration_comparison_report")
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
