"""Owns the history of moves: one row for each phase that a client left."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.db import connection, models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.models.fields import MessageField, MessageListField
from migration.models.kept_names import KeptNameField, get_kept_name, require_kept_name
from migration.models.phases import PhaseChoices
from migration.models.reasons import limit_reason
from nova_credentials.phases import MOVES, Move

if TYPE_CHECKING:
    from collections.abc import Collection

    from django.contrib.auth.models import User

    from migration.runs.models import Run


class PhaseChangeQuerySet(models.QuerySet["PhaseChange"]):
    def insert(self, rows: Collection[dict[str, Any]], *, by: User | None, run: Run | None) -> None:
        """Store moves, given by their columns, in one statement: as one text, as bulk_create takes many times as long.

        They are all of the same user and run.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_phasechange (
                    client_id, slug, old, new, by_id, by_name, reason, note, run_id, comparison_id, overridden,
                    override_reason, reads_before, changed_at
                )
                SELECT client_id, slug, old, new, %s, %s, reason, note, %s, comparison_id, overridden,
                    override_reason, reads_before, changed_at
                FROM jsonb_to_recordset(%s::jsonb) AS made (
                    client_id int, slug text, old text, new text, reason text, note jsonb, comparison_id bigint,
                    overridden jsonb, override_reason text, reads_before jsonb, changed_at timestamptz
                )
                ORDER BY client_id
                """,
                [
                    by.pk if by else None,
                    get_kept_name(by),
                    run.pk if run else None,
                    json.dumps(rows, default=str),
                ],
            )

    def count_overridden(self, run: Run) -> dict[str, int]:
        """Count the moves of the run that were made although evidence was missing, by the key of what was missing."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT line ->> 'key', count(*)
                FROM migration_phasechange, jsonb_array_elements(overridden) AS line
                WHERE run_id = %s GROUP BY 1 ORDER BY 1
                """,
                [run.pk],
            )
            return dict(cursor.fetchall())


def is_move_back() -> models.Q:
    """Return the condition that a change of phase is a step back; a restore, which leaves NOVA at AWS, is none."""
    back = models.Q()
    for (old, new), kind in MOVES.items():
        if kind in (Move.BACK, Move.ROLLBACK):
            back |= models.Q(old=old, new=new)
    return back


class PhaseChange(models.Model):
    """One move of one client."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="phase_changes"
    )
    slug = models.CharField(max_length=100)
    old = models.CharField(_("from"), max_length=16, choices=PhaseChoices)
    new = models.CharField(_("to"), max_length=16, choices=PhaseChoices)
    by = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+")
    by_name = KeptNameField("by")
    # The text as the user typed it; `note` is this site's own message about the move.
    reason = models.TextField(_("reason"), blank=True)
    note = MessageField(_("note"), null=True)
    run = models.ForeignKey(
        "Run", models.SET_NULL, null=True, related_name="phase_changes", db_index=False
    )
    comparison = models.ForeignKey("Comparison", models.SET_NULL, null=True, related_name="+")
    # The evidence that was missing and was overridden, and why, as the user typed it.
    overridden = MessageListField(default=list, db_default=[])
    override_reason = models.TextField(blank=True, db_default="")
    # The reader's counts at the move (`ReadCount.get_counts`).
    reads_before = models.JSONField(default=dict, db_default={})
    changed_at = models.DateTimeField(default=timezone.now)

    objects = PhaseChangeQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            # For the dashboard's newest moves, where a run stands for the moves that it made.
            models.Index(fields=["-id"], condition=models.Q(run=None), name="move_by_hand"),
            # Each batch of a run asks which of its clients the run has moved: not to be read of all that it has moved.
            models.Index(fields=["run", "client"], name="move_of_run"),
        ]
        constraints: ClassVar = [
            limit_reason("phasechange"),
            limit_reason("phasechange", "override_reason"),
            require_kept_name("phasechange", "by"),
        ]

    def __str__(self) -> str:
        return f"{self.slug}: {self.old} → {self.new}"
