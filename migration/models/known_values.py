"""Owns what is known of credentials' values: since when each exists, and where it stood in clear. Never a value.

A value is known by a keyed fingerprint. A former value keeps its row: one that comes back is the one that stood there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models, transaction
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.models.noted_clients import NotedClient
from migration.models.value_changes import ValueChanges

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from migration.models.seen_values import (
        CredentialKey,
        FoundValue,
        NewValueOrigin,
        PresentValue,
        SeenClient,
    )
from migration.models.version_keys import Fingerprint


class KnownValueQuerySet(models.QuerySet["KnownValue"]):
    def current_of_present_clients(self) -> Self:
        """Select the values that credentials have now, of clients that NOVA has not deleted."""
        return self.filter(
            models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))), replaced_at=None
        )

    def to_rotate(self) -> Self:
        """Select the present values that stood in clear somewhere, and in the credential tables no longer stand.

        Where a value stands there, a new one would stand there too: its client is purged first.
        """
        return self.current_of_present_clients().filter(TO_ROTATE)

    def list_present(self, client_id: int) -> list[KnownValue]:
        """List the present values of one client, in the order of type and id of the credentials."""
        return list(
            self.filter(client_id=client_id, replaced_at=None).order_by("kind", "credential_id")
        )

    def list_present_maybe_former(self, client_id: int, *, key_id: str) -> list[KnownValue]:
        """List the present values that count as to be rotated only as they can't be told from former ones.

        Those stood in clear and were replaced before, and are known by a digest of another key than `key_id`, which is
        that of the present one.
        """
        stood = models.Q(stood_in_tables=True) | models.Q(stood_in_copy=True)
        stood |= models.Q(stood_in_legacy=True)
        former = KnownValue.objects.filter(
            stood, client_id=client_id, replaced_at__lte=models.OuterRef("since")
        ).exclude(key_id=key_id)
        newer = self.to_rotate().filter(client_id=client_id, key_id=key_id)
        return list(newer.filter(models.Exists(former)))

    @transaction.atomic
    def record_rows(self, seen: Collection[SeenClient], *, key_id: str) -> None:
        """Store what the rows of whole clients hold; where a newer look was stored, that it stood there."""
        noted = NotedClient.objects.lock([client.client_id for client in seen])
        changes = ValueChanges(self.filter(client_id__in=noted))
        for client in seen:
            _take_rows(changes, client, noted[client.client_id])
        changes.store()
        _store_revisions(seen, noted, key_id=key_id)

    @transaction.atomic
    def record_aws_values(
        self, seen: Mapping[int, Mapping[CredentialKey, PresentValue]], *, read_at: datetime
    ) -> None:
        """Store what AWS held of purged clients at that time; a value that was set later stays."""
        NotedClient.objects.lock(seen)
        changes = ValueChanges(self.filter(client_id__in=seen))
        for client_id, values in seen.items():
            for key, value in values.items():
                present = changes.find_present(client_id, key)
                if present is None or present.set_at < read_at:
                    changes.see(client_id, key, value)
        changes.store()

    @transaction.atomic
    def record_new_values_of_purged(
        self,
        before: SeenClient,
        values: Mapping[CredentialKey, Fingerprint],
        *,
        origin: NewValueOrigin,
        key_id: str,
    ) -> None:
        """Store that these credentials of a purged client were given other values, which AWS alone holds.

        `before`: the client as its rows and AWS held it until then, from the transaction that holds its rows.
        """
        noted = NotedClient.objects.lock([before.client_id])
        changes = ValueChanges(self.filter(client_id=before.client_id))
        _take_rows(changes, before, noted[before.client_id])
        for key, value in before.in_aws.items():
            changes.see(before.client_id, key, value)
        for key, fingerprint in values.items():
            changes.replace(before.client_id, key, fingerprint, origin)
        changes.store()
        _store_revisions([before], noted, key_id=key_id)

    @transaction.atomic
    def mark_found_elsewhere(self, found: Collection[FoundValue]) -> None:
        """Store that these values, present or former, were found elsewhere in NOVA's database."""
        clients = {each.client_id for each in found}
        NotedClient.objects.lock(clients)
        changes = ValueChanges(self.filter(client_id__in=clients))
        for each in found:
            changes.note_found_places(each)
        changes.store()


def _take_rows(changes: ValueChanges, client: SeenClient, noted: int) -> None:
    """Take in what a client's rows held; `noted` is the revision that was looked at last."""
    if client.revision < noted:
        for key, value in client.values.items():
            changes.note_former_value(client.client_id, key, value)
        return
    changes.end_others(client.client_id, client.values)
    for key, value in client.values.items():
        changes.see(client.client_id, key, value, is_unwritten=client.revision == noted)


def _store_revisions(seen: Iterable[SeenClient], noted: Mapping[int, int], *, key_id: str) -> None:
    newer = [each for each in seen if each.revision >= noted[each.client_id]]
    NotedClient.objects.store([(each.client_id, each.revision) for each in newer], key_id)


class KnownValue(models.Model):
    """The fingerprint of a value that a credential has, or had until `replaced_at`, or that only a search found."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="known_values"
    )
    # A `CredentialType`; empty, with 0 as the id, for a value that a search found and no credential was seen to have.
    kind = models.CharField(max_length=16)
    credential_id = models.IntegerField()
    # Both empty: a client that was purged before this site looked, whose value AWS alone has.
    digest = models.CharField(max_length=64, blank=True)
    key_id = models.CharField(max_length=16, blank=True)
    # It exists at least since then. Only what was seen is known: it may be older.
    since = models.DateTimeField(_("at least since"))
    # When it was seen to be the credential's value; later than `since` for one that came back.
    set_at = models.DateTimeField()
    replaced_at = models.DateTimeField(null=True)
    stands_in_tables = models.BooleanField()
    stood_in_tables = models.BooleanField()
    stood_in_copy = models.BooleanField(default=False, db_default=False)
    stood_in_legacy = models.BooleanField(default=False, db_default=False)

    objects = KnownValueQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        indexes: ClassVar = [
            models.Index(
                fields=["client", "kind", "credential_id"], name="known_value_of_credential"
            ),
            models.Index(
                fields=["client"],
                name="known_value_to_rotate",
                condition=models.Q(replaced_at=None, stands_in_tables=False),
            ),
        ]

    def __str__(self) -> str:
        return f"a value of {self.kind} {self.credential_id} of client {self.client_id}"

    @property
    def stood_in_plain_text(self) -> bool:
        return self.stood_in_tables or self.stood_in_copy or self.stood_in_legacy

    @property
    def is_to_rotate(self) -> bool:
        """Say whether a present value stood in clear anywhere in NOVA's database, but not in its tables now."""
        return self.stood_in_plain_text and not self.stands_in_tables


TO_ROTATE = models.Q(replaced_at=None, stands_in_tables=False) & (
    models.Q(stood_in_tables=True) | models.Q(stood_in_copy=True) | models.Q(stood_in_legacy=True)
)
