"""The dashboard: what needs somebody, how far the migration is, what is next, what is at work, what happened lately."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Case, Q, QuerySet, When
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from credentials.localization import intcomma, localize
from migration.campaigns.members import (
    count_in_campaigns,
    list_running_campaigns,
    select_taken_further,
)
from migration.campaigns.models import CAMPAIGN, Campaign
from migration.campaigns.starts import may_start_campaign
from migration.clients.counts import ClientCounts, add_up_counts
from migration.clients.filters import NEEDS_SOMEBODY, get_ready_url
from migration.clients.models import KEPT_FROM_CLIENTS, read_or_count_clients
from migration.core.audit import EVENT_KINDS, RUN_EVENT, AuditEvent, is_by_hand
from migration.core.clients import (
    VIEW_CAMPAIGNS,
    VIEW_CLIENTS,
    VIEW_RUNS,
    all_clients,
    read_move,
)
from migration.core.pages import RUN_PERMISSION, AdminView, add_pages
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
from migration.people.roles import VIEW_AUDIT
from migration.runs.models import RUN_ENDED, RUN_ENDED_BY_STOP, RUN_ENDED_WELL, Run
from migration.runs.progress import Progress, list_progress, select_runs_for_progress
from migration.runs.starts import get_run_url
from migration.site.background import read_background_facts
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name


def get_dashboard_context(request: HttpRequest, context: dict[str, object]) -> dict[str, object]:
    """Return what `templates/admin/index.html` shows, as far as the user may see it.

    Unfold calls it, as DASHBOARD_CALLBACK in the settings says.
    """
    may = request.user.has_perm
    found = load_dashboard()
    sees_clients = may(VIEW_CLIENTS)
    blocked = [row for row in found.clients.blockers if row.standing == Standing.BLOCKED]
    return (
        context
        | {
            "title": _("Dashboard"),
            "clients": found.clients if sees_clients else None,
            "attention": list_attention(found.results, may),
            "unanswered": sum(
                each.problem.looked_for_every is not None
                and each.state == FindingState.NOT_LOOKED_AT
                and may(each.problem.permission)
                for each in found.results
            ),
            "blocked": sum(row.clients for row in blocked) if sees_clients else 0,
            "blocked_query": f"next={NEEDS_SOMEBODY}",
            "counted_at": found.counted_at,
            "next": find_next_step(request, found) if sees_clients else None,
            "activity": list_activity(may),
            "may_view_audit": may(VIEW_AUDIT),
        }
        | get_work_context(request)
    )


@dataclass(frozen=True)
class Dashboard:
    """What the dashboard shows of clients and problems to a user with all permissions."""

    clients: ClientCounts
    results: list[Result]
    # True while any campaign is not over.
    has_campaigns: bool
    # When the clients were counted, where that may be a moment ago.
    counted_at: datetime | None


def load_dashboard() -> Dashboard:
    """Load the dashboard but what is at work and its recent activity, in thirteen queries.

    One more each where others have objects on NOVA's tables, and where AWS has secrets of
    deleted clients; one or two more if notices are set to reach somebody.
    """
    # What the page reads anyway is read once, also for problems.
    look = Look()
    counts = look.read(read_or_count_clients)
    clients, _comparisons = add_up_counts(counts)
    work = look.read(read_background_facts)
    look.give(is_any_client_read_from_aws, clients.reads_aws)
    return Dashboard(
        clients=clients,
        results=list_results(look),
        has_campaigns=bool(work.campaigns),
        counted_at=counts.at if counts.is_kept else None,
    )


# What needs somebody: a line and a button each


@dataclass(frozen=True)
class AttentionLine:
    """One thing that is wrong, or that waits for somebody, with what helps."""

    code: str
    severity: Severity
    # What it is about, and the rest of what there is to say.
    lead: str
    detail: str
    # All of it, as other pages say it.
    sentence: str
    count: int
    # "" for who may not open it.
    url: str
    permission: str
    action: Action | None
    # What to type, of what can't wait.
    statements: tuple[str, ...] = ()
    since: datetime | None = None
    # Of a stored look that should have been renewed since.
    looked_at: datetime | None = None
    stands_still: bool = False


def list_attention(
    results: Iterable[Result], may: Callable[[str], bool] = lambda _permission: True
) -> list[AttentionLine]:
    """Return the lines of open problems: one for each finding with a list or a button of its own, one for the rest.

    Only of what the user may see, of whom `may` tells.
    """
    lines = []
    for result in results:
        if not may(result.problem.permission):
            continue
        rest = [each for each in result.failed if not (each.url or each.actions)]
        lines += [_make_line(result, may, each) for each in result.failed if each not in rest]
        if rest:
            lines.append(_make_line(result, may, *rest))
    return lines


def _make_line(
    result: Result, may: Callable[[str], bool], first: Finding, *others: Finding
) -> AttentionLine:
    each = result.problem
    more = _("(and %(n)s more)") % {"n": len(others)} if others else ""
    sentence = " ".join(filter(None, [localize(first.message), more]))
    lead, detail = str(each.title_of_wrong or each.title), sentence
    if not each.is_of_site:
        lead, *parts = map(localize, first.message.parts)
        detail = " ".join(filter(None, [*parts, more]))
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
        lead,
        detail,
        sentence,
        sum(found.count for found in (first, *others)),
        url if may(url_permission) else "",
        each.permission,
        next((action for action in first.actions or (button,) if may(action.permission)), None),
        first.statements if each.severity == Severity.CRITICAL else (),
        result.began_at if each.is_of_site and not tells_time else None,
        result.looked_at if result.is_old else None,
        each.stands_still,
    )


# What is next: one sentence and the page's main button


@dataclass(frozen=True)
class NextStep:
    """What to do next with the clients, and where; `is_main`: the user can do it there."""

    text: str
    button: str
    url: str
    is_main: bool = True
    # Where the same clients are taken further by a campaign; "": nowhere.
    waves_url: str = ""


def find_next_step(request: HttpRequest, found: Dashboard) -> NextStep | None:
    """Return the step that most clients are ready for, else what keeps them; None where nothing is left."""
    page, clients = reverse("admin:credentials_client_changelist"), found.clients
    if not clients.total:
        if not request.user.has_perm("credentials.add_client"):
            return None
        url = reverse("admin:credentials_client_add")
        return NextStep(_("Add the first client."), _("Add a client"), url)
    ready = sorted((row for row in clients.phases if row.ready), key=lambda row: -row.ready)
    in_campaigns_alone = []
    for row in ready:
        # A purge is none: it wants each slug typed.
        act = find_move_act(Phase(row.phase), Phase(row.next_phase))
        if act is None or not act.takes_many or not act.may(request.user):
            continue
        # The button moves only clients that no campaign takes further. Looking for these takes long where there are
        # very many: there the page behind the button counts them.
        number, label, told = row.ready, act.name_button(row.ready), ""
        if found.has_campaigns and clients.total >= KEPT_FROM_CLIENTS:
            label = str(act.label)
            there = all_clients().in_phases(Phase(row.phase)).order_by()
            shares = count_in_campaigns(there.values_list("pk", flat=True), in_finished_waves=False)
            if in_campaigns := sum(share.clients for share in shares):
                told = describe_phase_in_campaigns(in_campaigns)
        elif found.has_campaigns:
            own = select_with_blocker(all_clients().in_phases(Phase(row.phase)), READY)
            number = own.exclude(select_taken_further()).count()
            label = act.name_button(number)
        if number:
            url = get_ready_url(act.code, Phase(row.phase))
            waves_url = ""
            if number > 1 and may_start_campaign(request):
                waves_url = reverse("admin:migration_campaign_start")
            if others := row.ready - number:
                told = describe_left_to_campaigns(others)
            text = f"{describe_ready(number, row.label)} {told}".strip()
            return NextStep(text, f"{label}…", url, waves_url=waves_url)
        in_campaigns_alone.append(row.phase)
    if ready:
        row = ready[0]
        text = describe_ready(row.ready, row.label)
        if row.phase in in_campaigns_alone:
            text = f"{text} {_('All of them are in a campaign.')}"
        return NextStep(text, _("See them"), f"{page}?{row.ready_query}", is_main=False)
    blocked = sum(row.clients for row in clients.blockers if row.standing == Standing.BLOCKED)
    if blocked:
        text = ngettext(
            "%(n)s client needs attention.",
            "%(n)s clients need attention.",
            blocked,
        ) % {"n": intcomma(blocked)}
        return NextStep(text, _("See what blocks them"), f"{page}?next={NEEDS_SOMEBODY}")
    waiting = [row for row in clients.blockers if row.standing == Standing.WAITS]
    if waiting:
        number = sum(row.clients for row in waiting)
        text = ngettext(
            "%(n)s client is waiting and needs no action.",
            "%(n)s clients are waiting and need no action.",
            number,
        ) % {"n": intcomma(number)}
        url = f"{page}?next={Standing.WAITS}"
        return NextStep(text, _("See what they wait for"), url, is_main=False)
    return None


def describe_ready(number: int, phase: str) -> str:
    text = ngettext(
        "%(n)s client in %(phase)s is ready.",
        "%(n)s clients in %(phase)s are ready.",
        number,
    )
    return text % {"n": intcomma(number), "phase": phase}


def describe_left_to_campaigns(number: int) -> str:
    """Say how many of a phase's clients that are ready are in a campaign, which may have stopped."""
    text = ngettext("%(n)s more is in a campaign.", "%(n)s more are in a campaign.", number)
    return text % {"n": intcomma(number)}


