"""Hosts that differ in what all must share write nothing to AWS and say in what; those that agree notice nothing."""

import json
import logging
import secrets
from concurrent.futures import ThreadPoolExecutor
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.urls import reverse

from credentials.models import DatabaseCredential
from migration.core import shared_facts
from migration.core.aws_store import describe_aws_account_and_key
from migration.core.aws_writes import _write_guard, find_write_refusal, write_guard
from migration.core.clients import all_clients
from migration.core.database_identity import CLAIM_EVENT, note_facts_after_migrate
from migration.core.heartbeat import TaskTaker
from migration.core.rate_limiter import rate_limiter
from migration.core.shared_facts import (
    fetch_all,
    find_differences,
    list_own_facts,
    note_missing_facts,
    seen_account,
)
from migration.doctor.looks import list_site_problems, look_at_site
from migration.models import AuditEvent, ClientMigration, Comparison, DatabaseClaim, Secret
from migration.moves.approvals import start_move_run
from migration.moves.gates import ShutGate
from migration.moves.moves import move
from migration.moves.runs import process_move_items
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.resolutions import NotResolved, check_again
from nova_admin.embedded.conditions import Conditions
from nova_admin.embedded.faults import Fault
from nova_admin.environment import AuditSettings
from nova_credentials.aws.secrets_manager import SecretsManager
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user, nova_connected
from tests.migration.core.aws_writes.calls import count_writes
from tests.migration.moves.clients import (
    enter_phase,
    enter_phase_together,
    is_pending,
    phase_of,
    write_password,
)
from tests.nova_admin.embedded.conditions.calls import strike

NEW_KEY, OTHER_KEY = secrets.token_urlsafe(64), secrets.token_urlsafe(64)
HOME = "123456789012"
KEYS = ("SECRET_KEY", "NOVA_FINGERPRINT_KEY", "NOVA_AUDIT_KEY")


@pytest.fixture
def pushed(idom) -> int:
    """A client in dual_write, whose secret told what all hosts share."""
    enter_phase(idom, Phase.DUAL_WRITE)
    note_facts_after_migrate("default")
    assert read_facts()["AWS account"] == [HOME]
    return idom


@pytest.fixture
def begin():
    """Makes this process one that has just begun, with other settings if the test changed them."""

    def begin() -> None:
        seen_account.forget()
        _write_guard.cache_clear()

    return begin


def read_facts() -> dict[str, list[str]]:
    return DatabaseClaim.objects.with_facts().facts


def read_passwords(pk: int) -> list[str]:
    rows = DatabaseCredential.objects.filter(client_id=pk).order_by("pk")
    return list(rows.values_list("db_password", flat=True))


def set_facts(**facts: list[str]) -> None:
    noted = DatabaseClaim.objects.with_facts()
    noted.facts |= {name.replace("_account", " account"): values for name, values in facts.items()}
    noted.save()
    write_guard().forget_state()


def list_secrets() -> set[str]:
    listed = SecretsManager().sm.list_secrets()["SecretList"]
    return {secret["Name"] for secret in listed}


def find_codes() -> list[str]:
    problems = [each for each in list_site_problems() if each.stops_writes]
    found = [finding for result in look_at_site(problems) for finding in result.findings]
    return [code for finding in found if not finding.ok for code in finding.message.codes]


def claim(reason: str = "INC-7") -> dict:
    out = StringIO()
    call_command("claim_database", "--facts", "--reason", reason, "--format", "json", stdout=out)
    return json.loads(out.getvalue())


def test_of_an_earlier_releases_database_is_noted_what_its_secrets_tell(pushed, settings, begin):
    """Whoever runs `migrate` first: here two hosts at once, both with other settings."""
    DatabaseClaim.objects.update(facts=None)
    settings.NOVA_SECRET_PREFIX, settings.AWS_REGION = "nova/clientss", "eu-west-1"
    begin()

    def migrate(_host: int) -> list[str]:
        try:
            return note_facts_after_migrate("default")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as both:
        printed = [*both.map(migrate, range(2))]

    differs = "NOVA_SECRET_PREFIX is nova/clientss here, and nova/clients is noted"
    assert [differs in lines[0] for lines in printed] == [True, True]
    facts = read_facts()
    assert (facts["NOVA_SECRET_PREFIX"], facts["AWS_REGION"]) == (["nova/clients"], ["us-east-1"])
    assert facts["AWS account"] == [HOME]


