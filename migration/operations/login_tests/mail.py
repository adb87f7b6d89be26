"""Logs in to a mailbox by IMAP and SMTP, over TLS alone. Knows no row and no client.

User and password travel in base64, so that no character of theirs can end a line and begin a command.
"""

from __future__ import annotations

import base64
import contextlib
import imaplib
import re
import smtplib
import ssl
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING

from migration.core.outgoing import (
    LoginFailedError,
    LoginOutcome,
    connect_to_first,
    resolve_host,
    start_tls,
    verifying_tls_context,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from migration.core.outgoing import Deadline

    SocketMaker = Callable[[], socket.socket]

IMAP_PORT, SMTP_PORT = 993, 587


class _Start(StrEnum):
    """The moment at which a connection turns to TLS."""

    AT_ONCE = "at_once"
    BY_COMMAND = "by_command"


# On another port the server is tried in both ways.
_STARTS = {
    993: (_Start.AT_ONCE,),
    465: (_Start.AT_ONCE,),
    143: (_Start.BY_COMMAND,),
    587: (_Start.BY_COMMAND,),
    25: (_Start.BY_COMMAND,),
}
# The code at the head of an IMAP server's NO. Of RFC 5530 and of large providers: about user and password, and those
# of a server that can't say now whether they are right.
_IMAP_CODE = re.compile(r"(?:B['\"])?\[([A-Z0-9-]+)")
_REFUSING_CODES = {
    *("", "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED", "ALERT", "WEBALERT"),
}
_PASSING_CODES = {
    *("UNAVAILABLE", "INUSE", "LIMIT", "SERVERBUG", "CONTACTADMIN", "THROTTLED", "OVERQUOTA"),
}
_READY, _AUTH_CONTINUES, _AUTH_DONE = 220, 334, 235
# 534: another mechanism, or a password for this application, as Gmail wants it.
_SMTP_REFUSALS = (534, 535)


def log_in_by_imap(
    *, host: str, port: int | None, user: str, password: str, deadline: Deadline
) -> None:
    """Log in to an IMAP server and out again; raises `LoginFailedError`."""
    _log_in_to_mail(_try_imap, host, port or IMAP_PORT, user, password, deadline)


def log_in_by_smtp(
    *, host: str, port: int | None, user: str, password: str, deadline: Deadline
) -> None:
    """Log in to an SMTP server and out again, without a mail; raises `LoginFailedError`."""
    _log_in_to_mail(_try_smtp, host, port or SMTP_PORT, user, password, deadline)


def _log_in_to_mail(  # noqa: PLR0917 (both callers give all of them)
    try_login: Callable[[SocketMaker, str, _Start, str, str], None],
    host: str,
    port: int,
    user: str,
    password: str,
    deadline: Deadline,
) -> None:
    if not user or not password or "\0" in user + password:
        raise LoginFailedError(LoginOutcome.NOT_TESTABLE)
    addresses = resolve_host(host, port, deadline=deadline)
    make_socket = partial(connect_to_first, addresses, deadline=deadline)
    starts = _STARTS.get(port, tuple(_Start))
    for start in starts:
        try:
            try_login(make_socket, host, start, user, password)
        except LoginFailedError as error:
            # A wrong certificate is a TLS server's; anything else may be a server that begins without TLS.
            can_go_on = error.outcome == LoginOutcome.TLS_PROBLEM and start != starts[-1]
            if not can_go_on or isinstance(error.__context__, ssl.SSLCertVerificationError):
                raise
        else:
            return


class _Imap(imaplib.IMAP4):
    """An IMAP connection over a socket that connects to a judged address only."""

    def __init__(self, make_socket: SocketMaker, host: str, start: _Start) -> None:
        self._make_socket, self._start = make_socket, start
        super().__init__(host)

    def _create_socket(self, timeout: float | None = None) -> socket.socket:
        plain = self._make_socket()
        return start_tls(plain, self.host) if self._start == _Start.AT_ONCE else plain


def _try_imap(make_socket: SocketMaker, host: str, start: _Start, user: str, password: str) -> None:
    try:
        imap = _Imap(make_socket, host, start)
    except imaplib.IMAP4.error as error:
        has_no_time = "* BYE" in str(error)
        outcome = LoginOutcome.UNREACHABLE if has_no_time else LoginOutcome.UNEXPECTED
        raise LoginFailedError(outcome) from None
    try:
        if start == _Start.BY_COMMAND:
            _start_imap_tls(imap)
        _authenticate(imap, user, password)
    finally:
        with contextlib.suppress(imaplib.IMAP4.error, OSError, LoginFailedError):
            imap.logout()
        with contextlib.suppress(OSError):
            imap.shutdown()


def _start_imap_tls(imap: _Imap) -> None:
    try:
        imap.starttls(verifying_tls_context())
    except (imaplib.IMAP4.error, ssl.SSLError):  # not offered, or refused
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None


def _authenticate(imap: _Imap, user: str, password: str) -> None:
    if imap.state != "NONAUTH":  # it let us in before it was told who we are
        raise LoginFailedError(LoginOutcome.UNSAFE)
    try:
        if "AUTH=PLAIN" in imap.capabilities:
            imap.authenticate("PLAIN", lambda _challenge: f"\0{user}\0{password}".encode())
        elif "AUTH=LOGIN" in imap.capabilities:
            words = iter((user, password))
            imap.authenticate("LOGIN", lambda _challenge: next(words, "").encode())
        elif "LOGINDISABLED" not in imap.capabilities and _is_plain(user + password):
            imap.login(_quote(user), password)  # it quotes the password itself
        else:
            raise LoginFailedError(LoginOutcome.UNEXPECTED)
    except imaplib.IMAP4.abort:  # the connection ended
        raise LoginFailedError(LoginOutcome.UNREACHABLE) from None
    except imaplib.IMAP4.error as error:
        raise LoginFailedError(_judge_imap_answer(str(error).upper())) from None


def _is_plain(text: str) -> bool:
    """Say whether the text fits into a quoted string of IMAP."""
    return text.isascii() and text.isprintable()


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _judge_imap_answer(answer: str) -> LoginOutcome:
    if "COMMAND ERROR: BAD" in answer:
        return LoginOutcome.UNEXPECTED
    found = _IMAP_CODE.match(answer)
    code = found[1] if found else ""
    if code in _REFUSING_CODES:
        return LoginOutcome.REFUSED
    return LoginOutcome.UNREACHABLE if code in _PASSING_CODES else LoginOutcome.UNEXPECTED


class _Smtp(smtplib.SMTP):
    """An SMTP connection over a socket that connects to a judged address only."""

    def __init__(self, make_socket: SocketMaker, host: str, start: _Start) -> None:
        self._make_socket, self._start = make_socket, start
        # With a name of our own: smtplib would look this machine's up. It connects where a host is given.
        super().__init__(local_hostname="[127.0.0.1]")
        self._host = host

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plain = self._make_socket()
        return start_tls(plain, host) if self._start == _Start.AT_ONCE else plain


def _try_smtp(make_socket: SocketMaker, host: str, start: _Start, user: str, password: str) -> None:
    smtp = _Smtp(make_socket, host, start)
    try:
        code, _greeting = smtp.connect(host, smtplib.SMTP_PORT)
        if code != _READY:
            raise LoginFailedError(_judge_smtp_answer(code))
        if start == _Start.BY_COMMAND:
            _start_smtp_tls(smtp)
        smtp.ehlo_or_helo_if_needed()
        if (code := _send_smtp_login(smtp, user, password)) != _AUTH_DONE:
            raise LoginFailedError(_judge_smtp_answer(code))
        with contextlib.suppress(smtplib.SMTPException, OSError, LoginFailedError):
            smtp.quit()
    except smtplib.SMTPServerDisconnected:
        raise LoginFailedError(LoginOutcome.UNREACHABLE) from None
    except smtplib.SMTPResponseException as error:  # to EHLO
        raise LoginFailedError(_judge_smtp_answer(error.smtp_code)) from None
    except smtplib.SMTPException:
        raise LoginFailedError(LoginOutcome.UNEXPECTED) from None
    finally:
        smtp.close()


def _start_smtp_tls(smtp: _Smtp) -> None:
    try:
        smtp.starttls(context=verifying_tls_context())
    except smtplib.SMTPServerDisconnected:
        raise
    except smtplib.SMTPResponseException as error:
        if _is_passing(error.smtp_code):
            raise
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None
    except (smtplib.SMTPException, ssl.SSLError):  # not offered
        raise LoginFailedError(LoginOutcome.TLS_PROBLEM) from None


def _send_smtp_login(smtp: _Smtp, user: str, password: str) -> int:
    """Send the login and return the code of the last answer."""
    mechanisms = smtp.esmtp_features.get("auth", "").upper().split()
    if "PLAIN" in mechanisms:
        words = [f"\0{user}\0{password}"]
    elif "LOGIN" in mechanisms:
        words = [user, password]
    else:
        raise LoginFailedError(LoginOutcome.UNEXPECTED)
    code, _answer = smtp.docmd("AUTH", "PLAIN" if len(words) == 1 else "LOGIN")
    for word in words:
        if code != _AUTH_CONTINUES:
            break
        code, _answer = smtp.docmd(base64.b64encode(word.encode()).decode())
    return code


def _judge_smtp_answer(code: int) -> LoginOutcome:
    if code in _SMTP_REFUSALS:
        return LoginOutcome.REFUSED
    return LoginOutcome.UNREACHABLE if _is_passing(code) else LoginOutcome.UNEXPECTED


def _is_passing(code: int) -> bool:
    return 400 <= code < 500
