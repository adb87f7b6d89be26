"""Searches NOVA's database for copies of clients' secret values, and stores where they are.

Values are held in memory alone: none is written, logged or shown. The file goes from a search to the values that it
looks for, the places that it reads, how it reads them, and the forms in which a value may be written.
"""

from __future__ import annotations

import json
import re
import struct
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple
from urllib.parse import quote, quote_plus

from ahocorasick_rs import BytesAhoCorasick
from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import Count, Exists, Min, OuterRef, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from psycopg import sql
from psycopg.errors import LockNotAvailable, UndefinedTable

from credentials.models import (
    CREDENTIAL_MODELS,
    Client,
    ColumnUse,
    Credential,
    list_mapped_secret_columns,
    read_columns_and_mappings,
)
from credentials.pointers import list_all_rows
from credentials.values import POINTER
from migration.core.aws_store import client_secret_names, secrets_manager
from migration.core.clients import VIEW_COPIES, all_clients
from migration.core.keys import make_fingerprint
from migration.core.leases import LeaseKind, hold_until_commit, try_lease
from migration.core.notices import ClientCondition, NoticeEvent
from migration.core.problems import (
    Area,
    Finder,
    Finding,
    Look,
    problem,
    read_briefly,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.core.secrets import Secret
from migration.pushes.known_values import note_purged_clients, note_rows
from migration.pushes.models import FoundValue, KnownValue
from migration.pushes.secret_writer import REPLACED_STAGE
from migration.secrets.models import (
    CopySearch,
    FoundCopy,
    SearchedClient,
    UnsearchedPlace,
    UnsearchedReason,
)
from nova_credentials import document as documents
from nova_credentials.aws.answers import Answers
from nova_credentials.aws.context_threads import ContextThreads
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError, SecretValue
from nova_credentials.credential_types import CredentialType, get_secret_value_key
from nova_credentials.document import EXTRA_KEY, Layout
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase
from nova_credentials.tables import CREDENTIALS, LEGACY_CREDENTIALS

TELL_SECONDS = 1.0
NO_SEARCH = 0  # the lease of storing one; no search has this id


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
        clients = all_clients()
        if search.chosen is not None:
            clients = clients.with_ids(search.chosen)
        _do_search(search, list(clients.values_list("pk", flat=True)), lambda _progress: None)


def request_background_search(
    by: User, client_ids: Collection[int] | None = None
) -> CopySearch | None:
    """Store a search for a worker, for these clients or all; None where another one is under way.

    Also where two people ask at once.

    One whose process is gone is not begun again: this one takes its place. So does it of one that shows no progress
    though its lease is held: PostgreSQL learns late of a host that has lost its power.
    """
    settle_dead_searches(begin_again=False)
    with transaction.atomic():
        alone = hold_until_commit(LeaseKind.SEARCH, NO_SEARCH)
        if not alone or not all(search.is_silent for search in CopySearch.objects.open()):
            return None
        chosen = None if client_ids is None else sorted(set(client_ids))
        return CopySearch.objects.create(by=by, in_background=True, chosen=chosen)


class DeadSearches(NamedTuple):
    """The searches that were found without a process."""

    interrupted: list[CopySearch]  # marked now
    to_begin_again: list[CopySearch]  # or to queue once more, as their place in the queue was lost


def settle_dead_searches(*, begin_again: bool = True) -> DeadSearches:
    """Mark the searches whose process is gone as interrupted, but for those that a worker may begin again.

    Such a search has found out nothing. One that may begin again waits once more, and is returned for the queue;
    without `begin_again` all are marked.
    """
    found = DeadSearches([], [])
    for seen in CopySearch.objects.open().order_by("pk"):
        if seen.is_presumably_queued:
            continue  # not even its lease is tried: the worker that takes it now would leave it alone
        with hold_search(seen.pk) as held:
            # Read under the lease: it may have finished meanwhile.
            search = CopySearch.objects.open().filter(pk=seen.pk).first() if held else None
            if search is None or search.is_presumably_queued:
                continue
            if begin_again and search.may_begin_again:
                search.started_at, search.seen_at = None, timezone.now()
                search.save(update_fields=["started_at", "seen_at"])
                found.to_begin_again.append(search)
            elif CopySearch.objects.mark_interrupted(search):
                found.interrupted.append(search)
    return found


@contextmanager
def hold_search(search_id: int) -> Iterator[bool]:
    """Hold the lease of a search until the block ends; gives False where another process holds it.

    The session holds it, so that it ends with the process, however that ends.
    """
    with try_lease(LeaseKind.SEARCH, search_id, delete_row=True) as held:
        yield held


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
        tables, done.unsearched = list_places(cursor)
    CopySearch.objects.filter(pk=search.pk).update(tables=len(tables))
    for number, table in enumerate(tables):
        done.search_table(table, number, len(tables))
    search.tables = search.tables_done = len(tables)
    search.bytes_read = done.bytes_read
    _store_result(search, began, clients, done)
    CopySearch.objects.forget_old()
    return search


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

    def search_table(self, table: Table, number: int, tables: int) -> None:
        scanner = CopiedRowsScanner(self.needles, table.columns)
        now = SearchProgress(table.full_name, number, tables, 0.0, 0, 0.0)

        def tell(part: float) -> None:
            if time.monotonic() - self.told >= TELL_SECONDS:
                self.told = time.monotonic()
                read, took = self.bytes_read + scanner.bytes_read, self.told - self.began
                self.tell(replace(now, part_of_table=part, bytes_read=read, seconds=took))

        tell(0.0)
        try:
            TableReader(table, scanner, tell).read_table()
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
    in_all_rows = {value for client in _read_all_rows() for value in client.in_rows}
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


# The values: of the rows and of AWS, present and former.

# The keys of a document under which secret values stand, at any depth.
SECRET_KEYS = {get_secret_value_key(credential_type) for credential_type in CredentialType}
# Versions with other stages, or with none, are not asked for.
FORMER_STAGES = ("AWSPREVIOUS", REPLACED_STAGE, "AWSPENDING")
# A shorter value would be found in texts that have nothing to do with it.
SHORTEST_VALUE = 6
CLIENTS_AT_ONCE = 200
CALLS_AT_ONCE = 10
# Our own code for a secret whose text is not a document.
NO_DOCUMENT = "NoDocument"


@dataclass
class ClientValues:
    """The secret values of one client, and what could not be read of them."""

    client_id: int
    slug: str
    phase: Phase
    # At least SHORTEST_VALUE characters long.
    values: set[str] = field(default_factory=set, repr=False)
    in_rows: set[str] = field(default_factory=set, repr=False)  # those of them that its rows hold
    # Value -> name of the secret whose current version holds it: of those that NOVA's reader reads.
    in_aws: dict[str, str] = field(default_factory=dict, repr=False)
    # Name of a secret -> why its values are not known.
    unread: dict[str, str] = field(default_factory=dict)
    # The secrets and tables that hold a value that is too short.
    short: set[str] = field(default_factory=set)
    layout: str | None = None  # as it is stored
    secret_slug: str = ""

    def add_values(self, found: Collection[str], source: str) -> None:
        """Add these values; in place of one that is too short keep `source`, the name of its secret or table."""
        for value in found:
            if len(value) >= SHORTEST_VALUE:
                self.values.add(value)
            elif value:
                self.short.add(source)


def gather_values_and_note_purged(
    client_ids: Collection[int], *, sm: SecretsManager, tell: Callable[[], object] = lambda: None
) -> list[ClientValues]:
    """Read clients' values in rows and AWS, by slug; note fingerprints of the purged ones' as known.

    `tell` is called every CLIENTS_AT_ONCE clients.
    """
    gathered: list[ClientValues] = []
    wanted = sorted(client_ids)
    for start in range(0, len(wanted), CLIENTS_AT_ONCE):
        batch = wanted[start : start + CLIENTS_AT_ONCE]
        read_at, rows = timezone.now(), list(_read_rows(batch))
        of_batch = {values.client_id: values for _client, values in rows}
        answers = _add_values_of_aws(of_batch, sm)
        note_purged_clients([client for client, _values in rows], answers, read_at=read_at)
        gathered += of_batch.values()
        tell()
    return sorted(gathered, key=lambda row: row.slug)


def find_slugs_by_postgres_value() -> dict[str, str]:
    """Return value -> slug of a client that is read from PostgreSQL and has it in its rows."""
    found: dict[str, str] = {}
    for client in _read_all_rows():
        if not client.phase.aws_is_authority:
            found |= dict.fromkeys(client.values, client.slug)
    return found


def list_searchable_values(client_id: int) -> set[str]:
    """Return the secret values of at least SHORTEST_VALUE characters in the client's rows."""
    return {value for _client, client in _read_rows([client_id]) for value in client.values}


def _read_all_rows() -> Iterator[ClientValues]:
    """Yield the values in the rows of each client."""
    wanted = list(all_clients().values_list("pk", flat=True))
    for start in range(0, len(wanted), CLIENTS_AT_ONCE):
        for _client, values in _read_rows(wanted[start : start + CLIENTS_AT_ONCE]):
            yield values


def _read_rows(client_ids: list[int]) -> Iterator[tuple[Client, ClientValues]]:
    """Yield each client with its rows, and the values in them."""
    clients = all_clients().filter(pk__in=client_ids).with_phase().with_layout()
    columns = clients.read_rows_and_columns()
    for client in clients:
        phase, layout = Phase(client.phase), client.layout  # type: ignore[attr-defined]  # annotated
        secret_slug: str = client.secret_slug  # type: ignore[attr-defined]  # annotated
        values = ClientValues(client.pk, client.slug, phase, layout=layout, secret_slug=secret_slug)
        for row in list_all_rows(client):
            found = [
                row.extra.get(column.name) for column in list_mapped_secret_columns(row, columns)
            ]
            table = row.NOVA_TABLE
            if isinstance(row, Credential):
                found += [getattr(row, name) for name in row.SECRET_FIELDS]
                table = CREDENTIALS[row.TYPE]
            kept = [value for value in found if value and not value.startswith(POINTER)]
            values.add_values(kept, table)
        values.in_rows |= values.values
        yield client, values


def _add_values_of_aws(clients: dict[int, ClientValues], sm: SecretsManager) -> Answers:
    """Add what AWS holds: the versions under FORMER_STAGES, and each secret's current version, which it returns."""
    owners, known = _list_secret_names(clients)
    mapped = {
        column.name for column in read_columns_and_mappings() if column.use == ColumnUse.SECRET
    }
    answers = sm.detect_deletions(sm.batch_get(owners), lacking=known)
    there = [name for name, answer in answers.items() if isinstance(answer, SecretValue)]
    for name, answer in answers.items():
        owner = clients[owners[name]]
        own = client_secret_names(owner).values()
        if isinstance(answer, SecretValue):
            found = _add_values_of_secret(owner, answer, mapped)
            if name in own:
                owner.in_aws |= dict.fromkeys(found, name)
        elif answer.scheduled_for_deletion and name not in own:
            continue  # a change of layout or of its slug left it; until then it held what the client's own secrets held
        elif not answer.not_found and answer.code != "InvalidName":
            owner.unread[name] = answer.code
    for name, former in _read_former_versions(there, sm):
        owner = clients[owners[name]]
        if isinstance(former, SecretsManagerError):
            owner.unread[name] = former.code
        else:
            _add_values_of_secret(owner, former, mapped)
    return answers


def _list_secret_names(
    clients: dict[int, ClientValues],
) -> tuple[dict[str, int], set[str]]:
    """Return secret name -> client id for the names of both layouts, and the names that a push has used."""
    owners: dict[str, int] = {}
    for client in clients.values():
        for layout in Layout:
            names = documents.secret_names(
                client.secret_slug, prefix=settings.NOVA_SECRET_PREFIX, layout=layout
            )
            owners |= dict.fromkeys(names.values(), client.client_id)
    pushed = Secret.objects.filter(client_id__in=clients)
    known = dict(pushed.values_list("name", "client_id"))
    return owners | known, set(known)


def _read_former_versions(
    names: list[str], sm: SecretsManager
) -> Iterator[tuple[str, SecretValue | SecretsManagerError]]:
    """Yield name and version, or error, for each stage of these secrets that AWS has or refuses to give."""

    def read_stage(asked: tuple[str, str]) -> SecretValue | SecretsManagerError | None:
        try:
            return sm.get_stage(*asked)
        except SecretsManagerError as error:
            return error

    asked = [(name, stage) for name in names for stage in FORMER_STAGES]
    with ContextThreads(CALLS_AT_ONCE) as threads:
        for (name, _stage), found in zip(asked, threads.map(read_stage, asked), strict=True):
            if found is not None:
                yield name, found


def _add_values_of_secret(
    owner: ClientValues, secret: SecretValue, mapped: Collection[str]
) -> list[str]:
    """Add the values that the secret's text holds, and return them."""
    try:
        document = json.loads(secret.text or "")
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        owner.unread[secret.name] = NO_DOCUMENT
        return []
    found = list(_walk_secret_values(document, mapped))
    owner.add_values(found, secret.name)
    return [value for value in found if len(value) >= SHORTEST_VALUE]


def _walk_secret_values(node: object, mapped: Collection[str]) -> Iterator[str]:
    """Yield the texts under SECRET_KEYS at any depth, and those of columns mapped as secret; a pointer is none."""
    if isinstance(node, dict):
        extra = node.get(EXTRA_KEY)
        if isinstance(extra, dict):
            yield from _pick_texts(extra, mapped)
        yield from _pick_texts(node, SECRET_KEYS)
        for value in node.values():
            yield from _walk_secret_values(value, mapped)
    elif isinstance(node, list):
        for value in node:
            yield from _walk_secret_values(value, mapped)


def _pick_texts(entry: Mapping[str, object], keys: Collection[str]) -> Iterator[str]:
    for key in keys:
        value = entry.get(key)
        if isinstance(value, str) and not value.startswith(POINTER):
            yield value


# The places: tables and columns of NOVA's database that can hold a value. Reads catalogues only.

OWN_SCHEMAS = ("nova_admin",)
MOST_DETAIL = 200
# A value of a login is at home in these columns, by table and column, and no copy there.
CREDENTIAL_COLUMNS = {
    (model.NOVA_TABLE, field.column)
    for model in CREDENTIAL_MODELS.values()
    for field in model._meta.concrete_fields
}
# The columns of stored tables, and of what stands like one in the catalogue, outside PostgreSQL's own schemas and the
# site's. A virtual column stores nothing, and reading it would run its owner's expression.
COLUMNS = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text,
    pg_is_other_temp_schema(n.oid), row_security_active(c.oid),
    a.attname::text, a.atttypid::bigint, format_type(a.atttypid, NULL),
    has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'f', 'm') AND a.attgenerated <> 'v'
    AND n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_toast'
    AND n.nspname <> ALL(%(own)s)
    AND n.oid <> pg_my_temp_schema()
