"""The names in the reader's SQL are those of the site's models, and both mean the same by a pending push."""

import os
import re

import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from credentials.models import CREDENTIAL_MODELS, Client, ClientRevision, ClientWrite
from migration.core.snapshots import read_snapshots
from migration.models import ClientMigration, ReadCount, ReaderProcess
from nova_credentials import tables
from nova_credentials.credential_types import ROW_CLASSES, CredentialType, map_to_json_keys
from nova_credentials.reader import from_postgres, process_notes
from nova_credentials.reader.from_postgres import PostgresReader
from tests.factories import make_client

MODEL_OF = {
    tables.CLIENTS: Client,
    tables.CLIENT_PHASES: ClientMigration,
    tables.CLIENT_REVISIONS: ClientRevision,
    tables.CLIENT_WRITES: ClientWrite,
    tables.READ_COUNTS: ReadCount,
    tables.READER_PROCESSES: ReaderProcess,
    **{tables.CREDENTIALS[t]: model for t, model in CREDENTIAL_MODELS.items()},
}
ALIASES = {
    "c": tables.CLIENTS,
    "m": tables.CLIENT_PHASES,
    "r": tables.CLIENT_REVISIONS,
    "w": tables.CLIENT_WRITES,
}


def columns(model) -> set[str]:
    return {field.column for field in model._meta.concrete_fields}


@pytest.mark.parametrize("table", MODEL_OF)
def test_a_table_is_called_as_its_model_says(table):
    name = MODEL_OF[table]._meta.db_table.replace('"', "")
    assert table == (name if "." in name else f"nova_admin.{name}")


def test_the_columns_of_a_clients_state_are_those_of_the_models():
    named = set(re.findall(r"\b([cmrw])\.(\w+)", from_postgres.STATE))
    assert {alias for alias, _ in named} == ALIASES.keys()
    for alias, column in named:
        assert column in columns(MODEL_OF[ALIASES[alias]])


def test_the_columns_of_a_counted_read_are_those_of_the_model():
    (listed,) = re.findall(r"AS kept\s*\(([^)]*)\)", from_postgres.COUNT)
    named = set(re.split(r"\W+", listed)) | set(re.findall(r"kept\.(\w+)", from_postgres.COUNT))
    assert named <= columns(ReadCount)


def test_the_columns_of_a_note_are_those_of_the_model_each_with_a_default_or_written():
    (listed,) = re.findall(r"AS kept\s*\(([^)]*)\)", process_notes.NOTE)
    named = set(re.split(r"\W+", listed.strip()))
    updated = set(re.findall(r"(\w+) = excluded\.", process_notes.NOTE))
    assert updated < named <= columns(ReaderProcess)
    for field in ReaderProcess._meta.concrete_fields:
        has_default = field.has_db_default() or field.null
        assert has_default or field.column == "key"


@pytest.mark.parametrize("credential_type", CredentialType)
def test_the_columns_of_a_credential_are_those_of_the_model(credential_type):
    model = CREDENTIAL_MODELS[credential_type]
    attributes = map_to_json_keys(ROW_CLASSES[credential_type])
    assert {name: tables.COLUMNS.get(name, name) for name in attributes} == {
        name: model._meta.get_field(name).column for name in attributes
    }


# The revision that was folded, the writes that are not, and what was pushed.
COUNTS = [
    *((None, writes, None) for writes in (0, 2)),
    *((3, writes, pushed) for writes in (0, 1) for pushed in (None, 0, 2, 3, 4, 5)),
    *((0, writes, pushed) for writes in (0, 1) for pushed in (None, 0, 1)),
]


@pytest.mark.usefixtures("stores")
def test_a_push_is_pending_for_the_reader_where_it_is_for_the_site():
    clients = {make_client(f"client-{n}"): counts for n, counts in enumerate(COUNTS)}
    ClientWrite.objects.all().delete()
    for pk, (folded, writes, pushed) in clients.items():
        ClientWrite.objects.bulk_create(ClientWrite(client_id=pk) for _ in range(writes))
        if folded is not None:
            row = {"revision": folded, "pushed_revision": pushed}
            ClientRevision.objects.update_or_create(client_id=pk, defaults=row)
    name = connection.settings_dict["NAME"]
    there = PostgresReader(make_conninfo(os.environ["DATABASE_URL"], dbname=name))

    by_reader = {pk: there.read_client(f"client-{n}").push_pending for n, pk in enumerate(clients)}
    there.close_idle_connections()

    pending = set(Client.objects.filter_push_pending().values_list("pk", flat=True))
    assert by_reader == {pk: pk in pending for pk in clients}
    assert by_reader == {pk: rows.push_pending for pk, rows in read_snapshots(clients).items()}
    assert set(by_reader.values()) == {True, False}
