"""Reads a client from the store of its phase, and caches it for some seconds. Knows neither SQL nor boto3."""

from __future__ import annotations

import logging
import os
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

from nova_credentials.aws.answers import ErrorClass, SecretsManagerError
from nova_credentials.credential_types import ClientCredentials, CredentialType
from nova_credentials.document import Document, DocumentError, Layout, parse_document
from nova_credentials.phases import Phase
from nova_credentials.reader.from_aws import AwsReader, CongestionError
from nova_credentials.reader.from_postgres import (
    CONGESTED,
    STALE,
    ClientInPostgres,
    PostgresReader,
    parse_database_url,
)
from nova_credentials.reader.process_notes import (
    NO_ANSWER,
    ProcessNotes,
    RareWarnings,
    name_failure,
)
from nova_credentials.shown_names import escape_invisible, escape_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nova_credentials.credential_types import CredentialRow, PrimaryDatabaseAndEmail
    from nova_credentials.tables import TableName

logger = logging.getLogger(__name__)


# Without a kill a rotation takes less from the database's new password to the row's.
ROTATION_ENDS_IN_SECONDS = 0.5

_Row = TypeVar("_Row", bound="CredentialRow")


@dataclass(frozen=True)
class _CacheEntry:
    """One client's credentials, and the moment (of the monotonic clock) at which reading them began."""

    client_id: int
    credentials: ClientCredentials = field(repr=False)
    started: float
    # As PostgreSQL had the client when the reading began; None: not to be served once the cache's time is over.
    state: ClientInPostgres | None = None


