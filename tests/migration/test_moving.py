"""Moves: their gates, what a rollback brings back, purge and restore, two at once."""

import json
import threading

import pytest
from django.db import connection, transaction

from credentials import sentences as rows
from credentials.counting import CountingProof
from credentials.models import Client, DatabaseCredential
from credentials.proof import prove_counting
from credentials.triggers import count_every_write
from migration import sentences
from migration.models import ClientMigration, Comparison, PhaseChange, ReadCount, Run, RunItem
from migration.operations import gates, moves, resolutions, stores
from migration.operations.comparisons import compare
from migration.operations.gates import Condition, ShutGate
from migration.operations.moves import move
from migration.operations.pushes import push
from nova_credentials import sentences as shared
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import IllegalMove, Phase, StalePhase
from tests.factories import (
    add_mail_and_commit,
    make_client,
    make_database,
    make_full_client,
    nova_connected,
    update,
    while_someone_waits_for_rows,
    write_uncommitted,
)

pytestmark = pytest.mark.usefixtures("stores")

NAME = "nova/clients/idom"
LINE = [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ, Phase.AWS, Phase.PURGED]


@pytest.fixture
def sm() -> SecretsManager:
    return stores.secrets_manager()


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")


def advance(pk: int, new: Phase) -> None:
    """Takes a client to the phase, one step at a time, with the comparisons that the gates want."""
    for phase in LINE[LINE.index(phase_of(pk)) + 1 : LINE.index(new) + 1]:
        if phase not in (Phase.POSTGRES, Phase.DUAL_WRITE):
            for _ in range(3):
                compare(client_ids=[pk])
        move(client_id=pk, new=phase)


def phase_of(pk: int) -> Phase:
    found = ClientMigration.objects.filter(pk=pk).first()
    return Phase(found.phase) if found else Phase.POSTGRES


def document(pk: int):
    return Client.objects.get(pk=pk).document()


def change_in_aws(sm: SecretsManager, secret: str = NAME, **changes: object) -> None:
    """As somebody would in the AWS console."""
    stored = json.loads(sm.get_value(secret).text)
    stored["database"] |= changes
    sm.put_value(secret, json.dumps(stored))


def password(pk: int) -> str:
    return DatabaseCredential.objects.get(client_id=pk).db_password


def write_password(pk: int, value: str) -> None:
    """As NOVA's own scripts do."""
    row = DatabaseCredential.objects.get(client_id=pk)
    update("client_database_credentials", row.pk, db_password_encrypted=value)


def is_pending(pk: int) -> bool:
    return stores.read_rows([pk])[pk].push_pending


def refusal_of(pk: int, new: Phase) -> ShutGate:
    """The refusal of a move, which left the client where it was."""
    before = phase_of(pk)
    with pytest.raises(ShutGate) as refusal:
        move(client_id=pk, new=new)
    assert phase_of(pk) == before
    assert refusal.value.codes == [reason.key for reason in refusal.value.reasons]
    return refusal.value


def codes(pk: int, new: Phase) -> list[str]:
    return refusal_of(pk, new).codes


def test_a_client_goes_to_the_end_of_the_line_and_all_the_way_back(idom, sm):
    before = document(idom)

    advance(idom, Phase.PURGED)
    for phase in reversed(LINE[:-1]):
        move(client_id=idom, new=phase, reason="There and back")

    assert document(idom) == before
    assert json.loads(sm.get_value(NAME).text) == before
    walked = list(PhaseChange.objects.order_by("pk").values_list("new", flat=True))
    assert walked == [*LINE[1:], *reversed(LINE[:-1])]
    assert PhaseChange.objects.filter(reason="There and back").count() == 4


def test_an_illegal_move_names_the_phase_and_those_that_are_allowed(idom):
    with pytest.raises(
        IllegalMove, match="idom is in postgres: it can move to dual_write, not to aws"
    ):
        move(client_id=idom, new=Phase.AWS)


def test_the_first_move_pushes_and_is_refused_where_the_push_fails():
    pk = make_full_client("b d")

    refusal = refusal_of(pk, Phase.DUAL_WRITE)
    assert refusal.codes == [shared.CHARACTER_NOT_ALLOWED.key]
    assert "' ' (SPACE)" in str(refusal)