ORDER BY n.nspname, c.relname, a.attnum
"""
# A type of PostgreSQL's own functions sends its text as it is, in its binary form too.
TYPES = """
SELECT t.oid::bigint, t.typname::text, t.typnamespace = 'pg_catalog'::regnamespace, t.typtype::text,
    t.typcategory::text, t.typbasetype::bigint, t.typelem::bigint,
    t.typsend::oid IN ('pg_catalog.textsend'::regproc::oid, 'pg_catalog.varcharsend'::regproc::oid,
        'pg_catalog.bpcharsend'::regproc::oid, 'pg_catalog.json_send'::regproc::oid,
        'pg_catalog.jsonb_send'::regproc::oid, 'pg_catalog.namesend'::regproc::oid),
    t.typsend::oid = 'pg_catalog.array_send'::regproc::oid
FROM pg_type t
"""
LARGE_OBJECTS = "SELECT EXISTS (SELECT FROM pg_largeobject_metadata)"
# Booleans, times, geometry, addresses, numbers, ranges and spans of time; and some by name.
HARMLESS_CATEGORIES = "BDGINRT"
HARMLESS_NAMES = {
    *("uuid", "char", "xid", "xid8", "cid", "tid", "pg_lsn", "pg_snapshot", "txid_snapshot"),
    *("oidvector", "int2vector"),
}


class Searchability(StrEnum):
    """Whether a column of a type can hold a secret value."""

    SEARCHED = "searched"
    HARMLESS = "harmless"
    UNSEARCHED = "unsearched"


class Table(NamedTuple):
    """One table and its columns that are searched."""

    oid: int
    schema: str
    name: str
    columns: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """Return the name with its schema."""
        return f"{self.schema}.{self.name}"


class Places(NamedTuple):
    """The tables to search, and the places that can't be."""

    tables: list[Table]
    unsearched: list[UnsearchedPlace]


