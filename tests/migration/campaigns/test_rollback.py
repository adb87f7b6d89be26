"""What a campaign that stops by its rule rolls back: who stands in `aws` and is equal, each by itself, and no other."""

import json
from itertools import pairwise

import psycopg
import pytest
from botocore.retries.standard import ExponentialBackoff
from django.db import connection

from credentials.models.clients import NOVA_IS_WRITING
from migration.core.aws_writes import stop_aws_writes
from migration.core.leases import LeaseKind
from migration.models import AuditEvent, Campaign, ClientMigration, PhaseChange, RunItem
from migration.moves import moves, runs
from migration.moves.moves import MOVE_UNDER_WAY
from migration.pushes.pushes import MOVED_BY_RUN
from migration.runs import engine
from migration.runs.engine import FAILURE_EVENT
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from tests.factories import make_comparison, nova_uri
from tests.held_leases import held_elsewhere
from tests.migration.campaigns.taken import (
    begin,
    begin_cutover,
    codes_of,
    cut_over,
    differ,
    go,
    make_group,
    manager,
    members,
    mend,
    once,
    outcomes,
    phases,
    stand,
    take,
    work,
)
from tests.migration.moves.clients import (
    NO_DOCUMENT,
    is_pending,
    password,
    phase_of,
    write_password,
)

DUAL_READ, AWS = Phase.DUAL_READ, Phase.AWS
LEFT_UNREAD, LEFT_DIFFERING = ["left_unread"], ["left_differing"]


def begin_rollback(number: int = 3) -> tuple[Campaign, list[int], Run]:
    """A campaign that stopped by its rule, as it is told that its last client differs, and its rollback to do."""
    campaign, group = begin_cutover(number + 1, rolls_back=True)
    pks = members(group)
    make_comparison(pks[-1], "mismatch")
    run = take(campaign)
    assert run is not None
    assert run.only_where_equal
    # So that it is no part of what is looked at.
    ClientMigration.objects.change_phase(pks[-1:], AWS, DUAL_READ)
    return campaign, pks[:-1], run


def stands(pks: list[int]) -> list[Phase]:
    return [phase_of(pk) for pk in pks]


def test_equal_clients_are_rolled_back_the_one_that_differs_is_left_and_mended_it_goes_on():
    campaign, group = begin_cutover(3, rolls_back=True)
    pks = members(group)
    differ(pks[1])
    before = [password(pk) for pk in pks]

    run = work(take(campaign))

    assert outcomes(run) == {
        "north-0": Outcome.MOVED, "north-1": Outcome.REFUSED, "north-2": Outcome.MOVED,
    }  # fmt: skip
    assert stands(pks) == [DUAL_READ, AWS, DUAL_READ]
    assert codes_of(run, "north-1") == LEFT_DIFFERING
    assert codes_of(run, "north-0") == []
    assert [password(pk) for pk in pks] == before
    assert stand(campaign)[1] == ["mismatches_reached", "rolls_back"]
    refused = AuditEvent.objects.get(code=FAILURE_EVENT)
    assert refused.client_id == pks[1]
    assert (take(campaign), take(campaign)) == (None, None)

    mend(pks[1]), campaign.go_on(by=None)
    assert take(campaign) is None  # it soaks
    go(campaign)
    assert stand(campaign) == (Campaign.State.FINISHED, [])
    assert stands(pks) == [AWS] * 3


def test_only_the_wave_that_broke_the_rule_is_rolled_back_and_only_who_stands_in_aws():
    first, second = make_group("north", 1, DUAL_READ), make_group("south", 3, DUAL_READ)
    campaign = begin(first, second, soak_minutes=60, most_refused=9, rolls_back=True)
    cut_over(campaign), cut_over(campaign)
    ClientMigration.objects.change_phase(members(second)[2:], AWS, DUAL_READ)
    make_comparison(members(second)[0], "mismatch")

    run = work(take(campaign))

    assert outcomes(run) == {"south-0": Outcome.MOVED, "south-1": Outcome.MOVED}
    assert phases(first) + phases(second) == [AWS, DUAL_READ, DUAL_READ, DUAL_READ]


def test_where_nobody_is_read_from_aws_it_speaks_of_no_rollback():
    campaign = begin(make_group("north", 1, Phase.DUAL_WRITE), goal=DUAL_READ, rolls_back=True)
    make_comparison(members(campaign.waves.get().group)[0], "mismatch")
    work(take(campaign))
    take(campaign)

    assert stand(campaign)[0] == Campaign.State.STOPPED
    assert "rolls_back" not in stand(campaign)[1]


