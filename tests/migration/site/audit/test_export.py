"""Exports of the audit, and letting go of old entries at a checkpoint."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from migration.core.audit import WRITES_STARTED_EVENT, Actor, acting, audit_keys
from migration.core.audit_chain import AuditHead, find_whole_since, read_head, seal_audit
from migration.core.audit_export import AuditFilter, ExportFormat, export_audit
from migration.models import AuditCheckpoint, AuditEvent, AuditLink
from migration.site import audit
from migration.site.audit import NotTrimmedError, trim_audit, verify_audit
from tests.conftest import AUDIT_OF_TESTS
from tests.factories import make_client
from tests.migration.site.audit.conftest import write_entries
from tests.migration.site.audit.test_chain import in_thread

TOMORROW = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def real_function(transactional_db):
    with connection.cursor() as cursor:
        cursor.execute(audit.MAKE_FUNCTION)
        yield
        cursor.execute(AUDIT_OF_TESTS)


def test_the_command_prints_one_list_and_is_an_entry_itself(chain, capsys):
    call_command(
        "audit", "export", "--since", f"{datetime.now(UTC) - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
    )

    rows = json.loads(capsys.readouterr().out)
    assert len(rows) == AuditEvent.objects.count() == chain.position + 1
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    last = rows[-1]
    assert (last["code"], last["who"]) == ("export", "system")
    assert last["sentence"].startswith("Exported audit entries as json: since=")


def test_the_entries_of_one_client_run_or_campaign_are_exported(chain, capsys):
    pk = make_client("idom")
    with acting(Actor("", "run 5")):
        write_entries(2, slug="idom", client_id=pk)
        write_entries(1)
    with acting(Actor("", "campaign 5")):
        write_entries(1)

    for option, value, number in (("--client", "idom", 2), ("--run", 5, 3), ("--campaign", 5, 1)):
        call_command("audit", "export", option, str(value))
        assert len(json.loads(capsys.readouterr().out)) == number
        newest = AuditEvent.objects.latest("pk")
        assert str(newest.message).endswith((f"client_id={pk}.", "=run 5.", "=campaign 5."))


def test_an_exported_entry_can_be_verified_from_the_file_alone(chain, capsys):
    call_command("audit", "export")
    row = json.loads(capsys.readouterr().out)[-1]

    event = AuditEvent(**{name: row[name] for name in row if name in
        ("id", "code", "who", "origin", "client_id", "slug", "reason", "facts", "correlation", "key", "signature")},
        at=datetime.fromisoformat(row["at"]))  # fmt: skip
    assert event.is_unchanged(audit_keys())
    assert AuditHead(row["position"], row["link_signature"]) == read_head()


def test_a_csv_has_no_formula_and_steers_no_terminal(chain, capsys):
    write_entries(1, reason="=1+1\x1b[2J\nnext")

    call_command("audit", "export", "--format", "csv")

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    (reason,) = {row["reason"] for row in rows} - {""}
    assert reason.startswith("'=1+1")
    assert not {"\x1b", "\n"} & set(reason)


def test_what_is_recorded_while_it_runs_is_not_in_it(chain):
    written: list[str] = []

    def write(text: str) -> None:
        if not written:
            in_thread(lambda: write_entries(3) and seal_audit()).join()
        written.append(text)

    export_audit(chosen=AuditFilter(), kind=ExportFormat.JSON, write=write)

    rows = json.loads("".join(written))
    assert len(rows) == chain.position + 1
    assert AuditEvent.objects.count() == chain.position + 4


def test_filters_choose(chain):
    day = timedelta(days=1)
    now = datetime.now(UTC)
    write_entries(1, slug="idom", client_id=7)
    for chosen, number in [
        (AuditFilter(slug="idom"), 1),
        (AuditFilter(who="user 0"), 2),
        (AuditFilter(code=WRITES_STARTED_EVENT), 6),
        (AuditFilter(since=now - day, before=now + day), AuditEvent.objects.count()),
        (AuditFilter(since=now + day), 0),
        (AuditFilter(before=now - day), 0),
    ]:
        assert chosen.select().count() == number


@pytest.mark.parametrize("since", ["", "yesterday", "2026-02-31", "2026-13-01T00:00"])
def test_a_time_that_is_none_is_wrong_use(transactional_db, since):
    with pytest.raises(CommandError) as refusal:
        call_command("audit", "export", "--since", since)
    assert refusal.value.returncode == 2


# Letting go


def test_old_entries_are_let_go_and_the_audit_is_verified_from_there_on(
    chain, real_function, tmp_path, monkeypatch
):
    monkeypatch.setattr(audit, "DELETE", audit.DELETE.replace("LIMIT 5000", "LIMIT 4"))
    file = tmp_path / "old.json"
    middle = AuditEvent.objects.get(pk=AuditLink.objects.get(position=chain.position - 2).event_id)

    assert find_whole_since() is None
    number, checkpoint = trim_audit(before=middle.at, file=file)
    assert find_whole_since() == middle.at

    assert number == checkpoint.position == chain.position - 3
    rows = json.loads(file.read_text())
    assert [row["position"] for row in rows] == list(range(1, number + 1))
    assert checkpoint.exported == sha256(file.read_bytes()).hexdigest()
    assert AuditEvent.objects.count() == 4  # the three that stay, and that of the trim
    seal_audit()
    found = verify_audit(kept_head=chain)
    assert (found.is_sound, found.begins_after, found.sealed) == (True, number, 4)

    _number, again = trim_audit(before=TOMORROW, file=tmp_path / "more.json")
    assert again.position == chain.position + 1
    assert verify_audit().is_sound
    assert find_whole_since() == again.made_at  # all that was there is gone
    assert (
        read_head().position == chain.position + 1
    )  # the checkpoint's, until the next entry is sealed
    assert seal_audit().position == chain.position + 2


def test_a_removed_checkpoint_is_found(chain, real_function, tmp_path, as_superuser):
    trim_audit(before=TOMORROW, file=tmp_path / "old.json")
    seal_audit()
    with connection.cursor() as cursor:
        cursor.execute(AUDIT_OF_TESTS)
    as_superuser(f"DELETE FROM {audit.TABLES[2]}")

    assert verify_audit().faults["removed"] == 1


def test_a_trim_that_was_killed_after_its_checkpoint_is_finished_by_the_next(
    chain, real_function, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        patch.setattr(audit, "_delete_let_go", lambda _: 0)
        trim_audit(before=TOMORROW, file=tmp_path / "old.json")
    assert AuditEvent.objects.count() == chain.position + 1
    assert verify_audit().is_sound

    with pytest.raises(NotTrimmedError, match="that old"):
        trim_audit(before=datetime(2020, 1, 1, tzinfo=UTC), file=tmp_path / "none.json")

    assert AuditEvent.objects.count() == 1
    assert not (tmp_path / "none.json").exists()
    assert verify_audit().is_sound


def test_an_audit_that_is_not_sound_lets_nothing_go(chain, as_superuser, tmp_path):
    as_superuser(f"UPDATE {audit.TABLES[0]} SET who = 'other' WHERE who = 'user 1'")

    with pytest.raises(CommandError, match="not sound"):
        call_command(
            "audit", "trim", "--before", "2030-01-01", "--export", str(tmp_path / "x.json")
        )

    assert not AuditCheckpoint.objects.exists()


def test_a_file_that_is_there_is_not_written_over(chain, real_function, tmp_path):
    file = tmp_path / "there.json"
    file.write_text("kept")

    with pytest.raises(CommandError) as refusal:
        call_command("audit", "trim", "--before", "2030-01-01", "--export", str(file))

    assert refusal.value.returncode == 2
    assert file.read_text() == "kept"
