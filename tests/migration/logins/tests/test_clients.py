"""The logins of clients: tested with either store's values, by pages, runs and the command; the gate; the advice."""

import json
from functools import partial

import pytest
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client
from migration.core.aws_store import secrets_manager
from migration.core.clients import all_clients
from migration.core.outgoing import LoginOutcome
from migration.logins.models import LoginStore, LoginStores
from migration.logins.testing import (
    LOGIN_TEST_EVENT,
    CopyAdvice,
    LoginKey,
    advise_copy,
    read_logins,
    try_client_logins,
)
from migration.models import AuditEvent, LoginTest, OpenMismatch, RunItem
from migration.moves.readiness import with_blocker
from migration.moves.rules import LOGIN_REFUSED, TOO_OLD, Ask, judge_gates
from migration.pushes import resolutions
from migration.pushes.resolutions import copy_to_aws, copy_to_postgres
from migration.runs.engine import finish_inline
from migration.runs.items import Outcome
from migration.runs.models import Run
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase
from tests.factories import (
    make_aws,
    make_client,
    make_database,
    make_email,
    make_in_role,
    update,
)
from tests.migration.logins.tests.servers import HOST, PASSWORD, USER
from tests.migration.moves.clients import change_in_aws, enter_phase, enter_phase_together
from tests.migration.pages import act_page, press_act
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def ports(servers, scram_server):
    return {
        "database": servers.database(behind=scram_server),
        "imap": servers.imap(),
        "smtp": servers.smtp(),
    }


@pytest.fixture
def client_pk(stores, settings, ports):
    """A client whose three logins work."""
    settings.AWS_IDENTITY_ENDPOINT = stores.endpoint
    pk = make_client("idom")
    make_database(
        pk,
        db_host=HOST,
        db_port=ports["database"],
        db_name="postgres",
        db_user=USER,
        db_password_encrypted=f" {PASSWORD} ",
    )
    make_email(
        pk,
        imap_host=HOST,
        imap_port=ports["imap"],
        smtp_host=HOST,
        smtp_port=ports["smtp"],
        email_user=USER,
        email_password_encrypted=PASSWORD,
    )
    make_aws(
        pk,
        access_key_id="DEMOKEYID00000000001",
        secret_access_key="demo/secret/access/key/00000000000000001",
    )
    return pk


@pytest.fixture
def browser(client, admin_user):
    client.force_login(admin_user)
    return client


def outcomes(pk):
    return {(test.kind, test.store): test.outcome for test in LoginTest.objects.newest([pk])}


def break_database(pk):
    row = Client.objects.get(pk=pk).databases.get()
    update("client_database_credentials", row.pk, db_password_encrypted="wrong")
    return row.pk


def test_either_store_s_values_are_tried_and_the_newest_result_kept(client_pk, admin_user):
    enter_phase(client_pk, Phase.DUAL_READ)
    row = break_database(client_pk)  # AWS still has what works

    try_client_logins(client_id=client_pk, stores=list(LoginStore), by=admin_user)

    assert outcomes(client_pk) == {
        ("database", "postgres"): "refused",
        ("database", "aws"): "works",
        ("email", "postgres"): "works",
        ("email", "aws"): "works",
        ("aws", "postgres"): "works",
        ("aws", "aws"): "works",
    }
    assert advise_copy(LoginTest.objects.newest([client_pk])) == CopyAdvice.TO_POSTGRES
    update("client_database_credentials", row, db_password_encrypted=f" {PASSWORD} ")
    only = LoginKey(CredentialType.DATABASE, row)
    (again,) = try_client_logins(
        client_id=client_pk, stores=[LoginStore.POSTGRES], by=admin_user, only=only
    )
    assert again.works
    assert set(outcomes(client_pk).values()) == {"works"}
    assert LoginTest.objects.count() == 7
    event = AuditEvent.objects.filter(code=LOGIN_TEST_EVENT).first()
    assert (event.who, event.slug) == (admin_user.username, "idom")


@pytest.mark.parametrize(
    ("copy", "store"),
    [
        (copy_to_aws, LoginStore.AWS),
        (partial(copy_to_postgres, replaces_newer=True), LoginStore.POSTGRES),
    ],
)
def test_a_copy_takes_back_the_tests_of_the_values_that_it_replaces(
    client_pk, admin_user, copy, store
):
    enter_phase(client_pk, Phase.DUAL_READ)
    if store == LoginStore.AWS:
        change_in_aws(secrets_manager(), password="wrong")
    else:
        break_database(client_pk)
    try_client_logins(client_id=client_pk, stores=list(LoginStore), by=admin_user)
    wrong = LoginTest.objects.get(outcome="refused")
    assert (wrong.kind, wrong.store) == ("database", store.value)

    copy(client_id=client_pk, by=admin_user)

    left = outcomes(client_pk)
    assert len(left) == 5
    assert set(left.values()) == {"works"}
    assert ("database", store.value) not in left
    assert not LoginTest.objects.refused_in_aws().exists()


