"""What mends a reason stands beside it: adopt, the field, AWS copied over PostgreSQL after a look, and a live page."""

import json

import pytest
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from migration.core import aws_store
from migration.core.sentences import NOT_OURS
from migration.models import ClientMigration, Resolution, RunItem
from migration.moves.moves import move
from migration.moves.pages import find_move_act
from migration.pushes import acts, resolutions
from migration.pushes.comparisons import compare
from migration.pushes.resolutions import (
    COMPARED_SINCE,
    COPIES_SOMETHING_ELSE,
    NotResolved,
    copy_to_postgres,
    plan_undo,
    undo_copy,
)
from migration.pushes.secret_writer import REPLACED_STAGE
from migration.runs.acts import ACTS
from migration.runs.items import Outcome
from migration.runs.models import Run
from migration.secrets.adoptions import SECRET_CHANGED_SINCE
from nova_credentials.phases import Phase
from tests.factories import CHANGE, VIEW, make_client, make_full_client, make_user
from tests.migration.acts import act_page
from tests.migration.clients.page.pages import page
from tests.migration.moves.clients import (
    change_in_aws,
    enter_phase,
    password,
    write_password,
)
from tests.migration.pages import press_act, text, verdicts

CLIENT = "/admin/credentials/client"
NAME = "nova/clients/idom"
MOVE, RUN, RESOLVE = (
    "migration.move_client",
    "migration.add_run",
    "migration.resolve_mismatch",
)


@pytest.fixture
def log_in(client):
    def log_in(*permissions: str) -> None:
        client.force_login(make_user("operator", *VIEW, *permissions))

    return log_in


def remedies(response) -> dict[str, str]:
    """Label and address of each remedy of the next step."""
    lines = response.context["next_step"]["checks"]
    return {line["remedy"]["label"]: line["remedy"]["url"] for line in lines if line["remedy"]}


# Adopt


@pytest.fixture
def foreign(stores) -> int:
    """A client whose secret somebody else made."""
    pk = make_full_client("idom")
    sm = aws_store.secrets_manager()
    held = json.dumps({"theirs": "MARKER-ONE", "database": {"password": "MARKER-TWO"}})
    sm.sm.create_secret(Name=NAME, SecretString=held)
    return pk


def test_a_foreign_secret_leads_to_the_page_that_adopts_it(foreign, client, log_in):
    log_in(MOVE, RUN)
    act = find_move_act(Phase.POSTGRES, Phase.DUAL_WRITE)
    sent = {"confirmed": "1", "clients": f"{foreign}:{act.see([foreign])[foreign]}"}

    said = client.post(act_page(act.code, foreign), sent, follow=True).content.decode()

    assert "this site did not write it" in said
    adopt = f"{CLIENT}/act/adopt/?clients={foreign}"
    assert f'<a class="underline" href="{adopt}">Adopt the secret…</a>' in said
    assert "Adopt" in text(client.get(f"{CLIENT}/{foreign}/versions/"))
    # A run meets it, and then the gate says so too.
    run = Run.objects.create(kind=Run.Kind.MIGRATE)
    RunItem.objects.create(
        run=run,
        client_id=foreign,
        slug="idom",
        batch=0,
        outcome=Outcome.FAILED,
        message=NOT_OURS(name=NAME),
        finished_at=timezone.now(),
    )
    assert remedies(page(client, foreign)) == {"Adopt the secret…": adopt}


