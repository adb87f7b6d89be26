"""Clients that are known to differ, where somebody else wrote AWS's version: who overwrites it, and what says so."""

import json

import pytest

from credentials.models import Client
from migration import tasks
from migration.core.audit import PUSH_EVENT
from migration.core.clients import all_clients
from migration.core.sentences import CLIENT_LEFT_ALONE, FOREIGN_VERSION, LEFT_TO_AWS
from migration.models import AuditEvent, ClientMigration, Comparison, OpenMismatch
from migration.pushes.comparisons import compare
from migration.pushes.pushes import OVERWROTE, WOULD_OVERWRITE
from migration.pushes.secret_writer import DifferingPolicy
from migration.runs import engine
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client, update
from tests.migration.pushes.pushed import adopt, push_one, revision, stored

pytestmark = pytest.mark.usefixtures("stores")

NAME = "nova/clients/idom"


@pytest.fixture(autouse=True)
def once(monkeypatch):
    """Differences are not looked at a second time."""
    monkeypatch.setattr("migration.pushes.comparisons.RECHECK_AFTER_SECONDS", 0)


@pytest.fixture
def idom():
    """A client that writes both stores, its port 5432 in both."""
    pk = make_client("idom")
    make_database(pk)
    migrate()
    return pk


def migrate(**options) -> Run:
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), **options)
    engine.finish_inline(run)
    return run


def write_elsewhere(sm, pk: int, *, port: int = 6000, name: str = NAME) -> str:
    """Write another port to AWS as somebody else does; return the version."""
    document = Client.objects.get(pk=pk).build_document()
    document["database"]["port"] = port
    return sm.put_value(name, json.dumps(document))


def set_phase(pk: int, phase: Phase) -> None:
    ClientMigration.objects.filter(pk=pk).update(phase=phase)


def test_a_run_leaves_a_client_alone_that_is_known_to_differ(sm, idom):
    version = write_elsewhere(sm, idom)
    for phase, sentence in (
        (Phase.DUAL_WRITE, CLIENT_LEFT_ALONE),
        (Phase.DUAL_READ, CLIENT_LEFT_ALONE),
        (Phase.AWS, LEFT_TO_AWS),
    ):
        set_phase(idom, phase)
        compare(client_ids=[idom])

        run = migrate()

        item = run.items.get()
        assert (item.outcome, item.comparison_status) == (Outcome.SKIPPED, "mismatch")
        assert item.message == sentence(name=NAME, version=version)
        assert sm.get_value(NAME).version_id == version
        assert OpenMismatch.objects.filter(client_id=idom).exists()


def test_a_secret_is_taken_back_from_its_deletion_and_left_as_somebody_else_wrote_it(sm, idom):
    version = write_elsewhere(sm, idom)
    compare(client_ids=[idom])
    sm.sm.delete_secret(SecretId=NAME, RecoveryWindowInDays=7)

    item = migrate().items.get()

    assert item.outcome == Outcome.SKIPPED
    assert item.message == CLIENT_LEFT_ALONE(name=NAME, version=version)
    assert sm.get_value(NAME).version_id == version


def test_a_difference_that_could_not_be_checked_again_is_left_alone(sm, idom):
    version = write_elsewhere(sm, idom)
    compare(client_ids=[idom])
    Comparison.objects.record([Comparison(client_id=idom, slug="idom", status="unchecked")])

    assert migrate().items.get().outcome == Outcome.SKIPPED
    assert sm.get_value(NAME).version_id == version


def test_a_difference_that_this_site_wrote_is_pushed(sm, idom):
    update("client_database_credentials", Client.objects.get().databases.get().pk, db_port=5433)
    compare(client_ids=[idom])

    assert migrate().items.get().outcome == Outcome.UPDATED


def test_what_is_left_of_a_client_in_postgres_is_written(sm, idom):
    version = write_elsewhere(sm, idom)
    set_phase(idom, Phase.POSTGRES)
    compare(client_ids=[idom])

    item = migrate().items.get()

    assert item.outcome == Outcome.UPDATED
    assert item.message == OVERWROTE(name=NAME, version=version)
    assert stored(sm, "idom")["database"]["port"] == 5432


