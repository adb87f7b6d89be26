"""The plugin that judges every call of a run: it finds what a policy lacks, and what is never made."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from migration.core import aws_store
from migration.doctor.iam import Role, examine_account, list_permissions
from migration.pushes.pushes import push
from nova_credentials.document import Layout
from tests.factories import make_full_client
from tests.migration.doctor.iam import recorder as plugin

ROOT = Path(plugin.ROOT)
EVERYTHING = {
    (role.value, each.action)
    for role in Role
    for each in list_permissions(role, frozenset(Layout), kms=False, replicas={"eu-west-1": ""})
}


@pytest.fixture
def heard(monkeypatch) -> plugin.Recorder:
    """A recorder of this test's own, whose findings fail nothing."""
    fresh = plugin.Recorder()
    monkeypatch.setattr(plugin, "recorder", fresh)
    return fresh


def test_a_push_is_heard_as_the_sites(stores, heard):
    push(client_ids=[make_full_client("idom")])

    assert heard.refused == []
    assert ("admin", "secretsmanager:CreateSecret") in heard.used
    assert ("admin", "secretsmanager:TagResource") in heard.used  # for the tags that it sends
    assert {role for role, _action in heard.used} == {"admin"}


def test_a_call_that_its_policy_lacks_is_named(stores, heard, monkeypatch):
    monkeypatch.setattr(plugin, "policy_of", lambda *_: {"Version": "2012-10-17", "Statement": []})

    push(client_ids=[make_full_client("idom")])

    assert "admin: Request(action='secretsmanager:CreateSecret'" in str(heard.take_refused())
    assert heard.take_refused() == []


def test_what_a_test_asks_itself_is_nobodys_call(stores, heard):
    aws_store.secrets_manager().sm.create_secret(Name="nova/clients/theirs", SecretString="{}")
    aws_store.secrets_manager().put_value("nova/clients/theirs", "{}")

    assert (heard.used, heard.refused) == (set(), [])


def test_what_check_aws_tries_is_judged_and_is_no_use_of_a_permission(stores, heard):
    push(client_ids=[make_full_client("idom")])
    before = set(heard.used)

    examine_account()

    assert heard.refused == []
    trials = {"ListSecretVersionIds", "RestoreSecret", "UpdateSecretVersionStage", "ListSecrets"}
    assert not {action for _role, action in heard.used - before if action.split(":")[1] in trials}


def test_a_rotations_calls_have_to_be_allowed_to_who_only_rotates(stores, heard):
    with heard.rotating():
        push(client_ids=[make_full_client("idom")])

    assert ("rotation", "secretsmanager:CreateSecret") in heard.used


@pytest.mark.parametrize("lacking", sorted(EVERYTHING))
def test_a_permission_that_no_call_needs_is_named(lacking):
    assert plugin.find_never_made(EVERYTHING) == []
    assert plugin.find_never_made(EVERYTHING - {lacking}) == [f"{lacking[0]}: {lacking[1]}"]


def options(**narrowed):
    plain = dict.fromkeys(plugin.NARROWED)
    return SimpleNamespace(**plain | narrowed)


def test_only_the_whole_suite_says_what_is_never_made():
    tests = str(ROOT / "tests")
    assert plugin.is_whole(options(keyword=""), [tests])
    assert plugin.is_whole(options(), [f"{tests}/"])
    assert not plugin.is_whole(options(), [f"{tests}/migration"])
    assert not plugin.is_whole(options(), [f"{tests}/iam", f"{tests}/law"])
    for narrowed in ("keyword", "markexpr", "lf", "deselect", "ignore"):
        assert not plugin.is_whole(options(**{narrowed: "x"}), [tests])


def test_a_run_in_which_a_permission_is_never_used_fails(heard):
    heard.used = EVERYTHING - {("admin", "secretsmanager:DeleteSecret")}
    session = make_session([str(ROOT / "tests")])

    plugin.pytest_sessionfinish(session, pytest.ExitCode.OK)

    assert session.exitstatus == pytest.ExitCode.TESTS_FAILED
    assert session.config.stash == {plugin.NEVER_MADE: ["admin: secretsmanager:DeleteSecret"]}


def test_a_part_of_the_run_does_not_fail_for_it(heard):
    session = make_session([str(ROOT / "tests" / "migration")])

    plugin.pytest_sessionfinish(session, pytest.ExitCode.OK)

    assert session.exitstatus == pytest.ExitCode.OK


def test_processes_of_one_run_tell_the_first_what_they_heard(heard):
    heard.used = {("admin", "secretsmanager:DeleteSecret")}
    worker = make_session([])
    worker.config.workerinput, worker.config.workeroutput = {}, {}
    plugin.pytest_sessionfinish(worker, pytest.ExitCode.OK)
    heard.used = {("reader", "secretsmanager:GetSecretValue")}

    plugin.pytest_testnodedown(worker.config)

    assert heard.used == {
        ("admin", "secretsmanager:DeleteSecret"),
        ("reader", "secretsmanager:GetSecretValue"),
    }


def make_session(args):
    config = SimpleNamespace(option=options(), args=args, stash={})
    return SimpleNamespace(config=config, exitstatus=pytest.ExitCode.OK)