def test_what_the_secret_holds_is_shown_by_names_and_codes_and_then_adopted(
    foreign, client, log_in, monkeypatch
):
    client.force_login(make_user("narrow", "credentials.view_client", RUN))
    shown = client.get(f"{CLIENT}/act/adopt/?clients={foreign}")
    assert NAME in text(shown)
    assert "database.password" not in text(shown)  # who may not view comparisons sees no fields
    log_in(MOVE, RUN)
    # The address of former releases.
    assert client.post(f"{CLIENT}/{foreign}/adopt/").status_code == 405
    address = client.get(f"{CLIENT}/{foreign}/adopt/").url
    shown = client.get(address)
    said = text(shown)
    assert NAME in said
    assert "database.password" in said
    assert "only in AWS" in said
    assert "MARKER" not in shown.content.decode()
    assert "theirs" not in said  # a name that no document has may be a value itself
    sm = aws_store.secrets_manager()

    def send(**typed: str):
        sent = {"confirmed": "1", "clients": seen, "typed": "idom", "reason": "INC-42"}
        return client.post(address, sent | typed, follow=True)

    # What somebody wrote since the page was opened is not written over.
    seen = shown.context["shown"]
    sm.put_value(NAME, '{"newer": "x"}')
    assert str(SECRET_CHANGED_SINCE()) in text(send())
    assert "newer" in sm.get_value(NAME).text
    # Nor what somebody writes between the check of the page and the adoption.
    seen, act = client.get(address).context["shown"], ACTS["adopt"]

    def write_after(client_ids):
        found = type(act).see(act, client_ids)
        sm.put_value(NAME, '{"newest": "x"}')
        return found

    with monkeypatch.context() as patched:
        patched.setattr(act, "see", write_after)
        send()
    assert "newest" in sm.get_value(NAME).text
    assert not Resolution.objects.exists()
    seen = client.get(address).context["shown"]
    for wrong in ({"typed": "x"}, {"reason": " "}, {"clients": f"{foreign}:x"}):
        send(**wrong)
        assert not sm.describe_secret(NAME).has_our_tag

    assert f"Adopted: {NAME}." in text(send())

    assert sm.describe_secret(NAME).has_our_tag
    resolution = Resolution.objects.get()
    assert (resolution.kind, resolution.reason) == ("to_aws", "INC-42")
    move(client_id=foreign, new=Phase.DUAL_WRITE)
    assert client.get(address).context["number"] == 0
    # What is ours already is not pushed over: over what AWS decides wants another permission, on another page.
    ClientMigration.objects.filter(pk=foreign).update(phase=Phase.AWS)
    sm.put_value(NAME, '{"newer": "x"}')
    seen = f"{foreign}:"
    assert "has no secret that somebody else made" in text(send())
    assert sm.get_value(NAME).text == '{"newer": "x"}'


# The other reasons


@pytest.mark.parametrize(
    ("slug", "make", "label", "part"),
    [
        ("b d", make_full_client, "Change the slug", "?tab=logins#id_slug"),
        ("empty", make_client, "See the logins", "?tab=logins#client_form"),
    ],
)
def test_what_is_wrong_in_the_rows_leads_to_its_field(db, client, log_in, slug, make, label, part):
    log_in(*CHANGE)
    pk = make(slug)

    found = remedies(page(client, pk))

    assert found == {label: f"{CLIENT}/{pk}/change/{part}"}
    html = client.get(found[label].partition("#")[0]).content.decode()
    assert f'id="{found[label].partition("#")[2]}"' in html


# Copying AWS to PostgreSQL


@pytest.fixture
def differing(stores) -> int:
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    change_in_aws(aws_store.secrets_manager(), password="MARKER-THREE")
    compare(client_ids=[pk])
    return pk


def test_aws_is_copied_after_a_look_and_what_it_replaces_is_kept_there(differing, client, log_in):
    log_in(RESOLVE)
    tab = f"{CLIENT}/{differing}/change/?tab=comparison"
    offered = dict(page(client, differing, "comparison").context["resolving"])
    url = offered["Copy AWS to PostgreSQL"]
    assert url.startswith(act_page("copy_to_postgres", differing))
    assert client.get(f"{CLIENT}/{differing}/copy-to-postgres/").url == act_page(
        "copy_to_postgres", differing
    )
    shown = client.get(url)
    assert shown.context["is_dangerous"]
    assert "database.password" in text(shown)
    assert "MARKER" not in shown.content.decode()

    assert press_act(client, url, shown).context["form"].errors.keys() == {"reason"}
    assert password(differing) == "example-password-1"
    answer = press_act(client, url, shown, reason="INC-42")

    assert answer.url == tab
    assert "kept in AWS, as the version NOVA_REPLACED" in text(client.get(tab))
    assert password(differing) == "MARKER-THREE"
    kept = aws_store.secrets_manager().get_stage(NAME, REPLACED_STAGE)
    assert json.loads(kept.text)["database"]["password"] == "example-password-1"
    assert Resolution.objects.get().reason == "INC-42"
    assert verdicts(client.get(url)) == {"will": [], "nothing": ["idom"]}


def test_postgresql_is_copied_after_a_look(differing, client, log_in):
    log_in(RESOLVE)
    url = act_page("copy_to_aws", differing)
    shown = client.get(url)
    assert "database.password" in text(shown)
    assert "MARKER" not in shown.content.decode()

    press_act(client, url, shown)

    stored = json.loads(aws_store.secrets_manager().get_value(NAME).text)
    assert stored["database"]["password"] == password(differing) == "example-password-1"
    assert Resolution.objects.get().kind == "to_aws"
    assert not Run.objects.exists()


