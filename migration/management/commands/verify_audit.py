"""`verify_audit`: verifies that no entry of the audit was changed, removed, reordered or added, or one export."""

import sys
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.core.audit import audit_keys
from migration.core.audit_chain import AuditHead, seal_audit
from migration.core.audit_export import LONGEST_FILE, FileVerdict, UnreadableFileError, verify_file
from migration.management.base import FormattedCommand
from migration.site.audit import LateSpan, UnsetKey, Verification, verify_audit
from nova_credentials.shown_names import escape_invisible


class Command(FormattedCommand):
    help = (
        "Verifies the audit, and prints its head. Exits with 1 where an entry was changed, removed, reordered or"
        " added, or where the database no longer refuses that."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        asked = parser.add_mutually_exclusive_group()
        asked.add_argument(
            "--head", help="a head that was kept elsewhere: also say whether the end was cut off"
        )
        asked.add_argument(
            "--export",
            "--certificate",
            metavar="FILE",
            help=(
                "verify this export of a cutover, without the database; or against the audit a certificate of a"
                " cutover, which 0.2.0 made"
            ),
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        if options["export"] is not None:
            self._verify_file(Path(options["export"]), as_json=options["format"] == "json")
            return
        try:
            kept = AuditHead.parse(options["head"]) if options["head"] is not None else None
        except ValueError as error:
            raise CommandError(f"--head: {error}", returncode=2) from None
        seal_audit(from_beginning=True, wait=True)
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

    def _verify_file(self, path: Path, *, as_json: bool) -> None:
        try:
            with path.open(encoding="utf-8") as file:
                verdict = verify_file(file.read(LONGEST_FILE + 1))
        except OSError as error:
            raise CommandError(f"--export: {error.strerror}", returncode=2) from None
        except (UnicodeDecodeError, UnreadableFileError):
            raise CommandError("--export: the file is no export", returncode=2) from None
        if as_json:
            self.print_json(file_to_json(verdict))
        else:
            self._print_verdict(verdict)
        if not verdict.is_genuine:
            sys.exit(1)

    def _print_verdict(self, verdict: FileVerdict) -> None:
        kind = verdict.kind.capitalize()
        if facts := verdict.facts:
            of = facts["cutover"]["at"] if kind == "Certificate" else facts["cutover_at"]
            slug, name = escape_invisible(facts["slug"]), escape_invisible(facts["made_by"])
            made = f"made at {facts['made_at']} by {name}"
            self.stdout.write(f"{kind} of {slug}: cut over at {of}; {made}.")
            self.stdout.write(f"Head of the chain then: {facts['audit_head']}")
        for fault, place in verdict.findings:
            self.stdout.write(f"{fault} {place}".strip())
        if verdict.let_go:
            self.stdout.write(f"{verdict.let_go:,} of its entries were let go at a checkpoint.")
        if verdict.is_genuine:
            how = (
                "agree with the audit" if kind == "Certificate" else "are as this site signed them"
            )
            self.stdout.write(f"{kind} is genuine: {verdict.agreeing:,} entries {how}.")
        else:
            self.stdout.write(f"{kind} is NOT genuine.")

    def _print_text(self, found: Verification) -> None:
        for key in found.foreign.values():
            self.stdout.write(describe_foreign_key(key, found))
        if found.foreign and not found.faults:
            return
        for finding in found.findings:
            self.stdout.write(str(finding))
        listed = len(found.findings)
        if more := found.faults.total() - listed:
            self.stdout.write(f"… and {more:,} more")
        for span in found.late_spans:
            self.stdout.write(f"sealed late: {describe_late_span(span)}")
        if more := found.late - sum(1 + span.last - span.first for span in found.late_spans):
            self.stdout.write(f"… and {more:,} more that were sealed late")
        if found.begins_after:
            self.stdout.write(f"Entries up to {found.begins_after} were let go at a checkpoint.")
        verdict = "sound" if found.is_sound else "NOT sound"
        self.stdout.write(
            f"The audit is {verdict}: {found.sealed:,} entries in the chain, {found.unsealed:,} not in it yet."
        )
        self.stdout.write(f"Head: {found.head}")


def describe_foreign_key(key: UnsetKey, found: Verification) -> str:
    """Say which entries name a key that is not set here, and which are: nothing else can be said of them."""
    codes = ", ".join(audit_keys().by_id)
    code = escape_invisible(key.code)
    none_is_known = found.sealed == sum(each.number for each in found.foreign.values())
    whole = len(found.foreign) == 1 and none_is_known
    which = f"All {key.number:,} entries" if whole else f"{key.number:,} entries"
    span = f" ({key.first:,} to {key.last:,})" if key.first else " (not in the chain yet)"
    return (
        f"{which}{span} name the key {code}, and none of them can be verified: it is not set here. The keys that are"
        f" set here have the codes {codes}. Set NOVA_AUDIT_KEY as it was, or list the former one in"
        " NOVA_AUDIT_OLD_KEYS."
    )


def describe_late_span(span: LateSpan) -> str:
    places = f"{span.first}-{span.last}" if span.last > span.first else str(span.first)
    return f"{places}, {span.longest.total_seconds() / 60:,.0f} minutes after they were written at most"


def file_to_json(verdict: FileVerdict) -> dict[str, object]:
    return {
        "genuine": verdict.is_genuine,
        verdict.kind: verdict.facts,
        "agreeing": verdict.agreeing,
        "let_go": verdict.let_go,
        "findings": [{"fault": fault.value, "place": place} for fault, place in verdict.findings],
    }


def to_json(found: Verification) -> dict[str, object]:
    return {
        "sound": found.is_sound,
        "head": str(found.head),
        "begins_after": found.begins_after,
        "sealed": found.sealed,
        "unsealed": found.unsealed,
        "late": found.late,
        "late_spans": [
            {"first": each.first, "last": each.last, "seconds": each.longest.total_seconds()}
            for each in found.late_spans
        ],
        "foreign_keys": [vars(each) for each in found.foreign.values()],
        "keys": list(audit_keys().by_id),
        "faults": {fault.value: number for fault, number in found.faults.items()},
        "findings": [{"fault": each.fault.value, "place": each.place} for each in found.findings],
    }
