"""Learns which database each connection of this process reaches, and notes at the first `migrate` what this one is."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.core.management.base import OutputWrapper
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.recorder import MigrationRecorder
from django.utils.translation import gettext_lazy

from migration.core.audit import AuditEvent, EventKind
from migration.core.releases import known_migrations
from migration.core.secrets import Secret
from migration.core.shared_facts import (
    KEYS,
    explain_differences,
    is_incomplete,
    list_own_facts,
    note_missing_facts,
)
from migration.core.write_state import (
    DatabaseClaim,
    DatabaseClaimQuerySet,
    DatabaseIdentity,
    read_aws_write_state,
)
from nova_credentials.messages import Sentence

CLAIM_EVENT = EventKind(
    "claim",
    gettext_lazy("Database claimed"),
    icon="database",
    permission="migration.view_worker",
    page="migration_run_health",
    in_activity=True,
)


logger = logging.getLogger(__name__)

# Both embedded stores: their folder may be moved, and its path is part of the socket's.
EMBEDDED = "embedded"
ASK_OID = """
SELECT oid::bigint, current_database()::text,
    pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'EXECUTE')
FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()
"""
ASK_SYSTEM = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()"
# PostgreSQL before 16.1, 15.5, 14.10 and 13.13 reads its control file without a lock, and fails (XX000) where a
# checkpoint is just writing it.
TRIES = 5
# On a busy machine the file may be in the making for a tenth of a second.
PAUSE_SECONDS = 0.1
MADE_BY = "0051_second_release_tables"


class ReachedDatabases:
    """The databases that this process' open connections reach. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._by_connection: WeakKeyDictionary[BaseDatabaseWrapper, DatabaseIdentity | None] = (
            WeakKeyDictionary()
        )

    def note_connection(self, wrapper: BaseDatabaseWrapper) -> None:
        """Ask a new connection which database it reaches and keep the answer, before anything is read by it."""
        identity = read_identity(wrapper)
        with self._lock:
            self._by_connection[wrapper] = identity

    def list_identities(self) -> set[DatabaseIdentity | None]:
        """Return the databases that open connections were found to reach; None: one that could not be asked."""
        with self._lock:
            noted = list(self._by_connection.items())
        return {identity for wrapper, identity in noted if wrapper.connection is not None}


def reached_databases() -> ReachedDatabases:
    """Return which databases this process' connections reach; a fork begins with none."""
    return _reached_databases(os.getpid())


@lru_cache(maxsize=1)
def _reached_databases(_pid: int) -> ReachedDatabases:
    return ReachedDatabases()


def note_reached_database(*, connection: BaseDatabaseWrapper, **_: object) -> None:
    """Note which database a new connection reaches. Receives Django's `connection_created`."""
    if connection.vendor == "postgresql":
        reached_databases().note_connection(connection)


def read_identity(wrapper: BaseDatabaseWrapper) -> DatabaseIdentity | None:
    """Ask which database the open connection reaches; None where it doesn't answer."""
    raw: psycopg.Connection[tuple[object, ...]] = wrapper.connection
    try:
        row = raw.execute(ASK_OID).fetchone()
        if row is None:
            return None
        oid, database, may_ask = row
        system = _read_system(raw) if may_ask else None
    except psycopg.Error as error:  # nothing is written to AWS then
        logger.warning("this database does not say what it is: %s", type(error).__name__)
        return None
    place = _describe_place(wrapper, str(database))
    return DatabaseIdentity(str(system[0]) if system else "", int(str(oid)), place)


def _read_system(raw: psycopg.Connection[tuple[object, ...]]) -> tuple[object, ...] | None:
    """Ask for the server's identifier, and again where its control file was just being written."""
    for _attempt in range(TRIES - 1):
        try:
            return raw.execute(ASK_SYSTEM).fetchone()
        except psycopg.errors.InternalError_:
            time.sleep(PAUSE_SECONDS)
    return raw.execute(ASK_SYSTEM).fetchone()


def _describe_place(wrapper: BaseDatabaseWrapper, database: str) -> str:
    """Return host:port/name as DATABASE_URL has it; libpq's own default for what it leaves out."""
    configured, info = wrapper.settings_dict, wrapper.connection.info
    name = configured["NAME"] or database
    if settings.EMBEDDED_STORES:
        return f"{EMBEDDED}/{name}"
    host = str(configured["HOST"] or info.host).lower().rstrip(".")
    return f"{host}:{configured['PORT'] or info.port}/{name}"


