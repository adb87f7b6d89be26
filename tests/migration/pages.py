"""Addresses of the admin's pages, what a person reads there, and runs to look at."""

import re
from html import unescape

from django.contrib.auth.models import User
from django.test import Client as Browser
from django.urls import reverse
from django.utils import timezone

from migration import tasks
from migration.models import RunItem
from migration.runs.acts import ACTS
from migration.runs.items import Outcome
from migration.runs.models import Run
from tests.factories import make_comparison, make_full_client, make_user

DASHBOARD = "/admin/"
CLIENTS = "/admin/credentials/client/"
RUNS = "/admin/migration/run/"
START = "/admin/credentials/client/act/push/?all=1"
COMPARE = "/admin/migration/run/compare-all/"
COMPARISONS = "/admin/migration/comparison/"
REPORT = "/admin/migration/comparison/report/"

DIFFERENT = {
    "path": "database.password",
    "kind": "different",
    "hint": "blank",
    "expected": "0a1b2c3d",
    "actual": "4e5f6071",
    "expected_length": "9-16",
    "actual_length": "17-32",
}
EXTRA = DIFFERENT | {
    "path": "database.host",
    "kind": "extra",
    "hint": "",
    "expected": "",
    "expected_length": "",
}


def page_of(model: str, pk) -> str:
    return reverse(f"admin:{model}_change", args=[pk])


def run_page(run: Run) -> str:
    return page_of("migration_run", run.pk)


def text(response) -> str:
    """What a person reads on the page."""
    assert response.status_code == 200, response
    html = re.sub(r"(?s)<(script|style|template)\b.*?</\1>", " ", response.content.decode())
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def login(browser: Browser, name: str, *permissions: str, **fields) -> User:
    user = make_user(name, *permissions, **fields)
    browser.force_login(user)
    return user


def make_run(number: int, kind: Run.Kind = Run.Kind.MIGRATE, **fields) -> Run:
    """A run over so many clients that are no longer there, every item waiting."""
    run = Run.objects.create(kind=kind, **fields)
    run.add_items((1000 + n, f"client-{n}") for n in range(number))
    return run


def close(run: Run, number: int, outcome: Outcome, **fields) -> None:
    """Gives so many of the waiting items this outcome."""
    chosen = list(run.items.open().order_by("pk").values_list("pk", flat=True)[:number])
    RunItem.objects.filter(pk__in=chosen).update(
        outcome=outcome, finished_at=timezone.now(), **fields
    )


def every_page() -> list[str]:
    client = make_full_client("idom")
    run = make_run(3)
    comparison = make_comparison(client, "mismatch", slug="idom", mismatches=[DIFFERENT])
    return [
        DASHBOARD,
        CLIENTS,
        page_of("credentials_client", client),
        RUNS,
        run_page(run),
        f"{run_page(run)}?items=failed",
        COMPARISONS,
        page_of("migration_comparison", comparison.pk),
        REPORT,
        f"{REPORT}?status=mismatch",
    ]


def shown_rows(response) -> list[tuple[str, str]]:
    rows = response.context["page"]
    return [
        (row.slug, getattr(field, "path", ""))
        for row in rows
        for field in getattr(row, "fields", [row])
    ]


def plan_page(plan) -> str:
    return f"{CLIENTS}act/plan/{plan.pk}/"


def store_plan(code: str = "push", *, by=None, chosen=None, overrides=()) -> Run:
    """A run that is to be planned, over these clients or all."""
    return ACTS[code].store_plan(by=by, chosen=chosen, overrides=overrides)


def make_plan(code: str = "push", **options) -> Run:
    """A run that a worker has planned."""
    plan = store_plan(code, **options)
    tasks.work_on_run(plan.pk)
    plan.refresh_from_db()
    return plan


def start_plan(browser: Browser, plan, **fields):
    """Press the button of a stored plan's page as it is now."""
    look = Run.objects.get(pk=plan.pk).look
    return browser.post(plan_page(plan), {"confirmed": "1", "look": str(look), **fields})


def act_page(code: str, *client_ids: int) -> str:
    return f"{CLIENTS}act/{code}/?clients={','.join(map(str, client_ids))}"


def press_act(browser: Browser, page: str, shown=None, **fields):
    """Press the button of an act's page as it was shown, or as it is now."""
    shown = shown or browser.get(page)
    return browser.post(page, {"confirmed": "1", "clients": shown.context["shown"], **fields})


def verdicts(page) -> dict[str, list[str]]:
    """The slugs of each verdict on an act's page."""
    groups = {group["verdict"]: group["clients"] for group in page.context["groups"]}
    return {name: [client["slug"] for client, _name in found] for name, found in groups.items()}
