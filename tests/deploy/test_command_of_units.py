"""`nova-admin COMMAND`, which runs manage.py as the units do: with their settings alone and, as root, as their user."""

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from nova_admin.env_file import fill_example
from tests.checkout import TIMEOUT_SECONDS
from tests.test_settings import PRODUCTION

ROOT_ALONE = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
SHOW = (
    "import json, os, resource; from django.conf import settings as s;"
    " print(json.dumps([s.LOG_LEVEL, s.NOVA_LOG_FORMAT, s.NOVA_WORKERS,"
    " 'NOVA_HOST_NAME' in os.environ, os.getcwd(), resource.getrlimit(resource.RLIMIT_CORE)]))"
)
# Has the script start another program than the interpreter, which may be where only root gets to.
STARTING = (
    "import runpy, sys; sys.executable, sys.argv = sys.argv[1], sys.argv[2:];"
    " runpy.run_path(sys.argv[0], run_name='__main__')"
)


@pytest.fixture
def env_file(tmp_path) -> Path:
    known = {name: value for name, value in PRODUCTION.items() if name.startswith("NOVA_")}
    known |= {name: PRODUCTION[name] for name in ("SECRET_KEY", "ALLOWED_HOSTS", "DATABASE_URL")}
    known |= {"AWS_ACCESS_KEY_ID": "example", "AWS_SECRET_ACCESS_KEY": "example"}
    file = tmp_path / "nova-admin.env"
    file.touch(mode=0o600)
    file.write_text(fill_example(known | {"LOG_LEVEL": "ERROR"}))
    return file


def run(site: Path, *arguments: str, cwd: Path | None = None, **environment: str):
    return subprocess.run(
        [site / "nova-admin", *arguments], cwd=cwd, timeout=TIMEOUT_SECONDS,
        env={"PATH": os.environ["PATH"]} | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_command_has_the_settings_of_the_file_alone(built_site, env_file, tmp_path):
    link = tmp_path / "nova-admin"
    link.symlink_to(built_site / "nova-admin")
    # Of whoever calls, as after `adopt`: none of it counts.
    theirs = {"DATABASE_URL": "postgresql://owner@/other", "LOG_LEVEL": "DEBUG"}
    theirs |= {"NOVA_WORKERS": "7", "NOVA_HOST_NAME": "x", "NOVA_ENV_FILE": str(env_file)}
    myself = pwd.getpwuid(os.geteuid()).pw_name

    done = run(tmp_path, "shell", "-v", "0", "-c", SHOW, cwd=Path("/"), NOVA_USER=myself, **theirs)

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == ["ERROR", "json", 2, False, "/", [0, 0]]


@ROOT_ALONE
def test_as_root_a_command_is_run_as_the_user_who_has_no_other_groups(built_site, env_file):
    program = Path(tempfile.mkdtemp(), "program")
    program.parent.chmod(0o755)
    program.write_text('#!/bin/sh\nid -u; id -G; echo "$HOME $USER"; umask; echo "$@"\n')
    program.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    script = built_site / "deploy/run_as_units_do.py"

    done = subprocess.run(
        [sys.executable, "-c", STARTING, program, script, "doctor", "--format", "json"],
        env={"PATH": os.environ["PATH"], "NOVA_USER": "nobody", "NOVA_ENV_FILE": str(env_file)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    shutil.rmtree(program.parent)

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        str(nobody.pw_uid),
        str(nobody.pw_gid),
        f"{nobody.pw_dir} nobody",
        "0077",
        f"{built_site}/manage.py doctor --format json",
    ]


@ROOT_ALONE
def test_without_the_user_of_the_units_it_says_how_to_make_one(built_site, env_file):
    done = run(built_site, "check", NOVA_USER="nova-nowhere", NOVA_ENV_FILE=str(env_file))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("There is no user nova-nowhere: systemd-sysusers ")


SPOILT = {
    "line 1, begins with a byte order mark": lambda text: "\ufeff" + text,
    "line 1, ends with CR LF": lambda text: "A=1\r\n" + text,
    "line 2, opens a quote that it doesn't close": lambda text: "A=1\nB='1\n" + text,
}


def test_a_file_that_readers_take_differently_is_refused_by_script_and_site_alike(
    built_site, env_file
):
    good = env_file.read_text()
    for problem, spoil in SPOILT.items():
        env_file.write_bytes(spoil(good).encode())
        done = run(built_site, "check", NOVA_ENV_FILE=str(env_file))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"Not configured: nova-admin.env, {problem}")

    # The units' processes, which read the same file by themselves.
    environment = {"PATH": os.environ["PATH"], "NOVA_ENV_FILE": str(env_file)}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"  # others share the folder
    for command in (
        ["manage.py", "check"],
        ["-m", "gunicorn", "-c", "deploy/gunicorn.conf.py", "nova_admin.wsgi"],
    ):
        told = subprocess.run(
            ["venv/bin/python", *command], cwd=built_site, env=environment, check=False,
            timeout=TIMEOUT_SECONDS, capture_output=True, text=True,
        )  # fmt: skip
        assert told.returncode != 0
        assert told.stderr == done.stderr


def test_a_file_that_is_not_there_is_named(built_site, tmp_path):
    done = run(built_site, "check", NOVA_ENV_FILE=str(tmp_path / "nowhere.env"))

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"{tmp_path}/nowhere.env can't be read (No such file or directory). NOVA_ENV_FILE names another file.\n"
    )


def test_the_first_file_of_settings_is_made_where_there_is_none(built_site, tmp_path):
    done = run(built_site, "make_settings", NOVA_ENV_FILE=str(tmp_path / "nowhere.env"))

    assert (done.returncode, done.stderr) == (0, "")
    assert "\nSECRET_KEY=" in done.stdout


@ROOT_ALONE
def test_an_interpreter_that_the_user_may_not_run_is_named_in_a_sentence(built_site, env_file):
    program = Path(tempfile.mkdtemp(), "python3")  # in a folder for root alone
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    script = built_site / "deploy/run_as_units_do.py"

    done = subprocess.run(
        [sys.executable, "-c", STARTING, program, script, "doctor"],
        env={"PATH": os.environ["PATH"], "NOVA_USER": "nobody", "NOVA_ENV_FILE": str(env_file)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    shutil.rmtree(program.parent)

    assert done.returncode == 2
    assert done.stderr.startswith(f"nobody may not run {program}. ")
    assert done.stderr.endswith(f"PYTHON=/usr/bin/python3 deploy/build.sh {built_site}\n")
