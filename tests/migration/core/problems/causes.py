"""Each problem's cause, as it comes about, and how it is mended: a generator that yields while it is wrong."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client

from credentials.models import ClientWrite
from migration import tasks
from migration.campaigns.steps import cancel_campaign, start_campaign, stop_campaign
from migration.clients.offboarding import OffboardingError, offboard_client
from migration.core.clients import all_clients
from migration.models import RotationSchedule
from migration.moves.approvals import cancel_request, cancel_run_request, request_move
from migration.pushes.comparisons import compare
from migration.pushes.known_values import note_written_rows
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.models import Run
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_user
from tests.migration.campaigns.taken import make_group
from tests.migration.clients.offboarding.clients import make_inactive
from tests.migration.logins.rotations.conftest import Role
from tests.migration.moves.clients import advance, change_in_aws, enter_phase, write_password
from tests.migration.moves.runs.moved import make_clients
from tests.migration.moves.runs.moved import start as start_moves
from tests.migration.secrets.versions.known import save_values


class World:
    """The site of a test: both stores, its settings, the browser of a superuser."""

    def __init__(
        self, request: pytest.FixtureRequest, stores: AwsServer, settings: Any, root: User
    ) -> None:
        self._request, self.stores, self.settings, self.root = request, stores, settings, root
        self.browser = Client()
        self.browser.force_login(root)

    def get(self, fixture: str) -> Any:
        return self._request.getfixturevalue(fixture)

    @contextmanager
    def aws_failing(self, fault: Fault = Fault.DENIED, *operations: str) -> Iterator[None]:
        """AWS answers these operations, or all, by a fault."""
        self.stores.conditions.set(
            Conditions(faults=(FaultRule(fault=fault, operations=operations),))
        )
        try:
            yield
        finally:
            self.stores.conditions.set(Conditions())


Cause = Callable[[World], AbstractContextManager[None]]
CAUSES: dict[str, Cause] = {}


def causes(code: str) -> Callable[[Callable[[World], Iterator[None]]], Cause]:
    """Declare how the problem of this code comes about."""

    def declare(cause: Callable[[World], Iterator[None]]) -> Cause:
        assert code not in CAUSES
        CAUSES[code] = contextmanager(cause)
        return CAUSES[code]

    return declare


def run_sql(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


# Clients


def make_writer() -> int:
    """A client whose writes go to both stores."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    return pk


@causes("mismatches")
def change_a_secret_in_aws(_world: World) -> Iterator[None]:
    pk, sm = make_writer(), SecretsManager()
    change_in_aws(sm, host="elsewhere.example.test")
    compare(client_ids=[pk])
    yield
    change_in_aws(sm, host="db.example.test")
    compare(client_ids=[pk])


@causes("unchecked")
def compare_while_aws_refuses(world: World) -> Iterator[None]:
    pk = make_writer()
    with world.aws_failing():
        compare(client_ids=[pk])
        yield
    compare(client_ids=[pk])


def run_over_all(kind: Run.Kind = Run.Kind.MIGRATE) -> None:
    engine.finish_inline(Run.start(kind=kind, chosen=all_clients()))


@causes("failures")
def migrate_while_aws_refuses(world: World) -> Iterator[None]:
    make_full_client("idom")
    with world.aws_failing():
        run_over_all()
    yield
    run_over_all()


@causes("left_out")
def stop_a_migration(_world: World) -> Iterator[None]:
    make_full_client("idom"), make_full_client("acme")
    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients())
    run.stop(by=None)
    engine.skip_free_items_of_stopped_run(run)
    yield
    run_over_all()


@causes("push_refused")
def write_what_no_document_holds(_world: World) -> Iterator[None]:
    pk = make_writer()
    write_password(pk, "aws-secretsmanager:nova/clients/idom")
    push(client_ids=[pk])
    yield
    write_password(pk, "example-new")
    push(client_ids=[pk])


@causes("push_late")
def write_three_minutes_ago(_world: World) -> Iterator[None]:
    pk = make_writer()
    write_password(pk, "example-new")
    let_writes_age(minutes=3)
    yield
    push(client_ids=[pk])


def let_writes_age(*, minutes: int) -> None:
    run_sql(
        f"UPDATE {ClientWrite._meta.db_table} SET written_at = written_at - interval '{minutes} minutes'"
    )


@causes("rotations_stopped")
def rotate_a_password_that_was_changed_by_hand(world: World) -> Iterator[None]:
    row, change = world.get("login")
    role = Role(row, change, world.get("login_server"))
    role.stand(Phase.DUAL_WRITE)
    role.change_at_server("by-hand")
    role.rotate()
    yield
    role.change_at_server("example-a")
    role.rotate()


@causes("rotations")
def miss_the_day_of_a_rotation(_world: World) -> Iterator[None]:
    schedule = RotationSchedule.objects.create(
        client_id=make_writer(), days=30, since=date(2020, 1, 1), by=make_user("ana")
    )
    yield
    schedule.delete()


@causes("to_rotate")
def purge_what_stood_in_the_tables(world: World) -> Iterator[None]:
    pk = make_full_client("idom")
    advance(pk, Phase.PURGED)
    note_written_rows()
    yield
    save_values(
        world.browser,
        pk,
        **{
            "databases-0-db_password": "example-second",
            "emails-0-email_password": "example-third",
            "aws_logins-0-secret_access_key": "example-fourth",
        },
    )
    note_written_rows()


@causes("offboarding_interrupted")
def offboard_while_aws_deletes_nothing(world: World) -> Iterator[None]:
    pk = make_inactive(Phase.AWS)
    with world.aws_failing(Fault.DENIED, "DeleteSecret"), pytest.raises(OffboardingError):
        offboard_client(client_id=pk, reason="CHG-7", by=make_user("ada"))
    yield
    tasks.go_on_with_offboardings()


@causes("campaign_stopped")
def stop_a_campaign_by_hand(_world: World) -> Iterator[None]:
    maria = make_user("maria")
    campaign = start_campaign(groups=[make_group("north", 1)])
    stop_campaign(campaign, by=maria)
    yield
    campaign.refresh_from_db()
    cancel_campaign(campaign, by=maria)


@causes("requested_campaigns")
def request_a_campaign(world: World) -> Iterator[None]:
    world.settings.NOVA_REQUIRE_APPROVAL = True
    root = world.root
    campaign = start_campaign(groups=[make_group("north", 1)], by=root, reason="CHG-1")
    yield
    cancel_campaign(campaign, by=root)


@causes("requests")
def request_a_cutover(world: World) -> Iterator[None]:
    world.settings.NOVA_REQUIRE_APPROVAL = True
    root = world.root
    (pk,) = make_clients(1, Phase.DUAL_READ)
    asked = request_move(client_id=pk, new=Phase.AWS, by=root, reason="CHG-1")
    yield
    cancel_request(request_id=asked.pk, by=root)


@causes("requested_runs")
def request_a_run_of_cutovers(world: World) -> Iterator[None]:
    world.settings.NOVA_REQUIRE_APPROVAL = True
    root = world.root
    make_clients(2, Phase.DUAL_READ)
    run = start_moves(Phase.DUAL_READ, Phase.AWS, by=root, reason="CHG-1")
    yield
    cancel_run_request(run_id=run.pk, by=root)
