"""Pages in Spanish show no English; what is stored stays English."""

import re
from collections.abc import Iterator
from datetime import time, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from credentials.localization import localize
from credentials.models import ROW_NAMES, DatabaseCredential
from migration.campaigns.steps import find_broken_rule
from migration.core.audit import REQUEST_EVENT
from migration.core.comparisons import STATUSES
from migration.core.pages import ClientTab
from migration.models import (
    AuditEvent,
    ClientMigration,
    Comparison,
    PhaseChange,
    Rate,
    ReadCount,
    ReaderProcess,
    Resolution,
)
from migration.moves.acts import MOVE_ACTS
from migration.moves.approvals import request_move
from migration.moves.moves import COPIED_TO_POSTGRES, ONLY_IN_POSTGRES
from migration.moves.rules import NEWEST_COMPARISON
from migration.moves.runs import ASKED_FOR_BY
from migration.nova.models import AwsFailure
from migration.people.people_pages import ACTS as ACTS_ON_PEOPLE
from migration.pushes.comparisons import MISSING_IN_AWS
from migration.pushes.pushes import MOVED_BY_RUN, NOT_PUSHED_EMPTY, OUTCOMES
from migration.pushes.secret_writer import POSTPONED
from migration.runs.acts import ACTS
from migration.runs.items import Outcome
from migration.runs.models import RUN_NAMES, Run
from nova_credentials.aws.answers import ErrorClass, SecretsManagerError
from nova_credentials.messages import in_a_row
from nova_credentials.phases import Phase
from tests.factories import (
    make_aws_secret,
    make_client,
    make_comparison,
    make_full_client,
    make_reader_process,
    sent_form,
)
from tests.languages.spanish import SPANISH, Shown, english
from tests.migration.acts import act_page, move_page
from tests.migration.campaigns.shown import begin_wave, make_campaign, make_group
from tests.migration.clients.imports.files import EMAIL, make_csv, make_row
from tests.migration.nova.readers import statistics
from tests.migration.pages import DIFFERENT, text

NOTES = {
    "dual_read": MOVED_BY_RUN(run=RUN_NAMES["migrate"](id="7")),
    "aws": ASKED_FOR_BY(who="ana"),
    "purged": in_a_row(COPIED_TO_POSTGRES(), ONLY_IN_POSTGRES(rows=(ROW_NAMES["email"](id="3"),))),
}


def make_world() -> dict[str, int]:
    """Something of everything that a page can tell, under large numbers."""
    root = User.objects.get(username="root")
    ids = {phase: make_full_client(f"idom_{phase}") for phase in Phase}
    ids["broken"] = make_client("café norte", name="Norte")
    error = SecretsManagerError(
        ErrorClass.PERMISSION, "AccessDeniedException", "GetSecretValue", "nova/clients/x"
    )
    for phase in list(Phase)[1:]:
        pk, slug = ids[phase], f"idom_{phase}"
        ClientMigration.objects.create(client_id=pk, phase=phase)
        PhaseChange.objects.create(
            client_id=pk,
            slug=slug,
            old="postgres",
            new=phase,
            reason="CHG-1",
            note=NOTES.get(phase),
            by=root,
        )
        ReadCount.objects.create(
            client_id=pk, reads=12_345, matches=12_000, mismatches=345, aws_failures=2,
            last_read_at=timezone.now(), last_mismatch_at=timezone.now() - timedelta(minutes=3),
        )  # fmt: skip
    make_comparison(ids["dual_write"], "missing_in_aws", slug="idom_dual_write",
        message=MISSING_IN_AWS(names=("nova/clients/idom_dual_write",)))  # fmt: skip
    make_comparison(ids["dual_read"], "mismatch", slug="idom_dual_read", mismatches=[DIFFERENT])
    make_comparison(
        ids["aws"], "unchecked", slug="idom_aws", message=error.message, error_class="permission"
    )
    make_comparison(ids["purged"], "match", slug="idom_purged")
    for kind, message in (
        ("check", STATUSES["mismatch"]()),
        ("to_aws", OUTCOMES["updated"]()),
        ("to_postgres", None),
    ):
        Resolution.objects.create(
            client_id=ids["aws"],
            slug="idom_aws",
            kind=kind,
            message=message,
            by=root,
            reason="CHG-3",
        )
    run = Run.objects.create(kind=Run.Kind.MIGRATE, by=root)
    run.add_items([(ids[phase], f"idom_{phase}") for phase in Phase])
    failed, skipped, waits, *_others = run.items.order_by("pk")
    run.items.filter(pk=failed.pk).update(
        outcome=Outcome.FAILED,
        error_class="permission",
        message=error.message,
        finished_at=timezone.now(),
    )
    run.items.filter(pk=skipped.pk).update(
        outcome=Outcome.SKIPPED, message=NOT_PUSHED_EMPTY(), finished_at=timezone.now()
    )
    run.items.filter(pk=waits.pk).update(
        error_class="throttled", message=POSTPONED(),
        next_try_at=timezone.now(), attempts=1,
    )  # fmt: skip
    campaign = make_campaign(
        make_group("Sur", 13), make_group("Norte"), begins_at=time(22), ends_at=time(6), by=root
    )
    begin_wave(campaign, [f"sur-{n}" for n in range(13)])
    (wave,) = campaign.waves.begun()
    campaign.stop_by_itself(find_broken_rule(wave, wave.count_against_rule()))
    campaign.waves.update(rollback_is_due=True)
    ids["campaign"] = campaign.pk
    Rate.objects.set_rates({Rate.Kind.WRITE: 2.5, Rate.Kind.READ: 1234.5})
    return ids | {"run": run.pk}


