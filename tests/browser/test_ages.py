"""Ages on an open page go on, in the words in which the server tells them."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation
from playwright.sync_api import expect

from credentials.localization import localize
from migration.runs.models import Run
from nova_credentials.messages import describe_age
from tests.migration.pages import RUNS

pytestmark = pytest.mark.browser

AGES = [timedelta(seconds=n) for n in (35, 59 * 60 + 35, 24 * 3600 - 25, 5 * 86400, -7200)]


def test_ages_are_told_anew_each_half_minute(visit):
    for age in AGES:
        Run.objects.create(kind=Run.Kind.PUSH, created_at=timezone.now() - age)
    page = visit(RUNS, clock=True, locale="es")
    told = page.locator("main time")
    before = told.all_text_contents()

    page.clock.run_for(31_000)

    with translation.override("es"):
        later = [localize(describe_age(abs(age + timedelta(seconds=32)))) for age in AGES]
    expected = [
        f"{'dentro de' if age < timedelta() else 'hace'} {told}"
        for age, told in zip(AGES, later, strict=True)
    ]
    expect(told).to_have_text(expected[::-1])
    assert before[-1] != expected[0]
