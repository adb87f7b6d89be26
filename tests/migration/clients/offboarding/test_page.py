"""The page of what is left of a client, the command, and who may do what on them."""

import json
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from credentials.models import Client
from migration.clients.offboarding import find_leftovers, offboard_client
from migration.core import aws_store
from migration.core.clients import all_clients
from migration.models import AuditEvent, ClientGroup, Offboarding, RotationSchedule
from migration.secrets.copies import search_copies
from nova_credentials.phases import Phase
from tests.factories import count_reads, make_full_client, make_in_role, make_user
from tests.migration.clients.legacy.rows import add_row
from tests.migration.clients.offboarding.clients import (
    PASSWORDS,
    activate,
    is_scheduled,
    make_inactive,
)
from tests.migration.moves.clients import NAME, enter_phase, phase_of
from tests.migration.secrets.copies.nova_tables import novas_tables

MAY = ("credentials.view_client", "credentials.change_client", "migration.purge_client")


def page_of(pk: int) -> str:
    return reverse("admin:credentials_client_leaving", args=[pk])


@pytest.fixture
def ada(client):
    client.force_login(make_user("ada", *MAY))
    return client


def newest_message(response) -> str:
    return [str(each) for each in get_messages(response.wsgi_request)][-1]


def confirmed(act: str, **more: str) -> dict[str, str]:
    return {"act": act, "slug": "idom", "reason": "CHG-7", **more}


def test_an_active_client_is_offboarded_by_one_button_and_brought_back_by_another(ada):
    pk = make_full_client("idom")
    enter_phase(pk, Phase.AWS)
    page = page_of(pk)
    link = ada.get(reverse("admin:credentials_client_change", args=[pk])).content.decode()
    assert page in link

    asked = ada.get(page)
    assert (asked.context["question"], asked.context["objections"]) == ("offboard", [])
    assert 'value="deactivate"' not in asked.content.decode()
    said = ada.post(page, confirmed("offboard", deactivates="1"), follow=True).content.decode()
    assert f"The client is offboarded. {NAME} will be deleted on" in said
    assert "Until" in said
    assert 'value="back"' in said
    assert 'value="activate"' not in said
    assert (phase_of(pk), is_scheduled(NAME)) == (Phase.PURGED, True)
    said = ada.post(page, confirmed("back"), follow=True).content.decode()
    assert "idom is back in" in said
    assert (phase_of(pk), is_scheduled(NAME)) == (Phase.AWS, False)
    assert not Client.objects.get(pk=pk).is_active
    ada.post(page, {"act": "activate"})
    assert Client.objects.get(pk=pk).is_active
    who = AuditEvent.objects.filter(code="offboarding").values_list("who", flat=True)
    assert set(who) == {"ada"}
    changed = AuditEvent.objects.filter(code="client_saved", slug="idom")
    said = [str(event.message) for event in changed]
    assert said == ["Activated the client.", "Deactivated the client."]


def test_what_keeps_a_client_is_told_and_leaves_it_as_it_was(ada, monkeypatch):
    pk = make_inactive(Phase.AWS)
    page, anyway = page_of(pk), confirmed("offboard", deactivates="1")
    # Who opened the page while it was inactive agreed to no deactivation: somebody needs it again.
    assert 'name="deactivates"' not in ada.get(page).content.decode()
    activate(pk)
    said = ada.post(page, confirmed("offboard"), follow=True)
    assert [each.level_tag for each in said.context["messages"]] == ["error"]
    assert 'name="deactivates"' in said.content.decode()
    # Who may not deactivate is told that it has to be done first.
    ada.force_login(make_user("eva", "credentials.view_client", "migration.purge_client"))
    keys = [each.key for each in ada.get(page).context["objections"]]
    assert keys == ["offboarding_active"]
    ada.post(page, anyway)
    assert Client.objects.get(pk=pk).is_active
    ada.force_login(User.objects.get(username="ada"))
    # What else keeps it leaves it active.
    count_reads(pk, reads=1)
    said = ada.post(page, anyway, follow=True)
    assert 'name="acknowledged"' in said.content.decode()
    assert Client.objects.get(pk=pk).is_active
    # What keeps it after it was deactivated is told with that.
    with monkeypatch.context() as patched:
        patched.setattr("migration.clients.offboarding.are_equal", lambda *_: False)
        said = ada.post(page, {**anyway, "acknowledged": "1"}, follow=True)
    levels = [each.level_tag for each in said.context["messages"]]
    assert levels == ["error", "warning"]
    assert not Client.objects.get(pk=pk).is_active
    # Recent reads have to be acknowledged.
    said = ada.post(page, confirmed("offboard"))
    assert "still read this client in the last 7 days" in newest_message(said)
    assert not Offboarding.objects.exists()
    ada.post(page, confirmed("offboard", acknowledged="1"))
    assert is_scheduled(NAME)


