"""What people, workers and NOVA do to one client, each with what it means for the book."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db import OperationalError, transaction
from psycopg.errors import LockNotAvailable

from credentials.models import (
    Client,
    ClientRevision,
    RowsBusyError,
    RowsChangedError,
    save_columns,
)
from credentials.triggers import ensure_writes_are_counted, writes_are_counted
from migration.core import aws_store
from migration.core.aws_store import secret_names
from migration.core.clients import all_clients
from migration.moves import moves
from migration.moves.approvals import start_move_run
from migration.moves.gates import ShutGate
from migration.pushes import comparisons, pushes, resolutions, rows_from_aws
from migration.pushes.pushes import SAVED_IN_PART
from migration.pushes.resolutions import UNDONE_IN_PART, NotResolved
from migration.pushes.saves import AdminSave, SaveRefusedError
from migration.runs import engine
from migration.runs.engine import UNEXPECTED_ERROR
from migration.runs.items import PUSHED, Outcome
from migration.runs.models import Run
from migration.secrets import versions
from migration.secrets.versions import VERSION_RESTORED_IN_PART
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.phases import IllegalMove, Phase, StalePhase
from tests.law.environment import ATTRIBUTES, CACHE_SECONDS, FIELDS, GONE, World

if TYPE_CHECKING:
    from migration.core.clients import ClientPhaseQuerySet
    from tests.law.invariant import Numbers


LINE = tuple(Phase)
SAID_IN_PART = (
    SAVED_IN_PART.key,
    UNDONE_IN_PART.key,
    VERSION_RESTORED_IN_PART.key,
)


@dataclass(frozen=True)
class Change:
    """What a save writes: new values, or those that were there before."""

    fields: tuple[str, ...] = ("password",)
    again: bool = False


def save(world: World, change: Change) -> None:
    """A save in the admin, as its form and `ClientAdmin` make it."""
    texts = world.new_texts(change.fields, again=change.again)
    stamp = Client.objects.with_revision().get(pk=world.pk).make_stamp()
    numbers = world.ledger.begin(texts)
    waited = list(world.ledger.waiting)
    try:
        with transaction.atomic():
            Client.objects.lock_unchanged_rows(world.pk, stamp=stamp)
            saving = AdminSave(world.pk)
            for kind, row, columns in _typed(world, texts):
                secrets = {name: columns[name] for name in row.SECRET_FIELDS if name in columns}
                saving.keep_secrets_out_if_purged(kind, row, secrets)
                save_columns(row, columns)
            saving.write_or_push_to_aws(warn=lambda _: None)
    except (SaveRefusedError, RowsChangedError, RowsBusyError) as error:
        _refuse(world, numbers, error)
        return
    except OperationalError as error:
        require_lock_timeout(error)
        world.ledger.refuse(numbers)
        return
    world.ledger.confirm(numbers, at=world.now)
    if saving.phase.aws_is_authority:
        world.landed(waited)


def _refuse(world: World, numbers: Numbers, error: Exception) -> None:
    """Notes what is said to be saved nowhere.

    Where AWS's answer was lost, it is said that AWS may have taken it; where AWS failed half-way, what it has already.
    """
    if world.stage.answer_was_lost:
        return
    message = getattr(error, "message", None)
    if world.stage.aws_failed and message and message.key in SAID_IN_PART:
        saved = world.list_fields_in(message.values["names"])
        numbers = {field: number for field, number in numbers.items() if field not in saved}
    world.ledger.refuse(numbers)


def _typed(world: World, texts: dict[str, str]):
    """Each row with the columns that its form would have changed, and set on it."""
    client = Client.objects.get(pk=world.pk)
    for row in (*client.databases.all(), *client.emails.all()):
        kind = row.TYPE
        columns = {
            ATTRIBUTES[field]: text for field, text in texts.items() if FIELDS[field][2] == kind
        }
        for name, text in columns.items():
            setattr(row, name, row._meta.get_field(name).to_python(text))
        if columns:
            yield kind, row, columns


def require_lock_timeout(error: OperationalError) -> None:
    if not isinstance(error.__cause__, LockNotAvailable):
        raise error


def nova_writes(world: World, change: Change) -> None:
    """A script of NOVA's: plain SQL, one transaction."""
    numbers = nova_begins(world, change)
    if numbers:
        nova_commits(world, numbers)


