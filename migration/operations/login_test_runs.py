"""Tests the logins of a run's clients, and gives each item its outcome. Knows no batch and no page."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from credentials.models import Client
from migration import login_sentences, sentences
from migration.core.outgoing import LoginOutcome
from migration.models.login_tests import LoginStores, LoginTest
from migration.operations.client_login_tests import (
    describe_test,
    keep_results,
    read_stores,
    try_logins,
)
from migration.runs.engine import works_on
from migration.runs.items import TRANSIENT, Outcome
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import ErrorClass, SecretsManagerError
from nova_credentials.document import DocumentError

if TYPE_CHECKING:
    from migration.runs.engine import ItemsToRetry
    from migration.runs.items import RunItem

# A batch whose logins take longer is left; the rest of it is claimed again.
BATCH_SECONDS = 60.0
# Clients whose logins are tried together: so many that a dead host holds few others up.
CLIENTS_AT_ONCE = 10
# A client can mend these in its rows; of the others the server has to change, or the network.
OF_ITS_ROWS = {
    *(LoginOutcome.REFUSED, LoginOutcome.NO_DATABASE, LoginOutcome.NO_SUCH_HOST),
    *(LoginOutcome.NOT_ALLOWED, LoginOutcome.NOT_TESTABLE),
}


@works_on(Run.Kind.TEST_LOGINS)
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
    again: ItemsToRetry = []
    stores, found = LoginStores(run.stores).named_stores, {}
    for pk, item in items.items():
        try:
            found[pk] = read_stores(pk, stores)
        except Client.DoesNotExist:
            item.outcome, item.message = Outcome.SKIPPED, sentences.CLIENT_NOT_THERE()
        except DocumentError as error:
            item.outcome, item.error_class = Outcome.FAILED, ErrorClass.DATA
            item.message = error.message
        except SecretsManagerError as error:
            item.outcome, item.error_class = Outcome.FAILED, error.error_class
            item.message = sentences.AWS_NOT_READ(error=error.message)
            if error.error_class in TRANSIENT:
                again.append(item)
    results = try_logins(
        [login for of_client in found.values() for each in of_client for login in each.logins]
    )
    for pk, of_client in found.items():
        tests = [
            test
            for each in of_client
            for test in keep_results(pk, each, results, by=run.by, are_all=True)
        ]
        _give_outcome(items[pk], tests)
    return again


def _give_outcome(item: RunItem, tests: list[LoginTest]) -> None:
    failed = [test for test in tests if not test.works]
    if not tests:
        item.outcome, item.message = Outcome.SKIPPED, login_sentences.NO_LOGIN_TO_TEST()
    elif failed:
        mendable = any(test.outcome in OF_ITS_ROWS for test in failed)
        sentence = login_sentences.LOGINS_FAILED if mendable else login_sentences.LOGINS_NOT_REACHED
        item.outcome, item.error_class = Outcome.FAILED, ErrorClass.DATA
        item.message = sentence(results=tuple(map(describe_test, failed)))
    else:
        item.outcome = Outcome.TESTED
