"""Roles: whether a boundary exists between NOVA and the site, who may create, and the rights of NOVA's reader."""

import re
from pathlib import Path

import psycopg
import pytest

from credentials.grants import READER_RIGHTS, GrantedObjectKind, Right
from credentials.nova_objects import ObjectKind, list_foreign_objects
from tests.checkout import ROOT, manage
from tests.migration.doctor.conftest import run_doctor

TABLES = "public.clients, public.client_database_credentials, public.client_email_credentials"


def test_where_nova_and_the_site_share_one_role_it_says_that_no_boundary_exists(migrated):
    found = run_doctor(migrated, "--only", "roles_not_apart", "--role", migrated.site)

    assert found.codes("roles_not_apart") == ["same_role", "roles_are_apart"]
    # First what it means for who looks after clients, then the cause.
    message = found.of("roles_not_apart")[0]["message"]
    assert message.startswith("The site works, and clients can move.")
    assert "NOVA and this site share the database role" in message
    assert "docs/start.md" in found.of("roles_not_apart")[0]["remedy"]


SAME = {
    "same_role": ObjectKind.SHARED_ROLE,
    "nova_is_superuser": ObjectKind.OWNER_IS_SUPERUSER,
    "nova_is_member": ObjectKind.OWNER_IS_MEMBER,
    "site_is_superuser": ObjectKind.SITE_IS_SUPERUSER,
}


def check_agreement(hostile, codes: list[str]) -> None:
    """The list of objects names the roles for which the doctor found no boundary."""
    with psycopg.connect(hostile.of(hostile.site)) as connection:
        connection.execute("SET search_path = nova_admin, pg_temp")
        listed = {each.kind for each in list_foreign_objects(connection.cursor())}
    assert {SAME[code] for code in codes if code in SAME} == listed & set(SAME.values())


