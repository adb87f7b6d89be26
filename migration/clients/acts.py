"""What is done with clients on this site alone: their groups, and who looks after each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from credentials.localization import intcomma, localize
from migration.campaigns.pages import describe_new_member_verdicts
from migration.clients.groups import get_members_url
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.groups import (
    NAME_LENGTH,
    OWN_PERMISSION,
    ClientGroup,
    ClientGroupError,
    ClientOwner,
    GroupMember,
    list_possible_owners,
    parse_group_name,
)
from migration.core.pages import GROUP_PERMISSION, NEW_GROUP_PERMISSION, read_number
from migration.runs.acts import (
    Act,
    ActForm,
    ActRefused,
    Done,
    Order,
    register_act,
)
from migration.runs.plans import PlanClass, PlannedClient
from nova_credentials.messages import Message, Sentence

GROUP_NOT_CHOSEN = Sentence(
    "group_not_chosen", "Nothing was changed: choose a group, or enter a new name."
)
GROUP_FIRST_NOT_FIT = Sentence(
    "group_first_not_fit",
    "Nothing was changed: of the %(n)s chosen clients you can take the first 1 to %(n)s. Type a whole number.",
)
GROUP_CHOSEN_TWICE = Sentence(
    "group_chosen_twice", "Nothing was changed: choose a group or enter a new name, not both."
)


class GroupForm(ActForm):
    """Asks for one of some groups."""

    group = forms.TypedChoiceField(
        label=gettext_lazy("Group"),
        coerce=int,
        empty_value=None,
        widget=UnfoldAdminSelectWidget(),
        error_messages={"invalid_choice": gettext_lazy("Choose one of these groups.")},
    )

    def offer(self, groups: Sequence[tuple[int, str]]) -> None:
        self.fields["group"].choices = [("", _("Choose")), *groups]  # type: ignore[attr-defined]


class PutIntoGroupForm(GroupForm):
    """Asks for the group, or the name of a new one, and for how many of the clients, from the first."""

    new_name = forms.CharField(
        label=gettext_lazy("Or the name of a new group"),
        required=False,
        widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "maxlength": NAME_LENGTH}),
    )
    first = forms.CharField(
        required=False,
        widget=UnfoldAdminTextInputWidget(
            {"autocomplete": "off", "inputmode": "numeric", "maxlength": 9}
        ),
    )

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        super().__init__(*args, number=number, **kwargs)
        self.number = number
        self.fields["group"].required = False
        groups = [(group.pk, str(group)) for group in ClientGroup.objects.all()]
        self.offer(groups)
        if not groups:
            del self.fields["group"]
            self.fields["new_name"].label = _("Name of a new group")
        if not (self.by and self.by.has_perm(NEW_GROUP_PERMISSION)):
            del self.fields["new_name"]
        text = _("How many, from the top of the list (empty: all %(n)s)")
        self.fields["first"].label = text % {"n": intcomma(number)}
        if number < 2:
            del self.fields["first"]
        self.order_fields(["first", "group", "new_name"])

    def clean_new_name(self) -> str:
        if not (name := self.cleaned_data["new_name"].strip()):
            return ""
        try:
            return parse_group_name(name)
        except ClientGroupError as refusal:
            raise forms.ValidationError(localize(refusal.message)) from None

    def clean_first(self) -> int | None:
        """Return how many clients are meant, counted from the page's first; None: all."""
        typed = self.cleaned_data["first"].strip()
        first = read_number(typed) if typed else self.number
        if first is None or not 1 <= first <= self.number:
            raise forms.ValidationError(localize(GROUP_FIRST_NOT_FIT(n=self.number)))
        return first

    def clean(self) -> dict[str, Any]:
        found = self.cleaned_data
        if not self.errors:
            group, name = found.get("group"), found.get("new_name")
            if group and name:
                raise forms.ValidationError(localize(GROUP_CHOSEN_TWICE()))
            if not group and not name:
                raise forms.ValidationError(localize(GROUP_NOT_CHOSEN()))
        return found

    def choose_clients(self, client_ids: Sequence[int]) -> Sequence[int]:
        return client_ids[: self.cleaned_data.get("first")]


