"""Secrets of several clients are adopted by a run, which holds each to what was shown of it."""

import pytest
from django.core.management import call_command

from credentials.models import Client
from migration import tasks
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.core.pages import get_act_url
from migration.models import AuditEvent, Resolution, Secret
from migration.pushes.pushes import push
from migration.pushes.resolutions import NotResolved
from migration.runs import act_pages
from migration.runs.models import Run
from migration.secrets import acts, adoptions
from migration.secrets.adoptions import SECRET_CHANGED_SINCE
from nova_credentials.phases import Phase
from tests.factories import VIEW, make_full_client, make_user
from tests.migration.moves.clients import NAME, change_in_aws, enter_phase
from tests.migration.pages import CLIENTS, login, plan_page, press_act, start_plan, text
from tests.migration.pushes.pushed import make_anew, push_one, stored
from tests.page_forms import pages_left_out

pytestmark = pytest.mark.usefixtures("stores")


@pytest.fixture
def sm():
    return aws_store.secrets_manager()


@pytest.fixture
def foreign(sm) -> list[int]:
    """Clients whose secrets somebody else made, and one whose secret is ours."""
    pks = [make_full_client(slug) for slug in ("acme", "idom", "ours")]
    for slug in ("acme", "idom"):
        sm.sm.create_secret(Name=f"nova/clients/{slug}", SecretString='{"theirs": "x"}')
    push(client_ids=pks[2:])
    return pks


@pytest.fixture
def browser(client):
    client.force_login(make_user("ada", *VIEW, "migration.add_run"))
    return client


def start(browser, url: str) -> Run:
    sent = {"confirmed": "1", "typed": "2", "reason": "INC-42"}
    with pages_left_out():
        browser.post(url, {**sent, "clients": browser.get(url).context_data["shown"]})
    return Run.objects.get()


def outcomes(run: Run) -> dict[str, str]:
    return dict(run.items.values_list("slug", "outcome"))


def test_several_are_shown_and_adopted_by_a_run(foreign, browser, sm):
    url = get_act_url("adopt", foreign)
    page = browser.get(url)
    assert {each["verdict"]: each["number"] for each in page.context["groups"]} == {
        "will": 2,
        "nothing": 1,
    }
    wrong = {"confirmed": "1", "clients": page.context["shown"], "typed": "3", "reason": ""}
    assert set(browser.post(url, wrong).context["form"].errors) == {"typed", "reason"}
    assert not Run.objects.exists()

    run = start(browser, url)

    # Nothing is adopted before a worker has it.
    assert not sm.describe_secret("nova/clients/acme").has_our_tag
    assert (run.kind, run.reason, run.by.username) == ("adopt", "INC-42", "ada")
    tasks.work_on_run(run.pk)
    assert outcomes(run) == {"acme": "updated", "idom": "updated"}
    for slug in ("acme", "idom"):
        assert sm.describe_secret(f"nova/clients/{slug}").has_our_tag
    events = AuditEvent.objects.filter(code="adoption").values_list("slug", "reason", "who")
    assert sorted(events) == [("acme", "INC-42", "ada"), ("idom", "INC-42", "ada")]
    assert set(Resolution.objects.values_list("kind", flat=True)) == {"to_aws"}
    with pages_left_out():
        assert browser.get(url).context_data["number"] == 0


def test_what_somebody_writes_before_the_worker_comes_is_not_written_over(foreign, browser, sm):
    run = start(browser, get_act_url("adopt", foreign))
    sm.put_value("nova/clients/idom", '{"newer": "x"}')

    tasks.work_on_run(run.pk)

    assert outcomes(run) == {"acme": "updated", "idom": "failed"}
    assert run.items.get(slug="idom").message.key == SECRET_CHANGED_SINCE.key
    assert sm.get_value("nova/clients/idom").text == '{"newer": "x"}'
    assert not Secret.objects.filter(name="nova/clients/idom").exists()


