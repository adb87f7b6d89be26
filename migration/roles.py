"""The roles: groups with their permissions, there after every `migrate`. Gives; never takes away, nor gives twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.auth.models import Group, Permission
from django.db import connections

from migration.models import RoleGrant

if TYPE_CHECKING:
    from django.db.models import QuerySet

_CREDENTIALS = ("client", "databasecredential", "emailcredential", "awscredential")

OPERATES = {
    *(f"credentials.{may}_{model}" for may in ("add", "change") for model in _CREDENTIALS),
    "migration.add_run",
    "migration.change_run",
    "migration.move_client",
    "migration.resolve_mismatch",
}
APPROVES = {"migration.approve_move"}
ADMINISTERS = {
    "migration.purge_client",
    "migration.reveal_credential",
    *(
        f"auth.{may}_{model}"
        for may in ("view", "add", "change", "delete")
        for model in ("user", "group")
    ),
}
# Besides what everybody in a role may: see all of it, without a value.
ROLES: dict[str, set[str]] = {
    "Viewer": set(),
    "Operator": OPERATES,
    "Approver": APPROVES,
    "Administrator": OPERATES | APPROVES | ADMINISTERS,
}


def ensure_roles(*, using: str, **_: object) -> None:
    """After every `migrate`, by when Django has made the permissions, which a schema migration would not find yet."""
    connection = connections[using]
    if RoleGrant._meta.db_table not in connection.introspection.table_names():
        return  # the schema was taken back
    for name, names in ROLES.items():
        group, _created = Group.objects.using(using).get_or_create(name=name)
        given = RoleGrant.objects.using(using).filter(group=group).values("permission")
        new = list(permissions_of(names, using=using).exclude(pk__in=given))
        group.permissions.add(*new)
        RoleGrant.objects.using(using).bulk_create(
            RoleGrant(group=group, permission=permission) for permission in new
        )


def permissions_of(names: set[str], *, using: str = "default") -> QuerySet[Permission]:
    """Those named (`app.codename`), and to see everything of this app's."""
    found = Permission.objects.using(using).filter(
        content_type__app_label__in=("credentials", "migration"), codename__startswith="view_"
    )
    for name in names:
        app, codename = name.split(".")
        found |= Permission.objects.using(using).filter(
            content_type__app_label=app, codename=codename
        )
    return found