def test_without_slug_and_reason_nothing_is_done(ada):
    pk = make_inactive(Phase.POSTGRES)
    for act, before in (("offboard", None), ("back", True)):
        if act == "back":
            offboard_client(client_id=pk, reason="CHG-7")
        for typed in ({"slug": "acme"}, {"slug": ""}, {"reason": " "}):
            said = newest_message(ada.post(page_of(pk), confirmed(act) | typed))

            assert "Nothing was done: type the slug, idom" in said
            assert is_scheduled(NAME) == before


def test_who_may_not_is_refused_whatever_they_send_and_offered_nothing(client):
    pk = make_inactive(Phase.POSTGRES)
    for role, may in (
        ("Viewer", set()),
        ("Approver", set()),
        ("Operator", {"deactivate", "activate"}),
        ("Administrator", {"deactivate", "activate", "offboard", "back"}),
    ):
        client.force_login(make_in_role(role.lower(), role))

        html = client.get(page_of(pk)).content.decode()
        assert ('value="offboard"' in html, 'name="slug"' in html) == ("offboard" in may,) * 2
        assert ('value="activate"' in html) == ("activate" in may)
        if role == "Viewer":
            link = client.get(reverse("admin:credentials_client_change", args=[pk]))
            assert "What is left" in link.content.decode()
            assert "Offboard…" not in link.content.decode()
            assert "Search for copies" not in html
        for act in ("activate", "deactivate", "offboard", "back"):
            answer = client.post(page_of(pk), confirmed(act))
            assert answer.status_code == (302 if act in may else 403), act
        assert client.post(page_of(pk), {"act": "x"}).status_code == (400 if may else 403)
        assert not Client.objects.get(pk=pk).is_active
        assert not Offboarding.objects.exists()
        told = AuditEvent.objects.filter(who=role.lower(), code__in=("offboarding", "client_saved"))
        assert told.exists() == bool(may)


def test_it_says_what_is_left_where(ada):
    pk = make_inactive(Phase.AWS)
    ClientGroup.objects.get_or_add("wave 1").put_clients(all_clients())
    RotationSchedule.objects.set_days(30, client=Client.objects.get(pk=pk), by=None)
    count_reads(pk, reads=1)
    without = ada.get(page_of(pk)).content.decode()
    assert "Legacy table" not in without
    assert "no row with this slug" not in without
    left = find_leftovers(client_id=pk)
    assert (left.has_legacy_table, left.legacy_rows) == (False, 0)
    with novas_tables() as nova:
        assert "no row with this slug" in ada.get(page_of(pk)).content.decode()
        add_row(nova, "IDOM", db_password=PASSWORDS["database"])
        assert find_leftovers(client_id=pk).has_legacy_table
        search_copies(client_ids=[pk])
        before = ada.get(page_of(pk)).content.decode()
        offboard_client(client_id=pk, reason="CHG-7", acknowledged=True)
        after = ada.get(page_of(pk)).content.decode()

    assert before.count(": plain text") == 3
    assert after.count(": pointer") == 3
    for text in (
        "public.client_credentials.db_password",
        "1 row with this slug stays",
        "Client group: wave 1",
    ):
        assert text in before
        assert text in after
    assert "Rotation every 30 days, which ends." in before
    assert "Rotation every" not in after
    assert f"{NAME}</code>:" in after
    assert "is deleted on" in after
    assert not [value for value in PASSWORDS.values() if value in before + after]


