"""Names what comes of a login that was tried."""

from django.db import models
from django.utils.translation import gettext_lazy as _


class LoginOutcome(models.TextChoices):
    """The result of a login that was tried; it never holds a server's words."""

    WORKS = "works", _("Works")
    REFUSED = "refused", _("Login refused")
    NO_DATABASE = "no_database", _("No such database")
    # A wrong password, or one that the pooler can't check: it has a code for both.
    POOLER = "pooler", _("Refused by a pooler")
    UNREACHABLE = "unreachable", _("Unreachable")
    NO_SUCH_HOST = "no_such_host", _("No such host")
    TLS_PROBLEM = "tls_problem", _("TLS problem")
    TIMED_OUT = "timed_out", _("Timed out")
    NOT_ALLOWED = "not_allowed", _("Address not allowed")
    UNSAFE = "unsafe", _("Password not asked for safely")
    UNEXPECTED = "unexpected", _("Unexpected answer")
    NOT_TESTABLE = "not_testable", _("Can't be tested")


# The server has looked at these values, and NOVA couldn't use them either.
PROVEN_WRONG = frozenset({LoginOutcome.REFUSED, LoginOutcome.NO_DATABASE})
