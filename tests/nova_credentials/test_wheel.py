"""What `pip install .` installs: the package alone, which reads without Django."""

import os
import re
import subprocess
import sys
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
from tests.factories import make_full_client
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import run_by
from tests.nova_credentials.wheel import VERSION, build_wheel

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
    """The interpreter of an environment with the wheel, what it needs, and nothing else."""
    home = tmp_path_factory.mktemp("nova")
    venv.create(home)
    (packages,) = home.glob("lib/python*/site-packages")
    for name in NEEDED:
        of_package = distribution(name)
        for top in {file.parts[0] for file in of_package.files if file.parts[0] != ".."}:
            if top != "__pycache__":
                (packages / top).symlink_to(Path(of_package.locate_file(top)).resolve())
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    subprocess.run(
        [*pip, "--disable-pip-version-check", "--no-index", "--no-deps", str(wheel)], check=True
    )
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


def test_the_wheel_needs_psycopg_and_boto3_alone(wheel):
    metadata = read_metadata(wheel)
    needs = read_needs(metadata)
    always = {need for need in needs if "extra ==" not in need}
    assert always == {"psycopg<4,>=3.2.1", "boto3<2,>=1.34"}
    assert {need.partition("; ")[2] for need in needs - always} == {
        "extra == 'binary'",
        "extra == 'psycopg2'",
    }
    assert "Requires-Python: >=3.11" in metadata


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


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.usefixtures("stores")
def test_the_installed_reader_answers_where_there_is_no_django(python, phase):
    pk = make_full_client("idom")
    bring(pk, phase)
    database_url = make_conninfo(
        os.environ["DATABASE_URL"], dbname=connection.settings_dict["NAME"]
    )

    printed = run_by(
        python,
        """
from importlib.util import find_spec
from nova_credentials import reader
assert find_spec("django") is None
assert "site-packages" in reader.__file__
print(reader.get_client_id("idom"), reader.get_database_credentials("idom").db_password,
      reader.get_email_credentials("idom").email_password,
      reader.get_aws_credentials("idom").secret_access_key)
""",
        database_url,
    )

    secrets = "example-password-1 example-app-password-2 example/secret/access/key/that/is/no/key"
    assert printed == f"{pk} {secrets}"


def test_importing_the_reader_imports_neither_boto3_nor_psycopg(python):
    printed = run_by(
        python,
        """
import sys
import nova_credentials.aws
import nova_credentials.reader
print(sorted({"boto3", "botocore", "psycopg", "django"} & sys.modules.keys()))
""",
        "",
    )
    assert printed == "[]"
