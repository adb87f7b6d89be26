"""Records what Django itself tells: logins, and changes of users and groups by whichever page, command or code."""

from __future__ import annotations

from collections.abc import Collection

from django.contrib.auth.models import Group, Permission, User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save, pre_save
from django.http import HttpRequest
from django.utils.translation import gettext_lazy

from migration.core.audit import USER_CHANGED_EVENT, AuditEvent, EventKind
from migration.core.refused_acts import record_refused_login
from migration.people.roles import ROLE_NAMES
from migration.people.second_factors import USER_CHANGED
from nova_credentials.messages import Sentence

LOGIN_EVENT = EventKind("login", gettext_lazy("Login"))
LOGOUT_EVENT = EventKind("logout", gettext_lazy("Logout"))
GROUP_CHANGED_EVENT = EventKind("group_changed", gettext_lazy("User group changed"))


# The column that each login writes; the login itself is an entry.
LAST_LOGIN = "last_login"
# The columns that hold the name of a user and of a group.
NAMES = ("username", "name")
UNKNOWN = "unknown"
_CHANGED, _OLD_NAME = "_fields_that_are_changed", "_name_before"


def connect_signals() -> None:
    """Have every login and every change of a user or a group recorded."""
    user_logged_in.connect(_record_login, dispatch_uid="migration.audit_login")
    user_logged_out.connect(_record_logout, dispatch_uid="migration.audit_logout")
    user_login_failed.connect(_record_refused_login, dispatch_uid="migration.audit_refused_login")
    for model in (User, Group):
        uid = f"migration.audit_{model.__name__}"
        pre_save.connect(_note_changes, sender=model, dispatch_uid=uid)
        post_save.connect(_record_change, sender=model, dispatch_uid=uid)
        post_delete.connect(_record_deletion, sender=model, dispatch_uid=uid)
    for through in (User.groups.through, User.user_permissions.through, Group.permissions.through):
        m2m_changed.connect(_record_relation, sender=through, dispatch_uid=through.__name__)


LOGGED_IN = Sentence("logged_in", "Logged in.")


def _record_login(*, user: User, **_: object) -> None:
    AuditEvent.objects.record(LOGIN_EVENT, LOGGED_IN(), by=user)


LOGGED_OUT = Sentence("logged_out", "Logged out.")


def _record_logout(*, user: User | None, **_: object) -> None:
    if user is not None:  # somebody whose session was over
        AuditEvent.objects.record(LOGOUT_EVENT, LOGGED_OUT(), by=user)


def _record_refused_login(
    *, credentials: dict[str, object], request: HttpRequest | None = None, **_: object
) -> None:
    """Record the name only if there is such a user: people type passwords into the field of the name.

    Nothing is recorded of whoever is locked out already, and goes on trying: anybody could fill the table.
    """
    is_counted = getattr(request, "axes_failures_since_start", None) is not None
    if getattr(request, "axes_locked_out", False) and not is_counted:
        return
    typed = str(credentials.get(User.USERNAME_FIELD, ""))
    found = "\0" not in typed and User.objects.filter(username=typed).values_list("username")
    (name,) = (found and found.first()) or (UNKNOWN,)
    record_refused_login(name)


def _note_changes(
    *,
    instance: Model,
    using: str,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **_: object,
) -> None:
    """Compare the row with what is stored, before it is saved."""
    names = {field.name for field in instance._meta.concrete_fields} - {LAST_LOGIN}
    if update_fields is not None:
        names &= set(update_fields)
    changed: list[str] | None = None
    old_name = None
    if instance.pk and names:
        stored = type(instance)._default_manager.using(using).filter(pk=instance.pk).values(*names)
        if before := stored.first():
            changed = sorted(name for name in names if before[name] != getattr(instance, name))
            old_name = next((before[name] for name in NAMES if name in changed), None)
    setattr(instance, _OLD_NAME, old_name)
    setattr(instance, _CHANGED, changed if names else [])


ACTIVATED = Sentence("user_activated", "Activated the user %(name)s.")
DEACTIVATED = Sentence("user_deactivated", "Deactivated the user %(name)s.")
PASSWORD_SET = Sentence("user_password_set", "Set the password of the user %(name)s.")


