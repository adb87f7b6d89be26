"""Owns what is known of credentials' values: since when each exists, and where it stood in clear. Never a value.

A value is known by a keyed fingerprint. A former value keeps its row: one that comes back is the one that stood there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Self

from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.models.noted_clients import NotedClient

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

# A row of a credential table: its type and its id.
CredentialKey = tuple[str, int]

_COLUMNS = "digest, key_id, since, set_at, replaced_at, stands_in_tables, stood_in_tables"
_TYPES = (
    "id bigint, digest text, key_id text, since timestamptz, set_at timestamptz, replaced_at timestamptz,"
    " stands_in_tables bool, stood_in_tables bool"
)
UPDATE_ROWS = f"""
UPDATE migration_knownvalue AS kept
SET ({_COLUMNS}) = (SELECT {", ".join(f"new.{name}" for name in _COLUMNS.split(", "))})
FROM jsonb_to_recordset(%s::jsonb) AS new ({_TYPES}) WHERE kept.id = new.id
"""  # noqa: S608  # constants
MARK_FOUND = """
UPDATE migration_knownvalue AS kept
SET stood_in_copy = kept.stood_in_copy OR new.in_copy, stood_in_legacy = kept.stood_in_legacy OR new.in_legacy
FROM jsonb_to_recordset(%s::jsonb) AS new (client_id int, digest text, key_id text, in_copy bool, in_legacy bool)
WHERE kept.client_id = new.client_id AND kept.digest = new.digest AND kept.key_id = new.key_id
"""


@dataclass(frozen=True)
class Fingerprint:
    """A value's keyed digest and the id of its key; both are empty where the value is not known."""

    digest: str = ""
    key_id: str = ""


@dataclass(frozen=True)
class SeenValue:
    """The present value of a credential, as it was just seen."""

    fingerprint: Fingerprint
    # In clear in its row of the credential tables, now and up to now.
    stands_in_tables: bool
    stood_in_tables: bool
    # It is proven that nobody has written it since it was last seen: another key's digest is of the same value.
    is_unwritten: bool = False


@dataclass
class SeenClient:
    """All credentials of one client as they were just seen, and the revision of its rows."""

    client_id: int
    revision: int
    values: dict[CredentialKey, SeenValue] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundValue:
    """A value of a client of which a search found copies in NOVA's database."""

    client_id: int
    fingerprint: Fingerprint
    in_copy: bool
    in_legacy: bool


class KnownValueQuerySet(models.QuerySet["KnownValue"]):
    def present(self) -> Self:
        """Select the values that credentials have now, of clients that NOVA has not deleted."""
        return self.filter(
            models.Exists(Client.objects.filter(pk=models.OuterRef("client_id"))), replaced_at=None
        )

    def to_rotate(self) -> Self:
        """Select the present values that stood in clear somewhere, and in the credential tables no longer stand.

        Where a value stands there, a new one would stand there too: its client is purged first.
        """
        return self.present().filter(TO_ROTATE)

    def list_present(self, client_id: int) -> list[KnownValue]:
        """Return the present values of one client, by type and id of the credential."""
        return list(
            self.filter(client_id=client_id, replaced_at=None).order_by("kind", "credential_id")
        )

    @transaction.atomic
    def record_rows(self, seen: Collection[SeenClient], *, key_id: str) -> None:
        """Store what the rows of whole clients hold; what a newer look has stored stays."""
        noted = NotedClient.objects.lock([client.client_id for client in seen])
        newer = [each for each in seen if each.revision >= noted[each.client_id]]
        changes = _Changes(self.filter(client_id__in=[each.client_id for each in newer]))
        for client in newer:
            is_unwritten = client.revision == noted[client.client_id]
            changes.end_others(client.client_id, client.values)
            for key, value in client.values.items():
                changes.see(client.client_id, key, value, is_unwritten=is_unwritten)
        changes.store()
        NotedClient.objects.store([(each.client_id, each.revision) for each in newer], key_id)

    @transaction.atomic
    def record_in_aws(
        self, seen: Mapping[int, Mapping[CredentialKey, SeenValue]], *, read_at: datetime
    ) -> None:
        """Store what AWS held of purged clients at that time; a value that was set later stays."""
        NotedClient.objects.lock(seen)
        changes = _Changes(self.filter(client_id__in=seen))
        for client_id, values in seen.items():
            for key, value in values.items():
                present = changes.find_present(client_id, key)
                if present is None or present.set_at < read_at:
                    changes.see(client_id, key, value)
        changes.store()

    @transaction.atomic
    def record_new(
        self,
        client_id: int,
        values: Mapping[CredentialKey, Fingerprint],
        *,
        is_former: bool = False,
    ) -> None:
        """Store that these credentials of a purged client were given other values, which AWS alone holds.

        `is_former`: values that AWS held before. One that isn't known may be any that stood in clear, and counts so.
        """
        NotedClient.objects.lock([client_id])
        changes = _Changes(self.filter(client_id=client_id))
        for key, fingerprint in values.items():
            changes.replace(client_id, key, fingerprint, is_former=is_former)
        changes.store()

    def mark_found(self, found: Iterable[FoundValue]) -> None:
        """Store that copies of these values, present or former, were found in NOVA's database."""
        rows = [
            {
                "client_id": each.client_id,
                "digest": each.fingerprint.digest,
                "key_id": each.fingerprint.key_id,
                "in_copy": each.in_copy,
                "in_legacy": each.in_legacy,
            }
            for each in found
        ]
        if rows:
            with connection.cursor() as cursor:
                cursor.execute(MARK_FOUND, [json.dumps(rows)])


