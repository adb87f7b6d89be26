"""Imports clients from a CSV file: reads it, plans each line, stores the good ones, gives the others back."""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import OperationalError, connection, models, transaction
from django.db.models import Model
from django.utils import timezone
from django.utils.crypto import constant_time_compare, salted_hmac
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from psycopg.errors import DeadlockDetected, LockNotAvailable

from credentials.forms import MAIL_SERVERS
from credentials.import_columns import (
    CLIENT_COLUMNS,
    IMPORT_COLUMNS,
    LOGIN_COLUMNS,
    is_blank,
    list_required,
    read_cell,
)
from credentials.localization import localize
from credentials.models import CREDENTIAL_MODELS, Client, Credential, RowsBusyError
from credentials.models.clients import RowsByType
from credentials.refusals import (
    ROW_LEFT_OUT,
    RefusedByDatabaseError,
    convert_refusals,
    insert_rows,
)
from credentials.secret_names import configured_layout
from credentials.values import warn_of_outer_blanks
from migration.core.audit import IMPORT_EVENT, AuditEvent
from migration.core.clients import ClientPhaseQuerySet, all_clients
from migration.core.groups import (
    ClientGroup,
    ClientGroupError,
    GroupMember,
    fold_group_name,
    parse_group_name,
)
from migration.core.sentences import IS_OFFBOARDED
from migration.core.snapshots import repeatable_read_only
from migration.core.text import defuse_cell
from migration.pushes.known_values import note_values_on_commit
from migration.pushes.saves import (
    CLIENT_ADDED,
    CLIENT_SAVED,
    FIELDS_OF_CLIENT,
    LOGIN_ADDED,
    LOGIN_CHANGED,
)
from nova_credentials import document as documents
from nova_credentials.credential_types import CredentialType
from nova_credentials.messages import Message, MessageError, Sentence
from nova_credentials.phases import Phase
from nova_credentials.sentences import PHASES
from nova_credentials.shown_names import escape_name

# The file: its bytes are read into lines of cells by column. Knows no table, and quotes no cell.

MOST_BYTES = 10_000_000
MOST_LINES = 5_000
DELIMITERS = ",;\t"
# UTF-32's mark begins as UTF-16's does.
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig", "UTF-8"),
    (codecs.BOM_UTF32_LE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF32_BE, "utf-32", "UTF-32"),
    (codecs.BOM_UTF16_LE, "utf-16", "UTF-16"),
    (codecs.BOM_UTF16_BE, "utf-16", "UTF-16"),
)
SLUG = "slug"
# Of a file with refused lines, which an import reads again once they are corrected: its first column, and no client's.
REASON = "reason"
# So much is shown of the names of unknown columns.
SHOWN_NAMES, SHOWN_LENGTH = 5, 40
NUL = "\0"


class ImportRefusedError(MessageError):
    """The file as a whole can't be imported; nothing was stored."""


@dataclass(frozen=True)
class FileLine:
    """One line of the file: the number where it begins, its cells by column, and what is wrong with its shape."""

    number: int
    cells: dict[str, str] = field(repr=False)
    problem: Message | None = None
    # All of its cells in their order, also those that no column names.
    in_order: tuple[str, ...] = field(default=(), repr=False)

    @property
    def slug(self) -> str:
        return self.cells.get(SLUG, "").strip()


@dataclass(frozen=True)
class ImportFile:
    """The lines below the first one, and a warning about how they were read."""

    lines: list[FileLine]
    warning: Message | None
    columns: list[str] = field(default_factory=list)
    delimiter: str = field(default=",", repr=False)


IMPORT_FILE_EMPTY = Sentence(
    "import_file_empty",
    "The file is empty.",
)
IMPORT_FILE_TOO_LARGE = Sentence(
    "import_file_too_large",
    "The file has %(n)s bytes, and up to %(most)s are read at once. Divide it, and import one part after the other.",
)
IMPORT_TOO_MANY_LINES = Sentence(
    "import_too_many_lines",
    "The file has more than %(most)s lines. Divide it, and import one part after the other.",
)
IMPORT_NO_LINES = Sentence(
    "import_no_lines", "The file has no line below the names of the columns: there is no client."
)


def parse_import_file(data: bytes, *, columns: Collection[str]) -> ImportFile:
    """Parse a CSV file, whose first line names some of the columns; empty lines are left out.

    Raises ImportRefusedError. What is wrong with one line is in that line.
    """
    if len(data) > MOST_BYTES:
        raise ImportRefusedError(IMPORT_FILE_TOO_LARGE(n=len(data), most=MOST_BYTES))
    text, warning = decode(data)
    delimiter = find_delimiter(text)
    # Excel keeps a line of delimiters for each row that was emptied.
    records = ((number, cells) for number, cells in list_records(text, delimiter) if any(cells))
    _number, header = next(records, (0, []))
    if not header:
        raise ImportRefusedError(IMPORT_FILE_EMPTY())
    names = read_header(header, {*columns, REASON})
    lines = [make_line(number, names, cells) for number, cells in islice(records, MOST_LINES + 1)]
    if len(lines) > MOST_LINES:
        raise ImportRefusedError(IMPORT_TOO_MANY_LINES(most=MOST_LINES))
    if not lines:
        raise ImportRefusedError(IMPORT_NO_LINES())
    return ImportFile(lines, warning, names, delimiter)