def test_a_copy_leaves_the_tests_of_what_it_does_not_change(client_pk, admin_user):
    """The same wrong password in both stores is refused still."""
    break_database(client_pk)
    enter_phase(client_pk, Phase.DUAL_READ)
    try_client_logins(client_id=client_pk, stores=[LoginStore.AWS], by=admin_user)

    copy_to_aws(client_id=client_pk, by=admin_user)

    assert outcomes(client_pk)["database", "aws"] == "refused"


def test_a_copy_does_not_read_aws_for_tests_that_nobody_made(client_pk, admin_user, monkeypatch):
    enter_phase(client_pk, Phase.DUAL_READ)
    monkeypatch.setattr(resolutions, "read_aws", lambda *_, **__: pytest.fail("AWS was read"))

    copy_to_aws(client_id=client_pk, by=admin_user)


def test_what_can_t_be_read_is_not_tried(client_pk, admin_user):
    assert read_logins(client_pk, LoginStore.AWS) == []  # in PostgreSQL alone
    enter_phase(client_pk, Phase.DUAL_WRITE)
    assert len(read_logins(client_pk, LoginStore.AWS)) == 3
    assert PASSWORD not in repr(read_logins(client_pk, LoginStore.AWS))
    from nova_credentials.aws.secrets_manager import SecretsManager

    SecretsManager().schedule_deletion("nova/clients/idom", days=7)
    with pytest.raises(SecretsManagerError):
        try_client_logins(client_id=client_pk, stores=list(LoginStore), by=admin_user)
    assert not LoginTest.objects.exists()


def gate_codes(pk, new=Phase.AWS):
    return {
        check.code: check.passed
        for check in judge_gates(Ask([pk]), new)[pk]
        if check.code == "aws_login_refused"
    }


def test_a_refused_login_of_aws_s_copy_shuts_the_gate(client_pk, admin_user):
    enter_phase(client_pk, Phase.DUAL_READ)
    assert gate_codes(client_pk) == {}
    test = LoginTest(client_id=client_pk, kind="database", credential_id=1, by=admin_user)
    for store, outcome, passes in (
        ("aws", LoginOutcome.UNREACHABLE, True),
        ("aws", LoginOutcome.REFUSED, False),
        ("aws", LoginOutcome.WORKS, True),
        ("postgres", LoginOutcome.REFUSED, True),
    ):
        test.pk, test.store, test.outcome = None, store, outcome.value
        LoginTest.objects.record([test], client_id=client_pk, store=LoginStore(store))
        assert gate_codes(client_pk) == {"aws_login_refused": passes}
        if not passes:
            assert gate_codes(client_pk, Phase.PURGED) == {"aws_login_refused": passes}
            assert gate_codes(client_pk, Phase.DUAL_READ) == {}
        blocker = with_blocker(all_clients().filter(pk=client_pk)).get().blocker
        assert (blocker == LOGIN_REFUSED.code) == (not passes) or blocker == TOO_OLD.code


def run_tests(stores=LoginStores.BOTH, **options):
    run = Run.start(kind=Run.Kind.TEST_LOGINS, chosen=all_clients(), stores=stores, **options)
    finish_inline(run)
    return {item.slug: item for item in RunItem.objects.filter(run=run)}


def test_a_run_tests_every_client_and_writes_nothing(client_pk, ports):
    make_client("empty")
    wrong = make_client("wrong")
    make_database(wrong, db_host=HOST, db_port=ports["database"], db_user=USER, db_name="postgres")
    nowhere = make_client("nowhere")
    make_database(nowhere, db_host=HOST, db_port=1)
    enter_phase_together([client_pk], Phase.DUAL_WRITE)

    items = run_tests()

    assert {slug: item.outcome for slug, item in items.items()} == {
        "idom": Outcome.TESTED,
        "empty": Outcome.SKIPPED,
        "wrong": Outcome.FAILED,
        "nowhere": Outcome.FAILED,
    }
    assert items["wrong"].message.key == "logins_failed"
    assert items["nowhere"].message.key == "logins_not_reached"
    assert not Run.objects.get(pk=items["wrong"].run_id).needs_aws_writes_allowed
    failed = RunItem.objects.needing_attention()
    assert set(failed.values_list("slug", flat=True)) == {"wrong", "nowhere"}
    row = Client.objects.get(pk=wrong).databases.get().pk
    LoginTest.objects.record(
        [
            LoginTest(
                client_id=wrong,
                kind="database",
                credential_id=row,
                store="postgres",
                outcome="works",
            )
        ],
        client_id=wrong,
        store=LoginStore.POSTGRES,
        all_read_at=timezone.now(),
    )
    assert set(failed.values_list("slug", flat=True)) == {"nowhere"}


def test_a_login_that_was_refused_is_not_tried_again_by_itself(client_pk, monkeypatch):
    break_database(client_pk)
    tried = []
    from migration.logins import testing

    whole = testing.try_login
    monkeypatch.setattr(
        testing,
        "try_login",
        lambda kind, *args, **options: tried.append(kind) or whole(kind, *args, **options),
    )

    run_tests(stores=LoginStores.POSTGRES, tries=60)

    assert sorted(tried) == ["aws", "database", "email"]