class _Type(NamedTuple):
    name: str
    is_own: bool  # PostgreSQL's
    kind: str
    category: str
    base: int
    element: int
    sends_text: bool
    is_array: bool


class _Column(NamedTuple):
    table_oid: int
    schema: str
    table: str
    kind: str
    is_other_session: bool
    has_row_security: bool
    name: str
    type_oid: int
    type_name: str
    may_read: bool

    @property
    def place(self) -> str:
        return f"{self.schema}.{self.table}.{self.name}"


def list_places(cursor: CursorWrapper) -> Places:
    """List the tables to search, and what can't be searched though it can hold a secret value."""
    cursor.execute(TYPES)
    types = {row[0]: _Type(*row[1:]) for row in cursor.fetchall()}
    # NOVA adds columns to these tables too. The values of one that is mapped as secret belong there.
    mapped = {(c.table, c.name) for c in read_columns_and_mappings() if c.use == ColumnUse.SECRET}
    owned = CREDENTIAL_COLUMNS | mapped
    cursor.execute(COLUMNS, {"own": [*OWN_SCHEMAS]})
    by_table: dict[int, list[_Column]] = {}
    for row in cursor.fetchall():
        column = _Column(*row)
        if (f"{column.schema}.{column.table}", column.name) not in owned:
            by_table.setdefault(column.table_oid, []).append(column)
    tables: list[Table] = []
    unsearched: list[UnsearchedPlace] = []
    for columns in by_table.values():
        contents = {column: _judge_type(column.type_oid, types) for column in columns}
        unsearched += _list_unsearched(contents)
        if _find_reason_of_table(columns[0]):
            continue
        searched = [c for c, content in contents.items() if content == Searchability.SEARCHED]
        if names := tuple(column.name for column in searched if column.may_read):
            tables.append(Table(columns[0].table_oid, columns[0].schema, columns[0].table, names))
    cursor.execute(LARGE_OBJECTS)
    if cursor.fetchone()[0]:
        unsearched.append(_make_place("pg_catalog.pg_largeobject", UnsearchedReason.LARGE_OBJECTS))
    return Places(tables, unsearched)


