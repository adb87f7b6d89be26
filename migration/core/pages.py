"""Owns what all pages share: permissions, bases of lists and pages, filters, links, answers of buttons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeAlias, TypeVar
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.models import User
from django.core.exceptions import BadRequest, PermissionDenied
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.generic.base import ContextMixin, TemplateResponseMixin, View
from unfold.admin import ModelAdmin
from unfold.views import UnfoldModelAdminViewMixin

from credentials.localization import localize
from credentials.models import CREDENTIAL_MODELS, Client
from credentials.models.clients import RowsByType
from migration.core.audit import EventPage
from migration.core.clients import ClientPhaseQuerySet
from migration.core.sentences import (
    CLIENT_LEFT_ALONE,
    FOREIGN_VERSION,
    LEFT_TO_AWS,
    NOT_OURS,
    WRITTEN_SINCE_BACKUP,
)
from migration.templatetags.client_lists import Chip
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document
from nova_credentials.messages import Message

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    # Of a filter: each value with its label.
    Options = list[tuple[str, StrOrPromise]]


GROUP_PERMISSION = "migration.change_clientgroup"
NEW_GROUP_PERMISSION = "migration.add_clientgroup"
RUN_PERMISSION = "migration.add_run"
RESOLVE_PERMISSION = "migration.resolve_mismatch"
# Without a model the path above the page is the page's own title, as the menu calls it.
NO_MODEL_IN_PATH: dict[str, object] = {"opts": None, "model_admin": None}

# An action of the client list.
BulkAction: TypeAlias = (
    "Callable[[ModelAdmin[Client], HttpRequest, ClientPhaseQuerySet], HttpResponseBase | None]"
)

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
        return self.show()

    def show(self) -> HttpResponse:
        """Answer with the page of `original`."""
        return self.render_to_response(self.get_context_data(original=self.original))

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

    def history_view(
        self,
        request: HttpRequest,
        object_id: str,
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Lead to the object's own page: Django's history knows only what was saved here; the audit has all."""
        page = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(page, args=[object_id]))


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


def read_search(request: HttpRequest) -> str:
    """Return what the address of a list looks for."""
    return request.GET.get("q", "").replace("\0", "").strip()[:200]


def read_number(text: str) -> int | None:
    """Return a whole number of an address or a form; None where it is none, or larger than any that is stored."""
    # PostgreSQL's bigint has 19 digits, and Python converts no text of thousands.
    return int(text) if text.isdecimal() and len(text) < 19 else None


def get_allowed_url(request: HttpRequest, page: EventPage | None) -> str:
    """Return the address of an event's page; "" where there is none, or the user may not open it."""
    return page.url if page and request.user.has_perm(page.permission) else ""


def link_to_audit(request: HttpRequest, **filters: object) -> str:
    """Return where the audit shows and exports what these filters choose; "" for who may not view it.

    `admin/migration/audit_link.html` shows it. An event's day as `since` keeps the search short.
    """
    if not request.user.has_perm("migration.view_auditevent"):
        return ""
    return f"{reverse('admin:migration_auditevent_changelist')}?{urlencode(filters)}"


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


HISTORY_PAGE = "history"


class ClientTab(StrEnum):
    """A tab of a client's page; its value is what the address has."""

    OVERVIEW = "overview"
    LOGINS = "logins"
    COMPARISON = "comparison"
    HISTORY = "history"


def read_tab(request: HttpRequest) -> ClientTab:
    """Return the tab that the request opens: a form that was sent has the logins, an unknown name the overview."""
    match = request.resolver_match
    if match and match.url_name == "credentials_client_history":  # Django's address
        return ClientTab.HISTORY
    if request.method == "POST" or IS_POPUP_VAR in request.GET:
        return ClientTab.LOGINS
    name = request.GET.get("tab", "")
    if name in set(ClientTab):
        return ClientTab(name)
    return ClientTab.HISTORY if HISTORY_PAGE in request.GET else ClientTab.OVERVIEW


def get_tab_url(client_id: int, tab: ClientTab, part: str = "") -> str:
    """Return the address of a client's tab; `part` is the id of what it jumps to."""
    url = reverse("admin:credentials_client_change", args=[client_id])
    url = url if tab == ClientTab.OVERVIEW else f"{url}?tab={tab}"
    return f"{url}#{part}" if part else url


# Of the address of an act's page: the clients by id, and where it leads back.
CLIENTS, BACK = "clients", "back"


def get_act_url(code: str, client_ids: Collection[int], *, back: str = "") -> str:
    """Return the address of the page of an act (`runs.acts.ACTS`) on these clients; without them a form names them."""
    query = {CLIENTS: ",".join(map(str, client_ids))} if client_ids else {}
    query |= {BACK: back} if back else {}
    url = reverse("admin:credentials_client_act", args=[code])
    return f"{url}?{urlencode(query, safe=',')}"


# What a user resolves on the tab that compares both stores.
TO_RESOLVE = {
    sentence.key
    for sentence in (
        FOREIGN_VERSION,
        WRITTEN_SINCE_BACKUP,
        CLIENT_LEFT_ALONE,
        LEFT_TO_AWS,
    )
}


