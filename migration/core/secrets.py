"""Owns which secrets a client has and in which layout, and by what this site knows its own versions in AWS again.

Names, ids and keys of digests are here, never a value.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple, Self

from django.conf import settings
from django.db import connection, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models.expressions import RawSQL
from django.db.models.functions import Coalesce, Greatest, Now
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from credentials.secret_names import configured_layout
from migration.core.fields import MessageField
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.tables import CLIENTS


class LayoutChoices(models.TextChoices):
    """The layouts, as pages call them."""

    CLIENT = Layout.CLIENT.value, _("One secret per client")
    SERVICE = Layout.SERVICE.value, _("One secret per service")


class OtherSecretsState(models.TextChoices):
    """What the secrets of a client's other layout are, where there may be some."""

    # A change of layout began to write them. Nobody reads them, and if it isn't finished they go.
    BEGUN = "begun", _("Begun")
    # They were the client's own before a change. Every write goes to them too, until they go.
    KEPT = "kept", _("Kept")


def name_secret_slug(client: str = "") -> Coalesce:
    """Return, as an expression over clients (`client`: the way to one), the slug by which its secrets are named.

    After NOVA changed its slug that is the former one, until the secrets have moved.
    """
    return Coalesce(f"{client}client_migration__secret_slug", f"{client}slug")


def find_layout(stored: str | None) -> Layout:
    """Return a client's layout; the settings decide for a client that has none stored."""
    return Layout(stored) if stored else configured_layout()


