"""The columns of the client list and their export."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from django.contrib.admin.options import IS_FACETS_VAR
from django.contrib.admin.views.main import ChangeList
from django.db.models import DateTimeField, F
from django.db.models.functions import Coalesce
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponsePermanentRedirect,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import Truncator, get_valid_filename
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from credentials.localization import localize
from credentials.models import Client
from migration.clients.filters import get_site_gate_facts
from migration.clients.status import has_push_pending
from migration.core.audit_export import NotCutOverError, export_cutover
from migration.core.aws_store import client_secret_names
from migration.core.clients import (
    VIEW_RUNS,
    ClientPhaseQuerySet,
    PhaseChoices,
    ReadCount,
    all_clients,
)
from migration.core.groups import OWN_PERMISSION, ClientOwner, GroupMember
from migration.core.pages import (
    RUN_PERMISSION,
    BulkAction,
    ClientRow,
    ClientTab,
    ClientView,
    count_choices,
    get_act_url,
    get_signed_in_user,
    get_tab_url,
)
from migration.core.text import make_csv_line
from migration.moves.readiness import NextStep, Standing, judge_next_steps
from migration.moves.rules import SiteFacts, describe_duration, get_wanted_time
from migration.people.roles import VIEW_AUDIT
from migration.runs.items import RunItem
from migration.templatetags.migration_pages import badge, error_class_label, make_label, time_ago
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# What the list and its CSV file say of each client, in a fixed number of queries

# So many clients are judged at once for a file.
CHUNK = 500
HEADINGS = (
    *("slug", "name", "active", "phase", "in_phase_since", "next_phase", "next_step", "codes"),
    *("reasons", "push_pending", "comparison", "compared_at", "last_read_at", "owner"),
    *("secrets", "groups", "error_class", "last_error"),
)


def annotate_columns(clients: ClientPhaseQuerySet) -> ClientPhaseQuerySet:
    """Add what the columns show, and are sorted by, to clients with phase and revision."""
    annotated: ClientPhaseQuerySet = (
        clients.with_layout()
        .with_refused_revision()
        .annotate(
            newest_status=F("client_migration__comparison_status"),
            newest_compared_at=F("client_migration__compared_at"),
            phase_since=F("client_migration__phase_changed_at"),
            # A client that was never moved has been in its phase since it was made.
            in_phase_since=Coalesce(
                "client_migration__phase_changed_at", "created_at", output_field=DateTimeField()
            ),
            last_read_at=F("read_count__last_read_at"),
            owner_name=F("client_owner__owner__username"),
        )
    )
    return annotated


def attach_next_steps(clients: Sequence[Any], site: SiteFacts | None = None) -> None:
    """Set next_step, standing, last_error and groups_of_client on the objects; store nothing.

    `site` as for `judge_next_steps`.
    """
    ids = [client.pk for client in clients]
    steps = judge_next_steps(ids, site)
    errors = RunItem.objects.find_errors_needing_attention(ids)
    groups = defaultdict(list)
    members = GroupMember.objects.filter(client_id__in=ids).order_by("group__key")
    for client_id, name in members.values_list("client_id", "group__name"):
        groups[client_id].append(name)
    for client in clients:
        client.next_step = steps[client.pk]
        client.standing = client.next_step.standing
        client.last_error = errors.get(client.pk)
        client.groups_of_client = groups[client.pk]


def iterate_export(
    chosen: ClientPhaseQuerySet, *, shows_groups: bool, shows_errors: bool
) -> Iterator[list[object]]:
    """Yield the headings and a row for each client, sorted by slug, without any secret value."""
    yield list(HEADINGS)
    ids = list(chosen.order_by("slug").values_list("pk", flat=True))
    for start in range(0, len(ids), CHUNK):
        some = all_clients().filter(pk__in=ids[start : start + CHUNK])
        clients = list(annotate_columns(some.with_phase().with_revision()).order_by("slug"))
        attach_next_steps(clients)
        for client in clients:
            cells = _list_cells(client, shows_groups=shows_groups, shows_errors=shows_errors)
            yield list(cells)


def _list_cells(client: Any, *, shows_groups: bool, shows_errors: bool) -> Iterator[object]:
    step, error = client.next_step, client.last_error if shows_errors else None
    yield from (client.slug, client.name, "yes" if client.is_active else "no", client.phase)
    yield _format_time(client.in_phase_since)
    yield step.new or ""
    yield client.standing.value if step.new else ""
    yield " ".join(check.code for check in step.shut)
    yield " ".join(str(check.text) for check in step.shut)
    yield "yes" if has_push_pending(client) else "no"
    yield from (client.newest_status, _format_time(client.newest_compared_at))
    yield from (_format_time(client.last_read_at), client.owner_name)
    yield " ".join(client_secret_names(client).values())
    yield ", ".join(client.groups_of_client) if shows_groups else ""
    yield error.error_class if error else ""
    yield error.message if error else ""


def _format_time(moment: Any) -> str:
    return moment.isoformat() if moment else ""


# The columns: how each client stands, and what it waits for before its next step


class ListedClient(ClientRow, Protocol):
    """A client with what `attach_next_steps` adds to it."""

    in_phase_since: datetime | None
    next_step: NextStep
    standing: Standing
    last_error: RunItem | None
    groups_of_client: list[str]
    owner_name: str | None
    owner_url: str


# In a cell; the client's page has the whole text.
MOST_CHARACTERS = 90
MARKS = re.compile(r"(?<=[-_.])")
STANDING_LOOKS = {
    Standing.WAITS: ("info", "hourglass"),
    Standing.BLOCKED: ("warning", "block"),
    Standing.IN_AWS: ("success", "cloud_done"),
}


def may_view_run_results(request: HttpRequest) -> bool:
    """Say whether the user may see what came of runs."""
    return request.user.has_perm(VIEW_RUNS) or request.user.has_perm(RUN_PERMISSION)


def may_view_groups(request: HttpRequest) -> bool:
    return request.user.has_perm("migration.view_clientgroup")


def wants_choice_counts(request: HttpRequest) -> bool:
    """Say whether the numbers of clients behind the filters' choices are asked for, by Django's own parameter."""
    return IS_FACETS_VAR in request.GET


def wants_filters_only(request: HttpRequest) -> bool:
    """Say whether only the filters are asked for, by the page that shows the list."""
    return wants_choice_counts(request) and "HX-Request" in request.headers


class ClientColumns(ModelAdmin):
    """The columns of the list. One that would be empty for every client is left out."""

    nothing_yet = _("There is no client yet. Add one, or import many from a CSV file.")
    # The columns that can't be sorted by stand last, so that a column's number in an address keeps its meaning.
    list_display = (
        "name_shown",
        "phase_badge",
        "time_in_phase",
        "next_step_shown",
        "newest_comparison",
        "read_when",
        "owner_shown",
        "groups_shown",
    )

    def get_list_display(self, request: HttpRequest) -> list[str]:
        left_out = self._find_empty_columns(request)
        return [name for name in self.list_display if name not in left_out]

    def _find_empty_columns(self, request: HttpRequest) -> set[str]:
        """Return the columns that are empty for all clients or that the user may not see; asked once a request."""
        found: set[str] | None = getattr(request, "empty_client_columns", None)
        if found is not None:
            return found
        filled = {
            "read_when": ReadCount.objects.filter(last_read_at__isnull=False),
            "owner_shown": ClientOwner.objects.all(),
            "groups_shown": GroupMember.objects.all(),
        }
        empty = {name for name, rows in filled.items() if not rows.exists()}
        if not may_view_groups(request):
            empty.add("groups_shown")
        request.empty_client_columns = empty  # type: ignore[attr-defined]
        return empty

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Note at each client of the page how it stands, or at each filter how many clients it would show.

        To count for the filters takes longer than all the rest, with very many clients: only who opens them asks.
        """
        changelist = super().get_changelist_instance(request)
        if wants_choice_counts(request):
            count_choices(changelist)
            # The choices lead to lists that are not asked for their numbers.
            del changelist.filter_params[IS_FACETS_VAR]
        if wants_filters_only(request):
            return changelist
        # The ids first: with all columns PostgreSQL puts those of every client together before it takes the first 50.
        ids = list(changelist.result_list.values_list("pk", flat=True))
        found = self.get_queryset(request).in_bulk(ids)
        changelist.result_list = [found[pk] for pk in ids if pk in found]
        attach_next_steps(changelist.result_list, get_site_gate_facts(request))
        may_set, may_view = request.user.has_perm(OWN_PERMISSION), may_view_run_results(request)
        for client in changelist.result_list:
            client.last_error = client.last_error if may_view else None
            client.owner_url = get_act_url("set_owner", [client.pk]) if may_set else ""
        return changelist

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """Show the list; of it the choices of the filters alone, with their numbers, to the page that has the rest."""
        response = super().changelist_view(request, extra_context)
        if wants_filters_only(request) and isinstance(response, TemplateResponse):
            response.template_name = "admin/migration/filter_sections.html"
        return response

    @display(description=_("client"), ordering="name")
    def name_shown(self, client: ClientRow) -> SafeString:
        label = "" if client.is_active else make_label(gettext("Inactive"), "default")
        return format_html(
            '<span class="anywhere block list-client">{}<span class="block list-second-line">{}</span></span> {}',
            client.name,
            break_at_marks(client.slug),
            label,
        )

    @display(description=_("phase"), ordering="phase")
    def phase_badge(self, client: ClientRow) -> str:
        return badge(client.phase)

    @display(description=_("in this phase for"), ordering="in_phase_since")
    def time_in_phase(self, client: ListedClient) -> SafeString | str:
        since = client.in_phase_since
        if since is None:
            return ""
        age = localize(describe_duration(max(timezone.now() - since, timedelta(0))))
        exact = formats.date_format(timezone.localtime(since), "DATETIME_FORMAT")
        return format_html(
            '<time class="whitespace-nowrap" datetime="{}" title="{}">{}</time>',
            since.isoformat(),
            exact,
            age,
        )

    @display(description=_("next step"))
    def next_step_shown(self, client: ListedClient) -> SafeString:
        return format_html(
            '<div class="list-next-step">{}{}</div>',
            _show_step(client),
            _show_error(client.last_error),
        )

    @display(description=_("newest comparison"), ordering="newest_status")
    def newest_comparison(self, client: ClientRow) -> SafeString | str:
        if not client.newest_status:
            return gettext("Not compared yet")
        return format_html(
            "{} {}", badge(client.newest_status), time_ago(client.newest_compared_at)
        )

    @display(description=_("NOVA's last read"), ordering="last_read_at")
    def read_when(self, client: ClientRow) -> SafeString | str:
        """Return when NOVA last read the client; nothing where it has not and such reads are not counted yet."""
        if client.last_read_at is None and Phase(client.phase).reads_aws:
            return gettext("Never")
        return time_ago(client.last_read_at)

    @display(description=_("owner"))
    def owner_shown(self, client: ListedClient) -> SafeString | str:
        if not client.owner_url:
            return client.owner_name or ""
        link = '<a class="text-link underline" href="{}">{}</a>'
        return format_html(link, client.owner_url, client.owner_name or gettext("Nobody"))

    @display(description=_("client groups"))
    def groups_shown(self, client: ListedClient) -> SafeString:
        return format_html_join(
            ", ", "{}", ((escape_name(name),) for name in client.groups_of_client)
        )