def note_database(
    *,
    using: str,
    verbosity: int = 1,
    stdout: OutputWrapper | None = None,
    plan: Sequence[tuple[Migration, bool]] = (),
    **_: object,
) -> None:
    """Note what this database is, after its first `migrate`, and print it; warn after each on a duplicate."""
    wrapper = connections[using]
    if DatabaseClaim._meta.db_table not in wrapper.introspection.table_names():
        return  # `migrate` was run backwards
    claims = DatabaseClaim.objects.using(using)
    wrapper.ensure_connection()
    reached, lines = read_identity(wrapper), list[str]()
    # Nothing else of it: where `migrate` was run backwards, later columns are missing.
    noted = claims.only("system_identifier", "database_oid", "place").newest()
    if reached is None:
        lines = ["This database does not say what it is: nothing is written to AWS."]
    elif noted is None and not _was_emptied(using, plan):
        claims.record(reached)
        lines = ["This database is the one that writes to AWS:", *describe_identity(reached)]
    elif noted is None or differs_from_noted(reached, noted.identity):
        lines = [
            "This database is a duplicate: it writes nothing to AWS until it is claimed (manage.py claim_database).",
            *describe_identity(reached),
        ]
    # Facts are read from columns that are not there where `migrate` was run to a state before.
    if known_migrations() <= MigrationRecorder(wrapper).applied_migrations().keys():
        lines += note_facts_after_migrate(using)
    if stdout is not None and verbosity >= 1:
        stdout.write("\n".join(lines)) if lines else None


KEY_ROTATED = Sentence(
    "key_rotated", "Noted that all hosts share another %(key)s now: %(new)s, formerly %(old)s."
)


def note_facts_after_migrate(using: str) -> list[str]:
    """Note what isn't yet, and that a key was rotated; return what is to be printed, in English.

    A key was rotated where this process has another one and the noted one among its fallbacks, unless its own is one
    that the site had before: then this host is the one that lags behind.
    """
    claims, lines = DatabaseClaim.objects.using(using), list[str]()
    noted, facts = _read_noted(claims)
    if is_incomplete(facts):
        note_missing_facts(connections[using], facts)
        noted, facts = _read_noted(claims)
    if not facts:
        return []  # the database has not noted what it is
    own = list_own_facts()
    for key in KEYS:
        new, (old, *former) = own[key][0], facts[key]
        if new != old and old in own[key] and new not in former:
            facts[key] = [new, old, *former]
            told = KEY_ROTATED(key=key, new=new, old=old)
            with transaction.atomic(using=using):
                AuditEvent.objects.record(CLAIM_EVENT, told)
                claims.filter(pk=noted).update(facts=facts)
            lines.append(f"{told} Hosts that have only the former one write nothing to AWS.")
    if why := explain_differences(facts):
        lines += [
            str(why),
            "Correct this host's settings. Only if all hosts are to have them: manage.py claim_database --facts.",
        ]
    return lines


def _read_noted(claims: DatabaseClaimQuerySet) -> tuple[int, dict[str, list[str]]]:
    """Return the id of the claim whose facts hold, and the facts; none where none were noted yet."""
    claim = claims.with_facts()
    return (claim.pk, read_aws_write_state(connections[claims.db]).facts) if claim else (0, {})


def _was_emptied(using: str, plan: Sequence[tuple[Migration, bool]]) -> bool:
    """Say whether a note is missing although there was one: pushes were made, and this `migrate` made no table."""
    is_first = any(
        (each.app_label, each.name, backwards) == ("migration", MADE_BY, False)
        for each, backwards in plan
    )
    return not is_first and Secret.objects.using(using).exists()


def differs_from_noted(reached: DatabaseIdentity, noted: DatabaseIdentity) -> bool:
    """Say whether the reached database is not the noted one, or is reached under a name that nobody listed."""
    known_places = {noted.place, *settings.NOVA_DATABASE_NAMES}
    return not reached.is_same_database(noted) or reached.place not in known_places


def describe_identity(identity: DatabaseIdentity) -> list[str]:
    """Return the identity as lines in English; what can't be asked for is named."""
    system = identity.system_identifier
    return [
        f"  system identifier: {system or 'not known (grant EXECUTE ON FUNCTION pg_control_system() to this role)'}",
        f"  database oid: {identity.database_oid}",
        f"  reached as: {identity.place}",
    ]
