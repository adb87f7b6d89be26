"""The pages of users and groups: who gives which roles, passwords and rights, and the reset of a second factor."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from django.apps import apps
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth.admin import GroupAdmin as BaseGroupAdmin
from django.contrib.auth.admin import UserAdmin as BaseUserAdmin
from django.contrib.auth.models import Group, User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Exists, ManyToManyField, OuterRef, QuerySet
from django.db.models.fields.related import RelatedField
from django.forms import ModelForm, ModelMultipleChoiceField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters
from unfold.admin import ModelAdmin
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.core.pages import AdminView, AdminWithOwnViews, get_signed_in_user
from migration.people.models import PasswordPlace, PasswordReset
from migration.people.password_pages import (
    NO_PROOF,
    PASSWORD_FIELD,
    ActorPasswordForm,
    bind_to_request,
    check_own_password_or_code,
)
from migration.people.roles import (
    label_role,
    may_administer,
    may_set_password,
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
from migration.templatetags.migration_pages import time_ago
from nova_credentials.messages import Sentence

if TYPE_CHECKING:
    from django.contrib.admin.options import _FieldOpts, _FieldsetSpec, _ListDisplayT
    from django_stubs_ext import StrOrPromise

    class ListedUser(User):
        """A user with what the list adds to it."""

        has_factor: bool
        is_administered: bool
        reset_url: str


def unregister_allauth_models() -> None:
    """Take allauth's models out of the admin: their pages show and change what proves who somebody is."""
    # Imported so that they have registered them by now, whatever the order of the apps.
    from allauth.account import admin as _accounts  # noqa: F401, PLC0415
    from allauth.mfa import admin as _factors  # noqa: F401, PLC0415
    from allauth.socialaccount import admin as _social  # noqa: F401, PLC0415

    for label in ("account", "socialaccount", "mfa"):
        found = apps.get_app_config(label).get_models()
        admin.site.unregister([model for model in found if admin.site.is_registered(model)])


admin.site.unregister([User, Group])
# A run has its own page.
remove_queue_pages()
unregister_allauth_models()

# A user in a role has what the role may do; what goes beyond roles, superusers give.
SUPERUSERS_GIVE = ("is_superuser", "user_permissions")
# Nobody but a superuser gives these to themselves, or takes them away by mistake.
OTHERS_GIVE = ("is_active", "is_staff", "groups")
# A form would send them back without their microseconds, and the audit call that a change.
TIMES = ("date_joined", "last_login")
PASSWORD_FIELDSET: tuple[None, _FieldOpts] = (None, {"fields": (PASSWORD_FIELD,)})
hide_posted_values = method_decorator(sensitive_post_parameters(), name="changeform_view")


