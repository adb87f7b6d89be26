"""A save after the cutover of two secrets of one client, of which one can't be written."""

import json
from threading import Thread

import pytest
from django.db import connection, transaction

from credentials.models import Client
from migration.core.aws_writes import start_aws_writes
from migration.core.sentences import FOREIGN_VERSION
from migration.pushes.comparisons import compare
from migration.pushes.pushes import SAVED_IN_PART
from migration.pushes.saves import NOTHING_SAVED, AdminSave, SaveRefusedError
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.migration.moves.clients import NAME, enter_phase


@transaction.atomic
def save_passwords(pk: int) -> None:
    Client.objects.lock_rows(pk)
    saving = AdminSave(pk)
    client = Client.objects.get(pk=pk)
    for row, name in (
        (client.databases.get(), "db_password"),
        (client.emails.get(), "email_password"),
    ):
        setattr(row, name, f"example-new-{name}")
        row.save()
    saving.write_or_push_to_aws(warn=lambda _: None)


def in_another_session(stop) -> None:
    """The save's own transaction is still open."""

    def work() -> None:
        try:
            stop()
        finally:
            connection.close()

    thread = Thread(target=work)
    thread.start()
    thread.join()


@pytest.fixture
def stopped_half_way(idom, settings, stop, monkeypatch):
    settings.NOVA_SECRET_LAYOUT = "service"
    enter_phase(idom, Phase.AWS)
    put_value = SecretsManager.put_value

    def put_and_stop(*arguments, **named):
        written = put_value(*arguments, **named)
        in_another_session(stop)
        return written

    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "put_value", put_and_stop)
        with pytest.raises(SaveRefusedError) as refusal:
            save_passwords(idom)
    return refusal.value.message


def test_it_says_which_part_aws_has_already(stopped_half_way, sm):
    in_aws = json.loads(sm.get_value(f"{NAME}/database").text)

    assert in_aws["database"]["password"] == "example-new-db_password"
    assert stopped_half_way.key == SAVED_IN_PART.key
    assert f"{NAME}/database, and NOVA reads" in str(stopped_half_way)
    assert "example-new" not in str(stopped_half_way)


def test_the_comparison_shows_it_and_the_same_save_again_completes_it(stopped_half_way, idom):
    assert compare(client_ids=[idom])[idom].status == "mismatch"
    start_aws_writes()

    save_passwords(idom)

    assert compare(client_ids=[idom])[idom].status == "match"


def test_nothing_is_written_where_somebody_else_wrote_the_second(idom, settings, sm):
    settings.NOVA_SECRET_LAYOUT = "service"
    enter_phase(idom, Phase.AWS)
    before = sm.get_value(f"{NAME}/database").version_id
    theirs = sm.get_value(f"{NAME}/email").text.replace("app_password", "example_theirs")
    sm.put_value(f"{NAME}/email", theirs)

    with pytest.raises(SaveRefusedError) as refusal:
        save_passwords(idom)

    assert sm.get_value(f"{NAME}/database").version_id == before
    assert refusal.value.message == NOTHING_SAVED(error=FOREIGN_VERSION(name=f"{NAME}/email"))
