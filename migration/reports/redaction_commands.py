"""Writes the commands that redact the copies of some clients, ready to be pasted into a shell. Reads phases only."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration.models.clients import ClientMigration
from migration.models.phases import PhaseChoices
from migration.operations.redactable_columns import (
    CODE_TABLES,
    CREDENTIAL_TABLES,
    DEFAULT_COLUMNS,
)
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Collection

    from migration.models.copies import FoundCopy

# Names without a character that a shell would take for something else.
PLAIN_SLUG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
PLAIN_COLUMN = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*){2}")


@dataclass
class RedactionCommandLines:
    """The `find_copies --redact` commands for the clients on a page; "" where there is nothing to replace."""

    # Of executions, where only those that have ended are changed.
    history: str = ""
    # Of other tables, where no state says which rows NOVA is done with.
    others: str = ""
    # Clients with copies that are still read from PostgreSQL, with their phase.
    too_early: list[tuple[str, str]] = field(default_factory=list)
    # Slug and column of what could be replaced but is in no command, for a name that a shell would not take as it is.
    unwritten: list[tuple[str, str]] = field(default_factory=list)

    @property
    def say_something(self) -> bool:
        """Say whether anything of the page can be replaced, now or later."""
        return bool(self.history or self.others or self.too_early or self.unwritten)


def write_redaction_commands(found: Collection[FoundCopy]) -> RedactionCommandLines:
    """Return the commands that replace what was found, as far as it may be replaced, in one query."""
    ids = {copy.client_id for copy in found}
    phases = dict(ClientMigration.objects.filter(pk__in=ids).values_list("pk", "phase"))
    early, history, others, unwritten = {}, [], [], []
    for copy in found:
        phase = Phase(phases.get(copy.client_id, Phase.POSTGRES))
        if not phase.aws_is_authority:
            early[copy.slug] = str(PhaseChoices(phase).label)
        elif copy.table in (*CODE_TABLES, *CREDENTIAL_TABLES):
            continue
        elif not _can_be_pasted(copy):
            unwritten.append((copy.slug, _name_column(copy)))
        elif _name_column(copy) in DEFAULT_COLUMNS:
            history.append(copy)
        else:
            others.append(copy)
    return RedactionCommandLines(
        _write_command(history), _write_command(others), sorted(early.items()), sorted(unwritten)
    )


def _can_be_pasted(copy: FoundCopy) -> bool:
    """Say whether a shell takes both names as they are: nobody pastes what others wrote."""
    return bool(PLAIN_SLUG.fullmatch(copy.slug) and PLAIN_COLUMN.fullmatch(_name_column(copy)))


def _name_column(copy: FoundCopy) -> str:
    return f"{copy.table}.{copy.column}"


def _write_command(found: Collection[FoundCopy]) -> str:
    if not found:
        return ""
    slugs = sorted({copy.slug for copy in found})
    columns = sorted({_name_column(copy) for copy in found})
    return f"python manage.py find_copies {' '.join(slugs)} --redact --column {' '.join(columns)}"
