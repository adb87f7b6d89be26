"""Explains a campaign: what it waits for, its waves against their limits, and the clients that it could not move.

Reads the database alone. The number of queries doesn't grow with clients or waves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple, TypeAlias
from urllib.parse import urlencode

from django.conf import settings
from django.db import models
from django.db.models import (
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    Max,
    Min,
    QuerySet,
    Sum,
    Window,
)
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Coalesce, Greatest, RowNumber
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.localization import localize, show_moment
from migration.campaigns.members import (
    PASSES_SOON,
    CampaignProgress,
    measure_campaigns,
    select_blocked_later,
    select_blocked_now,
    select_items_unmoved_by_steps,
    select_unmoved_items,
)
from migration.campaigns.models import (
    WAITS_FOR_APPROVAL,
    Campaign,
    Wave,
    WaveClient,
    WaveCounts,
    list_differing,
    list_with_failed_reads,
    select_refused_or_failed_items,
)
from migration.core.clients import ClientPhaseQuerySet, ReadCount, all_clients
from migration.core.groups import GroupMember
from migration.core.sentences import NO_WORKER
from migration.core.workers import Worker
from migration.moves.readiness import with_blocker
from migration.moves.rules import (
    BLOCKERS,
    DIFFERS,
    FEW_READS,
    FRESH,
    READER_MET_TROUBLE,
    UNCHECKED,
    Awaited,
    Blocker,
    count_since_entry,
)
from migration.runs.items import Outcome, RunItem
from migration.runs.models import Run
from nova_credentials.messages import Message, Sentence, describe_duration, in_a_row
from nova_credentials.phases import Phase

# The clients behind the numbers of a campaign's pages, and the address of their list.

ClientIds: TypeAlias = "Iterable[int] | QuerySet[models.Model, int]"


class CountedClients(models.TextChoices):
    """Names a set of clients that pages count; in a URL it precedes the campaign's, wave's or run's id."""

    # Of a campaign
    KEPT_NOW = "kept", _("blocked now")
    KEPT_LATER = "kept_later", _("blocked before their wave")
    NOT_MOVED = "not_moved", _("could not be moved")
    # Of a wave
    TAKEN = "wave", _("all its clients")
    TO_MOVE = "to_move", _("to be moved")
    DIFFERING = "differing", _("differ")
    FAILED_READS = "failed_reads", _("reads failed at AWS")
    REFUSED = "refused", _("refused")
    LEFT_OUT = "left_out", _("goes on without")
    # Of a run
    LEFT = "left", _("not moved, and still there")


OF_CAMPAIGN = (CountedClients.KEPT_NOW, CountedClients.KEPT_LATER, CountedClients.NOT_MOVED)


def make_list_query(counted: CountedClients, pk: int, **filters: str) -> str:
    """Return the query of the client list that shows these clients, narrowed by other filters of it."""
    return urlencode({"campaign": f"{counted.value}-{pk}"} | filters)


def find_counted_clients(word: str, pk: int) -> tuple[str, ClientIds] | None:
    """Return a title and client ids; `pk` is a campaign, wave or run, as `word` says. None if unknown."""
    if word not in CountedClients:
        return None
    counted = CountedClients(word)
    if counted in OF_CAMPAIGN:
        campaign = Campaign.objects.filter(pk=pk).first()
        if campaign is None:
            return None
        title, ids = str(campaign), _list_of_campaign(counted, campaign)
    elif counted == CountedClients.LEFT:
        run = Run.objects.select_related("wave__campaign").filter(pk=pk).first()
        if run is None or run.wave is None:
            return None
        title = f"{run}, {_name_wave(run.wave)}"
        ids = _list_clients_of(select_unmoved_items([run.wave]).filter(run=run))
    else:
        wave = Wave.objects.begun().select_related("campaign").filter(pk=pk).first()
        if wave is None:
            return None
        title, ids = _name_wave(wave), _list_of_wave(counted, wave)
    return f"{title}: {counted.label}", ids


def _list_of_campaign(counted: CountedClients, campaign: Campaign) -> ClientIds:
    if counted == CountedClients.KEPT_NOW:
        return select_blocked_now(campaign).order_by().values_list("pk", flat=True)
    if counted == CountedClients.KEPT_LATER:
        return select_blocked_later(campaign).order_by().values_list("pk", flat=True)
    return _list_clients_of(select_items_unmoved_by_steps(campaign))


def _list_of_wave(counted: CountedClients, wave: Wave) -> ClientIds:
    match counted:
        case CountedClients.TO_MOVE:
            return wave.list_not_moved_back_by_others().order_by().values_list("pk", flat=True)
        case CountedClients.DIFFERING:
            return list_differing(wave.pk)
        case CountedClients.FAILED_READS:
            return list_with_failed_reads(wave.pk)
        case CountedClients.REFUSED:
            return _list_clients_of(select_refused_or_failed_items([wave.pk]))
        case CountedClients.LEFT_OUT:
            return _list_clients_of(WaveClient.objects.filter(wave=wave, left_out_at__isnull=False))
        case _:
            return wave.list_clients().order_by().values_list("pk", flat=True)


