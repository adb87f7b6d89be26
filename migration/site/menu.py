"""Owns the menu: its entries, the tabs below each, the counts beside them, and to which of them a page belongs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from django.conf import settings
from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from credentials.localization import find_site_day
from migration.core.clients import SET_NOTICES, VIEW_CAMPAIGNS, VIEW_CHECKS, VIEW_CLIENTS
from migration.core.comparisons import CLIENTS_TO_RESOLVE
from migration.core.problems import PROBLEMS
from migration.people.roles import VIEW_AUDIT

if TYPE_CHECKING:
    from django_stubs_ext import StrOrPromise

RUN_VIEWERS = ("migration.view_run", "migration.add_run")
REQUESTED = "state=requested"


@cache
def _reverse(page: str) -> str:
    return reverse(f"admin:{page}")


@dataclass(frozen=True)
class Place:
    """A page that the menu or one of its tabs leads to. Pages below its address belong to it."""

    label: StrOrPromise
    page: str
    # One of them is enough; none: everybody may open it.
    permissions: tuple[str, ...] = ()
    # What the page is called, if that isn't its label.
    own_title: StrOrPromise = ""
    # Where the addresses of its pages begin, if that isn't its own.
    begins: str = ""
    query: str = ""
    # What forms of its page are sent to, which shows the page itself where it refuses.
    sent_to: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return str(self.own_title or self.label)

    @property
    def path(self) -> str:
        return _reverse(self.page)

    @property
    def url(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def root(self) -> str:
        return _reverse(self.begins) if self.begins else self.path

    def may_open(self, request: HttpRequest) -> bool:
        return not self.permissions or any(map(request.user.has_perm, self.permissions))


@dataclass(frozen=True)
class Entry:
    """An entry of the menu: it leads to the first of its places that the user may open, and has a tab for each."""

    icon: str
    places: tuple[Place, ...]
    # The name of its number in `MenuCounts`.
    count: str = ""


DASHBOARD = Entry("home", (Place(_("Dashboard"), "index"),))
CLIENTS = Entry(
    "apartment", (Place(_("Clients"), "credentials_client_changelist", (VIEW_CLIENTS,)),)
)
REQUESTS = Entry(
    "inbox",
    (Place(_("Requests"), "migration_run_changelist", RUN_VIEWERS, query=REQUESTED),),
    count="requests",
)
SETTINGS = Entry(
    "tune",
    (
        Place(_("Overview"), "migration_run_settings", (VIEW_CHECKS,), own_title=_("Settings")),
        Place(
            _("Notices"),
            "migration_run_notices",
            (SET_NOTICES,),
            sent_to=("migration_run_add_recipient",),
        ),
        Place(
            _("NOVA's tables"),
            "credentials_columnmapping_changelist",
            ("credentials.view_columnmapping",),
        ),
        Place(_("AWS writes"), "migration_run_aws_writes", RUN_VIEWERS),
        Place(_("Key and regions"), "migration_run_secret_settings", RUN_VIEWERS),
        Place(_("Cost"), "migration_run_cost", (VIEW_CHECKS,)),
    ),
)
ENTRIES = (
    DASHBOARD,
    CLIENTS,
    Entry(
        "waves",
        (
            Place(_("Campaigns"), "migration_campaign_changelist", (VIEW_CAMPAIGNS,)),
            Place(_("Runs"), "migration_run_changelist", RUN_VIEWERS),
            Place(_("Groups"), "migration_clientgroup_changelist", ("migration.view_clientgroup",)),
        ),
    ),
    Entry(
        "sync_alt",
        (
            Place(
                _("Mismatches"),
                "migration_comparison_report",
                ("migration.view_comparison",),
                begins="migration_comparison_changelist",
            ),
        ),
        count="mismatches",
    ),
    REQUESTS,
    Entry(
        "monitor_heart",
        (
            Place(_("Problems"), "migration_run_health", (VIEW_CHECKS,), own_title=_("Health")),
            Place(
                _("NOVA's processes"),
                "migration_readerprocess_changelist",
                ("migration.view_readerprocess",),
            ),
            Place(
                _("Copies"),
                "migration_copysearch_report",
                ("migration.view_copysearch",),
                begins="migration_copysearch_changelist",
            ),
            Place(_("AWS permissions"), "migration_run_check_aws", (VIEW_CHECKS,)),
        ),
        count="problems",
    ),
    Entry("menu_book", (Place(_("Audit"), "migration_auditevent_changelist", (VIEW_AUDIT,)),)),
    SETTINGS,
    Entry(
        "group",
        (
            Place(_("People"), "people", ("auth.view_user",)),
            Place(_("Failed logins"), "failed_logins", ("auth.view_user",)),
        ),
    ),
)


def find_title(view_name: str) -> str:
    """Return what the page of this name is called, such as `admin:people`; "" of one that the menu doesn't have."""
    page = view_name.removeprefix("admin:")
    places = (place for entry in ENTRIES for place in entry.places if place.page == page)
    return next((place.title for place in places), "")


class Here(NamedTuple):
    """Where a page belongs; `is_place`: it is the place itself, and not a page below it."""

    entry: Entry
    place: Place
    is_place: bool


