"""Each problem's cause, as it comes about, and how it is mended: a generator that yields while it is wrong."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import date, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ, Schedule

from credentials.models import ClientWrite, ColumnUse
from migration import tasks
from migration.campaigns.steps import cancel_campaign, start_campaign, stop_campaign
from migration.clients.offboarding import OffboardingError, offboard_client
from migration.core.audit_chain import seal_audit
from migration.core.aws_writes import (
    claim_database,
    start_aws_writes,
    stop_aws_writes,
    write_guard,
)
from migration.core.clients import all_clients
from migration.core.database_identity import note_facts_after_migrate
from migration.core.notices import SCHEDULE_CHANGED, TASKS_DROPPED, Condition
from migration.core.releases import known_migrations
from migration.models import (
    ClientMigration,
    Comparison,
    DatabaseClaim,
    OtherStatement,
    RotationSchedule,
    VersionKey,
    Worker,
)
from migration.moves.approvals import cancel_run_request
from migration.moves.moves import move
from migration.nova.readers import note_other_statements
from migration.nova.tables import map_column
from migration.pushes.comparisons import compare
from migration.pushes.known_values import note_written_rows
from migration.pushes.pushes import push
from migration.runs import engine
from migration.runs.models import Run
from migration.secrets.copies import search_copies
from migration.secrets.deletions import schedule_deletion_for_deleted_clients
from migration.site.notices import send_notices
from migration.task_queue import KnownTasksQueue
from nova_admin.embedded.aws import AwsServer
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault, FaultRule
from nova_admin.environment import NotifySettings
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import make_aws_secret, make_full_client, make_reader_process, make_user
from tests.migration.campaigns.taken import make_group
from tests.migration.clients.offboarding.clients import make_inactive
from tests.migration.logins.rotations.conftest import Role
from tests.migration.moves.clients import NAME, change_in_aws, enter_phase, write_password
from tests.migration.moves.runs.moved import make_clients
from tests.migration.moves.runs.moved import start as start_moves
from tests.migration.nova.readers import statistics
from tests.migration.nova.readers.test_other_statements import HELPER
from tests.migration.nova.tables.conftest import LOGINS
from tests.migration.secrets.copies.nova_tables import add_execution, novas_tables
from tests.migration.secrets.versions.known import save_values
from tests.migration.site.audit.conftest import write_entries
from tests.migration.site.audit.test_sealing import ago
from tests.nova_admin.operating.watched import run_task


class World:
    """The site of a test: both stores, its settings, the browser of a superuser."""

    def __init__(
        self, request: pytest.FixtureRequest, stores: AwsServer, settings: Any, root: User
    ) -> None:
        self._request, self.stores, self.settings, self.root = request, stores, settings, root
        self.browser = self._log_in(root)

    def browser_of(self, *permissions: str) -> Client:
        """The browser of somebody who has these permissions alone."""
        return self._log_in(make_user(f"user {len(permissions)}", *permissions))

    def _log_in(self, user: User) -> Client:
        browser = Client()
        browser.force_login(user)
        return browser

    def get(self, fixture: str) -> Any:
        return self._request.getfixturevalue(fixture)

    def finally_do(self, act: Callable[[], object]) -> None:
        """Do it at the end of the test, after the site was asked whether all is well."""
        self._request.addfinalizer(act)

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
    enter_phase(pk, Phase.PURGED)
    note_written_rows()
    yield
    save_values(
        world.browser,
        pk,
        **{
            "databases-0-db_password": "example-second",
            "emails-0-email_password": "example-third",
            "aws_logins-0-secret_access_key": make_aws_secret("example-fourth"),
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


@causes("requested_runs")
def request_a_run_of_cutovers(world: World) -> Iterator[None]:
    world.settings.NOVA_REQUIRE_APPROVAL = True
    root = world.root
    make_clients(2, Phase.DUAL_READ)
    run = start_moves(Phase.DUAL_READ, Phase.AWS, by=root, reason="CHG-1")
    yield
    cancel_run_request(run_id=run.pk, by=root)


# Workers and their queue


@causes("no_worker")
def end_the_last_worker(_world: World) -> Iterator[None]:
    Worker.objects.update(seen_at=timezone.now() - timedelta(minutes=6))
    yield
    Worker.objects.record_heartbeat("host:1")


@causes("workers_idle")
def keep_a_worker_from_its_tasks(_world: World) -> Iterator[None]:
    Worker.objects.update(started_at=timezone.now() - timedelta(minutes=11))
    yield
    run_task("migration.tasks.seal_audit")


@causes("release_skew")
def migrate_by_a_later_release(_world: World) -> Iterator[None]:
    run_sql(
        "INSERT INTO nova_admin.django_migrations (app, name, applied)"
        " VALUES ('migration', '9999_of_a_later_release', now())"
    )
    yield
    run_sql("DELETE FROM nova_admin.django_migrations WHERE name = '9999_of_a_later_release'")


@causes("sweep_overdue")
def sweep_nothing_for_hours(_world: World) -> Iterator[None]:
    pk = make_writer()
    hours_ago = timezone.now() - timedelta(hours=3)
    ClientMigration.objects.filter(pk=pk).update(phase_changed_at=hours_ago)
    yield
    tasks.sweep()


def let_a_day_pass(event: str) -> None:
    Condition.objects.filter(event=event).update(seen_at=timezone.now() - timedelta(hours=25))


@causes("tasks_dropped")
def queue_what_no_host_reads(_world: World) -> Iterator[None]:
    OrmQ.objects.create(key="nova_admin", payload="of another key", lock=timezone.now())
    for _host in range(2):
        assert list(KnownTasksQueue("nova_admin").dequeue()) == []
        OrmQ.objects.update(lock=timezone.now() - timedelta(minutes=6))
    yield
    let_a_day_pass(TASKS_DROPPED)


@causes("schedule_changed")
def write_into_the_schedule(_world: World) -> Iterator[None]:
    tasks.ensure_schedules()
    timetable = tasks.Timetable()
    timetable.queue_due_tasks()
    Schedule.objects.filter(func="migration.tasks.sweep").update(func="os.system")
    timetable.queue_due_tasks()
    OrmQ.objects.all().delete()
    yield
    let_a_day_pass(SCHEDULE_CHANGED)


# AWS


@causes("duplicate")
def be_a_copy_of_another_database(_world: World) -> Iterator[None]:
    noted = DatabaseClaim.objects.newest()
    DatabaseClaim.objects.create(
        system_identifier=noted.system_identifier,
        database_oid=noted.database_oid,
        place="db.nova.example:5432/railway",
    )
    write_guard().forget_state()
    yield
    claim_database(reason="CHG-1")
    write_guard().forget_state()


@causes("host_differs")
def give_this_host_another_prefix(world: World) -> Iterator[None]:
    note_facts_after_migrate("default")
    before = world.settings.NOVA_SECRET_PREFIX
    world.settings.NOVA_SECRET_PREFIX = "nova/clients/b"
    write_guard().forget_state()
    yield
    world.settings.NOVA_SECRET_PREFIX = before
    write_guard().forget_state()


@causes("writes_stopped")
def stop_the_writes(_world: World) -> Iterator[None]:
    stop_aws_writes(reason="INC-42")
    yield
    start_aws_writes()


@causes("aws_gone")
def compare_while_aws_answers_nothing(world: World) -> Iterator[None]:
    pk = make_writer()
    Comparison.objects.update(compared_at=timezone.now() - timedelta(hours=2))
    with world.aws_failing():
        compare(client_ids=[pk])
    yield
    compare(client_ids=[pk])


@causes("aws_away")
def have_aws_refuse_this_host(world: World) -> Iterator[None]:
    with world.aws_failing():
        yield


@causes("aws_permissions")
def take_a_permission_away(world: World) -> Iterator[None]:
    make_writer()  # without a secret, some permissions can't be tried
    with world.aws_failing(Fault.DENIED, "DescribeSecret"):
        yield


@causes("clocks")
def have_a_workers_clock_be_ahead(_world: World) -> Iterator[None]:
    Worker.objects.update(clock_ahead=timedelta(hours=2))
    yield
    Worker.objects.update(clock_ahead=timedelta())


# NOVA


@causes("columns_unknown")
def add_a_column(_world: World) -> Iterator[None]:
    run_sql(f"ALTER TABLE {LOGINS} ADD refresh_token text")
    try:
        yield
    finally:
        run_sql(f"ALTER TABLE {LOGINS} DROP refresh_token")


@causes("objects_unknown")
def attach_a_rule(_world: World) -> Iterator[None]:
    run_sql("CREATE RULE nosy AS ON DELETE TO public.clients DO ALSO NOTHING")
    try:
        yield
    finally:
        run_sql("DROP RULE nosy ON public.clients")


@causes("purged_with_values")
def map_a_column_after_the_purge(_world: World) -> Iterator[None]:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.PURGED)
    run_sql(f"ALTER TABLE {LOGINS} ADD refresh_token text")
    try:
        run_sql(f"UPDATE {LOGINS} SET refresh_token = 'example-token'")
        map_column(name=f"{LOGINS}.refresh_token", use=ColumnUse.SECRET)
        if others := list(all_clients().exclude(pk=pk).values_list("pk", flat=True)):
            push(client_ids=others)
            compare(client_ids=others)
        yield
        move(client_id=pk, new=Phase.AWS)
        push(client_ids=[pk])
        compare(client_ids=[pk])
        move(client_id=pk, new=Phase.PURGED)
    finally:
        run_sql(f"ALTER TABLE {LOGINS} DROP refresh_token")


@causes("readers_gone")
def end_novas_processes(_world: World) -> Iterator[None]:
    enter_phase(make_full_client("idom"), Phase.AWS)
    make_reader_process(last_read_at=timezone.now() - timedelta(hours=2))
    yield
    make_reader_process()


@causes("readers_fail")
def have_aws_fail_a_process_of_nova(_world: World) -> Iterator[None]:
    process = make_reader_process(aws_error="permission", aws_error_at=timezone.now())
    yield
    process.aws_error_at = timezone.now() - timedelta(minutes=31)
    process.save()


@causes("reads_past_package")
def read_by_the_old_helper(world: World) -> Iterator[None]:
    enter_phase(make_full_client("idom"), Phase.AWS)
    statistics.install()
    world.finally_do(statistics.remove)
    statistics.count(HELPER, calls=7)
    note_other_statements()
    OtherStatement.objects.update(calls=6)
    yield
    note_other_statements()
    hours_ago = timezone.now() - timedelta(hours=2)
    OtherStatement.objects.update(called_at=hours_ago, first_noticed_at=hours_ago)


# Counting, the database


@causes("writes_uncounted")
def drop_a_trigger(_world: World) -> Iterator[None]:
    run_sql("DROP TRIGGER nova_admin_count_write ON public.clients")
    yield
    tasks.keep_counting()


@causes("counting_unproved")
def swallow_updates(_world: World) -> Iterator[None]:
    make_full_client("idom")
    run_sql("CREATE RULE swallow AS ON UPDATE TO public.clients DO INSTEAD NOTHING")
    try:
        tasks.prove_counting()
        yield
    finally:
        run_sql("DROP RULE swallow ON public.clients")
    tasks.prove_counting()


@causes("schema_behind")
def install_without_migrate(_world: World) -> Iterator[None]:
    newest = max(name for app, name in known_migrations() if app == "migration")
    run_sql(f"DELETE FROM nova_admin.django_migrations WHERE name = '{newest}'")
    try:
        yield
    finally:
        run_sql(
            "INSERT INTO nova_admin.django_migrations (app, name, applied)"
            f" VALUES ('migration', '{newest}', now())"
        )


# Secrets


@causes("copies_found")
def have_novas_worker_keep_a_password(_world: World) -> Iterator[None]:
    pk = make_full_client("idom")
    with novas_tables() as nova:
        add_execution(nova, '{"password": "example-password-1"}')
        search_copies(client_ids=[pk])
        yield
        nova.execute("DELETE FROM public.executions")
        search_copies(client_ids=[pk])


@causes("secrets_differ")
def want_another_key(world: World) -> Iterator[None]:
    make_writer()
    tasks.describe_secrets()
    world.settings.NOVA_KMS_KEY_ID = "1234abcd-12ab-34cd-56ef-1234567890ab"
    tasks.describe_secrets()
    yield
    world.settings.NOVA_KMS_KEY_ID = ""
    tasks.describe_secrets()


@causes("orphaned_secrets")
def delete_a_client_as_nova_does(_world: World) -> Iterator[None]:
    push(client_ids=[make_full_client("idom"), make_full_client("acme")])
    run_sql("DELETE FROM public.clients WHERE slug = 'idom'")
    yield
    schedule_deletion_for_deleted_clients(names=(NAME,), reason="CHG-1", by=None)


@causes("pending_versions")
def leave_a_version_pending(_world: World) -> Iterator[None]:
    make_writer()
    sm = SecretsManager()
    version_id = sm.put_aside(NAME, '{"a": 1}', stage="AWSPENDING")
    yield
    sm.sm.update_secret_version_stage(
        SecretId=NAME, VersionStage="AWSPENDING", RemoveFromVersionId=version_id
    )


# Audit and keys, notices


@causes("keys_lost")
def lose_the_version_keys(_world: World) -> Iterator[None]:
    make_writer()
    keys = list(VersionKey.objects.all())
    VersionKey.objects.all().delete()
    for _key in range(2):
        VersionKey.objects.create(key=os.urandom(32))
    yield
    VersionKey.objects.bulk_create(VersionKey(key=each.key) for each in keys)


@causes("audit_unsealed")
def hold_sealing_up(world: World) -> Iterator[None]:
    seal_audit()
    with ago(world.get("monkeypatch"), 8 * timedelta(minutes=1)):
        write_entries(2)
    yield
    seal_audit()


@causes("notices_reach_nobody")
def read_from_aws_and_tell_nobody(world: World) -> Iterator[None]:
    enter_phase(make_full_client("idom"), Phase.AWS)
    yield
    world.settings.NOVA_NOTIFY = NotifySettings(("https://hooks.example.test/services/x",))


@causes("notices_fail")
def name_a_webhook_that_is_not_there(world: World) -> Iterator[None]:
    world.settings.NOVA_NOTIFY = NotifySettings(("https://hooks.example.test/services/x",))
    stop_aws_writes(reason="INC-42")
    start_aws_writes()
    send_notices(seconds=5)
    yield
    world.settings.NOVA_NOTIFY = NotifySettings()


@causes("webhooks_refused")
def name_a_webhook_of_this_machine(world: World) -> Iterator[None]:
    world.settings.NOVA_NOTIFY = NotifySettings(("https://127.0.0.1/services/x",))
    yield
    world.settings.NOVA_NOTIFY = NotifySettings()