# AWS


def test_while_aws_can_not_be_read_nobody_is_rolled_back_until_it_is_tried_again(monkeypatch):
    campaign, pks, run = begin_rollback(3)
    codes = ("ThrottlingException", "InternalServiceError", "AccessDeniedException")

    def unread(_self, names):
        return {
            name: SecretsManagerError.from_code(
                codes[int(name[-1]) % 3], "BatchGetSecretValue", name
            )
            for name in names
        }

    with monkeypatch.context() as patch:
        patch.setattr(SecretsManager, "batch_get", unread)
        work(run)
    slugs = [f"north-{n}" for n in range(3)]
    assert stands(pks) == [AWS] * 3
    assert [outcomes(run)[slug] for slug in slugs] == [Outcome.REFUSED] * 3
    assert [codes_of(run, slug) for slug in slugs] == [LEFT_UNREAD] * 3
    assert (stand(campaign)[0], take(campaign)) == (Campaign.State.STOPPED, None)

    run.reopen_failed(by=None), work(run)

    assert stands(pks) == [DUAL_READ] * 3
    assert [outcomes(run)[slug] for slug in slugs] == [Outcome.MOVED] * 3


def test_aws_that_is_gone_is_no_reason_to_go_back(settings, monkeypatch):
    monkeypatch.setattr(ExponentialBackoff, "delay_amount", lambda *_: 0)
    _campaign, pks, run = begin_rollback(1)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"

    work(run)

    assert (stands(pks), codes_of(run, "north-0")) == ([AWS], LEFT_UNREAD)


def test_who_differs_is_unreadable_or_was_moved_meanwhile_is_left_and_named_and_no_other():
    _campaign, pks, run = begin_rollback(9)
    differ(pks[0], seen=False)
    write_password(pks[1], "example-novas")
    manager().sm.delete_secret(SecretId="nova/clients/north-2", ForceDeleteWithoutRecovery=True)
    manager().put_value("nova/clients/north-3", NO_DOCUMENT)
    manager().put_value("nova/clients/north-4", "no JSON")
    ClientMigration.objects.filter(pk=pks[5]).update(phase=Phase.PURGED)
    for step in pairwise((AWS, DUAL_READ, Phase.DUAL_WRITE)):
        ClientMigration.objects.change_phase([pks[6]], *step)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM public.clients WHERE id = %s", [pks[7]])

    work(run), run.reopen_failed(by=None), work(run)  # tried again it copies nothing either

    assert stands(pks[:5]) == [AWS] * 5
    assert stands([pks[5], pks[6], pks[8]]) == [Phase.PURGED, Phase.DUAL_WRITE, DUAL_READ]
    found = outcomes(run)
    assert [found[f"north-{n}"] for n in range(9)] == [
        *[Outcome.REFUSED] * 7, Outcome.SKIPPED, Outcome.MOVED,
    ]  # fmt: skip
    assert [codes_of(run, f"north-{n}") for n in range(5)] == [
        LEFT_DIFFERING, LEFT_DIFFERING, LEFT_UNREAD, LEFT_DIFFERING, LEFT_DIFFERING,
    ]  # fmt: skip
    assert password(pks[0]) == "example-password-1"
    assert (password(pks[1]), is_pending(pks[1])) == ("example-novas", True)
    assert list(PhaseChange.objects.filter(run=run).values_list("client_id", flat=True)) == pks[8:]


def test_a_secret_for_each_service_is_equal_where_all_of_them_are(settings):
    settings.NOVA_SECRET_LAYOUT = "service"
    _campaign, pks, run = begin_rollback(3)
    stored = json.loads(manager().get_value("nova/clients/north-1/database").text)
    manager().put_value(
        "nova/clients/north-1/database", json.dumps(stored | {"password": "example-theirs"})
    )
    manager().sm.delete_secret(
        SecretId="nova/clients/north-2/email", ForceDeleteWithoutRecovery=True
    )

    work(run)

    assert stands(pks) == [DUAL_READ, AWS, AWS]


# Others at the client meanwhile


def test_rows_that_are_written_after_aws_was_read_are_left_and_tried_again(monkeypatch):
    _campaign, pks, run = begin_rollback(2)
    writes = once(lambda: write_password(pks[1], "example-novas"), moves.hold_rows_if_all_free)
    monkeypatch.setattr(moves, "hold_rows_if_all_free", writes)

    work(run)

    assert stands(pks) == [DUAL_READ, AWS]
    assert codes_of(run, "north-1") == LEFT_DIFFERING  # at the second look
    assert password(pks[1]) == "example-novas"