def nova_begins(world: World, change: Change) -> dict[str, int]:
    texts = world.new_texts(change.fields, again=change.again)
    numbers = world.ledger.begin(texts)
    try:
        world.nova.execute("BEGIN")
        world.write_as_nova(texts)
    except LockNotAvailable:  # it would come later
        world.nova.execute("ROLLBACK")
        world.ledger.refuse(numbers)
        return {}
    return numbers


def nova_commits(world: World, numbers: dict[str, int]) -> None:
    phase = world.phase
    world.nova.execute("COMMIT")
    if phase.aws_is_authority:
        world.ledger.wait(numbers, purged=phase == Phase.PURGED)
    else:
        world.ledger.confirm(numbers, at=world.now)


def nova_rebuilds_a_table(world: World, _: Change) -> None:
    """NOVA makes one of its tables anew, in one transaction with a write: the triggers stay with the old one."""
    _nova_does(world, world.rebuild_the_mail_table, world.new_texts(("mail",), again=False))


def nova_truncates_a_table(world: World, _: Change) -> None:
    """NOVA empties a table, somebody reads, and NOVA fills it again."""
    _nova_does(world, world.empty_the_mail_table, {"mail": GONE})
    world.check()
    _nova_does(world, world.fill_the_mail_table, world.new_texts(("mail",), again=False))


def nova_disables_the_triggers(world: World, change: Change) -> None:
    """NOVA writes with the triggers of its tables switched off; some scripts switch them on again."""

    def write(texts: dict[str, str]) -> None:
        for table in {FIELDS[field][0] for field in texts}:
            world.nova.execute(f"ALTER TABLE public.{table} DISABLE TRIGGER USER")
        world.write_as_nova(texts)
        if change.again:
            for table in {FIELDS[field][0] for field in texts}:
                world.nova.execute(f"ALTER TABLE public.{table} ENABLE TRIGGER USER")

    _nova_does(world, write, world.new_texts(change.fields, again=change.again))


def _nova_does(world: World, does: Callable[[dict[str, str]], None], texts: dict[str, str]) -> None:
    numbers = world.ledger.begin(texts)
    try:
        world.nova.execute("BEGIN")
        does(texts)
    except LockNotAvailable:  # it would come later
        world.nova.execute("ROLLBACK")
        world.ledger.refuse(numbers)
    else:
        nova_commits(world, numbers)


def a_restored_copy_pushes(world: World, _: Change) -> None:
    """Staging, restored from a dump and with the same rights in AWS: its site pushes what its own scripts wrote."""
    with world.as_a_restored_copy():
        world.write_as_nova({"password": "of staging"})
        with suppress(OperationalError):
            pushes.push(client_ids=[world.pk], overwrite=True)


def keep_counting(_: World, __: Change) -> None:
    """The schedule's: puts the triggers back."""
    ensure_writes_are_counted()


def nova_commits_what_it_opened(world: World) -> None:
    if world.opened:
        opened, world.opened = world.opened, {}
        nova_commits(world, opened)


def console_writes(world: World, change: Change, *, confirmed: bool = True) -> None:
    """Somebody changes the secret in the AWS console: from the cutover on that stands until somebody decides.

    While others are written too, in both.
    """
    texts = world.new_texts(change.fields, again=False)
    written: dict[str, dict] = {}
    try:
        for named in world.list_named():
            for field, text in texts.items():
                part, key = FIELDS[field][2:]
                names = secret_names(*named)
                name = names.get(part) or names["client"]
                if name not in written:
                    written[name] = json.loads(world.console.get_value(name).text)
                document = written[name]
                if part not in document:
                    return  # NOVA has swapped slugs: it is the other client's, which has no such login
                document[part][key] = type(document[part][key])(text)
    except SecretsManagerError:  # there is none yet
        return
    numbers = world.ledger.begin(texts)
    for name, document in written.items():
        world.console.put_value(name, json.dumps(document))
        world.console_wrote = True
    if confirmed and world.phase.aws_is_authority:
        world.ledger.confirm(numbers, at=world.now, elsewhere=True)