class TakeOutOfGroupForm(GroupForm):
    """Asks for one of the groups that hold some of the clients."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        groups = ClientGroup.objects.of_clients(all_clients().with_ids(self.client_ids))
        self.offer([(group.pk, f"{group} ({intcomma(group.number)})") for group in groups])  # type: ignore[attr-defined]  # annotated


class GroupAct(Act):
    """Changes which clients are in a group. A group is a label: no client is moved or pushed."""

    permission = GROUP_PERMISSION
    asks_reason = False
    writes_aws = False
    is_quick = True

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        return see_presence(client_ids)


class PutIntoGroup(GroupAct):
    code = "put_into_group"
    label = gettext_lazy("Put into a group")
    form = PutIntoGroupForm
    question_for_one = gettext_lazy("Put %(name)s into a group?")
    question = ngettext_lazy(
        "Put %(n)s client into a group?",
        "Put %(n)s clients into a group?",
        "number",
    )
    button = ngettext_lazy(
        "Put into group",
        "Put %(n)s clients into the group",
        "number",
    )
    effect = gettext_lazy("Groups are labels. Clients are not moved or pushed.")

    def list_notes(
        self,
        request: HttpRequest,
        client_ids: Collection[int] | QuerySet[Any, int],
        *,
        number: int | None = None,
    ) -> list[SafeString]:
        groups = ClientGroup.objects.values_list("pk", flat=True)
        taken = describe_new_member_verdicts(request.user, list(groups))
        return [*super().list_notes(request, client_ids, number=number), *taken]

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        return plan_all(client_ids, say_groups(client_ids))

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Done:
        try:
            if name := order.values.get("new_name"):
                group = ClientGroup.objects.get_or_add(name, by=order.by)
            else:
                group = find_group(order)
            changed = len(group.put_clients(chosen, by=order.by))
        except ClientGroupError as refusal:
            raise ActRefused(refusal.message) from None
        text = ngettext(
            "%(n)s client was put into %(group)s.",
            "%(n)s clients were put into %(group)s.",
            changed,
        )
        notes: list[str] = []
        if already := chosen.count() - changed:
            told = ngettext(
                "%(n)s client was already in it.", "%(n)s clients were already in it.", already
            )
            notes.append(told % {"n": intcomma(already)})
        if left := all_clients().exclude(pk__in=GroupMember.objects.values("client_id")).count():
            told = ngettext("%(n)s client is in no group.", "%(n)s clients are in no group.", left)
            url = f"{reverse('admin:credentials_client_changelist')}?group=none"
            link = format_html(
                '<a class="underline" href="{}">{}</a>', url, told % {"n": intcomma(left)}
            )
            notes.append(link)
        return Done(
            text % {"n": intcomma(changed), "group": group},
            get_members_url(group.pk),
            warnings=describe_new_member_verdicts(order.by, [group.pk]) if changed else (),
            notes=notes,
        )


IN_NO_GROUP = Sentence("in_no_group", "It is in no group.")
IN_GROUPS = Sentence("in_groups", "It is in %(groups)s.", glue=", ")


class TakeOutOfGroup(GroupAct):
    code = "take_out_of_group"
    label = gettext_lazy("Remove from a group")
    form = TakeOutOfGroupForm
    question_for_one = gettext_lazy("Remove %(name)s from a group?")
    question = ngettext_lazy(
        "Remove %(n)s client from a group?",
        "Remove %(n)s clients from a group?",
        "number",
    )
    button = ngettext_lazy(
        "Remove from the group",
        "Remove from the group",
        "number",
    )
    effect = gettext_lazy(
        "Groups are labels. Clients are not moved or pushed. A wave that has begun keeps its clients."
    )

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        found = say_groups(client_ids)
        others = dict.fromkeys(set(client_ids) - found.keys(), IN_NO_GROUP())
        return plan_all(client_ids, found | others, nothing=others.keys())

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Done:
        group = find_group(order)
        try:
            changed = len(group.remove_clients(chosen, by=order.by))
        except ClientGroupError as refusal:
            raise ActRefused(refusal.message) from None
        text = ngettext(
            "%(n)s client was taken out of %(group)s.",
            "%(n)s clients were taken out of %(group)s.",
            changed,
        )
        notes = []
        if others := chosen.count() - changed:
            told = ngettext("%(n)s client was not in it.", "%(n)s clients were not in it.", others)
            notes.append(told % {"n": intcomma(others)})
        return Done(
            text % {"n": intcomma(changed), "group": group}, get_members_url(group.pk), notes=notes
        )


# Of the select, beside the names of users.
NOBODY = "-"
LOOKED_AFTER = Sentence("looked_after", "Its owner is %(name)s.")


class OwnerForm(ActForm):
    """Asks who looks after the clients."""

    owner = forms.ChoiceField(
        label=gettext_lazy("Owner"),
        widget=UnfoldAdminSelectWidget(),
        error_messages={
            "required": gettext_lazy("Nothing was changed: choose an owner."),
            "invalid_choice": gettext_lazy("Nothing was changed: this person can't be an owner."),
        },
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        people = list(list_possible_owners().values_list("username", flat=True))
        self.fields["owner"].choices = [  # type: ignore[attr-defined]
            ("", _("Choose")),
            (NOBODY, _("Nobody")),
            *zip(people, people, strict=True),
        ]
        rows = ClientOwner.objects.filter(pk__in=self.client_ids)
        owners = rows.order_by().values_list("owner__username", flat=True).distinct()[:2]
        self.initial["owner"] = owners[0] if len(owners) == 1 else ""


class SetOwner(Act):
    """Says who looks after clients: the list is filtered by it, and it gives nobody a right."""

    code = "set_owner"
    label = gettext_lazy("Set the owner")
    permission = OWN_PERMISSION
    form = OwnerForm
    asks_reason = False
    writes_aws = False
    is_quick = True
    in_client_menu = False  # beside the owner's name
    in_report = True
    question_for_one = gettext_lazy("Set the owner of %(name)s?")
    question = ngettext_lazy(
        "Set the owner of this client?",
        "Set the owner of %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Set owner",
        "Set the owner of %(n)s clients",
        "number",
    )
    effect = gettext_lazy("An owner gets no extra permissions.")

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        return see_presence(client_ids)

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        rows = ClientOwner.objects.filter(pk__in=client_ids)
        names = dict(rows.order_by().values_list("pk", "owner__username"))
        # A page plans before its form is filled in.
        wanted = order.values.get("owner", "")
        so_already = {pk for pk in client_ids if names.get(pk, NOBODY) == wanted}
        said = {pk: LOOKED_AFTER(name=name) for pk, name in names.items()}
        return plan_all(client_ids, said, nothing=so_already)

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Done:
        owner: User | None = None
        if (name := order.values["owner"]) != NOBODY:
            owner = list_possible_owners().get(username=name)
        changed = len(ClientOwner.objects.set_owner(chosen, owner, by=order.by))
        if not changed:
            return Done(_("Nothing was changed: it was already so."))
        if owner:
            text = ngettext(
                "%(who)s now owns %(n)s client.",
                "%(who)s now owns %(n)s clients.",
                changed,
            )
        else:
            text = ngettext(
                "%(n)s client now has no owner.",
                "%(n)s clients now have no owner.",
                changed,
            )
        return Done(text % {"who": name, "n": intcomma(changed)})


def see_presence(client_ids: Collection[int]) -> dict[int, str]:
    """Return nothing of each client that is there: what happens to it meanwhile is of no concern to a label."""
    found = all_clients().with_ids(client_ids).order_by().values_list("pk", flat=True)
    return dict.fromkeys(found, "")


def find_group(order: Order) -> ClientGroup:
    """Return the group that a form chose; raises `ActRefused` where it is gone."""
    if group := ClientGroup.objects.filter(pk=order.values["group"]).first():
        return group
    raise ActRefused(GROUP_NOT_CHOSEN())


def say_groups(client_ids: Collection[int]) -> dict[int, Message]:
    """Say of the clients that are in a group in which they are."""
    names = {group.pk: str(group) for group in ClientGroup.objects.all()}
    groups: dict[int, tuple[str, ...]] = {}
    rows = GroupMember.objects.filter(client__in=client_ids).order_by("group__key")
    for client_id, group_id in rows.values_list("client_id", "group_id").iterator():
        groups[client_id] = (*groups.get(client_id, ()), names[group_id])
    # Of many clients most are in the same.
    said = {found: IN_GROUPS(groups=found) for found in set(groups.values())}
    return {pk: said[found] for pk, found in groups.items()}


def plan_all(
    client_ids: Collection[int], messages: dict[int, Message], *, nothing: Collection[int] = ()
) -> list[PlannedClient]:
    """Say that it would be done to each client that is there, but for `nothing`, in the order of the ids."""
    found = all_clients().with_phase().with_revision().with_ids(client_ids).order_by()
    rows = found.values_list("pk", "slug", "phase", "revision").iterator()
    planned = {
        pk: PlannedClient(
            pk,
            slug,
            phase,
            revision,
            plan_class=PlanClass.NOTHING if pk in nothing else PlanClass.WILL,
            outcome="",
            message=messages.get(pk),
        )
        for pk, slug, phase, revision in rows
    }
    return [planned[pk] for pk in client_ids if pk in planned]


register_act(PutIntoGroup())
register_act(TakeOutOfGroup())
register_act(SetOwner())
