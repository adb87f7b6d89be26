"""Entries that are kept from the chain: a problem while they are, and late links afterwards; and keys that are lost."""

import json
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.urls import reverse

from migration import tasks
from migration.core import audit_chain
from migration.core.audit_chain import seal_audit
from migration.core.leases import LeaseKind
from migration.core.notices import Notice
from migration.models import AuditEvent, AuditLink
from migration.site import audit
from migration.site.audit import AuditFault, NotTrimmedError, trim_audit, verify_audit
from tests.held_leases import held_elsewhere
from tests.migration.site.audit.conftest import write_entries

EVENTS, LINKS, _ = audit.TABLES
MINUTE = timedelta(minutes=1)


@contextmanager
def ago(monkeypatch, past: timedelta):
    now = time.time_ns
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: now() - past // timedelta(microseconds=1) * 1000)
        yield


@pytest.fixture
def unsealed(chain, monkeypatch):
    """Two entries of eight minutes ago whose sealing another session keeps from."""
    with held_elsewhere(LeaseKind.AUDIT, 0):
        with ago(monkeypatch, 8 * MINUTE):
            events = write_entries(2)
        tasks.seal_audit()
        assert not AuditLink.objects.filter(event_id=events[0].pk).exists()
        yield events


def test_what_stays_unsealed_for_five_minutes_is_a_problem_that_a_page_finds(unsealed, client):
    client.force_login(User.objects.create_superuser("root"))
    assert "The audit has not been sealed for" in client.get("/admin/").content.decode()
    page = client.get(reverse("admin:migration_run_health")).content.decode()
    assert "The audit has not been sealed for" in page


def test_it_is_told_by_another_process_than_the_one_that_seals(unsealed, capsys):
    call_command("send_notices")
    told = [notice.facts.key for notice in Notice.objects.exclude(facts=None)]
    assert told.count("audit_not_sealed") == 1


def test_newer_entries_are_no_problem_and_sealed_ones_neither(chain, monkeypatch):
    write_entries(1)
    assert audit_chain.find_unsealed_since() is None
    with ago(monkeypatch, 8 * MINUTE):
        write_entries(1)
    assert audit_chain.find_unsealed_since() is not None
    seal_audit()
    assert audit_chain.find_unsealed_since() is None


def test_links_that_were_made_late_are_listed_and_the_audit_is_sound(chain, monkeypatch, capsys):
    before = verify_audit().late  # of `migrate`'s, on a slow machine
    with ago(monkeypatch, timedelta(minutes=30)):
        write_entries(2)
    write_entries(1)
    seal_audit()

    found = verify_audit()
    assert found.late == before + 2
    span = found.late_spans[-1]
    assert (span.first, span.last) == (chain.position + 1, chain.position + 2)
    assert span.longest >= timedelta(minutes=30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("migration.site.audit._verify_protection", lambda _: None)
        call_command("audit", "verify")  # exits with 0
    said = capsys.readouterr().out
    assert f"sealed late: {span.first}-{span.last}, 30 minutes" in said
    assert "The audit is sound" in said


@pytest.mark.parametrize("changed", ["sealed_at - interval '1 hour'", "NULL", "'infinity'"])
def test_the_time_of_sealing_is_signed(chain, as_superuser, changed):
    as_superuser(f"UPDATE {LINKS} SET sealed_at = {changed} WHERE position = %s", chain.position)

    assert verify_audit().faults[AuditFault.REORDERED] == 1


def test_a_chain_of_before_still_verifies(chain, as_superuser, monkeypatch):
    """Its links hold no time, and what is sealed now goes on from them."""
    as_superuser(f"DELETE FROM {LINKS}")
    with monkeypatch.context() as patch:
        patch.setattr(
            "migration.core.audit_chain.datetime",
            type("Never", (datetime,), {"now": classmethod(lambda *_: None)}),
        )
        seal_audit(from_beginning=True)
    assert not AuditLink.objects.filter(sealed_at__isnull=False).exists()
    write_entries(2)
    seal_audit()

    found = verify_audit()
    assert AuditLink.objects.filter(sealed_at__isnull=False).count() == 2
    assert found.sealed == AuditEvent.objects.count()
    assert set(found.faults) <= {AuditFault.UNPROTECTED}


# Keys


@pytest.fixture
def protected(monkeypatch) -> None:
    """The tests' function, by which rows can be removed between tests, counts as the real one."""
    monkeypatch.setattr("migration.site.audit._verify_protection", lambda _: None)


def verify(capsys, *options: str) -> tuple[str, int]:
    code = 0
    try:
        call_command("audit", "verify", *options)
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    return capsys.readouterr().out, code


@pytest.mark.usefixtures("protected")
def test_a_key_that_is_lost_is_said_in_one_sentence_and_not_as_forgery(chain, settings, capsys):
    (code,) = set(AuditLink.objects.values_list("key", flat=True))
    settings.NOVA_AUDIT = replace(settings.NOVA_AUDIT, key="example-" * 8)

    said, exit_code = verify(capsys)

    assert exit_code == 1
    assert said.startswith(
        f"All {chain.position} entries (1 to {chain.position}) name the key {code},"
    )
    assert said.count("\n") == 1
    found = json.loads(verify(capsys, "--format", "json")[0])
    assert (found["sound"], found["faults"]) == (False, {})
    assert found["foreign_keys"][0]["number"] == chain.position
    assert code not in found["keys"]


@pytest.mark.usefixtures("protected")
def test_the_span_of_a_lost_key_is_said_and_what_was_signed_since_is_verified(
    chain, settings, capsys, as_superuser
):
    settings.NOVA_AUDIT = replace(settings.NOVA_AUDIT, key="example-" * 8)
    write_entries(3)
    seal_audit(from_beginning=True)
    said, exit_code = verify(capsys)
    assert exit_code == 1
    assert said.startswith(f"{chain.position} entries (1 to {chain.position}) name the key")
    assert said.count("\n") == 1

    as_superuser(
        f"UPDATE {EVENTS} SET who = 'nobody' WHERE id = (SELECT event_id FROM {LINKS} WHERE position = %s)",
        chain.position + 2,
    )
    said, exit_code = verify(capsys)
    assert f"changed: {chain.position + 2}" in said
    assert exit_code == 1


@pytest.mark.usefixtures("protected")
def test_nothing_is_trimmed_of_an_audit_whose_key_is_lost(chain, settings, tmp_path):
    settings.NOVA_AUDIT = replace(settings.NOVA_AUDIT, key="example-" * 8)
    with pytest.raises(NotTrimmedError, match="is not set here"):
        trim_audit(before=datetime.now(UTC), file=tmp_path / "old.json")
    assert AuditEvent.objects.exists()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM nova_admin.migration_auditcheckpoint")
        assert cursor.fetchone() == (0,)


def test_the_way_back_and_forth_again_keeps_the_times_of_sealing(chain):
    before = verify_audit().sealed
    try:
        call_command("migrate", "migration", "0053", verbosity=0)
    finally:
        connection.close()
        call_command("migrate", verbosity=0)

    found = verify_audit()
    assert found.sealed >= before
    assert set(found.faults) <= {AuditFault.UNPROTECTED}
    assert AuditLink.objects.filter(sealed_at__isnull=False).exists()
