"""`make demo` as a person runs it, in a copy of the checkout, whose stores are its own."""

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
from pathlib import Path

import pytest

from tests.nova import ROOT

ROWS = re.compile(r"^  (?!client )(\S.{23}) (\w+) +(\w+) +(\w+|-) +(.*)$", re.MULTILINE)
BROKEN = {
    "café norte": "AWS does not allow 'é'",
    "sur/este": "a '/' in the slug",
    "acme-madrid": "ends in a hyphen and six characters",
    "two_primaries": "2 database rows are primary",
    "no_credentials": "No credentials.",
    "inactive": "Inactive.",
    "too_large": "bytes; Secrets Manager takes 65,536.",
    "foreign_secret": "is there already and is not ours",
    "changed_in_aws": "differs: database.password (blank)",
}


@pytest.fixture
def checkout() -> Iterator[Path]:
    # Under the checkout: there the embedded PostgreSQL's own user may go.
    folder = ROOT / ".local" / "test" / f"demo-{os.getpid()}-{secrets.token_hex(4)}"
    shutil.copytree(
        ROOT, folder, ignore=shutil.ignore_patterns(".*", "tests", "docs", "__pycache__")
    )
    yield folder
    shutil.rmtree(folder)


def start(checkout: Path, *arguments: str) -> subprocess.Popen[str]:
    unset = ("DATABASE_URL", "AWS_ENDPOINT_URL_SECRETS_MANAGER", "DJANGO_SETTINGS_MODULE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.Popen(
        [sys.executable, "manage.py", "demo", *arguments],
        cwd=checkout,
        env=environment | {"DEBUG": "1", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
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


def test_every_broken_client_is_explained_and_a_second_demo_finds_the_first(checkout):
    outputs = []
    for _ in range(2):
        process = start(checkout, "--once")
        outputs.append(process.communicate(timeout=180)[0])
        assert process.returncode == 0
    first, second = ({row[0].strip(): row for row in ROWS.findall(text)} for text in outputs)
    assert len(first) >= 24
    for slug, why in BROKEN.items():
        assert why in first[slug][4]
    assert first["scheduled_for_deletion"][2] == "restored"
    assert {slug for slug, row in first.items() if row[3] != "match"} == set(BROKEN) - {
        "acme-madrid"
    }
    assert "Clients: 0 new" in outputs[1]
    assert first.keys() == second.keys()
    # Its tables are the authority: what was changed behind our back is put right.
    assert {slug for slug, row in second.items() if row[2] == "updated"} == {"changed_in_aws"}
    assert not {row[2] for row in second.values()} & {"created", "restored"}


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_site_is_served_on_a_free_port_until_it_is_stopped(checkout, name):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(checkout, "--port", str(port))
        address = next(
            found[1] for line in process.stdout if (found := re.search(r"(http://\S+)", line))
        )
        assert f":{port}/" not in address
        with urllib.request.urlopen(address) as page:
            assert b"NOVA Admin" in page.read()
        assert len(processes_of(checkout)) > 3
        process.send_signal(getattr(signal, name))
        process.communicate(timeout=60)
    deadline = time.monotonic() + 60
    while processes_of(checkout) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not processes_of(checkout)
