"""What an import of the legacy table would do with each row, and tables that it can't read."""

import pytest
from django.db import connection

from credentials import legacy
from credentials.legacy import LegacyTableError, read_legacy_table
from credentials.models import DatabaseCredential
from migration.clients.legacy import (
    LegacyRowOutcome,
    import_legacy_clients,
    plan_legacy_import,
)
from migration.clients.offboarding import bring_back_as_inactive, offboard_client
from nova_credentials.phases import Phase
from tests.factories import make_client, make_database, make_email, make_full_client, update
from tests.migration.clients.legacy.rows import LOGIN, add_row
from tests.migration.moves.clients import advance, enter_phase_together


def kinds() -> dict[str, str]:
    return {row.slug: row.kind.value for row in plan_legacy_import().rows}


def message_of(slug: str) -> str:
    return next(str(row.message) for row in plan_legacy_import().rows if row.slug == slug)


def test_without_the_table_there_is_nothing_to_take(db):
    plan = plan_legacy_import()

    assert (plan.table.exists, plan.rows, plan.taken) == (False, (), [])


def test_each_row_is_new_the_same_or_left_alone(nova):
    make_database(make_client("same"))
    make_database(make_client("other"), db_host="elsewhere.example.test")
    update("clients", make_full_client("off"), is_active=False)
    make_email(make_client("mail-only"))
    for slug in ("new", "same", "other", "off", "mail-only"):
        add_row(nova, slug)

    assert kinds() == {
        "new": "new_client",
        "same": "same",
        "other": "other_values",
        "off": "other_values",
        "mail-only": "new_login",
    }
    assert "hold other values: db_host." in message_of("other")
    assert "hold other values: is_active." in message_of("off")


def test_any_other_value_is_named_and_never_shown(nova):
    columns = ("db_host", "db_name", "db_password", "db_port", "db_user")
    for column in columns:
        make_database(make_client(column))
        add_row(nova, column, **{column: 5433 if column == "db_port" else "other-value"})

    plan = plan_legacy_import()

    assert kinds() == dict.fromkeys(columns, "other_values")
    for column in columns:
        assert f"hold other values: {column}." in message_of(column)
    assert "5433" not in repr(plan)
    assert "other-value" not in repr(plan)


def test_any_login_of_the_client_may_be_the_one_that_both_have(nova):
    pk = make_client("idom")
    make_database(pk, db_host="primary.example.test")
    make_database(pk, is_primary=False, label="reports")
    add_row(nova, "idom")

    assert kinds() == {"idom": "same"}


def test_what_only_aws_holds_is_neither_compared_nor_taken(nova, stores):
    purged, cut_over = make_full_client("purged"), make_client("cut-over")
    make_email(cut_over)
    enter_phase_together([purged, cut_over], Phase.AWS)
    advance(purged, Phase.PURGED)
    add_row(nova, "purged"), add_row(nova, "cut-over")

    assert kinds() == {"purged": "aws_alone", "cut-over": "aws_alone"}


def test_slugs_that_people_take_for_one_are_left_alone(nova):
    make_database(make_client("idom"))
    for slug in ("IDOM", " idom", "ｉｄｏｍ"):
        add_row(nova, slug)
    add_row(nova, "acme"), add_row(nova, "Acme")

    assert kinds() == {
        "IDOM": "near_slug",
        " idom": "near_slug",
        "ｉｄｏｍ": "near_slug",
        "acme": "several",
        "Acme": "several",
    }
    assert "only: idom." in message_of("IDOM")
    assert "2 rows have this slug" in message_of("acme")


def test_several_rows_of_one_client_are_left_alone(nova):
    nova.execute(
        "ALTER TABLE public.client_credentials DROP CONSTRAINT client_credentials_client_slug_key"
    )
    make_email(make_client("mail-only"))
    for slug in ("new", "new", "mail-only", "mail-only"):
        add_row(nova, slug)

    assert [row.kind for row in plan_legacy_import().rows] == [LegacyRowOutcome.SEVERAL] * 4


