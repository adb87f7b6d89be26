"""A role that may only connect takes PostgreSQL's locks: nobody waits for it, and it can hold no lease."""

import os
from collections.abc import Iterator

import psycopg
import pytest
from django.db import connection
from psycopg import sql
from psycopg.conninfo import make_conninfo

from credentials.models import ColumnUse
from migration.core.audit_chain import seal_audit, select_unsealed
from migration.core.aws_writes import stop_aws_writes
from migration.core.clients import all_clients
from migration.core.leases import LeaseKind, release_leases, take_leases
from migration.models import CopySearch
from migration.moves.moves import move
from migration.nova.tables import map_column
from migration.pushes.pushes import push
from migration.runs.engine import finish_inline
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets.copies import request_background_search, search_copies
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user, nova_connected, nova_uri
from tests.held_leases import held_elsewhere
from tests.migration.moves.clients import enter_phase
from tests.page_forms import open_form, send_form

# The numbers of the locks that decided, before leases did: clients, searches, mappings, the audit's chain.
CLIENT, SEARCH, MAPPING, SEAL = 0x4E4F5641, 0x4E4F5643, 0x4D415050, 0x4E4F564153
BATCH_BITS = 24
MANY = 200

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def outsider() -> Iterator[psycopg.Connection]:
    """A session of a role without any right of its own."""
    role = f"outsider_{os.getpid()}"
    named = sql.Identifier(role)
    with nova_connected() as owner:
        owner.autocommit = True
        owner.execute(sql.SQL("CREATE ROLE {} LOGIN").format(named))
        try:
            with psycopg.connect(make_conninfo(nova_uri(), user=role), autocommit=True) as session:
                session.execute("SET statement_timeout = '10s'")
                yield session
        finally:
            owner.execute(sql.SQL("DROP ROLE {}").format(named))


def take_known_locks(outsider: psycopg.Connection, client_ids: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT coalesce(max(id), 0) FROM migration_run")
        (last,) = cursor.fetchone()
    outsider.execute("SELECT pg_advisory_lock(%s, unnest(%s::int[]))", [CLIENT, client_ids])
    outsider.execute(
        "SELECT pg_advisory_lock(%s, n::int) FROM generate_series(0, %s) n", [SEARCH, MANY]
    )
    outsider.execute("SELECT pg_advisory_lock(%s, 0)", [MAPPING])
    outsider.execute(
        "SELECT pg_advisory_lock(run << %s) FROM generate_series(%s::bigint, %s) run",
        [BATCH_BITS, last, last + MANY],
    )


def test_who_takes_the_locks_of_known_numbers_stops_nobody(outsider, admin_client):
    moved, idom = make_full_client("moved"), make_full_client("idom")
    enter_phase(idom, Phase.AWS)
    take_known_locks(outsider, [moved, idom])
    by = make_user("maria")

    move(client_id=moved, new=Phase.DUAL_WRITE)
    (pushed,) = push(client_ids=[idom], interactive=True)
    run = Run.start(kind=Run.Kind.COMPARE, chosen=all_clients())
    finish_inline(run)
    search = search_copies(client_ids=[idom])
    begun = request_background_search(by)
    page = f"/admin/credentials/client/{idom}/change/"
    form = open_form(admin_client, page)
    saved = send_form(admin_client, page, form | {"databases-0-db_password": "example-new"})

    assert pushed.outcome == Outcome.UNCHANGED
    assert run.state == Run.State.FINISHED
    assert search.finished_at
    assert begun == CopySearch.objects.latest("pk")
    assert saved.status_code == 302


def test_who_takes_the_lock_of_mappings_stops_no_mapping(outsider):
    outsider.execute("SELECT pg_advisory_lock(%s, 0)", [MAPPING])
    with nova_connected() as nova:
        nova.execute("ALTER TABLE public.clients ADD COLUMN IF NOT EXISTS planted text")
        nova.commit()
        try:
            map_column(name="clients.planted", use=ColumnUse.IGNORE)
        finally:
            nova.execute("ALTER TABLE public.clients DROP COLUMN planted")
            nova.commit()


def test_who_takes_the_lock_of_the_audit_keeps_no_entry_from_its_place_in_the_chain(outsider):
    outsider.execute("SELECT pg_advisory_lock(%s)", [SEAL])
    stop_aws_writes(reason="an incident")

    seal_audit(wait=True)

    assert not select_unsealed().exists()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM nova_admin.migration_lease FOR UPDATE",
        "INSERT INTO nova_admin.migration_lease (kind, key, pid) VALUES (1, 1, pg_backend_pid())",
        "LOCK TABLE nova_admin.migration_lease IN ACCESS SHARE MODE",
        "LOCK TABLE nova_admin.credentials_columnmapping IN ROW SHARE MODE",
    ],
)
def test_no_other_role_can_hold_a_lease(outsider, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege), outsider.transaction():
        outsider.execute(statement)


def test_who_reads_the_number_of_a_session_keeps_nothing_from_being_taken_after_its_end(outsider):
    with held_elsewhere(LeaseKind.CLIENT, 7):
        (classid, objid), *others = outsider.execute(
            "SELECT classid::bigint, objid::bigint FROM pg_locks JOIN pg_database d ON d.oid = database"
            " WHERE locktype = 'advisory' AND granted AND datname = current_database()"
            " AND pg_locks.pid <> %s",
            [own_pid()],
        ).fetchall()
        assert others == []
        number = classid << 32 | objid
        taken = outsider.execute("SELECT pg_try_advisory_lock(%s)", [number]).fetchone()
        assert taken == (False,)
        assert take_leases(LeaseKind.CLIENT, [7]) == set()
    outsider.execute("SELECT pg_advisory_lock(%s)", [number])

    assert take_leases(LeaseKind.CLIENT, [7]) == {7}
    release_leases(LeaseKind.CLIENT, [7])


def own_pid() -> int:
    connection.ensure_connection()
    return connection.connection.info.backend_pid
