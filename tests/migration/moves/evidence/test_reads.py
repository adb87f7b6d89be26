"""Reads by NOVA's reader: what counts as evidence, and what shuts the gate for half an hour."""

from collections.abc import Collection
from contextlib import closing
from datetime import timedelta

import pytest
from django.db.models import F
from django.utils import timezone

from credentials.models import Client
from migration.core.aws_store import secrets_manager
from migration.models import ClientMigration, ReadCount
from migration.moves.gates import Override
from migration.moves.moves import move
from migration.moves.rules import FRESH, Ask, judge_gates
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from nova_credentials.phases import Phase
from nova_credentials.reader import from_aws
from nova_credentials.reader.routing import Reader
from tests.factories import count_reads, give_evidence, make_full_client, nova_uri
from tests.migration.moves.clients import (
    change_in_aws,
    codes,
    enter_phase_together,
    refusal_of,
    write_password,
)

FAILED = "reader_failed_at_aws"
FEW, NONE = "too_few_reads", "not_answered_by_aws"


@pytest.fixture(autouse=True)
def two_reads_are_wanted(wanted, settings) -> None:
    settings.NOVA_MIN_READS = 2


@pytest.fixture
def unread(proven) -> int:
    """All evidence but reads."""
    ReadCount.objects.all().delete()
    return proven


def read(reader, times: int, slug: str = "idom") -> None:
    for _ in range(times):
        reader.get_credential(slug, "database")


def half_an_hour_passes() -> None:
    ReadCount.objects.update(
        last_failure_at=F("last_failure_at") - timedelta(minutes=31),
        last_mismatch_at=F("last_mismatch_at") - timedelta(minutes=31),
    )


def shut_of(pks: Collection[int], new: Phase) -> dict[int, list[str]]:
    """Return of each client the codes that keep its gate shut."""
    judged = judge_gates(Ask(pks), new)
    return {pk: [line.code for line in lines if not line.passed] for pk, lines in judged.items()}


def is_open(pk: int, new: Phase) -> bool:
    return shut_of([pk], new) == {pk: []}


SLUGS = ("never", "one", "two", "differed", "uncompared", "before", "blind", "congested")


def test_reads_of_the_phase_count_in_which_both_stores_were_equal(stores, reader, monkeypatch):
    pks = {slug: make_full_client(slug) for slug in SLUGS}
    enter_phase_together([*pks.values()], Phase.DUAL_READ)
    read(reader, 2, "before")
    move(client_id=pks["before"], new=Phase.DUAL_WRITE)
    move(client_id=pks["before"], new=Phase.DUAL_READ)
    compare(client_ids=[*pks.values()])
    for pk in pks.values():
        give_evidence(pk, reads=0, matches=0)
    read(reader, 1, "one"), read(reader, 2, "two"), read(reader, 1, "before")
    change_in_aws(secrets_manager(), "nova/clients/differed", port=1)
    read(reader, 2, "differed")
    write_password(pks["uncompared"], "example-new")  # AWS lacks it: PostgreSQL's value is returned
    read(reader, 2, "uncompared")
    with (
        monkeypatch.context() as patch,
        closing(Reader(nova_uri(), timeout=1, cache_seconds=0)) as blind,
    ):
        patch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:1")
        read(blind, 2, "blind")
    # What a process of NOVA's brought upon itself shuts no gate.
    read(reader, 2, "congested")
    with (
        monkeypatch.context() as patch,
        closing(Reader(nova_uri(), timeout=0.01, cache_seconds=0)) as impatient,
    ):
        patch.setattr(from_aws, "THREADS", 0)
        read(impatient, 3, "congested")

    assert shut_of(pks.values(), Phase.AWS) == {
        pks["never"]: [FEW],
        pks["one"]: [FEW],
        pks["two"]: [],
        pks["differed"]: ["reader_met_mismatch", FEW],
        pks["uncompared"]: ["push_pending", FEW],
        pks["before"]: [FEW],
        pks["blind"]: [FEW, FAILED],
        pks["congested"]: [],
    }
    counts = {row.client_id: row for row in ReadCount.objects.all()}
    assert counts[pks["uncompared"]].reads == 2
    assert counts[pks["blind"]].aws_failures == 2
    assert counts[pks["congested"]].congested_reads == 3
    entry = ClientMigration.objects.get(pk=pks["before"]).reads_at_entry
    assert entry["matches"] == 2
    assert counts[pks["before"]].count_since(entry).matches == 1

    half_an_hour_passes()
    assert shut_of([pks["blind"]], Phase.AWS) == {pks["blind"]: [FEW]}
    assert move(client_id=pks["two"], new=Phase.AWS).overridden == ()


def test_a_failure_shuts_the_gate_for_half_an_hour_or_until_three_good_reads(
    unread, reader, admin_user, monkeypatch
):
    def fail() -> None:
        count_reads(unread, reads=1, aws_failures=1)

    passes = f"this passes {FRESH // timedelta(minutes=1)} minutes after the last"
    read(reader, 2)
    with monkeypatch.context() as patch:
        patch.setattr(reader._aws, "collect", lambda *_: exec("raise TimeoutError"))
        read(reader, 1)
    refused = refusal_of(unread, Phase.AWS)
    assert refused.codes == [FAILED]
    assert "(AWS answered too late)" in str(refused)
    assert passes in str(refused)
    half_an_hour_passes()
    assert is_open(unread, Phase.AWS)

    # Another begins the count of good reads anew.
    for _ in range(2):
        fail(), read(reader, 2)
        assert shut_of([unread], Phase.AWS) == {unread: [FAILED]}
    read(reader, 1)
    assert is_open(unread, Phase.AWS)

    # What was not compared, or differed, is no good read.
    fail(), count_reads(unread, reads=3), count_reads(unread, reads=3, mismatches=3)
    assert ReadCount.objects.get().good_reads_since_failure == 0
    assert shut_of([unread], Phase.AWS) == {unread: [FAILED]}
    ReadCount.objects.update(last_failure_at=None, last_mismatch_at=timezone.now())
    assert passes in str(refusal_of(unread, Phase.AWS))
    ReadCount.objects.update(last_failure_at=timezone.now(), last_mismatch_at=None)

    done = move(client_id=unread, new=Phase.AWS, override=Override("AWS was late once", admin_user))
    assert [check.code for check in done.overridden] == [FAILED]


def test_without_a_read_lately_no_green_line_says_that_none_mismatched(unread, client, admin_user):
    client.force_login(admin_user)

    page = client.get(f"/admin/credentials/client/{unread}/change/").content.decode()

    assert "NOVA&#x27;s reader: 0 of 2 reads since dual read began." in page
    assert "NOVA&#x27;s reader found no mismatch" not in page


# After the cutover


@pytest.fixture
def cut_over(proven) -> int:
    """Cut over a month ago, compared since, and never read since."""
    count_reads(proven, reads=1)  # not compared, in dual read: it answers for no purge
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


# Clients that NOVA does not serve


NO_INACTIVE = (
    "NOVA's reader: 0 of 2 reads since dual read began. NOVA doesn't read inactive clients: activate it, or "
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
    read(reader, 2)
    set_active(unread, False)
    move(client_id=unread, new=Phase.AWS)
    assert "inactive_client" in codes(unread, Phase.PURGED)
