"""The dashboard: how far the migration is, what needs attention, what happened lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from math import ceil

from django.db.models import Case, Q, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration.campaigns.members import count_by_phase_before_goal, select_taken_further
from migration.campaigns.models import Campaign
from migration.campaigns.starts import may_start_campaign
from migration.clients.counts import (
    BlockerCount,
    ClientCounts,
    NewestComparisonCounts,
    add_up_counts,
)
from migration.clients.filters import get_ready_url
from migration.clients.models import CUTOVER_DAYS, KEPT_FROM_CLIENTS, read_or_count_clients
from migration.core.audit import EVENT_KINDS, RUN_EVENT, AuditEvent, is_by_hand
from migration.core.clients import (
    VIEW_CAMPAIGNS,
    VIEW_CHECKS,
    VIEW_CLIENTS,
    all_clients,
)
from migration.core.comparisons import Comparison, DailyComparisons
from migration.core.pages import RUN_PERMISSION
from migration.core.problems import (
    Action,
    Finding,
    FindingState,
    Look,
    Result,
    Severity,
    list_results,
)
from migration.moves.pages import find_move_act
from migration.moves.readiness import Standing, select_with_blocker
from migration.moves.rules import READY
from migration.nova.readers import is_any_client_read_from_aws
from migration.runs.models import Run
from migration.runs.pages import make_run_badge
from migration.runs.progress import Progress, measure_progress, select_runs_for_progress
from migration.site.background import read_background_facts
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name


def get_dashboard_context(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Return what `templates/admin/index.html` shows, as far as the user may see it.

    Unfold calls it, as DASHBOARD_CALLBACK in the settings says.
    """
    may = request.user.has_perm
    found = load_dashboard()
    sees_clients = may("credentials.view_client")
    sees_comparisons = may("migration.view_comparison")
    return context | {
        "title": _("Dashboard"),
        "clients": found.clients if sees_clients else None,
        "comparisons": found.comparisons if sees_comparisons else None,
        "history": found.chart if sees_comparisons else None,
        "progress": found.run if may("migration.view_run") or may(RUN_PERMISSION) else None,
        "run_badge": make_run_badge(found.run.run) if found.run else "",
        "attention": [
            replace(
                item,
                url=item.url if may(item.url_permission) else "",
                actions=tuple(each for each in item.actions if may(each.permission)),
            )
            for item in list_attention(found.results)
            if may(item.permission)
        ],
        "unanswered": sum(
            each.problem.looked_for_every is not None
            and each.state == FindingState.NOT_LOOKED_AT
            and may(each.problem.permission)
            for each in found.results
        ),
        "activity": list_activity(may),
        "counted_at": found.counted_at,
        "headline": found.headline if sees_clients else None,
        "next_steps": _list_next_steps(request, found) if sees_clients else [],
        "campaigns": [Campaign(pk=pk) for pk in found.running_campaigns]
        if may(VIEW_CAMPAIGNS)
        else [],
        "may_plan_waves": may_start_campaign(request) and not found.running_campaigns,
        "need_somebody": sum(
            row.clients for row in found.clients.blockers if row.standing == Standing.BLOCKED
        )
        if sees_clients
        else 0,
        "blockers": _split_blockers(found.clients) if sees_clients else [],
        "may_run": may(RUN_PERMISSION),
        "may_see_checks": may(VIEW_CHECKS),
    }


@dataclass(frozen=True)
class Dashboard:
    """Everything that the dashboard shows to a user with all permissions."""

    clients: ClientCounts
    comparisons: NewestComparisonCounts
    run: Progress | None
    results: list[Result]
    chart: ComparisonChart
    headline: ProjectNumbers
    # The campaigns that take clients further by themselves.
    running_campaigns: list[int]
    # True while any campaign is not over.
    has_campaigns: bool
    # When the clients were counted, where that may be a moment ago.
    counted_at: datetime | None


