"""Which entries acts leave: who, from where, on which client, why; once each, and none where nothing was done."""

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone

from credentials.models import DatabaseCredential
from migration.core import aws_writes, refused_acts
from migration.core.audit_chain import list_audited_settings
from migration.core.clients import all_clients
from migration.models import AuditEvent, Secret
from migration.moves.approvals import (
    ApprovalStepRefused,
    approve_run,
    cancel_run_request,
    request_move,
)
from migration.moves.gates import Override, ShutGate
from migration.moves.moves import move
from migration.pushes.comparisons import compare
from migration.pushes.pushes import push
from migration.pushes.resolutions import acknowledge_each, check_again
from migration.runs import engine
from migration.runs.models import Run
from nova_admin import settings as own
from nova_admin.environment import Environment, read_audit_settings
from nova_credentials.phases import Phase
from tests.credentials.client_admin.forms import change
from tests.factories import CHANGE, VIEW, make_comparison, make_full_client, make_user
from tests.migration.moves.clients import enter_phase
from tests.migration.pages import DIFFERENT
from tests.page_forms import open_form, pages_left_out, send_form

PASSWORD = "example-login-password"


@pytest.fixture
def idom(stores) -> int:
    return make_full_client("idom")


@pytest.fixture
def maria(stores, client) -> User:
    user = make_user("maria", *VIEW, *CHANGE, "migration.reveal_credential", password=PASSWORD)
    client.force_login(user)
    return user


class Entries:
    """The entries that were written since, the oldest first."""

    def __init__(self) -> None:
        self.before = {*AuditEvent.objects.values_list("pk", flat=True)}

    def list_new(self) -> list[AuditEvent]:
        return list(AuditEvent.objects.exclude(pk__in=self.before).order_by("pk"))

    @property
    def texts(self) -> list[tuple[str, str, str]]:
        return [(e.code, e.who, str(e.message)) for e in self.list_new()]


def test_a_save_names_the_fields_and_never_a_value(idom, maria, client):
    data = open_form(client, change(idom))
    row = DatabaseCredential.objects.get(client_id=idom)
    data |= {"name": "Idom SA", "databases-0-db_password": "MARKER-ONE"}
    entries = Entries()

    assert send_form(client, change(idom), data).status_code == 302

    (entry,) = entries.list_new()
    said = f"Changed client: name; database login {row.pk}: db_password."
    assert (entry.code, entry.who, str(entry.message)) == ("client_saved", "maria", said)
    assert (entry.origin, entry.client_id, entry.slug) == ("127.0.0.1", idom, "idom")
    assert "MARKER" not in entry.facts


def test_a_changed_slug_is_told_with_the_one_before(idom, maria, client):
    data = open_form(client, change(idom)) | {"slug": "idom_sa"}
    entries = Entries()

    assert send_form(client, change(idom), data).status_code == 302

    ((code, _who, said),) = entries.texts
    assert (code, said) == ("client_saved", "Changed client: slug; its slug was idom before.")


def test_a_save_that_changes_nothing_is_no_entry(idom, maria, client):
    data = open_form(client, change(idom))
    entries = Entries()

    assert send_form(client, change(idom), data).status_code == 302

    assert entries.texts == []


def test_the_pages_of_one_request_share_a_name_and_other_requests_have_another(idom, maria, client):
    enter_phase(idom, Phase.DUAL_WRITE)
    data = open_form(client, change(idom)) | {"databases-0-db_password": "example-new"}
    entries = Entries()

    send_form(client, change(idom), data)
    client.post("/admin/logout/")

    saved, pushed, out = entries.list_new()
    assert [each.code for each in (saved, pushed, out)] == ["client_saved", "push", "logout"]
    version = Secret.objects.get().version_id[:8]
    assert str(pushed.message) == f"Wrote to AWS: nova/clients/idom (version {version})."
    assert saved.correlation == pushed.correlation != out.correlation


def test_a_save_that_aws_refuses_is_an_entry_though_nothing_was_saved(idom, maria, client):
    enter_phase(idom, Phase.AWS)
    data = open_form(client, change(idom)) | {"databases-0-db_password": "example-new"}
    aws_writes.stop_aws_writes(reason="INC-42")
    entries = Entries()

    send_form(client, change(idom), data)

    ((code, who, said),) = entries.texts
    assert (code, who) == ("refusal", "maria")
    assert said.startswith("A save was refused: Nothing was saved: Someone stopped all AWS writes")


def test_a_push_that_wrote_nothing_is_no_entry(idom):
    entries = Entries()

    push(client_ids=[idom])
    push(client_ids=[idom])

    version = Secret.objects.get().version_id[:8]
    wrote = f"Wrote to AWS: nova/clients/idom (version {version})."
    assert entries.texts == [("push", "system", wrote)]


