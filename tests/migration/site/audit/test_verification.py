"""What a superuser with the triggers off can do to the audit, and that `verify_audit` finds it."""

import json

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.db.utils import IntegrityError

from migration.core.audit import make_entry_id
from migration.core.audit_chain import AuditHead, read_head, seal_audit
from migration.models import AuditCheckpoint, AuditEvent, AuditLink
from migration.site import audit
from migration.site.audit import AuditFault, verify_audit
from tests.conftest import AUDIT_OF_TESTS
from tests.migration.site.audit.conftest import write_entries

EVENTS, LINKS, _ = audit.TABLES
AT = f"(SELECT event_id FROM {LINKS} WHERE position = %s)"


def faults(**options) -> dict[str, int]:
    """The faults; that the tests' function stands in for the real one is none."""
    found = verify_audit(**options)
    return {fault: n for fault, n in found.faults.items() if fault != AuditFault.UNPROTECTED}


def test_an_audit_that_nobody_touched_is_sound(chain):
    found = verify_audit(kept_head=chain)

    assert (found.head, found.unsealed, found.begins_after) == (chain, 0, 0)
    assert found.sealed == chain.position == AuditEvent.objects.count()
    assert faults(kept_head=chain) == {}


CHANGES = [
    "who = 'somebody else'",
    "at = at + interval '1 microsecond'",
    "code = 'login'",
    "origin = '10.0.0.1'",
    "client_id = 7",
    "slug = 'other'",
    "reason = 'another'",
    "facts = facts || ' '",
    "correlation = 'run 1'",
]


def test_a_changed_entry_is_found_whichever_column_it_is(chain, as_superuser):
    for position, change in enumerate(CHANGES, start=2):
        assert as_superuser(f"UPDATE {EVENTS} SET {change} WHERE id = {AT}", position) == 1

    assert faults() == {AuditFault.CHANGED: len(CHANGES)}
    changed = [each for each in verify_audit().findings if each.fault == AuditFault.CHANGED]
    assert [each.place for each in changed] == [str(n) for n in range(2, 2 + len(CHANGES))]


def test_a_time_that_python_has_not_is_a_changed_entry_sealed_or_not(chain, as_superuser):
    waiting = write_entries(4)
    moments = ("infinity", "-infinity", "11111-01-01", "4713-01-01 BC")
    for number, (moment, entry) in enumerate(zip(moments, waiting, strict=True)):
        change = f"UPDATE {EVENTS} SET at = '{moment}' WHERE id = "
        as_superuser(change + AT, chain.position - number)
        as_superuser(change + "%s", entry.pk)
    write_entries(1)

    assert seal_audit(from_beginning=True).position == chain.position + 1
    assert faults() == {AuditFault.CHANGED: 4, AuditFault.ADDED: 4}
    pks = [entry.pk for entry in waiting]
    assert len(AuditEvent.objects.filter(pk__in=pks)) == 4  # as the page reads it


@pytest.mark.parametrize("position", [(1 << 63) - 1, (1 << 62) + 1])
def test_the_chain_goes_on_though_a_link_was_put_at_its_highest_position(
    chain, as_superuser, position
):
    at = chain.position - 1
    as_superuser(f"UPDATE {LINKS} SET position = %s WHERE position = %s", position, at)
    write_entries(1)

    assert seal_audit(from_beginning=True).position == chain.position + 1
    assert faults() == {AuditFault.REMOVED: 1, AuditFault.REORDERED: 1}
    assert verify_audit().head == read_head()


def test_a_removed_entry_is_found(chain, as_superuser):
    as_superuser(f"DELETE FROM {EVENTS} WHERE id = {AT}", chain.position - 2)

    assert faults() == {AuditFault.REMOVED: 1}


def test_a_removed_entry_is_found_without_its_link_too(chain, as_superuser):
    at = chain.position - 2
    as_superuser(f"DELETE FROM {EVENTS} WHERE id = {AT}", at)
    as_superuser(f"DELETE FROM {LINKS} WHERE position = %s", at)

    assert faults() == {AuditFault.REMOVED: 1}


def test_a_removed_entry_is_found_after_the_later_ones_moved_up(chain, as_superuser):
    at = chain.position - 2
    as_superuser(f"DELETE FROM {EVENTS} WHERE id = {AT}", at)
    as_superuser(f"DELETE FROM {LINKS} WHERE position = %s", at)
    for later in (at + 1, at + 2):
        as_superuser(f"UPDATE {LINKS} SET position = position - 1 WHERE position = %s", later)

    assert AuditFault.REORDERED in faults()


def test_entries_in_another_order_are_found(chain, as_superuser):
    first, second = chain.position - 2, chain.position - 1
    swapped = [*AuditLink.objects.filter(position__in=(first, second)).order_by("position")]
    as_superuser(f"DELETE FROM {LINKS} WHERE position IN (%s, %s)", first, second)
    for link, position in zip(swapped, (second, first), strict=True):
        link.position = position
        link.save(force_insert=True)

    assert faults() == {AuditFault.REORDERED: 3}  # the two, and the one after them


