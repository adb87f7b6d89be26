"""`verify_audit`: verifies that no entry of the audit was changed, removed, reordered or added."""

import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.management.base import FormattedCommand
from migration.operations.audit_chain import AuditHead, seal_audit
from migration.operations.audit_verification import Verification, verify_audit


class Command(FormattedCommand):
    help = (
        "Verifies the audit, and prints its head. Exits with 1 where an entry was changed, removed, reordered or"
        " added, or where the database no longer refuses that."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--head", help="a head that was kept elsewhere: also say whether the end was cut off"
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        try:
            kept = AuditHead.parse(options["head"]) if options["head"] is not None else None
        except ValueError as error:
            raise CommandError(f"--head: {error}", returncode=2) from None
        seal_audit(everything=True, wait=True)
        found = verify_audit(kept_head=kept)
        if kept and kept.position < found.begins_after:
            raise CommandError(
                f"--head: the entries up to {found.begins_after} were let go, so this head can't be compared.",
                returncode=2,
            )
        if options["format"] == "json":
            self.print_json(to_json(found))
        else:
            self._print_text(found)
        if not found.is_sound:
            sys.exit(1)

    def _print_text(self, found: Verification) -> None:
        for finding in found.findings:
            self.stdout.write(str(finding))
        listed = len(found.findings)
        if more := found.faults.total() - listed:
            self.stdout.write(f"… and {more:,} more")
        if found.begins_after:
            self.stdout.write(f"Entries up to {found.begins_after} were let go at a checkpoint.")
        verdict = "sound" if found.is_sound else "NOT sound"
        self.stdout.write(
            f"The audit is {verdict}: {found.sealed:,} entries in the chain, {found.unsealed:,} not in it yet."
        )
        self.stdout.write(f"Head: {found.head}")


def to_json(found: Verification) -> dict[str, object]:
    return {
        "sound": found.is_sound,
        "head": str(found.head),
        "begins_after": found.begins_after,
        "sealed": found.sealed,
        "unsealed": found.unsealed,
        "faults": {fault.value: number for fault, number in found.faults.items()},
        "findings": [{"fault": each.fault.value, "place": each.place} for each in found.findings],
    }
