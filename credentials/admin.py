"""The page of one client with its credentials. `migration/admin/` registers a subclass of `ClientAdmin`."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from django.contrib import messages
from django.contrib.admin.helpers import InlineAdminFormSet
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin

from credentials.forms import (
    AwsInline,
    ChangeAwareFields,
    ClientForm,
    CredentialForm,
    DatabaseInline,
    EmailInline,
)
from credentials.localization import localize
from credentials.models import Client, Credential, save_columns
from credentials.onboarding import (
    CheckOnboardingView,
    MailServerFieldsView,
    OnboardClientView,
)
from credentials.refusals import RefusedByDatabaseError, convert_refusals, insert_rows
from credentials.secret_names import find_name_warning


class ClientAdmin(ChangeAwareFields, ModelAdmin):
    """One client with its credentials on one page, and the onboarding page that adds one."""

    form = ClientForm
    inlines: ClassVar = [DatabaseInline, EmailInline, AwsInline]
    search_fields = ("name", "slug")
    search_help_text = _("Name or slug")
    warn_unsaved_form = True
    onboard_view: ClassVar[type[OnboardClientView]] = OnboardClientView

    def get_urls(self) -> list[URLPattern]:
        """Put the onboarding page behind every "Add client"; Django's own add form stays at add/."""
        page = self.admin_site.admin_view
        name = "credentials_client_add"  # Django's: every link to an add page looks for it
        others = [url for url in super().get_urls() if url.name != name]
        return [
            path("onboard/", page(self.onboard_view.as_view(model_admin=self)), name=name),
            path("add/", page(self.add_view), name=f"{name}_form"),
            path(
                "onboard/check/",
                page(CheckOnboardingView.as_view(model_admin=self)),
                name=f"{name}_check",
            ),
            path(
                "onboard/mail/",
                page(MailServerFieldsView.as_view(model_admin=self)),
                name=f"{name}_mail",
            ),
            *others,
        ]

    def get_fields(self, request: HttpRequest, obj: Client | None = None) -> list[str]:
        fields = ["name", "slug", "description", "is_active"]
        return [*fields, "revision"] if obj and self.has_change_permission(request, obj) else fields

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Client]:
        return Client.objects.with_revision().order_by("name", "pk")

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return False

    def changeform_view(
        self, request: HttpRequest, *args: object, **kwargs: object
    ) -> HttpResponse:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        try:
            with convert_refusals():
                return super().changeform_view(request, *args, **kwargs)
        except RefusedByDatabaseError as refusal:
            text = _("Nothing was saved: %(problem)s")
            messages.error(request, text % {"problem": localize(refusal.message)})
        return HttpResponseRedirect(request.get_full_path())

    def get_secret_field_links(
        self, request: HttpRequest, row: Credential, name: str
    ) -> SafeString | str:
        """Return what stands beside the stored secret `name` of the row, for this user."""
        return ""

    def get_unsaved_secret_field_link(
        self, request: HttpRequest, client: Client, form: CredentialForm
    ) -> SafeString | str:
        """Return what stands beside the secret of a row that isn't stored yet, for this user."""
        return ""

    def get_inline_formsets(
        self, request: HttpRequest, *args: object, **kwargs: object
    ) -> list[InlineAdminFormSet]:
        """Replace the secrets by a mask in every inline that is shown read-only, whatever the reason."""
        wrapped: list[InlineAdminFormSet] = super().get_inline_formsets(request, *args, **kwargs)
        for formset in wrapped:
            formset.opts.link_secret = partial(self.get_secret_field_links, request)
            client = formset.formset.instance
            formset.opts.link_new = partial(self.get_unsaved_secret_field_link, request, client)
            formset.opts.put_links_beside_secrets(formset.formset)
            if not formset.has_change_permission:
                secret = formset.opts.model.SECRET_FIELDS
                shown = [field for field in formset.opts.fields if field not in secret]
                formset.fieldsets = [(None, {"fields": [*shown, "masked_secret"]})]
        return wrapped

    def save_model(self, request: HttpRequest, obj: Client, form: ClientForm, change: bool) -> None:
        """Write only what the form changed, as NOVA may have written the rest; warn of a slug that names no secret."""
        if not change:
            insert_rows(Client, [obj])
        elif form.changed_data:
            save_columns(obj, form.changed_data)
        if "slug" in form.changed_data and (warning := find_name_warning(obj.slug)):
            messages.warning(request, f"{warning}.")
