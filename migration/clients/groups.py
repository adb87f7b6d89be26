"""Groups of clients: their list, and putting clients in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from django.contrib import admin, messages
from django.contrib.humanize.templatetags.humanize import intcomma
from django.core.exceptions import ValidationError
from django.db import transaction
from django.forms import IntegerField, ModelForm
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.widgets import BASE_INPUT_CLASSES, SELECT_CLASSES, UnfoldAdminIntegerFieldWidget

from credentials.localization import localize
from credentials.models import Client
from migration.campaigns.pages import describe_campaigns_of_clients, describe_new_member_verdicts
from migration.campaigns.starts import may_start_campaign
from migration.core.clients import VIEW_CLIENTS, ClientPhaseQuerySet, PhaseChoices, all_clients
from migration.core.groups import (
    ClientGroup,
    ClientGroupError,
    ClientGroupQuerySet,
    GroupMember,
    parse_group_name,
)
from migration.core.pages import (
    GROUP_PERMISSION,
    NEW_GROUP_PERMISSION,
    AdminView,
    get_signed_in_user,
    read_number,
    read_raw_form_text,
)
from migration.logins.models import MOST_DAYS, ROTATE_PERMISSION, RotationSchedule
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

    from migration.moves.bulk_pages import BulkAction

# The list of groups with the clients in each phase, and the pages that add, rename and delete one


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
        help_text=_("Of the clients in this group, by the workers. Empty: by no schedule."),
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
                "Clients get into a group in their list: select them there and choose “Put into a group…”."
            )
        }

    def clean_name(self) -> str:
        try:
            return parse_group_name(self.cleaned_data["name"])
        except ClientGroupError as refusal:
            raise ValidationError(localize(refusal.message)) from None


class ClientGroupAdmin(ModelAdmin):
    form = ClientGroupForm
    nothing_yet = _(
        "There is no group yet. Groups are labels: select clients in their list and put them into one."
    )
    list_display = ("name_shown", "clients", *map(make_phase_column, Phase))
    search_fields = ("name",)
    list_before_template = "admin/migration/campaign_buttons.html"
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
        may_start = {"may_start_campaign": may_start_campaign(request)}
        return super().changelist_view(request, (extra_context or {}) | may_start)

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
        """Lead to where clients are chosen for the new group, unless the button asks for another page."""
        answer = super().response_add(request, obj, post_url_continue)
        other_buttons = {"_continue", "_addanother", "_popup"}
        if other_buttons & request.POST.keys() or not request.user.has_perm(VIEW_CLIENTS):
            return answer
        text = _("Now select the clients of %(group)s, and choose “Put into a group…” below them.")
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


# The bulk actions that put clients into a group and take them out, and the pages that ask for the group

GROUP_NOT_CHOSEN = Sentence(
    "group_not_chosen", "Nothing was changed: choose a group, or type the name of a new one."
)
GROUP_FIRST_NOT_FIT = Sentence(
    "group_first_not_fit",
    "Nothing was changed: of the %(n)s chosen clients you can take the first 1 to %(n)s. Type a whole number.",
)
GROUP_CHOSEN_TWICE = Sentence(
    "group_chosen_twice", "Nothing was changed: choose a group or type a new name, not both."
)


class PutIntoGroupView(AdminView):
    """The page that asks for the group of the clients that were selected in the list, and its button.

    It names the clients in one field, in the order of the list: a form has at most a thousand of them, and a selection
    may have more.
    """

    template_name = "admin/migration/group_clients.html"
    permission_required = GROUP_PERMISSION
    takes_out: ClassVar = False
    selected: ClientPhaseQuerySet | None = None

    @property
    def title(self) -> str:
        return gettext("Put clients into a group")

    def post(self, request: HttpRequest) -> HttpResponse:
        ids = self.find_ids()
        if not ids:
            messages.warning(request, gettext("No client was selected."))
            return HttpResponseRedirect(reverse("admin:credentials_client_changelist"))
        if "confirmed" not in request.POST:
            return self.show_page(ids)
        try:
            meant = ids[: self.read_how_many_of_first(len(ids))]
            with transaction.atomic():
                group = self.find_or_add_group()
                changed = self.change_group(group, all_clients().with_ids(meant))
        except ClientGroupError as refusal:
            messages.error(request, localize(refusal.message))
            return self.show_page(ids)
        self.report_change(group, len(changed), len(meant) - len(changed))
        return HttpResponseRedirect(get_members_url(group.pk))

    def find_ids(self) -> list[int]:
        """Return the ids of the clients that the list's action was given, or of those that the page itself names."""
        if self.selected is not None:
            return list(self.selected.values_list("pk", flat=True))
        numbers = map(read_number, read_raw_form_text(self.request, "clients").split())
        named = dict.fromkeys(pk for pk in numbers if pk is not None)
        present = set(all_clients().with_ids(named).values_list("pk", flat=True))
        return [pk for pk in named if pk in present]

    def read_how_many_of_first(self, number: int) -> int:
        """Return how many clients are to change, counted from the list's first; all if the field is empty.

        Raises `ClientGroupError` if there are not so many, or it is no number.
        """
        typed = "" if self.takes_out else read_raw_form_text(self.request, "first").strip()
        first = read_number(typed) if typed else number
        if first is None or not 1 <= first <= number:
            raise ClientGroupError(GROUP_FIRST_NOT_FIT(n=number))
        return first

    def find_or_add_group(self) -> ClientGroup:
        """Return the chosen or new group; raise `ClientGroupError` if there is none, or both."""
        pk = read_number(read_raw_form_text(self.request, "group"))
        new_name = read_raw_form_text(self.request, "new_name").strip() if self.may_add else ""
        if pk is not None and new_name:
            raise ClientGroupError(GROUP_CHOSEN_TWICE())
        if new_name:
            return ClientGroup.objects.get_or_add(new_name, by=get_signed_in_user(self.request))
        group = None if pk is None else ClientGroup.objects.filter(pk=pk).first()
        if group is None:
            raise ClientGroupError(GROUP_NOT_CHOSEN())
        return group

    @property
    def may_add(self) -> bool:
        return not self.takes_out and self.request.user.has_perm(NEW_GROUP_PERMISSION)

    def change_group(self, group: ClientGroup, chosen: ClientPhaseQuerySet) -> list[str]:
        """Change who is in the group; return the slugs of those for whom that changed."""
        return group.put_clients(chosen, by=get_signed_in_user(self.request))

    def report_change(self, group: ClientGroup, changed: int, already: int) -> None:
        """Show messages: how many clients were put into the group, were in it already, and are in no group."""
        text = ngettext(
            "%(n)s client was put into %(group)s.",
            "%(n)s clients were put into %(group)s.",
            changed,
        )
        messages.success(self.request, text % {"n": intcomma(changed), "group": group})
        for note in describe_new_member_verdicts(self.request, [group.pk]) if changed else ():
            messages.warning(self.request, note)
        if already:
            text = ngettext(
                "%(n)s client was in it already.", "%(n)s clients were in it already.", already
            )
            messages.info(self.request, text % {"n": intcomma(already)})
        if left := all_clients().exclude(pk__in=GroupMember.objects.values("client_id")).count():
            text = ngettext("%(n)s client is in no group.", "%(n)s clients are in no group.", left)
            link = format_html(
                '<a class="underline" href="{}?group=none">{}</a>',
                reverse("admin:credentials_client_changelist"),
                text % {"n": intcomma(left)},
            )
            messages.info(self.request, link)

    def show_page(self, ids: list[int]) -> HttpResponse:
        chosen = all_clients().with_ids(ids)
        groups = (
            ClientGroup.objects.of_clients(chosen) if self.takes_out else ClientGroup.objects.all()
        )
        taking = describe_campaigns_of_clients(
            self.request, chosen.order_by().values_list("pk", flat=True), number=len(ids)
        )
        taken = (
            []
            if self.takes_out
            else describe_new_member_verdicts(self.request, [group.pk for group in groups])
        )
        return self.render_to_response(
            self.get_context_data(
                ids=" ".join(map(str, ids)),
                number=len(ids),
                groups=groups,
                takes_out=self.takes_out,
                may_add=self.may_add,
                typed=self.request.POST.get("new_name", ""),
                typed_first=self.request.POST.get("first", ""),
                campaign_notes=[*taking, *taken],
                input_classes=" ".join(BASE_INPUT_CLASSES),
                select_classes=" ".join(SELECT_CLASSES),
            )
        )


