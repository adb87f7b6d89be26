"""`doctor`: looks for every problem of the site anew, and says of each what to do."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from django.core.management.base import CommandError, CommandParser
from django.db import connection

from migration.core.problems import Area, FindingState, Problem
from migration.doctor.looks import (
    Line,
    list_lines,
    list_site_problems,
    look_at_site,
    tell_of_first_release,
)
from migration.doctor.nova import role_exists
from migration.management.base import FormattedCommand
from nova_credentials.shown_names import escape_name

WORDS = {
    FindingState.OK: "ok",
    FindingState.FAILED: "FAILED",
    FindingState.NOT_LOOKED_AT: "not looked at",
}


class Command(FormattedCommand):
    help = (
        "Looks for every problem of the site anew: workers, AWS, NOVA's database, secrets, audit, notices. Says what to"
        " do about each, and changes nothing in NOVA."
    )
    # The areas of which another command tells.
    left_out: ClassVar[Collection[Area]] = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--only", nargs="+", metavar="CODE", help="look for these problems alone"
        )
        parser.add_argument(
            "--role",
            metavar="ROLE",
            help="the role by which NOVA connects; without it, the owners of its tables",
        )
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        problems, role = self._choose(options["only"]), options["role"]
        if role is not None and not role_exists(role):
            raise CommandError(f"PostgreSQL has no role {escape_name(role)}", returncode=2)
        results = (
            [tell_of_first_release()] if is_first_release() else look_at_site(problems, role=role)
        )
        lines = list(list_lines(results))
        if options["format"] == "json":
            self.print_json([line.to_json() for line in lines])
        else:
            self._print_lines(lines)
        if not all(line.finding.ok for line in lines):
            sys.exit(1)

    def _choose(self, codes: Sequence[str] | None) -> list[Problem]:
        known = [each for each in list_site_problems() if each.area not in self.left_out]
        if unknown := set(codes or ()) - {each.code for each in known}:
            names = ", ".join(map(escape_name, sorted(unknown)))
            raise CommandError(f"No problem has this code: {names}", returncode=2)
        return [each for each in known if codes is None or each.code in codes]

    def _print_lines(self, lines: Sequence[Line]) -> None:
        for line in lines:
            found = line.finding
            self.stdout.write(f"{WORDS[found.state]}: {line.problem.code}: {found.message}")
            if found.remedy:
                self.stdout.write(f"    {found.remedy}")
            for statement in found.statements:
                self.stdout.write(f"        {statement}")
        self.stdout.write(count_states([line.finding.state for line in lines]))


def is_first_release() -> bool:
    """Say whether the site's tables are still those of the first release, of which nothing else can be said."""
    with connection.cursor() as cursor:
        cursor.execute(
            # In the catalogue: by name nothing is found in a schema that this role may not use.
            "SELECT array_agg(nspname::text) = ARRAY['public'] FROM pg_class JOIN pg_namespace n"
            " ON n.oid = relnamespace WHERE relname = 'credentials_clientwrite'"
            " AND nspname IN ('public', 'nova_admin')"
        )
        return bool(cursor.fetchone()[0])


def count_states(states: Sequence[FindingState]) -> str:
    """Return how many findings are in each state."""
    return ", ".join(f"{states.count(state)} {WORDS[state].lower()}" for state in FindingState)
