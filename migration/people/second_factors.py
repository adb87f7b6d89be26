"""Owns second factors: their secrets, encrypted, their use and their loss.

Codes of an app (TOTP) and recovery codes, stored by allauth. Who may do more than view needs one
(`needs_second_factor`); `nova_admin.login` asks for it.
"""

from __future__ import annotations

import logging
import math
import secrets
import time
from collections.abc import Collection
from enum import StrEnum
from functools import partial
from typing import Any

from allauth.mfa import app_settings
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, format_hotp_value, generate_totp_secret, hotp_value
from allauth.mfa.utils import decrypt
from cryptography.fernet import InvalidToken
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from migration.core.audit import USER_CHANGED_EVENT, AuditEvent
from migration.core.keys import make_ciphers
from migration.core.mails import send_mail_to
from migration.people.models import PasswordReset
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.shown_names import escape_name

logger = logging.getLogger(__name__)

# Encryption of what second factors are made of, with keys derived from SECRET_KEY

SALT = "nova_admin.second_factor"


class UnreadableFactorError(Exception):
    """A second factor was encrypted with a key that this site no longer has."""


class FactorAdapter(DefaultMFAAdapter):
    """Has allauth store secrets and seeds of recovery codes encrypted. The newest key encrypts, all of them decrypt."""

    def encrypt(self, text: str) -> str:
        return make_ciphers(SALT).encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Return the text; raises UnreadableFactorError where it was encrypted with none of the keys."""
        try:
            return make_ciphers(SALT).decrypt(encrypted_text.encode()).decode()
        except InvalidToken:
            raise UnreadableFactorError from None


def encrypt_anew(encrypted_text: str) -> str:
    """Decrypt, and encrypt with the newest key; raises UnreadableFactorError as `decrypt` does."""
    try:
        return make_ciphers(SALT).rotate(encrypted_text.encode()).decode()
    except InvalidToken:
        raise UnreadableFactorError from None


# Set-up, check and reset

# A code counts in its own half minute and in those beside it.
WITHIN_PERIODS = 1
# At the set-up, codes of so many half minutes ago or ahead show that a clock is wrong.
CLOCK_PERIODS = 60
# The half minute of the newest code that was taken: no code of it or of an earlier one counts again.
LAST_PERIOD = "last_period"
ENCRYPTED = ("secret", "seed")
# After so many wrong codes in a row the user is told, and a code is only looked at so long after the last wrong one:
# twice as long after each further one. That leaves some 30 guesses a day, from however many addresses. It holds the
# user up too, who logs in while somebody that has their password guesses: with a new password it ends.
MOST_WRONG = 5
FIRST_WAIT, LONGEST_WAIT = 30, 3600  # seconds
TOLD_AGAIN_AFTER = 24 * 3600
WRONG_IN_A_ROW, WRONG_AT, TOLD_AT = "wrong_in_a_row", "wrong_at", "told_at"
# Stands for the password that was known to whoever gave the wrong codes.
WRONG_WITH = "wrong_with"
# Of a factor, or recovery codes, that somebody made while logged in: the name of that login. Within it they prove
# nothing, as whoever stole the session could have made them.
MADE_IN = "made_in"


class CodeVerdict(StrEnum):
    """Tells what came of checking a code of a second factor."""

    RIGHT = "right"
    WRONG = "wrong"
    TOO_SOON = "too_soon"
    UNREADABLE = "unreadable"


class WrongSetupCodeError(MessageError):
    """The second factor was not set up: the code did not prove that the app has the secret."""


class NotResetError(MessageError):
    """The second factor was not reset."""


def needs_second_factor(user: User) -> bool:
    """Say whether the user must have a second factor: whoever may do anything beyond viewing."""
    names = () if user.is_superuser else user.get_all_permissions()
    return user.is_superuser or any(
        not name.partition(".")[2].startswith("view_") for name in names
    )


def has_second_factor(user: User) -> bool:
    """Say whether the user has set up a second factor."""
    return _select_factors().filter(user=user).exists()


def owns_second_factor() -> Exists:
    """Return the condition, for a query of users, that a user has set up a second factor."""
    return Exists(_select_factors().filter(user=OuterRef("pk")))


def _select_factors() -> QuerySet[Authenticator]:
    """Select the second factors, without their recovery codes."""
    factors: QuerySet[Authenticator] = Authenticator.objects.filter(type=Authenticator.Type.TOTP)
    return factors


def make_factor_secret() -> str:
    """Return a new secret for an app, in base 32."""
    return generate_totp_secret()


FACTOR_SET_UP_MEANWHILE = Sentence(
    "factor_set_up_meanwhile", "You have a second factor by now: it is not replaced this way."
)
MAIL_SET_UP = Sentence(
    "mail_set_up",
    "A second factor was set up for your login at NOVA Admin. If it was not you, tell an Administrator now.",
)
MAIL_SUBJECT = Sentence("mail_subject", "NOVA Admin: your second factor")


def set_up_second_factor(
    *, user: User, secret: str, code: str, made_in: str | None = None, first: bool = False
) -> list[str]:
    """Replace the user's second factor by this secret, tell them by mail, and return recovery codes.

    `made_in` names the login in which it is done; `first`: only if the user has none yet. Raises WrongSetupCodeError
    where the code isn't the secret's at this time, or there is a factor.
    """
    digits = _keep_digits(code)
    period = _find_period(secret, digits, within=WITHIN_PERIODS)
    if period is None:
        raise WrongSetupCodeError(_explain_wrong_code(secret, digits))
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        if first and has_second_factor(user):
            raise WrongSetupCodeError(FACTOR_SET_UP_MEANWHILE())
        Authenticator.objects.filter(user=user).delete()
        factor = TOTP.activate(user, secret).instance
        factor.data |= {LAST_PERIOD: period, MADE_IN: made_in}
        factor.save(update_fields=["data"])
        codes = _make_recovery_codes(user, made_in)
        _record(user, "second_factor")
    logger.warning("%s set up a second factor", escape_name(user.username))
    send_mail_to(user, subject=MAIL_SUBJECT(), text=MAIL_SET_UP())
    return codes


MAIL_NEW_CODES = Sentence(
    "mail_new_codes",
    "New recovery codes were made for your login at NOVA Admin; the old ones no longer work. If it was not you, tell"
    " your Administrators now.",
)


def renew_recovery_codes(user: User, *, made_in: str | None = None) -> list[str]:
    """Replace the user's recovery codes, tell the user by mail, and return the new codes."""
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).delete()
        codes = _make_recovery_codes(user, made_in)
        _record(user, "recovery_codes")
    logger.warning("%s made new recovery codes", escape_name(user.username))
    send_mail_to(user, subject=MAIL_SUBJECT(), text=MAIL_NEW_CODES())
    return codes


