"""Owns what a typed reason may be: short, and storable. It is kept as it was typed, never cut and never translated."""

from __future__ import annotations

import re

from django.db import models
from django.db.models.functions import Length
from django.db.models.lookups import LessThanOrEqual

from migration import sentences
from nova_credentials.messages import MessageError

MOST_CHARACTERS = 500
_NOT_STORABLE = re.compile("[\0\ud800-\udfff]")


class ReasonError(MessageError, ValueError):
    """The reason that was typed can't be kept; nothing was done."""


def check_reason(text: str) -> None:
    """Raises `ReasonError` where the reason is too long, or holds what PostgreSQL can't store."""
    if len(text) > MOST_CHARACTERS:
        raise ReasonError(sentences.REASON_TOO_LONG(most=MOST_CHARACTERS, n=len(text)))
    if _NOT_STORABLE.search(text):
        raise ReasonError(sentences.REASON_NOT_STORABLE())


def reason_is_short(table: str) -> models.CheckConstraint:
    """The same bound in the database."""
    return models.CheckConstraint(
        condition=LessThanOrEqual(Length("reason"), MOST_CHARACTERS),
        name=f"{table}_reason_is_short",
    )
