"""One client in both stores, NOVA's readers of it, NOVA's own connection, and a clock: what the machine works on."""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING

import psycopg
from botocore.exceptions import ClientError, ConnectionClosedError
from django.db import connection
from django.db.backends.signals import connection_created
from psycopg import sql
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from credentials.models import Client, ClientRevision
from credentials.pointers import replace_secrets_by_pointers
from credentials.triggers import ensure_writes_are_counted
from credentials.values import POINTER
from migration.core import aws_store, snapshots
from migration.core.audit_export import MOVED_TO_LEAVE
from migration.core.aws_store import secret_names
from migration.core.aws_writes import write_guard
from migration.core.secrets import OtherSecretsState, find_other_layout
from migration.models import ClientMigration, ReaderProcess
from migration.moves.moves import AWS_UNREAD, COPIED_TO_POSTGRES
from migration.pushes.pushes import push
from nova_credentials.aws.secrets_manager import SecretsManager, SecretsManagerError
from nova_credentials.document import DocumentError, Layout
from nova_credentials.messages import Message
from nova_credentials.phases import Phase
from nova_credentials.reader import routing
from nova_credentials.reader.routing import Reader
from tests import nova_database
from tests.factories import (
    make_client,
    make_database,
    make_email,
    make_reader_process,
    qualified,
)
from tests.law.campaign_book import CampaignBook
from tests.law.invariant import LawBroken, Ledger
from tests.law.kept_reader import kept_reader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tests.law.state_machine import Play

SLUG = "idom"
NAME = f"nova/clients/{SLUG}"
CACHE_SECONDS = 30.0
# For longer than that the caching reader serves what it read last while AWS is unavailable.
STALE_SECONDS = 3 * 3600.0
# A field: its table, its column there, its part and key in the document, and what a read calls it.
FIELDS = {
    "password": ("client_database_credentials", "db_password_encrypted", "database", "password"),
    "port": ("client_database_credentials", "db_port", "database", "port"),
    "mail": ("client_email_credentials", "email_password_encrypted", "email", "app_password"),
}
ATTRIBUTES = {"password": "db_password", "port": "db_port", "mail": "email_password"}
# No machine is so slow that AWS fails by itself.
PATIENCE_SECONDS = 300
# Nobody waits for a lock here: where one would, it gives up, as if it came later.
LOCK_TIMEOUT = "SET lock_timeout = '100ms'"
FORGET = "; ".join(
    f"DELETE FROM {table}"
    for table in (
        "migration_clientmigration",
        "migration_offboarding",
        "migration_phasechange",
        "migration_resolution",
        "migration_openmismatch",
        "migration_dailycomparisons",
        "migration_comparison",
        "migration_runitem",
        "migration_run",
        "migration_waveclient",
        "migration_wave",
        "migration_campaign",
        "migration_groupmember",
        "migration_clientowner",
        "migration_clientgroup",
        "migration_secret",
        "migration_readcount",
        "public.client_database_credentials",
        "public.client_email_credentials",
        "client_aws_credentials",
        "public.clients",
        "credentials_clientrevision",
        "credentials_clientwrite",
        "credentials_countinggap",
        "credentials_countingproof",
    )
)
# The matches since the client entered dual read, without the one that the cutover itself made.
COMPARED_IN_PHASE = """
SELECT count(*) FROM nova_admin.migration_phasechange move, nova_admin.migration_comparison compared
WHERE move.id = %(change)s AND compared.status = 'match' AND compared.id < move.comparison_id
    AND compared.compared_at >= coalesce(
        (SELECT max(changed_at) FROM nova_admin.migration_phasechange WHERE id < %(change)s), '-infinity'
    )
"""
# What a copy has of its own.
COPIED = (
    *("public.clients", "public.client_database_credentials", "public.client_email_credentials"),
    *(
        f"nova_admin.{name}"
        for name in (
            *("credentials_clientrevision", "credentials_clientwrite", "migration_clientmigration"),
            *("migration_comparison", "migration_dailycomparisons", "migration_openmismatch"),
            *("migration_secret", "migration_plannedversion", "migration_databaseclaim"),
        )
    ),
)
KEPT = [(table, f"kept_{number}") for number, table in enumerate(COPIED)]
# As NOVA's own helper reads.
HELPER = """
SELECT cred.{column}::text FROM public.{table} cred JOIN public.clients c ON c.id = cred.client_id
WHERE c.slug = %s AND c.is_active = true AND cred.is_primary = true
"""
OLD_MAIL = "public.client_email_credentials_old"
# What a read finds of a login whose row is gone.
GONE = "gone"
# What a reader says of a client that NOVA does not serve.
INACTIVE = "not found or inactive"


