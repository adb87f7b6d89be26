"""Finds what is wrong with clients, or waits for somebody: mismatches, failures, pushes, rotations, approvals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from functools import partial

from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from migration.campaigns.models import Campaign
from migration.clients.counts import add_up_counts
from migration.clients.models import read_or_count_clients
from migration.core.clients import (
    APPROVE_MOVES,
    VIEW_CAMPAIGNS,
    VIEW_CLIENTS,
    VIEW_COMPARISONS,
    VIEW_RUNS,
    all_clients,
)
from migration.core.comparisons import Comparison, OpenMismatch, count_clients_to_resolve
from migration.core.notices import ClientCondition, NoticeEvent
from migration.core.pages import RUN_PERMISSION
from migration.core.problems import (
    Action,
    Area,
    Finder,
    Finding,
    Look,
    Severity,
    problem,
    report_failure,
    report_ok,
)
from migration.logins import models as rotation_schedules
from migration.logins.models import Rotation, RotationOutcome, RotationSchedule
from migration.runs.items import Act
from migration.runs.requests import REQUESTS_URL
from migration.site.background import read_background_facts
from nova_credentials.messages import Sentence, in_a_row

CLIENT_LIST = "admin:credentials_client_changelist"
# Every page looks anew, from what it has counted; what is told of clients names them (`told_by_client`).
of_clients = partial(problem, area=Area.CLIENTS, found_by=Finder.PAGE, told_as=None)
ALL_AGREE = Sentence("all_agree", "No client is known to differ between PostgreSQL and AWS.")
ALL_COULD_BE_CHECKED = Sentence("all_could_be_checked", "Every comparison could be made.")
SETTLED_OTHERWISE = Sentence(
    "settled_otherwise",
    "%(n)s more are acknowledged or could not be pushed.",
    one="%(n)s more is acknowledged or could not be pushed.",
)
# Those of clients that lack a store are in rows of earlier releases alone.
BY_STATUS = {
    Comparison.Status.MISMATCH: Sentence(
        "clients_differ",
        "%(n)s clients have a mismatch.",
        one="%(n)s client has a mismatch.",
    ),
    Comparison.Status.MISSING_IN_AWS: Sentence(
        "clients_missing_in_aws",
        "%(n)s clients are missing in AWS.",
        one="%(n)s client is missing in AWS.",
    ),
    Comparison.Status.MISSING_IN_POSTGRES: Sentence(
        "clients_missing_in_postgres",
        "%(n)s clients are missing in PostgreSQL.",
        one="%(n)s client is missing in PostgreSQL.",
    ),
    Comparison.Status.UNCHECKED: Sentence(
        "clients_unchecked",
        "%(n)s clients could not be checked.",
        one="%(n)s client could not be checked.",
    ),
}
MISMATCHES_OPENED = Sentence(
    "mismatches_opened",
    "%(n)s more fields differ between PostgreSQL and AWS. Clients: %(names)s",
    glue=", ",
    one="One more field differs between PostgreSQL and AWS. Client: %(names)s",
)


# A worker pushes what NOVA wrote within a minute, and compares it then.
PUSHED_WITHIN = timedelta(minutes=5)


def list_open_mismatches() -> Iterable[str]:
    """Return the fields that differ, without those that were just found while a write of NOVA's is on its way."""
    lately = timezone.now() - PUSHED_WITHIN
    on_its_way = all_clients().push_due().values("pk")
    told = OpenMismatch.objects.exclude(first_seen_at__gt=lately, client_id__in=on_its_way)
    rows = told.order_by().values_list("client_id", "pk")
    return (f"{client_id}:{pk}" for client_id, pk in rows.iterator())


