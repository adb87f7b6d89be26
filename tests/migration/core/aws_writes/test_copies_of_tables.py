"""A copy without the site's notes takes itself for the one database: what production wrote stays all the same."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from nova_credentials.aws.secrets_manager import SecretsManager
from tests import nova_database
from tests.checkout import manage
from tests.migrated import migrated_database
from tests.migration.core.aws_writes.calls import count_writes
from tests.migration.core.aws_writes.servers import BIN, dump_and_restore
from tests.migration.core.aws_writes.sites import WRITE, Site

NAME = "nova/clients/idom"
THEIRS, OF_COPY = "example-password-1", "example-of-the-copy"
ACTS = [
    ("migrate_clients", "--all", "--inline"),
    ("move_clients", "dual_write", "idom"),
    ("change_layout", "service", "idom", "--inline"),
    ("apply_secret_settings", "idom", "--inline"),
]


@pytest.fixture
def production(aws):
    with migrated_database() as uri:
        site = Site(uri, aws)
        site.idom = site.add_client("idom")
        assert site.migrate_all().returncode == 0
        yield site


def restore_novas_tables_alone(source: str, target: str) -> None:
    dump = [str(BIN / "pg_dump"), "--format=custom", "-N", "nova_admin", "-d", source]
    held = subprocess.run(dump, check=True, capture_output=True).stdout
    # It goes on over what it can't make: triggers of functions that are not there.
    restore = [str(BIN / "pg_restore"), "-d", target]
    subprocess.run(restore, input=held, check=False, capture_output=True)


def restore_all_and_drop_the_schema(source: str, target: str) -> None:
    dump_and_restore(source, target)
    with psycopg.connect(target, autocommit=True) as connection:
        connection.execute("DROP SCHEMA nova_admin CASCADE")


def restore_all_and_migrate_backwards(source: str, target: str) -> None:
    dump_and_restore(source, target)
    assert manage("migrate", "credentials", "zero", DATABASE_URL=target).returncode == 0


@contextmanager
def fill_a_new_site(production: Site) -> Iterator[str]:
    """A copy's site is as new as this one, which is made sooner; its key of versions is another one."""
    with migrated_database() as uri:
        there = Site(uri, production.aws)
        there.ask("UPDATE nova_admin.migration_versionkey SET key = sha256(random()::text::bytea)")
        assert there.add_client("idom") == production.idom
        yield uri


def migrate_after(copy: Callable[[str, str], None]) -> object:
    @contextmanager
    def make(production: Site) -> Iterator[str]:
        with nova_database.database() as uri:
            copy(production.uri, uri)
            Site(uri, production.aws).migrate_first()
            yield uri

    return pytest.param(make, marks=pytest.mark.nightly, id=copy.__name__)


def value_in_aws() -> str:
    return json.loads(SecretsManager().get_value(NAME).text)["database"]["password"]


@pytest.mark.parametrize(
    "make_copy",
    [
        fill_a_new_site,
        migrate_after(restore_all_and_drop_the_schema),
        migrate_after(restore_novas_tables_alone),
        migrate_after(restore_all_and_migrate_backwards),
    ],
)
def test_a_copy_without_the_sites_notes_writes_to_productions_secret_once_it_is_adopted(
    production, aws, make_copy
):
    with make_copy(production) as uri:
        there = Site(uri, aws)
        there.ask(WRITE, OF_COPY, production.idom)
        before = count_writes(aws)

        done = [there.manage(*act) for act in ACTS]

        assert [each.returncode for each in done] == [1] * len(ACTS)
        assert "Client=idom" in done[0].stdout
        assert count_writes(aws) == before
        assert value_in_aws() == THEIRS
        assert (
            there.manage("migrate_clients", "idom", "--inline", "--adopt").returncode == 2
        )  # without a reason
        assert value_in_aws() == THEIRS

        taken = there.manage("migrate_clients", "idom", "--inline", "--adopt", "--reason", "INC-42")

        assert taken.returncode == 0
        assert "database.password: " in taken.stderr
        assert not {THEIRS, OF_COPY} & set(taken.stderr.split())
        assert value_in_aws() == OF_COPY
        entries = there.ask(
            "SELECT reason, facts::text FROM nova_admin.migration_auditevent WHERE code = 'adoption'"
        )
        assert [(reason, NAME in facts) for reason, facts in entries] == [("INC-42", True)]
        # Production's secret is production's still: it looks at what was written there before it writes.
        assert production.manage("compare_clients", "idom", "--inline").returncode == 1


@pytest.mark.nightly
def test_a_copy_goes_on_with_clients_that_production_does_not_have(production, aws):
    with nova_database.database() as uri:
        restore_novas_tables_alone(production.uri, uri)
        there = Site(uri, aws)
        there.migrate_first()
        there.add_client("new")

        assert there.manage("migrate_clients", "new", "--inline").returncode == 0


@pytest.mark.nightly
@pytest.mark.parametrize("to", ["0008", "0006"])
def test_a_copy_that_keeps_what_it_knows_of_secrets_never_forgets_that_it_is_one(
    production, aws, to
):
    with nova_database.database() as uri:
        dump_and_restore(production.uri, uri)
        there = Site(uri, aws)
        there.ask(WRITE, OF_COPY, production.idom)

        back = there.manage("migrate", "migration", to)

        assert back.returncode == 1
        assert "This database is a duplicate" in back.stderr
        there.manage("migrate")
        assert there.migrate_all().returncode == 1
        assert value_in_aws() == THEIRS
    # Production itself has its way back.
    assert production.manage("migrate", "migration", to).returncode == 0
