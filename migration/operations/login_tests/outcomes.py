"""Gives the outcome of a login that was tried, and the error that ends one. Knows no server and no row."""

from __future__ import annotations

from dataclasses import dataclass

from migration.models.login_outcomes import LoginOutcome

__all__ = ["LoginFailedError", "LoginOutcome", "LoginResult"]


@dataclass(frozen=True)
class LoginResult:
    """The outcome, and which of a mailbox's services gave it: "imap" or "smtp"; "" where all work, or there is one."""

    outcome: LoginOutcome
    service: str = ""

    @property
    def works(self) -> bool:
        """Say whether the server let the login in, having asked for the secret."""
        return self.outcome == LoginOutcome.WORKS


class LoginFailedError(Exception):
    """A login did not succeed. Its text is the outcome's name: no host, no value, no server's words.

    `code` is the SQLSTATE by which a database's server refused it, "" where it gave none.
    """

    def __init__(self, outcome: LoginOutcome, *, code: str = "") -> None:
        super().__init__(outcome.value)
        self.outcome = outcome
        self.code = code
