"""Owns the names and versions of the secrets that pushes wrote or found equal. Never a value."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from django.conf import settings
from django.db import connection, models
from django.db.models.expressions import RawSQL
from django.db.models.functions import Greatest
from django.utils import timezone

from credentials.models import Client
from credentials.secret_names import configured_layout
from migration.models.fields import MessageField
from nova_credentials.tables import CLIENTS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import timedelta

# Secrets of clients that NOVA has deleted, but those that AWS was to delete, or did not have, when it was last asked.
OF_DELETED_CLIENTS = f"""
    SELECT secret.name FROM migration_secret AS secret
    WHERE NOT EXISTS (SELECT FROM {CLIENTS} AS client WHERE client.id = secret.client_id)
        AND secret.facts -> 'deleted' IS DISTINCT FROM 'true'
        AND (secret.described_at IS NULL OR secret.facts <> '{{}}')
"""  # noqa: S608  # constants
# The present clients with secrets that differ from the settings: with their own, not with those that they had before.
DIFFERING_CLIENTS = f"""
    SELECT DISTINCT secret.client_id FROM migration_secret AS secret
    JOIN {CLIENTS} AS client ON client.id = secret.client_id
    LEFT JOIN migration_clientmigration AS migration ON migration.client_id = client.id
    WHERE secret.differs AND starts_with(
        secret.name || '/', {{prefix}} || '/' || coalesce(migration.secret_slug, client.slug) || '/'
    )
"""  # noqa: S608  # constants


def client_has_settings_drift() -> models.Q:
    """Return the condition that a secret of a client differs from the settings, by the newest look at it."""
    query = DIFFERING_CLIENTS.format(prefix="%s")
    return models.Q(pk__in=RawSQL(query, [settings.NOVA_SECRET_PREFIX]))  # noqa: S611  # as above


def client_has_no_drift_since(time_field: str) -> models.Q:
    """Return the condition that all secrets of a row's client were described since, and none differs.

    `time_field` names the row's time.
    """
    secrets = Secret.objects.filter(client=models.OuterRef("client"))
    late = models.Q(described_at=None) | models.Q(described_at__lte=models.OuterRef(time_field))
    differing = secrets.filter(late | models.Q(differs=True))
    return models.Q(models.Exists(secrets), ~models.Exists(differing))


class KnownSecret(NamedTuple):
    """A secret that a push has met, as every batch of a push reads it: a row of the model takes ten times as long."""

    name: str
    client_id: int
    arn: str
    version_id: str
    # As it is now; None where NOVA has deleted the client.
    client_slug: str | None


class SecretQuerySet(models.QuerySet["Secret"]):
    def record(self, secrets: Iterable[Secret]) -> None:
        """Store each secret under its name, in place of an older row; never in place of another client's.

        Another client keeps its row for as long as AWS may have its secret: by that, nobody else's push takes it for
        its own. A new secret of that name has another ARN. A client keeps the layout of its first secret, which is the
        settings' at that time.
        """
        self._store(secrets, adopts=False)

    def adopt(self, secrets: Iterable[Secret]) -> None:
        """Make the secrets their clients', be they another client's until now. What they hold is written over next."""
        self._store(secrets, adopts=True)

    def _store(self, secrets: Iterable[Secret], *, adopts: bool) -> None:
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
                INSERT INTO migration_secret AS known (name, client_id, arn, version_id, seen_at)
                SELECT name, client_id, arn, version_id, seen_at FROM new
                ORDER BY name
                ON CONFLICT (name) DO UPDATE
                SET client_id = excluded.client_id, arn = excluded.arn, version_id = excluded.version_id,
                    seen_at = excluded.seen_at,
                    -- Another secret of this name, or one that was taken back from its deletion: it is described anew.
                    described_at = CASE
                        WHEN known.arn = excluded.arn AND known.facts -> 'deleted' IS DISTINCT FROM 'true'
                        THEN known.described_at
                    END
                WHERE %s OR known.client_id = excluded.client_id OR known.arn <> excluded.arn
                """,
                [json.dumps(rows), configured_layout(), adopts],
            )

    def mark_for_describing(self, names: Collection[str]) -> None:
        """Have workers describe these secrets soon, whenever they were described."""
        self.filter(name__in=names).update(described_at=None)

    def of_deleted_clients(self) -> models.QuerySet[Secret]:
        """Select the secrets that clients left in AWS which NOVA has deleted."""
        return self.filter(name__in=RawSQL(OF_DELETED_CLIENTS, []))  # noqa: S611  # constants

    def due_for_describing(self, every: timedelta) -> list[str]:
        """Return the names of secrets that were not described for so long, the oldest look first.

        Of clients that NOVA has deleted only those that AWS may still have.

        Those that AWS did not describe count as looked at then, so that they keep no other waiting.
        """
        due = models.Q(described_at=None) | models.Q(described_at__lt=timezone.now() - every)
        present = models.Q(models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))))
        present |= models.Q(name__in=RawSQL(OF_DELETED_CLIENTS, []))  # noqa: S611  # constants
        first = Greatest("described_at", "tried_at").asc(nulls_first=True)
        return list(
            self.filter(due, present).order_by(first, "name").values_list("name", flat=True)
        )

    def find(self, names: Collection[str]) -> dict[str, KnownSecret]:
        """Return name -> secret of those of these names that there are."""
        with connection.cursor() as cursor:
            cursor.execute(
                # Without the facts, which take longer to read than all the others.
                f"""
                SELECT name, client_id, arn, version_id, (SELECT slug FROM {CLIENTS} WHERE id = client_id)
                FROM migration_secret WHERE name = ANY(%s)
                """,  # noqa: S608  # a constant
                [list(names)],
            )
            return {row[0]: KnownSecret(*row) for row in cursor.fetchall()}


class Secret(models.Model):
    """A secret that this site writes, and the version that a push wrote or found equal, since when it is known."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="secrets"
    )
    name = models.CharField(max_length=512, primary_key=True)
    arn = models.CharField(max_length=2048)
    # Empty of one that was adopted, until the first push to it.
    version_id = models.CharField(max_length=64)
    seen_at = models.DateTimeField(default=timezone.now)
    # What DescribeSecret said last of its tags, description, KMS key and replicas: {} where there is no such secret.
    facts = models.JSONField(default=dict, db_default={})
    described_at = models.DateTimeField(null=True)
    # When AWS last failed to describe it.
    tried_at = models.DateTimeField(null=True)
    # True where it certainly differs from the settings with which it was compared, named by `hash_settings`.
    differs = models.BooleanField(default=False, db_default=False)
    compared_with = models.CharField(max_length=16, default="", db_default="")
    # A run notes here what it is about to change, and the facts before, until the change is in the audit.
    begun = MessageField(null=True)
    begun_on = models.JSONField(null=True)

    objects = SecretQuerySet.as_manager()

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["client"], name="secret_differs", condition=models.Q(differs=True))
        ]

    def __str__(self) -> str:
        return self.name
