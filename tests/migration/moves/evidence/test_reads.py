"""Reads by NOVA's reader: what counts as evidence, and what shuts the gate for half an hour."""

from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from credentials.models import Client
from migration.core.aws_store import secrets_manager
from migration.models import ClientMigration, ReadCount
from migration.moves.gates import Override, ShutGate
from migration.moves.moves import move
from migration.moves.rules import FRESH, Ask, judge_gates
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from nova_credentials.reader import from_aws
from nova_credentials.reader.routing import Reader
from tests.factories import count_reads, give_evidence, nova_uri
from tests.migration.moves.clients import change_in_aws, codes, refusal_of, write_password

FAILED = "reader_failed_at_aws"
FEW, NONE = "too_few_reads", "not_answered_by_aws"


@pytest.fixture
def unread(proven) -> int:
    """All evidence but reads."""
    ReadCount.objects.all().delete()
    return proven


def read(reader, times: int) -> None:
    for _ in range(times):
        reader.get_credential("idom", "database")


def half_an_hour_passes() -> None:
    ReadCount.objects.update(
        last_failure_at=F("last_failure_at") - timedelta(minutes=31),
        last_mismatch_at=F("last_mismatch_at") - timedelta(minutes=31),
    )


def is_open(pk: int, new: Phase) -> bool:
    return all(line.passed for line in judge_gates(Ask([pk]), new)[pk])


def test_the_check_says_when_what_the_reader_met_passes(unread):
    minutes = FRESH // timedelta(minutes=1)
    count_reads(unread, reads=1, aws_failures=1)
    assert f"this passes {minutes} minutes after the last" in str(refusal_of(unread, Phase.AWS))

    ReadCount.objects.update(last_failure_at=None, last_mismatch_at=timezone.now())
    assert f"this passes {minutes} minutes after the last" in str(refusal_of(unread, Phase.AWS))


def test_twenty_reads_are_enough_and_nineteen_are_not(unread, reader):
    assert codes(unread, Phase.AWS) == [FEW]
    read(reader, 19)
    assert codes(unread, Phase.AWS) == [FEW]

    read(reader, 1)

    assert move(client_id=unread, new=Phase.AWS).overridden == ()


def test_a_failure_shuts_the_gate_for_half_an_hour_or_until_three_good_reads(
    unread, reader, admin_user
):
    def fail() -> None:
        count_reads(unread, reads=1, aws_failures=1)

    read(reader, 20)
    fail()
    assert codes(unread, Phase.AWS) == [FAILED]
    half_an_hour_passes()
    assert is_open(unread, Phase.AWS)

    # Another begins the count of good reads anew.
    for _ in range(2):
        fail(), read(reader, 2)
        assert codes(unread, Phase.AWS) == [FAILED]
    read(reader, 1)
    assert is_open(unread, Phase.AWS)

    # What was not compared, or differed, is no good read.
    fail(), count_reads(unread, reads=3), count_reads(unread, reads=3, mismatches=3)
    assert ReadCount.objects.get().good_reads_since_failure == 0
    assert FAILED in codes(unread, Phase.AWS)

    done = move(client_id=unread, new=Phase.AWS, override=Override("AWS was late once", admin_user))
    assert [check.code for check in done.overridden] == [FAILED]


def test_reads_that_all_failed_at_aws_shut_the_gate_and_never_count(unread, aws, monkeypatch):
    blind = Reader(nova_uri(), timeout=1, cache_seconds=0)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
    try:
        read(blind, 25)
    finally:
        blind.close()
    assert ReadCount.objects.get().aws_failures == 25

    assert codes(unread, Phase.AWS) == [FEW, FAILED]
    half_an_hour_passes()
    assert codes(unread, Phase.AWS) == [FEW]


def test_the_gate_names_the_cause_of_the_failure(unread, reader, monkeypatch):
    read(reader, 20)
    monkeypatch.setattr(reader._aws, "collect", lambda *_: exec("raise TimeoutError"))
    read(reader, 1)

    with pytest.raises(ShutGate, match=r"\(AWS answered too late\)") as refused:
        move(client_id=unread, new=Phase.AWS)
    assert refused.value.codes == [FAILED]


