"""The columns of the client list and their export."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlencode

from django.conf import settings
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
from django.urls import reverse
from django.utils import formats, timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import content_disposition_header
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import get_valid_filename
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from credentials.localization import find_local, intcomma, localize
from credentials.models import Client
from credentials.models.clients import SEVERAL_ROWS_PRIMARY, SEVERAL_ROWS_PRIMARY_OF_CLIENT
from migration.clients.filters import NextStepFilter, covers_standing, get_site_gate_facts
from migration.clients.models import read_or_count_blockers
from migration.clients.status import has_push_pending
from migration.core.audit_export import NotCutOverError, export_cutover
from migration.core.aws_store import client_secret_names
from migration.core.clients import (
    VIEW_RUNS,
    ClientPhaseQuerySet,
    PhaseChoices,
    all_clients,
)
from migration.core.comparisons import Comparison
from migration.core.groups import OWN_PERMISSION, GroupMember
from migration.core.pages import (
    RUN_PERMISSION,
    BulkAction,
    ClientListFilter,
    ClientRow,
    ClientTab,
    ClientView,
    count_choices,
    get_act_url,
    get_signed_in_user,
    get_tab_url,
    select_without,
)
from migration.core.sentences import NOT_OURS
from migration.core.text import make_csv_line
from migration.moves.readiness import (
    NextStep,
    Standing,
    add_up_standings,
    count_blockers,
    judge_next_steps,
    judge_rows,
)
from migration.moves.rules import (
    FEW_MATCHES,
    FEW_READS,
    FRESH,
    PUSH_REFUSED,
    READY,
    SHORT_TIME,
    Blocker,
    CheckFix,
    SiteFacts,
    get_wanted_time,
)
from migration.people.roles import VIEW_AUDIT
from migration.runs.items import RunItem
from migration.templatetags.client_lists import list_headers
from migration.templatetags.migration_pages import error_class_label, tell_age
from nova_credentials.messages import describe_age
from nova_credentials.phases import Phase
from nova_credentials.sentences import (
    CHARACTER_NOT_ALLOWED,
    NAME_TOO_LONG,
    SECRET_TOO_LARGE,
    SLASH_IN_SLUG,
    SLUG_IS_EMPTY,
)
from nova_credentials.shown_names import escape_name

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

# Of the address of a client's page: the filters of the list that led to it, by Django's name.
PRESERVED_FILTERS = "_changelist_filters"

# What the list and its CSV file say of each client, in a fixed number of queries

# So many clients are judged at once for a file.
CHUNK = 500
# Of so many, narrowed by more than chips, the page counts how they stand.
MOST_COUNTED = 20_000
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


def annotate_shown_columns(clients: ClientPhaseQuerySet) -> ClientPhaseQuerySet:
    """Add what the columns of the page show, to clients of whom `judge_rows` asks the rest."""
    annotated: ClientPhaseQuerySet = clients.annotate(
        newest_status=F("client_migration__comparison_status"),
        newest_compared_at=F("client_migration__compared_at"),
        in_phase_since=Coalesce(
            "client_migration__phase_changed_at", "created_at", output_field=DateTimeField()
        ),
        last_read_at=F("read_count__last_read_at"),
        owner_name=F("client_owner__owner__username"),
    )
    return annotated


def attach_next_steps(clients: Sequence[Any], site: SiteFacts | None = None) -> None:
    """Set next_step, standing, last_error and groups_of_client on the objects; store nothing.

    `site` as for `judge_next_steps`.
    """
    steps = judge_next_steps([client.pk for client in clients], site)
    for client in clients:
        client.next_step = steps[client.pk]
        client.standing = client.next_step.standing
    attach_errors_and_groups(clients)


def attach_errors_and_groups(
    clients: Sequence[Any], *, with_errors: bool = True, with_groups: bool = True
) -> None:
    """Set last_error and groups_of_client on the objects; None and nothing where these are not shown."""
    ids = [client.pk for client in clients]
    errors = RunItem.objects.find_errors_needing_attention(ids) if with_errors else {}
    groups = defaultdict(list)
    if with_groups:
        members = GroupMember.objects.filter(client_id__in=ids).order_by("group__key")
        for client_id, name in members.values_list("client_id", "group__name"):
            groups[client_id].append(name)
    for client in clients:
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
    """A client with what `get_changelist_instance` adds to it."""

    in_phase_since: datetime | None
    next_step: NextStep
    standing: Standing
    last_error: RunItem | None
    groups_of_client: list[str]
    owner_name: str | None
    owner_url: str
    # All that keeps it from its next step, in words.
    reasons: str
    # Of its page; and with the filters of the list, to which it leads back.
    page_url: str
    url: str


@dataclass(frozen=True)
class QuickChip:
    """A filter of one click above the list: how many clients it shows, and the address that adds or removes it."""

    label: StrOrPromise
    number: int | None  # None: too many are chosen to be counted
    url: str
    is_current: bool
    begins_group: bool = False


# Columns that can be switched on: `?columns=owner` in the address.
COLUMNS = "columns"
MORE_COLUMNS = {
    "owner": "owner_shown",
    "groups": "groups_shown",
    "since": "time_in_phase",
}
READY_FOR = {
    Phase.DUAL_WRITE: _("Ready for dual write"),
    Phase.DUAL_READ: _("Ready for dual read"),
    Phase.AWS: _("Ready to cut over"),
    Phase.PURGED: _("Ready to purge"),
}
# The next step's words where something about the whole site keeps every client, by what mends it.
SHORT_OF_SITE = {
    CheckFix.AWS_WRITES: _("AWS writes stopped"),
    CheckFix.CHECK_NOVA: _("Writes not counted"),
    CheckFix.NOVA_TABLES: _("Check NOVA's tables"),
    CheckFix.READERS: _("No NOVA process seen"),
}
# And where its push was refused, or would be: what to mend, by the sentence that says why.
SHORT_OF_PUSH = {
    CHARACTER_NOT_ALLOWED.key: _("Change the slug"),
    SLASH_IN_SLUG.key: _("Change the slug"),
    SLUG_IS_EMPTY.key: _("Change the slug"),
    NAME_TOO_LONG.key: _("Shorten the slug"),
    SEVERAL_ROWS_PRIMARY.key: _("Keep one primary login"),
    SEVERAL_ROWS_PRIMARY_OF_CLIENT.key: _("Keep one primary login"),
    SECRET_TOO_LARGE.key: _("Shorten its logins"),
    NOT_OURS.key: _("Adopt the secret"),
}
# A sign and a word, colour third.
SIGNS = {
    Standing.READY: "good",
    Standing.WAITS: "waits",
    Standing.BLOCKED: "refused",
    Standing.IN_AWS: "waits",
    Standing.LAST: "done",
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


class ClientChangeList(ChangeList):
    """Django's, with the columns of an address, which narrow nothing."""

    def get_filters_params(self, params: dict[str, Any] | None = None) -> dict[str, Any]:
        found: dict[str, Any] = super().get_filters_params(params)
        found.pop(COLUMNS, None)
        return found

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # How many there are without the filters says a chip.
        self.full_result_count = self.result_count