@of_clients(
    "mismatches",
    gettext_lazy("Clients that differ"),
    page="comparison_report",
    permission=VIEW_COMPARISONS,
    told_by_client=(
        ClientCondition("mismatch", NoticeEvent.MISMATCH, list_open_mismatches, MISMATCHES_OPENED),
    ),
)
def find_mismatches(look: Look) -> Iterator[Finding]:
    number = look.read(count_clients_to_resolve)
    if not number:
        yield report_ok(ALL_AGREE())
        return
    url = f"{reverse('admin:migration_comparison_report')}?state=open"
    yield report_failure(
        BY_STATUS[Comparison.Status.MISMATCH](n=number),
        count=number,
        url=url,
        actions=(Action(_("See the mismatches"), url, VIEW_COMPARISONS),),
    )


@of_clients(
    "unchecked",
    gettext_lazy("Clients that could not be checked"),
    page="comparison_report",
    permission=VIEW_COMPARISONS,
)
def find_unchecked(look: Look) -> Iterator[Finding]:
    found = list(_find_by_status(look, Comparison.Status.UNCHECKED))
    yield from found or [report_ok(ALL_COULD_BE_CHECKED())]


def _find_by_status(look: Look, status: Comparison.Status) -> Iterator[Finding]:
    """Yield how many clients' newest comparisons have this status, nobody acknowledged it, and no push failed."""
    counts = look.read(read_or_count_clients)
    _clients, comparisons = add_up_counts(counts)
    # Who failed to be pushed is named by the failure, which is the cause.
    failed = counts.failures.by_status.get(status, 0)
    others = comparisons.acknowledged[status] + failed
    # The failures are counted a moment after the comparisons.
    if (number := comparisons.by_status[status] - others) <= 0:
        return
    query = f"?status={status}&state=open{'&push=well' if failed else ''}"
    url = reverse("admin:migration_comparison_report") + query
    message = in_a_row(BY_STATUS[status](n=number), SETTLED_OTHERWISE(n=others) if others else None)
    yield report_failure(
        message or BY_STATUS[status](n=number),
        count=number,
        url=url,
        actions=(Action(_("See the clients"), url, VIEW_COMPARISONS),),
    )


NOBODY_FAILED = Sentence("nobody_failed", "No failures.")
FAILED_CLIENTS = {
    Act.PUSH: Sentence(
        "clients_failed_in_push",
        "The latest push or migration of %(n)s clients failed.",
        one="The latest push or migration of %(n)s client failed.",
    ),
    Act.COMPARE: Sentence(
        "clients_failed_in_comparison",
        "The latest comparison of %(n)s clients failed.",
        one="The latest comparison of %(n)s client failed.",
    ),
    Act.ROTATE: Sentence(
        "clients_not_rotated",
        "The latest rotation of %(n)s clients failed.",
        one="The latest rotation of %(n)s client failed.",
    ),
    Act.MOVE: Sentence(
        "clients_not_moved",
        "The latest move of %(n)s clients was refused or failed.",
        one="The latest move of %(n)s client was refused or failed.",
    ),
    Act.LAYOUT: Sentence(
        "clients_kept_layout",
        "The latest change of layout failed for %(n)s clients.",
        one="The latest change of layout failed for %(n)s client.",
    ),
    Act.SECRET_SETTINGS: Sentence(
        "clients_left_otherwise",
        "The latest key and regions run failed for %(n)s clients.",
        one="The latest key and regions run failed for %(n)s client.",
    ),
    Act.TO_AWS: Sentence(
        "clients_not_copied_to_aws",
        "The latest copy to AWS failed for %(n)s clients.",
        one="The latest copy to AWS failed for %(n)s client.",
    ),
    Act.TO_POSTGRES: Sentence(
        "clients_not_copied_to_postgres",
        "The latest copy to PostgreSQL failed for %(n)s clients.",
        one="The latest copy to PostgreSQL failed for %(n)s client.",
    ),
    Act.TEST_LOGINS: Sentence(
        "clients_logins_failed",
        "%(n)s clients have a login that failed its latest test.",
        one="%(n)s client has a login that failed its latest test.",
    ),
}


