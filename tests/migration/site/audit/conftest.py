"""What the tests of the audit share: entries, and a superuser who gets around the site."""

from collections.abc import Callable

import pytest
from django.db import connection

from migration.core.audit import WRITES_STARTED_EVENT
from migration.core.audit_chain import AuditHead, seal_audit
from migration.core.aws_writes import STARTED_WRITES
from migration.models import AuditEvent


def write_entries(number: int = 5, **fields) -> list[AuditEvent]:
    facts = STARTED_WRITES()
    return [
        AuditEvent.objects.record(WRITES_STARTED_EVENT, facts, by=f"user {n}", **fields)
        for n in range(number)
    ]


@pytest.fixture
def chain(transactional_db) -> AuditHead:
    """Five entries in a chain of their own; what `migrate` recorded stands before them."""
    write_entries()
    return seal_audit(from_beginning=True)


@pytest.fixture
def as_superuser(transactional_db) -> Callable[..., int]:
    """Runs a statement in a session in which no trigger of the tests' function looks on; returns its rows."""

    def run(statement: str, *values: object) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            try:
                cursor.execute(statement, values)
                return cursor.rowcount
            finally:
                cursor.execute("RESET session_replication_role")

    return run
