"""The pages of a link to choose a password: the way from its address to the form, the form, and asking for a link.

The token of a link goes from its address into a cookie, and the browser on to an address without it. So no log that
notes addresses, no page and no header of a later request has it, and the session neither.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property

from django.conf import settings
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.models import User
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.request import split_domain_port
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET
from unfold.widgets import UnfoldAdminPasswordWidget

from migration.core.audit import acting, current_actor
from migration.core.correlation import describe_error
from migration.core.mails import mails_are_sent
from migration.people.links import VoidLinkError, find_link, mail_asked_links, use_link
from migration.people.lockouts import admit_request_for_link
from migration.people.models import PasswordLink
from migration.site.notices import find_site_origin
from nova_admin.login.adapter import begin_login
from nova_admin.login.lockout import get_address
from nova_admin.login.views import FactorPage
from nova_admin.session_end import render_refusal_page

logger = logging.getLogger(__name__)
# So long a browser keeps the token of a link that was opened.
KEPT_SECONDS = 3600
# Longer texts are no token, and no name or mail address.
LONGEST = 254


def get_cookie_name() -> str:
    """Return the name of the cookie with the token; over https no other host can set it."""
    return f"{'__Host-' if settings.SESSION_COOKIE_SECURE else ''}link"


@never_cache
@require_GET
def open_link(request: HttpRequest, token: str) -> HttpResponse:
    """Have the browser keep the token and go on to the form. Nothing is used up: mail servers open links too."""
    response = HttpResponseRedirect(reverse("admin:choose_password"))
    response.set_cookie(
        get_cookie_name(),
        token[:LONGEST] if token.isascii() else "",
        max_age=KEPT_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",  # a mail is another site
    )
    return response


class NewPasswordForm(SetPasswordForm):  # type: ignore[type-arg]  # generic only in the stubs
    """Asks for the new password, twice."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **options)
        for field in self.fields.values():
            field.widget = UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"})
            field.help_text = ""
        self.fields["new_password1"].help_text = _(
            "At least 12 characters, not only digits; no common password, and nothing like your name."
        )

    def validate_password_for_user(self, user: User, password_field_name: str = "") -> None:
        """Say what is wrong with the password below the field in which it was typed first."""
        super().validate_password_for_user(user, "new_password1")


class ChoosePasswordView(FactorPage):
    """The form in which whoever has a link chooses their password, and is logged in by that."""

    template_name = "admin/login/choose_password.html"

    @property
    def token(self) -> str:
        return self.request.COOKIES.get(get_cookie_name(), "")

    @cached_property
    def link(self) -> PasswordLink | None:
        return find_link(self.token)

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Say why there is no form: the link is void, or somebody else is logged in here."""
        self.page_title = _("Choose your password")
        if self.link is None:
            return self.show_void()
        if request.user.is_authenticated and request.user.pk != self.link.user_id:
            here = request.user.get_username()
            return self.render_to_response(self.get_context_data(logged_in_as=here))
        return super().dispatch(request, *args, **kwargs)

    def show_void(self) -> HttpResponse:
        response = self.render_to_response(self.get_context_data(is_void=True))
        response.status_code = 404
        response.delete_cookie(get_cookie_name(), samesite="Lax")
        return response

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        username = self.link.user.get_username() if self.link else ""
        form = kwargs.pop("form", None)
        if form is None and self.link:
            form = NewPasswordForm(self.link.user)
        return super().get_context_data(username=username, form=form, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        assert self.link is not None  # noqa: S101  # as `dispatch` has seen
        form = NewPasswordForm(self.link.user, request.POST)
        if not form.is_valid():
            return self.render_to_response(self.get_context_data(form=form))
        try:
            user = use_link(self.token, form.cleaned_data["new_password1"])
        except VoidLinkError:
            self.link = None
            return self.show_void()
        # Of who was logged in it was ended too: what the next step keeps would go nowhere.
        request.session.flush()
        # The second factor comes next, if the person has one; who needs one and has none is led to its set-up.
        response = begin_login(request, user, redirect_url=reverse("admin:index"))
        response.delete_cookie(get_cookie_name(), samesite="Lax")
        return response


def find_origin(request: HttpRequest) -> str:
    """Return scheme and host for a link that goes to somebody else than who asks for it, and who chooses the host.

    Where ALLOWED_HOSTS lets a host in by a pattern alone, it may be another one of the same domain.
    """
    host, _port = split_domain_port(request.get_host())
    named = "" if host in settings.ALLOWED_HOSTS else find_site_origin()
    return named or request.build_absolute_uri("/")[:-1]


class AnswerThenWork(TemplateResponse):
    """An answer after which something is done, once it was sent: how long that takes tells who asked nothing."""

    work: Callable[[], None] | None = None

    def close(self) -> None:
        work, self.work = self.work, None
        if work is not None:
            work()
        super().close()


class ForgotPasswordView(FactorPage):
    """Asks for a name or a mail address, and answers the same whether there is such a person."""

    template_name = "admin/login/forgot_password.html"
    response_class = AnswerThenWork

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Raise Http404 where no mail server is set: no link would come."""
        if not mails_are_sent():
            raise Http404
        self.page_title = _("Reset your password")
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        if not admit_request_for_link(get_address(request)):
            texts = [_("Too many links were asked for from your address. Try again later.")]
            title = _("Too many requests")
            return render_refusal_page(request, title, texts, status=429, may_log_in=True)
        typed = request.POST.get("who", "")[:LONGEST]
        response = self.render_to_response(self.get_context_data(is_asked=True))
        actor = current_actor()

        origin = find_origin(request)

        def make_address(token: str) -> str:
            return origin + reverse("admin:open_link", args=[token])

        def mail_links() -> None:
            with acting(actor):
                try:
                    mail_asked_links(typed, make_address)
                except Error as error:
                    logger.error("no link was mailed: %s", describe_error(error))  # noqa: TRY400

        assert isinstance(response, AnswerThenWork)  # noqa: S101  # `response_class`
        response.work = mail_links
        return response
