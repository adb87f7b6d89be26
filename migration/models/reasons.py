"""Owns the limits of a typed reason: short and storable. It is stored as typed, never cut or translated."""

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
    """The typed reason can't be stored; nothing was done."""


def require_storable_reason(text: str) -> None:
    """Raise `ReasonError` if the reason is too long or has a character that PostgreSQL can't store."""
    if len(text) > MOST_CHARACTERS:
        raise ReasonError(sentences.REASON_TOO_LONG(most=MOST_CHARACTERS, n=len(text)))
    if _NOT_STORABLE.search(text):
        raise ReasonError(sentences.REASON_NOT_STORABLE())


def require_reason(text: str) -> None:
    """Raise `ReasonError` if there is no reason, or one that can't be stored."""
    require_storable_reason(text)
    if not text.strip():
        raise ReasonError(sentences.REASON_MISSING())


def limit_reason(table: str, column: str = "reason") -> models.CheckConstraint:
    """Return the constraint that limits the reason in the database."""
    return models.CheckConstraint(
        condition=LessThanOrEqual(Length(column), MOST_CHARACTERS),
        name=f"{table}_{column}_is_short",
    )
