"""Says who is locked out of the login, from which address and until when, and lets them in again.

django-axes counts: it locks the pair of a user and an address, so that nobody can lock out somebody elsewhere. An
address from which many users were tried is locked for all of them. Passwords of people who are logged in are counted
here, in their session.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterable
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from axes.helpers import get_client_username, get_cool_off
from axes.models import AccessAttempt
from axes.utils import reset
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.models import Session
from django.db import transaction
from django.dispatch import receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy

from migration.core.audit import AuditEvent, EventKind
from migration.core.refused_acts import refusal_limit
from migration.people.models import PasswordPlace, WrongPassword
from migration.people.second_factors import accept_password_or_code
from nova_credentials.messages import Sentence
from nova_credentials.shown_names import escape_invisible

LET_IN_EVENT = EventKind("let_in", gettext_lazy("Let in again"), names_user=True)


logger = logging.getLogger(__name__)

# In the last half of these stands an IPv4 address, which a gateway has put there.
NAT64 = IPv6Network("64:ff9b::/96")
# Wrong passwords for so many different users, or names that nobody has, lock out their address: an office has fewer who
# mistype within a quarter of an hour.
MOST_USERS = 20
# In place of a user: the lock is of the whole address.
ANYBODY = ""
# Of whoever connects by a Unix socket, and names nobody: a column of addresses takes no other text.
NO_ADDRESS = "::"
# Named after a module that is gone: with another salt, the locks of names that nobody has are forgotten at an upgrade.
SALT = "migration.operations.lockouts"
# Begins what stands for a name that no user has.
NO_USER = "no user "


def widen_address(address: str) -> str:
    """Return the address by which guesses from this one are counted, or the text itself where it is none.

    One line has a whole /64 of IPv6: its first address stands for it. IPv4 that IPv6 wraps is IPv4.
    """
    try:
        found = ip_address(address.strip().partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    if found in NAT64:
        return str(IPv4Address(int(found) & 0xFFFFFFFF))
    return str(IPv6Address(int(found) >> 64 << 64))


def find_username_or_make_code(typed: str) -> str:
    """Return the name of the user who is meant; where there is none, a code that stands for what was typed.

    Small and large letters are no other user, or each spelling would have tries of its own. What was typed isn't kept
    where it is nobody's name: people type their password there.
    """
    typed = typed.replace("\0", "")  # which PostgreSQL can't look for
    users = get_user_model().objects.values_list("username", flat=True)
    found = list(users.filter(username__iexact=typed)[:2])
    if typed in found or len(found) == 1:
        return typed if typed in found else found[0]
    return NO_USER + salted_hmac(SALT, typed.casefold()).hexdigest()[:16]


def find_owner_of_address(typed: str) -> str:
    """Return the name of the one user with this email address; "" where there is none, or where several have it."""
    if "@" not in typed:
        return ""
    users = get_user_model().objects.filter(email__iexact=typed.replace("\0", ""))
    found = list(users.values_list("username", flat=True)[:2])
    return found[0] if len(found) == 1 else ""


def clear_form_data(instance: AccessAttempt, **_: object) -> None:
    """Empty what django-axes would store of the form: it knows the name of one field that holds a password."""
    instance.get_data = instance.post_data = ""


def find_lock_end(account: str, address: str) -> datetime | None:
    """Return when the user can log in again at this address; None if they can now."""
    locks = find_locks(ip_address=address)
    ends = [locks[pair] for pair in ((account, address), (ANYBODY, address)) if pair in locks]
    return max(ends, default=None)


def is_address_locked(address: str) -> bool:
    """Say whether so many users were tried from this address that nobody can log in there now."""
    return (ANYBODY, address) in find_locks(ip_address=address)


def find_locks(**chosen: str) -> dict[tuple[str, str], datetime]:
    """Return the ends of the locks that hold now, by user and address, of an address by ANYBODY and address.

    Of all of them, or of the chosen rows.
    """
    cool_off = get_cool_off()
    if cool_off is None:
        return {}
    attempts = AccessAttempt.objects.filter(attempt_time__gt=timezone.now() - cool_off, **chosen)
    counts: dict[tuple[str, str], int] = {}
    users: dict[str, set[str]] = {}
    ends: dict[tuple[str, str], datetime] = {}
    # A pair has a row for each browser. The lock lasts until too few are left of those that are young enough.
    for attempt in attempts.order_by("-attempt_time"):
        account, address = attempt.username or "", attempt.ip_address or ""
        pair = account, address
        counts[pair] = counts.get(pair, 0) + attempt.failures_since_start
        if counts[pair] >= settings.AXES_FAILURE_LIMIT and pair not in ends:
            ends[pair] = attempt.attempt_time + cool_off
        users.setdefault(address, set()).add(account)
        whole = ANYBODY, address
        if len(users[address]) >= MOST_USERS and whole not in ends and _is_of_few(address):
            ends[whole] = attempt.attempt_time + cool_off
    return ends


def _is_of_few(address: str) -> bool:
    """Say whether this is the address of a person or an office, and not that of a proxy, at which all of them are."""
    if address == NO_ADDRESS:
        return False
    return not settings.NOVA_TRUSTED_PROXIES.trusts(ip_address(address))


def let_in_again(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """End the locks of these users at these addresses, and those of the addresses; return those that there were."""
    held = find_locks()
    wanted = set(pairs) | {(ANYBODY, address) for _account, address in pairs}
    ended = sorted(pair for pair in wanted if pair in held)
    for account, address in ended:
        reset(username=account or None, ip=address)
    return ended


# The password of somebody who is logged in: every wrong one is recorded, and too many end the session

# So many wrong passwords end the session in which they were typed.
MOST_IN_A_SESSION = 5
# In a session: a name for its login, which stays while the session's key changes.
LOGIN = "login"


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
    is_name = not account.startswith(NO_USER)
    username = account if is_name else find_owner_of_address(credentials.get("username", ""))
    address_locked = is_address_locked(address)
    # Whoever typed an email address is not locked out by the name.
    is_last = count >= settings.AXES_FAILURE_LIMIT and (is_name or not username)
    shut_out = is_last or address_locked
    # Anybody can make up names without end. The audit has the number of what is left out here. By the record that locks
    # the address somebody can end that lock.
    if not is_name and not address_locked and not refusal_limit.admits_made_up_name(address):
        return
    WrongPassword.objects.create(
        username=username, address=address, place=PasswordPlace.LOGIN, shut_out=shut_out
    )
    _log(username, address, PasswordPlace.LOGIN, ended=shut_out)


LET_IN = Sentence("let_in", "Removed the lock of %(name)s at %(address)s.")
ADDRESS_LET_IN = Sentence("address_let_in", "Removed the lock of the address %(address)s.")


def end_login_locks(pairs: Iterable[tuple[str, str]], *, by: User) -> int:
    """End the locks of these users at these addresses, and note who did; return how many locks there were."""
    with transaction.atomic():
        ended = let_in_again(pairs)
        for username, address in ended:
            shut_out = WrongPassword.objects.filter(address=address, shut_out=True, let_in_at=None)
            if username != ANYBODY:
                shut_out = shut_out.filter(username=username)
            shut_out.update(let_in_at=timezone.now(), let_in_by=by.get_username())
            facts = LET_IN(name=username, address=address)
            if username == ANYBODY:
                facts = ADDRESS_LET_IN(address=address)
            AuditEvent.objects.record(LET_IN_EVENT, facts, by=by)
    return len(ended)


# In place of a user in the counts: links that were asked for at the login. A name of a user has no blank.
ASKED_FOR_LINKS = "asked for links"


def admit_request_for_link(address: str) -> bool:
    """Count that a link for a new password was asked for from this address; False where that was too often lately.

    As often as wrong passwords may be typed for one user, and for as long as that locks out.
    """
    with transaction.atomic():
        if find_lock_end(ASKED_FOR_LINKS, address):
            return False
        attempts = AccessAttempt.objects.select_for_update()
        # By what is unique in the table.
        found = {"username": ASKED_FOR_LINKS, "ip_address": address, "user_agent": ""}
        row, _made = attempts.get_or_create(**found, defaults={"failures_since_start": 0})
        cool_off = get_cool_off()
        is_old = cool_off is not None and row.attempt_time <= timezone.now() - cool_off
        row.failures_since_start = 1 if is_old else row.failures_since_start + 1
        row.attempt_time = timezone.now()
        row.save()
    return True


def forget_old_attempts_and_sessions() -> None:
    """Delete old records of wrong passwords, counts that lock nobody out any more, and sessions that have ended."""
    WrongPassword.objects.forget_old()
    # The next wrong password would delete the counts too, but there may be none.
    cool_off = get_cool_off()
    if cool_off is not None:
        AccessAttempt.objects.filter(attempt_time__lte=timezone.now() - cool_off).delete()
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
