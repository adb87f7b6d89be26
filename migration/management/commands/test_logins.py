"""`test_logins`: logs in for real with the values of PostgreSQL, of AWS, or of both."""

from typing import Any

from django.core.management.base import CommandParser

from migration.logins.models import LOGIN_PERMISSION, LoginStores
from migration.management.base import ClientsCommand
from migration.runs.models import Run


class Command(ClientsCommand):
    takes_locks = True
    permission = LOGIN_PERMISSION
    help = "Logs in to databases, mailboxes and AWS with the stored values; prints outcomes only, never a value."

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_client_arguments(parser)
        self.add_format(parser)
        parser.add_argument(
            "--store",
            choices=LoginStores.values,
            default=LoginStores.BOTH.value,
            help="whose values log in (both)",
        )
        self.add_run_arguments(parser)

    def handle(self, *args: object, **options: Any) -> None:
        run = self.start_run_and_wait(
            options,
            kind=Run.Kind.TEST_LOGINS,
            chosen=self.find_clients(options),
            stores=LoginStores(options["store"]),
        )
        self.report_run(run, options)
