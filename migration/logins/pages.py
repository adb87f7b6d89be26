"""The pages of a client's logins: their tests, stored or typed, and the rotation of one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from datetime import datetime

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Max
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as _lazy
from django.utils.translation import ngettext
from unfold.widgets import BASE_INPUT_CLASSES

from credentials.forms import CredentialForm, CredentialInline
from credentials.localization import localize
from credentials.models import CREDENTIAL_MODELS, Client, Credential
from credentials.nova_columns import NovaSchemaError
from credentials.pointers import is_purged
from migration.core.audit import ReasonError, require_reason
from migration.core.clients import all_clients
from migration.core.comparisons import OpenMismatch
from migration.core.outgoing import PROVEN_WRONG, LoginOutcome, LoginResult
from migration.core.pages import (
    AdminView,
    ClientRow,
    ClientTab,
    ClientView,
    get_signed_in_user,
    get_tab_url,
    get_typed_reason,
    read_number,
    read_raw_form_text,
    redirect_back,
)
from migration.core.sentences import LOGIN_OUTCOMES
from migration.core.snapshots import read_client_with_rows
from migration.logins.models import (
    LOGIN_PERMISSION,
    MOST_DAYS,
    ROTATE_PERMISSION,
    LoginStore,
    LoginStores,
    LoginTest,
    Rotation,
    RotationOpenError,
    RotationOutcome,
    RotationSchedule,
    today,
)
from migration.logins.reveals import find_credential
from migration.logins.role_passwords import find_row
from migration.logins.rotations import (
    ENTERED_COLUMNS,
    NotRotated,
    rotate_database,
    store_entered_secret,
)
from migration.logins.testing import (
    AWS_NOT_READ,
    NO_LOGIN_TO_TEST,
    CopyAdvice,
    LoginKey,
    advise_copy,
    sign_typed_test,
    try_client_logins,
    try_typed_login,
)
from migration.pushes.acts import ADVISERS, CopyToAws, CopyToPostgres
from migration.runs.acts import ACTS
from migration.templatetags.migration_pages import attention, time_ago
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase

ROTATIONS_SHOWN = 5


def get_advice_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return which way to copy by the newest login tests, and whether this user may test."""
    advice, tested_at = find_copy_advice(client.pk)
    act = ACTS_ADVISED.get(advice) if advice else None
    return {
        "may_test_logins": request.user.has_perm(LOGIN_PERMISSION),
        "copy_advice": advice.message if advice else None,
        # As its button is called, which is the page's main one then.
        "advised": str(act.label) if act else "",
        "logins_tested_at": tested_at,
    }


ACTS_ADVISED = {
    CopyAdvice.TO_AWS: ACTS[CopyToAws.code],
    CopyAdvice.TO_POSTGRES: ACTS[CopyToPostgres.code],
}


def find_copy_advice(client_id: int) -> tuple[CopyAdvice | None, datetime | None]:
    """Return which way to copy by the client's newest login tests, and when these began.

    None where they are older than what differs: they know nothing of it.
    """
    tests = list(LoginTest.objects.newest([client_id]))
    tested_at = min((test.tested_at for test in tests), default=None)
    found = OpenMismatch.objects.filter(client_id=client_id).aggregate(at=Max("first_seen_at"))[
        "at"
    ]
    if tested_at and found and tested_at < found:
        return None, None
    return advise_copy(tests), tested_at


def describe_copy_advice(client_id: int, code: str) -> SafeString:
    """Say on the page that copies the client which way to copy; with a sign where that is the other way."""
    advice, tested_at = find_copy_advice(client_id)
    if advice is None:
        if not OpenMismatch.objects.filter(client_id=client_id).exists():
            return SafeString()
        return format_html(
            '{} <a class="text-link underline" href="{}">{}</a>',
            _("Nobody has tested which store's logins work."),
            get_tab_url(client_id, ClientTab.COMPARISON, "try-both"),
            _("Try both first"),
        )
    other = advice in ACTS_ADVISED and ACTS_ADVISED[advice].code != code
    sign = attention(_("The other way")) if other else ""
    # Its whole sentence is translated; the time has a tag of its own.
    before, _mark, after = _("Tested %(when)s.").partition("%(when)s")
    told = format_html("{}{}{}", before, time_ago(tested_at), after)
    return format_html("{} {} {}", sign, localize(advice.message), told)


