"""`make demo` as a person runs it, in a copy of the checkout, whose stores are its own."""

import fcntl
import html
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests
from psycopg.conninfo import make_conninfo

from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.settings import SCRATCH

ROWS = re.compile(r"^  (?!client )(\S.{23}) (\w+) +(\w+) +(\w+|-) +(.*)$", re.MULTILINE)
BROKEN = {
    "café norte": "AWS does not allow 'é'",
    "sur/este": "a slug can't contain '/'",
    "acme-madrid": "ends in a hyphen and six characters",
    "two_primaries": "2 database logins are primary",
    "no_credentials": "No credentials.",
    "inactive": "Inactive.",
    "too_large": "bytes; Secrets Manager takes up to 65,536.",
    "foreign_secret": "already exists, and this site did not write it",
    "changed_in_aws": "differs: database.password (blank)",
    "levante_tiles": "differs: database.password",
}


@contextmanager
def copied_checkout(folder: Path) -> Iterator[Path]:
    """A copy of the checkout without stores, until everything in it has ended."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "tests", "docs", "*.pyc.*"))
    yield folder
    assert all_end(folder)  # the stores end a little after their last user


def remove(folder: Path) -> None:
    while folder.exists():
        with suppress(FileNotFoundError):  # PostgreSQL's last act is to take its own files away
            shutil.rmtree(folder)


@pytest.fixture
def checkout() -> Iterator[Path]:
    # Not among the temporary files: here the embedded PostgreSQL's own user may go.
    folder = SCRATCH / f"demo-{os.getpid()}-{secrets.token_hex(4)}"
    with copied_checkout(folder):
        yield folder
    remove(folder)


@pytest.fixture(scope="session")
def first_demo(testrun_uid) -> Path:
    """A folder with the stores that a demo made, and its `output`: made once, whichever worker asks first."""
    folder = SCRATCH / f"first-demo-{testrun_uid}"
    with (SCRATCH / "first-demo.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            for old in SCRATCH.glob("first-demo-*"):
                remove(old)
            making = SCRATCH / f"making-{testrun_uid}"
            with copied_checkout(making):
                process = start(making, "--once")
                output, said = process.communicate(timeout=TIMEOUT_SECONDS)
                assert process.returncode == 0, said
            (making / "output").write_text(output)
            making.rename(folder)
    return folder


@pytest.fixture
def seeded(checkout, first_demo) -> Path:
    """A copy of the checkout in which a demo has made the stores before."""
    stores, copies = first_demo / ".local", checkout / ".local"
    # PostgreSQL's files belong to a user of their own, which `cp` keeps; whoever used the stores is gone.
    subprocess.run(["cp", "-a", stores, copies], check=True)
    for store in ("postgres", "aws"):
        shutil.rmtree(copies / store / "run")
    return checkout


def start(
    checkout: Path, *arguments: str, prefix: tuple[str, ...] = (), **more: str
) -> subprocess.Popen[str]:
    unset = (
        *("DATABASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "DJANGO_SETTINGS_MODULE"),
        *("NOVA_CLEAN_STREAK", "NOVA_DUAL_READ_HOURS", "NOVA_PURGE_AFTER_DAYS", "NOVA_MIN_READS"),
    )
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.Popen(
        [*prefix, sys.executable, "manage.py", "demo", *arguments],
        cwd=checkout,
        env=environment | {"DEBUG": "1", "PYTHONUNBUFFERED": "1"} | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(folder: Path) -> set[int]:
    """Those at work in the folder, or started with its path."""
    found = set()
    for process in Path("/proc").iterdir():
        try:
            if not process.name.isdecimal() or int(process.name) == os.getpid():
                continue
            words = (process / "cmdline").read_bytes()
            if str(folder).encode() in words or (process / "cwd").readlink() == folder:
                found.add(int(process.name))
        except OSError:  # it has just ended
            continue
    return found


def all_end(folder: Path) -> bool:
    deadline = time.monotonic() + 300
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not processes_of(folder)


def rows_of(output: str) -> dict[str, tuple[str, ...]]:
    return {row[0].strip(): row for row in ROWS.findall(output)}


def test_every_broken_client_is_explained(first_demo):
    output = (first_demo / "output").read_text()
    rows = rows_of(output)

    assert "\\n" not in output  # each line is one
    assert "\n\n  Migration: " in output
    assert len(rows) >= 24
    for slug, why in BROKEN.items():
        assert why in rows[slug][4]
    assert rows["scheduled_for_deletion"][2] == "restored"
    assert {slug for slug, row in rows.items() if row[3] != "match"} == set(BROKEN) - {
        "acme-madrid"
    }


@pytest.mark.nightly
def test_a_second_demo_finds_the_first_and_a_profile_and_settings_left_empty_do_not_matter(
    first_demo, seeded
):
    example = (ROOT / ".env.example").read_text()
    (seeded / ".env").write_text(f"{example}\nAWS_PROFILE=not-there\n")

    process = start(seeded, "--once")

    output = process.communicate(timeout=TIMEOUT_SECONDS)[0]
    assert process.returncode == 0
    assert "Clients: 0 new" in output
    rows = rows_of(output)
    assert rows.keys() == rows_of((first_demo / "output").read_text()).keys()
    # What was changed behind our back is known to differ since the first one: it waits for somebody who decides.
    assert "changed_in_aws" in {slug for slug, row in rows.items() if row[2] == "skipped"}
    assert not {slug for slug, row in rows.items() if row[2] == "updated"}
    assert not {row[2] for row in rows.values()} & {"created", "restored"}


def find_address(line: str) -> str:
    found = re.search(r"http://\S+", line)
    return found[0] if found else ""


def lines_to_address(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the demo says, up to the line with the address of its site."""
    for line in process.stdout:
        yield line
        if find_address(line):
            return


