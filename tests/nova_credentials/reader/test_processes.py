"""A reader in processes without Django, in forks and in threads."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from migration.models import ReadCount
from nova_credentials.phases import Phase
from nova_credentials.reader import from_postgres
from tests.factories import make_client, make_database, make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import run


def test_nova_s_functions_work_without_django(database_url):
    clients = {phase: make_full_client(phase) for phase in Phase}
    for phase, pk in clients.items():
        make_database(pk, label="backup", is_primary=False, db_user="other")
        bring(pk, phase)

    printed = run(
        f"""
for slug in {[*map(str, clients)]}:
    print(reader.get_client_id(slug), reader.get_database_credentials(slug).db_user,
          reader.get_database_credentials(slug, "backup", refresh=True).db_user,
          reader.get_email_credentials(slug).email_user, reader.get_aws_credentials(slug).region,
          sorted(reader.get_all_credentials(slug)), reader.get_database_credentials(slug))
""",
        database_url,
        NOVA_READ_TIMEOUT_SECONDS="30",
    )

    for pk, line in zip(clients.values(), printed.splitlines(), strict=True):
        assert line.startswith(
            f"{pk} app other invoices@example.test eu-west-1 ['database', 'email'] DatabaseCredentials("
        )
    assert "password" not in printed


def test_a_fork_uses_nothing_of_its_parent(database_url):
    for phase in Phase:
        bring(make_full_client(phase), phase)

    printed = run(
        f"""
import os
one = reader._shared_reader()
def read():
    return [slug for slug in {[*map(str, Phase)]}
        if one.get_credential(slug, "database", refresh=True).db_password != "example-password-1"
    ] == []
def backends():
    return {{c.info.backend_pid for c in one._postgres._idle}}
assert read()
of_parent = backends()
one._aws._lock.acquire()
child = os.fork()
if child == 0:
    ok = read() and read() and backends() and not backends() & of_parent
    os._exit(0 if ok else 1)
one._aws._lock.release()
print(os.waitpid(child, 0)[1], read(), backends() == of_parent)
""",
        database_url,
        NOVA_READ_TIMEOUT_SECONDS="30",
    )

    assert printed == "0 True True"


def test_a_fork_lets_go_of_no_connection_of_its_parent(database_url):
    """Python would warn of one that is still open, and a driver might end it."""
    bring(make_full_client("idom"), Phase.POSTGRES)

    printed = run(
        """
import os, warnings
told = []
warnings.simplefilter("always")
warnings.showwarning = lambda *warning: told.append(warning)
reader.get_database_credentials("idom")
child = os.fork()
if child == 0:
    reader.get_database_credentials("idom", refresh=True)
    os._exit(len(told))
print(os.waitpid(child, 0)[1])
""",
        database_url,
    )

    assert printed == "0"


def test_of_the_connections_of_many_threads_four_are_kept(reader):
    postgres = reader._postgres
    with ExitStack() as at_once:
        used = [
            at_once.enter_context(postgres._use_connection(postgres._open_connection()))
            for _ in range(6)
        ]

    assert len(postgres._idle) == 4
    assert {there for there in used if not there.closed} == set(postgres._idle)


def test_a_connection_within_a_transaction_is_closed_and_not_kept(reader):
    postgres = reader._postgres
    with postgres._use_connection(postgres._open_connection()) as used:
        used.execute("BEGIN")

    assert used.closed
    assert postgres._idle == []


def test_many_threads_read_at_once(make_reader, caplog):
    caplog.set_level("DEBUG", "nova_credentials")
    reader = make_reader(timeout=30)
    slugs = []
    for index, phase in enumerate([*Phase, *Phase]):
        slugs.append(f"client-{index}")
        pk = make_client(slugs[-1])
        make_database(pk, db_user=slugs[-1])
        bring(pk, phase)

    with ThreadPoolExecutor(16) as pool:
        work = slugs * 20
        users = [
            row.db_user
            for row in pool.map(lambda slug: reader.get_credential(slug, "database"), work)
        ]

    assert users == work
    # Said of each that could not be counted within 0.1 s, or for which PostgreSQL took longer than 5 s.
    uncounted = [line for line in caplog.messages if "not counted" in line or "no answer" in line]
    assert len(uncounted) < 20
    counted = sum(row.reads for row in ReadCount.objects.all())
    assert counted == 20 * 6 - len(uncounted), caplog.messages
    assert len(reader._postgres._idle) <= from_postgres.KEPT_CONNECTIONS
