"""Owns what is known of credentials' values: since when each exists, and where it stood in clear. Never a value.

A value is known by a keyed fingerprint. A former value keeps its row: one that comes back is the one that stood there.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Self

from django.db import connection, models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from credentials.models import Client
from migration.core.secrets import Fingerprint


class NotedClientQuerySet(models.QuerySet["NotedClient"]):
    def lock(self, client_ids: Collection[int]) -> dict[int, int]:
        """Lock the clients' NotedClients, made where missing, until the transaction ends; return revisions.

        Whoever stores what was seen of a client's values holds this lock.
        """
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


# What is seen of credentials' values, before it is stored

# A row of a credential table: its type and its id.
CredentialKey = tuple[str, int]


class NewValueOrigin(StrEnum):
    """Where the value comes from that a credential was given."""

    # By a person or a program: it may be any that existed before.
    TYPED = "typed"
    # It stood in AWS before.
    FORMER = "former"
    # Made at random by this site, just now: it is none that existed before.
    GENERATED = "generated"


@dataclass(frozen=True)
class PresentValue:
    """A credential's present value as a look has just found it: what is told to `KnownValue`, and no row."""

    fingerprint: Fingerprint
    # In clear in its row of the credential tables, now and up to now.
    stands_in_tables: bool
    stood_in_tables: bool
    # It is proven that nobody has written it since it was last seen: another key's digest is of the same value.
    is_unwritten: bool = False
    origin: NewValueOrigin = NewValueOrigin.TYPED
    # When the version was made in which AWS holds it, where AWS says so.
    made_at: datetime | None = None


@dataclass
class SeenClient:
    """All credentials of one client as they were just seen, and the revision of its rows."""

    client_id: int
    revision: int
    values: dict[CredentialKey, PresentValue] = field(default_factory=dict)
    # What AWS held then of the rows that are purged; empty where it was not read.
    in_aws: dict[CredentialKey, PresentValue] = field(default_factory=dict)


@dataclass(frozen=True)
class FoundValue:
    """A value of a client and where a search found it elsewhere in NOVA's database; in memory only."""

    client_id: int
    fingerprint: Fingerprint
    in_copy: bool
    in_legacy: bool
    # In a credential table, as the value of another client.
    in_tables: bool


# How it changes what is known

# The key of a value that no credential was seen to have.
NO_CREDENTIAL: CredentialKey = ("", 0)
_STOOD = ("stood_in_tables", "stood_in_copy", "stood_in_legacy")
_COLUMNS = ("digest", "key_id", "since", "set_at", "replaced_at", "stands_in_tables", *_STOOD)
_TYPES = (
    "id bigint, digest text, key_id text, since timestamptz, set_at timestamptz, replaced_at timestamptz,"
    " stands_in_tables bool, stood_in_tables bool, stood_in_copy bool, stood_in_legacy bool"
)
UPDATE_ROWS = f"""
UPDATE migration_knownvalue AS kept
SET ({", ".join(_COLUMNS)}) = (SELECT {", ".join(f"new.{name}" for name in _COLUMNS)})
FROM jsonb_to_recordset(%s::jsonb) AS new ({_TYPES}) WHERE kept.id = new.id
"""  # noqa: S608  # constants