def load_dashboard() -> Dashboard:
    """Load the dashboard but its recent activity, in sixteen queries.

    One more each where others have objects on NOVA's tables, and where AWS has secrets of
    deleted clients; one or two more if notices are set to reach somebody.
    """
    # What the page reads anyway is read once, also for problems.
    look = Look()
    counts = look.read(read_or_count_clients)
    clients, comparisons = add_up_counts(counts)
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    runs = select_runs_for_progress().exclude(state__in=Run.NOT_STARTED)
    run = runs.order_by(running_first, "-created_at", "-pk").first()
    work = look.read(read_background_facts)
    look.give(is_any_client_read_from_aws, clients.reads_aws)
    return Dashboard(
        clients=clients,
        comparisons=comparisons,
        run=measure_progress(run) if run else None,
        results=list_results(look),
        chart=load_comparison_chart(),
        headline=make_project_numbers(clients.total, clients.cut_over, counts.cutovers),
        running_campaigns=[
            each.pk for each in work.campaigns if each.state == Campaign.State.RUNNING
        ],
        has_campaigns=bool(work.campaigns),
        counted_at=counts.at if counts.is_kept else None,
    )


@dataclass(frozen=True)
class AttentionLine:
    """One thing that is wrong, or that waits for somebody, with what helps."""

    code: str
    severity: Severity
    # What it is about; "" where the sentence says that too.
    title: str
    sentence: str
    count: int
    # "" for who may not open it.
    url: str
    permission: str
    url_permission: str
    actions: tuple[Action, ...]
    # What to type, of what can't wait.
    statements: tuple[str, ...] = ()
    since: datetime | None = None
    # Of a stored look that should have been renewed since.
    looked_at: datetime | None = None


def list_attention(results: Iterable[Result]) -> list[AttentionLine]:
    """Return the lines of open problems: one for each finding with a list or a button of its own, one for the rest."""
    lines = []
    for result in results:
        rest = [each for each in result.failed if not (each.url or each.actions)]
        lines += [_make_line(result, each) for each in result.failed if each not in rest]
        if rest:
            lines.append(_make_line(result, *rest))
    return lines


def _make_line(result: Result, first: Finding, *others: Finding) -> AttentionLine:
    each = result.problem
    sentence = localize(first.message)
    if others:
        sentence += " " + _("(and %(n)s more)") % {"n": len(others)}
    # Its place on the health page says what to do.
    page = f"{each.url}#{each.code}" if each.page == "run_health" else each.url
    url, page_permission = first.url or page, each.page_permission or each.permission
    url_permission, target = page_permission, url
    if not url.startswith(each.url):
        # A list elsewhere: the action that leads there says who may open it.
        leads_there = (action.permission for action in first.actions if action.url == url)
        url_permission, target = next(leads_there, page_permission), page
    button = Action(str(each.button or _("What to do")), target, page_permission)
    tells_time = any(isinstance(value, datetime) for value in first.message.values.values())
    return AttentionLine(
        each.code,
        each.severity,
        str(each.title) if each.is_of_site else "",
        sentence,
        sum(found.count for found in (first, *others)),
        url,
        each.permission,
        url_permission,
        first.actions or (button,),
        first.statements if each.severity == Severity.CRITICAL else (),
        result.began_at if each.is_of_site and not tells_time else None,
        result.looked_at if result.is_old else None,
    )


def _list_next_steps(request: HttpRequest, found: Dashboard) -> list[dict[str, object]]:
    """Return each phase with clients that are ready for the next, and the page that moves them if the user may.

    The first step of the most clients is the main one, unless a campaign takes clients further.
    """
    page = reverse("admin:credentials_client_changelist")
    clients, running = found.clients, found.running_campaigns
    most = max(clients.phases, key=lambda row: row.ready)
    taken = count_by_phase_before_goal(running) if running else {}
    steps = []
    for row in clients.phases:
        if not row.ready:
            continue
        # A purge is none: it wants each slug typed.
        act = find_move_act(Phase(row.phase), Phase(row.next_phase))
        may_move = act is not None and act.takes_many and act.may(request.user)
        # The button moves only clients that no campaign takes further. Looking for one takes long where there are very
        # many: there the page behind the button says it.
        is_offered = may_move and (
            not found.has_campaigns
            or clients.total >= KEPT_FROM_CLIENTS
            or select_with_blocker(all_clients().in_phases(Phase(row.phase)), READY)
            .exclude(select_taken_further())
            .exists()
        )
        steps.append(
            {
                "number": row.ready,
                "label": row.next_label,
                "list_url": f"{page}?{row.ready_query}",
                "move_url": get_ready_url(act.code, Phase(row.phase)) if act and is_offered else "",
                "is_main": row is most and not running,
                # Ready or not: who is ready may be kept a moment later.
                "taken": taken.get(row.phase, 0),
            }
        )
    return steps