def _list_clients_of(rows: QuerySet[RunItem] | QuerySet[WaveClient]) -> ClientIds:
    return rows.order_by().values_list("client_id", flat=True)


def _name_wave(wave: Wave) -> str:
    return f"{wave.campaign}, {localize(wave.name_message)}"


# Explains what a campaign waits for: an approval, a run, its watch time, clients, an hour of the day, or a worker.

SOAKED_AND_WAITS = Sentence(
    "soaked_and_waits",
    "%(wave)s was watched, and waits for %(n)s clients until %(until)s at the latest: %(kept)s.",
    one="%(wave)s was watched, and waits for %(n)s client until %(until)s at the latest: %(kept)s.",
    glue=", ",
)
BEGUN_AND_WAITS = Sentence(
    "begun_and_waits",
    "%(wave)s waits for %(n)s clients until %(until)s at the latest: %(kept)s.",
    one="%(wave)s waits for %(n)s client until %(until)s at the latest: %(kept)s.",
    glue=", ",
)


LEFT_BY_READS = Sentence("left_by_reads", "About %(left)s left at NOVA's current pace of reads.")
NO_PACE_OF_READS = Sentence(
    "no_pace_of_reads", "How long is unknown: NOVA has not read these clients yet."
)


def measure_pace_of_reads(clients: ClientPhaseQuerySet) -> float | None:
    """Return how many equal reads a second NOVA makes of one of these clients, since they entered their phase.

    None where it made none. Takes a query.
    """
    since = models.Value(timezone.now()) - F("client_migration__phase_changed_at")
    found = clients.order_by().aggregate(
        reads=Sum(count_since_entry("matches")),
        time=Sum(ExpressionWrapper(since, DurationField())),
    )
    seconds = found["time"].total_seconds() if found["time"] else 0
    return float(found["reads"]) / seconds if found["reads"] and seconds > 0 else None


def describe_time_of_reads(reads: int, pace: float) -> Message:
    """Return about how long NOVA takes for so many reads of each client, at so many a second."""
    return describe_duration(timedelta(minutes=max(1, round(reads / pace / 60))))


@dataclass(frozen=True)
class WaitingStep:
    """A step that waits for clients of its wave, which lack what comes by itself."""

    wave: Wave
    phase: Phase  # in which they stand
    numbers: Mapping[Blocker, Awaited]  # by what they lack, the most frequent first
    until: datetime  # it begins then at the latest
    has_soaked: bool  # not before the first step of a wave

    @property
    def message(self) -> Message:
        sentence = SOAKED_AND_WAITS if self.has_soaked else BEGUN_AND_WAITS
        return sentence(
            wave=self.wave.name_message,
            n=self.clients,
            until=self.begins_at_latest,
            kept=tuple(message for message, _query in self.kept),
        )

    @property
    def clients(self) -> int:
        """Return for how many clients it waits."""
        return sum(each.number for each in self.numbers.values())

    @property
    def begins_at_latest(self) -> str:
        """Return when it begins at the latest, with the time zone."""
        return show_moment(self.until)

    @property
    def kept(self) -> list[tuple[Message, str]]:
        """Say how many clients lack what, the most frequent first, each with the query of the list that shows them."""
        found = []
        for blocker, awaited in self.numbers.items():
            if blocker.awaited is None:
                continue
            so_far = blocker.awaited_so_far
            message = so_far(awaited) if so_far else blocker.awaited(awaited.number)
            query = make_list_query(
                CountedClients.TO_MOVE, self.wave.pk, phase=self.phase.value, next=blocker.code
            )
            found.append((message, query))
        return found

    @property
    def usual_durations(self) -> list[Message]:
        """Say how long it usually takes, of each thing that the clients lack."""
        found = [
            self.describe_reads_left() if blocker == FEW_READS else blocker.usual()
            for blocker in self.numbers
            if blocker.usual
        ]
        return [message for place, message in enumerate(found) if message not in found[:place]]

    def describe_reads_left(self) -> Message:
        """Say how long until NOVA has read the slowest client often enough, at the wave's pace. Takes a query."""
        pace = measure_pace_of_reads(self.wave.list_clients().in_phases(self.phase))
        if pace is None:
            return NO_PACE_OF_READS()
        lacking = int(settings.NOVA_MIN_READS) - self.numbers[FEW_READS].least
        return LEFT_BY_READS(left=describe_time_of_reads(lacking, pace))

    @property
    def lacks_comparison(self) -> bool:
        """Say whether some of the clients lack what a comparison brings."""
        return any(blocker.by_comparison for blocker in self.numbers)

    def to_json(self) -> dict[str, object]:
        """Return the step for the JSON of commands."""
        return {
            "position": self.wave.position,
            "part": self.wave.part,
            "until": self.until.isoformat(),
            "clients": {each.code: awaited.number for each, awaited in self.numbers.items()},
        }


