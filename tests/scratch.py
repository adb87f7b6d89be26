"""The folder of a test run: in memory where there is room, and gone with the run.

Tests make and delete thousands of databases and folders. A disk's file system may take ten times as long for that as
memory does: most of PostgreSQL's time in a run.
"""

import math
import os
import re
import secrets
import shutil
from pathlib import Path

import psutil

# Names the folder, for all processes of the run. Where it is set before, the run keeps what it finds and leaves there.
FOLDER = "NOVA_TEST_FOLDER"
ON_DISK = Path(__file__).resolve().parent.parent / ".local" / "test"
MEMORY = Path("/dev/shm")
# A run takes half of it.
ROOM_BYTES = 2 * 1024**3
# Of the tests' own PostgreSQL. What is lost in a crash is made again, so nothing waits for the disk. Nor does anything
# wait for autovacuum, which would also note that tables are empty that the next test fills with thousands of rows:
# PostgreSQL then plans as for one. (`put_back` of conftest.py truncates what grew.)
SERVER_SETTINGS = {
    **dict.fromkeys(("fsync", "synchronous_commit", "full_page_writes", "autovacuum"), "off"),
    # A test looks through what its own database logged (tests/haystack.py).
    "log_line_prefix": "%m [%p] %d ",
    # What was written long ago is no use to anybody, and takes room in memory.
    **dict.fromkeys(("max_wal_size", "min_wal_size"), "256MB"),
}
OF_A_RUN = re.compile(r"nova-tests-(\d+)-[0-9a-f]{8}")


def choose_folder() -> tuple[Path, bool]:
    """Return the run's folder, and whether whoever works in it last has to delete it."""
    if FOLDER in os.environ:
        return Path(os.environ[FOLDER]), False
    if not has_room():
        ON_DISK.mkdir(parents=True, exist_ok=True)
        return ON_DISK, False
    delete_left_folders()
    folder = MEMORY / f"nova-tests-{os.getpid()}-{secrets.token_hex(4)}"
    # As root, the embedded PostgreSQL is another user, who passes through.
    folder.mkdir(mode=0o711)
    return folder, True


def has_room() -> bool:
    try:
        free = shutil.disk_usage(MEMORY).free
    except OSError:
        return False
    room = min(free, psutil.virtual_memory().available, read_container_room())
    return os.access(MEMORY, os.W_OK) and room > ROOM_BYTES


def read_container_room() -> float:
    """Return how many bytes the container may still use; what the host has free says nothing about that."""
    try:
        most, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current")
        )
    except (OSError, ValueError):  # no container, or one without a limit
        return math.inf
    return most - used


def delete_left_folders() -> None:
    """Delete what runs left behind that were killed."""
    for folder in MEMORY.iterdir():
        found = OF_A_RUN.fullmatch(folder.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(folder, ignore_errors=True)
