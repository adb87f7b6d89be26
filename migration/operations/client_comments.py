"""Leaves comments on clients, but for those that hold a secret value of the client. Reads the database alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration import comment_sentences
from migration.models.audit_events import AuditCode
from migration.models.client_comments import ClientComment, CommentError, check_comment
from migration.operations.bounded_refusals import record_refusal
from migration.secrets.copies import list_escaped_forms, list_searchable_values

if TYPE_CHECKING:
    from django.contrib.auth.models import User

    from credentials.models import Client


def leave_comment(client: Client, text: str, *, by: User) -> ClientComment:
    """Leave the comment, without the blanks around it. Raises `CommentError`.

    A secret value is found as the client's rows hold it: AWS is not asked, so that of a purged client none is.
    """
    text = text.replace("\r\n", "\n").strip()  # forms send the ends of lines so
    check_comment(text)
    if _holds_secret(client.pk, text):
        # Who guesses values this way is seen.
        record_refusal(
            AuditCode.REFUSAL,
            comment_sentences.COMMENT_REFUSED(),
            kind=("comment", client.pk),
            by=by,
            client_id=client.pk,
            slug=client.slug,
        )
        raise CommentError(comment_sentences.COMMENT_HOLDS_SECRET())
    return ClientComment.objects.leave(client, text, by=by)


def _holds_secret(client_id: int, text: str) -> bool:
    typed = text.encode()
    return any(
        form in typed
        for value in list_searchable_values(client_id)
        for form in list_escaped_forms(value.replace("\r\n", "\n").strip())
    )
