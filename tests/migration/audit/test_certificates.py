"""The certificate of a cutover: what it says, who may see it, and that no edit of it is taken for genuine."""

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import override

from credentials.models import Client
from migration import audit_sql
from migration.audit_sentences import LINE_OVERRIDDEN
from migration.evidence_sentences import EVIDENCE, NO_READER_PROCESS, SWITCHED_OFF
from migration.models import (
    AuditCheckpoint,
    AuditEvent,
    ClientMigration,
    PhaseChange,
    all_clients,
)
from migration.models.audit_signatures import audit_keys, describe_moment
from migration.operations import runs
from migration.operations.approvals import approve_request, request_move
from migration.operations.audit_chain import read_head
from migration.operations.certificate_facts import (
    AuditAgreement,
    SignedFacts,
    read_unverified_certificate,
)
from migration.operations.certificate_verification import CertificateFault, verify_certificate
from migration.operations.certificates import (
    NotCutOverError,
    collect_cutover_facts,
    make_certificate,
)
from migration.operations.comparisons import compare
from migration.operations.gate_lines import PassedLineState
from migration.operations.gates import Override
from migration.operations.moves import move
from migration.operations.run_approvals import approve_run, start_move_run
from migration.reports.certificate_sheet import make_cutover_certificate_sheet
from migration.sentences import NEWEST_COMPARISON
from nova_credentials.phases import Phase
from tests.factories import (
    count_reads,
    make_client,
    make_comparison,
    make_copy_search,
    make_full_client,
    make_user,
)
from tests.migration.moves.clients import LINE, enter_phase

EVENTS, LINKS, _ = audit_sql.TABLES


@pytest.fixture
def maria(transactional_db):
    user = make_user("maria")
    user.groups.add(Group.objects.get(name="Administrator"))
    return user


@pytest.fixture
def viewer(transactional_db, client):
    user = make_user("viewer")
    user.groups.add(Group.objects.get(name="Viewer"))
    client.force_login(user)
    return client


@pytest.fixture
def idom(stores) -> int:
    """A client in dual read, compared, with reads."""
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)
    compare(client_ids=[pk])
    count_reads(pk, reads=25, matches=24)
    return pk


@pytest.fixture
def cut_over(maria) -> int:
    """A client whose history says that it was cut over through a gate: no store was asked."""
    pk = make_client("idom")
    missing, switched_off = NO_READER_PROCESS(), SWITCHED_OFF(setting="X", what=EVIDENCE["time"]())
    for old, new in pairwise(LINE[:3]):
        ClientMigration.objects.change_phase([pk], old, new)
    make_comparison(pk, "match")
    compared = NEWEST_COMPARISON(result="Match", ago=timezone.now() - timedelta(hours=2))
    ClientMigration.objects.change_phase(
        [pk],
        Phase.DUAL_READ,
        Phase.AWS,
        by=maria,
        reason="INC-42",
        overridden=[missing],
        override_reason="A test client",
        gate=[compared, LINE_OVERRIDDEN(line=missing), switched_off],
    )
    make_copy_search(pk)
    return pk


def signed(pk: int, by) -> SignedFacts:
    return make_certificate(client=Client.objects.get(pk=pk), by=by)[1]


def faults(text: str) -> list[str]:
    return [finding.fault for finding in verify_certificate(text).findings]


def page_of(pk: int) -> str:
    return reverse("admin:credentials_client_certificate", args=[pk])


def sheet_of(pk: int, by) -> dict[str, list[tuple[str, str]]]:
    facts = collect_cutover_facts(client=Client.objects.get(pk=pk), by=by)
    return {
        part.title: [(row.label, row.text) for row in part.rows]
        for part in make_cutover_certificate_sheet(facts)
    }


def test_it_says_what_was_overridden_and_what_was_switched_off_and_by_whom(idom, maria, settings):
    settings.NOVA_MIN_READS, settings.NOVA_DUAL_READ_HOURS = 100, 0
    reason = Override("A test client", maria)
    move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42", override=reason)
    count_reads(idom, reads=7)
    make_copy_search(idom, rows_found=3, not_looked_at=1)

    facts = signed(idom, maria).facts

    by_state = {state: [] for state in PassedLineState}
    for line in facts["gate"]:
        by_state[line["state"]].append(line["text"]["key"])
    assert by_state["overridden"] == ["too_few_reads", "no_reader_process"]
    assert set(by_state["off"]) == {"switched_off"}
    assert {"no_push_pending", "newest_comparison", "account_ready"} <= set(by_state["passed"])
    cutover = facts["cutover"]
    assert (cutover["who"], cutover["reason"]) == ("maria", "INC-42")
    assert (cutover["override_reason"], cutover["proof"]) == ("A test client", "agrees")
    assert [move["new"] for move in facts["moves"]] == ["dual_write", "dual_read", "aws"]
    assert facts["comparison_at_cutover"]["status"] == "match"
    assert facts["comparisons_in_dual_read"] == {"match": 2}
    assert facts["reads_in_dual_read"]["matches"] == 24
    assert facts["answered_since_cutover"] == 7
    assert (facts["copies"]["rows_found"], facts["copies"]["not_looked_at"]) == (3, 1)
    codes = [entry["code"] for entry in facts["entries"]]
    assert codes[-3:] == ["move", "override", "gate"]
    assert all(entry["position"] for entry in facts["entries"])


