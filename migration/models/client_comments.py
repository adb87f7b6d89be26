"""Owns what people write about a client for their colleagues. Everybody who may see the client reads it."""

from __future__ import annotations

from typing import ClassVar

from django.conf import settings
from django.contrib.auth.models import User
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration import comment_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.client_owners import OWN_PERMISSION
from migration.models.kept_names import KeptNameField, require_kept_name
from migration.models.reasons import MOST_CHARACTERS, limit_reason
from nova_credentials.messages import MessageError

# Who looks after clients says so, and what colleagues should know.
COMMENT_PERMISSION = OWN_PERMISSION


class CommentError(MessageError, ValueError):
    """The comment can't be kept; nothing was changed."""


def check_comment(text: str) -> None:
    """Raise `CommentError` if nothing was typed, or too much."""
    if not text.strip():
        raise CommentError(comment_sentences.COMMENT_MISSING())
    if len(text) > MOST_CHARACTERS:
        raise CommentError(comment_sentences.COMMENT_TOO_LONG(most=MOST_CHARACTERS, n=len(text)))


class ClientCommentQuerySet(models.QuerySet["ClientComment"]):
    def leave(self, client: Client, text: str, *, by: User) -> ClientComment:
        """Keep the comment; one that repeats the user's newest on this client is not kept twice.

        The audit says that it was left, and nothing of its text. Raises `CommentError`.
        """
        check_comment(text)
        with transaction.atomic():
            # Two requests of one user wait for each other: a button is easily pressed twice.
            list(User.objects.select_for_update(no_key=True).filter(pk=by.pk).values("pk"))
            newest = self.filter(client_id=client.pk).first()
            if newest and (newest.by_id, newest.text) == (by.pk, text):
                return newest
            comment = self.create(client_id=client.pk, slug=client.slug, text=text, by=by)
            AuditEvent.objects.record(
                AuditCode.COMMENT,
                comment_sentences.COMMENT_LEFT(id=str(comment.pk)),
                by=by,
                client_id=client.pk,
                slug=client.slug,
            )
        return comment

    def take_back(self, comment: ClientComment, *, by: User) -> bool:
        """Delete the comment; say whether it was still there."""
        with transaction.atomic():
            gone, _by_model = self.filter(pk=comment.pk).delete()
            if gone:
                facts = comment_sentences.COMMENT_TAKEN_BACK(
                    id=str(comment.pk),
                    who=comment.by_name,
                    at=f"{comment.left_at:%Y-%m-%d %H:%M} UTC",
                )
                AuditEvent.objects.record(
                    AuditCode.COMMENT,
                    facts,
                    by=by,
                    client_id=comment.client_id,
                    slug=comment.slug,
                )
        return bool(gone)


class ClientComment(models.Model):
    """One comment on one client. The row of a client that NOVA has deleted stays, as its history does."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="comments"
    )
    slug = models.CharField(max_length=100)
    # As the user typed it.
    text = models.TextField(_("comment"))
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    left_at = models.DateTimeField(default=timezone.now)

    objects = ClientCommentQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        # To take back what somebody else wrote.
        default_permissions = ("delete",)
        indexes: ClassVar = [models.Index(fields=["client", "-id"], name="comment_of_client")]
        constraints: ClassVar = [
            limit_reason("clientcomment", "text"),
            require_kept_name("clientcomment", "by"),
        ]
        verbose_name = _("comment on a client")

    def __str__(self) -> str:
        return f"comment {self.pk} on {self.slug}"
