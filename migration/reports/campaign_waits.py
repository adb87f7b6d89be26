"""Says what a campaign waits for now: an approval, a run, a soak time, clients, an hour of the day, or a worker."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Max
from django.utils import formats, timezone

from migration import campaign_sentences, run_sentences
from migration.models.campaigns import Campaign
from migration.models.readiness import FRESH, Blocker
from migration.models.runs import Run
from migration.models.workers import Worker
from migration.operations.evidence import describe_duration, describe_wanted
from migration.reports.campaign_lists import CountedClients, make_list_query
from nova_credentials.messages import in_a_row
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from migration.models.waves import Wave
    from nova_credentials.messages import Message, Sentence

RUN_SENTENCES: dict[str, Sentence] = {
    Run.State.PAUSED: campaign_sentences.WAITS_FOR_PAUSED_RUN,
    Run.State.REQUESTED: campaign_sentences.WAITS_FOR_REQUESTED_RUN,
}
KEPT_SENTENCES: dict[Blocker, Sentence] = {
    Blocker.IN_A_RUN: campaign_sentences.KEPT_IN_A_RUN,
    Blocker.PUSH_PENDING: campaign_sentences.KEPT_PUSH_PENDING,
    Blocker.NEVER_COMPARED: campaign_sentences.KEPT_NEVER_COMPARED,
    Blocker.TOO_OLD: campaign_sentences.KEPT_TOO_OLD,
    Blocker.STREAK: campaign_sentences.KEPT_FEW_MATCHES,
    Blocker.TIME: campaign_sentences.KEPT_SHORT_TIME,
    Blocker.READS: campaign_sentences.KEPT_FEW_READS,
    Blocker.READER: campaign_sentences.KEPT_BY_READER,
}
# What a comparison brings.
BY_COMPARISON = (Blocker.NEVER_COMPARED, Blocker.TOO_OLD, Blocker.STREAK)


@dataclass(frozen=True)
class KeptClients:
    """Clients for which a step waits, in words with their number, and the query of the client list that shows them."""

    message: Message
    list_query: str


@dataclass(frozen=True)
class WaitingStep:
    """A step that waits for clients of its wave, which lack what comes by itself."""

    wave: Wave
    phase: Phase  # in which they stand
    numbers: Mapping[Blocker, int]  # by what they lack, the most frequent first
    until: datetime  # it begins then at the latest
    has_soaked: bool  # not before the first step of a wave

    @property
    def message(self) -> Message:
        soaked, begun = campaign_sentences.SOAKED_AND_WAITS, campaign_sentences.BEGUN_AND_WAITS
        sentence = soaked if self.has_soaked else begun
        return sentence(
            wave=self.wave.name_message,
            n=self.clients,
            until=self.begins_at_latest,
            kept=tuple(each.message for each in self.kept),
        )

    @property
    def clients(self) -> int:
        """Return for how many clients it waits."""
        return sum(self.numbers.values())

    @property
    def begins_at_latest(self) -> str:
        """Return when it begins at the latest, with the time zone."""
        return show_time(self.until)

    @property
    def kept(self) -> list[KeptClients]:
        """Return these clients by what they lack, the most frequent first."""
        stand = {"phase": self.phase.value}
        return [
            KeptClients(
                _name_kept(code, number),
                make_list_query(CountedClients.TO_MOVE, self.wave.pk, **stand, next=code.value),
            )
            for code, number in self.numbers.items()
        ]

    @property
    def usual_durations(self) -> list[Message]:
        """Say how long it usually takes, of each thing that the clients lack."""
        every = settings.NOVA_SWEEP_MINUTES
        compared, streak = campaign_sentences.USUAL_COMPARISON, campaign_sentences.USUAL_STREAK
        told = {
            Blocker.NEVER_COMPARED: compared(n=every),
            Blocker.TOO_OLD: compared(n=every),
            Blocker.STREAK: streak(n=every),
            Blocker.PUSH_PENDING: campaign_sentences.USUAL_PUSH(),
            Blocker.IN_A_RUN: campaign_sentences.USUAL_RUN(),
            Blocker.READS: campaign_sentences.USUAL_READS(),
            Blocker.READER: campaign_sentences.USUAL_READER(wanted=describe_duration(FRESH)),
        }
        found = [told[code] for code in self.numbers if code in told]
        return [message for place, message in enumerate(found) if message not in found[:place]]

    @property
    def lacks_comparison(self) -> bool:
        return any(code in self.numbers for code in BY_COMPARISON)

    def to_json(self) -> dict[str, object]:
        """Return the step for the JSON of commands."""
        return {
            "position": self.wave.position,
            "part": self.wave.part,
            "until": self.until.isoformat(),
            "clients": {code.value: number for code, number in self.numbers.items()},
        }


@dataclass(frozen=True)
class Wait:
    """What a campaign waits for: nothing where nothing happens by itself."""

    message: Message | None
    step: WaitingStep | None = None


def find_unfinished_run(campaign: Campaign) -> Run | None:
    """Return the campaign's oldest run that is not finished; None where all are."""
    unfinished = Run.objects.filter(wave__campaign=campaign, finished_at=None)
    return unfinished.select_related("wave__campaign").order_by("pk").first()