class KnownValue(models.Model):
    """A value that a credential has, or had until `replaced_at`."""

    client = models.ForeignKey(
        Client, models.DO_NOTHING, db_constraint=False, related_name="known_values"
    )
    # A `CredentialType`.
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
    def stood_anywhere(self) -> bool:
        return self.stood_in_tables or self.stood_in_copy or self.stood_in_legacy

    @property
    def is_to_rotate(self) -> bool:
        """Say the same as `KnownValueQuerySet.to_rotate`, of a present value."""
        return self.stood_anywhere and not self.stands_in_tables


TO_ROTATE = models.Q(replaced_at=None, stands_in_tables=False) & (
    models.Q(stood_in_tables=True) | models.Q(stood_in_copy=True) | models.Q(stood_in_legacy=True)
)


class _Changes:
    """The rows of some clients, whose `NotedClient` is locked, with what changes in them."""

    def __init__(self, rows: Iterable[KnownValue]) -> None:
        self.now = timezone.now()
        self._rows: dict[tuple[int, CredentialKey], list[KnownValue]] = defaultdict(list)
        for row in rows:
            self._rows[row.client_id, (row.kind, row.credential_id)].append(row)
        self._changed: dict[int, KnownValue] = {}
        self._new: list[KnownValue] = []

    def find_present(self, client_id: int, key: CredentialKey) -> KnownValue | None:
        rows = self._rows.get((client_id, key), ())
        return next((row for row in rows if row.replaced_at is None), None)

    def see(
        self, client_id: int, key: CredentialKey, seen: SeenValue, *, is_unwritten: bool = False
    ) -> None:
        """Take in the present value of a credential."""
        present = self.find_present(client_id, key)
        if not seen.fingerprint.digest and present is not None:
            self._mark(present, stands=False, stood=False)
            return
        if present is None or _are_different(present, seen.fingerprint):
            present = self._put(client_id, key, seen.fingerprint)
        elif (present.digest, present.key_id) != (seen.fingerprint.digest, seen.fingerprint.key_id):
            # Made with another key: it may be the same value, which may have stood wherever that one did.
            if not (is_unwritten or seen.is_unwritten):
                present.since = present.set_at = self.now
            present.digest, present.key_id = seen.fingerprint.digest, seen.fingerprint.key_id
            self._note(present)
        self._mark(present, stands=seen.stands_in_tables, stood=seen.stood_in_tables)

    def replace(
        self, client_id: int, key: CredentialKey, fingerprint: Fingerprint, *, is_former: bool
    ) -> None:
        """Take in a value that was just set in place of another."""
        is_known = self._find_former(client_id, key, fingerprint) is not None
        row = self._put(client_id, key, fingerprint)
        if is_former and not is_known:
            for former in self._rows[client_id, key]:
                row.stood_in_tables |= former.stood_in_tables
                row.stood_in_copy |= former.stood_in_copy
                row.stood_in_legacy |= former.stood_in_legacy

    def end_others(self, client_id: int, keys: Collection[CredentialKey]) -> None:
        """End the values of this client's credentials that are gone."""
        for owner, key in list(self._rows):
            present = self.find_present(owner, key)
            if owner == client_id and key not in keys and present:
                self._end(present)

    def _find_former(
        self, client_id: int, key: CredentialKey, fingerprint: Fingerprint
    ) -> KnownValue | None:
        wanted = fingerprint.digest, fingerprint.key_id
        rows = self._rows.get((client_id, key), ())
        return next((row for row in rows if (row.digest, row.key_id) == wanted), None)

    def _put(self, client_id: int, key: CredentialKey, fingerprint: Fingerprint) -> KnownValue:
        """Make this the present value of the credential, and return its row: the former one where it came back."""
        if present := self.find_present(client_id, key):
            self._end(present)
        row = self._find_former(client_id, key, fingerprint)
        if row is None:
            kind, credential_id = key
            row = KnownValue(
                client_id=client_id,
                kind=kind,
                credential_id=credential_id,
                digest=fingerprint.digest,
                key_id=fingerprint.key_id,
                since=self.now,
                stands_in_tables=False,
                stood_in_tables=False,
            )
            self._new.append(row)
            self._rows[client_id, key].append(row)
        row.replaced_at, row.set_at = None, self.now
        self._note(row)
        return row

    def _mark(self, row: KnownValue, *, stands: bool, stood: bool) -> None:
        after = stands, row.stood_in_tables or stood
        if (row.stands_in_tables, row.stood_in_tables) != after:
            row.stands_in_tables, row.stood_in_tables = after
            self._note(row)

    def _end(self, row: KnownValue) -> None:
        row.replaced_at, row.stands_in_tables = self.now, False
        self._note(row)

    def _note(self, row: KnownValue) -> None:
        if row.pk is not None:
            self._changed[row.pk] = row

    def store(self) -> None:
        """Store what changed, in two statements at most."""
        if self._changed:
            names = ["id", *_COLUMNS.split(", ")]
            rows = [{name: getattr(row, name) for name in names} for row in self._changed.values()]
            with connection.cursor() as cursor:
                cursor.execute(UPDATE_ROWS, [json.dumps(rows, default=str)])
        KnownValue.objects.bulk_create(self._new)


def _are_different(row: KnownValue, seen: Fingerprint) -> bool:
    """Say whether both are surely different values: digests of two keys can't be compared."""
    return row.key_id == seen.key_id and row.digest != seen.digest
