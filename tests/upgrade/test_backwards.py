"""The way back takes nothing away that clients in AWS need, and a way back to nothing says what stays."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.core.management.base import CommandError

from credentials.models import ColumnMapping
from migration.management.backward_plans import require_nothing_taken
from migration.models import ClientMigration, Offboarding, Rotation
from nova_credentials.phases import Phase
from tests.checkout import manage
from tests.factories import make_client
from tests.migrated import migrated_nova_database

if TYPE_CHECKING:
    from collections.abc import Iterator

APPLIED = "SELECT count(*) FROM nova_admin.django_migrations"
ENTER = """
INSERT INTO nova_admin.migration_clientmigration (client_id, phase)
SELECT id, %s FROM public.clients ORDER BY id LIMIT 1 OFFSET %s
"""
OURS_ON_NOVAS = """
SELECT tgname FROM pg_trigger WHERE tgrelid::regclass::text LIKE 'client%' AND NOT tgisinternal
UNION ALL SELECT proname FROM pg_proc WHERE proname IN ('count_write', 'writes_are_counted')
"""
PUBLIC = """
SELECT relname, relacl::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S')
ORDER BY 1
"""


@pytest.fixture(scope="module")
def purged() -> Iterator[str]:
    with migrated_nova_database() as uri, psycopg.connect(uri, autocommit=True) as there:
        there.execute(ENTER, [Phase.PURGED.value, 0])
        yield uri


@pytest.mark.parametrize(
    "to",
    [("credentials", "zero"), ("migration", "zero"), ("contenttypes", "zero")],
)
def test_no_way_back_loses_a_purged_client(purged, to):
    with psycopg.connect(purged, autocommit=True) as there:
        before = there.execute(APPLIED).fetchone()
        (slug,) = there.execute("SELECT slug FROM public.clients ORDER BY id LIMIT 1").fetchone()

        done = manage("migrate", "--no-color", *to, DATABASE_URL=purged)

        assert done.returncode == 1
        assert f": {slug}. First: move_clients" in done.stderr
        assert there.execute(APPLIED).fetchone() == before


def test_a_way_back_to_nothing_says_what_stays_and_what_removes_it():
    with migrated_nova_database() as uri, psycopg.connect(uri, autocommit=True) as there:
        there.execute(ENTER, [Phase.DUAL_READ.value, 0])
        before = there.execute(PUBLIC).fetchall()

        done = manage("migrate", "--no-color", "credentials", "zero", DATABASE_URL=uri)

        assert done.returncode == 0, done.stderr
        assert there.execute(OURS_ON_NOVAS).fetchall() == []
        statements = re.findall(r"^    (.+;)$", done.stdout, re.MULTILINE)
        assert statements[0] == "DROP SCHEMA nova_admin CASCADE;"
        for statement in statements:
            there.execute(statement)
        assert there.execute("SELECT to_regnamespace('nova_admin')").fetchone() == (None,)
        assert there.execute(PUBLIC).fetchall() == before
        settings = (
            "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase"
        )
        assert there.execute(f"{settings} WHERE datname = current_database()").fetchall() == []


TABLES = ("migration", "0051_second_release_tables")
COLUMNS = ("migration", "0053_evidence_layouts_and_slugs")
LOSSES = [
    (COLUMNS, lambda _: ClientMigration.objects.update(layout="service")),
    (COLUMNS, lambda _: ClientMigration.objects.update(secret_slug="old")),
    (TABLES, lambda pk: Rotation.objects.create(client_id=pk, slug="idom")),
    (
        TABLES,
        lambda pk: Offboarding.objects.create(client_id=pk, slug="idom", former_phase=Phase.AWS),
    ),
    (
        ("credentials", "0004_counting_and_mapping"),
        lambda _: ColumnMapping.objects.create(
            table="public.clients", column="pin", use="secret", column_type="text"
        ),
    ),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("step", "lose"), LOSSES)
def test_what_the_first_release_does_not_know_is_asked_for_before_it_goes(step, lose):
    plan = [(SimpleNamespace(app_label=step[0], name=step[1]), True)]
    pk = make_client("idom")
    ClientMigration.objects.create(client_id=pk, phase=Phase.PURGED)
    require_nothing_taken(plan)

    lose(pk)

    with pytest.raises(CommandError, match="idom"):
        require_nothing_taken(plan)
    ClientMigration.objects.update(phase=Phase.DUAL_READ)
    require_nothing_taken(plan)
