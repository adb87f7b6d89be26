"""Lists what needs a user's attention, each with its number, the address of the list and actions that help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib.humanize.templatetags.humanize import intcomma
from django.db.models import Count
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from credentials.localization import localize
from migration.campaigns.models import Campaign
from migration.core.audit_chain import find_unsealed_since
from migration.core.aws_writes import find_write_refusal
from migration.core.clients import (
    APPROVE_MOVES,
    START_RUNS,
    VIEW_CAMPAIGNS,
    VIEW_CLIENTS,
    VIEW_COMPARISONS,
    VIEW_READERS,
    VIEW_REQUESTS,
    VIEW_RUNS,
    VIEW_TABLES,
)
from migration.core.comparisons import Comparison
from migration.core.workers import Worker
from migration.nova.readers import pluralize_failing_readers
from migration.operations.doctor import process_sentences
from migration.reports.alert import Action, Alert, get_clients_url
from migration.reports.client_alerts import (
    alert_interrupted_offboardings,
    alert_plain_text_not_rotated,
    alert_rotations,
    alert_secret_settings,
    alert_secrets_of_deleted_clients,
)
from migration.reports.failures import pluralize_failed_clients
from migration.runs.models import Run
from migration.runs.requests import MoveRequest
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from migration.reports.alert import AlertData


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
        yield Alert(localize(process_sentences.AUDIT_NOT_SEALED(ago=since)), url, VIEW_RUNS)


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
                    Action(_("Check again"), check, START_RUNS, posts=True),
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
        action = Action(_("Go on with the rest"), f"{page}?items=not_begun", START_RUNS)
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
