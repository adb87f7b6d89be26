"""Lists the versions of a secret, and the secrets with a version that waits to be current. Knows no client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nova_credentials.aws.secrets_manager import _call_aws

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_secretsmanager.type_defs import (
        ListSecretsRequestTypeDef,
        ListSecretVersionIdsRequestTypeDef,
    )

    from nova_credentials.aws.secrets_manager import SecretsManager

CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"
# AWS keeps about 100 versions of a secret, and more of one that is written very often.
_PAGE_SIZE, _MOST_PAGES = 100, 5


@dataclass(frozen=True)
class ListedVersion:
    """A version as AWS lists it, without its value. One without stages can be gone at any time."""

    version_id: str
    stages: tuple[str, ...]
    created_at: datetime | None


def list_versions(sm: SecretsManager, name: str) -> list[ListedVersion]:
    """Return the versions that AWS has of the secret, the newest first, those without stages too."""
    found: list[ListedVersion] = []
    asked: ListSecretVersionIdsRequestTypeDef = {
        "SecretId": name,
        "IncludeDeprecated": True,
        "MaxResults": _PAGE_SIZE,
    }
    for _page in range(_MOST_PAGES):
        answer = _call_aws(name, sm.sm.list_secret_version_ids, **asked)
        found += [
            ListedVersion(
                version["VersionId"],
                tuple(version.get("VersionStages", ())),
                version.get("CreatedDate"),
            )
            for version in answer.get("Versions", [])
        ]
        if not (token := answer.get("NextToken")):
            break
        asked["NextToken"] = token
    # Of two of one second, the one with more recent stages is listed first.
    return sorted(found, key=_sort_by_age)


def _sort_by_age(version: ListedVersion) -> tuple[float, bool, bool]:
    age = -version.created_at.timestamp() if version.created_at else 0.0
    return age, CURRENT not in version.stages, not version.stages


def list_pending(sm: SecretsManager, prefix: str, page: str = "") -> tuple[list[str], int, str]:
    """Return the secrets, of a page of those whose names begin so, with a version that waits to be current.

    And how many the page has, and the next page. The list may be minutes old.
    """
    asked: ListSecretsRequestTypeDef = {
        "Filters": [{"Key": "name", "Values": [prefix]}],
        "MaxResults": _PAGE_SIZE,
    }
    if page:
        asked["NextToken"] = page
    answer = _call_aws(prefix, sm.sm.list_secrets, **asked)
    found = answer["SecretList"]
    pending = [
        secret["Name"]
        for secret in found
        if any(
            PENDING in stages and CURRENT not in stages
            for stages in secret.get("SecretVersionsToStages", {}).values()
        )
    ]
    return pending, len(found), answer.get("NextToken", "")