IMPORT_NOT_DECODED = Sentence(
    "import_not_decoded",
    "The file says that it is %(encoding)s, and it is not. Save it as “CSV UTF-8”.",
)
IMPORT_NO_ENCODING = Sentence(
    "import_no_encoding",
    "The file is neither UTF-8 nor Windows-1252: its letters can't be told. Save it as “CSV UTF-8”.",
)
IMPORT_READ_AS_CP1252 = Sentence(
    "import_read_as_cp1252",
    "The file is not UTF-8. It was read as Windows-1252, as Excel saves it: if a secret has letters beyond a to z, save"
    " the file as “CSV UTF-8” instead.",
)


def decode(data: bytes) -> tuple[str, Message | None]:
    """Return the text by its byte order mark, else as UTF-8, else as Windows-1252 with a warning that says so."""
    for mark, codec, name in MARKS:
        if data.startswith(mark):
            try:
                return data.decode(codec), None
            except UnicodeDecodeError:
                refusal = IMPORT_NOT_DECODED(encoding=name)
                raise ImportRefusedError(refusal) from None
    try:
        return data.decode("utf-8"), None
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), IMPORT_READ_AS_CP1252()
    except UnicodeDecodeError:
        raise ImportRefusedError(IMPORT_NO_ENCODING()) from None


IMPORT_MALFORMED = Sentence(
    "import_malformed",
    "The file can't be read from line %(line)s on: a quotation mark is missing or superfluous, or a cell has more than"
    " %(most)s characters.",
)


def find_delimiter(text: str) -> str:
    """Return what stands between the cells: where numbers are written with a comma, Excel puts semicolons."""
    first = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    return max(DELIMITERS, key=first.count)


def list_records(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the number of the line where it begins; raise ImportRefusedError where it is no CSV."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    try:
        for cells in reader:
            yield begins, cells
            begins = reader.line_num + 1
    except csv.Error:
        most = csv.field_size_limit()
        raise ImportRefusedError(IMPORT_MALFORMED(line=str(begins), most=most)) from None


IMPORT_NUL_IN_FIRST_LINE = Sentence(
    "import_nul_in_first_line",
    "The first line holds NULs: this is no CSV file, or one in UTF-16 that doesn't say so. Save it as “CSV UTF-8”.",
)
IMPORT_NO_SLUG_COLUMN = Sentence(
    "import_no_slug_column",
    "The first line names no column “slug”. It has to name the columns: begin with the template.",
)
IMPORT_COLUMNS_UNKNOWN = Sentence(
    "import_columns_unknown",
    "Unknown column: %(columns)s. Fix its name in the first line, or remove the column.",
    glue=", ",
)
IMPORT_COLUMN_UNNAMED = Sentence(
    "import_column_unnamed",
    "The first line names no column in its place %(place)s. Name it, or take the column out of the file.",
)
IMPORT_COLUMNS_TWICE = Sentence(
    "import_columns_twice",
    "These columns appear twice: %(columns)s. Keep one of each.",
    glue=", ",
)


def read_header(header: list[str], columns: Collection[str]) -> list[str]:
    """Return the columns' names; ImportRefusedError for unknown, unnamed, double ones or no `slug`."""
    if any(NUL in name for name in header):
        raise ImportRefusedError(IMPORT_NUL_IN_FIRST_LINE())
    names = [name.strip().lower() for name in header]
    # Before anything of the line is quoted: without the names of columns it is a client with its secrets.
    if SLUG not in names:
        raise ImportRefusedError(IMPORT_NO_SLUG_COLUMN())
    if "" in names:
        place = str(names.index("") + 1)
        raise ImportRefusedError(IMPORT_COLUMN_UNNAMED(place=place))
    if unknown := [name for name in dict.fromkeys(names) if name not in columns]:
        shown = tuple(escape_name(name[:SHOWN_LENGTH]) for name in unknown[:SHOWN_NAMES])
        raise ImportRefusedError(IMPORT_COLUMNS_UNKNOWN(columns=shown))
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise ImportRefusedError(IMPORT_COLUMNS_TWICE(columns=tuple(twice)))
    return names


IMPORT_LINE_TOO_SHORT = Sentence(
    "import_line_too_short",
    "It has %(n)s cells for %(most)s columns. Check for a missing comma or quotation mark.",
)
IMPORT_LINE_TOO_LONG = Sentence(
    "import_line_too_long",
    "It has %(n)s cells for %(most)s columns. Put quotation marks around cells that contain a comma.",
)
IMPORT_NUL_IN_CELL = Sentence(
    "import_nul_in_cell", "%(column)s contains a NUL character. Remove it."
)


def make_line(number: int, names: list[str], cells: list[str]) -> FileLine:
    """Return the line with its cells by column; of one that is too short or too long, those that are in place."""
    by_column = dict(zip(names, cells, strict=False))
    problem = None
    if len(cells) < len(names):
        problem = IMPORT_LINE_TOO_SHORT(n=len(cells), most=len(names))
    elif len(cells) > len(names):
        problem = IMPORT_LINE_TOO_LONG(n=len(cells), most=len(names))
    elif holding := [name for name, text in by_column.items() if NUL in text]:
        problem = IMPORT_NUL_IN_CELL(column=holding[0])
    by_column.pop(REASON, None)
    return FileLine(number, by_column, problem, tuple(cells))


def write_refused_lines(*, data: bytes, refused: Iterable[PlannedLine]) -> str:
    """Return a CSV file of these lines of the file as they stand there, with their secrets, and why in front of each.

    It is for who has just sent the file, and is kept nowhere. Corrected, it can be imported.
    """
    found = parse_import_file(data, columns=IMPORT_COLUMNS)
    reasons = {line.number: line.problems for line in refused}
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=found.delimiter, quoting=csv.QUOTE_ALL)
    # In front: what stands behind a cell too few or too many would be in a wrong column.
    former = [place for place, name in enumerate(found.columns) if name == REASON]

    def write(first: str, cells: Iterable[str]) -> None:
        writer.writerow([first, *(c for place, c in enumerate(cells) if place not in former)])

    write(REASON, found.columns)
    for line in found.lines:
        if line.number in reasons:
            why = " ".join(localize(problem) for problem in reasons[line.number])
            # The cells stay as they are, as an import takes them so.
            write(
                defuse_cell(gettext("Line %(n)s:") % {"n": line.number} + f" {why}"), line.in_order
            )
    return file.getvalue()


