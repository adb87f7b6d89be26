"""What NOVA installs, from a registry of its own or as a folder beside its code: the package alone, without Django."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from django.db import connection
from packaging.requirements import Requirement
from psycopg.conninfo import make_conninfo

from nova_credentials.phases import Phase
from tests.checkout import ROOT
from tests.dependencies.locking import listed_lines
from tests.factories import make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import run, run_by
from tests.nova_credentials.wheel import VERSION, build_wheel, serve_index

NOVAS_PINS = {"redis": "5.2.1", "psycopg2-binary": "2.9.10"}
# What pip would fetch beside the wheel: psycopg, boto3 and what they need in turn.
NEEDED = (
    *("psycopg", "psycopg-binary", "typing-extensions"),
    *("boto3", "botocore", "s3transfer", "jmespath", "urllib3", "python-dateutil", "six"),
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory) -> Path:
    """The interpreter of an environment that has what the wheel needs and, from a registry, the wheel; nothing else."""
    home = tmp_path_factory.mktemp("nova")
    venv.create(home)
    (packages,) = home.glob("lib/python*/site-packages")
    for name in NEEDED:
        of_package = distribution(name)
        for top in {file.parts[0] for file in of_package.files if file.parts[0] != ".."}:
            if top != "__pycache__":
                (packages / top).symlink_to(Path(of_package.locate_file(top)).resolve())
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--isolated", "install", "--quiet"]
    pip += ["--disable-pip-version-check", "--no-cache-dir", "--only-binary", ":all:"]
    with serve_index(wheel, tmp_path_factory.mktemp("registry")) as index:
        done = subprocess.run(
            [*pip, "--index-url", index, f"nova-credentials[binary]=={VERSION}"],
            capture_output=True,
            text=True,
            check=False,
        )
    # Where one of those needed did not fit, pip would look for it in this registry, in vain.
    assert done.returncode == 0, done.stderr
    return python


def test_the_wheel_holds_the_package_alone_with_its_types(wheel):
    names = ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"nova_credentials", f"nova_credentials-{VERSION}.dist-info"}
    assert "nova_credentials/py.typed" in names
    in_checkout = {str(path.relative_to(ROOT)) for path in ROOT.glob("nova_credentials/**/*.py")}
    assert {name for name in names if name.endswith(".py")} == in_checkout


def read_metadata(wheel: Path) -> list[str]:
    with ZipFile(wheel) as opened:
        return opened.read(f"nova_credentials-{VERSION}.dist-info/METADATA").decode().splitlines()


def read_needs(metadata: list[str]) -> set[str]:
    return {line.partition(": ")[2] for line in metadata if line.startswith("Requires-Dist")}


def test_its_metadata_says_what_a_registry_shows(wheel):
    metadata = read_metadata(wheel)
    # Twine 5, and registries of its time, refuse a later form.
    assert metadata[0] == "Metadata-Version: 2.3"
    assert {f"Version: {VERSION}", "License: MIT", "Requires-Python: >=3.11"} <= set(metadata)
    readme = metadata[metadata.index("") + 1 :]
    assert readme[0].startswith("# ")
    assert len(readme) > 50


def test_the_wheel_needs_psycopg_and_boto3_alone(wheel):
    needs = {Requirement(text) for text in read_needs(read_metadata(wheel))}

    assert {need.name for need in needs if not need.marker} == {"psycopg", "boto3"}
    assert {str(need.marker) for need in needs if need.marker} == {
        'extra == "binary"',
        'extra == "psycopg2"',
    }


def test_the_lowest_versions_that_it_allows_are_those_that_are_tried(wheel):
    """`make lowest` runs the reader's tests on them."""
    lowest = {
        (need.name, specifier.version)
        for need in map(Requirement, read_needs(read_metadata(wheel)))
        for specifier in need.specifier
        if specifier.operator == ">="
    }
    tried = map(Requirement, listed_lines(ROOT / "requirements-lowest.txt"))

    assert {(need.name, str(need.specifier).removeprefix("==")) for need in tried} == lowest


