"""Says who is locked out of the login, from which address and until when, and lets them in again.

django-axes counts: it locks the pair of a user and an address, so that nobody can lock out somebody elsewhere.
"""

from __future__ import annotations

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

# Begins what stands for a name that no user has.
NO_USER = "no user "


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
    return find_locks(username=account, ip_address=address).get((account, address))


def find_locks(**chosen: str) -> dict[tuple[str, str], datetime]:
    """Return the ends of the locks that hold now, by user and address; of all of them, or of the chosen rows."""
    cool_off = get_cool_off()
    if cool_off is None:
        return {}
    attempts = AccessAttempt.objects.filter(attempt_time__gt=timezone.now() - cool_off, **chosen)
    counts: dict[tuple[str, str], int] = {}
    ends: dict[tuple[str, str], datetime] = {}
    # A pair has a row for each browser. The lock lasts until too few are left of those that are young enough.
    for attempt in attempts.order_by("-attempt_time"):
        pair = (attempt.username or "", attempt.ip_address or "")
        counts[pair] = counts.get(pair, 0) + attempt.failures_since_start
        if counts[pair] >= settings.AXES_FAILURE_LIMIT and pair not in ends:
            ends[pair] = attempt.attempt_time + cool_off
    return ends


def let_in_again(pairs: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """End the locks of these users at these addresses; return those that there were."""
    held = find_locks()
    ended = [pair for pair in set(pairs) if pair in held]
    for username, address in ended:
        reset(username=username, ip=address)
    return ended
