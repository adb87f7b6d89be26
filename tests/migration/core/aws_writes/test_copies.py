"""A copy of the database writes nothing to AWS until somebody claims it; a failover is no copy."""

import json
import multiprocessing
import os
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from nova_credentials.aws.secrets_manager import SecretsManager
from tests import nova_database
from tests.migrated import migrated_database
from tests.migration.core.aws_writes.calls import count_writes
from tests.migration.core.aws_writes.processes import serve
from tests.migration.core.aws_writes.servers import (
    copy_folder,
    dump_and_restore,
    make_standby,
    promote,
    start_cluster,
    stop_cluster,
)
from tests.migration.core.aws_writes.sites import WRITE, Site

PATIENCE_SECONDS = 300
# Noted a day ago, by another name.
CLAIM_EARLIER = """
INSERT INTO nova_admin.migration_databaseclaim (system_identifier, database_oid, place, aws, reason, claimed_at)
SELECT system_identifier, database_oid, %s, '', 'x', now() - interval '1 day'
FROM nova_admin.migration_databaseclaim ORDER BY id DESC LIMIT 1
"""


@pytest.fixture
def production(aws):
    with migrated_database() as uri:
        site = Site(uri, aws)
        site.idom = site.add_client("idom")
        assert site.migrate_all().returncode == 0
        yield site


@pytest.fixture
def staging(production):
    with nova_database.database() as uri:
        dump_and_restore(production.uri, uri)
        yield Site(uri, production.aws)


def value_in_aws(slug: str = "idom") -> str:
    return json.loads(SecretsManager().get_value(f"nova/clients/{slug}").text)["database"][
        "password"
    ]


def test_a_dump_restored_as_staging_overwrites_nothing_of_productions_until_it_is_claimed(
    production, staging, aws
):
    staging.ask(WRITE, "example-of-staging", production.idom)
    before = count_writes(aws)

    pushed = staging.push_pending()

    assert pushed.returncode == 1
    assert "This database is a duplicate" in pushed.stderr
    assert count_writes(aws) == before
    assert value_in_aws() == "example-password-1"
    # It reads and compares, and what is pending stays so.
    compared = staging.manage("compare_clients", "--all", "--inline", "--format", "json")
    assert json.loads(compared.stdout)["mismatched"] == 0  # it waits for its push
    (status,) = json.loads(staging.manage("client_status", "--format", "json").stdout)
    assert (status["push_pending"], status["phase"]) == (True, "dual_write")
    assert status["comparison"]["status"] == "mismatch"
    assert "is a duplicate" in staging.manage("migrate", "--no-color").stdout
    # Production goes on.
    second = production.add_client("second")
    assert production.migrate_all().returncode == 0
    production.ask(WRITE, "example-of-production", second)
    assert production.push_pending().returncode == 0
    assert value_in_aws("second") == "example-of-production"

    # A claim says that the copy is the one.
    claimed = staging.manage("claim_database", "--reason", "moved", "--format", "json")
    told = json.loads(claimed.stdout)
    assert claimed.returncode == 0
    assert told["noted"]["place"] != told["claimed"]["place"]
    assert told["noted"]["database_oid"] != told["claimed"]["database_oid"]
    assert told["noted"]["system_identifier"] == told["claimed"]["system_identifier"]
    assert told["aws"].endswith("key …dded")
    assert staging.push_pending().returncode == 0
    assert value_in_aws() == "example-of-staging"
    again = staging.manage("claim_database", "--reason", "again")
    assert (again.returncode, "is the one" in again.stderr) == (2, True)


@pytest.mark.nightly
def test_a_database_prints_at_its_first_migrate_what_it_is(aws):
    with nova_database.database() as uri:
        site = Site(uri, aws)
        printed = site.manage("migrate", "--no-color").stdout
        site.add_client("idom")
        assert site.migrate_all().returncode == 0
        oid_of_this = "SELECT oid FROM pg_database WHERE datname = current_database()"
        ((oid,),) = site.ask(oid_of_this)
        ((system,),) = site.ask("SELECT system_identifier::text FROM pg_control_system()")

        assert "This database is the one that writes to AWS:" in printed
        for fact in (f"database oid: {oid}", f"system identifier: {system}", ":5432/nova_"):
            assert fact in printed
        assert "writes to AWS" not in site.manage("migrate", "--no-color").stdout


@pytest.mark.nightly
def test_another_name_of_the_same_database_is_listed_or_it_is_a_copy(production):
    host = psycopg.conninfo.conninfo_to_dict(production.uri)["host"]
    other_host = f"{host}/../{host.rpartition('/')[2]}"
    name = psycopg.conninfo.conninfo_to_dict(production.uri)["dbname"]
    production.uri = make_conninfo(production.uri, host=other_host)
    production.ask(WRITE, "example-new", production.idom)

    assert production.push_pending().returncode == 1
    listed = f"elsewhere.example:5432/x, {other_host}:5432/{name}"
    assert production.push_pending(NOVA_DATABASE_NAMES=listed).returncode == 0
    assert value_in_aws() == "example-new"
    assert production.push_pending(NOVA_DATABASE_NAMES="no place").returncode == 2