class Wait(NamedTuple):
    """Says what a campaign waits for; without a message it waits for nothing that comes by itself."""

    message: Message | None
    step: WaitingStep | None = None


def find_unfinished_run(campaign: Campaign) -> Run | None:
    """Return the campaign's oldest run that is not finished; None where all are."""
    unfinished = Run.objects.filter(wave__campaign=campaign, finished_at=None)
    return unfinished.select_related("wave__campaign").order_by("pk").first()


WAITS_FOR_RUN = Sentence("waits_for_run", "%(run)s of %(wave)s is running.")
WAITS_FOR_PAUSED_RUN = Sentence(
    "waits_for_paused_run", "%(run)s of %(wave)s is paused. Resume or stop it."
)
WAITS_FOR_REQUESTED_RUN = Sentence(
    "waits_for_requested_run",
    "%(run)s of %(wave)s is waiting for approval to retry its refused clients.",
)
RUN_SENTENCES: dict[str, Sentence] = {
    Run.State.PAUSED: WAITS_FOR_PAUSED_RUN,
    Run.State.REQUESTED: WAITS_FOR_REQUESTED_RUN,
}
WAITS_FOR_ROLLBACK = Sentence(
    "waits_for_rollback", "The rollback of %(wave)s begins once its moves have ended."
)
SOAKS = Sentence("soaks", "%(wave)s is watched until %(until)s.")
STEP_IS_DUE = Sentence("step_is_due", "The next step begins within a minute.")


def _describe_run(run: Run, wave: Wave) -> Message:
    sentence = RUN_SENTENCES.get(run.state, WAITS_FOR_RUN)
    return sentence(run=run.name_message, wave=wave.name_message)


def _explain_hold(
    campaign: Campaign,
    wave: Wave | None,
    until: datetime | None,
    now: datetime,
    worker_seen_at: datetime | None,
) -> Message | None:
    """Say what holds a running campaign without a run up, whoever its clients are: a time, or no worker; else None.

    `wave` is the one that has begun and isn't finished, and is watched until `until`.
    """
    if wave and until and now < until:
        watched = SOAKS(wave=wave.name_message, until=show_moment(until))
        return in_a_row(watched, _name_hours(campaign, until))
    if hours := _name_hours(campaign, now):
        return hours
    is_gone = worker_seen_at is None or now - worker_seen_at > Worker.GONE_AFTER
    return NO_WORKER() if is_gone else None


def explain_waiting(campaign: Campaign, run: Run | None) -> Wait:
    """Say what the campaign waits for now; `run` is `find_unfinished_run` of it."""
    if campaign.state == Campaign.State.REQUESTED:
        return Wait(WAITS_FOR_APPROVAL())
    if run and run.wave:
        return Wait(_describe_run(run, run.wave))
    if campaign.state == Campaign.State.STOPPED:
        due = campaign.waves.filter(rollback_is_due=True).first()
        return Wait(WAITS_FOR_ROLLBACK(wave=due.name_message) if due else None)
    if campaign.is_over:
        return Wait(None)

    # It is running, and none of its runs is in work: when does it make its next step?
    now = timezone.now()
    wave = campaign.waves.begun().filter(finished_at=None).first()
    if wave:
        wave.campaign = campaign
    until = wave.soaks_until(now) if wave else None
    if hold := _explain_hold(campaign, wave, until, now, Worker.objects.last_seen_at()):
        return Wait(hold)
    ended = (
        wave.find_end_of_last_soak()
        if wave
        else campaign.waves.aggregate(last=Max("finished_at"))["last"]
    )
    step = wave and _find_waiting_step(wave, now, has_soaked=ended is not None)
    return Wait(step.message, step) if step else Wait(STEP_IS_DUE())


WAITS_FOR_CLIENTS = Sentence(
    "waits_for_clients",
    "Waiting for %(n)s clients: %(kept)s.",
    one="Waiting for %(n)s client: %(kept)s.",
    glue=", ",
)


