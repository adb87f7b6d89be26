"""Owns the views of the clients list that users keep for themselves: filters, search and order under a name."""

from __future__ import annotations

import unicodedata
from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from migration import list_sentences
from nova_credentials.messages import MessageError

NAME_LENGTH = 60
QUERY_LENGTH = 1000
MOST_VIEWS = 30


class SavedViewError(MessageError):
    """The view can't be kept; nothing was changed."""


class SavedViewQuerySet(models.QuerySet["SavedView"]):
    def keep(self, user: User, name: str, query: str) -> SavedView:
        """Keep the query under the name, in place of the user's view of the same name, in capital letters or not.

        Raises `SavedViewError` where no view can have the name, or the user has too many.
        """
        shown = _normalize_name(name)
        if not query:
            raise SavedViewError(list_sentences.NOTHING_TO_SAVE())
        if len(query) > QUERY_LENGTH:
            raise SavedViewError(list_sentences.VIEW_TOO_LONG())
        with transaction.atomic():
            mine = self.filter(user=user)
            # Two requests of one user wait for each other.
            list(User.objects.select_for_update(no_key=True).filter(pk=user.pk).values("pk"))
            key = shown.casefold()
            if not mine.filter(key=key).exists() and mine.count() >= MOST_VIEWS:
                raise SavedViewError(list_sentences.TOO_MANY_VIEWS(n=MOST_VIEWS))
            fields = {"name": shown, "query": query}
            view, _created = self.update_or_create(user=user, key=key, defaults=fields)
        return view


def _normalize_name(text: str) -> str:
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name or len(name) > NAME_LENGTH or not name.isprintable():
        raise SavedViewError(list_sentences.VIEW_NAME_NOT_FIT(most=NAME_LENGTH))
    return name


class SavedView(models.Model):
    """One view of one user. Nobody else sees it."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    name = models.CharField(_("name"), max_length=NAME_LENGTH)
    # By which a user's views are told apart. Folding the case makes up to three characters of one.
    key = models.CharField(max_length=3 * NAME_LENGTH)
    # The query of the list's address.
    query = models.CharField(max_length=QUERY_LENGTH)

    objects = SavedViewQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        ordering: ClassVar = ["key"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="one_saved_view_a_name")
        ]

    def __str__(self) -> str:
        return self.name
