"""Owns up to which write each client's values were looked at, and the lock of whoever stores what was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import connection, models

from credentials.models import Client

if TYPE_CHECKING:
    from collections.abc import Collection


class NotedClientQuerySet(models.QuerySet["NotedClient"]):
    def lock(self, client_ids: Collection[int]) -> dict[int, int]:
        """Lock the clients' NotedClients, made where missing, until the transaction ends; return revisions."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                INSERT INTO migration_notedclient (client_id, revision, key_id)
                SELECT client_id, -1, '' FROM unnest(%s::int[]) AS new (client_id) ON CONFLICT DO NOTHING
                """,
                [sorted(client_ids)],
            )
        rows = self.filter(pk__in=client_ids).order_by("pk").select_for_update()
        return dict(rows.values_list("pk", "revision"))

    def store(self, revisions: Collection[tuple[int, int]], key_id: str) -> None:
        """Store, for each (client id, revision), that the rows of that revision were looked at; they are locked."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE migration_notedclient AS kept SET revision = new.revision, key_id = %s
                FROM unnest(%s::int[], %s::bigint[]) AS new (client_id, revision) WHERE kept.client_id = new.client_id
                """,
                [key_id, [pk for pk, _ in revisions], [revision for _, revision in revisions]],
            )


class NotedClient(models.Model):
    """Up to which write to a client's rows its values were looked at, and with which key; holds no value."""

    client = models.OneToOneField(
        Client,
        models.DO_NOTHING,
        primary_key=True,
        db_constraint=False,
        related_name="noted_client",
    )
    revision = models.BigIntegerField()
    key_id = models.CharField(max_length=16, blank=True)

    objects = NotedClientQuerySet.as_manager()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"client {self.client_id} up to revision {self.revision}"
