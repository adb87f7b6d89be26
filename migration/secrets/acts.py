"""What is done to the secrets of clients: their layout, key and regions, and the adoption of somebody else's."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any, ClassVar

from django.template.defaultfilters import floatformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, ngettext_lazy

from credentials.localization import intcomma
from credentials.prices import SECRET_A_MONTH
from migration.core.aws_store import secret_names
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import all_clients
from migration.core.pages import RUN_PERMISSION, ClientTab, get_act_url, get_tab_url
from migration.core.secrets import find_layout
from migration.logins.acts import explain_held_up
from migration.pushes.resolutions import RESTORE_FIRST, NotResolved
from migration.runs.acts import (
    Act,
    ActRefused,
    Done,
    Order,
    digest_facts,
    list_planned,
    refuse,
    register_act,
)
from migration.runs.models import Run
from migration.runs.plans import PlanClass, PlannedClient
from migration.secrets.adoptions import (
    NOTHING_TO_ADOPT,
    SECRET_CHANGED_SINCE,
    ForeignSecrets,
    adopt_and_overwrite_secrets,
    find_foreign_secrets,
    list_foreign_secrets,
    require_unused,
)
from migration.secrets.layouts import (
    LAYOUT_IS_SO,
    NAME_IS_MOVING,
    LayoutRefusedError,
    change_layout,
)
from migration.secrets.settings import (
    SETTINGS_STILL_DIFFER,
    SettingsDrift,
    describe_settings,
    find_settings_drift,
)
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import DocumentError, Layout
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase

# Who may say which store NOVA reads may say in which secrets.
LAYOUT_PERMISSION = "migration.move_client"

NEW_AND_OLD_SECRETS = Sentence(
    "new_and_old_secrets", "NOVA will read %(new)s. Until then: %(old)s.", glue=", "
)


class ChangeLayout(Act):
    """Gives clients one secret each, or one for each service, while NOVA goes on reading."""

    permission = LAYOUT_PERMISSION
    waits_for_one = True
    in_client_menu = False  # beside the secrets' names
    way_back = gettext_lazy("change the layout back.")
    layout: ClassVar[Layout]
    button = ngettext_lazy(
        "Change layout",
        "Change the layout of %(n)s clients",
        "number",
    )
    effect = gettext_lazy(
        "Copies the values to the new secrets and reads them back. Only then does NOVA read those. No value "
        "changes."
    )

    def sum_up(self, client_ids: Iterable[int]) -> list[str]:
        return [
            _("A service without a login needs no secret."),
            _(
                "The old secrets are kept up to date for at least an hour, until no NOVA process needs them. "
                "Then they are scheduled for deletion, which can be cancelled for 30 days."
            ),
        ]

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        return list(self._plan(client_ids))

    def _plan(self, client_ids: Collection[int]) -> Iterable[PlannedClient]:
        stopped, held_up = find_write_refusal(), explain_held_up(client_ids)
        stand: dict[int, Any] = all_clients().with_layout().in_bulk(list(client_ids))
        for planned in list_planned(client_ids):
            client = stand[planned.client_id]
            layout = find_layout(client.layout)
            if layout == self.layout:
                yield replace(planned, plan_class=PlanClass.NOTHING, message=LAYOUT_IS_SO())
                continue
            new, old = (
                tuple(secret_names(client.secret_slug, each).values())
                for each in (self.layout, layout)
            )
            is_moving = NAME_IS_MOVING(slug=client.other_slug) if client.other_slug else None
            why = list(filter(None, [stopped, held_up.get(client.pk), is_moving]))
            told = replace(planned, message=NEW_AND_OLD_SECRETS(new=new, old=old))
            yield refuse(told, *why) if why else told

    def do_one(self, client_id: int, order: Order) -> Done:
        try:
            changed = change_layout(
                client_id=client_id, layout=self.layout, by=order.by, reason=order.reason
            )
        except LayoutRefusedError as refusal:
            raise ActRefused(refusal.message) from None
        return Done(changed.message, get_tab_url(client_id, ClientTab.COMPARISON))

    def describe_run(self, order: Order) -> dict[str, Any]:
        return {"kind": Run.Kind.LAYOUT, "layout": self.layout}


class OneSecretPerClient(ChangeLayout):
    code = "layout_client"
    label = gettext_lazy("Change to one secret per client")
    layout = Layout.CLIENT
    question_for_one = gettext_lazy("Change %(name)s to one secret per client?")
    question = ngettext_lazy(
        "Change %(n)s client to one secret per client?",
        "Change %(n)s clients to one secret per client?",
        "number",
    )


class OneSecretPerService(ChangeLayout):
    code = "layout_service"
    label = gettext_lazy("Change to one secret per service")
    layout = Layout.SERVICE
    question_for_one = gettext_lazy("Change %(name)s to one secret per service?")
    question = ngettext_lazy(
        "Change %(n)s client to one secret per service?",
        "Change %(n)s clients to one secret per service?",
        "number",
    )


def get_other_layout_url(client_id: int, layout: Layout) -> str:
    """Return the address of the page of the act that gives a client of this layout the other one."""
    other = OneSecretPerService if layout == Layout.CLIENT else OneSecretPerClient
    return get_act_url(other.code, [client_id])


SECRETS_ARE_AS_SET = Sentence(
    "secrets_are_as_set", "It has no secret that differs from the settings."
)
NOT_LOOKED_AT_YET = Sentence(
    "not_looked_at_yet", "%(name)s is not checked yet. The run checks it first."
)


class ApplySecretSettings(Act):
    """Gives secrets the tags, description, KMS key and replicas of the settings."""

    code = "secret_settings"
    label = gettext_lazy("Apply key and regions")
    permission = RUN_PERMISSION
    question_for_one = gettext_lazy("Apply key and regions to the secrets of %(name)s?")
    question = ngettext_lazy(
        "Apply key and regions to the secrets of %(n)s client?",
        "Apply key and regions to the secrets of %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Apply key and regions",
        "Apply to %(n)s clients",
        "number",
    )
    effect = gettext_lazy(
        "Gives the secrets the KMS key, replicas, tags and description of the settings. No value and no version "
        "changes."
    )

    def sum_up(self, client_ids: Iterable[int]) -> list[str]:
        return sum_up_drift(find_settings_drift(set(client_ids)))

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        """Return a digest of the settings and of what each client's secrets lack of them."""
        drift, wanted = find_settings_drift(client_ids), describe_settings()
        seen: dict[int, list[object]] = {pk: [wanted] for pk in client_ids}
        for client in drift.clients:
            seen[client.client_id] += [
                [secret.name, *(message.to_json() for message in secret.changes.messages)]
                for secret in client.secrets
            ]
        for name, pk in sorted(drift.unlooked.items()):
            seen[pk].append(name)
        return {pk: digest_facts(each) for pk, each in seen.items()}

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        drift = find_settings_drift(client_ids)
        notes: dict[int, list[Message]] = {
            client.client_id: [
                SETTINGS_STILL_DIFFER(name=secret.name, differences=secret.changes.messages)
                for secret in client.secrets
            ]
            for client in drift.clients
        }
        for name, pk in drift.unlooked.items():
            notes.setdefault(pk, []).append(NOT_LOOKED_AT_YET(name=name))
        stopped, planned = find_write_refusal(), []
        for each in list_planned(client_ids):
            if each.client_id not in notes:
                nothing = PlanClass.NOTHING
                planned.append(replace(each, plan_class=nothing, message=SECRETS_ARE_AS_SET()))
                continue
            told = replace(each, notes=tuple(notes[each.client_id]))
            planned.append(refuse(told, stopped) if stopped else told)
        return planned

    def describe_run(self, order: Order) -> dict[str, Any]:
        return {"kind": Run.Kind.SECRET_SETTINGS, "secret_settings": describe_settings()}


