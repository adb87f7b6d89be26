"""The pages of people: the list, an invitation, a person with what can be done to them, failed logins and lock-outs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlencode

from allauth.socialaccount.models import SocialAccount
from django import forms
from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import Group, User
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db.models import (
    BooleanField,
    Count,
    Exists,
    ExpressionWrapper,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminEmailInputWidget, UnfoldAdminTextInputWidget

from credentials.localization import localize
from migration.core.mails import mails_are_sent
from migration.core.pages import AdminView, get_signed_in_user, link_to_audit, read_search
from migration.people.accounts import (
    ADD,
    CHANGE,
    ENTERS,
    HAS_NO_PASSWORD,
    LONGEST_NAME,
    VIEW,
    NotDoneError,
    SentLink,
    digest_state,
    end_sessions_of,
    find_activity_refusal,
    find_details_refusal,
    find_link_refusal,
    find_role_refusal,
    give_role,
    invite,
    is_invited,
    list_sessions,
    send_link,
    set_active,
    set_details,
)
from migration.people.links import LASTS
from migration.people.lockouts import (
    ANYBODY,
    ASKED_FOR_LINKS,
    NO_USER,
    end_login_locks,
    find_locks,
)
from migration.people.models import PasswordLink, PasswordPlace, PasswordReset, WrongPassword
from migration.people.password_pages import ActorPasswordForm, bind_to_request
from migration.people.roles import (
    ROLES,
    SUMMARIES,
    label_role,
    list_roles,
    may_administer,
    select_administered,
    select_givable_groups,
)
from migration.people.second_factors import (
    NotResetError,
    find_reset_refusal,
    owns_second_factor,
    reset_second_factor,
)
from migration.task_queue import remove_queue_pages
from nova_credentials.messages import Message
from nova_credentials.shown_names import escape_invisible

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise, StrPromise

PEOPLE_A_PAGE, FAILURES_A_PAGE, FAILURES_OF_PERSON = 100, 50, 10
hide_posted_values = method_decorator(sensitive_post_parameters(), name="dispatch")


def unregister_allauth_models() -> None:
    """Take allauth's models out of the admin: their pages show and change what proves who somebody is."""
    # Imported so that they have registered them by now, whatever the order of the apps.
    from allauth.account import admin as _accounts  # noqa: F401, PLC0415
    from allauth.mfa import admin as _factors  # noqa: F401, PLC0415
    from allauth.socialaccount import admin as _social  # noqa: F401, PLC0415

    for label in ("account", "socialaccount", "mfa"):
        found = apps.get_app_config(label).get_models()
        admin.site.unregister([model for model in found if admin.site.is_registered(model)])


# Django's pages show flags, permissions and hashes. People have pages of their own, and roles are made by `migrate`.
admin.site.unregister([User, Group])
# A run has its own page.
remove_queue_pages()
unregister_allauth_models()


# The list

# By the name of each chip: whom it is for, beside whom the search finds.
CHIPS: dict[str, tuple[StrPromise, Q]] = {
    "active": (_("Active"), Q(enters=True, is_invited=False)),
    "invited": (_("Invited"), Q(enters=True, is_invited=True)),
    "deactivated": (_("Deactivated"), Q(enters=False)),
    "no_factor": (
        _("No second factor"),
        Q(enters=True, is_invited=False, has_factor=False),
    ),
}


def select_people() -> QuerySet[Any]:
    """Select everybody, each with what the pages show of them."""
    link = PasswordLink.objects.filter(user=OuterRef("pk"))
    return User.objects.annotate(
        of_provider=Exists(SocialAccount.objects.filter(user=OuterRef("pk"))),
        enters=ExpressionWrapper(ENTERS, BooleanField()),
        is_invited=ExpressionWrapper(HAS_NO_PASSWORD & Q(of_provider=False), BooleanField()),
        has_factor=owns_second_factor(),
        has_own=Exists(User.user_permissions.through.objects.filter(user=OuterRef("pk"))),
        link_ends_at=Subquery(link.values("ends_at")),
        link_made_at=Subquery(link.values("made_at")),
    ).prefetch_related("groups")


def describe_rights(person: Any) -> str:
    """Return what a selected person has, as pages call it: roles, superuser, permissions of their own."""
    found = sorted(label_role(group.name) for group in person.groups.all())
    if person.is_superuser:
        found.insert(0, gettext("Superuser"))
    if person.has_own:
        found.append(gettext("own permissions"))
    return ", ".join(found) or gettext("No role")


