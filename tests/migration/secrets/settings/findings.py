"""What is found of secrets that aren't as the settings say, once workers have compared what is stored of them."""

from migration.core.problems import Look
from migration.doctor.site import (
    find_differing_secrets,
    find_orphaned_secrets,
    find_unlooked_secrets,
)
from migration.secrets.settings import compare_looks_with_settings


def find_states() -> list[str]:
    """Return the state of each finding that isn't ok; ok alone where all are."""
    compare_looks_with_settings()
    look = Look()
    finders = find_differing_secrets, find_unlooked_secrets, find_orphaned_secrets
    states = [finding.state.value for find in finders for finding in find(look)]
    return [state for state in states if state != "ok"] or ["ok"]