def _find_reason_of_table(column: _Column) -> UnsearchedReason | None:
    """Say why the whole table of the column is not searched; None where it is."""
    if column.is_other_session:
        return UnsearchedReason.OTHER_SESSION
    if column.kind == "f":
        return UnsearchedReason.FOREIGN_TABLE
    if column.kind == "m":
        return UnsearchedReason.MATERIALIZED_VIEW
    return UnsearchedReason.ROW_SECURITY if column.has_row_security else None


def _list_unsearched(contents: dict[_Column, Searchability]) -> Iterator[UnsearchedPlace]:
    at_risk = [column for column, content in contents.items() if content != Searchability.HARMLESS]
    if at_risk and (reason := _find_reason_of_table(at_risk[0])):
        yield _make_place(f"{at_risk[0].schema}.{at_risk[0].table}", reason)
        return
    for column in at_risk:
        if not column.may_read:
            yield _make_place(column.place, UnsearchedReason.NO_RIGHT)
        elif contents[column] == Searchability.UNSEARCHED:
            yield _make_place(column.place, UnsearchedReason.TYPE, column.type_name)


def _make_place(place: str, reason: UnsearchedReason, detail: str = "") -> UnsearchedPlace:
    # The name of a type of NOVA's can be longer, quoted and with its schema.
    return UnsearchedPlace(place=place, reason=reason, detail=detail[:MOST_DETAIL])


