"""The base classes of the site's own pages: permission, methods, the object a page is about, and read-only models."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from django.contrib.admin.utils import unquote
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied
from django.shortcuts import get_object_or_404
from django.urls import path
from django.views.generic.base import ContextMixin, TemplateResponseMixin, View
from unfold.admin import ModelAdmin
from unfold.views import UnfoldModelAdminViewMixin

from credentials.models import CREDENTIAL_MODELS, Client

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from django.db.models import Model, QuerySet
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase
    from django.urls import URLPattern
    from django.utils.safestring import SafeString

    from credentials.models.clients import RowsByType
    from nova_credentials.credential_types import CredentialType
    from nova_credentials.document import Document

GROUP_PERMISSION = "migration.change_clientgroup"
NEW_GROUP_PERMISSION = "migration.add_clientgroup"
RUN_PERMISSION = "migration.add_run"
# PostgreSQL's bigint has 19, and Python converts no text of thousands.
MOST_DIGITS = 19
RESOLVE_PERMISSION = "migration.resolve_mismatch"
# Without a model the path above the page is the page's own title, as the menu calls it.
NO_MODEL_IN_PATH: dict[str, object] = {"opts": None, "model_admin": None}

AnyModel = TypeVar("AnyModel", bound="Model")

# Route, name and class of pages that hang under the list of a model, by its name, and belong to another feature.
PAGES: defaultdict[str, list[tuple[str, str, type[AdminView]]]] = defaultdict(list)


def add_pages(model_name: str, *pages: tuple[str, str, type[AdminView]]) -> None:
    """Have pages hang under the addresses of the model's list."""
    PAGES[model_name] += pages


class NoteOfClients(Protocol):
    """Returns sentences for a page that acts on clients; `number`: of the ids, needed where they are a query."""

    def __call__(
        self,
        request: HttpRequest,
        client_ids: Collection[int] | QuerySet[Any, int],
        *,
        number: int | None = None,
    ) -> list[SafeString]: ...


# What features have to say of clients that another one is about to act on.
NOTES_OF_CLIENTS: list[NoteOfClients] = []


def describe_notes_of_clients(
    request: HttpRequest,
    client_ids: Collection[int] | QuerySet[Any, int],
    *,
    number: int | None = None,
) -> list[SafeString]:
    """Return what else happens to these clients, for a page that acts on them: a sentence each."""
    return [
        note for notes in NOTES_OF_CLIENTS for note in notes(request, client_ids, number=number)
    ]


class ClientWithPhase(Protocol):
    """A client as `ClientPhaseQuerySet.with_phase` gives it."""

    pk: int
    name: str
    slug: str
    is_active: bool | None
    phase: str


class ClientRow(ClientWithPhase, Protocol):
    """A client as `ClientAdmin.get_queryset` gives it."""

    revision: int
    pushed_revision: int | None
    newest_status: str | None
    newest_compared_at: datetime | None
    phase_since: datetime | None
    layout: str | None
    secret_slug: str
    other_secrets: str
    other_slug: str | None
    last_read_at: datetime | None

    def build_document(self) -> Document: ...

    def credentials_by_type(self) -> RowsByType: ...