def address_of(process: subprocess.Popen[str]) -> str:
    *_, line = lines_to_address(process)
    return find_address(line)


@contextmanager
def port_in_use() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def assert_is_served(address: str, *, port_in_use: int) -> None:
    assert f":{port_in_use}/" not in address
    with urllib.request.urlopen(address) as page:
        assert b"NOVA Admin" in page.read()


def read_people(process: subprocess.Popen[str]) -> dict[str, str]:
    """The password of each user, which the demo says below its address."""
    lines = (process.stdout.readline() for _ in range(2))
    found = (re.fullmatch(r"    user: (\w+) +password: (\S+)\n", line) for line in lines)
    return {each[1]: each[2] for each in found}


def manage_seeded(checkout: Path, *arguments: str, code: int = 0, **more: str) -> str:
    """What a command says over the stores of a demo that runs."""
    unset = ("DATABASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "DJANGO_SETTINGS_MODULE")
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if name not in unset}
        | {"DEBUG": "1"}
        | more,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_the_site_is_served_and_a_small_nova_reads_all_clients_through_the_package_until_ctrl_c(
    seeded,
):
    with port_in_use() as port:
        # As a script that starts it with `&` does: Ctrl-C is ignored at first.
        process = start(
            seeded, "--port", str(port), prefix=("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
        )
        assert_is_served(address_of(process), port_in_use=port)
    assert read_people(process).keys() == {"admin", "operator"}
    assert "72 seconds in dual read before a cutover" in process.stdout.readline()
    assert len(processes_of(seeded)) > 3

    manage_seeded(seeded, "move_clients", "dual_read", "idom", "ebro_water")
    deadline = time.monotonic() + 300
    reads: list[int] = []
    while time.monotonic() < deadline and not all(n >= 2 for n in reads or [0]):
        told = manage_seeded(seeded, "client_status", "idom", "ebro_water", "--format", "json")
        reads = [status["reads"]["matches"] for status in json.loads(told)]
        time.sleep(0.5)

    assert all(n >= 2 for n in reads)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0
    assert all_end(seeded)


@pytest.mark.nightly
def test_a_killed_demo_takes_its_workers_and_site_with_it_and_the_next_one_is_well_until_sigterm(
    seeded,
):
    process = start(seeded, "--port", "0")
    address_of(process)
    process.kill()
    process.communicate()

    assert all_end(seeded)
    with port_in_use() as port:
        again = start(seeded, "--port", str(port))
        said = list(lines_to_address(again))
        assert_is_served(find_address(said[-1]), port_in_use=port)
    assert "Clients: 0 new" in "".join(said)
    assert len(processes_of(seeded)) > 3
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=TIMEOUT_SECONDS)
    assert again.returncode == 0
    assert all_end(seeded)


