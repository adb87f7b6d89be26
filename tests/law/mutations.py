"""Defects planted one at a time, each with where the machine looks for it: the machine has to find every one."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import ANY

from django.db import connection, transaction

from credentials import triggers
from credentials.copying import copy_document_into_rows
from credentials.models import Client, ClientRevision, ClientRevisionQuerySet
from credentials.pointers import replace_secrets_by_pointers
from credentials.trigger_sql import make_counting_check_sql
from migration.core import aws_store, leases, snapshots
from migration.core.aws_writes import WriteGuard
from migration.core.clients import ClientMigrationQuerySet
from migration.core.keys import VersionIdKeys
from migration.moves import moves, rules, runs
from migration.moves.gates import require_open
from migration.pushes import pushes, resolutions, saves, secret_writer
from migration.pushes.saves import AdminSave
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.phases import Phase
from nova_credentials.reader import from_postgres, routing
from nova_credentials.reader.from_postgres import ClientInPostgres
from nova_credentials.reader.routing import Reader
from tests.law.actions import (
    a_restored_copy_pushes,
    back,
    back_in_a_run,
    compare,
    compare_and_forward,
    compare_and_forward_in_a_run,
    console_writes,
    copy_to_postgres,
    copy_to_postgres_and_undo_it,
    forward,
    keep_counting,
    nova_disables_the_triggers,
    nova_rebuilds_a_table,
    nova_truncates_a_table,
    nova_writes,
    push,
    read_cached,
    read_without_aws,
    readers_lose_their_rights,
    save,
    time_passes,
)
from tests.law.fault_injection import What

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest


@dataclass
class Fault:
    """How it is planted, and the phase, acts and interruptions in which it shows, and the seed of the lives."""

    plant: Callable[[pytest.MonkeyPatch], None]
    start: Phase
    acts: list[Any]
    kinds: Sequence[What]
    within: int
    seed: int
    takes_long: bool

    @property
    def name(self) -> str:
        return self.plant.__name__


FAULTS: list[Fault] = []
NOVA = [What.NOVA_WRITES, What.NOVA_COMMITS]


def fault(
    start: Phase,
    acts: list[Any],
    kinds: Sequence[What] = (),
    *,
    within: int = 48,
    seed: int = 3,  # of the lives; another one where these find the defect late
    takes_long: bool = False,  # to be found: it is looked for by night
):
    def keep(plant):
        FAULTS.append(Fault(plant, start, acts, kinds, within, seed, takes_long))
        return plant

    return keep


@fault(Phase.DUAL_READ, [push, nova_writes], [What.COLLEAGUE_SAVES], within=12)
def a_push_reads_its_rows_before_it_has_the_lock(patch):
    early = threading.local()

    @contextmanager
    def locked(client_ids, **how):
        early.rows = snapshots.read_snapshots(client_ids)
        with leases.hold_client_locks(client_ids, **how) as held:
            yield held

    patch.setattr(pushes, "hold_client_locks", locked)
    patch.setattr(pushes, "read_snapshots", lambda held: {pk: early.rows[pk] for pk in held})


@fault(Phase.DUAL_READ, [push, nova_writes], [What.COLLEAGUE_SAVES], within=12)
def nothing_is_locked(patch):
    @contextmanager
    def locked(client_ids, **_):
        yield set(client_ids)

    for module in (pushes, moves, runs, resolutions):
        patch.setattr(module, "hold_client_locks", locked)


@fault(Phase.AWS, [push, nova_writes], [What.COLLEAGUE_SAVES], within=12)
def a_save_after_the_cutover_takes_no_lock(patch):
    patch.setattr(AdminSave, "_lock_client", lambda _: None)


@fault(Phase.DUAL_READ, [push, nova_writes], NOVA, within=12)
def a_push_reads_the_revision_after_the_rows(patch):
    def read_snapshots(client_ids):
        read, later = snapshots.read_snapshots(client_ids), snapshots.read_snapshots(client_ids)
        return {pk: replace(rows, revision=later[pk].revision) for pk, rows in read.items()}

    patch.setattr(pushes, "read_snapshots", read_snapshots)


@fault(Phase.DUAL_READ, [push, nova_writes], NOVA, within=12)
def a_push_records_the_newest_revision(patch):
    record = ClientRevisionQuerySet.record_pushed

    def record_pushed(self, revisions):
        newest = Client.objects.with_revision().in_bulk([pk for pk, _ in revisions])
        record(self, [(pk, client.revision) for pk, client in newest.items()])

    patch.setattr(ClientRevisionQuerySet, "record_pushed", record_pushed)


@fault(Phase.DUAL_READ, [push, nova_writes], [What.KILLED])
def writes_are_folded_in_two_transactions(patch):
    def fold_writes(self):
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM nova_admin.credentials_clientwrite RETURNING client_id")
            for row in cursor.fetchall():
                cursor.execute(
                    "UPDATE nova_admin.credentials_clientrevision SET revision = revision + 1 WHERE client_id = %s",
                    row,
                )

    patch.setattr(ClientRevisionQuerySet, "fold_writes", fold_writes)


@fault(Phase.AWS, [save], takes_long=True)
def an_old_token_is_put_again_and_believed(patch):
    put = SecretsManager.put_value

    def believing(self, name, text, *, token=None):
        try:
            return put(self, name, text, token=token)
        except SecretsManagerError as error:
            if error.code != "NotCurrent":
                raise
            return token

    patch.setattr(SecretsManager, "put_value", believing)
    new_id = VersionIdKeys.new_id

    def the_same_every_time(self, name, *, replaced, text):
        return new_id(self, name, replaced="", text=text)

    patch.setattr(VersionIdKeys, "new_id", the_same_every_time)


@fault(Phase.AWS, [console_writes, nova_writes, push])
def every_version_is_taken_for_ours(patch):
    patch.setattr(VersionIdKeys, "is_ours", lambda *_: True)
    # Such a version was never planned, which would keep it from being overwritten as well.
    patch.setattr(secret_writer, "find_own_unplanned_versions", lambda *_, **__: set())


@fault(Phase.AWS, [save], [What.DOWN], takes_long=True)
def a_save_after_the_cutover_ignores_that_aws_fails(patch):
    def write_document(rows, *, document):
        with suppress(SecretsManagerError):
            pushes.write_document(rows, document=document)

    patch.setattr(saves, "write_document", write_document)


@fault(Phase.DUAL_READ, [compare_and_forward, back, push], NOVA)
def a_cutover_has_no_fence(patch):
    @contextmanager
    def unfenced(attempt):
        with transaction.atomic():
            yield snapshots.reread_locked_snapshot(attempt.client_id)

    patch.setattr(moves, "hold_unchanged_rows", unfenced)


@fault(Phase.AWS, [console_writes, back, nova_writes])
def a_rollback_copies_nothing_back(patch):
    patch.setattr(
        moves, "_copy_to_rows_and_move", lambda batch, attempt, _: batch.move_unheld([attempt])
    )


@fault(
    Phase.DUAL_READ,
    [compare_and_forward_in_a_run, back_in_a_run, push],
    [What.NOVA_WRITES],
    within=60,
    seed=0,
    takes_long=True,
)
def a_run_moves_clients_whose_rows_were_written_since_it_read_them(patch):
    patch.setattr(moves.MoveAttempt, "is_unchanged", lambda *_: True)


@fault(Phase.AWS, [console_writes, back_in_a_run, nova_writes])
def a_run_rolls_back_without_a_look_at_aws(patch):
    patch.setattr(moves, "find_difference", lambda *_: None)


def _put_pointers(rows):
    replace_secrets_by_pointers(
        snapshots.reread_locked_client(rows.client_id), aws_store.secret_names_by_type(rows)
    )
    revision = snapshots.reread_locked_snapshot(rows.client_id).revision
    ClientRevision.objects.record_pushed([(rows.client_id, revision)])


@fault(Phase.AWS, [compare_and_forward, back, push], NOVA)
def a_purge_trusts_a_stored_comparison(patch):
    def purge(batch):
        (attempt,) = batch.list_open()
        (checks,) = rules.judge_gates(rules.Ask([attempt.client_id]), Phase.PURGED).values()
        require_open(attempt.snapshot, Phase.PURGED, checks)
        with transaction.atomic():
            _put_pointers(attempt.snapshot)
            moved = batch.commit([attempt])
        batch.settle([attempt], moved)

    patch.setitem(moves.STEPS, (Phase.AWS, Phase.PURGED), purge)


@fault(Phase.AWS, [compare_and_forward, back, push], [What.KILLED], takes_long=True)
def a_purge_takes_two_transactions(patch):
    def purge(batch):
        (attempt,) = batch.list_open()
        rows = attempt.snapshot
        (checks,) = rules.judge_gates(rules.Ask([rows.client_id]), Phase.PURGED).values()
        require_open(rows, Phase.PURGED, checks)
        with transaction.atomic():
            replace_secrets_by_pointers(
                snapshots.reread_locked_client(rows.client_id), aws_store.secret_names_by_type(rows)
            )
        with transaction.atomic():
            moved = batch.commit([attempt])
        batch.settle([attempt], moved)

    patch.setitem(moves.STEPS, (Phase.AWS, Phase.PURGED), purge)


@fault(Phase.PURGED, [nova_writes, back, push])
def a_restore_overwrites_what_nova_wrote_since(patch):
    def restore(batch):
        (attempt,) = batch.list_open()
        found = aws_store.read_aws(attempt.snapshot, sm=aws_store.secrets_manager())
        with moves.hold_unchanged_rows(attempt) as rows:
            copy_document_into_rows(snapshots.reread_locked_client(rows.client_id), found.document)
            moves.record_as_pushed_if_equal(rows.client_id, found)
            moved = batch.commit([attempt])
        batch.settle([attempt], moved)

    patch.setitem(moves.STEPS, (Phase.PURGED, Phase.AWS), restore)


@fault(Phase.DUAL_READ, [nova_writes, push])
def the_reader_ignores_a_pending_push(patch):
    found = from_postgres._select_client
    patch.setattr(
        from_postgres, "_select_client", lambda *of: replace(found(*of), push_pending=False)
    )


@fault(Phase.POSTGRES, [save, read_cached, time_passes])
def the_readers_cache_never_expires(patch):
    patch.setattr(Reader, "_fresh_entry", lambda self, slug: self._cached.get(slug))


@fault(Phase.AWS, [save, read_cached, time_passes, read_without_aws], takes_long=True)
def the_last_value_is_served_although_a_write_was_counted(patch):
    patch.setattr(ClientInPostgres, "has_same_values_as", lambda *_: True)


@fault(Phase.AWS, [read_cached, time_passes, readers_lose_their_rights], within=24)
def the_last_value_is_served_where_aws_denies_it(patch):
    patch.setattr(routing, "ErrorClass", SimpleNamespace(UNAVAILABLE=ANY))


@fault(Phase.POSTGRES, [save, read_cached, time_passes], seed=5)
def each_read_of_the_cache_makes_it_last_longer(patch):
    fresh = Reader._fresh_entry

    def renewing(self, slug):
        entry = fresh(self, slug)
        if entry:
            self._cached[slug] = replace(entry, started=_now())
        return entry

    def _now():
        from nova_credentials.reader import routing

        return routing.time.monotonic()

    patch.setattr(Reader, "_fresh_entry", renewing)


@fault(Phase.AWS, [back, nova_writes])
def the_reader_remembers_the_phase_for_good(patch):
    look = Reader._look_up

    def remembering(self, slug):
        known = self._last_states.get(slug)
        found = look(self, slug)
        if known is None:
            return found
        self._last_states[slug] = known
        return replace(found, phase=known.phase, credentials=None)

    patch.setattr(Reader, "_look_up", remembering)


@fault(Phase.DUAL_WRITE, [readers_lose_their_rights, compare_and_forward])
def a_gate_counts_failures_as_reads(patch):
    count = rules.count_since_entry
    patch.setattr(
        rules, "count_since_entry", lambda name: count("reads" if name == "matches" else name)
    )
    for rule in (rules.NoFailureAtAws, rules.NoMismatchMet):
        patch.setattr(rule, "list_conditions", lambda *_: [])


@fault(Phase.DUAL_WRITE, [compare, forward], seed=1)
def a_streak_from_before_the_phase_counts(patch):
    enter = ClientMigrationQuerySet._enter_phase

    def keeping(self, client_ids, new, now):
        streaks = dict(self.filter(pk__in=client_ids).values_list("pk", "clean_streak"))
        counts = enter(self, client_ids, new, now)
        for pk, streak in streaks.items():
            self.filter(pk=pk).update(clean_streak=streak)
        return counts

    patch.setattr(ClientMigrationQuerySet, "_enter_phase", keeping)


@fault(Phase.AWS, [a_restored_copy_pushes])
def a_copy_writes(patch):
    patch.setattr(WriteGuard, "explain_refused_database", lambda *_: None)


BY_NAME = """
(SELECT count(*) = 8 FROM pg_trigger
WHERE tgname IN ('nova_admin_count_write', 'nova_admin_count_truncate') AND tgenabled IN ('O', 'A'))
"""


@fault(Phase.DUAL_READ, [nova_rebuilds_a_table, nova_writes, push])
def a_trigger_is_counted_by_its_name(patch):
    body = f"BEGIN RETURN {BY_NAME}; END"
    make = make_counting_check_sql(body)
    patch.setattr(triggers, "WRITES_ARE_COUNTED", BY_NAME)
    patch.setattr(triggers, "ASK_COUNTED_BODY", body)
    patch.setattr(triggers, "make_counting_check_sql", lambda: make)


@fault(Phase.DUAL_READ, [nova_disables_the_triggers, keep_counting, push], seed=9)
def a_trigger_that_was_off_for_a_time_leaves_no_trace(patch):
    forgotten = triggers.WRITES_ARE_COUNTED.replace(triggers.TRIGGER_IDENTITIES, "NULL")
    body = f"BEGIN RETURN {forgotten}; END"
    make = make_counting_check_sql(body)
    patch.setattr(triggers, "ASK_COUNTED_BODY", body)
    patch.setattr(triggers, "make_counting_check_sql", lambda: make)
    patch.setattr(triggers, "WRITES_ARE_COUNTED", forgotten)


@fault(Phase.DUAL_READ, [nova_disables_the_triggers, push, keep_counting])
def the_reader_does_not_ask_whether_writes_are_counted(patch):
    unasked = from_postgres.STATE.replace("NOT nova_admin.writes_are_counted()", "false")
    patch.setattr(from_postgres, "STATE", unasked)


@fault(Phase.DUAL_READ, [nova_disables_the_triggers, push, keep_counting])
def a_gap_ends_and_nobody_is_counted(patch):
    patch.setattr(triggers, "COUNT_EACH_CLIENT", "SELECT")


@fault(Phase.DUAL_READ, [nova_truncates_a_table, push])
def truncate_is_not_counted(patch):
    deaf = triggers.COUNT_WRITE_BODY.replace("TG_OP = 'TRUNCATE'", "TG_OP = 'TRUNCATE' AND false")
    deaf = deaf.replace(
        "ELSIF TG_TABLE_NAME", "ELSIF TG_OP = 'TRUNCATE' THEN RETURN NULL; ELSIF TG_TABLE_NAME"
    )
    make = triggers.make_trigger_function_sql().replace(triggers.COUNT_WRITE_BODY, deaf)
    patch.setattr(triggers, "COUNT_WRITE_BODY", deaf)
    patch.setattr(triggers, "make_trigger_function_sql", lambda: make)


@fault(Phase.DUAL_READ, [nova_disables_the_triggers, keep_counting, copy_to_postgres])
def aws_is_copied_over_writes_that_were_not_counted(patch):
    patch.setattr(resolutions, "writes_are_counted", lambda: True)


@fault(Phase.AWS, [console_writes, copy_to_postgres_and_undo_it])
def an_undo_leaves_aws_as_it_was(patch):
    patch.setattr(resolutions, "write_document", lambda *_, **__: None)


@fault(
    Phase.DUAL_READ,
    [compare_and_forward, back, push, keep_counting],
    [What.TRIGGERS_GO],
    within=40,
    seed=2,
    takes_long=True,
)
def the_fence_trusts_revisions_alone(patch):
    patch.setattr(
        snapshots.ClientSnapshot,
        "has_same_rows_as",
        lambda now, before: now.revision == before.revision,
    )


@fault(Phase.DUAL_READ, [save], [What.TRIGGERS_GO], within=8, takes_long=True)
def a_form_trusts_the_revision_alone(patch):
    patch.setattr(Client, "make_stamp", lambda client: str(client.revision))
