"""The pages of a login: name and password, the code; and those to set up one's second factor and see it."""

from __future__ import annotations

import math
from typing import ClassVar

from allauth.account.stages import LoginStageController
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.utils import decrypt, encrypt
from django.conf import settings
from django.contrib import admin
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_login_failed
from django.contrib.auth.views import LoginView, RedirectURLMixin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.functional import cached_property
from django.utils.http import urlencode
from django.utils.safestring import mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import TemplateView
from unfold.forms import AuthenticationForm as UnfoldAuthenticationForm
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.localization import localize
from migration.core.mails import mails_are_sent
from migration.people.lockouts import LOGIN, find_lock_end
from migration.people.models import PasswordPlace
from migration.people.password_pages import check_own_password_or_code, explain_wrong_answer
from migration.people.second_factors import (
    CodeVerdict,
    UnreadableFactorError,
    WrongSetupCodeError,
    can_prove_by_code,
    check_code,
    count_recovery_codes,
    end_sessions,
    find_wait,
    has_second_factor,
    make_factor_secret,
    needs_second_factor,
    renew_recovery_codes,
    set_up_second_factor,
)
from nova_admin.login.adapter import (
    GIVEN,
    GIVING,
    SecondFactorStage,
    begin_login,
    note_second_factor,
)
from nova_admin.login.lockout import answer_locked_out, get_address
from nova_admin.login.oidc_views import AGAIN, PROOF, is_proof
from nova_admin.session_end import ENDED
from nova_credentials.messages import Message, Sentence

# In the form of the set-up: the secret of the new app, encrypted. In the session it would be the same for whoever has
# that, too.
NEW_SECRET = "new"  # noqa: S105  # a name
# A wait is told in seconds up to here, and then in minutes.
TOLD_IN_SECONDS = 90


class PasswordForm(UnfoldAuthenticationForm):
    """Unfold's form, which says what is wrong as the rest of the site would."""

    error_messages: ClassVar = {
        **AdminAuthenticationForm.error_messages,
        "invalid_login": gettext_lazy("Wrong username or password."),
    }

    def get_invalid_login_error(self) -> ValidationError:
        """Say, where an address was typed, that the name may be another; not whether somebody has that address."""
        if "@" not in self.cleaned_data.get("username", ""):
            return super().get_invalid_login_error()
        text = _("Wrong username or password. Your username may differ from your email address.")
        return ValidationError(text, code="invalid_login")


class PasswordView(LoginView):
    """Django's login, which goes on with the second factor instead of logging in at once."""

    template_name = "admin/login.html"

    def form_valid(self, form: AuthenticationForm) -> HttpResponse:
        return begin_login(self.request, form.get_user(), redirect_url=self.get_success_url())

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")


@never_cache
def log_in(request: HttpRequest) -> HttpResponse:
    """Show the login, as `AdminSite.login` does."""
    if request.method == "GET" and admin.site.has_permission(request):
        return HttpResponseRedirect(reverse("admin:index"))
    oidc_address = ""
    if settings.NOVA_OIDC is not None:
        wanted = urlencode({REDIRECT_FIELD_NAME: request.GET.get(REDIRECT_FIELD_NAME, "")})
        oidc_address = f"{reverse('admin:oidc_start')}?{wanted}"
    context = {
        **admin.site.each_context(request),
        "title": _("Log in"),
        "app_path": request.get_full_path(),
        "username": request.user.get_username(),
        "oidc_address": oidc_address,
        "may_reset": mails_are_sent(),
        "session_has_ended": request.method == "GET" and ENDED in request.GET,
    }
    if not (request.GET.get(REDIRECT_FIELD_NAME) or request.POST.get(REDIRECT_FIELD_NAME)):
        context[REDIRECT_FIELD_NAME] = reverse("admin:index")
    view = PasswordView.as_view(extra_context=context, authentication_form=PasswordForm)
    response = view(request)
    assert isinstance(response, HttpResponse)  # noqa: S101  # Django's stubs say less
    return response


@method_decorator([never_cache, sensitive_post_parameters()], name="dispatch")
class FactorPage(RedirectURLMixin, TemplateView):
    """A page in the looks of the login. It goes on to the address in `next`, or to the dashboard."""

    page_title = ""

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        # No way to a site that can't be used yet.
        shown = admin.site.each_context(self.request) | {"site_url": None}
        return super().get_context_data(
            **shown,
            title=self.page_title,
            next=self.get_redirect_url(),
            go_on=self.get_success_url(),
            input_classes=" ".join(BASE_INPUT_CLASSES),
            **kwargs,
        )

    def show_problem(self, problem: str, **context: object) -> HttpResponse:
        return self.render_to_response(self.get_context_data(problem=problem, **context))


