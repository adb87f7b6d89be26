"""Owns the outcomes of a login that was tried. Knows no server and no sentence."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class LoginOutcome(StrEnum):
    """The result of a login; it never holds a server's words."""

    WORKS = "works"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    NO_SUCH_HOST = "no_such_host"
    TLS_PROBLEM = "tls_problem"
    TIMED_OUT = "timed_out"
    NOT_ALLOWED = "not_allowed"  # an address that no login is sent to
    UNSAFE = "unsafe"  # the server wants the password in clear text, or wants none at all
    UNEXPECTED = "unexpected"  # the answers are not those of such a server
    NOT_TESTABLE = "not_testable"  # host or secret are missing, or can't be sent


@dataclass(frozen=True)
class LoginResult:
    """The outcome, and which of a mailbox's services gave it: "imap" or "smtp", else ""."""

    outcome: LoginOutcome
    service: str = ""

    @property
    def works(self) -> bool:
        """Say whether the server let the login in, having asked for the secret."""
        return self.outcome == LoginOutcome.WORKS


class LoginFailedError(Exception):
    """A login did not succeed. Its text is the outcome's name: no host, no value, no server's words."""

    def __init__(self, outcome: LoginOutcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome
