"""Reveal: one secret value, to one person, on a page that nothing keeps. Asks for the password, and for a reason."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.contrib.auth.signals import user_logged_in
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver
from django.http import Http404
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.forms import MASK
from credentials.localization import localize
from credentials.models import Client
from migration.admin.base import reason_of
from migration.admin.moves import RESOLVE_PERMISSION
from migration.models import Comparison, ReasonError
from migration.operations.reveals import NotRevealed, find_credential, reveal

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse
    from django.urls import URLPattern

    from credentials.models import Credential

REVEAL_PERMISSION = "migration.reveal_credential"
# Whoever gave the password longer ago gives it again.
FRESH_SECONDS = 5 * 60
HIDDEN_AFTER_SECONDS = 30
AUTHENTICATED_AT = "authenticated_at"


@receiver(user_logged_in, dispatch_uid="migration.remember_authentication")
def remember_authentication(request: HttpRequest, **_: object) -> None:
    request.session[AUTHENTICATED_AT] = time.time()


def is_fresh(request: HttpRequest) -> bool:
    """Whether this session's password was given in the last minutes."""
    return 0 <= time.time() - request.session.get(AUTHENTICATED_AT, 0) < FRESH_SECONDS


def urls(model_admin: Any) -> list[URLPattern]:
    @require_http_methods(["GET", "HEAD", "POST"])
    def page(
        request: HttpRequest, client_id: int, kind: str, credential_id: int, name: str
    ) -> HttpResponse:
        if not (
            request.user.has_perm(REVEAL_PERMISSION) and model_admin.has_view_permission(request)
        ):
            raise PermissionDenied
        try:
            client, row = find_credential(client_id, kind, credential_id)
        except LookupError:
            raise Http404 from None
        if name not in row.SECRET_FIELDS:
            raise Http404
        return _page(model_admin, request, Chosen(client, row, kind, name))

    return [
        path(
            "<int:client_id>/reveal/<str:kind>/<int:credential_id>/<str:name>/",
            model_admin.admin_site.admin_view(page),
            name="credentials_client_reveal",
        )
    ]


def context(request: HttpRequest, client_id: int) -> dict[str, Any]:
    """For the client's page: its secret fields where the user may reveal them."""
    if not request.user.has_perm(REVEAL_PERMISSION):
        return {}
    client = Client.objects.with_credentials().get(pk=client_id)
    return {"mask": MASK, "secret_fields": list(_secret_fields(client))}


def _secret_fields(client: Client) -> Any:
    for kind, rows in client.credentials_by_type().items():
        for row in rows:
            for name in row.SECRET_FIELDS:
                url = reverse(
                    "admin:credentials_client_reveal", args=[client.pk, kind, row.pk, name]
                )
                yield {"credential": str(row), "field": _label(row, name), "url": url}


def _label(row: Credential, name: str) -> str:
    return str(getattr(row._meta.get_field(name), "verbose_name", name))


@dataclass(frozen=True)
class Chosen:
    """The field that is asked for."""

    client: Client
    row: Credential
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.client.name} › {self.row} › {_label(self.row, self.name)}"


def _page(model_admin: Any, request: HttpRequest, chosen: Chosen) -> HttpResponse:
    """The form; sent with a reason, and the password where it was given long ago, the value."""
    client = chosen.client
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": _("Reveal %(field)s") % {"field": chosen},
        "opts": model_admin.opts,
        "original": client,
        "here": request.get_full_path(),
        "hidden_after": HIDDEN_AFTER_SECONDS,
        "input_classes": " ".join(BASE_INPUT_CLASSES),
    }
    problems = _problems(request) if request.method == "POST" else []
    if request.method == "POST" and not problems:
        try:
            context["revealed"] = reveal(
                client_id=client.pk,
                kind=chosen.kind,
                credential_id=chosen.row.pk,
                name=chosen.name,
                by=request.user,  # type: ignore[arg-type]  # has a permission
                reason=reason_of(request),
                address=address_of(request),
            )
        except LookupError:
            raise Http404 from None
        except (NotRevealed, ReasonError) as refusal:
            problems = [localize(refusal.message)]
    context |= {
        "problems": problems,
        "wants_password": not is_fresh(request),
        "reason": request.POST.get("reason", ""),
        "comparison": Comparison.objects.newest().filter(client_id=client.pk).first(),
        "may_compare": request.user.has_perm(RESOLVE_PERMISSION),
    }
    request.current_app = model_admin.admin_site.name  # as Django's own views do
    response = TemplateResponse(request, "admin/migration/reveal.html", context)
    response["Cache-Control"] = "no-store, private"
    return response


def _problems(request: HttpRequest) -> list[str]:
    """What is missing; a right password counts for the session from now on."""
    problems = []
    if not is_fresh(request):
        if request.user.check_password(request.POST.get("password", "")):
            request.session[AUTHENTICATED_AT] = time.time()
        else:
            problems.append(_("That is not your password."))
    if not reason_of(request):
        problems.append(_("Give a reason or a ticket: it is kept with your name."))
    return problems


def address_of(request: HttpRequest) -> str:
    """Where the request came from; behind a proxy, which names its client last, with the proxy's own."""
    direct = request.META.get("REMOTE_ADDR", "")
    *_others, named = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    named = named.strip()[:60]
    return " via ".join(filter(None, (named, direct)))
