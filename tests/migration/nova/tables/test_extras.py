"""A mapped column travels with its client: pushed, compared, purged, restored, rolled back and saved."""

import json

import pytest
from django.db import connection

from credentials.models import ColumnUse, quote_name_for_parametrized_sql
from migration.models import ClientMigration, Comparison
from migration.moves.moves import move
from migration.nova.tables import map_column
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.runs.items import Outcome
from nova_credentials.phases import Phase
from tests.factories import make_database, make_full_client
from tests.migration.moves.clients import (
    NAME,
    codes,
    compare_apart,
    enter_phase,
    is_pending,
    write_password,
)
from tests.migration.nova.tables.conftest import LOGINS

CLIENTS = "public.clients"
POINTER = f"aws-secretsmanager:{NAME}"
VALUE = "example-token-' \" % \\ ñ\n"


def write(column: str, value: str | None, client_id: int) -> None:
    """As NOVA does."""
    table, name = column.rsplit(".", 1)
    key = "id" if table == CLIENTS else "client_id"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {quote_name_for_parametrized_sql(name)} = %s WHERE {key} = %s",
            [value, client_id],
        )


def read(column: str, client_id: int) -> list[str | None]:
    table, name = column.rsplit(".", 1)
    key = "id" if table == CLIENTS else "client_id"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {quote_name_for_parametrized_sql(name)} FROM {table} WHERE {key} = %s ORDER BY id",
            [client_id],
        )
        return [value for (value,) in cursor.fetchall()]


def in_aws(sm, name: str = NAME) -> dict:
    return json.loads(sm.get_value(name).text)


@pytest.fixture
def token(add_column, idom) -> str:
    """A secret column of the database logins, with a value."""
    column = add_column()
    map_column(name=column, use=ColumnUse.SECRET)
    write(column, VALUE, idom)
    return column


@pytest.fixture
def code(add_column, idom) -> str:
    """A secret column of the clients, with a value."""
    column = add_column(CLIENTS, "billing code", "varchar(60)")
    map_column(name=column, use=ColumnUse.SECRET)
    write(column, "example-code", idom)
    return column


def test_it_travels_in_the_login_and_that_of_clients_at_the_top(idom, token, code, sm):
    make_database(idom, label="archive", is_primary=False)

    push(client_ids=[idom])

    document = in_aws(sm)
    assert document["database"]["extra"] == {"refresh_token": VALUE}
    assert document["other_databases"][0]["extra"] == {"refresh_token": None}
    assert document["extra"] == {"billing code": "example-code"}
    assert "extra" not in document["email"]
    assert "extra" not in document["aws"]


def test_only_a_column_that_is_not_ignored_travels(idom, add_column, sm):
    for use in ColumnUse:
        column = add_column(name=use.value)
        map_column(name=column, use=use)
        write(column, VALUE, idom)

    push(client_ids=[idom])

    expected = {use.value: VALUE for use in ColumnUse if use.travels}
    assert in_aws(sm)["database"]["extra"] == expected


def test_each_service_has_that_of_the_client_in_its_own_secret(idom, token, code, sm, settings):
    settings.NOVA_SECRET_LAYOUT = "service"

    push(client_ids=[idom])

    for service in ("database", "email", "aws"):
        assert in_aws(sm, f"{NAME}/{service}")["extra"] == {"billing code": "example-code"}
    assert in_aws(sm, f"{NAME}/database")["database"]["extra"] == {"refresh_token": VALUE}
    assert compare(client_ids=[idom])[idom].status == Comparison.Status.MATCH


def test_a_comparison_names_the_column_that_differs_and_no_value(idom, token, sm):
    enter_phase(idom, Phase.DUAL_WRITE)
    document = in_aws(sm)
    document["database"]["extra"] |= {"refresh_token": "example-other", "example-secret-key": "x"}
    sm.put_value(NAME, json.dumps(document))

    found = compare(client_ids=[idom])[idom]

    unknown, known = sorted(mismatch.path for mismatch in found.read_mismatches())
    assert known == "database.extra.refresh_token"
    assert unknown.startswith("database.extra.?")
    assert "example" not in json.dumps(found.mismatches)


def test_a_write_to_it_leaves_a_push_pending(idom, token):
    enter_phase(idom, Phase.DUAL_WRITE)
    assert not is_pending(idom)

    write(token, "example-newer", idom)

    assert is_pending(idom)


def test_to_map_it_leaves_a_push_pending_for_every_client_in_whichever_phase(add_column, sm):
    clients = {phase: make_full_client(phase.replace("_", "-")) for phase in list(Phase)[1:]}
    for phase, pk in clients.items():
        enter_phase(pk, phase)
    assert not any(map(is_pending, clients.values()))

    mapped = map_column(name=add_column(), use=ColumnUse.PLAIN)

    assert all(map(is_pending, clients.values()))
    assert mapped.clients_to_push == 3
    outcomes = {result.outcome for result in push(client_ids=[*clients.values()])}
    assert outcomes == {Outcome.UPDATED, Outcome.SKIPPED}  # the purged one is skipped
    assert in_aws(sm, "nova/clients/aws")["database"]["extra"] == {"refresh_token": None}


def test_to_ignore_it_again_takes_it_out_of_aws(idom, token, sm):
    enter_phase(idom, Phase.AWS)

    map_column(name=token, use=ColumnUse.IGNORE)
    push(client_ids=[idom])

    assert "extra" not in in_aws(sm)["database"]
    assert read(token, idom) == [VALUE]


