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


def is_whole(folder: Path) -> bool:
    """Whether this is a site that runs: with the package that everything imports, which comes last, all is there."""
    if not (folder / "nova_admin").exists():
        return False
    named = (ROOT / "deploy/build.sh").read_text().partition('parts="')[2].partition('"')[0].split()
    return all(
        (folder / part).exists() for part in [*named, "wheels", "staticfiles", "venv/complete"]
    )


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
    folder, whole = tmp_path / "site", tmp_path / "whole"
    builder.build(whole)
    # Ends the build before its n-th rename, as a kill would.
    programs = tmp_path / "programs"
    programs.mkdir()
    mv = programs / "mv"
    mv.write_text(
        "#!/bin/sh\n"
        'echo x >> "$RENAMES"\n'
        '[ "$(wc -l < "$RENAMES")" -ne "$LAST" ] || kill -9 "$PPID"\n'
        f'exec {shutil.which("mv")} "$@"\n'
    )
    mv.chmod(0o755)
    path = f"{programs}:{os.environ['PATH']}"

    found = []
    for last in range(1, 60):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(whole, folder, symlinks=True)
        (folder / "migration/of_before").touch()
        renames = tmp_path / f"renames-{last}"
        code, _said = builder.build(folder, PATH=path, RENAMES=str(renames), LAST=str(last))
        if code == 0:
            break
        found.append(is_whole(folder))
        assert found[-1] == ((folder / "nova_admin").exists()), last
    else:
        pytest.fail("it renames without end")

    assert len(found) > 20
    # `mv` itself goes on after its shell: none is left of the first rename on, and the new site only by the last.
    assert found[:-1] == [False] * (len(found) - 1)
    assert found[-1] is True
    assert not (folder / "migration/of_before").exists()
    assert is_whole(folder)


@pytest.mark.parametrize(
    ("prepare", "problem"),
    [
        (lambda folder: folder.write_text(""), "is a file: name a folder."),
        (lambda folder: (folder / "photos").mkdir(parents=True), "holds something else"),
        (
            lambda folder: [folder.mkdir(), (folder / "pyproject.toml").touch()],
            "is a checkout: name a folder for the site alone.",
        ),
    ],
    ids=["a file", "somebody's folder", "a checkout"],
)
def test_a_folder_that_is_none_for_a_site_is_refused_and_nothing_is_changed(
    builder, tmp_path, prepare, problem
):
    folder = tmp_path / "site"
    prepare(folder)
    before = sorted(tmp_path.rglob("*"))

    code, said = builder.build(folder)

    assert (code, len(said.splitlines())) == (2, 1)
    assert said.startswith(f"deploy/build.sh: {folder} ")
    assert problem in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_below_a_file_and_one_that_is_read_only_are_refused(builder, tmp_path):
    (tmp_path / "file").touch()
    code, said = builder.build(tmp_path / "file/site")
    assert (code, said.splitlines()[-1].endswith("can't be made.")) == (2, True)

    # Root may write anywhere but here.
    code, said = builder.build("/proc/self")
    assert (code, said.splitlines()[-1].startswith("deploy/build.sh: /proc/")) == (2, True)


def test_a_lock_that_is_not_there_is_named_before_anything_is_made(builder, tmp_path):
    code, said = builder.build(tmp_path / "site", LOCK="requirements-nowhere.lock")

    assert code == 2
    assert said.startswith(f"deploy/build.sh: there is no {ROOT}/requirements-nowhere.lock: LOCK ")
    assert not (tmp_path / "site").exists()


def test_the_checkout_itself_is_refused(builder):
    assert builder.build(ROOT)[0] == 2
    assert (ROOT / "manage.py").exists()


def test_without_a_folder_its_use_is_said():
    done = subprocess.run([ROOT / "deploy/build.sh"], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr.endswith(" deploy/build.sh FOLDER\n")) == (2, True)


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


def test_help_is_its_own_and_an_option_is_no_folder(builder):
    code, said = builder.build("--help")
    assert (code, said.startswith("usage: "), said.count("\n")) == (0, True, 1)
    assert builder.build("--verbose") == (2, said)


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
