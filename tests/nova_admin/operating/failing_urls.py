"""The site, and a page that fails with what was typed in its hands."""

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from nova_admin.urls import handler400, handler403, handler404, handler500
from nova_admin.urls import urlpatterns as site

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


@csrf_exempt
def fail(request: HttpRequest) -> HttpResponse:
    password = request.POST["password"]
    try:
        open_login(password)
    except KeyError as error:
        error.add_note(f"the password was {password}")
        raise ValueError(f"no login with {password}") from error
    return HttpResponse()


def open_login(password: str) -> int:
    try:
        return int(password)
    except ValueError:
        return {}[password]


urlpatterns = [path("fail/", fail, name="fail"), *site]