def test_a_worker_that_is_killed_before_the_push_leaves_it_to_the_next(
    foreign, browser, sm, monkeypatch
):
    run = start(browser, get_act_url("adopt", foreign))

    class Killed(BaseException):
        pass

    def die(**_options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(adoptions, "push", die)
        with pytest.raises(Killed):
            tasks.work_on_run(run.pk)
    assert "theirs" in sm.get_value("nova/clients/acme").text

    tasks.work_on_run(run.pk)

    assert set(outcomes(run).values()) <= {"updated", "created"}
    assert "theirs" not in sm.get_value("nova/clients/acme").text


@pytest.mark.parametrize("phase", [Phase.POSTGRES, Phase.DUAL_WRITE, Phase.AWS])
def test_a_command_that_is_killed_between_adoption_and_push_leaves_it_to_the_workers(
    sm, client, monkeypatch, phase
):
    """Before, nobody pushed until somebody asked for it; where NOVA reads PostgreSQL alone, the page offers that."""
    pk = make_full_client("idom")
    if phase == Phase.POSTGRES:
        sm.sm.create_secret(Name=NAME, SecretString='{"theirs": "x"}')
    else:
        enter_phase(pk, phase)
        make_anew(sm, NAME)
        change_in_aws(sm, password="example-theirs")
        sm.sm.untag_resource(SecretId=NAME, TagKeys=["ManagedBy"])
    assert push_one(pk).refused

    class Killed(BaseException):
        pass

    def die(**_options):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Run, "start", die)
        with pytest.raises(Killed):
            call_command("migrate_clients", "idom", "--adopt", "--reason", "INC-42")

    login(client, "ada", *VIEW, "migration.add_run", "migration.view_run")
    history = text(client.get(f"{CLIENTS}{pk}/change/?tab=history"))
    assert "Adopted secrets" in history
    tasks.push_pending()
    for run in Run.objects.all():
        tasks.work_on_run(run.pk)
    if phase == Phase.POSTGRES:
        assert "Push to AWS" in text(client.get(f"{CLIENTS}{pk}/change/"))
        assert push_one(pk).outcome == "updated"
    assert stored(sm, "idom") == Client.objects.get(pk=pk).build_document()
    assert not all_clients().with_ids([pk]).push_pending().exists()


def test_of_many_the_stored_plan_holds_what_was_seen(foreign, browser, sm, monkeypatch):
    monkeypatch.setattr(act_pages, "FEW_CLIENTS", 1)
    browser.post(f"{CLIENTS}act/adopt/?all=1", {"confirmed": "plan"})
    plan = Run.objects.get()
    tasks.work_on_run(plan.pk)
    sm.put_value("nova/clients/idom", "written since")
    with monkeypatch.context() as patched:
        # Neither its page nor its start asks AWS: the run holds each client to what was seen.
        patched.setattr("migration.secrets.acts.list_foreign_secrets", None)
        with pages_left_out():
            assert browser.get(plan_page(plan)).context_data["number"] == 2
        start_plan(browser, plan, typed="2", reason="INC-42")

    run = Run.objects.get()
    tasks.work_on_run(run.pk)
    assert outcomes(run) == {"acme": "updated", "idom": "failed"}
    assert run.items.get(slug="idom").message.key == SECRET_CHANGED_SINCE.key


def test_the_page_of_one_says_why_nothing_was_adopted(foreign, browser, monkeypatch):
    url = get_act_url("adopt", foreign[:1])
    page = browser.get(url)
    slug = Client.objects.get(pk=foreign[0]).slug

    def refuse(**_options) -> None:
        raise NotResolved(SECRET_CHANGED_SINCE())

    monkeypatch.setattr(acts, "adopt_and_overwrite_secrets", refuse)

    answer = press_act(browser, url, page, reason="INC-42", typed=slug)

    assert answer.status_code == 200
    assert str(SECRET_CHANGED_SINCE()) in text(answer)
    assert not AuditEvent.objects.filter(code="adoption").exists()
