"""Records acts that were refused. Called once the act's own transaction is over, so that the entry stays.

Of what is refused again within a minute only the number is recorded.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from migration import audit_sentences
from migration.models import AuditCode
from migration.operations.bounded_refusals import record_refusal
from migration.operations.gates import ShutGate
from nova_credentials.phases import StalePhase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

    from credentials.models import Client, Credential
    from migration.models import MoveRequest
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.messages import Message
    from nova_credentials.phases import Phase


@contextmanager
def recording_refused_move(
    snapshot: ClientSnapshot, new: Phase, *, by: User | None, reason: str
) -> Iterator[None]:
    """Record, with every reason, that the block did not move the client; the error goes on."""
    try:
        yield
    except (ShutGate, StalePhase) as refusal:
        why = refusal.reasons if isinstance(refusal, ShutGate) else [refusal.message]
        record_refusal(
            AuditCode.REFUSAL,
            audit_sentences.MOVE_REFUSED(new=new.label, reasons=tuple(why)),
            kind=("move", new, snapshot.client_id),
            by=by,
            client_id=snapshot.client_id,
            slug=snapshot.slug,
            reason=reason,
        )
        raise


def record_refused_approval(request: MoveRequest, *, why: Message, by: User) -> None:
    """Record that `by` could not approve the request."""
    record_refusal(
        AuditCode.REFUSAL,
        audit_sentences.APPROVAL_REFUSED(why=why),
        kind=("approval", request.pk),
        by=by,
        client_id=request.client_id,
        slug=request.slug,
    )


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
