"""A client's page: the header of every tab, the next step with its checks, and who read its secrets."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import replace

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from credentials.localization import show_moment
from credentials.models import name_rows
from credentials.secret_names import find_name_problem, find_name_warning
from migration.campaigns.pages import describe_campaigns_of_clients
from migration.clients.comments import get_comments_context
from migration.clients.counts import describe_phase
from migration.clients.groups import get_members_url
from migration.clients.history import load_history
from migration.clients.list import may_export_cutover
from migration.clients.logins_tab import get_aws_state_context
from migration.clients.models import ClientComment
from migration.clients.offboarding import LEAVING_PERMISSIONS
from migration.clients.status import has_push_pending
from migration.core.audit_export import find_cutover
from migration.core.aws_store import CALLER, client_secret_names, secret_names
from migration.core.clients import (
    ClientMigration,
    Offboarding,
    PhaseChange,
    PhaseChoices,
    ReadCount,
)
from migration.core.comparisons import Comparison
from migration.core.groups import ClientGroup
from migration.core.pages import (
    HISTORY_PAGE,
    ClientRow,
    ClientTab,
    ClientView,
    get_act_url,
    link_to_audit,
    read_number,
    read_tab,
)
from migration.core.secrets import (
    LayoutChoices,
    OtherSecretsState,
    Secret,
    find_layout,
    find_other_secrets_layout,
)
from migration.core.sentences import NOT_OURS
from migration.logins.models import Reveal
from migration.logins.pages import get_advice_context
from migration.moves.checklists import show_checks
from migration.moves.gates import OVERRIDE_PERMISSION
from migration.moves.pages import find_move_act
from migration.moves.readiness import NO_DOCUMENT
from migration.moves.rules import (
    NEXT_PHASE,
    NO_LOGIN,
    WANT_EVIDENCE,
    Ask,
    Check,
    CheckFix,
    find_end_of_purge_wait,
    judge_gates,
)
from migration.nova.models import ReaderProcess
from migration.nova.readers import ADOPTION_STEPS
from migration.people.roles import label_role, list_roles_with
from migration.pushes.pages import get_undo_context, list_resolving_pages
from migration.runs.act_pages import list_client_menu
from migration.runs.items import RunItem
from migration.runs.models import Run
from migration.secrets.acts import LAYOUT_PERMISSION, get_other_layout_url
from migration.secrets.pages import get_console_url
from nova_credentials import document as documents
from nova_credentials.comparison import list_paths
from nova_credentials.credential_types import CredentialType
from nova_credentials.document import Document, DocumentError, name_problem
from nova_credentials.messages import Message, Sentence
from nova_credentials.phases import Phase
from nova_credentials.reader.from_aws import CALLER as READER


def get_client_context(
    request: HttpRequest, client: ClientRow, tab: ClientTab
) -> dict[str, object]:
    """Return the context of the client's page: its header, and what the tab shows except for moves and forms."""
    leaving = Offboarding.objects.filter(pk=client.pk).first()
    context = {
        "tabs": list(_list_tabs(request, client.pk, tab)),
        # What every tab says of the client
        "overview": {
            "leaving": leaving,
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
            "is_compared": _is_compared_since_purge(client),
            "differs": client.newest_status not in (None, Comparison.Status.MATCH),
        },
        "menu": [
            *list_client_menu(request, client.pk),
            _make_leaving_entry(request, client, leaving),
        ],
        "campaign_notes": describe_campaigns_of_clients(request, [client.pk]),
        **get_live_context(request, client.pk),
        "may_view_comparisons": request.user.has_perm("migration.view_comparison"),
    }
    add_tab = {
        ClientTab.OVERVIEW: _get_overview_context,
        ClientTab.LOGINS: get_aws_state_context,
        ClientTab.COMPARISON: _get_comparison_context,
        ClientTab.HISTORY: _get_history_context,
    }.get(tab)
    return context | (add_tab(request, client) if add_tab else {})


def _is_compared_since_purge(client: ClientRow) -> bool:
    """Say whether what is known of both stores is newer than the client's last purge or restore."""
    at = client.newest_compared_at
    if at is None or not Phase(client.phase).aws_is_authority:
        return True
    changes = PhaseChange.objects.filter(client_id=client.pk, changed_at__gte=at)
    return not changes.filter(Q(old=Phase.PURGED) | Q(new=Phase.PURGED)).exists()


