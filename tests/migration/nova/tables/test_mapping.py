"""Who maps a column, as what, and what is refused; by a page, by a command, two at once."""

import json
import threading

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from credentials.models import ColumnMapping, ColumnUse
from credentials.nova_columns import ColumnChange, read_nova_columns
from migration.nova import tables
from migration.nova.tables import MappingRefused, map_column
from migration.pushes.rows_from_aws import hold_rows, hold_rows_if_all_free
from nova_credentials.phases import Phase
from tests.factories import make_user
from tests.migration.moves.clients import enter_phase, is_pending
from tests.migration.nova.tables.conftest import LOGINS, execute
from tests.migration.nova.tables.test_extras import write

# 63 bytes, the longest that PostgreSQL keeps, and what a hostile owner may put into a name.
NAMES = [
    "x" * 63,
    'a"b',
    "a'; DROP TABLE public.clients; --",
    "%s",
    "100%",
    "a.b",
    "\u202eterces",
    "\u05d0\u05d1",
    "line\nend",
    "back\\slash",
    "{}",
    "contraseña",
]


def refusal(name: str, use: ColumnUse, **options) -> str:
    with pytest.raises(MappingRefused) as refused:
        map_column(name=name, use=use, **options)
    return refused.value.message.key


def unmapped() -> list[str]:
    return [column.shown_table_and_name for column in read_nova_columns().unmapped]


def test_a_column_of_any_name_is_shown_without_tricks_mapped_written_and_read(add_column, idom):
    quoted = {}
    for name in NAMES:
        raw = add_column(name=name)
        (shown,) = unmapped()
        assert shown.isprintable()
        assert "\u05d0" not in shown
        map_column(name=shown, use=ColumnUse.SECRET)
        quoted[name] = raw.partition(LOGINS + ".")[2].replace('"', '""')
    with connection.cursor() as cursor:
        for column in quoted.values():
            cursor.execute(f"""UPDATE {LOGINS} SET "{column.replace("%", "%%")}" = %s""", ["v"])
    enter_phase(idom, Phase.PURGED)

    with connection.cursor() as cursor:
        for name, column in quoted.items():
            cursor.execute(f'SELECT "{column}" FROM {LOGINS}')
            assert cursor.fetchone()[0].startswith("aws-secretsmanager:"), name
    assert unmapped() == []


def test_no_two_columns_are_shown_alike(add_column):
    add_column(name="a\n")
    add_column(name="a\\n")

    assert len(set(unmapped())) == 2


def test_what_is_no_text_or_postgres_makes_itself_can_be_ignored_only(add_column):
    kinds = ["integer", "jsonb", "text[]", "bytea", "char(9)", "name"]
    kinds += ["text GENERATED ALWAYS AS (db_host) STORED"]
    columns = [add_column(name=f"c{n}", kind=kind) for n, kind in enumerate(kinds)]

    for column in columns:
        for use in (ColumnUse.SECRET, ColumnUse.PLAIN):
            assert refusal(column, use) == "only_text"

    for column in columns:
        map_column(name=column, use=ColumnUse.IGNORE)
    assert unmapped() == []


def test_only_a_column_that_nova_added_is_mapped(stores):
    keys = {
        "public.clients.nothing": "no_such_column",
        "public.clients.slug": "no_such_column",  # NOVA's own, not one that it added
        "nothing.x": "no_such_table",
        "nova_admin.client_aws_credentials.x": "no_such_table",
        "": "no_such_table",
    }
    assert {name: refusal(name, ColumnUse.IGNORE) for name in keys} == keys


def test_an_ignored_column_of_another_type_has_to_be_mapped_anew(add_column, change):
    column = add_column(kind="integer")
    map_column(name=column, use=ColumnUse.IGNORE)

    execute(f"ALTER TABLE {LOGINS} ALTER refresh_token TYPE text")

    assert unmapped() == [column]