def test_no_version_is_allowed_that_cannot_be_installed(wheel):
    """psycopg 3.2.0 asks for a psycopg-binary that was never published."""
    needs = map(Requirement, read_needs(read_metadata(wheel)))
    assert not [need for need in needs if need.name == "psycopg" and "3.2.0" in need.specifier]


def test_what_is_uploaded_as_source_is_the_package_too(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "sdist"]
    subprocess.run(
        [*build, "--directory", str(tmp_path)], cwd=ROOT, check=True, capture_output=True
    )

    with tarfile.open(tmp_path / f"nova_credentials-{VERSION}.tar.gz") as opened:
        tops = {name.split("/")[1] for name in opened.getnames()}
    assert tops - {"pyproject.toml", "PKG-INFO", ".gitignore"} == {
        "nova_credentials",
        "docs",
        "LICENSE",
    }


def list_all_needs(needs: set[str], extra: str) -> list[Requirement]:
    """What pip would install for these and in turn for theirs, as the packages installed here say."""
    found: dict[Requirement, None] = {}
    waiting = [(Requirement(need), extra) for need in needs]
    while waiting:
        need, chosen = waiting.pop()
        if need in found or (need.marker and not need.marker.evaluate({"extra": chosen})):
            continue
        found[need] = None
        of_package = distribution(need.name).requires or []
        waiting += [(Requirement(text), of) for text in of_package for of in {"", *need.extras}]
    return list(found)


@pytest.mark.parametrize("extra", ["", "binary", "psycopg2"])
def test_it_installs_beside_what_nova_pins(wheel, extra):
    """Another pin of redis than NOVA's, as the site has one, and pip would install neither."""
    needs = list_all_needs(read_needs(read_metadata(wheel)), extra)

    assert {"psycopg", "botocore"} <= {need.name for need in needs}
    pinned = [need for need in needs if need.name in NOVAS_PINS]
    assert [need for need in pinned if NOVAS_PINS[need.name] not in need.specifier] == []


def test_the_changelog_tells_of_this_release():
    assert re.search(rf"^## {VERSION}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.usefixtures("stores")
def test_the_installed_reader_answers_where_there_is_no_django(python):
    clients = {phase: make_full_client(phase) for phase in Phase}
    for phase, pk in clients.items():
        bring(pk, phase)
    database_url = make_conninfo(
        os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"]
    )

    printed = run_by(
        python,
        f"""
from importlib.util import find_spec
from nova_credentials import reader
assert find_spec("django") is None
assert "site-packages" in reader.__file__
for slug in {[*map(str, clients)]}:
    print(reader.get_client_id(slug), reader.get_database_credentials(slug).db_password,
          reader.get_email_credentials(slug).email_password,
          reader.get_aws_credentials(slug).secret_access_key)
""",
        database_url,
        NOVA_READ_TIMEOUT_SECONDS="60",  # a busy machine is no failure of AWS
    )

    secrets = "example-password-1 example-app-password-2 example/secret/access/key/that/is/no/key"
    assert printed.splitlines() == [f"{pk} {secrets}" for pk in clients.values()]


@pytest.mark.usefixtures("stores")
def test_a_copy_of_the_folder_beside_novas_code_reads_as_well(tmp_path):
    """Nothing is installed then but psycopg and boto3."""
    shutil.copytree(ROOT / "nova_credentials", tmp_path / "nova_credentials")
    bring(make_full_client("idom"), Phase.DUAL_READ)
    database_url = make_conninfo(
        os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"]
    )

    printed = run(
        "print(reader.__file__, reader.get_database_credentials('idom').db_password)",
        database_url,
        package=tmp_path,
    )

    assert printed.split() == [
        str(tmp_path / "nova_credentials/reader/__init__.py"),
        "example-password-1",
    ]
