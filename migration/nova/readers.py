"""Says who reads NOVA's credentials: its processes through the package, others past it; and the page of both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, cast

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db import Error, connection, transaction
from django.db.backends.utils import CursorWrapper
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from psycopg import sql
from unfold.decorators import display

from migration.core.clients import VIEW_READERS, all_clients
from migration.core.notices import NoticeEvent
from migration.core.pages import ObjectView, ReadOnlyAdmin
from migration.core.problems import (
    WORST_FIRST,
    Area,
    Finder,
    Finding,
    Look,
    Severity,
    problem,
    report_failure,
    report_ok,
    report_unlooked,
)
from migration.nova.models import (
    SEEN_WITHIN,
    OtherStatement,
    OtherStatementCount,
    ReaderProcess,
    ReaderProcessQuerySet,
    ReaderSummary,
)
from migration.templatetags.migration_pages import make_label, time_ago
from nova_credentials.messages import Sentence
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name
from nova_credentials.tables import CREDENTIALS, LEGACY_CREDENTIALS, STATEMENT_MARK

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


# Statements of others that read NOVA's credential tables, in pg_stat_statements: NOVA's old helper
#
# The text of a statement is looked at here and goes no further, as it can hold a literal.

TABLES = tuple(name.partition(".")[2] for name in (*CREDENTIALS.values(), LEGACY_CREDENTIALS))
MOST_STATEMENTS = 1_000
# A page waits for it.
STATEMENT_TIMEOUT = "2s"

# The view of the extension itself, wherever it stands: never one that somebody made under its name.
FIND_VIEW = """
SELECT pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname), current_user::text
FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.refobjid = e.oid
    AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'e'
JOIN pg_catalog.pg_class c ON c.oid = d.objid AND c.relname = 'pg_stat_statements'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE e.extname = 'pg_stat_statements'
"""
# A setting of the library, which is shown only where PostgreSQL has loaded it. shared_preload_libraries itself is
# hidden from most roles.
FIND_LIBRARY = "SELECT FROM pg_catalog.pg_settings WHERE name = 'pg_stat_statements.max'"
# Of other roles' statements PostgreSQL shows neither id nor text to who lacks pg_read_all_stats.
# A foreign key of NOVA's asks for its row in the form of the last condition.
READ_VIEW = """
SELECT pg_catalog.pg_get_userbyid(s.userid)::text, s.queryid, left(s.query, 10000), s.calls
FROM {view} s
WHERE s.dbid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
    AND (s.queryid IS NULL OR s.query ~* %s AND strpos(s.query, %s) = 0
        AND s.query NOT LIKE 'SELECT 1 FROM ONLY %%FOR KEY SHARE OF x')
ORDER BY s.queryid IS NULL DESC, s.calls DESC LIMIT %s
"""

_NAMES = "|".join(TABLES)
_MENTION = re.compile(rf"(?<![\w$])({_NAMES})(?![\w$])", re.IGNORECASE)
_COMMENT = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
# Ways to begin a statement that can read, and the part of each in which a table is named that is only written.
_QUERY = re.compile(r"[\s(]*(select|with|table|declare|values)\b", re.IGNORECASE)
_WRITE = re.compile(
    r"\s*(?:insert\s+into|update|delete\s+from|merge\s+into)\s+(?:only\s+)?[\w.\"$]+", re.IGNORECASE
)
_COPY = re.compile(r"\s*copy\s+(\(|.*?\bto\b)", re.IGNORECASE | re.DOTALL)


class UnseenReason(StrEnum):
    """Why nothing, or not everything, can be said of other statements."""

    NOT_INSTALLED = "not_installed"
    NOT_CREATED = "not_created"  # PostgreSQL counts statements; this database lacks the extension that shows them
    NOT_READABLE = "not_readable"
    NOT_ALLOWED = "not_allowed"  # other roles' statements are hidden from this role


@dataclass(frozen=True)
class StatementReport:
    """The statements of others that read credential tables, and why there may be more."""

    statements: tuple[OtherStatementCount, ...] = ()
    unseen_reason: UnseenReason | None = None
    own_role: str = ""


def read_other_statements() -> StatementReport:
    """Read what pg_stat_statements counted in this database. Changes nothing."""
    try:
        # A savepoint, so that a refusal fails no transaction around it.
        with transaction.atomic(), connection.cursor() as cursor:
            return read_statements(cursor)
    except Error:
        return StatementReport(unseen_reason=UnseenReason.NOT_READABLE)


def read_statements(cursor: CursorWrapper) -> StatementReport:
    """Read pg_stat_statements over a cursor in a transaction; raises `db.Error` if it can't be read."""
    cursor.execute(FIND_VIEW)
    found = cursor.fetchone()
    if found is None:
        cursor.execute(FIND_LIBRARY)
        is_counting = cursor.fetchone() is not None
        reason = UnseenReason.NOT_CREATED if is_counting else UnseenReason.NOT_INSTALLED
        return StatementReport(unseen_reason=reason)
    cursor.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}'")
    pattern = rf"\m({_NAMES})\M"
    view, own_role = found
    cursor.execute(READ_VIEW.format(view=view), [pattern, STATEMENT_MARK, MOST_STATEMENTS])
    rows = cursor.fetchall()
    hidden = any(statement_id is None for _role, statement_id, _text, _calls in rows)
    unseen_reason = UnseenReason.NOT_ALLOWED if hidden else None
    return StatementReport(tuple(_count_statements(rows)), unseen_reason, own_role)


