"""The page that adopts secrets of a client which somebody else made: what they hold by field names, and a form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.admin.base import (
    RUN_PERMISSION,
    ClientView,
    get_signed_in_user,
    get_typed_reason,
    read_raw_form_text,
)
from migration.models.reasons import ReasonError
from migration.operations.adoptions import adopt_and_overwrite_secrets, find_foreign_secrets
from migration.operations.resolutions import NotResolved

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse


class AdoptView(ClientView):
    """Shows the secrets before they are adopted, and adopts them once the slug is typed and a reason given."""

    template_name = "admin/migration/adopt.html"
    permission_required = RUN_PERMISSION

    @property
    def title(self) -> str:
        return _("Adopt the secret of %(client)s") % {"client": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        may_compare = request.user.has_perm("migration.view_comparison")
        context = self.get_context_data(
            may_view_comparisons=may_compare, input_classes=" ".join(BASE_INPUT_CLASSES)
        )
        try:
            context["foreign"] = find_foreign_secrets(self.client.pk)
        except NotResolved as refusal:
            context["why_not"] = refusal.message
        return self.render_to_response(context)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        here = HttpResponseRedirect(request.get_full_path())
        reason = get_typed_reason(request)
        if request.POST.get("slug") != self.client.slug or not reason:
            text = _("Nothing was adopted: type the slug, %(slug)s, and give a reason or a ticket.")
            messages.error(request, text % {"slug": self.client.slug})
            return here
        try:
            adopted = adopt_and_overwrite_secrets(
                client_id=self.client.pk,
                seen=read_raw_form_text(request, "seen"),
                reason=reason,
                by=get_signed_in_user(request),
            )
        except (NotResolved, ReasonError) as refusal:
            messages.error(request, localize(refusal.message))
            return here
        messages.success(request, localize(adopted.message))
        return HttpResponseRedirect(reverse("admin:credentials_client_change", args=[client_id]))
