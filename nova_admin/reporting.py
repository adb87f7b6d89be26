"""Decides what error pages, mails and reports show of a request: no typed value, no variable, no exception's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils.safestring import mark_safe
from django.views.debug import ExceptionReporter, SafeExceptionReporterFilter

from migration.correlation import current_correlation
from migration.error_texts import describe_traceback

if TYPE_CHECKING:
    from types import FrameType

    from django.http import HttpRequest
    from django.utils.safestring import SafeString


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