def test_a_shut_gate_names_every_reason(idom, settings, counting_again):
    advance(idom, Phase.DUAL_READ)
    write_password(idom, "example-new")
    ClientMigration.objects.update(clean_streak=1)
    Comparison.objects.update(status=Comparison.Status.MISMATCH)
    RunItem.objects.create(
        run=Run.objects.create(kind=Run.Kind.PUSH), client_id=idom, slug="idom", batch=0
    )
    ReadCount.objects.create(
        client_id=idom, last_mismatch_at=ClientMigration.objects.get().phase_changed_at
    )
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.clients DISABLE TRIGGER nova_admin_count_write")

    refusal = refusal_of(idom, Phase.AWS)

    assert refusal.codes == [
        Condition.PUSH_PENDING,
        Condition.NEWEST_COMPARISON,
        Condition.CLEAN_STREAK,
        Condition.IN_A_RUN,
        Condition.WRITES_NOT_COUNTED,
        Condition.READER_MET_MISMATCH,
        Condition.ACCOUNT_NOT_READY,
    ]
    assert "Newest comparison: Mismatch, 0 minutes ago." in str(refusal)
    assert "1 comparison in a row matched, of 3 wanted." in str(refusal)


def test_the_gate_wants_a_fresh_comparison(idom):
    advance(idom, Phase.DUAL_WRITE)
    newest = Comparison.objects.newest().get()
    newest.compared_at -= gates.FRESH * 2
    newest.save()

    assert codes(idom, Phase.DUAL_READ) == [Condition.COMPARISON_TOO_OLD]