def _judge_type(oid: int, types: dict[int, _Type]) -> Searchability:
    """Judge a type by what it is made of: a domain by its base, an array by its element."""
    found = types.get(oid)
    if found is None:
        return Searchability.UNSEARCHED
    if found.kind == "d":
        return _judge_type(found.base, types)
    if found.is_array:
        return _judge_type(found.element, types)
    if found.sends_text:
        return Searchability.SEARCHED
    own_harmless = found.is_own and (
        found.category in HARMLESS_CATEGORIES or found.name in HARMLESS_NAMES
    )
    return Searchability.HARMLESS if own_harmless or found.kind == "e" else Searchability.UNSEARCHED


# The scanner: looks for many values at once in the rows that COPY sends in its binary form. Knows no database.

BLOCK_BYTES = 256 * 1024
# The binary form of COPY begins with a signature, flags and the length of an extension, and ends with this row.
SIGNATURE = b"PGCOPY\n\xff\r\n\0"
HEADER_BYTES = len(SIGNATURE) + 8
LAST_ROW = b"\xff\xff"
# A longer form is found by its beginning and then compared: the machine takes minutes to build for a form that repeats
# itself over 64 kB.
BEGINNING_BYTES = 128


@dataclass(frozen=True)
class EscapedForm:
    """A value as it may be written, the clients that have it, and the values that are written so."""

    text: bytes = field(repr=False)
    owners: frozenset[int]
    values: frozenset[str] = field(repr=False)


@dataclass(frozen=True)
class Needles:
    """The values of all clients in all their forms, as one machine that finds any of them."""

    machine: BytesAhoCorasick | None = field(repr=False)
    # By the machine's number: the forms that begin so.
    forms: list[list[EscapedForm]] = field(repr=False)

    def find_forms(self, block: bytes) -> Iterator[tuple[EscapedForm, int]]:
        """Yield each form that is found, and its position; a form at the edge of two pieces twice."""
        if self.machine is None:
            return
        # In pieces, as each match takes memory: one row of blanks can have as many as it has bytes.
        for start in range(0, len(block), BLOCK_BYTES):
            piece = block[start : start + BLOCK_BYTES + BEGINNING_BYTES]
            for number, found, _end in self.machine.find_matches_as_indexes(
                piece, overlapping=True
            ):
                for form in self.forms[number]:
                    if block.startswith(form.text, start + found):
                        yield form, start + found


def make_needles(clients: Iterable[ClientValues]) -> Needles:
    """Build the machine; a value that several clients have counts for each of them."""
    owners: dict[str, set[int]] = {}
    for client in clients:
        for value in client.values:
            owners.setdefault(value, set()).add(client.client_id)
    return make_value_needles(owners)


def make_value_needles(owners: Mapping[str, Iterable[int]]) -> Needles:
    """Build the machine from value -> ids of the clients that have it."""
    of_forms: dict[bytes, set[str]] = {}
    for value in owners:
        for text in list_escaped_forms(value):
            of_forms.setdefault(text, set()).add(value)
    by_beginning: dict[bytes, list[EscapedForm]] = {}
    for text, values in of_forms.items():
        ids = frozenset(pk for value in values for pk in owners[value])
        form = EscapedForm(text, ids, frozenset(values))
        by_beginning.setdefault(text[:BEGINNING_BYTES], []).append(form)
    return Needles(
        machine=BytesAhoCorasick(by_beginning) if by_beginning else None,
        forms=list(by_beginning.values()),
    )