def sum_up_drift(drift: SettingsDrift) -> list[str]:
    """Say what a run over the clients that differ makes and removes, what it costs, and what it needs."""
    told: list[str] = []

    def add(text: str, number: int, **values: str) -> None:
        told.append(text % {"n": intcomma(number), **values})

    if n := drift.keys:
        text = ngettext(
            "%(n)s secret gets the KMS key of the settings.",
            "%(n)s secrets get the KMS key of the settings.",
            n,
        )
        add(text, n)
    for region, n in drift.replicas_to_add:
        text = ngettext(
            "%(n)s replica is created in %(region)s.",
            "%(n)s replicas are created in %(region)s.",
            n,
        )
        add(text, n, region=region)
    for region, n in drift.replicas_to_remove:
        text = ngettext(
            "Removed: %(n)s replica in %(region)s.", "Removed: %(n)s replicas in %(region)s.", n
        )
        add(text, n, region=region)
    if n := drift.with_new_tags_or_description:
        text = ngettext(
            "%(n)s secret gets this site's tags and description.",
            "%(n)s secrets get this site's tags and description.",
            n,
        )
        add(text, n)
    if n := len(drift.unlooked):
        text = ngettext(
            "%(n)s secret is not checked yet. The run checks it first.",
            "%(n)s secrets are not checked yet. The run checks them first.",
            n,
        )
        add(text, n)
    if more := drift.net_new_replicas:
        text = (
            _("$%(dollars)s a month more, for replicas.")
            if more > 0
            else _("$%(dollars)s a month less, for replicas.")
        )
        told.append(text % {"dollars": floatformat(SECRET_A_MONTH * abs(more), "2g")})
    if drift.keys:
        told.append(
            _(
                "First give NOVA's role and this site's role the new key (see “AWS permissions”). Keep the old "
                "key until every secret has been written again."
            )
        )
    return told


