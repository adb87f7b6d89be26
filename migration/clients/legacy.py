"""Imports the clients of NOVA's first table, which holds one login of each type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import OperationalError, transaction
from django.utils.crypto import salted_hmac
from psycopg.errors import DeadlockDetected, LockNotAvailable

from credentials.legacy import LegacyRow, LegacyTableContent, fold_slug, read_legacy_table
from credentials.models import Client, Credential, DatabaseCredential, RowsBusyError, read_rows
from credentials.pointers import is_purged
from credentials.refusals import RefusedByDatabaseError, convert_refusals, insert_rows
from credentials.secret_names import configured_layout
from credentials.values import warn_of_outer_blanks
from migration.core.audit import AuditEvent
from migration.core.clients import all_clients
from migration.core.leases import LeaseKind, hold_until_commit
from migration.core.secrets import find_layout
from migration.core.sentences import IS_OFFBOARDED
from migration.pushes.saves import (
    CLIENT_ADDED,
    CLIENT_ADDED_EVENT,
    CLIENT_SAVED,
    CLIENT_SAVED_EVENT,
    FIELDS_OF_CLIENT,
    LOGIN_ADDED,
)
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.phases import Phase


class LegacyRowOutcome(StrEnum):
    """What becomes of a row of the legacy table."""

    NEW_CLIENT = "new_client"
    NEW_LOGIN = "new_login"
    SAME = "same"
    OTHER_VALUES = "other_values"
    AWS_ALONE = "aws_alone"
    OFFBOARDED = "offboarded"
    NEAR_SLUG = "near_slug"
    SEVERAL = "several"
    UNFIT = "unfit"


TAKEN = (LegacyRowOutcome.NEW_CLIENT, LegacyRowOutcome.NEW_LOGIN)


class NothingImported(MessageError):  # noqa: N818  # like the other refusals
    """Nothing was taken from the legacy table."""


@dataclass(frozen=True)
class PlannedRow:
    """One row and what becomes of it. Its message names fields, never a value."""

    row: LegacyRow
    kind: LegacyRowOutcome
    message: Message
    client: Client | None = None

    @property
    def warnings(self) -> list[Message]:
        """Name what may be a mistake in what is taken, as it is."""
        secrets = {name: self.row.login[name] for name in DatabaseCredential.SECRET_FIELDS}
        return warn_of_outer_blanks(secrets) if self.kind in TAKEN else []

    @property
    def slug(self) -> str:
        return self.row.slug or ""

    @property
    def client_id(self) -> int | None:
        """Return the id of the client that has this slug, or nearly the same; None where there is none."""
        return self.client.pk if self.client else None


@dataclass(frozen=True)
class LegacyPlan:
    """Holds what an import from the legacy table would do now."""

    table: LegacyTableContent
    rows: tuple[PlannedRow, ...] = ()
    # Another one after any change of the table or of the clients that it names.
    stamp: str = field(default="", repr=False)

    @property
    def taken(self) -> list[PlannedRow]:
        return [row for row in self.rows if row.kind in TAKEN]

    @property
    def left_alone(self) -> list[PlannedRow]:
        """Return the rows that somebody has to look at."""
        settled = (*TAKEN, LegacyRowOutcome.SAME)
        return [row for row in self.rows if row.kind not in settled]

    @property
    def same(self) -> int:
        return sum(row.kind == LegacyRowOutcome.SAME for row in self.rows)


def plan_legacy_import() -> LegacyPlan:
    """Compare the legacy table with the newer ones. Raises `LegacyTableError` where it can't be read."""
    table = read_legacy_table()
    planner = _Planner(table.rows)
    rows = tuple(map(planner.plan_row, table.rows))
    state = [(each.row, each.row.login, each.kind, each.client_id) for each in rows]
    digest = salted_hmac("migration.legacy_import", repr(state), algorithm="sha256")
    return LegacyPlan(table, rows, digest.hexdigest())


LEGACY_CHANGED = Sentence(
    "legacy_changed",
    "Nothing was taken: the legacy table or the clients were changed since you looked. Look again.",
)
LEGACY_DATABASE_BUSY = Sentence(
    "legacy_database_busy",
    "Nothing was taken: NOVA or somebody else writes the tables right now. Try again.",
)
LEGACY_REFUSED = Sentence("legacy_refused", "Nothing was taken: %(problem)s")


