"""Figures and tables of the documents are those of the code."""

import re
import shlex
from datetime import timedelta
from pathlib import Path

import pytest
from allauth.mfa import app_settings as mfa
from django.conf import settings
from django.core.management import get_commands, load_command_class

from credentials import prices
from credentials.site_schema import SCHEMA
from migration import tasks
from migration.clients.models import KEPT_FROM_CLIENTS
from migration.core.audit_chain import LATE_AFTER
from migration.core.aws_writes import KNOWN_FOR_SECONDS
from migration.core.clients import RECOVERY_DAYS
from migration.core.notices import GIVEN_UP_AFTER, OVER_AFTER
from migration.core.outgoing import LoginOutcome
from migration.core.problems import PROBLEMS
from migration.doctor.nova import MANY_CLIENTS
from migration.logins.attempts import LOGIN_SECONDS
from migration.logins.models import TESTS_ARE_KEPT
from migration.logins.reveal_pages import FRESH_SECONDS, HIDDEN_AFTER_SECONDS
from migration.people.links import ASKED_LASTS, LASTS
from migration.people.lockouts import MOST_IN_A_SESSION, MOST_USERS
from migration.people.models import RESET_COUNTS_FOR, WRONG_PASSWORDS_KEPT_FOR
from migration.people.roles import ROLES, list_roles_with
from migration.people.second_factors import FIRST_WAIT, LONGEST_WAIT, MOST_WRONG
from migration.pushes.comparisons import RECHECK_AFTER_SECONDS
from migration.runs import items
from migration.runs.models import MANY_TRIES, Run
from migration.secrets.layouts import KEPT_FOR
from nova_admin.embedded.conditions import PER_SECOND
from nova_admin.management.commands.adopt import SETTINGS, SITE_ROLE
from nova_admin.operating import KEPT_SECONDS, KEPT_SECONDS_OF_SLOW
from nova_admin.settings import env
from tests.checkout import ROOT
from tests.studies.upgrade import MOST_MS

DOCS = ROOT / "docs"
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
MINUTE, HOUR, DAY = 60, 3600, timedelta(days=1)
ONE_MINUTE = timedelta(minutes=1)
PASSWORD = {
    each["NAME"].rpartition(".")[2]: each["OPTIONS"] for each in settings.AUTH_PASSWORD_VALIDATORS
}
QUOTAS = {operation: quota for group, quota in PER_SECOND.items() for operation in group}
DEFAULTS = {name: default for name, (_kind, default) in env.scheme.items()}
WRITES, READS = (DEFAULTS[f"NOVA_AWS_{each}_PER_SECOND"] for each in ("WRITES", "READS"))

