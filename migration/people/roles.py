"""Owns the roles, and the permissions that `migrate` gives them once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.socialaccount.models import SocialAccount
from django.apps import apps
from django.contrib.auth.models import Group, Permission, User
from django.db import connections
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from credentials.localization import localize
from migration.core.audit import AuditEvent
from migration.people.models import RoleGrant
from nova_credentials.messages import Sentence

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


_CREDENTIALS = ("client", "databasecredential", "emailcredential", "awscredential")

# Who did what, from which address: not for everybody.
VIEW_AUDIT = "migration.view_auditevent"
# Those that somebody else left.
TAKE_BACK_COMMENTS = "migration.delete_clientcomment"
OPERATES = {
    *(f"credentials.{action}_{model}" for action in ("add", "change") for model in _CREDENTIALS),
    "migration.add_copysearch",
    *(f"migration.{action}_clientgroup" for action in ("add", "change", "delete")),
    "migration.add_campaign",
    "migration.change_campaign",
    "migration.add_run",
    "migration.change_run",
    "migration.move_client",
    "migration.set_client_owner",
    "migration.test_login",
    "migration.resolve_mismatch",
    "migration.rotate_credential",
    "credentials.map_column",
    "migration.stop_aws_writes",
}
# All that an import may write.
IMPORT_PERMISSIONS = (
    *(f"credentials.{action}_{model}" for model in _CREDENTIALS for action in ("add", "change")),
    *(f"migration.{action}_clientgroup" for action in ("add", "change")),
)
# All that an import of the legacy table writes: a client, and its login.
LEGACY_IMPORT_PERMISSIONS = ("credentials.add_client", "credentials.add_databasecredential")
APPROVES = {"migration.approve_move", VIEW_AUDIT}
ADMINISTERS = {
    "migration.claim_database",
    "migration.purge_client",
    "migration.reveal_credential",
    "credentials.accept_object",
    "migration.override_gate",
    "migration.set_notices",
    TAKE_BACK_COMMENTS,
    VIEW_AUDIT,
}
# Users are never deleted, and only superusers say what a group may do.
ADMINISTERS_USERS = {"auth.view_user", "auth.add_user", "auth.change_user", "auth.view_group"}
# Who has these could be acted for by whoever changes their login: a user administrator without them may not.
GUARDED = ADMINISTERS - {VIEW_AUDIT, TAKE_BACK_COMMENTS}
# In addition, every role may view everything of these apps but the audit, without secret values.
ROLES: dict[str, set[str]] = {
    "Viewer": set(),
    "Operator": OPERATES,
    "Approver": APPROVES,
    "Administrator": OPERATES | APPROVES | ADMINISTERS,
    "User administrator": ADMINISTERS_USERS,
}

# Names of roles in pages and in the audit. The groups' names stay as they are stored.
ROLE_NAMES = {
    "Viewer": Sentence("role_viewer", "Viewer"),
    "Operator": Sentence("role_operator", "Operator"),
    "Approver": Sentence("role_approver", "Approver"),
    "Administrator": Sentence("role_administrator", "Administrator"),
    "User administrator": Sentence("role_user_administrator", "User administrator"),
}

# What somebody in the role may do, for who gives it.
SUMMARIES: dict[str, StrPromise] = {
    "Viewer": gettext_lazy(
        "Sees clients, runs and settings, but no secret values and not the audit. Changes nothing."
    ),
    "Operator": gettext_lazy("Adds clients, edits logins, moves clients to AWS."),
    "Approver": gettext_lazy("Approves requests and reads the audit."),
    "Administrator": gettext_lazy(
        "Does all of this, and purges clients, reveals secrets and sets notices."
    ),
    "User administrator": gettext_lazy("Invites people and gives roles."),
}


def label_role(name: str) -> str:
    """Return what pages call the group of this name, in the page's language."""
    return localize(ROLE_NAMES[name]()) if name in ROLE_NAMES else name


