"""deploy/gunicorn.conf.py: where it listens, with how many processes, and how it logs, of the file of settings too."""

import os
import subprocess
import sys
from pathlib import Path
from subprocess import CompletedProcess

from nova_admin.env_file import fill_example
from tests.checkout import ROOT

# Each file of settings is read by a process of its own, forked from one that has imported what is others'.
SHOW = """
import environ, gunicorn.workers.gthread, os, runpy, sys
for os.environ["NOVA_ENV_FILE"] in sys.argv[1:]:
    if not os.fork():
        c = runpy.run_path("deploy/gunicorn.conf.py")
        import nova_admin.web_server as w
        logs = c["logconfig_dict"]["formatters"]["chosen"]["()"].__name__
        sys.exit(print(c["bind"], c["workers"], logs, w.SECONDS))
    os.wait()
"""


def read_configs(folder: Path, *settings: dict[str, str]) -> CompletedProcess[str]:
    files = [folder / f"site-{n}.env" for n in range(len(settings))]
    for file, each in zip(files, settings, strict=True):
        file.write_text(fill_example(each))
    return subprocess.run(
        [sys.executable, "-c", SHOW, *files], cwd=ROOT, capture_output=True, text=True, check=False,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip


SERVED = [
    ({}, "0.0.0.0:8000 3 JsonFormatter 20.0"),
    ({"DEBUG": "1", "PORT": ""}, "0.0.0.0:8000 3 TextLogFormatter 20.0"),
    (
        {
            "BIND_ADDRESS": "127.0.0.1",
            "PORT": "8100",
            "WEB_CONCURRENCY": "5",
            "REQUEST_SECONDS": "7.5",
        },
        "127.0.0.1:8100 5 JsonFormatter 7.5",
    ),
    ({"BIND_ADDRESS": "::1", "NOVA_LOG_FORMAT": "text"}, "[::1]:8000 3 TextLogFormatter 20.0"),
    ({"BIND_ADDRESS": "unix:/run/x/site"}, "unix:/run/x/site 3 JsonFormatter 20.0"),
]
WRONG = {"PORT": "http", "WEB_CONCURRENCY": "0", "REQUEST_SECONDS": "0", "NOVA_LOG_FORMAT": "xml"}


def test_the_web_server_reads_its_settings_from_the_file(tmp_path):
    done = read_configs(tmp_path, *(settings for settings, _shown in SERVED))

    assert done.stderr == ""
    assert done.stdout.splitlines() == [shown for _settings, shown in SERVED]


def test_a_wrong_setting_of_the_web_server_is_named_in_one_line(tmp_path):
    done = read_configs(tmp_path, *({name: value} for name, value in WRONG.items()))

    told = [line.partition(" is ")[0] for line in done.stderr.splitlines()]
    assert told == [f"Not configured: {name}" for name in WRONG]
    assert done.stdout == ""