class PlainNameForm(ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    """A form that gives no name that looks like another: ASCII, and different in more than small and large letters."""

    def clean_username(self) -> str:
        clean = getattr(super(), "clean_username", None)
        name: str = clean() if clean else self.cleaned_data["username"]
        if not name or "username" not in self.changed_data:
            return name
        if not name.isascii():
            text = gettext("Only the letters A to Z, digits and @.+-_ are allowed in a new name.")
            raise ValidationError(text, code="not_ascii")
        others = User.objects.exclude(pk=self.instance.pk)
        if others.filter(username__iexact=name).exists():
            text = gettext("Another user has this name, perhaps in small or large letters.")
            raise ValidationError(text, code="taken")
        return name


class ChangeUserForm(ActorPasswordForm, PlainNameForm, UserChangeForm):
    pass


class AddUserForm(ActorPasswordForm, PlainNameForm, UserCreationForm):
    pass


class ChangeGroupForm(ActorPasswordForm, ModelForm):  # type: ignore[type-arg]  # generic only in the stubs
    pass


class ResetPasswordForm(ActorPasswordForm, AdminPasswordChangeForm):
    def save(self, commit: bool = True) -> User:
        """Store the password, and who set it."""
        with transaction.atomic():
            user: User = super().save(commit)
            by = get_signed_in_user(self.request)
            PasswordReset.objects.record(user=user, by=by, what=PasswordReset.What.PASSWORD)
        return user


class RoleChoiceField(ModelMultipleChoiceField):  # type: ignore[type-arg]  # generic only in the stubs
    def label_from_instance(self, obj: Group) -> str:
        return label_role(obj.name)


class RoleFilter(admin.RelatedFieldListFilter):
    """Filters users by group. The roles are called as pages call them."""

    def field_choices(
        self,
        field: RelatedField[Any, Any],
        request: HttpRequest,
        model_admin: admin.ModelAdmin[User],
    ) -> list[tuple[str, StrOrPromise]]:
        found = super().field_choices(field, request, model_admin)
        return [(key, label_role(str(name))) for key, name in found]


class ResetFactorView(AdminView):
    """The page that asks who resets a second factor for their own password or a code, and then resets it."""

    template_name = "admin/migration/reset_factor.html"
    permission_required = "auth.change_user"

    @cached_property
    def user(self) -> User:
        return get_object_or_404(User, pk=self.kwargs["user_id"])

    def has_permission(self) -> bool:
        """Say whether the user may change how this one logs in. Of a superuser's factor the page says why not."""
        if not super().has_permission():
            return False
        by = get_signed_in_user(self.request)
        return self.user.is_superuser or may_administer(by, self.user)

    @property
    def title(self) -> str:
        return gettext("Reset the second factor of %(who)s") % {"who": self.user.username}

    def get(self, request: HttpRequest, **_address: object) -> HttpResponse:
        return self.show_page()

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        by = get_signed_in_user(request)
        if find_reset_refusal(self.user, by):
            return self.show_page()
        answer = request.POST.get("answer", "")
        if not check_own_password_or_code(request, answer, place=PasswordPlace.USERS):
            return self.show_page(localize(NO_PROOF()))
        try:
            told = reset_second_factor(self.user, by)
        except NotResetError as refusal:
            return self.show_page(localize(refusal.message))
        said = gettext("%(who)s has no second factor now, and was logged out.") % {
            "who": self.user.username
        }
        if told:
            messages.success(request, f"{said} {gettext('A mail tells them.')}")
        else:
            messages.warning(
                request, f"{said} {gettext('No mail could be sent: tell them yourself.')}"
            )
        return HttpResponseRedirect(reverse("admin:auth_user_change", args=[self.user.pk]))

    def show_page(self, problem: str = "") -> HttpResponse:
        refusal = find_reset_refusal(self.user, get_signed_in_user(self.request))
        context = self.get_context_data(
            original=self.user,
            problem=problem,
            refusal=localize(refusal),
            input_classes=" ".join(BASE_INPUT_CLASSES),
        )
        return self.render_to_response(context)


PASSWORD_OF_PROVIDER = Sentence(
    "password_of_provider",
    "%(who)s logs in by OpenID Connect, so this account has no password. Only a superuser gives it one: whoever knows"
    " it could log in as %(who)s.",
)


@hide_posted_values
@admin.register(User)
class UserAdmin(BaseUserAdmin, AdminWithOwnViews):  # type: ignore[type-arg]
    own_views: ClassVar = [("<int:user_id>/reset-factor/", "reset_factor", ResetFactorView)]
    change_form_outer_before_template = "admin/migration/user_factor.html"
    form = ChangeUserForm
    add_form = AddUserForm
    change_password_form = ResetPasswordForm
    change_user_password_template = "admin/migration/reset_password.html"  # noqa: S105  # a template
    list_display = (
        *("username", "full_name", "roles", "logged_in_when", "is_staff", "is_active"),
        "second_factor",
    )
    list_filter = (("groups", RoleFilter), "is_staff", "is_superuser", "is_active")
    # None of them could ask for a password.
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        administered = select_administered(get_signed_in_user(request))
        found = super().get_queryset(request).prefetch_related("groups")
        return found.annotate(
            has_factor=owns_second_factor(),
            is_administered=Exists(administered.filter(pk=OuterRef("pk"))),
        )

    def get_list_display(self, request: HttpRequest) -> _ListDisplayT[User]:
        """Show how users log in to those alone who look after that."""
        may_change = self.has_change_permission(request)
        shown = super().get_list_display(request)
        return [name for name in shown if may_change or name != "second_factor"]

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Note at each user of the page where the second factor is reset, if the signed-in user may do that."""
        changelist = super().get_changelist_instance(request)
        for user in changelist.result_list:
            may_reset = user.is_administered and user.pk != request.user.pk
            page = reverse("admin:auth_user_reset_factor", args=[user.pk]) if may_reset else ""
            user.reset_url = page
        return changelist

    @display(description=_("name"), ordering="first_name")
    def full_name(self, user: User) -> str:
        return user.get_full_name() or "–"

    @display(description=_("roles"))
    def roles(self, user: User) -> str:
        """Name the user's roles, superuser first; say where there is none."""
        names = sorted(label_role(group.name) for group in user.groups.all())
        if user.is_superuser:
            names.insert(0, gettext("superuser"))
        return ", ".join(names) or gettext("no role")

    @display(description=_("last login"), ordering="last_login")
    def logged_in_when(self, user: User) -> SafeString | str:
        return time_ago(user.last_login) or gettext("never")

    @display(description=_("second factor"))
    def second_factor(self, user: ListedUser) -> SafeString | str:
        if not user.has_factor:
            return gettext("None")
        if not user.reset_url:
            return gettext("Set up")
        link = '{} <a class="text-link underline" href="{}">{}</a>'
        return format_html(link, gettext("Set up"), user.reset_url, gettext("Reset…"))

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Say whether the user may change users, and this one."""
        may_change = super().has_change_permission(request, obj)
        return may_change and (obj is None or may_administer(get_signed_in_user(request), obj))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Refuse: records name the user, who can be deactivated."""
        return False

    def get_fieldsets(self, request: HttpRequest, obj: User | None = None) -> _FieldsetSpec:
        """Leave out what the user may not give, and ask for their password where they may change something."""
        found = super().get_fieldsets(request, obj)
        if obj:
            found = [*found, (None, {"fields": ("last_reset",)})]
        if not is_superuser(request):
            found = [(name, _leave_out(options, SUPERUSERS_GIVE)) for name, options in found]
        readonly = self.get_readonly_fields(request, obj)
        if obj and ("groups" in readonly or not self.has_change_permission(request, obj)):
            found = [(name, _make_roles_read_only(options)) for name, options in found]
        return [*found, PASSWORD_FIELDSET] if self.has_change_permission(request, obj) else found

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fields = (*super().get_readonly_fields(request, obj), "roles", "last_reset", *TIMES)
        if obj is None or is_superuser(request):
            return fields
        # Records tell people apart by their names: nobody takes over somebody else's.
        fields = (*fields, "username")
        return (*fields, *OTHERS_GIVE) if obj.pk == request.user.pk else fields

    def formfield_for_manytomany(
        self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **options: Any
    ) -> Any:
        """Offer the groups that the user may give, by the names that pages give to roles."""
        if db_field.name != "groups":
            return super().formfield_for_manytomany(db_field, request, **options)
        options["queryset"] = select_givable_groups(get_signed_in_user(request))
        options["form_class"] = RoleChoiceField
        return super().formfield_for_manytomany(db_field, request, **options)

    def get_form(
        self, request: HttpRequest, obj: User | None = None, change: bool = False, **options: Any
    ) -> type[ModelForm[User]]:
        return bind_to_request(super().get_form(request, obj, change=change, **options), request)

    @display(description=_("Last reset by somebody else"))
    def last_reset(self, user: User) -> str | None:
        """Say who last changed how the user logs in, and when."""
        reset = PasswordReset.objects.filter(user=user).first()
        if reset is None:
            return None
        values = {"what": reset.get_what_display(), "who": reset.by_name}
        return format_html(
            "{}, {}", gettext("%(what)s by %(who)s") % values, time_ago(reset.reset_at)
        )

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        if not change:
            by = get_signed_in_user(request)
            PasswordReset.objects.record(user=obj, by=by, what=PasswordReset.What.ACCOUNT)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        user = form.instance
        if user.is_active and not user.is_staff and user.groups.exists():
            field = User._meta.get_field("is_staff").verbose_name
            text = gettext("%(user)s has a role, but can't log in: “%(field)s” is not ticked.")
            values = {"user": user.get_username(), "field": field}
            self.message_user(request, text % values, messages.WARNING)

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002  # the address names it so
        form_url: str = "",
    ) -> HttpResponse:
        """Show or take the form of a password, or say why there is none; Django's view makes it without the request."""
        user = self.get_object(request, unquote(id))
        by = get_signed_in_user(request)
        if user and self.has_change_permission(request, user) and not may_set_password(by, user):
            return self.refuse_password(request, user)
        asking = copy.copy(self)
        asking.change_password_form = bind_to_request(self.change_password_form, request)
        return super(UserAdmin, asking).user_change_password(request, id, form_url)

    def refuse_password(self, request: HttpRequest, user: User) -> HttpResponse:
        """Show why this user is given no password."""
        context = self.admin_site.each_context(request) | {
            "title": f"{gettext('Change password')}: {user.get_username()}",
            "original": user,
            "refusal": localize(PASSWORD_OF_PROVIDER(who=user.get_username())),
        }
        return render(request, "admin/migration/no_password.html", context, status=403)


