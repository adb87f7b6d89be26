"""The manual says what is true: its commands are taken by their own parsers, and its figures are the code's."""

import contextlib
import io
import itertools
import re
import shlex
from datetime import timedelta

import pytest
from django.conf import settings
from django.core.management import call_command, get_commands, load_command_class

from migration.clients import imports, offboarding
from migration.core.clients import GOOD_READS, RECOVERY_DAYS, all_clients
from migration.models import Run
from migration.moves import pages, rules
from migration.runs.acts import FEW_CLIENTS
from migration.secrets import copies
from nova_admin import settings as site_settings
from nova_credentials.phases import Phase
from nova_credentials.reader import from_aws, from_environment
from tests.factories import make_full_client

DOCS = settings.BASE_DIR / "docs"
MANUAL = {path.name: path.read_text() for path in sorted(DOCS.glob("*.md"))}
MANUAL["README.md"] = (settings.BASE_DIR / "README.md").read_text()
BLOCK = re.compile(r"^ *```.*?^ *```$", re.MULTILINE | re.DOTALL)
TYPED = re.compile(r"manage\.py (\w.*)$", re.MULTILINE)
# What stands for a value in a command: each is taken by the parser as this.
MEANT = {"RUN": "1", "NUMBER": "1", "PHASE": "aws", "DAY": "2030-01-31"}
OWN = {
    name: app
    for name, app in get_commands().items()
    if app.startswith(("credentials", "migration", "nova_admin"))
}


def list_commands(text: str) -> list[str]:
    """Every command of a document: the lines of its blocks, and what stands between backticks with more than a name."""
    found = [line for block in BLOCK.findall(text) for line in TYPED.findall(block)]
    rest = BLOCK.sub("", text)
    for code in re.findall(r"`([^`]+)`", rest):
        name, *words = (code.partition("manage.py ")[2] or code).split() or [""]
        is_of_two_words = name in OWN and hasattr(load_command_class(OWN[name], name), "commands")
        if name in OWN and len(words) > is_of_two_words:
            found.append(" ".join([name, *words]))
    return found


def split_command(line: str, meant: dict[str, str] = MEANT) -> list[str]:
    """The words as somebody would type them: of `a|b` the first, and what is optional too."""
    line = re.sub(r"(\\?\|(--\S+ [A-Z]+|[^|\]\s]+))+", "", line.partition(" > ")[0])
    words = [each.strip("[]").rstrip("…") or "x" for each in shlex.split(line, comments=True)]
    return [meant.get(each, each) for each in words]


COMMANDS = [
    (name, line)
    for name, text in MANUAL.items()
    if name != "commands.md"
    for line in list_commands(text)
]


@pytest.mark.parametrize(("document", "line"), COMMANDS)
def test_every_command_of_the_manual_is_one(document, line):
    name, *rest = split_command(line)
    command = load_command_class(get_commands()[name], name)

    command.create_parser("manage.py", name).parse_args(rest)


def test_the_commands_of_a_clients_way_do_what_the_page_says(stores, tmp_path, settings):
    """Block by block, each with a client of its own; workers' part is done in this process."""
    settings.NOVA_CLEAN_STREAK = 0  # evidence takes days
    file = tmp_path / "clients.csv"
    file.write_text("slug,name,db_host,db_name,db_user,db_password\nnew,New,h,n,u,example-1\n")
    phases = {}
    for number, block in enumerate(BLOCK.findall(MANUAL["migrate.md"])):
        slug = f"client-{number}"
        make_full_client(slug, is_active="offboard_client" not in block)
        for line in TYPED.findall(block):
            newest = Run.objects.order_by("pk").last()
            meant = {"SLUG": slug, "RUN": str(newest.pk if newest else 1), "FILE": str(file)}
            name, *words = split_command(line, meant)
            inline = ["--inline"] * bool(
                {name, *words} & {"migrate_clients", "move_clients", "resume"}
            )
            with contextlib.redirect_stdout(io.StringIO()):
                call_command(name, *words, *inline)
        phases[slug] = all_clients().with_phase().get(slug=slug).phase

    assert phases == {
        "client-0": Phase.PURGED,
        "client-1": Phase.DUAL_READ,
        "client-2": Phase.POSTGRES,
        "client-3": Phase.POSTGRES,
        "client-4": Phase.POSTGRES,
        "client-5": Phase.POSTGRES,
    }
    assert all_clients().filter(slug="new").exists()