def _split_blockers(clients: ClientCounts) -> list[tuple[str, list[BlockerCount]]]:
    """Return what keeps clients from their next phase: what needs somebody, what passes by itself, then the purge."""
    titles = {
        Standing.BLOCKED: _("Blocked: need somebody"),
        Standing.WAITS: _("Wait, and go on by themselves"),
        Standing.IN_AWS: _("In AWS: lack something before their purge"),
    }
    groups = [
        (title, [row for row in clients.blockers if row.standing == standing])
        for standing, title in titles.items()
    ]
    return [(title, sorted(rows, key=lambda row: -row.clients)) for title, rows in groups if rows]


# The chart: comparisons by day and result for a month

CHART_DAYS = 30

# The statuses that one row of bars counts together, by its key.
CHART_ROWS: dict[str, tuple[str, ...]] = {
    "match": (Comparison.Status.MATCH,),
    "mismatch": Comparison.DIFFERS,
    "unchecked": (Comparison.Status.UNCHECKED,),
}


@dataclass(frozen=True)
class Bar:
    """One day of a chart: its number, and where its bar stands."""

    day: date
    number: int
    height: float  # percent of the highest
    x: int


@dataclass(frozen=True)
class Series:
    """One row of bars: the comparisons with one result."""

    key: str
    title: str
    bars: list[Bar]

    @property
    def total_number(self) -> int:
        """Return how many comparisons with this result all days have together."""
        return sum(bar.number for bar in self.bars)

    @property
    def highest_number(self) -> int:
        """Return the number of the highest bar."""
        return max(bar.number for bar in self.bars)


@dataclass(frozen=True)
class ComparisonChart:
    """The chart of each day's comparisons: a row of bars for each result, and the same numbers as a table."""

    series: list[Series]

    @property
    def total_number(self) -> int:
        """Return the number of all days and results."""
        return sum(series.total_number for series in self.series)

    @property
    def table_rows(self) -> list[tuple[date, list[int]]]:
        """Return each day with its number of each result, the newest day first."""
        bars = zip(*(series.bars for series in self.series), strict=True)
        return [(row[0].day, [bar.number for bar in row]) for row in bars][::-1]


def load_comparison_chart() -> ComparisonChart:
    """Load the chart, in one query over at most five rows a day."""
    today = timezone.localdate()
    days = [today - timedelta(days=ago) for ago in reversed(range(CHART_DAYS))]
    stored = DailyComparisons.objects.filter(day__gte=days[0])
    counted = {
        (day, status): number
        for day, status, number in stored.values_list("day", "status", "number")
    }
    titles = {
        "match": _("Matches"),
        "mismatch": _("Mismatches"),
        "unchecked": _("Could not check"),
    }
    series = []
    for key, statuses in CHART_ROWS.items():
        numbers = [sum(counted.get((day, status), 0) for status in statuses) for day in days]
        most = max(numbers)
        bars = [
            # A bar of a small number stays visible beside one of thousands.
            Bar(day, number, max(100 * number / most, 4) if number else 0, position * 10)
            for position, (day, number) in enumerate(zip(days, numbers, strict=True))
        ]
        series.append(Series(key, titles[key], bars))
    return ComparisonChart(series)


# The headline: how many clients are cut over, how many were left day by day, and about when none is

