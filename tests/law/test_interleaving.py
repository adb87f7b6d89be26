"""Two processes that push one client at once, in every order; and NOVA, whom neither pushes nor moves may hinder."""

import json
import multiprocessing
import os
from contextlib import suppress
from itertools import pairwise, permutations

import psycopg
import pytest
from django.db import connection
from psycopg.conninfo import make_conninfo

from credentials.models import DatabaseCredential
from migration.core.aws_store import secrets_manager
from migration.core.clients import all_clients
from migration.core.leases import hold_client_locks
from migration.moves.gates import ShutGate
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from tests.factories import make_full_client, update
from tests.law.push_process import GO_ON, PATIENCE_SECONDS, hear, serve
from tests.migration.moves.clients import LINE, NAME, enter_phase

ORDERS = sorted({"".join(order) for order in permutations("AABB")})


def uri() -> str:
    return make_conninfo(os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"])


class Pusher:
    """The other process, and how far it has got."""

    def __init__(self, endpoint: str) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        environment = {
            "DJANGO_SETTINGS_MODULE": "nova_admin.settings",
            "DATABASE_URL": uri(),
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": endpoint,
        }
        self.process = spawn.Process(target=serve, args=(theirs, environment), daemon=True)
        self.process.start()
        theirs.close()

    def begin(self, pk: int, *, with_lock: bool) -> None:
        self.pipe.send((pk, with_lock))
        self.listen()

    def go_on(self) -> None:
        """Lets it take its next step; where it waits for the lock, as soon as it gets there."""
        if self.said[0] == "done":
            return
        self.pipe.send(GO_ON)
        if self.said != "waits":
            self.listen()

    def listen(self) -> None:
        self.said = hear(self.pipe)

    def finish(self) -> str:
        while self.said[0] != "done":
            self.listen()
        return self.said[1]

    def close(self) -> None:
        with suppress(OSError):  # it may have ended
            self.pipe.send(None)
        self.process.join(PATIENCE_SECONDS)
        self.process.kill()
        self.process.join()
        self.process.close()
        self.pipe.close()


@pytest.fixture(scope="module")
def pushers(aws_server, django_db_setup, django_db_blocker):
    with django_db_blocker.unblock():
        pushers = {name: Pusher(aws_server.endpoint) for name in "AB"}
    yield pushers
    for pusher in pushers.values():
        pusher.close()


def interleave(pushers, order: str, *, with_lock: bool) -> tuple[str, str]:
    """Two pushes whose steps come in this order, each begun after a write of NOVA's: what AWS and the rows hold."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    row = DatabaseCredential.objects.get(client_id=pk)
    newest, begun = "", set()
    for number, name in enumerate(order):
        if name not in begun:
            begun.add(name)
            newest = f"example-{number}"
            update("client_database_credentials", row.pk, db_password_encrypted=newest)
            pushers[name].begin(pk, with_lock=with_lock)
        pushers[name].go_on()
    for name in begun:
        assert pushers[name].finish() in ("updated", "unchanged", "failed")
    document = json.loads(secrets_manager().get_value(NAME).text)
    return document["database"]["password"], newest


@pytest.mark.parametrize("order", ORDERS)
def test_whatever_the_order_of_two_pushes_aws_ends_with_the_newest_rows(stores, pushers, order):
    in_aws, newest = interleave(pushers, order, with_lock=True)

    assert in_aws == newest
    assert not all_clients().push_pending().exists()


def test_without_the_lock_an_older_value_can_land_last(stores, pushers):
    """So that the test above can fail."""
    in_aws, newest = interleave(pushers, "ABBA", with_lock=False)

    assert in_aws != newest


# As NOVA's scripts and workers write.
NOVAS_STATEMENTS = (
    "UPDATE public.clients SET description = 'by NOVA', updated_at = NOW() WHERE slug = 'idom'",
    """
    UPDATE public.client_database_credentials SET db_password_encrypted = 'example-novas', updated_at = NOW()
    WHERE client_id = (SELECT id FROM public.clients WHERE slug = 'idom') AND is_primary = true
    """,
    """
    INSERT INTO public.client_email_credentials (client_id, email_user, email_password_encrypted, label, is_primary)
    SELECT id, 'more@example.test', 'example-novas', 'more', FALSE FROM public.clients WHERE slug = 'idom'
    """,
    "UPDATE public.client_email_credentials SET sender_whitelist = NULL WHERE label = 'more'",
    "DELETE FROM public.client_email_credentials WHERE label = 'more'",
    """
    INSERT INTO public.clients (name, slug) VALUES ('Idom', 'idom')
    ON CONFLICT (slug) DO UPDATE SET name = EXCLUDED.name, updated_at = NOW()
    """,
)
BEFORE_PURGED = LINE[:-1]


def nova_runs_its_statements() -> None:
    """Each in a transaction of its own, and none may wait."""
    with psycopg.connect(uri(), autocommit=True) as nova:
        nova.execute("SET lock_timeout = '50ms'; SET statement_timeout = '5s'")
        for statement in NOVAS_STATEMENTS:
            assert nova.execute(statement).rowcount == 1
        written = nova.execute(
            "SELECT db_password_encrypted FROM public.client_database_credentials"
        )
        assert written.fetchall() == [("example-novas",)]


@pytest.fixture
def meanwhile(stores):
    """Has NOVA run its statements at each call of AWS that this process makes from now on."""
    hooked = []

    def meanwhile() -> list[str]:
        seen: list[str] = []

        def hook(request, **_) -> None:
            seen.append(request.headers["X-Amz-Target"].decode())
            nova_runs_its_statements()

        for interactive in (False, True):
            events = secrets_manager(interactive=interactive).sm.meta.events
            events.register("before-send.*.*", hook)
            hooked.append((events, hook))
        return seen

    yield meanwhile
    for events, hook in hooked:
        events.unregister("before-send.*.*", hook)


@pytest.mark.parametrize("phase", BEFORE_PURGED)
def test_novas_statements_wait_for_nothing_while_the_client_is_locked(stores, phase):
    pk = make_full_client("idom")
    enter_phase(pk, phase)

    with hold_client_locks([pk], wait_seconds=0) as held:
        assert held
        nova_runs_its_statements()


@pytest.mark.parametrize("phase", BEFORE_PURGED)
def test_novas_statements_wait_for_nothing_in_the_middle_of_a_push(stores, phase, meanwhile):
    pk = make_full_client("idom")
    enter_phase(pk, phase)
    row = DatabaseCredential.objects.get(client_id=pk)
    update("client_database_credentials", row.pk, db_password_encrypted="example-new")
    calls = meanwhile()

    (result,) = push(client_ids=[pk])

    assert result.outcome in ("created", "updated")
    assert len(calls) >= 3  # it looks, writes, and reads back
    assert all_clients().filter_push_pending().exists()


@pytest.mark.parametrize(("old", "new"), [*pairwise(LINE), (Phase.AWS, Phase.DUAL_READ)])
def test_novas_statements_wait_for_nothing_in_the_middle_of_a_move(stores, old, new, meanwhile):
    pk = make_full_client("idom")
    enter_phase(pk, old)
    compare(client_ids=[pk])
    calls = meanwhile()

    with suppress(ShutGate):  # it may find that NOVA wrote just now
        move(client_id=pk, new=new)

    assert calls