class _ReadUnderWay(Future[_CacheEntry]):
    """A read of one client, for which other threads may wait."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.thread = time.monotonic(), threading.get_ident()


class Reader:
    """Reads clients' credentials; one is enough for a process, all its threads and its forks."""

    def __init__(
        self,
        database_url: str,
        *,
        region: str = "us-east-1",
        prefix: str = "nova/clients",
        layout: Layout = Layout.CLIENT,
        timeout: float = 2,
        cache_seconds: float = 30,
        stale_seconds: float = 0,
    ) -> None:
        self._conninfo = parse_database_url(database_url)
        self._aws_settings: dict[str, Any] = {"region": region, "prefix": prefix, "layout": layout}
        self._timeout, self._cache_seconds = timeout, cache_seconds
        self._stale_seconds = stale_seconds
        self._kept_from_parents: list[object] = []
        self._reset_state()
        _readers.add(self)

    def _reset_state(self) -> None:
        self._notes = ProcessNotes()
        self._postgres = PostgresReader(self._conninfo, self._notes)
        self._aws = AwsReader(timeout=self._timeout, notes=self._notes, **self._aws_settings)
        self._warnings = RareWarnings(logger)
        self._cached: dict[str, _CacheEntry] = {}
        self._under_way: dict[str, _ReadUnderWay] = {}
        self._last_states: dict[str, ClientInPostgres] = {}

    def reset_after_fork(self) -> None:
        """Begin anew in a forked child, as locks and sockets belong to the parent."""
        # They are never closed here, as that would end the parent's connections.
        self._kept_from_parents += [self._postgres, self._aws]
        self._reset_state()

    def close(self) -> None:
        """Close the connections; the next read opens its own."""
        self._postgres.close_idle_connections()

    def client_id(self, slug: str) -> int:
        """Return the client's id, from the cache or PostgreSQL."""
        if entry := self._fresh_entry(slug):
            return entry.client_id
        return self._look_up(slug, self._postgres.read_client_and_note_process).client_id

    def get_credential(
        self, slug: str, wanted: str, label: str | None = None, *, refresh: bool = False
    ) -> Any:
        """Return the primary row of a CredentialType, or the one of that label; ValueError where there is none."""
        wanted = CredentialType(wanted)
        entry = None if refresh else self._fresh_entry(slug)
        row = _pick_row(entry.credentials.of_type(wanted), label) if entry else None
        if row is None:
            began = time.monotonic()
            entry = self._read_entry(slug, anew=refresh or entry is not None)
            row = _pick_row(entry.credentials.of_type(wanted), label)
            if row is None and entry.started < began:
                # An earlier read without the row is not trusted.
                entry = self._read_entry(slug, anew=True)
                row = _pick_row(entry.credentials.of_type(wanted), label)
        if row is None:
            which = "primary" if label is None else f"label {label!r}"
            raise ValueError(f"Client '{slug}' has no {wanted} credentials ({which})")
        return row

    def list_awspending_credentials(self, slug: str, wanted: CredentialType) -> Sequence[Any]:
        """Return the rows with the secrets that a rotation is about to make current; none where it is over.

        In every phase: a rotation puts it into AWS before the database gets it. Where AWS can't say whether there is
        one, a rotation that is under way is given a moment to end, as the tables hold the new secret then.
        """
        known = self._last_states.get(slug)
        if known is None:
            return ()
        try:
            document = self._read_pending(slug, wanted, known)
            if document is None:
                return ()
            found = parse_document(document, client_id=known.client_id, client_slug=slug)
        except DocumentError:
            return ()
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller gets the error of the login)
            logger.debug("No pending secret was read: %s", type(error).__name__)
            if not known.reads_aws_alone:
                time.sleep(ROTATION_ENDS_IN_SECONDS)
            return ()
        return found.of_type(wanted)

    def _read_pending(
        self, slug: str, wanted: CredentialType, known: ClientInPostgres
    ) -> Document | None:
        """Read the pending document from AWS; with a time limit unless NOVA reads AWS alone."""
        if known.reads_aws_alone:
            return self._aws.read_pending(known.secret_slug, known.layout, wanted)
        asked = self._aws.start_reading_pending(known.secret_slug, known.layout, wanted)
        return self._aws.collect(asked, self._aws.end_of_limit())

    def read_database_schemas(self, slug: str) -> dict[TableName, object]:
        """Return table name -> definition, from PostgreSQL in every phase."""
        schemas = self._postgres.read_database_schemas(slug)
        if schemas is None:
            raise _unknown_client(slug)
        return schemas

    def get_primary_credentials(
        self, slug: str, *, refresh: bool = False
    ) -> PrimaryDatabaseAndEmail:
        """Return the primary `database` and `email`, each None where the client has none."""
        entry = None if refresh else self._fresh_entry(slug)
        credentials = (entry or self._read_entry(slug, anew=refresh)).credentials
        return {
            "database": _pick_row(credentials.databases, None),
            "email": _pick_row(credentials.emails, None),
        }

    def _fresh_entry(self, slug: str) -> _CacheEntry | None:
        entry = self._cached.get(slug)
        is_fresh = entry and time.monotonic() - entry.started < self._cache_seconds
        return entry if is_fresh else None

    def _read_entry(self, slug: str, *, anew: bool) -> _CacheEntry:
        """Read the client, or wait for another thread that does and began as lately as what is cached.

        `anew`: what was read before is in doubt. Neither another thread's read is taken then nor what AWS gave earlier.
        """
        if anew:
            if doubted := self._cached.get(slug):
                self._cached[slug] = replace(doubted, state=None)
            return self._read_stores(slug, time.monotonic(), None)
        own = _ReadUnderWay()
        other = self._under_way.setdefault(slug, own)
        if other is not own and (entry := self._wait_for_other(other, own)):
            return entry
        self._under_way[slug] = own
        try:
            # It may have been read since the caller looked.
            entry = self._fresh_entry(slug) or self._read_stores(
                slug, own.started, self._cached.get(slug)
            )
        except BaseException as error:
            own.set_exception(error)
            raise
        else:
            own.set_result(entry)
        finally:
            if self._under_way.get(slug) is own:
                del self._under_way[slug]
        return entry

    def _wait_for_other(self, other: _ReadUnderWay, own: _ReadUnderWay) -> _CacheEntry | None:
        """Return what another thread reads, or raise the error that it met; None where `own` has to be made."""
        # In one thread a signal's handler, or one of the log, may ask while a read is under way.
        if own.started - other.started >= self._cache_seconds or other.thread == own.thread:
            return None
        error = other.exception()
        if isinstance(error, (SecretsManagerError, *NO_ANSWER)):
            raise error
        return None if error else other.result()

    def _read_stores(self, slug: str, started: float, last: _CacheEntry | None) -> _CacheEntry:
        """Read the client from the stores of its phase. `last` may be returned where AWS is unavailable."""
        known, asked = self._last_states.get(slug), None
        if known and known.phase == Phase.DUAL_READ:
            asked = self._aws.start_reading(known.secret_slug, known.layout)
        found = self._look_up(slug)
        if known and not known.has_same_secrets_as(found):
            asked = None
        credentials = self._credentials_in_phase(slug, found, asked, last=last)
        if last and credentials is last.credentials:
            return last
        state = replace(found, credentials=None)
        entry = _CacheEntry(found.client_id, credentials, started, state)
        newest = self._cached.get(slug)
        if newest is None or newest.started <= started:  # a slow read may end after a later one
            self._cached[slug] = entry
        return entry

    def _look_up(
        self, slug: str, read: Callable[[str], ClientInPostgres | None] | None = None
    ) -> ClientInPostgres:
        """Read the client's state from PostgreSQL; raises ValueError where it is unknown or inactive.

        Where PostgreSQL does not answer, a client of which AWS alone is read keeps its last known state.
        """
        try:
            found = (read or self._postgres.read_client)(slug)
        except NO_ANSWER as error:
            known = self._last_states.get(slug)
            if known is None or not known.reads_aws_alone:
                raise
            text = "PostgreSQL gives no answer (%s); %s is read from AWS"
            self._warnings.warn("postgres", text, _describe_error(error), escape_name(slug))
            return replace(known, remembered=True)
        if found is None:
            self._cached.pop(slug, None)
            self._last_states.pop(slug, None)
            raise _unknown_client(slug)
        self._last_states[slug] = replace(found, credentials=None)
        return found

    def _credentials_in_phase(
        self,
        slug: str,
        found: ClientInPostgres,
        asked: Future[Document] | None,
        *,
        last: _CacheEntry | None,
        is_second: bool = False,
        until: float | None = None,
    ) -> ClientCredentials:
        """Return the credentials from the store of the phase, or those of `last`.

        `asked` is a read of AWS that is already under way. Where both stores differ, or the secret is gone, both are
        read once more. `until`, on the monotonic clock, is when waiting for AWS ends, both reads together.
        """
        if found.credentials is None:
            # AWS's answer may be older than the last save where it was asked before the phase was known.
            return self._from_aws(slug, found, last=last, is_second=is_second)
        if found.phase != Phase.DUAL_READ:
            return found.credentials
        if found.push_pending:
            self._count_read(found)
            return found.credentials
        asked = asked or self._aws.start_reading(found.secret_slug, found.layout)
        until_now = until or self._aws.end_of_limit()
        theirs = self._wait_for_aws(slug, found, asked, until_now)
        differing: list[str] = []
        if not isinstance(theirs, Exception):
            differing = list(_differing_paths(found.credentials, theirs))
        if (differing or _is_gone(theirs)) and not is_second:
            # A save or its push, or a change of layout, may have come in between: read both once more, AWS after
            # PostgreSQL.
            again = self._look_up(slug)
            return self._credentials_in_phase(
                slug, again, None, last=last, is_second=True, until=until_now
            )
        if isinstance(theirs, Exception):
            self._note_failure(slug, found, theirs)
            return found.credentials
        if differing:
            paths = escape_name(", ".join(differing))
            logger.warning("%s: AWS differs from PostgreSQL in %s", escape_name(slug), paths)
        self._count_read(found, match=int(not differing), mismatch=int(bool(differing)))
        # A caller who asks for a row that AWS lacks would get an error.
        lacking = _labels_of(found.credentials) - _labels_of(theirs)
        return found.credentials if lacking else theirs

    def _from_aws(
        self, slug: str, found: ClientInPostgres, *, last: _CacheEntry | None, is_second: bool
    ) -> ClientCredentials:
        try:
            document = self._aws.read_document(found.secret_slug, found.layout)
            credentials = parse_document(document, client_id=found.client_id, client_slug=slug)
        except Exception as error:
            if _is_gone(error) and not is_second:
                # Its phase, or which secrets are its own, may have changed since PostgreSQL was asked.
                again = self._look_up(slug)
                return self._credentials_in_phase(slug, again, None, last=last, is_second=True)
            if isinstance(error, CongestionError):
                self._count_read(found, outcome=CONGESTED)
                raise
            self._notes.remember_failure(error)
            if last and self._may_serve(slug, last, error):
                self._count_read(found, failure=1, outcome=STALE)
                text = "%s is served as AWS held it %d s ago, as AWS failed: %s"
                age = time.monotonic() - last.started
                self._warnings.warn(STALE, text, escape_name(slug), age, _describe_error(error))
                return last.credentials
            self._count_read(found, failure=1, outcome=name_failure(error))
            raise
        self._count_read(found)
        return credentials

    def _may_serve(self, slug: str, last: _CacheEntry, error: Exception) -> bool:
        """Say whether AWS is unavailable and, as PostgreSQL says now, nothing changed since `last` was read."""
        unavailable = (
            isinstance(error, SecretsManagerError) and error.error_class == ErrorClass.UNAVAILABLE
        )
        state, age = last.state, time.monotonic() - last.started
        if not unavailable or state is None or age >= self._cache_seconds + self._stale_seconds:
            return False
        if not self._stale_seconds or not self._postgres.changes_are_counted():
            return False
        now = self._look_up(slug)
        # The push of a write that is in PostgreSQL changes AWS and no number of writes. A purged client has none.
        is_settled = state.phase == Phase.PURGED or not state.push_pending
        return is_settled and now.has_same_values_as(state)

    def _wait_for_aws(
        self, slug: str, found: ClientInPostgres, asked: Future[Document], until: float
    ) -> ClientCredentials | Exception:
        """Wait for AWS's value; return the error where AWS fails, is late, or holds no document."""
        try:
            document = self._aws.collect(asked, until)
            return parse_document(document, client_id=found.client_id, client_slug=slug)
        except Exception as error:  # noqa: BLE001 (whatever it is, the caller has PostgreSQL's value)
            return error

    def _note_failure(self, slug: str, found: ClientInPostgres, error: Exception) -> None:
        """Note that AWS gave nothing in dual read, where the caller gets PostgreSQL's value."""
        if isinstance(error, CongestionError):
            text = "%s is read from PostgreSQL, as this process was too busy to ask AWS in time"
            self._warnings.warn(CONGESTED, text, escape_name(slug))
            self._count_read(found, outcome=CONGESTED)
            return
        self._notes.remember_failure(error)
        cause, text = name_failure(error), "%s is read from PostgreSQL, as AWS failed: %s"
        self._warnings.warn(cause, text, escape_name(slug), _describe_error(error))
        self._count_read(found, failure=1, outcome=cause)

    def _count_read(
        self,
        found: ClientInPostgres,
        *,
        match: int = 0,
        mismatch: int = 0,
        failure: int = 0,
        outcome: str = "",
    ) -> None:
        if not found.remembered:
            self._postgres.count_read(
                found.client_id, match=match, mismatch=mismatch, failure=failure, outcome=outcome
            )