# The plan: what an import would do with each line of its file. Writes nothing, and names no value but slugs.

Cells = dict[str, str]
# Of one client. Each login is compared with all of its client's before it, and each group is looked for.
MOST_LOGINS, MOST_GROUPS = 100, 50


class LineOutcome(models.TextChoices):
    """What an import would do with a line."""

    WRONG = "wrong", _("Refused")
    NEW = "new", _("New")
    CHANGED = "changed", _("Changed")
    UNCHANGED = "unchanged", _("Unchanged")


@dataclass
class PlannedLine:
    """One line of the file: the columns that it would change, and what is wrong with it."""

    number: int
    slug: str
    is_new: bool = False
    columns: list[str] = field(default_factory=list)
    problems: list[Message] = field(default_factory=list)
    # Such as a password that begins with a blank: it is taken as it is, and told.
    warnings: list[Message] = field(default_factory=list)

    @property
    def outcome(self) -> LineOutcome:
        if self.problems:
            return LineOutcome.WRONG
        if self.is_new:
            return LineOutcome.NEW
        return LineOutcome.CHANGED if self.columns else LineOutcome.UNCHANGED


@dataclass
class PlannedLogin:
    """A login that is new, or whose columns would change; the row holds the new values."""

    row: Credential
    is_new: bool
    columns: list[str]


@dataclass
class ClientImport:
    """All that the file says of one client; the client and its rows hold the new values, which are not stored yet."""

    client: Client
    is_new: bool
    columns: list[str] = field(default_factory=list)
    logins: list[PlannedLogin] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)  # names of those that the client isn't in yet

    @property
    def changes(self) -> bool:
        return bool(self.is_new or self.columns or self.logins or self.groups)


def get_phase(client: Client) -> Phase:
    """Return the phase that `with_phase` annotated."""
    return Phase(client.phase)  # type: ignore[attr-defined]  # annotated


IMPORT_CELL_REFUSED = Sentence("import_cell_refused", "%(column)s: %(problem)s")
IMPORT_SLUG_TWICE = Sentence(
    "import_slug_twice",
    "The slug stands in line %(line)s already. A further line of a client adds logins: it needs a label.",
)
IMPORT_CLIENT_REFUSED = Sentence(
    "import_client_refused",
    "Line %(line)s of the same client is refused, so this one waits for it.",
)
IMPORT_LABEL_TWICE = Sentence(
    "import_label_twice",
    "Line %(line)s has a login of this type with this label already.",
)
IMPORT_TOO_MANY_LOGINS = Sentence(
    "import_too_many_logins", "An import can add up to %(most)s logins of one type to a client."
)
IMPORT_TOO_MANY_GROUPS = Sentence(
    "import_too_many_groups", "An import can put a client into up to %(most)s groups."
)
IMPORT_SAYS_OTHERWISE = Sentence(
    "import_says_otherwise",
    "%(column)s differs from line %(line)s of the same client. Leave it empty after the client's first line.",
)
IMPORT_NAME_MISSING = Sentence("import_name_missing", "A new client needs a name.")
IMPORT_LOGIN_MISSING = Sentence(
    "import_login_missing", "A new client needs at least one login. Fill in its columns."
)
IMPORT_CELLS_MISSING = Sentence(
    "import_cells_missing", "A new login also needs: %(columns)s.", glue=", "
)
IMPORT_NO_PRIMARY = Sentence(
    "import_no_primary",
    "The client has no primary login of this type (%(kind)s): its first one is in a line without a label.",
)
IMPORT_PRIMARY_UNCLEAR = Sentence(
    "import_primary_unclear",
    "NOVA's table doesn't say which login of this type (%(kind)s) is the primary one. Correct it on the client's page.",
)
IMPORT_LABEL_UNCLEAR = Sentence(
    "import_label_unclear",
    "The client has several logins of this type (%(kind)s) with this label. Change them on its page.",
)
IMPORT_SECRET_NEEDED = Sentence(
    "import_secret_needed",
    "The secret would be sent elsewhere, as these change: %(columns)s. Fill in %(secret)s too.",
    glue=", ",
)
IMPORT_AWS_DECIDES = Sentence(
    "import_aws_decides",
    "The client is in the phase %(phase)s, in which a change goes to AWS first. Change it on its page; an import sets"
    " only its groups.",
)


