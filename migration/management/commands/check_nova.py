"""`check_nova`: looks at everything in PostgreSQL and around it that the site relies on, and says what to do."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.doctor.examination import examine_nova
from migration.doctor.findings import Finding, FindingState
from migration.doctor.nova import role_exists
from migration.management.base import ClientsCommand
from nova_credentials.shown_names import escape_name

WORDS = {
    FindingState.OK: "ok",
    FindingState.FAILED: "FAILED",
    FindingState.NOT_LOOKED_AT: "not looked at",
}


class Command(ClientsCommand):
    help = "Checks NOVA's database, its roles and triggers, the workers and the clocks; changes nothing in NOVA."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--role",
            metavar="ROLE",
            help="the role by which NOVA connects; without it, the owners of its tables",
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        role = options["role"]
        if role is not None and not role_exists(role):
            raise CommandError(f"PostgreSQL has no role {escape_name(role)}", returncode=2)
        findings = examine_nova(role=role)
        if options["format"] == "json":
            self.print_json([finding.to_json() for finding in findings])
        else:
            self._print_findings(findings)
        if not all(finding.ok for finding in findings):
            sys.exit(1)

    def _print_findings(self, findings: list[Finding]) -> None:
        for finding in findings:
            told = f"{WORDS[finding.state]}: {finding.check.value}: {finding.message}"
            self.stdout.write(told)
            if finding.remedy:
                self.stdout.write(f"    {finding.remedy}")
            for statement in finding.statements:
                self.stdout.write(f"        {statement}")
        self.stdout.write(count_states([finding.state for finding in findings]))


def count_states(states: Sequence[FindingState]) -> str:
    """Return how many findings are in each state."""
    return ", ".join(f"{states.count(state)} {WORDS[state].lower()}" for state in FindingState)
