"""`aws_conditions`: shows or sets the conditions of the embedded AWS while it runs."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, CommandParser

from migration.management.base import OneLineCommand
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.conditions_api import NoEmbeddedAwsError, get_conditions, set_conditions
from nova_admin.embedded.faults import Fault, FaultRule, mixed_rules

FAULTS = ", ".join(Fault)
LIMITS = ("seconds", "calls", "operations")


class Command(OneLineCommand):
    help = (
        "Slows or breaks the embedded AWS while it runs, and prints its conditions and counts as JSON. What an"
        " option names replaces all that was set before; without an option nothing changes."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--round-trip", type=float, metavar="SECONDS", help="of each call")
        parser.add_argument(
            "--quotas",
            type=float,
            nargs="?",
            const=1.0,
            metavar="SCALE",
            help="AWS's quotas; a SCALE of 0.1 is a tenth of them",
        )
        parser.add_argument(
            "--fault",
            type=parse_fault,
            action="append",
            default=[],
            metavar="NAME[=PROBABILITY]",
            help=f"one of {FAULTS}; can be repeated",
        )
        parser.add_argument(
            "--mixed",
            type=float,
            metavar="SHARE",
            help="the share of calls that fail, spread over all faults",
        )
        parser.add_argument("--seconds", type=float, help="how long the faults last")
        parser.add_argument("--calls", type=int, help="how many calls each fault hits")
        parser.add_argument(
            "--operations", nargs="+", default=[], metavar="OPERATION", help="only these operations"
        )
        parser.add_argument("--clear", action="store_true", help="no delay, no quota, no fault")

    def handle(self, *args: object, **options: Any) -> None:
        named = ("round_trip", "quotas", "fault", "mixed")
        changes = any(options[name] not in (None, []) for name in named)
        if options["clear"] and changes:
            raise CommandError("--clear can't be combined with conditions", returncode=2)
        faults = options["fault"] or options["mixed"] is not None
        if not faults and any(options[name] not in (None, []) for name in LIMITS):
            raise CommandError("--seconds, --calls and --operations need a fault", returncode=2)
        try:
            if changes or options["clear"]:
                report = set_conditions(settings.AWS_ENDPOINT_URL, make_conditions(options))
            else:
                report = get_conditions(settings.AWS_ENDPOINT_URL)
        except (ValueError, NoEmbeddedAwsError) as error:
            raise CommandError(str(error), returncode=2) from error
        for line in json.dumps(report, indent=2).splitlines():
            self.stdout.write(line)


def make_conditions(options: dict[str, Any]) -> Conditions:
    """Make the conditions that the options describe; raises ValueError with what is out of bounds."""
    return Conditions(
        round_trip_seconds=options["round_trip"] or 0,
        quota_scale=options["quotas"],
        faults=tuple(make_fault_rules(options)),
    )


def make_fault_rules(options: dict[str, Any]) -> Iterator[FaultRule]:
    shared = {name: options[name] for name in LIMITS}
    shared["operations"] = tuple(shared["operations"])
    for kind, probability in options["fault"]:
        yield FaultRule(fault=kind, probability=probability, **shared)
    if options["mixed"] is not None:
        yield from mixed_rules(options["mixed"], **shared)


def parse_fault(text: str) -> tuple[Fault, float]:
    """Parse an argument: a fault and, after `=`, its probability."""
    name, _, probability = text.partition("=")
    try:
        return Fault(name), float(probability or 1)
    except ValueError:
        raise ArgumentTypeError(
            f"not NAME or NAME=PROBABILITY: {text!r}; NAME is one of {FAULTS}"
        ) from None
