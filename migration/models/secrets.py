"""Owns the names and versions of the secrets that pushes wrote or found equal. Never a value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django.db import connection, models
from django.utils import timezone

from credentials.models import Client
from credentials.secret_names import configured_layout

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import timedelta
    from typing import Self


class SecretQuerySet(models.QuerySet["Secret"]):
    def record(self, secrets: Iterable[Secret]) -> None:
        """Store each secret under its name, in place of an older row.

        A client keeps the layout of its first secret, which is the settings' at that time.
        """
        # As one text: bulk_create would prepare each value by itself, which takes longer than the statement.
        rows = [
            {
                "name": secret.name,
                "client_id": secret.client_id,
                "arn": secret.arn,
                "version_id": secret.version_id,
                "seen_at": secret.seen_at.isoformat(),
            }
            for secret in secrets
        ]
        if not rows:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                """
                WITH new AS (
                    SELECT * FROM jsonb_to_recordset(%s::jsonb)
                    AS new (name text, client_id int, arn text, version_id text, seen_at timestamptz)
                ), first AS (
                    INSERT INTO migration_clientmigration AS kept (client_id, phase, layout)
                    SELECT DISTINCT client_id, 'postgres', %s FROM new
                    WHERE NOT EXISTS (
                        SELECT FROM migration_clientmigration AS known
                        WHERE known.client_id = new.client_id AND known.layout IS NOT NULL
                    )
                    ORDER BY client_id
                    ON CONFLICT (client_id) DO UPDATE SET layout = coalesce(kept.layout, excluded.layout)
                )
                INSERT INTO migration_secret (name, client_id, arn, version_id, seen_at)
                SELECT name, client_id, arn, version_id, seen_at FROM new
                ORDER BY name
                ON CONFLICT (name) DO UPDATE
                SET client_id = excluded.client_id, arn = excluded.arn, version_id = excluded.version_id,
                    seen_at = excluded.seen_at
                """,
                [json.dumps(rows), configured_layout()],
            )

    def due_for_look(self, every: timedelta) -> Self:
        """Select the secrets of present clients that were not described for so long, the oldest look first."""
        due = models.Q(described_at=None) | models.Q(described_at__lt=timezone.now() - every)
        present = models.Exists(Client.objects.filter(pk=models.OuterRef("client_id")))
        first = models.F("described_at").asc(nulls_first=True)
        return self.filter(due, present).order_by(first, "name")

    def find(self, names: Collection[str]) -> dict[str, Secret]:
        """Return name -> secret of those of these names that there are."""
        found = self.raw(
            # Without the facts, which take longer to read than all the others.
            "SELECT name, client_id, arn, version_id, seen_at FROM migration_secret WHERE name = ANY(%s)",
            [list(names)],
        )
        return {secret.name: secret for secret in found}


class Secret(models.Model):
    """A secret that this site writes, and the version that a push wrote or found equal, since when it is known."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="secrets"
    )
    name = models.CharField(max_length=512, primary_key=True)
    arn = models.CharField(max_length=2048)
    version_id = models.CharField(max_length=64)
    seen_at = models.DateTimeField(default=timezone.now)
    # What DescribeSecret said last of its tags, description, KMS key and replicas: {} where there is no such secret.
    facts = models.JSONField(default=dict, db_default={})
    described_at = models.DateTimeField(null=True)

    objects = SecretQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
