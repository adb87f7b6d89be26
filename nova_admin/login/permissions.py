"""Fetches what a user may do with the user, in one query, as open pages ask for both every few seconds."""

from __future__ import annotations

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import AnonymousUser, Group, Permission, User
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Model, OuterRef, Q, Value
from django.db.models.functions import Concat


class PermissionBackend(ModelBackend):
    """Fetches a session's user and all permissions, own and of groups, in one query; otherwise does as Django."""

    def get_user(self, user_id: int) -> User | None:
        """Fetch an active user with `granted`, the names of permissions ("migration.view_run"); None for others."""
        user = User.objects.annotate(granted=_list_permissions()).filter(pk=user_id).first()
        return user if user and self.user_can_authenticate(user) else None

    def get_all_permissions(
        self, user_obj: User | AnonymousUser, obj: Model | None = None
    ) -> set[str]:
        """Return what came with the user; Django asks where nothing did, and for superusers, who may do everything."""
        granted: list[str] | None = getattr(user_obj, "granted", None)
        if granted is None or obj is not None or user_obj.is_superuser or not user_obj.is_active:
            return super().get_all_permissions(user_obj, obj)
        return set(granted)


def _list_permissions() -> ArraySubquery:
    user = OuterRef(OuterRef("pk"))
    own = User.user_permissions.through.objects.filter(user=user).values("permission")
    of_groups = Group.permissions.through.objects.filter(group__user=user).values("permission")
    permissions = Permission.objects.filter(Q(pk__in=own) | Q(pk__in=of_groups)).order_by()
    name = Concat("content_type__app_label", Value("."), "codename")
    return ArraySubquery(permissions.annotate(full_name=name).values("full_name"))