def test_with_the_approval_of_the_run_that_made_the_cutover(idom, settings):
    settings.NOVA_MIN_READS, settings.NOVA_REQUIRE_APPROVAL = 0, True
    joan = make_user("joan", "migration.move_client")
    old, new = Phase.DUAL_READ, Phase.AWS
    run = start_move_run(chosen=all_clients(), old=old, new=new, by=joan, reason="INC-42")
    approve_run(run_id=run.pk, by=make_user("ana", "migration.approve_move"))
    runs.work_on_run(run_id=run.pk)

    cutover = dict(sheet_of(idom, joan)["Cutover"])

    assert "joan" in cutover["Requested"]
    assert "ana" in cutover["Approved"]


def test_with_an_approval_and_reads_switched_off_and_no_override(idom, maria, settings):
    settings.NOVA_MIN_READS, settings.NOVA_REQUIRE_APPROVAL = 0, True
    asked = request_move(client_id=idom, new=Phase.AWS, by=maria, reason="INC-42")
    approve_request(request_id=asked.pk, by=make_user("ana", "migration.approve_move"))

    sheet = sheet_of(idom, maria)

    gate, cutover = sheet["The gate at the cutover"], dict(sheet["Cutover"])
    assert ("Switched off", "Switched off (NOVA_MIN_READS=0): reads by NOVA.") in gate
    assert {"Overridden", "Reason of the override"} & {*dict(gate)} == set()
    assert cutover["Requested"].endswith("UTC by maria")
    assert cutover["Approved"].endswith("UTC by ana")


def test_times_in_it_are_as_of_the_cutover(cut_over, maria):
    facts = collect_cutover_facts(client=Client.objects.get(pk=cut_over), by=maria)
    years_later = replace(facts, made_at=facts.made_at + timedelta(days=1000))

    said = [row.text for row in make_cutover_certificate_sheet(years_later)[1].rows]

    assert said[0].replace("\xa0", " ") == "Newest comparison: Match, 2 hours ago."


def test_it_is_shown_in_spanish(cut_over, maria):
    with override("es"):
        texts = str(sheet_of(cut_over, maria))

    assert "Desactivado (X=0): tiempo en la fase." in texts
    assert "Lectura doble" in texts
    assert "Switched off" not in texts


def test_of_a_client_that_was_rolled_back_it_says_so(cut_over, maria):
    first = PhaseChange.objects.get(new=Phase.AWS)
    ClientMigration.objects.change_phase([cut_over], Phase.AWS, Phase.DUAL_READ)

    facts = signed(cut_over, maria).facts

    assert facts["phase"] == facts["moves"][-1]["new"] == "dual_read"
    assert facts["cutover"]["at"] == describe_moment(first.changed_at)
    assert [move["proof"] for move in facts["moves"]] == ["agrees"] * 4


def test_a_cutover_of_before_the_audit_has_what_the_history_has(cut_over, maria, as_superuser):
    as_superuser(f"DELETE FROM {EVENTS}")

    facts = signed(cut_over, maria).facts

    assert (facts["gate"], facts["entries"]) == (None, [])
    assert {move["proof"] for move in facts["moves"]} == {"not_kept"}
    assert [row["key"] for row in facts["cutover"]["overridden"]] == ["no_reader_process"]


def leaves(value, path: tuple = ()) -> Iterator[tuple]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in items:
        if isinstance(part, dict | list) and part:
            yield from leaves(part, (*path, key))
        else:
            yield *path, key


def test_an_edit_of_any_field_is_found(cut_over, maria):
    text = signed(cut_over, maria).certificate_file_text
    genuine = json.loads(text)
    assert faults(text) == []
    assert faults(json.dumps(genuine, sort_keys=True)) == []  # as another program writes it

    places = [*leaves(genuine)]
    taken = []
    for *way, last in places:
        edited = copy.deepcopy(genuine)
        owner = edited
        for step in way:
            owner = owner[step]
        owner[last] = "0" if owner[last] != "0" else "1"
        taken += [(*way, last)] if faults(json.dumps(edited)) == [] else []
        del owner[last]
        taken += [(*way, last)] if faults(json.dumps(edited)) == [] else []

    assert len(places) > 100
    assert taken == []
    assert faults(text.replace('"agrees"', '"agrees", "proof": "agrees"', 1)) == ["edited"]
    assert faults(text.replace('"format": 1', '"format": 1.0')) == ["edited"]
    assert faults("[]") == faults('"x"') == ["edited"]
    assert faults(json.dumps(genuine | {"signature": "é"})) == ["edited"]
    assert faults(json.dumps(genuine | {"key": 7})) == ["edited"]