class LayoutQuerySet(models.QuerySet[Any]):
    """Stores and changes clients' layouts, and notes which still have secrets of their former one."""

    def store_first_layout(self, client_id: int, layout: Layout) -> None:
        """Store the layout of a client that has none stored."""
        self._store(client_id, layout, "")

    def begin_other_secrets(self, client_id: int, layout: Layout, slug: str | None) -> None:
        """Note that other secrets than its own are about to be written: of the other layout, or of this slug."""
        self._store(client_id, layout, OtherSecretsState.BEGUN, slug)

    def _store(self, client_id: int, layout: Layout, other: str, slug: str | None = None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_clientmigration AS kept
                    (client_id, phase, layout, other_secrets, other_slug, other_secrets_since)
                VALUES (
                    %(client)s, 'postgres', %(layout)s, %(other)s::text, %(slug)s,
                    CASE WHEN %(other)s::text <> '' THEN %(now)s END
                )
                ON CONFLICT (client_id) DO UPDATE
                SET layout = coalesce(kept.layout, excluded.layout),
                    other_secrets = coalesce(nullif(excluded.other_secrets, ''), kept.other_secrets),
                    other_slug = CASE excluded.other_secrets WHEN '' THEN kept.other_slug ELSE excluded.other_slug END,
                    other_secrets_since = coalesce(excluded.other_secrets_since, kept.other_secrets_since)
                """,
                {
                    "client": client_id,
                    "layout": layout,
                    "other": other,
                    "slug": slug,
                    "now": timezone.now(),
                },
            )

    def switch_secrets(
        self,
        client_id: int,
        old: tuple[str, Layout],
        new: tuple[str, Layout],
        *,
        phase: Phase,
        keeps: bool,
    ) -> bool:
        """Give the client, whose lease is held, secrets of another slug or layout, if it still has the old ones.

        Says whether it did; not where it was moved to another phase. `keeps`: the old secrets are kept, and written
        too. The new slug is stored although it is the client's own: NOVA may be changing that in this moment, and what
        is stored stays the name of the secrets.
        """
        (old_slug, old_layout), (slug, layout) = old, new
        own, moved = self.filter(pk=client_id, layout=old_layout, phase=phase), {}
        if slug != old_slug:
            own, moved = own.filter(secret_slug=old_slug), {"secret_slug": slug}
        return (
            own.update(
                layout=layout,
                other_secrets=OtherSecretsState.KEPT if keeps else "",
                other_slug=old_slug if moved and keeps else None,
                other_secrets_since=timezone.now() if keeps else None,
                **moved,
            )
            == 1
        )

    def with_moved_slug(self) -> Self:
        """Select the clients whose secrets have the name of a former slug, and that have no other secrets now."""
        return self.filter(
            models.Q(other_secrets="") | models.Q(other_slug=models.F("client__slug")),
            ~models.Q(secret_slug=models.F("client__slug")),
            secret_slug__isnull=False,
            client__slug__isnull=False,
        )

    def with_old_other_secrets(self, *, kept_for: timedelta, half_written_for: timedelta) -> Self:
        """Select the clients whose other secrets have been kept, or left half written, for so long."""
        now = timezone.now()
        kept = models.Q(
            other_secrets=OtherSecretsState.KEPT, other_secrets_since__lt=now - kept_for
        )
        begun = models.Q(
            other_secrets=OtherSecretsState.BEGUN, other_secrets_since__lt=now - half_written_for
        )
        return self.filter(kept | begun).order_by("other_secrets_since", "pk")

    def forget_other_secrets(self, client_id: int) -> None:
        """Note that the client has no secrets of another layout or slug any more."""
        self.filter(pk=client_id).update(
            other_secrets="", other_slug=None, other_secrets_since=None
        )


def has_layout(layout: Layout) -> models.Q:
    """Return the condition that this is a client's layout, stored or by the settings."""
    stored = models.Q(client_migration__layout=layout)
    if layout == configured_layout():
        stored |= models.Q(client_migration__layout=None)
    return stored


def find_other_layout(layout: Layout) -> Layout:
    """Return the layout that is not this one."""
    return next(other for other in Layout if other != layout)


def find_other_secrets_layout(layout: Layout, other_slug: str | None) -> Layout:
    """Return the layout of the other secrets of a client of this layout: under another slug they have the same."""
    return layout if other_slug else find_other_layout(layout)


@dataclass(frozen=True)
class Fingerprint:
    """A value's keyed digest and the id of its key; both are empty where the value is not known."""

    digest: str = ""
    key_id: str = ""


class VersionKey(models.Model):
    """A key made by `migrate`. The newest signs new versions, every key verifies; with a key, signatures can be forged.

    No page shows it, no permission exists for it, and the reader's database role has no grant on it.
    """

    key = models.BinaryField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering: ClassVar = ["-id"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"version key {self.pk}"


# A push that was killed is done again within minutes, and its version is a `Secret`'s then.
KEPT_FOR = timedelta(days=30)


class PlannedVersionQuerySet(models.QuerySet["PlannedVersion"]):
    def record(self, connection: BaseDatabaseWrapper, version_ids: Collection[str]) -> None:
        """Note the ids over `connection`, not over a save's own: its transaction isn't committed yet."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_plannedversion (version_id) SELECT unnest(%s::text[])
                ON CONFLICT (version_id) DO UPDATE SET planned_at = now()
                """,
                [sorted(version_ids)],
            )

    def find_known(
        self, connection: BaseDatabaseWrapper, version_ids: Iterable[str]
    ) -> tuple[set[str], datetime | None]:
        """Return those of the ids that were recorded, and since when every id is (None: no claim yet)."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                SELECT array(SELECT version_id FROM migration_plannedversion WHERE version_id = ANY(%s)),
                    (SELECT min(claimed_at) FROM migration_databaseclaim)
                """,
                [sorted(version_ids)],
            )
            noted, since = cursor.fetchone()
        return set(noted), since

    def forget_old(self) -> None:
        """Delete the ids that were noted before KEPT_FOR."""
        self.filter(planned_at__lt=timezone.now() - KEPT_FOR).delete()


class PlannedVersion(models.Model):
    """The id of a version that a push or save was about to write, noted before the first attempt.

    Whether AWS has it is not known. A version that proves to be ours, and that neither a `Secret` nor a row here names,
    was written after this database's state: the tables were restored from an older backup.
    """

    version_id = models.CharField(max_length=64, primary_key=True)
    planned_at = models.DateTimeField(db_default=Now(), db_index=True)

    objects = PlannedVersionQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return self.version_id


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
        """Return name -> secret of those of these names that a push has written or found equal."""
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
