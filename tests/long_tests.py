"""Which tests take long: `make test` leaves them to `make thorough`, where each process begins with its share.

Those that find little in their time that others don't are marked `nightly`, and left to `make soak` by both.
`long_tests.txt` names them, with their seconds on two busy cores. After a run with `--junitxml=FILE`,
`python -m tests.long_tests FILE` writes it anew. Where a run may not take for ever, BEGIN_LONG_TESTS_UNTIL is the
moment (in seconds since 1970) after which none of them begins any more; the run's end says how many that were.
"""

import os
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

NAMED = Path(__file__).with_suffix(".txt")
# With these, `make test` takes twice as long as anybody waits for it.
LONG_SECONDS = 4
# Measured alone or beside the others, a test takes up to twice as long: what is named stays so until it takes less.
STAYS_FROM_SECONDS = 2

# By `make soak`: so many random lives of a client from each phase on, and whatever else is done more often by night.
SOAK = int(os.environ.get("NOVA_SOAK", "0"))

NO_TIME_LEFT = "no time was left to begin it"


def read_seconds() -> dict[str, int]:
    """The seconds of each long test, by file and function; where it has parameters, those of the longest."""
    lines = (line.split(maxsplit=1) for line in NAMED.read_text().splitlines())
    return {name: int(seconds) for seconds, name in lines}


def name_test(item: pytest.Item) -> str:
    return item.nodeid.partition("[")[0]


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seconds = read_seconds()
    for item in items:
        if name_test(item) in seconds or item.get_closest_marker("nightly"):
            item.add_marker(pytest.mark.long(seconds.get(name_test(item), LONG_SECONDS)))


@pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
def deal_long_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have every process of the run begin with its share of the long tests.

    xdist's `worksteal` deals the list in pieces of one size, a piece to each process.
    """
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    long = sorted(filter(seconds_of, items), key=seconds_of, reverse=True)
    others = [item for item in items if not seconds_of(item)]
    dealt: list[pytest.Item] = []
    for number in range(processes):
        share = long[number::processes]
        size = (len(items) - len(dealt)) // (processes - number)
        more = max(size - len(share), 0)
        dealt += share + others[:more]
        del others[:more]
    items[:] = dealt + others


@pytest.hookimpl(tryfirst=True)  # before its fixtures
def pytest_runtest_setup(item: pytest.Item) -> None:
    until = float(os.environ.get("BEGIN_LONG_TESTS_UNTIL") or "inf")
    if seconds_of(item) and time.time() > until:
        pytest.skip(NO_TIME_LEFT)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = terminalreporter.getreports("skipped")
    if number := sum(NO_TIME_LEFT in str(report.longrepr) for report in reports):
        terminalreporter.write_line(
            f"Long tests that were NOT RUN, as there was no time left: {number}. `make thorough` takes its time.",
            red=True,
        )


def seconds_of(item: pytest.Item) -> int:
    mark = item.get_closest_marker("long")
    return mark.args[0] if mark else 0


def write_seconds(report: Path) -> None:
    """Names the long tests of a run, by its report; of a test that the run left out, what was known stays."""
    known, found = read_seconds(), Counter[str]()
    for case in ET.parse(report).iter("testcase"):
        if case.find("skipped") is not None:
            continue
        file, function = case.attrib["classname"], case.attrib["name"].partition("[")[0]
        name = f"{file.replace('.', '/')}.py::{function}"
        found[name] = max(found[name], round(float(case.attrib["time"])))
    long = {
        name: seconds
        for name, seconds in found.items()
        if seconds >= (STAYS_FROM_SECONDS if name in known else LONG_SECONDS)
    }
    left_out = {name: known[name] for name in known.keys() - found.keys()}
    lines = [f"{seconds} {name}\n" for name, seconds in sorted((left_out | long).items())]
    NAMED.write_text("".join(lines))


if __name__ == "__main__":
    write_seconds(Path(sys.argv[1]))