# What a document says, and whether it is so.
FIGURES = {
    "people": {
        "A link works once, for three days": 3 * DAY == LASTS,
        "The link works for an hour": timedelta(hours=1) == ASKED_LASTS,
        "at least 12 characters": PASSWORD["MinimumLengthValidator"]["min_length"] == 12,
        "ten recovery codes": mfa.RECOVERY_CODE_COUNT == 10,
        "is on in production": DEFAULTS["NOVA_REQUIRE_SECOND_FACTOR"] is None
        and not DEFAULTS["DEBUG"],
        "after five in a row": MOST_WRONG == 5,
        "from half a minute up to an hour": (FIRST_WAIT, LONGEST_WAIT) == (MINUTE / 2, HOUR),
        "Five wrong passwords for one user": DEFAULTS["AXES_FAILURE_LIMIT"] == 5,
        "lock that user at that address for 15 minutes": DEFAULTS["AXES_COOLOFF_TIME"] * 60 == 15,
        "for 20 different users": MOST_USERS == 20,
        "A session ends 30 minutes after its last use": DEFAULTS["SESSION_COOKIE_AGE"]
        == 30 * MINUTE,
        "and 8 hours after the login": DEFAULTS["NOVA_SESSION_LIMIT"] == 8 * HOUR,
        "Five wrong answers": MOST_IN_A_SESSION == 5,
        "For 24 hours": DAY == RESET_COUNTS_FOR,
        "more than five minutes ago": FRESH_SECONDS == 5 * MINUTE,
        "disappears after 30 seconds": HIDDEN_AFTER_SECONDS == 30,
    },
    "audit": {"waited for more than five minutes": timedelta(minutes=5) == LATE_AFTER},
    "secrets": {
        "at least an hour": timedelta(hours=1) == KEPT_FOR,
        "AWS can restore them for 30 days": RECOVERY_DAYS == 30,
        "A test has 15 seconds": LOGIN_SECONDS == 15,
        "each secret or replica $0.40": float(prices.SECRET_A_MONTH) == 0.40,
        "each 10,000 calls $0.05": float(prices.TEN_THOUSAND_CALLS) == 0.05,
        f"list prices of {prices.AWS_PRICES_READ:%-d %B %Y}": True,
        "a call that reads 20 secrets": prices.SECRETS_A_CALL == 20,
    },
    "security": {
        "for 30 minutes without use": DEFAULTS["SESSION_COOKIE_AGE"] == 30 * MINUTE,
        "8 hours at most": DEFAULTS["NOVA_SESSION_LIMIT"] == 8 * HOUR,
        "no approval for 24 hours after it": DAY == RESET_COUNTS_FOR,
        "30 days in AWS": RECOVERY_DAYS == 30,
        "failed logins and login tests go after 90 days": 90 * DAY
        == WRONG_PASSWORDS_KEPT_FOR
        == TESTS_ARE_KEPT,
    },
    "start": {
        "Linux and Python 3.11 or newer": 'requires-python = ">=3.11"' in PYPROJECT,
        "runs as user 10001": "\nUSER 10001\n" in (ROOT / "Dockerfile").read_text(),
        "makes the role `nova_site`": SITE_ROLE == "nova_site",
        "writes `/etc/nova-admin.env`": Path("/etc/nova-admin.env") == SETTINGS,
        "in a schema of their own, `nova_admin`": SCHEMA == "nova_admin",
        "delete them after 30 days": RECOVERY_DAYS == 30,
    },
    "run": {
        "away for ten minutes": 10 * ONE_MINUTE == OVER_AFTER,
        "keeps its answer for 5 seconds": KEPT_SECONDS == 5,
        "`queue_away` and `aws_away` for 30": KEPT_SECONDS_OF_SLOW == 30,
        "tried again for 24 hours": timedelta(hours=24) == GIVEN_UP_AFTER,
        "It holds on all hosts within a second": KNOWN_FOR_SECONDS <= 1,
        "`NOVA_AWS_WRITES_PER_SECOND` (48)": WRITES == 48,
        "`NOVA_AWS_READS_PER_SECOND` (90)": READS == 90,
        "20,000 clients and more:** `doctor` recommends two": MANY_CLIENTS == 20_000,
        "waits for more than 100 ms": MOST_MS == 100,
    },
    "architecture": {
        "half a second later": RECHECK_AFTER_SECONDS == 0.5,
        "batches of 100": Run.BATCH == 100,
    },
    "performance": {
        "50 creates": QUOTAS["CreateSecret"] == 50,
        "50 updates": QUOTAS["PutSecretValue"] == 50,
        "100 batch reads of 20 secrets": QUOTAS["BatchGetSecretValue"] == 100,
        "`NOVA_AWS_WRITES_PER_SECOND` (48)": WRITES == 48,
        "`NOVA_AWS_READS_PER_SECOND` (90)": READS == 90,
        "for the first time in three and a half minutes": round(10_000 / WRITES / 30) * 30 == 210,
        "compared in six seconds": round(10_000 / (READS * prices.SECRETS_A_CALL)) == 6,
        "From 20,000 clients on, workers count": KEPT_FROM_CLIENTS == 20_000,
        "From 20,000 clients on, `doctor` recommends": MANY_CLIENTS == 20_000,
    },
    "reliability": {
        "after 2, 4, 8 … seconds, up to a minute": (timedelta(seconds=2), timedelta(minutes=1))
        == (items.FIRST_WAIT, items.LONGEST_WAIT),
        "60 times": MANY_TRIES == 60,
        "between batches of 100 clients": Run.BATCH == 100,
    },
}


@pytest.mark.parametrize(
    ("name", "figure"), [(name, each) for name, figures in FIGURES.items() for each in figures]
)
def test_a_figure_of_a_document_is_that_of_the_code(name, figure):
    text = " ".join((DOCS / f"{name}.md").read_text("utf-8").split())

    assert figure in text
    assert FIGURES[name][figure]


