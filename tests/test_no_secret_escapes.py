"""Drives every page, command and task with unmistakable passwords, then looks for them wherever they don't belong."""

import io
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import partial
from itertools import chain

import pytest
from botocore.awsrequest import AWSResponse
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.urls import reverse
from django_q.models import OrmQ, Task
from django_q.tasks import async_task

from credentials.models import Client
from migration import tasks
from migration.campaigns.steps import digest_groups
from migration.core import aws_store, snapshots
from migration.core.clients import all_clients
from migration.core.pages import get_act_url
from migration.models import Campaign, ClientGroup, Comparison, RunItem
from migration.pushes.pushes import push
from migration.runs.acts import ACTS
from migration.runs.models import Run
from migration.runs.pages import TABS
from nova_credentials.aws import ClientSecretsManager
from nova_credentials.comparison import MismatchKind
from tests import mapped_columns
from tests.factories import (
    VIEW,
    all_tables,
    make_aws,
    make_aws_secret,
    make_client,
    make_database,
    make_email,
    make_reader_process,
    make_user,
    sent_form,
    start_run,
    update,
)
from tests.haystack import NEEDLE, Haystack, everything_logged, templates_logged
from tests.migration.pages import act_page
from tests.migration.site.audit.exports import look_at_the_audit

MARKERS = {
    "db_password_encrypted": "MARKER-ONE-'\"\\ of the database",
    "email_password_encrypted": "MARKER-TWO-'\"\\ of the mail",
    "secret_access_key": "MARKER-THREE-'\"\\ of AWS",
}
CREDENTIAL_TABLES = {
    "clients",  # it has mapped columns
    "client_credentials",
    "client_database_credentials",
    "client_email_credentials",
    "client_aws_credentials",
}


def ask(query: str) -> list[tuple]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def add_tables(haystack: Haystack, ask: Callable[[str], list[tuple]] = ask) -> None:
    """The rows of every table: `ask` queries as a role that may read them."""
    for table in all_tables():
        name = table.partition(".")[2]
        if name not in CREDENTIAL_TABLES:
            rows = ask(f"SELECT t::pg_catalog.text, pg_catalog.to_jsonb(t)::text FROM {table} AS t")
            haystack.add(f"table {name}", repr(rows))


def add_pickles(haystack: Haystack) -> None:
    """What queued tasks hold, which is pickled in their packages, and the texts that django-q keeps of ended ones."""
    for queued in OrmQ.objects.all():
        haystack.add("queue", repr(queued.task))
    for task in Task.objects.all():
        haystack.add("task results", repr((task.args, task.kwargs, task.result)))


def command(haystack: Haystack, *arguments: str) -> None:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            call_command(*arguments, stdout=out, stderr=err)
        except SystemExit:
            pass
        except Exception:  # noqa: BLE001 - whatever it is, its text is looked through
            haystack.add(f"exception of {arguments[0]}", traceback.format_exc())
    haystack.add(f"output of {arguments[0]}", out.getvalue() + err.getvalue())


def page(haystack: Haystack, browser, url: str, data=None) -> str:
    method = browser.get if data is None else browser.post
    try:
        response = method(url, data=data, follow=True)
    except Exception:  # noqa: BLE001 - whatever it is, its text is looked through
        haystack.add(f"exception of {url}", traceback.format_exc())
        return ""
    text = response.getvalue().decode(errors="replace")
    haystack.add(f"page {url}", text + repr(response.headers) + repr(response.cookies))
    return text