def describe_phase_in_campaigns(number: int) -> str:
    """Say how many of all clients in a phase are in a campaign, where nobody looks which are ready."""
    text = ngettext(
        "%(n)s client in this phase is in a campaign.",
        "%(n)s clients in this phase are in a campaign.",
        number,
    )
    return text % {"n": intcomma(number)}


# What is at work: running campaigns, and runs that are not over

RUNS_SHOWN = 3


@dataclass(frozen=True)
class Work:
    """A campaign or a run that goes on, as a line and a bar."""

    key: str
    name: str
    url: str
    done: int
    total: int
    # Of a run.
    progress: Progress | None = None

    @property
    def percent(self) -> int:
        return 100 * self.done // self.total if self.total else 0


def get_work_context(request: HttpRequest) -> dict[str, object]:
    """Return what is at work, as far as the user may see it, in at most two queries."""
    may = request.user.has_perm
    work, sees_runs = [], may(VIEW_RUNS) or may(RUN_PERMISSION)
    if may(VIEW_CAMPAIGNS):
        for campaign in list_running_campaigns():
            url = reverse("admin:migration_campaign_change", args=[campaign.campaign_id])
            name = localize(CAMPAIGN(id=str(campaign.campaign_id)))
            key = f"c{campaign.campaign_id}"
            work.append(Work(key, name, url, campaign.done, campaign.clients))
    if sees_runs:
        work += [
            Work(
                f"r{each.run.pk}", str(each.run), get_run_url(each.run), each.done, each.total, each
            )
            for each in list_progress(select_runs_at_work()[:RUNS_SHOWN])
        ]
    return {
        "work": work,
        "sees_work": sees_runs or may(VIEW_CAMPAIGNS),
        # An open page asks for it, and is loaded anew where other work is shown than it knows.
        "work_shown": ".".join(each.key for each in work),
        "work_is_live": bool(work) and sees_runs,
        "worker": next((each.progress for each in work if each.progress), None),
    }


