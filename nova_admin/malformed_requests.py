"""Refuses what can't be a valid request, before a page reads it: with 400, 404 for an address, 405 for a method.

PostgreSQL stores no NUL, Python converts no number of thousands of digits, and Django raises an error where a length, a
charset or a field's name is none. What somebody typed into a form isn't judged here: the form says what is wrong.
In development Django would answer with a traceback, or a list of addresses, in place of the site's own pages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import TO_FIELD_VAR
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed

from nova_admin.error_pages import show_bad_request, show_not_found

METHODS = ("GET", "HEAD", "POST")
# More than any body that a server lets through.
MOST_LENGTH_DIGITS = 15
# PostgreSQL's bigint has 19.
MOST_KEY_DIGITS = 18
NUL = "\0"


class RefuseMalformed:
    """Refuses an unknown method, a malformed address, header or cookie, and fields that Django's admin can't take.

    A view's own refusal of this kind gets the same page.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        try:
            check_request(request)
        except (BadRequest, Http404) as refusal:
            return show_refusal(request, refusal)
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponse],
        _args: object,
        _kwargs: object,
    ) -> HttpResponse | None:
        """Refuse fields that Django's admin can't take; views without a CSRF check are left out."""
        if getattr(view, "csrf_exempt", False):
            return None
        # Django's admin would ask the database for a row of a list whose key is no number.
        chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
        has_keys = all(is_number(key, MOST_KEY_DIGITS) for key in chosen)
        if request.POST.get(TO_FIELD_VAR) == "" or not has_keys:
            return show_bad_request(request)
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer a view's refusal, in development too."""
        if isinstance(exception, BadRequest | Http404):
            return show_refusal(request, exception)
        return None


def show_refusal(request: HttpRequest, refusal: BadRequest | Http404) -> HttpResponse:
    """Return the site's page for what can't be read, or isn't there."""
    return (show_not_found if isinstance(refusal, Http404) else show_bad_request)(request)


def check_request(request: HttpRequest) -> None:
    """Raise Http404 or BadRequest if the request can't be a valid one. Reads no body."""
    if NUL in request.path_info:
        raise Http404
    # The charset first: the address is read in it.
    if (request.content_params or {}).get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise BadRequest("The charset is not UTF-8")
    if not is_number(request.META.get("CONTENT_LENGTH") or "0", MOST_LENGTH_DIGITS):
        raise BadRequest("The Content-Length is no number")
    if has_nul(request.GET.lists()):
        raise BadRequest("The address holds a NUL")
    if has_nul((name, [value]) for name, value in request.COOKIES.items()):
        raise BadRequest("A cookie holds a NUL")
    # The name of the field by which Django's admin would look for an object.
    if request.GET.get(TO_FIELD_VAR) == "":
        raise BadRequest("The name of a field is empty")


def is_number(text: str, most_digits: int) -> bool:
    """Say whether the text is a whole number without a sign, of so many digits at most."""
    return text.isascii() and text.isdecimal() and len(text) <= most_digits


def has_nul(values: Iterable[tuple[str, list[str]]]) -> bool:
    """Say whether a name or a value holds a NUL."""
    return any(NUL in text for name, texts in values for text in (name, *texts))
