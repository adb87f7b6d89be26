"""A migration under each of AWS's faults: once it is over, and without anyone's help, all is as it should be.

`make study reliability` does the same by real workers, with more clients and with more that can go wrong.
"""

from datetime import timedelta
from functools import partial

import pytest

from migration import tasks
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.pushes import pushes
from migration.runs import engine, items
from migration.runs.models import Run
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule, mixed_rules
from nova_credentials.aws.secrets_manager import SecretsManager
from tests.factories import make_client, make_database, start_run, update

NUMBER = 30
pytestmark = pytest.mark.usefixtures("quickly")


@pytest.fixture
def quickly(stores, monkeypatch):
    """Time alone is made shorter: how long a call may take, and how long a next try waits."""
    monkeypatch.setattr(items, "FIRST_WAIT", timedelta(milliseconds=20))
    monkeypatch.setattr(items, "LONGEST_WAIT", timedelta(milliseconds=200))
    monkeypatch.setattr(engine, "RETRY_POLL_SECONDS", 0.02)
    monkeypatch.setattr(
        "migration.core.aws_store.SecretsManager",
        partial(SecretsManager, read_timeout=0.4, max_attempts=2),
    )
    forget_clients()
    yield
    forget_clients()


def forget_clients() -> None:
    aws_store._make_manager.cache_clear()


def start(number: int = NUMBER) -> Run:
    for n in range(number):
        make_database(make_client(f"client_{n}"))
    return start_run(kind=Run.Kind.MIGRATE, chosen=all_clients())


def assert_all_is_well(run: Run, aws, *, versions: int = NUMBER) -> None:
    aws.conditions.clear()
    run.refresh_from_db()
    counts = run.count_outcomes_and_matches()
    assert run.state == Run.State.FINISHED
    assert run.items.open().count() == 0
    assert counts["created"] + counts["updated"] + counts["unchanged"] == NUMBER
    check = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients())
    engine.finish_inline(check)
    assert check.count_outcomes_and_matches()["matched"] == NUMBER
    assert all_clients().in_phases("dual_write").count() == NUMBER
    pages = aws_store.secrets_manager().sm.get_paginator("list_secrets").paginate()
    secrets = [secret for page in pages for secret in page["SecretList"]]
    assert len(secrets) == NUMBER
    assert sum(len(secret["SecretVersionsToStages"]) for secret in secrets) == versions


@pytest.mark.nightly
@pytest.mark.parametrize("fault", Fault)
def test_a_migration_survives(stores, fault):
    run = start()
    rule = FaultRule(fault=fault, probability=0.4, calls=12, hold_seconds=0.6)
    stores.conditions.set(Conditions(faults=(rule,), seed=3))

    engine.work_on_run(run_id=run.pk)

    assert stores.conditions.report()["injected"][fault] > 0
    assert_all_is_well(run, stores)


def test_a_migration_survives_all_of_them_at_once(stores):
    run = start()
    stores.conditions.set(Conditions(faults=mixed_rules(0.3, hold_seconds=0.6), seed=5))

    engine.work_on_run(run_id=run.pk)

    assert sum(stores.conditions.report()["injected"].values()) > 5
    assert_all_is_well(run, stores)


def test_what_was_saved_meanwhile_is_what_aws_holds_in_the_end(stores, monkeypatch):
    run = start()
    push = pushes.push

    def save_and_push(**how):
        results = push(**how)
        for credential in range(3):
            update("client_database_credentials", credential_ids[credential], db_port=5433)
        return results

    from credentials.models import DatabaseCredential

    credential_ids = list(DatabaseCredential.objects.values_list("pk", flat=True)[:3])
    monkeypatch.setattr(pushes, "push", save_and_push)
    engine.work_on_run(run_id=run.pk)
    monkeypatch.undo()

    tasks.push_pending()
    engine.work_on_run(run_id=Run.objects.get(kind=Run.Kind.PUSH).pk)

    assert_all_is_well(run, stores, versions=NUMBER + 3)
