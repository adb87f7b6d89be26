"""Says who is locked out of the login, from which address and until when, and lets them in again.

django-axes counts: it locks the pair of a user and an address, so that nobody can lock out somebody elsewhere. An
address from which many users were tried is locked for all of them.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

from axes.helpers import get_cool_off
from axes.models import AccessAttempt
from axes.utils import reset
from django.conf import settings
from django.contrib.auth import get_user_model
from django.utils import timezone
from django.utils.crypto import salted_hmac

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

# In the last half of these stands an IPv4 address, which a gateway has put there.
NAT64 = IPv6Network("64:ff9b::/96")
# Wrong passwords for so many different users, or names that nobody has, lock out their address: an office has fewer who
# mistype within a quarter of an hour.
MOST_USERS = 20
# In place of a user: the lock is of the whole address.
ANYBODY = ""
# Of whoever connects by a Unix socket, and names nobody: a column of addresses takes no other text.
NO_ADDRESS = "::"
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
    return NO_USER + salted_hmac(__name__, typed.casefold()).hexdigest()[:16]


def clear_form_data(instance: AccessAttempt, **_: object) -> None:
    """Empty what django-axes would store of the form: it knows the name of one field that holds a password."""
    instance.get_data = instance.post_data = ""


def forget_expired_attempts() -> None:
    """Delete the counts that lock nobody out any more. The next wrong password would too, but there may be none."""
    cool_off = get_cool_off()
    if cool_off is not None:
        AccessAttempt.objects.filter(attempt_time__lte=timezone.now() - cool_off).delete()


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