def _make_recovery_codes(user: User, made_in: str | None) -> list[str]:
    made = RecoveryCodes.activate(user)
    made.instance.data[MADE_IN] = made_in
    made.instance.save(update_fields=["data"])
    codes: list[str] = made.get_unused_codes()
    return codes


def can_prove_by_code(user: User, login: str) -> bool:
    """Say whether the user has a second factor that proves something within this login: one that it didn't make."""
    factor = _select_factors().filter(user=user).first()
    return factor is not None and factor.data.get(MADE_IN) != login


def count_recovery_codes(user: User) -> int:
    """Return how many recovery codes the user has left."""
    kept = Authenticator.objects.filter(user=user, type=Authenticator.Type.RECOVERY_CODES).first()
    if kept is None:
        return 0
    return app_settings.RECOVERY_CODE_COUNT - int(kept.data["used_mask"]).bit_count()


MAIL_GUESSED = Sentence(
    "mail_guessed",
    "Somebody who has your password gave several wrong codes of your second factor at NOVA Admin. If it was not you,"
    " change your password and tell your Administrators now. You are told this once a day at most.",
)


def check_code(*, user: User, code: str, login: str | None = None) -> CodeVerdict:
    """Check a code of the app or a recovery code. Each counts once, for all processes together.

    `login` names the login of a user who gave the factor already, and whose session counts the wrong codes. So it waits
    for no one who guesses at the login page, and makes nobody there wait; and what was made in it is not taken.
    """
    try:
        with transaction.atomic():
            answer, guessed = _check_locked(user, _keep_digits(code), login)
    except UnreadableFactorError:
        logger.error("the second factor of %s can't be read", escape_name(user.username))  # noqa: TRY400  # no trace needed
        return CodeVerdict.UNREADABLE
    if guessed:
        logger.warning("several wrong codes of the second factor of %s", escape_name(user.username))
        # The caller may hold a row's lock, and a mail server may be slow.
        tell = partial(send_mail_to, user, subject=MAIL_SUBJECT(), text=MAIL_GUESSED())
        transaction.on_commit(tell)
    return answer


def accept_password_or_code(*, user: User, answer: str, login: str) -> bool:
    """Say whether the answer is the password of the user, or a code of a second factor that this login didn't make."""
    if user.has_usable_password() and user.check_password(answer):
        return True
    if not _keep_digits(answer):
        return False
    return check_code(user=user, code=answer, login=login) is CodeVerdict.RIGHT


def find_wait(user: User) -> int:
    """Return in how many seconds a code of the user's is looked at again at the login; 0 if it is now."""
    factor = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP).first()
    return math.ceil(_find_wait(user, factor.data)) if factor else 0


