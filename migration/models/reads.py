"""Owns the counts of NOVA's reader, which writes them itself."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from credentials.models import Client


class ReadCount(models.Model):
    """The reads of one client, counted by `nova_credentials.reader` in plain SQL."""

    client = models.OneToOneField(
        Client, models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="read_count"
    )
    reads = models.BigIntegerField(_("reads"), default=0, db_default=0)
    matches = models.BigIntegerField(_("matches"), default=0, db_default=0)
    mismatches = models.BigIntegerField(_("mismatches"), default=0, db_default=0)
    aws_failures = models.BigIntegerField(_("AWS failures"), default=0, db_default=0)
    last_read_at = models.DateTimeField(_("last read"), null=True)
    last_mismatch_at = models.DateTimeField(_("last mismatch"), null=True)
    # The database sets it: the reader's statement does not name this column.
    counted_since = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"reads of client {self.client_id}"

    def get_counts(self) -> dict[str, int]:
        """Return the counts that are watched after a cutover."""
        return {"reads": self.reads, "aws_failures": self.aws_failures}