def test_moves_overrides_and_refused_moves(idom, maria, settings):
    enter_phase(idom, Phase.DUAL_READ)
    settings.NOVA_MIN_READS = 20
    maria.is_superuser = True
    maria.save()
    entries = Entries()

    with pytest.raises(ShutGate):
        move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    compare(client_ids=[idom])
    move(
        client_id=idom,
        new=Phase.AWS,
        by=maria,
        reason="INC-42",
        override=Override("so be it", maria),
    )

    refused, moved, overridden, gate = entries.list_new()
    assert (refused.code, refused.reason) == ("refusal", "INC-42")
    assert str(refused.message).startswith("The move to AWS (cut over) was refused: ")
    assert (str(moved.message), moved.reason) == (
        "Moved from Dual read to AWS (cut over).",
        "INC-42",
    )
    assert (overridden.code, overridden.reason) == ("override", "so be it")
    assert gate.code == "gate"
    assert str(gate.message).startswith("Checks for AWS (cut over): ")
    assert "No push is pending." in str(gate.message)
    assert "Overridden: NOVA's reader: 0 of 20 reads" in str(gate.message)
    assert "Switched off (NOVA_DUAL_READ_HOURS=0): time in the phase." in str(gate.message)


def test_requests_approvals_and_refused_approvals(idom, maria, settings):
    settings.NOVA_REQUIRE_APPROVAL = True
    enter_phase(idom, Phase.DUAL_READ)
    compare(client_ids=[idom])
    other = make_user("other")
    maria.user_permissions.add(Permission.objects.get(codename="move_client"))
    entries = Entries()

    first = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42").run
    cancel_run_request(run_id=first.pk, by=other)
    second = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-43").run
    with pytest.raises(ApprovalStepRefused):
        approve_run(run_id=second.pk, by=maria)
    approve_run(run_id=second.pk, by=other)

    said = [(code, who) for code, who, _text in entries.texts]
    assert said == [
        ("request", "maria"),
        ("run", "other"),
        ("cancellation", "other"),
        ("run", "system"),
        ("request", "maria"),
        ("refusal", "maria"),
        ("move", "other"),
        ("gate", "other"),
        ("run", "other"),
        ("approval", "other"),
    ]


def test_a_reveal_and_a_wrong_password(idom, maria, client):
    row = DatabaseCredential.objects.get(client_id=idom).pk
    url = f"/admin/credentials/client/{idom}/reveal/database/{row}/db_password/"
    session = client.session
    session["authenticated_at"] = 0
    session.save()
    entries = Entries()

    with pages_left_out():
        client.post(url, {"reason": "INC-42", "password": "MARKER-ONE"})
        client.post(url, {"reason": "INC-42", "password": PASSWORD})

    refused, shown = entries.list_new()
    why = f"Revealing db_password of database login {row} was refused: the password was wrong."
    assert (refused.code, refused.who, str(refused.message)) == ("refusal", "maria", why)
    assert (shown.code, shown.reason, shown.slug) == ("reveal", "INC-42", "idom")
    assert str(shown.message) == f"Revealed db_password of database login {row}."


def test_logins_and_refused_ones_and_no_name_that_is_none(maria, client):
    client.logout()
    entries = Entries()
    form = {"username": "maria", "password": PASSWORD}

    with pages_left_out():
        client.post("/admin/login/", form | {"username": "MARKER-ONE my password"})
        client.post("/admin/login/", form | {"password": "wrong"})
        client.post("/admin/login/", form)
        client.post("/admin/logout/")

    found = [(each.code, each.who, each.origin) for each in entries.list_new()]
    assert found == [
        ("login_refused", "unknown", "127.0.0.1"),
        ("login_refused", "maria", "127.0.0.1"),
        ("login", "maria", "127.0.0.1"),
        ("logout", "maria", "127.0.0.1"),
    ]


def test_a_page_that_is_refused_and_none_that_is_shown(idom, maria, client):
    entries = Entries()

    assert client.post(f"/admin/credentials/client/{idom}/compare/").status_code == 403
    with pages_left_out():
        client.get(change(idom))
    client.logout()
    client.post(f"/admin/credentials/client/{idom}/compare/")  # to the login

    refused, out = entries.list_new()
    assert (
        str(refused.message)
        == "No permission for the page admin:credentials_client_compare (POST)."
    )
    assert (refused.who, refused.client_id, out.code) == ("maria", idom, "logout")


def test_who_is_refused_again_and_again_writes_an_entry_a_minute_and_the_number(
    idom, maria, client, monkeypatch
):
    now = 1_800_000_000.0
    monkeypatch.setattr(refused_acts, "time", SimpleNamespace(time=lambda: now))
    monkeypatch.setattr(refused_acts, "MOST_DIFFERENT", 3)
    entries = Entries()

    for _ in range(8):
        client.post(f"/admin/credentials/client/{idom}/compare/")
    for number in range(3 + 5):  # of clients that there aren't
        client.post(f"/admin/credentials/client/{1000 + number}/compare/")
    client.post("/admin/people/failed-logins/let-in/")

    texts = [text for _code, _who, text in entries.texts]
    assert texts == [
        *["No permission for the page admin:credentials_client_compare (POST)."] * (1 + 3),
        "No permission for the page admin:let_in (POST).",
    ], "the first of another kind is never merely counted"

    now += 60
    client.get("/admin/jsi18n/")

    again = entries.list_new()[-1]
    assert (again.who, again.origin, again.code) == ("maria", "127.0.0.1", "refusal")
    assert str(again.message).startswith(
        "Refused 12 more times within the minute that began at 2027"
    )