@of_clients(
    "failures",
    gettext_lazy("Failures"),
    page="run_failures",
    permission=VIEW_RUNS,
)
def find_failures(look: Look) -> Iterator[Finding]:
    """Yield the clients that failed when an act was last tried, by act."""
    by_act = look.read(read_or_count_clients).failures.by_act
    for act, number in by_act.items():
        url = f"{reverse('admin:migration_run_failures')}?act={act}"
        action = Action(_("See the failures"), url, VIEW_RUNS)
        message = FAILED_CLIENTS[act](n=number)
        yield report_failure(message, count=number, url=url, actions=(action,))
    if not by_act:
        yield report_ok(NOBODY_FAILED())


NOBODY_LEFT_OUT = Sentence("nobody_left_out", "The latest migration left no client out.")
CLIENTS_LEFT_OUT = Sentence(
    "clients_left_out",
    "The latest migration stopped before it reached %(n)s clients.",
    one="The latest migration stopped before it reached %(n)s client.",
)


@of_clients(
    "left_out",
    gettext_lazy("Clients that a migration left out"),
    stands_still=True,
    page="run_changelist",
    permission=VIEW_RUNS,
)
def find_left_out(look: Look) -> Iterator[Finding]:
    failures = look.read(read_or_count_clients).failures
    if not failures.run_id:
        yield report_ok(NOBODY_LEFT_OUT())
        return
    page = reverse("admin:migration_run_change", args=[failures.run_id])
    action = Action(_("Continue with the rest"), f"{page}?items=not_begun", RUN_PERMISSION)
    message = CLIENTS_LEFT_OUT(n=failures.left_out)
    yield report_failure(message, count=failures.left_out, url=action.url, actions=(action,))


NOBODY_REFUSED = Sentence("nobody_refused", "Every client can be pushed.")
PUSHES_REFUSED = Sentence(
    "pushes_refused",
    "%(n)s clients can't be pushed. Fix their data or their secrets.",
    one="%(n)s client can't be pushed. Fix its data or its secret.",
)
NOBODY_LATE = Sentence("nobody_late", "No push is late.")
PUSHES_LATE = Sentence(
    "pushes_late",
    "%(n)s clients have waited more than two minutes for a push.",
    one="%(n)s client has waited more than two minutes for a push.",
)


@of_clients(
    "push_refused",
    gettext_lazy("Clients that can't be pushed"),
    page=CLIENT_LIST,
    permission=VIEW_CLIENTS,
)
def find_refused_pushes(look: Look) -> Iterator[Finding]:
    number = look.read(read_or_count_clients).pushes["push_refused"]
    yield _report_clients(number, PUSHES_REFUSED, "push=refused_again") or report_ok(
        NOBODY_REFUSED()
    )


@of_clients(
    "push_late",
    gettext_lazy("Late pushes"),
    page=CLIENT_LIST,
    permission=VIEW_CLIENTS,
)
def find_late_pushes(look: Look) -> Iterator[Finding]:
    number = look.read(read_or_count_clients).pushes["push_late"]
    yield _report_clients(number, PUSHES_LATE, "push=late") or report_ok(NOBODY_LATE())


def _report_clients(number: int, sentence: Sentence, query: str) -> Finding | None:
    """Report the clients that their list shows by this query; None where there are none."""
    if not number:
        return None
    url = f"{reverse(CLIENT_LIST)}?{query}"
    action = Action(_("See the clients"), url, VIEW_CLIENTS)
    return report_failure(sentence(n=number), count=number, url=url, actions=(action,))


