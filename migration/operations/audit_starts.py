"""Records the settings with which a web server or worker was started: of one that may be secret, only a keyed code."""

from __future__ import annotations

import logging

from django.conf import settings
from django.db import Error, connection

from migration import audit_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.audit_signatures import audit_keys

logger = logging.getLogger(__name__)

CODE_LENGTH = 8


def record_process_start() -> None:
    """Record the start and its settings. Where the database can't be asked, the process starts all the same."""
    facts = audit_sentences.STARTED(settings=tuple(list_audited_settings()))
    try:
        AuditEvent.objects.record(AuditCode.SETTINGS, facts)
    except Error as error:
        # Such as before the first `migrate`, or while PostgreSQL is away.
        logger.warning("The settings of this start are not recorded (%s)", type(error).__name__)
    finally:
        connection.close()  # a server may fork its workers after this


def list_audited_settings() -> list[str]:
    """Return each variable that is set: with its value, or, if it may be secret, with a code that changes with it."""
    audit, keys = settings.NOVA_AUDIT, audit_keys()
    shown = [f"{name}={value}" for name, value in audit.shown.items()]
    hidden = [
        f"{name} is set ({keys.sign('setting', name, value)[:CODE_LENGTH]})"
        for name, value in audit.hidden.items()
    ]
    return sorted(shown + hidden)