class ClientPlanner:
    """Plans one client from its lines. `client` is stored, with its phase and rows, or None where there is none yet."""

    def __init__(self, slug: str, client: Client | None, *, groups: Iterable[str] = ()) -> None:
        """Begin with what is stored; `groups` are the keys of the groups that the client is in."""
        is_new = client is None
        self.plan = ClientImport(client or Client(slug=slug), is_new)
        self.rows: RowsByType = (
            {kind: [] for kind in CredentialType}
            if client is None
            else {kind: list(rows) for kind, rows in client.credentials_by_type().items()}
        )
        self.phase = Phase.POSTGRES if client is None else get_phase(client)
        # By `with_leaving`. One without any login leaves in `postgres`.
        self.is_leaving_or_left = client is not None and bool(client.is_leaving_or_left)  # type: ignore[attr-defined]  # annotated
        self.group_keys = set(groups)
        self.lines: list[PlannedLine] = []
        # Where the file said something first: column -> line and value, row -> line.
        self.said: dict[str, tuple[int, object]] = {}
        self.taken: dict[int, int] = {}

    def plan_lines(self, lines: Sequence[FileLine]) -> list[PlannedLine]:
        """Plan the client's lines, in their order, and return what they would do."""
        for line in lines:
            planned = PlannedLine(line.number, self.plan.client.slug, self.plan.is_new)
            self.lines.append(planned)
            if len(self.lines) > 1 and is_blank("label", line.cells.get("label", "")):
                number = str(self.lines[0].number)
                planned.problems.append(IMPORT_SLUG_TWICE(line=number))
                continue
            self._read_client(planned, line.cells)
            self._read_logins(planned, line.cells)
            if planned.columns and (refusal := self._find_refusal()):
                planned.problems.append(refusal)
            self._read_groups(planned, line.cells.get("groups", ""))
        first = self.lines[0]
        if self.plan.is_new and not first.problems:
            if "name" not in self.plan.columns:
                first.problems.append(IMPORT_NAME_MISSING())
            elif not any(self.rows.values()):
                first.problems.append(IMPORT_LOGIN_MISSING())
        return self.lines

    @property
    def is_refused(self) -> bool:
        return any(line.problems for line in self.lines)

    def refuse_as_a_whole(self) -> None:
        """Refuse all lines of a client of which one is wrong: they are one client, and half of it is none."""
        wrong = [line.number for line in self.lines if line.problems]
        for line in self.lines:
            if wrong and not line.problems:
                line.problems.append(IMPORT_CLIENT_REFUSED(line=str(wrong[0])))

    def _find_refusal(self) -> Message | None:
        """Say why an import changes nothing of this client but its groups; None where it may."""
        if self.is_leaving_or_left:
            return IS_OFFBOARDED(slug=self.plan.client.slug)
        if self.phase.aws_is_authority:
            return IMPORT_AWS_DECIDES(phase=PHASES[self.phase]())
        return None

    def _read_client(self, planned: PlannedLine, cells: Cells) -> None:
        client = self.plan.client
        for column in CLIENT_COLUMNS:
            text = cells.get(column, "")
            if is_blank(column, text):
                continue
            values = self._read_values(planned, client, {column: text}, is_new=self.plan.is_new)
            value = values.get(column, getattr(client, column))
            number, first = self.said.setdefault(column, (planned.number, value))
            if first != value:
                planned.problems.append(IMPORT_SAYS_OTHERWISE(column=column, line=str(number)))
            elif number == planned.number and column in values:
                setattr(client, column, value)
                self.plan.columns.append(column)
                planned.columns.append(column)

    def _read_values(
        self, planned: PlannedLine, row: Client | Credential, cells: Cells, *, is_new: bool
    ) -> dict[str, object]:
        """Return the values of these cells, without those that a stored row has already. Note what is wrong."""
        values = {}
        for column, text in cells.items():
            stored = getattr(row, column)
            spellings = {str(stored)}
            if column in CLIENT_COLUMNS:
                # As the site's own export has it. A secret is in none, and may begin as it likes.
                spellings.add(defuse_cell(stored))
            if not is_new and stored is not None and text in spellings:
                # NOVA's rows may hold values that no form would take, or would take with other blanks.
                continue
            try:
                value = read_cell(type(row), column, text)
            except ValidationError as error:
                problem = " ".join(error.messages)
                refused = IMPORT_CELL_REFUSED(column=column, problem=problem)
                planned.problems.append(refused)
                continue
            if is_new or value != stored:
                values[column] = value
        return values

    def _read_logins(self, planned: PlannedLine, cells: Cells) -> None:
        for kind, columns in LOGIN_COLUMNS.items():
            filled = {c: cells[c] for c in columns if not is_blank(c, cells.get(c, ""))}
            row = self._find_row(planned, kind, cells.get("label", "")) if filled else None
            if row is None:
                continue
            if id(row) in self.taken:
                line = str(self.taken[id(row)])
                planned.problems.append(IMPORT_LABEL_TWICE(line=line))
                continue
            self.taken[id(row)] = planned.number
            (self._change_login if row.pk else self._fill_login)(planned, row, filled)

    def _find_row(
        self, planned: PlannedLine, kind: CredentialType, label: str
    ) -> Credential | None:
        """Return the row that the line means, stored or new; None, and note it, where that is not clear."""
        label = label.strip()
        rows, primary = self.rows[kind], [row for row in self.rows[kind] if row.is_primary]
        found = [row for row in rows if row.label == label] if label else primary
        if len(rows) >= MOST_LOGINS and not found:
            planned.problems.append(IMPORT_TOO_MANY_LOGINS(most=MOST_LOGINS))
            return None
        if len(found) > 1 or (not label and not found and any(not row.label for row in rows)):
            unclear = IMPORT_LABEL_UNCLEAR if label else IMPORT_PRIMARY_UNCLEAR
            planned.problems.append(unclear(kind=kind.value))
            return None
        if found:
            return found[0]
        if label and not rows:
            planned.problems.append(IMPORT_NO_PRIMARY(kind=kind.value))
            return None
        row = CREDENTIAL_MODELS[kind](label=label or None, is_primary=not label)
        if label:
            self._read_values(planned, row, {"label": label}, is_new=True)
        rows.append(row)
        return row

    def _fill_login(self, planned: PlannedLine, row: Credential, cells: Cells) -> None:
        """Fill a new row. A mailbox whose hosts are left empty has those of its provider."""
        missing = [column for column in list_required(type(row)) if column not in cells]
        values = self._read_values(planned, row, cells, is_new=True)
        if row.TYPE == CredentialType.EMAIL:
            provider = str(values.get("email_provider", "gmail"))
            for column in MAIL_SERVERS["gmail"].keys() - cells.keys():
                values[column] = MAIL_SERVERS[provider].get(column)
                missing += [] if values[column] else [column]
        if missing:
            columns = tuple(c for c in LOGIN_COLUMNS[row.TYPE] if c in missing)
            planned.problems.append(IMPORT_CELLS_MISSING(columns=columns))
        self._keep_login(planned, row, values, list(cells))

    def _change_login(self, planned: PlannedLine, row: Credential, cells: Cells) -> None:
        """Change a stored row. Where the secret would be sent elsewhere, the file has to hold it."""
        values = self._read_values(planned, row, cells, is_new=False)
        if moved := row.list_columns_redirecting_secret(
            {*values, *set(row.SECRET_FIELDS) & set(cells)}
        ):
            (secret,) = row.SECRET_FIELDS
            needed = IMPORT_SECRET_NEEDED(columns=tuple(moved), secret=secret)
            planned.problems.append(needed)
        if values:
            self._keep_login(planned, row, values, list(values))

    def _keep_login(
        self, planned: PlannedLine, row: Credential, values: dict[str, object], columns: list[str]
    ) -> None:
        for column, value in values.items():
            setattr(row, column, value)
        planned.columns += columns
        secrets = {name: values[name] for name in row.SECRET_FIELDS if name in values}
        planned.warnings += warn_of_outer_blanks(secrets)
        self.plan.logins.append(PlannedLogin(row, not row.pk, columns))

    def _read_groups(self, planned: PlannedLine, text: str) -> None:
        names = list(filter(None, map(str.strip, text.split(";"))))
        if len(names) > MOST_GROUPS:
            planned.problems.append(IMPORT_TOO_MANY_GROUPS(most=MOST_GROUPS))
            return
        for name in names:
            try:
                normalized = parse_group_name(name)
            except ClientGroupError as refusal:
                refused = IMPORT_CELL_REFUSED(column="groups", problem=refusal.message)
                planned.problems.append(refused)
                continue
            if (key := fold_group_name(normalized)) not in self.group_keys:
                self.group_keys.add(key)
                self.plan.groups.append(normalized)
                planned.columns += [] if "groups" in planned.columns else ["groups"]