def test_the_command(client_pk, capsys):
    call_command("test_logins", "idom", "--store", "postgres", "--inline", "--format", "json")
    printed = json.loads(capsys.readouterr().out)
    assert (printed["clients"], printed["tested"], printed["failed"]) == (1, 1, 0)
    (item,) = printed["items"]
    assert {(login["type"], login["store"], login["outcome"]) for login in item["logins"]} == {
        (kind, "postgres", "works") for kind in ("database", "email", "aws")
    }
    break_database(client_pk)
    with pytest.raises(SystemExit) as end:
        call_command("test_logins", "--all", "--store", "postgres", "--inline")
    assert end.value.code == 1
    assert "the server refuses user or password" in capsys.readouterr().out
    for wrong in (["--store", "elsewhere", "idom"], [], ["idom", "--all"], ["unknown"]):
        with pytest.raises(CommandError) as error:
            call_command("test_logins", *wrong)
        assert error.value.returncode == 2


def post(browser, pk, **data):
    return browser.post(reverse("admin:credentials_client_test_logins", args=[pk]), data)


def test_the_page_tests_and_shows(client_pk, browser):
    enter_phase(client_pk, Phase.DUAL_WRITE)
    page = reverse("admin:credentials_client_change", args=[client_pk])

    answer = post(browser, client_pk, store="postgres", back=f"{page}?tab=logins")

    assert answer.url == f"{page}?tab=logins"
    shown = browser.get(answer.url)
    assert "3 of 3 logins work." in shown.content.decode()
    cards = shown.context["login_cards"]
    assert [[test.outcome for test in card["tests"]] for card in cards] == [["works"]] * 3
    row = break_database(client_pk)
    of_one = post(browser, client_pk, store="both", kind="database", login=row, back=page)
    (told,) = [str(each) for each in get_messages(of_one.wsgi_request) if "refused" in str(each)]
    assert "values are refused (" in told
    assert outcomes(client_pk)["database", "postgres"] == "refused"
    for wrong in ({"store": "x"}, {"store": "aws", "kind": "x"}, {}):
        assert post(browser, client_pk, **wrong).status_code == 404
    assert post(browser, 99_999, store="aws").status_code == 404


def test_try_both_recommends_a_direction(client_pk, browser):
    enter_phase(client_pk, Phase.DUAL_WRITE)
    break_database(client_pk)
    from migration.pushes.comparisons import compare

    compare(client_ids=[client_pk])
    tab = reverse("admin:credentials_client_change", args=[client_pk]) + "?tab=comparison"
    assert "Try both" in browser.get(tab).content.decode()
    (advice,) = advice_of(browser, "copy_to_postgres", client_pk)
    assert f'href="{tab}#try-both">Try both first' in advice

    post(browser, client_pk, store="both", back=tab)

    shown = browser.get(tab)
    # Said once, beside the buttons.
    assert shown.content.decode().count("Copy AWS to PostgreSQL.") == 1
    assert shown.context["advised"] == "Copy AWS to PostgreSQL"
    # The page that copies says it too, and the other one that it is the wrong way.
    advice = [advice_of(browser, code, client_pk) for code in ("copy_to_aws", "copy_to_postgres")]
    assert ["The other way" in each for (each,) in advice] == [True, False]
    # What differs since then no test has tried.
    OpenMismatch.objects.update(first_seen_at=timezone.now())
    with pages_left_out():
        assert browser.get(tab).context_data["copy_advice"] is None


def advice_of(browser, code, pk):
    with pages_left_out():
        return browser.get(act_page(code, pk)).context_data["advice"]


@pytest.mark.parametrize(
    ("pairs", "advice"),
    [
        ([], None),
        ([("works", None)], None),
        ([("works", "refused")], CopyAdvice.TO_AWS),
        ([("refused", "works"), ("works", "works")], CopyAdvice.TO_POSTGRES),
        ([("works", "refused"), ("refused", "works")], CopyAdvice.MIXED),
        ([("works", "works")], CopyAdvice.EITHER),
        ([("refused", "refused"), ("works", "works")], CopyAdvice.NEITHER),
        ([("timed_out", "works")], CopyAdvice.UNCLEAR),
    ],
)
def test_the_advice(pairs, advice):
    tests = [
        LoginTest(kind="database", credential_id=number, store=store, outcome=outcome)
        for number, pair in enumerate(pairs)
        for store, outcome in zip(("postgres", "aws"), pair, strict=True)
        if outcome
    ]
    assert advise_copy(tests) == advice
    if advice:
        assert str(advice.message)


def test_whoever_asks_for_one_client_waits_for_its_tests(client_pk, client):
    client.force_login(make_in_role("operator", "Operator"))

    press_act(client, act_page("test_logins", client_pk), stores="postgres")

    assert set(LoginTest.objects.values_list("client_id", "store")) == {(client_pk, "postgres")}
    assert not Run.objects.exists()
