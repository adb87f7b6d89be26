"""Logs in for real, to prove that a login works: databases, mailboxes, AWS keys. Knows no row, no client, no phase.

`try_login` never raises, and its outcome holds nothing that a server said. `open_database` gives who rotates a
password a connection under the same rules.
"""

from migration.core.outgoing import Deadline, LoginFailedError, LoginOutcome, LoginResult
from migration.operations.login_tests.attempts import LOGIN_SECONDS, make_database_login, try_login
from migration.operations.login_tests.database import DatabaseLogin, open_database

__all__ = [
    "LOGIN_SECONDS",
    "DatabaseLogin",
    "Deadline",
    "LoginFailedError",
    "LoginOutcome",
    "LoginResult",
    "make_database_login",
    "open_database",
    "try_login",
]
