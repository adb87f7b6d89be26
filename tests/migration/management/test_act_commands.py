"""What every command of an act has: its plan, its form's fields as options, who does it and why."""

import io
import json
import sys
from datetime import date
from itertools import cycle

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection

from migration.core.clients import all_clients
from migration.core.groups import ClientGroup
from migration.management import base
from migration.models import (
    AuditEvent,
    ClientMigration,
    ClientOwner,
    Resolution,
    Rotation,
    Secret,
)
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import (
    VIEW,
    make_client,
    make_comparison,
    make_full_client,
    make_user,
    update,
)
from tests.migration.moves.clients import enter_phase, enter_phase_together
from tests.migration.pages import DIFFERENT, EXTRA

# Each with what it takes beside the clients.
ACTS = {
    "compare_clients": (),
    "push_pending": (),
    "test_logins": (),
    "rotate_credential": ("database", "--reason", "INC-1"),
    "change_layout": ("service",),
    "apply_secret_settings": (),
    "set_owner": ("--owner", "-"),
}


def run(*arguments: str) -> tuple[int, str]:
    out, code = io.StringIO(), 0
    try:
        call_command(*arguments, stdout=out, stderr=io.StringIO())
    except SystemExit as end:
        code = end.code
    return code, out.getvalue()


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(stores):
    make_full_client("idom"), make_full_client("acme")
    audit = AuditEvent.objects.count()

    for command, more in ACTS.items():
        code, out = run(command, "--all", *more, "--dry-run", "--format", "json")

        plan = json.loads(out)
        assert list(plan) == ["clients", "will", "nothing", "refused", "items"]
        assert (code, plan["clients"]) == (0, 2), command
        assert sum(plan[each] for each in ("will", "nothing", "refused")) == 2
        assert [item["slug"] for item in plan["items"]] == ["acme", "idom"]
        assert set(plan["items"][0]) == {"slug", "verdict", "code", "message"}
    one = ("rotate_credential", "idom", "email", "--dry-run", "--format", "json")
    code, out = run(*one)
    assert (code, json.loads(out)["will"]) == (0, 1)
    assert not Run.objects.exists()
    assert not Rotation.objects.exists()
    assert AuditEvent.objects.count() == audit


def test_a_dry_run_of_moves_has_the_verdict_of_the_gates(stores):
    ready, pending = make_full_client("idom"), make_full_client("acme")
    make_full_client("new")
    for pk in (ready, pending):
        enter_phase(pk, Phase.DUAL_WRITE)
    update("clients", pending, name="Acme 2")

    code, out = run("move_clients", "dual_read", "idom", "acme", "new", "--dry-run",
                    "--format", "json")  # fmt: skip
    many = json.loads(run("move_clients", "dual_read", "--all", "--dry-run", "--format", "json")[1])

    plan = json.loads(out)
    assert code == 1
    assert {item["slug"]: (item["verdict"], item["code"]) for item in plan["items"]} == {
        "idom": ("will", ""),
        "acme": ("refused", "push_pending"),
        "new": ("refused", "illegal_move"),
    }
    assert sorted(item["slug"] for item in many["items"]) == ["acme", "idom", "new"]
    assert not Run.objects.exists()
    assert ClientMigration.objects.get(pk=ready).phase == Phase.DUAL_WRITE


def test_a_dry_run_says_of_whom_there_is_nothing_to_do(stores):
    make_full_client("idom"), make_client("empty")

    _code, out = run("test_logins", "--all", "--dry-run", "--format", "json")

    empty, idom = json.loads(out)["items"]
    assert (idom["verdict"], idom["code"]) == ("will", "")
    assert (empty["verdict"], empty["code"]) == ("nothing", "no_login_to_test")
    assert empty["message"]
    assert (
        "2 clients: 1 would be done, 1 have nothing to do"
        in run("test_logins", "--all", "--dry-run")[1]
    )


def test_a_pending_push_is_planned_for_those_that_wait_for_it(stores):
    for slug in ("idom", "acme"):
        enter_phase(make_full_client(slug), Phase.DUAL_WRITE)
    update("clients", _pk("idom"), name="Idom 2")

    _code, out = run("push_pending", "--dry-run", "--format", "json")
    _code, done = run("push_pending", "acme", "--inline", "--format", "json")
    _code, all_done = run("push_pending", "--inline", "--format", "json")

    verdicts = {item["slug"]: item["verdict"] for item in json.loads(out)["items"]}
    assert verdicts == {"idom": "will", "acme": "nothing"}
    assert json.loads(done)["clients"] == 0
    assert [item["slug"] for item in json.loads(all_done)["items"]] == ["idom"]


def _pk(slug: str) -> int:
    from credentials.models import Client

    return Client.objects.get(slug=slug).pk


