"""Keeps the rows of users, which records point to: users are deactivated, never deleted.

The database refuses it as well, with a trigger on `auth_user`.
"""

from __future__ import annotations

from django.contrib.auth.models import User
from django.db.models.signals import pre_delete
from django.dispatch import receiver

from migration import user_sentences
from nova_credentials.messages import MessageError


class UserDeletionError(MessageError):
    """A user can't be deleted; nothing was."""


@receiver(pre_delete, sender=User, dispatch_uid="migration.refuse_user_deletion")
def refuse_user_deletion(instance: User, **_: object) -> None:
    """Raise `UserDeletionError`, also where the user would go with something else that is deleted."""
    raise UserDeletionError(user_sentences.USERS_ARE_KEPT(who=instance.get_username()))