# The import: the good lines of a file, or all or none, in one transaction. Nothing of a file outlives the call.

# Clients are stored so many at a time; the transaction is one.
AT_ONCE = 500
# A statement that changes rows names each of them for each column.
WRITTEN_AT_ONCE = 100
# Who inserts a slug or a group that somebody else has inserted waits for their commit, and holds NOVA's rows meanwhile.
# Shorter than PostgreSQL's deadlock_timeout, after which it may end NOVA's transaction in place of this one.
LOCK_TIMEOUT = "500ms"

IMPORT_OTHER_FILE = Sentence(
    "import_other_file",
    "Nothing was imported: this is not the file that was previewed, or it was changed since. Its preview is below.",
)
IMPORT_OTHER_PLAN = Sentence(
    "import_other_plan",
    "Nothing was imported: clients of this file were changed since the preview. Look at the new preview.",
)


@dataclass(frozen=True)
class ImportPlan:
    """Holds what an import would do with each line, and with each client that isn't refused.

    With digests of the file and of what the tables hold.
    """

    lines: list[PlannedLine]
    clients: list[ClientImport]
    warning: Message | None
    file_digest: str
    plan_digest: str

    @property
    def counts(self) -> dict[LineOutcome, int]:
        found = Counter(line.outcome for line in self.lines)
        return {outcome: found[outcome] for outcome in LineOutcome}

    @property
    def refused(self) -> list[PlannedLine]:
        return [line for line in self.lines if line.problems]

    @property
    def warned(self) -> list[PlannedLine]:
        """Return the lines that are taken although something in them may be a mistake."""
        return [line for line in self.lines if line.warnings and not line.problems]

    @property
    def new_or_changed_clients(self) -> list[ClientImport]:
        return [planned for planned in self.clients if planned.changes]

    def sign(self, by: User) -> str:
        """Return what the page sends back with the file: that this user saw this plan of this file."""
        return f"{_sign(by, self.file_digest)}.{_sign(by, self.plan_digest)}"

    def check(self, token: str, by: User) -> None:
        """Raise ImportRefusedError where the user saw the preview of another file, or another plan."""
        file_token, _dot, plan_token = token.partition(".")
        if not constant_time_compare(file_token, _sign(by, self.file_digest)):
            raise ImportRefusedError(IMPORT_OTHER_FILE())
        if not constant_time_compare(plan_token, _sign(by, self.plan_digest)):
            raise ImportRefusedError(IMPORT_OTHER_PLAN())