def explain_waits_briefly(campaigns: Collection[Campaign]) -> dict[int, Message]:
    """Say in short what each running campaign waits for, by its id: in as many queries for many as for one."""
    running = {each.pk: each for each in campaigns if each.state == Campaign.State.RUNNING}
    if not running:
        return {}
    now, seen_at, found = timezone.now(), Worker.objects.last_seen_at(), dict[int, Message]()
    waves: dict[int, Wave] = {}
    begun = Wave.objects.begun().filter(campaign__in=running, finished_at=None)
    for wave in begun.annotate(ended=Max("runs__finished_at")).select_related("campaign"):
        waves.setdefault(wave.campaign_id, wave)
    clients = _count_awaited_by_wave(waves.values())
    for pk, campaign in running.items():
        of_wave = waves.get(pk)
        ended = of_wave and of_wave.ended  # type: ignore[attr-defined]  # annotated
        until = ended + campaign.soak if ended else None
        awaited = clients[of_wave.pk] if of_wave else {}
        kept = tuple(each.awaited(n) for each, n in awaited.items() if each.awaited)
        waits = WAITS_FOR_CLIENTS(n=sum(awaited.values()), kept=kept) if awaited else STEP_IS_DUE()
        found[pk] = _explain_hold(campaign, of_wave, until, now, seen_at) or waits
    # After the clients were counted: those of a run that began meanwhile are its own.
    unfinished = Run.objects.filter(wave__campaign__in=running, finished_at=None)
    for run in unfinished.select_related("wave__campaign").order_by("-pk"):
        if run.wave:
            found[run.wave.campaign_id] = _describe_run(run, run.wave)
    return found


def _count_awaited_by_wave(waves: Collection[Wave]) -> dict[int, dict[Blocker, int]]:
    """Count the clients of each wave that lack what comes by itself, by what they lack."""
    taken = WaveClient.objects.not_left_out().filter(wave__in=[wave.pk for wave in waves])
    wave_of = dict(taken.order_by().values_list("client_id", "wave_id"))
    goals = {wave.pk: wave.campaign.phases_at_goal for wave in waves}
    found: dict[int, dict[Blocker, int]] = defaultdict(lambda: defaultdict(int))
    rows = with_blocker(all_clients().with_ids(list(wave_of))).order_by()
    for pk, phase, code in rows.values_list("pk", "phase", "blocker"):
        if BLOCKERS[code].awaited and phase not in goals[wave_of[pk]]:
            found[wave_of[pk]][BLOCKERS[code]] += 1
    return found


def _find_waiting_step(wave: Wave, now: datetime, *, has_soaked: bool) -> WaitingStep | None:
    step = wave.find_next_untried_step()
    numbers = wave.count_awaited_by_blocker(step[0], now) if step else {}
    if step is None or not numbers:
        return None
    most_first = dict(sorted(numbers.items(), key=lambda each: -each[1].number))
    return WaitingStep(wave, step[0], most_first, wave.waits_at_most_until(), has_soaked)


WAITS_FOR_HOURS = Sentence(
    "waits_for_hours", "The next step begins between %(begin)s and %(end)s (%(zone)s)."
)


def _name_hours(campaign: Campaign, moment: datetime) -> Message | None:
    """Name the hours of the day in which a step may begin; None where it may at that moment."""
    if not campaign.begins_at or not campaign.ends_at or campaign.hours_allow_step(moment):
        return None
    return WAITS_FOR_HOURS(
        begin=f"{campaign.begins_at:%H:%M}",
        end=f"{campaign.ends_at:%H:%M}",
        zone=timezone.get_default_timezone_name(),
    )


# The clients that it could not move: those of each run, the most frequent reason, and those left out

# How many clients are named of one run, and how many in all. The run's page names the others.
NAMED_OF_A_RUN = 10
NAMED_IN_ALL = 50


@dataclass(frozen=True)
class ClientsLeftByRun:
    """Clients that a run of a wave refused or failed to move, and that still stand where it met them."""

    run: Run
    refused: int
    failed: int
    items: tuple[RunItem, ...]  # some of them, each with its message

    @property
    def number(self) -> int:
        return self.refused + self.failed

    @property
    def not_named(self) -> int:
        return self.number - len(self.items)

    @property
    def list_query(self) -> str:
        """Return the query of the client list that shows all that this run left."""
        return make_list_query(CountedClients.LEFT, self.run.pk)

    def to_json(self) -> dict[str, object]:
        """Return the clients for the JSON of commands, with messages in English."""
        return {
            "run": self.run.pk,
            "rolls_back": self.run.only_where_equal,
            "refused": self.refused,
            "failed": self.failed,
            "clients": [
                {
                    "slug": item.slug,
                    "outcome": item.outcome,
                    **describe_message_with_codes(item.message),
                }
                for item in self.items
            ],
            "not_named": self.not_named,
        }