BOUNDARIES = {
    "a superuser": ("ALTER ROLE {nova} SUPERUSER", "ALTER ROLE {nova} NOSUPERUSER", "nova_is_superuser"),
    "a member": ("GRANT {site} TO {nova}", "REVOKE {site} FROM {nova}", "nova_is_member"),
    "a member that inherits nothing": (
        "GRANT {site} TO {nova} WITH INHERIT FALSE, SET FALSE, ADMIN TRUE",
        "REVOKE {site} FROM {nova}",
        "nova_is_member",
    ),
    "a reader of everything": (
        "GRANT pg_read_all_data TO {nova}", "REVOKE pg_read_all_data FROM {nova}", "nova_has_powers",
    ),
    "a role that runs programs": (
        "GRANT pg_execute_server_program TO {nova}",
        "REVOKE pg_execute_server_program FROM {nova}",
        "nova_has_powers",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BOUNDARIES)
def test_a_role_of_novas_that_can_do_what_the_site_can_is_told(migrated, check, what):
    grant, revoke, code = BOUNDARIES[what]
    roles = {"nova": migrated.nova, "site": migrated.site}
    migrated.run(grant.format(**roles))
    try:
        found = check("--only", "roles_not_apart", "reader_lacks_rights")
        check_agreement(migrated, [code])
    finally:
        migrated.run(revoke.format(**roles))

    assert found.codes("roles_not_apart") == [code]
    # Rights that come from there can't be taken away table by table, so no REVOKE is printed.
    assert not any("REVOKE" in line for line in found.statements("reader_lacks_rights"))
    if what == "a superuser":
        assert found.codes("reader_lacks_rights") == ["rights_of_everything"]
    assert found.code == 1


def test_a_site_that_is_a_superuser_is_told(migrated, check):
    migrated.run(f"ALTER ROLE {migrated.site} SUPERUSER")
    try:
        found = check("--only", "roles_not_apart")
        check_agreement(migrated, ["site_is_superuser"])
    finally:
        migrated.run(f"ALTER ROLE {migrated.site} NOSUPERUSER")

    assert found.codes("roles_not_apart") == ["site_is_superuser", "roles_are_apart"]


def test_a_schema_in_which_everybody_may_create_is_told_with_what_to_run(migrated, check):
    migrated.run("GRANT CREATE ON SCHEMA public TO PUBLIC")

    found = check("--only", "others_may_create")

    assert "everybody_may_create" in found.codes("others_may_create")
    migrated.run(*found.statements("others_may_create"))
    assert set(check("--only", "others_may_create").states("others_may_create")) == {"ok"}


def test_the_grants_that_are_printed_let_the_reader_read_and_count(migrated, check):
    """`migrate` prints them, for the owner of NOVA's tables."""
    uri = migrated.of(migrated.site)
    done = manage("migrate", "--no-color", DATABASE_URL=uri)
    printed = re.findall(r"^    (GRANT .*;)$", done.stderr, re.MULTILINE)

    found = check("--only", "reader_lacks_rights")

    assert printed == found.statements("reader_lacks_rights") != []
    migrated.run(*printed, role=migrated.site)
    try:
        found = check("--only", "reader_lacks_rights")
        assert found.codes("reader_lacks_rights") == ["rights_are_right"]
        assert "GRANT" not in manage("migrate", "--no-color", DATABASE_URL=uri).stderr
    finally:
        taken = [line.replace("GRANT", "REVOKE").replace(" TO ", " FROM ") for line in printed]
        migrated.run(*taken, role=migrated.site)


def test_the_printed_grants_are_those_that_a_read_needs(migrated):
    role = migrated.reader
    hostile_statements = run_doctor(
        migrated, "--only", "reader_lacks_rights", "--role", role
    ).statements("reader_lacks_rights")
    migrated.run(*hostile_statements)
    try:
        assert reads(migrated, role) == "IDOM"
        # Each of them is needed: without any one, the reader or its counting fails.
        assert run_doctor(migrated, "--only", "reader_lacks_rights", "--role", role).codes(
            "reader_lacks_rights"
        ) == ["rights_are_right"]
    finally:
        migrated.run(f"DROP OWNED BY {role}")


def reads(hostile, role: str) -> str:
    """One read as the role, by the statements of the reader itself."""
    from nova_credentials.reader.from_postgres import ROWS, STATE

    with psycopg.connect(hostile.of(role)) as connection:
        connection.execute("SET LOCAL search_path = pg_catalog, pg_temp")
        pk, _active, name, *_rest = connection.execute(STATE, ["idom"]).fetchone()
        for query in ROWS.values():
            connection.execute(query, [pk])
        connection.execute(
            "INSERT INTO nova_admin.migration_readcount (client_id, reads, matches, mismatches, aws_failures)"
            " VALUES (%s, 0, 0, 0, 0) ON CONFLICT (client_id) DO UPDATE SET reads = excluded.reads",
            [pk],
        )
        connection.rollback()
    return name


def test_a_name_of_a_role_that_needs_quotes_is_quoted(migrated):
    name = f'Nova"; DROP {migrated.token}'
    quoted = '"' + name.replace('"', '""') + '"'
    migrated.run(f"CREATE ROLE {quoted}")
    try:
        statements = run_doctor(
            migrated, "--only", "reader_lacks_rights", "--role", name
        ).statements("reader_lacks_rights")
        assert all(line.endswith(f" TO {quoted};") for line in statements)
        migrated.run(*statements)
        found = run_doctor(migrated, "--only", "reader_lacks_rights", "--role", name)
        assert found.codes("reader_lacks_rights") == ["rights_are_right"]
    finally:
        migrated.run(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


def test_rights_beyond_the_readers_are_told_with_what_takes_them_away(migrated):
    role = migrated.reader
    migrated.run(
        f"GRANT SELECT, UPDATE ON nova_admin.migration_clientmigration TO {role}",
        "GRANT SELECT ON nova_admin.auth_user TO PUBLIC",
    )
    try:
        found = run_doctor(migrated, "--only", "reader_lacks_rights", "--role", role)
        taken = [
            line for line in found.statements("reader_lacks_rights") if line.startswith("REVOKE")
        ]
        assert "rights_too_many" in found.codes("reader_lacks_rights")
        assert any("auth_user" in line for line in taken)
        assert any(
            line.startswith("REVOKE UPDATE ON TABLE nova_admin.migration_cl") for line in taken
        )
        migrated.run(*taken)
        assert "rights_too_many" not in run_doctor(
            migrated, "--only", "reader_lacks_rights", "--role", role
        ).codes("reader_lacks_rights")
    finally:
        migrated.run(f"DROP OWNED BY {role}")


def test_rights_that_the_site_lacks_are_told_with_what_grants_them(hostile):
    hostile.run(
        f"REVOKE SELECT, TRIGGER ON public.clients FROM {hostile.site}",
        f"REVOKE USAGE ON SEQUENCE public.clients_id_seq FROM {hostile.site}",
        role=hostile.nova,
    )

    found = run_doctor(hostile, "--only", "site_lacks_rights")

    assert found.codes("site_lacks_rights") == ["site_lacks_rights"]
    assert found.statements("site_lacks_rights") == [
        f"GRANT SELECT, TRIGGER ON TABLE public.clients TO {hostile.site};",
        f"GRANT USAGE ON SEQUENCE public.clients_id_seq TO {hostile.site};",
    ]
    hostile.run(*found.statements("site_lacks_rights"), role=hostile.nova)
    assert run_doctor(hostile, "--only", "site_lacks_rights").states("site_lacks_rights") == ["ok"]


def test_where_the_tables_are_the_sites_own_it_asks_for_novas_role(hostile):
    hostile.run(*(f"ALTER TABLE {table} OWNER TO {hostile.site}" for table in TABLES.split(", ")))

    found = run_doctor(hostile, "--only", "reader_lacks_rights", "roles_not_apart")

    assert "same_role" in found.codes("roles_not_apart")
    check_agreement(hostile, ["same_role"])
    assert found.codes("reader_lacks_rights") == ["no_other_role"]
    assert found.states("reader_lacks_rights") == ["not_looked_at"]


def test_a_table_that_nova_may_lack_is_granted_on_where_it_is_there(migrated):
    listed = run_doctor(
        migrated, "--only", "reader_lacks_rights", "--role", migrated.reader
    ).statements("reader_lacks_rights")
    assert "public.client_database_schemas" in listed[0]

    migrated.run("ALTER TABLE public.client_database_schemas RENAME TO kept")
    try:
        found = run_doctor(migrated, "--only", "reader_lacks_rights", "--role", migrated.reader)
    finally:
        migrated.run("ALTER TABLE public.kept RENAME TO client_database_schemas")

    assert found.states("reader_lacks_rights") == ["failed"]
    assert "client_database_schemas" not in found.statements("reader_lacks_rights")[0]


def test_before_migrate_there_is_nothing_to_grant_on(hostile):
    found = run_doctor(hostile, "--only", "reader_lacks_rights")

    assert "nothing_to_grant_on" in found.codes("reader_lacks_rights")
    assert "not_looked_at" in found.states("reader_lacks_rights")


def test_the_documentation_lists_the_same_rights():
    text = Path(ROOT, "docs", "nova.md").read_text()
    listed = set()
    for privileges, objects in re.findall(r"GRANT ([A-Z, ]+) ON (.+) TO nova;", text):
        kind, _, names = objects.partition(" ")
        if kind not in ("SCHEMA", "FUNCTION"):
            kind, names = "TABLE", objects
        for name in names.split(", "):
            listed |= {
                Right(each, GrantedObjectKind(kind), name) for each in privileges.split(", ")
            }

    # Everybody has the one, unless somebody took it away, and the other is told in a sentence.
    usage = Right("USAGE", GrantedObjectKind.SCHEMA, "public")
    schemas = Right("SELECT", GrantedObjectKind.TABLE, "public.client_database_schemas")
    assert listed == set(READER_RIGHTS) - {usage, schemas}
