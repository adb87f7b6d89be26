"""Several hosts on one PostgreSQL, each with workers and a name of its own. `make study reliability` takes longer."""

import socket
from datetime import timedelta

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.utils import timezone

from migration import tasks
from migration.core.clients import all_clients
from migration.models import AuditEvent, PhaseChange, Rate, Worker
from migration.runs.items import PUSHED
from migration.runs.models import Run
from nova_admin.embedded.management.commands.demo import add_clients_up_to
from nova_admin.environment import make_queue_settings
from nova_credentials.phases import Phase
from tests.checkout import manage
from tests.factories import nova_uri, start_run
from tests.hosts import kill_group, running_host, wait_until

CLIENTS = 40


def test_a_host_that_is_killed_in_mid_run_leaves_its_work_to_the_other(stores):
    environment = {
        "DATABASE_URL": nova_uri(),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": stores.endpoint,
        "NOVA_WORKERS": "1",
    }
    add_clients_up_to(CLIENTS)
    Rate.objects.set_rates({Rate.Kind.CREATE: 1})
    run = start_run(kind=Run.Kind.MIGRATE, chosen=all_clients())
    with running_host("north", **environment) as north:
        wait_until(lambda: stores.conditions.report()["calls"].get("CreateSecret"))
        with running_host("south", **environment):
            wait_until(lambda: list_hosts() == {"north", "south"})
            kill_group(north)
            assert run.items.filter(outcome="").count() == CLIENTS
            Rate.objects.set_rates({Rate.Kind.CREATE: None})
            # As the schedule does, two minutes later.
            Run.objects.update(worked_at=timezone.now() - timedelta(minutes=2))
            tasks.resume_stalled_runs()
            wait_until(lambda: Run.objects.get(pk=run.pk).finished_at)

    assert run.items.filter(outcome__in=PUSHED).count() == CLIENTS
    moves = PhaseChange.objects.filter(new=Phase.DUAL_WRITE)
    assert len(set(moves.values_list("client", flat=True))) == moves.count() == CLIENTS
    # Without the run's own: this process started it.
    events = AuditEvent.objects.filter(correlation=f"run {run.pk}").exclude(slug="")
    assert set(events.values_list("origin", flat=True)) == {"worker on south"}
    # What the killed one wrote is found, and not written again.
    assert stores.conditions.report()["calls"]["CreateSecret"]["calls"] == CLIENTS


def list_hosts() -> set[str]:
    names = Worker.objects.values_list("name", flat=True)
    return {name.partition(":")[0] for name in names}


def test_a_host_has_its_own_name_or_one_that_it_is_given(settings):
    assert socket.gethostname() == settings.NOVA_HOST_NAME

    code = "from migration.core.audit import process_origin; print(process_origin())"
    told = manage("shell", "-v", "0", "-c", code, NOVA_HOST_NAME="north")

    assert told.stdout == "command shell on north\n"


def test_a_host_has_no_queue_of_its_own(monkeypatch):
    """Before, it ended with KeyError; and of django-q's --name nothing came."""
    monkeypatch.setenv("Q_CLUSTER_NAME", "north")
    with pytest.raises(ImproperlyConfigured, match=r"Q_CLUSTER_NAME is set.*NOVA_HOST_NAME"):
        make_queue_settings("", 1)
    with pytest.raises(CommandError, match="unrecognized arguments: --name"):
        call_command("qcluster", "--name", "north")
