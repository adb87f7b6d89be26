"""Says to allauth how this site logs in: after the password comes the second factor, if the user has one."""

from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import perform_login
from allauth.account.internal.stagekit import clear_login
from allauth.account.models import Login
from allauth.account.stages import LoginStage
from django.contrib.auth import login
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.crypto import constant_time_compare

from migration.people.second_factors import has_second_factor

BACKEND = "nova_admin.login.permissions.PermissionBackend"
# In a session that gave a second factor.
GIVEN = "second_factor_given"
# On a request that gives it: the session is another one once the user is logged in.
GIVING = "_gives_second_factor"
# In a login that waits for its second factor: what Django keeps in a session of the user's password.
PASSWORD_PROOF = "password_proof"  # noqa: S105  # a name


def begin_login(
    request: HttpRequest, user: User, *, redirect_url: str, gives_factor: bool = False
) -> HttpResponse:
    """Log in the user, or ask for the second factor first. `gives_factor`: the provider has asked for one already."""
    setattr(request, GIVING, gives_factor)
    clear_login(request)
    response: HttpResponse = perform_login(request, Login(user=user, redirect_url=redirect_url))
    return response


def note_second_factor(request: HttpRequest) -> None:
    """Note that this session gave its second factor. Its cookie from before is worth nothing now."""
    request.session.cycle_key()
    request.session[GIVEN] = True


class SecondFactorStage(LoginStage):
    """The step between the password and the login, for a user who has a second factor."""

    key = "second_factor"
    urlname = "admin:second_factor_enter"

    def handle(self) -> tuple[HttpResponse | None, bool]:
        """Return the way to the page that asks for it, if it has to be asked for."""
        if getattr(self.request, GIVING, False) or not has_second_factor(self.login.user):
            return None, True
        self.state[PASSWORD_PROOF] = self.login.user.get_session_auth_hash()
        return HttpResponseRedirect(reverse(self.urlname)), True

    def is_password_unchanged(self) -> bool:
        """Say whether the user is still active, with the same password as when this login began."""
        user, proof = self.login.user, self.state.get(PASSWORD_PROOF, "")
        return user.is_active and constant_time_compare(proof, user.get_session_auth_hash())


class LoginAdapter(DefaultAccountAdapter):
    """Has one stage, and neither sign-up nor messages nor mails of allauth's."""

    def get_login_stages(self) -> list[str]:
        return [f"{__name__}.{SecondFactorStage.__name__}"]

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        return HttpResponseRedirect(reverse("admin:login"))

    def login(self, request: HttpRequest, user: User) -> None:
        """Log in, and note whether this request gave the second factor."""
        login(request, user, backend=BACKEND)
        if getattr(request, GIVING, False):
            note_second_factor(request)

    def post_login(
        self, request: HttpRequest, user: User, *, redirect_url: str | None, **_: object
    ) -> HttpResponse:
        return HttpResponseRedirect(redirect_url or reverse("admin:index"))