ALL_SECRETS_OURS = Sentence(
    "all_secrets_ours",
    "There is nothing to adopt: every secret of this client is this site's.",
)
FOREIGN_SECRET = Sentence("foreign_secret", "%(name)s: %(owner)s")
FOREIGN_SECRET_DELETED = Sentence(
    "foreign_secret_deleted",
    "%(name)s: %(owner)s Its deletion was scheduled %(ago)s ago, and is taken back.",
)


class Adopt(Act):
    """Takes over secrets that somebody else made, and writes the client's values over what they hold."""

    code = "adopt"
    label = gettext_lazy("Adopt secrets")
    permission = RUN_PERMISSION
    needs_reason = needs_typing = is_dangerous = True
    waits_for_one = run_holds_to_plan = True
    in_client_menu = False  # beside the secret
    question_for_one = gettext_lazy("Adopt the secret of %(name)s?")
    question = ngettext_lazy(
        "Adopt the secrets of %(n)s client?",
        "Adopt the secrets of %(n)s clients?",
        "number",
    )
    button = ngettext_lazy(
        "Adopt and overwrite it",
        "Adopt and overwrite them",
        "number",
    )
    effect = gettext_lazy(
        "This site did not create this secret. It overwrites it with PostgreSQL's values and keeps it up to "
        "date. AWS keeps the current values as AWSPREVIOUS until the next write."
    )

    def see(self, client_ids: Collection[int]) -> dict[int, str]:
        """Return a digest of ARN and current version of each secret that would be adopted; "" where AWS doesn't say."""
        seen = dict.fromkeys(client_ids, "")
        try:
            for foreign in list_foreign_secrets(list_unpurged(client_ids), interactive=True):
                seen[foreign.snapshot.client_id] = foreign.digest
        except (SecretsManagerError, DocumentError):
            return dict.fromkeys(client_ids, "")
        return seen

    def explain_change(self, client_id: int) -> Message:
        return SECRET_CHANGED_SINCE()

    def plan(self, client_ids: Collection[int], order: Order) -> list[PlannedClient]:
        found: dict[int, ForeignSecrets] = {}
        planned = list_planned(client_ids, PlanClass.NOTHING)
        try:
            for foreign in list_foreign_secrets(list_unpurged(client_ids), interactive=True):
                found[foreign.snapshot.client_id] = foreign
        except (SecretsManagerError, DocumentError) as error:
            return [refuse(each, error.message) for each in planned]
        stopped = find_write_refusal()
        return [self._plan_one(each, found.get(each.client_id), stopped) for each in planned]

    def _plan_one(
        self, planned: PlannedClient, foreign: ForeignSecrets | None, stopped: Message | None
    ) -> PlannedClient:
        if planned.phase == Phase.PURGED:
            return refuse(planned, RESTORE_FIRST())
        if foreign is None:
            return replace(planned, message=ALL_SECRETS_OURS())
        refusals = [stopped] if stopped else []
        for secret in foreign.secrets:
            try:
                require_unused(secret)
            except NotResolved as refusal:
                refusals.append(refusal.message)
        notes = [
            FOREIGN_SECRET_DELETED(name=each.name, owner=each.owner, ago=deleted_at)
            if (deleted_at := each.description.deleted_at)
            else FOREIGN_SECRET(name=each.name, owner=each.owner)
            for each in foreign.secrets
        ]
        told = replace(
            planned,
            plan_class=PlanClass.WILL,
            message=foreign.comparison.message,
            notes=tuple(notes),
            mismatches=tuple(foreign.comparison.mismatches),
        )
        return refuse(told, *refusals) if refusals else told

    def do_one(self, client_id: int, order: Order) -> Done:
        try:
            foreign = find_foreign_secrets(client_id)
            if foreign is None:
                raise ActRefused(NOTHING_TO_ADOPT())
            if foreign.digest != order.seen.get(client_id):
                raise ActRefused(SECRET_CHANGED_SINCE())
            adopted = adopt_and_overwrite_secrets(
                client_id=client_id, seen=foreign.versions, reason=order.reason, by=order.by
            )
        except NotResolved as refusal:
            raise ActRefused(refusal.message) from None
        return Done(adopted.message)

    def describe_run(self, order: Order) -> dict[str, Any]:
        return {"kind": Run.Kind.ADOPT}


def list_unpurged(client_ids: Collection[int]) -> list[int]:
    clients = all_clients().with_phase().with_ids(client_ids).order_by()
    return list(clients.exclude(phase=Phase.PURGED).values_list("pk", flat=True))


register_act(OneSecretPerClient())
register_act(OneSecretPerService())
register_act(ApplySecretSettings())
register_act(Adopt())
