"""The drill of docs/run.md: a database is lost, and its dump restored as another one. AWS is ahead of the dump."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psycopg
import pytest

from nova_credentials.aws.secrets_manager import SecretsManager
from tests import nova_database
from tests.migrated import migrated_database
from tests.migration.core.aws_writes.calls import count_writes
from tests.migration.core.aws_writes.servers import dump_database, restore_dump
from tests.migration.core.aws_writes.sites import WRITE, Site
from tests.nova_credentials.nova_process import run

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_DUMP, SINCE = "example-password-1", "example-since-the-dump"
STAND = """
INSERT INTO nova_admin.migration_clientmigration (client_id, phase) SELECT id, %s FROM public.clients WHERE slug = %s
ON CONFLICT (client_id) DO UPDATE SET phase = excluded.phase
"""
# Each client by the phase that it has in the dump.
PHASES = {"written": "dual_write", "read": "dual_read", "cut-over": "aws"}
READ = """
from contextlib import suppress
for slug in %r:
    print(reader.get_database_credentials(slug).db_password)
"""
COPY_BACK = """
from credentials.models import Client
from migration.pushes.resolutions import copy_to_postgres
for client in Client.objects.exclude(slug="added"):
    copy_to_postgres(client_id=client.pk, reason="restored")
"""


@pytest.fixture
def lost(aws) -> Iterator[tuple[Site, bytes]]:
    """A site that was dumped, worked on for a day and is lost; and its dump."""
    with migrated_database() as uri:
        site = Site(uri, aws)
        ids = {slug: site.add_client(slug) for slug in PHASES}
        assert site.migrate_all().returncode == 0
        for slug, phase in PHASES.items():
            site.ask(STAND, phase, slug)
        dump = dump_database(site.uri)
        for pk in ids.values():
            site.ask(WRITE, SINCE, pk)
        site.add_client("added")
        assert site.push_pending().returncode == 0
        assert site.manage("migrate_clients", "added", "--inline").returncode == 0
        site.ids = ids
        yield site, dump


@pytest.fixture
def restored(lost) -> Iterator[Site]:
    """The dump in a new database; the site there has the settings of the lost one."""
    site, dump = lost
    with nova_database.database() as uri:
        restore_dump(dump, uri)
        there = Site(uri, site.aws)
        there.ids = site.ids
        yield there


def values_in_aws() -> dict[str, str]:
    names = [f"nova/clients/{slug}" for slug in (*PHASES, "added")]
    held = SecretsManager().batch_get(names)
    return {
        name.rpartition("/")[2]: json.loads(value.text)["database"]["password"]
        for name, value in held.items()
    }


def read_as_nova(site: Site) -> dict[str, str]:
    """What NOVA's reader gives of each client."""
    surroundings = {"NOVA_READ_TIMEOUT_SECONDS": "60"}
    printed = run(READ % list(PHASES), site.uri, **surroundings)
    return dict(zip(PHASES, printed.splitlines(), strict=True))


AHEAD = {**dict.fromkeys(PHASES, SINCE), "added": IN_DUMP}


def test_a_restored_dump_overwrites_nothing_until_it_is_claimed_and_nothing_newer_afterwards(
    restored, aws
):
    before = count_writes(aws)
    # NOVA goes on at once: from the cutover on with AWS's newer values. In dual read PostgreSQL's count, as nobody
    # knows whether the restored triggers counted every write.
    assert read_as_nova(restored) == {"written": IN_DUMP, "read": IN_DUMP, "cut-over": SINCE}

    # It knows that it is another database than the one that was dumped.
    for pk in restored.ids.values():
        restored.ask(
            "UPDATE public.client_database_credentials SET db_port = 5433 WHERE client_id = %s", pk
        )
    pushed = restored.push_pending()
    assert (pushed.returncode, "This database is a duplicate" in pushed.stderr) == (1, True)
    assert count_writes(aws) == before
    assert restored.manage("audit", "verify").returncode == 0

    # What AWS has since the dump is shown as mismatches.
    restored.manage("compare_clients", "--all", "--inline")
    shown = json.loads(restored.manage("client_status", "--format", "json").stdout)
    assert [each["comparison"]["status"] for each in shown] == ["mismatch"] * len(PHASES)

    # Claimed, it still pushes nothing over it: each client is held until somebody copies one way.
    assert restored.manage("claim_database", "--reason", "restored").returncode == 0
    pushed = json.loads(restored.manage("push_pending", "--inline", "--format", "json").stdout)
    assert {item["slug"]: item["outcome"] for item in pushed["items"]} == dict.fromkeys(
        PHASES, "failed"
    )
    assert all(
        "written since" in item["message"] or "older than AWS" in item["message"]
        for item in pushed["items"]
    )
    assert values_in_aws() == AHEAD
    # A client that was added since is not in the tables, and its secret stays. Added again, it is held too.
    restored.ask(WRITE, "example-typed-anew", restored.add_client("added"))
    assert restored.manage("migrate_clients", "added", "--inline").returncode == 1
    assert values_in_aws() == AHEAD

    # Copied back, the newer values are in both stores, and what is written then is pushed.
    done = restored.manage("shell", "-c", COPY_BACK)
    assert done.returncode == 0, done.stderr
    assert read_as_nova(restored) == dict.fromkeys(PHASES, SINCE)
    restored.ask(WRITE, "example-after-all", restored.ids["written"])
    restored.push_pending()
    assert values_in_aws() == AHEAD | {"written": "example-after-all"}


@pytest.mark.nightly
def test_with_other_keys_the_site_still_knows_its_versions_and_says_that_the_audit_does_not_hold(
    restored, aws
):
    other = "another key of a restored site " + "zyxwvutsrqponmlkjih" * 3
    assert restored.manage("claim_database", "--reason", "restored").returncode == 0
    before = count_writes(aws)

    pushed = restored.push_pending(SECRET_KEY=other)
    verified = restored.manage("audit", "verify", NOVA_AUDIT_KEY=other)

    # Nothing newer is overwritten with other keys either.
    assert count_writes(aws) == before, pushed.stdout
    assert verified.returncode == 1
    assert restored.manage("audit", "verify").returncode == 0


@pytest.mark.nightly
def test_a_dump_holds_the_keys_of_versions_and_no_key_of_the_settings(lost):
    site, dump = lost
    with nova_database.database() as uri:
        restore_dump(dump, uri)
        with psycopg.connect(uri) as there:
            keys = there.execute("SELECT key FROM nova_admin.migration_versionkey").fetchall()
    assert keys == site.ask("SELECT key FROM nova_admin.migration_versionkey") != []