class CopiedRowsScanner:
    """Collects the rows of one table in blocks and counts, by client and column, the rows that hold a value.

    Memory holds one block, or one row if that is larger.
    """

    def __init__(self, needles: Needles, columns: tuple[str, ...]) -> None:
        self.rows_found: Counter[tuple[int, str]] = Counter()
        self.values_found: set[str] = set()
        self.bytes_read = 0
        self._needles, self._columns = needles, columns
        self._block = bytearray()
        self._starts: list[int] = []

    def add_message(self, message: bytes | memoryview) -> None:
        """Take a message of COPY: a row, the header before the first. Search the rows once they fill a block."""
        row = memoryview(message)
        self.bytes_read += len(row)
        if row[: len(SIGNATURE)] == SIGNATURE:
            row = row[HEADER_BYTES:]
        if not row or row == LAST_ROW:
            return
        self._starts.append(len(self._block))
        self._block += row
        if len(self._block) >= BLOCK_BYTES:
            self.search_collected_rows()

    def search_collected_rows(self) -> None:
        """Search the rows collected so far; to be called after the last one too."""
        hits: set[tuple[int, int, int]] = set()
        fields: dict[int, list[int]] = {}
        for form, position in self._needles.find_forms(bytes(self._block)):
            row = bisect_right(self._starts, position) - 1
            if row not in fields:
                fields[row] = self._list_field_starts(self._starts[row])
            column = bisect_right(fields[row], position) - 1
            hits.update((client, row, column) for client in form.owners)
            self.values_found |= form.values
        self.rows_found.update((client, self._columns[column]) for client, _row, column in hits)
        self._block.clear()
        self._starts.clear()

    def _list_field_starts(self, position: int) -> list[int]:
        """Return where the text of each column begins: after the number of columns, each has its length before it."""
        starts = []
        position += 2
        for _column in self._columns:
            (length,) = struct.unpack_from(">i", self._block, position)
            position += 4
            starts.append(position)
            position += max(length, 0)
        return starts


# The reader: copies the rows of a table to a scanner. Writes nothing.

FIRST_PIECE_PAGES, MOST_PAGES = 64, 1 << 16
# The size of a piece is doubled or halved to stay between these.
SHORT_SECONDS, LONG_SECONDS = 0.25, 1.0
LOCK_TRIES, LOCK_TIMEOUT, STATEMENT_TIMEOUT = 5, "1s", "15min"
# All is asked of PostgreSQL's caches, not of the snapshot, and so shows what another session has just committed.
IDENTITY = """
SELECT to_regclass(%(name)s)::bigint = %(oid)s, pg_relation_filenode(%(oid)s::oid)::bigint,
    pg_relation_size(%(oid)s::oid) / current_setting('block_size')::bigint
"""
PIECE = """
COPY (SELECT {columns} FROM ONLY {table} WHERE ctid >= {first}::pg_catalog.tid AND ctid < {end}::pg_catalog.tid)
TO STDOUT (FORMAT binary)
"""


class UnsearchedError(Exception):
    """The table could not be read to its end."""

    def __init__(self, reason: UnsearchedReason, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass
class TableReader:
    """Reads one table from one snapshot for one scanner, in pieces that hold no lock for long.

    A piece locks the table against being rebuilt or replaced, makes sure that it still is the table that was listed,
    and lets it go again: a statement of NOVA's that alters the table waits for one piece only. Nobody's code runs: a
    view in place of the table would be noticed.
    """

    table: Table
    scanner: CopiedRowsScanner
    tell: Callable[[float], None]  # how much of the table was read, up to 1

    def read_table(self) -> None:
        """Read the whole table; raises `UnsearchedError` where that failed."""
        failed: UnsearchedError | None = None
        # A snapshot is kept open while the progress is stored, and a broken connection fails one table only.
        with closing(connection.copy()) as own, own.cursor() as cursor:
            try:
                cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
                self._read_pieces(cursor)
                self.scanner.search_collected_rows()
            except DatabaseError as error:
                failed = UnsearchedError(
                    UnsearchedReason.READ_FAILED, getattr(error.__cause__, "sqlstate", None) or ""
                )
            finally:
                if own.connection and not own.connection.closed:
                    cursor.execute("ROLLBACK")
        if failed:  # raised out here: no error of the database stays in the chain
            raise failed

    def _read_pieces(self, cursor: CursorWrapper) -> None:
        first, end, size = 0, 0, FIRST_PIECE_PAGES
        # The first statement after the first lock takes the snapshot: whatever rebuilds the table later is noticed.
        filenode: int | None = None
        pages = 1
        while first < pages:
            began = time.monotonic()
            cursor.execute("SAVEPOINT piece")
            self._lock_table(cursor)
            found, size_now = self._identify_table(cursor)
            if filenode is None:
                filenode, pages = found, size_now
            if found != filenode:
                raise UnsearchedError(UnsearchedReason.CHANGED)
            end = min(first + size, pages)
            self._copy_piece(cursor, first, end)
            # The lock goes with the savepoint.
            cursor.execute("ROLLBACK TO SAVEPOINT piece; RELEASE SAVEPOINT piece")
            took, first = time.monotonic() - began, end
            if took < SHORT_SECONDS:
                size = min(size * 2, MOST_PAGES)
            elif took > LONG_SECONDS:
                size = max(size // 2, 1)
            self.tell(first / max(pages, 1))

    def _lock_table(self, cursor: CursorWrapper) -> None:
        """Lock the table until the savepoint is rolled back; raises `UnsearchedError` if it is gone or stays locked."""
        lock = sql.SQL("LOCK TABLE ONLY {} IN ACCESS SHARE MODE").format(self._name)
        for _try in range(LOCK_TRIES):
            try:
                cursor.execute(lock)
            except DatabaseError as error:
                if isinstance(error.__cause__, UndefinedTable):
                    break
                if not isinstance(error.__cause__, LockNotAvailable):
                    raise
            else:
                return
            cursor.execute("ROLLBACK TO SAVEPOINT piece")
        else:
            raise UnsearchedError(UnsearchedReason.BUSY)
        raise UnsearchedError(UnsearchedReason.CHANGED)

    def _identify_table(self, cursor: CursorWrapper) -> tuple[int, int]:
        """Return the number of the table's file, and its size in pages; raises `UnsearchedError` for another table."""
        name = self._name.as_string(None)
        cursor.execute(IDENTITY, {"name": name, "oid": self.table.oid})
        is_same, filenode, pages = cursor.fetchone()
        if not is_same or filenode is None:
            raise UnsearchedError(UnsearchedReason.CHANGED)
        return filenode, pages

    def _copy_piece(self, cursor: CursorWrapper, first: int, end: int) -> None:
        piece = sql.SQL(PIECE).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, self.table.columns)),
            table=self._name,
            first=sql.Literal(f"({first},0)"),
            end=sql.Literal(f"({end},0)"),
        )
        with cursor.db.wrap_database_errors, cursor.cursor.copy(piece) as copy:
            for message in copy:
                self.scanner.add_message(message)

    @property
    def _name(self) -> sql.Identifier:
        return sql.Identifier(self.table.schema, self.table.name)


