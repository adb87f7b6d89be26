"""The long tests that are named are there; of the others `make test` leaves out none."""

import re
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.checkout import ROOT
from tests.long_tests import (
    LONG_SECONDS,
    pytest_collection_modifyitems,
    pytest_runtest_setup,
    read_seconds,
    seconds_of,
    write_seconds,
)


def test_each_long_test_that_is_named_is_there():
    for name in read_seconds():
        file, _, function = name.partition("::")
        assert re.search(rf"^def {function}\(", (ROOT / file).read_text(), re.MULTILINE), name


KNOWN = """\
9 tests/test_a.py::test_is_quick_now
8 tests/test_b.py::test_not_run
5 tests/test_c.py::test_is_a_little_quicker
"""
REPORT = """\
<testsuites>
<testcase classname="tests.test_a" name="test_is_quick_now" time="1"/>
<testcase classname="tests.test_c" name="test_is_a_little_quicker" time="3"/>
<testcase classname="tests.test_d" name="test_quick" time="3"/>
<testcase classname="tests.test_b" name="test_not_run" time="0"><skipped/></testcase>
<testcase classname="tests.test_d" name="test_long[1]" time="4"/>
<testcase classname="tests.test_d" name="test_long[2]" time="7"/>
</testsuites>
"""


def test_what_took_long_is_named_and_what_was_not_run_stays(tmp_path: Path, monkeypatch):
    named, report = tmp_path / "long_tests.txt", tmp_path / "report.xml"
    monkeypatch.setattr("tests.long_tests.NAMED", named)
    named.write_text(KNOWN)
    report.write_text(REPORT)

    write_seconds(report)

    assert read_seconds() == {
        "tests/test_b.py::test_not_run": 8,
        "tests/test_c.py::test_is_a_little_quicker": 3,
        "tests/test_d.py::test_long": 7,
    }


def test_a_long_test_does_not_begin_once_the_time_is_over(monkeypatch):
    mark = pytest.mark.long(9)
    long = SimpleNamespace(get_closest_marker=lambda _name: mark)
    short = SimpleNamespace(get_closest_marker=lambda _name: None)

    for until in ("", str(time.time() + 60)):
        monkeypatch.setenv("BEGIN_LONG_TESTS_UNTIL", until)
        pytest_runtest_setup(long)
    monkeypatch.setenv("BEGIN_LONG_TESTS_UNTIL", str(time.time() - 1))
    pytest_runtest_setup(short)
    with pytest.raises(pytest.skip.Exception, match="no time was left"):
        pytest_runtest_setup(long)


def test_a_nightly_test_is_a_long_one():
    marks: list[pytest.Mark] = [pytest.mark.nightly.mark]
    item = SimpleNamespace(
        nodeid="tests/test_a.py::test_is_quick",
        add_marker=lambda mark: marks.append(mark.mark),
        get_closest_marker=lambda name: next((each for each in marks if each.name == name), None),
    )

    pytest_collection_modifyitems([item])

    assert seconds_of(item) == LONG_SECONDS