@pytest.mark.parametrize("act", ["copy_to_aws", "copy_to_postgres"])
def test_what_changed_since_the_page_was_opened_or_cant_be_read_is_not_copied(
    differing, client, log_in, act, settings
):
    log_in(RESOLVE)
    url, in_use = act_page(act, differing), settings.AWS_ENDPOINT_URL
    shown = client.get(url)
    settings.AWS_ENDPOINT_URL = "http://127.0.0.1:1"
    assert client.get(url).context["number"] == 0
    answer = press_act(client, url, shown, reason="INC-42")
    assert [message.level_tag for message in answer.context["messages"]] == ["error"]
    assert password(differing) == "example-password-1"
    assert not Resolution.objects.exists()
    settings.AWS_ENDPOINT_URL = in_use
    change_in_aws(aws_store.secrets_manager(), password="example-later")

    answer = press_act(client, url, shown, reason="INC-42")

    assert str(COPIES_SOMETHING_ELSE()) in text(answer)
    assert password(differing) == "example-password-1"
    stored = json.loads(aws_store.secrets_manager().get_value(NAME).text)
    assert stored["database"]["password"] == "example-later"
    # Its page has both stores compared first.
    ((refused, _name),) = next(
        group["clients"] for group in answer.context["groups"] if group["verdict"] == "refused"
    )
    assert refused["lines"][0]["code"] == COMPARED_SINCE.key
    client.post(refused["lines"][0]["remedy"]["url"])
    assert verdicts(client.get(url)) == {"will": ["idom"]}


def test_what_postgresql_alone_has_is_pushed_first_and_what_else_keeps_it_is_told(
    differing, client, log_in, monkeypatch
):
    log_in(RESOLVE, RUN)
    url = act_page("copy_to_postgres", differing)

    def refuse(_client_id: int) -> None:
        raise NotResolved(SECRET_CHANGED_SINCE())

    with monkeypatch.context() as patched:
        patched.setattr(acts, "plan_copy_to_postgres", refuse)
        assert str(SECRET_CHANGED_SINCE()) in text(client.get(url))
    write_password(differing, "example-novas")
    compare(client_ids=[differing])

    shown = client.get(url)

    ((refused, _name),) = shown.context["groups"][1]["clients"]
    (line,) = refused["lines"]
    assert line["code"] == "newer_would_be_lost"
    assert line["remedy"]["url"].startswith(act_page("push", differing))
    assert shown.context["number"] == 0


def test_a_newer_value_is_replaced_by_aws_only_by_who_says_so_and_is_kept_there(
    stores, client, log_in
):
    log_in(RESOLVE)
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_WRITE)
    write_password(pk, "example-novas")
    compare(client_ids=[pk])
    plain = act_page("copy_to_postgres", pk)
    shown = client.get(plain)
    assert verdicts(shown) == {"will": [], "refused": ["idom"]}
    (override,) = shown.context["overrides"]
    assert "typed" not in shown.context["form"].fields

    page = client.get(override["url"])
    assert verdicts(page) == {"will": ["idom"]}
    assert press_act(client, plain, shown, reason="INC-42").context["number"] == 0
    unsaid = press_act(client, override["url"], page, reason="", typed="another")
    assert unsaid.context["form"].errors.keys() == {"reason", "typed"}
    assert password(pk) == "example-novas"
    press_act(client, override["url"], page, reason="INC-42", typed="idom")

    assert password(pk) == "example-password-1"
    kept = aws_store.secrets_manager().get_stage(NAME, REPLACED_STAGE)
    assert json.loads(kept.text)["database"]["password"] == "example-novas"
    assert Resolution.objects.get().reason == "INC-42"
    undo_copy(client_id=pk, seen=plan_undo(pk).digest, reason="INC-43")
    assert password(pk) == "example-novas"


def test_an_override_covers_no_value_that_the_page_didnt_show(differing, client, log_in):
    log_in(RESOLVE)
    url = act_page("copy_to_postgres", differing, override=acts.NEWER_VALUE)
    shown = client.get(url)
    assert verdicts(shown) == {"will": ["idom"]}
    # The same value: nothing differs otherwise, and yet a push is pending.
    write_password(differing, password(differing))

    press_act(client, url, shown, reason="INC-42", typed="idom")

    assert password(differing) == "example-password-1"
    assert not Resolution.objects.exists()