_readers: WeakSet[Reader] = WeakSet()


def _after_fork() -> None:
    for reader in list(_readers):
        reader.reset_after_fork()


os.register_at_fork(after_in_child=_after_fork)


def _unknown_client(slug: str) -> ValueError:
    return ValueError(f"Client '{slug}' not found or inactive")


def _pick_row(rows: Iterable[_Row], label: str | None) -> _Row | None:
    """Return the primary row, or the first of that label; `is_primary` NULL is not primary."""
    for row in rows:
        if row.is_primary if label is None else row.label == label:
            return row
    return None


def _labels_of(credentials: ClientCredentials) -> set[tuple[CredentialType, str | None]]:
    """Return each type and label for which a caller gets a row (None: the primary one)."""
    rows = [(t, row) for t in CredentialType for row in credentials.of_type(t)]
    labels = {(t, row.label) for t, row in rows if row.label is not None}
    return labels | {(t, None) for t, row in rows if row.is_primary}


def _differing_paths(ours: ClientCredentials, theirs: ClientCredentials) -> Iterator[str]:
    """Return the paths of the attributes that differ, without values."""
    for credential_type in CredentialType:
        pairs = zip_longest(ours.of_type(credential_type), theirs.of_type(credential_type))
        for index, (one, other) in enumerate(pairs):
            path = f"{credential_type.plural}[{index}]"
            if one is None or other is None:
                yield path
                continue
            for name in (column.name for column in fields(one)):
                if getattr(one, name) != getattr(other, name):
                    yield f"{path}.{name}"


def _is_gone(found: object) -> bool:
    """Say whether AWS answered that the client has no secret there."""
    return isinstance(found, SecretsManagerError) and found.is_gone


def _describe_error(error: BaseException) -> str:
    """Return the error's text, or only its class where the error isn't ours, as its text may hold a value."""
    ours = isinstance(error, (SecretsManagerError, DocumentError))
    return escape_invisible(str(error)) if ours else type(error).__name__
