"""`make demo` as a person runs it, in a copy of the checkout, whose stores are its own."""

import fcntl
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
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.settings import SCRATCH

ROWS = re.compile(r"^  (?!client )(\S.{23}) (\w+) +(\w+) +(\w+|-) +(.*)$", re.MULTILINE)
BROKEN = {
    "café norte": "AWS does not allow 'é'",
    "sur/este": "a '/' in the slug",
    "acme-madrid": "ends in a hyphen and six characters",
    "two_primaries": "2 database rows are primary",
    "no_credentials": "No credentials.",
    "inactive": "Inactive.",
    "too_large": "bytes; Secrets Manager takes up to 65,536.",
    "foreign_secret": "exists already and is not ours",
    "changed_in_aws": "differs: database.password (blank)",
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


def manage_seeded(checkout: Path, *arguments: str) -> str:
    """What a command says over the stores of a demo that runs."""
    unset = ("DATABASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "DJANGO_SETTINGS_MODULE")
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=checkout,
        env={name: value for name, value in os.environ.items() if name not in unset}
        | {"DEBUG": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
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


@pytest.mark.parametrize("name", STORES)
@pytest.mark.parametrize("in_file", [True, False])
def test_stores_that_are_not_the_embedded_ones_are_left_alone(checkout, name, in_file):
    value = STORES[name][1]
    if in_file:
        (checkout / ".env").write_text(f"{name}={value}\n")
    (other,) = STORES.keys() - {name}

    process = start(checkout, "--once", **({} if in_file else {name: value}) | as_embedded(other))

    out, said = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, out, said.count("\n")) == (2, "", 1)
    assert name in said
    assert value not in said


@pytest.mark.parametrize(
    "arguments", [["--port", "99999"], ["--clients", "-3"], ["--clients=-3"], ["--bogus"], ["more"]]
)
def test_wrong_use_is_one_line_before_anything_is_made(checkout, arguments):
    process = start(checkout, *arguments, **as_embedded(*STORES))

    out, said = process.communicate(timeout=TIMEOUT_SECONDS)
    assert (process.returncode, out, said.count("\n")) == (2, "", 1)
    assert not (checkout / ".local").exists()