def every_admin_page(most: int = 4) -> Iterator[str]:
    """The lists, the forms for a new row, the newest rows' pages of every model in the admin, and our own pages."""
    yield reverse("admin:index")
    yield reverse("admin:password_change")
    yield reverse("admin:migration_run_aws_writes")
    yield from (f"{reverse('admin:search')}?s={asked}" for asked in ("MARK", "idom"))
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        yield reverse(f"{name}_changelist")
        yield reverse(f"{name}_changelist") + "?q=MARK&e=1"
        yield reverse(f"{name}_add")
        rows = model._default_manager.order_by("-pk")[:most]
        yield from (reverse(f"{name}_change", args=[row.pk]) for row in rows)
        for page_name in ("history", "delete"):
            yield from (reverse(f"{name}_{page_name}", args=[row.pk]) for row in rows[:1])
    for user in User.objects.all():
        for name in ("person", "person_link", "person_details"):
            yield reverse(f"admin:{name}", args=[user.pk])
    yield from map(reverse, ("admin:people", "admin:people_invite", "admin:failed_logins"))
    yield reverse("admin:migration_run_health")
    for run in Run.objects.order_by("-pk")[: most + 1]:
        yield from (
            reverse("admin:migration_run_change", args=[run.pk]) + f"?items={tab}" for tab in TABS
        )
    clients = Client.objects.order_by("-pk")[:most]
    for client in clients:
        yield reverse("admin:credentials_client_watch", args=[client.pk])
        yield from reveal_pages(client)
    yield from pages_of_acts(*clients)
    for act in ACTS:
        yield reverse("admin:credentials_client_act", args=[act]) + "?all=1"
    for plan in Run.objects.filter(act__in=ACTS):
        yield reverse("admin:credentials_client_act_plan", args=[plan.pk])
    report = reverse("admin:migration_comparison_report")
    yield from (report, reverse("admin:migration_copysearch_report"))
    yield from (f"{report}?status={status}" for status in Comparison.Status)
    yield from (f"{report}?kind={kind}" for kind in MismatchKind)
    yield f"{report}?field=database.password"


def pages_of_acts(*clients: Client) -> Iterator[str]:
    for act in ACTS.values():
        some = clients if act.takes_many else clients[:1]
        yield get_act_url(act.code, [client.pk for client in some])


def reveal_pages(client: Client) -> Iterator[str]:
    for kind, rows in client.credentials_by_type().items():
        for row in rows:
            for name in row.SECRET_FIELDS:
                arguments = [client.pk, kind, row.pk, name]
                yield reverse("admin:credentials_client_reveal", args=arguments)


def reveal_everything(browser, pk: int) -> None:
    """The answers are the one place where values belong; everything that they leave behind is looked through."""
    with templates_logged():
        for url in reveal_pages(Client.objects.get(pk=pk)):
            assert NEEDLE.search(browser.post(url, {"reason": "INC-42"}).content.decode())


def seed() -> int:
    pk = make_client("idom")
    make_database(pk, db_password_encrypted=MARKERS["db_password_encrypted"])
    make_email(pk, email_password_encrypted=MARKERS["email_password_encrypted"])
    make_aws(pk, secret_access_key=MARKERS["secret_access_key"])
    make_reader_process()
    for slug in ("b d", "twice", "large"):
        other = make_client(slug)
        make_database(other, db_password_encrypted=MARKERS["db_password_encrypted"])
    make_database(Client.objects.get(slug="twice").pk)
    large = Client.objects.get(slug="large").databases.get()
    update("client_database_credentials", large.pk, db_password_encrypted="MARKER-ONE" * 7000)
    return pk


def post_the_clients_own_form(haystack: Haystack, browser, pk: int) -> None:
    """Saves the client's form as it came, with new secrets in it: refused twice, then taken."""
    url = reverse("admin:credentials_client_change", args=[pk])
    data = sent_form(browser.get(f"{url}?tab=logins").content.decode())
    typed = type_secrets(data)
    assert len(typed) == 3, "the form has no secret fields: this test would prove nothing"
    assert "required" in page(haystack, browser, url, data | typed | {"name": ""})
    assert "changed since you opened" in page(
        haystack, browser, url, data | typed | {"revision": "0"}
    )
    assert "Saved." in page(haystack, browser, url, data | typed)


def type_secrets(data: dict[str, str]) -> dict[str, str]:
    """A new secret for each of the form, shaped as the form wants it."""
    typed = {n: "MARKER-FOUR typed" for n in data if n.endswith("password")}
    return typed | {
        n: make_aws_secret("MARKER-FOUR typed") for n in data if n.endswith("access_key")
    }


