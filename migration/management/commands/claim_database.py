"""`claim_database`: says that this duplicate of the database is the one that writes to AWS from now on."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from migration import tasks
from migration.management.base import FormattedCommand, find_user
from migration.models import DatabaseClaim, DatabaseIdentity, ReasonError
from migration.operations.aws_store import describe_aws_account_and_key
from migration.operations.aws_writes import ClaimRefused, claim_database, find_write_refusal
from migration.operations.database_identity import describe_identity


class Command(FormattedCommand):
    help = (
        "Says that this database, a duplicate so far, is the one that writes to AWS."
        " The other one goes on writing too."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reason", required=True, help="kept with the claim")
        parser.add_argument("--by", metavar="USER", help="the user in whose name it is done")
        self.add_format(parser)

    def handle(self, *args: object, **options: Any) -> None:
        before, aws = DatabaseClaim.objects.newest(), str(describe_aws_account_and_key())
        try:
            claim = claim_database(
                reason=options["reason"],
                by=find_user(options["by"], permission="migration.claim_database"),
                aws=aws,
            )
        except (ReasonError, ClaimRefused) as error:
            raise CommandError(str(error), returncode=2) from None
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
