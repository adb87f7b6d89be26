"""What can't be read is "not looked at", with the reason: never "no copy"."""

import json

import pytest
from django.db import connection
from django.db.models import Q

from migration.models import UnsearchedPlace
from migration.secrets import copies
from migration.secrets.copies import search_copies
from migration.secrets.models import UnsearchedReason
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_full_client, nova_connected
from tests.migration.moves.clients import enter_phase
from tests.migration.secrets.copies.nova_tables import add_execution

PASSWORD = "example-password-1"


@pytest.fixture
def unsearched():
    """What a search for this client did not look at: {place: (reason, detail)}."""

    def unsearched(client_id: int) -> dict[str, tuple[str, str]]:
        search = search_copies(client_ids=[client_id])
        row = search.searched_clients.get()
        of_all_or_this = Q(client_id=None) | Q(client_id=client_id)
        left = UnsearchedPlace.objects.filter(of_all_or_this, search=search)
        places = {p.place: (p.reason, p.detail) for p in left}
        assert len(places) == row.not_looked_at
        return places

    return unsearched


def test_columns_of_other_types_that_could_hold_a_value(nova, unsearched):
    pk = make_full_client("idom")
    nova.execute(
        "CREATE TYPE public.pair AS (a text, b text);"
        "CREATE TABLE public.notes (pickled bytea, page xml, pairs public.pair[], words tsvector, number bigint,"
        " day date, key uuid, span int4range, place inet, flags boolean[], plain text)"
    )
    try:
        assert unsearched(pk) == {
            "public.notes.pickled": ("type", "bytea"),
            "public.notes.page": ("type", "xml"),
            "public.notes.pairs": ("type", "public.pair[]"),
            "public.notes.words": ("type", "tsvector"),
        }
    finally:
        nova.execute("DROP TABLE public.notes; DROP TYPE public.pair")


def test_a_domain_over_text_is_searched(nova, find):
    pk = make_full_client("idom")
    nova.execute("CREATE DOMAIN public.short_text AS varchar(90) CHECK (VALUE <> '')")
    nova.execute("CREATE TABLE public.notes (plain public.short_text, list public.short_text[])")
    nova.execute(
        "INSERT INTO public.notes VALUES (%s, ARRAY[%s]::public.short_text[])", [PASSWORD] * 2
    )
    try:
        assert {place for _, place in find(pk)} == {"public.notes.plain", "public.notes.list"}
    finally:
        nova.execute("DROP TABLE public.notes; DROP DOMAIN public.short_text")


def test_materialized_views_and_large_objects(nova, unsearched):
    pk = make_full_client("idom")
    nova.execute("CREATE MATERIALIZED VIEW public.seen AS SELECT error FROM public.executions")
    number = nova.execute("SELECT lo_create(0)").fetchone()[0]
    try:
        assert unsearched(pk) == {
            "public.seen": ("materialized_view", ""),
            "pg_catalog.pg_largeobject": ("large_objects", ""),
        }
    finally:
        nova.execute("DROP MATERIALIZED VIEW public.seen")
        nova.execute("SELECT lo_unlink(%s)", [number])


def test_a_table_that_stays_locked(nova, unsearched, monkeypatch):
    pk = make_full_client("idom")
    add_execution(nova, json.dumps([PASSWORD]))
    monkeypatch.setattr(copies, "LOCK_TIMEOUT", "50ms")
    with nova_connected() as other:
        other.execute("LOCK TABLE public.executions IN ACCESS EXCLUSIVE MODE")

        assert unsearched(pk) == {"public.executions": ("busy", "")}


def test_a_table_that_is_rebuilt_while_it_is_read(nova, unsearched, monkeypatch):
    """In the snapshot a rebuilt table is empty: the search would otherwise miss every row."""
    pk = make_full_client("idom")
    nova.execute("ALTER TABLE public.executions ALTER result SET STORAGE PLAIN")
    for _ in range(9):
        add_execution(nova, json.dumps([PASSWORD, "x" * 3000]))
    monkeypatch.setattr(copies, "FIRST_PIECE_PAGES", 1)
    plain = copies.TableReader._copy_piece

    def rebuild_after(reader, cursor, first, end):
        plain(reader, cursor, first, end)
        if first == 0 and reader.table.name == "executions":
            cursor.execute("ROLLBACK TO SAVEPOINT piece")
            nova.execute("VACUUM FULL public.executions")

    monkeypatch.setattr(copies.TableReader, "_copy_piece", rebuild_after)

    found = unsearched(pk)

    assert found == {"public.executions": ("changed", "")}