def test_what_a_process_of_novas_brought_upon_itself_shuts_no_gate(unread, reader, monkeypatch):
    read(reader, 20)
    monkeypatch.setattr(from_aws, "THREADS", 0)
    impatient = Reader(nova_uri(), timeout=0.01, cache_seconds=0)
    try:
        read(impatient, 3)
    finally:
        impatient.close()

    assert ReadCount.objects.get().congested_reads == 3
    move(client_id=unread, new=Phase.AWS)


def test_reads_that_differed_do_not_count(unread, reader):
    change_in_aws(secrets_manager(), port=1)
    read(reader, 20)

    assert {"reader_met_mismatch", FEW} <= set(codes(unread, Phase.AWS))


def test_reads_that_were_not_compared_do_not_count(unread, reader):
    write_password(unread, "example-new")  # AWS lacks it: PostgreSQL's value is returned
    read(reader, 20)

    assert ReadCount.objects.get().reads == 20
    assert FEW in codes(unread, Phase.AWS)


def test_reads_before_the_phase_do_not_count(unread, reader):
    read(reader, 20)
    move(client_id=unread, new=Phase.DUAL_WRITE)
    move(client_id=unread, new=Phase.DUAL_READ)
    read(reader, 1)

    entry = ClientMigration.objects.get()
    assert entry.reads_at_entry["matches"] == 20
    assert FEW in codes(unread, Phase.AWS)
    assert ReadCount.objects.get().count_since(entry.reads_at_entry).matches == 1


def test_without_a_read_lately_no_green_line_says_that_none_mismatched(unread, client, admin_user):
    client.force_login(admin_user)

    page = client.get(f"/admin/credentials/client/{unread}/change/").content.decode()

    assert "NOVA&#x27;s reader: 0 of 20 reads since dual read began." in page
    assert "NOVA&#x27;s reader found no mismatch" not in page


# After the cutover


@pytest.fixture
def cut_over(proven) -> int:
    """Cut over a month ago, compared since, and never read since."""
    move(client_id=proven, new=Phase.AWS)
    compare(client_ids=[proven])
    give_evidence(proven, reads=0)
    return proven


def test_a_purge_wants_a_read_that_aws_answered_in_the_last_day(cut_over, reader):
    assert codes(cut_over, Phase.PURGED) == [NONE]
    # Of dual read, but counted late.
    for counts in ({"matches": 1}, {"mismatches": 1}):
        count_reads(cut_over, reads=1, **counts)
        assert NONE in codes(cut_over, Phase.PURGED)
    count_reads(cut_over, reads=1, aws_failures=1)
    assert codes(cut_over, Phase.PURGED) == [NONE, FAILED]
    half_an_hour_passes()

    read(reader, 1)
    ReadCount.objects.update(last_answer_at=timezone.now() - timedelta(hours=25))
    assert codes(cut_over, Phase.PURGED) == [NONE]
    read(reader, 1)
    assert is_open(cut_over, Phase.PURGED)

    # NOVA's role may delete its counts: such as begin anew are no evidence.
    ReadCount.objects.all().delete()
    count_reads(cut_over, reads=1)
    assert codes(cut_over, Phase.PURGED) == [NONE]


def test_an_answer_before_the_cutover_does_not_count(proven):
    count_reads(proven, reads=1)  # not compared, in dual read
    move(client_id=proven, new=Phase.AWS)
    compare(client_ids=[proven])
    give_evidence(proven, reads=0)

    assert codes(proven, Phase.PURGED) == [NONE]


# Clients that NOVA does not serve


NO_INACTIVE = (
    "NOVA's reader: 0 of 20 reads since dual read began. NOVA doesn't read inactive clients: activate it, or "
    "override this check with a reason."
)


def set_active(pk: int, is_active: bool | None) -> None:
    """As somebody does in the admin; the write is pushed."""
    Client.objects.filter(pk=pk).update(is_active=is_active)
    push(client_ids=[pk])


def test_the_gate_says_that_nova_reads_no_inactive_client(unread, reader):
    for is_active in (False, None):
        set_active(unread, is_active)
        with pytest.raises(ValueError, match="inactive"):
            read(reader, 1)
        reasons = refusal_of(unread, Phase.AWS).reasons
        assert [str(reason) for reason in reasons] == [NO_INACTIVE]

    # One that was read often enough needs no word, until its purge.
    set_active(unread, True)
    read(reader, 20)
    set_active(unread, False)
    move(client_id=unread, new=Phase.AWS)
    assert "inactive_client" in codes(unread, Phase.PURGED)
