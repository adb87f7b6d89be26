"""Examines whether what was made with this site's keys can still be read: second factors, and the ids of versions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migration.operations.doctor import process_sentences
from migration.operations.doctor.findings import CheckName, report_failure, report_ok
from migration.operations.keys import count_versions_of_lost_key
from migration.people.second_factors import list_unreadable_users
from migration.sentences import VERSIONS_UNPROVED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from migration.operations.doctor.findings import DoctorOptions, Finding


def examine_keys(_asked: DoctorOptions) -> Iterator[Finding]:
    """Check that every second factor can be decrypted, and that the key of the first release's versions is there."""
    found = []
    if users := list_unreadable_users():
        told = process_sentences.FACTORS_UNREADABLE(n=len(users))
        found.append(
            report_failure(CheckName.KEYS, told, process_sentences.BRING_SECRET_KEY_BACK())
        )
    if unproved := count_versions_of_lost_key():
        told = VERSIONS_UNPROVED(n=unproved)
        found.append(
            report_failure(CheckName.KEYS, told, process_sentences.BRING_VERSION_KEY_BACK())
        )
    yield from found or [report_ok(CheckName.KEYS, process_sentences.KEYS_READ_ALL())]