def make_initials(person: User) -> str:
    """Return up to two letters that stand for the person."""
    words = (person.get_full_name() or person.get_username()).split()
    return "".join(word[0] for word in (words[:1] + words[1:][-1:]))[:2].upper()


@dataclass(frozen=True)
class PersonRow:
    """A person in the list."""

    person: Any
    initials: str
    rights: str
    acts: list[tuple[StrOrPromise, str]]
    link_is_over: bool


@dataclass(frozen=True)
class PeopleChip:
    """A choice of the list, with how many people it is for."""

    label: StrOrPromise
    count: int
    url: str
    is_chosen: bool


class PeopleView(AdminView):
    """Everybody who has an account, as search and chip choose them."""

    template_name = "admin/migration/people.html"
    permission_required = VIEW
    is_of_site = True

    @property
    def title(self) -> str:
        return gettext("People")

    def get(self, request: HttpRequest) -> HttpResponse:
        by = get_signed_in_user(request)
        may_change = by.has_perm(CHANGE)
        searched = read_search(request)
        found = select_people()
        for word in searched.split():
            found = found.filter(
                Q(username__icontains=word)
                | Q(first_name__icontains=word)
                | Q(last_name__icontains=word)
                | Q(email__icontains=word)
            )
        # How people log in concerns those alone who look after that.
        offered = [name for name in CHIPS if may_change or name != "no_factor"]
        counts = found.aggregate(**{name: Count("pk", filter=CHIPS[name][1]) for name in offered})
        chosen = request.GET.get("state", "" if searched else "active")
        kept = {"q": searched} if searched else {}
        chips = [
            PeopleChip(
                CHIPS[name][0],
                counts[name],
                f"?{urlencode(kept | {'state': name})}",
                is_chosen=name == chosen,
            )
            for name in offered
            if counts[name] or name == chosen
        ]
        if chosen in offered:
            found = found.filter(CHIPS[chosen][1])
        ordered = found.order_by("first_name", "last_name", "username", "pk")
        page = Paginator(ordered, PEOPLE_A_PAGE).get_page(request.GET.get("page"))
        administered = set(
            select_administered(by)
            .filter(pk__in=[each.pk for each in page])
            .values_list("pk", flat=True)
            if may_change
            else ()
        )
        rows = [
            PersonRow(
                person,
                make_initials(person),
                describe_rights(person),
                list_acts(person, by) if person.pk in administered else [],
                link_is_over=not person.link_ends_at or person.link_ends_at <= timezone.now(),
            )
            for person in page
        ]
        query = urlencode(kept | ({"state": chosen} if "state" in request.GET else {}))
        return self.render_to_response(
            self.get_context_data(
                rows=rows,
                page=page,
                query=f"{query}&" if query else "",
                chips=chips,
                searched=searched,
                may_change=may_change,
                may_invite=by.has_perm(ADD),
                locks=len(list_locks()),
            )
        )


# A person


def select_person(user_id: int) -> Any:
    """Return the person with what pages show of them; raise Http404 where there is none."""
    return get_object_or_404(select_people(), pk=user_id)


def list_acts(person: Any, by: User) -> list[tuple[StrOrPromise, str]]:
    """Return label and address of what can be done to a selected person by somebody who may administer them."""
    return [
        (view.offer, reverse(f"admin:{name}", args=[person.pk]))
        for name, view in ACTS.items()
        if view.is_offered(person, by)
    ]


class PersonView(AdminView):
    """One person: their role, how they log in, where they are logged in, and what can be done about it."""

    template_name = "admin/migration/person.html"
    permission_required = VIEW
    is_of_site = True

    @cached_property
    def person(self) -> Any:
        return select_person(self.kwargs["user_id"])

    @property
    def title(self) -> str:
        return escape_invisible(self.person.get_full_name() or self.person.username)

    def get(self, request: HttpRequest, **_address: object) -> HttpResponse:
        by, person = get_signed_in_user(request), self.person
        is_own = by.pk == person.pk
        may_change = by.has_perm(CHANGE) and may_administer(by, person)
        link = PasswordLink.objects.filter(user=person).first()
        failures = WrongPassword.objects.filter(username=person.username)
        return self.render_to_response(
            self.get_context_data(
                person=person,
                is_own=is_own,
                rights=describe_rights(person),
                summary=summarize_role(person),
                # What goes beyond one role can be given up for one.
                lacks_role=person.is_superuser or person.has_own or len(person.groups.all()) != 1,
                acts=list_acts(person, by) if may_change else [],
                may_change=may_change,
                may_see_login=by.has_perm(CHANGE) or is_own,
                link=link,
                link_is_over=link is None or link.ends_at <= timezone.now(),
                sessions=list_sessions(person) if may_change or is_own else None,
                failures=failures[:FAILURES_OF_PERSON],
                more_failures=failures.count() > FAILURES_OF_PERSON,
                locks=[each for each in list_locks() if each.username == person.username],
                may_let_in=by.has_perm(CHANGE),
                reset=PasswordReset.objects.filter(user=person).first(),
                what_they_did=link_to_audit(request, who=person.username),
                what_was_done=link_to_audit(request, about=person.username),
            )
        )


