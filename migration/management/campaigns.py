"""The base of the commands over campaigns: which one, working on it in this process, and how it is printed."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, connection

from migration import tasks
from migration.campaigns.explain import (
    CampaignSummary,
    WaveSummary,
    explain_waiting,
    find_unfinished_run,
    summarize_campaign,
)
from migration.campaigns.models import Campaign
from migration.campaigns.steps import advance_campaign
from migration.management.base import LARGEST_ID, Options, RunCommand
from migration.runs.engine import is_held_by_writes
from migration.runs.models import Run
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
            with _watching(campaign):
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


@contextmanager
def _watching(campaign: Campaign) -> Iterator[None]:
    """Have the stop rule looked at every WATCH_SECONDS, in a thread with a connection of its own, in the block."""
    over = threading.Event()

    def watch() -> None:
        try:
            while not over.wait(WATCH_SECONDS):
                # PostgreSQL may be restarting: the next look connects again.
                with suppress(DatabaseError):
                    advance_campaign(campaign.pk)
        finally:
            connection.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