def test_a_purge_takes_it_out_of_the_tables_and_a_restore_brings_it_back(idom, token, code, sm):
    make_database(idom, label="archive", is_primary=False)
    enter_phase(idom, Phase.PURGED)

    assert read(token, idom) == [POINTER, None]
    assert read(code, idom) == [POINTER]
    assert in_aws(sm)["database"]["extra"] == {"refresh_token": VALUE}
    assert not is_pending(idom)

    move(client_id=idom, new=Phase.AWS)

    assert read(token, idom) == [VALUE, None]
    assert read(code, idom) == ["example-code"]
    assert not is_pending(idom)
    assert compare(client_ids=[idom])[idom].status == Comparison.Status.MATCH


def test_a_purge_leaves_a_plain_one_where_it_is(idom, add_column):
    column = add_column()
    map_column(name=column, use=ColumnUse.PLAIN)
    write(column, VALUE, idom)

    enter_phase(idom, Phase.PURGED)

    assert read(column, idom) == [VALUE]


def test_a_restore_brings_it_back_also_where_nova_wrote_the_password_since(idom, token):
    """The pointer must never be pushed as if it were the value."""
    enter_phase(idom, Phase.PURGED)
    write_password(idom, "example-newer")

    move(client_id=idom, new=Phase.AWS)

    assert read(token, idom) == [VALUE]


def test_a_restore_keeps_what_nova_wrote_into_it_since(idom, token):
    enter_phase(idom, Phase.PURGED)
    write(token, "example-newer", idom)

    move(client_id=idom, new=Phase.AWS)

    assert read(token, idom) == ["example-newer"]


def test_a_pointer_in_it_is_never_pushed(idom, token, sm):
    enter_phase(idom, Phase.AWS)
    write(token, POINTER, idom)

    (pushed,) = push(client_ids=[idom])

    assert (pushed.outcome, pushed.message.key) == (Outcome.FAILED, "pointer_in_row")


def test_a_column_without_room_for_the_pointer_is_named(idom, add_column):
    column = add_column(kind="varchar(12)")
    map_column(name=column, use=ColumnUse.SECRET)
    write(column, "example", idom)
    enter_phase(idom, Phase.AWS)
    compare_apart(idom, 3)

    assert codes(idom, Phase.PURGED) == ["pointer_too_long"]
    assert read(column, idom) == ["example"]


def test_a_rollback_copies_what_was_changed_in_aws(idom, token, code, sm):
    enter_phase(idom, Phase.AWS)
    document = in_aws(sm)
    document["database"]["extra"]["refresh_token"] = "example-theirs"
    document["extra"]["billing code"] = None
    second = {**document["database"], "label": "new", "is_primary": False}
    document["other_databases"] = [second]
    sm.put_value(NAME, json.dumps(document))

    move(client_id=idom, new=Phase.DUAL_READ)

    assert read(token, idom) == ["example-theirs", "example-theirs"]
    assert read(code, idom) == [None]
    assert compare(client_ids=[idom])[idom].status == Comparison.Status.MATCH


def test_a_rollback_writes_no_column_that_is_not_mapped(idom, token, add_column, sm):
    other = add_column(name="not_mapped")
    map_column(name=other, use=ColumnUse.IGNORE)
    write(other, "example-kept", idom)
    enter_phase(idom, Phase.AWS)
    document = in_aws(sm)
    document["database"]["extra"] |= {"not_mapped": "x", "db_host": "x", "id": "1"}
    sm.put_value(NAME, json.dumps(document))

    move(client_id=idom, new=Phase.DUAL_READ)

    assert read(other, idom) == ["example-kept"]
    assert read(f"{LOGINS}.db_host", idom) == ["db.example.test"]


def test_what_aws_lacks_or_what_is_no_extra_there_is_refused_and_copied_nowhere(idom, token, sm):
    enter_phase(idom, Phase.PURGED)
    document = in_aws(sm)
    for broken in ("x", ["x"], {"refresh_token": 5}, {"refresh_token": "\ud800"}, None):
        document["database"]["extra"] = broken
        if broken is None:
            del document["database"]["extra"]
        sm.put_value(NAME, json.dumps(document))

        why = "no_value_in_aws" if broken is None else "field_is_wrong"
        assert codes(idom, Phase.AWS) == [why], broken
        assert read(token, idom) == [POINTER]
        assert ClientMigration.objects.get(pk=idom).phase == Phase.PURGED


def test_a_document_that_it_makes_too_large_is_not_pushed(idom, token):
    write(token, "x" * 66_000, idom)

    (pushed,) = push(client_ids=[idom])

    assert (pushed.outcome, pushed.message.key) == (Outcome.FAILED, "secret_too_large")


def test_a_restore_copies_a_plain_one_that_was_changed_in_aws_as_it_does_the_host(
    idom, add_column, sm
):
    column = add_column()
    map_column(name=column, use=ColumnUse.PLAIN)
    write(column, "example-old", idom)
    enter_phase(idom, Phase.PURGED)
    document = in_aws(sm)
    document["database"] |= {"host": "new.example.test", "extra": {"refresh_token": VALUE}}
    sm.put_value(NAME, json.dumps(document))

    move(client_id=idom, new=Phase.AWS)

    assert read(f"{LOGINS}.db_host", idom) == ["new.example.test"]
    assert read(column, idom) == [VALUE]
    assert not is_pending(idom)
    assert compare(client_ids=[idom])[idom].status == Comparison.Status.MATCH