@pytest.fixture
def world(stores, client, settings) -> dict[str, int]:
    settings.NOVA_REQUIRE_APPROVAL = True
    root = User.objects.create_superuser("root", password="example-password-9")
    client.force_login(root)
    ids = make_world()
    asker = User.objects.create_superuser("asker")
    with override("es"):  # as within a request
        asked = request_move(
            client_id=ids["dual_read"], new=Phase.AWS, by=asker, reason="CHG-4"
        ).run
    return ids | {"request": asked.pk, "comparison": Comparison.objects.order_by("pk").last().pk}


def addresses(world: dict[str, int]) -> Iterator[str]:
    yield from ("/admin/", "/admin/login/", "/admin/password_change/")
    for name in (
        "credentials_client",
        "migration_campaign",
        "migration_run",
        "migration_comparison",
        "migration_readerprocess",
    ):
        yield reverse(f"admin:{name}_changelist")
    report = reverse("admin:migration_comparison_report")
    yield from (
        reverse(f"admin:migration_run_{page}")
        for page in ("health", "check_aws", "notices", "secret_settings", "settings", "cost")
    )
    yield f"{reverse('admin:migration_run_check_aws')}?account=12"
    yield reverse("admin:credentials_client_aws_reads", args=[world["aws"]])
    yield from (report, f"{report}?status=unchecked", f"{report}?status=mismatch&state=open")
    for phase in (*Phase, "broken"):
        url = reverse("admin:credentials_client_change", args=[world[phase]])
        yield from (f"{url}?tab={tab}" for tab in ClientTab)
        yield reverse("admin:credentials_client_versions", args=[world[phase]])
        yield reverse("admin:credentials_client_live", args=[world[phase]])
    yield reverse("admin:credentials_client_leaving", args=[world["aws"]])
    for page in ("adopt", "copy", "undo_copy", "layout", "restore_version"):
        yield reverse(f"admin:credentials_client_{page}", args=[world["dual_write"]])
    row = DatabaseCredential.objects.filter(client=world["dual_write"]).latest("pk")
    yield reverse("admin:credentials_client_rotate", args=[row.client_id, "database", row.pk])
    everybody = [world[phase] for phase in (*Phase, "broken")]
    moves = [move for move, act in MOVE_ACTS.items() if act.code in ACTS]
    yield from (move_page(old, new, *everybody) for old, new in moves)
    yield from (move_page(old, new, world[old], override="reads") for old, new in moves)
    yield reverse("admin:credentials_client_add")
    yield reverse("admin:credentials_client_import")
    yield reverse("admin:credentials_client_legacy")
    yield reverse("admin:credentials_client_history", args=[world["aws"]])
    yield from map(reverse, ("admin:people", "admin:people_invite", "admin:failed_logins"))
    person = User.objects.order_by("pk")[0].pk
    for name in ("person", *ACTS_ON_PEOPLE):
        yield reverse(f"admin:{name}", args=[person])
    yield reverse("admin:migration_run_change", args=[world["run"]])
    yield reverse("admin:migration_run_live", args=[world["run"]])
    for name in ("change", "live", "go_on_without"):
        yield reverse(f"admin:migration_campaign_{name}", args=[world["campaign"]])
    yield reverse("admin:migration_campaign_start")
    yield reverse("admin:migration_comparison_change", args=[world["comparison"]])
    yield reverse("admin:migration_run_change", args=[world["request"]])
    yield f"{reverse('admin:migration_run_changelist')}?state=requested"