class TakeOutOfGroupView(PutIntoGroupView):
    """Takes clients out of a group, and offers the groups that hold one of them."""

    takes_out: ClassVar = True

    @property
    def title(self) -> str:
        return gettext("Take clients out of a group")

    def change_group(self, group: ClientGroup, chosen: ClientPhaseQuerySet) -> list[str]:
        return group.remove_clients(chosen, by=get_signed_in_user(self.request))

    def report_change(self, group: ClientGroup, changed: int, not_in_group: int) -> None:
        """Say how many clients were taken out of the group, and how many were not in it."""
        text = ngettext(
            "%(n)s client was taken out of %(group)s.",
            "%(n)s clients were taken out of %(group)s.",
            changed,
        )
        messages.success(self.request, text % {"n": intcomma(changed), "group": group})
        if not_in_group:
            text = ngettext(
                "%(n)s client was not in it.", "%(n)s clients were not in it.", not_in_group
            )
            messages.info(self.request, text % {"n": intcomma(not_in_group)})


def list_grouping_actions(request: HttpRequest) -> dict[str, tuple[BulkAction, str, StrOrPromise]]:
    """Return the actions of groups that the user may use, as Django has them."""
    if not request.user.has_perm(GROUP_PERMISSION):
        return {}
    offered = {
        "put_into_group": (PutIntoGroupView, gettext("Put into a group…")),
        "take_out_of_group": (TakeOutOfGroupView, gettext("Take out of a group…")),
    }
    return {
        name: (partial(open_grouping, view=view), name, text)
        for name, (view, text) in offered.items()
    }


def open_grouping(
    model_admin: ModelAdmin[Client],
    request: HttpRequest,
    chosen: ClientPhaseQuerySet,
    *,
    view: type[PutIntoGroupView],
) -> HttpResponseBase:
    """Show the page that asks for the group."""
    return view.as_view(model_admin=model_admin, selected=chosen)(request)