# By how a row of the table of roles begins: permissions that it is about.
CREDENTIALS = ("client", "databasecredential", "emailcredential", "awscredential")
PERMISSIONS = {
    "see clients": ["credentials.view_client", "migration.view_run", "migration.view_comparison"],
    "add, edit and import": [
        f"credentials.{a}_{m}" for a in ("add", "change") for m in CREDENTIALS
    ],
    "put clients into groups": ["migration.change_clientgroup", "migration.set_client_owner"],
    "push, compare": ["migration.add_run", "migration.change_run"],
    "start and stop campaigns": ["migration.add_campaign", "migration.change_campaign"],
    "move clients": ["migration.move_client"],
    "resolve mismatches": ["migration.resolve_mismatch"],
    "test and rotate logins": ["migration.test_login", "migration.rotate_credential"],
    "map NOVA's new columns": [
        *("credentials.map_column", "migration.add_copysearch", "migration.stop_aws_writes"),
    ],
    "purge, restore": ["migration.purge_client"],
    "override missing evidence": ["migration.override_gate"],
    "reveal a secret value": ["migration.reveal_credential"],
    "accept objects": [
        *("credentials.accept_object", "migration.claim_database", "migration.set_notices"),
    ],
    "approve requests": ["migration.approve_move", "migration.view_auditevent"],
    "invite people": ["auth.add_user", "auth.change_user"],
}


def test_the_table_of_roles_says_who_may_do_what():
    table = re.findall(
        r"^\| (.+?) \|(.+)\|$", (DOCS / "people.md").read_text("utf-8"), re.MULTILINE
    )
    said = {row: [cell.strip() == "✓" for cell in cells.split("|")] for row, cells in table}
    rows = {row: begins for row in said for begins in PERMISSIONS if row.startswith(begins)}

    assert re.findall(r"\w[\w ]*", table[0][1]) == [f"{name} " for name in ROLES]
    assert sorted(rows.values()) == sorted(PERMISSIONS)
    assert {*said} - {*rows} == {"may", "**needs a second factor**"}
    for row, begins in rows.items():
        for permission in PERMISSIONS[begins]:
            may = list_roles_with(permission)
            assert said[row] == [name in may for name in ROLES], (row, permission)
    # Whoever may do more than view.
    assert said["**needs a second factor**"] == [bool(given) for given in ROLES.values()]


def test_the_table_of_notices_says_how_soon_each_problem_is_told():
    of_notices = (
        (DOCS / "run.md").read_text("utf-8").partition("## Notices")[2].partition("\n## ")[0]
    )
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \|$", of_notices, re.MULTILINE)
    said = {code: within for within, told in rows for code in re.findall(r"`(\w+)`", told)}
    for code, each in PROBLEMS.items():
        if each.told_by_client:
            assert said.pop(code) == "ten minutes"
        elif each.told_as is None:
            assert code not in said
        elif each.told_after:
            assert (said.pop(code), each.told_after) == ("six minutes", 5 * ONE_MINUTE)
        elif each.looked_for_every > ONE_MINUTE:
            within = {60 * ONE_MINUTE: "an hour", DAY: "a day, or when `doctor` runs"}
            assert said.pop(code) == within[each.looked_for_every]
        else:
            assert code not in said
    assert not said.keys() & PROBLEMS.keys()
    assert tasks.list_schedules()["Look for what is to be told of clients"][1] == 10 * ONE_MINUTE


def test_every_result_of_a_login_test_is_told():
    told = re.findall(r"^\| ([^|]+) \|", (DOCS / "secrets.md").read_text("utf-8"), re.MULTILINE)

    assert {str(label) for label in LoginOutcome.labels} <= {
        each for cell in told for each in cell.split(", ")
    }


@pytest.mark.django_db
def test_each_command_behind_manage_py_is_taken_and_its_python_runs():
    texts = "".join((DOCS / f"{name}.md").read_text("utf-8") for name in FIGURES)
    typed = re.findall(r"`python manage\.py ([^`]+)`", " ".join(texts.split()))

    assert len(typed) > 10
    for name, *words in map(shlex.split, typed):
        parser = load_command_class(get_commands()[name], name).create_parser("manage.py", name)
        options = parser.parse_args(words)
        if name == "shell":
            exec(options.command, {})
