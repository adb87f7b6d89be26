"""Records acts that were refused. Called once the act's own transaction is over, so that the entry stays.

Of what is refused again within a minute only the number is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration import audit_sentences
from migration.models.audit_events import AuditCode
from migration.operations.bounded_refusals import record_refusal

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from credentials.models import Client, Credential
    from nova_credentials.messages import Message


def record_refused_reveal(
    client: Client, row: Credential, name: str, *, why: Message, by: User
) -> None:
    """Record that the value of the field `name` was not shown to who asked for it."""
    record_refusal(
        AuditCode.REFUSAL,
        audit_sentences.REVEAL_REFUSED(field=name, row=row.make_row_name_message(), why=why),
        kind=("reveal", client.pk),
        by=by,
        client_id=client.pk,
        slug=client.slug,
    )


def record_refused_save(client_id: int | None, *, why: Message) -> None:
    """Record that a client's save was refused: by AWS, its rows, its offboarding, or work on it."""
    record_refusal(
        AuditCode.REFUSAL,
        audit_sentences.SAVE_REFUSED(why=why),
        kind=("save", client_id),
        client_id=client_id,
    )


def record_refused_page(page: str, *, method: str, client_id: int | None) -> None:
    """Record that somebody who is logged in may not open a page. `page`: its name."""
    record_refusal(
        AuditCode.REFUSAL,
        audit_sentences.PAGE_REFUSED(method=method, page=page),
        kind=("page", page),
        client_id=client_id,
    )


def record_refused_login(name: str) -> None:
    """Record a wrong password, or a user who may not log in. `name`: of a user, never what was typed."""
    record_refusal(AuditCode.LOGIN_REFUSED, audit_sentences.LOGIN_REFUSED(), kind="login", by=name)
