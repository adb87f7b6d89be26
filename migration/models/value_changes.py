"""Works out how what was just seen of clients' values changes the rows that are known of them, and stores it.

A value counts as one that never stood in clear only if it differs from each value of its client that did. Digests of
two keys can't be compared: where one of another key is among them, an unknown value may be that one.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING

from django.db import connection
from django.utils import timezone

from migration.models.seen_values import NewValueOrigin

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from migration.models.known_values import KnownValue, KnownValueQuerySet
    from migration.models.seen_values import CredentialKey, FoundValue, PresentValue
from migration.models.version_keys import Fingerprint

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
    """All `KnownValue` rows of some clients, whose `NotedClient` is locked, with what changes in them."""

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
            present = self._put(client_id, key, seen.fingerprint, origin)
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
    ) -> None:
        """Take in a value that was just set in place of another."""
        self._put(client_id, key, fingerprint, origin)

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

    def _put(
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
