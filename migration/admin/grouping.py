"""The bulk actions that put clients into a group and take them out, and the pages that ask for the group."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, ClassVar

from django.contrib import messages
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db import transaction
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from unfold.widgets import BASE_INPUT_CLASSES, SELECT_CLASSES

from credentials.localization import localize
from migration import group_sentences
from migration.admin.base import (
    GROUP_PERMISSION,
    NEW_GROUP_PERMISSION,
    AdminView,
    get_signed_in_user,
    read_number,
    read_raw_form_text,
)
from migration.admin.client_groups import get_members_url
from migration.campaigns.pages import describe_campaigns_of_clients, describe_new_member_verdicts
from migration.models.client_groups import ClientGroup, ClientGroupError, GroupMember
from migration.models.clients import all_clients

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin
    from django.http import HttpRequest, HttpResponse
    from django.http.response import HttpResponseBase
    from django_stubs_ext import StrOrPromise

    from credentials.models import Client
    from migration.admin.bulk_moves import BulkAction
    from migration.models.clients import ClientPhaseQuerySet


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
        return _("Put clients into a group")

    def post(self, request: HttpRequest) -> HttpResponse:
        ids = self.find_ids()
        if not ids:
            messages.warning(request, _("No client was selected."))
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
            raise ClientGroupError(group_sentences.GROUP_FIRST_NOT_FIT(n=number))
        return first

    def find_or_add_group(self) -> ClientGroup:
        """Return the chosen or new group; raise `ClientGroupError` if there is none, or both."""
        pk = read_number(read_raw_form_text(self.request, "group"))
        new_name = read_raw_form_text(self.request, "new_name").strip() if self.may_add else ""
        if pk is not None and new_name:
            raise ClientGroupError(group_sentences.GROUP_CHOSEN_TWICE())
        if new_name:
            return ClientGroup.objects.get_or_add(new_name, by=get_signed_in_user(self.request))
        group = None if pk is None else ClientGroup.objects.filter(pk=pk).first()
        if group is None:
            raise ClientGroupError(group_sentences.GROUP_NOT_CHOSEN())
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
        return _("Take clients out of a group")

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
        "put_into_group": (PutIntoGroupView, _("Put into a group…")),
        "take_out_of_group": (TakeOutOfGroupView, _("Take out of a group…")),
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