@dataclass(frozen=True)
class ImportResult:
    """The numbers of clients by what was done with them, and the ids of the file's clients and of its groups.

    `correlation` is that of the import's entries in the audit; `refused`: the lines of which nothing was stored.
    """

    new: int
    changed: int
    unchanged: int
    client_ids: list[int]
    group_ids: list[int]
    correlation: str
    refused: list[PlannedLine]


def preview_import(*, data: bytes) -> ImportPlan:
    """Say what an import of the file would do. Raises ImportRefusedError where the file can't be read as a whole."""
    found = parse_import_file(data, columns=IMPORT_COLUMNS)
    with repeatable_read_only():
        return _make_plan(found, data)


IMPORT_LINES_WRONG = Sentence(
    "import_lines_wrong",
    "Nothing was imported: %(n)s lines are wrong. Correct them in the file.",
    one="Nothing was imported: %(n)s line is wrong. Correct it in the file.",
)
IMPORT_BUSY = Sentence("import_busy", "The same clients or groups are being changed. Try again.")
IMPORT_REFUSED = Sentence("import_refused", "Nothing was imported: %(problem)s")


def store_import(
    *,
    data: bytes,
    by: User | None = None,
    token: str | None = None,
    all_or_nothing: bool = False,
    tell: Callable[[int], None] = lambda _number: None,
) -> ImportResult:
    """Store the good lines of the file in one transaction, or raise ImportRefusedError and store nothing.

    A client of which one line is wrong is refused as a whole; with `all_or_nothing` the file is. `token` is that of the
    preview that `by` saw; without one what was previewed is not compared. `tell` is called with the number of clients
    that are written.
    """
    found = parse_import_file(data, columns=IMPORT_COLUMNS)
    try:
        with convert_refusals(), transaction.atomic():
            plan = _make_locked_plan(found, data)
            if token is not None and by is not None:
                plan.check(token, by)
            if plan.refused and all_or_nothing:
                raise ImportRefusedError(IMPORT_LINES_WRONG(n=len(plan.refused)))
            return _store(plan, by, tell)
    except (RefusedByDatabaseError, RowsBusyError, ClientGroupError) as error:
        raise ImportRefusedError(IMPORT_REFUSED(problem=error.message)) from None
    except OperationalError as error:
        if not isinstance(error.__cause__, (LockNotAvailable, DeadlockDetected)):
            raise
        refusal = IMPORT_REFUSED(problem=IMPORT_BUSY())
        raise ImportRefusedError(refusal) from None


