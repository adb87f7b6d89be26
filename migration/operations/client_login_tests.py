"""Tests the logins of clients with the values of either store, and keeps the results. Knows no page and no run.

The values are read, tried and forgotten: nothing that is returned, stored or logged holds one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django.db import transaction
from django.utils import timezone

from credentials.models import Client
from credentials.pointers import is_purged
from credentials.row_matching import match_rows
from migration import login_sentences
from migration.core.audit import AuditCode, AuditEvent
from migration.core.aws_store import read_aws, secrets_manager
from migration.core.aws_writes import TEST_LOGIN
from migration.core.clients import all_clients
from migration.core.outgoing import LoginResult
from migration.core.rate_limiter import PriorityLimiter, rate_limiter
from migration.core.snapshots import read_snapshot, repeatable_read_only
from migration.models.login_tests import LoginStore, LoginTest
from migration.operations.login_tests.attempts import LOGIN_SECONDS, try_login
from nova_credentials import document as documents
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.credential_types import ROW_CLASSES, CredentialType, map_to_json_keys
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from django.contrib.auth.models import User

    from credentials.models import Credential
    from nova_credentials.credential_types import CredentialRow
    from nova_credentials.document import Document
    from nova_credentials.messages import Message

LOGINS_AT_ONCE = 16


@dataclass(frozen=True)
class LoginKey:
    """One login of a client: its type, and the id of its row or, where only AWS has it, its label."""

    kind: CredentialType
    credential_id: int | None
    label: str = ""


@dataclass(frozen=True)
class StoredLogin:
    """One login as one store has it."""

    key: LoginKey
    store: LoginStore
    values: dict[str, str | int | None] = field(repr=False)


@dataclass(frozen=True)
class StoreLogins:
    """The logins of a client as one store had them, and since when they are known to have been so."""

    store: LoginStore
    logins: list[StoredLogin]
    read_at: datetime


def try_client_logins(
    *,
    client_id: int,
    stores: Collection[LoginStore],
    by: User,
    only: LoginKey | None = None,
) -> list[LoginTest]:
    """Log in with the values of these stores, keep the results and record who asked for them; a person waits.

    Of all the client's logins, or of `only` one. Raises `Client.DoesNotExist`, `NovaSchemaError`,
    `SecretsManagerError` and `DocumentError`; then nothing was tried.
    """
    found = read_stores(client_id, stores, interactive=True)
    if only:
        found = [
            replace(each, logins=[login for login in each.logins if login.key == only])
            for each in found
        ]
    results = try_logins([login for each in found for login in each.logins], waits=False)
    with transaction.atomic():
        tests = [
            test
            for each in found
            for test in keep_results(client_id, each, results, by=by, are_all=only is None)
        ]
        _record_tests(client_id, tests, by=by)
    return tests


def read_stores(
    client_id: int, stores: Collection[LoginStore], *, interactive: bool = False
) -> list[StoreLogins]:
    """Read the client's logins from each store; raises as `try_client_logins` does."""
    found = []
    for store in stores:
        read_at = timezone.now()  # a moment before
        logins = read_logins(client_id, store, interactive=interactive)
        found.append(StoreLogins(store, logins, read_at))
    return found


def read_logins(
    client_id: int, store: LoginStore, *, interactive: bool = False
) -> list[StoredLogin]:
    """Read the client's logins as the store has them; raises as `try_client_logins` does.

    PostgreSQL's rows whose secret was purged are left out: only AWS has it.
    """
    client = _read_client(client_id)
    if store == LoginStore.POSTGRES:
        return [
            StoredLogin(_key_of(row), store, _make_values(row.TYPE, row))
            for rows in client.credentials_by_type().values()
            for row in rows
            if not is_purged(row)
        ]
    snapshot = read_snapshot(client_id)
    try:
        copy = read_aws(snapshot, sm=secrets_manager(interactive=interactive))
    except SecretsManagerError as error:
        if error.not_found and snapshot.phase == Phase.POSTGRES:
            return []  # none was ever pushed
        raise
    return list(_pair_with_rows(client, copy.document))


def _read_client(client_id: int) -> Client:
    with repeatable_read_only():
        client = all_clients().filter(pk=client_id).first()
        if client is None:
            raise Client.DoesNotExist
        client.rows_read = client.credentials_by_type()
    return client