class World:
    """Made once for many examples; `reset` begins the next one."""

    def __init__(self, aws) -> None:
        self.aws = aws
        self.now = 0.0
        self.aws_is_down_for_readers = self.old_secrets_went = False
        self.aws_denies_readers = self.console_wrote = False
        uri = make_conninfo(os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"])
        self.uri = uri
        self.nova = psycopg.connect(uri, autocommit=True)
        self.nova.execute(LOCK_TIMEOUT)
        self.reader, self.caching = (
            Reader(uri, cache_seconds=cached, stale_seconds=stale, timeout=PATIENCE_SECONDS)
            for cached, stale in ((0, 0), (CACHE_SECONDS, STALE_SECONDS))
        )
        for reader in self.readers:
            manager = reader._aws._get_manager()
            manager.sm.meta.events.register_first("before-send.*.*", self._before_a_readers_call)
        self.console = SecretsManager()
        self.pk = 0
        self.start = Phase.POSTGRES
        self.life: list[Play] = []

    @property
    def readers(self) -> tuple[Reader, Reader]:
        return self.reader, self.caching

    def close(self) -> None:
        self.nova.close()
        for reader in self.readers:
            reader.close()

    def end(self) -> None:
        """Whatever an act left open is over."""
        if self.nova.info.transaction_status is not TransactionStatus.IDLE:
            self.nova.execute("ROLLBACK")

    def reset(self, start: Phase) -> None:
        """Both stores with one client in this phase, in them alike, and everything confirmed."""
        self.start, self.life = start, []
        self.slugs = [SLUG]  # that NOVA gave the client, the present one last
        self.campaigns = CampaignBook()
        self.aws.reset()
        left = ", ".join(("kept", *(copy for _, copy in KEPT)))
        self.nova.execute(f"DROP TABLE IF EXISTS {OLD_MAIL}, {left}")
        ensure_writes_are_counted()  # the life before this one may have ended without the triggers
        self.now = 0.0
        for reader in self.readers:
            reader._cached.clear(), reader._last_states.clear()
        with connection.cursor() as cursor:
            cursor.execute(FORGET)
        self.ledger = Ledger()
        self.pk = make_client(SLUG)
        numbers = self.ledger.begin(dict.fromkeys(FIELDS, "1000"))
        make_database(self.pk, db_password_encrypted="1000", db_port=1000)
        make_email(self.pk, email_password_encrypted="1000")
        self.ledger.confirm(numbers, at=self.now)
        self.changes_seen = 0
        self.proofs = 0
        if not ReaderProcess.objects.exists():  # the gates want one
            make_reader_process()
        self.aws_is_down_for_readers = self.old_secrets_went = False
        self.aws_denies_readers = self.console_wrote = False
        if start != Phase.POSTGRES:
            push(client_ids=[self.pk])
            ClientMigration.objects.update(phase=start)
        if start == Phase.PURGED:
            replace_secrets_by_pointers(Client.objects.get(pk=self.pk), defaultdict(lambda: NAME))
            revision = snapshots.read_snapshots([self.pk])[self.pk].revision
            ClientRevision.objects.record_pushed([(self.pk, revision)])

    @property
    def phase(self) -> Phase:
        query = "SELECT phase FROM nova_admin.migration_clientmigration WHERE client_id = %s"
        row = self.nova.execute(query, [self.pk]).fetchone()
        return Phase(row[0]) if row else Phase.POSTGRES

    @property
    def is_served(self) -> bool:
        """Whether NOVA's readers may have the client at all."""
        query = "SELECT is_active FROM public.clients WHERE id = %s"
        return bool(self.nova.execute(query, [self.pk]).fetchone()[0])

    @property
    def slug(self) -> str:
        """By which NOVA asks for the client now."""
        return self.slugs[-1]

    def list_named(self) -> list[tuple[str, Layout]]:
        """Slug and layout of the client's own secrets, and of others while every write goes to these too."""
        query = (
            "SELECT coalesce(layout, 'client'), secret_slug, other_secrets, other_slug"
            " FROM nova_admin.migration_clientmigration WHERE client_id = %s"
        )
        row = self.nova.execute(query, [self.pk]).fetchone()
        layout, named, others, other_slug = row or (Layout.CLIENT, None, "", None)
        own = (named or self.slug, Layout(layout))
        if others != OtherSecretsState.KEPT:
            return [own]
        other_layout = own[1] if other_slug else find_other_layout(own[1])
        return [own, (other_slug or own[0], other_layout)]

    def list_fields_in(self, names: Collection[str]) -> list[str]:
        """The fields that one of these secrets holds."""
        parts = {
            part
            for named in self.list_named()
            for part, name in secret_names(*named).items()
            if name in names
        }
        return [field for field, (_, _, part, _) in FIELDS.items() if parts & {part, "client"}]

    def new_texts(self, fields: tuple[str, ...], *, again: bool) -> dict[str, str]:
        """What a save is to write: what was never there, or once more what was there before."""
        texts = {}
        for field in fields:
            known = self.ledger.texts[field]
            texts[field] = known[-2] if again and len(known) > 1 else str(1000 + len(known))
        return texts

    def write_as_nova(self, texts: dict[str, str]) -> None:
        """NOVA's own statements, in a transaction that is already open or in none."""
        for field, text in texts.items():
            table, column, *_ = FIELDS[field]
            statement = sql.SQL("UPDATE {} SET {} = %s, updated_at = now() WHERE client_id = %s")
            self.nova.execute(
                statement.format(qualified(table), sql.Identifier(column)), [text, self.pk]
            )

    # The law

    def check(self) -> None:
        """Reads past the cache and judges what came."""
        self.notice_moves()
        self._note_proof()
        try:
            read = self.reader.get_primary_credentials(self.slug)
        except (SecretsManagerError, DocumentError, ValueError) as error:
            if not self.is_served and INACTIVE in str(error):
                return
            if self.aws_is_down_for_readers and self.phase.aws_is_authority and self.is_served:
                return
            raise LawBroken(f"in {self.phase}: no read ({error})") from None
        if not self.is_served:
            raise LawBroken(f"in {self.phase}: an inactive client was read")
        self._judge(read, since=self.now, where=f"in {self.phase}")
        if self.phase == Phase.PURGED:
            self._check_pointers()

    def _check_pointers(self) -> None:
        """What stands in place of a purged secret names one of the client's own secrets."""
        names = secret_names(*self.list_named()[0]).values()
        for _table, column, *_ in FIELDS.values():
            if column.endswith("_encrypted"):
                query = f"SELECT {column} FROM public.{_table} WHERE {column} LIKE '{POINTER}%%'"
                for (pointer,) in self.nova.execute(query).fetchall():
                    if pointer.removeprefix(POINTER) not in names:
                        raise LawBroken(f"{column} points to {pointer}, which nobody reads")

    def check_cached(self) -> None:
        """What the cache answers may be as old as was announced, and no older, also where AWS is unavailable.

        Only what somebody writes in AWS directly may be hidden by a value that is served for longer.
        """
        self.notice_moves()
        self._note_proof()
        is_fresh = self.caching._fresh_entry(self.slug) is not None
        try:
            read = self.caching.get_primary_credentials(self.slug)
        except ValueError as error:
            if not self.is_served and INACTIVE in str(error):
                return
            raise
        except SecretsManagerError:
            if self.aws_is_down_for_readers and self.phase.aws_is_authority:
                return
            raise
        if self.aws_denies_readers and self.phase.aws_is_authority and not is_fresh:
            raise LawBroken(f"in {self.phase}: a value was served although AWS denied it")
        hidden = STALE_SECONDS if self.console_wrote else 0
        since = self.now - CACHE_SECONDS - hidden
        self._judge(read, since=since, where=f"cached, in {self.phase}")

    def check_earlier_release(self) -> None:
        """A process of NOVA's that has not been upgraded yet reads under the same law."""
        # The one is played in this process alone; in the other nobody has such a process any more.
        if self.aws_is_down_for_readers or self.old_secrets_went:
            return
        # It goes by the slug alone. Whoever renames clients has upgraded it (docs/nova.md).
        if self.slugs != [SLUG]:
            return
        self.notice_moves()
        self._note_proof()
        read = kept_reader(self.uri).read(self.slug)
        where = f"with an earlier release, in {self.phase}"
        if not self.is_served:
            if INACTIVE in read.get("error", ""):
                return
            raise LawBroken(f"{where}: an inactive client was read")
        if "error" in read:
            raise LawBroken(f"{where}: no read ({read['error']})")
        for field, text in read.items():
            self.ledger.judge(field, text or GONE, since=self.now, where=where)

    def check_old_helper(self) -> None:
        """NOVA's own helper, still in use somewhere, reads under the same law while PostgreSQL is the authority."""
        self.notice_moves()
        if self.phase.aws_is_authority or not self.is_served:
            return
        for field, (table, column, *_) in FIELDS.items():
            row = self.nova.execute(
                HELPER.format(table=table, column=column), [self.slug]
            ).fetchone()
            where = f"by NOVA's old helper, in {self.phase}"
            self.ledger.judge(field, row[0] if row else GONE, since=self.now, where=where)

    def _note_proof(self) -> None:
        """A read that may prove that NOVA can work from AWS alone is about to be made."""
        if self.phase == Phase.DUAL_READ and not self.aws_is_down_for_readers:
            self.proofs += 1

    def require_proof(self, change: int) -> None:
        """Nobody is cut over unproven: since it entered dual read it was read from AWS, and compared."""
        if not self.proofs:
            raise LawBroken("it was cut over, and no reader ever read it from AWS")
        compared = self.nova.execute(COMPARED_IN_PHASE, {"change": change}).fetchone()
        if compared == (0,):
            raise LawBroken("it was cut over, and no comparison in dual read matched")

    def _judge(self, read, *, since: float, where: str) -> None:
        for field, (_, _, part, _) in FIELDS.items():
            text = str(getattr(read[part], ATTRIBUTES[field])) if read[part] else GONE
            self.ledger.judge(field, text, since=since, where=where)

    def rebuild_the_mail_table(self, texts: dict[str, str]) -> None:
        """NOVA puts a new table in the place of the old one and copies the rows."""
        self.nova.execute(
            f"DROP TABLE IF EXISTS {OLD_MAIL};"
            " ALTER TABLE public.client_email_credentials RENAME TO client_email_credentials_old"
        )
        self.nova.execute(nova_database.EMAILS)
        self.nova.execute(f"INSERT INTO public.client_email_credentials SELECT * FROM {OLD_MAIL}")
        self.write_as_nova(texts)

    def empty_the_mail_table(self, _: dict[str, str]) -> None:
        self.nova.execute("CREATE TEMP TABLE kept AS SELECT * FROM public.client_email_credentials")
        self.nova.execute("TRUNCATE public.client_email_credentials")

    def fill_the_mail_table(self, texts: dict[str, str]) -> None:
        self.nova.execute("INSERT INTO public.client_email_credentials SELECT * FROM kept")
        self.nova.execute("DROP TABLE kept")
        self.write_as_nova(texts)

    @contextmanager
    def as_a_restored_copy(self) -> Iterator[None]:
        """The database is a copy of itself inside; afterwards it is as it was."""
        # Nobody else acts now; but autovacuum may cut off the end of a table, for longer than anybody waits here.
        self.nova.execute(f"SET lock_timeout = '{PATIENCE_SECONDS}s'")
        self.nova.execute("; ".join(f"CREATE TEMP TABLE {k} AS TABLE {t}" for t, k in KEPT))
        self.nova.execute(
            "INSERT INTO nova_admin.migration_databaseclaim (system_identifier, database_oid, place, aws, reason)"
            " SELECT system_identifier, 1, place, '', '' FROM nova_admin.migration_databaseclaim"
        )
        write_guard().forget_state()
        try:
            yield
        finally:
            back = [f"DELETE FROM {t}; INSERT INTO {t} TABLE {k}; DROP TABLE {k}" for t, k in KEPT]
            quietly = "SET LOCAL session_replication_role = replica"
            self.nova.execute("; ".join([quietly, *back]))
            self.nova.execute(LOCK_TIMEOUT)
            write_guard().forget_state()

    def landed(self, waited: list[tuple[str, int, bool]]) -> None:
        self.notice_moves()
        self.ledger.landed(waited, at=self.now)

    def notice_moves(self) -> None:
        """What a move that took place means for what waited, and for what was written in AWS directly."""
        changes = self.nova.execute(
            "SELECT id, old, new, note FROM nova_admin.migration_phasechange WHERE id > %s ORDER BY id",
            [self.changes_seen],
        )
        for pk, *move, note in changes.fetchall():
            self.changes_seen = pk
            codes = Message.from_json(note).codes if note else []
            ledger = self.ledger
            # Nobody reads a client that leaves: there is nothing to prove.
            if move == [Phase.DUAL_READ, Phase.AWS] and MOVED_TO_LEAVE.key not in codes:
                self.require_proof(pk)
            self.proofs = 0
            if move == [Phase.AWS, Phase.PURGED]:  # its gate: no push is pending
                ledger.landed([entry for entry in ledger.waiting if not entry[2]], at=self.now)
            elif move == [Phase.AWS, Phase.DUAL_READ]:
                if COPIED_TO_POSTGRES.key in codes:
                    ledger.taken_over()
                    continue
                if AWS_UNREAD.key in codes:
                    ledger.overruled_elsewhere()
                ledger.landed(list(ledger.waiting), at=self.now)  # PostgreSQL is the authority
                ledger.taken_over()

    def _before_a_readers_call(self, request, **_) -> None:
        if self.aws_denies_readers:
            raise ClientError({"Error": {"Code": "AccessDeniedException"}}, "GetSecretValue")
        if self.aws_is_down_for_readers:
            raise ConnectionClosedError(endpoint_url=request.url)


@contextmanager
def a_world(aws, settings, monkeypatch) -> Iterator[World]:
    """A world in which nothing takes time: waits end at once, and its readers' clock is its own."""

    def set_lock_timeout(connection, **_) -> None:
        with connection.cursor() as cursor:
            cursor.execute(LOCK_TIMEOUT)

    settings.NOVA_CLEAN_STREAK = settings.NOVA_MIN_READS = 1
    for module in (
        *("pushes.pushes", "pushes.resolutions", "moves.moves", "moves.runs", "secrets.layouts"),
        *("secrets.versions", "clients.offboarding"),
    ):
        monkeypatch.setattr(f"migration.{module}.LOCK_WAIT_SECONDS", 0)
    monkeypatch.setattr("migration.pushes.pushes.LOCK_WAIT_SECONDS_OF_A_PAGE", 0)
    # No server is there to be asked.
    monkeypatch.setattr("migration.secrets.versions.try_for_failures", lambda *_, **__: [])
    monkeypatch.setattr("credentials.models.clients.ROWS_WAIT_SECONDS", 0.1)
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _: None))
    monkeypatch.setattr("credentials.triggers.TRIES", 2)
    monkeypatch.setattr("credentials.triggers.PAUSE_SECONDS", 0)
    for limit in ("connect_timeout", "read_timeout"):
        monkeypatch.setitem(aws_store.GIVE_UP_EARLY, limit, PATIENCE_SECONDS)
    aws_store._make_manager.cache_clear()
    connection.close()
    connection_created.connect(set_lock_timeout)
    world = World(aws)
    clock = SimpleNamespace(monotonic=lambda: world.now)
    monkeypatch.setattr(routing, "time", clock)
    try:
        yield world
    finally:
        aws_store._make_manager.cache_clear()
        connection_created.disconnect(set_lock_timeout)
        connection.close()
        world.close()
        with connection.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {OLD_MAIL}")
            ensure_writes_are_counted()
            cursor.execute(FORGET)