def break_at_marks(slug: str) -> SafeString:
    """Return the slug, which a narrow column breaks behind its marks before it breaks a word."""
    parts = MARKS.split(slug)
    return format_html_join(mark_safe("<wbr>"), "{}", ((part,) for part in parts if part))


def _show_step(client: ListedClient) -> SafeString | str:
    """Say what a client is ready for, what it waits for or what blocks it: the first reason, the others on hover."""
    step, standing = client.next_step, client.standing
    if step.new is None:
        return gettext("None: last phase reached")
    if standing == Standing.READY:
        text = gettext("Ready for %(phase)s") % {"phase": PhaseChoices(step.new).label}
        return make_label(text, "success", "check")
    label = make_label(str(standing.label), *STANDING_LOOKS[standing])
    # When it has been in AWS long enough for its purge
    since = client.in_phase_since
    opens = since + get_wanted_time(Phase.PURGED) if since else None
    if standing == Standing.IN_AWS and opens and opens > timezone.now():
        day = formats.date_format(timezone.localtime(opens), "DATE_FORMAT")
        return format_html("{} {}", label, gettext("Next: purge, from %(day)s") % {"day": day})
    first, *others = (localize(check.text) for check in step.shut)
    more = gettext("(and %(n)s more)") % {"n": len(others)} if others else ""
    first = first.removesuffix(".") if others else first
    if standing == Standing.IN_AWS:
        first = gettext("Next: purge. It lacks: %(what)s") % {"what": first}
    return format_html('{} {} <span title="{}">{}</span>', label, first, " ".join(others), more)


