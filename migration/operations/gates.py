"""The gate before a move forward: every reason why a client may not go there yet. Reads both stores, writes neither."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils import timezone

from credentials.counting import CountingProof
from credentials.told import ago, in_english
from credentials.triggers import counted_tables, writes_are_counted
from migration.models import ClientMigration, Comparison, ReadCount, Run, RunItem
from migration.operations.stores import secrets_manager
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.messages import say as _
from nova_credentials.phases import Move, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.stores import Rows

# Twice the time between two sweeps: one of them may be late.
FRESH = timedelta(minutes=30)
# A run that has been open for longer was left behind: nobody works on it.
RUN_IS_OPEN_FOR = timedelta(hours=1)


NEED_APPROVAL = (Move.CUTOVER, Move.PURGE)


def needs_approval(kind: Move) -> bool:
    """Whether a second person has to approve it: never to go back."""
    return bool(settings.NOVA_REQUIRE_APPROVAL) and kind in NEED_APPROVAL


class Remedy(StrEnum):
    """What opens a gate again."""

    PUSH = "push"
    COMPARE = "compare"
    COMPARISON = "comparison"  # look at it; `Check.about` is its id
    RUN = "run"  # look at it; `Check.about` is its id
    READS = "reads"
    NONE = "none"  # outside this site; the text says what


@dataclass(frozen=True)
class Check:
    """One condition of a gate, in words that hold for how it stands, and what would help."""

    passed: bool
    text: str
    remedy: Remedy = Remedy.NONE
    about: int | None = None


class ShutGate(Exception):  # noqa: N818  # the word of the design
    """The client may not move there yet; `reasons` names everything that is in the way."""

    def __init__(self, slug: str, new: Phase, reasons: list[str]) -> None:
        super().__init__(slug, new, reasons)
        self.slug, self.new, self.reasons = slug, new, reasons

    def __str__(self) -> str:
        return _(
            "%(slug)s can't move to %(new)s yet: %(reasons)s",
            slug=self.slug,
            new=self.new,
            reasons=" ".join(self.reasons),
        )


def require_open(rows: Rows, new: Phase) -> None:
    """Raises `ShutGate` with every reason, where there is one."""
    if reasons := [check.text for check in gate(rows, new) if not check.passed]:
        raise ShutGate(rows.slug, new, reasons)


def gate(rows: Rows, new: Phase) -> list[Check]:
    """Every condition of the move to `new`, as it stands now; none where the move itself does what is needed."""
    return list(_checks(rows, new))


def _checks(rows: Rows, new: Phase) -> Iterator[Check]:
    if new == Phase.DUAL_WRITE:
        return
    yield from known(rows, new)
    yield _account(rows, writes=new == Phase.AWS)


def known(rows: Any, new: Phase) -> Iterator[Check]:
    """Those conditions that the database alone tells, of whatever has a `client_id` and a `push_pending`."""
    if new == Phase.DUAL_WRITE:
        yield _no_run(rows)
        return
    yield _pushed(rows)
    yield from _compared(rows, streak=settings.NOVA_CLEAN_STREAK if new == Phase.AWS else 0)
    yield _no_run(rows)
    yield _counted()
    if new == Phase.AWS:
        yield _readers_agree(rows)


def _pushed(rows: Rows) -> Check:
    if rows.push_pending:
        text = _("A push is pending: its newest rows are not in AWS yet.")
        return Check(False, text, Remedy.PUSH)
    return Check(True, _("No push is pending."))


def _compared(rows: Rows, *, streak: int) -> Iterator[Check]:
    stands = ClientMigration.objects.select_related("comparison").filter(pk=rows.client_id).first()
    newest = stands.comparison if stands else None
    if stands is None or newest is None:
        yield Check(False, _("It was never compared."), Remedy.COMPARE)
        return
    matches = newest.status == Comparison.Status.MATCH
    result = in_english(newest.get_status_display)
    yield Check(
        matches,
        _("Newest comparison: %(result)s, %(ago)s ago.")
        % {"result": result, "ago": ago(newest.compared_at)},
        Remedy.COMPARISON,
        newest.pk,
    )
    if matches and timezone.now() - newest.compared_at > FRESH:
        oldest = ago(timezone.now() - FRESH)
        yield Check(
            False,
            _("The newest comparison is older than %(oldest)s: compare again.")
            % {"oldest": oldest},
            Remedy.COMPARE,
        )
    if streak:
        n = stands.clean_streak
        text = (
            _("%(n)d comparison in a row matched, of %(wanted)d wanted.")
            if n == 1
            else _("%(n)d comparisons in a row matched, of %(wanted)d wanted.")
        )
        yield Check(n >= streak, text % {"n": n, "wanted": streak}, Remedy.COMPARE)


def _no_run(rows: Rows) -> Check:
    items = RunItem.objects.open().filter(
        client_id=rows.client_id,
        run__finished_at=None,
        run__created_at__gt=timezone.now() - RUN_IS_OPEN_FOR,
    )
    item = items.exclude(run__kind=Run.Kind.COMPARE).select_related("run").first()
    if item:
        text = _("%(run)s has this client still to do.") % {"run": in_english(item.run)}
        return Check(False, text, Remedy.RUN, item.run_id)
    return Check(True, _("No run is touching it."))


def _counted() -> Check:
    if writes_are_counted():
        return Check(True, _("Every write to its rows is counted."))
    if all(counted_tables().values()):
        return Check(False, _why_uncounted())
    return Check(
        False,
        _(
            "Writes to its rows are not counted: a trigger is missing. `migrate` says what to grant."
        ),
    )


def _why_uncounted() -> str:
    """Say why a gap is open although the triggers stand."""
    if failed := CountingProof.objects.failed():
        text = _(
            "An update of %(tables)s, tried and undone, was not counted: a rule or trigger is there."
        )
        return text % {"tables": ", ".join(failed)}
    return _("Writes to its rows were not counted for a time: every client is pushed again first.")


def _readers_agree(rows: Rows) -> Check:
    since = timezone.now() - FRESH
    seen = ReadCount.objects.filter(client_id=rows.client_id, last_mismatch_at__gt=since).first()
    if seen and seen.last_mismatch_at:
        text = _("NOVA's reader met a mismatch %(ago)s ago.") % {"ago": ago(seen.last_mismatch_at)}
        return Check(False, text, Remedy.READS)
    return Check(True, _("NOVA's reader met no mismatch lately."))


def _account(rows: Rows, *, writes: bool) -> Check:
    """Whether the AWS account may do what the next phase needs, tried on the secret as it is."""
    try:
        for name in rows.names.values():
            _try(secrets_manager(someone_waits=True), name, writes=writes)
    except SecretsManagerError as error:
        return Check(False, _("The AWS account is not ready: %(error)s") % {"error": error})
    return Check(True, _("The AWS account may do what this needs."))


def _try(sm: SecretsManager, name: str, *, writes: bool) -> None:
    try:
        value = sm.get(name)
    except SecretsManagerError as error:
        if error.not_found:  # with a secret a service, one that has no row has no secret
            return
        raise
    if writes and value.text is not None:
        # The version that is there, again: AWS checks the right to write and makes no new one.
        sm.put(name, value.text, token=value.version_id)