def test_the_run_keeps_who_did_it_and_why(stores):
    make_full_client("idom")
    make_user("eva", "migration.add_run")

    run("compare_clients", "idom", "--inline", "--by", "eva", "--reason", "INC-42")

    made = Run.objects.get()
    assert (made.by_name, made.reason, made.tries) == ("eva", "INC-42", 1)
    assert AuditEvent.objects.filter(correlation=f"run {made.pk}", reason="INC-42").exists()


def test_what_the_form_refuses_is_wrong_use(stores):
    make_full_client("idom"), make_full_client("acme")

    for arguments, why in (
        (["test_logins", "idom", "--reason", "x" * 501], "--reason"),
        (["test_logins", "idom", "--stores", "elsewhere"], "--stores"),
        (["rotate_credential", "--all", "database"], "--reason"),
        (["rotate_credential", "--all", "email", "--reason", "x"], "only the database"),
        (["rotate_credential", "idom", "acme", "database", "--label", "x"], "only the database"),
    ):
        with pytest.raises(CommandError) as refused:
            call_command(*arguments, "--inline")

        assert refused.value.returncode == 2
        assert why in str(refused.value)
    assert not Run.objects.exists()


def test_the_database_logins_of_several_clients_are_rotated_by_a_run(stores):
    make_client("idom"), make_client("acme")

    code, out = run("rotate_credential", "--all", "database", "--reason", "INC-1", "--inline",
                    "--format", "json")  # fmt: skip

    done = Run.objects.get()
    assert (done.kind, done.reason, json.loads(out)["run"]) == ("rotate", "INC-1", done.pk)
    assert (code, json.loads(out)["clients"]) == (0, 2)


# Done at once, without a run


ACKNOWLEDGE = ("acknowledge_mismatches", "--reason", "INC-1", "--until", "2099-01-01")


@pytest.fixture
def differing(db) -> dict[str, int]:
    """Two clients that differ, one that matches and one that was never compared."""
    pks = {slug: make_client(slug) for slug in ("one", "two", "equal", "new")}
    for slug in ("one", "two"):
        make_comparison(pks[slug], "mismatch", slug=slug, mismatches=[DIFFERENT])
    make_comparison(pks["equal"], "match", slug="equal")
    return pks


def verdicts(out: str) -> dict[str, tuple[str, str]]:
    return {item["slug"]: (item["verdict"], item["code"]) for item in json.loads(out)["items"]}


def test_mismatches_are_acknowledged_and_each_client_is_reported(differing):
    maria = make_user("maria", "migration.resolve_mismatch")
    told = {
        "equal": ("nothing", "no_mismatch"),
        "new": ("refused", "not_compared_yet"),
        "one": ("will", ""),
        "two": ("will", ""),
    }

    code, out = run(*ACKNOWLEDGE, "--all", "--dry-run", "--format", "json")
    assert (code, verdicts(out), Resolution.objects.count()) == (1, told, 0)
    code, out = run(*ACKNOWLEDGE, "--all", "--by", "maria", "--format", "json")

    assert (code, verdicts(out)) == (1, told | dict.fromkeys(("one", "two"), ("done", "")))
    done = json.loads(out)
    assert [done[each] for each in ("clients", "done", "nothing", "refused")] == [4, 2, 1, 1]
    rows = Resolution.objects.order_by("slug").values_list("slug", "by", "reason", "until")
    assert list(rows) == [(slug, maria.pk, "INC-1", date(2099, 1, 1)) for slug in ("one", "two")]
    assert AuditEvent.objects.filter(code="resolution", who="maria").count() == 2
    assert not Run.objects.exists()


def test_what_is_well_ends_well_and_as_text_only_who_is_refused_is_named(differing):
    assert run(*ACKNOWLEDGE, "one", "equal") == (
        0,
        "2 clients: 1 were done, 1 have nothing to do, 0 are refused\n",
    )
    code, out = run(*ACKNOWLEDGE, "new")
    assert (code, out.splitlines()[1:]) == (
        1,
        ["new  Not compared yet. Compare both stores."],
    )


def test_what_differs_otherwise_since_the_plan_is_not_acknowledged(differing, monkeypatch):
    class Slow(Terminal):
        def readline(self) -> str:
            make_comparison(differing["two"], "mismatch", slug="two", mismatches=[EXTRA])
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Slow())
    out = io.StringIO()
    with pytest.raises(SystemExit):
        call_command(*ACKNOWLEDGE, "--all", "--format", "json", stdout=out, stderr=Terminal())

    told = verdicts(out.getvalue())
    assert (told["one"], told["two"]) == (("done", ""), ("refused", "changed_since_plan"))
    assert [row.slug for row in Resolution.objects.all()] == ["one"]


