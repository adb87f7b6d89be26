"""The onboarding page, and what it is told while somebody types. No secret is in anything it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import override
from django.views.decorators.http import require_GET, require_POST

from credentials.admin import name_warning
from credentials.localization import localize
from credentials.onboarding import HOST_FIELDS, Onboarding
from credentials.prices import SECRET_A_MONTH, TEN_THOUSAND_CALLS
from credentials.refusals import RefusedByDatabaseError, database_refusals
from nova_credentials.credential_types import CredentialType

if TYPE_CHECKING:
    from django.contrib.admin import AdminSite
    from django.forms import BoundField
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from credentials.models import Client

WAIT = "input changed delay:300ms"


class OnboardingPages:
    """For the admin of clients: "Add client" leads to the onboarding page; the form over all logins stays at add/."""

    admin_site: AdminSite
    onboard_template = "admin/credentials/onboard.html"

    # The methods that mypy misses are those of the ModelAdmin that this is mixed into.
    def get_urls(self) -> list[URLPattern]:
        view, name = self.admin_site.admin_view, "credentials_client_add"
        others = [url for url in super().get_urls() if url.name != name]  # type: ignore[misc]
        return [
            # Under the name by which every link to the add page finds it.
            path("onboard/", view(self.onboard_view), name=name),
            path("add/", view(self.add_view), name=f"{name}_form"),  # type: ignore[attr-defined]
            path("onboard/check/", view(require_POST(self.check_view)), name=f"{name}_check"),
            path("onboard/mail/", view(require_GET(self.mail_view)), name=f"{name}_mail"),
            *others,
        ]

    def onboard_view(self, request: HttpRequest) -> HttpResponse:
        onboarding = self._onboarding(request, request.POST if request.method == "POST" else None)
        if not onboarding.logins:
            return HttpResponseRedirect(reverse("admin:credentials_client_add_form"))
        if (
            request.method == "POST"
            and onboarding.is_valid()
            and (done := self._save(onboarding, request))
        ):
            return done
        request.current_app = self.admin_site.name  # as Django's own views do
        context = {
            **self.admin_site.each_context(request),
            "title": _("Add a client"),
            "model_admin": self,
            **self.onboard_context(request),
            **_page(onboarding),
        }
        return render(request, self.onboard_template, context)

    def check_view(self, request: HttpRequest) -> HttpResponse:
        """What the page says of the field that was typed into, and of the whole."""
        typed = request.POST.dict()
        for name in self._onboarding(request).secret_fields:
            typed.pop(name, None)
        onboarding = self._onboarding(request, typed)
        filled = onboarding.filled
        for form in onboarding.logins.values():
            form.empty_permitted = False  # judged, though it may still be left out
        told = [
            _told(
                field,
                required=form is onboarding.client or form in filled.values(),
                warning=onboarding.slug_warning if field.name == "slug" else None,
            )
            for form in onboarding.parts
            for field in form
            if field.html_name == request.headers.get("HX-Trigger-Name")
            and field.html_name not in onboarding.secret_fields
        ]
        context = {"told": told, **_whole(onboarding)}
        return render(request, "admin/credentials/onboard_told.html", context)

    def mail_view(self, request: HttpRequest) -> HttpResponse:
        """The hosts and ports of the provider that was chosen."""
        provider = request.GET.get("email-email_provider", "")
        onboarding = self._onboarding(request, mail_provider=provider)
        if CredentialType.EMAIL not in onboarding.logins:
            raise PermissionDenied
        context = {"fields": _hosts(onboarding)}
        return render(request, "admin/credentials/onboard_fields.html", context)

    def onboard_context(self, request: HttpRequest) -> dict[str, Any]:
        """What a template of one's own needs."""
        return {}

    def onboarded(self, request: HttpRequest, client: Client) -> None:
        """Called within the transaction that stores the client."""

    def _onboarding(self, request: HttpRequest, data: Any = None, **kwargs: Any) -> Onboarding:
        if not self.has_add_permission(request):  # type: ignore[attr-defined]
            raise PermissionDenied
        return _live(Onboarding(self, request, data, **kwargs))  # type: ignore[arg-type]

    def _save(self, onboarding: Onboarding, request: HttpRequest) -> HttpResponse | None:
        """Stores all of it and leads to the client's page; None where the database refuses it."""
        try:
            with database_refusals(), transaction.atomic():
                client, rows = onboarding.save()
                with override(None):  # the log is put into words when it is read
                    added = [
                        {"name": str(row._meta.verbose_name), "object": str(row)} for row in rows
                    ]
                log = [{"added": {}}, *({"added": row} for row in added)]
                self.log_addition(request, client, log)  # type: ignore[attr-defined]
                self.onboarded(request, client)
        except RefusedByDatabaseError as refusal:
            onboarding.refuse(
                _("Nothing was saved: %(problem)s") % {"problem": localize(refusal.message)}
            )
            return None
        text = _("%(name)s was added, with its %(logins)s.")
        logins = ", ".join(str(row._meta.verbose_name) for row in rows)
        messages.success(request, text % {"name": client.name, "logins": logins})
        if warning := name_warning(client.slug):
            messages.warning(request, f"{warning}.")
        return HttpResponseRedirect(reverse("admin:credentials_client_change", args=[client.pk]))


