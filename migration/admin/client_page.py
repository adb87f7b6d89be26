"""Where one client stands, what its next step is and wants, and what happened to it: for its page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.utils.translation import gettext as _

from credentials.secret_names import find_name_problem, find_name_warning
from migration import sentences
from migration.admin.move_confirmation import with_remedies
from migration.admin.secret_versions import console_url
from migration.models import Comparison, PhaseChoices, ReadCount
from migration.operations.aws_store import secret_layout, secret_names
from migration.operations.gates import Check, Condition, database_checks
from migration.reports.client_counts import describe_phase
from migration.reports.client_history import load_history
from migration.reports.client_status import has_push_pending
from nova_credentials import document as documents
from nova_credentials.comparison import list_paths
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import DocumentError
from nova_credentials.phases import MOVES, Move, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

    from credentials.models import Client
    from nova_credentials.document import Document
    from nova_credentials.messages import Message

# One step on.
ONWARD = {
    old: new
    for (old, new), kind in MOVES.items()
    if kind in (Move.FORWARD, Move.CUTOVER, Move.PURGE)
}


def context(request: HttpRequest, client: Any) -> dict[str, Any]:
    may = request.user.has_perm
    phase, page = Phase(client.phase), request.GET.get("history", "")
    document, problem = _document(client)
    standing = _standing(client)
    return {
        "standing": standing,
        "steps": list(_steps(phase)),
        "next_step": _next_step(request, client, document, problem),
        "same_fields": _same_fields(standing["comparison"], document),
        "may_view_comparisons": may("migration.view_comparison"),
        "timeline": load_history(
            client.pk, has_permission=may, page=int(page) if page.isdecimal() else 1
        ),
    }


def _standing(client: Any) -> dict[str, Any]:
    problem = find_name_problem(client.slug)
    names = [] if problem else secret_names(client.slug).values()
    return {
        "phase": client.phase,
        # The console shows what is in AWS itself.
        "elsewhere": bool(settings.AWS_ENDPOINT_URL),
        "secrets": [(name, console_url(name)) for name in names],
        "push_pending": has_push_pending(client),
        "comparison": Comparison.objects.newest().filter(client_id=client.pk).first(),
        "problem": problem,
        "warning": find_name_warning(client.slug),
        "reads": ReadCount.objects.filter(client_id=client.pk).first(),
    }


def _steps(phase: Phase) -> Iterator[dict[str, Any]]:
    """The five phases: those behind it, the one it stands in, those ahead."""
    line = list(Phase)
    for number, step in enumerate(line):
        behind = number < line.index(phase)
        yield {
            "number": number + 1,
            "label": PhaseChoices(step).label,
            "effect": describe_phase(step),
            "state": "here" if step == phase else "done" if behind else "ahead",
        }


@dataclass(frozen=True)
class _Stands:
    """What the gate's conditions ask of a client."""

    client_id: int
    push_pending: bool


def _next_step(
    request: HttpRequest, client: Any, document: Document | None, problem: Message | None
) -> dict[str, Any]:
    """The step onward and its conditions, as far as the database tells them."""
    phase = Phase(client.phase)
    new = ONWARD.get(phase)
    if new is None:
        return {"title": _("Last phase reached")}
    checks = list(database_checks(_Stands(client.pk, has_push_pending(client)), new))
    if phase == Phase.POSTGRES:
        checks = [*_ready(client, document, problem), *checks]
    return {
        "title": _("Next step: %(phase)s") % {"phase": PhaseChoices(new).label},
        "checks": with_remedies(request, client.pk, checks, back=request.get_full_path()),
        "left": sum(not check.passed for check in checks),
        "asks_aws": phase != Phase.POSTGRES,
    }


def _document(client: Client) -> tuple[Document | None, Message | None]:
    """Return the document of its rows, or why there is none."""
    try:
        return client.build_document(), None
    except DocumentError as error:
        return None, error.message


def _ready(client: Client, document: Document | None, problem: Message | None) -> Iterator[Check]:
    """What a first push wants."""
    prefix, layout = settings.NOVA_SECRET_PREFIX, secret_layout()
    illegal = documents.name_problem(client.slug, prefix=prefix, layout=layout)
    name = sentences.NAME_NOT_ALLOWED(why=illegal) if illegal else sentences.NAME_ALLOWED()
    yield Check(Condition.NAME_NOT_ALLOWED, not illegal, name)
    if document is None or problem:
        yield Check(Condition.NO_DOCUMENT, False, problem or sentences.NO_LOGIN())
        return
    logins = sum(credential_type in document for credential_type in CredentialType)
    logins += sum(len(rows) for rows in document.values() if isinstance(rows, list))
    found = sentences.HAS_LOGINS(n=logins) if logins else sentences.NO_LOGIN()
    yield Check(Condition.NO_LOGIN, logins > 0, found)
    too_large = documents.size_problem(document, client.slug, prefix=prefix, layout=layout)
    yield Check(Condition.TOO_LARGE, not too_large, too_large or sentences.NOT_TOO_LARGE())


def _same_fields(newest: Comparison | None, document: Document | None) -> list[str]:
    """The fields in which the newest comparison found no difference; none where it could not look at them."""
    looked = (Comparison.Status.MATCH, Comparison.Status.MISMATCH)
    if document is None or newest is None or newest.status not in looked:
        return []
    differ = tuple(mismatch.path for mismatch in newest.fields_that_differ())
    within = tuple(f"{path}{mark}" for path in differ for mark in ".[")
    return [
        path for path in list_paths(document) if path not in differ and not path.startswith(within)
    ]
