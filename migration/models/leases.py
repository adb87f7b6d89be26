"""Owns the leases: which session works on a client, a batch, a search or the audit's chain. Knows no operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from django.db import models

if TYPE_CHECKING:
    from collections.abc import Collection

# Whether PostgreSQL has the advisory lock `session`, held by the process `pid`.
LOCK = """
EXISTS (
    SELECT FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database
    WHERE locktype = 'advisory' AND objsubid = 1 AND granted AND datname = current_database()
        AND pg_locks.pid = {pid} AND classid::bigint << 32 | objid::bigint = {session}
)
"""
# The places, from 1, of the sessions whose lock PostgreSQL has. An array, so that it fits into another statement.
PROVEN = f"""
array(
    SELECT asked.n FROM unnest(%(pids)s::int[], %(keys)s::bigint[]) WITH ORDINALITY AS asked (pid, key, n)
    WHERE {LOCK.format(pid="asked.pid", session="asked.key")}
)
"""  # noqa: S608  # constants


class ProvenSession(Protocol):
    """A session by its process id and by the number of its lock."""

    pid: int
    key: int


def make_proof_params(sessions: Collection[ProvenSession]) -> dict[str, list[int]]:
    """Return the parameters with which `PROVEN` asks about the sessions."""
    return {
        "pids": [session.pid for session in sessions],
        "keys": [session.key for session in sessions],
    }


class LeaseKind(models.IntegerChoices):
    """Names what a lease is for; the lease's key is its id."""

    CLIENT = 1
    BATCH = 2
    SEARCH = 3
    AUDIT = 4  # of its one chain


class Lease(models.Model):
    """A row that one session at a time holds. No role but the site's can hold, lock or read it.

    The table is UNLOGGED: a lease ends with its session, so none outlives a crash of PostgreSQL.
    """

    kind = models.SmallIntegerField(choices=LeaseKind)
    key = models.BigIntegerField()
    # The holder; all NULL while nobody holds it.
    pid = models.IntegerField(null=True)
    session_key = models.BigIntegerField(null=True)
    taken_at = models.DateTimeField(null=True)

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["kind", "key"], name="one_lease"),
        ]

    def __str__(self) -> str:
        return f"lease {self.get_kind_display()} {self.key}"