def _record_change(*, instance: Model, created: bool, using: str, **_: object) -> None:
    code, added, changed, renamed, _deleted = _words_of(instance)
    fields: list[str] | None = getattr(instance, _CHANGED, None)
    old_name: str | None = getattr(instance, _OLD_NAME, None)
    name = str(instance)
    if created:
        AuditEvent.objects.using(using).record(code, added(name=name))
    elif fields:
        facts = changed(name=name, fields=", ".join(fields))
        if isinstance(instance, User) and fields == ["is_active"]:
            facts = (ACTIVATED if instance.is_active else DEACTIVATED)(name=name)
        elif isinstance(instance, User) and fields == ["password"]:
            facts = PASSWORD_SET(name=name)
        if old_name is not None:
            facts = renamed(old=old_name, name=name, fields=", ".join(fields))
        AuditEvent.objects.using(using).record(code, facts)


def _record_deletion(*, instance: Model, using: str, **_: object) -> None:
    code, *_others, deleted = _words_of(instance)
    AuditEvent.objects.using(using).record(code, deleted(name=str(instance)))


GIVEN = Sentence("given", "%(owner)s was given: %(names)s.", glue=", ")
TAKEN = Sentence("taken", "%(owner)s lost: %(names)s.", glue=", ")
EVERYTHING = Sentence("everything", "all that there were")
OF_USER = Sentence("of_user", "The user %(name)s")
OF_GROUP = Sentence("of_group", "The group %(name)s")


def _record_relation(
    *,
    instance: Model,
    action: str,
    model: type[Model],
    pk_set: set[int] | None,
    using: str,
    **_: object,
) -> None:
    """Record which groups or permissions a user or a group was given, or lost."""
    if action not in ("post_add", "post_remove", "pre_clear") or pk_set == set():
        return
    sentence = GIVEN if action == "post_add" else TAKEN
    others = model._default_manager.using(using)
    if pk_set is not None:
        others = others.filter(pk__in=pk_set)
    named = sorted(map(_name_of, others)) if pk_set else []
    names = tuple(
        ROLE_NAMES[name]() if model is Group and name in ROLE_NAMES else name for name in named
    )
    is_user = isinstance(instance, User)
    name = _name_of(instance)
    if not is_user and name in ROLE_NAMES:
        owner = OF_GROUP(name=ROLE_NAMES[name]())
    else:
        owner = (OF_USER if is_user else OF_GROUP)(name=name)
    code = USER_CHANGED_EVENT if is_user else GROUP_CHANGED_EVENT
    AuditEvent.objects.using(using).record(
        code, sentence(owner=owner, names=names or (EVERYTHING(),))
    )


def _name_of(row: Model) -> str:
    # As Django names a permission: "Can view run"
    return row.name if isinstance(row, Permission) else str(row)


USER_ADDED = Sentence("user_added", "Added the user %(name)s.")
USER_RENAMED = Sentence(
    "user_renamed", "Renamed the user %(old)s to %(name)s; changed: %(fields)s."
)
USER_DELETED = Sentence("user_deleted", "Deleted the user %(name)s.")
GROUP_ADDED = Sentence("group_added", "Added the group %(name)s.")
GROUP_CHANGED = Sentence("group_changed", "Changed the group %(name)s: %(fields)s.")
GROUP_RENAMED = Sentence(
    "group_renamed", "Renamed the group %(old)s to %(name)s; changed: %(fields)s."
)
GROUP_DELETED = Sentence("group_deleted", "Deleted the group %(name)s.")


def _words_of(row: Model) -> tuple[EventKind, Sentence, Sentence, Sentence, Sentence]:
    if isinstance(row, User):
        return (
            USER_CHANGED_EVENT,
            USER_ADDED,
            USER_CHANGED,
            USER_RENAMED,
            USER_DELETED,
        )
    return (
        GROUP_CHANGED_EVENT,
        GROUP_ADDED,
        GROUP_CHANGED,
        GROUP_RENAMED,
        GROUP_DELETED,
    )