# The fact that differs by each; another fingerprint key replaces the one derived from SECRET_KEY.
SETTINGS = [
    ({"NOVA_SECRET_PREFIX": "nova/clientss"}, "NOVA_SECRET_PREFIX"),
    ({"AWS_REGION": "eu-west-1"}, "AWS_REGION"),
    ({"SECRET_KEY": NEW_KEY}, "SECRET_KEY"),
    ({"NOVA_AUDIT": AuditSettings(key=NEW_KEY)}, "NOVA_AUDIT_KEY"),
    ({"NOVA_FINGERPRINT_KEY": NEW_KEY}, None),
]


def test_what_differs_is_named_and_nothing_is_written(pushed, aws, begin, caplog):
    write_password(pushed, "example-password-2")
    before = count_writes(aws)
    for setting, fact in SETTINGS:
        caplog.clear()
        with override_settings(**setting), caplog.at_level(logging.ERROR, shared_facts.__name__):
            begin()
            (result,) = push(client_ids=[pushed])
            find_write_refusal()
            if fact is None:
                assert (result.message, count_writes(aws) > before) == (None, True)
                continue
            assert result.message.key == "host_differs"
            assert fact in str(result.message)
            assert count_writes(aws) == before
            assert find_codes() == ["host_differs"]
            assert len(caplog.records) == 1
            assert NEW_KEY not in caplog.text
            with pytest.raises(CommandError, match=fact) as refused:
                call_command("push_pending", "--inline")
            assert refused.value.returncode == 1
    assert list_secrets() == {"nova/clients/idom"}


def test_a_host_that_differs_moves_back_and_not_forward(idom, settings, begin):
    enter_phase(idom, Phase.DUAL_READ)
    note_facts_after_migrate("default")
    settings.NOVA_SECRET_PREFIX = "nova/clients/b"
    begin()

    move(client_id=idom, new=Phase.DUAL_WRITE)

    assert phase_of(idom) == Phase.DUAL_WRITE
    with pytest.raises(ShutGate) as shut:
        move(client_id=idom, new=Phase.DUAL_READ)
    assert "host_differs" in shut.value.codes


def live_in_another_account() -> None:
    """All that this process reads in AWS is another account's, with clients of the same names."""
    set_facts(AWS_account=["210987654321"])


def test_what_another_account_holds_under_the_same_names_fills_no_rows(idom, begin):
    """NOVA would be handed it as soon as PostgreSQL decides again."""
    back = {idom: (Phase.AWS, Phase.DUAL_READ)}
    enter_phase(idom, Phase.AWS)
    purged = make_full_client("purged")
    enter_phase(purged, Phase.PURGED)
    back[purged] = Phase.PURGED, Phase.AWS
    rows = {pk: read_passwords(pk) for pk in back}
    note_facts_after_migrate("default")
    live_in_another_account()
    begin()

    for pk, (phase, new) in back.items():
        with pytest.raises(ShutGate) as shut:
            move(client_id=pk, new=new)
        assert shut.value.codes == ["host_differs"]
        assert (phase_of(pk), read_passwords(pk)) == (phase, rows[pk])


def test_an_account_that_has_no_secret_leaves_a_client_in_aws_too(idom, aws, begin):
    enter_phase(idom, Phase.AWS)
    note_facts_after_migrate("default")
    aws.reset()
    begin()

    with pytest.raises(ShutGate) as shut:
        move(client_id=idom, new=Phase.DUAL_READ)

    assert shut.value.codes == ["host_differs"]