def _count_statements(
    rows: Iterable[tuple[str, int | None, str, int]],
) -> Iterator[OtherStatementCount]:
    """Yield the statements that read, the most called first. One in a function and by itself is one statement."""
    calls: Counter[tuple[str, int]] = Counter()
    tables: dict[tuple[str, int], str] = {}
    for role, statement_id, text, number in rows:
        if statement_id is not None and (found := find_credential_tables_read(text)):
            calls[role, statement_id] += number
            tables[role, statement_id] = ", ".join(found)
    for key, number in calls.most_common():
        yield OtherStatementCount(*key, tables[key], number)


def find_credential_tables_read(text: str) -> list[str]:
    """Return the credential tables that a statement reads: none if it only writes or changes them."""
    text = _COMMENT.sub(" ", text)
    if written := _WRITE.match(text):
        # A column may be written with its table's name before it.
        text = re.sub(rf"({_NAMES})\"?\s*\.", "", text[written.end() :], flags=re.IGNORECASE)
    elif not (_QUERY.match(text) or _COPY.match(text)):
        return []
    named = {name.lower() for name in _MENTION.findall(text)}
    return [table for table in TABLES if table in named]


def note_other_statements() -> None:
    """Store what pg_stat_statements shows now, so that the page can say when a statement was called last."""
    OtherStatement.objects.forget_old()
    if statements := read_other_statements().statements:
        OtherStatement.objects.note_counts(statements)


# What pages say of NOVA's processes


@dataclass(frozen=True)
class AdoptionStep:
    """One step by which NOVA comes to read through the package, perhaps with a line of code."""

    heading: StrOrPromise
    text: StrOrPromise
    code: str = ""


# docs/nova.md has the same five headings, with all that each step needs.
ADOPTION_STEPS = (
    AdoptionStep(
        gettext_lazy("Rotate first"),
        gettext_lazy("Change every secret that was ever in a repository, chat or log."),
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
            "Restart every NOVA process. Each appears in “NOVA's processes” with its first read."
        ),
    ),
)


def describe_readers(readers: ReaderSummary) -> str:
    """Say in one sentence how many processes of NOVA read through the package."""
    if readers.last_read_at is None:
        return _("No NOVA process has used the reader yet.")
    if not readers.seen:
        return _("No NOVA process has used the reader in the last hour.")
    return ngettext(
        "%(n)d NOVA process has used the reader in the last hour.",
        "%(n)d NOVA processes have used the reader in the last hour.",
        readers.seen,
    ) % {"n": readers.seen}


# Problems: no process of NOVA reads through the package, or AWS fails one

