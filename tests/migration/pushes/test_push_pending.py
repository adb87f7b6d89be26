"""When a push is pending, tried again, and recorded."""

import threading

import pytest
from django.db import connection
from django.utils import timezone

from credentials.models import ClientRevision, ClientWrite
from migration import tasks
from migration.core import aws_store, leases, snapshots
from migration.core.clients import all_clients
from migration.pushes import pushes
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.aws import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import insert, make_client, make_database, make_full_client, update
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import run_page
from tests.migration.pushes.pushed import push_one, revision

pytestmark = pytest.mark.usefixtures("stores")


def test_one_clients_error_keeps_no_other_from_being_pushed():
    bad, good = make_full_client("b d"), make_full_client("good")

    outcomes = {r.slug: r.outcome for r in push(client_ids=[bad, good])}

    assert outcomes == {"b d": Outcome.FAILED, "good": Outcome.CREATED}


def test_when_aws_is_down_the_item_says_so_and_nothing_counts_as_pushed(settings):
    pk = make_full_client("idom")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    result = push_one(pk)

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "unavailable")
    assert revision(pk)[1] is None


def test_the_rows_of_a_push_are_of_one_moment_with_its_revision(monkeypatch):
    """A write that comes while the push is under way leaves the client pending."""
    pk = make_client("idom")
    row = make_database(pk)
    read = snapshots.read_snapshots

    def write_after_reading(ids):
        rows = read(ids)
        update("client_database_credentials", row, db_port=6000)
        return rows

    monkeypatch.setattr(pushes, "read_snapshots", write_after_reading)
    push_one(pk)

    now, pushed = revision(pk)
    assert now == pushed + 1


def test_a_push_that_the_end_of_a_gap_in_the_counting_began_says_so_on_its_page(operator):
    """Else it is a run of nobody's over every client, which found all unchanged."""
    pk = make_client("idom")
    row = make_database(pk)
    enter_phase(pk, Phase.DUAL_WRITE)

    def write_and_push() -> None:
        update("client_database_credentials", row, db_port=6000)
        push_in_schedule()

    def push_in_schedule() -> None:
        tasks.push_pending()
        Run.objects.update(state=Run.State.FINISHED, finished_at=timezone.now())

    write_and_push()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.client_email_credentials DISABLE TRIGGER USER")
    tasks.keep_counting()
    push_in_schedule()
    write_and_push()

    runs = Run.objects.filter(kind=Run.Kind.PUSH).order_by("pk")
    said = [operator.get(run_page(run)).context["follows_a_gap"] for run in runs]
    assert said == [False, True, False]


def test_two_pushes_of_one_client_never_overlap(monkeypatch):
    pk = make_full_client("idom")
    monkeypatch.setattr(pushes, "LOCK_WAIT_SECONDS", 0.3)
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with leases.hold_client_locks([pk], wait_seconds=1):
            inside.set()
            leave.wait(10)
        connection.close()

    other = threading.Thread(target=hold)
    other.start()
    inside.wait(10)
    try:
        result = push_one(pk)
    finally:
        leave.set()
        other.join()

    assert (result.outcome, result.error_class) == (Outcome.FAILED, "conflict")
    assert result.busy
    assert push_one(pk).outcome == Outcome.CREATED


def test_folding_the_writes_keeps_every_revision():
    pk = make_full_client("idom")
    before = revision(pk)

    ClientRevision.objects.fold_writes()

    assert revision(pk) == before
    assert not ClientWrite.objects.exists()
    insert(
        "client_email_credentials",
        client_id=pk,
        email_user="u",
        email_password_encrypted="p",
        label="x",
    )
    assert revision(pk)[0] == before[0] + 1


def test_a_pushed_revision_never_goes_back():
    pk = make_full_client("idom")
    ClientRevision.objects.record_pushed([(pk, 7)])
    ClientRevision.objects.record_pushed([(pk, 3)])

    assert revision(pk)[1] == 7


def test_statements_per_client_stay_below_one_in_a_batch(django_assert_max_num_queries):
    ids = [make_full_client(f"client-{n:04}") for n in range(60)]

    with django_assert_max_num_queries(30):
        push(client_ids=ids)


def test_clients_that_nobody_migrated_have_no_push_pending():
    make_full_client("idom")

    assert not all_clients().push_due().exists()


def test_a_client_that_cannot_be_pushed_is_left_alone_until_something_changes():
    pk = make_full_client("idom")
    engine.finish_inline(Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients()))
    second = make_database(pk)

    assert push_one(pk).outcome == Outcome.FAILED
    assert not all_clients().push_due().exists()
    assert (all_clients().push_pending().count(), all_clients().push_refused().count()) == (
        1,
        1,
    )

    update("client_database_credentials", second, is_primary=False)
    assert all_clients().push_due().get().pk == pk
    assert push_one(pk).outcome == Outcome.UPDATED
    assert not all_clients().push_pending().exists()


def test_a_push_that_aws_fails_is_tried_again(settings):
    pk = make_full_client("idom")
    engine.finish_inline(Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients()))
    make_database(pk, is_primary=False)
    endpoint, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"
    assert push_one(pk).error_class == "unavailable"

    settings.AWS_ENDPOINT_URL = endpoint
    assert all_clients().push_due().get().pk == pk


def test_what_fails_in_the_reading_is_not_asked_for_one_by_one(settings, monkeypatch):
    asked = []
    pks = [make_full_client(f"c{n}") for n in range(45)]
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    # One attempt is as good as five to see how often it is asked.
    monkeypatch.setattr(aws_store, "secrets_manager", lambda **_: impatient(asked, settings))
    monkeypatch.setattr(pushes, "secrets_manager", aws_store.secrets_manager)

    results = push(client_ids=pks)

    assert {result.error_class for result in results} == {"unavailable"}
    assert len(results) == 45
    assert asked == ["BatchGetSecretValue"] * 3  # at once


def impatient(asked: list[str], settings) -> SecretsManager:
    sm = SecretsManager(endpoint_url=settings.AWS_ENDPOINT_URL, max_attempts=1)
    sm.sm.meta.events.register(
        "before-call.secrets-manager", lambda model, **_: asked.append(model.name)
    )
    return sm