@hide_posted_values
@admin.register(Group)
class GroupAdmin(BaseGroupAdmin, ModelAdmin):
    form = ChangeGroupForm
    list_display = ("role",)
    fields = ("name", "permissions")
    actions = None
    delete_confirmation_template = "admin/migration/delete_group.html"

    @display(description=_("group"), ordering="name")
    def role(self, group: Group) -> SafeString | str:
        """Return what pages call the group, and the name that documents and settings have where it differs."""
        label = label_role(group.name)
        if label == group.name:
            return label
        return format_html('{} <code class="list-second-line">{}</code>', label, group.name)

    def get_fieldsets(self, request: HttpRequest, obj: Group | None = None) -> _FieldsetSpec:
        """Ask for the user's password where they may change something."""
        found = super().get_fieldsets(request, obj)
        may = self.has_change_permission if obj else self.has_add_permission
        return [*found, PASSWORD_FIELDSET] if may(request) else found

    def get_readonly_fields(
        self, request: HttpRequest, obj: Group | None = None
    ) -> tuple[str, ...]:
        """Let only superusers say what a group may do: whoever fills groups could give anything otherwise."""
        return () if is_superuser(request) else ("permissions",)

    def get_form(
        self, request: HttpRequest, obj: Group | None = None, change: bool = False, **options: Any
    ) -> type[ModelForm[Group]]:
        return bind_to_request(super().get_form(request, obj, change=change, **options), request)

    @method_decorator(sensitive_post_parameters())
    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Delete the group once the password is right; ask again where it is not."""
        asked = bind_to_request(ActorPasswordForm, request)
        form = asked(request.POST) if request.method == "POST" else asked()
        if request.method == "POST" and not form.is_valid():
            request.POST = QueryDict()  # Django's view then asks again, and deletes nothing
        return super().delete_view(request, object_id, {**(extra_context or {}), "form": form})


def is_superuser(request: HttpRequest) -> bool:
    """Say whether the user is an active superuser."""
    return get_signed_in_user(request).is_superuser


def _leave_out(options: _FieldOpts, names: tuple[str, ...]) -> _FieldOpts:
    """Return a fieldset's options without the fields of these names."""
    left: _FieldOpts = {
        **options,
        "fields": [name for name in options["fields"] if name not in names],
    }
    return left


def _make_roles_read_only(options: _FieldOpts) -> _FieldOpts:
    """Return a fieldset's options with the names of the user's roles in place of a list of groups to choose from."""
    names = ["roles" if name == "groups" else name for name in options["fields"]]
    named: _FieldOpts = {**options, "fields": names}
    return named
