"""What a rollback brings back from AWS and what it keeps; pushes after the cutover."""

import json

import pytest

from credentials.refusals import REFUSED_BY_DATABASE
from migration.models import Comparison, PhaseChange, Secret
from migration.moves.moves import (
    AWS_UNREAD,
    COPIED_TO_POSTGRES,
    NEWER_IN_POSTGRES,
    NOT_COPIED,
    ONLY_IN_POSTGRES,
    move,
)
from migration.pushes import rows_from_aws
from migration.pushes.pushes import push
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import make_database
from tests.migration.moves.clients import (
    NAME,
    NO_DOCUMENT,
    change_in_aws,
    document,
    enter_phase,
    is_pending,
    password,
    phase_of,
    write_password,
)
from tests.migration.moves.runs.moved import move_all

pytestmark = pytest.mark.usefixtures("stores")


def test_a_rollback_copies_what_was_changed_in_aws(idom, sm):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs", port=6543)

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message == COPIED_TO_POSTGRES()
    assert document(idom) == json.loads(sm.get_value(NAME).text)
    assert password(idom) == "example-theirs"
    assert not is_pending(idom)
    assert Secret.objects.get(pk=NAME).version_id == sm.get_value(NAME).version_id
    assert PhaseChange.objects.first().note == moved.message


def test_a_rollback_names_the_rows_that_aws_lacks_and_keeps_them(idom, sm):
    enter_phase(idom, Phase.AWS)
    text = json.loads(sm.get_value(NAME).text)
    del text["email"]
    sm.put_value(NAME, json.dumps(text))

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message.codes == [COPIED_TO_POSTGRES.key, ONLY_IN_POSTGRES.key]
    assert document(idom)["email"]


def test_a_rollback_without_aws_keeps_the_warm_copy_and_says_so(idom, settings):
    enter_phase(idom, Phase.AWS)
    before = document(idom)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message.key == AWS_UNREAD.key
    assert document(idom) == before


@pytest.mark.parametrize("in_run", [False, True])
@pytest.mark.parametrize("code", ["AccessDeniedException", "ThrottlingException"])
def test_a_rollback_needs_no_call_for_many_secrets(idom, sm, monkeypatch, code, in_run):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    monkeypatch.setattr(
        SecretsManager,
        "batch_get",
        lambda _self, names: {
            name: SecretsManagerError.from_code(code, "BatchGetSecretValue", name) for name in names
        },
    )

    if in_run:
        move_all(Phase.AWS, Phase.DUAL_READ)
    else:
        move(client_id=idom, new=Phase.DUAL_READ)

    assert (phase_of(idom), password(idom)) == (Phase.DUAL_READ, "example-theirs")


def test_a_rollback_leaves_a_write_that_aws_lacks_and_has_it_pushed(idom, sm):
    enter_phase(idom, Phase.AWS)
    write_password(idom, "example-novas")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert moved.message == NEWER_IN_POSTGRES()
    assert (password(idom), is_pending(idom)) == ("example-novas", True)
    push(client_ids=[idom])
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-novas"


def test_a_rollback_where_both_changed_takes_awss_and_keeps_the_other(idom, sm):
    enter_phase(idom, Phase.AWS)
    write_password(idom, "example-novas")
    change_in_aws(sm, password="example-theirs")

    move(client_id=idom, new=Phase.DUAL_READ)

    assert password(idom) == "example-theirs"
    kept = sm.sm.get_secret_value(SecretId=NAME, VersionStage=rows_from_aws.REPLACED_STAGE)
    assert json.loads(kept["SecretString"])["database"]["password"] == "example-novas"
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-theirs"


def test_a_rollback_keeps_rows_that_make_no_document_too(idom, sm):
    enter_phase(idom, Phase.AWS)
    write_password(idom, "example-novas")
    make_database(idom, db_password_encrypted="example-second")
    change_in_aws(sm, password="example-theirs")

    move(client_id=idom, new=Phase.DUAL_READ)

    kept = sm.sm.get_secret_value(SecretId=NAME, VersionStage=rows_from_aws.REPLACED_STAGE)
    document = json.loads(kept["SecretString"])
    assert document["database"]["password"] == "example-novas"
    assert [other["password"] for other in document["other_databases"]] == ["example-second"]


def test_a_push_in_aws_overwrites_nothing_that_somebody_else_wrote(idom, sm):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")
    write_password(idom, "example-novas")

    (result,) = push(client_ids=[idom])

    assert (result.outcome, result.error_class) == ("failed", "conflict")
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-theirs"
    assert Comparison.objects.newest().get().status == Comparison.Status.MISMATCH


def test_a_push_in_aws_knows_its_own_version_though_it_never_learnt_of_it(idom, sm, monkeypatch):
    enter_phase(idom, Phase.AWS)
    write_password(idom, "example-first")
    with monkeypatch.context() as patched:
        patched.setattr(
            "migration.pushes.pushes._record_results", lambda *_: 1 / 0
        )  # it dies there
        with pytest.raises(ZeroDivisionError):
            push(client_ids=[idom])
    write_password(idom, "example-second")

    (result,) = push(client_ids=[idom])

    assert result.outcome == "updated"
    assert json.loads(sm.get_value(NAME).text)["database"]["password"] == "example-second"


def test_a_rollback_from_a_secret_that_is_no_clients_document_keeps_the_warm_copy(idom, sm):
    enter_phase(idom, Phase.AWS)
    sm.put_value(NAME, NO_DOCUMENT)

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    assert "idom: database.host must be text" in str(moved.message)
    assert (phase_of(idom), password(idom)) == (Phase.DUAL_READ, "example-password-1")
    assert PhaseChange.objects.first().note == moved.message


def test_a_rollback_to_values_that_postgresql_refuses_keeps_its_copy_and_says_so(idom, sm):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, host="h" * 256, password="example-theirs")

    moved = move(client_id=idom, new=Phase.DUAL_READ)

    refused = REFUSED_BY_DATABASE(code="22001")
    assert moved.message == NOT_COPIED(error=refused)
    assert (phase_of(idom), password(idom)) == (Phase.DUAL_READ, "example-password-1")
