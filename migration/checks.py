"""System checks of the settings, for `manage.py check --deploy`."""

from django.conf import settings
from django.core.checks import Tags, Warning, register  # noqa: A004  # Django's name

# Setting: the least that is some evidence, the usual value, and what a lower one lets through.
EVIDENCE = {
    "NOVA_CLEAN_STREAK": (
        2,
        3,
        "one comparison that matches is enough for a cutover and for a purge",
    ),
    "NOVA_DUAL_READ_HOURS": (6, 24, "a client is cut over before NOVA's daily tasks have read it"),
    "NOVA_PURGE_AFTER_DAYS": (
        1,
        7,
        "a client is purged before NOVA's daily tasks have read AWS alone",
    ),
    "NOVA_MIN_READS": (5, 20, "a client is cut over that NOVA has hardly read from both stores"),
}


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


@register(Tags.security, deploy=True)
def check_evidence(**_: object) -> list[Warning]:
    """Warn of each setting by which a gate wants hardly any evidence, or none."""
    return [
        Warning(
            f"{name} is {getattr(settings, name):g}: {effect}.",
            hint=f"Unset it, or set it to {usual}; the least is {least}. docs/phases.md says what it counts.",
            id="migration.W017",
        )
        for name, (least, usual, effect) in EVIDENCE.items()
        if getattr(settings, name) < least
    ]


@register(Tags.security, deploy=True)
def check_unverified_databases(**_: object) -> list[Warning]:
    """Warn if login tests and rotations believe any server that answers in a database's place."""
    if not settings.NOVA_LOGIN_UNVERIFIED_DATABASES:
        return []
    return [
        Warning(
            "NOVA_LOGIN_UNVERIFIED_DATABASES is on: login tests and rotations believe a database without TLS or a"
            " valid certificate.",
            hint="Unset it once your clients' databases have certificates. docs/logins.md says what it still protects.",
            id="migration.W018",
        )
    ]
