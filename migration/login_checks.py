"""System checks of the settings of logins, for `manage.py check --deploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from axes.helpers import get_cool_off
from django.conf import settings
from django.contrib.auth.password_validation import get_password_validators
from django.core.checks import Tags, Warning, register  # noqa: A004  # Django's name

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_PASSWORD = 12
LONGEST_IDLE_SECONDS = 30 * 60
LONGEST_SESSION_SECONDS = 8 * 60 * 60
MOST_WRONG_PASSWORDS = 10
SHORTEST_LOCK_MINUTES = 5
STORE = "nova_admin.session_store"
VALIDATORS = (
    "MinimumLengthValidator",
    "UserAttributeSimilarityValidator",
    "CommonPasswordValidator",
    "NumericPasswordValidator",
)


@register(Tags.security, deploy=True)
def check_site_logins(**_: object) -> list[Warning]:
    """Warn of each setting by which passwords can be guessed, or an open browser be used by somebody else."""
    return [*_check_sessions(), *_check_lockout(), *_check_passwords()]


def _check_sessions() -> Iterator[Warning]:
    if settings.SESSION_ENGINE != STORE:
        text = f"SESSION_ENGINE is not {STORE}: sessions that are used never end."
        yield Warning(text, hint="Leave it unset.", id="migration.W002")
    if settings.SESSION_COOKIE_AGE > LONGEST_IDLE_SECONDS:
        text = f"SESSION_COOKIE_AGE is above {LONGEST_IDLE_SECONDS}: who finds a browser open can use it for that long."
        yield Warning(
            text, hint="Set it to 1800 seconds (30 minutes) or less.", id="migration.W003"
        )
    if settings.NOVA_SESSION_LIMIT > LONGEST_SESSION_SECONDS:
        text = f"NOVA_SESSION_LIMIT is above {LONGEST_SESSION_SECONDS}: a stolen session is of use for that long."
        yield Warning(text, hint="Set it to 28800 seconds (8 hours) or less.", id="migration.W004")


def _check_lockout() -> Iterator[Warning]:
    backends, middleware = settings.AUTHENTICATION_BACKENDS, settings.MIDDLEWARE
    first = backends[0] if backends else ""
    if not (
        settings.AXES_ENABLED
        and first == "axes.backends.AxesStandaloneBackend"
        and "axes.middleware.AxesMiddleware" in middleware
    ):
        text = "Nobody is locked out of the login: passwords can be guessed without end."
        hint = "Leave AXES_ENABLED unset, and django-axes first in AUTHENTICATION_BACKENDS and in MIDDLEWARE."
        yield Warning(text, hint=hint, id="migration.W005")
    if settings.AXES_FAILURE_LIMIT > MOST_WRONG_PASSWORDS:
        text = f"AXES_FAILURE_LIMIT is above {MOST_WRONG_PASSWORDS}: so many passwords can be tried in a row."
        yield Warning(text, hint="Set it to 5.", id="migration.W006")
    cool_off = get_cool_off()
    if cool_off is not None and cool_off.total_seconds() < SHORTEST_LOCK_MINUTES * 60:
        text = f"AXES_COOLOFF_TIME is below {SHORTEST_LOCK_MINUTES} minutes: whoever guesses hardly has to wait."
        yield Warning(text, hint="Set it to 0.25 hours.", id="migration.W007")
    if list(map(set, settings.AXES_LOCKOUT_PARAMETERS)) != [{"username", "ip_address"}]:
        text = "AXES_LOCKOUT_PARAMETERS is not the pair of user and address: somebody can lock out others."
        hint = 'Leave it at [["username", "ip_address"]].'
        yield Warning(text, hint=hint, id="migration.W008")


def _check_passwords() -> Iterator[Warning]:
    validators = get_password_validators(settings.AUTH_PASSWORD_VALIDATORS)
    given = {type(validator).__name__: validator for validator in validators}
    if missing := [name for name in VALIDATORS if name not in given]:
        text = f"AUTH_PASSWORD_VALIDATORS lacks {', '.join(missing)}: passwords that are easy to guess are taken."
        yield Warning(text, hint="Add what is missing.", id="migration.W009")
    if getattr(given.get(VALIDATORS[0]), "min_length", SHORTEST_PASSWORD) < SHORTEST_PASSWORD:
        text = f"AUTH_PASSWORD_VALIDATORS takes passwords of fewer than {SHORTEST_PASSWORD} characters."
        hint = f"Set min_length of {VALIDATORS[0]} to {SHORTEST_PASSWORD}."
        yield Warning(text, hint=hint, id="migration.W010")
