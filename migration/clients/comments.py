"""What people write about a client: comments, without a secret in them."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.translation import gettext as _
from unfold.widgets import TEXTAREA_CLASSES

from credentials.localization import localize
from credentials.models import Client
from migration.clients.models import COMMENT_PERMISSION, ClientComment, CommentError, check_comment
from migration.core.audit import MOST_CHARACTERS, REFUSAL_EVENT
from migration.core.pages import (
    ClientTab,
    ClientView,
    get_signed_in_user,
    get_tab_url,
    read_number,
    read_raw_form_text,
)
from migration.core.refused_acts import record_refusal
from migration.people.roles import TAKE_BACK_COMMENTS
from migration.secrets.copies import list_escaped_forms, list_searchable_values
from nova_credentials.messages import Sentence

COMMENT_HOLDS_SECRET = Sentence(
    "comment_holds_secret",
    "Nothing was added: the comment holds a secret value of this client. Everybody who sees the client would read it.",
)
COMMENT_REFUSED = Sentence(
    "comment_refused", "A comment was refused: it contained a secret value of the client."
)


def leave_comment(client: Client, text: str, *, by: User) -> ClientComment:
    """Leave the comment, without the blanks around it. Raises `CommentError`.

    A secret value is found as the client's rows hold it: AWS is not asked, so that of a purged client none is.
    """
    text = text.replace("\r\n", "\n").strip()  # forms send the ends of lines so
    check_comment(text)
    typed = text.encode()
    values = (v.replace("\r\n", "\n").strip() for v in list_searchable_values(client.pk))
    if any(form in typed for value in values for form in list_escaped_forms(value)):
        # Who guesses values this way is seen.
        record_refusal(
            REFUSAL_EVENT,
            COMMENT_REFUSED(),
            kind=("comment", client.pk),
            by=by,
            client_id=client.pk,
            slug=client.slug,
        )
        raise CommentError(COMMENT_HOLDS_SECRET())
    return ClientComment.objects.leave(client, text, by=by)


# What the client's page shows of them, and the buttons that leave one and take one back

# The others are in the client's history.
COMMENTS_SHOWN = 10


def get_comments_context(request: HttpRequest, client_id: int) -> dict[str, object]:
    """Return the template's context: the newest comments, each with whether the user may take it back."""
    user = get_signed_in_user(request)
    may_comment = user.has_perm(COMMENT_PERMISSION)
    newest = ClientComment.objects.filter(client_id=client_id)[:COMMENTS_SHOWN]
    return {
        "comments": [(row, may_comment and may_take_back(user, row)) for row in newest],
        "may_comment": may_comment,
        "most_characters": MOST_CHARACTERS,
        "textarea_classes": " ".join(TEXTAREA_CLASSES),
    }


def may_take_back(user: User, comment: ClientComment) -> bool:
    """Say whether the comment is the user's own, or the user may take back any."""
    return comment.by_id == user.pk or user.has_perm(TAKE_BACK_COMMENTS)


class LeaveCommentView(ClientView):
    """Leaves the comment that was typed."""

    permission_required = COMMENT_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        try:
            leave_comment(
                self.client, read_raw_form_text(request, "text"), by=get_signed_in_user(request)
            )
        except CommentError as refusal:
            messages.error(request, localize(refusal.message))
        else:
            messages.success(request, _("Added your comment."))
        return redirect_to_comments(client_id)


class TakeBackCommentView(ClientView):
    """Takes a comment back: the user's own, or anybody's with TAKE_BACK_COMMENTS."""

    permission_required = COMMENT_PERMISSION

    def post(self, request: HttpRequest, client_id: int) -> HttpResponseRedirect:
        user = get_signed_in_user(request)
        pk = read_number(read_raw_form_text(request, "comment")) or 0
        comment = ClientComment.objects.filter(client_id=self.client.pk, pk=pk).first()
        if comment and not may_take_back(user, comment):
            raise PermissionDenied(TAKE_BACK_COMMENTS)
        if comment and ClientComment.objects.take_back(comment, by=user):
            messages.success(request, _("Deleted the comment."))
        else:
            messages.info(request, _("That comment no longer exists."))
        return redirect_to_comments(client_id)


def redirect_to_comments(client_id: int) -> HttpResponseRedirect:
    return HttpResponseRedirect(get_tab_url(client_id, ClientTab.OVERVIEW, "comments"))