def _make_locked_plan(found: ImportFile, data: bytes) -> ImportPlan:
    """Plan the file, and lock its clients and their rows: the plan holds until the transaction ends.

    A client isn't moved meanwhile. Raises `RowsBusyError`.
    """
    locked = set(_select_clients(found).values_list("pk", flat=True))
    Client.objects.lock_rows(*locked)
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    plan = _make_plan(found, data)
    if any(not p.is_new and p.client.pk not in locked for p in plan.clients):
        # NOVA has added it, or given it this slug, since they were locked.
        raise RowsBusyError(IMPORT_BUSY())
    return plan


def _sign(by: User, digest: str) -> str:
    text = f"{by.pk}:{digest}"
    return salted_hmac("migration.imports.preview", text, algorithm="sha256").hexdigest()


def _select_clients(found: ImportFile) -> ClientPhaseQuerySet:
    """Select the stored clients whose slug the file has, as it stands there or without the blanks around it."""
    sound = [line for line in found.lines if not line.problem and line.slug]
    slugs = {text for line in sound for text in (line.slug, line.cells["slug"])}
    return all_clients().filter(slug__in=slugs)


IMPORT_SLUG_MISSING = Sentence("import_slug_missing", "The slug is missing.")


def _make_plan(found: ImportFile, data: bytes) -> ImportPlan:
    """Plan each client of the file. Reads clients, rows and groups within the caller's transaction."""
    clients = _select_clients(found).with_phase().with_leaving().with_revision()
    clients.read_rows_and_columns()
    stored = {client.slug: client for client in clients}
    groups = defaultdict(set)
    members = GroupMember.objects.filter(client_id__in=[client.pk for client in clients])
    for client_id, key in members.values_list("client_id", "group__key"):
        groups[client_id].add(key)
    # Before the plan puts the new values into the clients.
    state = [
        (c.pk, get_phase(c).value, c.make_stamp_of_read(), sorted(groups[c.pk])) for c in clients
    ]

    planners: list[ClientPlanner] = []
    of_client: dict[str, list[FileLine]] = defaultdict(list)
    planned: list[PlannedLine] = []
    for line in found.lines:
        if line.problem or not line.slug:
            problem = line.problem or IMPORT_SLUG_MISSING()
            # Its cells may stand in the wrong columns: not even a slug is shown of it.
            planned.append(PlannedLine(line.number, "", problems=[problem]))
        else:
            slug = line.cells["slug"] if line.cells["slug"] in stored else line.slug
            of_client[slug].append(line)
    slugs, alike = _read_slugs(), defaultdict(list)
    for slug, lines in of_client.items():
        if slug not in stored:
            alike[slug.casefold()].append((slug, lines[0].number))
    for slug, lines in of_client.items():
        client = stored.get(slug)
        planner = ClientPlanner(slug, client, groups=groups[client.pk] if client else ())
        planned += planner.plan_lines(lines)
        if client is None:
            others = [each for each in alike[slug.casefold()] if each[0] != slug]
            _check_new(planner, slugs, others)
        planner.refuse_as_a_whole()
        planners.append(planner)
    planned.sort(key=lambda line: line.number)
    outcomes = [(line.number, line.slug, line.outcome.value, line.columns) for line in planned]
    return ImportPlan(
        planned,
        [planner.plan for planner in planners if not planner.is_refused],
        found.warning,
        file_digest=sha256(data).hexdigest(),
        plan_digest=sha256(json.dumps([outcomes, sorted(state)]).encode()).hexdigest(),
    )


def _read_slugs() -> dict[str, str]:
    """Return every slug by what is left of it without regard to capital letters."""
    return {
        slug.casefold(): slug for slug in Client.objects.order_by().values_list("slug", flat=True)
    }


IMPORT_SLUG_LIKE_OTHER = Sentence(
    "import_slug_like_other",
    "There is a client %(slug)s, whose slug differs in capital letters only. Write its slug so, or add this client on"
    " the page.",
)
IMPORT_SLUG_LIKE_LINE = Sentence(
    "import_slug_like_line",
    "Line %(line)s has the slug %(slug)s, which differs in capital letters only. Leave one of the two.",
)


def _check_new(
    planner: ClientPlanner, slugs: dict[str, str], others: Sequence[tuple[str, int]]
) -> None:
    """Note what is wrong with a new client as a whole: its slug, and a document that no secret can hold.

    `others`: other slugs of the file that differ in capital letters only, and their lines.
    """
    client, first = planner.plan.client, planner.lines[0]
    prefix, layout = settings.NOVA_SECRET_PREFIX, configured_layout()
    if other := slugs.get(client.slug.casefold()):
        first.problems.append(IMPORT_SLUG_LIKE_OTHER(slug=other))
    for other, number in others[:1]:
        # Which of the two is meant nobody knows.
        first.problems.append(
            IMPORT_SLUG_LIKE_LINE(line=str(number), slug=escape_name(other[:100]))
        )
    try:
        read_cell(Client, "slug", client.slug)
    except ValidationError as error:
        problem: Message | str | None = " ".join(error.messages)
    else:
        problem = documents.name_problem(client.slug, prefix=prefix, layout=layout)
    if problem:
        refused = IMPORT_CELL_REFUSED(column="slug", problem=problem)
        first.problems.append(refused)
    if not planner.is_refused:
        document = documents.build_document(client.name, planner.rows, slug=client.slug)
        if too_large := documents.size_problem(document, client.slug, prefix=prefix, layout=layout):
            first.problems.append(too_large)