class ClientColumns(ModelAdmin):
    """The columns of the list, and what else it shows of the clients of a page."""

    change_list_template = "admin/migration/clients.html"
    # A column's number in an address, by which a list is sorted, keeps its meaning.
    list_display = (
        "name_shown",
        "phase_shown",
        "time_in_phase",
        "next_step_shown",
        "both_stores",
        "read_when",
        "owner_shown",
        "groups_shown",
    )
    show_full_result_count = False

    def get_changelist(self, request: HttpRequest, **kwargs: object) -> type[ChangeList]:
        return ClientChangeList

    def get_list_filter(self, request: HttpRequest) -> list[type[ClientListFilter]]:
        """Return the filters that the address uses; all of them, where their panel is open.

        Each asks which choices there are.
        """
        every: list[type[ClientListFilter]] = list(super().get_list_filter(request))
        if wants_choice_counts(request):
            return every
        return [each for each in every if each.parameter_name in request.GET]

    def find_columns(self, request: HttpRequest) -> list[str]:
        """Return the columns that are shown: those of everybody, and those that the address adds."""
        chosen = {MORE_COLUMNS.get(name) for name in request.GET.getlist(COLUMNS)}
        more = chosen & {*self.find_more_columns(request).values()}
        return [
            each for each in self.list_display if each not in MORE_COLUMNS.values() or each in more
        ]

    def find_more_columns(self, request: HttpRequest) -> dict[str, str]:
        """Return the columns that this user may add, by the value in the address."""
        hidden = () if may_view_groups(request) else ("groups",)
        return {name: each for name, each in MORE_COLUMNS.items() if name not in hidden}

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
        rows = judge_rows(ids, get_site_gate_facts(request), annotate_shown_columns)
        found = {client.pk: client for client in rows}
        changelist.result_list = [found[pk] for pk in ids if pk in found]
        self._describe_rows(request, changelist.result_list)
        return changelist

    def _describe_rows(self, request: HttpRequest, clients: Sequence[Any]) -> None:
        columns = self.find_columns(request)
        attach_errors_and_groups(
            clients,
            with_errors=may_view_run_results(request),
            with_groups="groups_shown" in columns,
        )
        may_set = "owner_shown" in columns and request.user.has_perm(OWN_PERMISSION)
        # The page of one client leads back to the list as it is now.
        filters = request.GET.urlencode()
        back = f"?{urlencode({PRESERVED_FILTERS: filters})}" if filters else ""
        # A line about the whole site is one object for all clients: its text is made once.
        said: dict[int, str] = {}
        before, _id, after = reverse("admin:credentials_client_change", args=[0]).rpartition("0")
        for client in clients:
            client.standing = client.next_step.standing
            for check in client.next_step.shut:
                if id(check) not in said:
                    said[id(check)] = localize(check.text)
            client.reasons = " ".join(said[id(check)] for check in client.next_step.shut)
            client.owner_url = get_act_url("set_owner", [client.pk]) if may_set else ""
            client.page_url = f"{before}{client.pk}{after}"
            client.url = f"{client.page_url}{back}"

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        """Show the list. To its own page, of it the card alone, or the choices of the filters with their numbers."""
        response = super().changelist_view(request, extra_context)
        context = getattr(response, "context_data", None) or {}
        changelist = context.get("cl")
        if changelist is None or not isinstance(response, TemplateResponse):
            return response
        if wants_filters_only(request):
            response.template_name = "admin/migration/filter_sections.html"
            return response
        columns = self.find_columns(request)
        response.context_data = context | {
            "headers": list_headers(changelist, columns),
            "rows": list(self._show_rows(changelist.result_list, columns)),
            **get_chips_context(changelist, request),
            "more_columns": [
                (value, self.name_column(name), name in columns)
                for value, name in self.find_more_columns(request).items()
            ],
            "wants_filters": wants_choice_counts(request),
        }
        if "HX-Request" in request.headers:
            response.template_name = "admin/migration/clients_list.html"
        return response

    def _show_rows(
        self, clients: Sequence[ListedClient], columns: Sequence[str]
    ) -> Iterator[SafeString]:
        """Yield each client as a row: its box, its cells, and the button of its menu."""
        shown = [getattr(self, name) for name in columns]
        row = (
            '<tr class="data-row" data-phase="{}"><td><input type="checkbox" name="_selected_action" value="{}"'
            ' class="action-select" aria-labelledby="c{}"></td>'
            + "".join(f'<td class="field-{name}">{{}}</td>' for name in columns)
            + '<td><button type="button" class="row-menu" aria-expanded="false"'
            ' aria-labelledby="row-actions c{}"></button></td></tr>'
        )
        for client in clients:
            pk, cells = client.pk, (show(client) for show in shown)
            yield format_html(row, client.phase, pk, pk, *cells, pk)

    def name_column(self, name: str) -> str:
        return str(getattr(self, name).short_description)

    @display(description=_("client"), ordering="name")
    def name_shown(self, client: ListedClient) -> SafeString:
        label = (
            ""
            if client.is_active
            else format_html(' <b class="list-tag">{}</b>', gettext("Inactive"))
        )
        return format_html(
            '<a id="c{}" href="{}">{}</a>{} <small>{}</small>',
            client.pk,
            client.url,
            client.name,
            label,
            client.slug,
        )

    @display(description=_("phase"), ordering="phase")
    def phase_shown(self, client: ClientRow) -> SafeString:
        number = list(Phase).index(Phase(client.phase)) + 1
        return format_html(
            '<span class="list-phase list-phase-{}">{}</span>',
            number,
            PhaseChoices(client.phase).label,
        )

    @display(description=_("in this phase for"), ordering="in_phase_since")
    def time_in_phase(self, client: ListedClient) -> SafeString | str:
        since = client.in_phase_since
        if since is None:
            return ""
        age = localize(describe_age(max(timezone.now() - since, timedelta(0))))
        exact = formats.date_format(find_local(since), "DATETIME_FORMAT")
        return format_html('<time title="{}">{}</time>', exact, age)

    @display(description=_("next step"))
    def next_step_shown(self, client: ListedClient) -> SafeString:
        """Say in five words what a client is ready for, what it waits for or what blocks it; on hover all of it.

        Where something failed, the sign beside it says why.
        """
        reasons = "" if client.last_error else client.reasons
        return format_html(
            '<span class="sign sign-{}"{}>{}</span>{}',
            SIGNS[client.standing],
            format_html(' title="{}"', reasons) if reasons else "",
            shorten_next_step(client),
            _show_error(client.last_error),
        )

    @display(description=_("comparison"), ordering="newest_status")
    def both_stores(self, client: ListedClient) -> SafeString:
        status = client.newest_status
        at, since = client.newest_compared_at, client.in_phase_since
        is_purged = client.phase == Phase.PURGED
        if not status or (is_purged and at and since and at < since):
            return NOTHING  # what was compared before a purge says nothing of it
        sign, label = SIGN_OF_STATUS[status], str(Comparison.Status(status).label)
        if is_purged and status == Comparison.Status.MATCH:
            label = gettext("Only in AWS")
        if status != Comparison.Status.MATCH:
            url = f"{client.page_url}?tab={ClientTab.COMPARISON}"
            label = format_html('<a href="{}">{}</a>', url, label)
        # The schedule compares each again within minutes: of a match its age is news only where that stopped.
        is_news = status != Comparison.Status.MATCH or not at or timezone.now() - at > FRESH
        return format_html(
            '<span class="sign sign-{}">{}</span>{}',
            sign,
            label,
            format_html(" <small>{}</small>", tell_age(at, with_exact=False)) if is_news else "",
        )

    @display(description=_("NOVA's last read"), ordering="last_read_at")
    def read_when(self, client: ClientRow) -> SafeString | str:
        """Return when NOVA last read the client; nothing where it has not and such reads are not counted yet."""
        if client.last_read_at is None:
            return gettext("Never") if Phase(client.phase).reads_aws else NOTHING
        return format_html("<small>{}</small>", tell_age(client.last_read_at, with_exact=False))

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


