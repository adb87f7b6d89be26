"""Previews and stores imports: all lines of a file or none, in one transaction. Nothing of a file outlives the call."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection, transaction
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from psycopg.errors import DeadlockDetected, LockNotAvailable

from credentials import sentences as credential_sentences
from credentials.import_columns import IMPORT_COLUMNS, read_cell
from credentials.models import CREDENTIAL_MODELS, Client, RowsBusyError
from credentials.refusals import RefusedByDatabaseError, convert_refusals, insert_rows
from credentials.secret_names import configured_layout
from migration import audit_sentences
from migration import import_sentences as sentences
from migration.models.audit_events import AuditCode, AuditEvent
from migration.models.client_groups import (
    ClientGroup,
    ClientGroupError,
    GroupMember,
    fold_group_name,
)
from migration.models.clients import all_clients
from migration.operations.import_files import ImportRefusedError, parse_import_file
from migration.operations.import_plans import ClientPlanner, LineOutcome, PlannedLine, get_phase
from migration.operations.known_values import note_values_on_commit
from migration.operations.snapshots import repeatable_read_only
from nova_credentials import document as documents

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from django.contrib.auth.models import User
    from django.db.models import Model

    from credentials.models import Credential
    from migration.models.clients import ClientPhaseQuerySet
    from migration.operations.import_files import FileLine, ImportFile
    from migration.operations.import_plans import ClientImport
    from nova_credentials.messages import Message

# Clients are stored so many at a time; the transaction is one.
AT_ONCE = 500
# A statement that changes rows names each of them for each column.
WRITTEN_AT_ONCE = 100
# Who inserts a slug or a group that somebody else has inserted waits for their commit, and holds NOVA's rows meanwhile.
# Shorter than PostgreSQL's deadlock_timeout, after which it may end NOVA's transaction in place of this one.
LOCK_TIMEOUT = "500ms"


@dataclass(frozen=True)
class ImportPlan:
    """What an import would do with each line and client, and digests of the file and of what the tables hold."""

    lines: list[PlannedLine]
    clients: list[ClientImport]
    warning: Message | None
    file_digest: str
    plan_digest: str

    @property
    def counts(self) -> dict[LineOutcome, int]:
        found = Counter(line.outcome for line in self.lines)
        return {outcome: found[outcome] for outcome in LineOutcome}

    @property
    def new_or_changed_clients(self) -> list[ClientImport]:
        return [planned for planned in self.clients if planned.changes]

    def sign(self, by: User) -> str:
        """Return what the page sends back with the file: that this user saw this plan of this file."""
        return f"{_sign(by, self.file_digest)}.{_sign(by, self.plan_digest)}"

    def check(self, token: str, by: User) -> None:
        """Raise ImportRefusedError where the user saw the preview of another file, or another plan."""
        file_token, _dot, plan_token = token.partition(".")
        if not constant_time_compare(file_token, _sign(by, self.file_digest)):
            raise ImportRefusedError(sentences.IMPORT_OTHER_FILE())
        if not constant_time_compare(plan_token, _sign(by, self.plan_digest)):
            raise ImportRefusedError(sentences.IMPORT_OTHER_PLAN())


@dataclass(frozen=True)
class ImportResult:
    """The numbers of clients by what was done with them, and the ids of the file's clients and of its groups.

    `correlation` is that of the import's entries in the audit.
    """

    new: int
    changed: int
    unchanged: int
    client_ids: list[int]
    group_ids: list[int]
    correlation: str


def preview_import(*, data: bytes) -> ImportPlan:
    """Say what an import of the file would do. Raises ImportRefusedError where the file can't be read as a whole."""
    found = parse_import_file(data, columns=IMPORT_COLUMNS)
    with repeatable_read_only():
        return _make_plan(found, data)


def store_import(
    *,
    data: bytes,
    by: User | None = None,
    token: str | None = None,
    tell: Callable[[int], None] = lambda _number: None,
) -> ImportResult:
    """Store every line of the file, or raise ImportRefusedError and store nothing.

    `token` is that of the preview that `by` saw; without one what was previewed is not compared. `tell` is called with
    the number of clients that are written.
    """
    found = parse_import_file(data, columns=IMPORT_COLUMNS)
    try:
        with convert_refusals(), transaction.atomic():
            plan = _make_locked_plan(found, data)
            if token is not None and by is not None:
                plan.check(token, by)
            if wrong := plan.counts[LineOutcome.WRONG]:
                raise ImportRefusedError(sentences.IMPORT_LINES_WRONG(n=wrong))
            return _store(plan, by, tell)
    except (RefusedByDatabaseError, RowsBusyError, ClientGroupError) as error:
        raise ImportRefusedError(sentences.IMPORT_REFUSED(problem=error.message)) from None
    except OperationalError as error:
        if not isinstance(error.__cause__, (LockNotAvailable, DeadlockDetected)):
            raise
        refusal = sentences.IMPORT_REFUSED(problem=sentences.IMPORT_BUSY())
        raise ImportRefusedError(refusal) from None