def summarize_role(person: Any) -> StrOrPromise:
    """Return what the person's only role allows; "" where they have another right too, or none."""
    names = [group.name for group in person.groups.all()]
    if person.is_superuser:
        return gettext("Can do everything.")
    return SUMMARIES.get(names[0], "") if len(names) == 1 and not person.has_own else ""


# What is done to a person: each asks who does it for their own password, or a code


class PersonForm(ActorPasswordForm):
    """The form of an act that asks for nothing else."""


class RoleForm(ActorPasswordForm):
    role = forms.ModelChoiceField(Group.objects.none(), widget=forms.RadioSelect, label=_("Role"))

    field_order: ClassVar = ["role", "current_password"]  # type: ignore[misc]  # Django reads it of the class

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        by = get_signed_in_user(self.request)
        field = self.fields["role"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101  # declared above
        field.queryset = select_givable_groups(by)


class NamedForm(forms.Form):
    name = forms.CharField(
        label=_("Name"),
        max_length=LONGEST_NAME,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off"}),
    )
    mail = forms.EmailField(
        label=_("Email"),
        max_length=254,
        widget=UnfoldAdminEmailInputWidget(attrs={"autocomplete": "off"}),
    )

    def clean_name(self) -> str:
        """Refuse characters that nobody sees, or that turn what follows around."""
        name: str = self.cleaned_data["name"]
        if escape_invisible(name) != name:
            raise ValidationError(gettext("Remove the invisible characters."), code="invisible")
        return name


class InviteForm(NamedForm, RoleForm):
    field_order: ClassVar = ["name", "mail", "role", "current_password"]  # type: ignore[misc]  # Django reads it of the class


class DetailsForm(NamedForm, ActorPasswordForm):
    field_order: ClassVar = ["name", "mail", "current_password"]  # type: ignore[misc]  # Django reads it of the class

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.fields["mail"].required = False


@dataclass(frozen=True)
class RoleChoice:
    """A role as radios offer it."""

    pk: int
    label: str
    summary: StrOrPromise
    may_be_given: bool


def list_role_choices(by: User) -> list[RoleChoice]:
    """Return the roles, and which of them this user may give."""
    givable = set(select_givable_groups(by).values_list("pk", flat=True))
    own = gettext("A custom group.")
    return [
        RoleChoice(
            group.pk,
            label_role(group.name),
            SUMMARIES.get(group.name, own)
            if group.pk in givable
            else gettext("Only a superuser, or someone who has it too, can give it."),
            group.pk in givable,
        )
        for group in list_roles()
        if group.pk in givable or group.name in ROLES
    ]


def make_link_address(request: HttpRequest) -> Callable[[str], str]:
    """Return what makes the address of a link from its token."""
    return lambda token: request.build_absolute_uri(reverse("admin:open_link", args=[token]))


@hide_posted_values
class QuestionView(AdminView):
    """A page that asks before something is done to people: a form, a button, and the way back."""

    template_name = "admin/migration/person_act.html"
    is_of_site = True
    form_class: type[ActorPasswordForm] = PersonForm
    button: StrOrPromise = ""

    def get(self, request: HttpRequest, **_address: object) -> HttpResponse:
        return self.ask(bind_to_request(self.form_class, request)(initial=self.get_initial()))

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        form = bind_to_request(self.form_class, request)(request.POST)
        if self.refusal or not form.is_valid():
            return self.ask(form)
        try:
            return self.act(form.cleaned_data, request.POST.get("seen", ""))
        except (NotDoneError, NotResetError) as refusal:
            form.add_error(None, localize(refusal.message))
            return self.ask(form)

    @cached_property
    def refusal(self) -> Message | None:
        """Say why nothing is done; None where it may be."""
        return None

    def get_initial(self) -> dict[str, object]:
        return {}

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        raise NotImplementedError

    def ask(self, form: ActorPasswordForm) -> HttpResponse:
        roles = list_role_choices(get_signed_in_user(self.request)) if "role" in form.fields else []
        chosen = form["role"].value() if roles else None
        return self.render_to_response(
            self.get_context_data(
                form=form,
                roles=roles,
                chosen=str(chosen or ""),
                button=self.button,
                back=self.get_back_url(),
                refusal=localize(self.refusal),
            )
        )

    def get_back_url(self) -> str:
        return reverse("admin:people")

    def name_link(self, person: User) -> str:
        """Return the title of the page that shows the link."""
        return gettext("Link for %(who)s") % {"who": escape_invisible(person.username)}

    def show_link(self, person: User, link: SentLink) -> HttpResponse:
        """Say that the link was mailed; where it wasn't, show it, this once."""
        page = reverse("admin:person", args=[person.pk])
        if link.mailed:
            text = gettext("Link sent to %(mail)s.") % {"mail": person.email}
            messages.success(self.request, text)
            return HttpResponseRedirect(page)
        return self.response_class(
            request=self.request,
            template="admin/migration/person_link.html",
            context=self.get_context_data(person=person, address=link.address, back=page)
            | {
                "failed": mails_are_sent(),
                "title": self.name_link(person),
                "rights": describe_rights(select_person(person.pk)),
            },
        )


class InviteView(QuestionView):
    """Invites somebody: name, mail address and role."""

    permission_required = ADD
    form_class = InviteForm

    @property
    def title(self) -> str:
        return gettext("Invite")

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return super().get_context_data(
            **kwargs,
            note=gettext("The link works once and expires in %(days)s days.")
            % {"days": LASTS.days},
            by_provider=settings.NOVA_OIDC is not None,
        )

    def ask(self, form: ActorPasswordForm) -> HttpResponse:
        self.button = gettext("Send invitation") if mails_are_sent() else gettext("Create link")
        return super().ask(form)

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        person, link = invite(
            name=given["name"],
            mail=given["mail"],
            role=given["role"],
            by=get_signed_in_user(self.request),
            make_address=make_link_address(self.request),
        )
        return self.show_link(person, link)


class PersonActView(QuestionView):
    """Something that is done to one person, whom the user may administer."""

    permission_required = CHANGE
    # As menus call it.
    offer: ClassVar[StrOrPromise]

    @cached_property
    def person(self) -> Any:
        return select_person(self.kwargs["user_id"])

    @property
    def name(self) -> str:
        return escape_invisible(self.person.get_full_name() or self.person.username)

    def has_permission(self) -> bool:
        """Say whether the user may change people, and this one."""
        return super().has_permission() and may_administer(
            get_signed_in_user(self.request), self.person
        )

    @staticmethod
    def find_refusal(person: User, by: User) -> Message | None:
        """Say why this is not done to the person by this user; None where it may be."""
        raise NotImplementedError

    @classmethod
    def is_offered(cls, person: Any, by: User) -> bool:
        """Say whether menus have it for a selected person; the database isn't asked."""
        return not cls.find_refusal(person, by)

    @cached_property
    def refusal(self) -> Message | None:
        return self.find_refusal(self.person, get_signed_in_user(self.request))

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        shown = {"person": self.person, "seen": digest_state(self.person), "note": self.note}
        return super().get_context_data(**shown | kwargs)

    @property
    def note(self) -> str:
        return ""

    def get_back_url(self) -> str:
        return reverse("admin:person", args=[self.person.pk])

    def finish(self, text: str, values: dict[str, object] | None = None) -> HttpResponse:
        """Lead back to the person with what was done."""
        messages.success(self.request, text % ({"who": self.name} | (values or {})))
        return HttpResponseRedirect(self.get_back_url())


class RoleView(PersonActView):
    offer = _("Change role…")
    form_class = RoleForm
    button = _("Change role")

    @staticmethod
    def find_refusal(person: User, by: User) -> Message | None:
        return find_role_refusal(person, by)

    @property
    def title(self) -> str:
        return gettext("Change the role of %(who)s?") % {"who": self.name}

    @property
    def note(self) -> str:
        rights = describe_rights(self.person)
        if self.person.is_superuser or self.person.has_own or len(self.person.groups.all()) > 1:
            text = gettext("Now: %(rights)s. The new role replaces them.")
        else:
            text = gettext("Now: %(rights)s.")
        return text % {"rights": rights}

    def get_initial(self) -> dict[str, object]:
        groups = self.person.groups.all()
        return {"role": groups[0].pk} if len(groups) == 1 else {}

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        role = given["role"]
        give_role(self.person, role, by=get_signed_in_user(self.request), seen=seen)
        return self.finish(
            gettext("%(who)s now has the role %(role)s."), {"role": label_role(role.name)}
        )


class LinkView(PersonActView):
    offer = _("Send a new link…")
    button = _("Send a new link")

    @staticmethod
    def find_refusal(person: User, by: User) -> Message | None:
        return find_link_refusal(person, by)

    @property
    def title(self) -> str:
        return gettext("Send %(who)s a new link?") % {"who": self.name}

    @property
    def note(self) -> str:
        values = {"days": LASTS.days, "mail": self.person.email}
        if is_invited(self.person):
            text = gettext(
                "They choose a password with it. It works once and expires in %(days)s days."
            )
        else:
            text = gettext(
                "They choose a new password with it; the old one works until then. It works once and expires in "
                "%(days)s days."
            )
        how = gettext("It goes to %(mail)s.")
        if not (mails_are_sent() and self.person.email):
            how = gettext("It is shown only once.")
        return " ".join((text, gettext("Any earlier link stops working."), how)) % values

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        by = get_signed_in_user(self.request)
        address = make_link_address(self.request)
        return self.show_link(self.person, send_link(self.person, by=by, make_address=address))


class DetailsView(PersonActView):
    offer = _("Edit name and email…")
    form_class = DetailsForm
    button = _("Save")

    @staticmethod
    def find_refusal(person: User, by: User) -> Message | None:
        return find_details_refusal(person)

    @property
    def title(self) -> str:
        return gettext("Edit name and email")

    @property
    def note(self) -> str:
        return gettext("The old address gets an email about the change.")

    def get_initial(self) -> dict[str, object]:
        return {"name": self.person.get_full_name(), "mail": self.person.email}

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        set_details(
            self.person,
            name=given["name"],
            mail=given["mail"],
            by=get_signed_in_user(self.request),
            seen=seen,
        )
        return self.finish(gettext("Saved."))


class FactorView(PersonActView):
    offer = _("Remove second factor…")
    button = _("Remove second factor")

    @staticmethod
    def find_refusal(person: User, by: User) -> Message | None:
        return find_reset_refusal(person, by)

    @classmethod
    def is_offered(cls, person: Any, by: User) -> bool:
        return person.has_factor and person.pk != by.pk

    @property
    def title(self) -> str:
        return gettext("Remove the second factor of %(who)s?") % {"who": self.name}

    @property
    def note(self) -> str:
        return gettext(
            "For someone who lost their phone and recovery codes. First make sure that it is really them. They "
            "are logged out and set up a new one when they next log in."
        )

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        told = reset_second_factor(self.person, get_signed_in_user(self.request))
        if not told:
            text = gettext("The email could not be sent. Tell %(who)s yourself.")
            messages.warning(self.request, text % {"who": self.name})
        return self.finish(gettext("%(who)s has no second factor any more and was logged out."))


class DeactivateView(PersonActView):
    offer = _("Deactivate…")
    button = _("Deactivate")

    @staticmethod
    def find_refusal(person: User, by: User) -> Message | None:
        return find_activity_refusal(person, by)

    @classmethod
    def is_offered(cls, person: Any, by: User) -> bool:
        return person.enters and super().is_offered(person, by)

    @property
    def title(self) -> str:
        return gettext("Deactivate %(who)s?") % {"who": self.name}

    @property
    def note(self) -> str:
        return gettext(
            "They are logged out now, and their requests can't be approved. You can activate them again."
        )

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        set_active(self.person, active=False, by=get_signed_in_user(self.request), seen=seen)
        return self.finish(gettext("%(who)s is deactivated."))


class ActivateView(PersonActView):
    offer = _("Activate…")
    button = _("Activate")

    @staticmethod
    def find_refusal(person: User, by: User) -> Message | None:
        return find_activity_refusal(person, by)

    @classmethod
    def is_offered(cls, person: Any, by: User) -> bool:
        return not person.enters and super().is_offered(person, by)

    @property
    def title(self) -> str:
        return gettext("Activate %(who)s?") % {"who": self.name}

    @property
    def note(self) -> str:
        return gettext("They can log in again as %(rights)s.") % {
            "rights": describe_rights(self.person)
        }

    def act(self, given: dict[str, Any], seen: str) -> HttpResponse:
        set_active(self.person, active=True, by=get_signed_in_user(self.request), seen=seen)
        return self.finish(gettext("%(who)s is active."))


# By the name of each one's address, in the order of menus.
ACTS: dict[str, type[PersonActView]] = {
    "person_role": RoleView,
    "person_link": LinkView,
    "person_details": DetailsView,
    "person_factor": FactorView,
    "person_activate": ActivateView,
    "person_deactivate": DeactivateView,
}


class EndSessionsView(AdminView):
    """Logs a person out everywhere, but for the session in which that is asked for."""

    http_method_names = ("post",)  # type: ignore[assignment]
    permission_required = VIEW

    def post(self, request: HttpRequest, user_id: int) -> HttpResponse:
        person, by = select_person(user_id), get_signed_in_user(request)
        is_own = person.pk == by.pk
        if not is_own and not (by.has_perm(CHANGE) and may_administer(by, person)):
            raise PermissionDenied(CHANGE)
        end_sessions_of(person, by=by, kept=request.session.session_key)
        text = gettext("You are logged out everywhere else.")
        if not is_own:
            text = gettext("%(who)s is logged out.") % {"who": person.username}
        messages.success(request, text)
        return HttpResponseRedirect(reverse("admin:person", args=[person.pk]))


# Failed logins


@dataclass(frozen=True)
class Lock:
    """Somebody who can't log in at an address now; without a name: nobody can there."""

    username: str
    address: str
    ends_at: datetime


def list_locks() -> list[Lock]:
    """Return the locks that hold now, the one that ends first at the top; none of names that no user has."""
    found = [Lock(*pair, end) for pair, end in find_locks().items()]
    shown = (
        each
        for each in found
        if each.username == ANYBODY or not each.username.startswith((NO_USER, ASKED_FOR_LINKS))
    )
    return sorted(shown, key=lambda each: (each.ends_at, each.username))


class FailedLoginsView(AdminView):
    """Who mistyped or guessed where, who is locked out, and the way in again."""

    template_name = "admin/migration/failed_logins.html"
    permission_required = VIEW
    is_of_site = True

    @property
    def title(self) -> str:
        return gettext("Failed logins")

    def get(self, request: HttpRequest) -> HttpResponse:
        searched = read_search(request)
        found = WrongPassword.objects.all()
        if searched:
            found = found.filter(Q(username__icontains=searched) | Q(address__icontains=searched))
        page = Paginator(found, FAILURES_A_PAGE).get_page(request.GET.get("page"))
        return self.render_to_response(
            self.get_context_data(
                page=page,
                searched=searched,
                query=f"{urlencode({'q': searched})}&" if searched else "",
                locks=list_locks(),
                may_let_in=get_signed_in_user(request).has_perm(CHANGE),
                at_login=PasswordPlace.LOGIN,
            )
        )


class LetInView(AdminView):
    """Ends a lock."""

    http_method_names = ("post",)  # type: ignore[assignment]
    permission_required = CHANGE

    def post(self, request: HttpRequest) -> HttpResponse:
        pair = tuple(request.POST.get(name, "").replace("\0", "") for name in ("user", "address"))
        count = end_login_locks([(pair[0], pair[1])], by=get_signed_in_user(request))
        if count:
            text = ngettext("Removed %(n)s lock.", "Removed %(n)s locks.", count)
            messages.success(request, text % {"n": count})
        else:
            messages.warning(request, gettext("Nobody is locked out there now."))
        back = request.POST.get("back", "")
        if not url_has_allowed_host_and_scheme(back, allowed_hosts=None):
            back = reverse("admin:failed_logins")
        return HttpResponseRedirect(back)


class PeopleAdmin(ModelAdmin):
    """Says to the views of people which model they are about; no page of Django's is made of it."""


_admin = PeopleAdmin(User, admin.site)


def _at(route: str, view: type[AdminView], name: str) -> Any:
    return path(
        f"people/{route}", admin.site.admin_view(view.as_view(model_admin=_admin)), name=name
    )


PEOPLE_PATTERNS = [
    _at("", PeopleView, "people"),
    _at("invite/", InviteView, "people_invite"),
    _at("failed-logins/", FailedLoginsView, "failed_logins"),
    _at("failed-logins/let-in/", LetInView, "let_in"),
    _at("<int:user_id>/", PersonView, "person"),
    _at("<int:user_id>/sessions/", EndSessionsView, "person_sessions"),
    *(_at(f"<int:user_id>/{name.partition('_')[2]}/", view, name) for name, view in ACTS.items()),
]
