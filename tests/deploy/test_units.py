"""deploy/systemd: units that systemd takes, with one user, one file of settings and one confinement."""

import re
import shutil
import subprocess

import pytest

from tests.checkout import ROOT

FOLDER = ROOT / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
OWN = {"Type", "NotifyAccess", "ExecStartPre", "ExecStart", "ExecReload", "KillMode", "Restart"}
OWN |= {"TimeoutStartSec", "TimeoutStopSec", "RestartSec"}


def list_options(text: str) -> list[tuple[str, str]]:
    service = text.partition("[Service]\n")[2].partition("\n[")[0]
    return re.findall(r"^(\w+)=(.*)$", service, re.MULTILINE)


def test_site_and_workers_differ_in_what_they_run_alone():
    site, worker = (
        [option for option in list_options(unit.read_text()) if option[0] not in OWN]
        for unit in UNITS
    )

    assert site == worker
    assert ("LoadCredential", "nova-admin.env:/etc/nova-admin.env") in site
    assert ("Environment", "NOVA_ENV_FILE=%d/nova-admin.env") in site


def test_their_user_is_the_one_that_is_made_and_that_commands_run_as():
    made = re.findall(r"^u (\S+) ", (FOLDER / "nova-admin.conf").read_text(), re.MULTILINE)

    assert {dict(list_options(unit.read_text()))["User"] for unit in UNITS} == {*made}
    assert f'"{made[0]}"' in (ROOT / "deploy/run_as_units_do.py").read_text()


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_takes_them():
    done = subprocess.run(
        ["systemd-analyze", "verify", *UNITS], capture_output=True, text=True, check=False
    )

    # The site isn't in their folder on this machine.
    wrong = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert wrong == []
