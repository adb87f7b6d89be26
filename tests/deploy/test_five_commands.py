"""README's way from a checkout and NOVA's own database to NOVA's helper that answers from AWS, as it is typed there."""

import json
import os
import pwd
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack

import boto3
import pytest

from tests.checkout import ROOT, TIMEOUT_SECONDS
from tests.deploy.conftest import Builder
from tests.deploy.test_plain_folder import Site, find_free_port, running
from tests.deploy.test_units import UNITS, list_options
from tests.nova_admin.adoption.nova import PASSWORD, made_nova
from tests.nova_admin.adoption.test_nova_code import git, make_tree

MOST = 5
# Installs the package alone: what it needs in turn is in the tests' own environment.
PIP = f"""#!/bin/sh
[ "$*" = "install -r requirements.txt" ] || exit 2
wheel=$(sed -n 's/^\\(.*\\.whl\\)\\[binary\\]$/\\1/p' requirements.txt)
exec {sys.executable} -m pip --isolated install --quiet --no-index --no-deps --target "$LIBRARIES" "$wheel"
"""
ASK = (
    "from src.models.credentials import get_database_credentials;"
    " print(get_database_credentials('acme').db_password)"
)


def list_commands() -> list[str]:
    part = (ROOT / "README.md").read_text("utf-8").partition("## Run it with NOVA's database\n")[2]
    return part.split("```")[1].strip().splitlines()


@pytest.fixture
def nova(tmp_path):
    with made_nova(tmp_path) as made:
        yield made


@pytest.mark.nightly
def test_readmes_commands_end_with_novas_helper_answering_from_aws(nova, aws, tmp_path):
    folder, tree, programs = tmp_path / "site", make_tree(tmp_path / "nova"), tmp_path / "programs"
    programs.mkdir()
    (programs / "pip").write_text(PIP)
    (programs / "pip").chmod(0o755)
    git(tree, "init", "--quiet")
    keys = {"AWS_ACCESS_KEY_ID": "example", "AWS_SECRET_ACCESS_KEY": "example"}
    # A trial's site, as production takes no AWS without TLS.
    trial = {
        "DEBUG": "1", "NOVA_EMBEDDED_AWS": aws.endpoint, "PORT": str(find_free_port()),
        "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint, "BIND_ADDRESS": "127.0.0.1",
    }  # fmt: skip
    nova.env_file.write_text("".join(f"{name}={value}\n" for name, value in trial.items()))
    environment = Builder(tmp_path / "builder", quick=False).environment | keys | {
        "PATH": f"{programs}:{os.environ['PATH']}", "NOVA_ENV_FILE": str(nova.env_file),
        "NOVA_USER": pwd.getpwuid(os.geteuid()).pw_name, "DATABASE_URL": nova.uri,
        "LIBRARIES": str(tmp_path / "libraries"), "PYTHONDONTWRITEBYTECODE": "1", "DEBUG": "1",
    }  # fmt: skip
    build, adopt, change, start, move = commands = list_commands()
    assert len(commands) <= MOST

    def run(command: str) -> str:
        for typed, there in (
            ("/srv/nova-admin", folder), ("../nova", tree), ("SLUG", "acme"), ("NAME", "ana"),
        ):  # fmt: skip
            command = re.sub(rf"{typed}\b(?!-)", str(there), command)
        done = subprocess.run(
            ["/bin/sh", "-c", command], cwd=ROOT, env=environment, capture_output=True, text=True,
            timeout=TIMEOUT_SECONDS, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    run(build)
    told = run(f"{adopt} --site-role {nova.site}")
    assert f"cd {tree} && git apply {tree}/nova.patch && pip install" in told
    assert f"{folder}/nova-admin move_clients dual_read SLUG" in told
    assert "pip wheel" not in told
    run(change)
    assert start.endswith("systemctl enable --now /srv/nova-admin/deploy/systemd/*.service")
    site = Site(folder, tmp_path / "site.log", trial)
    with ExitStack() as started:
        for unit in UNITS:
            # "python manage.py qcluster" and "gunicorn …", which is a program of the environment.
            program, *words = shlex.split(dict(list_options(unit.read_text()))["ExecStart"])
            if program.endswith("/gunicorn"):
                words = ["-m", "gunicorn", *words]
            log = tmp_path / f"{unit.name}.log"
            settings = {"NOVA_ENV_FILE": str(nova.env_file)}
            started.enter_context(running(folder, log, tuple(words), settings))
        site.wait_for("/readyz", '"no_worker": "ok"')
        run(move)

        # Only who reads AWS sees this one.
        secrets = boto3.client(
            "secretsmanager", region_name="us-east-1", endpoint_url=aws.endpoint,
            aws_access_key_id="example", aws_secret_access_key="example",
        )  # fmt: skip
        name = "nova/clients/acme"
        document = secrets.get_secret_value(SecretId=name)["SecretString"]
        held = "example-password-1"
        changed = document.replace(json.dumps(held), '"example-of-aws"')
        secrets.put_secret_value(SecretId=name, SecretString=changed)
        answered = subprocess.run(
            [sys.executable, "-c", ASK], cwd=tree, capture_output=True, text=True, check=False,
            env=keys | {
                "PYTHONPATH": str(tmp_path / "libraries"), "DATABASE_URL": nova.owner_uri,
                "AWS_ENDPOINT_URL_SECRETS_MANAGER": aws.endpoint, "AWS_REGION": "us-east-1",
            },
        )  # fmt: skip
    assert answered.stdout == "example-of-aws\n"
    assert answered.stderr == "acme: AWS differs from PostgreSQL in databases[0].db_password\n"
    assert PASSWORD not in told

    # And out again: `nova-admin` hands on the address of who may.
    run(f"{folder}/nova-admin move_clients dual_write acme --inline")
    environment["NOVA_DATABASE_URL"] = nova.uri
    nova.run("DELETE FROM nova_admin.migration_worker")  # they are stopped
    assert "This is left" not in run(f"{folder}/nova-admin uninstall --yes")
    assert nova.ask("SELECT to_regnamespace('nova_admin'), to_regrole(%s)", nova.site) == [
        (None, None)
    ]
