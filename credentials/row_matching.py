"""Decides which credential row belongs to which login of a document. Pure: reads and writes no table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

from credentials.models import Credential
from nova_credentials.credential_types import CredentialRow

Key = Callable[[Credential | CredentialRow], Hashable]


class RowMatch(NamedTuple):
    """Rows with their logins, logins that have no row, and rows that have no login."""

    pairs: list[tuple[Credential, CredentialRow]]
    new_logins: list[CredentialRow]
    unmatched_rows: list[Credential]


def match_rows(
    rows: Sequence[Credential], logins: Sequence[CredentialRow], *, by_destination: bool = False
) -> RowMatch:
    """Pair the rows of one type with a document's logins of that type.

    The primary ones belong together, then those with a label that no other has, then the rest in their order.
    `by_destination` puts first those with a destination that no other has: a secret that is written into a row which
    keeps its own host belongs to that host, even if NOVA made another row the primary one meanwhile.
    """
    keys: list[Key] = [_key_of_primary, _unique_key(_key_of_label, rows, logins), _same_key]
    if by_destination and rows:
        keys.insert(0, _unique_key(attrgetter(*rows[0].DESTINATION_FIELDS), rows, logins))
    match = RowMatch([], list(logins), list(rows))
    for key in keys:
        for row in list(match.unmatched_rows):
            keys_left = [key(login) for login in match.new_logins]
            if (wanted := key(row)) is not None and wanted in keys_left:
                match.pairs.append((row, match.new_logins.pop(keys_left.index(wanted))))
                match.unmatched_rows.remove(row)
    return match


def _key_of_primary(entry: Credential | CredentialRow) -> bool | None:
    return entry.is_primary or None


def _key_of_label(entry: Credential | CredentialRow) -> str | None:
    return None if entry.is_primary else entry.label


def _same_key(entry: Credential | CredentialRow) -> bool:
    """Return the same key for every row: rows that nothing else paired are then paired in their order."""
    return True


def _unique_key(
    key: Key,
    rows: Iterable[Credential | CredentialRow],
    logins: Iterable[Credential | CredentialRow],
) -> Key:
    """Return `key`, but None for every entry whose key another row or another login has too."""
    counts = [Counter(map(key, entries)) for entries in (rows, logins)]
    unique = {value for value in counts[0] if counts[0][value] == counts[1][value] == 1}
    return lambda entry: key(entry) if key(entry) in unique else None
