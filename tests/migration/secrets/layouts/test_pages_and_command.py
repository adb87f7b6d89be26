"""Who changes a layout: on the client's page, and by the command for many."""

import json

import pytest
from django.core.management import call_command
from django.urls import reverse

from migration.core import aws_store
from migration.core.pages import get_act_url
from migration.core.sentences import IS_OFFBOARDED, NOT_OURS
from migration.models import AuditEvent, ClientMigration, Offboarding, RunItem
from migration.runs import engine
from migration.runs.failures import count_failed_clients
from migration.runs.items import Act
from migration.runs.models import Run
from migration.secrets import layouts
from migration.secrets.layouts import LAYOUT_CHANGED, NAME_IS_MOVING
from nova_credentials.aws.client_secrets import ClientSecretsManager
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests.factories import make_full_client, make_user, nova_uri
from tests.migration.moves.clients import NAME, enter_phase, enter_phase_together

pytestmark = pytest.mark.usefixtures("stores")


def test_its_page_shows_both_layouts_and_changes_to_the_one_that_it_showed(client):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    client.force_login(make_user("ada", "migration.move_client", "credentials.view_client"))
    page = get_act_url("layout_service", [pk])
    former = reverse("admin:credentials_client_layout", args=[pk])
    tab = f"{reverse('admin:credentials_client_change', args=[pk])}?tab=comparison"

    opened = client.get(page)
    assert f"{NAME}/database" in opened.content.decode()
    assert opened.context["number"] == 1
    assert page in client.get(tab).content.decode()
    assert client.get(former).url == page
    assert client.post(former, {"layout": "service"}).status_code == 405
    assert not AuditEvent.objects.filter(code="layout").exists()

    sent = {"confirmed": "1", "clients": opened.context["shown"], "reason": "INC-7"}
    said = client.post(page, sent, follow=True).content.decode()

    assert "NOVA now reads: nova/clients/idom/database, nova/clients/idom/email" in said
    assert "Written too, until no reader needs them any more:" in said
    event = AuditEvent.objects.get(code="layout")
    assert (event.who, event.slug, event.reason) == ("ada", "idom", "INC-7")
    told = client.get(tab.replace("comparison", "history")).context["history"].lines
    assert [line.who for line in told if line.message == event.message] == ["ada"]
    # Somebody who opened the page before presses now.
    client.post(page, sent)
    assert AuditEvent.objects.filter(code="layout").count() == 1
    assert client.get(page).context["number"] == 0
    assert client.get(former).url == get_act_url("layout_client", [pk])


def test_several_change_in_a_run_and_who_can_not_is_refused_with_a_reason(client):
    pks = [make_full_client(slug) for slug in ("acme", "idom", "left", "there")]
    enter_phase_together(pks, Phase.DUAL_READ)
    ClientMigration.objects.filter(pk=pks[3]).update(layout="service")
    ClientMigration.objects.filter(pk=pks[1]).update(other_slug="former")
    Offboarding.objects.create(client_id=pks[2], slug="left", former_phase=Phase.DUAL_READ)
    client.force_login(make_user("ada", "migration.move_client", "credentials.view_client"))
    page = get_act_url("layout_service", pks)

    opened = client.get(page)

    groups = {each["verdict"]: each["clients"] for each in opened.context["groups"]}
    assert [each["slug"] for each, _name in groups["will"]] == ["acme"]
    assert [each["slug"] for each, _name in groups["nothing"]] == ["there"]
    refused = {each["slug"]: each["lines"][0]["code"] for each, _name in groups["refused"]}
    assert refused == {"idom": NAME_IS_MOVING.key, "left": IS_OFFBOARDED.key}

    client.post(page, {"confirmed": "1", "clients": opened.context["shown"]})
    # One is changed while its user waits.
    assert not Run.objects.exists()
    assert ClientMigration.objects.get(pk=pks[0]).layout == "service"

    both = get_act_url("layout_client", [pks[0], pks[3]])
    client.post(both, {"confirmed": "1", "clients": client.get(both).context["shown"]})
    run = Run.objects.get()
    assert (run.kind, run.layout, run.by.username) == ("layout", "client", "ada")
    assert list(run.items.values_list("slug", flat=True)) == ["acme", "there"]


