"""`audit`: verifies that no entry was changed, removed, reordered or added; exports entries, and lets old ones go."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar, cast

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from migration.core.audit import audit_keys
from migration.core.audit_chain import AuditHead, seal_audit
from migration.core.audit_export import (
    LONGEST_FILE,
    AuditFilter,
    ExportFormat,
    FileVerdict,
    NotCutOverError,
    UnreadableFileError,
    export_audit,
    export_cutover,
    verify_file,
)
from migration.management.base import FormattedCommand, OneLineOutput, find_client, find_user
from migration.management.names import CommandGroup
from migration.site.audit import (
    LateSpan,
    NotTrimmedError,
    UnsetKey,
    Verification,
    trim_audit,
    verify_audit,
)
from nova_credentials.shown_names import escape_invisible, escape_name


class Verify(FormattedCommand):
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


class Export(FormattedCommand):
    help = (
        "Prints the audit's entries, all as they are at one moment. That it did is an entry, too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--since", metavar="TIME", help="2026-11-26, or 2026-11-26T08:00+00:00")
        chosen = parser.add_mutually_exclusive_group()
        chosen.add_argument("--client", metavar="SLUG", help="only what this client's history has")
        chosen.add_argument("--run", metavar="ID", type=int, help="only entries of this run")
        chosen.add_argument("--campaign", metavar="ID", type=int, help="only entries of this one")
        chosen.add_argument(
            "--cutover",
            metavar="SLUG",
            help=(
                "this client's entries up to its newest cutover, in a signed file that audit verify --export verifies"
            ),
        )
        self.add_by(parser)
        parser.add_argument(
            "--format", choices=[*ExportFormat], default="json", help="how it is written (json)"
        )

    def handle(self, *args: object, **options: Any) -> None:
        since = parse_moment(options["since"]) if options["since"] is not None else None
        by = find_user(options["by"], permission="migration.view_auditevent")
        write = cast("OneLineOutput", self.stdout).write_unchanged
        kind = ExportFormat(options["format"])
        if options["cutover"] is None:
            groups = (f"{name} {options[name]}" for name in ("run", "campaign") if options[name])
            slug = options["client"]
            client_id = None if slug is None else find_client(slug).pk
            chosen = AuditFilter(since=since, client_id=client_id, correlation=next(groups, ""))
            export_audit(chosen=chosen, kind=kind, write=write, by=by)
        elif since or kind != ExportFormat.JSON:
            raise CommandError("--cutover goes with neither --since nor csv", returncode=2)
        else:
            write(self._export_cutover(options["cutover"], by))

    def _export_cutover(self, slug: str, by: User | None) -> str:
        client = find_client(slug)
        try:
            return export_cutover(client=client, by=by, for_auditor=True)
        except NotCutOverError:
            text = f"{escape_name(slug)} was never cut over"
            raise CommandError(text, returncode=2) from None


def parse_moment(text: str) -> Any:
    """Return the moment that was typed, a day as its beginning in UTC; exit with 2 where it is none."""
    try:
        moment = parse_datetime(text)
        day = None if moment else parse_date(text)
    except ValueError:
        moment = day = None
    if day:
        moment = parse_datetime(f"{day}T00:00:00Z")
    if moment is None:
        raise CommandError("not a time such as 2026-11-26 or 2026-11-26T08:00+00:00", returncode=2)
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


class Trim(FormattedCommand):
    help = (
        "Writes the audit's entries of before a day into a file, makes a signed checkpoint, and deletes them."
        " Run it as the owner of the site's tables."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--before", required=True, metavar="DAY", help="2026-01-01")
        parser.add_argument("--export", required=True, metavar="FILE", type=Path, help="a new file")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="migration.view_auditevent")
        try:
            number, made = trim_audit(
                before=parse_moment(options["before"]), file=options["export"], by=by
            )
        except NotTrimmedError as error:
            raise CommandError(str(error), returncode=1) from None
        except OSError as error:
            text = f"{options['export']}: {error.strerror}. Name a file that doesn't exist yet."
            raise CommandError(text, returncode=2) from None
        if options["format"] == "json":
            self.print_json(
                {
                    "entries": number,
                    "position": made.position,
                    "exported_sha256": made.exported,
                }
            )
        else:
            self.stdout.write(
                f"{number:,} entries were let go, up to position {made.position}."
                f" The file's SHA-256 is {made.exported}: keep both."
            )


class Command(CommandGroup):
    help = "Verifies the audit, exports its entries, and lets old ones go."
    commands: ClassVar = {"verify": Verify, "export": Export, "trim": Trim}
