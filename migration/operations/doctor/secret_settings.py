"""Examines whether secrets have the tags, description, KMS key and replicas of the settings, as last described."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration import setting_sentences as told
from migration.models.secrets import Secret
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.operations.stored_looks import find_settings_drift

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

CHECK = CheckName.SECRET_SETTINGS
MOST_NAMES = 5


def examine_secret_settings(_asked: DoctorOptions) -> Iterator[Finding]:
    """Report the clients whose secrets differ, and the secrets that no worker has described yet."""
    found = find_settings_drift()
    differing = sum(client.differs for client in found.clients)
    untold = len(found.clients) - differing
    if differing:
        yield report_failure(CHECK, told.SECRETS_NOT_AS_SET(n=differing), told.APPLY_THE_SETTINGS())
    if untold:
        yield report_unlooked(CHECK, told.KEYS_UNTOLD(n=untold), told.APPLY_ONCE())
    if found.overdue:
        yield report_unlooked(
            CHECK, told.SECRETS_NOT_DESCRIBED(n=found.overdue), told.WORKERS_DESCRIBE()
        )
    deleted = Secret.objects.of_deleted_clients().order_by("name").values_list("name", flat=True)
    if number := deleted.count():
        names = (*deleted[:MOST_NAMES], *["…"] * (number > MOST_NAMES))
        yield report_failure(
            CHECK, told.SECRETS_OF_DELETED_CLIENTS(n=number, names=names), told.DELETE_THEM()
        )
    if not (found.clients or found.overdue or number):
        yield report_ok(CHECK, told.SECRETS_AS_SET(n=found.looked_at))
