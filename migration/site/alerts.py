"""Finds what needs somebody's attention, for the dashboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Count
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
from migration.site.models import BackgroundFacts
from migration.site.notices import AUDIT_NOT_SEALED
from nova_credentials.phases import Phase

# Holds what an alert of the dashboard is: a sentence, a number, the address of a list and actions that help.


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


def get_clients_url() -> str:
    return reverse("admin:credentials_client_changelist")


# Lists the alerts about what is done with single clients: rotations, offboardings, values that stood in plain text.


def alert_rotations(data: AlertData) -> Iterator[Alert]:
    """Alert to clients whose rotation stopped, waits, or is overdue."""
    for which, number in data.work.rotations.items():
        if number:
            url = f"{get_clients_url()}?rotation={which}"
            action = Action(_("See the clients"), url, VIEW_CLIENTS)
            sentence = _describe_rotations(which, number)
            yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=(action,))


def _describe_rotations(which: str, number: int) -> str:
    return {
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
    }[which]


def alert_plain_text_not_rotated(data: AlertData) -> Iterator[Alert]:
    """Alert to clients with a credential that somebody may have read where it stood in clear."""
    if number := data.clients_to_rotate:
        sentence = ngettext(
            "client has a credential that stood in plain text and was not rotated since",
            "clients have credentials that stood in plain text and were not rotated since",
            number,
        )
        url = f"{get_clients_url()}?plain_text=rotate"
        action = Action(_("See the clients"), url, VIEW_CLIENTS)
        yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=(action,))


def alert_secret_settings(data: AlertData) -> Iterator[Alert]:
    """Alert to clients with secrets whose tags, description, KMS key or replicas are not as the settings say."""
    if number := data.work.differing_secrets:
        sentence = ngettext(
            "client has secrets whose tags, description, KMS key or replicas are not as the settings say",
            "clients have secrets whose tags, description, KMS key or replicas are not as the settings say",
            number,
        )
        url = f"{get_clients_url()}?settings=differ"
        actions = (
            Action(_("See the clients"), url, VIEW_CLIENTS),
            Action(
                _("See key and regions"), reverse("admin:migration_run_secret_settings"), VIEW_RUNS
            ),
        )
        yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=actions)


def alert_interrupted_offboardings(data: AlertData) -> Iterator[Alert]:
    """Alert to clients that left, or came back, in part only."""
    if number := data.work.interrupted_offboardings:
        sentence = ngettext(
            "client was offboarded or brought back in part only: do it again on its page",
            "clients were offboarded or brought back in part only: do it again on their pages",
            number,
        )
        url = f"{get_clients_url()}?active=interrupted"
        action = Action(_("See the clients"), url, VIEW_CLIENTS)
        yield Alert(sentence, url, VIEW_CLIENTS, count=number, actions=(action,))


def alert_secrets_of_deleted_clients(data: AlertData) -> Iterator[Alert]:
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


# Says in words what clients failed in.


def pluralize_failed_clients(act: Act, number: int) -> str:
    """Return the words that follow the number of clients that failed in `act`, in the page's language."""
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


# Lists what needs a user's attention, each with its number, the address of the list and actions that help.


def list_alerts(data: AlertData) -> list[Alert]:
    """List the alerts, the most pressing first, in one query."""
    return [alert for source in SOURCES for alert in source(data)]


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


def _alert_mismatches(data: AlertData) -> Iterator[Alert]:
    report = reverse("admin:migration_comparison_report")
    for status in (*Comparison.DIFFERS, Comparison.Status.UNCHECKED):
        acknowledged = data.comparisons.acknowledged[status]
        # Who failed to be pushed is named by the failure, which is the cause.
        failed = data.failures.by_status.get(status, 0)
        # The failures are counted a moment after the comparisons.
        if (number := data.comparisons.by_status[status] - acknowledged - failed) > 0:
            query = f"?status={status}&state=open{'&push=well' if failed else ''}"
            check = reverse("admin:migration_comparison_check") + query
            yield Alert(
                _describe_status(status, number) + _describe_others(acknowledged + failed),
                report + query,
                VIEW_COMPARISONS,
                count=number,
                actions=(
                    *_list_fixes(status),
                    Action(_("Check again"), check, RUN_PERMISSION, posts=True),
                ),
            )


