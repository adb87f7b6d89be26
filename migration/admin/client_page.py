"""Collects what a client's page shows: the header of every tab, the next step with its checks, the history."""

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
from migration.admin.client_comments import get_comments_context
from migration.admin.client_export import may_export_cutover
from migration.admin.client_groups import get_members_url
from migration.admin.client_live import get_live_context
from migration.admin.client_tabs import HISTORY_PAGE, ClientTab, list_tabs
from migration.admin.copying import get_undo_context
from migration.admin.leaving import LEAVING_PERMISSIONS
from migration.admin.login_tests import get_advice_context, get_login_tests_context
from migration.campaigns.pages import describe_campaigns_of_clients
from migration.models.client_comments import ClientComment
from migration.models.client_groups import ClientGroup
from migration.models.comparisons import Comparison
from migration.models.layouts import (
    LayoutChoices,
    OtherSecretsState,
    find_layout,
    find_other_secrets_layout,
)
from migration.models.offboardings import Offboarding
from migration.models.phases import PhaseChoices
from migration.models.reads import ReadCount
from migration.models.run_items import RunItem
from migration.nova.models import ReaderProcess
from migration.nova.readers import ADOPTION_STEPS
from migration.operations.aws_store import client_secret_names, secret_names
from migration.operations.cutover_exports import find_cutover
from migration.operations.evidence import WANT_EVIDENCE, find_end_of_purge_wait
from migration.operations.gate_fixes import CheckCode, CheckFix
from migration.operations.gates import Check, database_checks
from migration.operations.next_steps import NEXT_PHASE
from migration.reports.client_counts import describe_phase
from migration.reports.client_history import load_history
from migration.reports.client_status import has_push_pending
from migration.secrets.pages import LAYOUT_PERMISSION, get_console_url
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
class ClientToCheck:
    """The attributes of a client that `database_checks` needs."""

    client_id: int
    push_pending: bool


def get_client_context(
    request: HttpRequest, client: ClientRow, tab: ClientTab
) -> dict[str, object]:
    """Return the context of the client's page: its header, and what the tab shows except for moves and forms."""
    context = {
        "tabs": list(list_tabs(request, client.pk, tab)),
        "overview": _make_header(request, client),
        "names_itself": True,
        "campaign_notes": describe_campaigns_of_clients(request, [client.pk]),
        **get_live_context(request, client.pk),
        "may_view_comparisons": request.user.has_perm("migration.view_comparison"),
    }
    add_tab = {
        ClientTab.OVERVIEW: _get_overview_context,
        ClientTab.LOGINS: get_login_tests_context,
        ClientTab.COMPARISON: _get_comparison_context,
        ClientTab.HISTORY: _get_history_context,
    }.get(tab)
    return context | (add_tab(request, client) if add_tab else {})


