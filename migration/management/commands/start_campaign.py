"""`start_campaign`: takes client groups through the phases, one wave after the other."""

from __future__ import annotations

from argparse import ArgumentTypeError
from datetime import time
from decimal import Decimal
from math import ceil
from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.campaigns.models import GOALS
from migration.campaigns.steps import LARGEST, CampaignStartRefusedError, start_campaign
from migration.core.audit import ReasonError
from migration.management.base import find_client_group, find_user, require_writes
from migration.management.campaigns import CampaignCommand
from migration.moves.approvals import ApprovalStepRefused
from migration.runs.models import Run
from nova_credentials.phases import Phase


def read_hours(text: str) -> tuple[time, time]:
    """Return both ends of `--hours`, as "09:00-17:30"; raise ArgumentTypeError if they are no two times of a day."""
    try:
        times = [time.fromisoformat(each.strip()) for each in text.split("-")]
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


class Command(CampaignCommand):
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
            require_writes(Run.Kind.MOVE)
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