def test_an_account_that_may_not_write_shuts_the_gate_to_aws(idom, sm, monkeypatch):
    advance(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    versions = sm.describe_secret(NAME).versions

    def denied(*_, **__):
        raise SecretsManagerError.from_code("AccessDeniedException", "PutSecretValue", NAME)

    with monkeypatch.context() as patched:
        patched.setattr(SecretsManager, "put_value", denied)
        assert codes(idom, Phase.AWS) == [Condition.ACCOUNT_NOT_READY]
    move(client_id=idom, new=Phase.AWS)
    assert sm.describe_secret(NAME).versions == versions  # trying it made no version


def test_an_open_gate_still_compares_at_the_moment_of_the_move(idom, sm):
    advance(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    change_in_aws(sm, password="example-theirs")

    (reason,) = refusal_of(idom, Phase.AWS).reasons
    assert reason == sentences.COMPARED_JUST_NOW(result=sentences.STATUSES["mismatch"]())


def test_a_read_back_does_not_lengthen_the_streak_and_a_mismatch_ends_it(idom, sm):
    advance(idom, Phase.DUAL_WRITE)
    push(client_ids=[idom])
    assert ClientMigration.objects.get().clean_streak == 0
    compare(client_ids=[idom]), compare(client_ids=[idom])
    assert ClientMigration.objects.get().clean_streak == 2
    change_in_aws(sm, password="example-theirs")
    compare(client_ids=[idom])
    assert ClientMigration.objects.get().clean_streak == 0


def test_who_believes_it_elsewhere_is_told(idom):
    advance(idom, Phase.DUAL_READ)

    with pytest.raises(StalePhase, match="no longer in dual_write"):
        move(client_id=idom, new=Phase.DUAL_READ, seen=Phase.DUAL_WRITE)


def test_of_two_who_move_at_once_one_wins(idom):
    advance(idom, Phase.DUAL_READ)
    results = []
    start = threading.Barrier(2)

    def press():
        start.wait()
        try:
            results.append(move(client_id=idom, new=Phase.DUAL_WRITE, seen=Phase.DUAL_READ))
        except (StalePhase, ShutGate) as refusal:
            results.append(refusal)
        finally:
            connection.close()

    threads = [threading.Thread(target=press) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]

    assert sorted(type(result).__name__ for result in results) == ["Moved", "StalePhase"]
    assert PhaseChange.objects.filter(new=Phase.DUAL_WRITE, old=Phase.DUAL_READ).count() == 1


def test_a_cutover_waits_for_no_writer_of_novas(idom):
    advance(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    written, done = threading.Event(), threading.Event()

    def nova():
        with transaction.atomic():
            write_password(idom, "example-late")
            written.set()
            done.wait(30)
        connection.close()

    thread = threading.Thread(target=nova)
    thread.start()
    written.wait(30)
    try:
        assert codes(idom, Phase.AWS) == [rows.NOVA_IS_WRITING.key]
    finally:
        done.set()
        thread.join()


def test_a_rollback_copies_what_was_changed_in_aws(idom, sm):
    advance(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs", port=6543)

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message == sentences.COPIED_TO_POSTGRES()
    assert document(idom) == json.loads(sm.get_value(NAME).text)
    assert password(idom) == "example-theirs"
    assert not is_pending(idom)
    assert PhaseChange.objects.first().note == moved.message


def test_a_rollback_without_aws_keeps_the_warm_copy_and_says_so(idom, settings):
    advance(idom, Phase.AWS)
    before = document(idom)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message.key == sentences.AWS_UNREAD.key
    assert document(idom) == before


def test_a_rollback_leaves_a_write_that_aws_lacks_and_has_it_pushed(idom, sm):
    advance(idom, Phase.AWS)
    write_password(idom, "example-novas")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message == sentences.NEWER_IN_POSTGRES()
    assert (password(idom), is_pending(idom)) == ("example-novas", True)
    push(client_ids=[idom])
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-novas"


def test_a_rollback_where_both_changed_takes_awss_and_keeps_the_other(idom, sm):
    advance(idom, Phase.AWS)
    write_password(idom, "example-novas")
    change_in_aws(sm, password="example-theirs")

    move(client_id=idom, new=Phase.DUAL_READ)

    assert password(idom) == "example-theirs"
    kept = sm.sm.get_secret_value(SecretId=NAME, VersionStage=moves.REPLACED_STAGE)
    assert json.loads(kept["SecretString"])["database"]["password"] == "example-novas"
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-theirs"


def test_a_rollback_keeps_rows_that_make_no_document_too(idom, sm):
    advance(idom, Phase.AWS)
    write_password(idom, "example-novas")
    make_database(idom, db_password_encrypted="example-second")
    change_in_aws(sm, password="example-theirs")

    move(client_id=idom, new=Phase.DUAL_READ)

    kept = sm.sm.get_secret_value(SecretId=NAME, VersionStage=moves.REPLACED_STAGE)
    document = json.loads(kept["SecretString"])
    assert document["database"]["password"] == "example-novas"
    assert [other["password"] for other in document["other_databases"]] == ["example-second"]


# Where writes were not counted


def write_uncounted(pk: int, value: str, **columns: object) -> None:
    """As a script of NOVA's that switches triggers off, and on again."""
    row = DatabaseCredential.objects.get(client_id=pk)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
        update("client_database_credentials", row.pk, db_password_encrypted=value, **columns)


def kept_in_aws(sm) -> str:
    kept = sm.sm.get_secret_value(SecretId=NAME, VersionStage=moves.REPLACED_STAGE)
    return json.loads(kept["SecretString"])["database"]["password"]


def test_a_rollback_while_writes_are_not_counted_keeps_what_nova_wrote(idom, sm, counting_again):
    advance(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    assert not is_pending(idom)

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert "kept in AWS under NOVA_REPLACED" in str(moved.message)
    assert PhaseChange.objects.first().note == moved.message
    assert kept_in_aws(sm) == "example-unseen"
    assert password(idom) == "example-password-1"


def test_a_rollback_after_a_gap_since_the_cutover_keeps_what_it_replaces(idom, sm, counting_again):
    advance(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    count_every_write()
    change_in_aws(sm, password="example-theirs")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert "not counted" in str(moved.message)
    assert (kept_in_aws(sm), password(idom)) == ("example-unseen", "example-theirs")


def test_a_rollback_after_a_gap_that_was_pushed_takes_nothing_from_anybody(
    idom, sm, counting_again
):
    advance(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    count_every_write()
    push(client_ids=[idom])

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message is None
    assert password(idom) == json.loads(sm.get_value(NAME).text)["database"]["password"]
    assert password(idom) == "example-unseen"


def test_a_gap_before_the_cutover_is_no_matter_of_a_rollback(idom, sm, counting_again):
    advance(idom, Phase.DUAL_READ)
    write_uncounted(idom, "example-unseen")
    count_every_write()
    push(client_ids=[idom])
    advance(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert "not counted" not in str(moved.message)
    assert password(idom) == "example-theirs"


def test_a_rollback_whose_rows_cannot_be_kept_is_refused(idom, sm, monkeypatch, counting_again):
    advance(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")

    def denied(*_, **__):
        raise SecretsManagerError.from_code("AccessDeniedException", "PutSecretValue", NAME)

    monkeypatch.setattr(SecretsManager, "put_aside", denied)

    assert codes(idom, Phase.DUAL_READ) == [sentences.REPLACED_NOT_KEPT.key]
    assert password(idom) == "example-unseen"


def test_a_rollback_without_aws_keeps_what_nova_wrote_uncounted(idom, settings, counting_again):
    advance(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    assert "unchecked" in str(move(client_id=idom, new=Phase.DUAL_READ).message)
    assert password(idom) == "example-unseen"


def test_a_write_that_nobody_counts_between_look_and_move_stops_a_rollback(
    idom, sm, monkeypatch, counting_again
):
    advance(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    read = moves.read_aws

    def meanwhile(*args, **kwargs):
        found = read(*args, **kwargs)
        write_uncounted(idom, "example-unseen")
        return found

    monkeypatch.setattr(moves, "read_aws", meanwhile)

    assert "NOVA wrote its rows just now" in str(refusal_of(idom, Phase.DUAL_READ))
    assert password(idom) == "example-unseen"


def test_a_restore_keeps_a_host_that_nova_wrote_uncounted(idom, counting_again):
    advance(idom, Phase.PURGED)
    row = DatabaseCredential.objects.get(client_id=idom)
    write_uncounted(idom, row.db_password, db_host="new.example.test")

    move(client_id=idom, new=Phase.AWS)

    row.refresh_from_db()
    assert (row.db_host, row.db_password) == ("new.example.test", "example-password-1")
    count_every_write()
    assert is_pending(idom)


def test_aws_is_not_copied_over_what_may_be_newer(idom, counting_again):
    advance(idom, Phase.DUAL_READ)
    write_uncounted(idom, "example-unseen")

    with pytest.raises(resolutions.NotResolved, match="not counted now"):
        resolutions.copy_to_postgres(client_id=idom)
    assert password(idom) == "example-unseen"


def test_copying_aws_to_postgresql_keeps_what_nova_wrote_uncounted(idom, sm, counting_again):
    advance(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")

    resolutions.copy_to_postgres(client_id=idom)

    assert (kept_in_aws(sm), password(idom)) == ("example-unseen", "example-password-1")


def test_an_update_that_is_not_counted_though_the_triggers_stand_shuts_the_gate(
    idom, counting_again
):
    advance(idom, Phase.DUAL_READ)
    for _ in range(3):
        compare(client_ids=[idom])
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE RULE swallow AS ON UPDATE TO public.client_email_credentials DO INSTEAD NOTHING"
        )
        prove_counting()
        cursor.execute("DROP RULE swallow ON public.client_email_credentials")

    assert codes(idom, Phase.AWS) == ["proof_failed"]
    CountingProof.objects.all().delete()
    assert codes(idom, Phase.AWS) == ["were_uncounted"]
    count_every_write()
    assert codes(idom, Phase.AWS) == ["push_pending"]
    push(client_ids=[idom])
    move(client_id=idom, new=Phase.AWS)


def test_a_push_in_aws_overwrites_nothing_that_somebody_else_wrote(idom, sm):
    advance(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    write_password(idom, "example-novas")

    (result,) = push(client_ids=[idom])

    assert (result.outcome, result.error_class) == ("failed", "conflict")
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-theirs"
    assert Comparison.objects.newest().get().status == Comparison.Status.MISMATCH


def test_a_push_in_aws_knows_its_own_version_though_it_never_learnt_of_it(idom, sm, monkeypatch):
    advance(idom, Phase.AWS)
    write_password(idom, "example-first")
    with monkeypatch.context() as patched:
        patched.setattr("migration.operations.pushes._record", lambda *_: 1 / 0)  # it dies there
        with pytest.raises(ZeroDivisionError):
            push(client_ids=[idom])
    write_password(idom, "example-second")

    (result,) = push(client_ids=[idom])

    assert result.outcome == "updated"
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-second"


def test_a_purge_leaves_rows_and_takes_their_secrets(idom, sm):
    before = document(idom)
    advance(idom, Phase.PURGED)

    client = Client.objects.get(pk=idom)
    rows = [row for of_kind in client.rows().values() for row in of_kind]
    secrets = {getattr(row, name) for row in rows for name in row.SECRET_FIELDS}
    assert secrets == {f"aws-secretsmanager:{NAME}"}
    assert client.databases.get().db_host == before["database"]["host"]
    assert json.loads(sm.get_value(NAME).text) == before
    assert not is_pending(idom)


def test_a_purge_trusts_no_stored_comparison(idom, sm):
    advance(idom, Phase.AWS)
    compare(client_ids=[idom])
    change_in_aws(sm, password="example-theirs")

    assert codes(idom, Phase.PURGED) == [sentences.STORES_DIFFER.key]
    assert password(idom) != f"aws-secretsmanager:{NAME}"


def test_a_purge_does_not_take_what_nova_wrote_in_the_meantime(idom, monkeypatch):
    advance(idom, Phase.AWS)
    compare(client_ids=[idom])
    read = moves.read_aws

    def meanwhile(*args, **kwargs):
        found = read(*args, **kwargs)
        write_password(idom, "example-novas")
        return found

    monkeypatch.setattr(moves, "read_aws", meanwhile)

    assert codes(idom, Phase.PURGED) == [sentences.NOVA_WROTE.key]
    assert password(idom) == "example-novas"


def test_a_restore_needs_aws_and_a_value_for_every_row(idom, settings, aws):
    advance(idom, Phase.PURGED)
    make_database(
        idom, label="later", is_primary=False, db_password_encrypted=f"aws-secretsmanager:{NAME}"
    )

    refusal = refusal_of(idom, Phase.AWS)
    assert refusal.codes == [sentences.NO_VALUE_IN_AWS.key]
    assert "AWS holds no value for database login" in str(refusal)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    assert codes(idom, Phase.AWS) == [shared.AWS_FAILED.key]


def test_a_restore_keeps_what_nova_wrote_since_and_has_it_pushed(idom, sm):
    before = document(idom)
    advance(idom, Phase.PURGED)
    write_password(idom, "example-since")

    moved = move(client_id=idom, new=Phase.AWS)

    assert moved.message == sentences.RESTORED_ALL_BUT_NEWER()
    expected = before | {"database": before["database"] | {"password": "example-since"}}
    assert document(idom) == expected
    assert is_pending(idom)
    push(client_ids=[idom])
    assert json.loads(sm.get_value(NAME).text) == expected


def test_a_restore_keeps_a_host_that_nova_wrote_since(idom):
    advance(idom, Phase.PURGED)
    row = DatabaseCredential.objects.get(client_id=idom)
    update("client_database_credentials", row.pk, db_host="new.example.test")
    update("clients", idom, name="New")

    move(client_id=idom, new=Phase.AWS)

    row.refresh_from_db()
    assert (row.db_host, row.db_password) == ("new.example.test", "example-password-1")
    assert document(idom)["client_name"] == "New"
    assert is_pending(idom)


def test_several_rows_with_labels_come_back_each_to_its_own(sm):
    pk = make_client("idom")
    for label in ("b", "a", None, None):
        make_database(
            pk, label=label, is_primary=False, db_password_encrypted=f"example-{label}-{id(label)}"
        )
    make_database(pk, db_password_encrypted="example-primary")
    before = list(
        DatabaseCredential.objects.order_by("pk").values_list("pk", "label", "db_password")
    )

    advance(pk, Phase.PURGED)
    move(client_id=pk, new=Phase.AWS)

    assert (
        list(DatabaseCredential.objects.order_by("pk").values_list("pk", "label", "db_password"))
        == before
    )


def test_with_a_secret_a_service_a_client_goes_there_and_back_too(settings):
    settings.NOVA_SECRET_LAYOUT = "service"
    pk = make_full_client("idom")
    before = document(pk)

    advance(pk, Phase.PURGED)
    email = Client.objects.get(pk=pk).emails.get()
    assert email.email_password == f"aws-secretsmanager:{NAME}/email"
    for phase in reversed(LINE[:-1]):
        move(client_id=pk, new=phase)

    assert document(pk) == before


def test_a_client_that_is_gone_is_told_of():
    with pytest.raises(Client.DoesNotExist):
        move(client_id=999_999, new=Phase.DUAL_WRITE)


NO_DOCUMENT = json.dumps({"client_name": "IDOM", "database": {"host": 5}})


def test_a_rollback_from_a_secret_that_is_no_clients_document_keeps_the_warm_copy(idom, sm):
    advance(idom, Phase.AWS)
    sm.put_value(NAME, NO_DOCUMENT)

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert "unchecked: idom: database.host must be text" in str(moved.message)
    assert (phase_of(idom), password(idom)) == (Phase.DUAL_READ, "example-password-1")
    assert PhaseChange.objects.first().note == moved.message


def test_a_rollback_to_values_that_postgresql_refuses_keeps_its_copy_and_says_so(idom, sm):
    advance(idom, Phase.AWS)
    change_in_aws(sm, host="h" * 256, password="example-theirs")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    refused = rows.REFUSED_BY_DATABASE(code="22001")
    assert moved.message == sentences.NOT_COPIED(error=refused)
    assert (phase_of(idom), password(idom)) == (Phase.DUAL_READ, "example-password-1")


def test_a_restore_from_a_secret_that_is_no_clients_document_is_refused(idom, sm):
    advance(idom, Phase.PURGED)
    sm.put_value(NAME, NO_DOCUMENT)

    assert codes(idom, Phase.AWS) == [shared.FIELD_IS_WRONG.key]


def test_a_restore_brings_back_no_row_that_nova_deleted(idom):
    advance(idom, Phase.PURGED)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.client_email_credentials")

    move(client_id=idom, new=Phase.AWS)

    assert not Client.objects.get(pk=idom).emails.exists()
    assert password(idom) == "example-password-1"
    assert is_pending(idom)


@pytest.mark.parametrize("value", [f"aws-secretsmanager:{NAME}", "aws-secretsmanager:"])
def test_what_a_restore_would_take_for_a_pointer_goes_no_further(idom, sm, value):
    """Else a purge could not be undone; and a copy of a purged row would be pushed as if it held a secret."""
    write_password(idom, value)
    assert codes(idom, Phase.DUAL_WRITE) == [rows.POINTER_IN_ROW.key]
    with pytest.raises(SecretsManagerError, match="ResourceNotFound"):
        sm.get_value(NAME)

    write_password(idom, "example-password-1")
    advance(idom, Phase.AWS)
    write_password(idom, value)
    (pushed,) = push(client_ids=[idom])
    assert pushed.message.key == rows.POINTER_IN_ROW.key
    assert compare(client_ids=[idom])[idom].status == Comparison.Status.UNCHECKED
    assert Condition.PUSH_PENDING in codes(idom, Phase.PURGED)
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-password-1"


def test_a_move_that_waits_for_novas_transaction_holds_none_of_the_rows_it_needs(idom, monkeypatch):
    """With one of them in hand it would be a deadlock, which may end NOVA's transaction."""
    advance(idom, Phase.DUAL_READ)
    compare(client_ids=[idom]), compare(client_ids=[idom])
    with nova_connected() as nova:
        write_uncommitted(nova, idom)
        while_someone_waits_for_rows(monkeypatch, lambda: add_mail_and_commit(nova, idom))

        assert codes(idom, Phase.AWS) == [sentences.NOVA_WROTE.key]

    assert Client.objects.get(pk=idom).emails.count() > 1


def test_whoever_waits_for_a_move_or_a_check_waits_for_no_patient_client_of_aws(
    idom, sm, monkeypatch
):
    asked, manager = [], stores._manager
    monkeypatch.setattr(
        stores,
        "_manager",
        lambda pid, waits, *more: asked.append(waits) or manager(pid, waits, *more),
    )

    for phase in [*LINE[1:], *reversed(LINE[:-1])]:
        for _ in range(3):
            resolutions.check_again(client_id=idom)
        move(client_id=idom, new=phase, schedule_deletion=True)
        if phase == Phase.DUAL_READ:
            resolutions.copy_to_aws(client_id=idom)
            resolutions.copy_to_postgres(client_id=idom)

    assert asked
    assert all(asked)
