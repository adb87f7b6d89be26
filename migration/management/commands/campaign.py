"""`campaign`: starts, shows and steers campaigns, and works on one in this process until it waits for a person."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentTypeError
from contextlib import suppress
from datetime import time as day_time
from decimal import Decimal
from functools import partial
from math import ceil
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from migration import tasks
from migration.campaigns.explain import (
    CampaignSummary,
    WaveSummary,
    explain_waiting,
    find_unfinished_run,
    summarize_campaign,
)
from migration.campaigns.members import find_slugs_unmoved_by_steps, go_on_without
from migration.campaigns.models import GOALS, Campaign, CampaignNotChangedError
from migration.campaigns.steps import (
    LARGEST,
    CampaignStartRefusedError,
    advance_campaign,
    cancel_campaign,
    start_campaign,
    stop_campaign,
)
from migration.core.audit import ReasonError
from migration.management.base import (
    LARGEST_ID,
    Options,
    RunCommand,
    find_client_group,
    find_user,
    require_writes,
)
from migration.management.names import CommandGroup
from migration.management.progress import looking_every
from migration.moves.approvals import ApprovalStepRefused
from migration.runs.engine import is_held_by_writes
from migration.runs.models import Run
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name

POLL_SECONDS = 1.0
WATCH_SECONDS = 5.0


class CampaignCommand(RunCommand):
    """A command that steers a campaign, or works on it until it waits for a person."""

    takes_locks = True

    def add_common_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--inline",
            action="store_true",
            help="go on with it in this process, without workers, until it ends or stops",
        )
        self.add_by(parser)
        self.add_format(parser)

    def work_on_or_enqueue_campaign(self, campaign: Campaign, options: Options) -> None:
        """Hand the campaign to the workers, or work on it here (then exit with 1 if it stopped); print it."""
        if options["inline"]:
            self._work_on_campaign(campaign)
        elif campaign.state == Campaign.State.RUNNING:
            tasks.take_campaign_further(campaign)
        campaign.refresh_from_db()
        summary = summarize_campaign(campaign)
        if options["format"] == "json":
            self.print_json(summary.to_json())
        else:
            self.print_summary(summary)
        if options["inline"] and campaign.state == Campaign.State.STOPPED:
            sys.exit(1)

    def _work_on_campaign(self, campaign: Campaign) -> None:
        """Make one step after the other until nothing is left, or a person has to say what comes next."""
        told = ""
        while Campaign.objects.running_or_rolling_back().filter(pk=campaign.pk).exists():
            if run := advance_campaign(campaign.pk):
                self.stderr.write(f"{run}: {run.move_from} to {run.move_to}")
            run = run or find_unfinished_run(campaign)
            if run and run.state == Run.State.RUNNING and not is_held_by_writes(run):
                self._work_on_run(campaign, run)
            if run and run.finished_at:
                continue
            campaign.refresh_from_db()
            if (why := str(explain_waiting(campaign, run).message or "")) != told:
                told = why
                self.stderr.write(why)
            time.sleep(POLL_SECONDS)

    def _work_on_run(self, campaign: Campaign, run: Run) -> None:
        """Work on the run to its end, unless the stop rule ends it before."""
        try:
            # The stop rule is looked at meanwhile.
            with looking_every(WATCH_SECONDS, partial(_advance, campaign)):
                self.wait_for_end(run, inline=True)
        except CommandError:
            # Its run is stopped, and the campaign with it, before this process ends.
            advance_campaign(campaign.pk)
            raise

    def print_summary(self, summary: CampaignSummary) -> None:
        """Print the campaign in some lines: its state and why, a line for each wave, and the clients that were left."""
        campaign = summary.campaign
        why = campaign.stopped_because or summary.waits_for
        self.stdout.write(f"{campaign}: {campaign.state}. {why or ''}".strip())
        if most := summary.frequent_reason:
            self.stdout.write(
                f"  Most often, {most.clients:,} of {most.of_all:,} clients: {most.example}"
            )
        for wave in summary.waves:
            self.stdout.write(f"  {describe_wave(wave)}")
        for left in summary.left:
            self.stdout.write(f"  Left by run {left.run.pk}:")
            for item in left.items:
                self.stdout.write(f"    {escape_name(item.slug)}: {item.message or item.outcome}")
            if left.not_named:
                self.stdout.write(f"    and {left.not_named} more")
        if summary.left_out:
            names = ", ".join(escape_name(client.slug) for client in summary.left_out_named)
            more = summary.left_out_not_named
            self.stdout.write(f"  Goes on without: {names}{f' and {more} more' if more else ''}")


def _advance(campaign: Campaign) -> None:
    # PostgreSQL may be restarting: the next look connects again.
    with suppress(DatabaseError):
        advance_campaign(campaign.pk)


def describe_wave(wave: WaveSummary) -> str:
    """Return in one line where the wave stands, where its clients are, and what was counted."""
    name = str(wave.wave.name_message)
    phases = [f"{number:,} in {phase.value}" for phase, number in wave.phases.items() if number]
    counts = wave.counts and [
        f"{wave.counts.refused:,} refused",
        f"{wave.counts.mismatches:,} mismatches",
        f"{wave.counts.failed_reads:,} failed reads",
    ]
    facts = [*phases, *(counts or ())]
    return f"{name}: {wave.state.value}, {wave.clients:,} clients{': ' if facts else ''}{', '.join(facts)}"


def find_campaign(number: int) -> Campaign:
    """Return the campaign with this number; exit with 2 where there is none."""
    campaign = Campaign.objects.filter(pk=number).first() if 0 < number <= LARGEST_ID else None
    if campaign is None:
        raise CommandError(f"unknown campaign: {number}", returncode=2)
    return campaign


def read_hours(text: str) -> tuple[day_time, day_time]:
    """Return both ends of `--hours`, as "09:00-17:30"; raise ArgumentTypeError if they are no two times of a day."""
    try:
        times = [day_time.fromisoformat(each.strip()) for each in text.split("-")]
    except ValueError:
        times = []
    if len(times) != 2 or any(each.tzinfo for each in times):
        raise ArgumentTypeError("give two times of the day, as 09:00-17:30")
    return times[0], times[1]


def read_soak_hours_as_minutes(text: str) -> int:
    """Return `--soak-hours` in whole minutes, rounded up; raise ArgumentTypeError if it is no number of hours."""
    try:
        minutes = Decimal(text) * 60
        # No more than PostgreSQL could store all the same: a number may have a million digits.
        return ceil(min(max(minutes, Decimal(-1)), Decimal(LARGEST + 1)))
    except (ArithmeticError, ValueError):
        raise ArgumentTypeError("give a number of hours, as 24 or 0.5") from None


class Start(CampaignCommand):
    help = (
        "Takes client groups through the phases, one wave after the other, with a rule by which it stops by itself."
        " It never purges, and never overrides a gate."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "groups", nargs="+", metavar="GROUP", help="the client groups, in their order"
        )
        parser.add_argument(
            "--goal",
            choices=[goal.value for goal in GOALS],
            default=Phase.AWS.value,
            metavar="PHASE",
            help="where it takes them (aws)",
        )
        parser.add_argument(
            "--size",
            type=int,
            default=0,
            metavar="N",
            help="most clients in a wave (the whole group)",
        )
        parser.add_argument(
            "--soak-hours",
            type=read_soak_hours_as_minutes,
            default=0,
            dest="soak_minutes",
            metavar="HOURS",
            help="how long each step is watched before the next begins",
        )
        for name, what in (
            ("mismatches", "clients of a wave differ"),
            ("failed-reads", "reads of a wave's clients failed at AWS"),
            ("refused", "moves of a wave were refused"),
        ):
            parser.add_argument(
                f"--stop-at-{name}",
                type=int,
                default=1,
                metavar="N",
                help=f"stop where N {what} (1)",
            )
        parser.add_argument(
            "--hours",
            type=read_hours,
            default=(None, None),
            metavar="FROM-TO",
            help="when a step may begin, as 09:00-17:30 in UTC",
        )
        parser.add_argument(
            "--roll-back",
            action="store_true",
            help="where it stops by itself, roll the wave's clients back that are read from AWS",
        )
        parser.add_argument("--reason", default="", help="stored with each move")
        self.add_common_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        find_user(options["by"], permission="migration.add_campaign")
        by = find_user(options["by"], permission="migration.move_client")
        if options["inline"]:
            require_writes()
        try:
            campaign = start_campaign(
                groups=[find_client_group(name) for name in options["groups"]],
                goal=Phase(options["goal"]),
                by=by,
                reason=options["reason"].strip(),
                wave_size=options["size"],
                soak_minutes=options["soak_minutes"],
                most_mismatches=options["stop_at_mismatches"],
                most_failed_reads=options["stop_at_failed_reads"],
                most_refused=options["stop_at_refused"],
                begins_at=options["hours"][0],
                ends_at=options["hours"][1],
                rolls_back=options["roll_back"],
            )
        except (CampaignStartRefusedError, ReasonError) as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        except ApprovalStepRefused as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        self.work_on_or_enqueue_campaign(campaign, options)


class Status(CampaignCommand):
    takes_locks = False
    help = "Prints how far campaigns are, wave by wave, what they wait for, and why they stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "campaigns",
            nargs="*",
            type=int,
            metavar="CAMPAIGN",
            help="their numbers; without any, those that are not over",
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        numbers = options["campaigns"]
        chosen = map(find_campaign, numbers) if numbers else Campaign.objects.not_over()
        summaries = [summarize_campaign(campaign) for campaign in chosen]
        if options["format"] == "json":
            self.print_json([summary.to_json() for summary in summaries])
            return
        for summary in summaries:
            self.print_summary(summary)


class SteerCommand(CampaignCommand):
    """A command that changes a campaign's state."""

    permissions: ClassVar[tuple[str, ...]] = ("migration.change_campaign",)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("campaign", type=int, metavar="CAMPAIGN", help="its number")
        self.add_common_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        campaign, by = find_campaign(options["campaign"]), find_user(options["by"])
        for permission in self.permissions:
            find_user(options["by"], permission=permission)
        try:
            self.steer(campaign, by, options)
        except ReasonError as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        except CampaignNotChangedError as refusal:
            raise CommandError(str(refusal), returncode=1) from None
        campaign.refresh_from_db()
        self.work_on_or_enqueue_campaign(campaign, options)

    def steer(self, campaign: Campaign, by: User | None, options: Options) -> None:
        """Change its state; raise `CampaignNotChangedError` where it doesn't allow that any more."""
        raise NotImplementedError


