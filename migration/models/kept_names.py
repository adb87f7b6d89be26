"""Owns the columns that keep a person's name beside the foreign key: the name stays even if the user's row goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.contrib.auth.models import User
    from django_stubs_ext import StrOrPromise

USERNAME_LENGTH = 150


class KeptNameField(models.CharField):  # type: ignore[type-arg]  # generic only in the stubs
    """The name that the user of the foreign key `of` had when the row was stored; empty where there is no user.

    `save` and `bulk_create` fill it, once. `update` does not: it is given `get_kept_name(user)`.
    """

    def __init__(self, of: str, verbose_name: StrOrPromise | None = None) -> None:
        super().__init__(
            verbose_name, max_length=USERNAME_LENGTH, blank=True, default="", db_default=""
        )
        self.of, self.label = of, verbose_name

    def deconstruct(self) -> tuple[str, str, Sequence[Any], dict[str, Any]]:
        """Describe it to schema migrations as the CharField that it is in the database."""
        name, _path, arguments, options = super().deconstruct()
        return name, "django.db.models.CharField", arguments, options

    def clone(self) -> KeptNameField:
        return KeptNameField(self.of, self.label)

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        """Return the name to store; a name that is there already stays, whatever the user is called since."""
        if not getattr(model_instance, self.attname):
            setattr(model_instance, self.attname, get_kept_name(getattr(model_instance, self.of)))
        kept: str = super().pre_save(model_instance, add)
        return kept


def get_kept_name(user: User | None) -> str:
    """Return the name to keep of a user; empty for nobody."""
    return user.get_username() if user else ""


def require_kept_name(table: str, of: str) -> models.CheckConstraint:
    """Return the constraint by which the database refuses a row with a user and without the user's name."""
    return models.CheckConstraint(
        condition=models.Q(**{of: None}) | ~models.Q(**{f"{of}_name": ""}),
        name=f"{table}_{of}_is_named",
    )
