"""`changepassword`: Django's command, and here a record on the user's page that it was run."""

import getpass
from typing import Any

from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.models import User

from migration.people.models import PasswordReset


class Command(changepassword.Command):
    def handle(self, *args: Any, **options: Any) -> str | None:
        said = super().handle(*args, **options)
        user = User.objects.get(username=options["username"] or getpass.getuser())
        PasswordReset.objects.record(user=user, by=None, what=PasswordReset.What.PASSWORD)
        return said