def import_legacy_clients(*, seen: str | None = None, by: User | None = None) -> LegacyPlan:
    """Store what the plan takes, with an entry of the audit for each client, and return the plan.

    `seen` is the stamp of the plan that somebody looked at. Raises `NothingImported`, and `LegacyTableError`.
    """
    try:
        with convert_refusals(), transaction.atomic():
            held = _hold_clients(plan_legacy_import())
            # Anew, now that nobody gives these clients a login or moves them.
            plan = plan_legacy_import()
            needed = {each.client_id for each in plan.taken if each.client}
            if (seen is not None and plan.stamp != seen) or needed - held:
                raise NothingImported(LEGACY_CHANGED())
            # In the order of an import of a file, so that neither waits for the other.
            for each in sorted(plan.taken, key=lambda each: each.slug):
                _store_row(each, by=by)
    except RefusedByDatabaseError as refusal:
        raise NothingImported(LEGACY_REFUSED(problem=refusal.message)) from None
    except OperationalError as error:
        if not isinstance(error.__cause__, (LockNotAvailable, DeadlockDetected)):
            raise
        raise NothingImported(LEGACY_DATABASE_BUSY()) from None
    return plan


LEGACY_CLIENT_BUSY = Sentence(
    "legacy_client_busy",
    "Nothing was taken: a push, a move or NOVA works on %(slug)s right now. Try again.",
)


def _hold_clients(plan: LegacyPlan) -> set[int]:
    """Hold the clients that are given a login, until the transaction ends: no move, no push, no new row of NOVA's."""
    clients = [each.client for each in plan.taken if each.client]
    for client in sorted(clients, key=lambda client: client.pk):
        busy = LEGACY_CLIENT_BUSY(slug=client.slug)
        if not hold_until_commit(LeaseKind.CLIENT, client.pk):
            raise NothingImported(busy)
        try:
            Client.objects.lock_rows(client.pk)
        except RowsBusyError:
            raise NothingImported(busy) from None
    return {client.pk for client in clients}


FROM_LEGACY_TABLE = Sentence("from_legacy_table", "taken from the legacy table")


def _store_row(planned: PlannedRow, *, by: User | None) -> None:
    row, client = planned.row, planned.client
    changes: list[Message] = []
    if client is None:
        client = _make_client(row)
        insert_rows(Client, [client])
        changes.append(FIELDS_OF_CLIENT(fields="name, slug, is_active"))
    login = DatabaseCredential(client_id=client.pk, **row.login)
    insert_rows(DatabaseCredential, [login])
    added = LOGIN_ADDED(row=login.make_row_name_message(), fields=", ".join(row.login))
    changes += [added, FROM_LEGACY_TABLE()]
    is_new = planned.client is None
    code = CLIENT_ADDED_EVENT if is_new else CLIENT_SAVED_EVENT
    sentence = CLIENT_ADDED if is_new else CLIENT_SAVED
    AuditEvent.objects.record(
        code, sentence(changes=tuple(changes)), by=by, client_id=client.pk, slug=client.slug
    )


def _make_client(row: LegacyRow) -> Client:
    return Client(name=row.name or "", slug=row.slug or "", is_active=row.is_active)


LEGACY_NEW_CLIENT = Sentence(
    "legacy_new_client", "There is no such client: it is added, with its database login."
)
LEGACY_NEW_INACTIVE = Sentence(
    "legacy_new_inactive",
    "There is no such client: it is added, with its database login. It is inactive, as in the legacy table.",
)
LEGACY_NEW_LOGIN = Sentence(
    "legacy_new_login", "The client has no database login: it is given this one."
)
LEGACY_AWS_ALONE = Sentence(
    "legacy_aws_alone",
    "NOVA reads this client from AWS: nothing is taken, and what only AWS holds is not compared.",
)
LEGACY_NEAR_SLUG = Sentence(
    "legacy_near_slug",
    "There is a client whose slug differs in case, blanks or the form of its characters only: %(slug)s. Nothing is"
    " taken.",
)
LEGACY_SEVERAL = Sentence(
    "legacy_several",
    "%(n)s rows have this slug, or one that differs only in case, spaces or Unicode form. None is added.",
)


