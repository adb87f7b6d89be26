"""A secret that is planted is found where it was planted: the tests of escapes look where they say that they look."""

import logging

import pytest
from django.urls import reverse
from django.utils import timezone
from django_q.models import Task
from django_q.tasks import async_task

from credentials.models import Client
from migration.models import Comparison, RunItem
from migration.runs.models import Run
from nova_credentials.messages import Message
from tests.factories import make_client, make_database
from tests.haystack import Haystack, everything_logged
from tests.test_no_secret_escapes import (
    add_pickles,
    add_tables,
    add_texts,
    browser,
    command,
    page,
)

__all__ = ["browser"]


def planted_in_a_result(haystack, browser):
    now = timezone.now()
    Task.objects.create(id="1", name="x", func="x", result="MARKER-FOUR", started=now, stopped=now)


def raise_in_a_log(haystack, browser):
    try:
        try:
            raise ValueError("MARKER-ONE")
        finally:
            raise KeyError("none")
    except KeyError:
        logging.getLogger("raised").debug("failed", exc_info=True)


PLANTS = {
    "log raised": raise_in_a_log,
    "log anything": lambda haystack, browser: logging.getLogger("anything").debug(
        "%s", "MARKER-ONE"
    ),
    "output of shell": lambda haystack, browser: command(
        haystack, "shell", "-c", "print('MARKER-TWO')"
    ),
    "exception of shell": lambda haystack, browser: command(
        haystack, "shell", "-c", "raise ValueError('MARKER-TWO')"
    ),
    "table migration_comparison": lambda haystack, browser: Comparison.objects.create(
        client_id=1, slug="x", status="match", message=Message.from_text_without_key("MARKER-ONE")
    ),
    "table migration_runitem": lambda haystack, browser: RunItem.objects.create(
        run=Run.objects.create(kind="push"),
        client_id=1,
        slug="x",
        batch=0,
        message=Message.from_text_without_key("MARKER-ONE"),
    ),
    f"page {reverse('admin:credentials_client_changelist')}": lambda haystack, browser: (
        Client.objects.create(name="MARKER-THREE", slug="planted")
    ),
    "text of a row": lambda haystack, browser: make_database(
        make_client("planted"), label="MARKER-THREE"
    ),
    "queue": lambda haystack, browser: async_task("migration.tasks.work_on_run", "MARKER-ONE"),
    "task results": planted_in_a_result,
}


@pytest.mark.parametrize("place", PLANTS)
def test_a_planted_secret_is_found_where_it_was_planted(browser, place):
    haystack = Haystack()
    with everything_logged(haystack):
        PLANTS[place](haystack, browser)
        page(haystack, browser, reverse("admin:credentials_client_changelist"))
        add_texts(haystack)
        add_tables(haystack)
        add_pickles(haystack)

    assert place in haystack.found()
