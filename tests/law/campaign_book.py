"""What a campaign promises, and what is known of those of one life to judge it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.campaigns.steps import MISMATCHES_REACHED
from nova_credentials.messages import Message
from tests.law.invariant import LawBroken

if TYPE_CHECKING:
    from datetime import datetime

    from migration.models import Campaign, Wave
    from tests.law.environment import World

# Campaigns that hold the client; steps begun by stopped ones; moves that no campaign makes, and rollbacks that copied.
PROMISES = """
SELECT
    (SELECT count(DISTINCT campaign.id) FROM nova_admin.migration_waveclient taken
        JOIN nova_admin.migration_wave wave ON wave.id = taken.wave_id
        JOIN nova_admin.migration_campaign campaign ON campaign.id = wave.campaign_id
        WHERE taken.left_out_at IS NULL AND campaign.state IN ('requested', 'running', 'stopped')) <= 1,
    NOT EXISTS (SELECT FROM nova_admin.migration_run run JOIN nova_admin.migration_wave wave ON wave.id = run.wave_id
        JOIN nova_admin.migration_campaign campaign ON campaign.id = wave.campaign_id
        WHERE campaign.state = 'stopped' AND run.created_at > campaign.changed_at AND NOT run.only_where_equal),
    NOT EXISTS (SELECT FROM nova_admin.migration_phasechange change
        JOIN nova_admin.migration_run run ON run.id = change.run_id AND run.wave_id IS NOT NULL
        WHERE change.new = 'purged' OR change.overridden <> '[]'
            OR run.only_where_equal AND change.note::text ~ 'aws_unread|copied_to_postgres|newer_in_postgres')
"""
BROKEN = (
    "two campaigns hold one client",
    "a stopped campaign began a step",
    "a campaign purged, overrode evidence, or rolled back what was not equal",
)
STATES = "SELECT id, state, stopped_because FROM nova_admin.migration_campaign"
# A comparison that could not check a client with an open mismatch says that it still differs.
NEWEST_THAT_DIFFERS = """
SELECT max(compared_at) FROM nova_admin.migration_comparison WHERE status <> 'match'
    AND (status <> 'unchecked' OR EXISTS (SELECT FROM nova_admin.migration_openmismatch))
"""
# A client of the run, that nobody had compared in its phase when the run began; a push alone is no such match. What
# NOVA's reader met in the last half hour keeps it too, and a step doesn't wait for that: it is refused then.
BEGAN_TOO_SOON = """
SELECT EXISTS (SELECT FROM nova_admin.migration_run run
    JOIN nova_admin.migration_runitem item ON item.run_id = run.id
    JOIN nova_admin.migration_clientmigration kept ON kept.client_id = item.client_id
    WHERE run.id = %s AND NOT run.only_where_equal AND kept.phase = run.move_from AND kept.phase <> 'postgres'
        AND coalesce(kept.phase_changed_at, '-infinity') < run.created_at
        AND kept.refused_revision IS NULL AND NOT EXISTS (SELECT FROM nova_admin.migration_readcount met
            WHERE met.client_id = kept.client_id AND greatest(
                met.last_mismatch_at, CASE WHEN met.good_reads_since_failure < 3 THEN met.last_failure_at END
            ) > run.created_at - interval '30 minutes')
        AND (kept.comparison_status IS NULL
            OR kept.comparison_status = 'match' AND kept.phase = 'dual_read' AND kept.clean_streak = 0))
"""


class CampaignBook:
    """What is known of the campaigns of one life: the state in which each was last seen, and since when it counts."""

    def __init__(self) -> None:
        self.states: dict[int, str] = {}
        self.since: dict[int, datetime] = {}
        self.let_go_on: set[int] = set()

    def begin(self, campaign: Campaign) -> None:
        self.states[campaign.pk], self.since[campaign.pk] = campaign.state, campaign.created_at

    def judge(self, world: World) -> None:
        """Raise `LawBroken` where a campaign did what none may do."""
        if not self.states:
            return
        kept = world.nova.execute(PROMISES).fetchone()
        for promise, broken in zip(kept, BROKEN, strict=True):
            if not promise:
                raise LawBroken(broken)
        for pk, state, because in world.nova.execute(STATES).fetchall():
            if self.states.get(pk) == "stopped" and state == "running" and pk not in self.let_go_on:
                raise LawBroken("a campaign went on by itself")
            if self.states.get(pk) != "stopped" and state == "stopped" and because:
                self._judge_stop(world, pk, Message.from_json(because).codes)
            self.states[pk] = state
        self.let_go_on.clear()

    def judge_begin(self, world: World, run_id: int) -> None:
        """Raise `LawBroken` where a step began that had not waited for the first comparison of its client."""
        if world.nova.execute(BEGAN_TOO_SOON, [run_id]).fetchone() == (True,):
            raise LawBroken("a step of a campaign did not wait for what comes by itself")

    def judge_wait(self, wave: Wave) -> None:
        """Raise `LawBroken` where the wave has waited as long as it may, and still has a step to begin."""
        wave.refresh_from_db()
        wave.campaign.refresh_from_db()
        waits = wave.campaign.state == "running" and wave.finished_at is None
        if waits and not wave.find_unfinished_run() and wave.find_next_untried_step():
            raise LawBroken("a step of a campaign waits for ever")

    def _judge_stop(self, world: World, pk: int, codes: list[str]) -> None:
        """Where it stopped as the client differs, somebody saw that since it is watched."""
        reads = "SELECT EXISTS (SELECT FROM nova_admin.migration_readcount WHERE mismatches > 0)"
        if codes[:1] != [MISMATCHES_REACHED.key]:
            return
        (newest,) = world.nova.execute(NEWEST_THAT_DIFFERS).fetchone()
        seen = newest is not None and newest >= self.since[pk]
        if not seen and world.nova.execute(reads).fetchone() == (False,):
            raise LawBroken("a campaign stopped for what was seen before it was watched")
