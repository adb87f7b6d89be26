"""`check_aws`: tries each permission that the site needs at the real account, and names those that lack."""

from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import CommandParser

from migration.doctor.iam import examine_account
from migration.management.base import FormattedCommand
from migration.management.commands.doctor import WORDS, count_states


class Command(FormattedCommand):
    help = "Tries each permission that this site needs in AWS, changes nothing there, and names what is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        findings = examine_account()
        if options["format"] == "json":
            self.print_json([finding.to_json() for finding in findings])
        else:
            for finding in findings:
                told = f"{WORDS[finding.state]}: {finding.permission.action}: {finding.message}"
                self.stdout.write(told)
                if finding.remedy:
                    self.stdout.write(f"    {finding.remedy}")
            self.stdout.write(count_states([finding.state for finding in findings]))
            self.stdout.write(
                "NOVA's own credentials can't be asked with the site's: see iam_policy reader."
            )
        if not all(finding.ok or finding.is_untold for finding in findings):
            sys.exit(1)
