"""Compiles the test modules once, before the processes of a run begin: each of them would do it for itself.

In a fresh checkout that is half of what a process does before its first test. pytest has no public function for it.
"""

import multiprocessing
import os
import sys
from pathlib import Path

import pytest
from _pytest.assertion import rewrite

TESTS = Path(__file__).resolve().parent


def compile_tests(config: pytest.Config) -> None:
    """Write what pytest would make of each test module and conftest.py, by a process for each processor."""
    if sys.dont_write_bytecode:
        return
    stale = [
        path for path in find_modules() if rewrite._read_pyc(path, name_compiled(path)) is None
    ]
    number = min(os.cpu_count() or 1, len(stale))
    forking = multiprocessing.get_context("fork")
    shares = [
        forking.Process(target=write_compiled, args=(config, stale[first::number]))
        for first in range(number)
    ]
    for share in shares:
        share.start()
    for share in shares:
        share.join()


def find_modules() -> list[Path]:
    """Return the modules whose assertions pytest rewrites."""
    plugins = (TESTS / "migration/doctor/iam/recorder.py", TESTS / "long_tests.py")
    return sorted({*TESTS.rglob("test_*.py"), *TESTS.rglob("conftest.py"), *plugins})


def name_compiled(path: Path) -> Path:
    return rewrite.get_cache_dir(path) / f"{path.stem}{rewrite.PYC_TAIL}"


def write_compiled(config: pytest.Config, paths: list[Path]) -> None:
    state = config.stash[rewrite.assertstate_key]
    for path in paths:
        compiled = name_compiled(path)
        compiled.parent.mkdir(exist_ok=True, parents=True)
        source_hash, code = rewrite._rewrite_test(path, config)
        rewrite._write_pyc(state, code, source_hash, compiled)