def _store(plan: ImportPlan, by: User | None, tell: Callable[[int], None]) -> ImportResult:
    # In one order, so that two imports of the same slugs wait for each other and never both.
    changed = sorted(plan.new_or_changed_clients, key=lambda planned: planned.client.slug)
    # What they hold before; what is stored then the workers look at, within a minute.
    note_values_on_commit(*(p.client.pk for p in changed if p.logins and not p.is_new))
    for start in range(0, len(changed), AT_ONCE):
        some = changed[start : start + AT_ONCE]
        _store_clients(some)
        tell(start + len(some))
    groups = _put_into_groups(changed, by)
    new = sum(planned.is_new for planned in changed)
    numbers = {
        "new": new,
        "changed": len(changed) - new,
        "unchanged": len(plan.clients) - len(changed),
    }
    correlation = _record(changed, numbers, by)
    return ImportResult(
        **numbers,
        client_ids=[planned.client.pk for planned in plan.clients],
        group_ids=[group.pk for group in groups],
        correlation=correlation,
        refused=plan.refused,
    )


def _store_clients(changed: Collection[ClientImport]) -> None:
    """Write new clients and logins, and the changed columns of stored ones, in a few statements for each table."""
    new = [planned.client for planned in changed if planned.is_new]
    written: list[tuple[Client | Credential, Collection[str]]] = [
        (p.client, p.columns) for p in changed if p.columns and not p.is_new
    ]
    insert_rows(Client, new)
    for planned in changed:
        for login in planned.logins:
            login.row.client_id = planned.client.pk
            if not login.is_new:
                written.append((login.row, login.columns))
    _write_columns(written)
    logins = [login for planned in changed for login in planned.logins if login.is_new]
    for kind, model in CREDENTIAL_MODELS.items():
        insert_rows(model, [login.row for login in logins if kind == login.row.TYPE])


def _write_columns(written: Iterable[tuple[Client | Credential, Collection[str]]]) -> None:
    """Write these columns of rows that are locked, and no other."""
    together: dict[tuple[type[Model], tuple[str, ...]], list[Model]] = defaultdict(list)
    for row, columns in written:
        row.updated_at = timezone.now()
        together[type(row), (*columns, "updated_at")].append(row)
    for (model, columns), rows in together.items():
        done = model._default_manager.bulk_update(rows, columns, batch_size=WRITTEN_AT_ONCE)
        if done < len(rows):
            raise RefusedByDatabaseError(ROW_LEFT_OUT())


def _put_into_groups(changed: Iterable[ClientImport], by: User | None) -> list[ClientGroup]:
    members: dict[str, list[int]] = defaultdict(list)
    for planned in changed:
        for name in planned.groups:
            members[name].append(planned.client.pk)
    groups = []
    # In one order, so that no two imports wait for each other's groups.
    for name, client_ids in sorted(members.items(), key=lambda item: fold_group_name(item[0])):
        group = ClientGroup.objects.get_or_add(name, by=by)
        group.put_clients(all_clients().with_ids(client_ids), by=by)
        groups.append(group)
    return groups


IMPORTED_CLIENTS = Sentence(
    "imported_clients",
    "Imported clients: %(new)s added, %(changed)s changed, %(unchanged)s unchanged.",
)


def _record(changed: Iterable[ClientImport], numbers: dict[str, int], by: User | None) -> str:
    """Record the numbers, and for each client which of its fields were written; return what these entries share."""
    events = [AuditEvent.make_signed(IMPORT_EVENT, IMPORTED_CLIENTS(**numbers), by=by)]
    for planned in changed:
        changes = [FIELDS_OF_CLIENT(fields=", ".join(planned.columns))] if planned.columns else []
        for login in planned.logins:
            added = LOGIN_ADDED if login.is_new else LOGIN_CHANGED
            row = login.row.make_row_name_message()
            changes.append(added(row=row, fields=", ".join(login.columns)))
        if not changes:
            continue  # its groups have entries of their own
        sentence = CLIENT_ADDED if planned.is_new else CLIENT_SAVED
        events.append(
            AuditEvent.make_signed(
                IMPORT_EVENT,
                sentence(changes=tuple(changes)),
                by=by,
                client_id=planned.client.pk,
                slug=planned.client.slug,
            )
        )
    AuditEvent.objects.insert_already_signed(events)
    return events[0].correlation