def onboard_a_client(haystack: Haystack, browser) -> None:
    """Given more logins, refused, told to the script, taken apart, then taken: with secrets in it all the time."""
    url = reverse("admin:credentials_client_add")
    typed = sent_form(browser.get(url).content.decode())
    for prefix in ("emails", "aws_logins"):
        more = typed | type_secrets(typed) | {"_add_login": prefix}
        typed = sent_form(page(haystack, browser, url, more))
    secrets = type_secrets(typed)
    assert len(secrets) == 3, "the form has no secret fields: this test would prove nothing"
    typed |= {n: "x.example" for n, v in typed.items() if not v and n.endswith(("user", "name"))}
    typed |= {"name": "Typed", "slug": "typed", "databases-0-db_host": "x.example"} | secrets
    typed |= {"aws_logins-0-access_key_id": "EXAMPLEKEYID00000000"}
    assert "required" in page(haystack, browser, url, typed | {"databases-0-db_host": ""})
    assert "at most 255" in page(haystack, browser, url, typed | {"name": "x" * 256})
    pasted = {"databases-0-connection": "postgres://x:MARKER-FOUR@h/db", "slug": ""}
    assert "required" in page(haystack, browser, url, typed | pasted)
    pasted["databases-0-connection"] = "mysql://x:MARKER-FOUR@h/db"
    assert "Not understood" in page(haystack, browser, url, typed | pasted)
    answer = browser.post(url, typed | pasted, headers={"Accept": "application/json"})
    haystack.add("answer to the script", answer.content.decode())
    assert "Not understood" in answer.content.decode()
    assert "was added." in page(haystack, browser, url, typed)


def start_runs_from_pages(haystack: Haystack, browser) -> None:
    listing = reverse("admin:credentials_client_changelist")
    chosen = list(Client.objects.values_list("pk", flat=True))
    actions = ("push", "compare_selected", "cutover", "put_into_group", "set_owner")
    for action in actions:
        page(haystack, browser, listing, {"action": action, "_selected_action": chosen})
    page(haystack, browser, reverse("admin:migration_run_compare_all"), {})
    push_all = reverse("admin:credentials_client_act", args=["push"]) + "?all=1"
    page(haystack, browser, push_all)
    page(haystack, browser, push_all, {"confirmed": "plan"})
    sent = {"confirmed": "1", "clients": " ".join(map(str, chosen)), "new_name": "wave 1"}
    put = reverse("admin:credentials_client_act", args=["put_into_group"])
    assert "into wave 1" in page(haystack, browser, put, sent)
    start_a_campaign_from_pages(haystack, browser)
    plan = [Run.objects.get(state=Run.State.PLANNING).pk]
    address = reverse("admin:credentials_client_act_plan", args=plan)
    page(haystack, browser, f"{address}live/")
    tasks.work_on_run(*plan)
    page(haystack, browser, address)
    for name in ("plan_sheet", "plan_file"):
        page(haystack, browser, reverse(f"admin:migration_run_{name}", args=plan))
    start = {"confirmed": "1", "look": str(Run.objects.get(pk=plan[0]).look)}
    page(haystack, browser, address, start)
    page(haystack, browser, address, start)


def start_a_campaign_from_pages(haystack: Haystack, browser) -> None:
    """Refused, shown, started, stopped and gone on with; `take_campaigns_further` begins it later."""
    place = f"place_{ClientGroup.objects.get(name='wave 1').pk}"
    limits = dict.fromkeys(("most_mismatches", "most_failed_reads", "most_refused"), "9")
    typed = limits | {"goal": "dual_write", "soak_time": "0 min", place: "1", "reason": "CHG-1"}
    url = reverse("admin:migration_campaign_start")
    assert "required" in page(haystack, browser, url, typed | {"soak_time": ""})
    assert "Start the campaign" in page(haystack, browser, url, typed)
    shown = digest_groups([ClientGroup.objects.get(name="wave 1")])
    sent = typed | {"step": "start", "shown": shown}
    assert "has started" in page(haystack, browser, url, sent)
    ids = [Campaign.objects.get().pk]
    for order in ("stop", "go_on"):
        steer = reverse("admin:migration_campaign_steer", args=ids)
        assert "ampaign" in page(haystack, browser, steer, {"order": order})
    for name in ("change", "live"):
        page(haystack, browser, reverse(f"admin:migration_campaign_{name}", args=ids))
    page(haystack, browser, reverse("admin:migration_campaign_changelist"))


def work_off_the_queue(haystack: Haystack) -> None:
    """As a worker does, result and all, in this process."""
    add_pickles(haystack)
    for queued in OrmQ.objects.order_by("pk"):
        async_task(queued.task["func"], *queued.task["args"], sync=True)
        queued.delete()
    add_pickles(haystack)


