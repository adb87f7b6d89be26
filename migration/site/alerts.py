"""Finds what needs somebody's attention, for the dashboard: each with its number, a list and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from migration.clients.counts import ClientCounts, NewestComparisonCounts
from migration.core.audit_chain import find_unsealed_since
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import (
    VIEW_CLIENTS,
    VIEW_READERS,
    VIEW_RUNS,
    VIEW_TABLES,
)
from migration.core.problems import Action
from migration.core.workers import Worker
from migration.nova.models import ReaderSummary
from migration.nova.readers import pluralize_failing_readers
from migration.nova.tables import NovaTables
from migration.runs.failures import SiteFailureCounts
from migration.site.audit import AUDIT_NOT_SEALED
from migration.site.background import BackgroundFacts
from nova_credentials.phases import Phase


@dataclass(frozen=True)
class Alert:
    """Something that a user has to look at: how many, a sentence, and the address of their list."""

    sentence: str
    url: str
    permission: str
    count: int | None = None
    since: datetime | None = None
    command: str = ""
    code: str = ""
    actions: tuple[Action, ...] = ()


@dataclass(frozen=True)
class AlertData:
    """Numbers that the dashboard has read already."""

    clients: ClientCounts
    comparisons: NewestComparisonCounts
    tables: NovaTables
    work: BackgroundFacts
    readers: ReaderSummary
    failures: SiteFailureCounts
    clients_to_rotate: int = 0


def list_alerts(data: AlertData) -> list[Alert]:
    """List the alerts, the most pressing first, in one query. A new alert is one more function here."""
    sources = (
        _alert_refused_writes,
        _alert_missing_worker,
        _alert_unsealed_audit,
        _alert_nova_tables,
        _alert_readers,
        _alert_secret_settings,
        _alert_secrets_of_deleted_clients,
    )
    return [alert for source in sources for alert in source(data)]


def _alert_refused_writes(_data: AlertData) -> Iterator[Alert]:
    if refusal := find_write_refusal():
        yield Alert(localize(refusal), reverse("admin:migration_run_aws_writes"), VIEW_RUNS)


def _alert_missing_worker(data: AlertData) -> Iterator[Alert]:
    seen = data.work.worker_seen_at
    if seen is None or timezone.now() - seen > Worker.GONE_AFTER:
        yield Alert(
            _("No worker is running: nothing is pushed or compared. Start one:"),
            reverse("admin:migration_run_changelist") + "?state=running",
            VIEW_RUNS,
            since=seen,
            command="python manage.py qcluster",
        )


def _alert_unsealed_audit(_data: AlertData) -> Iterator[Alert]:
    if since := find_unsealed_since():
        url = reverse("admin:migration_run_health")
        yield Alert(localize(AUDIT_NOT_SEALED(ago=since)), url, VIEW_RUNS)


def _alert_nova_tables(data: AlertData) -> Iterator[Alert]:
    """Alert to what was changed on NOVA's tables: nothing is cut over or purged before somebody looked at it."""
    url = reverse("admin:credentials_columnmapping_changelist")
    action = Action(_("See NOVA's tables"), url, VIEW_TABLES)
    for problem in (data.tables.columns_problem, data.tables.objects_problem):
        for message in problem.parts if problem else ():
            yield Alert(localize(message), url, VIEW_TABLES, actions=(action,))


def _alert_readers(data: AlertData) -> Iterator[Alert]:
    """Alert to what is wrong with NOVA's reads, as soon as a client is read from AWS."""
    url = reverse("admin:migration_readerprocess_changelist")
    if number := data.readers.failing:
        failing = f"{url}?seen=failing"
        action = Action(_("See NOVA's processes"), failing, VIEW_READERS)
        sentence = pluralize_failing_readers(number)
        yield Alert(sentence, failing, VIEW_READERS, count=number, actions=(action,))
    if not any(row.clients for row in data.clients.phases if Phase(row.phase).reads_aws):
        return
    if data.readers.last_read_at is None:
        yield Alert(
            _("Clients are read from AWS, but NOVA has never read through the package"),
            url,
            VIEW_READERS,
            actions=(Action(_("Let NOVA read through the package"), url, VIEW_READERS),),
        )
    if data.work.other_statements:
        yield Alert(
            _("Somebody else read the credential tables in the last hour: NOVA's old helper?"),
            url,
            VIEW_READERS,
            actions=(Action(_("See who reads"), url, VIEW_READERS),),
        )


def _alert_secret_settings(data: AlertData) -> Iterator[Alert]:
    """Alert to clients with secrets whose tags, description, KMS key or replicas are not as the settings say."""
    if number := data.work.differing_secrets:
        sentence = ngettext(
            "client has secrets whose tags, description, KMS key or replicas are not as the settings say",
            "clients have secrets whose tags, description, KMS key or replicas are not as the settings say",
            number,
        )
        settings = reverse("admin:migration_run_secret_settings")
        action = Action(_("See key and regions"), settings, VIEW_RUNS)
        yield _alert_clients("settings=differ", number, sentence, action)


def _alert_secrets_of_deleted_clients(data: AlertData) -> Iterator[Alert]:
    """Alert to secrets that AWS still has of clients that NOVA deleted."""
    if number := data.work.secrets_of_deleted_clients:
        sentence = ngettext(
            "secret in AWS is of a client that NOVA deleted",
            "secrets in AWS are of clients that NOVA deleted",
            number,
        )
        url = f"{reverse('admin:migration_run_secret_settings')}#deleted-clients"
        action = Action(_("See the secrets"), url, VIEW_RUNS)
        yield Alert(sentence, url, VIEW_RUNS, count=number, actions=(action,))


def _alert_clients(query: str, number: int, sentence: str, *more: Action) -> Alert:
    """Return the alert to clients that the list of clients shows by this query."""
    url = f"{_get_clients_url()}?{query}"
    actions = (Action(_("See the clients"), url, VIEW_CLIENTS), *more)
    return Alert(sentence, url, VIEW_CLIENTS, count=number, actions=actions)


def _get_clients_url() -> str:
    return reverse("admin:credentials_client_changelist")
