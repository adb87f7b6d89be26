"""Keeps the head of the audit's chain outside the database: in the log, and at a webhook.

Whoever may write to the database can cut off the newest entries with their links; against a kept head that shows.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import urllib3
from django.conf import settings

from migration.core.audit_chain import seal_audit
from migration.core.refused_acts import record_repeats

if TYPE_CHECKING:
    from migration.core.audit_chain import AuditHead

WEBHOOK_SECONDS = 10.0

logger = logging.getLogger(__name__)


class HeadNotSentError(Exception):
    """The webhook did not take the head; the text has nothing of its address, which may hold a secret."""


def seal_and_log() -> AuditHead:
    """Record counted refusals, seal the last hour's entries, log the chain's head and return it."""
    record_repeats()
    head = seal_audit()
    logger.info("Audit head %s", head)
    return head


def publish_head() -> AuditHead:
    """Seal every entry, log the head and send it to NOVA_AUDIT_WEBHOOK where that is set."""
    head = seal_audit(from_beginning=True)
    logger.info("Audit head %s", head)
    if url := settings.NOVA_AUDIT.webhook:
        try:
            send_head(head, url)
        except HeadNotSentError as error:
            logger.warning("The audit's head was not taken by the webhook (%s)", error)
    return head


def send_head(head: AuditHead, url: str) -> None:
    """POST the head as JSON. Follows no redirect and doesn't try again: the next hour's replaces it.

    Raises `HeadNotSentError`.
    """
    body = {
        "audit_head": str(head),
        "position": head.position,
        "signature": head.signature,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        answer = urllib3.request(
            "POST", url, json=body, retries=False, redirect=False, timeout=WEBHOOK_SECONDS
        )
    except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
        raise HeadNotSentError(type(error).__name__) from None
    if not 200 <= answer.status < 300:
        raise HeadNotSentError(f"status {answer.status}")
