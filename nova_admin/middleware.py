"""Checks every request before a page sees it."""

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest


def refuse_nul(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Answer 400 to an address with a NUL in it, for which PostgreSQL raises an error instead of finding nothing."""

    def answer_request(request: HttpRequest) -> HttpResponse:
        if any("\0" in value for values in request.GET.lists() for value in values[1]):
            return HttpResponseBadRequest()
        return get_response(request)

    return answer_request