READER_READ = Sentence("reader_read", "NOVA's reader last read a client %(ago)s ago.")
READER_NEVER_READ = Sentence("reader_never_read", "No NOVA process has used the reader yet.")
READER_HAS_TO_READ = Sentence(
    "reader_has_to_read",
    "Clients are cut over, but no NOVA process has ever used the reader: NOVA seems to read PostgreSQL itself still.",
)
READERS_ARE_GONE = Sentence(
    "readers_are_gone",
    "No NOVA process has used the reader in the last hour. The last one did %(ago)s ago.",
)
LET_NOVA_READ = Sentence("let_nova_read", "Let NOVA use the reader: docs/nova.md.")
READERS_FAIL = Sentence(
    "readers_fail",
    "AWS failed for %(n)s NOVA processes in the last 30 minutes.",
    one="AWS failed for %(n)s NOVA process in the last 30 minutes.",
)
NO_READER_FAILS = Sentence("no_reader_fails", "AWS has not failed for NOVA in the last 30 minutes.")
SEE_THE_READERS = Sentence(
    "see_the_readers",
    "“NOVA's processes” shows which ones, and the kind of error. docs/nova.md has the IAM policy that NOVA needs.",
)


def summarize_readers() -> ReaderSummary:
    """Count the processes of NOVA for `Look.read`; in one query."""
    return ReaderProcess.objects.summarize()


def is_any_client_read_from_aws() -> bool:
    return all_clients().in_phases(*(phase for phase in Phase if phase.reads_aws)).exists()


@problem(
    "readers_gone",
    gettext_lazy("NOVA's reader"),
    Area.NOVA,
    found_by=Finder.PAGE,
    told_as=NoticeEvent.READERS_GONE,
    page="readerprocess_changelist",
    button=gettext_lazy("Let NOVA use the reader"),
    page_permission=VIEW_READERS,
)
def find_gone_readers(look: Look) -> Iterator[Finding]:
    """Find that no process of NOVA reads through the package, although clients are read from AWS."""
    readers = look.read(summarize_readers)
    last = readers.last_read_at
    if last and readers.seen:
        yield report_ok(READER_READ(ago=last))
    elif look.read(is_any_client_read_from_aws):
        message = READERS_ARE_GONE(ago=last) if last else READER_HAS_TO_READ()
        yield report_failure(message, LET_NOVA_READ(), since=last)
    else:
        message = READERS_ARE_GONE(ago=last) if last else READER_NEVER_READ()
        yield report_unlooked(message, LET_NOVA_READ(), is_harmless=True)


@problem(
    "readers_fail",
    gettext_lazy("NOVA's reads of AWS"),
    Area.NOVA,
    severity=Severity.CRITICAL,
    found_by=Finder.PAGE,
    told_as=NoticeEvent.READERS_GONE,
    page="readerprocess_changelist",
    button=gettext_lazy("See NOVA's processes"),
    page_permission=VIEW_READERS,
)
def find_failing_readers(look: Look) -> Iterator[Finding]:
    """Find the processes of NOVA that AWS fails now."""
    if number := look.read(summarize_readers).failing:
        url = f"{reverse('admin:migration_readerprocess_changelist')}?seen=failing"
        yield report_failure(READERS_FAIL(n=number), SEE_THE_READERS(), count=number, url=url)
    else:
        yield report_ok(NO_READER_FAILS())


# Whether somebody still reads the credential tables past the package: NOVA's old helper, most likely

# One program can make thousands of statements; nobody reads so many lines.
MOST_NAMED = 20

MORE_OTHER_READS = Sentence(
    "more_other_reads",
    "And %(n)s more statements bypass the reader.",
    one="And one more statement bypasses the reader.",
)
REPLACE_THE_HELPER = Sentence(
    "replace_the_helper",
    "After a purge they get a pointer instead of the password. Find the program in “NOVA's processes” and "
    "let it use the reader (docs/nova.md).",
)
OTHERS_HAVE_STOPPED = Sentence(
    "others_have_stopped",
    "%(n)s statements have read credential tables past the package, none of them in the last hour.",
    one="One statement has read credential tables past the package, but not in the last hour.",
)
NO_OTHER_READS = Sentence(
    "no_other_reads",
    "No reads bypass the reader.",
)