def test_an_acknowledgement_wants_a_reason_and_a_day_to_come(differing):
    for arguments in (
        ("--until", "2099-01-01"),
        ("--reason", "INC-1", "--until", "2001-01-01"),
        ("--reason", "INC-1", "--until", "soon"),
        ("--reason", "INC-1"),
    ):
        with pytest.raises(CommandError) as refused:
            call_command("acknowledge_mismatches", "one", *arguments)

        assert refused.value.returncode == 2
    assert not Resolution.objects.exists()


def test_an_owner_is_set_and_taken_away(differing):
    olga = make_user("olga")
    ClientOwner.objects.set_owner(all_clients().filter(slug="one"), olga)

    code, out = run("set_owner", "one", "two", "--owner", "olga", "--format", "json")

    assert (code, verdicts(out)) == (0, {"one": ("nothing", "looked_after"), "two": ("done", "")})
    owned = ClientOwner.objects.filter(owner=olga).values_list("client_id", flat=True)
    assert set(owned) == {differing["one"], differing["two"]}
    assert run("set_owner", "--all", "--owner", "-") == (
        0,
        "4 clients: 2 were done, 2 have nothing to do, 0 are refused\n",
    )
    assert not ClientOwner.objects.exists()
    assert not Run.objects.exists()


def test_a_client_that_is_gone_by_then_has_no_owner(differing, monkeypatch):
    make_user("olga")

    class Slow(Terminal):
        def readline(self) -> str:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM public.clients WHERE id = %s", [differing["two"]])
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Slow())
    out, command = io.StringIO(), ("set_owner", "--all", "--owner", "olga", "--format", "json")
    with pytest.raises(SystemExit):
        call_command(*command, stdout=out, stderr=Terminal())

    told = verdicts(out.getvalue())
    assert (told["one"], told["two"]) == (("done", ""), ("refused", "client_not_there"))


def test_nobody_looks_after_a_client_whom_the_page_does_not_offer(differing):
    User.objects.create_user("stranger")

    for name in ("stranger", "nobody", ""):
        with pytest.raises(CommandError) as refused:
            call_command("set_owner", "one", "--owner", name)
        assert refused.value.returncode == 2
    assert not ClientOwner.objects.exists()
    # It keeps no reason, and so takes none.
    with pytest.raises(CommandError):
        call_command("set_owner", "one", "--owner", "-", "--reason", "INC-1")


def test_who_is_named_needs_the_permission_of_the_page(differing):
    make_user("eva", *VIEW)

    for arguments, permission in (
        (("set_owner", "--owner", "-"), "set_client_owner"),
        (ACKNOWLEDGE, "resolve_mismatch"),
    ):
        with pytest.raises(CommandError, match=f"eva lacks the permission migration.{permission}"):
            call_command(*arguments, "one", "--by", "eva")

    assert not Resolution.objects.exists()


QUICK = {"set_owner": ("--owner", "olga"), "acknowledge_mismatches": ACKNOWLEDGE[1:]}


def test_what_is_done_at_once_asks_over_a_selection_too(differing, monkeypatch):
    make_user("olga")
    for command, more in QUICK.items():
        arguments = (command, "--all", *more)
        audit = AuditEvent.objects.count()

        code, out, shown = run_on_terminal(monkeypatch, "n\n", *arguments)
        assert (code, out, AuditEvent.objects.count()) == (1, "", audit)
        assert "4 clients: " in shown
        assert "[y/N]" in shown

        for option in ("--yes", "--inline"):
            _code, out, shown = run_on_terminal(monkeypatch, "", *arguments, option)
            assert "[y/N]" not in shown
            assert out
        assert AuditEvent.objects.count() > audit


# Over a selection: it asks


