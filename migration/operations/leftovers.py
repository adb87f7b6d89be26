"""Finds out what is left of a client, and where: rows, secrets, copies, the legacy table, and who still counts on it.

Asks AWS and reads the legacy table; holds no value. What it can't find out it names, and never calls nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from credentials.legacy import LegacyTableError, count_legacy_rows
from credentials.models import Credential
from credentials.pointers import list_all_rows, list_rows_in_clear
from migration.campaigns.members import count_in_campaigns
from migration.models.client_groups import ClientGroup
from migration.models.offboardings import Offboarding
from migration.models.reads import ReadCount
from migration.models.rotation_schedules import RotationSchedule
from migration.operations.aws_store import secret_names, secrets_manager
from migration.operations.leaving_checks import find_recent_counted_read, list_objections
from migration.operations.secret_owners import load_owners
from migration.operations.snapshots import read_client_with_rows, read_snapshots_for_page
from migration.secrets.models import FoundCopy, SearchedClient
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.document import Layout

if TYPE_CHECKING:
    from migration.campaigns.models import Campaign
    from migration.operations.secret_owners import SecretOwners
    from migration.operations.snapshots import ClientSnapshot
    from nova_credentials.messages import Message
    from nova_credentials.phases import Phase


class RowContent(StrEnum):
    """Says whether the secret columns of a row hold values or pointers."""

    VALUES = "values"
    POINTERS = "pointers"


@dataclass(frozen=True)
class RowLeft:
    """A row of the client that is left, and whether it holds secret values or pointers."""

    name: Message
    holds: RowContent


@dataclass(frozen=True)
class SecretLeft:
    """One secret that the client can have. `problem`: AWS did not say."""

    name: str
    is_there: bool = False
    is_ours: bool = True
    is_deleted: bool = False
    deletes_at: datetime | None = None
    problem: Message | None = None


@dataclass(frozen=True)
class CopiesLeft:
    """What the newest search for copies found; `searched_at` None: there was none."""

    searched_at: datetime | None = None
    search_id: int | None = None
    found: tuple[FoundCopy, ...] = ()
    not_looked_at: int = 0


@dataclass(frozen=True)
class Leftovers:
    """Everything that is known to be left of one client."""

    slug: str
    phase: Phase
    active: bool
    leaving: Offboarding | None
    rows: tuple[RowLeft, ...]
    secrets: tuple[SecretLeft, ...]
    copies: CopiesLeft
    has_legacy_table: bool  # be it one that can't be read
    legacy_rows: int | None  # None: `legacy_problem` says why it isn't known
    legacy_problem: Message | None
    last_read_at: datetime | None
    recent_read_at: datetime | None
    groups: tuple[ClientGroup, ...]
    campaigns: tuple[Campaign, ...]
    schedules: tuple[RotationSchedule, ...]
    # Why it can't be offboarded now, were recent reads acknowledged.
    objections: tuple[Message, ...]

    @property
    def has_secrets_lost_since_leaving(self) -> bool:
        """Say whether AWS no longer holds a secret whose deletion was scheduled."""
        return any(self.secrets_lost_since_leaving)

    @property
    def secrets_lost_since_leaving(self) -> list[str]:
        """Return which secrets, to be deleted when the client left, are not there any more, or not as ours."""
        known = self.leaving.deletions if self.leaving else {}
        there = {s.name for s in self.secrets if s.problem or (s.is_there and s.is_ours)}
        return [name for name in known if name not in there]


def find_leftovers(*, client_id: int) -> Leftovers:
    """Find what is left of a client. Raises `NovaSchemaError`; `KeyError` if there is no client."""
    snapshot = read_snapshots_for_page([client_id])[client_id]
    leaving = Offboarding.objects.filter(pk=client_id).first()
    client = read_client_with_rows(client_id)
    in_clear = list_rows_in_clear(client)
    # The client itself has secret values only in columns of NOVA's that are mapped.
    rows = [r for r in list_all_rows(client) if isinstance(r, Credential) or r in in_clear]
    legacy_rows, legacy_problem = _count_legacy(snapshot.slug)
    read = ReadCount.objects.filter(pk=client_id).first()
    return Leftovers(
        slug=snapshot.slug,
        phase=snapshot.phase,
        active=snapshot.active,
        leaving=leaving,
        rows=tuple(
            RowLeft(
                row.make_row_name_message(),
                RowContent.VALUES if row in in_clear else RowContent.POINTERS,
            )
            for row in rows
        ),
        secrets=tuple(_list_secrets(snapshot, leaving)),
        copies=_find_copies(client_id),
        has_legacy_table=legacy_rows is not None or legacy_problem is not None,
        legacy_rows=None if legacy_problem else legacy_rows or 0,
        legacy_problem=legacy_problem,
        last_read_at=read.last_read_at if read else None,
        recent_read_at=find_recent_counted_read(client_id),
        groups=tuple(ClientGroup.objects.filter(members__client=client_id)),
        campaigns=tuple(each.campaign for each in count_in_campaigns([client_id])),
        schedules=tuple(
            RotationSchedule.objects.of_client_or_its_groups(client_id).select_related("group")
        ),
        objections=tuple(list_objections(snapshot, acknowledged=True)),
    )


def _list_secrets(snapshot: ClientSnapshot, leaving: Offboarding | None) -> list[SecretLeft]:
    """Describe every secret that the client can have, in either layout, and those that went under an earlier slug."""
    deletions = leaving.deletions if leaving else {}
    slugs = dict.fromkeys([snapshot.secret_slug, snapshot.other_slug or snapshot.secret_slug])
    names = [n for slug in slugs for layout in Layout for n in secret_names(slug, layout).values()]
    names = list(dict.fromkeys([*names, *deletions]))
    owners = load_owners(names)
    return [_describe_secret(n, deletions.get(n), owners, snapshot.client_id) for n in names]


def _describe_secret(
    name: str, deletes_at: str | None, owners: SecretOwners, client_id: int
) -> SecretLeft:
    try:
        there = secrets_manager(interactive=True).describe_secret(name)
    except SecretsManagerError as error:
        return SecretLeft(name, problem=None if error.not_found else error.message)
    known = datetime.fromisoformat(deletes_at) if deletes_at and there.deleted_at else None
    is_ours = owners.is_ours(there, client_id)
    return SecretLeft(name, True, is_ours, there.deleted_at is not None, known)


def _find_copies(client_id: int) -> CopiesLeft:
    newest = SearchedClient.objects.newest_of([client_id]).get(client_id)
    if newest is None:
        return CopiesLeft()
    found = FoundCopy.objects.filter(search_id=newest.search_id, client_id=client_id)
    return CopiesLeft(newest.searched_at, newest.search_id, tuple(found), newest.not_looked_at)


def _count_legacy(slug: str) -> tuple[int | None, Message | None]:
    try:
        return count_legacy_rows(slug), None
    except LegacyTableError as error:
        return None, error.message