@dataclass(frozen=True)
class MostFrequentReason:
    """The reason for which a campaign's runs could not move the most clients, with one of these as an example."""

    campaign: Campaign
    example: Message | None  # as one of them has it
    slug: str  # of that one
    clients: int
    of_all: int

    @property
    def left_for_any_reason_query(self) -> str:
        """Return the query of the client list that shows all that were left, for whichever reason."""
        return make_list_query(CountedClients.NOT_MOVED, self.campaign.pk)

    def to_json(self) -> dict[str, object]:
        """Return the reason for the JSON of commands: in English, with its codes, and how many clients have it."""
        return {
            "clients": self.clients,
            "of_all": self.of_all,
            **describe_message_with_codes(self.example),
        }


def describe_message_with_codes(message: Message | None) -> dict[str, object]:
    """Return the message for programs: its text in English, and the keys of its parts."""
    return {"message": str(message or ""), "codes": message.codes if message else []}


def find_frequent_reason(campaign: Campaign) -> MostFrequentReason | None:
    """Return the most frequent reason why the steps of the campaign could not move clients; None where they could."""
    # Of a refusal, its first reason: those of several are in a row.
    sentences = KeyTransform("sentences", KeyTransform("values", "message"))
    first_key = KeyTextTransform("key", KeyTransform("message", KeyTransform("0", sentences)))
    left = select_items_unmoved_by_steps(campaign).order_by()
    clients = Count("client_id", distinct=True)
    rows = left.values(reason=Coalesce(first_key, KeyTextTransform("key", "message")))
    most = rows.annotate(number=clients, first=Min("pk")).order_by("-number", "first").first()
    if most is None:
        return None
    item = RunItem.objects.get(pk=most["first"])
    return MostFrequentReason(
        campaign,
        example=item.message and item.message.parts[0],
        slug=item.slug,
        clients=most["number"],
        of_all=left.aggregate(all=clients)["all"],
    )


def list_unmoved_clients(waves: list[Wave]) -> Iterable[ClientsLeftByRun]:
    """Yield each run of the waves that could not move clients since these are watched, with some of the clients."""
    left = select_unmoved_items(waves)
    numbers: dict[int, dict[str, int]] = defaultdict(dict)
    counted = left.order_by().values_list("run", "outcome").annotate(number=Count("pk"))
    for run_id, outcome, number in counted:
        numbers[run_id][outcome] = number
    place = Window(RowNumber(), partition_by="run", order_by="pk")
    numbered = left.annotate(place=place).filter(place__lte=NAMED_OF_A_RUN)
    named: dict[int, list[RunItem]] = defaultdict(list)
    for item in numbered.order_by("-run", "pk")[:NAMED_IN_ALL]:
        named[item.run_id].append(item)
    for run in Run.objects.filter(pk__in=numbers).select_related("wave"):
        if run.wave:
            run.wave.campaign = waves[0].campaign
        yield ClientsLeftByRun(
            run=run,
            refused=numbers[run.pk].get(Outcome.REFUSED, 0),
            failed=numbers[run.pk].get(Outcome.FAILED, 0),
            items=tuple(named[run.pk]),
        )


# Lists what keeps clients of a stopped campaign, as far as the database can tell. The reason why it stopped may be over
# by then.

# How many clients are named of each reason.
NAMED = 5


