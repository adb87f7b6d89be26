"""What each surface tells of one problem: how many, and in which words. Also as a process of its own prints it."""

import json
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from http import HTTPStatus
from importlib import reload
from io import StringIO

import axes.conf
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db.models import F
from django.http import HttpResponse
from django.test import Client
from django.test.utils import setup_test_environment
from django.urls import reverse

from migration.core.problems import PROBLEMS, Finder, Look, list_results, look_at_problems, look_for
from migration.models import Notice, ProblemRecord
from migration.site.dashboard import AttentionLine

METRIC = re.compile(r'^nova_problems\{.*?\bcode="(\w+)".*?\} ([0-9.]+)$', re.MULTILINE)


@dataclass(frozen=True)
class Told:
    """What a surface tells of a problem; `words` is everything that it says of it, but for ages in seconds."""

    count: int = 0
    words: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", leave_out_seconds(self.words))


def leave_out_seconds(words: str) -> str:
    """What is told twice is a second older the second time."""
    return re.sub(r"\b\d+ seconds? ago", "a moment ago", words)


# A page that can't do without what is missing.
NO_ANSWER = Told(-1)


@dataclass(frozen=True)
class Surfaces:
    """What is found of a problem, and what each surface tells of it."""

    sentences: list[str] = field(default_factory=list)
    count: int = 0
    dashboard: Told = Told()
    health: Told = Told()
    doctor: Told = Told()
    metrics: int = 0
    notices: list[str] = field(default_factory=list)


def let_time_pass(code: str, span: timedelta) -> None:
    """What was looked at was looked at so long ago."""
    for name in ("began_at", "failed_at", "looked_at"):
        ProblemRecord.objects.filter(code=code).update(**{name: F(name) - span})


def look(code: str) -> None:
    """Look as the workers do each minute, or as an operator does where workers never look."""
    each = PROBLEMS[code]
    if each.is_of_site and each.looked_for_every is None:
        ask_doctor(code)
    else:
        look_at_problems(only=lambda other: other.code == code)


def read_surfaces(*codes: str, browser: Client) -> dict[str, Surfaces]:
    """Ask each surface for these problems."""
    found = list_results(Look(), anew=(Finder.PAGE, Finder.WORKER), only=codes)
    home, metrics = browser.get(reverse("admin:index")), read_metrics(browser)
    health = browser.get(reverse("admin:migration_run_health")).context["results"]
    of_site = {
        each.problem.code: Told(each.count, str(each.message or ""))
        for each in health
        if each.problem.code in codes
    }
    return {
        code: Surfaces(
            sentences=[leave_out_seconds(str(each.message)) for each in result.failed],
            count=result.count,
            dashboard=read_dashboard(code, home),
            health=of_site[code] if result.problem.is_of_site else Told(),
            doctor=ask_doctor(code) if result.problem.is_of_site else Told(),
            metrics=metrics.get(code, 0),
            notices=list_notices(code),
        )
        for result in found
        for code in [result.problem.code]
    }


def list_notices(code: str) -> list[str]:
    notices = Notice.objects.filter(key__regex=rf"^{code}:\d{{4}}-")
    return [leave_out_seconds(str(notice.facts)) for notice in notices]


def read_dashboard(code: str, page: HttpResponse) -> Told:
    if page.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
        return NO_ANSWER
    return tell_lines(code, page.context["attention"])


def tell_lines(code: str, attention: Iterable[AttentionLine]) -> Told:
    told = [line for line in attention if line.code == code]
    words = " ".join(line.sentence for line in told)
    return Told(sum(line.count for line in told), words.replace("\xa0", " "))


def ask_doctor(code: str) -> Told:
    printed = StringIO()
    with suppress(SystemExit):  # something is not ok
        call_command("doctor", "--only", code, "--format", "json", stdout=printed)
    lines = [line for line in json.loads(printed.getvalue()) if line["state"] == "failed"]
    assert {line["check"] for line in lines} <= {code}
    return Told(len(lines), " ".join(line["message"] for line in lines))


def read_metrics(browser: Client) -> dict[str, int]:
    """The problems that /metrics counts, by code."""
    settings.NOVA_METRICS_TOKEN = settings.NOVA_METRICS_TOKEN or secrets.token_urlsafe(64)
    bearer = {"authorization": f"Bearer {settings.NOVA_METRICS_TOKEN}"}
    text = browser.get("/metrics", headers=bearer).content.decode()
    return {code: int(float(number)) for code, number in METRIC.findall(text)}


def print_surfaces(*codes: str) -> None:
    """Look, and print what each surface of this process tells of each of them, as JSON."""
    setup_test_environment()
    reload(axes.conf)  # the process from which this one was forked had other settings
    root, _ = User.objects.get_or_create(
        username="root", defaults={"is_staff": True, "is_superuser": True}
    )
    browser = Client()
    browser.force_login(root)
    for code in codes:
        let_time_pass(code, timedelta(days=2))
        look(code)
    told = {code: asdict(each) for code, each in read_surfaces(*codes, browser=browser).items()}
    unready = {
        "unready": is_unready(browser),
        "expected_unready": is_open_with("unready"),
    }
    statements = {code: list_statements(code) for code in codes}
    print(json.dumps({"told": told, "statements": statements} | unready))  # noqa: T201 - the test that started the process reads it


def is_unready(browser: Client) -> bool:
    return browser.get("/readyz").status_code == HTTPStatus.SERVICE_UNAVAILABLE


def is_open_with(flag: str) -> bool:
    """Whether a problem with this flag is open: some causes bring a second problem with them."""
    flagged = [each for each in PROBLEMS.values() if getattr(each, flag)]
    return any(look_for(each, Look()).is_open for each in flagged)


def list_statements(code: str) -> list[str]:
    """What the remedy has somebody paste."""
    found = look_for(PROBLEMS[code], Look()).failed
    return [line for each in found for line in each.statements]