def _describe_others(number: int) -> str:
    """Say how many clients with the same result are not counted here."""
    text = ngettext(
        " (%(n)s more is acknowledged or failed to be pushed)",
        " (%(n)s more are acknowledged or failed to be pushed)",
        number,
    )
    return text % {"n": intcomma(number)} if number else ""


def _list_fixes(status: Comparison.Status) -> Iterator[Action]:
    """Return the one action that resolves this status, if there is one."""
    if status == Comparison.Status.MISSING_IN_AWS:
        yield Action(_("See the clients"), f"{get_clients_url()}?comparison={status}", VIEW_CLIENTS)


def _describe_status(status: str, number: int) -> str:
    return {
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
    }[Comparison.Status(status)]


def _alert_failures(data: AlertData) -> Iterator[Alert]:
    """Alert to clients that failed when an act was last tried, by act, then to what the latest migration left out."""
    counts, failures = data.failures, reverse("admin:migration_run_failures")
    for act, number in counts.by_act.items():
        url = f"{failures}?act={act}"
        action = Action(_("See the failures"), url, VIEW_RUNS)
        sentence = pluralize_failed_clients(act, number)
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


def _alert_pushes(data: AlertData) -> Iterator[Alert]:
    if number := data.clients.push_refused:
        sentence = ngettext(
            "client can't be pushed: correct its data or its secret",
            "clients can't be pushed: correct their data or their secrets",
            number,
        )
        yield _make_push_alert("refused_again", number, sentence)
    if number := data.clients.push_late:
        sentence = ngettext(
            "client has been waiting for a push for more than two minutes",
            "clients have been waiting for a push for more than two minutes",
            number,
        )
        yield _make_push_alert("late", number, sentence)


def _make_push_alert(which: str, number: int, sentence: str) -> Alert:
    url = f"{get_clients_url()}?push={which}"
    actions = (Action(_("See the clients"), url, VIEW_CLIENTS),)
    return Alert(sentence, url, VIEW_CLIENTS, count=number, actions=actions)


def _alert_requests(_data: AlertData) -> Iterator[Alert]:
    """Alert to requested moves that fail a check, and to those that a second user has to decide."""
    requests = MoveRequest.objects.open().order_by().values_list("state")
    for state, number in requests.annotate(n=Count("pk")):
        waits = state == MoveRequest.State.WAITING
        sentence = (
            ngettext(
                "requested move does not pass all checks",
                "requested moves do not pass all checks",
                number,
            )
            if waits
            else ngettext(
                "requested move is waiting for approval",
                "requested moves are waiting for approval",
                number,
            )
        )
        url = f"{reverse('admin:migration_moverequest_changelist')}?state__exact={state}"
        action = (
            Action(_("See the checks that fail"), url, VIEW_REQUESTS)
            if waits
            else Action(_("Approve or refuse"), url, APPROVE_MOVES)
        )
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


# The most pressing first. A new alert is one more function here.
SOURCES: tuple[Callable[[AlertData], Iterator[Alert]], ...] = (
    _alert_refused_writes, _alert_missing_worker, _alert_unsealed_audit, _alert_nova_tables, _alert_readers,
    _alert_campaigns,
    alert_rotations, alert_interrupted_offboardings, _alert_mismatches, _alert_failures, _alert_pushes, _alert_requests,
    _alert_requested_runs, alert_secret_settings, alert_secrets_of_deleted_clients, alert_plain_text_not_rotated,
)  # fmt: skip