def test_the_command_changes_many_in_a_run_and_says_who_kept_theirs(capsys, client):
    pks = [make_full_client(slug) for slug in ("acme", "idom")]
    enter_phase_together(pks, Phase.DUAL_READ)
    taken = f"{NAME}/aws"
    aws_store.secrets_manager().sm.create_secret(Name=taken, SecretString="theirs")

    with pytest.raises(SystemExit) as ended:
        call_command("change_layout", "service", "--all", "--inline", "--format", "json")

    assert ended.value.code == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["clients"], told["updated"], told["failed"]) == (2, 1, 1)
    acme, idom = told["items"]
    assert (acme["slug"], acme["code"]) == ("acme", LAYOUT_CHANGED.key)
    assert (idom["slug"], idom["code"]) == ("idom", NOT_OURS.key)
    assert count_failed_clients().by_act == {Act.LAYOUT: 1}

    call_command("change_layout", "service", "--all", "--inline", "--adopt", "--reason", "x")
    assert set(ClientMigration.objects.values_list("layout", flat=True)) == {"service"}
    # It succeeded since, in whichever way.
    assert not RunItem.objects.needing_attention().exists()
    # The run is of no help to a client that is gone.
    run = Run.objects.first()
    assert (run.kind, run.layout, str(run)) == ("layout", "service", f"Change of layout {run.pk}")
    assert not run.items.filter(outcome="").exists()
    client.force_login(make_user("ada", "migration.view_run", "credentials.view_client"))
    page = client.get(reverse("admin:migration_run_change", args=[run.pk])).content.decode()
    assert f"Change of layout {run.pk}" in page
    engine.work_on_run(run_id=run.pk)


@pytest.mark.parametrize("phase", [Phase.AWS, Phase.PURGED])
def test_the_plans_six_methods_and_its_reader_work_on_either_side_of_a_change(phase):
    """As the plan's own code calls them: both of its options, on what `change_layout` leaves."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    ClientMigration.objects.update(phase=phase)
    before = ClientSecretsManager().get_client_credentials("idom")

    for layout in (Layout.SERVICE, Layout.CLIENT):
        call_command("change_layout", layout.value, "idom", "--inline")
        plan = ClientSecretsManager(layout=layout)
        assert plan.get_client_credentials("idom") == before
        assert plan.get_database_credentials("idom") == before["database"]
        assert plan.get_email_credentials("idom") == before["email"]
    # Those that write: into the one secret of option A, and the three of option B.
    for layout in Layout:
        plan = ClientSecretsManager(layout=layout)
        plan.create_client_credentials("other", before)
        plan.rotate_password("other", "email", "example-rotated")
        changed = before | {"email": before["email"] | {"app_password": "example-rotated"}}
        assert plan.get_client_credentials("other") == changed
        plan.update_client_credentials("other", before)
        assert plan.get_client_credentials("other") == before
    # And into what a change has just made: NOVA's reader has it at once.
    plan = ClientSecretsManager()
    plan.rotate_password("idom", "database", "example-rotated")
    reader = Reader(nova_uri(), cache_seconds=0, layout=Layout.SERVICE)  # the table says otherwise
    assert reader.get_credential("idom", "database").db_password == "example-rotated"
    reader.close()


def test_a_worker_that_changes_it_is_patient_with_aws(monkeypatch):
    make_full_client("idom")
    change, asked = layouts.change_layout, []

    def note(**options):
        asked.append(options["interactive"])
        return change(**options)

    monkeypatch.setattr(layouts, "change_layout", note)
    call_command("change_layout", "service", "idom", "--inline", "--format", "json")

    assert asked == [False]