class AdminView(UnfoldModelAdminViewMixin, TemplateResponseMixin, ContextMixin, View):
    """A page or a button of a model's admin: 403 without the permission, 405 for a method it has no handler for.

    A view without `permission_required` is for everybody who may view the model.
    """

    http_method_names = ["get", "head", "post"]  # noqa: RUF012  # Django's own declaration
    model_admin: ModelAdmin
    permission_required: str | None = None
    # Whether opening it is a use of the site, which keeps the user logged in.
    renews_session: ClassVar[bool] = True
    # True for a page about the whole site: only its address is below a model, and the path above it names none.
    is_of_site: ClassVar[bool] = False

    @property
    def title(self) -> str:
        return ""

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Refuse a wrong method before the permission is checked, so that it is 405 for everybody."""
        method = (request.method or "").lower()
        if method not in self.http_method_names or not hasattr(self, method):
            return self.http_method_not_allowed(request, *args, **kwargs)
        return super().dispatch(request, *args, **kwargs)

    def get_permission_denied_message(self) -> str:
        """Return the permission that is required, by which the page of the refusal names the roles that have it."""
        return self.permission_required or ""

    def has_permission(self) -> bool:
        """Say whether the user has `permission_required`, or may view the model if there is none."""
        if self.permission_required is None:
            return self.model_admin.has_view_permission(self.request)
        return super().has_permission()

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        context: dict[str, object] = super().get_context_data(opts=self.model_admin.opts, **kwargs)
        return context | NO_MODEL_IN_PATH if self.is_of_site else context


class ClientView(AdminView):
    """A page or a button of one client, whose id is in the address; 404 if there is no such client."""

    @property
    def client_id(self) -> int:
        return int(self.kwargs["client_id"])

    @cached_property
    def client(self) -> Client:
        return get_object_or_404(Client, pk=self.client_id)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return super().get_context_data(original=self.client, **kwargs)


class ObjectView(AdminView, Generic[AnyModel]):
    """The page of one object of a read-only model, in place of Django's form."""

    original: AnyModel

    @property
    def title(self) -> str:
        return str(self.original)

    def get(self, request: HttpRequest, object_id: str) -> HttpResponse:
        found = self.find_object(unquote(object_id))
        if found is None:
            return self.model_admin.redirect_missing_to_dashboard(request, object_id)
        self.original = found
        return self.render_to_response(self.get_context_data(original=found))

    def find_object(self, key: str) -> AnyModel | None:
        """Return the object with this key as the address has it, or None."""
        return self.model_admin.get_object(self.request, key)


class AdminWithOwnViews(ModelAdmin):
    """An admin with views of its own, each given as route, name and class. Only staff reach them."""

    own_views: ClassVar[list[tuple[str, str, type[AdminView]]]] = []

    def get_urls(self) -> list[URLPattern]:
        prefix = f"{self.opts.app_label}_{self.opts.model_name}"
        own = [
            path(
                route,
                self.admin_site.admin_view(view.as_view(model_admin=self)),
                name=f"{prefix}_{name}",
            )
            for route, name, view in [*self.own_views, *PAGES[self.opts.model_name or ""]]
        ]
        return [*own, *super().get_urls()]


class ReadOnlyAdmin(AdminWithOwnViews):
    """History: nobody adds, changes or deletes it, not even a superuser. `object_view` shows one object."""

    object_view: ClassVar[type[ObjectView[Model]]]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, object] | None = None,
    ) -> HttpResponseBase:
        return self.object_view.as_view(model_admin=self)(request, object_id=object_id)

    def redirect_missing_to_dashboard(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Redirect to the dashboard with a message that the object does not exist, as Django's admin does."""
        return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)


def read_number(text: str) -> int | None:
    """Return a whole number of an address or a form; None where it is none, or larger than any that is stored."""
    return int(text) if text.isdecimal() and len(text) < MOST_DIGITS else None


def read_raw_form_text(request: HttpRequest, name: str) -> str:
    """Return a field of the form, "" if there is none; raise BadRequest for a NUL, which no stored text has."""
    text = request.POST.get(name, "")
    if "\0" in text:
        raise BadRequest("A field of the form holds a NUL")
    return text


def list_visible_logins(request: HttpRequest) -> list[CredentialType]:
    """Return the kinds of logins that the user may see, without their secrets."""
    names = {kind: model._meta.model_name for kind, model in CREDENTIAL_MODELS.items()}
    return [
        kind for kind, name in names.items() if request.user.has_perm(f"credentials.view_{name}")
    ]


def get_signed_in_user(request: HttpRequest) -> User:
    """Return the user. Raise PermissionDenied for nobody, who gets no further than the login anyway."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def get_typed_reason(request: HttpRequest) -> str:
    """Return the reason that was typed, without blanks around it. The operation that stores it checks it."""
    return request.POST.get("reason", "").strip()
