"""The page of one client with its logins, also of one that is added. `migration/clients/admin.py` has more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.admin import ModelAdmin

from credentials.forms import (
    AwsInline,
    ChangeAwareFields,
    ClientForm,
    CredentialFormSet,
    DatabaseInline,
    EmailInline,
    find_hints,
)
from credentials.localization import localize
from credentials.models import Client, save_columns
from credentials.refusals import RefusedByDatabaseError, convert_refusals, insert_rows
from credentials.secret_names import find_name_warning
from credentials.values import warn_of_outer_blanks

# The button that adds an empty login to a form without scripts; its value is the prefix of the logins' forms.
ADD_LOGIN = "_add_login"


class ClientAdmin(ChangeAwareFields, ModelAdmin):
    """One client with its logins on one page, which a script sends to have its errors without leaving it."""

    form = ClientForm
    inlines: ClassVar = [DatabaseInline, EmailInline, AwsInline]
    search_fields = ("name", "slug")
    search_help_text = _("Name or slug")
    warn_unsaved_form = True

    def get_urls(self) -> list[URLPattern]:
        """Redirect the address by which former releases added a client."""

        def redirect(request: HttpRequest) -> HttpResponse:
            return HttpResponseRedirect(reverse("admin:credentials_client_add"))

        return [path("onboard/", self.admin_site.admin_view(redirect)), *super().get_urls()]

    def get_fields(self, request: HttpRequest, obj: Client | None = None) -> list[str]:
        fields = ["name", "slug", "description"]
        if obj is None:
            return fields
        fields = [*fields, "is_active"]
        return [*fields, "revision"] if self.has_change_permission(request, obj) else fields

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Client]:
        return Client.objects.with_revision().order_by("name", "pk")

    def has_delete_permission(self, request: HttpRequest, obj: Client | None = None) -> bool:
        return False

    def changeform_view(
        self, request: HttpRequest, *args: object, **kwargs: object
    ) -> HttpResponse:
        if request.method != "POST":
            return super().changeform_view(request, *args, **kwargs)
        if ADD_LOGIN in request.POST:
            _add_empty_login(request)
        try:
            with convert_refusals():
                response: HttpResponse = super().changeform_view(request, *args, **kwargs)
        except RefusedByDatabaseError as refusal:
            text = _("Nothing was saved: %(problem)s") % {"problem": localize(refusal.message)}
            return answer_refusal(request, text)
        return _answer_script(response) if is_sent_by_script(request) else response

    def _create_formsets(self, request: HttpRequest, obj: Any, change: bool) -> Any:
        formsets, inlines = super()._create_formsets(request, obj, change)
        if request.method == "POST" and not change:
            for formset in formsets:
                formset.of_new_client = formsets
        return formsets, inlines

    def save_model(self, request: HttpRequest, obj: Client, form: ClientForm, change: bool) -> None:
        """Write only what the form changed, as NOVA may have written the rest; warn of a slug that names no secret."""
        if not change:
            insert_rows(Client, [obj])
        elif form.changed_data:
            save_columns(obj, form.changed_data)
        if "slug" in form.changed_data and (warning := find_name_warning(obj.slug)):
            warn_later(request, f"{warning}.")

    def save_related(
        self,
        request: HttpRequest,
        form: ClientForm,
        formsets: Sequence[CredentialFormSet],
        change: bool,
    ) -> None:
        """Store the logins, and say what may be a mistake in what was typed."""
        super().save_related(request, form, formsets, change)
        # The script asks about them before it sends the form.
        if not is_sent_by_script(request):
            blank = sum(
                not (login.instance.pk or login.has_changed())
                for rows in formsets
                for login in rows.forms
            )
            if blank:
                text = ngettext(
                    "%(n)s login was left blank and not saved.",
                    "%(n)s logins were left blank and not saved.",
                    blank,
                )
                warn_later(request, text % {"n": blank})
        for login in (each for rows in formsets for each in rows.forms if each.has_changed()):
            row = capfirst(localize(login.instance.make_login_name_message()))
            for name, hint in find_hints(login).items():
                if name in login.changed_data:
                    warn_later(request, f"{row}: {login.fields[name].label}: {hint}.")
            secrets = login.typed_secrets().items()
            typed = {str(login.fields[name].label): value for name, value in secrets}
            for warning in warn_of_outer_blanks(typed):
                warn_later(request, f"{row}: {localize(warning)}")

    def get_url_after_save(self, request: HttpRequest, client: Client) -> str:
        """Return the page that a saved form leads to."""
        return reverse("admin:credentials_client_change", args=[client.pk])

    def response_add(
        self, request: HttpRequest, obj: Client, post_url_continue: str | None = None
    ) -> HttpResponse:
        if IS_POPUP_VAR in request.POST:
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, _("%(name)s was added.") % {"name": obj.name})
        _show_warnings(request)
        return HttpResponseRedirect(self.get_url_after_save(request, obj))

    def response_change(self, request: HttpRequest, obj: Client) -> HttpResponse:
        if IS_POPUP_VAR in request.POST:
            return super().response_change(request, obj)
        if "says_saved" not in vars(request):
            messages.success(request, _("Saved."))
        _show_warnings(request)
        return HttpResponseRedirect(self.get_url_after_save(request, obj))


def warn_later(request: HttpRequest, text: str, *, says_saved: bool = False) -> None:
    """Keep a warning about what is being saved for the page that says first that it was, unless this does."""
    vars(request).setdefault("warnings_of_save", []).append(text)
    if says_saved:
        vars(request)["says_saved"] = True


def _show_warnings(request: HttpRequest) -> None:
    for text in vars(request).pop("warnings_of_save", []):
        messages.warning(request, text)


def is_sent_by_script(request: HttpRequest) -> bool:
    """Say whether the form's script sent it, which stays on the page until all is right."""
    return request.headers.get("Accept") == "application/json"