def push(world: World, _: Change) -> None:
    """The schedule's: pushes where a push is pending."""
    try:
        ClientRevision.objects.fold_writes()
    except OperationalError as error:  # it waits for who holds the client's revision
        require_lock_timeout(error)
        return
    waited = list(world.ledger.waiting)
    if _this(world).push_due().exists():
        try:
            (result,) = pushes.push(client_ids=[world.pk])
        except OperationalError as error:
            require_lock_timeout(error)
            return
        landed = result.outcome in PUSHED
    else:
        all_sent = writes_are_counted() and not _this(world).push_pending().exists()
        landed = world.phase == Phase.AWS and all_sent
    if landed:
        world.landed(waited)


def _this(world: World) -> ClientPhaseQuerySet:
    return all_clients().filter(pk=world.pk)


def compare(world: World, _: Change) -> None:
    try:
        comparisons.compare(client_ids=[world.pk])
    except OperationalError as error:
        require_lock_timeout(error)


def forward(world: World, _: Change) -> None:
    _move(world, 1)


def back(world: World, _: Change) -> None:
    _move(world, -1)


def compare_and_forward(world: World, change: Change) -> None:
    compare(world, change)
    forward(world, change)


def _move(world: World, steps: int) -> None:
    old = world.phase
    index = LINE.index(old) + steps
    if not 0 <= index < len(LINE):
        return
    try:
        moves.move(client_id=world.pk, new=LINE[index])
    except (ShutGate, StalePhase):
        pass
    except IllegalMove:
        # A colleague's move came before this one's first statement, so that it is no single step any more.
        if world.phase == old:
            raise
    except OperationalError as error:
        require_lock_timeout(error)


def compare_and_forward_in_a_run(world: World, change: Change) -> None:
    compare(world, change)
    _move_in_a_run(world, 1)


def back_in_a_run(world: World, _: Change) -> None:
    _move_in_a_run(world, -1)


def _move_in_a_run(world: World, steps: int) -> None:
    """Works on the run whose worker was killed, or else on a new one of this move."""
    run = Run.objects.filter(finished_at=None, state=Run.State.RUNNING).first()
    if run is None:
        old = world.phase
        index = LINE.index(old) + steps
        if not 0 <= index < len(LINE):
            return
        run = start_move_run(chosen=_this(world), old=old, new=LINE[index])
    try:
        engine.process_batch_if_running(run.pk, 0)
    except OperationalError as error:
        require_lock_timeout(error)
    run.finish_if_done()
    # An error that no code expects is an outcome of its own: nothing else would show it. A change of layout that is
    # refused has that outcome too, and a reason.
    failed = run.items.filter(outcome=Outcome.FAILED).values_list("message", flat=True)
    may_fail = run.kind == Run.Kind.LAYOUT
    assert all(may_fail and why and why.key != UNEXPECTED_ERROR.key for why in failed)


def copy_to_aws(world: World, _: Change) -> None:
    if world.phase == Phase.PURGED:
        return
    world.ledger.overruled_elsewhere()
    waited = list(world.ledger.waiting)
    try:
        resolutions.copy_to_aws(client_id=world.pk)
    except NotResolved:
        return
    world.landed(waited)


def copy_to_postgres(world: World, _: Change) -> None:
    if world.phase == Phase.PURGED:
        return
    world.ledger.waiting = []  # what was not confirmed gives way, or still may
    try:
        resolutions.copy_to_postgres(client_id=world.pk)
    except NotResolved:
        return
    world.ledger.taken_over()


def copy_to_postgres_over_newer_values(world: World, _: Change) -> None:
    """Somebody decides against what PostgreSQL got since the last push: a save of the values that AWS has."""
    if world.phase == Phase.PURGED:
        return
    try:
        snapshot = resolutions.require_unpurged(world.pk)
        held = aws_store.read_aws(snapshot, sm=aws_store.secrets_manager(interactive=True)).document
    except (NotResolved, *rows_from_aws.STORE_ERRORS):
        return
    copied = {
        field: str(held[part][key])
        for field, (_table, _column, part, key) in FIELDS.items()
        if part in held
    }
    numbers = world.ledger.begin(copied)
    world.ledger.waiting = []  # what was not confirmed gives way, or still may
    try:
        resolutions.copy_to_postgres(client_id=world.pk, replaces_newer=True)
    except NotResolved as error:
        _refuse(world, numbers, error)
        return
    world.ledger.taken_over()
    world.ledger.confirm(numbers, at=world.now)