@contextmanager
def aws_that_echoes(sm) -> Iterator[None]:
    """Writes are refused by an AWS whose text repeats the request, secrets included."""

    def refuse(request, **_):
        body = request.body if isinstance(request.body, bytes) else request.body.encode()
        text = (
            b'{"__type": "InvalidParameterException", "message": "MARKER-FOUR %s"}'
            % body.hex().encode()
        )
        answer = AWSResponse(request.url, 400, {"x-amzn-requestid": "MARKER-FOUR"}, None)
        answer._content = text
        return answer

    events = [f"before-send.secrets-manager.{name}" for name in ("PutSecretValue", "CreateSecret")]
    for event in events:
        sm.sm.meta.events.register(event, refuse)
    try:
        yield
    finally:
        for event in events:
            sm.sm.meta.events.unregister(event, refuse)


def fail_in_every_way(haystack: Haystack, sm, settings, pk: int) -> None:
    """Pushes and comparisons while AWS refuses, repeats what it was sent, or is away."""
    row = Client.objects.get(pk=pk).databases.get().pk
    make_database(make_client("never-pushed"), db_password_encrypted="MARKER-ONE")
    plan = ClientSecretsManager()
    with aws_that_echoes(sm), aws_that_echoes(plan):
        update("client_database_credentials", row, db_password_encrypted="MARKER-FOUR of today")
        command(haystack, "migrate_clients", "--all", "--inline", "--format", "json")
        command(haystack, "push_pending", "--inline")
        for result in push(client_ids=[pk]):
            assert (result.outcome, result.error_class) == ("failed", "data")
            haystack.add("what became of a push", repr(result) + str(result))
        value = MARKERS["secret_access_key"]  # by a name: a traceback quotes the lines of this file
        for write in (
            lambda: sm.put_value("nova/clients/idom", value),
            lambda: sm.create_secret("nova/clients/none", value, slug="none"),
            lambda: plan.update_client_credentials("idom", {"database": {"password": value}}),
        ):
            try:
                write()
            except Exception as error:  # noqa: BLE001 - as above
                haystack.add("exception of a write", traceback.format_exc() + repr(vars(error)))
    assert "exception of a write" in haystack.pieces
    reachable, settings.AWS_ENDPOINT_URL = settings.AWS_ENDPOINT_URL, "http://127.0.0.1:1"
    command(haystack, "migrate_clients", "idom", "--inline")
    command(haystack, "compare_clients", "idom", "--inline")
    settings.AWS_ENDPOINT_URL = reachable


def stop_the_writes(haystack: Haystack, browser, pk: int) -> None:
    """Pushes and saves while AWS writes are stopped, and the commands and the page about them."""
    row = Client.objects.get(pk=pk).databases.get().pk
    command(haystack, "aws_writes", "stop", "--reason", "INC-42", "--format", "json")
    update("client_database_credentials", row, db_password_encrypted="MARKER-FOUR held back")
    for result in push(client_ids=[pk]):
        assert result.postponed
        haystack.add("what became of a push", repr(result) + str(result))
    command(haystack, "migrate_clients", "--all", "--inline")
    command(
        *(haystack, "acknowledge_mismatches", "--all", "--format", "json"),
        *("--reason", "INC-42", "--until", "2099-01-01"),
    )
    for act in ("push", "copy_to_aws", "copy_to_postgres", "acknowledge"):
        address = act_page(act, pk)
        page(haystack, browser, address)
        shown = f"{pk}:{ACTS[act].see([pk])[pk]}"
        typed = {"reason": "INC-42", "until": "2099-01-01"}
        page(haystack, browser, address, {"confirmed": "1", "clients": shown, **typed})
    tests = reverse("admin:credentials_client_test_logins", args=[pk])
    page(haystack, browser, tests, {"store": "both"})
    page(haystack, browser, reverse("admin:migration_run_aws_writes"))
    command(haystack, "claim_database", "--reason", "INC-42")
    command(haystack, "aws_writes", "status", "--format", "json")
    command(haystack, "aws_writes", "start")
    run = Run.start(kind=Run.Kind.PUSH, chosen=all_clients())
    run.stop(by=None)
    command(haystack, "run", "resume", str(run.pk), "--inline")
    command(haystack, "run", "show", str(run.pk))


