"""What commands over all clients hold in memory: some clients at a time, however many there are."""

import io
import json
import weakref
from dataclasses import dataclass

import pytest
from django.core.management import call_command

from credentials.models import Client
from migration.clients import status as client_status
from migration.core.clients import all_clients
from migration.logins.models import LoginStores
from migration.management import progress
from migration.management.base import OneLineOutput, RunCommand
from migration.models import Comparison
from migration.pushes import plans
from migration.runs.items import Outcome
from migration.runs.models import Run
from tests.factories import make_client, make_full_client, make_many

CLIENTS, AT_ONCE = 40, 5


@dataclass
class Alive:
    """The number of objects that are in memory now, and the most that ever were."""

    now: int = 0
    most: int = 0

    def watch(self, made: object) -> object:
        self.now += 1
        self.most = max(self.now, self.most)
        weakref.finalize(made, self._forget)
        return made

    def _forget(self) -> None:
        self.now -= 1


def watch_rows(monkeypatch, model: type) -> Alive:
    """Watch the objects that are made of the model's rows."""
    alive, plain = Alive(), model.from_db
    monkeypatch.setattr(model, "from_db", lambda *args: alive.watch(plain(*args)))
    return alive


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_dry_run_holds_a_few_batches_of_its_plan(stores, monkeypatch, form):
    for number in range(CLIENTS):
        make_full_client(f"c{number:02}")
    monkeypatch.setattr(plans, "CLIENTS_AT_ONCE", AT_ONCE)
    monkeypatch.setattr(plans, "BATCHES_AT_ONCE", 2)
    alive, plain, out = Alive(), plans._plan_client, io.StringIO()
    monkeypatch.setattr(plans, "_plan_client", lambda *args: alive.watch(plain(*args)))

    call_command("migrate_clients", "--all", "--dry-run", "--format", form, stdout=out)

    # One that is printed and the one before it, and those that are looked at meanwhile.
    assert alive.most <= 4 * AT_ONCE
    if form == "json":
        told = json.loads(out.getvalue())
        assert (told["clients"], told["created"], told["failed"]) == (CLIENTS, CLIENTS, 0)
        assert [item["slug"] for item in told["items"]] == [f"c{n:02}" for n in range(CLIENTS)]
        assert told["plan"]["creates"] == CLIENTS
    else:
        assert len(out.getvalue().splitlines()) == CLIENTS + 1


def test_a_dry_run_of_more_than_fits_in_memory_waits_in_a_file(stores, monkeypatch):
    monkeypatch.setattr("migration.management.commands.migrate_clients.MOST_IN_MEMORY", 10)
    for slug in ("café", "idom"):
        make_full_client(slug.replace("é", "e"), name=slug)
    out = io.StringIO()

    call_command("migrate_clients", "--all", "--dry-run", "--format", "json", stdout=out)

    assert [item["slug"] for item in json.loads(out.getvalue())["items"]] == ["cafe", "idom"]


@pytest.mark.parametrize("kind", [Run.Kind.PUSH, Run.Kind.COMPARE, Run.Kind.TEST_LOGINS])
def test_a_run_is_reported_with_some_of_its_items_in_memory(db, monkeypatch, kind):
    stores = LoginStores.BOTH if kind == Run.Kind.TEST_LOGINS else ""
    run = Run.objects.create(kind=kind, stores=stores)
    clients = [(make_client(f"c{number:02}"), f"c{number:02}") for number in range(CLIENTS)]
    run.add_items(clients)
    run.items.update(outcome=Outcome.UNCHANGED)
    if kind == Run.Kind.COMPARE:
        last, slug = clients[-1]
        fields = [{"path": "database.password", "kind": "different", "hint": ""}]
        Comparison.objects.create(
            client_id=last, slug=slug, run=run, status="mismatch", mismatches=fields
        )
        run.items.filter(client_id=last).update(comparison_status="mismatch")
    monkeypatch.setattr(progress, "ITEMS_AT_ONCE", AT_ONCE, raising=False)
    portions, plain = [], progress.DESCRIBERS.get(kind, progress._describe_items)

    def describe(run, items):
        portions.append(len(items))
        yield from plain(run, items)

    monkeypatch.setitem(progress.DESCRIBERS, kind, describe)
    command = RunCommand()
    command.stdout = OneLineOutput(out := io.StringIO())

    with pytest.raises(SystemExit):  # no worker has ended it
        command.report_run(run, {"format": "json"})

    assert portions == [AT_ONCE] * (CLIENTS // AT_ONCE)
    items = json.loads(out.getvalue())["items"]
    assert [item["slug"] for item in items] == [slug for _pk, slug in clients]
    if kind == Run.Kind.COMPARE:
        assert [len(item["mismatches"]) for item in items] == [0] * (CLIENTS - 1) + [1]


def test_the_status_of_all_clients_is_printed_with_some_of_them_in_memory(db, monkeypatch):
    make_many(CLIENTS, phase="dual_write")
    run = Run.objects.create(kind=Run.Kind.PUSH)
    run.add_items(all_clients().values_list("pk", "slug"))
    monkeypatch.setattr(client_status, "CLIENTS_AT_ONCE", AT_ONCE, raising=False)
    measured, plain = [], client_status.measure_progress
    monkeypatch.setattr(
        client_status, "measure_progress", lambda run: measured.append(run) or plain(run)
    )
    alive, out = watch_rows(monkeypatch, Client), io.StringIO()

    call_command("client_status", "--format", "json", stdout=out)

    assert alive.most <= 2 * AT_ONCE
    told = json.loads(out.getvalue())
    assert [each["slug"] for each in told] == sorted(each["slug"] for each in told)
    assert {each["run"]["run"] for each in told} == {run.pk}
    assert (len(told), len(measured)) == (CLIENTS, 1)


def test_items_are_written_as_they_come():
    out = io.StringIO()

    def make_items():
        for number in range(3):
            if number:
                assert f'{{"n": {number - 1}}}' in out.getvalue()
            yield {"n": number}

    OneLineOutput(out).write_one_json_of_items(make_items(), {"text": "a\u202eb"})

    assert json.loads(out.getvalue()) == {
        "text": "a\u202eb",
        "items": [{"n": 0}, {"n": 1}, {"n": 2}],
    }
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().isprintable() is False  # its end alone
    assert out.getvalue()[:-1].isprintable()
