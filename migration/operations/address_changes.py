"""Tells users at their old mail address that it was changed: mails about their login go elsewhere from now on."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from django.contrib.auth.models import User
from django.db import transaction

from migration import factor_sentences as sentences
from migration.operations.mails import send_mail_to

if TYPE_CHECKING:
    from collections.abc import Collection

ADDRESS = "email"


def tell_old_address(
    *,
    instance: User,
    using: str,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **_: object,
) -> None:
    """Send a mail to the address that is about to be replaced or removed, once the change is committed."""
    if raw or instance.pk is None or (update_fields is not None and ADDRESS not in update_fields):
        return
    stored = User.objects.using(using).filter(pk=instance.pk).values_list(ADDRESS, flat=True)
    before = stored.first()
    if before and before != instance.email:
        send = partial(
            send_mail_to,
            instance,
            subject=sentences.MAIL_ADDRESS_SUBJECT(),
            text=sentences.MAIL_ADDRESS_CHANGED(who=instance.get_username()),
            address=before,
        )
        transaction.on_commit(send, using=using)
