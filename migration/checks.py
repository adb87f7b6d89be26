"""System checks of the settings, for `manage.py check --deploy`."""

from django.conf import settings
from django.core.checks import Tags, Warning, register  # noqa: A004  # Django's name


@register(Tags.security, deploy=True)
def check_audit_key(**_: object) -> list[Warning]:
    """Warn if the key that signs the audit is derived from SECRET_KEY: a rotation of that one then needs it listed."""
    if settings.NOVA_AUDIT.key:
        return []
    return [
        Warning(
            "NOVA_AUDIT_KEY is not set: the key that signs the audit is derived from SECRET_KEY.",
            hint="Set it to a key of its own. docs/audit.md says how.",
            id="migration.W011",
        )
    ]


@register(Tags.security, deploy=True)
def check_fingerprint_key(**_: object) -> list[Warning]:
    """Warn if the key of the short codes is derived from SECRET_KEY, as the two then can't be rotated separately."""
    if settings.NOVA_FINGERPRINT_KEY:
        return []
    return [
        Warning(
            "NOVA_FINGERPRINT_KEY is not set: the key of the short codes in comparisons is derived from SECRET_KEY.",
            hint="Set it to a key of its own. docs/keys.md says how, and what it costs.",
            id="migration.W001",
        )
    ]


@register(Tags.security, deploy=True)
def check_second_factor(**_: object) -> list[Warning]:
    """Warn if whoever may do more than view logs in with a password alone."""
    if settings.NOVA_REQUIRE_SECOND_FACTOR:
        return []
    return [
        Warning(
            "NOVA_REQUIRE_SECOND_FACTOR is off: who knows an Operator's password needs nothing else.",
            hint="Unset it, or set it to 1. docs/login.md says how people set up their second factor.",
            id="migration.W012",
        )
    ]