def change_layouts(haystack: Haystack, browser, pk: int) -> None:
    for layout in ("service", "client"):
        url = get_act_url(f"layout_{layout}", [pk])
        seen = browser.get(url).context["shown"]
        page(haystack, browser, url, {"confirmed": "1", "clients": seen})
        command(haystack, "change_layout", layout, "idom", "--dry-run")
        command(haystack, "change_layout", layout, "idom", "--inline", "--format", "json")


def rotate_all(haystack: Haystack, browser, pk: int) -> None:
    for kind, rows in Client.objects.get(pk=pk).credentials_by_type().items():
        for row in rows:
            url = reverse("admin:credentials_client_rotate", args=[pk, kind, row.pk])
            page(haystack, browser, url)
            entered = dict.fromkeys(row.SECRET_FIELDS, "MARKER-FOUR entered")
            page(haystack, browser, url, {"confirmed": "1", "reason": "INC-42", **entered})
    command(haystack, "rotate_credential", "idom", "database", "--format", "json")


def drive(haystack: Haystack, browser, sm, settings) -> None:
    pk = seed()
    mapped_columns.map_everything(partial(command, haystack), partial(page, haystack, browser))
    for arguments in (
        ("migrate_clients", "--all", "--dry-run"),
        ("migrate_clients", "--all", "--inline"),
        ("migrate_clients", "--all", "--inline", "--format", "json"),
        ("compare_clients", "--all", "--inline", "--format", "json"),
        ("test_logins", "--all", "--inline", "--format", "json"),
        ("group", "add", "wave 2", "--all", "--format", "json"),
        ("group", "list"),
        ("set_owner", "--all", "--owner", "-", "--format", "json"),
        ("run", "list", "--format", "json"),
        ("nova_tables", "list", "--format", "json"),
        ("compare_clients", "--all", "--dry-run", "--format", "json"),
        ("test_logins", "--all", "--dry-run"),
        ("move_clients", "dual_read", "--all", "--dry-run", "--format", "json"),
        ("move_clients", "dual_read", "--all-in", "dual_write", "--inline"),
        ("move_clients", "dual_write", "--all-in", "dual_read", "--inline", "--format", "json"),
    ):
        command(haystack, *arguments)
    plan = ClientSecretsManager()
    document = plan.get_client_credentials("idom")
    document["database"]["password"] = "MARKER-FOUR changed in AWS"
    document["MARKER-FOUR as a key"] = "MARKER-FOUR"
    plan.update_client_credentials("idom", document)
    for arguments in (
        ("compare_clients", "--all", "--inline"),
        ("compare_clients", "--all", "--inline", "--format", "json"),
        ("client_status",),
        ("client_status", "--format", "json"),
        ("doctor",),
        ("doctor", "--format", "json"),
    ):
        command(haystack, *arguments)
    for name, of in (
        ("migration_comparison", Comparison.objects.newest().get(slug="idom").pk),
        ("credentials_client", pk),
    ):
        url = reverse(f"admin:{name}_change", args=[of])
        assert "database.password" in page(haystack, browser, f"{url}?tab=comparison")
    page(haystack, browser, reverse("admin:migration_comparison_report"))
    for act in ("copy_to_aws", "copy_to_postgres", "acknowledge"):
        plan = reverse("admin:migration_comparison_act", args=[act])
        assert "idom" in page(haystack, browser, plan, {"select_across": "1"})
    assert "Fine" in page(haystack, browser, reverse("admin:migration_run_health"), {})
    sm.sm.put_secret_value(SecretId="nova/clients/idom", SecretString="MARKER-FOUR no document")
    command(haystack, "compare_clients", "idom", "--inline", "--format", "json")
    with templates_logged():
        post_the_clients_own_form(haystack, browser, pk)
        onboard_a_client(haystack, browser)
    reveal_everything(browser, pk)
    for name in ("copy", "undo_copy", "live", "versions", "take_pending_off"):
        page(haystack, browser, reverse(f"admin:credentials_client_{name}", args=[pk]))
    for act in ("push", "copy_to_aws", "copy_to_postgres", "acknowledge"):
        address = act_page(act, pk)
        page(haystack, browser, address)
        shown = f"{pk}:{ACTS[act].see([pk])[pk]}"
        typed = {"reason": "INC-42", "until": "2099-01-01"}
        page(haystack, browser, address, {"confirmed": "1", "clients": shown, **typed})
    rotate_all(haystack, browser, pk)
    change_layouts(haystack, browser, pk)
    start_runs_from_pages(haystack, browser)
    tasks.take_campaigns_further()
    work_off_the_queue(haystack)
    update("client_database_credentials", Client.objects.get(pk=pk).databases.get().pk, db_port=1)
    tasks.push_pending()
    work_off_the_queue(haystack)
    command(haystack, "push_pending", "--inline", "--format", "json")
    fail_in_every_way(haystack, sm, settings, pk)
    stop_the_writes(haystack, browser, pk)
    look_at_the_audit(haystack, browser, partial(command, haystack))
    start_run(kind=Run.Kind.MIGRATE, chosen=all_clients())
    for url in every_admin_page():
        page(haystack, browser, url)
    browser.force_login(make_user("viewer", *VIEW))
    for url in every_admin_page(1):
        page(haystack, browser, url)
    add_texts(haystack)
    add_pickles(haystack)