# The forms in which other programs write a text into JSON, addresses and code. Pure: knows no database.

# Go and Django's `json_script` write these as \u003c and the like, whatever the encoding; Flask also the apostrophe.
_HTML = (r"[<>&]", r"[<>&']")
_HEXADECIMAL = re.compile(r"\\u[0-9a-f]{4}")
_PERCENT = re.compile(r"%[0-9A-F]{2}")


def list_escaped_forms(value: str) -> set[bytes]:
    """Return the value in UTF-8 as it is, and as JSON, addresses, Python's `repr` and JSON in JSON hold it."""
    plain = {value, *_list_code_forms(value), *_list_address_forms(value)}
    in_json = {form for text in plain for form in _list_json_forms(text)}
    twice = {
        _encode_json(_encode_json(value, inner), outer)
        for inner in (False, True)
        for outer in (False, True)
    }
    return {form for text in plain | in_json | twice if (form := _encode(text))}


def _list_json_forms(text: str) -> set[str]:
    """Return every form of the text inside a JSON string: as PostgreSQL, Python, PHP and Go escape it."""
    ascii_only = _encode_json(text, True)
    forms = {
        _encode_json(text, False),
        ascii_only,
        _HEXADECIMAL.sub(lambda found: r"\u" + found[0][2:].upper(), ascii_only),
    }
    for pattern in _HTML:
        forms |= {re.sub(pattern, lambda found: f"\\u{ord(found[0]):04x}", form) for form in forms}
    return forms | {form.replace("/", r"\/") for form in forms}


def _list_code_forms(value: str) -> set[str]:
    """Return the value as Python writes it between quotes of either kind."""
    shown = repr(value)[1:-1]
    return {shown, shown.replace(r"\'", "'"), re.sub(r"(?<!\\)'", r"\\'", shown)}


def _list_address_forms(value: str) -> set[str]:
    """Return the value as it stands in an address such as postgresql://user:password@host."""
    as_sent = {
        quote(value, safe="", errors="surrogatepass"),
        quote(value, errors="surrogatepass"),
        quote_plus(value, errors="surrogatepass"),
    }
    return as_sent | {_PERCENT.sub(lambda found: found[0].lower(), form) for form in as_sent}


def _encode_json(text: str, ascii_only: bool) -> str:
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1]


