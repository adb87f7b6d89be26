"""`iam_policy`: prints the least policy of a role in AWS."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.doctor.iam import (
    PolicyError,
    Role,
    find_policy_facts,
    make_policy,
    make_statements,
    write_terraform,
)
from migration.management.base import FormattedCommand
from nova_credentials.document import Layout


class Command(FormattedCommand):
    help = "Prints the least policy of NOVA (reader), of this site (admin), or of who only rotates (rotation)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("role", choices=[role.value for role in Role], help="who gets it")
        parser.add_argument(
            "--format",
            choices=["json", "terraform"],
            default="json",
            help="how it is written (json)",
        )
        parser.add_argument(
            "--account", default="", help="12 digits; without it, the account of the newest secret"
        )
        parser.add_argument(
            "--kms-key", default="", metavar="KEY", help="id, alias or ARN, where it isn't AWS's"
        )
        parser.add_argument(
            "--layout",
            action="append",
            default=[],
            choices=[layout.value for layout in Layout],
            help="this layout too, before change_layout gives it to a client",
        )

    def handle(self, *args: object, **options: Any) -> None:
        role = Role(options["role"])
        try:
            facts = find_policy_facts(
                account=options["account"],
                kms_key=options["kms_key"],
                layouts=map(Layout, options["layout"]),
            )
        except PolicyError as error:
            raise CommandError(f"{error} (--account, --kms-key)", returncode=2) from None
        if options["format"] == "terraform":
            text = write_terraform(role, make_statements(role, facts))
        else:
            text = json.dumps(make_policy(role, facts), indent=2)
        for line in text.splitlines():
            self.stdout.write(line)