def test_uncounted_writes_and_several_clients_are_never_overridden(
    differing, client, log_in, monkeypatch
):
    log_in(RESOLVE)
    other = make_full_client("other")
    enter_phase(other, Phase.DUAL_READ)
    write_password(other, "example-novas")
    write_password(differing, "example-novas")
    compare(client_ids=[differing, other])

    two = client.get(act_page("copy_to_postgres", differing, other, override=acts.NEWER_VALUE))
    assert verdicts(two) == {"will": [], "refused": ["idom", "other"]}
    monkeypatch.setattr(resolutions, "writes_are_counted", lambda: False)
    one = client.get(act_page("copy_to_postgres", differing, override=acts.NEWER_VALUE))
    assert verdicts(one) == {"will": [], "refused": ["idom"]}
    with pytest.raises(NotResolved):
        copy_to_postgres(client_id=differing, replaces_newer=True)


def test_the_way_back_of_a_copy_to_aws_is_what_the_phase_offers(stores):
    pk = make_full_client("idom")
    for phase in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.AWS):
        ClientMigration.objects.update_or_create(client_id=pk, defaults={"phase": phase})

        offers_restore = "Restore" in ACTS["copy_to_aws"].name_way_back([pk])

        assert offers_restore == (phase != Phase.POSTGRES)


# Two people at once


def test_who_comes_second_is_told_once_who_was_first(stores, client, log_in):
    idom = make_full_client("idom")
    log_in("migration.purge_client")
    ClientMigration.objects.create(client_id=idom, phase=Phase.AWS)
    ((_pk, seen),) = ACTS["purge"].see([idom]).items()
    ClientMigration.objects.change_phase(
        [idom], Phase.AWS, Phase.DUAL_READ, by=User.objects.create_user("maria")
    )
    sent = {"confirmed": "1", "clients": f"{idom}:{seen}", "typed": "idom", "reason": "INC-42"}

    answer = client.post(act_page("purge", idom), sent)

    (said,) = map(str, get_messages(answer.wsgi_request))
    assert said.startswith("Nothing was done: maria moved idom to Dual read ")
    assert said.endswith(" ago.")


# While a run has the client


def test_the_page_asks_until_the_run_is_done_with_the_client(root, idom):
    client = root
    run = Run.objects.create(kind=Run.Kind.MIGRATE)
    item = RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0)
    poll = f"{CLIENT}/{idom}/live/?tab=overview"
    html = page(client, idom).content.decode()
    assert f'hx-get="{poll}" hx-trigger="every 3s"' in html
    with CaptureQueriesContext(connection) as captured:
        going_on = client.get(poll)
    assert len(captured) <= 4
    assert f"Queued in {run}" in text(going_on)

    RunItem.objects.filter(pk=item.pk).update(outcome=Outcome.CREATED)

    over = client.get(poll).content.decode()
    assert 'hx-get="?tab=overview" hx-trigger="load" hx-target="#client-page"' in over
    whole = page(client, idom).content.decode()
    assert 'id="client-page"' in whole
    assert "client-live" not in whole
    for tab in ("overview", "logins"):
        url = f"{CLIENT}/{idom}/change/?tab={tab}"
        part = client.get(url, headers={"HX-Request": "true"}).content.decode()
        assert 'id="client-page"' in part
        # A form that is being filled in is left alone.
        assert ("<html" in part, 'id="client_form"' in part) == (False, False)


def test_the_sweep_and_a_run_that_was_stopped_dont_have_it(idom, client, log_in):
    log_in()
    for fields in (
        {"kind": Run.Kind.COMPARE},
        {"kind": Run.Kind.MIGRATE, "state": Run.State.STOPPED},
    ):
        run = Run.objects.create(**fields)
        RunItem.objects.create(run=run, client_id=idom, slug="idom", batch=0)

    assert page(client, idom).context["open_item"] is None


def test_a_copy_that_meets_a_foreign_secret_leads_to_its_adoption_who_may_adopt(
    foreign, client, log_in
):
    enter = ClientMigration.objects.update_or_create
    enter(client_id=foreign, defaults={"phase": Phase.DUAL_WRITE})
    compare(client_ids=[foreign])
    for name, permissions, remedy in (
        ("adopter", [RUN], "Adopt the secret…"),
        ("resolver", [], "Compare now"),
    ):
        client.force_login(make_user(name, *VIEW, RESOLVE, *permissions))

        shown = client.get(act_page("copy_to_postgres", foreign))

        clients = [each for group in shown.context["groups"] for each, _name in group["clients"]]
        labels = [line["remedy"]["label"] for each in clients for line in each["lines"]]
        assert labels == [remedy]
