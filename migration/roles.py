"""Owns the roles: groups with permissions, made by `migrate`. A permission is given once and never taken away here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.models import Group, Permission
from django.db import connections
from django.db.models import Q

from migration.models import AuditEvent, RoleGrant

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.db.models import QuerySet

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
    "migration.resolve_mismatch",
    "credentials.map_column",
    "migration.stop_aws_writes",
}
APPROVES = {"migration.approve_move", VIEW_AUDIT}
ADMINISTERS = {
    "migration.claim_database",
    "migration.purge_client",
    "migration.reveal_credential",
    "credentials.accept_object",
    "migration.override_gate",
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


def list_roles_with(permission: str) -> list[str]:
    """Return the names of the roles that have the permission (`app.codename`)."""
    app, _dot, codename = permission.partition(".")
    is_viewing = app in ("credentials", "migration") and codename.startswith("view_")
    if is_viewing and permission != VIEW_AUDIT:
        return list(ROLES)
    return [name for name, given in ROLES.items() if permission in given]


def may_administer(actor: User, user: User) -> bool:
    """Say whether the actor may change how the user logs in: not of somebody who may do what the actor may not."""
    if actor.is_superuser:
        return True
    # Whatever Django says of a deactivated user: they may be activated again.
    held = Permission.objects.filter(Q(user=user) | Q(group__user=user))
    names = held.values_list("content_type__app_label", "codename")
    guarded = {f"{app}.{codename}" for app, codename in names} & GUARDED
    return not user.is_superuser and guarded <= actor.get_all_permissions()


def logs_in_by_provider(user: User) -> bool:
    """Say whether this is the account of somebody who logs in by OpenID Connect."""
    return bool(SocialAccount.objects.filter(user=user).exists())


def may_set_password(actor: User, user: User) -> bool:
    """Say whether the actor may give the user a password: by it, the actor could log in as the user.

    An account of OpenID Connect has none, and its roles are the provider's to give: superusers alone give it one.
    """
    return may_administer(actor, user) and (actor.is_superuser or not logs_in_by_provider(user))


def select_givable_groups(actor: User) -> QuerySet[Group]:
    """Select the groups that the actor may put users into."""
    if actor.is_superuser:
        return Group.objects.all()
    lacking = GUARDED - actor.get_all_permissions()
    names = Q()
    for name in lacking:
        app, codename = name.split(".")
        names |= Q(content_type__app_label=app, codename=codename)
    found = Permission.objects.filter(names) if lacking else Permission.objects.none()
    return Group.objects.exclude(permissions__in=found)


def ensure_roles(*, using: str, **_: object) -> None:
    """Give the roles their permissions, after `migrate`: a schema migration would run before Django makes them."""
    connection = connections[using]
    tables = connection.introspection.table_names()
    if not {RoleGrant._meta.db_table, AuditEvent._meta.db_table} <= set(tables):
        return  # `migrate` was run backwards
    for name, names in ROLES.items():
        group, _created = Group.objects.using(using).get_or_create(name=name)
        given = RoleGrant.objects.using(using).filter(group=group).values("permission")
        new = list(select_permissions(names, using=using).exclude(pk__in=given))
        group.permissions.add(*new)
        RoleGrant.objects.using(using).bulk_create(
            RoleGrant(group=group, permission=permission) for permission in new
        )


def select_permissions(names: set[str], *, using: str = "default") -> QuerySet[Permission]:
    """Select the named permissions (`app.codename`) and those to view everything of these apps."""
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