@pytest.mark.nightly
def test_a_role_that_may_not_ask_for_the_system_identifier_goes_without_it(aws):
    role = f"site_{uuid4().hex[:12]}"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"CREATE ROLE {role} LOGIN")
        try:
            with nova_database.database() as uri:
                with psycopg.connect(uri, autocommit=True) as connection:
                    connection.execute(
                        "REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC;"
                        f" GRANT CREATE ON SCHEMA public TO {role}; CREATE SCHEMA nova_admin AUTHORIZATION {role}"
                    )
                site = Site(make_conninfo(uri, user=role), aws)
                printed = site.manage("migrate", "--no-color").stdout
                assert "system identifier: not known (grant EXECUTE ON FUNCTION" in printed
                site.add_client("idom")
                assert site.migrate_all().returncode == 0
        finally:
            server.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


class Worker:
    """A process of the site's that pushes when it is told to."""

    def __init__(self, uri: str, aws) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        environment = {
            "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
            "DATABASE_URL": uri,
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint,
        }
        self.process = spawn.Process(target=serve, args=(theirs, environment), daemon=True)
        self.process.start()

    def push(self, client_id: int) -> tuple[str, str]:
        self.pipe.send(client_id)
        assert self.pipe.poll(PATIENCE_SECONDS)
        return self.pipe.recv()

    def close(self) -> None:
        self.pipe.send(None)
        self.process.join(PATIENCE_SECONDS)
        self.process.kill()
        self.process.join()


@contextmanager
def working(uri: str, aws):
    worker = Worker(uri, aws)
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture
def clusters():
    started: list[Any] = []
    yield started
    for cluster in started:
        stop_cluster(cluster)


@pytest.fixture
def primary(tmp_path, clusters):
    clusters.append(start_cluster(tmp_path / "one"))
    return clusters[0]


@pytest.fixture
def name(tmp_path, primary):
    """A name of the database that can be given to another server, as DNS does it."""
    link = tmp_path / "name"
    link.symlink_to(primary._sockets)
    return link


def point(name, cluster) -> None:
    name.unlink()
    name.symlink_to(cluster._sockets)


def named(name) -> str:
    return f"postgresql://postgres@/postgres?host={name}&port=5432"


@pytest.mark.nightly
def test_a_failover_in_the_middle_of_the_work_is_no_copy(tmp_path, clusters, primary, name, aws):
    site = Site(named(name), aws)
    site.migrate_first()
    first, second = site.add_client("first"), site.add_client("second")
    standby = make_standby(primary, tmp_path / "two")
    clusters.append(standby)

    with working(site.uri, aws) as worker:
        assert worker.push(first) == ("created", "")
        stop_cluster(primary)
        promote(standby)
        point(name, standby)
        answers = [worker.push(second) for _ in range(3)]

    assert answers[-1][0] in ("created", "unchanged")
    assert {outcome for outcome, _ in answers} <= {"lost", "created", "unchanged"}
    assert value_in_aws("second") == "example-password-1"


def test_a_name_that_suddenly_leads_to_another_database_stops_the_writes_at_once(
    tmp_path, clusters, primary, name, aws
):
    site = Site(named(name), aws)
    site.migrate_first()
    idom = site.add_client("idom")
    assert site.migrate_all().returncode == 0
    other = start_cluster(tmp_path / "two")
    clusters.append(other)
    theirs = Site(other.uri, aws)

    with working(site.uri, aws) as worker:
        site.ask(WRITE, "example-2", idom)
        assert worker.push(idom) == ("updated", "")
        dump_and_restore(primary.uri, other.uri)
        assert theirs.manage("claim_database", "--reason", "staging").returncode == 0
        theirs.ask(WRITE, "example-of-staging", idom)
        point(name, other)
        stop_cluster(primary)
        answers = [worker.push(idom) for _ in range(3)]
        # And as if it had noted this very name, before this process began.
        theirs.ask(CLAIM_EARLIER, f"{name}:5432/postgres")
        answers_of_claimed = [worker.push(idom) for _ in range(3)]

    assert answers[-1] == ("failed", "database_is_copy")
    assert {outcome for outcome, _ in answers} <= {"lost", "failed"}
    assert set(answers_of_claimed) <= {
        ("failed", "database_is_copy"),
        ("failed", "database_changed"),
    }
    assert value_in_aws() == "example-2"


@pytest.mark.nightly
def test_a_copied_data_folder_under_another_port_is_a_copy(tmp_path, clusters, primary, aws):
    site = Site(primary.uri, aws)
    site.migrate_first()
    idom = site.add_client("idom")
    assert site.migrate_all().returncode == 0
    stop_cluster(primary)
    copy_folder(primary, tmp_path / "two")
    copy = start_cluster(tmp_path / "two", port="5433")
    clusters.append(copy)
    copied = Site(copy.uri, aws)
    copied.ask(WRITE, "example-of-the-copy", idom)

    assert copied.push_pending().returncode == 1
    assert value_in_aws() == "example-password-1"
    assert "is a duplicate" in copied.manage("migrate", "--no-color").stdout
