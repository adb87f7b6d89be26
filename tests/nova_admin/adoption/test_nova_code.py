"""The patch for NOVA's code: git takes it, and what NOVA's file has beside its helper stays."""

import subprocess
from pathlib import Path

import pytest

from nova_admin.adoption.nova_code import HELPER, LINE, REQUIREMENT, WHEEL, PatchError, make_patch
from nova_credentials import reader

HELPER_TEXT = '''\
"""Client credentials."""
import os
from dataclasses import dataclass
from typing import Optional

import psycopg2
from psycopg2.extras import RealDictCursor

_TIMEOUT = 10


# One row.
@dataclass
class DatabaseCredentials:
    client_id: int


@dataclass
class EmailCredentials:
    client_id: int


def _connect():
    return psycopg2.connect(os.environ["DATABASE_URL"], connect_timeout=_TIMEOUT)


def get_client_id(client_slug: str) -> int:
    with _connect() as conn, conn.cursor(cursor_factory=RealDictCursor) as cursor:
        cursor.execute("SELECT 1")
        return 1


def get_database_credentials(client_slug, label: Optional[str] = None):
    return DatabaseCredentials(get_client_id(client_slug))


def get_email_credentials(client_slug, label: Optional[str] = None):
    return EmailCredentials(get_client_id(client_slug))
'''
OWN_PART = '''

def count_clients() -> int:
    """NOVA's own."""
    # Its comment.
    with _connect() as conn:
        return len(conn.info.dsn)
'''
REQUIREMENTS = "psycopg2-binary==2.9.10\nredis==5.2.1\n"
DOCKERFILE = """\
FROM python:3.11-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir \\
    -r requirements.txt
COPY . .
"""


@pytest.fixture
def tree(tmp_path) -> Path:
    return make_tree(tmp_path / "nova")


def make_tree(folder: Path, **texts: str) -> Path:
    found = {
        HELPER: HELPER_TEXT, "requirements.txt": REQUIREMENTS, "Dockerfile": DOCKERFILE,
        ".gitignore": "dist/\n", **texts,
    }  # fmt: skip
    for name, text in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text.encode())
    return folder


def git(tree: Path, *arguments: str, text: str = "") -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=tree, input=text.encode(), capture_output=True, check=True
    )
    return done.stdout.decode()


def apply(tree: Path) -> str:
    """Make the patch and have git apply it; return NOVA's module as it is then."""
    patch = make_patch(tree)
    git(tree, "apply", text=patch)
    assert make_patch(tree) == ""
    return (tree / HELPER).read_bytes().decode()


def test_novas_code_reads_through_the_package_then(tree):
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    make_patch(tree)
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before

    helper = apply(tree)

    assert helper == f'"""Client credentials."""\n\n{LINE}\n'
    assert (tree / "requirements.txt").read_text() == f"{REQUIREMENTS}{REQUIREMENT}\n"
    assert (tree / "Dockerfile").read_text() == DOCKERFILE.replace(
        "RUN", "COPY vendor/ vendor/\nRUN"
    )
    assert (tree / ".gitignore").read_text() == "dist/\n"


def test_the_package_is_in_the_patch_until_novas_code_has_it(tree, tmp_path):
    wheel = tmp_path / WHEEL
    wheel.write_bytes(bytes(range(256)) * 9)

    git(tree, "apply", text=make_patch(tree, wheel))

    assert (tree / "vendor" / WHEEL).read_bytes() == wheel.read_bytes()
    assert make_patch(tree, wheel) == ""
    (tree / "vendor" / WHEEL).unlink()
    assert make_patch(tree, wheel).startswith(f"diff --git a/vendor/{WHEEL} ")
    # From a registry it comes by itself.
    (tree / "requirements.txt").write_text("nova-credentials[binary]==0.3.0\n")
    assert make_patch(tree, wheel) == ""


