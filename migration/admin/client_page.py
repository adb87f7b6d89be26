"""Collects what a client's page shows around its form: the phase, the next step with its checks, the history."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.conf import settings
from django.utils import formats, timezone
from django.utils.translation import gettext as _

from credentials.secret_names import find_name_problem, find_name_warning
from migration import sentences
from migration.admin.base import read_number
from migration.admin.checklists import show_checks
from migration.admin.client_groups import get_members_url
from migration.admin.secret_versions import get_console_url
from migration.models import ClientGroup, Comparison, PhaseChoices, ReadCount, ReaderProcess
from migration.operations.aws_store import secret_layout, secret_names
from migration.operations.evidence import WANT_EVIDENCE, find_purge_time
from migration.operations.gates import Check, Condition, database_checks
from migration.operations.next_steps import NEXT_PHASE
from migration.reports.client_counts import describe_phase
from migration.reports.client_history import load_history
from migration.reports.client_status import has_push_pending
from migration.reports.readers import ADOPTION_STEPS
from nova_credentials import document as documents
from nova_credentials.comparison import list_paths
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError
from nova_credentials.phases import Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

    from migration.admin.base import ClientRow
    from nova_credentials.document import Document
    from nova_credentials.messages import Message


@dataclass(frozen=True)
class ClientState:
    """The attributes of a client that `database_checks` needs."""

    client_id: int
    push_pending: bool


def get_client_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the context of the client's page, except for its moves and secret fields."""
    may = request.user.has_perm
    page = request.GET.get("history", "")
    document, problem = _build_document(client)
    newest = Comparison.objects.newest().filter(client_id=client.pk).first()
    is_read = ReaderProcess.objects.was_ever_seen()
    next_step = _describe_next_step(request, client, document, problem)
    if not is_read and "checks" in next_step:
        next_step["title"] = _("After that: %(phase)s") % {"phase": next_step["phase"]}
    return {
        "adoption_steps": () if is_read else ADOPTION_STEPS,
        "may_view_readers": may("migration.view_readerprocess"),
        "overview": _make_overview(client, newest),
        "steps": list(_list_steps(Phase(client.phase))),
        "next_step": next_step,
        "same_fields": _list_same_fields(newest, document),
        "may_view_comparisons": may("migration.view_comparison"),
        "history": load_history(client.pk, has_permission=may, page=read_number(page) or 1),
    }


def _make_overview(client: ClientRow, newest: Comparison | None) -> dict[str, object]:
    problem = find_name_problem(client.slug)
    names = [] if problem else secret_names(client.slug).values()
    return {
        "phase": client.phase,
        # The AWS console shows nothing of another endpoint.
        "uses_other_endpoint": bool(settings.AWS_ENDPOINT_URL),
        "groups": [
            (group, get_members_url(group.pk))
            for group in ClientGroup.objects.filter(members__client=client.pk)
        ],
        "secrets": [(name, get_console_url(name)) for name in names],
        "push_pending": has_push_pending(client),
        "comparison": newest,
        "name_problem": problem,
        "name_warning": find_name_warning(client.slug),
        "reads": ReadCount.objects.filter(client_id=client.pk).first(),
    }


def _list_steps(phase: Phase) -> Iterator[dict[str, object]]:
    """Yield the five phases, each with its place before or after the client's own."""
    line = list(Phase)
    for number, step in enumerate(line):
        is_done = number < line.index(phase)
        yield {
            "number": number + 1,
            "label": PhaseChoices(step).label,
            "description": describe_phase(step),
            "state": "here" if step == phase else "done" if is_done else "ahead",
        }


def _describe_next_step(
    request: HttpRequest, client: ClientRow, document: Document | None, problem: Message | None
) -> dict[str, object]:
    """Return the move to the next phase and those of its checks that need the database alone."""
    phase = Phase(client.phase)
    new = NEXT_PHASE.get(phase)
    if new is None:
        return {"title": _("Last phase reached")}
    checks = list(database_checks(ClientState(client.pk, has_push_pending(client)), new))
    if phase == Phase.POSTGRES:
        checks = [*_check_document(client.slug, document, problem), *checks]
    possible_at = find_purge_time(client.phase_since) if new == Phase.PURGED else None
    # No page offers a purge before its time, with an override or without.
    shown = show_checks(
        request, client.pk, checks, back=request.get_full_path(), marks_overridable=not possible_at
    )
    title = _("Next step: %(phase)s") % {"phase": PhaseChoices(new).label}
    if possible_at:
        day = formats.date_format(timezone.localtime(possible_at), "DATETIME_FORMAT")
        title = _("Next step: wait until %(day)s, then purge") % {"day": day}
    return {
        "phase": PhaseChoices(new).label,
        "title": title,
        "checks": shown.lines,
        "override_note": shown.override_note,
        "left": sum(not check.passed for check in checks),
        "why_shut": shown.why_shut if phase != Phase.POSTGRES else None,
        "asks_aws": phase != Phase.POSTGRES,
        "is_demo": settings.NOVA_DEMO and new in WANT_EVIDENCE,
    }


def _build_document(client: ClientRow) -> tuple[Document | None, Message | None]:
    """Return the document of the client's rows, or why there can be none."""
    try:
        return client.build_document(), None
    except DocumentError as error:
        return None, error.message


def _check_document(
    slug: str, document: Document | None, problem: Message | None
) -> Iterator[Check]:
    """Yield the checks of a first push: name, logins and size of the secret."""
    prefix, layout = settings.NOVA_SECRET_PREFIX, secret_layout()
    illegal = documents.name_problem(slug, prefix=prefix, layout=layout)
    name = sentences.NAME_NOT_ALLOWED(why=illegal) if illegal else sentences.NAME_ALLOWED()
    yield Check(Condition.NAME_NOT_ALLOWED, not illegal, name)
    if document is None or problem:
        yield Check(Condition.NO_DOCUMENT, False, problem or sentences.NO_LOGIN())
        return
    logins = sum(credential_type in document for credential_type in CredentialType)
    logins += sum(len(rows) for rows in document.values() if isinstance(rows, list))
    found = sentences.HAS_LOGINS(n=logins) if logins else sentences.NO_LOGIN()
    yield Check(Condition.NO_LOGIN, logins > 0, found)
    too_large = documents.size_problem(document, slug, prefix=prefix, layout=layout)
    yield Check(Condition.TOO_LARGE, not too_large, too_large or sentences.NOT_TOO_LARGE())


def _list_same_fields(newest: Comparison | None, document: Document | None) -> list[str]:
    """Return the fields that the newest comparison found equal; none if it could not compare any."""
    compared = (Comparison.Status.MATCH, Comparison.Status.MISMATCH)
    if document is None or newest is None or newest.status not in compared:
        return []
    differ = tuple(mismatch.path for mismatch in newest.fields_that_differ())
    within = tuple(f"{path}{mark}" for path in differ for mark in ".[")
    return [
        path for path in list_paths(document) if path not in differ and not path.startswith(within)
    ]