NO_ROTATION_STOPPED = Sentence("no_rotation_stopped", "No rotation stopped half-way.")
CLIENTS_ROTATIONS_STOPPED = Sentence(
    "clients_rotations_stopped",
    "The rotations of %(n)s clients stopped. Check which passwords work.",
    one="The rotation of %(n)s client stopped. Check which password works.",
)
ROTATIONS_STOPPED = Sentence(
    "rotations_stopped",
    "%(n)s rotations stopped. Check which secrets work: %(names)s",
    glue=", ",
    one="A rotation stopped. Check which secret works: %(names)s",
)
ROTATIONS_IN_TIME = Sentence(
    "rotations_in_time", "No rotation is overdue, or begun and not finished."
)
ROTATIONS_UNFINISHED = Sentence(
    "rotations_unfinished",
    "The rotations of %(n)s clients are not finished. Workers retry them every minute.",
    one="The rotation of %(n)s client is not finished. Workers retry it every minute.",
)
CLIENTS_ROTATIONS_OVERDUE = Sentence(
    "clients_rotations_overdue",
    "The database passwords of %(n)s clients are overdue for rotation.",
    one="The database password of %(n)s client is overdue for rotation.",
)
ROTATIONS_REFUSED = Sentence(
    "rotations_refused",
    "%(n)s rotations failed and changed nothing: %(names)s",
    glue=", ",
    one="A rotation failed and changed nothing: %(names)s",
)
ROTATIONS_OVERDUE = Sentence(
    "rotations_overdue",
    "The database passwords of %(n)s more clients are overdue for their rotation: %(names)s",
    glue=", ",
    one="The database password of one more client is overdue for its rotation: %(names)s",
)


def list_rotations(outcome: RotationOutcome) -> Iterable[str]:
    """Return the rotations that ended so, where no later one of the same login has ended."""
    rows = Rotation.objects.newest_of_login(outcome).values_list("client_id", "pk")
    return (f"{client_id}:{pk}" for client_id, pk in rows)


def list_overdue_rotations() -> Iterable[str]:
    """Return the days that have passed on which a client's password was to be rotated."""
    days, today = RotationSchedule.objects.find_next_days(), rotation_schedules.today()
    return (f"{client_id}:{due}" for client_id, due in days.items() if due < today)


@of_clients(
    "rotations_stopped",
    gettext_lazy("Rotations that stopped"),
    severity=Severity.CRITICAL,
    page=CLIENT_LIST,
    permission=VIEW_CLIENTS,
    told_by_client=(
        ClientCondition(
            "rotation_stopped",
            NoticeEvent.ROTATION_FAILED,
            partial(list_rotations, RotationOutcome.STOPPED),
            ROTATIONS_STOPPED,
        ),
    ),
)
def find_stopped_rotations(look: Look) -> Iterator[Finding]:
    number = look.read(read_background_facts).rotations["stopped"]
    found = _report_clients(number, CLIENTS_ROTATIONS_STOPPED, "rotation=stopped")
    yield found or report_ok(NO_ROTATION_STOPPED())


@of_clients(
    "rotations",
    gettext_lazy("Rotations that are late"),
    page=CLIENT_LIST,
    permission=VIEW_CLIENTS,
    told_by_client=(
        ClientCondition(
            "rotation_refused",
            NoticeEvent.ROTATION_FAILED,
            partial(list_rotations, RotationOutcome.REFUSED),
            ROTATIONS_REFUSED,
        ),
        ClientCondition(
            "rotation_overdue",
            NoticeEvent.ROTATION_OVERDUE,
            list_overdue_rotations,
            ROTATIONS_OVERDUE,
        ),
    ),
)
def find_late_rotations(look: Look) -> Iterator[Finding]:
    numbers = look.read(read_background_facts).rotations
    sentences = {"unfinished": ROTATIONS_UNFINISHED, "overdue": CLIENTS_ROTATIONS_OVERDUE}
    found = [
        _report_clients(numbers[which], sentence, f"rotation={which}")
        for which, sentence in sentences.items()
    ]
    yield from [each for each in found if each] or [report_ok(ROTATIONS_IN_TIME())]


NOTHING_TO_ROTATE = Sentence("nothing_to_rotate", "Whatever stood in plain text was rotated since.")
CLIENTS_TO_ROTATE = Sentence(
    "clients_to_rotate",
    "%(n)s clients have secrets that were stored in plain text and not rotated since.",
    one="%(n)s client has a secret that was stored in plain text and not rotated since.",
)


@of_clients(
    "to_rotate",
    gettext_lazy("Secrets that were in plain text"),
    page=CLIENT_LIST,
    permission=VIEW_CLIENTS,
)
def find_clients_to_rotate(look: Look) -> Iterator[Finding]:
    """Yield the clients with a credential that somebody may have read where it stood in clear."""
    number = look.read(read_or_count_clients).clients_to_rotate
    found = _report_clients(number, CLIENTS_TO_ROTATE, "plain_text=rotate")
    yield found or report_ok(NOTHING_TO_ROTATE())


