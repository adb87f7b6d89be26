"""A worker killed with -9 at any step of a run: the next one ends in the same, and the audit lacks nothing of it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from migration import tasks
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.core.leases import hold_client_locks
from migration.models import AuditEvent, Secret
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets.layouts import change_layout
from migration.secrets.settings import describe_settings, find_settings_drift
from nova_credentials.aws.kms_keys import AWS_KEY
from nova_credentials.aws.secret_settings import add_replicas, remove_replicas, update_secret
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from tests.factories import make_full_client
from tests.migration.moves.clients import NAME, enter_phase
from tests.migration.secrets.settings.killed import AWS_WRITES, work_and_kill, work_and_list

pytestmark = pytest.mark.usefixtures("stores")

KEY = "1234abcd-12ab-34cd-56ef-1234567890ab"
OTHERWISE = {"tags_differ", "description_differs", "key_differs", "replica_unwanted"} | {
    "replica_lacks"
}


def spoil(name: str) -> dict:
    """Everything of the secret is otherwise than the settings say; gives its versions."""
    sm = aws_store.secrets_manager()
    there = sm.describe_secret(name)
    sm.sm.tag_resource(SecretId=there.arn, Tags=[{"Key": "Project", "Value": "other"}])
    update_secret(sm, there.arn, description="other", kms_key=AWS_KEY)
    if there.replicas:
        remove_replicas(sm, there.arn, [each.region for each in there.replicas])
    add_replicas(sm, there.arn, {"eu-west-3": ""})
    return there.versions


def start() -> Run:
    return Run.start(
        kind=Run.Kind.SECRET_SETTINGS,
        chosen=all_clients(),
        tries=60,
        secret_settings=describe_settings(),
    )


def take_up(run: Run, pk: int) -> None:
    """As the minute's task does, a minute later, once the killed process' leases are free."""
    with hold_client_locks([pk], wait_seconds=30) as held:
        assert held
    Run.objects.filter(pk=run.pk).update(worked_at=timezone.now() - timedelta(minutes=2))
    tasks.resume_stalled_runs()
    tasks.work_on_run(run.pk)
    run.refresh_from_db()
    assert run.finished_at


@pytest.mark.parametrize(
    ("layout", "everywhere"),
    [
        (Layout.CLIENT, False),
        pytest.param(Layout.CLIENT, True, marks=pytest.mark.nightly),
        pytest.param(Layout.SERVICE, False, marks=pytest.mark.nightly),
    ],
)
def test_a_worker_that_is_killed_about_the_writes_of_a_secret(settings, layout, everywhere):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    if layout == Layout.SERVICE:
        # The secret of the former layout is written still, so there are four.
        change_layout(client_id=pk, layout=layout)
    settings.NOVA_KMS_KEY_ID, settings.NOVA_REPLICA_REGIONS = KEY, {"eu-west-1": ""}
    names = sorted(Secret.objects.values_list("name", flat=True))
    assert len(names) == (1 if layout == Layout.CLIENT else 4)
    assert NAME in names
    for name in names:
        spoil(name)
    points = work_and_list(start().pk)
    assert set(AWS_WRITES) <= set(points)
    # From before the first write of one secret until it is recorded; of four some steps, one behind the other in each.
    about = range(points.index(AWS_WRITES[0]) - 2, points.index(AWS_WRITES[-1]) + 4)
    chosen = range(len(points)) if everywhere else about
    if layout == Layout.SERVICE:
        chosen = range(3, len(points), 11)

    for at in chosen:
        versions = {name: spoil(name) for name in names}
        before = AuditEvent.objects.filter(code="secret_settings").count()
        run = start()
        assert work_and_kill(run.pk, at)
        take_up(run, pk)

        assert run.items.get().outcome in (Outcome.UPDATED, Outcome.UNCHANGED), points[at]
        for name in names:
            there = aws_store.secrets_manager().describe_secret(name)
            assert (there.kms_key, there.versions) == (KEY, versions[name])
            assert there.tags["Project"] == "NOVA"
            assert [each.region for each in there.replicas] == ["eu-west-1"]
        assert not find_settings_drift().client_ids_to_look_at
        entries = AuditEvent.objects.filter(code="secret_settings").order_by("pk")[before:]
        for name in names:
            of_secret = [each.message for each in entries if each.message.values["name"] == name]
            told = {each.key for message in of_secret for each in message.values["differences"]}
            assert told >= OTHERWISE, (at, points[at], told)
        assert not Secret.objects.exclude(begun=None).exists()
