"""The login tests of a client: its table on the logins' tab, the buttons that test, and the test of what is typed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from credentials.models import CREDENTIAL_MODELS, Client
from credentials.nova_columns import NovaSchemaError
from credentials.pointers import is_purged
from migration import login_sentences, sentences
from migration.core.outgoing import PROVEN_WRONG, LoginOutcome
from migration.core.pages import (
    AdminView,
    ClientView,
    get_signed_in_user,
    list_visible_logins,
    read_number,
    redirect_back,
)
from migration.models.login_tests import LOGIN_PERMISSION, LoginStore, LoginStores, LoginTest
from migration.operations.client_login_tests import (
    LoginKey,
    try_client_logins,
    try_typed_login,
)
from migration.operations.login_advice import advise_copy
from migration.operations.reveals import find_credential
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
    from django.utils.safestring import SafeString

    from credentials.forms import CredentialForm
    from credentials.models import Credential
    from migration.core.pages import ClientRow


@dataclass(frozen=True)
class LoginLine:
    """One login in the table: its place, and its newest test with the values of each store."""

    key: LoginKey
    place: str
    tests: list[tuple[LoginStore, LoginTest | None]]


def get_login_tests_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the table of the client's login tests, and what this user may do in it."""
    visible = list_visible_logins(request)
    newest = LoginTest.objects.newest([client.pk]).filter(kind__in=visible)
    found = {
        (LoginKey(CredentialType(test.kind), test.credential_id, test.label), test.store): test
        for test in newest.order_by("pk")
    }
    places = {
        LoginKey(row.TYPE, row.pk): row.describe_host_or_address()
        for kind, rows in client.credentials_by_type().items()
        for row in rows
        if kind in visible
    }
    for (key, _store), test in found.items():
        places.setdefault(key, localize(test.login_name_message))
    return {
        "may_test_logins": request.user.has_perm(LOGIN_PERMISSION),
        "login_lines": [
            LoginLine(key, place, [(store, found.get((key, store))) for store in LoginStore])
            for key, place in places.items()
        ],
    }


