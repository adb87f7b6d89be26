"""Tests the logins of clients with the values of either store, keeps the results, and says which store to copy from.

The values are read, tried and forgotten: nothing that is returned, stored or logged holds one.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from django.contrib.auth.models import User
from django.core import signing
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext_lazy

from credentials.copying import match_rows
from credentials.models import CREDENTIAL_MODELS, Client, Credential
from credentials.pointers import is_purged
from migration.core.audit import AuditEvent, EventKind
from migration.core.aws_store import read_aws, secrets_manager
from migration.core.aws_writes import TEST_LOGIN
from migration.core.clients import all_clients
from migration.core.outgoing import LoginOutcome, LoginResult
from migration.core.rate_limiter import PriorityLimiter, rate_limiter
from migration.core.sentences import CLIENT_NOT_THERE, LOGIN_OUTCOMES, LOGINS_NOT_REACHED
from migration.core.snapshots import read_snapshot, repeatable_read_only
from migration.logins.attempts import LOGIN_SECONDS, try_login
from migration.logins.models import LoginStore, LoginStores, LoginTest, attach_row_names
from migration.runs.engine import ItemsToRetry, works_on
from migration.runs.items import TRANSIENT, Outcome, RunItem
from migration.runs.models import Run
from nova_credentials import document as documents
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.credential_types import (
    ROW_CLASSES,
    CredentialRow,
    CredentialType,
    map_to_json_keys,
)
from nova_credentials.document import Document, DocumentError
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase

# Where a client logs in: for who may see all its logins.
LOGIN_TEST_EVENT = EventKind(
    "login_test",
    gettext_lazy("Logins tested"),
    icon="login",
    in_history=True,
    permission=" ".join(
        f"credentials.view_{model._meta.model_name}" for model in CREDENTIAL_MODELS.values()
    ),
)


LOGINS_AT_ONCE = 16
# A batch whose logins take longer is left; the rest of it is claimed again.
BATCH_SECONDS = 60.0
# Clients whose logins are tried together: so many that a dead host holds few others up.
CLIENTS_AT_ONCE = 10
# A client can mend these in its rows; of the others the server has to change, or the network.
OF_ITS_ROWS = {
    *(LoginOutcome.REFUSED, LoginOutcome.NO_DATABASE, LoginOutcome.NO_SUCH_HOST),
    *(LoginOutcome.NOT_ALLOWED, LoginOutcome.NOT_TESTABLE),
}


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
    values: dict[str, str | int | None] = field(repr=False)


@dataclass(frozen=True)
class StoreLogins:
    """The logins of a client as one store had them, and since when they are known to have been so."""

    store: LoginStore
    logins: list[StoredLogin]
    read_at: datetime


NO_LOGIN_TO_TEST = Sentence("no_login_to_test", "There is no login to test.")
LOGINS_TESTED = Sentence("logins_tested", "Tested: %(results)s.", glue="; ")


def try_client_logins(
    *,
    client_id: int,
    stores: Collection[LoginStore],
    by: User | None,
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
        slug = Client.objects.values_list("slug", flat=True).filter(pk=client_id).first() or ""
        told = tuple(map(describe_test, tests)) or (NO_LOGIN_TO_TEST(),)
        AuditEvent.objects.record(
            LOGIN_TEST_EVENT,
            LOGINS_TESTED(results=told),
            by=by,
            client_id=client_id,
            slug=slug,
        )
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
            StoredLogin(LoginKey(row.TYPE, row.pk), _make_values(row.TYPE, row))
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
            key = LoginKey(row.TYPE, row.pk)
            yield StoredLogin(key, _make_values(credential_type, login))
        for login in match.new_logins:
            key = LoginKey(credential_type, None, (login.label or "")[:100])
            yield StoredLogin(key, _make_values(credential_type, login))


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
    LoginTest.objects.record(
        tests,
        client_id=client_id,
        store=found.store,
        all_read_at=found.read_at if are_all else None,
    )
    attach_row_names(tests)
    return tests


STORES = {
    "postgres": Sentence("login_store_postgres", "PostgreSQL"),
    "aws": Sentence("login_store_aws", "AWS"),
}
LOGIN_RESULT = Sentence("login_result", "%(login)s with the values of %(store)s: %(outcome)s")


def describe_test(test: LoginTest) -> Message:
    """Say which login with which store's values had which outcome."""
    return LOGIN_RESULT(
        login=test.login_name_message,
        store=STORES[test.store](),
        outcome=LOGIN_OUTCOMES[test.outcome](),
    )


