"""The page of the mismatch report, and what can be done with its rows: check again, assign."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Count, Exists, Max, OuterRef, Q, Sum
from django.http import Http404, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST, require_safe
from unfold.widgets import BASE_INPUT_CLASSES, CHECKBOX_CLASSES, SELECT_CLASSES

from migration.admin.base import RUN_PERMISSION, start_run
from migration.admin.moves import RESOLVE_PERMISSION
from migration.models import Comparison, OpenMismatch, ReadCount, Run, select_clients
from migration.reports.mismatches import (
    BY_CLIENT,
    FILTERS,
    WHOLE,
    count_by_status,
    count_fields,
    select_clients_with_status,
    select_report_rows,
)
from migration.templatetags.migration_pages import kind_label
from nova_credentials.comparison import MismatchKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse, QueryDict
    from django.urls import URLPattern

    from migration.models import ClientsByPhase

ROWS_A_PAGE = 50
FIELDS_SHOWN = 20
UNCHECKED_SHOWN = 10


def urls(model_admin: Any) -> list[URLPattern]:
    view: Callable[..., Any] = model_admin.admin_site.admin_view
    return [
        path(
            "report/",
            view(require_safe(partial(_report, model_admin))),
            name="migration_comparison_report",
        ),
        path("report/check/", view(require_POST(_check)), name="migration_comparison_check"),
        path("report/assign/", view(require_POST(_assign)), name="migration_comparison_assign"),
    ]


def _report(model_admin: Any, request: HttpRequest) -> HttpResponse:
    if not model_admin.has_view_permission(request):
        raise PermissionDenied
    may = request.user.has_perm
    context = model_admin.page_context(
        request,
        _("Mismatches"),
        model_admin=model_admin,
        may_run=may(RUN_PERMISSION),
        may_resolve=may(RESOLVE_PERMISSION),
        may_view_clients=may("credentials.view_client"),
        **report_context(request.GET, user=request.user),
    )
    return TemplateResponse(request, "admin/migration/mismatch_report.html", context)


def report_context(asked: QueryDict, *, user: Any) -> dict[str, Any]:
    """The report's numbers and one page of its rows: eight queries, whatever the number of clients."""
    filters = {key: value for key in FILTERS if (value := asked.get(key))}
    by_client = filters.get("status") in BY_CLIENT
    rows: Any = select_report_rows(filters, user=user)
    found = rows.aggregate(rows=Count("pk"), clients=Count("client_id", distinct=True))
    shown = ("client", "comparison") if by_client else ("owner",)
    paginator = Paginator(rows.select_related(*shown), ROWS_A_PAGE)
    paginator.count = found["rows"]
    differing = count_fields()
    owners = list(assignable())
    return {
        **count_by_status(),
        **_counted(differing),
        "filters": filters,
        "by_client": by_client,
        "page": paginator.get_page(asked.get("page")),
        "found": found,
        "query": urlencode(filters) + "&" if filters else "",
        "choices": _choices(differing, owners, filters),
        "owners": owners,
        "unchecked": select_clients_with_status(
            {"status": Comparison.Status.UNCHECKED}
        ).select_related("comparison")[:UNCHECKED_SHOWN],
        "input_classes": " ".join(BASE_INPUT_CLASSES),
        "select_classes": " ".join(SELECT_CLASSES),
        "checkbox_classes": " ".join(CHECKBOX_CLASSES),
        "assign_attrs": format_html(
            'formaction="{}?{}"', reverse("admin:migration_comparison_assign"), urlencode(filters)
        ),
        "headings": _headings(by_client=by_client),
        "reads": ReadCount.objects.aggregate(matches=Sum("matches"), last=Max("last_read_at")),
    }


def _headings(*, by_client: bool) -> list[str]:
    if by_client:
        return [_("Client"), _("Result"), _("NOVA's reads"), _("Message"), _("Compared")]
    return [
        *(_("Client"), _("Credential"), _("Field"), _("Difference"), _("First seen")),
        *(_("Last seen"), _("Times"), _("Status"), _("Owner")),
    ]


