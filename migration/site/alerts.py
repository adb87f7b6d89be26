"""Finds what needs somebody's attention, for the dashboard: each with its number, a list and what helps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.contrib.humanize.templatetags.humanize import intcomma
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from migration.campaigns.models import Campaign
from migration.clients.counts import ClientCounts, NewestComparisonCounts
from migration.core.audit_chain import find_unsealed_since
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import (
    APPROVE_MOVES,
    VIEW_CAMPAIGNS,
    VIEW_CLIENTS,
    VIEW_COMPARISONS,
    VIEW_READERS,
    VIEW_REQUESTS,
    VIEW_RUNS,
    VIEW_TABLES,
)
from migration.core.comparisons import Comparison
from migration.core.pages import RUN_PERMISSION
from migration.core.workers import Worker
from migration.nova.models import ReaderSummary
from migration.nova.readers import pluralize_failing_readers
from migration.nova.tables import NovaTables
from migration.runs.failures import SiteFailureCounts
from migration.runs.items import Act
from migration.runs.models import Run
from migration.runs.requests import MoveRequest
from migration.site.background import BackgroundFacts
from migration.site.notices import AUDIT_NOT_SEALED
from nova_credentials.phases import Phase


@dataclass(frozen=True)
class Action:
    """A link, or a button that posts, which helps with an alert."""

    label: str
    url: str
    permission: str
    posts: bool = False


@dataclass(frozen=True)
class Alert:
    """Something that a user has to look at: how many, a sentence, and the address of their list."""

    sentence: str
    url: str
    permission: str
    count: int | None = None
    since: datetime | None = None
    command: str = ""
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
        _alert_campaigns,
        _alert_rotations,
        _alert_interrupted_offboardings,
        _alert_mismatches,
        _alert_failures,
        _alert_pushes,
        _alert_requests,
        _alert_requested_runs,
        _alert_secret_settings,
        _alert_secrets_of_deleted_clients,
        _alert_plain_text_not_rotated,
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
        url = reverse("admin:migration_run_check_nova")
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


def _alert_campaigns(data: AlertData) -> Iterator[Alert]:
    """Alert to each campaign that goes no further before somebody has looked at it."""
    sentences = {
        Campaign.State.STOPPED: _("%(campaign)s has stopped. %(why)s"),
        Campaign.State.REQUESTED: _("%(campaign)s is waiting for approval"),
    }
    for campaign in data.work.campaigns:
        if sentence := sentences.get(Campaign.State(campaign.state)):
            url = reverse("admin:migration_campaign_change", args=[campaign.pk])
            action = Action(_("See the campaign"), url, VIEW_CAMPAIGNS)
            text = sentence % {"campaign": campaign, "why": localize(campaign.stopped_because)}
            yield Alert(text, url, VIEW_CAMPAIGNS, actions=(action,))


def _alert_rotations(data: AlertData) -> Iterator[Alert]:
    """Alert to clients whose rotation stopped, waits, or is overdue."""
    for which, number in data.work.rotations.items():
        if number:
            sentences = {
                "stopped": ngettext(
                    "client's rotation stopped: somebody has to look which password is valid",
                    "clients' rotations stopped: somebody has to look which password is valid",
                    number,
                ),
                "unfinished": ngettext(
                    "client's rotation is not finished: the workers try it every minute",
                    "clients' rotations are not finished: the workers try them every minute",
                    number,
                ),
                "overdue": ngettext(
                    "client's database password is overdue for its rotation",
                    "clients' database passwords are overdue for their rotation",
                    number,
                ),
            }
            yield _alert_clients(f"rotation={which}", number, sentences[which])


def _alert_interrupted_offboardings(data: AlertData) -> Iterator[Alert]:
    """Alert to clients that left, or came back, in part only."""
    if number := data.work.interrupted_offboardings:
        sentence = ngettext(
            "client was offboarded or brought back in part only: do it again on its page",
            "clients were offboarded or brought back in part only: do it again on their pages",
            number,
        )
        yield _alert_clients("active=interrupted", number, sentence)


def _alert_mismatches(data: AlertData) -> Iterator[Alert]:
    report = reverse("admin:migration_comparison_report")
    for status in (*Comparison.DIFFERS, Comparison.Status.UNCHECKED):
        # Who failed to be pushed is named by the failure, which is the cause.
        failed = data.failures.by_status.get(status, 0)
        others = data.comparisons.acknowledged[status] + failed
        # The failures are counted a moment after the comparisons.
        if (number := data.comparisons.by_status[status] - others) <= 0:
            continue
        sentence = {
            Comparison.Status.MISMATCH: ngettext(
                "client differs between PostgreSQL and AWS",
                "clients differ between PostgreSQL and AWS",
                number,
            ),
            Comparison.Status.MISSING_IN_AWS: ngettext(
                "client is missing in AWS", "clients are missing in AWS", number
            ),
            Comparison.Status.MISSING_IN_POSTGRES: ngettext(
                "client is missing in PostgreSQL", "clients are missing in PostgreSQL", number
            ),
            Comparison.Status.UNCHECKED: ngettext(
                "client could not be checked", "clients could not be checked", number
            ),
        }[status]
        if others:
            text = ngettext(
                " (%(n)s more is acknowledged or failed to be pushed)",
                " (%(n)s more are acknowledged or failed to be pushed)",
                others,
            )
            sentence += text % {"n": intcomma(others)}
        query = f"?status={status}&state=open{'&push=well' if failed else ''}"
        check = reverse("admin:migration_comparison_check") + query
        actions = [Action(_("Check again"), check, RUN_PERMISSION, posts=True)]
        if status == Comparison.Status.MISSING_IN_AWS:
            clients = f"{_get_clients_url()}?comparison={status}"
            actions.insert(0, Action(_("See the clients"), clients, VIEW_CLIENTS))
        yield Alert(
            sentence, report + query, VIEW_COMPARISONS, count=number, actions=tuple(actions)
        )


def _alert_failures(data: AlertData) -> Iterator[Alert]:
    """Alert to clients that failed when an act was last tried, by act, then to what the latest migration left out."""
    counts, failures = data.failures, reverse("admin:migration_run_failures")
    for act, number in counts.by_act.items():
        url = f"{failures}?act={act}"
        action = Action(_("See the failures"), url, VIEW_RUNS)
        sentence = _describe_failed_clients(act, number)
        yield Alert(sentence, url, VIEW_RUNS, count=number, actions=(action,))
    if counts.run_id:
        page = reverse("admin:migration_run_change", args=[counts.run_id])
        sentence = ngettext(
            "client was left out when the latest migration was stopped",
            "clients were left out when the latest migration was stopped",
            counts.left_out,
        )
        action = Action(_("Go on with the rest"), f"{page}?items=not_begun", RUN_PERMISSION)
        yield Alert(sentence, action.url, VIEW_RUNS, count=counts.left_out, actions=(action,))


def _describe_failed_clients(act: Act, number: int) -> str:
    """Return the words that follow the number of clients that failed in `act`."""
    return {
        Act.PUSH: ngettext(
            "client failed in its newest push or migration",
            "clients failed in their newest push or migration",
            number,
        ),
        Act.COMPARE: ngettext(
            "client failed in its newest comparison",
            "clients failed in their newest comparison",
            number,
        ),
        Act.ROTATE: ngettext(
            "client was not rotated by its newest run of rotations",
            "clients were not rotated by their newest run of rotations",
            number,
        ),
        Act.MOVE: ngettext(
            "client was not moved by its newest run of moves",
            "clients were not moved by their newest run of moves",
            number,
        ),
        Act.LAYOUT: ngettext(
            "client kept its layout in its newest change of layout",
            "clients kept their layout in their newest change of layout",
            number,
        ),
        Act.SECRET_SETTINGS: ngettext(
            "client has secrets that its newest run of key and regions left otherwise",
            "clients have secrets that their newest run of key and regions left otherwise",
            number,
        ),
        Act.TO_AWS: ngettext(
            "client was not copied to AWS by its newest run of copies",
            "clients were not copied to AWS by their newest run of copies",
            number,
        ),
        Act.TO_POSTGRES: ngettext(
            "client was not copied to PostgreSQL by its newest run of copies",
            "clients were not copied to PostgreSQL by their newest run of copies",
            number,
        ),
        Act.TEST_LOGINS: ngettext(
            "client has a login that failed in its newest test",
            "clients have a login that failed in their newest test",
            number,
        ),
    }[act]


def _alert_pushes(data: AlertData) -> Iterator[Alert]:
    if number := data.clients.push_refused:
        sentence = ngettext(
            "client can't be pushed: correct its data or its secret",
            "clients can't be pushed: correct their data or their secrets",
            number,
        )
        yield _alert_clients("push=refused_again", number, sentence)
    if number := data.clients.push_late:
        sentence = ngettext(
            "client has been waiting for a push for more than two minutes",
            "clients have been waiting for a push for more than two minutes",
            number,
        )
        yield _alert_clients("push=late", number, sentence)


def _alert_requests(data: AlertData) -> Iterator[Alert]:
    """Alert to requested moves that fail a check, and to those that a second user has to decide."""
    for state, number in data.work.move_requests.items():
        url = f"{reverse('admin:migration_moverequest_changelist')}?state__exact={state}"
        if state == MoveRequest.State.WAITING:
            sentence = ngettext(
                "requested move does not pass all checks",
                "requested moves do not pass all checks",
                number,
            )
            action = Action(_("See the checks that fail"), url, VIEW_REQUESTS)
        else:
            sentence = ngettext(
                "requested move is waiting for approval",
                "requested moves are waiting for approval",
                number,
            )
            action = Action(_("Approve or refuse"), url, APPROVE_MOVES)
        yield Alert(sentence, url, VIEW_REQUESTS, count=number, actions=(action,))


def _alert_requested_runs(data: AlertData) -> Iterator[Alert]:
    """Alert to runs of moves that wait for a second user."""
    if number := data.work.requested_runs:
        sentence = ngettext(
            "requested run of moves is waiting for approval",
            "requested runs of moves are waiting for approval",
            number,
        )
        url = f"{reverse('admin:migration_run_changelist')}?state={Run.State.REQUESTED}"
        action = Action(_("Approve or refuse"), url, APPROVE_MOVES)
        yield Alert(sentence, url, VIEW_RUNS, count=number, actions=(action,))


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


def _alert_plain_text_not_rotated(data: AlertData) -> Iterator[Alert]:
    """Alert to clients with a credential that somebody may have read where it stood in clear."""
    if number := data.clients_to_rotate:
        sentence = ngettext(
            "client has a credential that stood in plain text and was not rotated since",
            "clients have credentials that stood in plain text and were not rotated since",
            number,
        )
        yield _alert_clients("plain_text=rotate", number, sentence)


def _alert_clients(query: str, number: int, sentence: str, *more: Action) -> Alert:
    """Return the alert to clients that the list of clients shows by this query."""
    url = f"{_get_clients_url()}?{query}"
    actions = (Action(_("See the clients"), url, VIEW_CLIENTS), *more)
    return Alert(sentence, url, VIEW_CLIENTS, count=number, actions=actions)


def _get_clients_url() -> str:
    return reverse("admin:credentials_client_changelist")