def _make_leaving_entry(
    request: HttpRequest, client: ClientRow, leaving: Offboarding | None
) -> tuple[str, str]:
    """Return label and address of the page that says what is left of the client, and can end it or bring it back."""
    label = _("Offboard…")
    if not any(map(request.user.has_perm, LEAVING_PERMISSIONS)):
        label = _("What is left")
    elif leaving:
        label = _("Bring back…")
    return label, reverse("admin:credentials_client_leaving", args=[client.pk])


def _list_tabs(
    request: HttpRequest, client_id: int, shown: ClientTab
) -> Iterator[dict[str, object]]:
    """Yield the tabs for the page that shows one of them; each keeps the filters of the list."""
    labels = {
        ClientTab.OVERVIEW: _("Overview"),
        ClientTab.LOGINS: _("Logins"),
        ClientTab.COMPARISON: _("Comparison"),
        ClientTab.HISTORY: _("History"),
    }
    page = reverse("admin:credentials_client_change", args=[client_id])
    query = request.GET.copy()
    for name in set(query) - {"_changelist_filters"}:
        del query[name]
    for tab, label in labels.items():
        query["tab"] = tab
        url = f"{page}?{query.urlencode()}"
        yield {"name": tab, "label": label, "url": url, "is_shown": tab == shown}


