"""Tells the versions that this database knows of from those that the site wrote after the backup it was restored from.

Its statements run on the limiter's own connection, so threads that write to AWS may call it too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.models.planned_versions import PlannedVersion
from migration.operations.rate_limiter import rate_limiter

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from migration.models.secrets import KnownSecret
    from migration.operations.keys import VersionIdKeys
    from nova_credentials.aws.secrets_manager import SecretValue


def record_planned_versions(version_ids: Collection[str]) -> None:
    """Note the ids of versions before they are written, so that a write whose answer is lost is known afterwards."""
    if version_ids:
        rate_limiter().run_statement(lambda own: PlannedVersion.objects.record(own, version_ids))


def find_own_unplanned_versions(
    values: Iterable[SecretValue], *, known: Mapping[str, KnownSecret], keys: VersionIdKeys
) -> set[str]:
    """Return the ids of the versions that this site wrote and that this database never planned to write.

    There are none, unless the tables were restored from a backup. A version from before the database noted its first
    plan can't be told and counts as known. `known` are the secrets by name.
    """
    in_doubt = {
        value.version_id: value
        for value in values
        if (row := known.get(value.name)) is None or row.version_id != value.version_id
        if keys.is_ours(value.name, value.version_id)
    }
    if not in_doubt:
        return set()
    planned, since = rate_limiter().run_statement(
        lambda own: PlannedVersion.objects.find_known(own, in_doubt)
    )
    return {
        version_id
        for version_id, value in in_doubt.items()
        if version_id not in planned
        and since is not None
        and (value.created_at is None or value.created_at > since)
    }