def test_with_overwrite_it_is_written_and_everything_says_what_was_overwritten(sm, idom):
    version = write_elsewhere(sm, idom)
    compare(client_ids=[idom])
    said = OVERWROTE(name=NAME, version=version)

    run = migrate(overwrite=True)

    item = run.items.get()
    assert (item.outcome, item.comparison_status, item.message) == (Outcome.UPDATED, "match", said)
    now, before = Comparison.objects.filter(run=run)  # the newest first
    assert (now.status, before.status, before.message) == ("match", "mismatch", said)
    assert [field.path for field in before.read_mismatches()] == ["database.port"]
    assert not OpenMismatch.objects.exists()
    event = AuditEvent.objects.filter(code=PUSH_EVENT).first()
    assert event.message.codes == ["pushed", "overwrote"]
    kept = sm.get_stage(NAME, "AWSPREVIOUS")
    assert kept.version_id == version


def test_with_overwrite_the_version_that_nova_reads_is_still_left_to_a_user(sm, idom):
    version = write_elsewhere(sm, idom)
    set_phase(idom, Phase.AWS)
    compare(client_ids=[idom])

    item = migrate(overwrite=True).items.get()

    assert (item.outcome, item.message) == (
        Outcome.FAILED,
        FOREIGN_VERSION(name=NAME),
    )
    assert sm.get_value(NAME).version_id == version


def test_adopting_overwrites_what_it_adopts_and_nothing_else(sm, idom):
    other = make_client("other")
    make_database(other)
    sm.sm.create_secret(Name="nova/clients/other", SecretString="somebody else's")
    ClientMigration.objects.create(client_id=other, phase=Phase.DUAL_WRITE)
    write_elsewhere(sm, idom)
    compare(client_ids=[idom, other])

    adopt(other)
    outcomes = dict(migrate().items.values_list("slug", "outcome"))

    assert outcomes == {"idom": Outcome.SKIPPED, "other": Outcome.UPDATED}


def test_what_nobody_has_compared_is_written_and_named(sm, idom):
    version = write_elsewhere(sm, idom)

    item = migrate().items.get()

    assert item.outcome == Outcome.UPDATED
    assert item.message == OVERWROTE(name=NAME, version=version)


def test_a_pending_push_of_the_schedule_goes_on_and_names_what_it_overwrites(sm, idom, monkeypatch):
    version = write_elsewhere(sm, idom)
    compare(client_ids=[idom])
    update("client_database_credentials", Client.objects.get().databases.get().pk, db_port=5433)
    monkeypatch.setattr(tasks, "enqueue", engine.finish_inline)

    tasks.push_pending()

    item = Run.objects.get(kind=Run.Kind.PUSH).items.get()
    assert item.outcome == Outcome.UPDATED
    assert item.message == OVERWROTE(name=NAME, version=version)
    assert stored(sm, "idom")["database"]["port"] == 5433
    assert revision(idom)[0] == revision(idom)[1]


def test_a_push_for_which_no_write_waits_leaves_it_alone(sm, idom):
    write_elsewhere(sm, idom)
    compare(client_ids=[idom])

    assert push_one(idom).outcome == Outcome.SKIPPED
    assert push_one(idom, differing=DifferingPolicy.WRITTEN).outcome == Outcome.UPDATED


def test_a_client_with_a_secret_a_service_is_left_alone_as_a_whole(sm, settings):
    settings.NOVA_SECRET_LAYOUT = Layout.SERVICE
    pk = make_full_client("idom")
    migrate()
    sm.put_value("nova/clients/idom/email", "{}")
    compare(client_ids=[pk])
    row = Client.objects.get(pk=pk).databases.first().pk
    update("client_database_credentials", row, db_port=5433)
    before = sm.get_value("nova/clients/idom/database").version_id

    assert migrate().items.get().outcome == Outcome.SKIPPED
    assert sm.get_value("nova/clients/idom/database").version_id == before


def test_a_rehearsal_says_the_same_and_waits_for_nobody(sm, idom, monkeypatch):
    version = write_elsewhere(sm, idom)
    compare(client_ids=[idom])
    monkeypatch.setattr("migration.pushes.pushes.hold_client_locks", None)

    left = push_one(idom, dry_run=True, differing=DifferingPolicy.LEFT_ALONE)
    written = push_one(idom, dry_run=True, differing=DifferingPolicy.WRITTEN)

    assert left.outcome == Outcome.SKIPPED
    assert (written.outcome, written.message) == (
        Outcome.UPDATED,
        WOULD_OVERWRITE(name=NAME, version=version),
    )
    assert sm.get_value(NAME).version_id == version