def test_a_view_in_place_of_the_table_is_not_read(nova, unsearched, monkeypatch):
    """Reading it would run the code of its owner with this site's rights."""
    pk = make_full_client("idom")
    add_execution(nova, json.dumps([PASSWORD]))
    plain = copies.TableReader._lock_table

    def replace_before(reader, cursor):
        if reader.table.name == "executions":
            nova.execute(
                "ALTER TABLE public.executions RENAME TO hidden;"
                "CREATE VIEW public.executions AS SELECT 1 / (id - id) AS id, result, error, status FROM public.hidden"
            )
        plain(reader, cursor)

    monkeypatch.setattr(copies.TableReader, "_lock_table", replace_before)
    try:
        assert unsearched(pk) == {"public.executions": ("changed", "")}
    finally:
        nova.execute("DROP VIEW public.executions; ALTER TABLE public.hidden RENAME TO executions")


def test_a_secret_whose_former_versions_aws_refuses_to_give(nova, unsearched, sm, monkeypatch):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    plain = type(sm).get_stage

    def refuse(self, name, stage):
        if stage == "AWSPREVIOUS":
            raise error
        return plain(self, name, stage)

    from nova_credentials.aws.secrets_manager import SecretsManagerError

    error = SecretsManagerError.from_code(
        "AccessDeniedException", "GetSecretValue", "nova/clients/idom"
    )
    monkeypatch.setattr("nova_credentials.aws.secrets_manager.SecretsManager.get_stage", refuse)

    assert unsearched(pk) == {"nova/clients/idom": ("secret_unread", "AccessDeniedException")}


def test_aws_that_is_away(nova, unsearched, settings):
    pk = make_full_client("idom")
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    found = unsearched(pk)

    assert found["nova/clients/idom"][0] == UnsearchedReason.SECRET_UNREAD


def test_what_is_not_known_of_one_client_is_said_of_that_client_alone(nova, sm):
    known, short = make_full_client("known"), make_client("short")
    make_database(short, db_password_encrypted="abcde")

    search = search_copies(client_ids=[known, short])

    assert {row.slug: row.not_looked_at for row in search.searched_clients.all()} == {
        "known": 0,
        "short": 1,
    }
    (left,) = UnsearchedPlace.objects.filter(search=search)
    assert (left.client_id, left.place) == (short, "public.client_database_credentials")
    assert left.reason == "short_value"


def test_a_role_without_rights_and_row_security(nova):
    add_execution(nova, json.dumps([PASSWORD]))
    nova.execute(
        "CREATE ROLE site_without_rights; GRANT site_without_rights TO current_user;"
        "CREATE TABLE public.notes (plain text, number int); ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;"
        "GRANT SELECT ON public.notes, public.code_cache, public.workflows TO site_without_rights;"
        "GRANT SELECT (id, code_executed) ON public.chain_of_work TO site_without_rights;"
        "GRANT USAGE ON SCHEMA nova_admin TO site_without_rights;"
        "GRANT SELECT ON nova_admin.credentials_columnmapping TO site_without_rights"
    )
    from migration.secrets.copies import list_places

    try:
        with connection.cursor() as cursor:
            cursor.execute("SET ROLE site_without_rights")
            places = list_places(cursor)
    finally:
        connection.close()
        nova.execute("DROP OWNED BY site_without_rights; DROP ROLE site_without_rights")

    found = {p.place: p.reason for p in places.unsearched if p.place.startswith("public.")}
    assert found["public.notes"] == UnsearchedReason.ROW_SECURITY
    assert found["public.executions.result"] == UnsearchedReason.NO_RIGHT
    assert found["public.chain_of_work.input_context"] == UnsearchedReason.NO_RIGHT
    assert "public.chain_of_work.code_executed" not in found
    tables = {table.full_name: table.columns for table in places.tables}
    assert tables["public.chain_of_work"] == ("code_executed",)
    assert "public.executions" not in tables
