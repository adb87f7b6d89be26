"""Refuses what can't be a valid request, before a page reads it: with 400, 404 for an address, 405 for a method.

PostgreSQL stores no NUL, Python converts no number of thousands of digits, and Django raises an error where a length, a
charset or a field's name is none. What somebody typed into a form isn't judged here: the form says what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import TO_FIELD_VAR
from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed

METHODS = ("GET", "HEAD", "POST")
# More than any body that a server lets through.
MOST_LENGTH_DIGITS = 15
# PostgreSQL's bigint has 19.
MOST_KEY_DIGITS = 18
NUL = "\0"


class RefuseMalformed:
    """Refuses an unknown method, a malformed address, header or cookie, and fields that Django's admin can't take."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.method not in METHODS:
            return HttpResponseNotAllowed(METHODS)
        check_request(request)
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponse],
        _args: object,
        _kwargs: object,
    ) -> None:
        """Raise BadRequest for fields that Django's admin can't take; views without a CSRF check are left out."""
        if not getattr(view, "csrf_exempt", False):
            refuse_empty_to_field(request.POST)
            # Django's admin would ask the database for a row of a list whose key is no number.
            chosen = request.POST.getlist(ACTION_CHECKBOX_NAME)
            if not all(is_number(key, MOST_KEY_DIGITS) for key in chosen):
                raise BadRequest("The key of a chosen row is no number")


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
    refuse_empty_to_field(request.GET)


def refuse_empty_to_field(values: Mapping[str, object]) -> None:
    """Raise BadRequest for an empty name of the field by which Django's admin would look for an object."""
    if values.get(TO_FIELD_VAR) == "":
        raise BadRequest("The name of a field is empty")


def is_number(text: str, most_digits: int) -> bool:
    """Say whether the text is a whole number without a sign, of so many digits at most."""
    return text.isascii() and text.isdecimal() and len(text) <= most_digits


def has_nul(values: Iterable[tuple[str, list[str]]]) -> bool:
    """Say whether a name or a value holds a NUL."""
    return any(NUL in text for name, texts in values for text in (name, *texts))
