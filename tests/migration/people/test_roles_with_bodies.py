"""Each role against what a browser would really send: nothing is stored that the role may not store, field by field."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client as Browser
from django.urls import reverse

from migration.campaigns.steps import digest_groups
from migration.core.clients import digest_clients
from migration.models import (
    ClientComment,
    ClientGroup,
)
from migration.people.accounts import digest_state
from migration.runs.acts import ACTS
from nova_credentials.phases import Phase
from tests.factories import make_full_client, make_in_role, make_user
from tests.migration.moves.clients import enter_phase, phase_of
from tests.migration.people.test_roles import (
    CLIENT,
    GROUP,
    POSTS,
    ROLES,
    TABLES,
    USER_ADMINISTRATOR,
    Site,
    everything_stored,
    site,
)
from tests.page_forms import open_form, pages_left_out

__all__ = ["site"]

WITHOUT_EFFECT = {
    *("person_factor", "person_sessions", "person_activate", "let_in"),
    *(f"{TABLES}_map", "migration_copysearch_start"),
    *("migration_run_claim", f"{CLIENT}_import"),
}
PASSWORD = "their-own-secret-1"
OWN = {"current_password": PASSWORD}


def seen(user: User) -> dict[str, str]:
    """What the page of an act on a person shows of them."""
    return {"seen": digest_state(user), **OWN}


@pytest.fixture
def root(stores) -> Browser:
    browser = Browser()
    browser.force_login(make_user("root", is_superuser=True))
    return browser


@pytest.fixture
def bodies(site: Site, root: Browser) -> dict[str, dict[str, Any]]:
    """By the name of the address: a body that would change something for whoever may send it."""
    change = open_form(root, site.address(f"{CLIENT}_change"))
    nobody = site.users["nobody"]
    wave = ClientGroup.objects.get().pk
    viewer = str(Group.objects.get(name="Viewer").pk)
    return {
        f"{CLIENT}_change": change | {"name": "Renamed"},
        # What confirms an import is one user's own: tests/migration/clients/imports has such.
        f"{CLIENT}_import": {"order": "import", "plan": "x.y"},
        f"{CLIENT}_leaving": {"act": "deactivate"},
        f"{CLIENT}_reveal": {"password": PASSWORD, "reason": "INC-42"},
        # Its host is no name; that it was tried is stored.
        f"{CLIENT}_rotate": {"confirmed": "1", "reason": "INC-42"},
        f"{CLIENT}_set_schedule": {"days": "90"},
        f"{CLIENT}_comment": {"text": "Waiting for their DBA."},
        f"{CLIENT}_test_logins": {"store": "postgres"},
        f"{CLIENT}_take_back": {"comment": str(ClientComment.objects.get().pk)},
        "migration_campaign_steer": {"order": "stop"},
        # None of its clients holds it up.
        "migration_campaign_go_on_without": {"clients": digest_clients([]), "reason": "INC-42"},
        "migration_campaign_cancel": {},
        # The group is free once the other campaign is cancelled, and until it is deleted.
        "migration_campaign_start": {
            **dict.fromkeys(("most_mismatches", "most_failed_reads", "most_refused"), "1"),
            "goal": "dual_read",
            "soak_time": "1 h",
            f"place_{wave}": "1",
            "step": "start",
        },
        f"{GROUP}_add": {"name": "wave 2"},
        f"{GROUP}_change": {"name": "wave 3"},
        f"{GROUP}_delete": {"post": "yes"},
        f"{CLIENT}_compare": {},
        f"{TABLES}_map": {"use": "ignore", "column": "clients.x", "seen": ""},
        "migration_run_stop_writes": {"reason": "INC-42"},
        "migration_run_claim": {"reason": "INC-42"},
        "migration_run_notices": {"shown": "run_ended", "mail": "run_ended"},
        "migration_run_test_notices": {},
        "migration_run_add_recipient": {"address": "team@ops.example"},
        "migration_run_remove_recipient": {},
        "migration_run_compare_all": {},
        "migration_run_steer": {"order": "stop"},
        "migration_run_rate": {"writes": "7", "reads": "7", "logins": "7"},
        "migration_copysearch_start": {},
        "migration_run_cancel": {},
        "people_invite": {"name": "Eva", "mail": "eva@example.test", "role": viewer, **OWN},
        "person_details": {"name": "Eva", "mail": "eva@b.test", **seen(nobody)},
        "person_role": {"role": viewer, **seen(nobody)},
        "person_link": OWN,
        "person_factor": OWN,
        "person_activate": seen(nobody),
        "person_sessions": {},
        "let_in": {"user": "nobody", "address": "10.0.0.8"},
        "person_deactivate": seen(nobody),
    }


def test_of_a_body_that_is_not_for_the_role_nothing_is_stored(site, bodies, client):
    for role in ROLES:
        site.users[role].set_password(PASSWORD)
        site.users[role].save()
        client.force_login(site.users[role])
        before = everything_stored()

        refused = {name: body for name, body in bodies.items() if role not in POSTS[name][1]}
        with pages_left_out():
            answers = {
                name: client.post(site.address(name), body).status_code
                for name, body in refused.items()
            }

        assert set(answers.values()) <= {403}, role
        assert everything_stored() == before, role
        assert len(refused) >= 5


def test_the_same_bodies_change_something_for_whoever_may_send_them(site, bodies, client):
    """Or the test before would prove nothing. Those left out are refused to everybody, or have nothing to act on."""
    client.force_login(make_user("other", is_superuser=True, password=PASSWORD))
    without_effect = set()
    with pages_left_out():
        for name, body in bodies.items():
            before = everything_stored()
            client.post(site.address(name), body | what_the_page_shows(name))
            if everything_stored() == before:
                without_effect.add(name)

    assert without_effect == WITHOUT_EFFECT


def what_the_page_shows(name: str) -> dict[str, str]:
    """What a page sends along of the clients that it showed, as they are by now."""
    if name.startswith("person_"):
        return seen(User.objects.get(username="nobody"))
    if name == "migration_campaign_start":
        return {"shown": digest_groups([ClientGroup.objects.earliest("pk")])}
    return {}


def permission_of(name: str) -> str:
    return str(Permission.objects.get(codename=name).pk)


# What a user administrator types into a form that has no such field, and what it would do.
FIELDS: dict[str, Callable[[], tuple[dict[str, Any], Callable[[User], object]]]] = {
    "superuser": lambda: ({"is_superuser": "on"}, lambda user: user.is_superuser),
    "single permission": lambda: (
        {"user_permissions": [permission_of("reveal_credential")]},
        lambda user: user.user_permissions.exists(),
    ),
    "role beyond their own": lambda: (
        {"groups": [str(Group.objects.get(name="Administrator").pk)]},
        lambda user: user.groups.filter(name="Administrator").exists(),
    ),
    "username": lambda: ({"username": "root"}, lambda user: user.username != "nobody"),
    "password": lambda: ({"password": "x"}, lambda user: user.password == "x"),
}


def test_a_field_that_is_not_for_the_role_is_not_stored(client, db):
    keeper, nobody = make_in_role("keeper", USER_ADMINISTRATOR), make_user("nobody")
    keeper.set_password(PASSWORD)
    keeper.save()
    client.force_login(keeper)

    viewer = Group.objects.get(name="Viewer").pk
    for field, make in FIELDS.items():
        typed, is_stored = make()
        for page, sent in (("details", {"name": field, "mail": ""}), ("role", {"role": viewer})):
            nobody.refresh_from_db()
            address = reverse(f"admin:person_{page}", args=[nobody.pk])
            assert client.post(address, seen(nobody) | sent | typed).status_code == 302

        nobody = User.objects.get(pk=nobody.pk)
        assert nobody.get_full_name() == field
        assert not is_stored(nobody), field


def test_an_operator_overrides_nothing_by_typing_the_field(stores, client):
    client.force_login(make_in_role("operator", "Operator"))
    pk = make_full_client("idom")
    enter_phase(pk, Phase.DUAL_READ)

    seen = ACTS["cutover"].see([pk])[pk]
    client.post(
        f"{reverse('admin:credentials_client_act', args=['cutover'])}?clients={pk}&override=reads",
        {"confirmed": "1", "clients": f"{pk}:{seen}", "typed": "dual_read", "reason": "x"},
    )

    assert phase_of(pk) == Phase.DUAL_READ
