"""Owns the phases' labels for people."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from nova_credentials.phases import Move, Phase


class PhaseChoices(models.TextChoices):
    """`Phase` with labels for people."""

    POSTGRES = Phase.POSTGRES.value, _("PostgreSQL")
    DUAL_WRITE = Phase.DUAL_WRITE.value, _("Dual write")
    DUAL_READ = Phase.DUAL_READ.value, _("Dual read")
    AWS = Phase.AWS.value, _("AWS (cut over)")
    PURGED = Phase.PURGED.value, _("Purged")


# The phases in which every write to the tables is pushed to AWS.
WRITES_BOTH = tuple(phase for phase in Phase if phase.writes_both)


# The permission that a user needs to make a move, or to ask for it.
MOVE_PERMISSIONS = {
    move: "migration.purge_client"
    if move in (Move.PURGE, Move.RESTORE)
    else "migration.move_client"
    for move in Move
}
