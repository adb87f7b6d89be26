"""The newest test of a login is the one whose values were read last, whichever test ends first."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from credentials.models import Client
from migration.core.outgoing import LoginOutcome, LoginResult
from migration.logins import testing
from migration.logins.models import LoginStore
from migration.logins.testing import try_client_logins
from migration.models import LoginTest
from migration.moves.rules import Ask, judge_gates
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, update
from tests.migration.moves.clients import enter_phase

pytestmark = pytest.mark.django_db(transaction=True)

OLD, NEW = "example-old", "example-new"


@pytest.fixture
def pk(stores):
    pk = make_client("idom")
    make_database(pk, db_password_encrypted=OLD)
    return pk


def make_test(pk, **more):
    values = {"client_id": pk, "kind": "database", "credential_id": 1, "store": "postgres"}
    return LoginTest(**values | {"outcome": LoginOutcome.WORKS.value} | more)


def record(pk, store=LoginStore.POSTGRES, **more):
    test = make_test(pk, store=store.value, **more)
    LoginTest.objects.record([test], client_id=pk, store=store)
    return test


def test_a_test_that_began_earlier_and_ended_later_is_not_the_newest(pk, admin_user, monkeypatch):
    tried = []

    def try_login(_kind, values, **_options):
        tried.append(values["password"])
        if values["password"] == NEW:
            return LoginResult(LoginOutcome.WORKS)
        try:  # in a thread of its own
            row = Client.objects.get(pk=pk).databases.get().pk
            update("client_database_credentials", row, db_password_encrypted=NEW)
            try_client_logins(client_id=pk, stores=[LoginStore.POSTGRES], by=admin_user)
        finally:
            connection.close()
        return LoginResult(LoginOutcome.REFUSED)

    monkeypatch.setattr(testing, "try_login", try_login)

    (late,) = try_client_logins(client_id=pk, stores=[LoginStore.POSTGRES], by=admin_user)

    assert tried == [OLD, NEW]
    assert late.outcome == "refused"  # who waited for it is told so
    (newest,) = LoginTest.objects.newest([pk])
    assert newest.outcome == "works"
    assert newest.tested_at > late.tested_at
    assert LoginTest.objects.count() == 2


@pytest.mark.parametrize("are_all", [False, True])
def test_the_gate_follows_the_test_whose_values_were_read_last(pk, are_all):
    enter_phase(pk, Phase.DUAL_READ)
    now = timezone.now()
    record(pk, LoginStore.AWS, tested_at=now)
    older = make_test(pk, store="aws", outcome="refused", tested_at=now - timedelta(seconds=9))
    LoginTest.objects.record(
        [older],
        client_id=pk,
        store=LoginStore.AWS,
        all_read_at=older.tested_at if are_all else None,
    )

    checks = {check.code: check.passed for check in judge_gates(Ask([pk]), Phase.AWS)[pk]}
    assert checks["aws_login_refused"]
    record(pk, LoginStore.AWS, outcome="no_database")
    checks = {check.code: check.passed for check in judge_gates(Ask([pk]), Phase.AWS)[pk]}
    assert not checks["aws_login_refused"]
    assert LoginTest.objects.refused_in_aws().count() == 1


def test_what_the_client_lacks_is_forgotten_unless_it_was_tested_later(pk):
    now = timezone.now()
    record(pk, credential_id=2, tested_at=now)
    record(pk, credential_id=3, tested_at=now + timedelta(seconds=9))

    LoginTest.objects.record(
        [], client_id=pk, store=LoginStore.POSTGRES, all_read_at=now + timedelta(seconds=1)
    )

    assert [test.credential_id for test in LoginTest.objects.newest([pk])] == [3]


def test_of_many_at_once_the_last_is_the_newest_and_the_only_one(pk):
    now, numbers = timezone.now(), count()

    def store(number):
        at = now + timedelta(seconds=number * 7 % 16)
        try:
            for credential_id in (next(numbers) % 2, 1 - next(numbers) % 2):
                record(pk, credential_id=credential_id, tested_at=at)
            tests = [make_test(pk, credential_id=each, tested_at=at) for each in (1, 0)]
            LoginTest.objects.record(tests, client_id=pk, store=LoginStore.POSTGRES)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(store, range(16)))

    newest = {test.credential_id: test.tested_at for test in LoginTest.objects.newest([pk])}
    assert LoginTest.objects.newest([pk]).count() == 2
    assert newest == dict.fromkeys((0, 1), now + timedelta(seconds=15))
    assert LoginTest.objects.count() == 64


def test_the_tables_hold_one_newest_test_of_a_login(pk):
    record(pk, credential_id=None, label="")

    with pytest.raises(IntegrityError):
        make_test(pk, credential_id=None, label="").save()


def test_of_logins_that_share_a_label_the_one_that_fails_counts(pk):
    tests = [
        make_test(pk, credential_id=None, outcome=outcome)
        for outcome in ("works", "timed_out", "refused", "works")
    ]

    LoginTest.objects.record(
        tests, client_id=pk, store=LoginStore.POSTGRES, all_read_at=timezone.now()
    )

    (newest,) = LoginTest.objects.newest([pk])
    assert newest.outcome == "refused"
    assert LoginTest.objects.count() == 4
