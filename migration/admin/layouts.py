"""The page that changes the layout of a client's secrets: which they are now, which they will be, and what goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import BadRequest
from django.http import HttpResponseRedirect
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.admin.base import ClientView, get_signed_in_user
from migration.admin.client_tabs import ClientTab, get_tab_url
from migration.models.clients import ClientMigration
from migration.models.layouts import LayoutChoices, find_layout, find_other_layout
from migration.operations.aws_store import secret_names
from migration.operations.layouts import LayoutRefusedError, change_layout
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

# Who may say which store NOVA reads may say in which secrets.
LAYOUT_PERMISSION = "migration.move_client"


class ChangeLayoutView(ClientView):
    """Shows the secrets of both layouts, and changes to the one that was shown as the other."""

    template_name = "admin/migration/change_layout.html"
    permission_required = LAYOUT_PERMISSION

    @property
    def title(self) -> str:
        return _("Change the layout: %(client)s") % {"client": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        own = ClientMigration.objects.filter(pk=client_id).first() or ClientMigration()
        old = find_layout(own.layout)
        new = find_other_layout(old)
        slug = own.secret_slug or self.client.slug
        context = self.get_context_data(
            back=get_tab_url(client_id, ClientTab.COMPARISON),
            old_label=LayoutChoices(old).label,
            new_label=LayoutChoices(new).label,
            old_names=list(secret_names(slug, old).values()),
            new_names=list(secret_names(slug, new).values()),
            new=new,
        )
        return self.render_to_response(context)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        wanted = request.POST.get("layout")
        if wanted not in tuple(Layout):
            raise BadRequest("The form names no layout")
        try:
            changed = change_layout(
                client_id=self.client.pk, layout=Layout(wanted), by=get_signed_in_user(request)
            )
        except LayoutRefusedError as refusal:
            messages.error(request, localize(refusal.message))
            return HttpResponseRedirect(request.get_full_path())
        messages.success(request, localize(changed.message))
        return HttpResponseRedirect(get_tab_url(client_id, ClientTab.COMPARISON))
