"""What is done to the logins of clients: their tests, and rotations."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from django import forms
from django.db.models import Max, Q
from django.utils.translation import gettext_lazy, ngettext_lazy
from unfold.widgets import UnfoldAdminRadioSelectWidget

from credentials.models import CREDENTIAL_MODELS
from credentials.nova_columns import NovaSchemaError
from migration.core.clients import Offboarding
from migration.core.pages import ClientTab, get_tab_url
from migration.core.sentences import IS_OFFBOARDED
from migration.logins.models import (
    LOGIN_PERMISSION,
    ROTATE_PERMISSION,
    ROTATION_UNDER_WAY,
    LoginStores,
    Rotation,
)
from migration.logins.pages import describe_results
from migration.logins.rotations import ROTATION_NO_DATABASE_LOGIN
from migration.logins.testing import AWS_NOT_READ, NO_LOGIN_TO_TEST, try_client_logins
from migration.runs.acts import (
    Act,
    ActForm,
    ActRefused,
    Done,
    Menu,
    Order,
    list_planned,
    refuse,
    register_act,
)
from migration.runs.models import Run
from migration.runs.plans import PlanClass, PlannedClient
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError
from nova_credentials.messages import Message


class StoresForm(ActForm):
    """Asks whose values log in."""

    stores = forms.ChoiceField(
        label=gettext_lazy("With the values of"),
        choices=LoginStores,
        initial=LoginStores.BOTH,
        widget=UnfoldAdminRadioSelectWidget(),
    )


class TestLogins(Act):
    """Logs in with the values that the stores hold."""

    __test__ = False  # none of pytest's
    code = "test_logins"
    label = gettext_lazy("Test the logins")
    permission = LOGIN_PERMISSION
    menu = Menu.LOGINS
    form = StoresForm
    writes_aws = False
    waits_for_one = True
    question_for_one = gettext_lazy("Test the logins of %(name)s?")
    question = ngettext_lazy(
        "Test the logins of %(n)s client?",
        "Test the logins of %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Test logins",
        "Test the logins of %(n)s clients",
        "number",
    )
    effect = gettext_lazy(
        "Tries each login once. Changes nothing; a server may count a refused login."
    )

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        return plan_by_logins(client_ids, NO_LOGIN_TO_TEST())

    def do_one(self, client_id: int, order: Order) -> Done:
        stores = LoginStores(order.values["stores"]).named_stores
        try:
            tests = try_client_logins(client_id=client_id, stores=stores, by=order.by)
        except SecretsManagerError as error:
            raise ActRefused(AWS_NOT_READ(error=error.message)) from None
        except (DocumentError, NovaSchemaError) as error:
            raise ActRefused(error.message) from None
        url = get_tab_url(client_id, ClientTab.LOGINS, "login-tests")
        return Done(describe_results(tests), url, is_warning=not all(t.works for t in tests))

    def describe_run(self, order: Order) -> dict[str, Any]:
        stores = LoginStores(order.values.get("stores", LoginStores.BOTH))
        return {"kind": Run.Kind.TEST_LOGINS, "stores": stores}


class RotateDatabases(Act):
    """Gives every database login of a client a new password."""

    code = "rotate"
    label = gettext_lazy("Rotate the database passwords")
    permission = ROTATE_PERMISSION
    menu = Menu.LOGINS
    needs_reason = needs_typing = is_dangerous = True
    question_for_one = gettext_lazy("Rotate the database passwords of %(name)s?")
    question = ngettext_lazy(
        "Rotate the database passwords of %(n)s client?",
        "Rotate the database passwords of %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Rotate passwords",
        "Rotate the passwords of %(n)s clients",
        "number",
    )
    effect = gettext_lazy(
        "Gives each database login of NOVA a new random password, tested before it is stored. Anyone else who "
        "uses the old one is locked out."
    )

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        """See the newest rotation too: nobody rotates what somebody else has just rotated."""
        found = Rotation.objects.filter(client__in=client_ids).order_by()
        newest = dict(found.values_list("client").annotate(Max("pk")))
        seen = super().see(client_ids)
        return {pk: f"{digest}-{newest.get(pk, 0)}" for pk, digest in seen.items()}

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        held_up = explain_held_up(client_ids)
        planned = plan_by_logins(client_ids, ROTATION_NO_DATABASE_LOGIN(), CredentialType.DATABASE)
        return [
            refuse(each, held_up[each.client_id])
            if each.client_id in held_up and each.verdict == PlanClass.WILL
            else each
            for each in planned
        ]

    def describe_run(self, order: Order) -> dict[str, Any]:
        return {"kind": Run.Kind.ROTATE}


def explain_held_up(client_ids: Collection[int]) -> dict[int, Message]:
    """Return why nobody changes the secrets of these clients now: they leave, or a rotation is not finished."""
    rotations = Rotation.objects.unfinished().filter(client_id__in=client_ids)
    begun_at = dict(rotations.values_list("client_id", "begun_at"))
    leaving = Offboarding.objects.leaving_or_left().filter(pk__in=client_ids)
    return {pk: ROTATION_UNDER_WAY(ago=at) for pk, at in begun_at.items()} | {
        pk: IS_OFFBOARDED(slug=slug) for pk, slug in leaving.values_list("pk", "client__slug")
    }


def plan_by_logins(
    client_ids: Collection[int], has_none: Message, *kinds: CredentialType
) -> list[PlannedClient]:
    """Say of each client whether it has a login, of these kinds, that NOVA can ask for."""
    can_be_asked_for = Q(is_primary=True) | Q(label__isnull=False) & ~Q(label="")
    have_one: set[int] = set()
    for kind in kinds or CredentialType:
        rows = CREDENTIAL_MODELS[kind]._default_manager.filter(can_be_asked_for)
        found = rows.filter(client_id__in=client_ids)  # type: ignore[misc]  # each model has it
        have_one |= set(found.values_list("client_id", flat=True))  # type: ignore[misc]
    return [
        each
        if each.client_id in have_one
        else replace(each, plan_class=PlanClass.NOTHING, message=has_none)
        for each in list_planned(client_ids)
    ]


register_act(TestLogins())
register_act(RotateDatabases())