def select_runs_at_work() -> QuerySet[Run]:
    """Select the runs that were started and are not over: those that run first, and the newest of these."""
    running_first = Case(When(state=Run.State.RUNNING, then=0), default=1)
    runs = select_runs_for_progress().exclude(state__in=[*Run.NOT_STARTED, Run.State.REQUESTED])
    return runs.filter(finished_at=None).order_by(running_first, "-created_at", "-pk")


class WorkView(AdminView):
    """The part of the dashboard that moves while something is at work."""

    template_name = "admin/migration/dashboard/work.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest) -> HttpResponse:
        context = get_work_context(request)
        response = self.render_to_response(self.get_context_data(**context))
        if request.GET.get("shown") != context["work_shown"]:
            # Something began or is over: the numbers of the page are others.
            response["HX-Refresh"] = "true"
        return response


add_pages("run", ("at-work/", "at_work", WorkView))


# Recent activity: who did what to whom

ACTIVITIES_SHOWN = 6

# By the key of an event's sentence, what the dashboard says in place of it; every other sentence is told as it is.
SHORT = {
    "moved": gettext_lazy("%(who)s moved %(client)s to %(new)s"),
    "moved to aws": gettext_lazy("%(who)s cut over %(client)s"),
    "moved from aws": gettext_lazy("%(who)s rolled back %(client)s"),
    "moved to purged": gettext_lazy("%(who)s purged %(client)s"),
    "moved from purged": gettext_lazy("%(who)s restored %(client)s"),
    "evidence_overridden": gettext_lazy("%(who)s overrode missing evidence of %(client)s"),
    "resolution_check": gettext_lazy("%(who)s compared %(client)s again"),
    "resolution_to_aws": gettext_lazy("%(who)s copied %(client)s to AWS"),
    "resolution_to_postgres": gettext_lazy("%(who)s copied %(client)s to PostgreSQL"),
    "resolution_acknowledge": gettext_lazy("%(who)s acknowledged mismatches of %(client)s"),
    "resolution_acknowledge_until": gettext_lazy("%(who)s acknowledged mismatches of %(client)s"),
    "resolution_to_former": gettext_lazy("%(who)s undid a copy of %(client)s"),
    "resolution_to_version": gettext_lazy("%(who)s restored a version of %(client)s"),
    "run_planned": gettext_lazy("%(who)s planned %(run)s"),
    "run_discarded": gettext_lazy("%(who)s discarded %(run)s"),
    "run_started": gettext_lazy("%(who)s started %(run)s"),
    "moves_started": gettext_lazy("%(who)s started %(run)s"),
    "moves_requested": gettext_lazy("%(who)s requested %(run)s"),
    "moves_requested_to_wait": gettext_lazy("%(who)s requested %(run)s"),
    "moves_approved": gettext_lazy("%(who)s approved %(run)s"),
    "moves_cancelled": gettext_lazy("%(who)s cancelled %(run)s"),
    "run_ended": gettext_lazy("%(run)s finished"),
    "run_ended_well": gettext_lazy("%(run)s finished"),
    "run_ended_by_stop": gettext_lazy("%(run)s was stopped"),
    "campaign_started": gettext_lazy("%(who)s started %(campaign)s"),
    "campaign_requested": gettext_lazy("%(who)s requested %(campaign)s"),
    "campaign_approved": gettext_lazy("%(who)s approved %(campaign)s"),
    "campaign_stopped": gettext_lazy("%(campaign)s stopped"),
    "campaign_stopped_by_hand": gettext_lazy("%(who)s stopped %(campaign)s"),
    "goes_on_without": gettext_lazy("%(who)s continued %(campaign)s without blocked clients"),
    "campaign_went_on": gettext_lazy("%(who)s continued %(campaign)s"),
    "campaign_cancelled": gettext_lazy("%(who)s cancelled %(campaign)s"),
    "campaign_finished": gettext_lazy("%(campaign)s finished"),
    "wave_begun": gettext_lazy("%(campaign)s began %(wave)s"),
    "stopped_writes": gettext_lazy("%(who)s stopped all AWS writes"),
    "started_writes": gettext_lazy("%(who)s resumed AWS writes"),
}