class ValueChanges:
    """All `KnownValue` rows of some clients, whose `NotedClient` is locked, with what changes in them.

    A value counts as one that never stood in clear only if it differs from each value of its client that did. Digests
    of two keys can't be compared: where one of another key is among them, an unknown value may be that one.
    """

    def __init__(self, rows: KnownValueQuerySet) -> None:
        self.now = timezone.now()
        self._model = rows.model
        self._rows: dict[int, list[KnownValue]] = defaultdict(list)
        for row in rows:
            self._rows[row.client_id].append(row)
        self._changed: dict[int, KnownValue] = {}
        self._new: list[KnownValue] = []

    def find_present(self, client_id: int, key: CredentialKey) -> KnownValue | None:
        rows = self._list_rows(client_id, key)
        return next((row for row in rows if row.replaced_at is None), None)

    def see(
        self, client_id: int, key: CredentialKey, seen: PresentValue, *, is_unwritten: bool = False
    ) -> None:
        """Work out what a credential's present value changes in its known values; `store` stores it."""
        present = self.find_present(client_id, key)
        if present is not None and not seen.fingerprint.digest:
            self._mark(present, stands=False, stood=False)
            return
        is_first = not self._list_rows(client_id, key)
        is_unwritten = is_unwritten or seen.is_unwritten
        if present is None or not _are_same(present, seen.fingerprint, is_unwritten=is_unwritten):
            origin = NewValueOrigin.FORMER if _is_older(seen, present) else seen.origin
            present = self.replace(client_id, key, seen.fingerprint, origin)
        elif present.key_id != seen.fingerprint.key_id:
            present.digest, present.key_id = seen.fingerprint.digest, seen.fingerprint.key_id
            self._note(present)
        # Nobody has seen what its row held before.
        self._mark(present, stands=seen.stands_in_tables, stood=seen.stood_in_tables or is_first)

    def note_former_value(self, client_id: int, key: CredentialKey, seen: PresentValue) -> None:
        """Take in what a credential's row held before it was last looked at: a former value."""
        if seen.fingerprint.digest:
            row = self._find_former(client_id, key, seen.fingerprint)
            row = row or self._add(client_id, key, seen.fingerprint)
            row.stood_in_tables |= seen.stood_in_tables
            self._note(row)

    def replace(
        self, client_id: int, key: CredentialKey, fingerprint: Fingerprint, origin: NewValueOrigin
    ) -> KnownValue:
        """Make this the present value of the credential, and return its row: the former one where it came back."""
        if present := self.find_present(client_id, key):
            self._end(present)
        row = self._find_former(client_id, key, fingerprint)
        if row is None:
            is_known = bool(self._list_equal(client_id, fingerprint))
            row = self._add(client_id, key, fingerprint)
            if not is_known:
                self._inherit(row, self._list_possible(row, origin))
        row.replaced_at, row.set_at = None, self.now
        self._note(row)
        return row

    def note_found_places(self, found: FoundValue) -> None:
        """Take in where a search found a value of the client, also one that no credential had yet: one may get it."""
        rows = self._list_equal(found.client_id, found.fingerprint)
        for row in rows or [self._add(found.client_id, NO_CREDENTIAL, found.fingerprint)]:
            row.stood_in_tables |= found.in_tables
            row.stood_in_copy |= found.in_copy
            row.stood_in_legacy |= found.in_legacy
            self._note(row)

    def end_others(self, client_id: int, keys: Collection[CredentialKey]) -> None:
        """End the values of this client's credentials that are gone."""
        for row in self._rows[client_id]:
            if row.replaced_at is None and (row.kind, row.credential_id) not in keys:
                self._end(row)

    def store(self) -> None:
        """Store what changed, in two statements at most."""
        for rows in self._rows.values():
            self._share_places(rows)
        if self._changed:
            names = ["id", *_COLUMNS]
            rows_to_store = [
                {name: getattr(row, name) for name in names} for row in self._changed.values()
            ]
            with connection.cursor() as cursor:
                cursor.execute(UPDATE_ROWS, [json.dumps(rows_to_store, default=str)])
        self._model.objects.bulk_create(self._new)

    def _share_places(self, rows: Iterable[KnownValue]) -> None:
        """Note of equal values of one client, whichever logins have them, that each stood where one of them did."""
        equal: dict[tuple[str, str], list[KnownValue]] = defaultdict(list)
        for row in rows:
            if row.digest:
                equal[row.digest, row.key_id].append(row)
        for group in equal.values():
            for row in group:
                self._inherit(row, group)

    def _inherit(self, row: KnownValue, others: Iterable[KnownValue]) -> None:
        """Note that the value stood wherever one of the others did."""
        for other in others:
            for name in _STOOD:
                if getattr(other, name) and not getattr(row, name):
                    setattr(row, name, True)
                    self._note(row)

    def _list_rows(self, client_id: int, key: CredentialKey) -> list[KnownValue]:
        rows = self._rows.get(client_id, ())
        return [row for row in rows if (row.kind, row.credential_id) == key]

    def _list_equal(self, client_id: int, fingerprint: Fingerprint) -> list[KnownValue]:
        rows = self._rows.get(client_id, ())
        return [row for row in rows if _are_equal(row, fingerprint)]

    def _find_former(
        self, client_id: int, key: CredentialKey, fingerprint: Fingerprint
    ) -> KnownValue | None:
        rows = self._list_rows(client_id, key)
        return next((row for row in rows if _are_equal(row, fingerprint)), None)

    def _list_possible(self, row: KnownValue, origin: NewValueOrigin) -> list[KnownValue]:
        """List the values of the client that a value with a new fingerprint may be all the same."""
        if origin == NewValueOrigin.GENERATED:
            return []
        # What AWS held before may have been put there before this site looked.
        is_any = origin == NewValueOrigin.FORMER
        rows = self._rows[row.client_id]
        return [other for other in rows if is_any or other.key_id != row.key_id]

    def _add(self, client_id: int, key: CredentialKey, fingerprint: Fingerprint) -> KnownValue:
        """Add a value that the credential had; it is not the present one."""
        kind, credential_id = key
        row = self._model(
            client_id=client_id,
            kind=kind,
            credential_id=credential_id,
            digest=fingerprint.digest,
            key_id=fingerprint.key_id,
            since=self.now,
            set_at=self.now,
            replaced_at=self.now,
            stands_in_tables=False,
            stood_in_tables=False,
        )
        self._new.append(row)
        self._rows[client_id].append(row)
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


def _are_equal(row: KnownValue, fingerprint: Fingerprint) -> bool:
    return (row.digest, row.key_id) == (fingerprint.digest, fingerprint.key_id)


def _is_older(seen: PresentValue, present: KnownValue | None) -> bool:
    """Say whether AWS made the version before the present value was set: somebody made it current again."""
    # AWS's time may lack the part of a second.
    made_at = seen.made_at
    return bool(made_at and present and made_at < present.set_at.replace(microsecond=0))


def _are_same(present: KnownValue, seen: Fingerprint, *, is_unwritten: bool) -> bool:
    """Say whether the value is surely still the present one."""
    return is_unwritten if present.key_id != seen.key_id else present.digest == seen.digest


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

    def find_last_changes(self, client_id: int) -> dict[CredentialKey, datetime]:
        """Return when each of a client's credentials got its present value, of those that had another one before."""
        rows = list(self.filter(client_id=client_id))
        changed = {(row.kind, row.credential_id) for row in rows if row.replaced_at}
        return {
            key: row.set_at
            for row in rows
            if row.replaced_at is None and (key := (row.kind, row.credential_id)) in changed
        }

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
    def is_to_rotate(self) -> bool:
        """Say whether a present value stood in clear anywhere in NOVA's database, but not in its tables now."""
        stood = self.stood_in_tables or self.stood_in_copy or self.stood_in_legacy
        return stood and not self.stands_in_tables


TO_ROTATE = models.Q(replaced_at=None, stands_in_tables=False) & (
    models.Q(stood_in_tables=True) | models.Q(stood_in_copy=True) | models.Q(stood_in_legacy=True)
)