NO_OFFBOARDING_INTERRUPTED = Sentence(
    "no_offboarding_interrupted", "No offboarding was interrupted."
)
OFFBOARDINGS_INTERRUPTED = Sentence(
    "offboardings_interrupted",
    "Offboarding or bringing back %(n)s clients was interrupted. Do it again on their pages.",
    one="Offboarding or bringing back %(n)s client was interrupted. Do it again on the client's page.",
)


@of_clients(
    "offboarding_interrupted",
    gettext_lazy("Offboardings that were interrupted"),
    page=CLIENT_LIST,
    permission=VIEW_CLIENTS,
)
def find_interrupted_offboardings(look: Look) -> Iterator[Finding]:
    number = look.read(read_background_facts).interrupted_offboardings
    found = _report_clients(number, OFFBOARDINGS_INTERRUPTED, "active=interrupted")
    yield found or report_ok(NO_OFFBOARDING_INTERRUPTED())


NO_CAMPAIGN_STOPPED = Sentence("no_campaign_stopped", "No campaign has stopped.")
CAMPAIGN_HAS_STOPPED = Sentence("campaign_has_stopped", "Campaign %(number)s has stopped.")
NO_CAMPAIGN_REQUESTED = Sentence("no_campaign_requested", "No campaign is waiting for approval.")
CAMPAIGN_WAITS = Sentence("campaign_waits", "Campaign %(number)s is waiting for approval.")


@of_clients(
    "campaign_stopped",
    gettext_lazy("Campaigns that stopped"),
    stands_still=True,
    page="campaign_changelist",
    permission=VIEW_CAMPAIGNS,
)
def find_stopped_campaigns(look: Look) -> Iterator[Finding]:
    found = list(_find_campaigns(look, Campaign.State.STOPPED, CAMPAIGN_HAS_STOPPED))
    yield from found or [report_ok(NO_CAMPAIGN_STOPPED())]


@of_clients(
    "requested_campaigns",
    gettext_lazy("Campaigns that wait for approval"),
    severity=Severity.TODO,
    page="campaign_changelist",
    permission=VIEW_CAMPAIGNS,
)
def find_requested_campaigns(look: Look) -> Iterator[Finding]:
    found = list(_find_campaigns(look, Campaign.State.REQUESTED, CAMPAIGN_WAITS))
    yield from found or [report_ok(NO_CAMPAIGN_REQUESTED())]


def _find_campaigns(look: Look, state: Campaign.State, sentence: Sentence) -> Iterator[Finding]:
    """Yield each campaign in this state, with the reason of its stop."""
    for campaign in look.read(read_background_facts).campaigns:
        if campaign.state == state:
            url = reverse("admin:migration_campaign_change", args=[campaign.pk])
            action = Action(_("See the campaign"), url, VIEW_CAMPAIGNS)
            message = sentence(number=str(campaign.pk))
            why = in_a_row(message, campaign.stopped_because) or message
            yield report_failure(why, url=url, actions=(action,))


NO_RUN_REQUESTED = Sentence("no_run_requested", "No run of moves is waiting for approval.")
RUNS_REQUESTED = Sentence(
    "runs_requested",
    "%(n)s requests are waiting for approval.",
    one="%(n)s request is waiting for approval.",
)


@of_clients(
    "requested_runs",
    gettext_lazy("Runs that wait for approval"),
    severity=Severity.TODO,
    page="run_changelist",
    permission=VIEW_RUNS,
)
def find_requested_runs(look: Look) -> Iterator[Finding]:
    number = look.read(read_background_facts).requested_runs
    if not number:
        yield report_ok(NO_RUN_REQUESTED())
        return
    url = str(REQUESTS_URL)
    action = Action(_("Approve or refuse"), url, APPROVE_MOVES)
    yield report_failure(RUNS_REQUESTED(n=number), count=number, url=url, actions=(action,))
