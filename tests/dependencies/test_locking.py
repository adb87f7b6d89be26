"""The locks are those of the lists, whole, and say nothing of the machine that made them."""

import os
import re
import stat

import pytest

from tests.dependencies.locking import (
    HEAD,
    LISTS,
    ROOT,
    digest_of,
    listed_lines,
    lock_of,
    locked_versions,
    make_locks,
    stale_locks,
)

# Locks each listed version with a hash, and writes down what it was asked and which versions it was to keep.
UV = r"""#!/bin/sh
set -e
echo "$@" >> asked.txt
while [ "$1" != --output-file ]; do shift; done
if [ -e "$2" ]; then cat "$2" >> asked.txt; fi
if grep -q broken "$3"; then exit 1; fi
sed -n 's/^\([^# ]*==[^ ]*\).*/\1 \\\n    --hash=sha256:00/p' "$3" > "$2"
"""


@pytest.fixture
def lists(tmp_path):
    (tmp_path / "requirements.txt").write_text("# A list.\nexample==1  # its reason\n")
    (tmp_path / "requirements-redis.txt").write_text("-r requirements.txt\nextra==5\n")
    (tmp_path / "requirements-dev.txt").write_text("-r requirements-redis.txt\nother[more]==2\n")
    (tmp_path / "requirements-tools.txt").write_text("tool==3\n")
    (tmp_path / "requirements-lowest.txt").write_text("old==0\n")
    for name in LISTS:
        head = HEAD.format(listed=name, digest=digest_of(tmp_path / name))
        lock_of(tmp_path / name).write_text(head + "example==1 \\\n    --hash=sha256:00\n")
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(stat.S_IRWXU)
    return tmp_path


def test_the_locks_are_made_of_the_lists():
    assert stale_locks(ROOT) == []


@pytest.mark.parametrize("name", LISTS)
def test_every_listed_version_is_locked(name):
    locked = {
        f"{one.name}=={one.version}" for one in locked_versions(lock_of(ROOT / name).read_text())
    }
    listed = {re.sub(r"\[.*\]|;.*", "", line).strip().lower() for line in listed_lines(ROOT / name)}
    assert listed
    assert listed - locked == set()


@pytest.mark.parametrize("name", LISTS)
def test_every_locked_version_has_its_hashes(name):
    requirements = re.sub(r" *\\\n +", " ", lock_of(ROOT / name).read_text())
    requirements = [line for line in requirements.splitlines() if not line.lstrip().startswith("#")]
    assert len(requirements) == len(locked_versions(lock_of(ROOT / name).read_text()))
    assert all(
        re.search(r"(?: --hash=sha256:[0-9a-f]{64})+$", requirement) for requirement in requirements
    )


@pytest.mark.parametrize("name", LISTS)
def test_no_lock_names_a_host_or_a_path(name):
    text = lock_of(ROOT / name).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash)|(^|\s)/", text, re.MULTILINE)


def test_development_and_the_extra_have_the_versions_of_production():
    production, with_redis, development = (
        {
            (locked.name, locked.version)
            for locked in locked_versions(lock_of(ROOT / name).read_text())
        }
        for name in LISTS[:3]
    )
    names = {name for name, _ in with_redis}
    assert {(name, version) for name, version in development if name in names} == with_redis
    assert {name for name, _ in with_redis - production} == {"redis", "async-timeout"}
    assert production < with_redis


def test_a_list_that_was_changed_has_a_stale_lock(lists):
    assert stale_locks(lists) == []
    (lists / "requirements.txt").write_text("example[more]==1\n")
    assert stale_locks(lists) == list(LISTS[:3])


@pytest.mark.parametrize("text", [None, "example==1 \\\n", "# Made of: \n"])
def test_a_lock_that_is_missing_or_does_not_say_of_what_it_was_made_is_stale(lists, text):
    lock = lists / "requirements-tools.lock"
    lock.unlink() if text is None else lock.write_text(text)
    assert stale_locks(lists) == ["requirements-tools.txt"]


def test_another_reason_makes_no_lock_stale(lists):
    (lists / "requirements.txt").write_text("example==1     # a better one\n\n# The end.\n")
    assert stale_locks(lists) == []


def test_the_lists_are_told_apart_by_what_they_demand(tmp_path):
    digests = set()
    for text in ("a==1", "a==2", "a[b]==1", "a==1; python_version < '3.13'", "a==1\nb==1"):
        (tmp_path / "list.txt").write_text(text)
        digests.add(digest_of(tmp_path / "list.txt"))
    assert len(digests) == 5


def test_locks_are_renewed_with_the_versions_that_they_have(lists):
    (lists / "requirements.txt").write_text("example==1\nadded==4\n")
    make_locks(lists, uv=str(lists / "uv"), upgrade=False)
    assert stale_locks(lists) == []
    assert [str(one) for one in locked_versions((lists / "requirements.lock").read_text())] == [
        "example==1",
        "added==4",
    ]
    asked = (lists / "asked.txt").read_text()
    assert "requirements.txt\nexample==1\n" in asked
    assert "requirements-redis.txt --constraint requirements.lock\nexample==1\n" in asked
    assert "requirements-dev.txt --constraint requirements-redis.lock\nexample==1\n" in asked
    assert asked.count("--universal --generate-hashes") == len(LISTS) == 5


def test_a_lock_in_which_nothing_changes_is_not_written(lists):
    make_locks(lists, uv=str(lists / "uv"), upgrade=False)
    lock = lists / "requirements.lock"
    os.utime(lock, (1, 1))
    make_locks(lists, uv=str(lists / "uv"), upgrade=False)
    assert lock.stat().st_mtime == 1


def test_an_upgrade_keeps_no_version(lists):
    make_locks(lists, uv=str(lists / "uv"), upgrade=True)
    assert not re.search("^example==1", (lists / "asked.txt").read_text(), re.MULTILINE)


def test_a_lock_that_a_merge_left_in_pieces_is_renewed(lists):
    lock = lists / "requirements.lock"
    ours, theirs = "example==1 \\\n    --hash=sha256:00\n", "theirs==5 \\\n    --hash=sha256:00\n"
    lock.write_text(f"<<<<<<< HEAD\n{ours}=======\n{theirs}{ours}>>>>>>> other\n")
    make_locks(lists, uv=str(lists / "uv"), upgrade=False)
    assert stale_locks(lists) == []
    assert "<<<<" not in lock.read_text()
    assert "requirements.txt\nexample==1\ntheirs==5\n" in (lists / "asked.txt").read_text()


def test_a_lock_stays_where_no_versions_fit(lists):
    before = (lists / "requirements.lock").read_text()
    (lists / "requirements.txt").write_text("broken==1\n")
    with pytest.raises(Exception, match="returned non-zero exit status 1"):
        make_locks(lists, uv=str(lists / "uv"), upgrade=False)
    assert (lists / "requirements.lock").read_text() == before
    assert stale_locks(lists) == list(LISTS[:3])