OWN_FACTOR = Sentence("own_factor", "This is your own second factor: replace it on your own page.")
FACTOR_OF_SUPERUSER = Sentence(
    "factor_of_superuser", "Only a superuser resets the second factor of a superuser."
)
NO_FACTOR = Sentence("no_factor", "%(who)s has no second factor.")


def find_reset_refusal(user: User, by: User | None) -> Message | None:
    """Say why this second factor may not be reset by this user, or by a command; None where it may."""
    if by is not None and by.pk == user.pk:
        return OWN_FACTOR()
    if by is not None and user.is_superuser and not by.is_superuser:
        return FACTOR_OF_SUPERUSER()
    return None if has_second_factor(user) else NO_FACTOR(who=user.username)


MAIL_RESET = Sentence(
    "mail_reset",
    "%(by)s reset your second factor at NOVA Admin, and you were logged out. You set up a new one when you next "
    "log in. If you did not ask for this, tell an Administrator now.",
)
MAIL_RESET_BY_COMMAND = Sentence(
    "mail_reset_by_command",
    "Your second factor at NOVA Admin was reset on the server, and you were logged out. At your next login you set up a"
    " new one. If you did not ask for it, tell your Administrators now.",
)


def reset_second_factor(user: User, by: User | None) -> bool:
    """Remove the user's second factor and end their sessions; return whether the user could be told by mail.

    `by` is None for a command. Raises NotResetError where `find_reset_refusal` has a reason.
    """
    if refusal := find_reset_refusal(user, by):
        raise NotResetError(refusal)
    with transaction.atomic():
        Authenticator.objects.filter(user=user).delete()
        end_sessions(user)
        _record(user, "second_factor", by=by)
        PasswordReset.objects.record(user=user, by=by, what=PasswordReset.What.FACTOR)
    who = escape_name(by.username) if by else "a command"
    logger.warning("the second factor of %s was reset by %s", escape_name(user.username), who)
    text = MAIL_RESET(by=by.username) if by else MAIL_RESET_BY_COMMAND()
    return send_mail_to(user, subject=MAIL_SUBJECT(), text=text)


def end_sessions(user: User, *, kept: str | None = None) -> None:
    """Log the user out everywhere, but in the session with the kept key.

    Sessions of logins that wait for the second factor stay: once it is gone, no code can complete them.
    """
    for session in Session.objects.filter(expire_date__gt=timezone.now()).iterator():
        if session.pk == kept:
            continue
        if session.get_decoded().get(SESSION_KEY) == str(user.pk):
            session.delete()


def list_unreadable_users() -> set[int]:
    """Return the ids of the users with a second factor that none of the keys can decrypt."""
    unreadable = set()
    for user, data in Authenticator.objects.values_list("user_id", "data"):
        try:
            for name in ENCRYPTED:
                if name in data:
                    decrypt(data[name])
        except UnreadableFactorError:
            unreadable.add(user)
    return unreadable


def encrypt_factors_anew() -> tuple[int, int]:
    """Encrypt every second factor with the newest key; return how many were, and how many can't be read."""
    done = unreadable = 0
    for pk in Authenticator.objects.values_list("pk", flat=True):
        with transaction.atomic():
            factor = Authenticator.objects.select_for_update().filter(pk=pk).first()
            if factor is None:
                continue
            try:
                again = {
                    name: encrypt_anew(factor.data[name])
                    for name in ENCRYPTED
                    if name in factor.data
                }
            except UnreadableFactorError:
                unreadable += 1
                continue
            factor.data |= again
            factor.save(update_fields=["data"])
            done += 1
    return done, unreadable


USER_CHANGED = Sentence("user_changed", "Changed the user %(name)s: %(fields)s.")


def _record(user: User, what: str, *, by: User | None = None) -> None:
    """Have the audit tell that it was changed: it says as much as a password about who can log in."""
    facts = USER_CHANGED(name=user.get_username(), fields=what)
    AuditEvent.objects.record(USER_CHANGED_EVENT, facts, by=by)


def _check_locked(user: User, digits: str, login: str | None) -> tuple[CodeVerdict, bool]:
    """Check a code within a transaction, and say whether the user has to be told of guesses."""
    # In one order, or two who give a code at once would each wait for the row that the other holds.
    locked = Authenticator.objects.select_for_update().filter(user=user).order_by("pk")
    factors = {
        factor.type: factor
        for factor in locked
        if login is None or factor.data.get(MADE_IN) != login
    }
    totp = factors.get(Authenticator.Type.TOTP)
    recovery = factors.get(Authenticator.Type.RECOVERY_CODES)
    if totp is None:
        return CodeVerdict.WRONG, False
    if login is None and _find_wait(user, totp.data):
        return CodeVerdict.TOO_SOON, False
    period = _find_period(decrypt(totp.data["secret"]), digits, within=WITHIN_PERIODS)
    if right := period is not None and period > totp.data.get(LAST_PERIOD, -1):
        totp.data[LAST_PERIOD] = period
    elif recovery is not None:
        right = RecoveryCodes(recovery).validate_code(digits)
    guessed = login is None and _count_guess(user, totp.data, right=right)
    totp.last_used_at = timezone.now() if right else totp.last_used_at
    totp.save(update_fields=["data", "last_used_at"])
    return CodeVerdict.RIGHT if right else CodeVerdict.WRONG, guessed


