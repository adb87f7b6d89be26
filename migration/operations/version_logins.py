"""Tries the logins of a secret's version before they count again. Stores the audit's entry alone; knows no phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.utils.crypto import salted_hmac

from migration import login_sentences, version_sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.login_outcomes import PROVEN_WRONG, LoginOutcome
from migration.operations.aws_writes import TEST_LOGIN
from migration.operations.login_tests.attempts import try_login
from migration.operations.pushes import SHOWN_DIGITS
from migration.operations.rate_limiter import rate_limiter
from migration.operations.resolutions import NotResolved
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import EXTRA_KEY

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from django.contrib.auth.models import User

    from nova_credentials.document import Document
    from nova_credentials.messages import Message

LOGINS_AT_ONCE = 10
# They change nothing about whether a login works.
NAMING_KEYS = ("label", "is_primary", "sender_whitelist", EXTRA_KEY)


@dataclass(frozen=True)
class VersionLogin:
    """One login of a document: its type, its label (empty where it has none), and its fields."""

    credential_type: CredentialType
    label: str
    values: Document = field(repr=False)

    def make_row_name_message(self) -> Message:
        """Name the login for a sentence."""
        kind = version_sentences.KINDS[self.credential_type]()
        if not self.label:
            return kind
        return version_sentences.VERSION_LABELLED_LOGIN(kind=kind, label=self.label)


@dataclass(frozen=True)
class TriedVersion:
    """The version whose logins are tried, and who asked for it: the audit's entry is made of both."""

    client_id: int
    slug: str
    name: str
    version_id: str
    by: User | None


class UnprovenLoginsError(NotResolved):
    """Whether these logins work could not be found out: somebody has to decide.

    `digest` is what they accept: these logins with these outcomes, and no others.
    """

    def __init__(self, failed: Collection[tuple[Message, LoginOutcome]]) -> None:
        told = tuple(text for text, _outcome in failed)
        super().__init__(version_sentences.VERSION_LOGIN_UNPROVEN(logins=told))
        key = repr([str(text) for text in told])
        hashed = salted_hmac("migration.UnprovenLoginsError", key, algorithm="sha256")
        self.digest = hashed.hexdigest()[:16]


def list_new_logins(document: Document, present: Document | None) -> Iterator[VersionLogin]:
    """Yield the logins of the document that are not so in the present one, whatever their label and place."""
    for credential_type in CredentialType:
        known = [_strip(entry) for entry in _list_entries(present or {}, credential_type)]
        for entry in _list_entries(document, credential_type):
            if _strip(entry) not in known:
                yield VersionLogin(credential_type, str(entry.get("label") or ""), entry)


def require_working_logins(
    logins: Collection[VersionLogin], *, version: TriedVersion, accepted_digest: str
) -> None:
    """Try the logins; raise `NotResolved` where one can't work, `UnprovenLoginsError` where that isn't known.

    `accepted_digest` is the digest of the error that was shown and accepted: what isn't known may be accepted as it was
    shown.
    """
    failed = try_for_failures(logins, version=version)
    wrong = tuple(text for text, outcome in failed if outcome in PROVEN_WRONG)
    if wrong:
        raise NotResolved(version_sentences.VERSION_LOGIN_REFUSED(logins=wrong))
    if failed:
        error = UnprovenLoginsError(failed)
        if error.digest != accepted_digest:
            raise error


def try_for_failures(
    logins: Collection[VersionLogin], *, version: TriedVersion
) -> list[tuple[Message, LoginOutcome]]:
    """Try the logins, several at once, and record it; return those that didn't let us in, each with its outcome.

    They take turns with all other logins, which come later: a person waits for these.
    """
    if not logins:
        return []
    with ContextThreads(LOGINS_AT_ONCE) as threads:
        outcomes = list(threads.map(_try, logins))
    told = [_describe(*each) for each in zip(logins, outcomes, strict=True)]
    tested = version_sentences.VERSION_LOGINS_TESTED(
        version=shorten(version.version_id), name=version.name, results=tuple(told)
    )
    AuditEvent.objects.record(
        AuditCode.LOGIN_TEST,
        tested,
        by=version.by,
        client_id=version.client_id,
        slug=version.slug,
    )
    found = zip(told, outcomes, strict=True)
    return [(text, outcome) for text, outcome in found if outcome != LoginOutcome.WORKS]


def shorten(version_id: str) -> str:
    """Return the beginning of a version's id, by which people tell versions apart."""
    return f"{version_id[:SHOWN_DIGITS]}…"


def _try(login: VersionLogin) -> LoginOutcome:
    rate_limiter().take_turn_before_others(TEST_LOGIN)
    return try_login(login.credential_type, login.values).outcome


def _describe(login: VersionLogin, outcome: LoginOutcome) -> Message:
    told = login_sentences.OUTCOMES[outcome]()
    return version_sentences.VERSION_TRIED_LOGIN(login=login.make_row_name_message(), outcome=told)


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