def redirect_back(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    """Lead to the page of this site that the form came from, or else to the client's."""
    came_from = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(came_from, allowed_hosts=None):
        return HttpResponseRedirect(came_from)
    return HttpResponseRedirect(reverse("admin:credentials_client_change", args=[client_id]))


def show_refusal(
    request: HttpRequest, client_id: int, message: Message, codes: Collection[str] = ()
) -> None:
    """Add a message that says why something was refused, with a link to what mends it; `codes` are its reasons."""
    text, link = localize(message), find_remedy(request, client_id, codes or message.codes)
    messages.error(request, format_html("{} {}", text, link) if link else text)


def find_remedy(request: HttpRequest, client_id: int, codes: Collection[str]) -> str:
    """Return the link to what mends the first of these reasons that this user can mend; "" where there is none."""
    found = find_remedy_page(request, client_id, codes)
    return format_html('<a class="underline" href="{1}">{0}</a>', *found) if found else ""


def find_remedy_page(
    request: HttpRequest, client_id: int, codes: Collection[str]
) -> tuple[str, str] | None:
    """Return label and address of what mends the first of these reasons that this user can mend."""
    if NOT_OURS.key in codes and request.user.has_perm(RUN_PERMISSION):
        return gettext("Adopt the secret…"), get_act_url("adopt", [client_id])
    if TO_RESOLVE & set(codes):
        return gettext("Compare both stores"), get_tab_url(client_id, ClientTab.COMPARISON)
    return None


def list_chips(
    filters: Mapping[str, str],
    titles: Mapping[str, StrOrPromise],
    values: Mapping[tuple[str, str], StrOrPromise],
) -> list[Chip]:
    """Return a chip for each filter; `values` has the words for (filter, value), where there are better ones."""
    return [
        Chip(
            str(titles[name]),
            str(values.get((name, value), value)),
            "?" + urlencode({other: each for other, each in filters.items() if other != name}),
        )
        for name, value in filters.items()
    ]


class ClientListFilter(admin.SimpleListFilter):
    """A filter of the client list. A subclass says in `find_condition` which clients each of its values is for."""

    options: ClassVar[Options]
    # Values that the list offers as chips beside its search: such a filter is no section of its panel.
    chip_values: ClassVar[Collection[str]] = ()
    # Value -> how many clients it would show; None where `count_choices` has not counted.
    counts: Mapping[str, int] | None = None

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Client]) -> Options:
        return self.options

    def find_condition(self, value: str) -> Q | None:
        """Return the condition of the clients that this value shows; None where the filter has no such value."""
        raise NotImplementedError

    def count_in_own_query(self, clients: QuerySet[Client]) -> Mapping[str, int] | None:
        """Count these clients by value, in a query of the filter's own; None where its conditions go into a shared one.

        A filter has its own where one condition takes longer to put into SQL than such a query takes.
        """
        return None

    def queryset(self, request: HttpRequest, queryset: QuerySet[Client]) -> QuerySet[Client]:
        condition = self.find_condition(self.value() or "")
        return queryset if condition is None else queryset.filter(condition)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield Django's choices, each with its number of clients; None where it was not counted."""
        everybody, *others = super().choices(changelist)
        yield {**everybody, "display": _("Any")}
        for (value, _label), choice in zip(self.lookup_choices, others, strict=True):
            yield {**choice, "count": None if self.counts is None else self.counts.get(value, 0)}


def count_choices(changelist: ChangeList) -> None:
    """Give each filter of the list the number of clients behind each of its choices, as the other filters stand.

    One query counts for the filters that are not used, one for each that is, and for some there is one of their own.
    """
    idle = []
    for spec in list(changelist.filter_specs):
        if isinstance(spec, ClientListFilter) and not spec.chip_values:
            if spec.value() is None:
                idle.append(spec)
            else:
                names = spec.expected_parameters()
                _count_for([spec], select_without(names, changelist, spec.request))
    _count_for(idle, changelist.queryset)


def select_without(
    parameters: Sequence[str | None], changelist: ChangeList, request: HttpRequest
) -> QuerySet[Client]:
    """Select what the list shows with all filters but those of these parameters."""
    names = ("filter_specs", "has_filters", "has_active_filters")
    kept = {name: getattr(changelist, name) for name in names}
    found = changelist.get_queryset(request, exclude_parameters=[*parameters])
    # It has made all filters anew.
    vars(changelist).update(kept)
    return found


def _count_for(filters: Sequence[ClientListFilter], clients: QuerySet[Client]) -> None:
    together = []
    for spec in filters:
        own = spec.count_in_own_query(clients.order_by()) if spec.lookup_choices else {}
        if own is None:
            together.append(spec)
        else:
            spec.counts = own
    pairs = [(spec, value) for spec in together for value, _label in spec.lookup_choices]
    conditions = {
        f"number_{n}": Count("pk", filter=spec.find_condition(value))
        for n, (spec, value) in enumerate(pairs)
    }
    counted = clients.order_by().aggregate(**conditions) if conditions else {}
    for spec in together:
        of_spec = [n for n, (owner, _value) in enumerate(pairs) if owner is spec]
        spec.counts = {pairs[n][1]: counted[f"number_{n}"] for n in of_spec}
