"""Tells what is seen of NOVA: who reads through the package, and who still reads the tables directly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from migration.models.reader_processes import OtherStatement
from migration.operations.other_statements import UnseenReason, read_other_statements

if TYPE_CHECKING:
    from datetime import datetime

    from django_stubs_ext import StrOrPromise

    from migration.models.reader_processes import ReaderSummary


@dataclass(frozen=True)
class AdoptionStep:
    """One step by which NOVA comes to read through the package, perhaps with a line of code."""

    heading: StrOrPromise
    text: StrOrPromise
    code: str = ""


# docs/reader.md has the same five headings, with all that each step needs.
ADOPTION_STEPS = (
    AdoptionStep(
        gettext_lazy("Rotate first"),
        gettext_lazy("Change every secret that ever stood in a repository, a chat or a log."),
    ),
    AdoptionStep(
        gettext_lazy("Install the package"),
        gettext_lazy("Add this to NOVA's requirements.txt:"),
        "nova-credentials[binary]",
    ),
    AdoptionStep(
        gettext_lazy("Replace the helper by one line"),
        gettext_lazy("src/models/credentials.py holds nothing but this line:"),
        "from nova_credentials.reader import *",
    ),
    AdoptionStep(
        gettext_lazy("Rights and environment"),
        gettext_lazy(
            "NOVA's role needs its grants in PostgreSQL, and NOVA's AWS identity this permission:"
        ),
        "secretsmanager:GetSecretValue",
    ),
    AdoptionStep(
        gettext_lazy("Deploy and look"),
        gettext_lazy(
            "Start all processes of NOVA anew. Each appears on the page “NOVA's processes” with its first read."
        ),
    ),
)


@dataclass(frozen=True)
class ReportedStatement:
    """A statement of somebody else that reads credential tables, and when it was called last, as far as is known."""

    role: str
    is_own_role: bool
    tables: str
    calls: int
    noticed_at: datetime  # it was called before this
    called_at: datetime | None  # None: not since then


@dataclass(frozen=True)
class StatementsReport:
    """The statements of others that read a credential table, and why there may be more."""

    statements: tuple[ReportedStatement, ...]
    unseen_reason: UnseenReason | None
    own_role: str


def compare_other_statements() -> StatementsReport:
    """Compare what pg_stat_statements shows now with what was stored before. Changes nothing."""
    now = timezone.now()
    found = read_other_statements()
    known = {(row.role, row.statement_id): row for row in OtherStatement.objects.all()}
    statements = []
    for count in found.statements:
        before = known.get((count.role, count.statement_id))
        called_at = before.called_at if before else None
        statements.append(
            ReportedStatement(
                role=count.role,
                is_own_role=count.role == found.own_role,
                tables=count.tables,
                calls=count.calls,
                noticed_at=before.first_noticed_at if before else now,
                called_at=now if before and before.calls != count.calls else called_at,
            )
        )
    statements.sort(key=lambda row: row.called_at.timestamp() if row.called_at else 0, reverse=True)
    return StatementsReport(tuple(statements), found.unseen_reason, found.own_role)


def describe_readers(readers: ReaderSummary) -> str:
    """Say in one sentence how many processes of NOVA read through the package."""
    if readers.last_read_at is None:
        return _("No process of NOVA has read through the package yet.")
    if not readers.seen:
        return _("No process of NOVA has read through the package in the last hour.")
    return ngettext(
        "%(n)d process of NOVA has read through the package in the last hour.",
        "%(n)d processes of NOVA have read through the package in the last hour.",
        readers.seen,
    ) % {"n": readers.seen}


def pluralize_failing_readers(number: int) -> str:
    """Return the words that follow the number of NOVA's processes that lately failed to read AWS."""
    return ngettext(
        "process of NOVA failed to read AWS in the last 30 minutes",
        "processes of NOVA failed to read AWS in the last 30 minutes",
        number,
    )
