"""`encrypt_anew`: encrypts with the present `SECRET_KEY` what the former ones encrypted."""

from typing import Any

from django.core.management.base import CommandError

from migration.management.base import OneLineCommand
from migration.people.second_factors import encrypt_factors_anew
from migration.site.notices import encrypt_recipients_anew


class Command(OneLineCommand):
    help = (
        "Encrypts second factors and the recipients of notices with SECRET_KEY, where a key of SECRET_KEY_FALLBACKS"
        " encrypted them. Afterwards these keys can go. Exits with 1 while it can't read one."
    )

    def handle(self, *args: object, **options: Any) -> None:
        left = 0
        for what, (done, unreadable) in (
            ("second factors", encrypt_factors_anew()),
            ("recipients of notices", encrypt_recipients_anew()),
        ):
            self.stdout.write(f"{what}: {done} encrypted, {unreadable} could not be read")
            left += unreadable
        if left:
            raise CommandError(
                "A key is missing: add it to SECRET_KEY_FALLBACKS, and run this again.",
                returncode=1,
            )