class EnterFactorView(FactorPage):
    """Asks for a code between the password and the login, or in a session that began without one."""

    template_name = "admin/login/enter_factor.html"

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Lead away whoever has no code to give here."""
        self.stage = LoginStageController.enter(request, SecondFactorStage.key)
        user = self.stage.login.user if self.stage else find_user_yet_to_give_code(request)
        if not isinstance(user, User) or (self.stage and not self.stage.is_password_unchanged()):
            return HttpResponseRedirect(reverse("admin:login"))
        self.user = user
        self.page_title = _("Second factor")
        return super().dispatch(request, *args, **kwargs)

    def post(self, request: HttpRequest) -> HttpResponse:
        name = self.user.get_username()
        # Whoever is locked out at this address is so for codes as for passwords.
        if find_lock_end(name, get_address(request)):
            return answer_locked_out(request, HttpResponse(), {"username": name})
        answer = check_code(user=self.user, code=request.POST.get("code", ""))
        if answer is not CodeVerdict.RIGHT:
            # A code that wasn't looked at may have been right: it locks out nobody.
            if answer is CodeVerdict.WRONG:
                # It counts as a failed login, for whoever counts them.
                user_login_failed.send(
                    sender=__name__, credentials={"username": name}, request=request
                )
            return self.show_problem(localize(explain_refused_code(answer, self.user)))
        if self.stage:
            setattr(request, GIVING, True)
            response: HttpResponse = self.stage.exit()
            return response
        note_second_factor(request)
        return HttpResponseRedirect(self.get_success_url())


PROVE_AT_PROVIDER = Sentence(
    "prove_at_provider",
    "That you logged in at the provider was not shown, or more than five minutes ago. Log in there again.",
)


class SignedInPage(FactorPage):
    """A page for a session that has given the second factor, if its user has one."""

    user: User

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        """Lead to the login, or to the page that asks for a code, whoever has to go there first."""
        if not admin.site.has_permission(request) or not isinstance(request.user, User):
            way = urlencode({"next": request.get_full_path()})
            return HttpResponseRedirect(f"{reverse('admin:login')}?{way}")
        if find_user_yet_to_give_code(request):
            way = urlencode({"next": request.get_full_path()})
            return HttpResponseRedirect(f"{reverse('admin:second_factor_enter')}?{way}")
        self.user = request.user
        self.page_title = _("Second factor")
        return super().dispatch(request, *args, **kwargs)

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        by_code = can_prove_by_code(self.user, self.login)
        return super().get_context_data(
            may_give_code=by_code,
            may_prove=by_code or self.user.has_usable_password(),
            may_prove_at_provider=self.may_prove_at_provider,
            has_factor=has_second_factor(self.user),
            needed=settings.NOVA_REQUIRE_SECOND_FACTOR and needs_second_factor(self.user),
            **kwargs,
        )

    @property
    def login(self) -> str:
        return self.request.session.get(LOGIN, "")

    @property
    def may_prove_at_provider(self) -> bool:
        """Say whether the user has nothing on this site by which to prove who they are, and came by the provider."""
        if self.user.has_usable_password() or has_second_factor(self.user):
            return False
        return settings.NOVA_OIDC is not None

    def user_proves_identity(self) -> bool:
        """Say whether the user gave their password, or a code of a factor that they had before this login.

        That they have just logged in proves nothing: somebody may have their session.
        """
        if self.may_prove_at_provider:
            return is_proof(self.request, self.request.POST.get(PROOF, ""))
        answer = self.request.POST.get("answer", "")
        return check_own_password_or_code(self.request, answer, place=PasswordPlace.SECOND_FACTOR)

    def explain_missing_proof(self) -> Message:
        at_provider = self.may_prove_at_provider
        return PROVE_AT_PROVIDER() if at_provider else explain_wrong_answer(self.request)

    def show_codes(self, codes: list[str]) -> HttpResponse:
        """Show recovery codes, this once: nothing keeps them."""
        shown = [f"{code[:4]} {code[4:]}" for code in codes]
        context = SignedInPage.get_context_data(self, codes=shown)
        return self.response_class(
            request=self.request, template="admin/login/recovery_codes.html", context=context
        )


class SetUpFactorView(SignedInPage):
    """Shows a new secret as a QR code, and stores it once a code proves that an app has it."""

    template_name = "admin/login/set_up_factor.html"

    def post(self, request: HttpRequest) -> HttpResponse:
        first = self.may_prove_at_provider
        if not self.user_proves_identity():
            return self.show_problem(localize(self.explain_missing_proof()))
        try:
            codes = set_up_second_factor(
                user=self.user,
                secret=self.secret,
                code=request.POST.get("code", ""),
                made_in=self.login,
                first=first,
            )
        except WrongSetupCodeError as refusal:
            return self.show_problem(localize(refusal.message))
        # Who replaces the factor may have lost the old one to somebody.
        end_sessions(self.user, kept=request.session.session_key)
        note_second_factor(request)
        return self.show_codes(codes)

    @cached_property
    def secret(self) -> str:
        """Return the secret that the page showed, or a new one: each page that is opened has another."""
        try:
            return decrypt(self.request.POST[NEW_SECRET])
        except (KeyError, UnreadableFactorError):
            return make_factor_secret()

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        allauth = DefaultMFAAdapter(self.request)
        address = allauth.build_totp_url(self.user, self.secret)
        svg = str(allauth.build_totp_svg(address)).partition("?>")[2]
        proof = self.request.POST.get(PROOF) or self.request.GET.get(PROOF, "")
        return super().get_context_data(
            proof=proof if is_proof(self.request, proof) else "",
            again=urlencode({AGAIN: "1", "next": str(self.get_redirect_url())}),
            secret=" ".join(self.secret[at : at + 4] for at in range(0, len(self.secret), 4)),
            kept_secret=encrypt(self.secret),
            app_address=address,
            # An <svg> without a style, which the library draws of this address alone.
            qr_code=mark_safe(svg),  # noqa: S308
            **kwargs,
        )


class RecoveryCodesView(SignedInPage):
    """Says whether the user has a second factor and how many recovery codes are left; makes new ones."""

    template_name = "admin/login/own_factor.html"

    def post(self, request: HttpRequest) -> HttpResponse:
        if not has_second_factor(self.user):
            return HttpResponseRedirect(reverse("admin:second_factor_set_up"))
        if not self.user_proves_identity():
            return self.show_problem(localize(self.explain_missing_proof()))
        return self.show_codes(renew_recovery_codes(self.user, made_in=self.login))

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        return super().get_context_data(
            codes_left=count_recovery_codes(self.user),
            **kwargs,
        )


def find_user_yet_to_give_code(request: HttpRequest) -> User | None:
    """Return the user of a session that has yet to give the code of a factor that the user has."""
    user = request.user
    if not isinstance(user, User) or request.session.get(GIVEN) or not has_second_factor(user):
        return None
    return user


# Entering a code
CODE_REFUSED = Sentence(
    "code_refused",
    "That code is wrong or was already used. If your app shows it now, set your phone's clock to automatic and "
    "try the next code.",
)
CODE_TOO_SOON = Sentence(
    "code_too_soon",
    "Too many wrong codes: wait %(n)s seconds and give the next one.",
)
CODE_MUCH_TOO_SOON = Sentence(
    "code_much_too_soon",
    "Too many wrong codes were given for you. The next one is looked at in %(n)s minutes. If it was not you, somebody"
    " has your password: tell your Administrators, who can end this wait.",
    one="Too many wrong codes were given for you. The next one is looked at in a minute. If it was not you, somebody"
    " has your password: tell your Administrators, who can end this wait.",
)
FACTOR_UNREADABLE = Sentence(
    "factor_unreadable",
    "Your second factor can no longer be read, as the site's SECRET_KEY was changed. A user administrator"
    " has to reset it.",
)


def explain_refused_code(answer: CodeVerdict, user: User) -> Message:
    """Say why the code logs nobody in."""
    if answer is CodeVerdict.UNREADABLE:
        return FACTOR_UNREADABLE()
    if answer is CodeVerdict.WRONG:
        return CODE_REFUSED()
    wait = max(1, find_wait(user))
    if wait <= TOLD_IN_SECONDS:
        return CODE_TOO_SOON(n=wait)
    return CODE_MUCH_TOO_SOON(n=math.ceil(wait / 60))