ADVISERS.append(describe_copy_advice)


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
            messages.error(request, localize(AWS_NOT_READ(error=error.message)))
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
            messages.warning(self.request, localize(NO_LOGIN_TO_TEST()))
            return
        show = messages.success if all(test.works for test in tests) else messages.warning
        results = describe_login(tests) if self.read_key() else describe_results(tests)
        # The tab of the comparison says beside its buttons which way to copy.
        is_said_there = f"tab={ClientTab.COMPARISON}" in self.request.POST.get("back", "")
        verdict = "" if is_said_there else describe_verdict(tests)
        show(self.request, " ".join(filter(None, [results, verdict])))


def describe_verdict(tests: Collection[LoginTest]) -> str:
    """Say what follows from logins that were tried with the values of both stores; "" where nothing does."""
    advice = advise_copy(tests)
    if advice in ACTS_ADVISED:
        return f"{ACTS_ADVISED[advice].label}."
    return localize(advice.message) if advice in (CopyAdvice.MIXED, CopyAdvice.NEITHER) else ""


def describe_login(tests: Collection[LoginTest]) -> str:
    """Say how one login went, by its name, with the values of each store that were tried."""
    by_store = _split_by_store(tests)
    name = capfirst(localize(next(iter(tests)).login_name_message))
    if all(test.works for test in tests):
        if len(by_store) == len(LoginStore):
            return _("%(login)s works with the values of both stores.") % {"login": name}
        (store,) = by_store
        text = _("%(login)s works with %(store)s's values.")
        return text % {"login": name, "store": store.label}
    told = " ".join(_describe_store(str(store.label), some) for store, some in by_store.items())
    return _("%(login)s: %(told)s") % {"login": name, "told": told}


def _split_by_store(tests: Collection[LoginTest]) -> dict[LoginStore, list[LoginTest]]:
    """Return the tests of each store with whose values a login was tried."""
    return {store: some for store in LoginStore if (some := [t for t in tests if t.store == store])}


def describe_results(tests: Collection[LoginTest]) -> str:
    """Say how the logins went: where the values of both stores were tried, of each store by itself."""
    by_store = _split_by_store(tests)
    if len(by_store) < len(LoginStore):
        return _describe_outcomes(tests)
    if all(test.works for test in tests):
        number = len({test.key_within_client_and_store for test in tests})
        text = ngettext(
            "%(n)s login works with the values of both stores.",
            "%(n)s logins work with the values of both stores.",
            number,
        )
        return text % {"n": number}
    return " ".join(_describe_store(str(store.label), some) for store, some in by_store.items())


def _describe_store(store: str, tests: Collection[LoginTest]) -> str:
    """Say how the logins went with the values of this store."""
    outcomes = {LoginOutcome(test.outcome) for test in tests}
    if outcomes == {LoginOutcome.WORKS}:
        return _("%(store)s's values log in.") % {"store": store}
    if len(outcomes) == 1 and outcomes <= set(PROVEN_WRONG):
        why = localize(LOGIN_OUTCOMES[outcomes.pop()]())
        return _("%(store)s's values are refused (%(why)s).") % {"store": store, "why": why}
    if len(tests) == 1:
        why = localize(LOGIN_OUTCOMES[outcomes.pop()]())
        text = _("%(store)s's values could not be tested (%(why)s).")
        return text % {"store": store, "why": why}
    told = _describe_outcomes(tests)
    return _("With %(store)s's values: %(told)s") % {"store": store, "told": told}