def explain_waiting(campaign: Campaign, run: Run | None) -> Wait:
    """Say what the campaign waits for now."""
    if campaign.state == Campaign.State.REQUESTED:
        return Wait(campaign_sentences.WAITS_FOR_APPROVAL())
    if campaign.is_over and run is None:
        return Wait(None)
    if run and run.wave:
        sentence = RUN_SENTENCES.get(run.state, campaign_sentences.WAITS_FOR_RUN)
        return Wait(sentence(run=run.name_message, wave=run.wave.name_message))
    if campaign.state == Campaign.State.STOPPED:
        due = campaign.waves.filter(rollback_is_due=True).first()
        return Wait(campaign_sentences.WAITS_FOR_ROLLBACK(wave=due.name_message) if due else None)
    return _explain_next_step(campaign, timezone.now())


def _explain_next_step(campaign: Campaign, now: datetime) -> Wait:
    """Say when a running campaign, none of whose runs is in work, makes its next step."""
    wave = campaign.waves.begun().filter(finished_at=None).first()
    if wave:
        wave.campaign = campaign
    until = wave.find_end_of_last_soak() if wave else None
    if wave and until and now < until:
        soaks = campaign_sentences.SOAKS(wave=wave.name_message, until=show_time(until))
        return Wait(in_a_row(soaks, _name_hours(campaign, until)))
    if hours := _name_hours(campaign, now):
        return Wait(hours)
    seen_at = Worker.objects.last_seen_at()
    if seen_at is None or now - seen_at > Worker.GONE_AFTER:
        return Wait(run_sentences.NO_WORKER())
    step = wave and _find_waiting_step(wave, now, has_soaked=until is not None)
    if step:
        return Wait(step.message, step)
    return Wait(campaign_sentences.STEP_IS_DUE(since=_find_due_time(campaign, wave, now)))


def _find_due_time(campaign: Campaign, wave: Wave | None, now: datetime) -> datetime:
    """Return since when nothing keeps the next step: a soak or wave has ended, or somebody had the campaign go on."""
    ended = campaign.waves.aggregate(last=Max("finished_at"))["last"]
    moments = (campaign.changed_at, wave and wave.find_end_of_last_soak(), None if wave else ended)
    return min(now, max(moment for moment in moments if moment))


def _find_waiting_step(wave: Wave, now: datetime, *, has_soaked: bool) -> WaitingStep | None:
    until = wave.waits_at_most_until()
    step = wave.find_next_untried_step() if now < until else None
    numbers = wave.count_awaited_by_blocker(step[0]) if step else {}
    if step is None or not numbers:
        return None
    most_first = dict(sorted(numbers.items(), key=lambda each: -each[1]))
    return WaitingStep(wave, step[0], most_first, until, has_soaked)


def _name_kept(code: Blocker, number: int) -> Message:
    """Return the number of clients with what they lack, and how much of it the gate wants."""
    by_reader = code == Blocker.READER
    wanted = describe_duration(FRESH) if by_reader else describe_wanted(code, Phase.AWS)
    return KEPT_SENTENCES[code](n=number, **({} if wanted is None else {"wanted": wanted}))


def _name_hours(campaign: Campaign, moment: datetime) -> Message | None:
    """Name the hours of the day in which a step may begin; None where it may at that moment."""
    if not campaign.begins_at or not campaign.ends_at or campaign.hours_allow_step(moment):
        return None
    return campaign_sentences.WAITS_FOR_HOURS(
        begin=f"{campaign.begins_at:%H:%M}",
        end=f"{campaign.ends_at:%H:%M}",
        zone=timezone.get_default_timezone_name(),
    )


def show_time(moment: datetime) -> str:
    """Return the moment with the site's time zone; a message shows a datetime as its age, and this one is to come."""
    local = timezone.localtime(moment)
    return f"{formats.date_format(local, 'DATETIME_FORMAT')} {local.tzname()}"
