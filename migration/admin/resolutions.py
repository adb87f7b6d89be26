"""The buttons that resolve a client's mismatch: check again, copy one way or the other, acknowledge."""

from __future__ import annotations

from datetime import date
from functools import partial
from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import Http404
from django.utils import timezone
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.admin.base import (
    RESOLVE_PERMISSION,
    ClientView,
    get_signed_in_user,
    get_typed_reason,
    read_number,
)
from migration.admin.remedies import redirect_back, show_refusal
from migration.models.reasons import ReasonError
from migration.operations import resolutions
from migration.operations.resolutions import NotResolved

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponseRedirect

    from migration.models.resolutions import Resolution


class ResolveMismatchView(ClientView):
    """Does with the client's mismatch what `kind` in the form says; 404 if it says nothing known."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        client, kind = self.client, request.POST.get("kind", "")
        resolve = self.get_operations().get(kind)
        if resolve is None:
            raise Http404
        if kind == "acknowledge" and not self.has_reason_and_day():
            text = _("Nothing was acknowledged: give a reason and a day, today or later.")
            messages.error(request, text)
            return redirect_back(request, client_id)
        try:
            resolution = resolve(client_id=client.pk, by=get_signed_in_user(request))
        except (NotResolved, ReasonError) as refusal:
            show_refusal(request, client_id, refusal.message)
        else:
            text = f"{resolution.get_kind_display()}. {localize(resolution.message)}"
            messages.success(request, text.strip())
        return redirect_back(request, client_id)

    def get_operations(self) -> dict[str, Callable[..., Resolution]]:
        """Return kind -> operation, with the form's reason, last day and comparison bound where it takes them."""
        reason, shown = get_typed_reason(self.request), self.request.POST.get("shown", "")
        return {
            "check": resolutions.check_again,
            "to_aws": partial(resolutions.copy_to_aws, reason=reason),
            "to_postgres": partial(resolutions.copy_to_postgres, reason=reason),
            "acknowledge": partial(
                resolutions.acknowledge,
                reason=reason,
                until=self.read_last_day(),
                shown=read_number(shown),
            ),
        }

    def has_reason_and_day(self) -> bool:
        """Say whether the form gives a reason and a day that is not over."""
        is_current = self.read_last_day() >= timezone.localdate()
        return bool(get_typed_reason(self.request)) and is_current

    def read_last_day(self) -> date:
        """Return the day until which the mismatch is acknowledged; `date.min` if the form gives none."""
        try:
            return date.fromisoformat(self.request.POST.get("until", ""))
        except ValueError:
            return date.min