def copy_to_postgres_and_undo_it(world: World, change: Change) -> None:
    """Somebody copies, sees that it was wrong, and puts the former values back: a save of old values."""
    copy_to_postgres(world, change)
    try:
        plan = resolutions.plan_undo(world.pk)
    except NotResolved:
        return
    former = {
        field: str(plan.former[part][key])
        for field, (_table, _column, part, key) in FIELDS.items()
        if part in plan.former
    }
    numbers = world.ledger.begin(former)
    try:
        resolutions.undo_copy(client_id=world.pk, seen=plan.digest, reason="")
    except NotResolved as error:
        _refuse(world, numbers, error)
        return
    world.ledger.confirm(numbers, at=world.now)


def restore_the_former_version(world: World, _: Change) -> None:
    """Somebody puts the version before back, though its logins can't be tried: a save of old values."""
    name = next(iter(secret_names(*world.list_named()[0]).values()))
    try:
        kept = aws_store.secrets_manager(interactive=True).get_stage(name, "AWSPREVIOUS")
        if kept is None:
            return
        chosen = {"name": name, "version_id": kept.version_id}
        plan = versions.plan_restore(world.pk, **chosen)
    except (SecretsManagerError, NotResolved):
        return
    former = {
        field: str(plan.former[part][key])
        for field, (_table, _column, part, key) in FIELDS.items()
        if part in plan.former
    }
    numbers = world.ledger.begin(former)
    try:
        versions.restore_version(client_id=world.pk, **chosen, seen=plan.digest, reason="")
    except NotResolved as error:
        _refuse(world, numbers, error)
        return
    world.ledger.confirm(numbers, at=world.now)


def read_cached(world: World, _: Change) -> None:
    world.check_cached()


def read_without_aws(world: World, _: Change) -> None:
    before, world.aws_is_down_for_readers = world.aws_is_down_for_readers, True
    try:
        world.check()
        world.check_cached()
    finally:
        world.aws_is_down_for_readers = before


def a_reader_of_an_earlier_release_reads(world: World, _: Change) -> None:
    world.check_earlier_release()


def novas_old_helper_reads(world: World, _: Change) -> None:
    world.check_old_helper()


def readers_lose_their_rights(world: World, change: Change) -> None:
    """NOVA's readers are refused by AWS from now on; or, again, no longer."""
    world.aws_is_down_for_readers = world.aws_denies_readers = not change.again


def time_passes(world: World, _: Change) -> None:
    """Two of these, and what is cached has to be read anew."""
    world.now += CACHE_SECONDS * 2 / 3


def an_hour_passes(world: World, _: Change) -> None:
    """Comparisons get old enough for another to count, and what NOVA's reader met is forgotten."""
    world.now += 3600
    for column in (
        "nova_admin.migration_comparison SET compared_at = compared_at",
        "nova_admin.migration_readcount SET last_mismatch_at = last_mismatch_at",
        "nova_admin.migration_readcount SET last_failure_at = last_failure_at",
        "nova_admin.migration_clientmigration SET compared_at = compared_at",
        "nova_admin.migration_clientmigration SET streak_counted_at = streak_counted_at",
    ):
        world.nova.execute(f"UPDATE {column} - interval '1 hour'")
    world.campaigns.since = {
        pk: at - timedelta(hours=1) for pk, at in world.campaigns.since.items()
    }


Act = Callable[[World, Change], None]

# Those that take steps, and how many at most.
STEPS: dict[Act, int] = {
    save: 36,
    push: 24,
    compare: 14,
    forward: 40,
    compare_and_forward: 48,
    back: 40,
    compare_and_forward_in_a_run: 60,
    back_in_a_run: 48,
    copy_to_aws: 24,
    copy_to_postgres: 40,
    copy_to_postgres_over_newer_values: 40,
    copy_to_postgres_and_undo_it: 90,
    restore_the_former_version: 60,
    keep_counting: 36,
}
AT_ONCE: tuple[Act, ...] = (
    nova_writes,
    nova_rebuilds_a_table,
    nova_truncates_a_table,
    nova_disables_the_triggers,
    a_restored_copy_pushes,
    console_writes,
    read_cached,
    read_without_aws,
    a_reader_of_an_earlier_release_reads,
    novas_old_helper_reads,
    readers_lose_their_rights,
    time_passes,
    an_hour_passes,
)
ACTS: tuple[Act, ...] = (*STEPS, *AT_ONCE)