def copy_entry(position: int) -> AuditEvent:
    """An entry as a superuser could make one: another's signature, as there is no key in the database."""
    event = AuditEvent.objects.get(pk=AuditLink.objects.get(position=position).event_id)
    event.pk, event.at = make_entry_id()
    return event


def test_an_added_entry_is_found_and_gets_no_place_in_the_chain(chain, caplog):
    copy_entry(chain.position).save(force_insert=True)

    assert seal_audit(from_beginning=True) == chain
    assert "not as this site signed them" in caplog.text
    assert faults() == {AuditFault.ADDED: 1}


def test_an_added_entry_with_a_link_is_found(chain):
    added = copy_entry(chain.position)
    added.save(force_insert=True)
    last = AuditLink.objects.get(position=chain.position)
    AuditLink.objects.create(
        position=chain.position + 1, event_id=added.pk, key=last.key, signature="a" * 64
    )

    assert faults() == {AuditFault.ADDED: 1}


def test_that_the_last_entries_were_cut_off_shows_against_a_head_that_was_kept(chain, as_superuser):
    as_superuser(f"DELETE FROM {EVENTS} WHERE id = {AT}", chain.position)
    as_superuser(f"DELETE FROM {LINKS} WHERE position = %s", chain.position)

    assert faults() == {}
    assert faults(kept_head=chain) == {AuditFault.CUT_OFF: 1}

    write_entries(3)  # and the site goes on in their place
    seal_audit()
    assert faults() == {}
    assert faults(kept_head=chain) == {AuditFault.CUT_OFF: 1}


def test_a_forged_checkpoint_is_found_and_not_believed(chain, as_superuser):
    last = AuditLink.objects.get(position=chain.position)
    AuditCheckpoint.objects.create(
        position=chain.position,
        link_signature=last.signature,
        made_at=AuditEvent.objects.latest("at").at,
        who="root",
        exported="",
        key=last.key,
        signature="a" * 64,
    )
    as_superuser(f"DELETE FROM {EVENTS}")
    as_superuser(f"DELETE FROM {LINKS}")

    found = verify_audit()
    assert found.faults[AuditFault.CHECKPOINT] == 1
    assert found.begins_after == 0


def test_entries_of_before_a_rotation_are_verified_with_the_old_key(chain, settings):
    old = settings.SECRET_KEY
    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(key="k" * 50)
    # Nothing can be verified without the old key, and nothing is called forged.
    assert sum(each.number for each in verify_audit().foreign.values()) >= chain.position
    assert not verify_audit().is_sound
    assert faults() == {}

    settings.NOVA_AUDIT = type(settings.NOVA_AUDIT)(key="k" * 50, old_keys=(old,))
    write_entries(2)
    head = seal_audit()

    assert head.position == chain.position + 2
    assert faults(kept_head=chain) == {}


@pytest.mark.parametrize("role", ["origin", "replica"])
def test_the_database_refuses_to_change_or_delete(chain, role):
    made_at = AuditEvent.objects.latest("at").at
    AuditCheckpoint.objects.create(position=1, made_at=made_at)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(audit.MAKE_FUNCTION)
        cursor.execute(f"SET LOCAL session_replication_role = {role}")
        for table in audit.TABLES:
            for statement in ("UPDATE {} SET key = ''", "DELETE FROM {}", "TRUNCATE {}"):
                with pytest.raises(IntegrityError), transaction.atomic():
                    cursor.execute(statement.format(table))
        transaction.set_rollback(True)


def test_a_table_that_is_no_longer_protected_is_a_fault(chain):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(audit.MAKE_FUNCTION)
        cursor.execute(audit.LIST_PROTECTED, [audit.FUNCTION, audit.REFUSE])
        assert len(cursor.fetchall()) == 3
        cursor.execute(f"ALTER TABLE {LINKS} ENABLE TRIGGER {audit.ROW_TRIGGER}")  # not ALWAYS
        cursor.execute(audit.LIST_PROTECTED, [audit.FUNCTION, audit.REFUSE])
        assert len(cursor.fetchall()) == 2
        transaction.set_rollback(True)


@pytest.fixture
def real_function(transactional_db):
    """The function as `migrate` makes it."""
    with connection.cursor() as cursor:
        cursor.execute(audit.MAKE_FUNCTION)
        yield
        cursor.execute(AUDIT_OF_TESTS)


def test_the_command_prints_the_head_and_exits_with_1_where_something_is_wrong(
    chain, real_function, capsys
):
    call_command("audit", "verify", "--head", str(chain), "--format", "json")
    sound = json.loads(capsys.readouterr().out)
    assert (sound["sound"], sound["head"]) == (True, str(read_head()))

    with pytest.raises(SystemExit) as end:
        call_command("audit", "verify", "--head", str(AuditHead(chain.position, "b" * 64)))

    assert end.value.code == 1
    assert "NOT sound" in capsys.readouterr().out


def test_a_head_that_is_none_is_wrong_use(db):
    for text in ("", "1", "x:" + "a" * 64, "1:ab", "-1:" + "a" * 64):
        with pytest.raises(CommandError) as refusal:
            call_command("audit", "verify", "--head", text)
        assert refusal.value.returncode == 2, text