class _Planner:
    """Holds the clients beside the rows, read at once for all of them."""

    def __init__(self, rows: Collection[LegacyRow]) -> None:
        slugs = {row.slug for row in rows if row.slug}
        found = all_clients().filter(slug__in=slugs).with_phase().with_layout().with_leaving()
        self.clients = {client.slug: client for client in found}
        read_rows(self.clients.values())
        self.near: dict[str, Client] = {}
        if slugs - self.clients.keys():
            others = Client.objects.only("pk", "slug").order_by("pk")
            self.near = {fold_slug(client.slug): client for client in others}
        self.same_slug = Counter(fold_slug(row.slug) for row in rows)

    def plan_row(self, row: LegacyRow) -> PlannedRow:
        if client := self.clients.get(row.slug or ""):
            return self._plan_for_client(row, client)
        if near := self.near.get(fold_slug(row.slug)):
            message = LEGACY_NEAR_SLUG(slug=near.slug)
            return PlannedRow(row, LegacyRowOutcome.NEAR_SLUG, message, near)
        if problem := self._find_several(row):
            return problem
        if unfit := _find_unfit(row, client=None):
            return PlannedRow(row, LegacyRowOutcome.UNFIT, unfit)
        sentence = LEGACY_NEW_CLIENT if row.is_active else LEGACY_NEW_INACTIVE
        return PlannedRow(row, LegacyRowOutcome.NEW_CLIENT, sentence())

    def _plan_for_client(self, row: LegacyRow, client: Client) -> PlannedRow:
        logins = client.credentials_by_type()[CredentialType.DATABASE]
        if any(is_purged(login) for login in logins):
            return PlannedRow(row, LegacyRowOutcome.AWS_ALONE, LEGACY_AWS_ALONE(), client)
        if logins:
            return _compare(row, client, logins)
        if Phase(client.phase).aws_is_authority:  # type: ignore[attr-defined]  # annotated
            return PlannedRow(row, LegacyRowOutcome.AWS_ALONE, LEGACY_AWS_ALONE(), client)
        if client.is_leaving_or_left:  # type: ignore[attr-defined]  # annotated
            # It left from `postgres`, as it has no login.
            message = IS_OFFBOARDED(slug=client.slug)
            return PlannedRow(row, LegacyRowOutcome.OFFBOARDED, message, client)
        if problem := self._find_several(row):
            return problem
        if unfit := _find_unfit(row, client=client):
            return PlannedRow(row, LegacyRowOutcome.UNFIT, unfit, client)
        return PlannedRow(row, LegacyRowOutcome.NEW_LOGIN, LEGACY_NEW_LOGIN(), client)

    def _find_several(self, row: LegacyRow) -> PlannedRow | None:
        number = self.same_slug[fold_slug(row.slug)]
        if number == 1:
            return None
        return PlannedRow(row, LegacyRowOutcome.SEVERAL, LEGACY_SEVERAL(n=number))


LEGACY_SAME = Sentence("legacy_same", "The newer tables hold the same values.")
LEGACY_OTHER_VALUES = Sentence(
    "legacy_other_values",
    "The newer tables hold other values: %(fields)s. Both are left as they are.",
    glue=", ",
)


def _compare(row: LegacyRow, client: Client, logins: Iterable[Credential]) -> PlannedRow:
    """Compare with the login that differs least; of equals with the primary one, which NOVA reads."""
    differences = [
        [name for name, value in row.login.items() if getattr(login, name) != value]
        for login in sorted(logins, key=lambda login: not login.is_primary)
    ]
    fields = min(differences, key=len)
    # Does NOVA read both or neither? NULL is inactive to it.
    if bool(row.is_active) != bool(client.is_active):
        fields = ["is_active", *fields]
    if row.name != client.name:
        fields = ["name", *fields]
    if not fields:
        return PlannedRow(row, LegacyRowOutcome.SAME, LEGACY_SAME(), client)
    message = LEGACY_OTHER_VALUES(fields=tuple(fields))
    return PlannedRow(row, LegacyRowOutcome.OTHER_VALUES, message, client)


LEGACY_BAD_SLUG = Sentence(
    "legacy_bad_slug", "No secret can be named after the slug: %(problem)s. Nothing is taken."
)
LEGACY_BAD_FIELDS = Sentence(
    "legacy_bad_fields",
    "The newer tables don't take what it holds: %(fields)s. Nothing is taken.",
    glue=", ",
)
LEGACY_TOO_LARGE = Sentence("legacy_too_large", "%(problem)s Nothing is added.")


def _find_unfit(row: LegacyRow, *, client: Client | None) -> Message | None:
    """Say why the form of a client would not take the row as it is; nothing is corrected on the way."""
    layout = find_layout(client.layout) if client else configured_layout()  # type: ignore[attr-defined]  # annotated
    prefix = settings.NOVA_SECRET_PREFIX
    if problem := documents.name_problem(row.slug or "", prefix=prefix, layout=layout):
        return LEGACY_BAD_SLUG(problem=problem)
    login = DatabaseCredential(client_id=0, **row.login)
    wrong = [] if client else _list_invalid(_make_client(row), leave_out=set())
    wrong += _list_invalid(login, leave_out={"client"})
    if wrong:
        return LEGACY_BAD_FIELDS(fields=tuple(dict.fromkeys(wrong)))
    rows = dict(client.credentials_by_type()) if client else {}
    rows[CredentialType.DATABASE] = [login]
    name = client.name if client else row.name or ""
    document = documents.build_document(name, rows, slug=row.slug or "", several_primary=True)
    if too_large := documents.size_problem(document, row.slug or "", prefix=prefix, layout=layout):
        return LEGACY_TOO_LARGE(problem=too_large)
    return None


def _list_invalid(made: Client | DatabaseCredential, *, leave_out: set[str]) -> list[str]:
    """Return the names of the fields whose values the model refuses."""
    try:
        made.full_clean(exclude=leave_out, validate_unique=False, validate_constraints=False)
    except ValidationError as error:
        return list(error.message_dict)
    return []