def _make_locked_plan(found: ImportFile, data: bytes) -> ImportPlan:
    """Plan the file, and lock its clients and their rows: the plan holds until the transaction ends.

    A client isn't moved meanwhile. Raises `RowsBusyError`.
    """
    locked = set(_select_clients(found).values_list("pk", flat=True))
    Client.objects.lock_rows(*locked)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    plan = _make_plan(found, data)
    if any(not p.is_new and p.client.pk not in locked for p in plan.clients):
        # NOVA has added it, or given it this slug, since they were locked.
        raise RowsBusyError(sentences.IMPORT_BUSY())
    return plan


def _sign(by: User, digest: str) -> str:
    text = f"{by.pk}:{digest}"
    return salted_hmac("migration.imports.preview", text, algorithm="sha256").hexdigest()


def _select_clients(found: ImportFile) -> ClientPhaseQuerySet:
    """Select the stored clients whose slug the file has, as it stands there or without the blanks around it."""
    slugs = {text for line in _list_sound(found) for text in (line.slug, line.cells["slug"])}
    return all_clients().filter(slug__in=slugs)


def _list_sound(found: ImportFile) -> Iterator[FileLine]:
    return (line for line in found.lines if not line.problem and line.slug)


def _make_plan(found: ImportFile, data: bytes) -> ImportPlan:
    """Plan each client of the file. Reads clients, rows and groups within the caller's transaction."""
    clients = _select_clients(found).with_phase().with_leaving().with_revision()
    clients.read_rows_and_columns()
    stored = {client.slug: client for client in clients}
    groups = defaultdict(set)
    members = GroupMember.objects.filter(client_id__in=[client.pk for client in clients])
    for client_id, key in members.values_list("client_id", "group__key"):
        groups[client_id].add(key)
    # Before the plan puts the new values into the clients.
    state = [
        (c.pk, get_phase(c).value, c.make_stamp_of_read(), sorted(groups[c.pk])) for c in clients
    ]

    planners: dict[str, ClientPlanner] = {}
    of_client: dict[str, list[FileLine]] = defaultdict(list)
    planned: list[PlannedLine] = []
    for line in found.lines:
        if line.problem or not line.slug:
            problem = line.problem or sentences.IMPORT_SLUG_MISSING()
            # Its cells may stand in the wrong columns: not even a slug is shown of it.
            planned.append(PlannedLine(line.number, "", problems=[problem]))
        else:
            slug = line.cells["slug"] if line.cells["slug"] in stored else line.slug
            of_client[slug].append(line)
    slugs = _read_slugs()
    for slug, lines in of_client.items():
        client = stored.get(slug)
        planner = ClientPlanner(slug, client, groups=groups[client.pk] if client else ())
        planned += planner.plan_lines(lines)
        if client is None:
            _check_new(planner, slugs)
        planners[slug] = planner
    planned.sort(key=lambda line: line.number)
    return ImportPlan(
        planned,
        [planner.plan for planner in planners.values()],
        found.warning,
        file_digest=sha256(data).hexdigest(),
        plan_digest=_digest_plan(planned, sorted(state)),
    )


def _digest_plan(planned: Iterable[PlannedLine], state: object) -> str:
    lines = [(line.number, line.slug, line.outcome.value, line.columns) for line in planned]
    return sha256(json.dumps([lines, state]).encode()).hexdigest()


def _read_slugs() -> dict[str, str]:
    """Return every slug by what is left of it without regard to capital letters."""
    return {
        slug.casefold(): slug for slug in Client.objects.order_by().values_list("slug", flat=True)
    }


def _check_new(planner: ClientPlanner, slugs: dict[str, str]) -> None:
    """Note what is wrong with a new client as a whole: its slug, and a document that no secret can hold."""
    client, first = planner.plan.client, planner.lines[0]
    prefix, layout = settings.NOVA_SECRET_PREFIX, configured_layout()
    if other := slugs.get(client.slug.casefold()):
        first.problems.append(sentences.IMPORT_SLUG_LIKE_OTHER(slug=other))
    slugs[client.slug.casefold()] = client.slug
    try:
        read_cell(Client, "slug", client.slug)
    except ValidationError as error:
        problem: Message | str | None = " ".join(error.messages)
    else:
        problem = documents.name_problem(client.slug, prefix=prefix, layout=layout)
    if problem:
        refused = sentences.IMPORT_CELL_REFUSED(column="slug", problem=problem)
        first.problems.append(refused)
    if not any(line.problems for line in planner.lines):
        document = documents.build_document(client.name, planner.rows, slug=client.slug)
        if too_large := documents.size_problem(document, client.slug, prefix=prefix, layout=layout):
            first.problems.append(too_large)