# The pace is that of this time, or since its first cutover …
PACE_DAYS = 14
# … and is none where clients were cut over on fewer days of it.
LEAST_DAYS_WITH_CUTOVERS = 3
# A forecast beyond it says nothing.
MOST_DAYS_AHEAD = 365


@dataclass(frozen=True)
class ProjectNumbers:
    """The progress of the project's cutovers: clients cut over, their pace, about when the last one is."""

    clients: int
    cut_over: int
    # How many clients were left at the end of each day; none where nobody was cut over in this time.
    days: list[Bar]
    cut_over_in_pace_days: int
    # About when the last client is cut over, at the pace of the last days; None where these don't tell.
    ends_on: date | None

    @property
    def left(self) -> int:
        return self.clients - self.cut_over

    @property
    def percent(self) -> float:
        """Return the share that is cut over, rounded down: 100 only where all are."""
        return 1000 * self.cut_over // self.clients / 10 if self.clients else 0

    @property
    def forecast_days_left(self) -> int | None:
        return (self.ends_on - timezone.localdate()).days if self.ends_on else None


def make_project_numbers(clients: int, cut_over: int, moved: dict[date, int]) -> ProjectNumbers:
    """Compute the numbers from today's counts and `moved`: the cutovers by day, less those rolled back."""
    today = timezone.localdate()
    days = [today - timedelta(days=ago) for ago in reversed(range(CUTOVER_DAYS))]
    left, after = dict[date, int](), clients - cut_over
    for day in reversed(days):
        left[day] = after
        after += moved.get(day, 0)
    most = max(left.values(), default=0)
    return ProjectNumbers(
        clients=clients,
        cut_over=cut_over,
        days=[
            Bar(day, left[day], 100 * left[day] / most, position * 10)
            for position, day in enumerate(days)
        ]
        if moved and most > 0
        else [],
        cut_over_in_pace_days=sum(
            number for day, number in moved.items() if day > today - timedelta(days=PACE_DAYS)
        ),
        ends_on=_forecast_end(clients - cut_over, moved, today),
    )


def _forecast_end(left: int, moved: dict[date, int], today: date) -> date | None:
    """Return about when nobody is left; None where too few days had cutovers to speak of a pace."""
    lately = {d: n for d, n in moved.items() if d > today - timedelta(days=PACE_DAYS) and n > 0}
    number = sum(n for d, n in moved.items() if d > today - timedelta(days=PACE_DAYS))
    if left <= 0 or number <= 0 or len(lately) < LEAST_DAYS_WITH_CUTOVERS:
        return None
    per_day = number / ((today - min(lately)).days + 1)
    ahead = ceil(left / per_day)
    return today + timedelta(days=ahead) if ahead <= MOST_DAYS_AHEAD else None


# Recent activity: the newest events that people brought about

ACTIVITIES_SHOWN = 10


@dataclass(frozen=True)
class Activity:
    """One event, with the page that it is about; `url` is "" for who may not open that."""

    event: AuditEvent
    url: str

    @property
    def sentence(self) -> str:
        """Say what happened, and to which client, in the page's language."""
        text = localize(self.event.message, at=self.event.when)
        return f"{escape_name(self.event.slug)}: {text}" if self.event.slug else text


def list_activity(may: Callable[[str], bool]) -> list[Activity]:
    """List the newest activity that a user may see, of whom `may` tells, in one query."""
    kinds = [kind for kind in EVENT_KINDS.values() if kind.in_activity and kind.is_seen_by(may)]
    events = AuditEvent.objects.filter(
        is_by_hand(),
        # A campaign stands for its runs and its clients, and a run for its plan.
        Q(correlation__startswith="run ") | ~Q(code=RUN_EVENT),
        Q(slug="") | ~Q(correlation__startswith="campaign "),
        code__in=kinds,
    )
    if not may(VIEW_CLIENTS):
        events = events.filter(slug="")
    newest = events.newest_until_now()[:ACTIVITIES_SHOWN]
    pages = [(event, event.page) for event in newest]
    return [
        Activity(event, page.url if page and may(page.permission) else "") for event, page in pages
    ]
