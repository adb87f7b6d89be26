"""Owns what a log line says beside its message: the request or task it belongs to, and errors without values."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from uuid import UUID, uuid4

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DjangoDatabaseError

from nova_credentials.shown_names import escape_invisible

# The name of a request goes from its page to its tasks and to the calls of AWS that both make. It is a UUID and never a
# part of anything else, so a log can show it. `UUID` itself also takes braces, prefixes and hyphens anywhere.
_FORM = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", re.IGNORECASE)

_correlation: ContextVar[str] = ContextVar("correlation", default="")


def current_correlation() -> str:
    """Return the name of the request or task that this thread works for, or nothing."""
    return _correlation.get()


@contextmanager
def correlating(name: str) -> Iterator[None]:
    """Have what is logged within the block bear this name."""
    token = _correlation.set(name)
    try:
        yield
    finally:
        _correlation.reset(token)


def read_or_make_correlation(text: object) -> str:
    """Return the name that somebody else gave, where it is a UUID; a new one for anything else."""
    found = isinstance(text, str) and _FORM.fullmatch(text)
    return str(UUID(found[0]) if found else uuid4())


# An exception's text may quote what was typed or read (`int("a password")` does). It is shown where its class is one
# of ours, whose texts hold no value; one of Django's of the database, whose texts the site's backend replaces; or
# one about settings and modules, which somebody has to read who starts the site.

OUR_PACKAGES = ("nova_admin", "migration", "credentials", "nova_credentials")
LEFT_OUT = "(its text is left out: it may hold a value)"
# A chain of exceptions is followed so far: a defect may raise one inside another without end.
MOST_SHOWN = 10


def describe_error(error: BaseException) -> str:
    """Return the exception's kind, with its text where that can hold no value."""
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
    return (
        f"{name}: {escape_invisible(str(error))}" if _has_safe_text(error) else f"{name} {LEFT_OUT}"
    )


def name_cause(error: BaseException) -> str:
    """Return the text of the error of ours from which it comes, as of a database that refuses; else its kind alone."""
    for each in _follow_causes(error):
        if type(each).__module__.partition(".")[0] in OUR_PACKAGES:
            return escape_invisible(str(each))
    return type(error).__name__


def describe_traceback(error: BaseException) -> str:
    """Return what Python prints of the exception and of those that led to it, without the texts of others."""
    parts = []
    for earlier in reversed(list(_follow_causes(error))):
        parts.append("Traceback (most recent call last):\n")
        # Without a copy of its own, as that holds the text.
        parts += traceback.format_tb(earlier.__traceback__)
        parts.append(f"{describe_error(earlier)}\n")
        if earlier is not error:
            parts.append("\nThis led to:\n\n")
    return "".join(parts)


def _follow_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception, then each that was its cause or was being handled when it was raised."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen and len(seen) < MOST_SHOWN:
        yield following
        seen.add(id(following))
        context = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or context


def _has_safe_text(error: BaseException) -> bool:
    kind = type(error)
    if kind.__module__.partition(".")[0] in OUR_PACKAGES:
        return True
    if isinstance(error, ImproperlyConfigured | ImportError):
        return True
    return isinstance(error, DjangoDatabaseError) and kind.__module__ == "django.db.utils"
