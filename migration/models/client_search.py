"""Searches clients by what people know of them: slug, name, hosts and users of their logins, names of their secrets.

It never looks at a secret value.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Q, Value
from django.db.models.functions import Concat
from django.db.models.lookups import Contains

from credentials.models import CREDENTIAL_MODELS
from migration.models.folding import CaseAndAccentsFolded, make_folded_expression
from migration.models.layouts import has_layout, name_secret_slug
from migration.models.secrets import Secret
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

# The columns of a login that are searched: where it logs in, and as whom.
SEARCHED = {
    CredentialType.DATABASE: ("db_host", "db_user"),
    CredentialType.EMAIL: ("imap_host", "smtp_host", "email_user"),
}
# Each word is a condition of its own. What is typed after these counts as one word.
MOST_WORDS = 8
# An ARN ends with six characters that are not part of the secret's name.
ARN = re.compile(r"^arn:[^/]*:secret:(?P<name>.+?)(-[A-Za-z0-9]{6})?$")


def list_conditions(text: str, *, logins: Collection[CredentialType]) -> list[Q]:
    """Return a condition for each word of the text. `logins` are the kinds of logins whose hosts and users count."""
    return [_holds_word(word, logins) for word in _split(text)]


def _split(text: str) -> list[str]:
    return [word.strip() for word in text.split(maxsplit=MOST_WORDS - 1)]


def _holds_word(word: str, logins: Collection[CredentialType]) -> Q:
    if found := ARN.match(word):
        word = found["name"]
    typed = make_folded_expression(word)
    condition = Q(Contains(CaseAndAccentsFolded("slug"), typed)) | Q(
        Contains(CaseAndAccentsFolded("name"), typed)
    )
    for kind in logins:
        columns = Q()
        for name in SEARCHED.get(kind, ()):
            columns |= Q(Contains(CaseAndAccentsFolded(name), typed))
        if columns:
            rows = CREDENTIAL_MODELS[kind]._default_manager.filter(columns).order_by()
            condition |= Q(pk__in=rows.values("client_id"))  # type: ignore[misc]  # each model has it
    # Without a slash it would be found in the slug, or in the prefix that all clients share.
    if "/" in word:
        for layout in Layout:
            names = Q()
            for secret_name in _list_secret_names(layout):
                names |= Q(Contains(CaseAndAccentsFolded(secret_name), typed))
            condition |= has_layout(layout) & names
        pushed = Secret.objects.filter(Contains(CaseAndAccentsFolded("name"), typed)).order_by()
        condition |= Q(pk__in=pushed.values("client_id"))
    return condition


def _list_secret_names(layout: Layout) -> Iterator[Concat]:
    """Yield, as expressions over clients, the names of the secrets of a client with this layout."""
    names = documents.secret_names("\0", prefix=settings.NOVA_SECRET_PREFIX, layout=layout)
    for name in names.values():
        before, _, after = name.partition("\0")
        yield Concat(Value(before), name_secret_slug(), Value(after))
