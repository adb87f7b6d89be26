"""The page that takes over what only NOVA's legacy table holds: names and kinds first, then all of it or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.legacy import LegacyTableError
from credentials.localization import localize
from migration.admin.base import AdminView, get_signed_in_user, read_raw_form_text
from migration.operations.legacy_import import (
    NothingImported,
    import_legacy_clients,
    plan_legacy_import,
)
from migration.people.roles import LEGACY_IMPORT_PERMISSIONS

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

MOST_ROWS = 200


def get_legacy_url() -> str:
    return reverse("admin:credentials_client_legacy")


class LegacyImportView(AdminView):
    """Shows what becomes of each row, never a value; takes what was shown once somebody confirms it."""

    template_name = "admin/migration/legacy_import.html"
    permission_required = LEGACY_IMPORT_PERMISSIONS[0]

    @property
    def title(self) -> str:
        return _("Clients of the legacy table")

    def has_permission(self) -> bool:
        return self.request.user.has_perms(LEGACY_IMPORT_PERMISSIONS)

    def get(self, request: HttpRequest) -> HttpResponse:
        context = self.get_context_data(
            may_view_clients=request.user.has_perm("credentials.view_client")
        )
        try:
            plan = plan_legacy_import()
        except LegacyTableError as error:
            return self.render_to_response(context | {"why_not": error.message})
        sections = [
            (_("What is added"), plan.taken[:MOST_ROWS], max(len(plan.taken) - MOST_ROWS, 0)),
            (
                _("What is left alone"),
                plan.left_alone[:MOST_ROWS],
                max(len(plan.left_alone) - MOST_ROWS, 0),
            ),
        ]
        return self.render_to_response(context | {"plan": plan, "sections": sections})

    def post(self, request: HttpRequest) -> HttpResponse:
        try:
            plan = import_legacy_clients(
                seen=read_raw_form_text(request, "seen"), by=get_signed_in_user(request)
            )
        except (LegacyTableError, NothingImported) as refusal:
            messages.error(request, localize(refusal.message))
            return HttpResponseRedirect(get_legacy_url())
        number = len(plan.taken)
        text = ngettext(
            "%(n)d row was taken from the legacy table.",
            "%(n)d rows were taken from the legacy table.",
            number,
        )
        messages.success(request, text % {"n": number})
        return HttpResponseRedirect(get_legacy_url())