def _live(onboarding: Onboarding) -> Onboarding:
    """Has every input but those of secrets checked while it is typed into, and each described by what is said of it."""
    for form in onboarding.parts:
        for field in form:
            attrs = field.field.widget.attrs
            about = ("helptext", "error") if field.help_text else ("error",)
            attrs["aria-describedby"] = " ".join(f"{field.auto_id}_{part}" for part in about)
            if field.name == "email_provider":
                hosts = reverse("admin:credentials_client_add_mail")
                attrs |= {"hx-get": hosts, "hx-trigger": "change", "hx-target": "#mail-hosts"}
            elif field.html_name not in onboarding.secret_fields:
                check = reverse("admin:credentials_client_add_check")
                attrs |= {"hx-post": check, "hx-trigger": WAIT}
    return onboarding


def _page(onboarding: Onboarding) -> dict[str, Any]:
    titles = {
        CredentialType.DATABASE: _("Database login"),
        CredentialType.EMAIL: _("Mail login"),
        CredentialType.AWS: _("AWS login"),
    }
    sections = [
        {
            "kind": credential_type,
            "title": capfirst(titles[credential_type]),
            "fields": [field for field in form if field.name not in HOST_FIELDS],
        }
        for credential_type, form in onboarding.logins.items()
    ]
    return {
        "client": onboarding.client,
        "slug_warning": onboarding.slug_warning,
        "sections": sections,
        "hosts": _hosts(onboarding) if CredentialType.EMAIL in onboarding.logins else [],
        "secret_fields": ",".join(onboarding.secret_fields),
        "errors": sum(len(form.errors) for form in onboarding.parts),
        "refusals": onboarding.client.non_field_errors(),
        **_whole(onboarding),
    }


def _hosts(onboarding: Onboarding) -> list[BoundField]:
    return [onboarding.logins[CredentialType.EMAIL][name] for name in HOST_FIELDS]


def _whole(onboarding: Onboarding) -> dict[str, Any]:
    """What its secrets will be called and cost."""
    return {
        "names": onboarding.secret_names,
        "dollars": onboarding.dollars_a_month,
        "secret_a_month": SECRET_A_MONTH,
        "ten_thousand_calls": TEN_THOUSAND_CALLS,
    }


def _told(field: BoundField, *, required: bool, warning: str | None) -> dict[str, Any]:
    """What is wrong with a field; nothing of one that may still be left out."""
    wanted = required or field.data not in (None, "")
    errors = field.errors if wanted else []
    return {"id": f"{field.auto_id}_error", "errors": errors, "warning": warning}