def _counted(differing: list[tuple[str, str, int]]) -> dict[str, Any]:
    """By class and by field, the most frequent first."""
    kinds, paths = dict[str, int](), dict[str, int]()
    for kind, where, number in differing:
        kinds[kind] = kinds.get(kind, 0) + number
        paths[where] = paths.get(where, 0) + number

    def most(counts: dict[str, int]) -> list[tuple[str, int]]:
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))

    return {
        "by_kind": [(kind, kind_label(kind), number) for kind, number in most(kinds)],
        "by_field": [
            (where or WHOLE, where or _("the whole secret"), number)
            for where, number in most(paths)[:FIELDS_SHOWN]
        ],
    }


def _choices(
    differing: list[tuple[str, str, int]], owners: list[User], filters: dict[str, str]
) -> list[tuple[str, str, list[tuple[str, str, bool]]]]:
    """The filters that are chosen from a list: name, label, and each value with its label and whether it is chosen."""
    paths = sorted({where for _kind, where, _number in differing})
    offered: list[tuple[str, str, list[tuple[str, str]]]] = [
        ("kind", _("Difference"), [(kind, kind_label(kind)) for kind in MismatchKind]),
        (
            "field",
            _("Field"),
            [(where or WHOLE, where or _("the whole secret")) for where in paths],
        ),
        (
            "age",
            _("First seen"),
            [
                ("hour", _("more than an hour ago")),
                ("day", _("more than a day ago")),
                ("week", _("more than a week ago")),
                ("month", _("more than a month ago")),
            ],
        ),
        (
            "owner",
            _("Owner"),
            [
                ("me", _("me")),
                ("none", _("nobody")),
                *((str(owner.pk), owner.get_username()) for owner in owners),
            ],
        ),
        ("state", _("State"), [("open", _("open")), ("acknowledged", _("acknowledged"))]),
    ]
    return [
        (name, label, [(value, text, filters.get(name) == value) for value, text in values])
        for name, label, values in offered
    ]


def assignable() -> Any:
    """Who can own a mismatch."""
    return User.objects.filter(is_active=True, is_staff=True).order_by("username")


def _check(request: HttpRequest) -> HttpResponseRedirect:
    """A comparison run over the clients of the chosen rows, or of all that the address lets through."""
    if not request.user.has_perm(RUN_PERMISSION):
        raise PermissionDenied
    chosen = _chosen(request)
    if not chosen.exists():
        messages.warning(request, _("Nothing was checked: select a row first."))
        return _back(request)
    return start_run(request, Run.Kind.COMPARE, chosen)


def _chosen(request: HttpRequest) -> ClientsByPhase:
    if "all" not in request.POST:
        of_rows = OpenMismatch.objects.filter(pk__in=_ids(request, "row")).values("client_id")
        return select_clients().filter(Q(pk__in=of_rows) | Q(pk__in=_ids(request, "client")))
    filters = {key: value for key in FILTERS if (value := request.GET.get(key))}
    rows = select_report_rows(filters, user=request.user)
    return select_clients().filter(Exists(rows.filter(client_id=OuterRef("pk")).order_by()))


def _assign(request: HttpRequest) -> HttpResponseRedirect:
    """Gives the chosen rows to somebody, or to nobody."""
    if not request.user.has_perm(RESOLVE_PERMISSION):
        raise PermissionDenied
    name = request.POST.get("owner", "")
    owner = assignable().filter(username=name).first() if name else None
    if name and owner is None:
        raise Http404
    number = OpenMismatch.objects.filter(pk__in=_ids(request, "row")).update(owner=owner)
    if not number:
        messages.warning(request, _("Nothing was assigned: select a row first."))
    elif owner:
        text = ngettext("Assigned %(n)d row to %(who)s.", "Assigned %(n)d rows to %(who)s.", number)
        messages.success(request, text % {"n": number, "who": owner})
    else:
        text = ngettext("%(n)d row has no owner now.", "%(n)d rows have no owner now.", number)
        messages.success(request, text % {"n": number})
    return _back(request)


def _ids(request: HttpRequest, name: str) -> list[int]:
    return [
        int(value) for value in request.POST.getlist(name) if value.isdecimal() and len(value) < 19
    ]


def _back(request: HttpRequest) -> HttpResponseRedirect:
    query = request.GET.urlencode()
    url = reverse("admin:migration_comparison_report")
    return HttpResponseRedirect(f"{url}?{query}" if query else url)