def test_what_a_host_that_differs_finds_equal_is_no_evidence(pushed, begin):
    ran = Comparison.objects.count()
    live_in_another_account()
    begin()

    (found,) = compare(client_ids=[pushed]).values()
    (result,) = push(client_ids=[pushed])

    assert (found.status, found.message.key) == (Comparison.Status.UNCHECKED, "host_differs")
    assert result.message.key == "host_differs"
    with pytest.raises(NotResolved, match="AWS account"):
        check_again(client_id=pushed)
    assert Comparison.objects.count() == ran


def test_a_run_in_another_account_waits_moves_nobody_and_stores_no_comparison(idom, begin):
    """It reads the names of NOVA's secrets in another account, and may find there what the rows hold."""
    pks = {Phase.DUAL_READ: idom, Phase.AWS: make_full_client("other")}
    for phase, pk in pks.items():
        enter_phase(pk, phase)
    compare(client_ids=[*pks.values()])
    note_facts_after_migrate("default")
    Comparison.objects.update(status=Comparison.Status.UNCHECKED)
    ClientMigration.objects.update(comparison_status=Comparison.Status.UNCHECKED)
    ran = Comparison.objects.count()
    there_and_back = (Phase.DUAL_READ, Phase.AWS), (Phase.AWS, Phase.DUAL_READ)
    runs = [
        start_move_run(chosen=all_clients().in_phases(old), old=old, new=new, reason="INC-7")
        for old, new in there_and_back
    ]
    live_in_another_account()
    begin()

    for run, (old, _new) in zip(runs, there_and_back, strict=True):
        item = run.items.get()
        process_move_items(run, {pks[old]: item})
        assert item.message.codes == ["host_differs"]
        assert (item.outcome, phase_of(pks[old])) == ("", old)
    assert Comparison.objects.count() == ran


def rotate(settings, key: str, *fallbacks: str) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = key, list(fallbacks)
    settings.NOVA_AUDIT = AuditSettings(old_keys=fallbacks)
    write_guard().forget_state()


def test_a_key_is_rotated_over_two_hosts_and_neither_is_refused_in_between(pushed, settings):
    """First every host gets the new key as a fallback, then it is the key, then `migrate` notes it."""
    old, before = settings.SECRET_KEY, read_facts()
    for keys in ([old], [old, NEW_KEY], [NEW_KEY, old], [NEW_KEY, OTHER_KEY, old]):
        rotate(settings, *keys)
        assert find_write_refusal() is None

    rotate(settings, NEW_KEY, old)
    note_facts_after_migrate("default")

    now = read_facts()
    for key in KEYS:
        assert now[key][1:] == before[key]
    for keys in ([old, NEW_KEY], [NEW_KEY, old], [NEW_KEY]):
        rotate(settings, *keys)
        assert find_write_refusal() is None
    rotate(settings, old)
    assert "SECRET_KEY" in str(find_write_refusal())
    # A host that lags behind never takes the note back to a former key.
    for keys in ([old, NEW_KEY], [old]):
        rotate(settings, *keys)
        note_facts_after_migrate("default")
        assert read_facts() == now
    assert AuditEvent.objects.filter(code=CLAIM_EVENT).count() == len(KEYS)


def test_a_lost_key_is_claimed_with_a_reason_and_the_old_one_differs_from_then_on(pushed, settings):
    old = settings.SECRET_KEY
    rotate(settings, NEW_KEY)
    for options in (["--reason", " "], []):
        with pytest.raises(CommandError) as refused:
            call_command("claim_database", "--facts", *options)
        assert refused.value.returncode == 2
    assert find_write_refusal().key == "host_differs"

    told = claim("INC-7: lost")

    assert {each["fact"] for each in told["facts"]} == set(KEYS)
    assert (told["refusal"], find_write_refusal()) == (None, None)
    assert AuditEvent.objects.get(code=CLAIM_EVENT).reason == "INC-7: lost"
    facts = DatabaseClaim.objects.newest().facts
    assert {len(set(facts[key])) for key in KEYS} == {2}  # the lost one is kept beside it
    with pytest.raises(CommandError, match="has the expected settings"):
        claim()
    rotate(settings, old)
    assert find_write_refusal().key == "host_differs"


