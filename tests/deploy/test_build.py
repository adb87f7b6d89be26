"""deploy/build.sh: what it makes, what it makes anew, what a killed one leaves, and what it refuses."""

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.deploy.conftest import Builder, list_files

SECONDS = 120


def count_installs(builder: Builder) -> int:
    return len(builder.installs.read_text().splitlines())


def find_environments(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("venv-*"))


def list_whole() -> set[str]:
    """A site that runs: with the package that everything imports, which comes last, all of this is there."""
    named = (ROOT / "deploy/build.sh").read_text().partition('parts="')[2].partition('"')[0].split()
    return {*named, "wheels", "staticfiles", "venv/complete", "nova_admin"}


def is_whole(folder: Path) -> bool:
    return all((folder / part).exists() for part in list_whole())


def test_an_environment_is_made_anew_where_the_lock_differs_and_only_there(builder, tmp_path):
    folder = tmp_path / "site"
    assert builder.build(folder) == (0, "")
    first = find_environments(folder)
    (folder / ".env").write_text("LOG_LEVEL=DEBUG\n")
    # A module that a release took away, and a file of a release before.
    (folder / "migration/gone.py").touch()

    assert builder.build(folder) == (0, "")
    assert (find_environments(folder), count_installs(builder)) == (first, 1)
    assert not (folder / "migration/gone.py").exists()
    assert (folder / ".env").read_text() == "LOG_LEVEL=DEBUG\n"

    assert builder.build(folder, LOCK="requirements-redis.lock") == (0, "")
    assert count_installs(builder) == 2
    (second,) = find_environments(folder)
    assert [second] != first
    assert (folder / "venv").readlink() == Path(second)
    assert "requirements-redis.lock" in builder.installs.read_text().splitlines()[1]
    assert is_whole(folder)
    assert not {".building", ".old"} & {path.name for path in folder.iterdir()}


def test_an_environment_whose_interpreter_is_gone_is_made_anew(builder, tmp_path):
    folder = tmp_path / "site"
    builder.build(folder)
    (folder / "venv/bin/python").unlink()

    assert builder.build(folder) == (0, "")

    assert (count_installs(builder), is_whole(folder)) == (2, True)


def test_the_folder_of_a_release_whose_script_never_updated_its_environment_is_taken_over(
    builder, tmp_path
):
    folder = tmp_path / "site"
    for name in ("venv/bin", "nova_admin", "migration/former", "__pycache__"):
        (folder / name).mkdir(parents=True)
    (folder / "venv/bin/python").touch(mode=0o755)

    assert builder.build(folder) == (0, "")

    assert is_whole(folder)
    assert not (folder / "migration/former").exists()


def test_whoever_runs_the_site_can_read_it_whatever_the_builders_umask_is(builder, tmp_path):
    folder = tmp_path / "site"
    former = os.umask(0o077)
    try:
        assert builder.build(folder) == (0, "")
    finally:
        os.umask(former)

    modes = {path.stat().st_mode & 0o044 for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o044}
    assert {path.stat().st_mode & 0o022 for path in folder.rglob("*")} == {0}


def test_a_build_that_is_killed_while_it_installs_is_done_again(builder, tmp_path):
    folder = tmp_path / "site"
    builder.build(folder)
    (former,) = find_environments(folder)
    before = list_files(folder)
    builder.held.touch()
    process = builder.start(folder, LOCK="requirements-redis.lock")
    deadline = time.monotonic() + SECONDS
    while count_installs(builder) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)

    assert builder.build(folder)[0] == 2  # another build is at work
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()

    # What ran goes on, with its own environment.
    assert (folder / "venv").readlink() == Path(former)
    assert before.items() <= list_files(folder).items()
    builder.held.unlink()
    assert builder.build(folder, LOCK="requirements-redis.lock") == (0, "")
    assert (count_installs(builder), is_whole(folder)) == (3, True)
    assert former not in find_environments(folder)


def test_a_build_that_is_killed_at_any_rename_leaves_a_whole_site_or_none(builder, tmp_path):
    folder = tmp_path / "site"
    builder.build(folder)
    (folder / "migration/of_before").touch()
    # What is there after each rename is all that a kill there would leave.
    programs, log = tmp_path / "programs", tmp_path / "log"
    programs.mkdir()
    mv = programs / "mv"
    mv.write_text(
        f'#!/bin/sh\n{shutil.which("mv")} "$@" && cd {folder} && '
        f"ls -dA .env* * venv/complete migration/of_before 2>&- >> {log}; echo >> {log}\n"
    )
    mv.chmod(0o755)

    assert builder.build(folder, PATH=f"{programs}:{os.environ['PATH']}") == (0, "")

    # None is left of the first rename on, and the new site only by the last.
    left = [{*block.split()} for block in log.read_text().rstrip().split("\n\n")]
    assert len(left) > 20
    assert [list_whole() <= there for there in left] == [False] * (len(left) - 1) + [True]
    assert ["nova_admin" in there for there in left] == [False] * (len(left) - 1) + [True]
    assert "migration/of_before" not in left[-1]
    assert is_whole(folder)


