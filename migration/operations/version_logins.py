"""Tries the logins of a secret's version before they count again. Stores nothing; knows no phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration import login_sentences, version_sentences
from migration.operations.login_tests import LoginOutcome, try_login
from migration.operations.resolutions import NotResolved
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import EXTRA_KEY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nova_credentials.document import Document
    from nova_credentials.messages import Message

LOGINS_AT_ONCE = 10
# They change nothing about whether a login works.
NAMING_KEYS = ("label", "is_primary", "sender_whitelist", EXTRA_KEY)


@dataclass(frozen=True)
class VersionLogin:
    """One login of a document: its type, its place among those of the type, and its fields."""

    credential_type: CredentialType
    label: str
    values: Document = field(repr=False)

    def as_message(self) -> Message:
        """Name the login for a sentence."""
        kind = version_sentences.KINDS[self.credential_type]()
        if not self.label:
            return kind
        return version_sentences.VERSION_LABELLED_LOGIN(kind=kind, label=self.label)


class UnprovenLoginsError(NotResolved):
    """Whether these logins work could not be found out: somebody has to decide."""


def list_new_logins(document: Document, present: Document | None) -> Iterator[VersionLogin]:
    """Yield the logins of the document that are not so in the present one, whatever their label and place."""
    for credential_type in CredentialType:
        known = [_strip(entry) for entry in _list_entries(present or {}, credential_type)]
        for entry in _list_entries(document, credential_type):
            if _strip(entry) not in known:
                yield VersionLogin(credential_type, str(entry.get("label") or ""), entry)


def require_logins(logins: Collection[VersionLogin], *, unproven: bool) -> None:
    """Try the logins; raise `NotResolved` where a server refuses one, `UnprovenLoginsError` where that isn't known.

    `unproven`: what isn't known is accepted.
    """
    failed = list_failed(logins)
    refused = tuple(text for text, outcome in failed if outcome == LoginOutcome.REFUSED)
    if refused:
        raise NotResolved(version_sentences.VERSION_LOGIN_REFUSED(logins=refused))
    if failed and not unproven:
        told = tuple(text for text, _outcome in failed)
        raise UnprovenLoginsError(version_sentences.VERSION_LOGIN_UNPROVEN(logins=told))


def list_failed(logins: Collection[VersionLogin]) -> list[tuple[Message, LoginOutcome]]:
    """Try the logins, several at once; return those that didn't let us in, each with what came of it."""
    with ContextThreads(LOGINS_AT_ONCE) as threads:
        results = threads.map(lambda each: try_login(each.credential_type, each.values), logins)
        return [
            (_describe(login, result.outcome), result.outcome)
            for login, result in zip(logins, results, strict=True)
            if not result.works
        ]


def _describe(login: VersionLogin, outcome: LoginOutcome) -> Message:
    told = login_sentences.OUTCOMES[outcome]()
    return version_sentences.VERSION_TRIED_LOGIN(login=login.as_message(), outcome=told)


def _list_entries(document: Document, credential_type: CredentialType) -> Iterator[Document]:
    primary = document.get(credential_type)
    if isinstance(primary, dict):
        yield primary
    others = document.get(credential_type.others_key)
    if isinstance(others, list):
        yield from (entry for entry in others if isinstance(entry, dict))


def _strip(entry: Document) -> Document:
    """Return what logs in, without what the site calls the login."""
    return {key: value for key, value in entry.items() if key not in NAMING_KEYS}