class Stop(SteerCommand):
    help = "Stops a campaign, until it is to go on."

    def steer(self, campaign: Campaign, by: User | None, options: Options) -> None:
        stop_campaign(campaign, by=by)


class GoOn(SteerCommand):
    help = "Has a campaign that stopped go on with what is left."
    permissions = ("migration.change_campaign", "migration.move_client")

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--without-refused",
            action="store_true",
            help="go on without the clients that it could not move: they stay in their phase",
        )
        parser.add_argument(
            "--reason", default="", help="with --without-refused: kept in the audit"
        )

    def steer(self, campaign: Campaign, by: User | None, options: Options) -> None:
        if not options["without_refused"]:
            campaign.go_on(by=by)
            return
        find, reason = find_slugs_unmoved_by_steps, options["reason"].strip()
        go_on_without(campaign, by=by, find=find, reason=reason)


class Cancel(SteerCommand):
    help = "Cancels a campaign for good: its clients stay where they are."

    def steer(self, campaign: Campaign, by: User | None, options: Options) -> None:
        cancel_campaign(campaign, by=by)


class Command(CommandGroup):
    help = "Takes client groups through the phases, one wave after the other. Approving is possible on its page only."
    commands: ClassVar = {
        "start": Start,
        "status": Status,
        "stop": Stop,
        "go_on": GoOn,
        "cancel": Cancel,
    }