def _get_overview_context(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the phases, the next step with its checks, and the comments."""
    is_read = ReaderProcess.objects.was_ever_seen()
    next_step = _describe_next_step(request, client)
    if not is_read and "checks" in next_step:
        next_step["title"] = _("After that: %(phase)s") % {"phase": next_step["phase"]}
    # The five phases, each with its place before or after the client's own
    line = list(Phase)
    here = line.index(Phase(client.phase))
    steps = [
        {
            "number": number + 1,
            "label": PhaseChoices(step).label,
            "state": "here" if number == here else "done" if number < here else "ahead",
        }
        for number, step in enumerate(line)
    ]
    return {
        "adoption_steps": () if is_read else ADOPTION_STEPS,
        "may_view_readers": request.user.has_perm("migration.view_readerprocess"),
        **get_comments_context(request, client.pk),
        "steps": steps,
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
        "resolving": list_resolving_pages(request, client.pk),
        **get_undo_context(request, client),
        **get_advice_context(request, client),
        "reads": ReadCount.objects.filter(client_id=client.pk).first(),
        "secrets": [(name, get_console_url(name)) for name in names],
        "layout": LayoutChoices(layout).label,
        "other_secrets": OtherSecretsState(client.other_secrets) if client.other_secrets else None,
        "other_names": secret_names(client.other_slug or client.secret_slug, other_layout).values(),
        "has_former_slug": client.secret_slug != client.slug,
        "layout_url": request.user.has_perm(LAYOUT_PERMISSION)
        and get_other_layout_url(client.pk, layout),
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
        "audit_url": link_to_audit(request, client=client.pk),
        "cutover": may_export_cutover(request) and find_cutover(client.pk),
        "is_moved_back": not Phase(client.phase).aws_is_authority,
    }


def _describe_next_step(request: HttpRequest, client: ClientRow) -> dict[str, object]:
    """Return the move to the next phase and those of its checks that need the database alone."""
    phase = Phase(client.phase)
    new = NEXT_PHASE.get(phase)
    if new is None:
        return {"title": _("Last phase reached")}
    pending = has_push_pending(client)
    checks = judge_gates(Ask([client.pk]), new)[client.pk]
    if phase == Phase.POSTGRES or pending:
        of_push = list(_check_push(client))
        # Of a push after the first, only what it will be refused for.
        checks = [each for each in of_push if phase == Phase.POSTGRES or not each.passed] + checks
    possible_at = find_end_of_purge_wait(client.phase_since) if new == Phase.PURGED else None
    # A login has the name that its card has, and not its id.
    named = name_rows([check.text for check in checks])
    checks = [replace(check, text=text) for check, text in zip(checks, named, strict=True)]
    # No page offers a purge before its time, with an override or without.
    shown = show_checks(
        request, client.pk, checks, back=request.get_full_path(), marks_overridable=not possible_at
    )
    act = find_move_act(phase, new)
    may_move = act is not None and act.may(request.user)
    done_by = ""
    if act and not may_move:
        roles = ", ".join(map(label_role, list_roles_with(act.permission)))
        done_by = _("Your role can't do this step. Roles that can: %(roles)s.") % {"roles": roles}
    title = _("Next step: %(phase)s") % {"phase": PhaseChoices(new).label}
    if possible_at:
        day = show_moment(possible_at)
        title = _("Purge: from %(day)s, once all checks pass") % {"day": day}
    return {
        "phase": PhaseChoices(new).label,
        "title": title,
        "checks": shown.lines,
        "override_note": shown.override_note,
        # The page on which that is done.
        "override_url": get_act_url(act.code, [client.pk])
        if act and may_move and request.user.has_perm(OVERRIDE_PERMISSION)
        else "",
        "done_by": done_by,
        "left": sum(not check.passed for check in checks),
        "shut_button": {"disabled": True},
        # Beside the button of another step stands how many lines do not pass.
        "is_demo": settings.NOVA_DEMO and new in WANT_EVIDENCE,
    }


def _build_document(client: ClientRow) -> tuple[Document | None, Message | None]:
    """Return the document of the client's rows, or why there can be none."""
    try:
        return client.build_document(), None
    except DocumentError as error:
        return None, error.message


NAME_NOT_ALLOWED = Sentence(
    "name_not_allowed", "The secret's name is not valid, change the slug: %(why)s."
)
NAME_ALLOWED = Sentence("name_allowed", "The secret's name is valid.")
HAS_LOGINS = Sentence("has_logins", "It has %(n)s logins.", one="It has %(n)s login.")
NOT_TOO_LARGE = Sentence("not_too_large", "The credentials fit in a secret.")


def _check_push(client: ClientRow) -> Iterator[Check]:
    """Yield the checks of a push: name, logins and size of the secret, and what the newest one met."""
    yield from _check_document(client)
    # A secret of somebody else: until it is adopted, the next push will meet it too.
    failed = RunItem.objects.filter(client_id=client.pk).needing_attention().first()
    if failed and failed.message and NOT_OURS.key in failed.message.codes:
        yield Check(NOT_OURS.key, False, failed.message, CheckFix.ADOPT)


def _check_document(client: ClientRow) -> Iterator[Check]:
    """Yield the checks of the secret: its name, its logins and its size."""
    document, problem = _build_document(client)
    slug, prefix = client.secret_slug, settings.NOVA_SECRET_PREFIX
    layout = find_layout(client.layout)
    illegal = documents.name_problem(slug, prefix=prefix, layout=layout)
    name = NAME_NOT_ALLOWED(why=illegal) if illegal else NAME_ALLOWED()
    yield Check(NAME_NOT_ALLOWED.key, not illegal, name, CheckFix.SLUG)
    if document is None or problem:
        yield Check(NO_DOCUMENT, False, problem or NO_LOGIN(), CheckFix.LOGINS)
        return
    logins = sum(credential_type in document for credential_type in CredentialType)
    logins += sum(len(rows) for rows in document.values() if isinstance(rows, list))
    found = HAS_LOGINS(n=logins) if logins else NO_LOGIN()
    yield Check(NO_LOGIN.key, logins > 0, found, CheckFix.LOGINS)
    too_large = documents.size_problem(document, slug, prefix=prefix, layout=layout)
    size = too_large or NOT_TOO_LARGE()
    yield Check("secret_too_large", not too_large, size, CheckFix.LOGINS)


def list_push_problems(client: ClientRow) -> list[Message]:
    """Say why a push of the client's rows would fail, with the logins by their names."""
    if client.phase == Phase.PURGED:
        return []
    unmet = [each for each in _check_document(client) if not each.passed]
    return name_rows([each.text for each in unmet if each.text.key != NO_LOGIN.key])


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


class FormerLayoutView(ClientView):
    """An address of a former release: it leads to the page of the act that gives the client the other layout."""

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        own = ClientMigration.objects.filter(pk=self.client.pk).first() or ClientMigration()
        return HttpResponseRedirect(get_other_layout_url(client_id, find_layout(own.layout)))


# The line that says which run has the client. An open page asks for it again until the run is done with the client.


class LiveClientView(ClientView):
    """The line for a page that is open; once no run has the client, it has the page show what came of it."""

    template_name = "admin/migration/client_live.html"
    renews_session = False  # an open page asks by itself

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        context = get_live_context(request, client_id)
        return self.render_to_response(context | {"is_over": context["open_item"] is None})


def get_live_context(request: HttpRequest, client_id: int) -> dict[str, object]:
    """Return what the live line of the client's page shows.

    `open_item`: the newest that workers have to do with this client, but for the sweep; None where there is none.
    """
    items = RunItem.objects.open_of([client_id]).filter(run__finished_at=None)
    # The sweep takes every client, four times an hour.
    others = items.exclude(run__kind=Run.Kind.COMPARE, run__by_name="")
    others = others.exclude(run__state__in=(Run.State.REQUESTED, Run.State.STOPPED))
    return {
        "client_id": client_id,
        "open_item": others.select_related("run").order_by("-pk").first(),
        "tab": read_tab(request).value,
        "may_view_runs": request.user.has_perm("migration.view_run"),
    }


# Who read a client's secrets: the queries by which CloudTrail tells, beside what this site has on record. The site has
# no right to read CloudTrail, and needs none.

MOST_REVEALS = 20
SUFFIX_LENGTH = len("-a1B2c3")
# Each of them is on record by itself where many are read in one call.
READ = "GetSecretValue"
# The site's calls and NOVA's; whatever else reads is somebody whom this site doesn't know.
KNOWN_CALLERS = (CALLER, READER)


class AwsReadQueriesView(ClientView):
    """Shows queries to copy, beside what this site has on record; everybody who sees the client may.

    Of a client whose slug can't be in a secret's name there are none. Asks AWS nothing.
    """

    template_name = "admin/migration/aws_reads.html"

    @property
    def title(self) -> str:
        return _("Who read the secrets of %(name)s") % {"name": self.client.name}

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        own = ClientMigration.objects.filter(pk=client_id).first() or ClientMigration()
        secret_slug, prefix = own.secret_slug or self.client.slug, settings.NOVA_SECRET_PREFIX
        found = None
        if not name_problem(secret_slug, prefix=prefix, layout=find_layout(own.layout)):
            known = Secret.objects.filter(client_id=client_id).order_by("name")
            arns = dict(known.values_list("name", "arn"))
            names = sorted({*secret_names(secret_slug, own.layout).values(), *arns})
            counted = ReadCount.objects.filter(client_id=client_id).first()
            found = {
                "command": make_command(names),
                "sql": make_sql(names, list(arns.values())),
                "reveals": list(Reveal.objects.filter(client_id=client_id)[:MOST_REVEALS]),
                "reads": counted.reads if counted else 0,
                "last_read_at": counted.last_read_at if counted else None,
            }
        return self.render_to_response(
            self.get_context_data(
                client=self.client,
                found=found,
                strangers=make_sql_of_strangers(),
                callers=KNOWN_CALLERS,
                may_see_audit=request.user.has_perm("migration.view_auditevent"),
            )
        )


def make_command(names: list[str]) -> str:
    """Return the command that asks the history that every account keeps for 90 days."""
    named = " || ".join(f"contains(CloudTrailEvent, '{name}')" for name in names)
    wanted = f"Events[?{named}].[EventTime, Username, CloudTrailEvent]"
    return (
        f"aws cloudtrail lookup-events --region {settings.AWS_REGION}"
        f" --lookup-attributes AttributeKey=EventName,AttributeValue={READ}"
        f" --query {shlex.quote(wanted)} --output json"
    )


def make_sql(names: list[str], arns: list[str]) -> str:
    """Return the query for CloudTrail Lake: every read by name or ARN, newest first."""
    # A call may name a secret by its name, its whole ARN, or the ARN without AWS's suffix.
    asked = sorted({*names, *arns, *(arn[:-SUFFIX_LENGTH] for arn in arns)})
    listed = ",\n    ".join(f"'{each}'" for each in asked)
    return (
        "SELECT eventTime, userIdentity.arn, userAgent, sourceIPAddress, errorCode\n"
        "FROM EVENT_DATA_STORE_ID\n"
        "WHERE eventSource = 'secretsmanager.amazonaws.com'\n"
        f"  AND eventName = '{READ}'\n"
        f"  AND element_at(requestParameters, 'secretId') IN (\n    {listed})\n"
        "ORDER BY eventTime DESC"
    )


def make_sql_of_strangers() -> str:
    """Return the query for the reads of all clients by whoever is neither this site nor NOVA's reader."""
    known = "\n".join(f"  AND userAgent NOT LIKE '% {caller}%'" for caller in KNOWN_CALLERS)
    return (
        "SELECT eventTime, eventName, userIdentity.arn, userAgent, sourceIPAddress,\n"
        "    element_at(requestParameters, 'secretId') AS secret\n"
        "FROM EVENT_DATA_STORE_ID\n"
        "WHERE eventSource = 'secretsmanager.amazonaws.com'\n"
        f"  AND eventName = '{READ}'\n"
        f"  AND element_at(requestParameters, 'secretId') LIKE '%{settings.NOVA_SECRET_PREFIX}/%'\n"
        f"{known}\n"
        "ORDER BY eventTime DESC"
    )
