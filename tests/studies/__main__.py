"""`make study NAME ARGS="…"`: measures something about the site; without a name it lists the studies.

Prints tables. Exits with 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
from importlib import import_module

from tests.studies.study import RESULTS, describe_machine

NAMES = (
    *("pushes", "moves", "whole_commands", "growth", "pages", "reader"),
    *("truncate", "copies", "history"),
    *("reliability", "upgrade", "mutation"),
)


def main() -> None:
    if not sys.argv[1:]:
        list_studies()
        return
    name, *arguments = sys.argv[1:]
    if name not in NAMES:
        sys.exit(f"There is no study {name!r}: {', '.join(NAMES)}.")
    module = import_module(f"tests.studies.{name}")
    parser = argparse.ArgumentParser(f"make study {name}", description=module.__doc__)
    for option, terms in module.STUDY.options.items():
        parser.add_argument(option, **terms)
    if module.STUDY.writes:
        parser.add_argument("--write", action="store_true", help=f"the table into {RESULTS.name}")
    options = parser.parse_args(arguments)
    print(describe_machine(), flush=True)
    tables = list(module.STUDY.measure(options))
    if module.STUDY.writes and options.write:
        for table in tables:
            RESULTS.write_text(table.put_into(RESULTS.read_text()))
    sys.exit(0 if all(table.holds for table in tables) else 1)


def list_studies() -> None:
    for name in NAMES:
        module = import_module(f"tests.studies.{name}")
        finds_out = module.__doc__.partition("\n")[0]
        print(f"{name:15}{finds_out}")
        print(textwrap.indent(f"Takes {module.STUDY.needs}.", " " * 15))


if __name__ == "__main__":
    main()