# Columns of a row, and those that the newer tables don't take.
UNFIT = [
    ({"db_host": ""}, "db_host"),
    ({"db_name": None}, "db_name"),
    ({"db_port": None}, "db_port"),
    ({"db_port": 2**40}, "db_port"),
    ({"db_password": "   "}, "db_password"),
    ({"db_password": "aws-secretsmanager:nova/clients/idom"}, "db_password"),
    ({"db_user": "u" * 300}, "db_user"),
    ({"client_name": None}, "name"),
    ({"client_name": "", "db_password": ""}, "name, db_password"),
]


def test_what_the_form_would_not_take_is_not_taken(nova):
    for name in ("db_name", "db_port", "client_name"):
        nova.execute(f"ALTER TABLE public.client_credentials ALTER {name} DROP NOT NULL")
    nova.execute(
        "ALTER TABLE public.client_credentials ALTER db_port TYPE bigint, ALTER db_user TYPE text"
    )
    for number, (columns, _fields) in enumerate(UNFIT):
        add_row(nova, f"idom-{number}", **columns)
    add_row(nova, "sound")

    found = {row.slug: (row.kind.value, str(row.message)) for row in plan_legacy_import().rows}

    assert found.pop("sound")[0] == "new_client"
    said = "The newer tables don't take what it holds: {}. Nothing is taken."
    assert found == {
        f"idom-{number}": ("unfit", said.format(fields))
        for number, (_columns, fields) in enumerate(UNFIT)
    }


def test_a_slug_that_no_secret_can_have_and_a_login_that_no_secret_holds_are_not_taken(nova):
    nova.execute(
        "ALTER TABLE public.client_credentials ALTER db_password TYPE text, ALTER client_slug DROP NOT NULL"
    )
    for slug in ("a b", "a/b", None):
        add_row(nova, slug)
    add_row(nova, "large", db_password="p" * 70_000)

    assert kinds() == {"a b": "unfit", "a/b": "unfit", "": "unfit", "large": "unfit"}
    assert "No secret can be named after the slug" in message_of("a b")
    assert "70" not in message_of("a b")


def test_blanks_around_a_value_are_part_of_it(nova):
    make_database(make_client("idom"))
    add_row(nova, "idom", db_password=f" {LOGIN['db_password']}")

    assert kinds() == {"idom": "other_values"}


def test_a_secret_with_outer_blanks_is_taken_with_a_warning(nova):
    add_row(nova, "idom", db_password=f" {LOGIN['db_password']}")
    add_row(nova, "acme")

    plan = plan_legacy_import()

    warnings = {row.slug: [(w.key, w.values["name"]) for w in row.warnings] for row in plan.taken}
    assert warnings == {"idom": [("secret_has_outer_blanks", "db_password")], "acme": []}


def test_columns_may_be_lacking_or_added(nova):
    nova.execute(
        "ALTER TABLE public.client_credentials DROP COLUMN client_name, DROP COLUMN is_active,"
        ' ADD COLUMN notes text, ADD COLUMN "a%s""b" json'
    )
    nova.execute(
        "INSERT INTO public.client_credentials (client_slug, db_host, db_port, db_name, db_user, db_password)"
        " VALUES ('idom', 'h', 1, 'n', 'u', 'example-password-1')"
    )

    plan = plan_legacy_import()

    assert [(row.slug, row.row.name, row.row.is_active) for row in plan.taken] == [
        ("idom", "idom", True)
    ]
    assert plan.table.other_columns == ("notes", 'a%s"b')


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("DROP COLUMN db_password", legacy.LEGACY_COLUMNS_LACK),
        ("ALTER db_port TYPE text", legacy.LEGACY_COLUMNS_RETYPED),
        ("ALTER db_host TYPE char(20)", legacy.LEGACY_COLUMNS_RETYPED),
        ("RENAME TO client_credentials_old", "gone"),
    ],
)
def test_a_table_of_another_shape_is_not_read(nova, change, sentence):
    nova.execute(f"ALTER TABLE public.client_credentials {change}")

    if sentence == "gone":
        assert not read_legacy_table().exists
        nova.execute("ALTER TABLE public.client_credentials_old RENAME TO client_credentials")
        return
    with pytest.raises(LegacyTableError) as refused:
        read_legacy_table()
    assert refused.value.message.key == sentence.key


