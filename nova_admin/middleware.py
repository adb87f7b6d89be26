"""Names requests, gives headers and time zones, tells the audit who acts, explains changed tables."""

from collections.abc import Callable
from http import HTTPStatus

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from credentials.localization import localize
from credentials.nova_columns import find_schema_problem
from migration.core.audit import Actor, acting
from migration.core.correlation import correlating, current_correlation, read_or_make_correlation
from migration.core.refused_acts import record_refused_page, record_repeats
from migration.people.time_zones import TIME_ZONE, find_time_zone
from nova_admin.trusted_proxies import REQUEST_ID

ANONYMOUS = "anonymous"
HIGHEST_ID = (1 << 31) - 1
# No page uses these. Switched off, they are of no use to a script that gets into a page either.
PERMISSIONS_POLICY = ", ".join(
    f"{feature}=()"
    for feature in (
        *("accelerometer", "autoplay", "camera", "clipboard-read", "display-capture"),
        *("encrypted-media", "geolocation", "gyroscope", "hid", "idle-detection", "local-fonts"),
        *("magnetometer", "microphone", "midi", "payment", "screen-wake-lock", "serial", "usb"),
        "xr-spatial-tracking",
    )
)


def name_request(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Have the log and the audit name this request by the UUID that a trusted proxy gave it, or by a new one.

    The answer has it too.
    """

    def answer_request(request: HttpRequest) -> HttpResponse:
        name = read_or_make_correlation(request.META.get(REQUEST_ID))
        with correlating(name):
            response = get_response(request)
        response.headers["X-Request-ID"] = name
        return response

    return answer_request


def protect_answers(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Give every answer a Permissions-Policy, and have nothing kept that doesn't say how long it may be.

    Static files say it, and Django's admin does for most of its pages, but not for the form of a password.
    """

    def answer_request(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Permissions-Policy", PERMISSIONS_POLICY)
        response.headers.setdefault("Cache-Control", "no-store, private")
        return response

    return answer_request


def note_actor(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Have the audit's entries of a request name its user and address, and record what a user may not do.

    By now REMOTE_ADDR is the client's. Nothing is stored for who isn't logged in: anybody could fill the table.
    """

    def answer_request(request: HttpRequest) -> HttpResponse:
        def find_name() -> str:
            return request.user.get_username() if request.user.is_authenticated else ANONYMOUS

        record_repeats()
        origin = request.META.get("REMOTE_ADDR", "")
        name = read_or_make_correlation(current_correlation())
        with acting(Actor(origin, correlation=name, find_name=find_name)):
            response = get_response(request)
            if response.status_code == HTTPStatus.FORBIDDEN and request.user.is_authenticated:
                record_forbidden(request)
        return response

    return answer_request


class TimesInOwnZone:
    """Has a page show its times in the time zone that its reader chose, or in the site's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(None):
            return self.get_response(request)

    def process_view(self, request: HttpRequest, *_view: object) -> None:
        """Choose the zone once there is a view: the page of an address without one asks for no session."""
        if zone := find_time_zone(request.session.get(TIME_ZONE)):
            timezone.activate(zone)


def record_forbidden(request: HttpRequest) -> None:
    """Record in the audit that a page was refused, by its name: what stands in an address may be anything."""
    match = request.resolver_match
    page = match.view_name if match else "?"
    client_id = match.kwargs.get("client_id") if match else None
    if isinstance(client_id, int) and client_id > HIGHEST_ID:
        client_id = None  # no client's, and no number that the column takes
    record_refused_page(page, method=request.method or "", client_id=client_id)


class ExplainSchemaErrors:
    """Answers 503, and names the column, where a page failed because NOVA's tables are no longer as they were."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return a page that explains a schema error to staff; None for other errors and other users."""
        problem = find_schema_problem(exception) if request.user.is_staff else None
        if problem is None:
            return None
        texts = [localize(part) for part in problem.parts]
        context = admin.site.each_context(request) | {"texts": texts}
        return render(request, "admin/migration/tables_changed.html", context, status=503)