@dataclass(frozen=True)
class Activity:
    """One event, with the page that it is about; `url` is "" for who may not open that."""

    event: AuditEvent
    url: str
    # Of a campaign's run that has ended.
    run: Run | None = None

    @property
    def line(self) -> SafeString:
        """Say who did what to whom, in the page's language and in one short line; whom it is about is the link."""
        event, message = self.event, self.event.message.parts[0]
        if self.run and self.run.wave:
            return self._describe_moves(self.run, self.run.wave.campaign)
        who = format_html("<b>{}</b>", escape_name(event.by) if event.by else _("A command"))
        template = str(SHORT.get(_find_short(message), "")) if message.sentence else ""
        if not template or ("%(client)s" in template and not event.slug):
            text = localize(event.message, at=event.when)
            text = f"{escape_name(event.slug)}: {text}" if event.slug else text
            return format_html("{}: {}", who, self._link(text)) if event.by else self._link(text)
        values = {"who": who, "client": self._link(escape_name(event.slug))}
        for name, value in message.values.items():
            is_subject = name in ("run", "campaign")
            text = localize(value) if isinstance(value, Message) else str(value)
            values[name] = self._link(text) if is_subject else escape(text)
        if event.slug and "%(client)s" not in template:
            template = f"{template} (%(client)s)"
        return mark_safe(escape(template) % values)  # noqa: S308  # escaped, part by part

    def _describe_moves(self, run: Run, campaign: Campaign) -> SafeString:
        """Say how many clients the campaign's run has moved, and to which phase."""
        counted = self.event.message.values
        left = ("failed", "refused", "left")
        moved = int(str(counted["n"])) - sum(int(str(counted.get(name, 0))) for name in left)
        text = _("%(campaign)s moved no client to %(phase)s")
        if moved:
            text = ngettext(
                "%(n)s client moved to %(phase)s by %(campaign)s",
                "%(n)s clients moved to %(phase)s by %(campaign)s",
                moved,
            )
        values = {
            "n": intcomma(moved),
            "phase": escape(run.get_move_to_display()),
            "campaign": self._link(str(campaign)),
        }
        return mark_safe(escape(text) % values)  # noqa: S308  # escaped, part by part

    def _link(self, text: str) -> SafeString:
        return format_html('<a href="{}">{}</a>', self.url, text) if self.url else escape(text)


