"""A secret column that NOVA renames or drops while a client is purged: its pointers are not forgotten there."""

import pytest

from credentials.models import ColumnUse
from migration.moves.moves import move
from migration.nova.tables import MappingRefused, map_column
from nova_credentials.phases import Phase
from tests.migration.moves.clients import codes, enter_phase, password
from tests.migration.nova.tables.conftest import LOGINS, execute
from tests.migration.nova.tables.test_extras import POINTER, VALUE, read, write

NEW = f"{LOGINS}.new_name"


@pytest.fixture
def purged(add_column, idom) -> str:
    column = add_column()
    map_column(name=column, use=ColumnUse.SECRET)
    write(column, VALUE, idom)
    enter_phase(idom, Phase.PURGED)
    return column


@pytest.fixture
def renamed(purged, change) -> str:
    change(
        f"ALTER TABLE {LOGINS} RENAME refresh_token TO new_name",
        f"ALTER TABLE {LOGINS} DROP COLUMN IF EXISTS new_name",
    )
    return purged


def test_a_restore_waits_for_a_renamed_column(renamed, idom):
    assert codes(idom, Phase.AWS) == ["mapped_column_missing"]
    assert read(NEW, idom) == [POINTER]

    execute(f"ALTER TABLE {LOGINS} RENAME new_name TO refresh_token")
    move(client_id=idom, new=Phase.AWS)

    assert read(renamed, idom) == [VALUE]


def test_the_new_name_can_be_mapped_as_secret_only_while_it_holds_pointers(renamed, idom):
    map_column(name=renamed, use=ColumnUse.IGNORE)

    for use in (ColumnUse.PLAIN, ColumnUse.IGNORE):
        with pytest.raises(MappingRefused) as refusal:
            map_column(name=NEW, use=use)
        assert refusal.value.message.key == "restore_before_mapping"

    map_column(name=NEW, use=ColumnUse.SECRET)
    assert codes(idom, Phase.AWS) == ["no_value_in_aws"]


def test_a_dropped_column_that_is_ignored_keeps_no_client_from_its_restore(purged, idom):
    execute(f"ALTER TABLE {LOGINS} DROP refresh_token")
    assert codes(idom, Phase.AWS) == ["mapped_column_missing"]

    map_column(name=purged, use=ColumnUse.IGNORE)
    move(client_id=idom, new=Phase.AWS)


def test_a_dropped_plain_column_keeps_no_client_from_its_restore(add_column, idom):
    column = add_column()
    map_column(name=column, use=ColumnUse.PLAIN)
    write(column, VALUE, idom)
    enter_phase(idom, Phase.PURGED)
    execute(f"ALTER TABLE {LOGINS} DROP refresh_token")

    move(client_id=idom, new=Phase.AWS)

    assert password(idom) == "example-password-1"