WRITING = {
    "migrate_clients": (),
    "rotate_credential": ("database", "--reason", "INC-1"),
    "change_layout": ("service",),
    "apply_secret_settings": (),
    "move_clients": ("dual_read",),
}
DANGEROUS = (
    ("rotate_credential", "--all", "database", "--reason", "INC-1"),
    ("migrate_clients", "--all", "--overwrite"),
    ("migrate_clients", "--all", "--adopt", "--reason", "INC-1"),
    ("change_layout", "--all", "service", "--adopt", "--reason", "INC-1"),
    ("move_clients", "purged", "--all-in", "aws"),
    ("move_clients", "postgres", "--all", "--schedule-deletion"),
    ("move_clients", "aws", "--all-in", "dual_read", "--override", "INC-1"),
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def two(stores, monkeypatch) -> list[int]:
    """Two clients in dual write, in a group; nobody waits for the workers, of which there are none."""
    monkeypatch.setattr(base, "wait_for_workers", lambda *_: None)
    pks = [make_full_client("idom"), make_full_client("acme")]
    enter_phase_together(pks, Phase.DUAL_WRITE)
    group = ClientGroup.objects.get_or_add("Some", by=None)
    group.put_clients(all_clients().with_ids(pks), by=None)
    return pks


def run_on_terminal(monkeypatch, answer: str, *arguments: str) -> tuple[int, str, str]:
    """Its exit code, what it prints, and what it shows beside that."""
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    out, shown, code = io.StringIO(), Terminal(), 0
    try:
        call_command(*arguments, stdout=out, stderr=shown)
    except SystemExit as end:
        code = end.code
    except CommandError as error:
        code = error.returncode
    return code, out.getvalue(), shown.getvalue()


SELECTIONS = (("--all",), ("--all-in", "dual_write"), ("--group", "Some"))


def find_newest_run() -> tuple[int, list[str]]:
    """How many there are, and the clients of the newest."""
    runs = Run.objects.order_by("pk")
    slugs = runs.last().items.values_list("slug", flat=True) if runs else []
    return len(runs), sorted(slugs)


def test_over_a_selection_it_shows_its_counts_and_asks(two, monkeypatch):
    audit, answers = AuditEvent.objects.count(), ("n\n", "\n", "")
    for command, selection, answer in zip(WRITING, cycle(SELECTIONS), cycle(answers)):
        arguments = (command, *selection, *WRITING[command])
        code, out, shown = run_on_terminal(monkeypatch, answer, *arguments)
        assert (code, out) == (1, ""), command
        assert "2 clients: " in shown
        assert "[y/N]" in shown
    assert not Run.objects.exists()
    assert AuditEvent.objects.count() == audit

    for number, (command, selection) in enumerate(zip(WRITING, cycle(SELECTIONS[::-1])), 1):
        arguments = (command, *selection, *WRITING[command], "--format", "json")
        _code, out, _shown = run_on_terminal(monkeypatch, "y\n", *arguments)
        assert json.loads(out)["clients"] == 2
        assert find_newest_run() == (number, ["acme", "idom"])


def test_an_option_answers_the_question_and_who_names_clients_means_them(two, monkeypatch):
    names = ("idom", "acme")
    asked = (
        ("migrate_clients", "--all", "--yes"),
        ("change_layout", "--all", "service", "--inline"),
        ("apply_secret_settings", *names),
        ("rotate_credential", *names, *WRITING["rotate_credential"]),
        ("rotate_credential", "--all", *WRITING["rotate_credential"], "--yes"),
        ("move_clients", "dual_read", "--all", "--yes"),
        ("move_clients", "dual_read", "--all", "--inline"),
        # These only read, or do what workers would do.
        ("compare_clients", "--all"),
        ("test_logins", "--all"),
        ("push_pending", "--all"),
    )
    for arguments in asked:
        before = Run.objects.count()
        _code, _out, shown = run_on_terminal(monkeypatch, "", *arguments)
        assert "[y/N]" not in shown, arguments
        assert find_newest_run()[0] == before + 1, arguments
    # Clients that are named are moved without a run.
    back = ("move_clients", "dual_write", *names)
    assert "[y/N]" not in run_on_terminal(monkeypatch, "", *back)[2]
    assert set(ClientMigration.objects.values_list("phase", flat=True)) == {Phase.DUAL_WRITE}


def test_where_nobody_can_be_asked_what_is_dangerous_wants_an_option(two):
    for arguments in DANGEROUS:
        before = AuditEvent.objects.count(), Secret.objects.count(), Run.objects.count()
        with pytest.raises(CommandError) as refused:
            call_command(*arguments)

        assert refused.value.returncode == 2
        assert "--yes" in str(refused.value)
        assert (
            AuditEvent.objects.count(), Secret.objects.count(), Run.objects.count(),
        ) == before, arguments  # fmt: skip
        run(*arguments, "--yes")
        assert Run.objects.count() == before[2] + 1, arguments


def test_what_is_not_dangerous_begins_in_a_script_as_ever(two):
    for number, command in enumerate(sorted(WRITING.keys() - {"rotate_credential"}), 1):
        run(command, "--all", *WRITING[command])

        assert find_newest_run() == (number, ["acme", "idom"])


def test_who_comes_while_the_question_stands_was_not_asked_about(two, monkeypatch):
    class Slow(Terminal):
        def readline(self) -> str:
            make_full_client("later")
            return "y\n"

    monkeypatch.setattr(sys, "stdin", Slow())
    command = ("change_layout", "service", "--all")
    with pytest.raises(SystemExit):  # the run goes on
        call_command(*command, stdout=io.StringIO(), stderr=Terminal())

    slugs = Run.objects.get().items.values_list("slug", flat=True)
    assert sorted(slugs) == ["acme", "idom"]
