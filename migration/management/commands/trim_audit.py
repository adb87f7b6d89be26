"""`trim_audit`: lets go of old entries of the audit, which it first writes into a file."""

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration.management.base import FormattedCommand, find_user
from migration.management.commands.export_audit import parse_moment
from migration.site.audit import NotTrimmedError, trim_audit


class Command(FormattedCommand):
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