def test_a_move_that_is_refused_twice_is_one_entry_and_of_another_client_another(
    idom, maria, settings
):
    settings.NOVA_MIN_READS = 20
    clients = [idom, make_full_client("other")]
    for each in clients:
        enter_phase(each, Phase.DUAL_READ)
    entries = Entries()

    for _ in range(3):
        for each in clients:
            with pytest.raises(ShutGate):
                move(client_id=each, new=Phase.AWS, by=maria, reason="INC-42")

    assert [entry.client_id for entry in entries.list_new()] == clients


def test_users_and_groups_by_whatever_code_changes_them(transactional_db):
    entries = Entries()

    user = make_user("new")
    user.set_password("MARKER-ONE")
    user.is_active = False
    user.save()
    user.save()
    user.save(update_fields=["last_login"])
    user.username, user.first_name = "renamed", "Ana"
    user.save()
    user.groups.add(Group.objects.get(name="Viewer"))
    user.groups.clear()
    group = Group.objects.create(name="Other")
    group.name = "Others"
    group.save()
    group.delete()

    assert [text for _code, _who, text in entries.texts] == [
        "Added the user new.",
        "Changed the user new: is_active, password.",
        "Renamed the user new to renamed; changed: first_name, username.",
        "The user renamed was given: Viewer.",
        "The user renamed lost: all that there were.",
        "Added the group Other.",
        "Renamed the group Other to Others; changed: name.",
        "Deleted the group Others.",
    ]


def test_a_run_names_who_started_it_and_its_entries_belong_together(idom, maria):
    entries = Entries()

    run = Run.start(kind=Run.Kind.MIGRATE, chosen=all_clients(), by=maria)
    engine.finish_inline(run)

    found = entries.list_new()
    assert [each.code for each in found] == ["run", "push", "move", "run"]
    assert [each.who for each in found] == [*["maria"] * 3, "system"]
    assert {each.correlation for each in found} == {f"run {run.pk}"}


def test_stops_mismatches_and_the_rest(idom, maria):
    enter_phase(idom, Phase.DUAL_WRITE)
    make_comparison(idom, "mismatch", mismatches=[DIFFERENT])
    entries = Entries()

    aws_writes.stop_aws_writes(reason="INC-42", by=maria)
    aws_writes.start_aws_writes(by=maria)
    aws_writes.start_aws_writes(by=maria)  # there was nothing to start
    acknowledge_each(shown={idom: None}, until=timezone.localdate(), reason="known", by=maria)
    check_again(client_id=idom, by=maria)

    codes = [code for code, _who, _text in entries.texts]
    stopped_and_started = ["writes_stopped", "writes_started"]
    assert codes == [*stopped_and_started, "resolution", "comparison", "comparison"]


def test_the_settings_of_a_start_have_no_secret(settings):
    audit = type(settings.NOVA_AUDIT)
    settings.NOVA_AUDIT = audit(shown={"NOVA_WORKERS": "2"}, hidden={"X": "MARKER-ONE"})
    before = list_audited_settings()
    settings.NOVA_AUDIT = audit(shown={"NOVA_WORKERS": "2"}, hidden={"X": "MARKER-TWO"})
    after = list_audited_settings()

    assert before[0] == after[0] == "NOVA_WORKERS=2"
    assert before[1].startswith("X=… (")
    assert before[1] != after[1]
    assert "MARKER" not in repr((before, after, settings.NOVA_AUDIT))


def test_a_start_shows_the_settings_of_logins_and_that_a_secret_of_theirs_is_another(monkeypatch):
    """Before, another mapping of groups to roles, or a lock-out of a thousand tries, left no trace."""
    shown = {"NOVA_OIDC_GROUPS": "ops=Administrator", "AXES_FAILURE_LIMIT": "1000"}
    endpoint = "https://nova:MARKER/FOUR@aws.example:8443/path?token=MARKER-FIVE#MARKER-SIX"
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", endpoint)
    monkeypatch.setenv("CSRF_TRUSTED_ORIGINS", "https://nova.example,https://other.example")
    hidden = {
        "NOVA_OIDC_CLIENT_SECRET": "MARKER-ONE",
        "NOVA_MAIL_URL": "smtp://nova:MARKER-TWO@mail.example:25",
        "SECRET_KEY_FALLBACKS": "MARKER-THREE",
    }
    for name, value in (shown | hidden).items():
        monkeypatch.setenv(name, value)

    audit = read_audit_settings(Environment(**own.env.scheme))

    shown["AWS_ENDPOINT_URL_SECRETS_MANAGER"] = "https://aws.example:8443/path"
    shown["CSRF_TRUSTED_ORIGINS"] = "https://nova.example,https://other.example"
    assert audit.shown.items() >= shown.items()
    assert audit.hidden.items() >= hidden.items()
    assert "MARKER" not in repr(audit)
