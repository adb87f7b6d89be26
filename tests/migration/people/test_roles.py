"""Every address of the site as each role: who gets in, and who is refused."""

from dataclasses import dataclass, field

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.urls import URLResolver, get_resolver, reverse

from credentials.models import DatabaseCredential
from migration.campaigns.steps import start_campaign
from migration.core.clients import all_clients
from migration.models import (
    AuditEvent,
    Campaign,
    ClientComment,
    ClientGroup,
    Comparison,
    CopySearch,
    NoticeRecipient,
    ReaderProcess,
)
from migration.moves.acts import MOVE_ACTS
from migration.people.people_pages import ACTS as ACTS_ON_PEOPLE
from migration.people.roles import ROLES
from migration.pushes.comparisons import compare
from migration.runs.acts import ACTS
from migration.runs.models import Run
from nova_credentials.phases import Phase
from tests.factories import (
    all_tables,
    make_comparison,
    make_full_client,
    make_reader_process,
    make_user,
    request_run,
)
from tests.migration.acts import move_page
from tests.migration.moves.clients import LINE, advance, enter_phase, phase_of, write_password
from tests.migration.pages import DIFFERENT, store_plan
from tests.nova_credentials.in_phases import bring
from tests.page_forms import pages_left_out

VIEWER, OPERATOR, APPROVER, ADMINISTRATOR, USER_ADMINISTRATOR = ROLES
EVERYBODY = {*ROLES}
OPERATORS = {OPERATOR, ADMINISTRATOR}
APPROVERS = {APPROVER, ADMINISTRATOR}
ADMINISTRATORS = {ADMINISTRATOR}
USER_ADMINISTRATORS = {USER_ADMINISTRATOR}
NOBODY: set[str] = set()