def test_it_says_what_it_does_not_know(ada, monkeypatch):
    pk = make_inactive(Phase.POSTGRES)
    sm = aws_store.secrets_manager(interactive=True)
    monkeypatch.setattr(sm, "describe_secret", lambda name: sm.get_value(f"{name} \0"))
    with novas_tables() as nova:
        nova.execute("ALTER TABLE public.client_credentials DROP COLUMN db_user")
        html = ada.get(page_of(pk)).content.decode()

    assert html.count("not known. ") == 5
    assert "Not searched for." in html


def test_it_warns_where_the_window_is_over_or_somebody_made_it_active_or_the_values_are_gone(ada):
    pk = make_inactive(Phase.POSTGRES)
    offboard_client(client_id=pk, reason="CHG-7")
    past = (timezone.now() - timedelta(hours=1)).isoformat()
    Offboarding.objects.update(deletions={NAME: past})
    activate(pk)

    html = ada.get(page_of(pk)).content.decode()

    assert "The time in which it could be brought back is over" in html
    assert "Somebody made the client active, though it was offboarded" in html
    assert "AWS has deleted the values" not in html
    assert 'value="back"' in html
    ada.post(page_of(pk), {"act": "deactivate"})
    assert not Client.objects.get(pk=pk).is_active
    sm = aws_store.secrets_manager().sm
    sm.restore_secret(SecretId=NAME)
    sm.delete_secret(SecretId=NAME, ForceDeleteWithoutRecovery=True)

    html = ada.get(page_of(pk)).content.decode()

    assert "AWS has deleted the values" in html
    assert 'value="back"' not in html


def run(capsys, *args: str) -> dict[str, object]:
    call_command("offboard_client", "idom", "--format", "json", *args)
    return json.loads(capsys.readouterr().out)


def test_the_command_offboards_and_brings_back(capsys):
    pk = make_inactive(Phase.DUAL_READ)
    make_user("ada", *MAY)

    call_command("offboard_client", "idom", "--dry-run")
    lines = capsys.readouterr().out.splitlines()
    assert {f"{NAME}: present", "phase: dual_read"} <= set(lines)
    told = run(capsys, "--dry-run")
    assert (told["state"], told["phase"], told["objections"]) == (None, "dual_read", [])
    assert {row["holds"] for row in told["rows"]} == {"values"}
    assert not Offboarding.objects.exists()
    told = run(capsys, "--reason", "CHG-7", "--by", "ada")
    assert (told["state"], told["phase"]) == ("offboarded", "purged")
    assert {row["holds"] for row in told["rows"]} == {"pointers"}
    assert [s["state"] for s in told["secrets"] if s["name"] == NAME] == ["scheduled"]
    told = run(capsys, "--back", "--reason", "CHG-8")
    assert (told["state"], told["phase"]) == (None, "dual_read")
    assert AuditEvent.objects.filter(code="offboarding").earliest("pk").who == "ada"
    assert find_leftovers(client_id=pk).leaving is None


def test_the_command_refuses_in_one_line():
    make_full_client("idom")
    make_user("eva")
    for arguments, code, words in (
        (["nobody"], 2, "unknown client"),
        (["idom"], 2, "reason"),
        (["idom", "--reason", "x"], 1, "The client is active"),
        (["idom", "--reason", "x", "--back"], 1, "is not offboarded"),
        (["idom", "--reason", "x", "--by", "eva"], 2, "lacks the permission"),
    ):
        with pytest.raises(CommandError, match=words) as refused:
            call_command("offboard_client", *arguments)

        assert refused.value.returncode == code
