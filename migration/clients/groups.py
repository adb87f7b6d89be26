"""Groups of clients: their list, and the pages that add, rename and delete one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Protocol

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.forms import IntegerField, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse, reverse_lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from unfold.decorators import display
from unfold.widgets import UnfoldAdminIntegerFieldWidget

from credentials.localization import intcomma, localize
from migration.campaigns.starts import list_campaign_buttons
from migration.core.clients import VIEW_CLIENTS, PhaseChoices, all_clients
from migration.core.groups import (
    ClientGroup,
    ClientGroupError,
    ClientGroupQuerySet,
    GroupMember,
    parse_group_name,
)
from migration.core.pages import AdminWithOwnViews, get_signed_in_user
from migration.logins.models import MOST_DAYS, ROTATE_PERMISSION, RotationSchedule
from nova_credentials.phases import Phase

CLIENTS_URL = reverse_lazy("admin:credentials_client_changelist")


class CountedGroup(Protocol):
    """A group as `ClientGroupQuerySet.with_counts` gives it."""

    pk: int
    number: int


def get_members_url(group_id: int, phase: Phase | None = None) -> str:
    """Return the address of the list of the group's clients, or of those in the phase."""
    more = f"&phase={phase}" if phase else ""
    return f"{reverse('admin:credentials_client_changelist')}?group={group_id}{more}"


def link_members(group: CountedGroup, number: int, phase: Phase | None = None) -> SafeString | str:
    """Return the number of clients as a link to their list."""
    if not number:
        return "0"
    url = get_members_url(group.pk, phase)
    return format_html('<a class="text-link underline" href="{}">{}</a>', url, intcomma(number))


def make_phase_column(phase: Phase) -> Callable[[CountedGroup], SafeString | str]:
    """Return a column of the list: how many clients of a group are in the phase."""

    def show_number(group: CountedGroup) -> SafeString | str:
        return link_members(group, getattr(group, f"in_{phase}"), phase)

    show_number.__name__ = f"in_{phase}"
    label = PhaseChoices(phase).label
    return display(description=label, ordering=f"in_{phase}")(show_number)


class ClientGroupForm(ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    rotate_every_days = IntegerField(
        label=_("rotate database passwords every … days"),
        help_text=_("For the clients in this group. Empty: never."),
        min_value=1,
        max_value=MOST_DAYS,
        required=False,
        widget=UnfoldAdminIntegerFieldWidget(),
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        schedule = getattr(self.instance, "rotation_schedule", None)
        if "rotate_every_days" in self.fields and schedule:
            self.initial["rotate_every_days"] = schedule.days

    class Meta:
        model = ClientGroup
        fields = ("name",)
        help_texts: ClassVar = {
            "name": _(
                "To add clients, select them in the list of clients and choose “Put into a group…”."
            )
        }

    def clean_name(self) -> str:
        try:
            return parse_group_name(self.cleaned_data["name"])
        except ClientGroupError as refusal:
            raise ValidationError(localize(refusal.message)) from None


class ClientGroupAdmin(AdminWithOwnViews):
    form = ClientGroupForm
    nothing_yet = _("No groups yet. Select clients in the list of clients and put them into one.")
    next_page: ClassVar = (_("Choose clients"), CLIENTS_URL)
    list_display = ("name_shown", "clients", *map(make_phase_column, Phase))
    search_fields = ("name",)
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    # Each is deleted on its own page, which says what it holds.
    actions = None
    delete_confirmation_template = "admin/migration/delete_client_group.html"

    def get_queryset(self, request: HttpRequest) -> ClientGroupQuerySet:
        return ClientGroup.objects.with_counts()

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        buttons = {"list_buttons": list_campaign_buttons(request)}
        return super().changelist_view(request, (extra_context or {}) | buttons)

    def get_fields(self, request: HttpRequest, obj: ClientGroup | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("name",)
        may_rotate = self.has_change_permission(request, obj) and request.user.has_perm(
            ROTATE_PERMISSION
        )
        return ("name", "clients", *(("rotate_every_days",) if may_rotate else ()))

    def get_readonly_fields(
        self, request: HttpRequest, obj: ClientGroup | None = None
    ) -> tuple[str, ...]:
        return ("clients",)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **options: Any
    ) -> HttpResponse:
        """Offer one button."""
        context |= {"show_save_and_add_another": False, "show_save_and_continue": False}
        return super().render_change_form(request, context, *args, **options)

    @display(description=_("name"), ordering="key")
    def name_shown(self, group: ClientGroup) -> str:
        return str(group)

    @display(description=_("clients"), ordering="number")
    def clients(self, group: CountedGroup) -> SafeString | str:
        return link_members(group, group.number)

    def save_model(
        self, request: HttpRequest, obj: ClientGroup, form: ClientGroupForm, change: bool
    ) -> None:
        by = get_signed_in_user(request)
        if change:
            obj.rename(form.cleaned_data["name"], by=by)
            if "rotate_every_days" in form.cleaned_data:
                days = form.cleaned_data["rotate_every_days"]
                RotationSchedule.objects.set_days(days, group=obj, by=by)
        else:
            obj.store_new(by=by)

    def response_add(
        self, request: HttpRequest, obj: ClientGroup, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Lead to where clients are chosen for the new group, unless it was made in a window of its own."""
        answer = super().response_add(request, obj, post_url_continue)
        if "_popup" in request.POST or not request.user.has_perm(VIEW_CLIENTS):
            return answer
        text = _("Select the clients for %(group)s, then choose “Put into a group…”.")
        messages.info(request, text % {"group": obj})
        page = reverse("admin:credentials_client_changelist")
        left = all_clients().exclude(pk__in=GroupMember.objects.values("client_id"))
        return HttpResponseRedirect(f"{page}?group=none" if left.exists() else page)

    def delete_model(self, request: HttpRequest, obj: ClientGroup) -> None:
        obj.delete_group(by=get_signed_in_user(request))

    def get_deleted_objects(
        self, objs: Iterable[ClientGroup], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """List the groups alone: the clients stay, and there may be thousands of them."""
        names = [str(group) for group in objs]
        lacking = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        return names, {str(self.opts.verbose_name_plural): len(names)}, lacking, []

    def changeform_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return self._show_refusal(request, super().changeform_view, *args, **options)

    def delete_view(self, request: HttpRequest, *args: Any, **options: Any) -> HttpResponse:
        return self._show_refusal(request, super().delete_view, *args, **options)

    def _show_refusal(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponse],
        *args: Any,
        **options: Any,
    ) -> HttpResponse:
        """Answer as the view does; where the name is taken or the group gone, lead back and say so."""
        try:
            return view(request, *args, **options)
        except ClientGroupError as refusal:
            messages.error(request, localize(refusal.message))
            return HttpResponseRedirect(request.get_full_path())