def _describe_outcomes(tests: Collection[LoginTest]) -> str:
    """Say how many of these logins work, how many are refused, and of the others why they could not be tested."""
    numbers = Counter(LoginOutcome(test.outcome) for test in tests)
    works = numbers.pop(LoginOutcome.WORKS, 0)
    if not numbers:
        text = ngettext("%(works)s of %(n)s login works.", "%(works)s of %(n)s logins work.", works)
        return text % {"works": works, "n": works}
    # Where none works it may be that none could be tested: the others say it.
    parts = [ngettext("%(n)s works", "%(n)s work", works) % {"n": works}] if works else []
    for outcome in sorted(numbers, key=lambda each: each not in PROVEN_WRONG):
        number, why = numbers[outcome], localize(LOGIN_OUTCOMES[outcome]())
        text = (
            ngettext("%(n)s is refused (%(why)s)", "%(n)s are refused (%(why)s)", number)
            if outcome in PROVEN_WRONG
            else ngettext(
                "%(n)s could not be tested (%(why)s)", "%(n)s could not be tested (%(why)s)", number
            )
        )
        parts.append(text % {"n": number, "why": why})
    return f"{'; '.join(parts)}."


def name_typed_test(form: CredentialForm) -> str:
    """Return the name by which a login's form takes the result of its test along."""
    return f"{form.prefix}-tested"


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
        return self.show_problems([_("This login is missing in the form. Reload the page.")])

    def show_result(self, result: LoginResult, form: CredentialForm) -> HttpResponse:
        return self.render_to_response(
            self.get_context_data(
                outcome=result.outcome,
                service=result.service.upper(),
                explanation=LOGIN_OUTCOMES[result.outcome](),
                # For the save of the same values.
                tested=(name_typed_test(form), sign_typed_test(form.instance, result)),
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
                [_("Only AWS has this secret. Enter it here, or test AWS's values.")]
            )
        if form.has_changed():
            result = try_typed_login(form.instance, client=self.client, by=by)
        else:
            tests = try_client_logins(
                client_id=self.client_id,
                stores=[LoginStore.POSTGRES],
                by=by,
                only=LoginKey(self.row.TYPE, self.row.pk),
            )
            if not tests:
                raise Http404  # NOVA has deleted the row meanwhile
            result = LoginResult(LoginOutcome(tests[0].outcome), tests[0].service)
        return self.show_result(result, form)

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


def link_typed_test(request: HttpRequest, row: Credential) -> str:
    """Return the address that tests the row's login as the form holds it; "" for a user who may not."""
    changes = f"credentials.change_{row._meta.model_name}"
    if not (request.user.has_perm(LOGIN_PERMISSION) and request.user.has_perm(changes)):
        return ""
    return reverse("admin:credentials_client_test_typed", args=[row.client_id, row.TYPE, row.pk])


class UnstoredLoginTestView(TypedLoginView):
    """Tests a login that isn't stored yet, of a new client or in a row that is added. All of it is typed."""

    def find_client(self) -> Client | None:
        """Return the client that gets the login; None where it is being added too."""
        return None

    @cached_property
    def inline(self) -> CredentialInline | None:
        """Return the form's inline for the type of logins in the address; None where the user's form has none."""
        found = self.model_admin.get_inline_instances(self.request, self.find_client())
        return next((each for each in found if self.kwargs["kind"] == each.model.TYPE), None)

    def may_use_page(self) -> bool:
        """Say whether the user may open the page that has the form."""
        return bool(self.model_admin.has_add_permission(self.request))

    def has_permission(self) -> bool:
        if not (super().has_permission() and self.may_use_page()):
            return False
        if self.kwargs["kind"] not in CREDENTIAL_MODELS:
            raise Http404
        return bool(
            self.inline and self.inline.has_add_permission(self.request, self.find_client())
        )

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        form = self.make_form()
        if form is None:
            return self.show_login_not_in_form()
        if not form.is_valid():
            return self.show_errors(form)
        result = try_typed_login(
            form.instance, client=self.find_client(), by=get_signed_in_user(request)
        )
        return self.show_result(result, form)

    def make_form(self) -> CredentialForm | None:
        """Return the form of the row that the page names; None where there can be none."""
        row = read_raw_form_text(self.request, "row")
        if self.inline is None:
            return None
        forms = self.inline.get_formset(self.request, self.find_client())
        if not re.fullmatch(rf"{forms.get_default_prefix()}-[0-9]{{1,4}}", row):
            return None
        form: CredentialForm = forms.form(self.request.POST, prefix=row)
        return form


class TestLoginOfNewClientView(UnstoredLoginTestView):
    """Tests a login of a client that is being added."""

    __test__ = False  # none of pytest's


class TestNewLoginView(UnstoredLoginTestView, ClientView):
    """Tests a login that is being added to a client."""

    __test__ = False

    def find_client(self) -> Client:
        return self.client

    def may_use_page(self) -> bool:
        return bool(self.model_admin.has_change_permission(self.request))


def link_new_test(
    request: HttpRequest, form: CredentialForm, client: ClientRow | Client | None
) -> str:
    """Return the address that tests a login that isn't stored; "" for a user who may not."""
    model = form.instance._meta.model_name
    wanted = (LOGIN_PERMISSION, f"credentials.add_{model}", f"credentials.change_{model}")
    if not request.user.has_perms(wanted):
        return ""
    kind = form.instance.TYPE.value
    if client:
        return reverse("admin:credentials_client_test_new", args=[client.pk, kind])
    return reverse("admin:credentials_client_add_test", args=[kind])


WHAT_IS_ROTATED = {
    CredentialType.DATABASE: _lazy("the password of the database %(name)s"),
    CredentialType.EMAIL: _lazy("the password of the mailbox %(name)s"),
    CredentialType.AWS: _lazy("the secret key of the AWS login %(name)s"),
}
ROTATED = Sentence("rotated", "Rotated %(login)s. The new value was tested and works.")
ROTATION_UNFINISHED = Sentence(
    "rotation_unfinished",
    "The rotation is not finished: %(why)s The workers go on with it every minute; NOVA can log in meanwhile.",
)


class RotateView(ClientView):
    """Says what a rotation of this login does, and does it; for a mailbox or an AWS key it asks for what is new."""

    template_name = "admin/migration/rotate.html"
    permission_required = ROTATE_PERMISSION

    @cached_property
    def client(self) -> Client:
        return read_client_with_rows(get_object_or_404(Client, pk=self.client_id).pk)

    @cached_property
    def row(self) -> Credential:
        """Return the login that the address names; raise Http404 if there is none that NOVA could ask for."""
        row = next(
            (
                row
                for kind, rows in self.client.credentials_by_type().items()
                for row in rows
                if kind == self.kwargs["kind"] and row.pk == self.kwargs["credential_id"]
            ),
            None,
        )
        if row is None or not nova_can_read_login(self.client, row):
            raise Http404
        return row

    @property
    def label_unless_primary(self) -> str | None:
        return find_label_unless_primary(self.client, self.row)

    @property
    def title(self) -> str:
        # The way to the page names the client.
        return _("Rotate %(login)s") % {"login": self.row.describe_host_or_address()}

    def has_permission(self) -> bool:
        may_view = self.model_admin.has_view_permission(self.request)
        return bool(super().has_permission() and may_view)

    def get(self, request: HttpRequest, **_address: object) -> HttpResponse:
        return self.show_page()

    def post(self, request: HttpRequest, **_address: object) -> HttpResponse:
        if read_raw_form_text(request, "confirmed") != "1":
            return self.show_page()
        # Nothing is asked for a database.
        columns = ENTERED_COLUMNS.get(self.row.TYPE, ())
        entered = {name: read_raw_form_text(request, name) for name in columns}
        if not all(entered.values()):
            return self.show_page(
                [_("Enter the new secret: it is tested by a login, then stored.")]
            )
        try:
            require_reason(get_typed_reason(request))
            rotation = self.rotate(entered)
        except (NotRotated, RotationOpenError, ReasonError) as refusal:
            return self.show_page([localize(refusal.message)])
        if rotation.outcome == RotationOutcome.ROTATED:
            what = str(WHAT_IS_ROTATED[self.row.TYPE])
            done = ROTATED(login=what % {"name": self.row.describe_host_or_address()})
            messages.success(request, localize(done))
            return HttpResponseRedirect(get_tab_url(self.client_id, ClientTab.LOGINS))
        why = rotation.message
        if why and not rotation.is_finished:
            why = ROTATION_UNFINISHED(why=why)
        return self.show_page([localize(why)] if why else [])

    def rotate(self, entered: dict[str, str]) -> Rotation:
        by, reason = get_signed_in_user(self.request), get_typed_reason(self.request)
        if self.row.TYPE == CredentialType.DATABASE:
            return rotate_database(
                client_id=self.client_id,
                label=self.label_unless_primary,
                by=by,
                reason=reason,
                interactive=True,
            )
        return store_entered_secret(
            client_id=self.client_id,
            credential_type=self.row.TYPE,
            label=self.label_unless_primary,
            entered=entered,
            by=by,
            reason=reason,
            warn=lambda message: messages.warning(self.request, localize(message)),
        )

    def show_page(self, problems: list[str] | None = None) -> HttpResponse:
        row = self.row  # first: there may be none
        phase = Phase(
            all_clients().with_phase().values_list("phase", flat=True).get(pk=self.client_id)
        )
        context = self.get_context_data(
            problems=problems or [],
            reason=get_typed_reason(self.request),
            row=row,
            is_database=row.TYPE == CredentialType.DATABASE,
            phase=phase,
            fields=[
                (name, row._meta.get_field(name).verbose_name, name in row.SECRET_FIELDS)  # type: ignore[union-attr]
                for name in ENTERED_COLUMNS.get(row.TYPE, ())
            ],
            input_classes=" ".join(BASE_INPUT_CLASSES),
            **get_schedule_context(self.client_id),
            rotations=Rotation.objects.filter(client_id=self.client_id)[:ROTATIONS_SHOWN],
            back=get_tab_url(self.client_id, ClientTab.LOGINS),
        )
        response = self.render_to_response(context)
        response["Cache-Control"] = "no-store, private"
        return response


class SetScheduleView(ClientView):
    """Sets every how many days the client's database passwords are rotated."""

    permission_required = ROTATE_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        typed = read_raw_form_text(request, "days").strip()
        days = read_number(typed)
        if typed and not (days and days <= MOST_DAYS):
            text = _("Nothing was changed: type a number of days from 1 to %(n)s, or nothing.")
            messages.error(request, text % {"n": MOST_DAYS})
        elif RotationSchedule.objects.set_days(
            days, client=self.client, by=get_signed_in_user(request)
        ):
            messages.success(request, _("Changed the schedule of rotations."))
        return HttpResponseRedirect(get_tab_url(client_id, ClientTab.LOGINS))


def get_schedule_context(client_id: int) -> dict[str, object]:
    """Return the client's own schedule, its groups', and the day of its next rotation."""
    schedules = RotationSchedule.objects.of_client_or_its_groups(client_id).select_related("group")
    next_day = RotationSchedule.objects.find_next_days(client_id).get(client_id)
    return {
        "own_schedule": next((each for each in schedules if each.group is None), None),
        "group_schedules": [each for each in schedules if each.group],
        "next_rotation": next_day,
        "is_overdue": next_day is not None and next_day < today(),
        "most_days": MOST_DAYS,
    }


def find_label_unless_primary(client: Client, row: Credential) -> str | None:
    """Return the label by which NOVA asks for this login; None where it is the primary one."""
    return None if find_row(client, row.TYPE, None) == row else row.label


def nova_can_read_login(client: Client, row: Credential) -> bool:
    """Say whether NOVA can ask for this login: as the primary one, or by a label that no other has before it."""
    return find_row(client, row.TYPE, find_label_unless_primary(client, row)) == row
