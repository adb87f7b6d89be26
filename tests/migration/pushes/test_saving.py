"""A save in the admin, phase by phase: where it goes, and what it says where AWS doesn't take it."""

import json

import pytest
from django.contrib.messages import get_messages

from credentials.models import Client
from migration.core import aws_store, snapshots
from migration.core.leases import LeaseKind
from migration.moves.moves import move
from migration.pushes import saves
from nova_credentials.phases import Phase
from tests.factories import (
    CHANGE,
    VIEW,
    add_mail_and_commit,
    make_database,
    make_full_client,
    make_user,
    nova_connected,
    while_someone_waits_for_rows,
    write_uncommitted,
)
from tests.held_leases import held_elsewhere
from tests.migration.moves.clients import (
    change_in_aws,
    enter_phase,
    is_pending,
    write_password,
)
from tests.page_forms import open_form, send_form

pytestmark = pytest.mark.usefixtures("stores")

NAME = "nova/clients/idom"
POINTER = f"aws-secretsmanager:{NAME}"
ADD = tuple(permission.replace("change", "add") for permission in CHANGE)


@pytest.fixture
def sm():
    return aws_store.secrets_manager()


@pytest.fixture
def idom() -> int:
    return make_full_client("idom")


@pytest.fixture
def save(client):
    """Opens the client's form and sends it back changed; answers with what the page then says."""
    client.force_login(make_user("operator", *VIEW, *CHANGE, *ADD))

    def save(pk: int, *, meanwhile=lambda: None, **changes: str) -> str:
        url = f"/admin/credentials/client/{pk}/change/"
        data = open_form(client, url)
        meanwhile()
        response = send_form(client, url, data | changes)
        assert response.status_code == 302, response.context_data["errors"]
        return " ".join(str(message) for message in get_messages(response.wsgi_request))

    return save


def stored(sm):
    return json.loads(sm.get_value(NAME).text)


def row(pk: int):
    return Client.objects.get(pk=pk).databases.get()


@pytest.mark.parametrize("phase", [Phase.DUAL_WRITE, Phase.DUAL_READ])
def test_a_save_before_the_cutover_is_pushed_in_the_same_request(idom, sm, save, phase):
    enter_phase(idom, phase)

    said = save(
        idom, **{"databases-0-db_password": "example-new", "databases-0-db_host": "new.example"}
    )

    assert "pending" not in said
    assert stored(sm)["database"]["password"] == "example-new"
    assert stored(sm)["database"]["host"] == "new.example"
    assert not is_pending(idom)


def test_a_save_in_postgres_goes_nowhere_else(idom, sm, save):
    save(idom, **{"databases-0-db_password": "example-new"})

    assert row(idom).db_password == "example-new"
    assert sm.batch_get([NAME])[NAME].not_found


def test_without_aws_a_save_before_the_cutover_stands_and_is_pending(idom, settings, save):
    enter_phase(idom, Phase.DUAL_READ)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    said = save(idom, **{"databases-0-db_password": "example-new"})

    assert "Saved; the push to AWS is pending and will be retried" in said
    assert "example-new" not in said
    assert row(idom).db_password == "example-new"
    assert is_pending(idom)


def test_a_save_before_the_cutover_stands_though_its_push_ends_in_an_error(idom, save, monkeypatch):
    enter_phase(idom, Phase.DUAL_WRITE)
    monkeypatch.setattr("migration.pushes.saves.push", lambda **_: 1 / 0)

    save(idom, **{"databases-0-db_password": "example-new"})

    assert row(idom).db_password == "example-new"
    assert is_pending(idom)


def test_a_save_after_the_cutover_is_in_both_stores(idom, sm, save):
    enter_phase(idom, Phase.AWS)

    save(idom, **{"databases-0-db_password": "example-new"})

    assert stored(sm) == Client.objects.get(pk=idom).build_document()
    assert stored(sm)["database"]["password"] == "example-new"
    assert not is_pending(idom)


@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
def test_without_aws_a_save_after_the_cutover_is_saved_nowhere(idom, sm, settings, save, phase):
    enter_phase(idom, phase)
    before, revision = stored(sm), snapshots.read_snapshots([idom])[idom].revision
    endpoint, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"

    said = save(idom, name="Other", **{"databases-0-db_password": "example-new"})

    settings.AWS_ENDPOINT_URL = endpoint
    assert "Nothing was saved" in said
    assert "example-new" not in said
    assert stored(sm) == before
    assert snapshots.read_snapshots([idom])[idom].revision == revision
    assert Client.objects.get(pk=idom).name == "IDOM"


def test_a_save_overwrites_nothing_that_somebody_else_wrote_in_aws(idom, sm, save):
    enter_phase(idom, Phase.AWS)
    change_in_aws(sm, password="example-theirs")

    said = save(idom, **{"databases-0-db_name": "new"})

    assert "Nothing was saved" in said
    assert stored(sm)["database"]["password"] == "example-theirs"
    assert row(idom).db_name == "app"


def test_a_save_takes_along_what_nova_wrote_and_was_not_pushed_yet(idom, sm, save):
    enter_phase(idom, Phase.AWS)
    write_password(idom, "example-novas")

    save(idom, **{"databases-0-db_name": "new"})

    assert stored(sm)["database"]["password"] == "example-novas"
    assert stored(sm)["database"]["name"] == "new"
    assert not is_pending(idom)