def test_prefix_and_region_change_only_while_nova_reads_no_client_from_aws(idom, settings):
    enter_phase(idom, Phase.DUAL_WRITE)
    note_facts_after_migrate("default")
    for setting, value in (("NOVA_SECRET_PREFIX", "nova/clients/b"), ("AWS_REGION", "eu-west-1")):
        setattr(settings, setting, value)
        for phase in (Phase.DUAL_READ, Phase.AWS):
            ClientMigration.objects.update(phase=phase)
            write_guard().forget_state()
            with pytest.raises(CommandError, match="back to dual_write first") as refused:
                claim()
            assert refused.value.returncode == 2

        ClientMigration.objects.update(phase=Phase.DUAL_WRITE)
        assert claim()["facts"][0]["claimed"] == value
        assert DatabaseClaim.objects.newest().facts[setting] == [value]
        assert find_write_refusal() is None


@pytest.mark.parametrize("clients", [2, 13])
@pytest.mark.usefixtures("stores")
def test_a_living_process_whose_account_changes_makes_nothing_in_the_other(
    aws, monkeypatch, clients
):
    """Credentials that a process reads anew, of a profile or a program, can be another account's."""
    pks = [make_full_client(f"client-{n}") for n in range(clients)]
    enter_phase_together(pks, Phase.DUAL_WRITE)
    note_facts_after_migrate("default")
    write_guard().forget_state()
    push(client_ids=pks)
    known = list(Secret.objects.order_by("name").values_list("name", "arn"))
    for pk in pks:
        write_password(pk, "example-password-2")

    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("nova_admin.embedded.service.ACCOUNT", "210987654321")
        elsewhere.setattr(aws._service, "_backends", {})
        results = push(client_ids=pks)
        made = list_secrets()

    assert made == set()
    assert {result.message.key for result in results} == {"host_differs"}
    assert list(Secret.objects.order_by("name").values_list("name", "arn")) == known
    assert all(is_pending(pk) for pk in pks)


def test_a_note_that_no_site_wrote_counts_as_none_and_is_written_anew(pushed, begin):
    written = '{"SECRET_KEY": []}', '{"AWS account": 7}', '{"AWS_REGION": {"0": 1}}'
    for facts in ("[]", "7", "null", *written):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE migration_databaseclaim SET facts = %s::jsonb", [facts])
        begin()

        assert find_codes() == [], facts
        assert TaskTaker().takes_tasks(), facts

        assert find_write_refusal() is None, facts
        noted = {"NOVA_SECRET_PREFIX", "AWS_REGION", "AWS account", *KEYS}
        assert read_facts().keys() == noted, facts


def test_who_notes_waits_for_no_held_table_and_its_connection_waits_for_others_as_before(pushed):
    """All turns of this process are reserved on that connection, behind other processes' rows."""
    own = rate_limiter()
    note = lambda: own.run_statement(lambda it: note_missing_facts(it, {}))  # noqa: E731
    with nova_connected() as nova:
        nova.execute("LOCK TABLE public.clients")
        noted = [note()]
        nova.rollback()
        noted.append(note())

    assert noted == [False, True]
    assert own.run_statement(lambda it: fetch_all(it, "SHOW lock_timeout", [])) == [("0",)]


def test_the_account_is_noted_with_the_first_secret_and_asked_for_by_nobody_else(idom, aws, begin):
    enter_phase(idom, Phase.DUAL_WRITE)
    begin()
    write_password(idom, "example-password-2")

    push(client_ids=[idom])

    assert read_facts()["AWS account"] == [HOME]
    # A push reads before it writes, and is told the account by that.
    assert "DescribeSecret" not in aws.conditions.report()["calls"]


def test_another_account_that_has_the_same_names_is_told_by_its_secrets(pushed, aws):
    set_facts(AWS_account=["210987654321"])
    write_password(pushed, "example-password-2")
    before = count_writes(aws)

    (result,) = push(client_ids=[pushed])

    assert f"AWS account is {HOME} here, and 210987654321 is noted" in str(result.message)
    assert count_writes(aws) == before