def describe_permission(permission: str) -> str:
    """Return what the permission (`app.codename`) allows, in words of the page's language; "" of none that is known."""
    app, _dot, codename = permission.partition(".")
    action, _line, model_name = codename.partition("_")
    verbs = {
        "view": _("Can view %(what)s"),
        "add": _("Can add %(what)s"),
        "change": _("Can change %(what)s"),
        "delete": _("Can delete %(what)s"),
    }
    for model in apps.get_models():
        if model._meta.app_label != app:
            continue
        named = dict(model._meta.permissions)
        if codename in named:
            return str(named[codename])
        if model._meta.model_name == model_name and action in verbs:
            return verbs[action] % {"what": model._meta.verbose_name_plural}
    return ""


def list_roles_with(permission: str) -> list[str]:
    """Return the names of the roles that have the permission (`app.codename`)."""
    app, _dot, codename = permission.partition(".")
    is_viewing = app in ("credentials", "migration") and codename.startswith("view_")
    if is_viewing and permission != VIEW_AUDIT:
        return list(ROLES)
    return [name for name, given in ROLES.items() if permission in given]


def may_administer(actor: User, user: User) -> bool:
    """Say whether the actor may change how the user logs in: not of somebody who may do what the actor may not."""
    return actor.is_superuser or select_administered(actor).filter(pk=user.pk).exists()


def select_administered(actor: User) -> QuerySet[User]:
    """Select the users of whom the actor may change how they log in."""
    if actor.is_superuser:
        return User.objects.all()
    # Whatever Django says of a deactivated user: they may be activated again.
    lacking = _select_lacking(actor)
    found = User.objects.filter(is_superuser=False)
    return found.exclude(groups__permissions__in=lacking).exclude(user_permissions__in=lacking)


def _select_lacking(actor: User) -> QuerySet[Permission]:
    """Select the guarded permissions that the actor lacks."""
    names = Q(pk__in=[])
    for name in GUARDED - actor.get_all_permissions():
        app, codename = name.split(".")
        names |= Q(content_type__app_label=app, codename=codename)
    return Permission.objects.filter(names)


def logs_in_by_provider(user: User) -> bool:
    """Say whether this is the account of somebody who logs in by OpenID Connect."""
    # What a list of people found out already.
    known: bool | None = getattr(user, "of_provider", None)
    return bool(SocialAccount.objects.filter(user=user).exists()) if known is None else known


def may_set_password(actor: User, user: User) -> bool:
    """Say whether the actor may give the user a password: by it, the actor could log in as the user.

    An account of OpenID Connect has none, and its roles are the provider's to give: superusers alone give it one.
    """
    return may_administer(actor, user) and (actor.is_superuser or not logs_in_by_provider(user))


def select_givable_groups(actor: User) -> QuerySet[Group]:
    """Select the groups that the actor may put users into."""
    if actor.is_superuser:
        return Group.objects.all()
    return Group.objects.exclude(permissions__in=_select_lacking(actor))


def list_roles() -> list[Group]:
    """Return the roles in their order, then groups that were made by hand."""
    places = {name: place for place, name in enumerate(ROLES)}
    return sorted(
        Group.objects.all(), key=lambda each: (places.get(each.name, len(places)), each.name)
    )


def ensure_roles(*, using: str, **_: object) -> None:
    """Give the roles their permissions, after `migrate`: a schema migration would run before Django makes them."""
    connection = connections[using]
    tables = connection.introspection.table_names()
    if not {RoleGrant._meta.db_table, AuditEvent._meta.db_table} <= set(tables):
        return  # `migrate` was run backwards
    for name, names in ROLES.items():
        group, _created = Group.objects.using(using).get_or_create(name=name)
        given = RoleGrant.objects.using(using).filter(group=group).values("permission")
        new = list(select_named_and_view_permissions(names, using=using).exclude(pk__in=given))
        group.permissions.add(*new)
        RoleGrant.objects.using(using).bulk_create(
            RoleGrant(group=group, permission=permission) for permission in new
        )


def select_named_and_view_permissions(
    names: set[str], *, using: str = "default"
) -> QuerySet[Permission]:
    """Select the named permissions (`app.codename`), and those to view all of this site's apps but the audit."""
    found = (
        Permission.objects.using(using)
        .filter(
            content_type__app_label__in=("credentials", "migration"), codename__startswith="view_"
        )
        .exclude(codename=VIEW_AUDIT.partition(".")[2])
    )
    for name in names:
        app, codename = name.split(".")
        found |= Permission.objects.using(using).filter(
            content_type__app_label=app, codename=codename
        )
    return found
