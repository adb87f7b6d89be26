"""Where AWS is unavailable a process may serve what it read last, if PostgreSQL says that nothing changed."""

from types import SimpleNamespace

import pytest
from django.db import connection, transaction

from credentials.models import ClientRevision
from credentials.triggers import ensure_writes_are_counted
from migration.core.snapshots import read_snapshots, reread_locked_snapshot
from migration.models import ClientMigration, ReadCount
from migration.pushes.pushes import push, write_document
from nova_credentials.aws import SecretsManagerError
from nova_credentials.document import DocumentError, Layout
from nova_credentials.phases import Phase
from nova_credentials.reader import routing
from nova_credentials.reader.routing import Reader
from tests.factories import make_full_client, update
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.reader.questions import (
    AWS_ALONE,
    change_in_aws,
    counts,
    execute,
)

PASSWORD = "example-password-1"
# The moment of the first read, on the monotonic clock.
THEN = 1000.0


@pytest.fixture
def pk(request, stores) -> int:
    made = make_full_client("idom")
    bring(made, getattr(request, "param", Phase.AWS))
    return made


@pytest.fixture
def now(monkeypatch) -> list[float]:
    clock = [THEN]
    monkeypatch.setattr(routing, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock


@pytest.fixture
def reader(pk, make_reader, now) -> Reader:
    """One that has read the client a minute ago, and may serve that for two."""
    made = make_reader(cache_seconds=30, stale_seconds=90, timeout=30)
    assert made.get_credential("idom", "database").db_password == PASSWORD
    now[0] += 60
    return made


def fail(reader: Reader, monkeypatch, code: str = "ServiceUnavailable", status: int = 503) -> None:
    error = SecretsManagerError.from_code(
        code, "GetSecretValue", "nova/clients/idom", status=status
    )

    def read_document(*_):
        raise error

    monkeypatch.setattr(reader._aws, "read_document", read_document)


@pytest.mark.parametrize("pk", AWS_ALONE, indirect=True)
def test_the_last_value_is_served_counted_and_told(reader, pk, monkeypatch, caplog):
    fail(reader, monkeypatch)

    for _ in range(2):
        assert reader.get_credential("idom", "database").db_password == PASSWORD
    assert reader.get_primary_credentials("idom")["email"] is not None

    row = ReadCount.objects.get(pk=pk)
    assert (*counts(pk), row.stale_reads) == (4, 0, 0, 3, 3)
    assert row.last_failure_class == "unavailable"
    (warning,) = [r.getMessage() for r in caplog.records if r.name.startswith("nova_credentials")]
    assert warning.startswith("idom is served as AWS held it 60 s ago")


def test_no_longer_than_cache_and_setting_together(reader, now, monkeypatch):
    fail(reader, monkeypatch)
    now[0] = THEN + 119.9
    assert reader.get_credential("idom", "database").db_password == PASSWORD
    now[0] = THEN + 120
    with pytest.raises(SecretsManagerError):
        reader.get_credential("idom", "database")


def test_unless_the_setting_is_set_nothing_is(pk, make_reader, now, monkeypatch):
    reader = make_reader(cache_seconds=30, timeout=30)
    reader.get_credential("idom", "database")
    now[0] += 30
    fail(reader, monkeypatch)
    with pytest.raises(SecretsManagerError):
        reader.get_credential("idom", "database")


def test_never_where_aws_denies_or_has_none(reader, pk, monkeypatch):
    for code, status in (
        ("AccessDeniedException", 400),
        ("ResourceNotFoundException", 400),
        ("InvalidRequestException", 400),
        ("ThrottlingException", 400),
        ("NoCredentialsError", 503),
        ("DecryptionFailure", 400),
    ):
        fail(reader, monkeypatch, code, status)
        with pytest.raises(SecretsManagerError):
            reader.get_credential("idom", "database")
        assert ReadCount.objects.get(pk=pk).stale_reads == 0, code
    # The last value isn't in doubt because of that: it is served at the next outage.
    fail(reader, monkeypatch)
    assert reader.get_credential("idom", "database").db_password == PASSWORD


def test_never_where_the_secret_holds_no_document(reader, monkeypatch):
    def read_document(*_):
        raise DocumentError("nova/clients/idom")

    monkeypatch.setattr(reader._aws, "read_document", read_document)
    with pytest.raises(DocumentError):
        reader.get_credential("idom", "database")


def test_never_to_who_refreshes_nor_to_anybody_after_that(reader, monkeypatch):
    """A login that was refused is read anew: the last value is in doubt from then on."""
    fail(reader, monkeypatch)
    for refresh in (True, False):
        with pytest.raises(SecretsManagerError):
            reader.get_credential("idom", "database", refresh=refresh)


def test_never_for_a_row_that_the_last_value_lacks(reader, monkeypatch):
    fail(reader, monkeypatch)
    with pytest.raises(SecretsManagerError):
        reader.get_credential("idom", "database", "no such label")


CHANGES = {
    "a row is written": lambda pk: update("clients", pk, name="X"),
    "the phase is another": lambda _pk: ClientMigration.objects.update(phase=other_phase()),
    "the layout is another": lambda _pk: ClientMigration.objects.update(layout=Layout.SERVICE),
    "the site wrote in AWS": lambda pk: ClientRevision.objects.count_writes_in_aws([pk]),
    "the writes are folded after one": lambda pk: (
        update("clients", pk, name="X"),
        ClientRevision.objects.fold_writes(),
    ),
}


def other_phase() -> Phase:
    return Phase.AWS if ClientMigration.objects.get().phase == Phase.PURGED else Phase.PURGED


@pytest.mark.parametrize("change", CHANGES)
def test_never_once_something_changed(reader, pk, monkeypatch, change):
    CHANGES[change](pk)
    fail(reader, monkeypatch)
    with pytest.raises(SecretsManagerError):
        reader.get_credential("idom", "database")


def test_folding_writes_changes_nothing(reader, monkeypatch):
    ClientRevision.objects.fold_writes()
    fail(reader, monkeypatch)
    assert reader.get_credential("idom", "database").db_password == PASSWORD


def test_never_for_a_client_that_nova_serves_no_more(reader, monkeypatch):
    execute("UPDATE public.clients SET is_active = false")
    fail(reader, monkeypatch)
    with pytest.raises(ValueError, match="inactive"):
        reader.get_credential("idom", "database")


def test_never_while_postgresql_gives_no_answer(reader, monkeypatch):
    fail(reader, monkeypatch)
    look = reader._look_up
    monkeypatch.setattr(
        reader, "_look_up", lambda slug: routing.replace(look(slug), remembered=True)
    )
    with pytest.raises(SecretsManagerError):
        reader.get_credential("idom", "database")


def test_never_while_writes_may_go_uncounted(reader, monkeypatch):
    fail(reader, monkeypatch)
    execute("ALTER TABLE public.client_email_credentials DISABLE TRIGGER USER")
    try:
        with pytest.raises(SecretsManagerError):
            reader.get_credential("idom", "database")
    finally:
        execute("ALTER TABLE public.client_email_credentials ENABLE TRIGGER USER")
        ensure_writes_are_counted()


def test_never_on_a_site_that_does_not_count_what_it_writes_in_aws(reader, monkeypatch):
    fail(reader, monkeypatch)
    execute("ALTER TABLE nova_admin.migration_readcount RENAME stale_reads TO of_a_later_release")
    try:
        with pytest.raises(SecretsManagerError):
            reader.get_credential("idom", "database")
    finally:
        execute(
            "ALTER TABLE nova_admin.migration_readcount RENAME of_a_later_release TO stale_reads"
        )


def test_never_what_was_read_before_a_push_arrived(make_reader, now, monkeypatch):
    """The push changes AWS and counts no write; nor is it counted where it was killed behind its write to AWS."""
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    reader = make_reader(cache_seconds=30, stale_seconds=90, timeout=30)
    update("clients", pk, name="X")
    reader.get_credential("idom", "database")
    now[0] += 60
    with connection.cursor() as cursor:  # as a killed push and the next, which finds AWS equal
        cursor.execute(
            "UPDATE nova_admin.credentials_clientrevision SET pushed_revision = revision + 100"
        )
    fail(reader, monkeypatch)

    with pytest.raises(SecretsManagerError):
        reader.get_credential("idom", "database")


def find_revisions(pk: int) -> tuple[int, bool]:
    """The number of the client's writes, and whether a push is pending."""
    snapshot = read_snapshots([pk])[pk]
    return snapshot.revision, snapshot.push_pending


@pytest.mark.usefixtures("stores")
def test_the_site_counts_what_it_writes_over_somebody_elses_version(sm):
    """The rows are as they were, so that nothing else tells a reader."""
    pk = make_full_client("idom")
    bring(pk, Phase.AWS)
    change_in_aws(sm, "idom", "database", password="example-b")
    revision, _ = find_revisions(pk)

    (pushed,) = push(client_ids=[pk], overwrite=True)
    assert pushed.outcome == "updated"
    assert find_revisions(pk) == (revision + 1, False)

    push(client_ids=[pk])
    assert find_revisions(pk) == (revision + 1, False)


@pytest.mark.usefixtures("stores")
def test_the_site_counts_what_it_writes_for_a_purged_client(sm):
    pk = make_full_client("idom")
    bring(pk, Phase.PURGED)
    revision, pending = find_revisions(pk)
    document = sm.get_client_credentials("idom")
    document["database"]["password"] = "example-b"

    with transaction.atomic():
        write_document(reread_locked_snapshot(pk), document=document)

    assert pending
    assert find_revisions(pk) == (revision + 1, False)


@pytest.mark.usefixtures("stores")
def test_before_the_cutover_a_push_counts_no_write():
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    update("clients", pk, name="X")
    revision, _ = find_revisions(pk)

    push(client_ids=[pk])

    assert find_revisions(pk) == (revision, False)
