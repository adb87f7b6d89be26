"""Clients: the page that adds one, their list with its search and actions, and the addresses of a client's pages."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.options import IncorrectLookupParameters, InlineModelAdmin
from django.contrib.admin.views.main import ChangeList
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from unfold.decorators import action

from credentials.admin import ClientAdmin as CredentialsAdmin
from credentials.admin import answer_refusal, warn_later
from credentials.forms import ClientForm, CredentialFormSet
from credentials.localization import localize
from credentials.models import Client, Credential
from credentials.pointers import is_purged
from migration.campaigns.starts import list_campaign_actions
from migration.clients.comments import LeaveCommentView, TakeBackCommentView
from migration.clients.filters import CLIENT_FILTERS, get_ready_url
from migration.clients.import_pages import (
    ImportTemplateView,
    ImportView,
    LegacyImportView,
    get_legacy_url,
    may_import,
)
from migration.clients.list import (
    ClientColumns,
    ExportCutoverView,
    annotate_columns,
    list_export_actions,
)
from migration.clients.logins_tab import AwsStateView, get_logins_context
from migration.clients.offboarding import LeavingView
from migration.clients.page import (
    NAME_NOT_ALLOWED,
    AwsReadQueriesView,
    FormerLayoutView,
    LiveClientView,
    get_client_context,
    list_push_problems,
)
from migration.core.clients import (
    ClientMigration,
    ClientPhaseQuerySet,
    all_clients,
    digest_selection,
)
from migration.core.comparisons import Comparison
from migration.core.outgoing import PROVEN_WRONG, LoginResult
from migration.core.pages import (
    RUN_PERMISSION,
    AdminView,
    AdminWithOwnViews,
    ClientRow,
    ClientTab,
    get_signed_in_user,
    get_tab_url,
    list_visible_logins,
    read_number,
    read_raw_form_text,
    read_tab,
)
from migration.core.refused_acts import record_refused_save
from migration.core.sentences import LOGIN_OUTCOMES
from migration.logins.pages import (
    EditedLoginTestView,
    RotateView,
    SetScheduleView,
    TestLoginOfNewClientView,
    TestLoginsView,
    TestNewLoginView,
    name_typed_test,
)
from migration.logins.reveal_pages import RevealView
from migration.logins.testing import keep_typed_test, read_typed_test
from migration.moves.pages import (
    CutoverNumbersView,
    FormerCutoverView,
    FormerMoveView,
    find_move_act,
    get_moves_context,
)
from migration.moves.rules import NEXT_PHASE
from migration.people.roles import LEGACY_IMPORT_PERMISSIONS
from migration.pushes.pages import CompareNowView, UndoCopyView
from migration.pushes.saves import AdminSave, SaveRefusedError, record_save
from migration.runs.act_pages import (
    list_acts_of_many,
    make_former_address,
    open_act,
)
from migration.runs.acts import ACTS, MENU_LABELS, Menu
from migration.runs.models import Run
from migration.runs.starts import start_run
from migration.secrets.pages import (
    RestoreVersionView,
    SecretVersionsView,
    TakePendingOffView,
)
from nova_credentials.phases import Phase
from nova_credentials.shown_names import escape_name

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise


class FormerReadyView(AdminView):
    """The page of former releases that moved to the phase `new` what was ready for it: leads to the act's page."""

    def get(self, request: HttpRequest, new: str) -> HttpResponse:
        for old in (Phase.POSTGRES, Phase.DUAL_WRITE, Phase.DUAL_READ):
            act = find_move_act(old, NEXT_PHASE[old])
            if act and NEXT_PHASE[old] == new:
                return HttpResponseRedirect(get_ready_url(act.code, old))
        raise Http404


# To look for a text reads every client and login, and the list has several statements: so few are named in them by id.
FEW_FOUND = 500
# Actions of which nothing comes but a page, or a file
OPEN_A_PAGE = {
    "start_campaign",
    "download",
}


# Where what is no act yet stands in the list's actions.
MENUS = {
    "start_campaign": Menu.MOVE,
    "download": Menu.MORE,
}


@dataclass(frozen=True)
class MenuItem:
    """An act, or another action, in a menu of the list; a move is for clients of one phase alone."""

    name: str
    label: StrOrPromise
    phase: str
    # The menu of a row has it too: not what a client's page shows beside what it is about, nor what is for many.
    is_in_row: bool = True


@dataclass(frozen=True)
class ListMenu:
    """A menu in the bar of what is selected."""

    code: Menu
    label: StrOrPromise
    items: list[MenuItem]