def find_here(request: HttpRequest) -> Here | None:
    """Return the place whose address this one begins with, the longest of them; None of a page of no entry."""
    path = request.path
    requests = REQUESTS.places[0]
    if path == requests.path and request.GET.get("state") == "requested":
        return Here(REQUESTS, requests, is_place=True)
    best: Here | None = None
    longest = ""
    for entry in ENTRIES:
        for place in entry.places:
            root = place.root
            is_below = path == root if entry is DASHBOARD else path.startswith(root)
            if is_below and len(root) > len(longest) and not place.query:
                is_place = path in (place.path, *map(_reverse, place.sent_to))
                best, longest = Here(entry, place, is_place), root
    return best


class MenuCounts:
    """The numbers beside the menu's entries: read in one query where a page is drawn, and only there."""

    # Every page counts so far and no further: above it says "999+".
    MOST = 999
    # The site's own tables alone: NOVA's may be locked.
    _QUERY = f"""
        SELECT (SELECT count(*) FROM ({CLIENTS_TO_RESOLVE} LIMIT {MOST + 1}) AS differing),
            (SELECT count(*) FROM migration_run WHERE state = 'requested'),
            (SELECT count(*) FROM migration_problemrecord
                WHERE code = ANY(%s) AND findings @> '[{{"state": "failed"}}]')
    """  # noqa: S608  # a constant

    def __init__(self, request: HttpRequest) -> None:
        may = request.user.has_perm
        self._codes = [
            each.code for each in PROBLEMS.values() if each.is_of_site and may(each.permission)
        ]
        self._read: dict[str, int] = {}
        self._given: dict[str, int] = {}

    def give(self, name: str, number: int) -> None:
        """Have the menu show the number that the page shows: what is stored may be a minute older."""
        self._given[name] = number

    def __getitem__(self, name: str) -> int:
        if name in self._given:
            return self._given[name]
        if not self._read:
            with connection.cursor() as cursor:
                cursor.execute(self._QUERY, [find_site_day(), self._codes])
                names = ("mismatches", "requests", "problems")
                self._read = dict(zip(names, cursor.fetchone(), strict=True))
        return self._read[name]


def get_menu_counts(request: HttpRequest) -> MenuCounts:
    """Return the request's counts, which every part of its page shares."""
    counts: MenuCounts | None = getattr(request, "menu_counts", None)
    if counts is None:
        counts = MenuCounts(request)
        request.menu_counts = counts  # type: ignore[attr-defined]
    return counts


class _Shown:
    """Reads the counts where the menu is drawn: a poll asks for none. Unfold copies what it is given."""

    def __init__(self, counts: MenuCounts, entry: Entry) -> None:
        self._counts, self._entry = counts, entry

    def __deepcopy__(self, _memo: object) -> _Shown:
        return self

    @property
    def number(self) -> str:
        """Return the number beside the entry; "" where there is nothing to count."""
        count = self._counts[self._entry.count] if self._entry.count else 0
        if count > MenuCounts.MOST:
            return f"{MenuCounts.MOST}+"
        return str(count) if count else ""

    @property
    def is_shown(self) -> bool:
        """Say whether the entry is there now: requests while they are asked for, or one is open."""
        return self._entry is not REQUESTS or is_approval_on() or bool(self.number)


def is_approval_on() -> bool:
    return bool(settings.NOVA_REQUIRE_APPROVAL)


def list_navigation(request: HttpRequest) -> list[dict[str, object]]:
    """Return the menu as Unfold takes it: what the user may open, and which entry the page belongs to."""
    here, counts = find_here(request), get_menu_counts(request)
    items = []
    for entry in ENTRIES:
        allowed = [place for place in entry.places if place.may_open(request)]
        if allowed:
            items.append(
                {
                    "title": entry.places[0].title,
                    "icon": entry.icon,
                    "link": allowed[0].url,
                    "active": here is not None and here.entry is entry,
                    "is_itself": here is not None and here.is_place and here.place is allowed[0],
                    "shown": _Shown(counts, entry),
                }
            )
    return [{"items": items}]


# By this name templates ask Unfold for the tabs.
TABS = "menu"


def list_tabs(request: HttpRequest) -> list[dict[str, object]]:
    """Return the tabs of the page's entry as Unfold takes them; none on a page below a tab, or where there is one."""
    here = find_here(request)
    if here is None or not here.is_place:
        return []
    allowed = [place for place in here.entry.places if place.may_open(request)]
    tabs = [
        {"title": place.label, "link": place.url, "active": place is here.place}
        for place in allowed
    ]
    return [{"page": TABS, "items": tabs}] if len(tabs) > 1 else []


def list_account_links(request: HttpRequest) -> list[dict[str, str]]:
    """Return the menu below one's own name: help, and one's own account."""
    links = [
        {"title": gettext("Help"), "link": reverse("documents")},
        {"title": gettext("Time zone"), "link": reverse("admin:time_zone")},
        {"title": gettext("Second factor"), "link": reverse("admin:second_factor")},
    ]
    if request.user.is_authenticated and request.user.has_usable_password():
        links.append(
            {"title": gettext("Change password"), "link": reverse("admin:password_change")}
        )
    return links


def list_pages(request: HttpRequest) -> Iterator[tuple[str, str, str, str]]:
    """Yield title, entry, address and icon of each page of the menu and the account that the user may open."""
    for entry in ENTRIES:
        if entry is REQUESTS and not _Shown(get_menu_counts(request), entry).is_shown:
            continue
        for place in entry.places:
            if place.may_open(request):
                of = "" if place is entry.places[0] else entry.places[0].title
                yield place.title, of, place.url, entry.icon
    for link in list_account_links(request):
        yield link["title"], "", link["link"], "person"
