"""Readers and sites of different releases work together: a kept reader on this site, this reader on a kept site.

`kept/` holds what `python -m tests.keep_release` wrote at each release. The present release is made each night, so that
what is kept next is known to work.
"""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path

import psycopg
import pytest

from credentials.models import ColumnUse
from migration.core.aws_store import secret_names
from migration.nova.tables import map_column
from nova_credentials.aws import SecretsManager
from nova_credentials.document import Layout
from nova_credentials.phases import Phase
from nova_credentials.reader.routing import Reader
from tests import mapped_columns, nova_database
from tests.checkout import ROOT
from tests.factories import make_database, make_full_client, nova_uri
from tests.keep_release import KEPT
from tests.nova_credentials.in_phases import bring
from tests.nova_credentials.nova_process import run
from tests.nova_credentials.wheel import VERSION

PRESENT = "present"
# A build from before the notes of NOVA's processes.
EARLY = "0.2.0.dev0"
KEPT_RELEASES = sorted(path.stem.removeprefix("site-") for path in KEPT.glob("site-*.sql"))
# To make what would be kept takes longer than all that is done with it.
RELEASES = [pytest.param(PRESENT, marks=pytest.mark.nightly), *KEPT_RELEASES]
EXPECTED = {
    ("database", None): "example-password-1",
    ("database", "archive"): "example-password-1",
    ("email", None): "example-app-password-2",
    ("aws", None): "example/secret/access/key/that/is/no/key",
}
# What the rows of kept sites hold, which were not yet shaped as AWS's.
OF_KEPT_SITES = EXPECTED | {("aws", None): "example-secret-key-3"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> Callable[[str, str], Path]:
    """Gives the artefact of a release; of the present one the first process of the run makes it for all."""

    def give(name: str, release: str) -> Path:
        if release != PRESENT:
            return KEPT / name.format(release)
        root = tmp_path_factory.getbasetemp()
        if "PYTEST_XDIST_WORKER" in os.environ:
            root = root.parent
        folder = root / "present_release"
        with (root / "present_release.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                keep_present(tmp_path_factory.mktemp("release")).rename(folder)
        return folder / name.format(VERSION)

    return give


def keep_present(folder: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-m", "tests.keep_release", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


# A kept reader on this site


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.usefixtures("stores")
def test_a_kept_reader_reads_every_phase_from_this_sites_tables(kept, release):
    wheel = kept("nova_credentials-{}-py3-none-any.whl", release)
    clients = {phase: make_full_client(phase) for phase in Phase}
    for phase, pk in clients.items():
        make_database(pk, label="archive", is_primary=False)
        bring(pk, phase)

    printed = run(
        f"""
import json
assert ".whl" in reader.__file__
print(json.dumps({{slug: [
    reader.get_client_id(slug),
    reader.get_database_credentials(slug).db_password,
    reader.get_database_credentials(slug, "archive").db_password,
    reader.get_email_credentials(slug).email_password,
    reader.get_aws_credentials(slug).secret_access_key,
] for slug in {[*map(str, clients)]}}}))
""",
        nova_uri(),
        package=wheel,
        NOVA_READ_TIMEOUT_SECONDS="60",  # a busy machine is no failure of AWS
    )

    assert json.loads(printed) == {phase: [pk, *EXPECTED.values()] for phase, pk in clients.items()}
    counted = [phase for phase, pk in clients.items() if reads_counted(nova_uri(), pk)]
    assert counted == [phase for phase in Phase if phase.reads_aws]
    assert processes_noted(nova_uri()) == int(release != EARLY)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.usefixtures("stores")
def test_a_failure_of_a_kept_reader_at_aws_is_noted_and_no_answer(kept, release):
    wheel = kept("nova_credentials-{}-py3-none-any.whl", release)
    pk = make_full_client("idom")
    bring(pk, Phase.DUAL_READ)
    code = "print(reader.get_database_credentials('idom').db_password)"
    nowhere = {"AWS_ENDPOINT_URL_SECRETS_MANAGER": "http://127.0.0.1:1"}

    assert run(code, nova_uri(), package=wheel, **nowhere) == "example-password-1"
    with psycopg.connect(nova_uri()) as there:
        noted = there.execute(
            "SELECT aws_failures, last_failure_at > now() - interval '1 minute', last_answer_at"
            " FROM nova_admin.migration_readcount WHERE client_id = %s",
            [pk],
        ).fetchone()
    assert noted == (1, True, None)


@pytest.mark.parametrize(
    ("release", "layout"),
    [
        *((release, Layout.CLIENT) for release in KEPT_RELEASES),
        *(
            pytest.param(release, layout, marks=pytest.mark.nightly)
            for release, layout in (
                *product([PRESENT], Layout),
                *product(KEPT_RELEASES, [Layout.SERVICE]),
            )
        ),
    ],
)
@pytest.mark.usefixtures("stores")
def test_a_kept_reader_ignores_what_mapped_columns_add_to_a_document(
    kept, release, layout, settings
):
    settings.NOVA_SECRET_LAYOUT = layout
    wheel = kept("nova_credentials-{}-py3-none-any.whl", release)
    clients = {phase: make_full_client(phase) for phase in (Phase.DUAL_READ, Phase.AWS)}
    with mapped_columns.added():
        for table in mapped_columns.TABLES:
            map_column(name=f"{table}.token", use=ColumnUse.SECRET)
        for phase, pk in clients.items():
            bring(pk, phase)
        printed = run(
            f"""
import json
print(json.dumps({{slug: [
    reader.get_database_credentials(slug).db_password,
    reader.get_email_credentials(slug).email_password,
    reader.get_aws_credentials(slug).secret_access_key,
] for slug in {[*map(str, clients)]}}}))
""",
            nova_uri(),
            package=wheel,
            NOVA_SECRET_LAYOUT=layout,
            NOVA_READ_TIMEOUT_SECONDS="60",  # a busy machine is no failure of AWS
        )
        held = [SecretsManager().batch_get([*secret_names(slug).values()]) for slug in clients]

    assert all("MARKER-FOUR" in repr([each.text for each in secrets.values()]) for secrets in held)
    expected = [EXPECTED[key, None] for key in ("database", "email", "aws")]
    assert json.loads(printed) == dict.fromkeys(clients, expected)
    assert all(reads_counted(nova_uri(), pk) for pk in clients.values())


def reads_counted(database_url: str, client_id: int) -> bool:
    """Whether a read of this client was counted, and every one that was compared matched."""
    with psycopg.connect(database_url) as there:
        row = there.execute(
            "SELECT reads, mismatches, aws_failures FROM nova_admin.migration_readcount WHERE client_id = %s",
            [client_id],
        ).fetchone()
    assert row is None or row[1:] == (0, 0)
    return row is not None and row[0] > 0


def processes_noted(database_url: str) -> int | None:
    """How many processes noted themselves; None where the site is older than the notes."""
    with psycopg.connect(database_url) as there:
        (table,) = there.execute(
            "SELECT to_regclass('nova_admin.migration_readerprocess')"
        ).fetchone()
        if table is None:
            return None
        return there.execute("SELECT count(*) FROM nova_admin.migration_readerprocess").fetchone()[
            0
        ]


# This reader on a kept site


@pytest.fixture(scope="module")
def kept_site(kept, request) -> Iterator[str]:
    """A database as a site of that release left it, by its URI."""
    structure_and_rows = kept("site-{}.sql", request.param).read_text()
    with nova_database.database() as uri:
        with psycopg.connect(uri, autocommit=True) as there:
            there.execute(structure_and_rows)
        yield uri


@pytest.fixture
def reader(kept_site, aws, kept, request) -> Iterator[Reader]:
    """This release's reader, over a kept site and what AWS held of its clients."""
    release = request.node.callspec.params["kept_site"]
    sm = SecretsManager()
    for name, text in json.loads(kept("secrets-{}.json", release).read_text()).items():
        sm.create_secret(name, text, slug=name.rpartition("/")[2])
    reader = Reader(kept_site, timeout=30, cache_seconds=0)
    yield reader
    reader.close()


@pytest.mark.parametrize("kept_site", RELEASES, indirect=True)
def test_this_reader_reads_every_phase_from_a_kept_sites_tables(reader, kept_site, request):
    release = request.node.callspec.params["kept_site"]
    secrets = EXPECTED if release == PRESENT else OF_KEPT_SITES
    held = {"database": "db_password", "email": "email_password", "aws": "secret_access_key"}
    for phase in Phase:
        slug = f"in-{phase}"
        for (credential_type, label), secret in secrets.items():
            row = reader.get_credential(slug, credential_type, label)
            assert getattr(row, held[credential_type]) == secret
            assert (row.client_slug, row.label) == (slug, label)
        assert reads_counted(kept_site, reader.client_id(slug)) == phase.reads_aws

    assert processes_noted(kept_site) == (None if release == EARLY else 1)


@pytest.mark.parametrize("kept_site", RELEASES, indirect=True)
def test_this_reader_sees_a_kept_sites_pending_pushes_and_inactive_clients(reader):
    assert reader.get_credential("pending", "database").db_password == "example-newer"
    for slug in ("inactive", "unknown"):
        with pytest.raises(ValueError, match=slug):
            reader.client_id(slug)