def _encode(text: str) -> bytes:
    """Return the text in UTF-8, empty where UTF-8 can't hold it: PostgreSQL could not hold it either."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""


# The problem: what the newest search of each client found

SEARCH_ALL = "python manage.py find_copies --all"
COPIES_NOT_LOOKED_FOR = Sentence(
    "copies_not_looked_for",
    "Not searched yet.",
)
LOOK_FOR_COPIES = Sentence(
    "look_for_copies",
    "Search for them on the page Copies, or run: python manage.py find_copies --all.",
)
COPIES_WERE_FOUND = Sentence(
    "copies_were_found",
    "Secret values of %(n)s clients stand elsewhere in the database too (searched %(ago)s ago or later).",
    one="Secret values of %(n)s client stand elsewhere in the database too (searched %(ago)s ago).",
)
LIST_THE_COPIES = Sentence(
    "list_the_copies",
    "The page Copies lists table, column and rows, never a value. A purge leaves them there. On the command line:",
)
COPIES_SOUGHT_IN_PART = Sentence(
    "copies_sought_in_part",
    "For %(n)s clients the database was not searched whole.",
    one="For %(n)s client the database was not searched whole.",
)
GRANT_AND_SEARCH_AGAIN = Sentence(
    "grant_and_search_again",
    "This site's role may not read some tables. Run as their owner or a superuser, then search again:",
)
SEE_WHAT_WAS_LEFT = Sentence(
    "see_what_was_left",
    "The page Copies says what was left out and why. After that was put right, search again:",
)
NO_COPIES = Sentence(
    "no_copies",
    "No copies of the secret values of %(n)s clients were found (searched %(ago)s ago or later).",
    one="No copies of the secret values of %(n)s client were found (searched %(ago)s ago).",
)


SEARCH_FOUND_COPIES = Sentence(
    "search_found_copies",
    "A search found secret values in %(n)s more places. Clients: %(names)s",
    glue=", ",
    one="A search found secret values in one more place. Client: %(names)s",
)


def _list_places_of_copies() -> Iterable[str]:
    """Return the columns in which the newest search of a client found copies of its secret values."""
    newest = SearchedClient.objects.newest_of_each_client().values("pk")
    with_copies = SearchedClient.objects.filter(pk__in=newest, rows_found__gt=0)
    of_newest = Exists(
        with_copies.filter(search=OuterRef("search"), client_id=OuterRef("client_id"))
    )
    rows = FoundCopy.objects.filter(of_newest).order_by()
    places = rows.values_list("client_id", "table", "column")
    return (f"{client_id}:{table}.{column}"[:100] for client_id, table, column in places)


COPIES_FOUND = ClientCondition(
    "copies_found", NoticeEvent.COPIES_FOUND, _list_places_of_copies, SEARCH_FOUND_COPIES
)


# What a statement may name without quotes.
PLAIN_TABLE = re.compile(r"[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*")


def write_grants(unread: Iterable[UnsearchedPlace]) -> list[str]:
    """Return the statements that let this site's role read what it may not, of plain names, in one query."""
    tables = sorted({".".join(each.place.split(".")[:2]) for each in unread if each.is_forbidden})
    plain = [each for each in tables if PLAIN_TABLE.fullmatch(each)]
    if not plain:
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_user)")
        (role,) = cursor.fetchone()
    return [f"GRANT SELECT ON {table} TO {role};" for table in plain]


@problem(
    "copies_found",
    _("Copies of secret values"),
    Area.SECRETS,
    # It reads every search of every client: seconds, where these are many.
    found_by=Finder.DOCTOR,
    every=timedelta(minutes=10),
    told_by_client=(COPIES_FOUND,),
    page="copysearch_report",
    button=_("See the copies"),
    page_permission=VIEW_COPIES,
)
def find_copies(_look: Look) -> Iterator[Finding]:
    """Report the newest search of each client: copies that were found, and what was left unlooked at."""
    newest = SearchedClient.objects.newest_of_each_client().values("pk")
    searched = SearchedClient.objects.filter(pk__in=newest, client__in=Client.objects.all())
    with read_briefly():
        clients = Client.objects.count()
        numbers = searched.aggregate(
            all=Count("pk"),
            with_copies=Count("pk", filter=Q(rows_found__gt=0)),
            in_part=Count("pk", filter=Q(not_looked_at__gt=0)),
            oldest=Min("searched_at"),
        )
    if not numbers["all"]:
        yield report_unlooked(COPIES_NOT_LOOKED_FOR(), LOOK_FOR_COPIES())
        return
    if with_copies := numbers["with_copies"]:
        yield report_failure(
            COPIES_WERE_FOUND(n=with_copies, ago=numbers["oldest"]),
            LIST_THE_COPIES(),
            statements=(SEARCH_ALL,),
            count=with_copies,
        )
    if left := clients - numbers["all"] + numbers["in_part"]:
        message, remedy, statements = COPIES_SOUGHT_IN_PART(n=left), LOOK_FOR_COPIES(), []
        if numbers["in_part"]:
            with read_briefly():
                everywhere = UnsearchedPlace.objects.filter(
                    client=None, search__in=searched.filter(not_looked_at__gt=0).values("search")
                )
                statements = write_grants(everywhere.filter(reason=UnsearchedReason.NO_RIGHT))
            remedy = GRANT_AND_SEARCH_AGAIN() if statements else SEE_WHAT_WAS_LEFT()
            statements.append(SEARCH_ALL)
        yield report_unlooked(message, remedy, statements=tuple(statements), is_harmless=True)
    if not (with_copies or left):
        yield report_ok(NO_COPIES(n=numbers["all"], ago=numbers["oldest"]))