def list_rows(text: str, below: str) -> list[list[str]]:
    """The rows of the first table below these words, without its head."""
    lines = text.partition(below)[2].strip().splitlines()
    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def default_of(name: str) -> str:
    return f"{site_settings.env.scheme[name][1]:g}"


def test_the_facts_are_those_of_the_gate_in_its_order():
    rows = list_rows(MANUAL["migrate.md"], "**Facts** can't be overridden.")
    facts = [rule for rule in rules.GATE if not rule.evidence]
    moves = (Phase.DUAL_READ, Phase.AWS, Phase.PURGED)

    shown = [[bool(cell) for cell in cells] for _name, *cells in rows]

    # The last is asked of AWS.
    assert shown[:-1] == [[move in rule.moves_to for move in moves] for rule in facts]


def test_the_evidence_is_that_of_the_gate_with_its_settings_and_defaults():
    rows = list_rows(MANUAL["migrate.md"], "It begins anew in each phase.")
    # That a search was made, and that it found none, is one row.
    evidence = [rule for rule in rules.GATE if rule.evidence and rule.code != "copies_found"]
    moves = (Phase.AWS, Phase.PURGED)

    assert len(rows) == len(evidence)
    for (_name, *cells, named), rule in zip(rows, evidence, strict=True):
        assert [bool(cell) for cell in cells] == [move in rule.moves_to for move in moves]
        wanted = [name for move in moves if (name := rule.find_setting(move))]
        assert re.findall(r"NOVA_\w+", named) == list(dict.fromkeys(wanted))
        if rule.code in ("streak", "time"):
            figures = [default_of(rule.find_setting(move)) for move in moves]
            assert [cell.split()[0] for cell in cells] == figures
        elif rule.code == "reads":
            assert [cell.split()[0] for cell in cells] == [default_of("NOVA_MIN_READS"), "1"]


MINUTES = rules.FRESH // timedelta(minutes=1)
MEGABYTES = imports.MOST_BYTES // 1_000_000
FIGURES = {
    "migrate.md": [
        f"a match, at most {MINUTES} minutes old",
        f"met no mismatch in the last {MINUTES} minutes",
        f"failures at AWS in the last {MINUTES} minutes | none, or {GOOD_READS} good reads since",
        f"For {pages.WATCHED_FOR // timedelta(minutes=1)} minutes the client's page counts",
        f"For more than {FEW_CLIENTS} clients, workers make the plan",
        f"every {default_of('NOVA_SWEEP_MINUTES')} minutes (`NOVA_SWEEP_MINUTES`)",
        f"up to {imports.MOST_LINES:,} lines and {MEGABYTES} MB",
        f"`client_max_body_size {MEGABYTES + 1}m;`",
        f"AWS deletes it after {RECOVERY_DAYS} days",
        f"AWS deletes its secrets after {RECOVERY_DAYS} days",
        f"from AWS in the last {offboarding.RECENT_DAYS} days",
    ],
    "nova.md": [
        f"more than {from_aws.THREADS} reads of AWS at once",
        f"`SecretsManagerError` after {from_aws.ATTEMPTS} attempts",
        f"for one attempt of {from_aws.ATTEMPTS}",
        f"any of fewer than {copies.SHORTEST_VALUE} characters",
    ],
}


@pytest.mark.parametrize(
    ("document", "words"), [(d, w) for d, found in FIGURES.items() for w in found]
)
def test_figures_are_those_of_the_code(document, words):
    assert words in MANUAL[document]


def test_the_readers_defaults_are_those_of_its_page():
    rows = list_rows(MANUAL["nova.md"], "boto3 finds the AWS credentials as always.")
    named = {name.strip("`"): default.strip("`") for name, default, _meaning in rows}
    given = {"DATABASE_URL": "postgresql:///unused"}

    def describe(environment: dict[str, str]) -> list[object]:
        made = vars(from_environment(environment))
        return [
            made[name] for name in ("_aws_settings", "_timeout", "_cache_seconds", "_stale_seconds")
        ]

    assert describe(given) == describe(given | {n: text for n, text in named.items() if text})
    read = "".join(
        path.read_text() for path in (settings.BASE_DIR / "nova_credentials").rglob("*.py")
    )
    assert set(re.findall(r'"((?:NOVA|AWS)_[A-Z_]+|DATABASE_URL)"', read)) - {
        "AWS_ENDPOINT_URL"
    } <= set(named)