def test_a_folder_that_is_none_for_a_site_is_refused_and_nothing_is_changed(builder, tmp_path):
    folders = {name: tmp_path / name for name in ("file", "somebodys", "checkout")}
    folders["file"].touch()
    (folders["somebodys"] / "photos").mkdir(parents=True)
    folders["checkout"].mkdir()
    (folders["checkout"] / "pyproject.toml").touch()
    before = sorted(tmp_path.rglob("*"))
    for name, problem in (
        ("file", "is a file: name a folder."),
        ("somebodys", "holds something else: name a folder for the site alone."),
        ("checkout", "is a checkout: name a folder for the site alone."),
    ):
        said = f"deploy/build.sh: {folders[name]} {problem}\n"
        assert builder.build(folders[name]) == (2, said)
    code, said = builder.build(folders["file"] / "site")
    assert (code, said.splitlines()[-1].endswith("can't be made.")) == (2, True)
    assert sorted(tmp_path.rglob("*")) == before

    # Root may write anywhere but here.
    code, said = builder.build("/proc/self")
    assert (code, said.splitlines()[-1].startswith("deploy/build.sh: /proc/")) == (2, True)
    assert builder.build(ROOT)[0] == 2
    assert (ROOT / "manage.py").exists()


def test_a_lock_that_is_not_there_is_named_before_anything_is_made(builder, tmp_path):
    code, said = builder.build(tmp_path / "site", LOCK="requirements-nowhere.lock")

    assert code == 2
    assert said.startswith(f"deploy/build.sh: there is no {ROOT}/requirements-nowhere.lock: LOCK ")
    assert not (tmp_path / "site").exists()


@pytest.mark.nightly
def test_what_is_locked_is_installed_and_runs(tmp_path):
    """The one build that downloads: all others have the tests' own environment."""
    surroundings = ("PATH", "HOME", "PIP_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT")
    kept = {n: v for n, v in os.environ.items() if n.upper().startswith(surroundings)}
    kept |= {"PYTHON": sys.executable, "NOVA_USER": pwd.getpwuid(os.geteuid()).pw_name}
    folder = tmp_path / "site"
    build = [ROOT / "deploy/build.sh", folder]

    first = subprocess.run(build, env=kept, capture_output=True, text=True, check=False)
    environment = (folder / "venv").resolve()
    made = environment.stat().st_ino
    again = subprocess.run(build, env=kept, capture_output=True, text=True, check=False)

    assert [(done.returncode, done.stderr) for done in (first, again)] == [(0, ""), (0, "")]
    assert environment.stat().st_ino == made
    for program in ("gunicorn", "python"):
        asked = [folder / "venv/bin" / program, "--version"]
        assert subprocess.run(asked, capture_output=True, check=False).returncode == 0
    asked = [folder / "venv/bin/python", folder / "manage.py", "make_settings"]
    told = subprocess.run(asked, env=kept, capture_output=True, text=True, check=False, cwd="/")
    assert (told.returncode, told.stderr) == (0, "")
    assert "NOVA_AUDIT_KEY=" in told.stdout
    listed = subprocess.run(
        [folder / "venv/bin/python", "-m", "pip", "list", "--format=freeze"],
        env=kept, capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    # But for what other systems need.
    lock = re.findall(
        r"^([\w.-]+==[^ ;]+) *\\$", (ROOT / "requirements.lock").read_text(), re.MULTILINE
    )
    assert "pytest" not in listed
    assert len(lock) > 20
    assert {normalize(line) for line in lock} <= {normalize(line) for line in listed.split()}


def normalize(line: str) -> str:
    return re.sub(r"[-_.]+", "-", line).lower()


def test_help_is_its_own_and_neither_an_option_nor_nothing_is_a_folder(builder):
    code, said = builder.build("--help")
    assert (code, said.startswith("usage: "), said.count("\n")) == (0, True, 1)
    assert said.endswith(" deploy/build.sh FOLDER\n")
    assert builder.build("--verbose") == (2, said)
    done = subprocess.run([ROOT / "deploy/build.sh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, said)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root builds for somebody else")
def test_an_interpreter_that_the_units_user_cannot_run_is_refused_and_named(builder, tmp_path):
    """However the way there is: by a link from a folder for everybody."""
    shut = Path(tempfile.mkdtemp())  # mode 700
    program = shut / "bin/python3"
    program.parent.mkdir()
    # It says of itself where it is, as an interpreter does that really is there.
    program.write_text(
        f'#!/bin/sh\n[ "$1" = -c ] || exit 9\nshift\n'
        f'exec {sys.executable} -c "import sys; sys.executable = \\"{program}\\"; $@"\n'
    )
    program.chmod(0o755)
    link = tmp_path / "python3"
    link.symlink_to(program)

    code, said = builder.build(tmp_path / "site", PYTHON=str(link), NOVA_USER="nova-admin")

    assert (code, (tmp_path / "site").exists()) == (2, False)
    assert f"{link} is below {shut}," in said
    assert "PYTHON=/usr/bin/python3 deploy/build.sh" in said
    shutil.rmtree(shut)