def _find_short(message: Message) -> str:
    """Return the key of `SHORT` for a sentence: of a move that has a name of its own by its phases."""
    phases = read_move(message)
    if phases is None:
        return message.key
    old, new = phases
    if new in (Phase.AWS, Phase.PURGED) and old != Phase.PURGED:
        return f"moved to {new}"
    return f"moved from {old}" if old in (Phase.AWS, Phase.PURGED) else message.key


def list_activity(may: Callable[[str], bool]) -> list[Activity]:
    """List the newest activity that a user may see, of whom `may` tells: in some queries."""
    kinds = [kind for kind in EVENT_KINDS.values() if kind.in_activity and kind.is_seen_by(may)]
    events = AuditEvent.objects.filter(
        is_by_hand(),
        # A campaign stands for its clients, the end of its run for the run, and a run for its plan.
        Q(correlation__startswith="run ")
        | ~Q(code=RUN_EVENT)
        | Q(correlation__startswith="campaign ", facts__contains=f'"key":"{RUN_ENDED.key}'),
        Q(slug="") | ~Q(correlation__startswith="campaign "),
        code__in=kinds,
    )
    if not may(VIEW_CLIENTS):
        events = events.filter(slug="")
    newest = list(events.newest_until_now()[:ACTIVITIES_SHOWN])
    AuditEvent.name_logins(newest)
    runs = find_campaign_runs(newest)
    pages = [(event, event.page) for event in newest]
    return [
        Activity(event, page.url if page and may(page.permission) else "", runs.get(event.pk))
        for event, page in pages
    ]


def find_campaign_runs(events: Iterable[AuditEvent]) -> dict[UUID, Run]:
    """Return the run of each event that is the end of a campaign's run. Takes a query where there is one."""
    ends = (RUN_ENDED.key, RUN_ENDED_WELL.key, RUN_ENDED_BY_STOP.key)
    named: dict[UUID, int] = {}
    for event in events:
        run = event.message.values.get("run")
        if event.message.key in ends and isinstance(run, Message) and run.values.get("id"):
            named[event.pk] = int(str(run.values["id"]))
    if not named:
        return {}
    found = Run.objects.filter(pk__in=named.values(), wave__isnull=False)
    runs = {run.pk: run for run in found.select_related("wave__campaign")}
    return {event: runs[run] for event, run in named.items() if run in runs}