NUMBERS = {
    *("value", "style", "width", "height", "x", "y", "viewbox", "max", "min", "step"),
    "placeholder",
}


def is_spoilt(name: str, value: str) -> bool:
    """Whether the attribute holds a number as Spanish writes it, which no program reads."""
    # An address in a field names clients by ids with commas between them.
    return bool(name in NUMBERS and value[:1] != "/" and re.search(r"\d,\d", value)) or (
        name in ("href", "action", "hx-get", "value") and "\xa0" in value
    )


def test_pages_show_no_english_and_numbers_in_attributes_keep_their_point(world, client):
    found = {}
    for address in addresses(world):
        response = client.get(address, follow=True, **SPANISH)
        assert response.status_code == 200, address
        shown = Shown(response.content.decode())
        found[address] = [(text.strip(), rest) for text in shown.texts if (rest := english(text))]
        found[address] += [each for each in shown.attributes if is_spoilt(*each)]

    assert {address: texts for address, texts in found.items() if texts} == {}
    run = client.get(reverse("admin:migration_run_change", args=[world["run"]]), **SPANISH)
    assert 'value="2.5"' in run.content.decode()
    page = reverse("admin:credentials_client_change", args=[world["aws"]])
    shown = client.get(page, {"tab": "comparison"}, **SPANISH).content.decode()
    assert "12\xa0345" in shown.replace("&nbsp;", "\xa0")


def test_readers_are_shown_in_spanish_once_there_are_some(world, client):
    for error in AwsFailure:
        make_reader_process(host="x-1", aws_error=error, aws_error_at=timezone.now())
    make_reader_process(host="x-2", last_read_at=timezone.now() - timedelta(days=2))
    readers = reverse("admin:migration_readerprocess_changelist")
    statistics.install()
    for query, queryid in (("SELECT 1 FROM client_email_credentials", 1), ("hidden", None)):
        statistics.count(query, queryid=queryid)
    try:
        process = ReaderProcess.objects.first()
        one = reverse("admin:migration_readerprocess_change", args=[process.pk])
        for address in (readers, one, "/admin/"):
            shown = Shown(client.get(address, follow=True, **SPANISH).content.decode()).texts
            assert [text for text in shown if english(text)] == [], address
    finally:
        statistics.remove()


def test_a_refused_form_is_told_in_spanish(world, client):
    add = reverse("admin:credentials_client_add")
    sent = {
        "name": "Sur",
        "slug": "sur/este",
        "email-sender_whitelist": "xx",
        "email-email_user": "x",
    }
    refused = client.post(add, sent, **SPANISH)
    shown = Shown(refused.content.decode()).texts

    assert [text for text in shown if english(text)] == []
    assert "no puede contener «/»" in text(refused)
    pair = " ".join(f"{pk}:x" for pk in (world["dual_read"], world["aws"]))
    moved = client.post(act_page("cutover"), {"confirmed": "1", "clients": pair}, **SPANISH)
    assert [text for text in Shown(moved.content.decode()).texts if english(text)] == []
    for act in ("copy_to_aws", "copy_to_postgres", "acknowledge", "set_owner"):
        of_all = reverse("admin:migration_comparison_act", args=[act])
        plan = client.post(of_all, {"all": "1"}, follow=True, **SPANISH)
        assert [text for text in Shown(plan.content.decode()).texts if english(text)] == [], act