@pytest.mark.nightly
def test_a_failure_that_is_not_on_purpose_is_named_and_exits_with_1(checkout):
    seeds = checkout / "nova_admin" / "embedded" / "seeds.py"
    seeds.write_text(seeds.read_text() + "\nBROKEN -= {'too_large', 'changed_in_aws'}\n")

    process = start(checkout, "--once")

    said = process.communicate(timeout=TIMEOUT_SECONDS)[1]
    assert process.returncode == 1
    assert "failed, but not broken on purpose: changed_in_aws, too_large\n" in said


STORES = {
    "DATABASE_URL": ("NOVA_EMBEDDED_DATABASE", "postgresql://nova.example.invalid/nova"),
    "AWS_ENDPOINT_URL_SECRETS_MANAGER": ("NOVA_EMBEDDED_AWS", "http://127.0.0.1:1"),
}


def as_embedded(*names: str) -> dict[str, str]:
    """These stores as a demo tells its children of them: they are not started once more, and nobody asks them here."""
    return {
        variable: url
        for name in names
        for marker, url in [STORES[name]]
        for variable in (name, marker)
    }


def refuse(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a demo that has to refuse; return its one line."""
    out, said = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, out, said.count("\n")) == (2, "", 1)
    return said


def test_stores_that_are_not_the_embedded_ones_are_left_alone(checkout):
    for name, (_marker, value) in STORES.items():
        (other,) = STORES.keys() - {name}
        (checkout / ".env").write_text(f"{name}={value}\n")
        in_file = start(checkout, "--once", **as_embedded(other))
        said = [refuse(in_file)]
        (checkout / ".env").unlink()
        in_environment = start(checkout, "--once", **{name: value} | as_embedded(other))
        said.append(refuse(in_environment))

        assert [(name in each, value in each) for each in said] == [(True, False)] * 2


def test_wrong_use_is_one_line_before_anything_is_made(checkout):
    wrong = (["--port", "99999"], ["--clients", "-3"], ["--clients=-3"], ["--bogus"], ["more"])
    for process in [start(checkout, *arguments, **as_embedded(*STORES)) for arguments in wrong]:
        refuse(process)
    assert not (checkout / ".local").exists()


class Person:
    """Somebody who is logged in to the demo's site."""

    def __init__(self, address: str, user: str, password: str) -> None:
        self.address, self.session = address, requests.Session()
        page = self.press("/admin/login/", "login-form", username=user, password=password)
        assert page.url == f"{address}/admin/", page.text

    def open(self, path: str) -> str:
        page = self.session.get(self.address + path)
        assert page.status_code == 200, path
        return page.text

    def press(self, path: str, form: str, **fields: str) -> requests.Response:
        """Send that form of the page which holds this text, with what it hides and these fields."""
        page = self.open(path)
        found = next(
            each for each in re.findall(r"<form\b.*?</form>", page, re.DOTALL) if form in each
        )
        action = re.match(r'<form[^>]*\baction="([^"]+)"', found)
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', found)
        data = {name: html.unescape(value) for name, value in hidden} | fields
        answer = self.session.post(self.address + (action[1] if action else path), data)
        assert answer.status_code == 200, answer.text
        return answer

    def find_client(self, slug: str) -> int:
        return int(
            re.search(r"/client/(\d+)/change/", self.open(f"/admin/credentials/client/?q={slug}"))[
                1
            ]
        )

    def act(self, code: str, client_id: int, **fields: str) -> str:
        """Press the button of an act's page, once it has one; return the address of the page that it leads to."""
        path = f"/admin/credentials/client/act/{code}/?clients={client_id}"
        wait_until(lambda: TO_CONFIRM in self.open(path))
        return urlsplit(self.press(path, TO_CONFIRM, **fields).url).path


TO_CONFIRM = 'name="confirmed"'


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(1)


WITH_LOGINS = ("cantabria_steel", "galerna_shipping", "olivar_oils")


@pytest.fixture
def people(seeded) -> Iterator[list[Person]]:
    """Both people of a demo in which some moves take two."""
    process = start(seeded, "--port", "0", "--approval", NOVA_CLEAN_STREAK="1", NOVA_MIN_READS="1")
    try:
        address = address_of(process).rstrip("/")
        yield [Person(address, name, word) for name, word in read_people(process).items()]
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_SECONDS)
    assert process.returncode == 0