class ClientAdmin(ClientColumns, AdminWithOwnViews, CredentialsAdmin):
    list_filter = CLIENT_FILTERS
    list_per_page = 50
    search_help_text = _("Name, slug, host, user or secret")
    show_facets = admin.ShowFacets.NEVER
    actions: ClassVar = ["compare_selected"]
    own_views: ClassVar = [
        ("cutover/", "cutover", FormerCutoverView),
        ("legacy/", "legacy", LegacyImportView),
        ("ready/<str:new>/", "ready", FormerReadyView),
        ("import/", "import", ImportView),
        ("import/template/", "import_template", ImportTemplateView),
        # Of a former release.
        ("<int:client_id>/owner/", "owner", make_former_address("set_owner")),
        ("<int:client_id>/adopt/", "adopt", make_former_address("adopt")),
        ("<int:client_id>/layout/", "layout", FormerLayoutView),
        ("<int:client_id>/comment/", "comment", LeaveCommentView),
        ("<int:client_id>/comment/take-back/", "take_back", TakeBackCommentView),
        ("<int:client_id>/move/<str:new>/", "dialog", FormerMoveView),
        ("<int:client_id>/watch/", "watch", CutoverNumbersView),
        ("<int:client_id>/compare/", "compare", CompareNowView),
        ("<int:client_id>/leaving/", "leaving", LeavingView),
        # Of former releases.
        ("<int:client_id>/copy-to-postgres/", "copy", make_former_address("copy_to_postgres")),
        ("<int:client_id>/copy-to-postgres/undo/", "undo_copy", UndoCopyView),
        ("<int:client_id>/live/", "live", LiveClientView),
        (
            "<int:client_id>/reveal/<str:kind>/<int:credential_id>/<str:name>/",
            "reveal",
            RevealView,
        ),
        ("<int:client_id>/test-logins/", "test_logins", TestLoginsView),
        (
            "<int:client_id>/test-typed/<str:kind>/<int:credential_id>/",
            "test_typed",
            EditedLoginTestView,
        ),
        ("<int:client_id>/test-new/<str:kind>/", "test_new", TestNewLoginView),
        ("add/test/<str:kind>/", "add_test", TestLoginOfNewClientView),
        ("<int:client_id>/aws-state/", "aws_state", AwsStateView),
        (
            "<int:client_id>/rotate/<str:kind>/<int:credential_id>/",
            "rotate",
            RotateView,
        ),
        ("<int:client_id>/rotation-schedule/", "set_schedule", SetScheduleView),
        ("<int:client_id>/versions/", "versions", SecretVersionsView),
        ("<int:client_id>/versions/restore/", "restore_version", RestoreVersionView),
        ("<int:client_id>/versions/take-pending-off/", "take_pending_off", TakePendingOffView),
        ("<int:client_id>/cutover-export/", "cutover_file", ExportCutoverView),
        # The page of a former release: its address leads to where the export is.
        ("<int:client_id>/certificate/", "certificate", ExportCutoverView),
        ("<int:client_id>/aws-reads/", "aws_reads", AwsReadQueriesView),
    ]

    def get_queryset(self, request: HttpRequest) -> ClientPhaseQuerySet:
        found = all_clients().with_phase().with_revision().order_by("name", "pk")
        return annotate_columns(found)

    def get_search_results(
        self, request: HttpRequest, queryset: ClientPhaseQuerySet, search_term: str
    ) -> tuple[ClientPhaseQuerySet, bool]:
        """Search without accents, also the hosts and users of the logins that the user may see."""
        few = self._find_few(request, search_term) if search_term.strip() else None
        if few is not None:
            return queryset.filter(pk__in=few), False
        return queryset.search(search_term, logins=list_visible_logins(request)), False

    def _find_few(self, request: HttpRequest, text: str) -> list[int] | None:
        """Return the ids of the clients that the search finds, once a request; None for more than FEW_FOUND."""
        kept: dict[str, list[int]] = request.__dict__.setdefault("found_clients", {})
        if text not in kept:
            found = all_clients().search(text, logins=list_visible_logins(request)).order_by()
            kept[text] = list(found.values_list("pk", flat=True)[: FEW_FOUND + 1])
        return kept[text] if len(kept[text]) <= FEW_FOUND else None

    def select_listed(self, request: HttpRequest, *, but: Collection[str]) -> ClientPhaseQuerySet:
        """Select what the list shows with the filters of the address, of which the parameters `but` are none."""
        asked, filters = copy(request), request.GET.copy()
        for name in but:
            filters.pop(name, None)
        asked.GET = filters  # type: ignore[assignment]  # nobody changes it any more
        try:
            listed = CredentialsAdmin.get_changelist_instance(self, asked)
        except IncorrectLookupParameters:
            raise Http404 from None
        return cast("ClientPhaseQuerySet", listed.queryset)

    def has_run_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(RUN_PERMISSION)

    @action(description=_("Compare both stores"), permissions=["run"])
    def compare_selected(
        self, request: HttpRequest, chosen: ClientPhaseQuerySet
    ) -> HttpResponseRedirect:
        return start_run(request, Run.Kind.COMPARE, chosen)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        more = {
            "may_compare": self.has_run_permission(request),
            "may_import": may_import(request),
            "menus": self.list_menus(request),
            "for_one": self.list_acts_of_one(request),
            "title": _("Clients"),
        }
        return super().changelist_view(request, (extra_context or {}) | more)

    def get_readonly_fields(self, request: HttpRequest, obj: ClientRow | None = None) -> list[str]:
        # The name of the client's secret contains the slug.
        return ["slug"] if obj and obj.phase != Phase.POSTGRES else []

    def save_related(
        self,
        request: HttpRequest,
        form: ClientForm,
        formsets: Sequence[CredentialFormSet],
        change: bool,
    ) -> None:
        save = AdminSave(form.instance.pk)
        tested = []
        for formset in formsets:
            for row in formset.forms:
                if row.has_changed():
                    signed = read_raw_form_text(request, name_typed_test(row))
                    if result := read_typed_test(signed, row.instance):
                        tested.append((row.instance, result))
                    credential_type = formset.model.TYPE
                    save.keep_secrets_out_if_purged(
                        credential_type, row.instance, row.typed_secrets()
                    )
        super().save_related(request, form, formsets, change)
        for row, result in tested:
            _tell_typed_test(request, row, result)
        if change and "slug" in form.changed_data:
            # Forget what could not be checked: it was a secret of the former name.
            rows = ClientMigration.objects.filter(pk=form.instance.pk)
            rows.filter(comparison_status=Comparison.Status.UNCHECKED).update(
                comparison=None, comparison_status=None, compared_at=None
            )
        record_save(
            form.instance,
            [form, *(row for rows in formsets for row in rows.forms)],
            added=not change,
        )
        save.write_or_push_to_aws(warn=lambda message: messages.warning(request, localize(message)))

    def changeform_view(
        self, request: HttpRequest, *args: object, **kwargs: object
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except SaveRefusedError as refusal:
            record_refused_save(refusal.client_id, why=refusal.message)
            return answer_refusal(request, localize(refusal.message))

    def get_changelist_instance(self, request: HttpRequest) -> ChangeList:
        """Note what the list shows, for what acts on the selection at once."""
        changelist = super().get_changelist_instance(request)
        if request.method == "GET" and isinstance(changelist.result_list, list):
            phases = " ".join(f"{client.pk}:{client.phase}" for client in changelist.result_list)
            vars(changelist)["shown_phases"] = phases
            vars(changelist)["shown_all"] = digest_selection(changelist.queryset)
        return changelist

    def response_action(
        self, request: HttpRequest, queryset: ClientPhaseQuerySet
    ) -> HttpResponseBase | None:
        """Do what was chosen to what the list showed: not to who matches since, nor who is in another phase since.

        An action that opens a page first shows there what it would do, and that page names its clients.
        """
        if (OPEN_A_PAGE | ACTS.keys()).isdisjoint(request.POST.getlist("action")):
            across = helpers.ActionForm.base_fields["select_across"]
            if across.to_python(request.POST.get("select_across")):
                if read_raw_form_text(request, "shown_all") != digest_selection(queryset):
                    text = _("Nothing was done: the list has changed. Check it again.")
                    messages.error(request, text)
                    return HttpResponseRedirect(request.get_full_path())
            else:
                queryset = self._leave_out_changed(request, queryset)
        return super().response_action(request, queryset)

    def _leave_out_changed(
        self, request: HttpRequest, queryset: ClientPhaseQuerySet
    ) -> ClientPhaseQuerySet:
        """Leave out, and name, the selected clients that are in another phase than the list showed."""
        pairs = read_raw_form_text(request, "shown_phases").split()
        shown = {read_number(pk): phase for pk, _colon, phase in (p.partition(":") for p in pairs)}
        chosen = map(read_number, request.POST.getlist(helpers.ACTION_CHECKBOX_NAME))
        asked = [pk for pk in chosen if pk is not None and pk in shown]
        rows = queryset.order_by("slug").filter(pk__in=asked).values_list("pk", "slug", "phase")
        changed = {pk: slug for pk, slug, phase in rows if shown[pk] != phase}
        if not changed:
            return queryset
        text = ngettext(
            "Left out, as it is in another phase than the list showed: %(slugs)s.",
            "Left out, as they are in another phase than the list showed: %(slugs)s.",
            len(changed),
        )
        messages.warning(request, text % {"slugs": ", ".join(map(escape_name, changed.values()))})
        return queryset.exclude(pk__in=changed)

    def get_actions(self, request: HttpRequest) -> dict[str, object]:
        found = super().get_actions(request)
        others = {
            **list_campaign_actions(request),
            **list_export_actions(),
        }
        acts = {
            act.code: (open_act, act.code, f"{act.label}…") for act in list_acts_of_many(request)
        }
        return {**found, **acts, **others}

    def list_menus(self, request: HttpRequest) -> list[ListMenu]:
        """Return the menus of what can be done to the selected clients: Move, Logins and More."""
        found: dict[Menu, list[MenuItem]] = {menu: [] for menu in Menu}
        for name, label in self.get_action_choices(request, []):
            act = ACTS.get(name)
            menu = act.menu if act else MENUS.get(name)
            if menu:
                is_in_row = bool(act and (act.in_client_menu or menu != Menu.MORE))
                found[menu].append(MenuItem(name, label, getattr(act, "old", ""), is_in_row))
        return [ListMenu(m, MENU_LABELS[m], items) for m, items in found.items() if items]

    def list_acts_of_one(self, request: HttpRequest) -> list[MenuItem]:
        """Return what is done to one client alone: the menu of its row offers it too."""
        return [
            MenuItem(act.code, f"{act.label}…", getattr(act, "old", ""))
            for act in ACTS.values()
            if act.menu and not act.takes_many and act.may(request.user)
        ]

    def get_inline_instances(
        self, request: HttpRequest, obj: ClientRow | None = None
    ) -> list[InlineModelAdmin[Any, Any]]:
        return super().get_inline_instances(request, obj) if _has_form(request, obj) else []

    def get_fields(self, request: HttpRequest, obj: Client | None = None) -> list[str]:
        # Without the others no tab but the logins reads the rows for the form's stamp.
        return super().get_fields(request, obj) if _has_form(request, obj) else ["name"]

    def get_url_after_save(self, request: HttpRequest, client: Client) -> str:
        """Return the client's logins, which say whether AWS has what was saved; with the filters of the list."""
        url = get_tab_url(client.pk, ClientTab.LOGINS)
        filters = request.GET.get("_changelist_filters")
        return f"{url}&{urlencode({'_changelist_filters': filters})}" if filters else url

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: object, **kwargs: object
    ) -> HttpResponse:
        if client := context.get("original"):
            tab = read_tab(request)
            context |= get_client_context(request, client, tab)
            if tab in (ClientTab.OVERVIEW, ClientTab.COMPARISON):
                context |= get_moves_context(request, client)
        if not client or tab == ClientTab.LOGINS:
            context |= get_logins_context(request, client, context)
            if client and request.method == "GET":
                problems = list_push_problems(client)
                context["push_problems"] = problems
                # The field to mend is open.
                context["client_card"]["is_open"] |= NAME_NOT_ALLOWED.key in {
                    each.key for each in problems
                }
        if not client and request.user.has_perms(LEGACY_IMPORT_PERMISSIONS):
            context["legacy_url"] = get_legacy_url()
        response = super().render_change_form(request, context, *args, **kwargs)
        if client and "HX-Request" in request.headers and isinstance(response, TemplateResponse):
            response.template_name = "admin/migration/client_page_part.html"
        return response

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the client's own history: Django's knows only what was saved on this site."""
        if request.method == "POST":
            return HttpResponseRedirect(request.get_full_path())
        return self.change_view(request, object_id)


def _tell_typed_test(request: HttpRequest, row: Credential, result: LoginResult) -> None:
    """Keep how the values that are being saved did when they were tried from the form; warn where that went wrong."""
    if not is_purged(row):  # the test would be one of PostgreSQL's values
        by = get_signed_in_user(request)
        transaction.on_commit(lambda: keep_typed_test(row, result, by=by), robust=True)
    if not result.works:
        text = _("Saved. These values could not be tested: %(login)s, %(why)s.")
        if result.outcome in PROVEN_WRONG:
            text = _("Saved, though these values failed their test: %(login)s, %(why)s.")
        why = localize(LOGIN_OUTCOMES[result.outcome]())
        login = localize(row.make_login_name_message())
        warn_later(request, text % {"login": login, "why": why}, says_saved=True)


def _has_form(request: HttpRequest, client: Client | ClientRow | None) -> bool:
    """Say whether the page shows, or is sent, the form with the client's logins."""
    return client is None or read_tab(request) == ClientTab.LOGINS