def test_another_account_that_has_none_of_the_secrets_gets_none(pushed, aws, settings, begin):
    """It answers, has nothing, and would take everything."""
    aws.reset()
    begin()
    write_password(pushed, "example-password-2")

    (result,) = push(client_ids=[pushed])

    assert result.message.key == "host_differs"
    assert list_secrets() == set()
    assert find_codes() == ["host_differs"]

    # Two embedded stores share no account: somebody emptied the one.
    settings.EMBEDDED_STORES = True
    begin()
    (result,) = push(client_ids=[pushed])
    assert (result.outcome, list_secrets()) == ("created", {"nova/clients/idom"})


def test_an_account_that_nobody_knows_as_aws_is_away_is_no_agreement_and_stops_nobody(
    pushed, aws, begin
):
    write_password(pushed, "example-password-2")
    before = count_writes(aws)
    for fault in (Fault.DENIED, Fault.DOWN):
        begin()
        strike(aws, fault)
        (failed,) = push(client_ids=[pushed])
        assert failed.outcome == "failed"
        assert failed.message.key != "host_differs"
        assert find_codes() == []  # nothing is known to differ
    assert seen_account.account is None
    assert count_writes(aws) == before
    aws.conditions.set(Conditions())

    (result,) = push(client_ids=[pushed])

    assert result.outcome == "updated"
    assert find_write_refusal() is None


def test_the_page_shows_what_all_hosts_share_and_no_key(pushed, client, settings):
    client.force_login(make_user("viewer", *VIEW))
    settings.NOVA_SECRET_PREFIX = "nova/clients/b"
    write_guard().forget_state()

    page = client.get(reverse("admin:migration_run_aws_writes"))

    facts = {fact["name"]: fact for fact in page.context["facts"]}
    assert [name for name, fact in facts.items() if fact["differs"]] == ["NOVA_SECRET_PREFIX"]
    assert page.context["differences"].key == "host_differs"
    assert facts["SECRET_KEY"]["noted"] in page.content.decode()
    assert settings.SECRET_KEY not in page.content.decode()


@pytest.mark.parametrize(
    ("noted", "differs"),
    [
        ({}, []),
        ({"AWS_REGION": ["us-east-1"]}, []),
        ({"AWS_REGION": ["eu-west-1", "us-east-1"]}, ["AWS_REGION"]),
        ({"AWS account": [""]}, []),  # given up: the next secret tells
        ({"SECRET_KEY": ["0" * 16]}, ["SECRET_KEY"]),
    ],
)
def test_only_the_noted_value_that_holds_counts(noted, differs):
    assert list(find_differences(noted)) == differs


def test_codes_of_keys_are_short_and_differ():
    codes = [code for key in KEYS for code in list_own_facts()[key]]

    assert {len(code) for code in codes} == {16}
    assert len(set(codes)) == len(codes)


def test_whether_the_account_changed_is_asked_of_other_secrets_than_those_that_are_gone(
    idom, aws, begin
):
    """Of two known ones one is deleted by hand: the other one says that it is the account of before."""
    other = make_full_client("other")
    for pk in (idom, other):
        enter_phase(pk, Phase.DUAL_WRITE)
    gone = "nova/clients/idom"
    SecretsManager().sm.delete_secret(SecretId=gone, ForceDeleteWithoutRecovery=True)
    begin()

    seen_account.doubt(HOME, missing=[gone])

    assert seen_account.account == HOME


def test_account_and_access_key_are_told_by_their_end_and_said_to_be_unknown_where_they_are(
    pushed, aws, monkeypatch
):
    assert str(describe_aws_account_and_key()) == f"account {HOME}, key …dded"

    Secret.objects.all().delete()
    monkeypatch.setattr(SecretsManager, "find_access_key_hint", lambda _self: "")
    assert str(describe_aws_account_and_key()) == "account unknown, key unknown"