def test_one_of_another_site_is_refused_and_one_of_an_older_key_is_not(cut_over, maria, settings):
    text, old = signed(cut_over, maria).certificate_file_text, settings.SECRET_KEY
    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(key="k" * 50)
    assert faults(text) == [CertificateFault.OTHER_SITE]

    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(key="k" * 50, old_keys=(old,))
    assert faults(text) == []


def test_entries_that_no_longer_agree_are_found(cut_over, maria, as_superuser):
    text = signed(cut_over, maria).certificate_file_text
    moved, overridden, gate = read_unverified_certificate(text).facts["entries"][-3:]
    as_superuser(f"UPDATE {EVENTS} SET who = 'ana' WHERE id = %s", moved["id"])
    as_superuser(f"DELETE FROM {EVENTS} WHERE id = %s", overridden["id"])
    as_superuser(f"DELETE FROM {LINKS} WHERE position = %s", gate["position"])
    as_superuser(f"DELETE FROM {LINKS} WHERE position = (SELECT max(position) FROM {LINKS})")

    assert faults(text) == ["entry_changed", "entry_removed", "entry_moved", "head"]


def test_a_history_that_differs_from_the_audit_is_no_proof(cut_over, maria):
    PhaseChange.objects.filter(new=Phase.AWS).update(overridden=[], by_name="ana", by=None)

    made = signed(cut_over, maria)

    assert made.facts["cutover"]["proof"] == AuditAgreement.DIFFERS
    assert faults(made.certificate_file_text) == [CertificateFault.MOVE_DIFFERS]


def test_entries_that_were_let_go_are_not_missed(cut_over, maria, as_superuser):
    text, head, keys = signed(cut_over, maria).certificate_file_text, read_head(), audit_keys()
    checkpoint = AuditCheckpoint(
        position=head.position,
        link_signature=head.signature,
        made_at=timezone.now(),
        key=keys.current_id,
    )
    checkpoint.signature = keys.sign(*checkpoint.signed_parts)
    checkpoint.save(force_insert=True)
    as_superuser(f"DELETE FROM {EVENTS}")
    as_superuser(f"DELETE FROM {LINKS}")

    verdict = verify_certificate(text)

    assert (verdict.findings, verdict.agreeing, verdict.let_go) == ([], 0, 5)


def test_the_command_says_so_by_its_exit(cut_over, maria, tmp_path, capsys):
    file = tmp_path / "certificate.json"
    file.write_text(signed(cut_over, maria).certificate_file_text)

    call_command("verify_audit", "--certificate", str(file))
    said = capsys.readouterr().out
    assert "The certificate is genuine: 5 of its entries are in the audit as it says." in said
    assert "Certificate of idom: cut over at " in said

    file.write_text(file.read_text().replace("A test client", "A vest client"))
    with pytest.raises(SystemExit) as stop:
        call_command("verify_audit", "--certificate", str(file), "--format", "json")
    assert stop.value.code == 1
    assert json.loads(capsys.readouterr().out)["findings"] == [{"fault": "edited", "place": ""}]


@pytest.mark.parametrize(
    "content", [None, b"", b"\xff\xfe", b"{", b"[" * 100_000, b" " * 1_000_001]
)
def test_a_file_that_cannot_be_read_exits_with_2(db, tmp_path, content):
    file = tmp_path / "certificate.json"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(CommandError) as error:
        call_command("verify_audit", "--certificate", str(file))

    assert error.value.returncode == 2


def test_a_viewer_sees_makes_and_downloads_it_and_that_is_recorded(cut_over, viewer):
    before = AuditEvent.objects.count()
    shown = viewer.get(page_of(cut_over))
    assert "Not signed" in shown.content.decode()
    assert "<script" not in shown.content.decode()
    assert AuditEvent.objects.count() == before

    made = viewer.post(page_of(cut_over))
    text = made.context_data["signed"].certificate_file_text
    file = viewer.post(page_of(cut_over), {"certificate": text.replace("\n", "\r\n")})

    assert file["Content-Disposition"] == 'attachment; filename="certificate-idom.json"'
    assert faults(file.content.decode()) == []
    entries = AuditEvent.objects.order_by("pk")[before:]
    assert [(each.code, each.who, each.slug) for each in entries] == [
        ("certificate", "viewer", "idom")
    ] * 2
    assert str(entries[1].message).startswith("Downloaded the certificate of the cutover made at ")


def test_only_a_certificate_of_the_client_is_sent_back(cut_over, viewer):
    text = viewer.post(page_of(cut_over)).context_data["signed"].certificate_file_text

    for sent in (text.replace("INC-42", "INC-43"), "{", "[]"):
        assert viewer.post(page_of(cut_over), {"certificate": sent}).status_code == 400


def test_who_was_never_cut_over_has_none(viewer, maria):
    idom = make_client("idom")
    assert viewer.get(page_of(idom)).status_code == 404
    assert viewer.post(page_of(idom)).status_code == 404
    assert (
        "certificate"
        not in viewer.get(page_of(idom).replace("certificate", "change")).content.decode()
    )
    with pytest.raises(NotCutOverError):
        make_certificate(client=Client.objects.get(pk=idom), by=maria)