def get_advice_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return which way to copy by the newest login tests, and whether this user may test."""
    tests = list(LoginTest.objects.newest([client.pk]))
    return {
        "may_test_logins": request.user.has_perm(LOGIN_PERMISSION),
        "copy_advice": advice.message if (advice := advise_copy(tests)) else None,
        "logins_tested_at": min((test.tested_at for test in tests), default=None),
    }


class TestLoginsView(ClientView):
    """Tests the logins of a client with the values of the store that the form names, or of both; a person waits."""

    permission_required = LOGIN_PERMISSION
    __test__ = False  # none of pytest's

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        if not self.model_admin.has_view_permission(request):
            raise PermissionDenied
        stores = request.POST.get("store", "")
        if stores not in LoginStores:
            raise Http404
        try:
            tests = try_client_logins(
                client_id=self.client.pk,
                stores=LoginStores(stores).named_stores,
                by=get_signed_in_user(request),
                only=self.read_key(),
            )
        except Client.DoesNotExist:
            raise Http404 from None
        except SecretsManagerError as error:
            messages.error(request, localize(sentences.AWS_NOT_READ(error=error.message)))
        except (DocumentError, NovaSchemaError) as error:
            messages.error(request, localize(error.message))
        else:
            self.show_results(tests)
        return redirect_back(request, client_id)

    def read_key(self) -> LoginKey | None:
        """Return the one login that the form names; None where it names none; raise Http404 for no known type."""
        kind, row = self.request.POST.get("kind", ""), self.request.POST.get("login", "")
        if not kind:
            return None
        if kind not in set(CredentialType):
            raise Http404
        label = self.request.POST.get("label", "").replace("\0", "")[:100]
        return LoginKey(CredentialType(kind), read_number(row), label)

    def show_results(self, tests: list[LoginTest]) -> None:
        """Show a message of what came of the tests; the page itself names each login."""
        if not tests:
            messages.warning(self.request, localize(login_sentences.NO_LOGIN_TO_TEST()))
            return
        show = messages.success if all(test.works for test in tests) else messages.warning
        show(self.request, describe_results(tests))


def describe_results(tests: Collection[LoginTest]) -> str:
    """Say how many of these logins work, how many are refused, and of the others why they could not be tested."""
    numbers = Counter(LoginOutcome(test.outcome) for test in tests)
    works = numbers.pop(LoginOutcome.WORKS, 0)
    if not numbers:
        text = ngettext("%(works)s of %(n)s login works.", "%(works)s of %(n)s logins work.", works)
        return text % {"works": works, "n": works}
    # Where none works it may be that none could be tested: the others say it.
    parts = [ngettext("%(n)s works", "%(n)s work", works) % {"n": works}] if works else []
    for outcome in sorted(numbers, key=lambda each: each not in PROVEN_WRONG):
        number, why = numbers[outcome], localize(login_sentences.OUTCOMES[outcome]())
        text = (
            ngettext("%(n)s is refused (%(why)s)", "%(n)s are refused (%(why)s)", number)
            if outcome in PROVEN_WRONG
            else ngettext(
                "%(n)s could not be tested (%(why)s)", "%(n)s could not be tested (%(why)s)", number
            )
        )
        parts.append(text % {"n": number, "why": why})
    text = ngettext("Of %(n)s login: %(results)s.", "Of %(n)s logins: %(results)s.", len(tests))
    return text % {"n": len(tests), "results": "; ".join(parts)}


class TypedLoginView(AdminView):
    """The base of the tests of what a login's form holds now: each answers beside the form's secret."""

    template_name = "admin/migration/login_test_result.html"
    permission_required = LOGIN_PERMISSION

    def show_errors(self, form: CredentialForm) -> HttpResponse:
        """Answer with what is wrong with the form, each after the name of its field."""
        problems = [
            f"{form.fields[name].label}: {text}" if name in form.fields else str(text)
            for name, texts in form.errors.items()
            for text in texts
        ]
        return self.show_problems(problems)

    def show_problems(self, problems: list[str]) -> HttpResponse:
        return self.render_to_response(self.get_context_data(problems=problems))

    def show_login_not_in_form(self) -> HttpResponse:
        return self.show_problems([_("The form lacks this login. Open the page again.")])

    def show_outcome(self, outcome: LoginOutcome, service: str) -> HttpResponse:
        return self.render_to_response(
            self.get_context_data(
                outcome=outcome,
                service=service.upper(),
                explanation=login_sentences.OUTCOMES[outcome](),
            )
        )


class EditedLoginTestView(TypedLoginView, ClientView):
    """Tests one stored login with what the form of the client holds now, saved or not."""

    __test__ = False

    @cached_property
    def row(self) -> Credential:
        """Return the credential's row that the address names; raise Http404 if there is none."""
        try:
            _client, row = find_credential(
                self.client_id, self.kwargs["kind"], self.kwargs["credential_id"]
            )
        except LookupError:
            raise Http404 from None
        return row

    def has_permission(self) -> bool:
        kind = self.kwargs["kind"]
        model = CREDENTIAL_MODELS.get(kind)
        name = model._meta.model_name if model else ""
        return bool(
            super().has_permission()
            and self.request.user.has_perm(f"credentials.change_{name}")
            and self.model_admin.has_change_permission(self.request)
        )

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        form, by = self.make_form(), get_signed_in_user(request)
        if form is None:
            return self.show_login_not_in_form()
        if not form.is_valid():
            return self.show_errors(form)
        if is_purged(self.row):
            return self.show_problems(
                [_("Only AWS has this secret: type it here, or test AWS's values.")]
            )
        if form.has_changed():
            result = try_typed_login(form.instance, client=self.client, by=by)
            outcome, service = result.outcome, result.service
        else:
            tests = try_client_logins(
                client_id=self.client_id,
                stores=[LoginStore.POSTGRES],
                by=by,
                only=LoginKey(self.row.TYPE, self.row.pk),
            )
            if not tests:
                raise Http404  # NOVA has deleted the row meanwhile
            outcome, service = LoginOutcome(tests[0].outcome), tests[0].service
        return self.show_outcome(outcome, service)

    def make_form(self) -> CredentialForm | None:
        """Return the form of this row, as the page sent it; None where the page had none."""
        inlines = self.model_admin.get_inline_instances(self.request, self.client)
        inline = next(each for each in inlines if each.model.TYPE == self.row.TYPE)
        forms = inline.get_formset(self.request, self.client)
        prefix, typed = forms.get_default_prefix(), self.request.POST
        number = next(
            (
                name.removeprefix(f"{prefix}-").removesuffix("-id")
                for name, value in typed.items()
                if name.startswith(f"{prefix}-")
                and name.endswith("-id")
                and value == str(self.row.pk)
            ),
            None,
        )
        if number is None:
            return None
        form: CredentialForm = forms.form(typed, prefix=f"{prefix}-{number}", instance=self.row)
        return form


def link_typed_test(request: HttpRequest, row: Credential) -> SafeString | str:
    """Return the button that tests the row's login as the form holds it now; "" for a user who may not."""
    changes = f"credentials.change_{row._meta.model_name}"
    if not (request.user.has_perm(LOGIN_PERMISSION) and request.user.has_perm(changes)):
        return ""
    result = f"login-test-{row.TYPE}-{row.pk}"
    return format_html(
        '<button class="cursor-pointer text-link underline" type="button" hx-post="{}" hx-target="#{}"'
        ' hx-disabled-elt="this" aria-label="{}">{}</button> <span id="{}" role="status"></span>',
        reverse("admin:credentials_client_test_typed", args=[row.client_id, row.TYPE, row.pk]),
        result,
        _("Test the login %(what)s") % {"what": row.describe_host_or_address()},
        _("Test this login"),
        result,
    )