def _show_error(item: RunItem | None) -> SafeString | str:
    if item is None:
        return ""
    text = localize(item.message)
    error_class = f"{error_class_label(item.error_class)}: " if item.error_class else ""
    return format_html(
        '<p class="list-second-line" title="{}">{}: {}{}</p>',
        text,
        gettext("Last error"),
        error_class,
        Truncator(text).chars(MOST_CHARACTERS),
    )


# Downloads: the selected clients as a CSV file, and the audit's entries of one client up to its cutover

# Who may see all that the file tells may export it. Every role has these.
EXPORT_PERMISSIONS = (
    "credentials.view_client",
    "migration.view_comparison",
    "migration.view_copysearch",
    "migration.view_run",
)


def list_export_actions() -> dict[str, tuple[BulkAction, str, StrOrPromise]]:
    """Return the action, as Django has it: whoever sees the list may download it."""
    return {"download": (download_clients, "download", gettext("Download as CSV"))}


def download_clients(
    model_admin: ModelAdmin[Client], request: HttpRequest, chosen: ClientPhaseQuerySet
) -> StreamingHttpResponse:
    """Send the clients with what the list shows of each, and no secret value."""
    rows = iterate_export(
        chosen,
        shows_groups=may_view_groups(request),
        shows_errors=may_view_run_results(request),
    )
    return StreamingHttpResponse(
        map(make_csv_line, rows),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="clients.csv"'},
    )


def may_export_cutover(request: HttpRequest) -> bool:
    return bool(request.user.has_perms(EXPORT_PERMISSIONS))


class ExportCutoverView(ClientView):
    """Sends the audit's entries of the client up to its newest cutover, as signed; a link leads to the button."""

    def has_permission(self) -> bool:
        return may_export_cutover(self.request)

    def get(self, request: HttpRequest, client_id: int) -> HttpResponse:
        url = get_tab_url(self.client.pk, ClientTab.HISTORY, "cutover")
        return HttpResponsePermanentRedirect(url)

    def post(self, request: HttpRequest, client_id: int) -> HttpResponse:
        try:
            text = export_cutover(
                client=self.client,
                by=get_signed_in_user(request),
                for_auditor=request.user.has_perm(VIEW_AUDIT),
            )
        except NotCutOverError:
            raise Http404 from None
        name = get_valid_filename(f"cutover-{self.client.slug}.json")
        return HttpResponse(
            text,
            content_type="application/json",
            headers={"Content-Disposition": content_disposition_header(True, name) or ""},
        )