@dataclass(frozen=True)
class BlockedClients:
    """Clients of the campaign that one thing keeps now, which doesn't pass by itself; `counted`: which of them."""

    campaign: Campaign
    counted: CountedClients
    blocker: Blocker
    clients: tuple[tuple[int, str], ...]  # id and slug
    passes_at: datetime | None = None  # where it is enough to wait

    @property
    def named(self) -> tuple[tuple[int, str], ...]:
        return self.clients[:NAMED]

    @property
    def passes_soon(self) -> bool:
        return self.blocker in PASSES_SOON

    @property
    def number(self) -> int:
        return len(self.clients)

    @property
    def not_named(self) -> int:
        return self.number - len(self.named)

    @property
    def wait_note(self) -> str:
        """Say what to wait for, where that is enough; "" elsewhere."""
        if self.passes_at is None:
            return ""
        text = gettext(
            "this passes %(n)d minutes after the last one, at %(time)s; if the campaign goes on before, the"
            " whole wave waits until then"
        )
        return text % {"n": FRESH // timedelta(minutes=1), "time": show_moment(self.passes_at)}

    @property
    def client_page_query(self) -> str:
        """Return the query of a client's page that shows what keeps it: its comparison, where the stores differ."""
        differs = self.blocker in (DIFFERS, UNCHECKED)
        return "?tab=comparison" if differs else ""

    @property
    def list_query(self) -> str:
        """Return the query of the client list that shows the clients kept by this blocker."""
        return make_list_query(self.counted, self.campaign.pk, next=self.blocker.code)


def list_blocked_now(campaign: Campaign) -> list[BlockedClients]:
    """Return what keeps clients of its waves now, the most frequent first, in three queries."""
    return _list_blocked(campaign, CountedClients.KEPT_NOW, select_blocked_now(campaign))


def list_blocked_later(campaign: Campaign) -> list[BlockedClients]:
    """Return what keeps clients that wait for their wave, in the same way."""
    return _list_blocked(campaign, CountedClients.KEPT_LATER, select_blocked_later(campaign))


def _list_blocked(
    campaign: Campaign, counted: CountedClients, kept: ClientPhaseQuerySet
) -> list[BlockedClients]:
    found: dict[str, list[tuple[int, str]]] = {}
    for pk, slug, blocker in kept.order_by("slug", "pk").values_list("pk", "slug", "blocker"):
        found.setdefault(blocker, []).append((pk, slug))
    numbers = []
    for code, clients in found.items():
        last = None
        if code == READER_MET_TROUBLE.code:
            counts = ReadCount.objects.filter(client_id__in=[pk for pk, _slug in clients])
            newest = Max(Greatest("last_mismatch_at", "last_failure_at"))
            last = counts.aggregate(last=newest)["last"]
        passes_at = last + FRESH if last else None
        blocked = BlockedClients(campaign, counted, BLOCKERS[code], tuple(clients), passes_at)
        numbers.append(blocked)
    return sorted(numbers, key=lambda each: -len(each.clients))


# The whole: what it waits for, its waves, and the clients that were left

# So many of the newest runs of a wave are listed: each time that a campaign goes on adds some.
RUNS_LISTED = 10


class WaveState(models.TextChoices):
    """Where a wave stands."""

    NOT_BEGUN = "not_begun", _("Not started")
    IN_WORK = "in_work", _("In progress")
    SOAKING = "soaking", _("Being watched")
    WAITING = "waiting", _("Waiting")
    BEGUN = "begun", _("Next step soon")
    ROLLING_BACK = "rolling_back", _("Rolling back")
    ROLLED_BACK = "rolled_back", _("Rolled back")
    FINISHED = "finished", _("Finished")


@dataclass(frozen=True)
class WaveSummary:
    """One wave: its clients by phase, and what is counted against the stop rule; None before it begins."""

    wave: Wave
    state: WaveState
    clients: int  # that it takes along; NOVA may have deleted some
    left_out: int  # that the campaign went on without
    # Of those that NOVA still has, in the order of the phases, zeros included
    phases: dict[Phase, int]
    counts: WaveCounts | None
    runs: tuple[Run, ...]  # the newest RUNS_LISTED, the newest last
    soaks_until: datetime | None = None  # where it soaks now

    @property
    def at_goal(self) -> int:
        """Return how many of the wave's clients have come to the campaign's goal, or further."""
        return sum(self.phases[phase] for phase in self.wave.campaign.phases_at_goal)

    @property
    def deleted(self) -> int:
        """Return the number of the wave's clients that NOVA has deleted."""
        return self.clients - sum(self.phases.values())

    def to_json(self) -> dict[str, object]:
        """Return the wave for the JSON of commands."""
        wave = self.wave
        return {
            "position": wave.position,
            "part": wave.part,
            "group": wave.group_name,
            "state": self.state.value,
            "began_at": _show_moment(wave.began_at),
            "finished_at": _show_moment(wave.finished_at),
            "clients": self.clients,
            "left_out": self.left_out,
            "phases": {phase.value: number for phase, number in self.phases.items()},
            "counts": asdict(self.counts) if self.counts else None,
            "runs": [
                {
                    "run": run.pk,
                    "from": run.move_from,
                    "to": run.move_to,
                    "state": run.state,
                    "rolls_back": run.only_where_equal,
                }
                for run in self.runs
            ],
        }


@dataclass(frozen=True)
class CampaignSummary:
    """One campaign: what it waits for, and its waves."""

    campaign: Campaign
    groups: tuple[str, ...]  # in their order, as they were called when it was created
    waves_done: int
    waves_all: int  # with those into which what is left of a group will be divided
    waves_to_come: int  # of these, those that are only made once the one before is done
    progress: CampaignProgress | None  # of one that is not over
    seconds_left: float | None  # about, at the pace of the waves that are done
    waits_for: Message | None  # None where it is over, and where it stopped and nothing is in work
    waiting: WaitingStep | None
    unfinished_run: Run | None
    waves: tuple[WaveSummary, ...]
    left: tuple[ClientsLeftByRun, ...]  # the newest run first
    frequent_reason: MostFrequentReason | None  # of a stopped one
    left_out: int  # clients that it goes on without
    left_out_named: tuple[WaveClient, ...]  # the first of them

    @property
    def left_out_not_named(self) -> int:
        return self.left_out - len(self.left_out_named)

    @property
    def percent_done(self) -> float:
        """Return how far it is: by its clients, or by its waves, of one that is over."""
        if self.progress:
            return self.progress.percent
        return 100 * self.waves_done / self.waves_all if self.waves_all else 0

    def to_json(self) -> dict[str, object]:
        """Return the campaign for the JSON of commands: messages in English, and their keys; times with their zone."""
        campaign, run = self.campaign, self.unfinished_run
        begins, ends = campaign.begins_at, campaign.ends_at
        return {
            "campaign": campaign.pk,
            "state": campaign.state,
            "goal": campaign.goal,
            "groups": list(self.groups),
            "by": campaign.by_name,
            "approved_by": campaign.approved_by_name,
            "reason": campaign.reason,
            "created_at": _show_moment(campaign.created_at),
            "changed_at": _show_moment(campaign.changed_at),
            "stopped_because": describe_message_with_codes(campaign.stopped_because),
            "refused_most_often": self.frequent_reason and self.frequent_reason.to_json(),
            "waits_for": describe_message_with_codes(self.waits_for),
            "waits_for_clients": self.waiting and self.waiting.to_json(),
            "settings": {
                "wave_size": campaign.wave_size,
                "soak_minutes": campaign.soak_minutes,
                "most_mismatches": campaign.most_mismatches,
                "most_failed_reads": campaign.most_failed_reads,
                "most_refused": campaign.most_refused,
                "begins_at": begins.isoformat("minutes") if begins else None,
                "ends_at": ends.isoformat("minutes") if ends else None,
                "time_zone": timezone.get_default_timezone_name(),
                "rolls_back": campaign.rolls_back,
            },
            "unfinished_run": run.pk if run else None,
            "waves_done": self.waves_done,
            "waves_all": self.waves_all,
            "waves": [wave.to_json() for wave in self.waves],
            "left": [left.to_json() for left in self.left],
            "left_out": {
                "number": self.left_out,
                "clients": [client.slug for client in self.left_out_named],
            },
        }


def summarize_campaign(
    campaign: Campaign, *, waves: Collection[Wave] | None = None
) -> CampaignSummary:
    """Sum up the campaign with all its waves, or with those of `waves` alone: a page shows some."""
    every_wave = list(campaign.waves.all())
    shown = list(every_wave if waves is None else waves)
    places = {wave.pk: place for place, wave in enumerate(every_wave, 1)}
    for wave in shown:
        wave.campaign = campaign
        if wave.pk in places:
            wave.number = places[wave.pk]
    run = find_unfinished_run(campaign)
    wait = explain_waiting(campaign, run)
    if wait.step and (run := find_unfinished_run(campaign)):
        # It began while the clients for which the step waits were counted.
        wait = explain_waiting(campaign, run)
    summaries = tuple(_summarize_waves(campaign, shown, wait.step))
    rows = WaveClient.objects.filter(wave__campaign=campaign, left_out_at__isnull=False)
    left_out = rows.count()
    named = rows.order_by("slug", "pk")[:NAMED_IN_ALL] if left_out else ()
    stopped = campaign.state == Campaign.State.STOPPED
    waves_all = _count_waves(campaign, every_wave)
    progress = next(
        iter(measure_campaigns(Campaign.objects.not_over().filter(pk=campaign.pk))), None
    )
    # A step that waits says itself how long, and after the last one there is nothing but its soak time.
    has_pace = not wait.step and progress and progress.done < progress.clients
    return CampaignSummary(
        campaign=campaign,
        groups=tuple(wave.group_name for wave in every_wave if wave.part == 1),
        waves_done=sum(wave.finished_at is not None for wave in every_wave),
        waves_all=waves_all,
        waves_to_come=max(0, waves_all - len(every_wave)),
        progress=progress,
        waits_for=wait.message,
        waiting=wait.step,
        seconds_left=_forecast_seconds_left(campaign, every_wave, waves_all) if has_pace else None,
        unfinished_run=run,
        waves=summaries,
        left=tuple(list_unmoved_clients(shown)),
        frequent_reason=find_frequent_reason(campaign) if stopped else None,
        left_out=left_out,
        left_out_named=tuple(named),
    )


def _summarize_waves(
    campaign: Campaign, waves: list[Wave], waiting: WaitingStep | None
) -> Iterable[WaveSummary]:
    ids = [wave.pk for wave in waves]
    members = WaveClient.objects.filter(wave__in=ids).order_by().values_list("wave")
    numbers = {
        pk: (number, left_out)
        for pk, number, left_out in members.annotate(all=Count("pk"), left_out=Count("left_out_at"))
    }
    phases: dict[int, dict[Phase, int]] = defaultdict(lambda: dict.fromkeys(Phase, 0))
    stands_in = Coalesce("client__client_migration__phase", models.Value(Phase.POSTGRES.value))
    taken = WaveClient.objects.not_left_out().filter(wave__in=ids).order_by()
    # A client that NOVA has deleted is joined to no row, and has no slug there.
    counted = taken.values_list("wave", stands_in).annotate(number=Count("client__slug"))
    for wave_id, phase, number in counted:
        phases[wave_id][Phase(phase)] += number
    counts = campaign.waves.filter(pk__in=ids).begun().count_against_rule()
    runs: dict[int, list[Run]] = defaultdict(list)
    place = Window(RowNumber(), partition_by="wave", order_by="-pk")
    newest = Run.objects.filter(wave__in=ids).annotate(place=place).filter(place__lte=RUNS_LISTED)
    for run in newest.order_by("pk"):
        runs[run.wave_id or 0].append(run)
    for wave in waves:
        state = _find_state(campaign, wave, runs[wave.pk])
        if state == WaveState.BEGUN and waiting and waiting.wave == wave:
            state = WaveState.WAITING
        number, left_out = numbers.get(wave.pk, (0, 0))
        if state == WaveState.SOAKING and number == left_out:
            state = WaveState.BEGUN  # nobody is left to be watched
        soaks = state == WaveState.SOAKING
        yield WaveSummary(
            wave=wave,
            state=state,
            soaks_until=_find_soak_end(campaign, runs[wave.pk]) if soaks else None,
            clients=number - left_out,
            left_out=left_out,
            phases=phases[wave.pk],
            counts=counts.get(wave.pk),
            runs=tuple(runs[wave.pk]),
        )


def _find_state(campaign: Campaign, wave: Wave, runs: list[Run]) -> WaveState:
    """Say where the wave stands, by its newest runs."""
    if wave.began_at is None:
        return WaveState.NOT_BEGUN
    unfinished = [run for run in runs if run.finished_at is None]
    if wave.rollback_is_due or unfinished:
        rolls_back = wave.rollback_is_due or any(run.only_where_equal for run in unfinished)
        return WaveState.ROLLING_BACK if rolls_back else WaveState.IN_WORK
    since = wave.watched_since or wave.began_at
    if any(run.only_where_equal and run.created_at >= since for run in runs):
        return WaveState.ROLLED_BACK
    if wave.finished_at:
        return WaveState.FINISHED
    until = _find_soak_end(campaign, runs)
    soaks = campaign.state == Campaign.State.RUNNING and until and timezone.now() < until
    return WaveState.SOAKING if soaks else WaveState.BEGUN


def _find_soak_end(campaign: Campaign, runs: list[Run]) -> datetime | None:
    ends = [run.finished_at for run in runs if run.finished_at]
    return max(ends) + campaign.soak if ends else None


def _count_waves(campaign: Campaign, waves: list[Wave]) -> int:
    """Count the waves that there are, and those into which what is left of a group will be divided."""
    if campaign.state not in Campaign.NOT_OVER:
        return len(waves)
    begun = [wave for wave in waves if wave.began_at]
    ahead = [wave for wave in waves if wave.began_at is None]
    if not campaign.wave_size:
        return len(waves)
    # A group that has begun may have clients left for another part; it is the last that has.
    begun_groups = [wave.group_id for wave in begun if wave.group_id]
    groups = {wave.group_id for wave in ahead if wave.group_id} | {*begun_groups[-1:]}
    taken = WaveClient.objects.filter(wave__campaign=campaign).values("client_id")
    before = all_clients().in_phases(*(old for old, _new in campaign.steps)).values("pk")
    members = GroupMember.objects.filter(group__in=groups, client__in=before).order_by()
    members = members.exclude(client__in=taken)
    counted = members.values_list("group").annotate(number=Count("client_id"))
    untaken: dict[int, int] = dict(counted)
    parts = sum(ceil(untaken.get(group, 0) / campaign.wave_size) for group in groups)
    return len(begun) + max(parts, len(ahead))


def _forecast_seconds_left(campaign: Campaign, waves: list[Wave], waves_all: int) -> float | None:
    """Return about how long a running campaign takes yet, at the pace of its waves that are done; None without one."""
    took = [
        (wave.finished_at - wave.began_at).total_seconds()
        for wave in waves
        if wave.began_at
        and wave.finished_at
        # A wave in whose time the campaign was stopped took longer than the next one will.
        and not (wave.watched_since and wave.began_at < wave.watched_since < wave.finished_at)
    ]
    if not took or campaign.state != Campaign.State.RUNNING:
        return None
    each, now = sum(took) / len(took), timezone.now()
    left = waves_all * each
    for wave in waves:
        if wave.finished_at:
            left -= each
        elif since := wave.watched_since or wave.began_at:
            left -= min(each, (now - since).total_seconds())
    # Where the last wave takes longer than the others did, nobody knows how long.
    return left if left > 0 else None


def _show_moment(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
