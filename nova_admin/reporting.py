"""Decides what error pages, mails and reports show of a request: no typed value, no variable, no exception's text."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from copy import copy
from logging import LogRecord
from types import FrameType
from typing import Any

from django.http import HttpRequest
from django.utils.log import AdminEmailHandler
from django.utils.safestring import SafeString, mark_safe
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from migration.core.correlation import current_correlation, describe_traceback
from nova_admin.logs import hide_tokens


class NoValues(SafeExceptionReporterFilter):
    """Masks every posted field and every variable, in development too: any of them may be a password."""

    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> dict[str, str]:
        if request is None:
            return {}
        return dict.fromkeys(request.POST, self.cleansed_substitute)

    def get_traceback_frame_variables(
        self, request: HttpRequest | None, tb_frame: FrameType
    ) -> Any:
        return [(name, self.cleansed_substitute) for name in tb_frame.f_locals]


class ErrorReport(ExceptionReporter):
    """The report of an error that is mailed: which page failed, where in the code, and by which name the log has it.

    Django's own holds the query, cookies, headers and the texts of exceptions.
    """

    def get_traceback_text(self) -> SafeString:
        match = getattr(self.request, "resolver_match", None)
        page = (match.view_name or "?") if match else "none"
        facts = f"Page: {page}\nCorrelation: {current_correlation() or 'none'}\n\n"
        error = self.exc_value
        return mark_safe(  # noqa: S308  # it is plain text
            facts + (describe_traceback(error) if isinstance(error, BaseException) else "")
        )


# A kind of error is mailed once in so long, by each process; the next mail has the number of those between.
ONE_MAIL_SECONDS = 600


class ErrorMails(AdminEmailHandler):
    """Mails errors, of each kind one in ONE_MAIL_SECONDS: a database that is away fails every page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        # When each kind was mailed, on the monotonic clock, and how many were not mailed since.
        self._mailed: dict[Hashable, tuple[float, int]] = {}

    def emit(self, record: LogRecord) -> None:
        kind, now = find_kind(record), time.monotonic()
        with self._lock:
            at, held_back = self._mailed.get(kind, (float("-inf"), 0))
            if now - at < ONE_MAIL_SECONDS:
                self._mailed[kind] = at, held_back + 1
                return
            known = self._mailed.items()
            self._mailed = {
                each: seen for each, seen in known if now - seen[0] < ONE_MAIL_SECONDS or seen[1]
            }
            self._mailed[kind] = now, 0
        if held_back:
            record = copy(record)
            record.msg = f"{record.getMessage()} ({held_back} more like it since the last mail)"
            record.args = ()
        super().emit(record)

    def format_subject(self, subject: str) -> str:
        return hide_tokens(super().format_subject(subject))


def find_kind(record: LogRecord) -> Hashable:
    """Return what errors of one kind share: the exception and where it was raised, or the text without its values."""
    error = record.exc_info[1] if record.exc_info else None
    if error is None:
        return record.name, str(record.msg)
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    place = (at.tb_frame.f_code.co_filename, at.tb_lineno) if at else None
    return type(error).__name__, place
