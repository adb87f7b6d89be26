"""Answers the machines that watch the site: /healthz, /readyz and, with its token, /metrics.

They come before hosts, https, sessions and languages are looked at: a probe knows the site by any name, and needs an
answer while the database is away.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from http import HTTPStatus

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse

from nova_admin.readiness import WELL, readiness_book

METHODS = ("GET", "HEAD")
BEARER = "Bearer "


def answer_machines(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Answer these addresses, and hand on every other request."""
    answers = {
        "/healthz": lambda: HttpResponse("ok\n", content_type="text/plain"),
        "/readyz": answer_readiness,
        "/metrics": answer_metrics,
    }

    def answer_request(request: HttpRequest) -> HttpResponse:
        answer = answers.get(request.path_info)
        # Who has no token is told what is told of every address that isn't there.
        if answer is None or (answer is answer_metrics and not has_token(request)):
            return get_response(request)
        if request.method not in METHODS:
            allowed = {"Allow": ", ".join(METHODS)}
            return HttpResponse(status=HTTPStatus.METHOD_NOT_ALLOWED, headers=allowed)
        response = answer()
        # Django would log each 503 as an error, and mail it: some probes ask every second.
        response._has_been_logged = True  # type: ignore[attr-defined]  # noqa: SLF001  # as Django marks its own
        return response

    return answer_request


def answer_readiness() -> HttpResponse:
    """Say of each part whether it is well: 200 where all are, else 503. The log says more."""
    told = {part.value: answer for part, answer in readiness_book.read().items()}
    is_ready = set(told.values()) == {WELL}
    status = HTTPStatus.OK if is_ready else HTTPStatus.SERVICE_UNAVAILABLE
    return JsonResponse(told, status=status)


def answer_metrics() -> HttpResponse:
    """Return the numbers in Prometheus' text format; 503 where the database doesn't give them."""
    from nova_admin.metrics import CONTENT_TYPE, write_metrics  # noqa: PLC0415  # most sites have no Prometheus

    try:
        text = write_metrics()
    except Error:
        return HttpResponse(status=HTTPStatus.SERVICE_UNAVAILABLE)
    return HttpResponse(text, content_type=CONTENT_TYPE)


def has_token(request: HttpRequest) -> bool:
    """Say whether the request has the token of the settings. Without one in the settings, none is right."""
    token, sent = settings.NOVA_METRICS_TOKEN, request.headers.get("Authorization", "")
    if not token or not sent.startswith(BEARER):
        return False
    return hmac.compare_digest(sent.removeprefix(BEARER).encode(), token.encode())
