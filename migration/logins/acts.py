"""What is done to the logins of clients: their tests, and rotations."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime

from django import forms
from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Max, Q
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.widgets import UnfoldAdminRadioSelectWidget

from credentials.models import CREDENTIAL_MODELS
from credentials.nova_columns import NovaSchemaError
from migration.core.clients import ClientPhaseQuerySet, Offboarding, all_clients
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
from migration.runs.acts import Act, ActForm, ActRefused, Done, Menu, Order, register_act
from migration.runs.models import Run
from migration.runs.plans import PlanClass, PlannedClient, Reason
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

    def ask(self, number: int, name: str) -> str:
        if name:
            return _("Test the logins of %(name)s?") % {"name": name}
        text = ngettext(
            "Test the logins of %(n)s client?", "Test the logins of %(n)s clients?", number
        )
        return text % {"n": intcomma(number)}

    def name_button(self, number: int) -> str:
        text = ngettext(
            "Test the logins of %(n)s client", "Test the logins of %(n)s clients", number
        )
        return text % {"n": intcomma(number)}

    def describe_effect(self, number: int) -> str:
        return _(
            "Each login is tried once at its server. Nothing is changed; a server may count a refused login."
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

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Run:
        return Run.start(
            kind=Run.Kind.TEST_LOGINS,
            chosen=chosen,
            **order.run_options,
            stores=LoginStores(order.values["stores"]),
        )


class RotateDatabases(Act):
    """Gives every database login of a client a new password."""

    code = "rotate"
    label = gettext_lazy("Rotate the database passwords")
    permission = ROTATE_PERMISSION
    menu = Menu.LOGINS
    needs_reason = needs_typing = True

    def ask(self, number: int, name: str) -> str:
        if name:
            return _("Rotate the database passwords of %(name)s?") % {"name": name}
        text = ngettext(
            "Rotate the database passwords of %(n)s client?",
            "Rotate the database passwords of %(n)s clients?",
            number,
        )
        return text % {"n": intcomma(number)}

    def name_button(self, number: int) -> str:
        text = ngettext(
            "Rotate the passwords of %(n)s client", "Rotate the passwords of %(n)s clients", number
        )
        return text % {"n": intcomma(number)}

    def describe_effect(self, number: int) -> str:
        return _(
            "Every database login that NOVA can ask for gets a new random password, proven by a login before it is"
            " stored. Whoever else uses the old one is locked out."
        )

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        """See the newest rotation too: nobody rotates what somebody else has just rotated."""
        found = Rotation.objects.filter(client__in=client_ids).order_by()
        newest = dict(found.values_list("client").annotate(Max("pk")))
        seen = super().see(client_ids)
        return {pk: f"{digest}-{newest.get(pk, 0)}" for pk, digest in seen.items()}

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        planned = plan_by_logins(client_ids, ROTATION_NO_DATABASE_LOGIN(), CredentialType.DATABASE)
        left = Offboarding.objects.leaving_or_left().filter(pk__in=client_ids)
        leaving = set(left.values_list("pk", flat=True))
        unfinished = Rotation.objects.unfinished().filter(client_id__in=client_ids)
        begun_at = dict(unfinished.values_list("client_id", "begun_at"))
        return [_refuse_unless_free(each, leaving, begun_at) for each in planned]

    def start(self, chosen: ClientPhaseQuerySet, order: Order) -> Run:
        return Run.start(kind=Run.Kind.ROTATE, chosen=chosen, **order.run_options)


def _refuse_unless_free(
    planned: PlannedClient, leaving: Collection[int], begun_at: Mapping[int, datetime]
) -> PlannedClient:
    """Refuse a client that is offboarded, or of which another rotation is not finished."""
    pk = planned.client_id
    if planned.plan_class != PlanClass.WILL or not (pk in leaving or pk in begun_at):
        return planned
    why = (
        IS_OFFBOARDED(slug=planned.slug) if pk in leaving else ROTATION_UNDER_WAY(ago=begun_at[pk])
    )
    return replace(planned, plan_class=PlanClass.REFUSED, reasons=(Reason(why, why.codes[0]),))


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
    clients = all_clients().with_phase().with_revision().with_ids(client_ids).order_by("slug")
    return [
        PlannedClient(
            pk,
            slug,
            phase,
            revision,
            PlanClass.WILL if pk in have_one else PlanClass.NOTHING,
            outcome="",
            message=None if pk in have_one else has_none,
        )
        for pk, slug, phase, revision in clients.values_list("pk", "slug", "phase", "revision")
    ]


register_act(TestLogins())
register_act(RotateDatabases())