def _pair_with_rows(client: Client, document: Document) -> Iterable[StoredLogin]:
    """Yield the document's logins, each with the row that it belongs to."""
    read = documents.parse_document(document, client_id=client.pk, client_slug=client.slug)
    for credential_type, rows in client.credentials_by_type().items():
        match = match_rows(rows, read.of_type(credential_type))
        for row, login in match.pairs:
            values = _make_values(credential_type, login)
            yield StoredLogin(_key_of(row), LoginStore.AWS, values)
        for login in match.new_logins:
            key = LoginKey(credential_type, None, (login.label or "")[:100])
            yield StoredLogin(key, LoginStore.AWS, _make_values(credential_type, login))


def _key_of(row: Credential) -> LoginKey:
    return LoginKey(row.TYPE, row.pk)


def _make_values(
    credential_type: CredentialType, row: Credential | CredentialRow
) -> dict[str, str | int | None]:
    """Return the row's values by the keys of the document."""
    keys = map_to_json_keys(ROW_CLASSES[credential_type])
    return {key: getattr(row, attribute) for attribute, key in keys.items()}


def try_logins(
    logins: Sequence[StoredLogin], *, waits: bool = True, seconds: float = LOGIN_SECONDS
) -> dict[int, LoginResult]:
    """Try these logins at the rate of all workers; return Python's `id()` of each login -> its result.

    With `waits` false it never waits for its turns, as a person waits for it: the workers' logins come later.
    """
    limiter = rate_limiter() if waits else PriorityLimiter(rate_limiter())

    def try_one(login: StoredLogin) -> LoginResult:
        limiter.wait(TEST_LOGIN)
        return try_login(login.key.kind, login.values, deadline_seconds=seconds)

    with ContextThreads(LOGINS_AT_ONCE) as threads:
        return {
            id(login): result
            for login, result in zip(logins, threads.map(try_one, logins), strict=True)
        }


def keep_results(
    client_id: int,
    found: StoreLogins,
    results: dict[int, LoginResult],
    *,
    by: User | None,
    are_all: bool,
) -> list[LoginTest]:
    """Store the results; `are_all`: `found` has all logins of the client in the store, not some."""
    tests = [
        LoginTest(
            client_id=client_id,
            kind=login.key.kind.value,
            credential_id=login.key.credential_id,
            label=login.key.label,
            store=found.store.value,
            outcome=results[id(login)].outcome.value,
            service=results[id(login)].service,
            tested_at=found.read_at,
            by=by,
        )
        for login in found.logins
    ]
    if are_all:
        LoginTest.objects.record_as_only_newest(
            tests, client_id=client_id, store=found.store, read_at=found.read_at
        )
    else:
        LoginTest.objects.record(tests, client_id=client_id, store=found.store)
    return tests


def _record_tests(client_id: int, tests: Sequence[LoginTest], *, by: User) -> None:
    slug = Client.objects.values_list("slug", flat=True).filter(pk=client_id).first() or ""
    results = tuple(map(describe_test, tests)) or (login_sentences.NO_LOGIN_TO_TEST(),)
    AuditEvent.objects.record(
        AuditCode.LOGIN_TEST,
        login_sentences.LOGINS_TESTED(results=results),
        by=by,
        client_id=client_id,
        slug=slug,
    )


def describe_test(test: LoginTest) -> Message:
    """Say which login with which store's values had which outcome."""
    return login_sentences.LOGIN_RESULT(
        login=test.login_name_message,
        store=login_sentences.STORES[test.store](),
        outcome=login_sentences.OUTCOMES[test.outcome](),
    )


def try_typed_login(row: Credential, *, client: Client | None, by: User) -> LoginResult:
    """Log in with the values of a form, which are in the unsaved `row`, and record that, without the values.

    Without `client` it is being added.
    The caller has seen to it that a stored secret goes to its stored destination alone.
    """
    rate_limiter().take_turn_before_others(TEST_LOGIN)
    result = try_login(row.TYPE, _make_values(row.TYPE, row))
    login = row.make_row_name_message() if row.pk else login_sentences.NEW_LOGIN(kind=row.TYPE)
    AuditEvent.objects.record(
        AuditCode.LOGIN_TEST,
        login_sentences.TYPED_LOGIN_TESTED(
            login=login, outcome=login_sentences.OUTCOMES[result.outcome]()
        ),
        by=by,
        client_id=client.pk if client else None,
        slug=client.slug if client else "",
    )
    return result