def _count_wrong(user: User, data: dict[str, Any]) -> int:
    """Return how many wrong codes in a row were given by somebody who had the user's present password."""
    return int(data.get(WRONG_IN_A_ROW, 0)) if data.get(WRONG_WITH) == _mark_password(user) else 0


def _count_guess(user: User, data: dict[str, Any], *, right: bool) -> bool:
    """Note the answer in the factor's data, and say whether the user has to be told of guesses: once a day."""
    wrong, now = 0 if right else _count_wrong(user, data) + 1, time.time()
    data |= {WRONG_IN_A_ROW: wrong, WRONG_AT: now, WRONG_WITH: _mark_password(user)}
    if wrong < MOST_WRONG or now - data.get(TOLD_AT, 0) < TOLD_AGAIN_AFTER:
        return False
    data[TOLD_AT] = now
    return True


def _find_wait(user: User, data: dict[str, Any]) -> float:
    """Return in how many seconds the next code is looked at."""
    too_many = _count_wrong(user, data) - MOST_WRONG
    if too_many < 0:
        return 0
    wait = min(FIRST_WAIT * 2 ** min(too_many, 10), LONGEST_WAIT)
    return max(0.0, float(data[WRONG_AT]) + wait - time.time())


def _mark_password(user: User) -> str:
    return user.get_session_auth_hash()[:16]


def _find_period(secret: str, digits: str, *, within: int) -> int | None:
    """Return the half minute whose code this is, the nearest first; None where it is of none."""
    now = int(time.time()) // app_settings.TOTP_PERIOD
    for period in sorted(range(now - within, now + within + 1), key=lambda each: abs(each - now)):
        if secrets.compare_digest(format_hotp_value(hotp_value(secret, period)), digits):
            return period
    return None


CODE_NOT_RIGHT = Sentence(
    "code_not_right",
    "That code is wrong. Enter the one your app shows now. If it still fails, check your phone's clock.",
)
CODE_OF_ANOTHER_TIME = Sentence(
    "code_of_another_time",
    "That code is about %(n)s minutes off: the clock of your phone is wrong, or that of this site. Have your phone set"
    " its clock by itself, and try again.",
    one="That code is about a minute off: the clock of your phone is wrong, or that of this site. Have your phone set"
    " its clock by itself, and try again.",
)


def _explain_wrong_code(secret: str, digits: str) -> Message:
    """Say by how much a clock is wrong, if it is. Only at the set-up: elsewhere it would help to guess codes."""
    found = _find_period(secret, digits, within=CLOCK_PERIODS)
    if found is None:
        return CODE_NOT_RIGHT()
    off = abs(found * app_settings.TOTP_PERIOD - time.time())
    return CODE_OF_ANOTHER_TIME(n=max(1, round(off / 60)))


def _keep_digits(code: str) -> str:
    """Return the code without the blanks and hyphens that apps and people put in; nothing where it is no code."""
    bare = "".join(code.split()).replace("-", "")
    return bare if bare.isascii() and bare.isdecimal() and len(bare) <= 8 else ""


# A mail address that is changed: mails about the login go elsewhere from then on

ADDRESS = "email"

MAIL_ADDRESS_CHANGED = Sentence(
    "mail_address_changed",
    "The mail address of %(who)s at NOVA Admin was changed: mails about this login no longer come here. If you did not"
    " ask for it, tell your Administrators now.",
)
MAIL_ADDRESS_SUBJECT = Sentence("mail_address_subject", "NOVA Admin: your mail address")


def tell_old_address(
    *,
    instance: User,
    using: str,
    raw: bool = False,
    update_fields: Collection[str] | None = None,
    **_: object,
) -> None:
    """Send a mail to the address that is about to be replaced or removed, once the change is committed."""
    if raw or instance.pk is None or (update_fields is not None and ADDRESS not in update_fields):
        return
    stored = User.objects.using(using).filter(pk=instance.pk).values_list(ADDRESS, flat=True)
    before = stored.first()
    if before and before != instance.email:
        send = partial(
            send_mail_to,
            instance,
            subject=MAIL_ADDRESS_SUBJECT(),
            text=MAIL_ADDRESS_CHANGED(who=instance.get_username()),
            address=before,
        )
        transaction.on_commit(send, using=using)
