"""`claim_database`: says that this duplicate of the database is the one that writes to AWS from now on.

With `--facts`: that all hosts are to have what this one has.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from migration import tasks
from migration.core.audit import ReasonError
from migration.core.aws_store import describe_aws_account_and_key
from migration.core.aws_writes import ClaimRefused, claim_database, claim_facts, find_write_refusal
from migration.core.database_identity import describe_identity
from migration.core.write_state import DatabaseClaim, DatabaseIdentity
from migration.management.base import FormattedCommand, find_user


class Command(FormattedCommand):
    help = (
        "Says that this database, a duplicate so far, is the one that writes to AWS."
        " The other one goes on writing too. With --facts: that what this host has is what all hosts share from now on."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="kept with the claim")
        parser.add_argument(
            "--facts",
            action="store_true",
            help="claim no database: note prefix, region, account and keys as this host has them",
        )
        self.add_by(parser)
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        by = find_user(options["by"], permission="migration.claim_database")
        aws = str(describe_aws_account_and_key())
        try:
            if options["facts"]:
                self._claim_facts(options, by=by, aws=aws)
            else:
                self._claim_database(options, by=by, aws=aws)
        except (ReasonError, ClaimRefused) as error:
            raise CommandError(str(error), returncode=2) from None

    def _claim_facts(self, options: dict[str, Any], *, by: User | None, aws: str) -> None:
        changed = claim_facts(reason=options["reason"], by=by, aws=aws)
        refusal = find_write_refusal()
        if refusal is None:
            tasks.resume_held_runs()
        if options["format"] == "json":
            facts = [
                {"fact": fact, "noted": before or None, "claimed": here or None}
                for fact, (here, before) in changed.items()
            ]
            self.print_json({"facts": facts, "refusal": refusal and str(refusal)})
            return
        for fact, (here, before) in changed.items():
            self.stdout.write(f"{fact}: {here or 'not known yet'}, formerly {before}")
        self.stdout.write("Hosts that have something else write nothing to AWS from now on.")
        if refusal:
            self.stdout.write(str(refusal))

    def _claim_database(self, options: dict[str, Any], *, by: User | None, aws: str) -> None:
        before = DatabaseClaim.objects.newest()
        claim = claim_database(reason=options["reason"], by=by, aws=aws)
        refusal = find_write_refusal()
        if refusal is None:
            tasks.resume_held_runs()
        if options["format"] == "json":
            self.print_json(
                {
                    "noted": before and to_json(before.identity),
                    "claimed": to_json(claim.identity),
                    "aws": aws,
                    "refusal": refusal and str(refusal),
                }
            )
            return
        noted = describe_identity(before.identity) if before else ["  nothing"]
        lines = ["It was noted:", *noted, "It is now:", *describe_identity(claim.identity)]
        lines += [f"It writes to AWS: {aws}.", *([str(refusal)] if refusal else [])]
        for line in lines:
            self.stdout.write(line)


def to_json(identity: DatabaseIdentity) -> dict[str, object]:
    return {
        "system_identifier": identity.system_identifier or None,
        "database_oid": identity.database_oid,
        "place": identity.place,
    }
