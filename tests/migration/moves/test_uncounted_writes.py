"""Moves while NOVA's writes are not counted lose none of them."""

import json

import pytest
from django.db import connection

from credentials.models import CountingProof, DatabaseCredential
from credentials.triggers import ensure_writes_are_counted, prove_counting
from migration.models import PhaseChange
from migration.moves import moves
from migration.moves.moves import AWS_UNREAD, KEPT_AS_UNCOUNTED, REPLACED_NOT_KEPT, move
from migration.pushes import resolutions, rows_from_aws
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import update
from tests.migration.moves.clients import (
    NAME,
    advance,
    change_in_aws,
    codes,
    enter_phase,
    is_pending,
    password,
    refusal_of,
)

pytestmark = pytest.mark.usefixtures("stores")


def write_uncounted(pk: int, value: str, **columns: object) -> None:
    """As a script of NOVA's that switches triggers off, and on again."""
    row = DatabaseCredential.objects.get(client_id=pk)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE public.client_database_credentials DISABLE TRIGGER USER")
        update("client_database_credentials", row.pk, db_password_encrypted=value, **columns)


def kept_in_aws(sm) -> str:
    kept = sm.sm.get_secret_value(SecretId=NAME, VersionStage=rows_from_aws.REPLACED_STAGE)
    return json.loads(kept["SecretString"])["database"]["password"]


def test_a_rollback_while_writes_are_not_counted_keeps_what_nova_wrote(idom, sm, counting_again):
    enter_phase(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    assert not is_pending(idom)

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert "kept in AWS under the stage NOVA_REPLACED" in str(moved.message)
    assert PhaseChange.objects.first().note == moved.message
    assert kept_in_aws(sm) == "example-unseen"
    assert password(idom) == "example-password-1"


def test_a_rollback_after_a_gap_since_the_cutover_keeps_what_it_replaces(idom, sm, counting_again):
    enter_phase(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    ensure_writes_are_counted()
    change_in_aws(sm, password="example-theirs")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert KEPT_AS_UNCOUNTED.key in moved.message.codes
    assert (kept_in_aws(sm), password(idom)) == ("example-unseen", "example-theirs")


def test_a_rollback_after_a_gap_that_was_pushed_takes_nothing_from_anybody(
    idom, sm, counting_again
):
    enter_phase(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    ensure_writes_are_counted()
    push(client_ids=[idom])

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message is None
    assert password(idom) == json.loads(sm.get_value(NAME).text)["database"]["password"]
    assert password(idom) == "example-unseen"


def test_a_gap_before_the_cutover_is_no_matter_of_a_rollback(idom, sm, counting_again):
    enter_phase(idom, Phase.DUAL_READ)
    write_uncounted(idom, "example-unseen")
    ensure_writes_are_counted()
    push(client_ids=[idom])
    advance(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert KEPT_AS_UNCOUNTED.key not in moved.message.codes
    assert password(idom) == "example-theirs"


def test_a_rollback_whose_rows_cannot_be_kept_is_refused(idom, sm, monkeypatch, counting_again):
    enter_phase(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")

    def denied(*_, **__):
        raise SecretsManagerError.from_code("AccessDeniedException", "PutSecretValue", NAME)

    monkeypatch.setattr(SecretsManager, "put_aside", denied)

    assert codes(idom, Phase.DUAL_READ) == [REPLACED_NOT_KEPT.key]
    assert password(idom) == "example-unseen"


def test_a_rollback_without_aws_keeps_what_nova_wrote_uncounted(idom, settings, counting_again):
    enter_phase(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    assert move(client_id=idom, new=Phase.DUAL_READ).message.codes == [AWS_UNREAD.key]
    assert password(idom) == "example-unseen"


def test_a_write_that_nobody_counts_between_look_and_move_stops_a_rollback(
    idom, sm, monkeypatch, counting_again
):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    find_difference = moves.find_difference

    def meanwhile(*args):
        found = find_difference(*args)
        write_uncounted(idom, "example-unseen")
        return found

    monkeypatch.setattr(moves, "find_difference", meanwhile)

    assert "NOVA has just written this client's rows" in str(refusal_of(idom, Phase.DUAL_READ))
    assert password(idom) == "example-unseen"


def test_a_restore_keeps_a_host_that_nova_wrote_uncounted(idom, counting_again):
    enter_phase(idom, Phase.PURGED)
    row = DatabaseCredential.objects.get(client_id=idom)
    write_uncounted(idom, row.db_password, db_host="new.example.test")

    move(client_id=idom, new=Phase.AWS)

    row.refresh_from_db()
    assert (row.db_host, row.db_password) == ("new.example.test", "example-password-1")
    ensure_writes_are_counted()
    assert is_pending(idom)


def test_aws_is_not_copied_over_what_may_be_newer(idom, counting_again):
    enter_phase(idom, Phase.DUAL_READ)
    write_uncounted(idom, "example-unseen")

    with pytest.raises(resolutions.NotResolved, match="not counted now"):
        resolutions.copy_to_postgres(client_id=idom)
    assert password(idom) == "example-unseen"


def test_copying_aws_to_postgresql_keeps_what_nova_wrote_uncounted(idom, sm, counting_again):
    enter_phase(idom, Phase.AWS)
    write_uncounted(idom, "example-unseen")

    resolutions.copy_to_postgres(client_id=idom)

    assert (kept_in_aws(sm), password(idom)) == ("example-unseen", "example-password-1")


def test_an_update_that_is_not_counted_though_the_triggers_stand_shuts_the_gate(
    idom, counting_again
):
    enter_phase(idom, Phase.DUAL_READ)
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
    ensure_writes_are_counted()
    assert codes(idom, Phase.AWS) == ["push_pending"]
    push(client_ids=[idom])
    move(client_id=idom, new=Phase.AWS)