TYPED_LOGIN_TESTED = Sentence(
    "typed_login_tested", "Tested what was typed for %(login)s: %(outcome)s."
)
NEW_LOGIN = Sentence("new_login", "a new %(kind)s login")


def try_typed_login(row: Credential, *, client: Client | None, by: User) -> LoginResult:
    """Log in with the values of a form, which are in the unsaved `row`, and record that, without the values.

    Without `client` it is being added.
    The caller has seen to it that a stored secret goes to its stored destination alone.
    """
    rate_limiter().take_turn_before_others(TEST_LOGIN)
    result = try_login(row.TYPE, _make_values(row.TYPE, row))
    login = row.make_row_name_message() if row.pk else NEW_LOGIN(kind=row.TYPE)
    AuditEvent.objects.record(
        LOGIN_TEST_EVENT,
        TYPED_LOGIN_TESTED(login=login, outcome=LOGIN_OUTCOMES[result.outcome]()),
        by=by,
        client_id=client.pk if client else None,
        slug=client.slug if client else "",
    )
    return result


# A result goes with the form to its save, signed, with a digest in place of the values that were tried.
TYPED_TEST = "migration.typed_login_test"
TYPED_TEST_COUNTS_FOR = timedelta(minutes=10)


def sign_typed_test(row: Credential, result: LoginResult) -> str:
    """Return the result of trying a form's values as a text that the form takes along; it holds none of them.

    Nor does it say of two forms that their values are equal, even to who saves it with another login and a guess.
    """
    once = secrets.token_urlsafe(12)
    found = [once, _digest_values(row, once), result.outcome.value, result.service]
    return signing.dumps(found, salt=TYPED_TEST)


def read_typed_test(signed: str, row: Credential) -> LoginResult | None:
    """Return what `sign_typed_test` signed a few minutes ago; None where the row has other values than were tried."""
    try:
        once, digest, outcome, service = signing.loads(
            signed, salt=TYPED_TEST, max_age=TYPED_TEST_COUNTS_FOR
        )
    except signing.BadSignature:
        return None
    if not constant_time_compare(digest, _digest_values(row, once)):
        return None
    return LoginResult(LoginOutcome(outcome), service)


def _digest_values(row: Credential, once: str) -> str:
    values = _make_values(row.TYPE, row)
    tried = {key: value for key, value in values.items() if key not in ("label", "is_primary")}
    of_row = json.dumps([row.TYPE.value, row.pk, tried])
    return salted_hmac(f"{TYPED_TEST} {once}", of_row, algorithm="sha256").hexdigest()


def keep_typed_test(row: Credential, result: LoginResult, *, by: User) -> None:
    """Keep the result for the row, which now has the values that were tried as its form was filled in."""
    test = LoginTest(
        client_id=row.client_id,
        kind=row.TYPE.value,
        credential_id=row.pk,
        store=LoginStore.POSTGRES.value,
        outcome=result.outcome.value,
        service=result.service,
        # NOVA may have written the row since: those values were not tried.
        tested_at=row.updated_at,
        by=by,
    )
    LoginTest.objects.record([test], client_id=row.client_id, store=LoginStore.POSTGRES)


AWS_NOT_READ = Sentence("aws_not_read", "AWS could not be read: %(error)s")
LOGINS_FAILED = Sentence("logins_failed", "%(results)s.", glue="; ")


