"""`accept_objects`: lists the objects of others on NOVA's tables that nobody has accepted, and accepts some of them."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from credentials.nova_objects import NovaObject
from migration.core.audit import ReasonError
from migration.management.base import FormattedCommand, find_user
from migration.nova.tables import (
    AcceptanceRefusedError,
    accept_objects,
    describe_object,
    list_nova_objects,
    split_unknown_accepted,
)

# So many characters of a digest name one object.
LEAST_DIGITS = 12


class Command(FormattedCommand):
    help = (
        "Lists the triggers, rules, policies, domains and defaults of others on NOVA's tables that nobody has accepted,"
        " each with its digest. With digests and a reason: accepts these as they are defined now."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("digests", nargs="*", metavar="DIGEST", help="as it is listed")
        parser.add_argument("--reason", default="", help="stored with the name of the user")
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="credentials.accept_object")
        unknown, _accepted = split_unknown_accepted(list_nova_objects())
        if not options["digests"]:
            self._print_objects(unknown, options["format"])
            return
        chosen = [_find_object(unknown, digest) for digest in dict.fromkeys(options["digests"])]
        try:
            accept_objects(
                digests=[each.digest for each in chosen], reason=options["reason"], by=by
            )
        except (AcceptanceRefusedError, ReasonError) as refusal:
            raise CommandError(str(refusal), returncode=2) from None
        self._print_objects(chosen, options["format"])

    def _print_objects(self, objects: list[NovaObject], output_format: str) -> None:
        if output_format == "json":
            keys = ("kind", "name", "table", "owner", "digest")
            self.print_json([{key: str(getattr(each, key)) for key in keys} for each in objects])
            return
        for each in objects:
            self.stdout.write(f"{each.digest[:LEAST_DIGITS]}  {describe_object(each)}")


def _find_object(unknown: list[NovaObject], digest: str) -> NovaObject:
    """Return the object whose digest begins so; exit with 2 where there is none, or more than one."""
    found = [each for each in unknown if each.digest.startswith(digest)]
    if len(digest) < LEAST_DIGITS or len(found) != 1:
        raise CommandError(
            "no such object, or it was accepted or changed: run accept_objects without digests to list them",
            returncode=2,
        )
    return found[0]
