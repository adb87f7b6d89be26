"""Sets on which ways each event is told, with an entry in the audit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import transaction

from migration import notice_sentences as sentences
from migration.models import CHOSEN_EVENTS, AuditCode, AuditEvent, NoticeRule

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import User

    from nova_credentials.messages import Message


def set_notice_rules_of_site(
    shown: Collection[str],
    *,
    by_mail: Collection[str],
    by_webhook: Collection[str],
    by: User,
) -> bool:
    """Set the ways of the shown events and return whether anything changed. Ignores unknown events."""
    with transaction.atomic():
        before = {row.event: row for row in NoticeRule.objects.select_for_update()}
        after = {event: before.get(event) or NoticeRule(event=event) for event in CHOSEN_EVENTS}
        changed = []
        for event in CHOSEN_EVENTS:
            ways = event in by_mail, event in by_webhook
            rule = after[event]
            if event in shown and ways != (rule.by_mail, rule.by_webhook):
                rule.by_mail, rule.by_webhook = ways
                rule.save()
                changed.append(event)
        if changed:
            facts = sentences.NOTICES_SET(
                mail=_name_events(after.values(), "by_mail"),
                webhook=_name_events(after.values(), "by_webhook"),
            )
            AuditEvent.objects.record(AuditCode.NOTICES, facts, by=by)
    return bool(changed)


def _name_events(rules: Collection[NoticeRule], way: str) -> tuple[Message | str, ...]:
    return tuple(rule.event for rule in rules if getattr(rule, way)) or (sentences.NO_EVENT(),)