@works_on(Run.Kind.TEST_LOGINS, together=CLIENTS_AT_ONCE)
def process_login_items(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Test the logins of these clients, a few clients at a time; after BATCH_SECONDS the rest is left for later.

    Returns the items of which AWS could not be read, before any login was tried. A login that was tried is not tried
    again by itself: servers lock out who is refused too often.
    """
    ends_at, left = time.monotonic() + BATCH_SECONDS, list(items)
    again: ItemsToRetry = []
    while left:
        if time.monotonic() > ends_at or not Run.objects.is_running(run.pk):
            break
        some, left = left[:CLIENTS_AT_ONCE], left[CLIENTS_AT_ONCE:]
        again += _test_clients(run, {pk: items[pk] for pk in some})
    for pk in left:
        items[pk].set_next_try_now()
    return again


def _test_clients(run: Run, items: dict[int, RunItem]) -> ItemsToRetry:
    """Test the logins of these clients together and give each item its outcome; return those to try again."""
    again: ItemsToRetry = []
    stores, found = LoginStores(run.stores).named_stores, {}
    for pk, item in items.items():
        try:
            found[pk] = read_stores(pk, stores)
        except Client.DoesNotExist:
            item.outcome, item.message = Outcome.SKIPPED, CLIENT_NOT_THERE()
        except DocumentError as error:
            item.outcome, item.error_class = Outcome.FAILED, ErrorClass.DATA
            item.message = error.message
        except SecretsManagerError as error:
            item.outcome, item.error_class = Outcome.FAILED, error.error_class
            item.message = AWS_NOT_READ(error=error.message)
            if error.error_class in TRANSIENT:
                again.append(item)
    results = try_logins(
        [login for of_client in found.values() for each in of_client for login in each.logins]
    )
    events = []
    for pk, of_client in found.items():
        item = items[pk]
        tests = [
            test
            for each in of_client
            for test in keep_results(pk, each, results, by=run.by, are_all=True)
        ]
        _give_outcome(item, tests)
        if item.outcome == Outcome.TESTED:  # of what fails each run has an event
            told = LOGINS_TESTED(results=tuple(map(describe_test, tests)))
            events.append(
                AuditEvent.make_signed(LOGIN_TEST_EVENT, told, client_id=pk, slug=item.slug)
            )
    AuditEvent.objects.insert_already_signed(events)
    return again


def _give_outcome(item: RunItem, tests: list[LoginTest]) -> None:
    failed = [test for test in tests if not test.works]
    if not tests:
        item.outcome, item.message = Outcome.SKIPPED, NO_LOGIN_TO_TEST()
    elif failed:
        mendable = any(test.outcome in OF_ITS_ROWS for test in failed)
        sentence = LOGINS_FAILED if mendable else LOGINS_NOT_REACHED
        item.outcome, item.error_class = Outcome.FAILED, ErrorClass.DATA
        item.message = sentence(results=tuple(map(describe_test, failed)))
    else:
        item.outcome = Outcome.TESTED


ADVICE = {
    "to_aws": Sentence(
        "advice_to_aws",
        "Only PostgreSQL's values work for every login. Copy PostgreSQL to AWS.",
    ),
    "to_postgres": Sentence(
        "advice_to_postgres",
        "Only AWS's values work for every login. Copy AWS to PostgreSQL.",
    ),
    "mixed": Sentence(
        "advice_mixed",
        "Each store has a login that only works there. Fix the logins one by one.",
    ),
    "either": Sentence(
        "advice_either", "The logins work with both stores' values. Copy either way."
    ),
    "neither": Sentence(
        "advice_neither", "A login is refused with both stores' values. Ask for its password."
    ),
    "unclear": Sentence(
        "advice_unclear",
        "Not all logins could be tested, so they don't show which store is right.",
    ),
}


class CopyAdvice(StrEnum):
    """The direction in which a mismatch is best resolved."""

    TO_AWS = "to_aws"
    TO_POSTGRES = "to_postgres"
    MIXED = "mixed"  # each store has a login that is right where the other's is wrong
    EITHER = "either"
    NEITHER = "neither"
    UNCLEAR = "unclear"

    @property
    def message(self) -> Message:
        """Say it in a sentence."""
        return ADVICE[self]()


def advise_copy(tests: Iterable[LoginTest]) -> CopyAdvice | None:
    """Return which way to copy; None where no login was tried with the values of both stores.

    Only a login that works beside one that is refused shows who is right: a server that can't be reached says nothing.
    """
    outcomes: dict[tuple[str, int | None, str], dict[str, str]] = {}
    for test in tests:
        wrong = LoginOutcome.REFUSED.value if test.is_proven_wrong else test.outcome
        outcomes.setdefault(test.key_within_client_and_store, {})[test.store] = wrong
    pairs = {
        (by_store[LoginStore.POSTGRES], by_store[LoginStore.AWS])
        for by_store in outcomes.values()
        if len(by_store) == len(LoginStore)
    }
    if not pairs:
        return None
    works, refused = LoginOutcome.WORKS.value, LoginOutcome.REFUSED.value
    to_aws, to_postgres = (works, refused) in pairs, (refused, works) in pairs
    if to_aws and to_postgres:
        return CopyAdvice.MIXED
    if to_aws or to_postgres:
        return CopyAdvice.TO_AWS if to_aws else CopyAdvice.TO_POSTGRES
    if (refused, refused) in pairs:
        return CopyAdvice.NEITHER
    return CopyAdvice.EITHER if pairs == {(works, works)} else CopyAdvice.UNCLEAR