def answer_refusal(request: HttpRequest, text: str) -> HttpResponse:
    """Say why nothing was saved: to the script, whose page keeps what was typed, or on the page anew."""
    if is_sent_by_script(request):
        return _make_answer({"general": [text], "fields": {}})
    messages.error(request, text)
    return HttpResponseRedirect(request.get_full_path())


def _answer_script(response: HttpResponse) -> HttpResponse:
    """Return where the page leads, or the errors by the names of their inputs. Never a value."""
    if isinstance(response, HttpResponseRedirect):
        return _make_answer({"url": response.url})
    context = getattr(response, "context_data", None) or {}
    if not isinstance(response, TemplateResponse) or "adminform" not in context:
        return response
    general, fields = find_errors(context)
    return _make_answer({"general": general, "fields": fields, "hints": _list_hints(context)})


def find_errors(context: dict[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the errors of no field of the page's forms, and those of fields by the names of their inputs."""
    formsets = [each.formset for each in context["inline_admin_formsets"]]
    forms = [context["adminform"].form, *(form for each in formsets for form in each.forms)]
    general = [str(text) for each in formsets for text in each.non_form_errors()]
    fields: dict[str, list[str]] = {}
    for form in forms:
        for name, texts in form.errors.items():
            if name in form.fields and not form[name].is_hidden:
                fields[form.add_prefix(name)] = [str(text) for text in texts]
            else:
                general += [str(text) for text in texts]
    return general, fields


def _list_hints(context: dict[str, Any]) -> dict[str, str]:
    """Return what may be a mistake in the logins, by the names of their inputs."""
    return {
        login.add_prefix(name): f"{hint}."
        for each in context["inline_admin_formsets"]
        for login in each.formset.forms
        if login.has_changed()
        for name, hint in find_hints(login).items()
        if name in login.changed_data and name not in login.errors
    }


def _make_answer(data: dict[str, object]) -> JsonResponse:
    return JsonResponse(data, headers={"Cache-Control": "no-store, private"})


def _add_empty_login(request: HttpRequest) -> None:
    """Have the form hold one login more, which isn't primary if there is one. Its client's form then isn't saved."""
    prefix = request.POST.get(ADD_LOGIN, "")
    typed = request.POST.copy()
    number = typed.get(f"{prefix}-TOTAL_FORMS", "")
    if number.isdecimal() and len(number) < 5:
        typed[f"{prefix}-TOTAL_FORMS"] = str(int(number) + 1)
        if int(number):
            typed[f"{prefix}-{number}-is_primary"] = "false"
    request.POST = typed  # type: ignore[assignment]  # a form reads it alone
