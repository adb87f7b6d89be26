"""The folder of a run is in memory where there is room, and one that a killed run left there goes."""

import os
import shutil

import pytest

from tests import scratch


@pytest.fixture
def memory(tmp_path, monkeypatch):
    monkeypatch.delenv(scratch.FOLDER, raising=False)
    monkeypatch.setattr(scratch, "MEMORY", tmp_path / "memory")
    monkeypatch.setattr(scratch, "ON_DISK", tmp_path / "disk" / "test")
    monkeypatch.setattr(scratch, "ROOM_BYTES", 1)
    (tmp_path / "memory").mkdir()
    return tmp_path / "memory"


def test_a_run_has_a_folder_of_its_own_in_memory_that_is_deleted(memory):
    (one, one_is_deleted), (two, _) = scratch.choose_folder(), scratch.choose_folder()

    assert one != two
    assert one.is_dir()
    assert one.parent == two.parent == memory
    assert one_is_deleted


def test_where_memory_has_no_room_or_is_not_there_it_is_on_disk(memory, monkeypatch):
    on_disk = (scratch.ON_DISK, False)
    with monkeypatch.context() as patch:
        patch.setattr(scratch, "ROOM_BYTES", 1 << 60)
        assert scratch.choose_folder() == on_disk
    shutil.rmtree(memory)

    assert scratch.choose_folder() == on_disk
    assert scratch.ON_DISK.is_dir()


def test_a_folder_that_is_named_is_kept(memory, monkeypatch, tmp_path):
    monkeypatch.setenv(scratch.FOLDER, str(tmp_path))

    assert scratch.choose_folder() == (tmp_path, False)


def test_what_killed_runs_left_is_deleted_and_nothing_else(memory):
    names = ("nova-tests-999999999-01234567", f"nova-tests-{os.getpid()}-01234567", "of-others")
    for name in names:
        (memory / name / "data").mkdir(parents=True)

    folder, _ = scratch.choose_folder()

    assert {path.name for path in memory.iterdir()} == {*names[1:], folder.name}
