"""Databases of each release, and of the last build before the squash, become what a new one is.

Those between two releases are refused.
"""

from __future__ import annotations

import re
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from migration.core.releases import known_migrations, list_halves
from tests import nova_database
from tests.checkout import ROOT, manage
from tests.first_release.conftest import migrated_first
from tests.migrated import make_migrated_template, migrate
from tests.migration.core.aws_writes.servers import BIN
from tests.upgrade.databases import KEPT, RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["migrated_first"]

# What `migrate` makes in every database, by names.
ROWS = """
SELECT 'schema migration', app, name, '' FROM nova_admin.django_migrations
UNION ALL SELECT 'type', app_label, model, '' FROM nova_admin.django_content_type
UNION ALL SELECT 'permission', model, codename, name
FROM nova_admin.auth_permission JOIN nova_admin.django_content_type AS kind ON kind.id = content_type_id
UNION ALL SELECT 'role', role.name, codename, ''
FROM nova_admin.migration_rolegrant JOIN nova_admin.auth_group AS role ON role.id = group_id
JOIN nova_admin.auth_permission AS permission ON permission.id = permission_id
UNION ALL SELECT 'schedule', name, func, schedule_type FROM nova_admin.django_q_schedule
"""
# The last of each release that has tables of the app.
ENDS = {
    "credentials": ("0002_written_at", "0005_pushed_at"),
    "migration": ("0006_approvals_and_reveals", "0053_read_outcomes", "0071_alter_plan_class"),
}
FORGET = "DELETE FROM {}.django_migrations WHERE app = 'migration' AND name IN ({})"


def dump(uri: str, *options: str) -> str:
    """Return the dump without what is chance in it."""
    command = [str(BIN / "pg_dump"), "--dbname", uri, "--no-owner", *options]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return re.sub(r"^\\(un)?restrict .*\n", "", text, flags=re.MULTILINE)


def describe_schema(uri: str) -> str:
    """Return the site's tables as statements. A check that was once restored has other brackets, and the same sense."""
    text = dump(uri, "--schema-only", "--schema=nova_admin", "--no-privileges")
    return re.sub(r"[()]", "", text)


def list_rows(uri: str) -> list[tuple[str, ...]]:
    with psycopg.connect(uri) as there:
        return sorted(there.execute(ROWS).fetchall())


@contextmanager
def new_database() -> Iterator[str]:
    with nova_database.database(make_migrated_template()) as uri:
        yield uri


def test_an_upgraded_database_has_the_schema_and_the_rows_of_a_new_one(migrated_first):
    with new_database() as new, nova_database.database() as uri:
        RELEASES["0.2.0"][0](uri)

        migrate(uri)

        for upgraded in (uri, migrated_first.uri):
            assert describe_schema(upgraded) == describe_schema(new)
            assert list_rows(upgraded) == list_rows(new)


def test_the_last_build_before_the_squash_has_nothing_to_run():
    """Its database has recorded what a new one has: the former names, and no file that replaces them."""
    with new_database() as uri:
        recorded = {(app, name) for what, app, name, _ in list_rows(uri) if "migration" in what}
        assert {each for each in recorded if each[0] in ENDS} == known_migrations()
        number = {app: sum(each[0] == app for each in recorded) for app in ENDS}
        assert number == {"credentials": 5, "migration": 67}
        before = describe_schema(uri), list_rows(uri)

        said = migrate(uri)

        assert "No migrations to apply" in said
        assert "Your models" not in said
        assert (describe_schema(uri), list_rows(uri)) == before


@pytest.mark.parametrize("app", ENDS)
def test_of_the_former_schema_migrations_only_those_of_whole_releases_are_no_half(app):
    names = sorted(each for each in known_migrations() if each[0] == app)
    wholes = {names[last][1] for last in range(len(names)) if not list_halves({*names[: last + 1]})}
    # Those of one app alone may have been taken back that far.
    assert wholes == {*ENDS[app]} | ({"0004_mapped_columns"} if app == "credentials" else set())


def load_early_build(uri: str) -> None:
    """0.2.0 in the making; its dump has no row of its schema migrations."""
    made = (ROOT / "tests" / "first_release" / "database.sql").read_text("utf-8")
    applied = re.findall(r"^INSERT INTO public\.django_migrations .*$", made, re.MULTILINE)
    with psycopg.connect(uri, autocommit=True) as there:
        there.execute((KEPT / "site-0.2.0.dev0.sql").read_text("utf-8"))
        for line in applied:
            there.execute(line.replace("public.", "nova_admin.", 1))
        there.execute(
            "INSERT INTO nova_admin.django_migrations (app, name, applied) VALUES"
            " ('credentials', '0003_counting', now()), ('migration', '0007_version_keys', now()),"
            " ('migration', '0008_messages', now())"
        )


def load_part(release: str, *names: str) -> Callable[[str], None]:
    def load(uri: str) -> None:
        load_release, schema = RELEASES[release]
        load_release(uri)
        with psycopg.connect(uri, autocommit=True) as there:
            there.execute(FORGET.format(schema, ", ".join(f"'{name}'" for name in names)))

    return load


def load_later_build(uri: str) -> None:
    names = "'0065_requests', '0066_time_zones', '0071_alter_plan_class'"
    with psycopg.connect(uri, autocommit=True) as there:
        there.execute(FORGET.format("nova_admin", names))


@pytest.mark.parametrize(
    ("load", "lacks"),
    [
        (load_part("first release", ENDS["migration"][0]), "0006_approvals_and_reveals"),
        (load_early_build, "0004_mapped_columns, migration.0010_reader_processes"),
        (load_part("0.2.0", ENDS["migration"][1]), "0053_read_outcomes"),
        (load_later_build, "0065_requests, migration.0066_time_zones"),
    ],
)
def test_one_between_two_releases_is_told_what_to_do_before_anything_is_changed(load, lacks):
    with new_database() if load is load_later_build else nova_database.database() as uri:
        load(uri)
        before = dump(uri)

        done = manage("migrate", "--no-color", DATABASE_URL=uri)

        assert done.returncode == 2
        assert "stands between two releases" in done.stderr
        assert lacks in done.stderr
        assert "of 0.1.0, of 0.2.0" in done.stderr
        assert dump(uri) == before