@problem(
    "reads_past_package",
    gettext_lazy("Reads that bypass the reader"),
    Area.NOVA,
    page="readerprocess_changelist",
    button=gettext_lazy("See who reads"),
    page_permission=VIEW_READERS,
)
def find_reads_past_package(look: Look) -> Iterator[Finding]:
    """Name each statement of others that reads a credential table, and say what can't be known of them.

    It is a failure once a client is read from AWS. One that was not called for an hour, as far as the workers know, is
    none: PostgreSQL counts it for ever.
    """
    seen = read_other_statements()
    if seen.unseen_reason not in (None, UnseenReason.NOT_ALLOWED):
        yield _explain_unseen(seen)
        return
    matters = look.read(is_any_client_read_from_aws)
    judged = [
        _judge(row, matters=matters)
        for row in OtherStatement.objects.compare_counts(seen.statements)
    ]
    if seen.unseen_reason:
        # Those that were seen may be over all the same.
        yield replace(_explain_unseen(seen), is_harmless=bool(judged))
    named = [finding for finding in judged if finding]
    yield from named[:MOST_NAMED]
    if len(named) > MOST_NAMED:
        left = named[MOST_NAMED:]
        states = {finding.state for finding in left}
        worst = next(state for state in WORST_FIRST if state in states)
        yield Finding(worst, MORE_OTHER_READS(n=len(left)), REPLACE_THE_HELPER())
    if named:
        return
    if judged:
        yield report_ok(OTHERS_HAVE_STOPPED(n=len(judged)))
    elif not seen.unseen_reason:
        yield report_ok(NO_OTHER_READS())


OTHER_READS = Sentence(
    "other_reads",
    "The role %(role)s reads %(tables)s past the package: the last time %(ago)s ago, %(n)s times in all.",
    one="The role %(role)s reads %(tables)s past the package: the last time %(ago)s ago, once in all.",
)
OTHER_HAS_READ = Sentence(
    "other_has_read",
    "The role %(role)s has read %(tables)s past the package, %(n)s times in all. When it did last is known an hour"
    " after it was first noticed.",
    one="The role %(role)s has read %(tables)s past the package, once in all. When it did is known an hour after it"
    " was first noticed.",
)
WAIT_AN_HOUR = Sentence("wait_an_hour", "Check again in an hour. Workers check every five minutes.")


def _judge(row: OtherStatement, *, matters: bool) -> Finding | None:
    """Report one statement; None for one that was not called in the last hour."""
    now, role = timezone.now(), escape_name(row.role)
    if row.called_at and now - row.called_at < SEEN_WITHIN:
        message = OTHER_READS(role=role, tables=row.tables, n=row.calls, ago=row.called_at)
        return report_failure(message, REPLACE_THE_HELPER()) if matters else report_ok(message)
    if now - row.first_noticed_at < SEEN_WITHIN:
        message = OTHER_HAS_READ(role=role, tables=row.tables, n=row.calls)
        return report_unlooked(message, WAIT_AN_HOUR())
    return None


OTHER_READS_NOT_COUNTED = Sentence(
    "other_reads_not_counted",
    "Not known whether NOVA's old helper still reads the tables directly, which has to end before the first purge:"
    " PostgreSQL does not count statements here.",
)
INSTALL_STATISTICS = Sentence(
    "install_statistics",
    "The database administrator adds pg_stat_statements to shared_preload_libraries, restarts PostgreSQL, then runs in"
    " this database, as a superuser:",
)
CREATE_STATISTICS = Sentence(
    "create_statistics",
    "PostgreSQL counts statements already. The database administrator runs in this database, as a superuser:",
)
OTHER_READS_NOT_READABLE = Sentence(
    "other_reads_not_readable",
    "Not known whether NOVA's old helper still reads the tables directly: pg_stat_statements is installed, but this"
    " site can't read it. Its role lacks the right, or the library is not in shared_preload_libraries.",
)
OTHER_READS_HIDDEN = Sentence(
    "other_reads_hidden",
    "Not known whether NOVA's old helper still reads the tables directly: PostgreSQL hides the statements of other"
    " roles from this site.",
)
GRANT_STATISTICS = Sentence(
    "grant_statistics", "The database administrator runs, as a role that may grant it:"
)


def _explain_unseen(report: StatementReport) -> Finding:
    match report.unseen_reason:
        case UnseenReason.NOT_INSTALLED | UnseenReason.NOT_CREATED as reason:
            is_loaded = reason == UnseenReason.NOT_CREATED
            remedy = CREATE_STATISTICS if is_loaded else INSTALL_STATISTICS
            return report_unlooked(
                OTHER_READS_NOT_COUNTED(),
                remedy(),
                statements=("CREATE EXTENSION pg_stat_statements;",),
            )
        case UnseenReason.NOT_ALLOWED:
            role = sql.Identifier(report.own_role).as_string(None)
            return report_unlooked(
                OTHER_READS_HIDDEN(),
                GRANT_STATISTICS(),
                statements=(f"GRANT pg_read_all_stats TO {role};",),
            )
    return report_unlooked(OTHER_READS_NOT_READABLE())