def add_texts(haystack: Haystack) -> None:
    """What a row or an object says of itself, in a log or a traceback for one."""
    manager = Client.objects.all()
    of_clients = [
        row
        for client in manager
        for row in (client, *chain.from_iterable(client.credentials_by_type().values()))
    ]
    rows = snapshots.read_snapshots([client.pk for client in manager]).values()
    for text in (str, repr):
        for row in (*of_clients, *Comparison.objects.all(), *RunItem.objects.all(), *rows):
            haystack.add("text of a row", text(row))


@pytest.fixture
def browser(stores, client):
    client.force_login(User.objects.create_superuser("root", password="example-login-password"))
    return client


def test_no_secret_is_anywhere_but_in_the_tables_and_in_aws(traps, browser, settings):
    haystack = Haystack()
    traps.run(*mapped_columns.ADD)
    with everything_logged(haystack):
        drive(haystack, browser, aws_store.secrets_manager(), settings)
        add_tables(haystack, traps.ask)

    assert traps.sprung() == []
    assert haystack.found() == []
    # It did look: the places that matter were there, and the pages were real ones.
    places = set(haystack.pieces)
    expected = {
        *("table migration_comparison", "table migration_runitem", "table django_session"),
        "table migration_reveal",
        *("table django_q_ormq", "table django_q_task", "table django_admin_log"),
        *("queue", "task results", "output of migrate_clients", "output of push_pending"),
        "output of doctor",
    }
    assert expected <= places
    assert any(place.startswith("log botocore") for place in places)
    assert "log django.template" in places
    assert "idom" in haystack.text(f"page {reverse('admin:credentials_client_changelist')}")
    assert "database.password" in haystack.text(
        f"page {reverse('admin:migration_comparison_report')}"
    )
    failed = [haystack.text(place) for place in places if place.endswith("?items=failed")]
    assert any("InvalidParameterException" in text for text in failed)
    # The two commands were refused: writes were stopped, and the database is no copy.
    refused = {"exception of migrate_clients", "exception of claim_database"}
    failures = {place for place in places if place.startswith("exception")}
    assert failures == {"exception of a write", *refused}


def test_the_databases_own_words_on_a_refused_row_do_not_show_its_secret(browser):
    """PostgreSQL quotes the whole row that breaks a rule, and NOVA may have rules that no form knows."""
    pk, haystack = seed(), Haystack()
    with connection.cursor() as cursor:
        rule = "ADD CONSTRAINT novas_own CHECK (db_port <> 5433)"
        cursor.execute(f"ALTER TABLE public.client_database_credentials {rule}")
    url = reverse("admin:credentials_client_change", args=[pk])
    data = sent_form(browser.get(f"{url}?tab=logins").content.decode()) | {
        "databases-0-db_port": "5433",
        "databases-0-db_password": "MARKER-ONE typed again",
    }
    browser.raise_request_exception = False
    try:
        with everything_logged(haystack):
            text = page(haystack, browser, url, data)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE public.client_database_credentials DROP CONSTRAINT novas_own"
            )

    assert text != ""
    assert Client.objects.get(pk=pk).databases.get().db_port == 5432
    assert haystack.found() == []