READ_ONLY = (
    "migration_campaign",
    "migration_run",
    "migration_comparison",
    "migration_copysearch",
    "migration_readerprocess",
)
CLIENT = "credentials_client"
PERSON_ACTS = tuple(ACTS_ON_PEOPLE)
TABLES = "credentials_columnmapping"
AUDIT = "migration_auditevent"
GROUP = "migration_clientgroup"
PAGES = {
    **dict.fromkeys(("index", "search", "password_change"), EVERYBODY),
    **dict.fromkeys(("jsi18n", "time_zone"), EVERYBODY),
    **{f"{name}_{page}": EVERYBODY for name in READ_ONLY for page in ("changelist", "change")},
    **{f"{name}_{page}": NOBODY for name in READ_ONLY for page in ("add", "delete")},
    "migration_comparison_report": EVERYBODY,
    **{
        f"migration_run_{page}": EVERYBODY
        for page in (
            *("health", "check_aws", "failures", "secret_settings"),
            *("settings", "cost", "at_work"),
        )
    },
    **{f"migration_copysearch_{page}": EVERYBODY for page in ("report", "live")},
    **{
        f"{CLIENT}_{page}": EVERYBODY
        for page in (
            "changelist",
            "change",
            "watch",
            "live",
            "aws_state",
            "versions",
            "aws_reads",
            "leaving",
        )
    },
    **{f"{CLIENT}_{page}": OPERATORS for page in ("add", "import", "import_template", "legacy")},
    f"{CLIENT}_delete": NOBODY,
    **{f"{GROUP}_{page}": EVERYBODY for page in ("changelist", "change")},
    **{f"{GROUP}_{page}": OPERATORS for page in ("add", "delete")},
    **{f"migration_run_{page}": EVERYBODY for page in ("live", "items", "aws_writes")},
    **{f"migration_run_{page}": EVERYBODY for page in ("plan_sheet", "plan_file")},
    f"{CLIENT}_act_plan_live": OPERATORS,
    **{f"migration_run_{page}": ADMINISTRATORS for page in ("notices", "remove_recipient")},
    "migration_campaign_live": EVERYBODY,
    "migration_campaign_go_on_without": OPERATORS,
    "migration_campaign_start": OPERATORS,
    **{
        f"{CLIENT}_{page}": OPERATORS
        for page in (*("undo_copy", "rotate", "restore_version", "take_pending_off"),)
    },
    f"{TABLES}_changelist": EVERYBODY,
    f"{TABLES}_change": EVERYBODY,
    **{f"{TABLES}_{page}": NOBODY for page in ("add", "delete")},
    f"{CLIENT}_reveal": ADMINISTRATORS,
    **dict.fromkeys(("people", "people_invite", "failed_logins", "person"), USER_ADMINISTRATORS),
    **dict.fromkeys(PERSON_ACTS, USER_ADMINISTRATORS),
    **dict.fromkeys(("second_factor", "second_factor_set_up"), EVERYBODY),
    **{f"{AUDIT}_{page}": APPROVERS for page in ("changelist", "change")},
    **{f"{AUDIT}_{page}": NOBODY for page in ("add", "delete")},
}
# What is sent changes nothing by itself, where it is taken.
POSTS: dict[str, tuple[dict[str, str], set[str]]] = {
    **{f"{CLIENT}_{page}": ({}, OPERATORS) for page in ("compare", "undo_copy")},
    f"{CLIENT}_test_logins": ({"store": "aws", "kind": "aws", "login": "0"}, OPERATORS),
    **{f"{CLIENT}_{page}": ({}, OPERATORS) for page in ("test_typed", "test_new", "add_test")},
    **{
        f"{CLIENT}_{page}": ({}, OPERATORS)
        for page in ("comment", "take_back", "rotate", "set_schedule", "legacy")
    },
    **{f"{CLIENT}_{page}": ({}, OPERATORS) for page in ("restore_version", "take_pending_off")},
    **{f"{GROUP}_{page}": ({}, OPERATORS) for page in ("add", "change", "delete")},
    f"{CLIENT}_reveal": ({}, ADMINISTRATORS),
    # A client that was not offboarded does not come back.
    f"{CLIENT}_leaving": ({"act": "deactivate"}, OPERATORS),
    **{f"{CLIENT}_{page}": ({}, OPERATORS) for page in ("add", "import")},
    f"{CLIENT}_change": ({}, OPERATORS),
    f"{CLIENT}_changelist": ({}, EVERYBODY),
    f"{CLIENT}_cutover_file": ({}, EVERYBODY),
    f"{TABLES}_map": ({"use": "ignore"}, OPERATORS),
    f"{TABLES}_accept": ({}, ADMINISTRATORS),
    "migration_run_compare_all": ({}, OPERATORS),
    **{f"migration_run_{page}": ({}, OPERATORS) for page in ("health", "check_aws")},
    # The secrets of clients that NOVA deleted go by it.
    "migration_run_secret_settings": ({}, ADMINISTRATORS),
    "migration_run_stop_writes": ({}, OPERATORS),
    "migration_run_start_writes": ({}, OPERATORS),
    "migration_run_claim": ({}, ADMINISTRATORS),
    **{
        f"migration_run_{page}": ({}, ADMINISTRATORS)
        for page in ("notices", "test_notices", "add_recipient", "remove_recipient")
    },
    "migration_run_steer": ({"order": "resume"}, OPERATORS),
    "migration_run_rate": ({"writes": "0"}, OPERATORS),
    "migration_run_approve": ({}, APPROVERS),
    "migration_run_cancel": ({}, APPROVERS),
    "migration_campaign_start": ({}, OPERATORS),
    "migration_campaign_steer": ({"order": "go_on"}, OPERATORS),
    "migration_campaign_go_on_without": ({"clients": "none", "reason": "INC-42"}, OPERATORS),
    "migration_campaign_cancel": ({}, OPERATORS),
    "migration_campaign_approve": ({}, APPROVERS),
    "migration_comparison_check": ({}, OPERATORS),
    "migration_copysearch_start": ({}, OPERATORS),
    **{f"migration_comparison_{act}": ({}, OPERATORS) for act in ("act", "undo")},
    **dict.fromkeys(
        ("people_invite", "let_in", "person_sessions", *PERSON_ACTS), ({}, USER_ADMINISTRATORS)
    ),
    **dict.fromkeys(("second_factor", "second_factor_set_up"), ({}, EVERYBODY)),
    **dict.fromkeys(("password_change", "time_zone"), ({}, EVERYBODY)),
    f"{AUDIT}_export": ({"format": "csv"}, APPROVERS),
}
# Django's own, for everybody, or for whoever is not logged in.
OTHERS = {"login", "logout", "set_language", "autocomplete", "view_on_site", "session_end"}
# Django's own, which lead to the dashboard and to the object's own page.
OTHERS |= {"app_list", "password_change_done"}
OTHERS |= {*(f"{name}_history" for name in (*READ_ONLY, CLIENT, GROUP, TABLES, AUDIT))}
# Where a page of a former release was; tests/migration/site/audit/test_cutover_exports.py says where it leads.
OTHERS |= {f"{CLIENT}_certificate"}
# Where pages were whose acts have a page now, to which these lead.
OTHERS |= {
    f"{CLIENT}_{page}"
    for page in ("owner", "adopt", "layout", "copy", "dialog", "cutover", "ready")
}
OTHERS |= {"migration_run_former_plan", "migration_run_former_plan_part"}
# tests/migration/runs/acts/test_every_act.py tries each act as each role.
OTHERS |= {f"{CLIENT}_act", f"{CLIENT}_act_plan"}
# For whoever may see the console; tests/test_documents.py has their tests.
OTHERS |= {"documents", "document"}
# For whoever is about to log in; tests/nova_admin/login has their tests.
OTHERS |= {"second_factor_enter", "oidc_start", "oidc_callback"}
# For whoever has a link; tests/migration/people/test_links.py has their tests.
OTHERS |= {"open_link", "choose_password", "forgot_password"}