NOTHING = mark_safe("<small>–</small>")
SIGN_OF_STATUS: dict[str, str] = {
    Comparison.Status.MATCH: "good",
    Comparison.Status.MISMATCH: "differ",
    Comparison.Status.MISSING_IN_AWS: "differ",
    Comparison.Status.MISSING_IN_POSTGRES: "differ",
    Comparison.Status.UNCHECKED: "problem",
}


def shorten_next_step(client: ListedClient) -> str:
    """Return how the client stands before its next step, in five words at most."""
    step, blocker = client.next_step, client.next_step.blocker
    since, new = client.in_phase_since, step.new
    if new is None or client.standing == Standing.READY:
        return str(READY_FOR[new]) if new else gettext("Done")
    if blocker in (READY, PUSH_REFUSED):
        said = [check.text for check in step.shut]
        if client.last_error and client.last_error.message:
            said.append(client.last_error.message)
        codes = {code for message in said for code in message.codes}
        if mends := [text for code, text in SHORT_OF_PUSH.items() if code in codes]:
            return str(mends[0])
    if blocker == READY:
        checks = [check for check in step.shut if check.fix in SHORT_OF_SITE]
        if not checks:
            return gettext("Incomplete data")
        return str(SHORT_OF_SITE[checks[0].fix])
    if client.standing == Standing.IN_AWS or blocker == SHORT_TIME:
        opens = since + get_wanted_time(new) if since else None
        if opens and opens > timezone.now():
            local = find_local(opens)
            text = gettext("Wait until %(time)s")
            if new == Phase.PURGED:
                text = gettext("Purge from %(time)s")
            if local.date() == find_local(timezone.now()).date():
                return text % {"time": f"{local:%H:%M}"}
            day = formats.date_format(local, "MONTH_DAY_FORMAT")
            return text % {"time": day if new == Phase.PURGED else f"{day}, {local:%H:%M}"}
    if blocker in (FEW_READS, FEW_MATCHES):
        text = gettext("Wait for reads: %(n)s/%(wanted)s")
        if blocker == FEW_MATCHES:
            text = gettext("Wait for matches: %(n)s/%(wanted)s")
        if blocker == FEW_READS and new == Phase.PURGED:
            return gettext("Wait for a read")
        wanted = settings.NOVA_MIN_READS if blocker == FEW_READS else settings.NOVA_CLEAN_STREAK
        found: Any = client
        n = found.matches_since_entry if blocker == FEW_READS else found.matches_in_a_row
        return text % {"n": intcomma(int(n)), "wanted": intcomma(int(wanted))}
    return str(blocker.short)


