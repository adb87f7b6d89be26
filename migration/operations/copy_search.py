"""Searches NOVA's database for copies of secret values, and stores where they are. Writes no value anywhere."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from migration.models.clients import all_clients
from migration.models.copies import (
    CopySearch,
    FoundCopy,
    SearchedClient,
    UnsearchedPlace,
    UnsearchedReason,
)
from migration.models.known_values import KnownValue
from migration.models.seen_values import FoundValue
from migration.operations.aws_store import secrets_manager
from migration.operations.copy_places import list_places
from migration.operations.copy_reader import TableReader, UnsearchedError, open_own_connection
from migration.operations.copy_scanner import CopiedRowsScanner, Needles, make_needles
from migration.operations.interrupted_searches import hold_search
from migration.operations.keys import make_fingerprint
from migration.operations.known_values import note_rows
from migration.operations.secret_values import (
    ClientValues,
    gather_values_and_note_purged,
    list_values_in_all_rows,
)
from nova_credentials.tables import LEGACY_CREDENTIALS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime

    from django.contrib.auth.models import User

    from migration.operations.copy_places import Places, Table

TELL_SECONDS = 1.0


@dataclass(frozen=True)
class SearchProgress:
    """What a running search has read so far."""

    table: str
    tables_done: int
    tables: int
    part_of_table: float
    bytes_read: int
    seconds: float

    @property
    def bytes_per_second(self) -> float:
        """Return the bytes read per second since the first table was begun."""
        return self.bytes_read / self.seconds if self.seconds else 0.0


class _Search:
    """One pass over the tables, with what was found and what was not looked at."""

    def __init__(self, needles: Needles, tell: Callable[[SearchProgress], None]) -> None:
        self.needles, self.tell = needles, tell
        self.found: Counter[tuple[int, str, str]] = Counter()  # by client, table, column
        # Also by table: in NOVA's legacy table, and in any other.
        self.values_in_legacy: set[str] = set()
        self.values_in_copies: set[str] = set()
        self.unsearched: list[UnsearchedPlace] = []
        self.bytes_read = 0
        self.began = self.told = time.monotonic()

    def search_all(self, places: Places) -> None:
        self.unsearched += places.unsearched
        for number, table in enumerate(places.tables):
            self._search_table(table, number, len(places.tables))

    def _search_table(self, table: Table, number: int, tables: int) -> None:
        scanner = CopiedRowsScanner(self.needles, table.columns)
        now = SearchProgress(table.full_name, number, tables, 0.0, 0, 0.0)

        def tell(part: float) -> None:
            if time.monotonic() - self.told >= TELL_SECONDS:
                self.told = time.monotonic()
                read, took = self.bytes_read + scanner.bytes_read, self.told - self.began
                self.tell(replace(now, part_of_table=part, bytes_read=read, seconds=took))

        tell(0.0)
        try:
            # A connection for each table: a broken one fails that table only.
            with open_own_connection() as own:
                TableReader(own, table, scanner, tell).read_table()
        except UnsearchedError as error:
            self.unsearched.append(
                UnsearchedPlace(place=table.full_name, reason=error.reason, detail=error.detail)
            )
        self.bytes_read += scanner.bytes_read
        for (client_id, column), rows in scanner.rows_found.items():
            self.found[client_id, table.full_name, column] += rows
        is_legacy = table.full_name == LEGACY_CREDENTIALS
        values = self.values_in_legacy if is_legacy else self.values_in_copies
        values |= scanner.values_found


def search_copies(
    *,
    client_ids: Collection[int],
    by: User | None = None,
    tell: Callable[[SearchProgress], None] = lambda _progress: None,
) -> CopySearch:
    """Search for the values of these clients; return the stored result. `tell` is called about once a second."""
    search = CopySearch.objects.create(by=by)
    with hold_search(search.pk):
        try:
            return _do_search(search, client_ids, tell)
        except BaseException:
            with suppress(DatabaseError):  # then the lock is gone too, and others mark it
                CopySearch.objects.mark_interrupted(search)
            raise


def carry_out_search(*, search_id: int) -> None:
    """Do an open search from its beginning if no worker is at it; after its last try mark it interrupted."""
    with hold_search(search_id) as held:
        search = CopySearch.objects.open().filter(pk=search_id).first() if held else None
        if search is None:
            return
        if search.tries and not search.may_begin_again:
            CopySearch.objects.mark_interrupted(search)
            return
        everyone = all_clients().values_list("pk", flat=True)
        _do_search(search, list(everyone), lambda _progress: None)


def _do_search(
    search: CopySearch, client_ids: Collection[int], tell: Callable[[SearchProgress], None]
) -> CopySearch:
    search.started_at = search.seen_at = began = timezone.now()
    search.clients, search.tries = len(client_ids), search.tries + 1
    # A try begins with the first table again, whatever the one before had read.
    search.bytes_read = search.tables_done = search.tables = 0
    search.save()

    def record_progress(progress: SearchProgress) -> None:
        CopySearch.objects.filter(pk=search.pk).update(
            seen_at=timezone.now(),
            bytes_read=progress.bytes_read,
            tables_done=progress.tables_done,
            tables=progress.tables,
        )
        tell(progress)

    def note_progress() -> None:
        CopySearch.objects.filter(pk=search.pk).update(seen_at=timezone.now())

    note_rows(client_ids)
    clients = gather_values_and_note_purged(client_ids, sm=secrets_manager(), tell=note_progress)
    done = _Search(make_needles(clients), record_progress)
    with connection.cursor() as cursor:
        places = list_places(cursor)
    CopySearch.objects.filter(pk=search.pk).update(tables=len(places.tables))
    done.search_all(places)
    search.tables = search.tables_done = len(places.tables)
    search.bytes_read = done.bytes_read
    _store_result(search, began, clients, done)
    CopySearch.objects.forget_old()
    return search


def _store_result(
    search: CopySearch, began: datetime, clients: list[ClientValues], done: _Search
) -> None:
    """Store everything at once: a search that is killed before has found out nothing."""
    slugs = {client.client_id: client.slug for client in clients}
    rows_found = Counter[int]()
    for (client_id, _table, _column), rows in done.found.items():
        rows_found[client_id] += rows
    everywhere = len(done.unsearched)
    own = {client.client_id: _list_unknown_values(client) for client in clients}
    found_values = list(_list_found_values(clients, done))
    with transaction.atomic():
        search.finish()
        FoundCopy.objects.bulk_create(
            FoundCopy(
                search=search,
                client_id=client_id,
                slug=slugs[client_id],
                table=table,
                column=column,
                rows=rows,
            )
            for (client_id, table, column), rows in done.found.items()
        )
        places = [*done.unsearched, *(place for of_client in own.values() for place in of_client)]
        for place in places:
            place.search = search
        UnsearchedPlace.objects.bulk_create(places)
        SearchedClient.objects.bulk_create(
            SearchedClient(
                search=search,
                client_id=client.client_id,
                slug=client.slug,
                searched_at=began,
                rows_found=rows_found[client.client_id],
                not_looked_at=everywhere + len(own[client.client_id]),
            )
            for client in clients
        )
        KnownValue.objects.mark_found_elsewhere(found_values)


def _list_found_values(clients: list[ClientValues], done: _Search) -> Iterator[FoundValue]:
    """Yield the values that were found elsewhere, of each client that has them."""
    in_all_rows = list_values_in_all_rows()
    for client in clients:
        # What its own rows hold is noted of them.
        in_tables = (client.values - client.in_rows) & in_all_rows
        for value in client.values & (done.values_in_copies | done.values_in_legacy) | in_tables:
            yield FoundValue(
                client.client_id,
                make_fingerprint(client.client_id, value),
                in_copy=value in done.values_in_copies,
                in_legacy=value in done.values_in_legacy,
                in_tables=value in in_tables,
            )


def _list_unknown_values(client: ClientValues) -> list[UnsearchedPlace]:
    """List the values of one client that were not looked for."""
    unknown = [(name, UnsearchedReason.SECRET_UNREAD, code) for name, code in client.unread.items()]
    unknown += [(source, UnsearchedReason.SHORT_VALUE, "") for source in sorted(client.short)]
    return [
        UnsearchedPlace(
            client_id=client.client_id,
            slug=client.slug,
            place=place,
            reason=reason,
            detail=detail,
        )
        for place, reason, detail in unknown
    ]
