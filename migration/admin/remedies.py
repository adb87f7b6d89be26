"""Answers of a button: back to the page it came from, with why it was refused and the link to what mends it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import messages
from django.http import HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _

from credentials.localization import localize
from migration import plan_sentences, sentences
from migration.admin.base import RUN_PERMISSION
from migration.admin.client_tabs import ClientTab, get_tab_url

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.http import HttpRequest

    from nova_credentials.messages import Message

# What a user resolves on the tab that compares both stores.
TO_RESOLVE = {
    sentence.key
    for sentence in (
        sentences.FOREIGN_VERSION,
        sentences.WRITTEN_SINCE_BACKUP,
        plan_sentences.LEFT_ALONE,
        plan_sentences.LEFT_TO_AWS,
    )
}


def redirect_back(request: HttpRequest, client_id: int) -> HttpResponseRedirect:
    """Lead to the page of this site that the form came from, or else to the client's."""
    came_from = request.POST.get("back", "")
    if url_has_allowed_host_and_scheme(came_from, allowed_hosts=None):
        return HttpResponseRedirect(came_from)
    return HttpResponseRedirect(reverse("admin:credentials_client_change", args=[client_id]))


def show_refusal(
    request: HttpRequest, client_id: int, message: Message, codes: Collection[str] = ()
) -> None:
    """Add a message that says why something was refused, with a link to what mends it; `codes` are its reasons."""
    text, link = localize(message), find_remedy(request, client_id, codes or message.codes)
    messages.error(request, format_html("{} {}", text, link) if link else text)


def find_remedy(request: HttpRequest, client_id: int, codes: Collection[str]) -> str:
    """Return the link to what mends the first of these reasons that this user can mend; "" where there is none."""
    if sentences.NOT_OURS.key in codes and request.user.has_perm(RUN_PERMISSION):
        url = reverse("admin:credentials_client_adopt", args=[client_id])
        return _make_link(_("Adopt the secret…"), url)
    if TO_RESOLVE & set(codes):
        return _make_link(_("Compare both stores"), get_tab_url(client_id, ClientTab.COMPARISON))
    return ""


def _make_link(label: str, url: str) -> str:
    return format_html('<a class="underline" href="{}">{}</a>', url, label)
