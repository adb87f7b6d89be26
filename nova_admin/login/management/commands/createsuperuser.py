"""`createsuperuser`: Django's command, which takes no weak password from the environment here."""

import os
from typing import Any

from django.contrib.auth.management.commands import createsuperuser
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

PREFIX = "DJANGO_SUPERUSER_"
PASSWORD = f"{PREFIX}PASSWORD"


class Command(createsuperuser.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        """Refuse a weak password with `--noinput`; without it, Django asks whether to take it all the same."""
        if not options["interactive"] and PASSWORD in os.environ:
            name, address = (
                options[option] or os.environ.get(PREFIX + option.upper(), "")
                for option in ("username", "email")
            )
            try:
                validate_password(os.environ[PASSWORD], User(username=name, email=address))
            except ValidationError as error:
                raise CommandError(f"{PASSWORD} is weak: {' '.join(error.messages)}") from None
        super().handle(*args, **options)