def test_what_the_file_has_beside_the_helper_stays_and_works(tree):
    (tree / HELPER).write_text(HELPER_TEXT + OWN_PART)

    helper = apply(tree)

    assert helper.startswith(f'"""Client credentials."""\n\n{LINE}\n')
    assert helper.endswith(OWN_PART.lstrip("\n"))
    namespace: dict[str, object] = {}
    exec(helper, namespace)
    assert namespace.keys() >= {
        *reader.__all__,
        "count_clients",
        "_connect",
        "_TIMEOUT",
        "os",
        "psycopg2",
    }
    assert namespace.keys().isdisjoint({"dataclass", "Optional", "RealDictCursor"})
    assert namespace["get_client_id"] is reader.get_client_id


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"#!/usr/bin/env python\n# NOVA's.\n{HELPER_TEXT}", "#!/usr/bin/env python\n# NOVA's.\n"),
        (HELPER_TEXT.replace("\n", "\r\n"), f'"""Client credentials."""\r\n\r\n{LINE}\r\n'),
        (HELPER_TEXT.rstrip("\n"), LINE),
        (
            HELPER_TEXT.replace("import os", "from __future__ import annotations\nimport os", 1),
            "from __future__",
        ),
        (HELPER_TEXT + "\n__all__ = ['get_client_id']\n", "__all__ = ['get_client_id']"),
        (
            HELPER_TEXT + '\nif __name__ == "__main__":\n    print(get_client_id("idom"))\n',
            "__main__",
        ),
    ],
)
def test_files_as_people_write_them(tree, text, kept):
    (tree / HELPER).write_bytes(text.encode())

    helper = apply(tree)

    assert kept in helper
    compile(helper, HELPER, "exec")
    assert "RealDictCursor" not in helper


@pytest.mark.parametrize(
    "rules", ["vendor/\n", "/vendor\n", "*.whl\n", "*\n!src\n", "vendor/*", "**/vendor/**\n"]
)
@pytest.mark.parametrize("name", [".gitignore", ".dockerignore"])
def test_a_wheel_that_would_be_ignored_is_not(tree, name, rules):
    (tree / name).write_text(rules)
    (tree / "vendor").mkdir()
    (tree / "vendor" / WHEEL).write_text("")

    apply(tree)

    git(tree, "init", "--quiet")
    path = tree / name
    excluded = ("-c", f"core.excludesFile={path}")
    assert WHEEL in git(tree, *excluded, "status", "--porcelain", "--untracked-files=all")


@pytest.mark.parametrize(
    "dockerfile",
    [
        "FROM x\nCOPY . .\nRUN pip install -r requirements.txt\n",
        "FROM x\nCOPY --chown=1:1 . /app/\nRUN pip install -r requirements.txt\n",
    ],
)
def test_an_image_that_has_the_wheel_already_gets_no_line(tree, dockerfile):
    (tree / "Dockerfile").write_text(dockerfile)

    apply(tree)

    assert (tree / "Dockerfile").read_text() == dockerfile


def test_only_the_stage_that_installs_counts(tree):
    (tree / "Dockerfile").write_text(
        "FROM x AS a\nCOPY . .\nFROM y\nRUN pip install -r requirements.txt\n"
    )

    apply(tree)

    assert "FROM y\nCOPY vendor/ vendor/\nRUN" in (tree / "Dockerfile").read_text()


def test_a_nova_without_an_image_and_in_a_folder_of_a_larger_repository(tmp_path):
    tree = make_tree(tmp_path / "all" / "nova")
    (tree / "Dockerfile").unlink()
    git(tmp_path / "all", "init", "--quiet")

    wheel = tmp_path / WHEEL
    wheel.write_bytes(b"PK")

    patch = make_patch(tree, wheel)

    assert "a/nova/requirements.txt" in patch
    git(tree, "apply", text=patch)
    assert LINE in (tree / HELPER).read_text()
    assert (tree / "vendor" / WHEEL).read_bytes() == b"PK"


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        (HELPER, "x = 1\n", "get_client_id, is not in it"),
        (HELPER, "def get_client_id(:\n", "line 1 is no Python"),
        ("Dockerfile", "FROM x\n", "no RUN that installs requirements.txt"),
    ],
)
def test_a_file_that_fits_no_patch_is_named(tree, name, text, told):
    (tree / name).write_text(text)

    with pytest.raises(PatchError, match=told) as refused:
        make_patch(tree)

    assert str(refused.value).startswith(name)


def test_a_folder_that_is_not_novas_is_told(tmp_path):
    with pytest.raises(
        PatchError, match=r"requirements\.txt is not in .*: is that the folder of NOVA's code\?"
    ):
        make_patch(tmp_path)


def test_what_git_does_not_take_is_told_with_the_file(tree):
    real = tree / "src" / "real"
    (tree / "src" / "models").rename(real)
    (tree / "src" / "models").symlink_to(real)

    with pytest.raises(PatchError, match=rf"git does not take it: .*{HELPER}.* symbolic link"):
        make_patch(tree)