@dataclass
class Site:
    """A client in every phase, one of them with a push pending, a run, a request, and a user in each role."""

    clients: dict[Phase, int] = field(default_factory=dict)
    users: dict[str, User] = field(default_factory=dict)

    def address(self, name: str) -> str:
        return reverse(f"admin:{name}", args=self.arguments(name))

    def arguments(self, name: str) -> list[object]:
        # Only of who was cut over there is something to export.
        was_cut_over = name == f"{CLIENT}_cutover_file"
        phase = Phase.AWS if was_cut_over else Phase.DUAL_READ
        client = self.clients[phase]
        if name == "migration_comparison_act":
            return ["copy_to_aws"]
        if name.endswith("_reveal"):
            return [
                client,
                "database",
                DatabaseCredential.objects.get(client=client).pk,
                "db_password",
            ]
        if name.endswith(("_test_typed", "_rotate")):
            return [client, "database", DatabaseCredential.objects.get(client=client).pk]
        if name.endswith(("_test_new", "_add_test")):
            return [client, "database"] if name.endswith("_new") else ["database"]
        alone = (
            "changelist",
            "add",
            "copysearch_live",
            "_at_work",
            "_map",
            "_accept",
            "report",
            *("_health", "_aws", "_settings", "_cost"),
            "_start",
            "_all",
            *("_check", "_undo"),
            "_writes",
            "_claim",
            "_export",
            "_import",
            "_template",
            "_legacy",
            "group",
            "_owners",
            "_failures",
            "_notices",
            "_add_recipient",
        )
        models = {
            f"{CLIENT}_act_plan": lambda: Run.objects.get(act="push").pk,
            "credentials_client_": lambda: client,
            "credentials_columnmapping_": lambda: 1,
            f"{GROUP}_": lambda: ClientGroup.objects.earliest("pk").pk,
            "migration_campaign_": lambda: Campaign.objects.latest("pk").pk,
            "migration_auditevent_": lambda: AuditEvent.objects.latest("pk").pk,
            "migration_run_plan": lambda: Run.objects.get(act="push").pk,
            **dict.fromkeys(
                ("migration_run_approve", "migration_run_cancel"),
                lambda: Run.objects.filter(kind=Run.Kind.MOVE).latest("pk").pk,
            ),
            "migration_run_remove_recipient": lambda: NoticeRecipient.objects.latest("pk").pk,
            "migration_run_": lambda: Run.objects.started().latest("pk").pk,
            "migration_comparison_": lambda: Comparison.objects.latest("pk").pk,
            "migration_copysearch_": lambda: CopySearch.objects.latest("pk").pk,
            "migration_readerprocess_": lambda: ReaderProcess.objects.get().pk,
            "person": lambda: self.users["nobody"].pk,
        }
        return next(
            (
                [pk()]
                for start, pk in models.items()
                if name.startswith(start) and not name.endswith(alone)
            ),
            [],
        )


@pytest.fixture
def site(stores) -> Site:
    site = Site()
    for phase in LINE:
        site.clients[phase] = make_full_client(phase.replace("_", "-"))
        (advance if phase == Phase.PURGED else enter_phase)(site.clients[phase], phase)
    compare(client_ids=[site.clients[Phase.DUAL_READ]])
    make_comparison(
        site.clients[Phase.DUAL_WRITE],
        "mismatch",
        mismatches=[DIFFERENT],
    )
    CopySearch.objects.create()
    wave = ClientGroup.objects.get_or_add("wave 1")
    wave.put_clients(all_clients().filter(slug="dual-read"))
    start_campaign(groups=[wave], goal=Phase.DUAL_READ)
    write_password(site.clients[Phase.DUAL_READ], "example-new")
    Run.objects.create(kind=Run.Kind.COMPARE).add_items([(1, "gone")])
    store_plan().finish_planning([])
    make_reader_process()
    NoticeRecipient.objects.create(way="webhook", target="t", host="hooks.example.test")
    ClientComment.objects.create(
        client_id=site.clients[Phase.DUAL_READ], slug="dual-read", text="-"
    )
    for role in ROLES:
        site.users[role] = make_user(role.lower())
        site.users[role].groups.add(Group.objects.get(name=role))
    site.users["nobody"] = make_user("nobody")
    Group.objects.create(name="Other")
    request_run(
        site.clients[Phase.AWS],
        by=site.users["nobody"],
        slug="aws",
        move_from=Phase.AWS,
        move_to=Phase.PURGED,
    )
    return site


