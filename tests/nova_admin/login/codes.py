"""What a person has in hand: the codes of their app."""

import re
import time

from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.contrib.auth.models import User
from django.http import HttpResponse

from migration.people.second_factors import make_factor_secret, set_up_second_factor


class Phone:
    """An authenticator app with a clock of its own, `off` seconds ahead."""

    def __init__(self, secret: str = "") -> None:
        self.secret = secret or make_factor_secret()

    @classmethod
    def scan(cls, page: HttpResponse) -> "Phone":
        """The phone that typed in the key which the page shows."""
        (key,) = re.findall(r"<code[^>]*>([A-Z2-7 ]{32,})</code>", page.content.decode())
        return cls(key.replace(" ", ""))

    def show(self, off: int = 0) -> str:
        return format_hotp_value(hotp_value(self.secret, int(time.time() + off) // 30))


def give_factor(user: User) -> tuple[Phone, list[str]]:
    """A second factor that was set up a while ago: every code of now is still good. And the recovery codes."""
    phone = Phone()
    return phone, set_up_second_factor(user=user, secret=phone.secret, code=phone.show(-30))