def test_an_import_is_told_in_spanish(world, client):
    page = reverse("admin:credentials_client_import")
    new = make_row("acme", **EMAIL, groups="Norte")
    wrong = [
        {"slug": f"idom_{Phase.AWS}", "db_host": "x"},
        make_row("b", db_port="x", is_active="x", sender_whitelist="x", **EMAIL),
        make_row("c", label="x", email_provider="x"),
    ]
    windows = make_csv(make_row("d", name="Camión")).decode().encode("cp1252")

    for data in (make_csv(new), make_csv(new, *wrong), windows, b"slug,odd\n", b"", b"slug\n1,2\n"):
        file = SimpleUploadedFile("clients.csv", data)
        html = client.post(page, {"file": file}, **SPANISH).content.decode()
        texts = [text.replace("is_active", "") for text in Shown(html).texts]  # a column
        assert [text for text in texts if english(text)] == [], data


def test_what_a_campaign_would_do_and_why_it_is_refused_are_told_in_spanish(world, client):
    start, group = reverse("admin:migration_campaign_start"), make_group("Este", 2)
    limits = dict.fromkeys(("most_mismatches", "most_failed_reads", "most_refused"), "1200")
    sent = limits | {
        "goal": "aws",
        "soak_time": "24 h",
        f"place_{group.pk}": "1",
        "reason": "CHG-1",
    }

    for more in (
        {"step": "look"},
        {"goal": "dual_read", "wave_size": "1", "begins_at": "22:00", "ends_at": "06:00"},
        {"reason": ""},
        {"begins_at": "22:00"},
        {f"place_{group.pk}": "x", "rolls_back": "on"},
        {"step": "start", "soak_time": "0 min"},
    ):
        shown = Shown(client.post(start, sent | more, **SPANISH).content.decode()).texts
        assert [text for text in shown if english(text)] == [], more


def test_what_is_stored_is_english_whoever_asked_for_it(world, client):
    entry = AuditEvent.objects.get(code=REQUEST_EVENT, client_id=world["dual_read"])
    for reason in entry.message.values["reasons"]:
        told = [re.sub(r"\d+ seconds?", "…", each) for each in (reason.text, str(reason))]
        assert told[0] == told[1]
        with override("es"):
            assert localize(reason) != reason.text
            assert english(localize(reason)) == []

    compare = reverse("admin:credentials_client_compare", args=[world["dual_write"]])
    answer = client.post(compare, follow=True, **SPANISH)

    assert Resolution.objects.first().message.values["result"] == STATUSES["missing_in_aws"]()
    assert "Comprobado de nuevo. Resultado: Falta en AWS." in text(answer)


def test_a_time_in_a_reason_that_was_stored_ages(world, client):
    entry = AuditEvent.objects.get(code=REQUEST_EVENT, client_id=world["dual_read"])
    newest = Comparison.objects.newest().get(client_id=entry.client_id)
    (stored,) = (r for r in entry.message.values["reasons"] if r.key == NEWEST_COMPARISON.key)
    assert stored.values["ago"] == newest.compared_at
    assert re.fullmatch(r"Newest comparison: Mismatch, \d+ seconds? ago\.", stored.text)

    later = newest.compared_at - timedelta(hours=3)
    aged = NEWEST_COMPARISON(result=newest.status_message, ago=later)
    run = Run.objects.get(pk=world["request"])
    run.record_start(run.by, [aged])

    page = client.get(reverse("admin:migration_run_change", args=[run.pk]), **SPANISH)
    assert "Última comparación: Discrepancia, hace 3 horas." in text(page)


def test_a_client_that_is_added_in_spanish_is_logged_for_both_languages(root):
    add = reverse("admin:credentials_client_add")
    typed = {
        "name": "Sur",
        "slug": "sur",
        "aws_logins-TOTAL_FORMS": "1",
        "aws_logins-0-access_key_id": "EXAMPLEKEYID00000000",
        "aws_logins-0-secret_access_key": make_aws_secret("example"),
        "aws_logins-0-region": "us-east-1",
    }
    sent = sent_form(root.get(add).content.decode()) | typed

    added = root.post(add, sent, follow=True, **SPANISH)

    assert "Se ha añadido «Sur»." in text(added)
    history = reverse("admin:credentials_client_history", args=[added.context["original"].pk])
    shown = text(root.get(history))
    assert "Sur" in shown
    assert "acceso a AWS" not in shown