def _store(plan: ImportPlan, by: User | None, tell: Callable[[int], None]) -> ImportResult:
    # In one order, so that two imports of the same slugs wait for each other and never both.
    changed = sorted(plan.new_or_changed_clients, key=lambda planned: planned.client.slug)
    # What they hold before; what is stored then the workers look at, within a minute.
    note_values_on_commit(*(p.client.pk for p in changed if p.logins and not p.is_new))
    for start in range(0, len(changed), AT_ONCE):
        some = changed[start : start + AT_ONCE]
        _store_clients(some)
        tell(start + len(some))
    groups = _put_into_groups(changed, by)
    new = sum(planned.is_new for planned in changed)
    numbers = {
        "new": new,
        "changed": len(changed) - new,
        "unchanged": len(plan.clients) - len(changed),
    }
    correlation = _record(changed, numbers, by)
    return ImportResult(
        **numbers,
        client_ids=[planned.client.pk for planned in plan.clients],
        group_ids=[group.pk for group in groups],
        correlation=correlation,
    )


def _store_clients(changed: Collection[ClientImport]) -> None:
    """Write new clients and logins, and the changed columns of stored ones, in a few statements for each table."""
    new = [planned.client for planned in changed if planned.is_new]
    written: list[tuple[Client | Credential, Collection[str]]] = [
        (p.client, p.columns) for p in changed if p.columns and not p.is_new
    ]
    insert_rows(Client, new)
    for planned in changed:
        for login in planned.logins:
            login.row.client_id = planned.client.pk
            if not login.is_new:
                written.append((login.row, login.columns))
    _write_columns(written)
    logins = [login for planned in changed for login in planned.logins if login.is_new]
    for kind, model in CREDENTIAL_MODELS.items():
        insert_rows(model, [login.row for login in logins if kind == login.row.TYPE])


def _write_columns(written: Iterable[tuple[Client | Credential, Collection[str]]]) -> None:
    """Write these columns of rows that are locked, and no other."""
    together: dict[tuple[type[Model], tuple[str, ...]], list[Model]] = defaultdict(list)
    for row, columns in written:
        row.updated_at = timezone.now()
        together[type(row), (*columns, "updated_at")].append(row)
    for (model, columns), rows in together.items():
        done = model._default_manager.bulk_update(rows, columns, batch_size=WRITTEN_AT_ONCE)
        if done < len(rows):
            raise RefusedByDatabaseError(credential_sentences.ROW_LEFT_OUT())


def _put_into_groups(changed: Iterable[ClientImport], by: User | None) -> list[ClientGroup]:
    members: dict[str, list[int]] = defaultdict(list)
    for planned in changed:
        for name in planned.groups:
            members[name].append(planned.client.pk)
    groups = []
    # In one order, so that no two imports wait for each other's groups.
    for name, client_ids in sorted(members.items(), key=lambda item: fold_group_name(item[0])):
        group = ClientGroup.objects.get_or_add(name, by=by)
        group.put_clients(all_clients().with_ids(client_ids), by=by)
        groups.append(group)
    return groups


def _record(changed: Iterable[ClientImport], numbers: dict[str, int], by: User | None) -> str:
    """Record the numbers, and for each client which of its fields were written; return what these entries share."""
    events = [
        AuditEvent.make_signed(AuditCode.IMPORT, audit_sentences.IMPORTED_CLIENTS(**numbers), by=by)
    ]
    for planned in changed:
        if not (changes := tuple(_describe_changes(planned))):
            continue  # its groups have entries of their own
        sentence = audit_sentences.CLIENT_ADDED if planned.is_new else audit_sentences.CLIENT_SAVED
        events.append(
            AuditEvent.make_signed(
                AuditCode.IMPORT,
                sentence(changes=changes),
                by=by,
                client_id=planned.client.pk,
                slug=planned.client.slug,
            )
        )
    AuditEvent.objects.insert_already_signed(events)
    return events[0].correlation


def _describe_changes(planned: ClientImport) -> Iterator[Message]:
    if planned.columns:
        yield audit_sentences.FIELDS_OF_CLIENT(fields=", ".join(planned.columns))
    for login in planned.logins:
        added = audit_sentences.LOGIN_ADDED if login.is_new else audit_sentences.LOGIN_CHANGED
        yield added(row=login.row.make_row_name_message(), fields=", ".join(login.columns))
