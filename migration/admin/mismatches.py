"""The page of the mismatch report, and its buttons: check rows again, assign them to somebody."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.db.models import Exists, OuterRef, Q
from django.http import Http404, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from migration.admin.base import (
    RESOLVE_PERMISSION,
    RUN_PERMISSION,
    AdminView,
    get_signed_in_user,
    read_text,
)
from migration.admin.mismatch_report import (
    get_report_context,
    list_assignable_users,
    read_filters,
)
from migration.admin.run_starts import start_run
from migration.models import OpenMismatch, Run, all_clients
from migration.reports.mismatches import select_report_rows

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.http import HttpRequest, HttpResponse

    from migration.models import ClientPhaseQuerySet


class MismatchReportView(AdminView):
    """The report, for everybody who may view comparisons."""

    template_name = "admin/migration/mismatch_report.html"

    @property
    def title(self) -> str:
        return _("Mismatches")

    def get(self, request: HttpRequest) -> HttpResponse:
        may = request.user.has_perm
        context = self.get_context_data(
            may_run=may(RUN_PERMISSION),
            may_resolve=may(RESOLVE_PERMISSION),
            may_view_clients=may("credentials.view_client"),
            **get_report_context(request.GET, user=get_signed_in_user(request)),
        )
        return self.render_to_response(context)


class CheckMismatchesView(AdminView):
    """Starts a comparison run over the clients of the chosen rows, or of all rows that the filters show."""

    permission_required = RUN_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        chosen = self.find_clients()
        if not chosen.exists():
            messages.warning(request, _("Nothing was checked: select a row first."))
            return redirect_to_report(request)
        return start_run(request, Run.Kind.COMPARE, chosen)

    def find_clients(self) -> ClientPhaseQuerySet:
        """Return the clients to compare, as the form names them."""
        if "all" in self.request.POST:
            user = get_signed_in_user(self.request)
            rows = select_report_rows(read_filters(self.request.GET), user=user)
            return all_clients().filter(Exists(rows.filter(client_id=OuterRef("pk")).order_by()))
        row_ids, client_ids = read_ids(self.request, "row"), read_ids(self.request, "client")
        of_rows = OpenMismatch.objects.filter(pk__in=row_ids).values("client_id")
        return all_clients().filter(Q(pk__in=of_rows) | Q(pk__in=client_ids))


class AssignMismatchesView(AdminView):
    """Assigns the chosen rows to a user, or to nobody."""

    permission_required = RESOLVE_PERMISSION

    def post(self, request: HttpRequest) -> HttpResponseRedirect:
        owner = self.find_owner()
        rows = OpenMismatch.objects.filter(pk__in=read_ids(request, "row"))
        number = rows.update(owner=owner)
        if not number:
            messages.warning(request, _("Nothing was assigned: select a row first."))
        elif owner:
            text = ngettext(
                "Assigned %(n)d row to %(who)s.", "Assigned %(n)d rows to %(who)s.", number
            )
            messages.success(request, text % {"n": number, "who": owner})
        else:
            text = ngettext("%(n)d row has no owner now.", "%(n)d rows have no owner now.", number)
            messages.success(request, text % {"n": number})
        return redirect_to_report(request)

    def find_owner(self) -> User | None:
        """Return the user who was chosen, None for nobody; raise Http404 for one who can own no mismatch."""
        name = read_text(self.request, "owner")
        if not name:
            return None
        owner = list_assignable_users().filter(username=name).first()
        if owner is None:
            raise Http404
        return owner


def read_ids(request: HttpRequest, name: str) -> list[int]:
    """Return the ids in a field of the form, without what can be no id."""
    return [
        int(value) for value in request.POST.getlist(name) if value.isdecimal() and len(value) < 19
    ]


def redirect_to_report(request: HttpRequest) -> HttpResponseRedirect:
    """Lead to the report with the filters of this address."""
    query = request.GET.urlencode()
    url = reverse("admin:migration_comparison_report")
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