@pytest.mark.nightly
def test_logins_a_rotation_a_mismatch_a_campaign_a_purge_and_a_restore_succeed_with_two_people(
    seeded, people
):
    admin, operator = people

    def statuses(*slugs: str) -> list[dict]:
        return json.loads(manage_seeded(seeded, "client_status", *slugs, "--format", "json"))

    def wait_for_phase(phase: str, *slugs: str) -> None:
        wait_until(lambda: all(each["phase"] == phase for each in statuses(*slugs)))

    changed, galerna, olivar = map(
        admin.find_client, ("changed_in_aws", "galerna_shipping", "olivar_oils")
    )

    # Databases, mailboxes and AWS keys, with the values of both stores.
    manage_seeded(seeded, "test_logins", *WITH_LOGINS)

    # A mismatch: PostgreSQL's values log in where AWS's are refused.
    manage_seeded(seeded, "test_logins", "changed_in_aws", "--stores", "postgres")
    refused = manage_seeded(seeded, "test_logins", "changed_in_aws", "--stores", "aws", code=1)
    assert refused.count("the server refuses user or password") == 2
    operator.act("copy_to_aws", changed, reason="AWS's are refused", typed="changed_in_aws")
    wait_until(lambda: statuses("changed_in_aws")[0]["comparison"]["status"] == "match")
    manage_seeded(seeded, "test_logins", "changed_in_aws")

    # The server of the role refuses the former password.
    server = json.loads((seeded / ".local/postgres/run/info.json").read_text())["uri"]
    password = " demo \"password\" \\ of 'olivar_oils' "
    former = make_conninfo(server, user="olivar_oils", dbname="olivar_oils", password=password)
    psycopg.connect(former).close()
    run = operator.act("rotate", olivar, reason="trial", typed="olivar_oils")
    number = run.split("/")[-3]
    wait_until(lambda: "1 updated" in manage_seeded(seeded, "run", "show", number))
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(former)
    manage_seeded(seeded, "test_logins", "olivar_oils")

    manage_seeded(seeded, "group", "add", "Trial", "galerna_shipping", "olivar_oils")
    by = ("--by", "operator", "--reason", "trial", "--soak-hours", "0")
    manage_seeded(seeded, "campaign", "start", "Trial", *by, NOVA_REQUIRE_APPROVAL="1")
    assert {each["phase"] for each in statuses(*WITH_LOGINS)} == {"dual_write"}
    admin.press("/admin/migration/campaign/1/change/", "/campaign/1/approve/")
    wait_for_phase("aws", "galerna_shipping", "olivar_oils")

    manage_seeded(seeded, "find_copies", "galerna_shipping")
    admin.act("purge", galerna, reason="trial", typed="galerna_shipping")
    assert statuses("galerna_shipping")[0]["phase"] == "aws"
    number = manage_seeded(seeded, "run", "list", "--state", "requested").partition(":")[0]
    operator.press(f"/admin/migration/run/{number}/change/", "/approve/")
    wait_for_phase("purged", "galerna_shipping")

    admin.act("restore", galerna, reason="trial", typed="galerna_shipping")
    wait_for_phase("aws", "galerna_shipping")
    manage_seeded(seeded, "test_logins", "galerna_shipping")
