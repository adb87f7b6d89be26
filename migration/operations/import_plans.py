"""Finds out what an import would do with each line of its file. Writes nothing, and names no value but slugs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from credentials.import_columns import (
    CLIENT_COLUMNS,
    LOGIN_COLUMNS,
    is_blank,
    list_required,
    read_cell,
)
from credentials.models import CREDENTIAL_MODELS, Client
from credentials.onboarding import MAIL_SERVERS
from migration import import_sentences as sentences
from migration import offboarding_sentences
from migration.models.client_groups import ClientGroupError, fold_group_name, parse_group_name
from migration.operations.csv_cells import defuse_cell
from nova_credentials.credential_types import CredentialType
from nova_credentials.phases import Phase
from nova_credentials.sentences import PHASES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from credentials.models import Credential
    from credentials.models.clients import RowsByType
    from migration.operations.import_files import FileLine
    from nova_credentials.messages import Message

    Cells = dict[str, str]


# Of one client. Each login is compared with all of its client's before it, and each group is looked for.
MOST_LOGINS, MOST_GROUPS = 100, 50


class LineOutcome(models.TextChoices):
    """What an import would do with a line."""

    WRONG = "wrong", _("Wrong")
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
                first = str(self.lines[0].number)
                planned.problems.append(sentences.IMPORT_SLUG_TWICE(line=first))
                continue
            self._read_client(planned, line.cells)
            self._read_logins(planned, line.cells)
            if planned.columns and (refusal := self._find_refusal()):
                planned.problems.append(refusal)
            self._read_groups(planned, line.cells.get("groups", ""))
        if self.plan.is_new:
            self._check_new_client(self.lines[0])
        return self.lines

    def _find_refusal(self) -> Message | None:
        """Say why an import changes nothing of this client but its groups; None where it may."""
        if self.is_leaving_or_left:
            return offboarding_sentences.IS_OFFBOARDED(slug=self.plan.client.slug)
        if self.phase.aws_is_authority:
            return sentences.IMPORT_AWS_DECIDES(phase=PHASES[self.phase]())
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
                planned.problems.append(
                    sentences.IMPORT_SAYS_OTHERWISE(column=column, line=str(number))
                )
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
                refused = sentences.IMPORT_CELL_REFUSED(column=column, problem=problem)
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
                planned.problems.append(sentences.IMPORT_LABEL_TWICE(line=line))
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
            planned.problems.append(sentences.IMPORT_TOO_MANY_LOGINS(most=MOST_LOGINS))
            return None
        if len(found) > 1 or (not label and not found and any(not row.label for row in rows)):
            unclear = sentences.IMPORT_LABEL_UNCLEAR if label else sentences.IMPORT_PRIMARY_UNCLEAR
            planned.problems.append(unclear(kind=kind.value))
            return None
        if found:
            return found[0]
        if label and not rows:
            planned.problems.append(sentences.IMPORT_NO_PRIMARY(kind=kind.value))
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
            planned.problems.append(sentences.IMPORT_CELLS_MISSING(columns=columns))
        self._keep_login(planned, row, values, list(cells))

    def _change_login(self, planned: PlannedLine, row: Credential, cells: Cells) -> None:
        """Change a stored row. Where the secret would be sent elsewhere, the file has to hold it."""
        values = self._read_values(planned, row, cells, is_new=False)
        if moved := row.list_columns_redirecting_secret(
            {*values, *set(row.SECRET_FIELDS) & set(cells)}
        ):
            (secret,) = row.SECRET_FIELDS
            needed = sentences.IMPORT_SECRET_NEEDED(columns=tuple(moved), secret=secret)
            planned.problems.append(needed)
        if values:
            self._keep_login(planned, row, values, list(values))

    def _keep_login(
        self, planned: PlannedLine, row: Credential, values: dict[str, object], columns: list[str]
    ) -> None:
        for column, value in values.items():
            setattr(row, column, value)
        planned.columns += columns
        self.plan.logins.append(PlannedLogin(row, not row.pk, columns))

    def _read_groups(self, planned: PlannedLine, text: str) -> None:
        names = list(filter(None, map(str.strip, text.split(";"))))
        if len(names) > MOST_GROUPS:
            planned.problems.append(sentences.IMPORT_TOO_MANY_GROUPS(most=MOST_GROUPS))
            return
        for name in names:
            try:
                normalized = parse_group_name(name)
            except ClientGroupError as refusal:
                refused = sentences.IMPORT_CELL_REFUSED(column="groups", problem=refusal.message)
                planned.problems.append(refused)
                continue
            if (key := fold_group_name(normalized)) not in self.group_keys:
                self.group_keys.add(key)
                self.plan.groups.append(normalized)
                planned.columns += [] if "groups" in planned.columns else ["groups"]

    def _check_new_client(self, first: PlannedLine) -> None:
        if "name" not in self.plan.columns and not first.problems:
            first.problems.append(sentences.IMPORT_NAME_MISSING())
        if not any(self.rows.values()) and not first.problems:
            first.problems.append(sentences.IMPORT_LOGIN_MISSING())