def _make_header(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return what every tab says of the client."""
    return {
        "leaving": Offboarding.objects.filter(pk=client.pk).first(),
        "may_end": any(map(request.user.has_perm, LEAVING_PERMISSIONS)),
        "phase": client.phase,
        "phase_since": client.phase_since,
        "description": describe_phase(Phase(client.phase)),
        "comments": ClientComment.objects.filter(client_id=client.pk).count(),
        "groups": [
            (group, get_members_url(group.pk))
            for group in ClientGroup.objects.filter(members__client=client.pk)
        ],
        "push_pending": has_push_pending(client),
        "newest_status": client.newest_status,
        "newest_compared_at": client.newest_compared_at,
        "differs": client.newest_status not in (None, Comparison.Status.MATCH),
    }


def _get_overview_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the phases, the next step with its checks, and the comments."""
    is_read = ReaderProcess.objects.was_ever_seen()
    next_step = _describe_next_step(request, client)
    if not is_read and "checks" in next_step:
        next_step["title"] = _("After that: %(phase)s") % {"phase": next_step["phase"]}
    return {
        "adoption_steps": () if is_read else ADOPTION_STEPS,
        "may_view_readers": request.user.has_perm("migration.view_readerprocess"),
        **get_comments_context(request, client.pk),
        "steps": list(_list_steps(Phase(client.phase))),
        "next_step": next_step,
    }


def _get_comparison_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the newest comparison, what NOVA's reader counted, and the names of the secrets."""
    document, _problem = _build_document(client)
    newest = Comparison.objects.newest().filter(client_id=client.pk).first()
    layout = find_layout(client.layout)
    problem = find_name_problem(client.secret_slug, layout)
    names = [] if problem else client_secret_names(client).values()
    other_layout = find_other_secrets_layout(layout, client.other_slug)
    return {
        "comparison": newest,
        "same_fields": _list_same_fields(newest, document),
        **get_undo_context(request, client),
        **get_advice_context(request, client),
        "reads": ReadCount.objects.filter(client_id=client.pk).first(),
        "secrets": [(name, get_console_url(name)) for name in names],
        "layout": LayoutChoices(layout).label,
        "other_secrets": OtherSecretsState(client.other_secrets) if client.other_secrets else None,
        "other_names": secret_names(client.other_slug or client.secret_slug, other_layout).values(),
        "has_former_slug": client.secret_slug != client.slug,
        "may_change_layout": request.user.has_perm(LAYOUT_PERMISSION),
        # The AWS console shows nothing of another endpoint.
        "uses_other_endpoint": bool(settings.AWS_ENDPOINT_URL),
        "name_problem": problem,
        "name_warning": find_name_warning(client.secret_slug, layout),
    }


def _get_history_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return one page of the client's history, and the cutover up to which the audit's entries can be exported."""
    page = read_number(request.GET.get(HISTORY_PAGE, "")) or 1
    return {
        "history": load_history(client.pk, has_permission=request.user.has_perm, page=page),
        "cutover": may_export_cutover(request) and find_cutover(client.pk),
        "is_moved_back": not Phase(client.phase).aws_is_authority,
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


def _describe_next_step(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the move to the next phase and those of its checks that need the database alone."""
    phase = Phase(client.phase)
    new = NEXT_PHASE.get(phase)
    if new is None:
        return {"title": _("Last phase reached")}
    pending = has_push_pending(client)
    checks = list(database_checks(ClientToCheck(client.pk, pending), new))
    if phase == Phase.POSTGRES or pending:
        of_push = [
            *_check_document(client, *_build_document(client)),
            *_check_last_push(client.pk),
        ]
        # Of a push after the first, only what it will be refused for.
        checks = [each for each in of_push if phase == Phase.POSTGRES or not each.passed] + checks
    possible_at = find_end_of_purge_wait(client.phase_since) if new == Phase.PURGED else None
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
        "shut_button": {"disabled": True},
        # Beside the button of another step stands how many lines do not pass.
        "wants_evidence": new in WANT_EVIDENCE,
        "why_shut": shown.why_shut if new in WANT_EVIDENCE else None,
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
    client: ClientRow, document: Document | None, problem: Message | None
) -> Iterator[Check]:
    """Yield the checks of a push: name, logins and size of the secret."""
    slug, prefix, layout = (
        client.secret_slug,
        settings.NOVA_SECRET_PREFIX,
        find_layout(client.layout),
    )
    illegal = documents.name_problem(slug, prefix=prefix, layout=layout)
    name = sentences.NAME_NOT_ALLOWED(why=illegal) if illegal else sentences.NAME_ALLOWED()
    yield Check(CheckCode.NAME_NOT_ALLOWED, not illegal, name, CheckFix.SLUG)
    if document is None or problem:
        yield Check(CheckCode.NO_DOCUMENT, False, problem or sentences.NO_LOGIN(), CheckFix.LOGINS)
        return
    logins = sum(credential_type in document for credential_type in CredentialType)
    logins += sum(len(rows) for rows in document.values() if isinstance(rows, list))
    found = sentences.HAS_LOGINS(n=logins) if logins else sentences.NO_LOGIN()
    yield Check(CheckCode.NO_LOGIN, logins > 0, found, CheckFix.LOGINS)
    too_large = documents.size_problem(document, slug, prefix=prefix, layout=layout)
    size = too_large or sentences.NOT_TOO_LARGE()
    yield Check(CheckCode.TOO_LARGE, not too_large, size, CheckFix.LOGINS)


def _check_last_push(client_id: int) -> Iterator[Check]:
    """Yield that the newest push met a secret of somebody else: until it is adopted, the next one will too."""
    failed = RunItem.objects.filter(client_id=client_id).needing_attention().first()
    if failed and failed.message and sentences.NOT_OURS.key in failed.message.codes:
        yield Check(sentences.NOT_OURS.key, False, failed.message, CheckFix.ADOPT)


def _list_same_fields(newest: Comparison | None, document: Document | None) -> list[str]:
    """Return the fields that the newest comparison found equal; none if it could not compare any."""
    compared = (Comparison.Status.MATCH, Comparison.Status.MISMATCH)
    if document is None or newest is None or newest.status not in compared:
        return []
    differ = tuple(mismatch.path for mismatch in newest.read_mismatches())
    within = tuple(f"{path}{mark}" for path in differ for mark in ".[")
    return [
        path for path in list_paths(document) if path not in differ and not path.startswith(within)
    ]
