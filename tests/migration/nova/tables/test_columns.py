"""What NOVA does to its columns is named, with its class and what to do, and stops what can't be trusted."""

import pytest

from credentials.models import Client, ColumnUse
from credentials.nova_columns import ColumnChange, read_nova_columns
from migration.core.clients import all_clients
from migration.core.problems import Look, list_results
from migration.models import Comparison
from migration.nova.tables import map_column
from migration.pushes.comparisons import compare
from migration.pushes.pushable import find_push_problems, select_unpushable
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.models import Run
from nova_credentials.aws.answers import ErrorClass
from nova_credentials.phases import Phase
from tests.factories import make_database, make_full_client, update
from tests.migration.moves.clients import advance, codes, compare_apart
from tests.migration.nova.tables.conftest import LOGINS

CLIENTS = "public.clients"


def changes() -> list[tuple[str, str, str]]:
    found = read_nova_columns().changes
    return [(each.change, each.table, each.column) for each in found]


def test_the_tables_as_novas_scripts_make_them_have_no_change(stores):
    assert changes() == []


RENAME = (
    f"ALTER TABLE {LOGINS} RENAME db_password_encrypted TO db_password",
    f"ALTER TABLE {LOGINS} RENAME db_password TO db_password_encrypted",
)
CHANGES = {
    "added": (
        (f"ALTER TABLE {LOGINS} ADD more text", f"ALTER TABLE {LOGINS} DROP more"),
        (ColumnChange.ADDED, LOGINS, "more"),
    ),
    "renamed": (RENAME, (ColumnChange.RENAMED, LOGINS, "db_password_encrypted")),
    "dropped": (
        (
            f"ALTER TABLE {CLIENTS} DROP description",
            f"ALTER TABLE {CLIENTS} ADD description text",
        ),
        (ColumnChange.MISSING, CLIENTS, "description"),
    ),
    "widened": (
        (
            f"ALTER TABLE {LOGINS} ALTER db_host TYPE text",
            f"ALTER TABLE {LOGINS} ALTER db_host TYPE varchar(255)",
        ),
        (ColumnChange.WIDENED, LOGINS, "db_host"),
    ),
    "widened to bigint": (
        (
            f"ALTER TABLE {LOGINS} ALTER db_port TYPE bigint",
            f"ALTER TABLE {LOGINS} ALTER db_port TYPE integer",
        ),
        (ColumnChange.WIDENED, LOGINS, "db_port"),
    ),
    "narrowed": (
        (
            f"ALTER TABLE {LOGINS} ALTER db_password_encrypted TYPE varchar(99)",
            f"ALTER TABLE {LOGINS} ALTER db_password_encrypted TYPE text",
        ),
        (ColumnChange.NARROWED, LOGINS, "db_password_encrypted"),
    ),
    "re-typed": (
        (
            f"ALTER TABLE {LOGINS} ALTER db_port DROP DEFAULT, ALTER db_port TYPE text",
            (f"ALTER TABLE {LOGINS} ALTER db_port TYPE integer USING db_port::int,"
            " ALTER db_port SET DEFAULT 5432"),
        ),
        (ColumnChange.RETYPED, LOGINS, "db_port"),
    ),
    "nullable": (
        (
            f"ALTER TABLE {LOGINS} ALTER db_user DROP NOT NULL",
            f"ALTER TABLE {LOGINS} ALTER db_user SET NOT NULL",
        ),
        (ColumnChange.NULLABLE, LOGINS, "db_user"),
    ),
    "table gone": (
        (f"ALTER TABLE {LOGINS} RENAME TO gone", f"ALTER TABLE public.gone RENAME TO {LOGINS[7:]}"),
        (ColumnChange.TABLE_MISSING, LOGINS, ""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_each_change_has_its_own_class_and_names_table_and_column(change, what):
    statements, expected = CHANGES[what]

    change(*statements)

    assert changes() == [expected]
    (found,) = read_nova_columns().changes
    assert found.message.key == found.change
    assert f"{found.table}.{found.column}".strip(".") in str(found.message)


def start(kind: Run.Kind) -> list[tuple[str, str, str]]:
    run = Run.start(kind=kind, chosen=all_clients())
    engine.finish_inline(run)
    return [
        (item.outcome, item.error_class, item.message.key if item.message else "")
        for item in run.items.all()
    ]


@pytest.mark.parametrize("kind", [Run.Kind.MIGRATE, Run.Kind.PUSH, Run.Kind.COMPARE])
def test_a_renamed_column_fails_with_the_class_schema_and_says_which(change, idom, kind):
    make_full_client("acme")
    change(*RENAME)

    assert start(kind) == [("failed", ErrorClass.SCHEMA, ColumnChange.RENAMED)] * 2


def test_a_client_is_pushed_again_once_a_column_has_its_name_back(change, idom):
    change(*RENAME)
    start(Run.Kind.MIGRATE)
    change(*reversed(RENAME))

    assert start(Run.Kind.MIGRATE) == [("created", "", "")]
    change(*RENAME)  # what the end of the test undoes


def test_nothing_is_pushed_or_compared_while_a_column_has_another_type(change, idom):
    advance(idom, Phase.DUAL_READ)
    change(*CHANGES["re-typed"][0])

    (pushed,) = push(client_ids=[idom])
    compared = compare(client_ids=[idom])[idom]

    assert (pushed.outcome, pushed.error_class) == ("failed", ErrorClass.SCHEMA)
    assert not pushed.refused, "it would wait for a write to the rows, and none is needed"
    assert (compared.status, compared.error_class) == (
        Comparison.Status.UNCHECKED,
        ErrorClass.SCHEMA,
    )
    assert ColumnChange.RETYPED in codes(idom, Phase.AWS)


def test_a_move_says_which_column_is_gone(change, idom):
    advance(idom, Phase.DUAL_READ)
    change(*RENAME)

    assert codes(idom, Phase.DUAL_WRITE) == [ColumnChange.RENAMED]


def test_of_columns_that_can_not_be_read_no_client_makes_a_secret(change, idom):
    change(*CHANGES["re-typed"][0])

    problem = find_push_problems([idom])[idom]

    assert ColumnChange.RETYPED in problem.codes


def test_a_null_that_a_column_may_now_hold_is_not_pushed(change, idom):
    change(
        f"ALTER TABLE {LOGINS} ALTER db_password_encrypted DROP NOT NULL",
        f"ALTER TABLE {LOGINS} ALTER db_password_encrypted SET NOT NULL",
    )
    other = make_full_client("other")
    row = make_database(idom, label="second", is_primary=False)
    update("client_database_credentials", row, db_password_encrypted=None)

    unpushable = set(select_unpushable().values_list("slug", flat=True))
    outcomes = {result.slug: result.error_class for result in push(client_ids=[idom, other])}

    assert unpushable == {"idom"}
    assert outcomes == {"idom": ErrorClass.DATA, "other": ""}
    update("client_database_credentials", row, db_password_encrypted="example")


def test_an_added_column_shuts_the_gates_until_it_is_mapped(add_column, idom):
    """NOVA's `oauth_refresh_token` was neither mirrored nor mentioned."""
    advance(idom, Phase.DUAL_READ)
    compare_apart(idom, 3)
    column = add_column()

    assert codes(idom, Phase.AWS) == ["columns_unmapped"]
    (found,) = list_results(Look(), only=["columns_unknown"])
    assert [column in str(each.message) for each in found.failed] == [True]

    map_column(name=column, use=ColumnUse.IGNORE)
    advance(idom, Phase.AWS)
    compare_apart(idom, 3)
    add_column(name="second")
    assert codes(idom, Phase.PURGED) == ["columns_unmapped"]


def test_an_added_column_keeps_no_client_from_going_back(add_column, idom):
    advance(idom, Phase.AWS)
    add_column()

    advance(idom, Phase.AWS)
    for phase in (Phase.DUAL_READ, Phase.DUAL_WRITE, Phase.POSTGRES):
        from migration.moves.moves import move

        move(client_id=idom, new=phase)

    assert Client.objects.filter(pk=idom).exists()