def test_a_save_while_the_client_is_pushed_is_refused_and_can_be_made_again(idom, sm, save):
    enter_phase(idom, Phase.AWS)
    with held_elsewhere(LeaseKind.CLIENT, idom):
        assert "under way" in save(idom, **{"databases-0-db_password": "example-new"})
    assert "under way" not in save(idom, **{"databases-0-db_password": "example-new"})
    assert stored(sm)["database"]["password"] == "example-new"


def test_a_save_of_a_purged_client_puts_its_secrets_into_aws_alone_and_no_pointer(idom, sm, save):
    enter_phase(idom, Phase.PURGED)
    before = stored(sm)

    save(idom, description="Other")

    assert stored(sm) == before
    assert POINTER not in json.dumps(before)

    save(
        idom,
        **{"databases-0-db_password": "example-new", "databases-0-db_host": "new.example"},
    )

    assert (row(idom).db_password, row(idom).db_host) == (POINTER, "new.example")
    expected = before["database"] | {"password": "example-new", "host": "new.example"}
    assert stored(sm) == before | {"database": expected}


def test_another_primary_row_of_a_purged_client_keeps_each_secret_with_its_row(idom, sm, save):
    second = make_database(
        idom, label="second", is_primary=False, db_password_encrypted="example-second"
    )
    enter_phase(idom, Phase.PURGED)

    save(idom, **{"databases-0-is_primary": "false", "databases-1-is_primary": "true"})

    assert stored(sm)["database"]["password"] == "example-second"
    assert stored(sm)["other_databases"][0]["password"] == "example-password-1"
    assert Client.objects.get(pk=idom).databases.get(pk=second).db_password == POINTER


def test_a_new_row_of_a_purged_client_has_its_secret_in_aws_alone(idom, sm, save):
    enter_phase(idom, Phase.PURGED)

    save(
        idom,
        **{
            "databases-TOTAL_FORMS": "2",
            "databases-1-label": "second",
            "databases-1-is_primary": "false",
            "databases-1-db_host": "two.example",
            "databases-1-db_port": "5432",
            "databases-1-db_name": "two",
            "databases-1-db_user": "two",
            "databases-1-db_password": "example-second",
        },
    )

    assert [d["password"] for d in stored(sm)["other_databases"]] == ["example-second"]
    assert {row.db_password for row in Client.objects.get(pk=idom).databases.all()} == {POINTER}


def test_a_slug_cannot_be_changed_once_the_secret_has_it_in_its_name(idom, save):
    enter_phase(idom, Phase.DUAL_WRITE)

    save(idom, slug="other")

    assert Client.objects.get(pk=idom).slug == "idom"


def test_a_save_that_waits_for_novas_transaction_holds_none_of_its_rows(idom, client, monkeypatch):
    """With one of them in hand it would be a deadlock, which may end NOVA's transaction."""
    client.force_login(make_user("operator", *VIEW, *CHANGE))
    url = f"/admin/credentials/client/{idom}/change/"
    data = open_form(client, url)
    with nova_connected() as nova:
        write_uncommitted(nova, idom)
        while_someone_waits_for_rows(monkeypatch, lambda: add_mail_and_commit(nova, idom))

        page = client.post(url, data | {"description": "mine"}).content.decode()

    assert "was changed since you opened this page" in page
    assert Client.objects.get(pk=idom).description is None


def test_a_save_does_not_wait_for_ever_for_novas_transaction(idom, client, monkeypatch):
    client.force_login(make_user("operator", *VIEW, *CHANGE))
    monkeypatch.setattr("credentials.models.clients.ROWS_WAIT_SECONDS", 0)
    url = f"/admin/credentials/client/{idom}/change/"
    data = open_form(client, url)
    with nova_connected() as nova:
        write_uncommitted(nova, idom)

        page = client.post(url, data | {"description": "mine"}).content.decode()

    assert "NOVA is writing this client&#x27;s rows. Try again." in page
    assert Client.objects.get(pk=idom).description is None


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.PURGED])
def test_no_secret_is_saved_that_a_restore_would_take_for_a_pointer(idom, client, phase):
    client.force_login(make_user("operator", *VIEW, *CHANGE))
    enter_phase(idom, phase)
    before = row(idom).db_password
    url = f"/admin/credentials/client/{idom}/change/"
    typed = {"databases-0-db_password": "aws-secretsmanager:example-typed"}

    page = client.post(url, open_form(client, url) | typed).content.decode()

    assert "A secret can&#x27;t begin with aws-secretsmanager:" in page
    assert "example-typed" not in page
    assert row(idom).db_password == before


def test_a_save_that_ends_after_a_step_back_to_postgresql_is_pushed_nowhere(
    idom, sm, save, monkeypatch
):
    enter_phase(idom, Phase.DUAL_WRITE)
    before = sm.get_value(NAME)
    push = saves.push

    def stepped_back_first(**options):
        move(client_id=idom, new=Phase.POSTGRES)
        return push(**options)

    monkeypatch.setattr(saves, "push", stepped_back_first)

    assert "pending" not in save(idom, **{"databases-0-db_password": "example-typed"})
    assert row(idom).db_password == "example-typed"
    assert sm.get_value(NAME) == before