@pytest.mark.parametrize("kind", ["VIEW", "MATERIALIZED VIEW"])
def test_a_view_in_its_place_is_not_read(nova, kind):
    nova.execute("ALTER TABLE public.client_credentials RENAME TO client_credentials_old")
    nova.execute(
        f"CREATE {kind} public.client_credentials AS SELECT * FROM public.client_credentials_old"
    )
    try:
        with pytest.raises(LegacyTableError) as refused:
            read_legacy_table()
    finally:
        nova.execute("DROP TABLE public.client_credentials_old CASCADE")

    assert refused.value.message.key == legacy.LEGACY_NO_PLAIN_TABLE.key


def test_a_child_table_s_rows_are_not_taken_for_its_own(nova):
    nova.execute("CREATE TABLE public.more_credentials () INHERITS (public.client_credentials)")

    with pytest.raises(LegacyTableError):
        read_legacy_table()


def test_a_table_that_nova_holds_is_not_waited_for(nova, monkeypatch):
    monkeypatch.setattr("credentials.legacy.LOCK_TIMEOUT", "50ms")
    with nova.transaction():
        nova.execute("LOCK TABLE public.client_credentials IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LegacyTableError) as refused:
            read_legacy_table()

    assert refused.value.message.key == legacy.LEGACY_BUSY.key


@pytest.fixture
def site_role(nova):
    """Has this site connect as a role that owns nothing."""
    nova.execute("CREATE ROLE legacy_site; GRANT USAGE ON SCHEMA public TO legacy_site")
    with connection.cursor() as cursor:
        cursor.execute("SET ROLE legacy_site")
        yield
        cursor.execute("RESET ROLE")
    nova.execute("DROP OWNED BY legacy_site; DROP ROLE legacy_site")


@pytest.mark.usefixtures("site_role")
@pytest.mark.parametrize(
    ("statements", "sentence", "named"),
    [
        ("SELECT", legacy.LEGACY_COLUMNS_SHUT, "client_slug, db_host"),
        (
            "GRANT SELECT (client_slug, db_host, db_port, db_name, db_user) ON client_credentials TO legacy_site",
            legacy.LEGACY_COLUMNS_SHUT,
            ": db_password, client_name, is_active. Run: GRANT SELECT",
        ),
        (
            "ALTER TABLE public.client_credentials ENABLE ROW LEVEL SECURITY",
            legacy.LEGACY_NO_PLAIN_TABLE,
            "row security",
        ),
    ],
)
def test_what_the_site_s_role_may_not_read_is_named(nova, statements, sentence, named):
    nova.execute(statements)

    with pytest.raises(LegacyTableError) as refused:
        read_legacy_table()

    assert refused.value.message.key == sentence.key
    assert named in str(refused.value)


def test_a_client_that_left_is_given_no_login(nova, stores):
    pk = make_client("left", is_active=False)
    add_row(nova, "left")
    offboard_client(client_id=pk, reason="CHG-7")

    (planned,) = plan_legacy_import().rows

    assert (planned.kind, planned.client_id) == (LegacyRowOutcome.OFFBOARDED, pk)
    assert "is offboarded" in str(planned.message)
    import_legacy_clients()
    assert not DatabaseCredential.objects.exists()
    bring_back_as_inactive(client_id=pk, reason="CHG-8")
    assert plan_legacy_import().rows[0].kind == LegacyRowOutcome.NEW_LOGIN