def test_a_mapped_column_that_is_gone_stops_every_push_until_it_is_ignored(add_column, idom):
    column = add_column()
    map_column(name=column, use=ColumnUse.SECRET)
    execute(f"ALTER TABLE {LOGINS} DROP refresh_token")
    assert [f.change for f in read_nova_columns().breaking] == [ColumnChange.MAPPED_MISSING]
    assert refusal(column, ColumnUse.PLAIN) == "column_is_gone"

    map_column(name=column, use=ColumnUse.IGNORE)

    assert read_nova_columns().changes == ()
    execute(f"ALTER TABLE {LOGINS} ADD refresh_token text")
    assert unmapped() == [column], "whoever makes it again may mean something else"


def test_a_secret_column_that_holds_pointers_stays_secret(add_column, idom):
    """Otherwise a restore would leave them there."""
    column = add_column()
    map_column(name=column, use=ColumnUse.SECRET)
    write(column, "example", idom)
    enter_phase(idom, Phase.PURGED)

    assert refusal(column, ColumnUse.IGNORE) == "restore_before_mapping"
    assert refusal(column, ColumnUse.PLAIN) == "restore_before_mapping"

    advance_back(idom)
    map_column(name=column, use=ColumnUse.PLAIN)


def advance_back(pk: int) -> None:
    from migration.moves.moves import move

    move(client_id=pk, new=Phase.AWS)


def test_between_secret_and_plain_no_document_changes(add_column, idom):
    column = add_column()
    map_column(name=column, use=ColumnUse.SECRET)
    enter_phase(idom, Phase.DUAL_WRITE)

    mapped = map_column(name=column, use=ColumnUse.PLAIN)

    assert mapped.clients_to_push == 0
    assert not is_pending(idom)


def test_of_two_who_map_the_same_column_the_second_is_told(add_column):
    column = add_column()
    map_column(name=column, use=ColumnUse.PLAIN, seen="")

    assert refusal(column, ColumnUse.IGNORE, seen="") == "mapped_meanwhile"
    assert ColumnMapping.objects.get().use == ColumnUse.PLAIN


def test_a_mapping_waits_for_a_purge_that_is_under_way(idom, add_column, monkeypatch):
    monkeypatch.setattr(tables, "LOCK_TIMEOUT", "SET LOCAL lock_timeout = '100ms'")
    column = add_column()
    for hold in (hold_rows, lambda pk: hold_rows_if_all_free([pk])):
        held, done = threading.Event(), threading.Event()

        def purge(hold=hold, held=held, done=done):
            with hold(idom):
                held.set()
                done.wait(30)
            connection.close()

        thread = threading.Thread(target=purge)
        thread.start()
        held.wait(30)
        try:
            assert refusal(column, ColumnUse.SECRET) == "mappings_busy"
        finally:
            done.set()
            thread.join()

    map_column(name=column, use=ColumnUse.SECRET)


# The command


def test_the_command_maps_and_prints_one_object(add_column, capsys):
    add_column()
    make_user("maria", "credentials.map_column")
    for prefix in ("public.", ""):
        ColumnMapping.objects.all().delete()
        name = f"{prefix}client_database_credentials.refresh_token"

        call_command("nova_tables", "map", name, "secret", "--by", "maria", "--format", "json")

        assert json.loads(capsys.readouterr().out) == {
            "column": f"{LOGINS}.refresh_token",
            "use": "secret",
            "clients_to_push": 0,
            "purged_with_values": 0,
            "purged_clients": [],
        }
        mapping = ColumnMapping.objects.get()
        assert (mapping.use, mapping.username) == (ColumnUse.SECRET, "maria")


def test_the_command_exits_with_2_where_it_is_used_wrongly(stores):
    for arguments in (["secret"], ["other"], [], ["secret", "--by", "nobody"]):
        with pytest.raises(CommandError) as refused:
            call_command("nova_tables", "map", "public.clients.nothing", *arguments)

        assert refused.value.returncode == 2
        assert "\n" not in str(refused.value)


def test_a_command_that_cant_read_a_column_names_it_and_exits_with_1(change, idom):
    change(
        "ALTER TABLE public.clients RENAME slug TO short_name",
        "ALTER TABLE public.clients RENAME short_name TO slug",
    )

    with pytest.raises(CommandError, match=r"public\.clients\.slug") as refused:
        call_command("client_status")

    assert refused.value.returncode == 1
