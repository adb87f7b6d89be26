"""`rotate_credential`: gives a login of a client, or all database logins of several, a secret that a login proves."""

from __future__ import annotations

import sys
from getpass import getpass
from typing import Any

from django.contrib.auth.models import User
from django.core.management.base import CommandError, CommandParser

from credentials.models import Client
from migration.core.snapshots import read_client_with_rows
from migration.logins.models import Rotation, RotationOpenError, RotationOutcome
from migration.logins.pages import ROTATED, ROTATION_UNFINISHED
from migration.logins.role_passwords import describe_missing_login, find_row
from migration.logins.rotations import (
    ENTERED_COLUMNS,
    NotRotated,
    rotate_database,
    store_entered_secret,
)
from migration.management.acts import ActCommand
from migration.management.base import Options
from migration.runs.plans import PlanClass, PlannedClient
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message

PROMPTS = {
    "email_password": "New password of the mailbox: ",
    "access_key_id": "New access key id: ",
    "secret_access_key": "New secret access key: ",
}
# No outcome yet: the workers go on with it.
UNFINISHED, NOT_BEGUN = "unfinished", "not_begun"


class Command(ActCommand):
    act_code = "rotate"
    help = (
        "Gives a login of one client a new secret. A database gets a random password; for a mailbox or an AWS key the"
        " new one is asked for, or read from standard input, tested by a login and stored. Of several clients every"
        " database login gets a new password, as a run with a reason."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("type", choices=[t.value for t in CredentialType])
        parser.add_argument("--label", help="the login's label; without it the primary one")
        parser.add_argument(
            "--stdin",
            action="store_true",
            help="read the new secret from standard input; of an AWS key the id in a line before it",
        )

    def handle(self, *args: object, **options: Any) -> None:
        if len(set(options["slugs"])) == 1:
            client = self.find_clients(options).get()
            self._rotate_one(client, self.find_allowed_user(options), options)
            return
        if options["type"] != CredentialType.DATABASE or options["label"] or options["stdin"]:
            text = "of several clients only the database logins are rotated, all of each: name one client"
            raise CommandError(text, returncode=2)
        super().handle(*args, **options)

    def _rotate_one(self, client: Client, by: User | None, options: Options) -> None:
        credential_type, label = CredentialType(options["type"]), options["label"]
        if find_row(read_client_with_rows(client.pk), credential_type, label) is None:
            missing = describe_missing_login(client.slug, credential_type, label)
            raise CommandError(str(missing), returncode=2)
        if options["dry_run"]:
            would = PlannedClient(client.pk, client.slug, "", 0, PlanClass.WILL, "")
            self.print_plan([[would]], options)
            return
        self.shown = {"slug": client.slug, "type": credential_type.value, "label": label}
        try:
            rotation = self._rotate(client, credential_type, by, options)
        except (NotRotated, RotationOpenError) as refusal:
            self._report(NOT_BEGUN, None, refusal.message, options)
        else:
            state = rotation.outcome or UNFINISHED
            message = rotation.message
            if state == UNFINISHED and message:
                message = ROTATION_UNFINISHED(why=message)
            if state == RotationOutcome.ROTATED:
                message = ROTATED(login=rotation.client_kind_and_label)
            self._report(str(state), rotation.version_id or None, message, options)

    def _rotate(
        self,
        client: Client,
        credential_type: CredentialType,
        by: User | None,
        options: Options,
    ) -> Rotation:
        if credential_type == CredentialType.DATABASE:
            if options["stdin"]:
                raise CommandError(
                    "a database gets a random password: leave --stdin out", returncode=2
                )
            return rotate_database(
                client_id=client.pk, label=options["label"], by=by, reason=options["reason"]
            )
        return store_entered_secret(
            client_id=client.pk,
            credential_type=credential_type,
            label=options["label"],
            entered=self._read_entered(credential_type, from_stdin=options["stdin"]),
            by=by,
            reason=options["reason"],
            warn=lambda message: self.stderr.write(str(message)),
        )

    def _read_entered(self, credential_type: CredentialType, *, from_stdin: bool) -> dict[str, str]:
        """Ask for what is new, or read it from standard input; exit with 2 where something is missing."""
        columns = ENTERED_COLUMNS[credential_type]
        if from_stdin:
            lines = sys.stdin.read().removesuffix("\n").split("\n", len(columns) - 1)
            entered = dict(zip(columns, lines, strict=False))
        elif sys.stdin.isatty():
            entered = {name: getpass(PROMPTS[name]) for name in columns}
        else:
            raise CommandError("nobody can be asked here: pass --stdin", returncode=2)
        if any(not entered.get(name) for name in columns):
            raise CommandError("the new secret is missing", returncode=2)
        return entered

    def _report(
        self, state: str, version: str | None, message: Message | None, options: Options
    ) -> None:
        if options["format"] == "json":
            self.print_json({**self.shown, "version": version, "state": state})
            if message and state != RotationOutcome.ROTATED:
                self.stderr.write(str(message))
        elif state == RotationOutcome.ROTATED:
            self.stdout.write(str(message))
        else:
            self.stderr.write(str(message))
        if state != RotationOutcome.ROTATED:
            sys.exit(1)
