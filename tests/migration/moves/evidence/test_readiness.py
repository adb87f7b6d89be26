"""What lists say keeps a client from its next phase, beside what its gate says."""

import random
from datetime import timedelta
from functools import cached_property
from itertools import product
from types import SimpleNamespace

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from credentials.models import ClientRevision
from migration.clients.status import has_push_pending
from migration.core.clients import all_clients
from migration.models import ClientMigration, LoginTest, ReadCount
from migration.moves.evidence import GateFacts
from migration.moves.gates import database_checks
from migration.moves.models import Blocker, select_with_blocker, with_blocker
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import (
    make_client,
    make_copy_search,
    make_full_client,
    make_many,
    make_reader_process,
)

LINE = list(Phase)
# One spoilt thing each, and what it is called; "" spoils nothing.
SPOILS = (
    "",
    "copies",
    "run",
    "pending",
    "differs",
    "unchecked",
    "old",
    "reader",
    "streak",
    "time",
    "reads",
    "login",
)


def prepare(pk: int, phase: Phase, spoils: set[str], *, is_active: bool) -> None:
    """Give the client all that its next phase wants, but for what is spoilt."""
    all_clients().filter(pk=pk).update(is_active=is_active)
    now = timezone.now()
    since = now - timedelta(hours=1 if "time" in spoils else 24 * 8)
    status = (
        "mismatch" if "differs" in spoils else "unchecked" if "unchecked" in spoils else "match"
    )
    ClientMigration.objects.filter(pk=pk).update(
        phase=phase,
        phase_changed_at=since,
        comparison_status=status,
        compared_at=now - timedelta(minutes=31 if "old" in spoils else 1),
        clean_streak=2 if "streak" in spoils else 3,
        reads_at_entry={"reads": 100, "matches": 100},
    )
    compared = ClientMigration.objects.get(pk=pk).comparison
    type(compared).objects.filter(pk=compared.pk).update(
        status=status, compared_at=now - timedelta(minutes=31 if "old" in spoils else 1)
    )
    few = "reads" in spoils
    ReadCount.objects.create(
        client_id=pk,
        reads=119 if few else 125,
        matches=119 if few else 120,
        last_read_at=now,
        last_mismatch_at=now if "reader" in spoils else None,
    )
    # The trigger of the table notes the last answer by itself.
    if "pending" not in spoils:
        revision = all_clients().with_revision().get(pk=pk).revision
        ClientRevision.objects.record_pushed([(pk, revision)])
    if "run" in spoils:
        Run.objects.create(kind=Run.Kind.MIGRATE).add_items([(pk, "x")])
    if "copies" not in spoils:
        make_copy_search(pk)
    for store in ("postgres", "aws") if "login" in spoils else ():
        LoginTest.objects.create(client_id=pk, kind="database", store=store, outcome="refused")


def test_a_client_is_ready_exactly_where_the_gate_finds_nothing(stores):
    make_reader_process()
    chosen = random.Random(13)
    cases = [
        (phase, {spoil} | ({chosen.choice(SPOILS), "copies"} if is_mixed else set()), active)
        for phase, spoil, active, is_mixed in product(
            LINE[1:-1], SPOILS, (True, None), (False, True)
        )
    ]
    make_many(len(cases))
    for client, (phase, spoils, active) in zip(all_clients().order_by("pk"), cases, strict=True):
        prepare(client.pk, phase, spoils, is_active=active)
    found = list(with_blocker(all_clients()).order_by("pk"))
    facts = GateFacts([client.pk for client in found])

    shut = {
        client.pk: [
            check.code
            for check in database_checks(
                SimpleNamespace(client_id=client.pk, push_pending=has_push_pending(client)),
                LINE[LINE.index(client.phase) + 1],
                facts,
            )
            if not check.passed
        ]
        for client in found
    }
    wrong = [
        (case, client.blocker, shut[client.pk])
        for client, case in zip(found, cases, strict=True)
        if bool(shut[client.pk]) == (client.blocker == Blocker.READY)
    ]

    assert wrong == []
    every = {client.blocker for client in found}
    elsewhere = {Blocker.PUSH_REFUSED, Blocker.NEVER_COMPARED, Blocker.NO_LOGIN, Blocker.LAST}
    assert every == set(Blocker) - elsewhere
    ready = {client.pk for client in found if client.blocker == ""}
    assert (
        set(select_with_blocker(all_clients(), Blocker.READY).values_list("pk", flat=True)) == ready
    )


def test_before_dual_write_only_what_a_push_would_meet_keeps_a_client(stores):
    never, refused, off = (make_full_client(slug) for slug in ("never", "refused", "off"))
    make_client("empty")
    all_clients().filter(pk=off).update(is_active=False)
    revision = all_clients().with_revision().get(pk=refused).revision
    ClientMigration.objects.record_refused([(refused, revision)])
    make_many(1, phase="purged")
    with CaptureQueriesContext(connection) as captured:
        found = {client.slug: client.blocker for client in with_blocker(all_clients())}

    assert found == {
        "never": Blocker.READY,
        "refused": Blocker.PUSH_REFUSED,
        "off": Blocker.INACTIVE,
        "empty": Blocker.NO_LOGIN,
        "many-5": Blocker.LAST,
    }
    assert len(captured) == 1
    assert all_clients().filter(pk=never).exists()


def test_facts_that_were_read_for_many_clients_ask_nothing_more_for_one(
    db, django_assert_num_queries
):
    facts = GateFacts([make_full_client("idom")])
    names = [name for name, kept in vars(GateFacts).items() if isinstance(kept, cached_property)]
    facts.read_all()

    with django_assert_num_queries(0):
        assert len([getattr(facts, name) for name in names]) > 7
