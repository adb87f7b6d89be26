"""The export of a cutover: what is in it and for whom, that no edit is taken for genuine; and certificates of 0.2.0."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from credentials.models import Client
from migration.core.audit import audit_keys, describe_moment, first_id_at
from migration.core.audit_chain import read_head, seal_audit
from migration.core.audit_export import (
    EXPORT_EVENT,
    NotCutOverError,
    _signed_parts,
    export_cutover,
    verify_file,
)
from migration.core.clients import all_clients
from migration.logins.reveals import REVEAL_EVENT, REVEALED
from migration.models import AuditCheckpoint, AuditEvent, AuditLink, ClientMigration
from migration.moves.approvals import approve_run, start_move_run
from migration.pushes.comparisons import compare
from migration.runs import engine
from migration.site import audit
from nova_credentials.phases import Phase
from tests.checkout import manage
from tests.factories import make_client, make_full_client, make_in_role, make_user
from tests.migration.moves.clients import LINE, enter_phase
from tests.migration.site.audit.conftest import write_entries

EVENTS, LINKS, _ = audit.TABLES
KEY = "k" * 50
# Made with 0.2.0 and the key above: a certificate, and all entries of its audit as `export_audit` printed them.
CERTIFICATE = (Path(__file__).parent / "certificate_of_0_2_0.json").read_text()
ITS_AUDIT = json.loads((Path(__file__).parent / "audit_of_certificate.json").read_text())
CERTIFIED_HEAD = int(json.loads(CERTIFICATE)["certificate"]["audit_head"].partition(":")[0])


@pytest.fixture
def maria(transactional_db):
    return make_in_role("maria", "Administrator")


@pytest.fixture
def viewer(transactional_db, client):
    client.force_login(make_in_role("viewer", "Viewer"))
    return client


@pytest.fixture
def cut_over(maria, monkeypatch) -> int:
    """A client whose history says that it was cut over, with a reveal before and another long after it."""
    pk = make_client("idom")
    revealed = REVEALED(field="password", row="row")

    def reveal() -> None:
        AuditEvent.objects.record(
            REVEAL_EVENT, revealed, by=maria, client_id=pk, slug="idom", reason="INC-41"
        )

    reveal()
    for old, new in pairwise(LINE[:4]):
        ClientMigration.objects.change_phase([pk], old, new, by=maria, reason="INC-42")
    later = datetime.now(UTC) + timedelta(hours=1)
    with monkeypatch.context() as patch:
        moment = "migration.core.audit.make_entry_id"
        patch.setattr(moment, lambda: (first_id_at(later), later))
        reveal()
    return pk


def exported(pk: int, by, *, for_auditor: bool = True) -> str:
    client = Client.objects.get(pk=pk)
    return export_cutover(client=client, by=by, for_auditor=for_auditor)


def faults(text: str) -> list[str]:
    return [fault for fault, _place in verify_file(text).findings]


def leaves(value, path: tuple = ()) -> Iterator[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        if isinstance(part, dict | list) and part:
            yield from leaves(part, (*path, key))
        else:
            yield *path, key


def page_of(pk: int, name: str = "cutover_file") -> str:
    return reverse(f"admin:credentials_client_{name}", args=[pk])


def test_it_has_the_clients_entries_up_to_the_cutover_each_with_its_link(cut_over, maria):
    write_entries(2, slug="idom", client_id=cut_over + 1)  # of another client, which had the slug

    facts = json.loads(exported(cut_over, maria))["export"]

    entries = facts["entries"]
    assert [each["code"] for each in entries] == ["reveal", "move", "move", "move"]
    assert {(each["client_id"], each["slug"]) for each in entries} == {(cut_over, "idom")}
    assert entries[-1]["sentence"].startswith("Moved from Dual read to AWS")
    assert [each["reason"] for each in entries] == ["INC-41", *["INC-42"] * 3]
    places = dict(AuditLink.objects.values_list("position", "signature"))
    for entry in entries:
        assert entry["link_signature"] == places[entry["position"]]
        assert entry["link_before"] == places.get(entry["position"] - 1, "0" * 64)
    assert facts["audit_head"] == str(read_head())
    assert (facts["made_by"], facts["slug"]) == ("maria", "idom")


def test_who_may_not_view_the_audit_gets_the_moves_alone_and_no_address(cut_over, viewer):
    answer = viewer.post(page_of(cut_over))

    assert answer["Content-Disposition"] == 'attachment; filename="cutover-idom.json"'
    text = answer.content.decode()
    entries = json.loads(text)["export"]["entries"]
    assert [(each["code"], each["origin"]) for each in entries] == [("move", None)] * 3
    assert faults(text) == []
    recorded = AuditEvent.objects.get(code=EXPORT_EVENT)
    assert (recorded.who, recorded.slug, recorded.client_id) == ("viewer", "idom", cut_over)
    assert str(recorded.message).startswith("Exported its audit entries up to the cutover at ")


def test_of_a_run_it_has_the_entries_that_let_it_begin(stores, maria, settings):
    settings.NOVA_MIN_READS, settings.NOVA_REQUIRE_APPROVAL = 0, True
    pk, other = make_full_client("idom"), make_full_client("acme")
    for each in (pk, other):
        enter_phase(each, Phase.DUAL_READ)
    compare(client_ids=[pk, other])
    joan = make_user("joan", "migration.move_client")
    old, new = Phase.DUAL_READ, Phase.AWS
    run = start_move_run(chosen=all_clients(), old=old, new=new, by=joan, reason="INC-42")
    approve_run(run_id=run.pk, by=make_user("ana", "migration.approve_move"))
    engine.work_on_run(run_id=run.pk)

    for for_auditor in (True, False):
        text = exported(pk, maria, for_auditor=for_auditor)
        entries = json.loads(text)["export"]["entries"]
        of_run = {(each["code"], each["who"]) for each in entries if each["client_id"] is None}
        assert ("approval", "ana") in of_run
        assert {"move", "gate"} <= {each["code"] for each in entries}
        assert faults(text) == []


def test_an_edit_of_any_field_is_found(cut_over, maria):
    text = exported(cut_over, maria)
    genuine = json.loads(text)
    assert faults(text) == []
    assert faults(json.dumps(genuine, sort_keys=True)) == []  # as another program writes it

    places, taken = [*leaves(genuine)], []
    for *way, last in places:
        edited = copy.deepcopy(genuine)
        owner = edited
        for step in way:
            owner = owner[step]
        owner[last] = "0" if owner[last] != "0" else "1"
        taken += [(*way, last)] if faults(json.dumps(edited)) == [] else []
        del owner[last]
        taken += [(*way, last)] if faults(json.dumps(edited)) == [] else []

    assert len(places) > 70
    assert taken == []
    without_one = copy.deepcopy(genuine)
    del without_one["export"]["entries"][1]
    as_certificate = {"certificate": genuine["export"]} | {
        k: genuine[k] for k in ("key", "signature")
    }
    for edited in (without_one, as_certificate, [], "x", genuine | {"key": 7}, genuine | {"x": 1}):
        assert faults(json.dumps(edited)) == ["edited"]
    assert faults(text.replace('"slug": "idom"', '"slug": "x", "slug": "idom"', 1)) == ["edited"]
    assert faults(json.dumps(genuine | {"signature": "é"})) == ["edited"]


def test_what_somebody_had_changed_in_the_database_before_is_found(cut_over, maria, as_superuser):
    seal_audit(from_beginning=True)
    moves = AuditEvent.objects.filter(code="move").order_by("pk")
    as_superuser(f"UPDATE {EVENTS} SET who = 'ana' WHERE id = %s", moves[0].pk)
    before = AuditLink.objects.get(event_id=moves[2].pk).position - 1
    as_superuser(f"UPDATE {LINKS} SET signature = %s WHERE position = %s", "f" * 64, before)

    for for_auditor in (True, False):
        found = verify_file(exported(cut_over, maria, for_auditor=for_auditor)).findings
        # The link of the second is what was written over, and the third's covers it.
        assert [fault for fault, _place in found] == ["entry_changed", "entry_moved", "entry_moved"]


def test_what_was_carried_over_is_in_it_with_when_it_happened(cut_over, maria, as_superuser):
    facts = REVEALED(field="password", row="row")
    about = {"by": maria, "client_id": cut_over, "slug": "idom"}
    early, late = (datetime.now(UTC) + timedelta(days=days) for days in (-400, 1))
    for moment in (early, late):
        event = AuditEvent.make_signed(REVEAL_EVENT, facts, happened_at=moment, **about)
        event.save(force_insert=True)

    text = exported(cut_over, maria)

    entries = json.loads(text)["export"]["entries"]
    (carried,) = (each for each in entries if each["happened_at"])
    assert carried["happened_at"] == describe_moment(early)
    assert carried["origin"] == f"carried over from {describe_moment(early)}"
    assert faults(text) == []
    seal_audit(from_beginning=True)
    assert audit.verify_audit().faults["changed"] == 0
    for changed in ("happened_at - interval '1 s'", "NULL"):
        as_superuser(f"UPDATE {EVENTS} SET happened_at = {changed} WHERE id = %s", carried["id"])
        assert audit.verify_audit().faults["changed"] == 1
        as_superuser(f"UPDATE {EVENTS} SET happened_at = %s WHERE id = %s", early, carried["id"])
    as_superuser(f"UPDATE {EVENTS} SET happened_at = %s WHERE code = 'move'", early)
    assert audit.verify_audit().faults["changed"] == 3
    assert faults(exported(cut_over, maria)) == ["entry_changed"] * 3


def test_one_that_a_former_release_made_has_no_other_times_and_is_genuine(cut_over, maria):
    parts = json.loads(exported(cut_over, maria))
    for entry in parts["export"]["entries"]:
        assert entry.pop("happened_at") is None
    signed = _signed_parts("export", parts["export"], parts["key"])

    parts["signature"] = audit_keys().sign(*signed)

    assert faults(json.dumps(parts)) == []


def test_one_of_another_site_is_refused_and_one_of_an_older_key_is_not(cut_over, maria, settings):
    text, old = exported(cut_over, maria), settings.SECRET_KEY
    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(key=KEY)
    assert faults(text) == ["other_site"]

    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(key=KEY, old_keys=(old,))
    assert faults(text) == []


def test_the_first_entry_after_a_checkpoint_is_verified_too(cut_over, maria, as_superuser):
    seal_audit(from_beginning=True)
    first = AuditEvent.objects.filter(client_id=cut_over).earliest("pk")
    let_go(as_superuser, AuditLink.objects.get(event_id=first.pk).position - 1)

    verdict = verify_file(exported(cut_over, maria))

    assert (verdict.findings, verdict.agreeing) == ([], 4)


def let_go(as_superuser, position: int) -> None:
    """Let go of everything up to this place of the chain."""
    keys, link = audit_keys(), AuditLink.objects.get(position=position)
    checkpoint = AuditCheckpoint(
        position=position,
        link_signature=link.signature,
        made_at=datetime.now(UTC),
        key=keys.current_id,
    )
    checkpoint.signature = keys.sign(*checkpoint.signed_parts)
    checkpoint.save(force_insert=True)
    gone = f"SELECT event_id FROM {LINKS} WHERE position <= %s"
    as_superuser(f"DELETE FROM {EVENTS} WHERE id IN ({gone})", position)
    as_superuser(f"DELETE FROM {LINKS} WHERE position <= %s", position)


def test_the_commands_make_it_and_verify_it_without_the_database(
    cut_over, tmp_path, capsys, settings
):
    call_command("audit", "export", "--cutover", "idom")
    file = tmp_path / "cutover.json"
    file.write_text(capsys.readouterr().out)

    with CaptureQueriesContext(connection) as queries:
        call_command("audit", "verify", "--export", str(file))
    assert len(queries) == 0
    said = capsys.readouterr().out
    assert "Export is genuine: 4 entries are as this site signed them." in said
    assert f"Head of the chain then: {read_head()}" in said
    elsewhere = manage(
        *("audit", "verify", "--export", str(file)),
        SECRET_KEY=settings.SECRET_KEY,
        DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere",
    )
    assert elsewhere.returncode == 0, elsewhere.stderr

    file.write_text(file.read_text().replace("INC-42", "INC-43"))
    with pytest.raises(SystemExit) as stop:
        call_command("audit", "verify", "--export", str(file), "--format", "json")
    assert stop.value.code == 1
    assert json.loads(capsys.readouterr().out)["findings"] == [{"fault": "edited", "place": ""}]


@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe", b"{", b"[" * 100_000, b" " * 1_000_001]
)
def test_a_file_that_cannot_be_read_exits_with_2(db, tmp_path, content):
    file = tmp_path / "export.json"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CommandError) as error:
        call_command("audit", "verify", "--export", str(file))

    assert error.value.returncode == 2


@pytest.mark.parametrize(
    "options", [["--cutover", "gone"], ["--cutover", "idom"], ["--cutover", "x", "--format", "csv"]]
)
def test_wrong_use_of_the_command_exits_with_2(transactional_db, options):
    make_client("idom")

    with pytest.raises(CommandError) as error:
        call_command("audit", "export", *options)

    assert error.value.returncode == 2
    assert not AuditEvent.objects.filter(code=EXPORT_EVENT).exists()


def test_the_history_offers_it_and_the_former_page_leads_there(cut_over, viewer):
    former = viewer.get(page_of(cut_over, "certificate"))

    assert former.status_code == 301
    history = viewer.get(former.url)
    assert f'action="{page_of(cut_over)}"' in history.content.decode()
    assert former.url.endswith("#cutover")


def test_who_was_never_cut_over_has_none(viewer, maria):
    idom = make_client("idom")

    assert viewer.post(page_of(idom)).status_code == 404
    assert page_of(idom) not in viewer.get(page_of(idom, "history")).content.decode()
    with pytest.raises(NotCutOverError):
        exported(idom, maria)


# Certificates of 0.2.0


@pytest.fixture
def former_site(transactional_db, as_superuser, settings) -> None:
    """A site whose audit is that of the certificate."""
    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(key=KEY)
    as_superuser(f"DELETE FROM {LINKS}")
    as_superuser(f"DELETE FROM {EVENTS}")
    names = [each.attname for each in AuditEvent._meta.concrete_fields]
    for row in ITS_AUDIT:
        event = AuditEvent(**{name: row[name] for name in names if name in row})
        event.at = datetime.fromisoformat(row["at"])
        event.save(force_insert=True)
        if row["position"] is None:
            continue
        AuditLink.objects.create(
            position=row["position"],
            event_id=row["id"],
            sealed_at=datetime.fromisoformat(row["sealed_at"]),
            key=row["link_key"],
            signature=row["link_signature"],
        )


def test_a_certificate_of_a_former_release_is_still_verified(former_site, tmp_path, capsys):
    file = tmp_path / "certificate.json"
    file.write_text(CERTIFICATE)

    call_command("audit", "verify", "--certificate", str(file))

    said = capsys.readouterr().out
    assert "Certificate of idom: cut over at " in said
    assert "Certificate is genuine: 5 entries agree with the audit." in said
    assert faults(CERTIFICATE.replace("A test client", "A vest client")) == ["edited"]
    assert faults(CERTIFICATE.replace('"format": 1', '"format": 1.0')) == ["edited"]


def test_a_certificate_with_which_the_audit_no_longer_agrees_is_found(former_site, as_superuser):
    moved, overridden, gate = json.loads(CERTIFICATE)["certificate"]["entries"][-3:]
    as_superuser(f"UPDATE {EVENTS} SET who = 'ana' WHERE id = %s", moved["id"])
    as_superuser(f"DELETE FROM {EVENTS} WHERE id = %s", overridden["id"])
    as_superuser(f"DELETE FROM {LINKS} WHERE position = %s", gate["position"])
    as_superuser(f"DELETE FROM {LINKS} WHERE position >= {CERTIFIED_HEAD}")

    assert faults(CERTIFICATE) == ["entry_changed", "entry_removed", "entry_moved", "head"]


def test_entries_of_a_certificate_that_were_let_go_are_counted(former_site, as_superuser):
    let_go(as_superuser, CERTIFIED_HEAD)

    verdict = verify_file(CERTIFICATE)

    assert (verdict.findings, verdict.agreeing, verdict.let_go) == ([], 0, 5)