def _show_error(item: RunItem | None) -> SafeString | str:
    """Return a sign of what failed last, and on hover why."""
    if item is None:
        return ""
    error_class = f"{error_class_label(item.error_class)}: " if item.error_class else ""
    return format_html(
        ' <span class="sign sign-problem" role="img" aria-label="{}" title="{}"></span>',
        gettext("Last error"),
        f"{error_class}{localize(item.message)}",
    )


# Above the list: how many clients there are of each standing and phase


def get_chips_context(changelist: ChangeList, request: HttpRequest) -> dict[str, object]:
    """Return the chips; and when their numbers were counted, where that may be a moment ago."""
    numbers, counted_at = count_standings_of_list(changelist, request)
    chips = list(list_quick_chips(changelist, request, numbers))
    return {"chips": chips, "chips_counted_at": counted_at}


def list_quick_chips(
    changelist: ChangeList,
    request: HttpRequest,
    numbers: Counter[tuple[str, Standing, Blocker]] | None,
) -> Iterator[QuickChip]:
    """Yield all, each standing and each phase, with the number of clients as the other filters stand.

    One that shows nobody is left out.
    """
    chosen = {name: request.GET.get(name, "") for name in ("next", "phase")}
    total = None if numbers is None else numbers.total()
    everybody = changelist.get_query_string({"next": None, "phase": None})
    yield QuickChip(_("All"), total, everybody, not any(chosen.values()))
    phases = [(phase.value, PhaseChoices(phase).label) for phase in Phase]
    for name, choices in (("next", NextStepFilter.options), ("phase", phases)):
        begins = name == "phase"
        for value, label in choices:
            asked, number, is_current = chosen | {name: value}, None, chosen[name] == value
            if numbers is not None:
                number = sum(n for found, n in numbers.items() if _is_asked_for(asked, *found))
            if number != 0 or is_current:
                url = changelist.get_query_string({name: None if is_current else value})
                yield QuickChip(label, number, url, is_current, begins)
                begins = False