def test_a_client_that_nova_or_somebody_works_on_is_left_and_no_other(monkeypatch):
    monkeypatch.setattr(runs, "LOCK_WAIT_SECONDS", 0)
    _campaign, pks, run = begin_rollback(3)
    stop_aws_writes(reason="Somebody looks")  # it waits for no stop of AWS writes
    with psycopg.connect(nova_uri()) as nova, held_elsewhere(LeaseKind.CLIENT, pks[0]):
        nova.execute("SELECT FROM public.clients WHERE id = %s FOR UPDATE", [pks[1]])

        work(run)

    assert stands(pks) == [AWS, AWS, DUAL_READ]
    assert codes_of(run, "north-0") == [MOVE_UNDER_WAY.key]
    assert codes_of(run, "north-1") == [NOVA_IS_WRITING.key]


# A run in work


@pytest.fixture
def in_work(monkeypatch) -> tuple[Campaign, list[int], Run]:
    """A campaign whose cutover of three clients, a batch each, has made the first batch."""
    monkeypatch.setattr(Run, "BATCH", 1)
    group = make_group("north", 3, DUAL_READ)
    campaign = begin(group, rolls_back=True)
    run = take(campaign)
    engine.process_batch_if_running(run.pk, 0)
    return campaign, members(group), run


def test_what_the_last_batch_moves_after_the_stop_is_rolled_back_too(in_work):
    campaign, pks, run = in_work
    make_comparison(pks[0], "mismatch")
    with held_elsewhere(LeaseKind.BATCH, run.pk << 24 | 1):  # a worker has read that it runs
        assert take(campaign) is None
        assert stand(campaign)[0] == Campaign.State.STOPPED
        assert outcomes(run) == {"north-0": "moved", "north-1": "", "north-2": "skipped"}
        assert (take(campaign), stands(pks)) == (None, [AWS, DUAL_READ, DUAL_READ])
        Run.objects.filter(pk=run.pk).update(state=Run.State.RUNNING)
        engine.process_batch_if_running(run.pk, 1)
        Run.objects.filter(pk=run.pk).update(state=Run.State.STOPPED)
    assert stands(pks) == [AWS, AWS, DUAL_READ]

    rollback = work(take(campaign))

    assert outcomes(run) == {"north-0": "moved", "north-1": "moved", "north-2": "skipped"}
    assert outcomes(rollback) == {"north-0": "moved", "north-1": "moved"}
    assert stands(pks) == [DUAL_READ] * 3


def test_no_item_of_a_client_that_a_killed_worker_moved_says_that_it_was_skipped(
    in_work, monkeypatch
):
    campaign, pks, run = in_work

    class Killed(BaseException):
        pass

    def kill(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(RunItem.objects), "record", kill)
        with pytest.raises(Killed):
            engine.process_batch_if_running(run.pk, 1)
    assert stands(pks) == [AWS, AWS, DUAL_READ]
    make_comparison(pks[0], "mismatch")

    rollback = work(take(campaign))

    assert outcomes(run) == {"north-0": "moved", "north-1": "moved", "north-2": "skipped"}
    assert MOVED_BY_RUN.key in codes_of(run, "north-1")
    assert outcomes(rollback) == {"north-0": "moved", "north-1": "moved"}
    assert stands(pks) == [DUAL_READ] * 3


def test_somebody_who_goes_on_before_the_rollback_began_wants_none(in_work):
    campaign, pks, run = in_work
    make_comparison(pks[0], "mismatch")
    with held_elsewhere(LeaseKind.BATCH, run.pk << 24 | 1):
        assert take(campaign) is None
        campaign.go_on(by=None)

    go(campaign)

    assert not Run.objects.filter(only_where_equal=True).exists()
    assert stands(pks) == [AWS] * 3


def test_a_rollback_in_work_is_neither_counted_nor_stopped_by_the_rule(monkeypatch):
    campaign, pks, run = begin_rollback(2)
    campaign.go_on(by=None)
    assert take(campaign) is None  # it waits for the rollback
    differ(pks[0])

    take(campaign)

    run.refresh_from_db()
    assert (stand(campaign)[0], run.state) == (Campaign.State.STOPPED, Run.State.RUNNING)
    work(run)
    assert (stands(pks), outcomes(run)["north-0"]) == ([AWS, DUAL_READ], Outcome.REFUSED)
    campaign.go_on(by=None), take(campaign)
    assert stand(campaign)[0] == Campaign.State.RUNNING
