"""Examines whether a secret has a version that waits to be current: an interrupted rotation may have left it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

from migration.operations.aws_store import secrets_manager
from migration.operations.doctor import sentences
from migration.operations.doctor.findings import (
    CheckName,
    report_failure,
    report_ok,
    report_unlooked,
)
from nova_credentials.aws.secrets_manager import SecretsManagerError
from nova_credentials.aws.versions import list_pending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding

# Of 100 secrets each: the page that shows the findings waits for them.
MOST_PAGES = 30
MOST_NAMES = 5


def examine_pending_versions(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that no secret has a pending version left; asks AWS for up to MOST_PAGES pages of secrets."""
    sm, prefix = secrets_manager(interactive=True), f"{settings.NOVA_SECRET_PREFIX}/"
    found: list[str] = []
    looked_at, page = 0, ""
    try:
        for _page in range(MOST_PAGES):
            pending, number, page = list_pending(sm, prefix, page)
            found, looked_at = found + pending, looked_at + number
            if not page:
                break
    except SecretsManagerError as error:
        yield report_unlooked(
            CheckName.STAGES, sentences.STAGES_NOT_ASKED(code=error.code), sentences.REACH_AWS()
        )
        return
    if found:
        names = (*found[:MOST_NAMES], *["…"] * (len(found) > MOST_NAMES))
        yield report_failure(
            CheckName.STAGES,
            sentences.VERSIONS_PENDING(n=len(found), names=names),
            sentences.TAKE_PENDING_OFF(),
        )
    else:
        yield report_ok(CheckName.STAGES, sentences.NO_VERSION_PENDING(n=looked_at))
    if page:
        yield report_unlooked(CheckName.STAGES, sentences.STAGES_IN_PART(n=looked_at))
