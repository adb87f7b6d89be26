"""Checks the password of somebody who is logged in, records every wrong one, and ends a session after too many."""

from __future__ import annotations

import hashlib
import logging
import secrets
from typing import TYPE_CHECKING

from axes.helpers import get_client_username
from django.conf import settings
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.db import transaction
from django.dispatch import receiver
from django.utils import timezone

from credentials.shown_names import escape_invisible
from migration.audit_sentences import ADDRESS_LET_IN, LET_IN
from migration.models import AuditCode, AuditEvent, PasswordPlace, WrongPassword
from migration.operations.bounded_refusals import limit
from migration.operations.lockouts import (
    ANYBODY,
    NO_USER,
    forget_expired_attempts,
    is_address_locked,
    let_in_again,
)
from migration.operations.second_factors import accept_password_or_code

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.contrib.auth.models import User
    from django.http import HttpRequest

# So many wrong passwords end the session in which they were typed.
MOST_IN_A_SESSION = 5
# In a session: a name for its login, which stays while the session's key changes.
LOGIN = "login"

logger = logging.getLogger(__name__)


@receiver(user_logged_in, dispatch_uid="migration.name_login")
def name_login(request: HttpRequest, **_: object) -> None:
    """Name the login in its session, so that what is made in it can be told from what was there before."""
    request.session[LOGIN] = secrets.token_urlsafe(16)


def count_wrong_passwords(session_key: str) -> int:
    """Return how many wrong passwords were typed in this session."""
    return WrongPassword.objects.filter(session=_digest(session_key)).count()


def check_password_or_code(
    *, user: User, password: str, session_key: str, address: str, place: PasswordPlace
) -> bool:
    """Say whether it is the user's password, or a code of a second factor that wasn't made in this session.

    The MOST_IN_A_SESSION-th wrong one deletes the session.
    Where the session is gone it is False and the password isn't looked at. In a transaction that is rolled back nothing
    is recorded.
    """
    # The row's lock has those who guess in one session wait for each other: two at once are two.
    with transaction.atomic():
        session = Session.objects.select_for_update().filter(session_key=session_key).first()
        if session is None:
            return False
        login = session.get_decoded().get(LOGIN, "")
        if accept_password_or_code(user=user, answer=password, login=login):
            return True
        count = count_wrong_passwords(session_key) + 1
        WrongPassword.objects.create(
            username=user.get_username(),
            address=address,
            place=place,
            session=_digest(session_key),
            shut_out=count >= MOST_IN_A_SESSION,
        )
        if count >= MOST_IN_A_SESSION:
            session.delete()
    _log(user.get_username(), address, place, ended=count >= MOST_IN_A_SESSION)
    return False


def record_failed_login(
    credentials: dict[str, str], request: HttpRequest | None = None, **_: object
) -> None:
    """Record a wrong password at the login. Called after django-axes has counted it."""
    count = getattr(request, "axes_failures_since_start", None)
    if request is None or count is None:
        return  # whoever is locked out is refused without a look at the password, a thousand times a minute perhaps
    account, address = get_client_username(request, credentials), request.axes_ip_address  # type: ignore[attr-defined]
    username = "" if account.startswith(NO_USER) else account
    address_locked = is_address_locked(address)
    shut_out = count >= settings.AXES_FAILURE_LIMIT or address_locked
    # Anybody can make up names without end. The audit has the number of what is left out here. By the record that locks
    # the address somebody can end that lock.
    if not username and not address_locked and not limit.admits_made_up_name(address):
        return
    WrongPassword.objects.create(
        username=username, address=address, place=PasswordPlace.LOGIN, shut_out=shut_out
    )
    _log(username, address, PasswordPlace.LOGIN, ended=shut_out)


def end_login_locks(chosen: Iterable[WrongPassword], *, by: User) -> int:
    """End the locks that these records tell of, and note who did; return how many locks there were."""
    at_login = {(row.username, row.address) for row in chosen if row.place == PasswordPlace.LOGIN}
    with transaction.atomic():
        ended = let_in_again(at_login)
        for username, address in ended:
            shut_out = WrongPassword.objects.filter(address=address, shut_out=True, let_in_at=None)
            if username != ANYBODY:
                shut_out = shut_out.filter(username=username)
            shut_out.update(let_in_at=timezone.now(), let_in_by=by.get_username())
            facts = LET_IN(name=username, address=address)
            if username == ANYBODY:
                facts = ADDRESS_LET_IN(address=address)
            AuditEvent.objects.record(AuditCode.LET_IN, facts, by=by)
    return len(ended)


def forget_old_attempts_and_sessions() -> None:
    """Delete old records of wrong passwords, counts that lock nobody out any more, and sessions that have ended."""
    WrongPassword.objects.forget_old()
    forget_expired_attempts()
    Session.objects.filter(expire_date__lt=timezone.now()).delete()


def _digest(session_key: str) -> str:
    """Return what stands for the session: its key is as good as a password."""
    return hashlib.sha256(session_key.encode()).hexdigest()


def _log(username: str, address: str, place: PasswordPlace, *, ended: bool) -> None:
    logger.warning(
        "Wrong password for %s from %s (%s)%s",
        escape_invisible(username) if username else "a name that no user has",
        escape_invisible(address) or "a Unix socket",
        place.value,
        ": locked out, or the session ended" if ended else "",
    )