def names_of_the_site(patterns=None) -> set[str]:
    found: set[str] = set()
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            found |= names_of_the_site(pattern.url_patterns)
        elif pattern.name:
            found.add(pattern.name)
    return found


def test_it_is_known_of_every_address_who_may_use_it():
    assert names_of_the_site() == {*PAGES, *POSTS, *OTHERS}


def test_each_role_gets_into_its_pages_and_is_refused_elsewhere(site, client):
    for role in ROLES:
        client.force_login(site.users[role])

        answers = {name: client.get(site.address(name)).status_code for name in PAGES}

        assert {name for name, status in answers.items() if status == 403} == {
            name for name, roles in PAGES.items() if role not in roles
        }, role
        assert set(answers.values()) <= {200, 403}, role


@pytest.mark.parametrize("role", ROLES)
def test_each_role_may_post_what_is_its_own_and_is_refused_the_rest(site, client, role):
    client.force_login(site.users[role])

    with pages_left_out():
        answers = {
            name: client.post(site.address(name), data).status_code
            for name, (data, _) in POSTS.items()
        }

    assert {name for name, status in answers.items() if status == 403} == {
        name for name, (_, roles) in POSTS.items() if role not in roles
    }
    assert set(answers.values()) <= {200, 302, 403}


def everything_stored() -> dict[str, list[tuple]]:
    # What is refused is recorded, and that entries were exported, which seals the audit, and calls to AWS are counted;
    # nothing else.
    audit = {f"nova_admin.migration_audit{what}" for what in ("event", "link")}
    passing = {"nova_admin.django_session", "nova_admin.migration_lease", *audit}
    passing |= {"nova_admin.migration_keptcounts"}
    with connection.cursor() as cursor:
        stored = {}
        for table in sorted(set(all_tables()) - passing):
            cursor.execute(f"SELECT t::text FROM {table} AS t ORDER BY 1")
            stored[table] = cursor.fetchall()
    return stored


def test_a_viewer_changes_nothing_anywhere(site, client):
    client.force_login(site.users[VIEWER])
    before = everything_stored()

    actions = ["compare_selected", "delete_selected", *ACTS]
    actions += ["put_into_group", "take_out_of_group"]
    chosen = list(site.clients.values())
    for name in {*PAGES, *POSTS}:
        data = POSTS[name][0] if name in POSTS else {}
        for method in (client.get, client.post):
            method(site.address(name), data)
            for action in actions if name.endswith("_changelist") else ():
                sent = {"action": action, "_selected_action": chosen, "post": "yes"}
                with pages_left_out():
                    method(site.address(name), sent)

    assert client.get(site.address("index")).status_code == 200  # still as the viewer
    assert everything_stored() == before


def test_without_a_role_there_is_nothing_to_see(site, client):
    own = {"password_change", "second_factor", "second_factor_set_up"}
    pages = {*PAGES} - own - {"index", "search", "jsi18n", "time_zone"}
    for name in pages:
        response = client.get(site.address(name))
        assert response.status_code == 302, name
        assert response.url.startswith("/admin/login/")
    client.force_login(site.users["nobody"])

    answers = {name: client.get(site.address(name)).status_code for name in pages}

    assert answers == dict.fromkeys(pages, 403)


@pytest.mark.parametrize(("old", "new"), MOVE_ACTS)
def test_an_operator_purges_and_restores_nobody(stores, client, old, new):
    operator = make_user("operator")
    operator.groups.add(Group.objects.get(name=OPERATOR))
    client.force_login(operator)
    pk = make_full_client("idom")
    bring(pk, old)

    (pair,) = MOVE_ACTS[old, new].see([pk]).items()
    sent = {"confirmed": "1", "clients": "{}:{}".format(*pair), "typed": "idom", "reason": "INC-42"}
    response = client.post(move_page(old, new, pk), sent)

    assert (response.status_code == 403) == (Phase.PURGED in (old, new))
    assert phase_of(pk) != Phase.PURGED or old == Phase.PURGED
