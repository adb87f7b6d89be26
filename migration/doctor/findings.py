"""Owns what a check of the doctor found: its state, what to say of it, and what to do. Asks nobody."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from django.db import connection, transaction
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from nova_credentials.messages import Message


class FindingState(StrEnum):
    """The result of a check. Only OK means that all is well."""

    OK = "ok"
    FAILED = "failed"
    NOT_LOOKED_AT = "not_looked_at"


WORST_FIRST = (FindingState.FAILED, FindingState.NOT_LOOKED_AT, FindingState.OK)


class CheckName(TextChoices):
    """A check by its name in `check_nova`'s output, with its title on the page."""

    SCHEMA = "schema", _("The site's schema")
    SCHEMA_MIGRATIONS = "schema_migrations", _("The site's tables")
    AWS_WRITES = "aws_writes", _("AWS writes")
    KEYS = "keys", _("What the keys can read")
    CREATE_RIGHTS = "create_rights", _("Who may create objects")
    OWNERS = "owners", _("Owners of NOVA's tables")
    BOUNDARY = "boundary", _("NOVA's role and the site's")
    SITE_GRANTS = "site_grants", _("Rights of the site")
    READER_GRANTS = "reader_grants", _("Rights of NOVA's reader")
    STATEMENT_LOG = "statement_log", _("Values in PostgreSQL's log")
    TRIGGERS = "triggers", _("Triggers that count writes")
    COUNTING_PROOF = "counting_proof", _("Proof that writes are counted")
    COLUMNS = "columns", _("Columns of NOVA's tables")
    INDEXES = "indexes", _("Indexes of NOVA's tables")
    NOVA_OBJECTS = "nova_objects", _("Objects of others on NOVA's tables")
    POOLER = "pooler", _("Pooler in front of PostgreSQL")
    READERS = "readers", _("NOVA's reader")
    OTHER_READERS = "other_readers", _("Reads past the package")
    WORKERS = "workers", _("Workers")
    QUEUE = "queue", _("Task queue")
    COPIES = "copies", _("Copies of secret values")
    NOTICES = "notices", _("Notices")
    AUDIT = "audit", _("Audit")
    STAGES = "stages", _("Versions that wait to be current")
    SECRET_SETTINGS = "secret_settings", _("Key and regions of the secrets")
    CLOCKS = "clocks", _("Clocks")


@dataclass(frozen=True)
class DoctorOptions:
    """The options of `examine_nova`: NOVA's role if it was named, and whether to do more than read."""

    role: str | None = None
    # Without it nothing is written, nothing locked, and neither AWS nor another connection is asked.
    thorough: bool = True


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report."""

    check: CheckName
    state: FindingState
    message: Message
    remedy: Message | None = None
    statements: tuple[str, ...] = ()  # fit to be pasted, in this order

    @property
    def ok(self) -> bool:
        return self.state == FindingState.OK

    @property
    def title(self) -> str:
        """Return the title of the check in the language of the page."""
        return str(self.check.label)

    def to_json(self) -> dict[str, object]:
        """Return the finding as `check_nova --format json` prints it; `remedy` ends with the statements."""
        remedy = " ".join((str(self.remedy or ""), *self.statements)).strip()
        return {
            "check": self.check.value,
            "ok": self.ok,
            "state": self.state.value,
            "message": str(self.message),
            "remedy": remedy,
            "codes": self.message.codes,
            "statements": list(self.statements),
        }


def report_ok(check: CheckName, message: Message) -> Finding:
    return Finding(check, FindingState.OK, message)


def report_failure(
    check: CheckName,
    message: Message,
    remedy: Message | None = None,
    *,
    statements: tuple[str, ...] = (),
) -> Finding:
    return Finding(check, FindingState.FAILED, message, remedy, statements)


def report_unlooked(
    check: CheckName,
    message: Message,
    remedy: Message | None = None,
    *,
    statements: tuple[str, ...] = (),
) -> Finding:
    """Report that the check could not be made."""
    return Finding(check, FindingState.NOT_LOOKED_AT, message, remedy, statements)


@contextmanager
def read_briefly() -> Iterator[None]:
    """Limit each statement of the block to 5 s and its wait for a lock to 1 s; past it, `db.Error`.

    A table that somebody has locked must not hold the doctor up.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '5s'; SET LOCAL lock_timeout = '1s'")
        yield