# The page NOVA's processes: those that read through the package, and who still reads the tables directly


class SeenFilter(admin.SimpleListFilter):
    title = gettext_lazy("seen")
    parameter_name = "seen"

    def lookups(
        self, request: HttpRequest, model_admin: ModelAdmin[ReaderProcess]
    ) -> list[tuple[str, StrOrPromise]]:
        return [
            ("yes", gettext_lazy("In the last hour")),
            ("no", gettext_lazy("Not in the last hour")),
            ("failing", gettext_lazy("Failed to read AWS in the last 30 minutes")),
        ]

    def queryset(
        self, request: HttpRequest, queryset: QuerySet[ReaderProcess]
    ) -> QuerySet[ReaderProcess]:
        found = cast("ReaderProcessQuerySet", queryset)
        match self.value():
            case "yes":
                return found.seen_in_last_hour()
            case "no":
                return found.not_seen_in_last_hour()
            case "failing":
                return found.failing_now()
        return found


class ReaderProcessView(ObjectView[ReaderProcess]):
    """The page of one process."""

    template_name = "admin/migration/reader.html"

    def get_context_data(self, **kwargs: object) -> dict[str, object]:
        process = self.original
        return super().get_context_data(
            process=process, seen_label=make_seen_in_last_hour_label(process), **kwargs
        )


class ReaderProcessAdmin(ReadOnlyAdmin):
    nothing_yet = gettext_lazy("No NOVA process has used the reader yet.")
    next_page: ClassVar = (
        gettext_lazy("How NOVA uses the reader"),
        reverse_lazy("document", args=["nova.md"]),
    )
    list_display = (
        "process_name",
        "seen_badge",
        "version",
        "access_key",
        "newest_error",
        "first_seen_when",
        "last_read_when",
    )
    list_filter: ClassVar = [SeenFilter]
    list_per_page = 50
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    list_before_template = "admin/migration/readers.html"
    object_view = ReaderProcessView

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        readers, others = ReaderProcess.objects.summarize(), read_other_statements()
        return super().changelist_view(
            request,
            (extra_context or {})
            | {
                "readers": readers,
                "readers_sentence": describe_readers(readers),
                "adoption_steps": () if readers.last_read_at else ADOPTION_STEPS,
                "others": others,
                "unseen": _explain_unseen(others) if others.unseen_reason else None,
                "other_statements": sorted(
                    OtherStatement.objects.compare_counts(others.statements),
                    key=lambda row: row.called_at.timestamp() if row.called_at else 0,
                    reverse=True,
                ),
            },
        )

    @display(description=gettext_lazy("host and process"), ordering="host")
    def process_name(self, process: ReaderProcess) -> str:
        return str(process)

    @display(description=gettext_lazy("state"))
    def seen_badge(self, process: ReaderProcess) -> str:
        return make_seen_in_last_hour_label(process)

    @display(description=gettext_lazy("Access key"))
    def access_key(self, process: ReaderProcess) -> str:
        return f"…{process.access_key_end}" if process.access_key_end else "–"

    @display(description=gettext_lazy("newest AWS error"), ordering="aws_error_at")
    def newest_error(self, process: ReaderProcess) -> str:
        return process.aws_error_label or "–"

    @display(description=gettext_lazy("first seen"), ordering="first_seen_at")
    def first_seen_when(self, process: ReaderProcess) -> SafeString | str:
        return time_ago(process.first_seen_at)

    @display(description=gettext_lazy("last read"), ordering="last_read_at")
    def last_read_when(self, process: ReaderProcess) -> SafeString | str:
        return time_ago(process.last_read_at)


def make_seen_in_last_hour_label(process: ReaderProcess) -> str:
    """Return a label that says whether the process read in the last hour."""
    if process.is_seen:
        return make_label(_("Seen in the last hour"), "success", "check")
    return make_label(_("Not seen in the last hour"), "default", "schedule")
