"""`export_audit`: prints the entries of the audit, and records that it did."""

from typing import Any, cast

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime

from migration.core.audit_export import (
    AuditFilter,
    ExportFormat,
    NotCutOverError,
    export_audit,
    export_cutover,
)
from migration.management.base import FormattedCommand, OneLineOutput, find_client, find_user
from nova_credentials.shown_names import escape_name


class Command(FormattedCommand):
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
                "this client's entries up to its newest cutover, in a signed file that verify_audit --export verifies"
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