def _is_asked_for(asked: dict[str, str], phase: str, standing: Standing, blocker: Blocker) -> bool:
    if asked["phase"] and asked["phase"] != phase:
        return False
    return not asked["next"] or covers_standing(asked["next"], standing, blocker)


def count_standings_of_list(
    changelist: ChangeList, request: HttpRequest
) -> tuple[Counter[tuple[str, Standing, Blocker]] | None, datetime | None]:
    """Count what the list shows without a chip, by phase and standing; None where it is narrowed to very many.

    Where all of very many are shown, the workers counted it: then, when.
    """
    site = get_site_gate_facts(request)
    chips = ("next", "phase")
    filters = (spec for spec in changelist.filter_specs if isinstance(spec, ClientListFilter))
    used = {spec.parameter_name for spec in filters if spec.value() is not None}
    if not changelist.query and used <= {*chips}:
        rows, counted_at = read_or_count_blockers(site.nova_schema)
        return add_up_standings(rows, site), counted_at
    if used & {*chips}:
        clients = select_without(chips, changelist, request)
        many = clients.order_by().values("pk")[: MOST_COUNTED + 1].count()
    else:
        clients, many = changelist.queryset, changelist.result_count
    if many > MOST_COUNTED:
        return None, None
    return add_up_standings(count_blockers(clients.order_by(), site.nova_schema), site), None


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
