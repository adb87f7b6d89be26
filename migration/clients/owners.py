"""The pages that say who looks after clients: of those selected in the list, and of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.contrib.auth.models import User
from django.contrib.humanize.templatetags.humanize import intcomma
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import SELECT_CLASSES

from credentials.models import Client
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.groups import OWN_PERMISSION, ClientOwner, list_possible_owners
from migration.core.pages import (
    AdminView,
    add_pages,
    get_signed_in_user,
    read_number,
    read_raw_form_text,
)
from migration.pushes.pages import REPORT_ACTS, find_selected, get_report_url

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from migration.moves.bulk_pages import BulkAction

# Of the select, beside the names of users.
NOBODY = "-"
OWNERS = "admin:credentials_client_owners"


class SetOwnersView(AdminView):
    """The page that asks who looks after the selected clients, and its button.

    It names the clients in one field: a form has at most a thousand of them, and a selection may have more.
    """

    template_name = "admin/migration/client_owners.html"
    permission_required = OWN_PERMISSION
    selected: ClientPhaseQuerySet | None = None
    back_label: StrOrPromise = gettext_lazy("Back to the clients")

    @property
    def title(self) -> str:
        return _("Who looks after these clients?")

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        ids = self.find_ids()
        if not ids:
            messages.warning(request, _("No client was selected."))
            return HttpResponseRedirect(self.get_next_url())
        if "owner" not in request.POST:
            return self.show_page(ids)
        name = read_raw_form_text(request, "owner")
        if not name:
            messages.error(request, _("Nothing was changed: choose who looks after them."))
            return self.show_page(ids)
        owner: User | None = None
        if name != NOBODY:
            owner = list_possible_owners().filter(username=name).first()
            if owner is None:
                raise Http404
        changed = ClientOwner.objects.set_owner(
            all_clients().with_ids(ids), owner, by=get_signed_in_user(request)
        )
        self.report_change(owner, len(changed))
        return HttpResponseRedirect(self.get_next_url())

    def find_ids(self) -> list[int]:
        """Return the ids of the clients that the list's action was given, or of those that the page itself names."""
        chosen = self.selected
        if chosen is None:
            numbers = map(read_number, read_raw_form_text(self.request, "clients").split())
            chosen = all_clients().with_ids([pk for pk in numbers if pk is not None])
        return sorted(chosen.order_by().values_list("pk", flat=True))

    def report_change(self, owner: User | None, number: int) -> None:
        if not number:
            messages.info(self.request, _("Nothing was changed: it was so already."))
        elif owner:
            text = ngettext(
                "%(who)s looks after %(n)s client now.",
                "%(who)s looks after %(n)s clients now.",
                number,
            )
            messages.success(
                self.request, text % {"who": owner.get_username(), "n": intcomma(number)}
            )
        else:
            text = ngettext(
                "Nobody looks after %(n)s client now.",
                "Nobody looks after %(n)s clients now.",
                number,
            )
            messages.success(self.request, text % {"n": intcomma(number)})

    def get_next_url(self) -> str:
        return reverse("admin:credentials_client_changelist")

    def show_page(self, ids: list[int]) -> HttpResponse:
        chosen = all_clients().with_ids(ids).filter(client_owner__isnull=False)
        owners = set(chosen.values_list("client_owner__owner__username", flat=True).distinct())
        context = self.get_context_data(
            ids=" ".join(map(str, ids)),
            number=len(ids),
            people=list_possible_owners(),
            owner=owners.pop() if len(owners) == 1 else "",
            nobody=NOBODY,
            select_classes=" ".join(SELECT_CLASSES),
            back=self.get_next_url(),
            address=self.request.get_full_path() if self.selected is None else reverse(OWNERS),
        )
        return self.render_to_response(context)


class SetOwnerView(SetOwnersView):
    """Asks who looks after one client, which the address names, and stores the answer."""

    back_label = gettext_lazy("Back to the client")

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        return self.show_page(self.find_ids())

    def find_ids(self) -> list[int]:
        return [get_object_or_404(all_clients(), pk=self.kwargs["client_id"]).pk]

    @property
    def title(self) -> str:
        return _("Who looks after this client?")

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        client = all_clients().get(pk=self.kwargs["client_id"])
        return super().get_context_data(original=client, **kwargs)

    def get_next_url(self) -> str:
        return reverse("admin:credentials_client_change", args=[self.kwargs["client_id"]])


class SetOwnersOfFoundView(SetOwnersView):
    """Asks who looks after the clients that are selected in the report, and leads back to it."""

    heading = gettext_lazy("Set the owner")
    back_label = gettext_lazy("Back to the mismatches")
    is_of_site = True

    def find_ids(self) -> list[int]:
        chosen = all_clients().with_ids(find_selected(self.request))
        return sorted(chosen.order_by().values_list("pk", flat=True))

    def get_next_url(self) -> str:
        return get_report_url(self.request)


REPORT_ACTS["owners"] = (SetOwnersOfFoundView, "person")
add_pages("comparison", ("report/owners/", "owners", SetOwnersOfFoundView))


def list_owner_actions(request: HttpRequest) -> dict[str, tuple[BulkAction, str, StrOrPromise]]:
    """Return the action that sets owners, as Django has it, where the user may use it."""
    if not request.user.has_perm(OWN_PERMISSION):
        return {}
    return {"set_owner": (open_owners, "set_owner", _("Set who looks after them…"))}


def open_owners(
    model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> HttpResponseBase:
    """Show the page that asks who looks after the chosen clients."""
    return SetOwnersView.as_view(model_admin=model_admin, selected=chosen)(request)
